/* SPDX-License-Identifier: Apache-2.0
 *
 * uring.c - host files through io_uring: one ring per env, used by the threads of env->loop only.
 *
 * Why only those: the kernel may run a request's completion in the thread that submitted it, and
 * waits for that thread to enter the kernel; a program's thread may not do so for minutes.
 *
 *   any thread  -- submit --> `handover` -- commit: loop_kick --> idle function --\
 *   loop thread -- submit --------------------------------------> prepare SQE      > one
 *                                                                 io_uring_submit /  per batch
 *   ring readable --> reap CQEs --> go on after a short transfer, or done()
 *
 * At most `limit` I/Os are in the ring, so that completions cannot overflow; the others wait on
 * `waiting` and follow as those before them complete. Every I/O that is in no list is in the ring.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "driver/file.h"
#include "util/lock.h"

#define SQ_ENTRIES 256
#define CQ_ENTRIES 1024
#define REAP_BATCH 32
#define REAP_BYTES (512u << 10)  /* completed in one go; then faults that became ready run */
#define MAX_TRANSFER 0x7ffff000u /* the kernel moves no more in one call */

struct uring {
        struct io_uring ring;   /* [uring] */
        struct mutex lock;      /* held over io_uring_submit, which waits for no I/O */
        struct io_list waiting; /* [uring] to be prepared when there is room */
        unsigned in_ring;       /* [uring] prepared and not yet reaped */
        unsigned limit;         /* (c) */
        struct mutex handover_lock;
        struct io_list handover; /* [handover] */
        struct loop *loop;       /* (c) */
        struct loop_source source;
        struct loop_idle idle;
};

/* ---- submission ---- */

static void prepare_transfer(struct io_uring_sqe *sqe, struct driver_io *io)
{
        bool write = io->op == IO_WRITE;
        struct file_part part;

        file_io_next(io, &part);
        if (part.iovcnt == 1) {
                size_t len = min_u64(part.iov->iov_len, MAX_TRANSFER);

                io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, part.fd,
                                 part.iov->iov_base, (unsigned)len, part.offset);
        } else {
                io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, part.fd, part.iov,
                                 part.iovcnt, part.offset);
        }
        sqe->rw_flags = part.rw_flags;
}

/* Submit what is prepared. False: the kernel cannot take it now; it stays, and is tried again by
 * the idle function. => r->lock held */
static bool ring_submit(struct uring *r)
{
        int ret;

        mutex_assert_held(&r->lock);
        do
                ret = io_uring_submit(&r->ring);
        while (ret == -EINTR);
        return ret >= 0;
}

/* One SQE for the next part. False: no room. => r->lock held */
static bool prepare(struct uring *r, struct driver_io *io)
{
        struct io_uring_sqe *sqe;

        mutex_assert_held(&r->lock);
        if (r->in_ring >= r->limit)
                return false;
        sqe = io_uring_get_sqe(&r->ring);
        if (!sqe && ring_submit(r))
                sqe = io_uring_get_sqe(&r->ring);
        if (!sqe)
                return false;
        if (io->op == IO_FLUSH)
                io_uring_prep_fsync(sqe, file_fd(io->dev), IORING_FSYNC_DATASYNC);
        else
                prepare_transfer(sqe, io);
        io_uring_sqe_set_data(sqe, io);
        r->in_ring++;
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
        mutex_lock(here ? &r->lock : &r->handover_lock);
        io_list_push(here ? &r->waiting : &r->handover, io);
        if (here)
                prepare_waiting(r);
        mutex_unlock(here ? &r->lock : &r->handover_lock);
}

static void uring_commit(struct device *dev)
{
        loop_kick(dev->env->uring->loop);
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

/* The end of a batch: everything goes to the kernel in one call. Says that it did something also
 * when the kernel took nothing, so that it is called until it did. */
static bool uring_idle(struct loop_idle *idle)
{
        struct uring *r = idle->arg;
        bool did;

        take_handover(r);
        mutex_lock(&r->lock);
        prepare_waiting(r);
        did = io_uring_sq_ready(&r->ring) > 0;
        if (did)
                ring_submit(r);
        mutex_unlock(&r->lock);
        /* What the host had cached is complete already. */
        return reap(r) || did;
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
        err = ring_init(r);
        if (err) {
                free(r);
                return err;
        }
        r->source = (struct loop_source){ .fd = r->ring.ring_fd, .ready = uring_ready, .arg = r };
        r->idle = (struct loop_idle){ .run = uring_idle, .arg = r };
        err = loop_add(r->loop, &r->source);
        if (err) {
                io_uring_queue_exit(&r->ring);
                free(r);
                return err;
        }
        loop_add_idle(r->loop, &r->idle);
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
        .commit = uring_commit,
        .close = file_close,
        .refresh = file_refresh,
        .resize = file_resize,
        .punch = file_punch,
        .allocate = file_allocate,
        .fd = file_fd,
};
