/* SPDX-License-Identifier: Apache-2.0
 *
 * batch.c - see batch.h.
 *
 * The kernel ends a request in the thread that has submitted it, which COOP_TASKRUN keeps it from
 * interrupting: it enters the kernel anyway, to send more or to wait.
 */
#include "driver/batch.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "util/lock.h"

#define MIN_BATCHES 2
#define MAX_BATCHES 8
#define ENTRIES 128        /* in the ring at once; it has room for twice as many ends */
#define REAP 32            /* ends taken in one go */
#define TAIL 8             /* so many are still at the device when we wake to end the others */
#define TRY_AGAIN 1000000l /* ns, if the kernel takes nothing and has nothing */
#define MOST_TRIES 100     /* in a row, for want of memory */

struct driver_batch {
        struct batches *of;
        struct io_uring ring; /* of whoever has taken the bit, as all that follows */
        bool made;
        bool broken;         /* for good: nobody takes the bit any more */
        unsigned in_ring;    /* added, and not yet ended */
        unsigned nr_untaken; /* of those, at the end, so many the kernel has not taken yet: */
        struct io_list untaken;
        unsigned tries;
};

struct batches {
        unsigned nr;                 /* (c) */
        _Atomic uint64_t free;       /* a bit each */
        _Atomic uint64_t ios, calls; /* for people and tests */
        struct driver_batch batch[];
};

static _Thread_local struct driver_batch *mine;

struct batches *batches_create(void)
{
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned half = cores > 0 ? (unsigned)cores / 2 : 0;
        unsigned nr = half < MIN_BATCHES ? MIN_BATCHES : half > MAX_BATCHES ? MAX_BATCHES : half;
        struct batches *b = calloc(1, sizeof *b + nr * sizeof b->batch[0]);

        if (!b)
                return NULL;
        b->nr = nr;
        for (unsigned i = 0; i < nr; i++)
                b->batch[i].of = b;
        atomic_store(&b->free, (1u << nr) - 1);
        return b;
}

void batches_destroy(struct batches *b)
{
        for (unsigned i = 0; b && i < b->nr; i++)
                if (b->batch[i].made)
                        io_uring_queue_exit(&b->batch[i].ring);
        free(b);
}

void batches_count(struct batches *b, uint64_t *ios, uint64_t *calls)
{
        *ios += atomic_load(&b->ios);
        *calls += atomic_load(&b->calls);
}

/* May it be otherwise in a moment? */
static bool is_for_now(int error)
{
        return error == -EAGAIN || error == -EBUSY || error == -ENOMEM || error == -EMFILE ||
               error == -ENFILE;
}

/* On its first use. */
static bool make_ring(struct driver_batch *b)
{
        int err;

        if (!b->made) {
                err = io_uring_queue_init(ENTRIES, &b->ring, IORING_SETUP_COOP_TASKRUN);
                if (err == -EINVAL) /* Linux before 5.19 */
                        err = io_uring_queue_init(ENTRIES, &b->ring, 0);
                b->made = !err;
                b->broken = err && !is_for_now(err);
        }
        return b->made;
}

static void give_back(struct driver_batch *b)
{
        if (!b->broken)
                atomic_fetch_or(&b->of->free, 1ull << (unsigned)(b - b->of->batch));
}

struct driver_batch *batch_mine(const struct batches *b)
{
        return mine && mine->of == b ? mine : NULL;
}

struct driver_batch *batch_begin(struct batches *of)
{
        uint64_t free = atomic_load(&of->free), bit;
        struct driver_batch *b;

        if (mine)
                return NULL;
        do
                bit = free & -free;
        while (bit && !atomic_compare_exchange_weak(&of->free, &free, free & ~bit));
        if (!bit)
                return NULL;
        b = &of->batch[__builtin_ctzll(bit)];
        if (!make_ring(b)) {
                give_back(b);
                return NULL;
        }
        mine = b;
        return b;
}

/* ---- there ---- */

/* n more, or fewer, are in it. */
static void came(struct driver_batch *b, int n)
{
        b->in_ring += (unsigned)n;
        lock_own_io(n);
}

