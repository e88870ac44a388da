/* SPDX-License-Identifier: Apache-2.0
 *
 * queue.c - the queue of one device: in, out, and its life. Who goes next is the elevator's to say.
 *
 * Invariant: a QUEUED request waits only while `depth` requests are at the driver, or, if nobody waits for
 * it, some that move `bytes` or more, or some thread is in blk_queue_run() and will look again; so whoever
 * queues one, or frees a place, runs the queue, and nobody else has to.
 *
 * That many bytes keep any device busy. What is behind them is given to it as soon as some are done, before
 * the thread that is told so has a look at them: so the device reads on while they are copied. (One that
 * tells of what is done only when it has nothing left to do would otherwise be told of all, and then wait
 * for the copying of all.) And what a fault waits for is not behind more than that.
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
#define DEFAULT_BYTES (4u << 20)

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

unsigned rq_list_count(const struct rq_list *l)
{
        unsigned n = 0;

        for (const struct request *rq = l->head; rq; rq = rq->next)
                n++;
        return n;
}

enum rq_prio blk_prio(uint32_t opf, uint16_t ioprio)
{
        switch (ioprio >> 13) {
        case BLK_CLASS_RT:
                return PRIO_RT;
        case BLK_CLASS_BE:
                return PRIO_BE;
        case BLK_CLASS_IDLE:
                return PRIO_IDLE;
        default:
                return opf_is_sync(opf) ? PRIO_RT : PRIO_BE;
        }
}

/* ---- into the queue ---- */

bool blk_queue_merge_bio(struct request_queue *q, struct bio *bio)
{
        bool merged;

        if (!atomic_load_explicit(&q->nr_queued, memory_order_relaxed))
                return false;
        mutex_lock(&q->lock);
        merged = q->nr_queued && q->elv->merge_bio(q, bio);
        mutex_unlock(&q->lock);
        return merged;
}

void blk_queue_insert(struct request_queue *q, struct rq_list *l)
{
        struct request *rq, *next;
        uint64_t now;

        mutex_lock(&q->lock);
        now = q->now(); /* with the lock held: a fifo is in the order of time */
        for (rq = l->head; rq; rq = next) {
                next = rq->next;
                if (rq->q != q)
                        continue;
                rq_list_remove(l, rq);
                rq->state = RQ_QUEUED;
                rq->time[TIME_I] = now;
                trace_emit(q->trace, INSERT, rq->bio->bi_fault, q->object, rq->sector, rq->bytes,
                           rq->opf, rq->prio);
                q->elv->insert(q, rq);
        }
        mutex_unlock(&q->lock);
}

void blk_queue_insert_at_head(struct request_queue *q, struct request *rq)
{
        mutex_assert_held(&q->lock);
        rq->state = RQ_QUEUED;
        rq_list_append(&q->at_head, rq);
}

void blk_queue_requeue(struct request_queue *q, struct request *rq)
{
        mutex_lock(&q->lock);
        assert(rq->state == RQ_DISPATCHED);
        blk_queue_insert_at_head(q, rq);
        rq_back(q, rq);
        mutex_unlock(&q->lock);
}

static bool somebody_waits(const struct request_queue *q)
{
        return q->at_head.head || q->nr_queued;
}

static enum blk_stat stat_of(enum io_op op)
{
        switch (op) {
        case IO_READ:
                return BLK_READ;
        case IO_FLUSH:
                return BLK_FLUSH;
        case IO_DISCARD:
                return BLK_DISCARD;
        case IO_WRITE_ZEROES:
                return BLK_WRITE_ZEROES;
        default:
                return BLK_WRITE;
        }
}

void blk_account(struct request_queue *q, const struct request *rq, uint64_t bytes)
{
        enum blk_stat op = stat_of(opf_op(rq->opf));
        struct blk_op_stats *s = &q->stats.op[op];

        mutex_assert_held(&q->lock);
        if (!rq->time[TIME_D]) /* it was to follow a flush, which failed */
                return;
        s->requests++;
        s->bios += rq->nr_bios;
        s->bytes += bytes;
        s->queue_ns += rq->time[TIME_D] - rq->time[TIME_Q];
        s->device_ns += rq->time[TIME_C] - rq->time[TIME_D];
        histogram_add(&q->latency[op].q2c, rq->time[TIME_C] - rq->time[TIME_Q]);
        histogram_add(&q->latency[op].d2c, rq->time[TIME_C] - rq->time[TIME_D]);
}

void blk_queue_stats(struct request_queue *q, struct blk_queue_stats *stats)
{
        mutex_lock(&q->lock);
        *stats = q->stats;
        mutex_unlock(&q->lock);
}

bool blk_queue_leave(struct request_queue *q, struct request *rq, uint64_t bytes)
{
        bool waiting;

        mutex_lock(&q->lock);
        if (rq->state == RQ_DISPATCHED) /* it may have ended waiting for a flush */
                rq_back(q, rq);
        rq->state = RQ_COMPLETE;
        blk_account(q, rq, bytes);
        waiting = somebody_waits(q);
        mutex_unlock(&q->lock);
        return waiting;
}

