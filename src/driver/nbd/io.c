/* SPDX-License-Identifier: Apache-2.0
 *
 * io.c - an I/O becomes NBD commands, and ends with them.
 *
 * A read is a command a buffer, and libnbd receives into the buffer itself. A change is one command,
 * sent from its place in the log. What is not aligned to the server's blocks goes through whole ones:
 * a read through memory of its own; a write reads its blocks into the log, is put over them, and
 * sends them (one such at a time on the device: connection 0 has them all).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/nbd/nbd.h"

#define ALL_BEGUN UINT64_MAX

/* ---- the end of an I/O ---- */

static void io_end(struct nbd_conn *c, struct driver_io *io)
{
        struct nbd_device *d = c->d;
        int64_t result = -(int64_t)io->priv[PRIV_ERROR];

        if (!result && io->op == IO_READ)
                result = (int64_t)(io->offset < d->dev.size
                                           ? min_u64(io->len, d->dev.size - io->offset)
                                           : 0);
        else if (!result && io->op != IO_FLUSH)
                result = (int64_t)io->len;
        mutex_lock(&d->lock);
        c->load--;
        mutex_unlock(&d->lock);
        driver_io_done(io, result);
}

static void io_error(struct driver_io *io, int error)
{
        if (!io->priv[PRIV_ERROR])
                io->priv[PRIV_ERROR] = (uint64_t)-error;
}

/* Nothing more of it will be begun. True, as the caller's answer. */
static bool io_begun(struct nbd_conn *c, struct driver_io *io)
{
        io->priv[PRIV_BEGUN] = ALL_BEGUN;
        if (!io->priv[PRIV_COMMANDS])
                io_end(c, io);
        return true;
}

void nbd_io_command_done(struct nbd_conn *c, struct driver_io *io, int error)
{
        if (error)
                io_error(io, error);
        io->priv[PRIV_COMMANDS]--;
        if (!io->priv[PRIV_COMMANDS] && io->priv[PRIV_BEGUN] == ALL_BEGUN)
                io_end(c, io);
}

bool nbd_io_refused(struct nbd_conn *c, struct driver_io *io, int error)
{
        io_error(io, error);
        return io_begun(c, io);
}

/* ---- beginning an I/O: each returns true when nothing of it is left to begin ---- */

static bool is_aligned(const struct nbd_device *d, uint64_t v)
{
        return (v & (d->export.block_min - 1)) == 0;
}

/* The whole blocks of [offset, offset + len), as far as the export goes. */
static void align(const struct nbd_device *d, uint64_t offset, uint64_t len, uint64_t *start,
                  uint32_t *bytes)
{
        uint64_t end = round_up_u64(offset + len, d->export.block_min);

        *start = round_down_u64(offset, d->export.block_min);
        *bytes = (uint32_t)(min_u64(end, d->dev.size) - *start);
}

static bool iov_is_aligned(const struct nbd_device *d, const struct driver_io *io)
{
        if (!is_aligned(d, io->offset))
                return false;
        for (unsigned i = 0; i < io->iovcnt; i++)
                if (!is_aligned(d, io->iov[i].iov_len))
                        return false;
        return true;
}

static bool begin_unaligned_read(struct nbd_conn *c, struct driver_io *io, uint64_t len)
{
        struct nbd_command *cmd;
        uint64_t start;
        uint32_t bytes;

        align(c->d, io->offset, len, &start, &bytes);
        cmd = nbd_command_new(c, io, IO_READ, start, bytes);
        if (!cmd)
                return false;
        cmd->bounce = cmd->buf = malloc(bytes);
        if (!cmd->buf) {
                io->priv[PRIV_COMMANDS]--;
                nbd_command_free(c, cmd);
                return nbd_io_refused(c, io, -ENOMEM);
        }
        nbd_command_send(c, cmd);
        return io_begun(c, io);
}