bool batch_add(struct driver_batch *b, struct driver_io *io)
{
        struct io_uring_sqe *sqe;
        struct file_part part;

        if (b->broken || b->in_ring == ENTRIES || !(sqe = io_uring_get_sqe(&b->ring)))
                return false;
        file_io_next(io, &part);
        io_uring_prep_rw(part.iovcnt > 1 ? IORING_OP_WRITEV : IORING_OP_WRITE, sqe, part.fd,
                         part.iovcnt > 1 ? (const void *)part.iov : part.iov->iov_base,
                         part.iovcnt > 1 ? part.iovcnt
                                         : (unsigned)min_u64(part.iov->iov_len, MAX_TRANSFER),
                         part.offset);
        sqe->rw_flags = part.rw_flags;
        io_uring_sqe_set_data(sqe, io);
        io_list_push(&b->untaken, io);
        b->nr_untaken++;
        came(b, 1);
        return true;
}

/* Starts what has been added, and waits for so many ends. What the kernel does not take stays, and is
 * tried again with the next call. */
static int enter(struct driver_batch *b, unsigned wait)
{
        int ret;

        do
                ret = wait ? io_uring_submit_and_wait(&b->ring, wait) : io_uring_submit(&b->ring);
        while (ret == -EINTR);
        for (; b->nr_untaken > io_uring_sq_ready(&b->ring); b->nr_untaken--)
                io_list_pop(&b->untaken);
        atomic_fetch_add(&b->of->calls, 1);
        atomic_fetch_add(&b->of->ios, ret > 0 ? (unsigned)ret : 0);
        return ret;
}

void batch_send(struct driver_batch *b)
{
        if (!b->broken && io_uring_sq_ready(&b->ring))
                enter(b, 0);
}

/* ---- and back ---- */

/* Its next part, if it is not over. */
static void end_one(struct driver_batch *b, struct driver_io *io, int res)
{
        int64_t result;

        came(b, -1);
        if (file_io_end(io, res, &result))
                driver_io_done(io, result);
        else if (!batch_add(b, io)) /* in the place that it has just left */
                uring_hand_over(io);
}

/* Ends what is over. How many. */
static unsigned reap(struct driver_batch *b)
{
        struct io_uring_cqe *cqe;
        unsigned total = 0, n;

        do {
                struct {
                        struct driver_io *io;
                        int res;
                } done[REAP];
                unsigned head;

                n = 0;
                io_uring_for_each_cqe(&b->ring, head, cqe)
                {
                        if (n == REAP)
                                break;
                        done[n].io = io_uring_cqe_get_data(cqe);
                        done[n++].res = cqe->res;
                }
                io_uring_cq_advance(&b->ring, n);
                for (unsigned i = 0; i < n; i++)
                        end_one(b, done[i].io, done[i].res);
                total += n;
        } while (n == REAP);
        return total;
}

unsigned device_batch_count(const struct driver_batch *b)
{
        return b->in_ring;
}

/* The kernel lets the thread send nothing any more: a filter of system calls may have come since, which
 * others have not. So they do what it has not taken. */
static void leave_to_others(struct driver_batch *b)
{
        struct driver_io *io;

        b->broken = true;
        for (; (io = io_list_pop(&b->untaken)); b->nr_untaken--) {
                came(b, -1);
                uring_hand_over(io);
        }
}

/* It took nothing, or will not be asked any more. What it has, it ends while we sleep. */
static void stand_by(struct driver_batch *b, int error)
{
        if (b->broken || (is_for_now(error) && ++b->tries < MOST_TRIES))
                nanosleep(&(struct timespec){ .tv_nsec = TRY_AGAIN }, NULL);
        else
                leave_to_others(b);
}

bool device_batch_wait(struct driver_batch *b, unsigned left)
{
        bool any = reap(b) > 0;

        while (b->in_ring > left) {
                unsigned more = b->in_ring - left;
                int ret = -EPERM;

                lock_assert_may_end_io();
                if (!b->broken)
                        ret = enter(b, more > 2 * TAIL ? more - TAIL : more);
                if (ret >= 0)
                        b->tries = 0;
                else if (!io_uring_cq_ready(&b->ring))
                        stand_by(b, ret);
                any |= reap(b) > 0;
        }
        return any;
}

void device_batch_end(struct driver_batch *b)
{
        device_batch_wait(b, 0);
        mine = NULL;
        give_back(b);
}
