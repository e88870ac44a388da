/* SPDX-License-Identifier: Apache-2.0
 *
 * uring.c - host files through io_uring: one ring per env, used by the threads of env->loop only.
 *
 * Why only those: the kernel may run a request's completion in the thread that submitted it, and
 * waits for that thread to enter the kernel; a program's thread may not do so for minutes. One that waits
 * for all that it writes has a ring of its own meanwhile (batch.h).
 *
 *   any thread  -- submit --> `handover` -- commit: loop_kick --> idle function --\
 *   loop thread -- submit --------------------------------------> prepare SQE      > one
 *                                                                 io_uring_submit /  per batch
 *   ring readable --> reap CQEs --> go on after a short transfer, or done()
 *
 * What the kernel would have to look up for each I/O it is told once, where it lets itself be told:
 * descriptors are in the ring's table of files (FILE_SLOTS, two a file), and the memory that most I/O
 * goes to and from is registered, which locks it (RLIMIT_MEMLOCK). Where that cannot be had, or is used
 * up, an I/O goes as it did without; nobody but uring_state() knows.
 *
 * At most `limit` I/Os are in the ring, so that completions cannot overflow; the others wait on
 * `waiting` and follow as those before them complete. Every I/O that is in no list is in the ring.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "driver/batch.h"
#include "driver/poll.h"
#include "util/lock.h"

#define SQ_ENTRIES 256
#define CQ_ENTRIES 1024
#define REAP_BATCH 32
#define REAP_BYTES (512u << 10) /* completed in one go; then faults that became ready run */
/* Goes to the kernel by itself: what the thread does before the end of its batch may take as long as the disk
 * takes for it. */
#define LARGE (256u << 10)
#define FILE_SLOTS 1024u
/* Locking memory touches it, a millisecond for two megabytes; what gives it out begins at its front. */
#define MAX_MEMORY (2ul << 20)

struct uring {
        struct io_uring ring;      /* [uring] */
        struct mutex lock;         /* held over io_uring_submit, which waits for no I/O */
        struct io_list waiting;    /* [uring] to be prepared when there is room */
        unsigned in_ring;          /* [uring] prepared and not yet reaped */
        struct io_list untaken;    /* [uring] of those what the kernel has not taken yet */
        unsigned nr_untaken;       /* [uring] */
        bool refused;              /* [uring] nor ever will */
        unsigned limit;            /* (c) */
        uint64_t ios, calls;       /* [uring] */
        bool files;                /* (c) there is a table of files */
        bool used[FILE_SLOTS / 2]; /* [uring] pairs of slots */
        char *memory;              /* [uring] registered; NULL: none is */
        size_t memory_bytes;
        struct mutex handover_lock;
        struct io_list handover; /* [handover] */
        struct loop *loop;       /* (c) */
        struct pollers *pollers; /* (c) NULL: nobody polls */
        struct batches *batches; /* (c) */
        struct loop_source source;
        struct loop_idle idle;
};

/* ---- submission ---- */

/* Is it all in the memory the ring knows? => r->lock held */
static bool is_registered(const struct uring *r, const struct iovec *iov)
{
        uint64_t at = (uint64_t)((char *)iov->iov_base - r->memory);

        mutex_assert_held(&r->lock);
        return r->memory && at < r->memory_bytes && iov->iov_len <= r->memory_bytes - at;
}

static uint8_t opcode_of(const struct uring *r, bool write, const struct file_part *part)
{
        if (part->iovcnt > 1)
                return write ? IORING_OP_WRITEV : IORING_OP_READV;
        if (is_registered(r, part->iov))
                return write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
        return write ? IORING_OP_WRITE : IORING_OP_READ;
}

static void set_file(struct io_uring_sqe *sqe, int slot)
{
        if (slot < 0)
                return;
        sqe->fd = slot;
        sqe->flags |= IOSQE_FIXED_FILE;
}

static void prepare_transfer(struct uring *r, struct io_uring_sqe *sqe, struct driver_io *io)
{
        struct file_part part;
        uint8_t op;

        file_io_next(io, &part);
        op = opcode_of(r, io->op == IO_WRITE, &part);
        if (part.iovcnt == 1) {
                size_t len = min_u64(part.iov->iov_len, MAX_TRANSFER);

                io_uring_prep_rw(op, sqe, part.fd, part.iov->iov_base, (unsigned)len, part.offset);
                sqe->buf_index = 0;
        } else {
                io_uring_prep_rw(op, sqe, part.fd, part.iov, part.iovcnt, part.offset);
        }
        sqe->rw_flags = part.rw_flags;
        set_file(sqe, part.slot);
}

