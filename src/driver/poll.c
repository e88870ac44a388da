/* SPDX-License-Identifier: Apache-2.0
 *
 * poll.c - see poll.h.
 *
 * The kernel ends a request in the thread that has submitted it. COOP_TASKRUN keeps it from interrupting
 * that thread for it: the flag it sets instead is what io_uring_peek_cqe() looks at.
 */
#include "driver/poll.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_POLLERS 8
#define ENTRIES 1 /* its thread waits for the one read */

struct pollers {
        struct spin *spin;     /* (c) */
        unsigned nr;           /* (c) rings */
        _Atomic uint64_t free; /* a bit each */
        _Atomic unsigned readers;
        struct io_uring rings[]; /* of whoever has taken the bit */
};

static int ring_init(struct io_uring *ring)
{
        int err = io_uring_queue_init(ENTRIES, ring,
                                      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);

        return err == -EINVAL ? io_uring_queue_init(ENTRIES, ring, 0) : err; /* Linux before 5.19 */
}

struct pollers *pollers_create(struct spin *spin)
{
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned nr =
                (unsigned)max_u64(1, min_u64(cores > 0 ? (uint64_t)cores / 2 : 1, MAX_POLLERS));
        struct pollers *p = calloc(1, sizeof *p + nr * sizeof p->rings[0]);

        if (!p)
                return NULL;
        p->spin = spin;
        while (p->nr < nr && !ring_init(&p->rings[p->nr]))
                p->nr++;
        atomic_store(&p->free, (1u << p->nr) - 1);
        if (p->nr)
                return p;
        free(p);
        return NULL;
}

void pollers_destroy(struct pollers *p)
{
        for (unsigned i = 0; p && i < p->nr; i++)
                io_uring_queue_exit(&p->rings[i]);
        free(p);
}

/* A ring's bit, or 0. */
static uint64_t take(struct pollers *p)
{
        uint64_t free = atomic_load(&p->free), bit;

        do
                bit = free & -free;
        while (bit && !atomic_compare_exchange_weak(&p->free, &free, free & ~bit));
        return bit;
}

/* False: the kernel did not take it. */
static bool submit(struct io_uring *ring, const struct file_part *part)
{
        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
        int ret;

        io_uring_prep_readv(sqe, part->fd, part->iov, part->iovcnt, part->offset);
        do
                ret = io_uring_submit(ring);
        while (ret == -EINTR);
        return ret == 1;
}

/* The result of the one read in the ring, polled for until the time is up. The read goes on whatever
 * happens, so there is no way out of here before its end. */
static int64_t finish(struct io_uring *ring, struct spin *spin, uint64_t most)
{
        uint64_t begin = now_ns(), spun = 0;
        struct io_uring_cqe *cqe;
        int64_t res;

        while (io_uring_peek_cqe(ring, &cqe) && spun < most) {
                spin_pause();
                spun = now_ns() - begin;
        }
        spin_end(spin, spun, spun < most);
        while (io_uring_peek_cqe(ring, &cqe))
                io_uring_wait_cqe(ring, &cqe);
        res = cqe->res;
        io_uring_cqe_seen(ring, cqe);
        return res;
}

static int64_t read_asleep(const struct file_part *part)
{
        ssize_t n = preadv2(part->fd, part->iov, (int)part->iovcnt, (off_t)part->offset, 0);

        return n < 0 ? -errno : n;
}

/* With a ring of its own, if one is free and it is worth it. False: with none. */
static bool read_polled(struct pollers *p, const struct file_part *part, int64_t *res)
{
        uint64_t bit = take(p), most = bit ? spin_begin(p->spin) : 0;
        struct io_uring *ring;
        bool submitted;

        if (!bit)
                return false;
        ring = &p->rings[__builtin_ctzll(bit)];
        submitted = most && submit(ring, part);
        if (submitted)
                *res = finish(ring, p->spin, most);
        /* What the kernel would not take lies in the ring yet, and must never be: nobody gets that. */
        if (submitted || !most)
                atomic_fetch_or(&p->free, bit);
        return submitted;
}

int64_t poll_read(struct pollers *p, const struct file_part *part)
{
        int64_t res;

        /* Where more threads read than can poll, one that polls takes the processor from the others. */
        if (atomic_fetch_add(&p->readers, 1) >= p->nr || !read_polled(p, part, &res))
                res = read_asleep(part);
        atomic_fetch_sub(&p->readers, 1);
        return res;
}
