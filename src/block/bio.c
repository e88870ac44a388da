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

struct block_pool {
        struct mutex lock;
        struct bio *free_bios;  /* [bios] */
        unsigned used;          /* [bios] slots; those behind were never in use */
        unsigned waiting;       /* [bios] threads that wait for a bio */
        _Atomic uint32_t freed; /* futex word: bumped when a bio is freed and one waits */
        unsigned size;          /* (c) */
        struct bio_slot *slots; /* (c) */
        const struct elevator_ops *elevator; /* (c) once there is a queue */
};

int block_pool_create(struct block_pool **out, unsigned bios)
{
        struct block_pool *p = calloc(1, sizeof *p);

        if (!p)
                return -ENOMEM;
        mutex_init(&p->lock, LOCK_BIOS);
        p->elevator = elevator_find(NULL);
        p->size = bios;
        p->slots = calloc(bios, sizeof *p->slots);
        if (!p->slots) {
                free(p);
                return -ENOMEM;
        }
        *out = p;
        return 0;
}

void block_pool_destroy(struct block_pool *p)
{
        free(p->slots);
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

/* ---- bios ---- */

/* => p->lock held */
static struct bio *take_bio(struct block_pool *p)
{
        struct bio *bio = p->free_bios;

        mutex_assert_held(&p->lock);
        if (bio)
                p->free_bios = bio->bi_next;
        else if (p->used < p->size)
                bio = &p->slots[p->used++].bio;
        return bio;
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
        bio = take_bio(p);
        mutex_unlock(&p->lock);
        return bio ? bio_init(bio, q, opf, sector, buf, bytes) : NULL;
}

/* Waits until there is one: whoever frees a bio wakes. */
static struct bio *bio_alloc_wait(struct request_queue *q)
{
        struct block_pool *p = q->pool;
        struct bio *bio;

        mutex_lock(&p->lock);
        while (!(bio = take_bio(p))) {
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
        bool wake;

        mutex_lock(&p->lock);
        bio->bi_next = p->free_bios;
        p->free_bios = bio;
        wake = p->waiting > 0;
        if (wake)
                atomic_fetch_add(&p->freed, 1);
        mutex_unlock(&p->lock);
        if (wake)
                futex_wake(&p->freed, 1);
}

void bio_end(struct bio *bio)
{
        if (bio->bi_status)
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
        rq->bio = rq->biotail = rq->cur = bio;
        rq->nomerge = rq->started = rq->single = false;
        memset(rq->time, 0, sizeof rq->time);
        rq->time[TIME_Q] = rq->time[TIME_G] = bio->bi_queued;
        rq->steps = blk_flush_steps(q, bio);
        rq->sequence = rq->steps != STEP_DATA;
        rq->cur_done = 0;
        trace_emit(q->trace, TRACE_GETRQ, bio->bi_fault, bio->bi_sector, bio->bi_size, bio->bi_opf,
                   0);
        return rq;
}

/* ---- submission ---- */

/* => a reference to the queue is held: the bio, and all, may be gone on return */
static void submit_alone(struct request_queue *q, struct bio *bio)
{
        struct request *rq = request_alloc(q, bio);
        struct rq_list one = { 0 };

        if (rq->sequence) {
                blk_flush_insert(q, rq);
        } else {
                rq_list_append(&one, rq);
                blk_queue_insert(q, &one);
        }
        blk_queue_run(q);
}

void submit_bio(struct bio *bio, struct blk_plug *plug)
{
        struct request_queue *q = bio->bi_queue;
        bool passes = bio->bi_opf & (REQ_PREFLUSH | REQ_FUA);

        /* One for the bio, one for ourselves: the bio may be gone before we return. */
        blk_queue_get(q, 2);
        bio->bi_next = NULL;
        bio->bi_status = 0;
        bio->bi_done = 0;
        bio->bi_queued = q->now();
        trace_emit(q->trace, TRACE_BIO, bio->bi_fault, bio->bi_sector, bio->bi_size, bio->bi_opf,
                   0);
        if (!blk_flush_steps(q, bio)) {
                bio_end(bio);
                blk_queue_put(q, 2);
                return;
        }
        stat_add(&q->trace->stats, STAT_bios, 1);
        if (plug && !passes)
                blk_plug_bio(plug, bio);
        else if (passes || !blk_queue_merge_bio(q, bio))
                submit_alone(q, bio);
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
        struct bio *bio;

        (void)env;
        assert(!env || !env->loop || !loop_is_current(env->loop));
        bio = bio_init(bio_alloc_wait(q), q, opf, sector, buf, bytes);
        bio->bi_fault = fault;
        bio->bi_private = &wait;
        bio->bi_end_io = end_bio_wait;
        submit_bio(bio, NULL);
        lock_assert_may_sleep();
        while (!atomic_load(&wait.done))
                futex_wait(&wait.done, 0, 0);
        return wait.error;
}