static void prepare_flush(struct io_uring_sqe *sqe, struct device *dev)
{
        int slot = to_file(dev)->slot;

        io_uring_prep_fsync(sqe, file_fd(dev), IORING_FSYNC_DATASYNC);
        set_file(sqe, slot < 0 ? -1 : slot + 1);
}

/* Submit what is prepared. False: the kernel cannot take it now; it stays, and is tried again by
 * the idle function, or done without the ring. => r->lock held */
static bool ring_submit(struct uring *r)
{
        int ret;

        mutex_assert_held(&r->lock);
        if (r->refused)
                return false;
        do
                ret = io_uring_submit(&r->ring);
        while (ret == -EINTR);
        for (; r->nr_untaken > io_uring_sq_ready(&r->ring); r->nr_untaken--)
                io_list_pop(&r->untaken);
        r->refused = ret < 0 && ret != -EAGAIN && ret != -EBUSY && ret != -ENOMEM;
        r->calls++;
        r->ios += ret > 0 ? (unsigned)ret : 0;
        return ret >= 0;
}

/* One SQE for the next part. False: no room. => r->lock held */
static bool prepare(struct uring *r, struct driver_io *io)
{
        struct io_uring_sqe *sqe;

        mutex_assert_held(&r->lock);
        if (r->refused || r->in_ring >= r->limit)
                return false;
        sqe = io_uring_get_sqe(&r->ring);
        if (!sqe && ring_submit(r))
                sqe = io_uring_get_sqe(&r->ring);
        if (!sqe)
                return false;
        if (io->op == IO_FLUSH)
                prepare_flush(sqe, io->dev);
        else if (file_io_fallocate(io))
                io_uring_prep_fallocate(sqe, file_fd(io->dev), file_io_fallocate(io), io->offset,
                                        io->len);
        else
                prepare_transfer(r, sqe, io);
        io_uring_sqe_set_data(sqe, io);
        io_list_push(&r->untaken, io);
        r->nr_untaken++;
        r->in_ring++;
        loop_expect(r->loop, 1);
        return true;
}

/* Prepares what waits, oldest first, as far as there is room. => r->lock held */
static void prepare_waiting(struct uring *r)
{
        struct driver_io *io;

        mutex_assert_held(&r->lock);
        while ((io = r->waiting.head)) {
                struct driver_io *next = io->next;

                if (!prepare(r, io))
                        return;
                r->waiting.head = next;
                if (!next)
                        r->waiting.tail = NULL;
        }
}

static void uring_submit(struct device *dev, struct driver_io *io)
{
        struct uring *r = dev->env->uring;
        bool here = loop_is_current(r->loop);
        int64_t result;

        if (file_io_begin(io, &result)) {
                driver_io_done(io, result);
                return;
        }
        /* Maybe another thread has come to send it, or the batch is over: then it is as any. */
        if (io->batch && io->op == IO_WRITE && io->batch == batch_mine(r->batches) &&
            batch_add(io->batch, io))
                return;
        mutex_lock(here ? &r->lock : &r->handover_lock);
        io_list_push(here ? &r->waiting : &r->handover, io);
        if (here)
                prepare_waiting(r);
        if (here && io->len >= LARGE)
                ring_submit(r);
        mutex_unlock(here ? &r->lock : &r->handover_lock);
}

void uring_hand_over(struct driver_io *io)
{
        struct uring *r = io->dev->env->uring;

        mutex_lock(&r->handover_lock);
        io_list_push(&r->handover, io);
        mutex_unlock(&r->handover_lock);
        loop_kick(r->loop);
}

static void uring_commit(struct device *dev)
{
        struct uring *r = dev->env->uring;
        struct driver_batch *own = batch_mine(r->batches);
        bool others = true;

        if (own) {
                batch_send(own);
                mutex_lock(&r->handover_lock);
                others = r->handover.head;
                mutex_unlock(&r->handover_lock);
        }
        if (others)
                loop_kick(r->loop);
}

static struct driver_batch *uring_batch_begin(struct device *dev)
{
        return batch_begin(dev->env->uring->batches);
}

/* By the thread that would wait for it. The ring of all is of no use to it (above). */
static void uring_perform(struct device *dev, struct driver_io *io)
{
        struct pollers *p = dev->env->uring->pollers;
        struct file_part part;
        int64_t result;

        if (!p || io->op != IO_READ) {
                file_perform(dev, io);
                return;
        }
        if (!file_io_begin(io, &result))
                do
                        file_io_next(io, &part);
                while (!file_io_end(io, poll_read(p, &part), &result));
        driver_io_done(io, result);
}

