/* SPDX-License-Identifier: Apache-2.0
 *
 * command.c - the NBD commands that an I/O takes: begun, sent, answered, done again.
 *
 * A read is a command a buffer, and libnbd receives into the buffer itself. A change is one command,
 * sent from its place in the log. What is not aligned to the server's blocks goes through whole ones:
 * a read through memory of its own; a write reads its blocks into the log, is put over them, and
 * sends them (one such at a time on the device: connection 0 has them all).
 *
 * A server may answer a read in pieces, in any order, and libnbd is content with any number of them.
 * What has come is added up here: a reply with a piece missing, or one twice, is an error, so that
 * nothing that was in the buffer before is taken for the file's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/nbd/nbd.h"

#define ALL_BEGUN UINT64_MAX

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

static bool io_refused(struct nbd_conn *c, struct driver_io *io, int error)
{
        io_error(io, error);
        return io_begun(c, io);
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
        cmd->done = true;
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

static bool is_lost(const struct nbd_conn *c)
{
        return nbd_aio_is_dead(c->h) || nbd_aio_is_closed(c->h);
}

static void send_command(struct nbd_conn *c, struct nbd_command *cmd)
{
        cmd->nr_spans = 0;
        cmd->error = 0;
        cmd->done = false;
        cmd->sent_ns = now_ns();
        if (cmd->op == IO_FLUSH)
                cmd->mark = nbd_log_mark(&c->d->log);
        nbd_list_push(&c->inflight, cmd);
        if (send_op(c, cmd) >= 0 || is_lost(c))
                return;
        /* libnbd knows better than to send it. */
        cmd->error = nbd_get_errno() ? -nbd_get_errno() : -EIO;
        cmd->done = true;
}

