/* SPDX-License-Identifier: Apache-2.0
 *
 * command.c - the NBD commands that an I/O takes: sent, answered, done again.
 *
 * A server may answer a read in pieces, in any order, and libnbd is content with any number of them.
 * What has come is added up here: a reply with a piece missing, or one twice, is an error, so that
 * nothing that was in the buffer before is taken for the file's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/nbd/nbd.h"

/* ---- lists ---- */

void nbd_list_push(struct nbd_list *l, struct nbd_command *cmd)
{
        cmd->next = NULL;
        cmd->prev = l->tail;
        if (l->tail)
                l->tail->next = cmd;
        else
                l->head = cmd;
        l->tail = cmd;
}

void nbd_list_remove(struct nbd_list *l, struct nbd_command *cmd)
{
        if (cmd->prev)
                cmd->prev->next = cmd->next;
        else
                l->head = cmd->next;
        if (cmd->next)
                cmd->next->prev = cmd->prev;
        else
                l->tail = cmd->prev;
        cmd->next = cmd->prev = NULL;
}

/* ---- what the server sends ---- */

/* A piece of the reply has come; spans are in their order and do not touch. False: some of it has
 * come before, or there are too many. */
static bool add_span(struct nbd_command *cmd, uint64_t start, uint64_t end)
{
        struct nbd_span *s = cmd->spans;
        unsigned nr = cmd->nr_spans, at = 0, next;

        while (at < nr && s[at].end < start)
                at++;
        next = at < nr && s[at].end == start ? at + 1 : at;
        if (next < nr && s[next].start < end)
                return false;
        if (next > at) {
                s[at].end = end;
                if (next < nr && s[next].start == end) { /* it was between two */
                        s[at].end = s[next].end;
                        memmove(&s[next], &s[next + 1], (nr - next - 1) * sizeof *s);
                        cmd->nr_spans--;
                }
        } else if (next < nr && s[next].start == end) {
                s[next].start = start;
        } else {
                if (nr == NBD_SPANS)
                        return false;
                memmove(&s[at + 1], &s[at], (nr - at) * sizeof *s);
                s[at] = (struct nbd_span){ start, end };
                cmd->nr_spans++;
        }
        return true;
}

static bool is_whole(const struct nbd_command *cmd)
{
        return cmd->nr_spans == 1 && cmd->spans[0].start == cmd->offset &&
               cmd->spans[0].end == cmd->offset + cmd->len;
}

/* Called by libnbd, which holds the handle. */
static int on_chunk(void *arg, const void *buf, size_t count, uint64_t offset, unsigned status,
                    int *error)
{
        struct nbd_command *cmd = arg;

        (void)buf;
        if (status == LIBNBD_READ_ERROR || !count || add_span(cmd, offset, offset + count))
                return 0;
        *error = EPROTO;
        return -1;
}

/* Likewise. 1: libnbd may forget the command. */
static int on_done(void *arg, int *error)
{
        struct nbd_command *cmd = arg;

        if (*error == ENOTCONN) /* libnbd's own: the connection is lost */
                return 1;
        if (*error == ESHUTDOWN) { /* the server's: it will not serve this one any more */
                cmd->conn->ended = true;
                return 1;
        }
        cmd->error = -*error;
        cmd->done = cmd->answered = true;
        return 1;
}

/* ---- sending ---- */

static int64_t send_op(struct nbd_conn *c, struct nbd_command *cmd)
{
        nbd_completion_callback done = { .callback = on_done, .user_data = cmd };
        nbd_chunk_callback chunk = { .callback = on_chunk, .user_data = cmd };
        uint32_t flags = cmd->fua ? LIBNBD_CMD_FLAG_FUA : 0;
        bool keep_room = cmd->io && cmd->io->flags & DRIVER_NOUNMAP;

        switch (cmd->op) {
        case IO_READ:
                return nbd_aio_pread_structured(c->h, cmd->buf, cmd->len, cmd->offset, chunk, done,
                                                0);
        case IO_WRITE:
                return nbd_aio_pwrite(c->h, cmd->buf, cmd->len, cmd->offset, done, flags);
        case IO_FLUSH:
                return nbd_aio_flush(c->h, done, 0);
        case IO_DISCARD:
                return nbd_aio_trim(c->h, cmd->len, cmd->offset, done, flags);
        case IO_WRITE_ZEROES:
                return nbd_aio_zero(c->h, cmd->len, cmd->offset, done,
                                    flags | (keep_room ? LIBNBD_CMD_FLAG_NO_HOLE : 0));
        }
        return -1;
}

