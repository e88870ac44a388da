/* SPDX-License-Identifier: Apache-2.0
 *
 * nbd.c - the device: opened with one connection, and with more when there is something for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "driver/nbd/nbd.h"
#include "util/say.h"

/* Multiples of every block size. A server without holes writes its zeroes, within the time that an I/O
 * has. */
#define MAX_TRIM (1u << 30)
#define MAX_ZEROES (64u << 20)

static const struct driver_ops nbd_ops;

/* ---- I/O ---- */

/* The connection with the least to do. An unaligned write goes to the first one. => lock */
static struct nbd_conn *choose(struct nbd_device *d, const struct driver_io *io)
{
        struct nbd_conn *best = d->conns[0];

        mutex_assert_held(&d->lock);
        if (io->op == IO_WRITE && (io->offset | io->len) & (d->export.block_min - 1))
                return best;
        for (unsigned i = 1; i < d->nr_conns; i++)
                if (!d->conns[i]->refused && d->conns[i]->load < best->load)
                        best = d->conns[i];
        return best;
}

/* What is known without asking. True: the I/O is over, with *result. */
static bool is_refused(const struct nbd_device *d, const struct driver_io *io, int64_t *result)
{
        const struct nbd_export *e = &d->export;

        *result = 0;
        if (io->op != IO_READ && io->op != IO_FLUSH && d->dev.read_only)
                *result = -EROFS;
        else if ((io->op == IO_DISCARD && !e->trim) || (io->op == IO_WRITE_ZEROES && !e->zero))
                *result = -EOPNOTSUPP;
        else if (io->op == IO_FLUSH)
                return d->dev.read_only;
        else
                return !io->len;
        return true;
}

static void nbd_submit(struct device *dev, struct driver_io *io)
{
        struct nbd_device *d = to_nbd(dev);
        struct nbd_conn *c;
        int64_t result;

        if (is_refused(d, io, &result)) {
                driver_io_done(io, result);
                return;
        }
        io->priv[PRIV_SUBMITTED] = now_ns();
        io->priv[PRIV_BEGUN] = io->priv[PRIV_COMMANDS] = io->priv[PRIV_ERROR] = 0;
        mutex_lock(&d->lock);
        c = choose(d, io);
        c->load++;
        io_list_push(&c->queue, io);
        mutex_unlock(&d->lock);
}

static void nbd_commit(struct device *dev)
{
        struct nbd_device *d = to_nbd(dev);
        bool wake[NBD_MAX_CONNECTIONS] = { false };

        mutex_lock(&d->lock);
        for (unsigned i = 0; i < d->nr_conns; i++) {
                struct nbd_conn *c = d->conns[i];

                wake[i] = c->sleeping && c->queue.head;
                if (wake[i])
                        c->sleeping = false;
        }
        mutex_unlock(&d->lock);
        for (unsigned i = 0; i < d->nr_conns; i++)
                if (wake[i])
                        nbd_conn_kick(d->conns[i]);
}

/* ---- closing ---- */

struct last_flush {
        struct driver_io io;
        _Atomic uint32_t done;
};

static void last_flush_done(struct driver_io *io)
{
        struct last_flush *f = container_of(io, struct last_flush, io);

        atomic_store(&f->done, 1);
        futex_wake(&f->done, 1);
}

/* What the server has answered and may still forget: it goes with us, so it is made durable now. */
static void flush_log(struct nbd_device *d)
{
        struct last_flush f = { .io = { .op = IO_FLUSH, .done = last_flush_done } };

        bool failed;

        mutex_lock(&d->lock);
        failed = d->flush_error; /* of a flush that nobody waited for, and nobody has asked since */
        mutex_unlock(&d->lock);
        if (!failed && !nbd_log_dirty(&d->log))
                return;
        nbd_submit(&d->dev, &f.io);
        nbd_commit(&d->dev);
        while (!atomic_load(&f.done))
                futex_wait(&f.done, 0, 0);
        if (f.io.result < 0)
                say("faultline: %s: closing: writes may be lost that were not synced: %s",
                    d->dev.name, strerrordesc_np((int)-f.io.result));
}

static void nbd_free(struct nbd_device *d)
{
        nbd_log_free(&d->log);
        if (d->stop_fd >= 0)
                close(d->stop_fd);
        free(d->block);
        free(d);
}

static void nbd_device_close(struct device *dev)
{
        struct nbd_device *d = to_nbd(dev);

        flush_log(d);
        nbd_conns_stop(d);
        nbd_free(d);
}

/* ---- opening ---- */

static void describe(struct nbd_device *d, struct driver_env *env, const char *uri)
{
        const struct nbd_export *e = &d->export;

        d->dev.ops = &nbd_ops;
        d->dev.env = env;
        d->dev.size = e->size;
        d->dev.block_size = max_u64(e->block_min, SECTOR_SIZE);
        d->dev.max_bytes = e->block_max;
        /* What is not aligned goes through whole blocks, which are to be no more than the server takes. */
        d->dev.chunk_bytes = e->block_min > SECTOR_SIZE ? e->block_max : 0;
        d->dev.max_segments = NBD_COMMANDS;
        d->dev.read_only = e->read_only; /* who opened it for reading may be followed */
        d->dev.fua = e->fua && e->flush;
        d->dev.write_through = !e->flush;
        d->dev.max_discard = e->trim ? MAX_TRIM : 0;
        d->dev.max_write_zeroes = e->zero ? MAX_ZEROES : 0;
        snprintf(d->dev.name, sizeof d->dev.name, "%s", uri);
}

static int look_at_export(struct nbd_device *d, struct nbd_handle *h, int oflags, const char **why)
{
        int err = nbd_export_read(h, &d->export);

        if (err) {
                *why = "the server says things of the export that cannot be";
                return err;
        }
        if (d->export.read_only && oflags != O_RDONLY) {
                *why = "the export is read-only";
                return -EACCES;
        }
        return 0;
}

static int open_connected(struct nbd_device *d, struct driver_env *env, const char *uri, int oflags,
                          struct nbd_handle *h, int sock, const char **why)
{
        int err = look_at_export(d, h, oflags, why);

        if (!err)
                err = nbd_log_init(&d->log, d->export.flush);
        if (err)
                return err;
        d->block = malloc(d->export.block_min);
        d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (!d->block || d->stop_fd < 0)
                return -ENOMEM;
        describe(d, env, uri);
        d->up = true;
        return nbd_conns_start(d, d->export.multi_conn ? d->target.connections : 1, h, sock);
}

static int nbd_open(struct driver_env *env, const char *uri, int oflags, struct device **out,
                    const char **why)
{
        struct nbd_device *d = calloc(1, sizeof *d);
        struct nbd_handle *h;
        int err, sock;

        if (!d)
                return -ENOMEM;
        mutex_init(&d->lock, LOCK_NBD);
        d->stop_fd = -1;
        err = nbd_target_parse(&d->target, uri, why);
        if (!err)
                err = nbd_connect(&d->target, now_ns() + d->target.connect_ns, -1, &h, &sock, why);
        if (!err) {
                err = open_connected(d, env, uri, oflags, h, sock, why);
                if (err) {
                        nbd_close(h);
                        close(sock);
                }
        }
        if (err) {
                nbd_free(d);
                return err;
        }
        return device_opened(env, &d->dev, out);
}

const struct driver_type nbd_type = {
        .name = "nbd",
        .open = nbd_open,
};

static const struct driver_ops nbd_ops = {
        .name = "nbd",
        .signal_safe = true, /* submit and commit; the library runs in threads of ours */
        .submit = nbd_submit,
        .commit = nbd_commit,
        .close = nbd_device_close,
};
