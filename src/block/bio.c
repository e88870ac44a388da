/* SPDX-License-Identifier: Apache-2.0
 *
 * bio.c - the pool of bios and requests, and submit_bio.
 *
 * Each bio has the memory of a request beside it, which is used if it becomes one of its own. Whatever
 * else joins that request, it is over before any of its bios is freed; so a bio is all that has to be
 * allocated. Memory is touched when first used: a large pool costs little until it is needed.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/request.h"

struct bio_slot {
        struct bio bio;
        struct request request;
};

struct bio_stock {
        struct bio *free;       /* [bios] linked by bi_next */
        unsigned used;          /* [bios] slots; those behind were never in use */
        unsigned left;          /* [bios] bios that can be had */
        unsigned size;          /* (c) */
        struct bio_slot *slots; /* (c) */
};

struct block_pool {
        struct mutex lock;
        struct bio_stock bios, parts;      /* [bios] what callers get, and what split.c does */
        LIST_HEAD(, request_queue) queues; /* [bios] */
        unsigned waiting;                  /* [bios] threads that wait for a bio */
        _Atomic uint32_t freed; /* futex word: bumped when a bio is freed and one waits */
        const struct elevator_ops *elevator; /* (c) once there is a queue */
};

static bool stock_init(struct bio_stock *s, unsigned bios)
{
        s->size = s->left = bios;
        s->slots = calloc(bios, sizeof *s->slots);
        return s->slots;
}

int block_pool_create(struct block_pool **out, unsigned bios)
{
        struct block_pool *p = calloc(1, sizeof *p);

        if (!p)
                return -ENOMEM;
        mutex_init(&p->lock, LOCK_BIOS);
        p->elevator = elevator_find(NULL);
        if (!stock_init(&p->bios, bios) || !stock_init(&p->parts, BLK_PARTS)) {
                block_pool_destroy(p);
                return -ENOMEM;
        }
        *out = p;
        return 0;
}

void block_pool_destroy(struct block_pool *p)
{
        free(p->bios.slots);
        free(p->parts.slots);
        free(p);
}

int block_pool_set_elevator(struct block_pool *p, const char *name)
{
        const struct elevator_ops *elevator = elevator_find(name);

        if (!elevator)
                return -EINVAL;
        p->elevator = elevator;
        return 0;
}

const struct elevator_ops *block_pool_elevator(const struct block_pool *p)
{
        return p->elevator;
}

/* At the end: those that are there keep their numbers, by which their counters are known. */
void block_pool_add(struct block_pool *p, struct request_queue *q)
{
        struct request_queue *last = NULL, *at;

        mutex_lock(&p->lock);
        LIST_FOREACH (at, &p->queues, of_pool)
                last = at;
        if (last)
                LIST_INSERT_AFTER(last, q, of_pool);
        else
                LIST_INSERT_HEAD(&p->queues, q, of_pool);
        mutex_unlock(&p->lock);
}

void block_pool_remove(struct block_pool *p, struct request_queue *q)
{
        mutex_lock(&p->lock);
        LIST_REMOVE(q, of_pool);
        mutex_unlock(&p->lock);
}

/* The index-th of the pool, which stays until it is put; NULL: there are not so many. */
static struct request_queue *get_queue(struct block_pool *p, unsigned index)
{
        struct request_queue *q;

        mutex_lock(&p->lock);
        LIST_FOREACH (q, &p->queues, of_pool)
                if (!index--)
                        break;
        if (q)
                blk_queue_get(q, 1);
        mutex_unlock(&p->lock);
        return q;
}

bool block_pool_stats(struct block_pool *p, unsigned index, char name[64],
                      struct blk_queue_stats *stats, struct blk_queue_state *state)
{
        struct request_queue *q = get_queue(p, index);

        if (!q)
                return false;
        memcpy(name, q->dev->name, sizeof q->dev->name);
        blk_queue_stats(q, stats);
        *state = blk_queue_state(q);
        blk_queue_put(q, 1);
        return true;
}