/* A command that is the I/O's (NULL: the driver's own), not sent yet; NULL: all are in use. */
static struct nbd_command *new_command(struct nbd_conn *c, struct driver_io *io, enum io_op op,
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

static void free_command(struct nbd_conn *c, struct nbd_command *cmd)
{
        free(cmd->bounce);
        cmd->bounce = NULL;
        nbd_list_push(&c->free, cmd);
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
        cmd = new_command(c, io, IO_READ, start, bytes);
        if (!cmd)
                return false;
        cmd->bounce = cmd->buf = malloc(bytes);
        if (!cmd->buf) {
                io->priv[PRIV_COMMANDS]--;
                free_command(c, cmd);
                return io_refused(c, io, -ENOMEM);
        }
        send_command(c, cmd);
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
                        cmd = new_command(c, io, IO_READ, io->offset + begun, n);
                if (n && !cmd)
                        return false;
                if (cmd) {
                        cmd->buf = io->iov->iov_base;
                        send_command(c, cmd);
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

/* Puts the I/O's bytes where they belong in the blocks at `start`. */
static void gather(const struct driver_io *io, uint64_t start, char *blocks)
{
        blocks += io->offset - start;
        for (unsigned i = 0; i < io->iovcnt; i++) {
                memcpy(blocks, io->iov[i].iov_base, io->iov[i].iov_len);
                blocks += io->iov[i].iov_len;
        }
}

static void scatter(const struct driver_io *io, uint64_t start, const char *blocks, uint64_t len)
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
        cmd = new_command(c, NULL, IO_FLUSH, 0, 0);
        if (!cmd)
                return;
        c->own_flush = true;
        send_command(c, cmd);
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
        cmd = new_command(c, io, io->op, start, bytes);
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
                return io_refused(c, io, -ENOSPC); /* a write moves all or fails */
        if (io->len > c->d->export.block_max)
                return io_refused(c, io, -EINVAL); /* dev.max_bytes says so */
        align(c->d, io->offset, io->len, &start, &bytes);
        if (bytes != io->len && c->unaligned_write)
                return false;
        cmd = new_change(c, io, start, bytes);
        if (!cmd)
                return false;
        if (bytes == io->len) {
                gather(io, start, cmd->buf);
        } else {
                c->unaligned_write = cmd->unaligned = true;
                cmd->op = IO_READ;
        }
        send_command(c, cmd);
        return io_begun(c, io);
}

static bool begin_flush(struct nbd_conn *c, struct driver_io *io)
{
        struct nbd_command *cmd;

        if (!c->d->export.flush)
                return io_begun(c, io);
        cmd = new_command(c, io, IO_FLUSH, 0, 0);
        if (!cmd)
                return false;
        send_command(c, cmd);
        return io_begun(c, io);
}

/* A trim is a hint: of blocks that are not wholly in it nothing is done. Zeroes are not. */
static bool begin_clear(struct nbd_conn *c, struct driver_io *io)
{
        const struct nbd_export *e = &c->d->export;
        uint64_t start = round_up_u64(io->offset, e->block_min), end;
        struct nbd_command *cmd;

        if (io->offset > c->d->dev.size || io->len > c->d->dev.size - io->offset)
                return io_refused(c, io, -ENOSPC);
        end = io->offset + io->len;
        if (end != c->d->dev.size)
                end = round_down_u64(end, e->block_min);
        if (io->op == IO_WRITE_ZEROES && end - start != io->len)
                return io_refused(c, io, -EOPNOTSUPP);
        if (start >= end)
                return io_begun(c, io);
        if (end - start > UINT32_MAX)
                return io_refused(c, io, -EINVAL);
        cmd = new_change(c, io, start, (uint32_t)(end - start));
        if (!cmd)
                return false;
        send_command(c, cmd);
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
        return io_refused(c, io, -EOPNOTSUPP);
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
                cmd = new_command(c, NULL, r->op, r->offset, r->len);
                if (!cmd)
                        return false;
                c->replay_at = at;
                cmd->rec = r;
                cmd->buf = r->data;
                send_command(c, cmd);
        }
        return !c->inflight.head;
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
        while ((cmd = c->redo.head) && !is_lost(c)) {
                nbd_list_remove(&c->redo, cmd);
                send_command(c, cmd);
        }
        while (c->waiting.head && !c->redo.head && !is_lost(c)) {
                struct driver_io *io = c->waiting.head, *next = io->next;

                if (!begin(c, io))
                        break;
                /* The I/O may be gone. */
                c->waiting.head = next;
                if (!next)
                        c->waiting.tail = NULL;
        }
}

/* ---- the end of a command ---- */

static void flush_done(struct nbd_conn *c, struct nbd_command *cmd)
{
        struct nbd_device *d = c->d;

        /* After a failed one nobody can say what is durable; that it failed is said once, and then
         * there is nothing more to be done about those writes. */
        if (nbd_log_flushed(&d->log, cmd->mark))
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

/* The blocks of an unaligned write have come: now the write. */
static void write_over(struct nbd_conn *c, struct nbd_command *cmd)
{
        gather(cmd->io, cmd->offset, cmd->buf);
        cmd->op = IO_WRITE;
        send_command(c, cmd);
}

/* Its result is known; it is in no list. */
static void command_end(struct nbd_conn *c, struct nbd_command *cmd)
{
        struct driver_io *io = cmd->io;

        if (cmd->op == IO_READ && !cmd->error && !is_whole(cmd))
                cmd->error = -EPROTO;
        if (cmd->op == IO_READ && cmd->unaligned && !cmd->error && io->op == IO_WRITE) {
                write_over(c, cmd);
                return;
        }
        if (cmd->bounce && !cmd->error)
                scatter(io, cmd->offset, cmd->bounce,
                        min_u64(io->len, c->d->dev.size - io->offset));
        if (cmd->op == IO_FLUSH)
                flush_done(c, cmd);
        else if (cmd->rec)
                change_done(c, cmd);
        if (io) {
                if (cmd->error)
                        io_error(io, cmd->error);
                io->priv[PRIV_COMMANDS]--;
        }
        free_command(c, cmd);
        if (io && !io->priv[PRIV_COMMANDS] && io->priv[PRIV_BEGUN] == ALL_BEGUN)
                io_end(c, io);
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
                free_command(c, cmd);
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
                        io_refused(c, io, error);
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