static bool begin_read(struct nbd_conn *c, struct driver_io *io)
{
        uint64_t room = io->offset < c->d->dev.size ? c->d->dev.size - io->offset : 0;
        uint64_t len = min_u64(io->len, room);

        if (len && !(iov_is_aligned(c->d, io) && is_aligned(c->d, len)))
                return begin_unaligned_read(c, io, len);
        while (io->priv[PRIV_BEGUN] < len) {
                uint64_t begun = io->priv[PRIV_BEGUN];
                uint32_t n = (uint32_t)min_u64(min_u64(io->iov->iov_len, len - begun),
                                               c->d->export.block_max);
                struct nbd_command *cmd = NULL;

                if (n)
                        cmd = nbd_command_new(c, io, IO_READ, io->offset + begun, n);
                if (n && !cmd)
                        return false;
                if (cmd) {
                        cmd->buf = io->iov->iov_base;
                        nbd_command_send(c, cmd);
                }
                io->priv[PRIV_BEGUN] += n;
                io->iov->iov_base = (char *)io->iov->iov_base + n;
                io->iov->iov_len -= n;
                if (!io->iov->iov_len) {
                        io->iov++;
                        io->iovcnt--;
                }
        }
        return io_begun(c, io);
}

void nbd_io_gather(const struct driver_io *io, uint64_t start, char *blocks)
{
        blocks += io->offset - start;
        for (unsigned i = 0; i < io->iovcnt; i++) {
                memcpy(blocks, io->iov[i].iov_base, io->iov[i].iov_len);
                blocks += io->iov[i].iov_len;
        }
}

void nbd_io_scatter(const struct driver_io *io, uint64_t start, const char *blocks, uint64_t len)
{
        blocks += io->offset - start;
        for (unsigned i = 0; i < io->iovcnt && len; i++) {
                uint64_t n = min_u64(io->iov[i].iov_len, len);

                memcpy(io->iov[i].iov_base, blocks, n);
                blocks += n;
                len -= n;
        }
}

/* There is no room in the log: the server shall make durable what it has. */
static void flush_for_room(struct nbd_conn *c)
{
        struct nbd_command *cmd;

        if (c->own_flush || !nbd_log_dirty(&c->d->log))
                return; /* an answer on its way makes room, or something to flush */
        cmd = nbd_command_new(c, NULL, IO_FLUSH, 0, 0);
        if (!cmd)
                return;
        c->own_flush = true;
        nbd_command_send(c, cmd);
}

/* A command for a change, with its place in the log. NULL: not now. */
static struct nbd_command *new_change(struct nbd_conn *c, struct driver_io *io, uint64_t start,
                                      uint32_t bytes)
{
        struct nbd_record *rec;
        struct nbd_command *cmd;

        if (!c->free.head)
                return NULL;
        rec = nbd_log_begin(&c->d->log, io->op, start, bytes);
        if (!rec) {
                flush_for_room(c);
                return NULL;
        }
        cmd = nbd_command_new(c, io, io->op, start, bytes);
        cmd->rec = rec;
        cmd->buf = rec->data;
        return cmd;
}

static bool begin_write(struct nbd_conn *c, struct driver_io *io)
{
        struct nbd_command *cmd;
        uint64_t start;
        uint32_t bytes;

        if (io->offset > c->d->dev.size || io->len > c->d->dev.size - io->offset)
                return nbd_io_refused(c, io, -ENOSPC); /* a write moves all or fails */
        if (io->len > c->d->export.block_max)
                return nbd_io_refused(c, io, -EINVAL); /* dev.max_bytes says so */
        align(c->d, io->offset, io->len, &start, &bytes);
        if (bytes != io->len && c->unaligned_write)
                return false;
        cmd = new_change(c, io, start, bytes);
        if (!cmd)
                return false;
        if (bytes == io->len) {
                nbd_io_gather(io, start, cmd->buf);
        } else {
                c->unaligned_write = cmd->unaligned = true;
                cmd->op = IO_READ;
        }
        nbd_command_send(c, cmd);
        return io_begun(c, io);
}

static bool begin_flush(struct nbd_conn *c, struct driver_io *io)
{
        struct nbd_command *cmd;

        if (!c->d->export.flush)
                return io_begun(c, io);
        cmd = nbd_command_new(c, io, IO_FLUSH, 0, 0);
        if (!cmd)
                return false;
        nbd_command_send(c, cmd);
        return io_begun(c, io);
}

