/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_ring.c - the workloads on io_uring, with O_DIRECT: what the device gives at this depth.
 *
 * One thread keeps `depth` reads or writes in flight. Each has a slot with a buffer and a stream
 * of pages of its own, as a thread of the other sides has.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct slot {
        struct stream stream;
        char *buf;
        uint64_t size; /* asked for */
};

struct ring_run {
        struct work *work;
        struct io_uring ring;
        struct slot *slot;
        unsigned depth, flying;
        uint64_t done, errors; /* units */
        uint64_t bytes;
};

static void ring_close(struct ring_run *r)
{
        for (unsigned i = 0; r->slot && i < r->depth; i++)
                free(r->slot[i].buf);
        free(r->slot);
        io_uring_queue_exit(&r->ring);
}

/* 0 or an errno value. */
static int ring_open(struct ring_run *r, struct work *w)
{
        int error;

        *r = (struct ring_run){ .work = w };
        r->depth = w->load->depth ? w->load->depth : w->load->threads;
        error = io_uring_queue_init(r->depth, &r->ring, 0);
        if (error)
                return -error;
        r->slot = calloc(r->depth, sizeof(*r->slot));
        for (unsigned i = 0; r->slot && i < r->depth && !error; i++) {
                stream_begin(&r->slot[i].stream, w, i);
                r->slot[i].buf = aligned_alloc(PAGE_SIZE, w->load->block);
                if (r->slot[i].buf)
                        memset(r->slot[i].buf, 0x5a, w->load->block);
                else
                        error = ENOMEM;
        }
        if (r->slot && !error)
                return 0;
        ring_close(r);
        return ENOMEM;
}

static void ring_ask(struct ring_run *r, struct slot *slot, uint64_t at, uint64_t size)
{
        struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

        slot->size = size;
        if (r->work->load->write)
                io_uring_prep_write(sqe, r->work->fd, slot->buf, (unsigned)size, at);
        else
                io_uring_prep_read(sqe, r->work->fd, slot->buf, (unsigned)size, at);
        io_uring_sqe_set_data(sqe, slot);
        r->flying++;
}

/* Submits what was asked for, and waits for one: its slot. NULL and errno: the ring failed. */
static struct slot *ring_wait(struct ring_run *r)
{
        struct io_uring_cqe *cqe;
        struct slot *slot;
        int error;

        do {
                error = io_uring_submit_and_wait(&r->ring, 1);
                error = error < 0 ? error : io_uring_wait_cqe(&r->ring, &cqe);
        } while (error == -EINTR);
        if (error < 0) {
                errno = -error;
                return NULL;
        }
        slot = io_uring_cqe_get_data(cqe);
        if (cqe->res == (int)slot->size)
                r->done++;
        else
                r->errors++;
        if (cqe->res > 0)
                r->bytes += (uint64_t)cqe->res;
        if (cqe->res > 0 && !r->work->load->write)
                bench_keep(sum_bytes(slot->buf, r->work->load->block == PAGE_SIZE
                                                        ? sizeof(uint64_t)
                                                        : (uint64_t)cqe->res));
        io_uring_cqe_seen(&r->ring, cqe);
        r->flying--;
        return slot;
}

/* Waits for all; 0 or an errno value. */
static int ring_drain(struct ring_run *r)
{
        while (r->flying)
                if (!ring_wait(r))
                        return errno;
        return 0;
}

static void ask_next(struct ring_run *r, struct slot *slot)
{
        ring_ask(r, slot, r->work->load->next(&slot->stream) * PAGE_SIZE, PAGE_SIZE);
}

/* Until the time is up, always `depth` in flight. */
static int read_for_a_time(struct ring_run *r, uint64_t until)
{
        for (unsigned i = 0; i < r->depth; i++)
                ask_next(r, &r->slot[i]);
        while (now_ns() < until) {
                struct slot *slot = ring_wait(r);

                if (!slot)
                        return errno;
                ask_next(r, slot);
        }
        return 0;
}

/* SYNC_EVERY writes, and when all are done a sync. */
static int write_for_a_time(struct ring_run *r, uint64_t until)
{
        while (now_ns() < until) {
                int error;

                for (unsigned i = 0; i < SYNC_EVERY; i++) {
                        struct slot *slot = &r->slot[i % r->depth];

                        if (i >= r->depth && !(slot = ring_wait(r)))
                                return errno;
                        ask_next(r, slot);
                }
                error = ring_drain(r);
                if (error)
                        return error;
                if (r->work->ops->sync(r->work))
                        return errno;
        }
        return 0;
}

int run_touches_ring(struct work *w, struct bench_result *result)
{
        struct ring_run r;
        uint64_t started, until;
        int error = ring_open(&r, w), drained;

        if (error)
                return error;
        started = now_ns();
        until = started + (uint64_t)(w->job->seconds * 1e9);
        error = w->load->write ? write_for_a_time(&r, until) : read_for_a_time(&r, until);
        result->units = r.done;
        result->ns = now_ns() - started;
        drained = ring_drain(&r);
        result->errors = r.errors;
        ring_close(&r);
        return error ? error : drained;
}

int run_pass_ring(struct work *w, struct bench_result *result)
{
        uint64_t size = w->pages * PAGE_SIZE, started, at = 0;
        struct ring_run r;
        int error = ring_open(&r, w);

        if (error)
                return error;
        started = now_ns();
        for (unsigned used = 0; at < size && !error;) {
                uint64_t n = size - at < w->load->block ? size - at : w->load->block;
                struct slot *slot = used < r.depth ? &r.slot[used++] : ring_wait(&r);

                if (!slot) {
                        error = errno;
                        break;
                }
                ring_ask(&r, slot, at, n);
                at += n;
        }
        error = error ? error : ring_drain(&r);
        if (!error && w->load->write && w->ops->sync(w))
                error = errno;
        result->units = r.bytes;
        result->ns = now_ns() - started;
        result->errors = r.errors;
        ring_close(&r);
        return error;
}