void nbd_command_send(struct nbd_conn *c, struct nbd_command *cmd)
{
        cmd->nr_spans = 0;
        cmd->error = 0;
        cmd->done = cmd->answered = false;
        cmd->sent_ns = now_ns();
        if (cmd->op == IO_FLUSH)
                cmd->mark = nbd_log_mark(&c->d->log);
        nbd_list_push(&c->inflight, cmd);
        if (send_op(c, cmd) >= 0 || nbd_is_lost(c))
                return;
        /* libnbd knows better than to send it. */
        cmd->error = nbd_get_errno() ? -nbd_get_errno() : -EIO;
        cmd->done = true;
}

struct nbd_command *nbd_command_new(struct nbd_conn *c, struct driver_io *io, enum io_op op,
                                    uint64_t offset, uint32_t len)
{
        struct nbd_command *cmd = c->free.head;

        if (!cmd)
                return NULL;
        nbd_list_remove(&c->free, cmd);
        *cmd = (struct nbd_command){
                .conn = c,
                .io = io,
                .op = op,
                .offset = offset,
                .len = len,
                .fua = io && io->flags & DRIVER_FUA && c->d->export.fua,
        };
        if (io)
                io->priv[PRIV_COMMANDS]++;
        return cmd;
}

void nbd_command_free(struct nbd_conn *c, struct nbd_command *cmd)
{
        free(cmd->bounce);
        cmd->bounce = NULL;
        nbd_list_push(&c->free, cmd);
}

/* ---- the end of a command ---- */

static void flush_done(struct nbd_conn *c, struct nbd_command *cmd)
{
        struct nbd_device *d = c->d;

        /* After a failed one nobody can say what is durable; that it failed is said once, and then
         * there is nothing more to be done about those writes. Where none was answered, there is. */
        if (cmd->answered && nbd_log_flushed(&d->log, cmd->mark))
                nbd_conns_kick(d);
        if (!cmd->io)
                c->own_flush = false;
        mutex_lock(&d->lock);
        if (!cmd->io && cmd->error) {
                d->flush_error = cmd->error;
        } else if (cmd->io && !cmd->error) {
                cmd->error = d->flush_error;
                d->flush_error = 0;
        }
        mutex_unlock(&d->lock);
}

static void change_done(struct nbd_conn *c, struct nbd_command *cmd)
{
        struct nbd_device *d = c->d;
        bool wanted;

        if (cmd->unaligned)
                c->unaligned_write = false;
        if (cmd->io)
                wanted = cmd->error ? nbd_log_drop(&d->log, cmd->rec)
                                    : nbd_log_replied(&d->log, cmd->rec);
        else /* a repetition: it is in the log as it was */
                wanted = cmd->error && nbd_log_drop(&d->log, cmd->rec);
        if (wanted)
                nbd_conns_kick(d);
        if (cmd->io || !cmd->error)
                return;
        mutex_lock(&d->lock);
        d->flush_error = cmd->error;
        mutex_unlock(&d->lock);
}

/* The server was there after the question had been asked. */
static void question_done(struct nbd_conn *c, struct nbd_command *cmd)
{
        struct nbd_device *d = c->d;

        c->asking = false;
        if (!cmd->answered)
                return;
        mutex_lock(&d->lock);
        d->vouched = cmd->mark;
        mutex_unlock(&d->lock);
        nbd_conns_kick(d);
}

/* The blocks of an unaligned write have come: now the write. */
static void write_over(struct nbd_conn *c, struct nbd_command *cmd)
{
        nbd_io_gather(cmd->io, cmd->offset, cmd->buf);
        cmd->op = IO_WRITE;
        nbd_command_send(c, cmd);
}