/* ---- completion ---- */

struct reaped {
        struct driver_io *io;
        int res;
};

static unsigned reap_batch(struct uring *r, struct reaped *batch)
{
        struct io_uring_cqe *cqe;
        uint64_t bytes = 0;
        unsigned head, n = 0;

        mutex_lock(&r->lock);
        io_uring_for_each_cqe(&r->ring, head, cqe)
        {
                if (n == REAP_BATCH || bytes >= REAP_BYTES)
                        break;
                batch[n].io = io_uring_cqe_get_data(cqe);
                batch[n++].res = cqe->res;
                bytes += cqe->res > 0 ? (unsigned)cqe->res : 0;
        }
        io_uring_cq_advance(&r->ring, n);
        r->in_ring -= n;
        if (n)
                loop_expect(r->loop, -(int)n);
        mutex_unlock(&r->lock);
        return n;
}

/* Completes, or goes on with, a batch of what the kernel has finished. True if there was any. */
static bool reap(struct uring *r)
{
        struct reaped batch[REAP_BATCH];
        unsigned n = reap_batch(r, batch);

        for (unsigned i = 0; i < n; i++) {
                struct driver_io *io = batch[i].io;
                int64_t result;

                if (file_io_end(io, batch[i].res, &result)) {
                        driver_io_done(io, result);
                        continue;
                }
                mutex_lock(&r->lock);
                io_list_push(&r->waiting, io);
                mutex_unlock(&r->lock);
        }
        return n > 0;
}

static void uring_ready(struct loop_source *source)
{
        reap(source->arg); /* what waits is prepared by the idle function of this round */
}

static void take_handover(struct uring *r)
{
        struct io_list taken;
        struct driver_io *io;

        mutex_lock(&r->handover_lock);
        taken = r->handover;
        r->handover = (struct io_list){ 0 };
        mutex_unlock(&r->handover_lock);
        mutex_lock(&r->lock);
        while ((io = io_list_pop(&taken)))
                io_list_push(&r->waiting, io);
        mutex_unlock(&r->lock);
}

/* The next of those that no ring will do. */
static struct driver_io *take_refused(struct uring *r)
{
        struct driver_io *io;

        mutex_lock(&r->lock);
        io = io_list_pop(&r->untaken);
        if (io) {
                r->nr_untaken--;
                r->in_ring--;
                loop_expect(r->loop, -1);
        } else {
                io = io_list_pop(&r->waiting);
        }
        mutex_unlock(&r->lock);
        return io;
}

/* The kernel lets us send nothing any more: a program may forbid that to all of its threads when all is set
 * up. Slow, but no fault waits for ever. True if there was any. */
static bool do_without(struct uring *r)
{
        struct driver_io *io;
        bool any = false;

        for (; (io = take_refused(r)); any = true)
                file_io_perform(io);
        return any;
}

/* The end of a batch: everything goes to the kernel in one call. Says that it did something also
 * when the kernel took nothing, so that it is called until it did. */
static bool uring_idle(struct loop_idle *idle)
{
        struct uring *r = idle->arg;
        bool did, refused;

        take_handover(r);
        mutex_lock(&r->lock);
        prepare_waiting(r);
        did = r->nr_untaken > 0;
        if (did)
                ring_submit(r);
        refused = r->refused;
        mutex_unlock(&r->lock);
        if (refused)
                did = do_without(r);
        /* What the host had cached is complete already. */
        return reap(r) || did;
}

/* ---- what the ring knows beforehand ---- */

/* A pair of slots, or -1. */
static int take_slots(struct uring *r)
{
        int slot = -1;

        mutex_lock(&r->lock);
        for (unsigned i = 0; r->files && i < FILE_SLOTS / 2 && slot < 0; i++) {
                if (r->used[i])
                        continue;
                r->used[i] = true;
                slot = (int)(2 * i);
        }
        mutex_unlock(&r->lock);
        return slot;
}

static void give_slots(struct uring *r, int slot)
{
        mutex_lock(&r->lock);
        r->used[slot / 2] = false;
        mutex_unlock(&r->lock);
}

void uring_add_file(struct file_device *f)
{
        struct uring *r = f->dev.env->uring;
        int fd[2] = { f->direct, f->buffered }, slot = take_slots(r);

        if (slot < 0)
                return;
        if (io_uring_register_files_update(&r->ring, (unsigned)slot, fd, 2) == 2)
                f->slot = slot;
        else
                give_slots(r, slot);
}

