/* SPDX-License-Identifier: Apache-2.0
 *
 * queue.c - the queue of one device: three lists, dispatch, and its life.
 *
 * Invariant: a QUEUED request waits only while `depth` requests are at the driver or some thread
 * is in blk_queue_run() and will look again; so whoever queues one, or frees a place, runs the
 * queue, and nobody else has to.
 *
 * A driver may complete within submit, and bi_end_io may submit more. Such a call finds that its
 * own thread is running the queue already, and leaves the work to that loop: the stack does not
 * grow with the number of requests.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "block/request.h"

#define QUEUE_DYING (1u << 31)
#define DEFAULT_DEPTH 64

/* ---- lists ---- */

void rq_list_append(struct rq_list *l, struct request *rq)
{
        rq->next = NULL;
        rq->prev = l->tail;
        if (l->tail)
                l->tail->next = rq;
        else
                l->head = rq;
        l->tail = rq;
}

void rq_list_prepend(struct rq_list *l, struct request *rq)
{
        rq->prev = NULL;
        rq->next = l->head;
        if (l->head)
                l->head->prev = rq;
        else
                l->tail = rq;
        l->head = rq;
}

void rq_list_remove(struct rq_list *l, struct request *rq)
{
        if (rq->prev)
                rq->prev->next = rq->next;
        else
                l->head = rq->next;
        if (rq->next)
                rq->next->prev = rq->prev;
        else
                l->tail = rq->prev;
        rq->next = rq->prev = NULL;
}

/* Somebody waits for a read that is no read-ahead, and for whatever is SYNC or flushes. */
enum rq_class opf_class(uint32_t opf)
{
        if (opf_op(opf) == IO_READ)
                return opf & REQ_RAHEAD ? RQ_READAHEAD : RQ_FAULT;
        if (opf_op(opf) == IO_FLUSH || opf & (REQ_SYNC | REQ_PREFLUSH | REQ_FUA))
                return RQ_FAULT;
        return RQ_WRITEBACK;
}

/* ---- into the queue ---- */

bool blk_queue_merge_bio(struct request_queue *q, struct bio *bio)
{
        bool merged;

        mutex_lock(&q->lock);
        merged = blk_merge_bio(&q->list[opf_class(bio->bi_opf)], bio, BLK_MERGE_SEARCH);
        mutex_unlock(&q->lock);
        return merged;
}

void blk_queue_insert(struct request_queue *q, struct request *rq)
{
        struct rq_list *l = &q->list[opf_class(rq->opf)];
        struct request *gone;

        mutex_lock(&q->lock);
        rq->state = RQ_QUEUED;
        rq_list_append(l, rq);
        gone = blk_merge_requests(l, rq, BLK_MERGE_SEARCH);
        mutex_unlock(&q->lock);
        if (gone)
                request_free(gone);
}

void blk_queue_requeue(struct request_queue *q, struct request *rq)
{
        mutex_lock(&q->lock);
        assert(rq->state == RQ_DISPATCHED);
        rq->state = RQ_QUEUED;
        rq_list_prepend(&q->list[opf_class(rq->opf)], rq);
        q->in_flight--;
        mutex_unlock(&q->lock);
}

bool blk_queue_leave(struct request_queue *q)
{
        bool waiting = false;

        mutex_lock(&q->lock);
        q->in_flight--;
        for (unsigned c = 0; c < RQ_CLASSES; c++)
                waiting |= q->list[c].head != NULL;
        mutex_unlock(&q->lock);
        return waiting;
}

struct blk_queue_state blk_queue_state(struct request_queue *q)
{
        struct blk_queue_state s = { 0 };

        mutex_lock(&q->lock);
        for (unsigned c = 0; c < RQ_CLASSES; c++)
                for (struct request *rq = q->list[c].head; rq; rq = rq->next)
                        s.queued[c]++;
        s.in_flight = q->in_flight;
        mutex_unlock(&q->lock);
        return s;
}

/* ---- out of the queue ---- */

/* The list to serve: the first, but one that has been passed over too often goes before. */
static struct rq_list *choose_list(struct request_queue *q)
{
        int chosen = -1;

        mutex_assert_held(&q->lock);
        for (int c = 0; c < RQ_CLASSES; c++) {
                if (!q->list[c].head)
                        q->passed_over[c] = 0;
                else if (chosen < 0 || q->passed_over[c] >= BLK_STARVED)
                        chosen = c;
                else
                        q->passed_over[c]++;
        }
        if (chosen < 0)
                return NULL;
        q->passed_over[chosen] = 0;
        return &q->list[chosen];
}

/* QUEUED -> DISPATCHED, or NULL. => q->lock held */
static struct request *take_request(struct request_queue *q)
{
        struct rq_list *l;
        struct request *rq;

        mutex_assert_held(&q->lock);
        if (q->in_flight >= q->limits.depth)
                return NULL;
        l = choose_list(q);
        if (!l)
                return NULL;
        rq = l->head;
        rq_list_remove(l, rq);
        rq->state = RQ_DISPATCHED;
        q->in_flight++;
        return rq;
}