/* Its result is known; it is in no list. */
static void command_end(struct nbd_conn *c, struct nbd_command *cmd)
{
        struct driver_io *io = cmd->io;
        int error;

        if (cmd->op == IO_READ && !cmd->error && !is_whole(cmd))
                cmd->error = -EPROTO;
        if (cmd->op == IO_READ && cmd->unaligned && !cmd->error && io->op == IO_WRITE) {
                write_over(c, cmd);
                return;
        }
        if (cmd->bounce && !cmd->error)
                nbd_io_scatter(io, cmd->offset, cmd->bounce,
                               min_u64(io->len, c->d->dev.size - io->offset));
        if (cmd->op == IO_FLUSH)
                flush_done(c, cmd);
        else if (cmd->rec)
                change_done(c, cmd);
        else if (!io)
                question_done(c, cmd);
        error = cmd->error;
        nbd_command_free(c, cmd);
        if (io)
                nbd_io_command_done(c, io, error);
}

bool nbd_reap(struct nbd_conn *c)
{
        struct nbd_command *cmd = c->inflight.head, *next;
        bool any = false;

        for (; cmd; cmd = next) {
                next = cmd->next;
                if (!cmd->done)
                        continue;
                atomic_store(&c->d->gave_up, false);
                nbd_list_remove(&c->inflight, cmd);
                command_end(c, cmd);
                any = true;
        }
        return any;
}

/* ---- a connection that is lost ---- */

bool nbd_take_back(struct nbd_conn *c)
{
        struct nbd_list old = c->redo;
        struct nbd_command *cmd;
        bool changes = false;

        c->redo = (struct nbd_list){ 0 };
        c->replaying = false;
        while ((cmd = c->inflight.head)) {
                nbd_list_remove(&c->inflight, cmd);
                changes |= cmd->op != IO_READ && cmd->op != IO_FLUSH;
                if (cmd->io) {
                        nbd_list_push(&c->redo, cmd);
                        continue;
                }
                if (cmd->op == IO_FLUSH)
                        c->own_flush = false;
                if (!cmd->rec && cmd->op == IO_READ)
                        c->asking = false;
                nbd_command_free(c, cmd);
        }
        while ((cmd = old.head)) {
                nbd_list_remove(&old, cmd);
                nbd_list_push(&c->redo, cmd);
        }
        return changes;
}

uint64_t nbd_expire(struct nbd_conn *c, uint64_t since, int error)
{
        struct nbd_command *cmd, *next_cmd;
        struct io_list old = c->waiting;
        struct driver_io *io;
        uint64_t oldest = UINT64_MAX;

        for (cmd = c->redo.head; cmd; cmd = next_cmd) {
                next_cmd = cmd->next;
                if (cmd->io->priv[PRIV_SUBMITTED] > since) {
                        oldest = min_u64(oldest, cmd->io->priv[PRIV_SUBMITTED]);
                        continue;
                }
                nbd_list_remove(&c->redo, cmd);
                atomic_store(&c->d->gave_up, true);
                cmd->error = error;
                command_end(c, cmd);
        }
        c->waiting = (struct io_list){ 0 };
        while ((io = io_list_pop(&old))) {
                if (io->priv[PRIV_SUBMITTED] > since) {
                        oldest = min_u64(oldest, io->priv[PRIV_SUBMITTED]);
                        io_list_push(&c->waiting, io);
                } else {
                        atomic_store(&c->d->gave_up, true);
                        nbd_io_refused(c, io, error);
                }
        }
        return oldest == UINT64_MAX ? 0 : oldest;
}

uint64_t nbd_oldest(const struct nbd_conn *c)
{
        uint64_t oldest = UINT64_MAX;

        for (const struct nbd_command *cmd = c->inflight.head; cmd; cmd = cmd->next)
                oldest = min_u64(oldest, cmd->sent_ns);
        return oldest == UINT64_MAX ? 0 : oldest;
}