static void uring_close(struct device *dev)
{
        struct file_device *f = to_file(dev);
        int none[2] = { -1, -1 };

        if (f->slot >= 0) {
                io_uring_register_files_update(&dev->env->uring->ring, (unsigned)f->slot, none, 2);
                give_slots(dev->env->uring, f->slot);
        }
        file_close(dev);
}

/* => nothing of the env is in flight */
static void add_memory(struct uring *r, void *base, size_t bytes)
{
        struct iovec iov = { .iov_base = base, .iov_len = min_u64(bytes, MAX_MEMORY) };

        if (!base || io_uring_register_buffers(&r->ring, &iov, 1))
                return;
        mutex_lock(&r->lock);
        r->memory = base;
        r->memory_bytes = iov.iov_len;
        mutex_unlock(&r->lock);
}

void driver_env_add_memory(struct driver_env *env, void *base, size_t bytes)
{
        env->memory = base;
        env->memory_bytes = bytes;
        if (env->uring)
                add_memory(env->uring, base, bytes);
}

bool uring_state(struct driver_env *env, struct uring_state *state)
{
        struct uring *r = env->uring;

        if (!r)
                return false;
        mutex_lock(&r->lock);
        *state = (struct uring_state){
                .files = r->files, .memory = r->memory, .ios = r->ios, .calls = r->calls
        };
        mutex_unlock(&r->lock);
        batches_count(r->batches, &state->ios, &state->calls);
        return true;
}

/* ---- the ring ---- */

static int ring_init(struct uring *r)
{
        struct io_uring_params params = {
                .flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                .cq_entries = CQ_ENTRIES,
        };
        int err = io_uring_queue_init_params(SQ_ENTRIES, &r->ring, &params);

        if (err)
                return err;
        r->limit = params.cq_entries;
        /* Without it iovecs would have to stay where they are until completion. */
        if (params.features & IORING_FEAT_SUBMIT_STABLE)
                return 0;
        io_uring_queue_exit(&r->ring);
        return -ENOSYS;
}

static void ring_destroy(struct uring *r)
{
        loop_remove_idle(r->loop, &r->idle);
        loop_remove(r->loop, &r->source);
        io_uring_queue_exit(&r->ring);
        pollers_destroy(r->pollers);
        batches_destroy(r->batches);
        free(r);
}

static int ring_create(struct driver_env *env, struct uring **out)
{
        struct uring *r = calloc(1, sizeof *r);
        int err;

        if (!r)
                return -ENOMEM;
        mutex_init(&r->lock, LOCK_URING);
        mutex_init(&r->handover_lock, LOCK_HANDOVER);
        r->loop = env->loop;
        r->batches = batches_create();
        err = r->batches ? ring_init(r) : -ENOMEM;
        if (err) {
                batches_destroy(r->batches);
                free(r);
                return err;
        }
        r->source = (struct loop_source){
                .fd = r->ring.ring_fd, .ready = uring_ready, .arg = r, .edge = true
        };
        r->idle = (struct loop_idle){ .run = uring_idle, .arg = r };
        err = loop_add(r->loop, &r->source);
        if (err) {
                io_uring_queue_exit(&r->ring);
                batches_destroy(r->batches);
                free(r);
                return err;
        }
        loop_add_idle(r->loop, &r->idle);
        r->files = io_uring_register_files_sparse(&r->ring, FILE_SLOTS) == 0;
        add_memory(r, env->memory, env->memory_bytes);
        if (env->spin.most_ns)
                r->pollers = pollers_create(&env->spin);
        *out = r;
        return 0;
}

int uring_prepare(struct driver_env *env)
{
        struct uring *r, *none = NULL;
        int err;

        if (__atomic_load_n(&env->uring, __ATOMIC_ACQUIRE))
                return 0;
        if (!env->loop)
                return -ENOSYS; /* nobody would reap */
        err = ring_create(env, &r);
        if (err)
                return err;
        /* Two opens at once: the second ring goes. */
        if (!__atomic_compare_exchange_n(&env->uring, &none, r, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
                ring_destroy(r);
        return 0;
}

void uring_destroy(struct driver_env *env)
{
        if (env->uring)
                ring_destroy(env->uring);
        env->uring = NULL;
}

const struct driver_ops uring_ops = {
        .name = "uring",
        .signal_safe = true,
        .submit = uring_submit,
        .perform = uring_perform,
        .batch_begin = uring_batch_begin,
        .commit = uring_commit,
        .close = uring_close,
        .refresh = file_refresh,
        .resize = file_resize,
        .punch = file_punch,
        .allocate = file_allocate,
        .fd = file_fd,
};