/* The queues this thread is running, innermost first. */
struct run_frame {
        struct request_queue *q;
        struct run_frame *outer;
};
static _Thread_local struct run_frame *running;

static bool is_running(const struct request_queue *q)
{
        for (const struct run_frame *f = running; f; f = f->outer)
                if (f->q == q)
                        return true;
        return false;
}

static void dispatch(struct request_queue *q)
{
        struct request *rq;
        bool committed = true;

        mutex_lock(&q->lock);
        while ((rq = take_request(q)) || !committed) {
                mutex_unlock(&q->lock);
                if (rq)
                        request_start(rq);
                else
                        device_commit(q->dev);
                committed = !rq;
                mutex_lock(&q->lock);
        }
        mutex_unlock(&q->lock);
}

void blk_queue_run(struct request_queue *q)
{
        struct run_frame frame = { .q = q, .outer = running };

        if (is_running(q))
                return;
        running = &frame;
        dispatch(q);
        running = frame.outer;
}

/* ---- the queue ---- */

void blk_queue_get(struct request_queue *q, unsigned n)
{
        atomic_fetch_add_explicit(&q->refs, n, memory_order_relaxed);
}

/* The last one may be followed by the end of the queue: only the word's address is used then. */
void blk_queue_put(struct request_queue *q, unsigned n)
{
        if (atomic_fetch_sub(&q->refs, n) == (QUEUE_DYING | n))
                futex_wake(&q->refs, INT_MAX);
}

static void set_limits(struct request_queue *q)
{
        struct device *dev = q->dev;
        uint64_t max = BLK_DEF_MAX_SECTORS;
        unsigned depth = dev->env ? dev->env->depth : 0;

        if (dev->max_bytes)
                max = max_u64(1, min_u64(max, dev->max_bytes >> SECTOR_SHIFT));
        q->limits.max_sectors = (uint32_t)max;
        q->limits.max_segments = BLK_MAX_SEGMENTS;
        if (dev->max_segments && dev->max_segments < BLK_MAX_SEGMENTS)
                q->limits.max_segments = dev->max_segments;
        q->limits.depth = depth ? depth : DEFAULT_DEPTH;
}

int blk_queue_create(struct request_queue **out, struct device *dev, struct block_pool *pool,
                     struct trace *trace)
{
        struct request_queue *q = calloc(1, sizeof *q);

        if (!q)
                return -ENOMEM;
        mutex_init(&q->lock, LOCK_QUEUE);
        q->dev = dev;
        q->pool = pool;
        q->trace = trace;
        set_limits(q);
        *out = q;
        return 0;
}

void blk_queue_destroy(struct request_queue *q)
{
        uint32_t refs = atomic_fetch_or(&q->refs, QUEUE_DYING) | QUEUE_DYING;

        lock_assert_may_sleep();
        while (refs != QUEUE_DYING) {
                futex_wait(&q->refs, refs, 0);
                refs = atomic_load(&q->refs);
        }
        assert(!q->in_flight);
        device_close(q->dev);
        free(q);
}

struct device *blk_queue_device(struct request_queue *q)
{
        return q->dev;
}

struct queue_limits *blk_queue_limits(struct request_queue *q)
{
        return &q->limits;
}

#ifndef NDEBUG
static void check_bios(const struct request *rq)
{
        uint64_t at = rq_offset(rq);
        unsigned n = 0;

        for (const struct bio *bio = rq->bio; bio; bio = bio->bi_next, n++) {
                assert(bio->bi_queue == rq->q && opf_op(bio->bi_opf) == opf_op(rq->opf));
                assert(rq->nr_bios == 1 || bio_offset(bio) == at);
                assert(bio->bi_next || bio == rq->biotail);
                at += bio->bi_size;
        }
        assert(n == rq->nr_bios && n > 0);
        assert(at == rq_offset(rq) + rq->bytes);
}

static void check_request(const struct request *rq, enum rq_class class)
{
        const struct queue_limits *l = &rq->q->limits;

        assert(rq->state == RQ_QUEUED && opf_class(rq->opf) == class);
        assert(rq->steps && rq->start_ns);
        if (rq->nr_bios > 1) {
                assert(!(rq->opf & REQ_NOMERGE_FLAGS));
                assert(rq->nr_bios <= l->max_segments);
                assert(rq->bytes <= (uint64_t)l->max_sectors << SECTOR_SHIFT);
        }
        check_bios(rq);
}

void blk_queue_check(struct request_queue *q)
{
        mutex_lock(&q->lock);
        for (enum rq_class c = 0; c < RQ_CLASSES; c++) {
                const struct request *prev = NULL;

                for (const struct request *rq = q->list[c].head; rq; rq = rq->next) {
                        assert(rq->q == q && rq->prev == prev);
                        check_request(rq, c);
                        prev = rq;
                }
                assert(q->list[c].tail == prev);
        }
        assert(q->in_flight <= q->limits.depth);
        assert((atomic_load(&q->refs) & ~QUEUE_DYING) >= q->in_flight);
        mutex_unlock(&q->lock);
}
#endif