bool block_pool_latencies(struct block_pool *p, unsigned index,
                          void (*tell)(void *arg, const char *device, enum blk_stat op,
                                       struct blk_latency *latency),
                          void *arg)
{
        struct request_queue *q = get_queue(p, index);

        if (!q)
                return false;
        for (unsigned op = 0; op < BLK_STATS; op++)
                tell(arg, q->dev->name, op, &q->latency[op]);
        blk_queue_put(q, 1);
        return true;
}

unsigned block_pool_in_flight(struct block_pool *p)
{
        struct request_queue *q;
        unsigned n = 0;

        mutex_lock(&p->lock);
        LIST_FOREACH (q, &p->queues, of_pool)
                n += atomic_load_explicit(&q->in_flight, memory_order_relaxed);
        mutex_unlock(&p->lock);
        return n;
}

/* ---- bios ---- */

/* => the pool's lock held */
static struct bio *take_bio(struct bio_stock *s)
{
        struct bio *bio = s->free;

        if (!s->left)
                return NULL;
        s->left--;
        if (bio)
                s->free = bio->bi_next;
        else
                bio = &s->slots[s->used++].bio;
        return bio;
}

struct bio *bio_alloc_parts(struct block_pool *p, unsigned n)
{
        struct bio *first = NULL;

        mutex_lock(&p->lock);
        for (unsigned left = p->parts.left; n && left >= n; n--, left--) {
                struct bio *bio = take_bio(&p->parts);

                bio->bi_next = first;
                first = bio;
        }
        mutex_unlock(&p->lock);
        return first;
}

static struct bio *bio_init(struct bio *bio, struct request_queue *q, uint32_t opf, uint64_t sector,
                            void *buf, uint32_t bytes)
{
        *bio = (struct bio){
                .bi_opf = opf,
                .bi_size = bytes,
                .bi_sector = sector,
                .bi_buf = buf,
                .bi_queue = q,
        };
        return bio;
}

struct bio *bio_alloc(struct request_queue *q, uint32_t opf, uint64_t sector, void *buf,
                      uint32_t bytes)
{
        struct block_pool *p = q->pool;
        struct bio *bio;

        mutex_lock(&p->lock);
        bio = take_bio(&p->bios);
        mutex_unlock(&p->lock);
        return bio ? bio_init(bio, q, opf, sector, buf, bytes) : NULL;
}

/* Waits until there is one: whoever frees a bio wakes. */
static struct bio *bio_alloc_wait(struct request_queue *q)
{
        struct block_pool *p = q->pool;
        struct bio *bio;

        mutex_lock(&p->lock);
        while (!(bio = take_bio(&p->bios))) {
                uint32_t seen = atomic_load(&p->freed);

                p->waiting++;
                mutex_unlock(&p->lock);
                lock_assert_may_sleep();
                futex_wait(&p->freed, seen, 0);
                mutex_lock(&p->lock);
                p->waiting--;
        }
        mutex_unlock(&p->lock);
        return bio;
}

static void bio_free(struct bio *bio)
{
        struct block_pool *p = bio->bi_queue->pool;
        struct bio_stock *s = bio->bi_is_part ? &p->parts : &p->bios;
        bool wake;

        mutex_lock(&p->lock);
        bio->bi_next = s->free;
        s->free = bio;
        s->left++;
        wake = p->waiting > 0;
        if (wake)
                atomic_fetch_add(&p->freed, 1);
        mutex_unlock(&p->lock);
        if (wake)
                futex_wake(&p->freed, 1);
}

void bio_end(struct bio *bio)
{
        if (bio->bi_status && !bio->bi_is_part)
                stat_add(&bio->bi_queue->trace->stats, STAT_io_errors, 1);
        lock_assert_below(LOCK_EVICT);
        bio->bi_end_io(bio);
        bio_free(bio);
}

/* ---- requests ---- */

struct request *request_alloc(struct request_queue *q, struct bio *bio)
{
        struct request *rq = &container_of(bio, struct bio_slot, bio)->request;