struct blk_queue_state blk_queue_state(struct request_queue *q)
{
        struct blk_queue_state s = { 0 };

        mutex_lock(&q->lock);
        q->elv->count(q, &s);
        for (const struct request *rq = q->at_head.head; rq; rq = rq->next)
                s.queued[rq->prio]++;
        s.in_flight = q->in_flight;
        mutex_unlock(&q->lock);
        return s;
}

/* ---- out of the queue ---- */

/* QUEUED -> DISPATCHED, or NULL. => q->lock held */
static struct request *take_request(struct request_queue *q)
{
        struct request *rq = q->at_head.head;
        uint64_t now;

        mutex_assert_held(&q->lock);
        if (q->in_flight >= q->limits.depth || !somebody_waits(q))
                return NULL;
        if (!rq && q->bytes >= q->limits.bytes && !q->elv->urgent(q))
                return NULL;
        now = q->now();
        if (rq)
                rq_list_remove(&q->at_head, rq);
        else
                rq = q->elv->dispatch(q, now);
        if (!rq->time[TIME_D])
                rq->time[TIME_D] = now;
        rq->state = RQ_DISPATCHED;
        q->in_flight++;
        rq->at_driver = op_has_data(opf_op(rq->opf)) ? rq->bytes : 0;
        q->bytes += rq->at_driver;
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

/* own: what this thread does itself, when all else is on its way. */
static void dispatch(struct request_queue *q, const struct blk_plug *plug)
{
        struct request *rq, *own = NULL;
        /* Who waits for a flush does the one that comes, once: it is that one, or is to be over before. */
        bool committed = true, flushes = plug && plug->waits;

        mutex_lock(&q->lock);
        while ((rq = take_request(q)) || !committed || own) {
                mutex_unlock(&q->lock);
                if (rq && plug && !own && (rq->doer == plug || (!rq->bio && flushes))) {
                        own = rq;
                        flushes = false;
                } else if (rq) {
                        request_start(rq);
                        committed = false;
                } else if (!committed) {
                        device_commit(q->dev);
                        committed = true;
                } else {
                        request_perform(own);
                        own = NULL;
                }
                mutex_lock(&q->lock);
        }
        mutex_unlock(&q->lock);
}

void blk_queue_run_for(struct request_queue *q, const struct blk_plug *plug)
{
        struct run_frame frame = { .q = q, .outer = running };

        if (is_running(q))
                return;
        running = &frame;
        dispatch(q, plug);
        running = frame.outer;
}

void blk_queue_run(struct request_queue *q)
{
        blk_queue_run_for(q, NULL);
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

/* No bio has more, since it counts bytes in 32 bits. */
static uint32_t sectors_of(uint64_t bytes)
{
        return (uint32_t)min_u64(bytes, UINT32_MAX) >> SECTOR_SHIFT;
}

static void set_limits(struct request_queue *q)
{
        struct device *dev = q->dev;
        uint64_t max = BLK_DEF_MAX_SECTORS;
        unsigned depth = dev->env ? dev->env->depth : 0;

        if (dev->max_bytes)
                max = max_u64(1, min_u64(max, dev->max_bytes >> SECTOR_SHIFT));
        q->limits = (struct queue_limits){
                .max_sectors = (uint32_t)max,
                .max_discard_sectors = sectors_of(dev->max_discard),
                .max_write_zeroes_sectors = sectors_of(dev->max_write_zeroes),
                .max_segments = dev->max_segments ? dev->max_segments : BLK_MAX_SEGMENTS,
                .max_segment_size = dev->max_segment_bytes ? dev->max_segment_bytes : UINT32_MAX,
                .chunk_sectors = dev->chunk_bytes >> SECTOR_SHIFT,
                .block_size = dev->block_size > SECTOR_SIZE ? dev->block_size : SECTOR_SIZE,
                .depth = depth ? depth : DEFAULT_DEPTH,
                .bytes = DEFAULT_BYTES,
        };
}

static void free_queue(struct request_queue *q)
{
        blk_flush_destroy(q);
        free(q->elv_data);
        free(q);
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
        q->object = dev->object = trace_object(trace, TRACE_OF_DEVICE, dev->name);
        q->now = now_ns;
        q->elv = block_pool_elevator(pool);
        q->elv_data = calloc(1, q->elv->size);
        set_limits(q);
        if (!q->elv_data || blk_flush_create(q)) {
                free_queue(q);
                return -ENOMEM;
        }
        block_pool_add(pool, q);
        *out = q;
        return 0;
}

void blk_queue_destroy(struct request_queue *q)
{
        uint32_t refs;

        block_pool_remove(q->pool, q);
        refs = atomic_fetch_or(&q->refs, QUEUE_DYING) | QUEUE_DYING;
        lock_assert_may_sleep();
        while (refs != QUEUE_DYING) {
                futex_wait(&q->refs, refs, 0);
                refs = atomic_load(&q->refs);
        }
        assert(!q->in_flight);
        device_close(q->dev);
        free_queue(q);
}

struct device *blk_queue_device(struct request_queue *q)
{
        return q->dev;
}

struct queue_limits *blk_queue_limits(struct request_queue *q)
{
        return &q->limits;
}