/* A trim is a hint: of blocks that are not wholly in it nothing is done. Zeroes are not. */
static bool begin_clear(struct nbd_conn *c, struct driver_io *io)
{
        const struct nbd_export *e = &c->d->export;
        uint64_t start = round_up_u64(io->offset, e->block_min), end;
        struct nbd_command *cmd;

        if (io->offset > c->d->dev.size || io->len > c->d->dev.size - io->offset)
                return nbd_io_refused(c, io, -ENOSPC);
        end = io->offset + io->len;
        if (end != c->d->dev.size)
                end = round_down_u64(end, e->block_min);
        if (io->op == IO_WRITE_ZEROES && end - start != io->len)
                return nbd_io_refused(c, io, -EOPNOTSUPP);
        if (start >= end)
                return io_begun(c, io);
        if (end - start > UINT32_MAX)
                return nbd_io_refused(c, io, -EINVAL);
        cmd = new_change(c, io, start, (uint32_t)(end - start));
        if (!cmd)
                return false;
        nbd_command_send(c, cmd);
        return io_begun(c, io);
}

static bool begin(struct nbd_conn *c, struct driver_io *io)
{
        if (io->priv[PRIV_ERROR])
                return io_begun(c, io);
        switch (io->op) {
        case IO_READ:
                return begin_read(c, io);
        case IO_WRITE:
                return begin_write(c, io);
        case IO_FLUSH:
                return begin_flush(c, io);
        case IO_DISCARD:
        case IO_WRITE_ZEROES:
                return begin_clear(c, io);
        }
        return nbd_io_refused(c, io, -EOPNOTSUPP);
}

/* ---- the log, written again ---- */

static bool is_in_flight(const struct nbd_conn *c, const struct nbd_record *r)
{
        for (const struct nbd_command *cmd = c->inflight.head; cmd; cmd = cmd->next)
                if (cmd->offset < r->offset + r->len && r->offset < cmd->offset + cmd->len)
                        return true;
        return false;
}

/* True when all of it has been sent and answered. */
static bool replay(struct nbd_conn *c)
{
        struct nbd_record *r;
        uint64_t at;

        while (at = c->replay_at, (r = nbd_log_next(&c->d->log, &at))) {
                struct nbd_command *cmd;

                if (is_in_flight(c, r))
                        return false; /* they must not overtake each other */
                cmd = nbd_command_new(c, NULL, r->op, r->offset, r->len);
                if (!cmd)
                        return false;
                c->replay_at = at;
                cmd->rec = r;
                cmd->buf = r->data;
                nbd_command_send(c, cmd);
        }
        return !c->inflight.head;
}

/* Somebody wants to know whether this connection's server is still the one that it was: a block is read
 * that nobody needs. (The protocol has no question for that.) */
static void ask(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        struct nbd_command *cmd;
        uint32_t len = (uint32_t)min_u64(d->export.block_min, d->dev.size);

        if (c->nr || c->asking || c->asked == c->last_asked)
                return;
        cmd = nbd_command_new(c, NULL, IO_READ, 0, len);
        if (!cmd)
                return;
        cmd->buf = d->block;
        cmd->mark = c->last_asked = c->asked;
        c->asking = true;
        nbd_command_send(c, cmd);
}

void nbd_start(struct nbd_conn *c)
{
        struct nbd_command *cmd;

        if (c->replaying) {
                if (!replay(c))
                        return;
                c->replaying = false;
                nbd_conn_is_up(c);
        }
        ask(c);
        while ((cmd = c->redo.head) && !nbd_is_lost(c)) {
                nbd_list_remove(&c->redo, cmd);
                nbd_command_send(c, cmd);
        }
        while (c->waiting.head && !c->redo.head && !nbd_is_lost(c)) {
                struct driver_io *io = c->waiting.head, *next = io->next;

                if (!begin(c, io))
                        break;
                /* The I/O may be gone. */
                c->waiting.head = next;
                if (!next)
                        c->waiting.tail = NULL;
        }
}