        rq->next = rq->prev = NULL;
        rq->q = q;
        rq->state = RQ_NEW;
        rq->opf = bio->bi_opf;
        rq->ioprio = bio->bi_ioprio;
        rq->prio = blk_prio(bio->bi_opf, bio->bi_ioprio);
        rq->sector = bio->bi_sector;
        rq->bytes = bio->bi_size;
        rq->nr_bios = 1;
        rq->nr_segments = bio_segments(bio);
        rq->bio = rq->biotail = rq->cur = bio;
        rq->nomerge = rq->started = rq->single = false;
        rq->doer = NULL;
        rq->batch = NULL;
        memset(rq->time, 0, sizeof rq->time);
        rq->time[TIME_Q] = rq->time[TIME_G] = bio->bi_queued;
        rq->steps = blk_flush_steps(q, bio);
        rq->sequence = rq->steps != STEP_DATA;
        rq->cur_done = 0;
        trace_emit(q->trace, GETRQ, bio->bi_fault, q->object, bio->bi_sector, bio->bi_size,
                   bio->bi_opf, 0);
        return rq;
}

/* ---- submission ---- */

/* => a reference to the queue is held: the bio, and all, may be gone on return */
static void submit_alone(struct request_queue *q, struct bio *bio, const struct blk_plug *plug)
{
        struct request *rq = request_alloc(q, bio);
        struct rq_list one = { 0 };

        if (rq->sequence) {
                blk_flush_insert(q, rq);
        } else {
                rq_list_append(&one, rq);
                blk_queue_insert(q, &one);
        }
        blk_queue_run_for(q, plug);
}

/* 0, or why nothing of it can be done. */
static int check_op(const struct request_queue *q, const struct bio *bio)
{
        enum io_op op = opf_op(bio->bi_opf);

        return op == IO_FLUSH || blk_max_bytes(q, op, bio_offset(bio)) ? 0 : -EOPNOTSUPP;
}

void submit_bio(struct bio *bio, struct blk_plug *plug)
{
        struct request_queue *q = bio->bi_queue;
        bool passes = bio->bi_opf & (REQ_PREFLUSH | REQ_FUA);

        /* One for the bio, one for ourselves: the bio may be gone before we return. */
        blk_queue_get(q, 2);
        bio->bi_next = NULL;
        bio->bi_status = check_op(q, bio);
        bio->bi_done = 0;
        bio->bi_queued = q->now();
        trace_emit(q->trace, BIO, bio->bi_fault, q->object, bio->bi_sector, bio->bi_size,
                   bio->bi_opf, 0);
        if (bio->bi_status || !blk_flush_steps(q, bio)) {
                bio_end(bio);
                blk_queue_put(q, 2);
                return;
        }
        if (!blk_split_bio(q, bio, plug)) {
                stat_add(&q->trace->stats, STAT_bios, 1);
                if (plug && !passes)
                        blk_plug_bio(plug, bio);
                else if (passes || !blk_queue_merge_bio(q, bio))
                        submit_alone(q, bio, plug && plug->waits ? plug : NULL);
        }
        blk_queue_put(q, 1);
}

struct bio_wait {
        _Atomic uint32_t done;
        int error;
};

static void end_bio_wait(struct bio *bio)
{
        struct bio_wait *w = bio->bi_private;

        w->error = bio->bi_status;
        if (!w->error && bio->bi_done < bio->bi_size)
                w->error = -EIO;
        atomic_store(&w->done, 1);
        futex_wake(&w->done, 1);
}

int submit_bio_wait(struct request_queue *q, uint32_t opf, uint64_t sector, void *buf,
                    uint32_t bytes, uint64_t fault)
{
        struct driver_env *env = q->dev->env;
        struct bio_wait wait = { .error = 0 };
        bool flush = opf & REQ_PREFLUSH && !bytes && q->dev->ops->perform;
        struct blk_plug plug = { .waits = flush };
        struct bio *bio;

        (void)env;
        assert(!env || !env->loop || !loop_is_current(env->loop));
        bio = bio_init(bio_alloc_wait(q), q, opf, sector, buf, bytes);
        bio->bi_fault = fault;
        bio->bi_private = &wait;
        bio->bi_end_io = end_bio_wait;
        submit_bio(bio, flush ? &plug : NULL);
        lock_assert_may_sleep();
        while (!atomic_load(&wait.done))
                futex_wait(&wait.done, 0, 0);
        return wait.error;
}
