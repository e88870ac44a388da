/* SPDX-License-Identifier: Apache-2.0
 *
 * bio.c - the pool of bios and requests, and submit_bio.
 *
 * The pool has as many requests as bios: a request has at least one bio that is not yet ended.
 * Memory is touched when first used, so a large pool costs little until it is needed.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "block/request.h"

struct block_pool {
        struct mutex lock;
        struct bio *free_bios;         /* [bios] */
        struct request *free_requests; /* [bios] */
        unsigned used_bios;            /* [bios] of the array; those behind were never in use */
        unsigned used_requests;        /* [bios] */
        unsigned waiting;              /* [bios] threads that wait for a bio */
        _Atomic uint32_t freed;        /* futex word: bumped when a bio is freed and one waits */
        unsigned size;                 /* (c) */
        struct bio *bios;              /* (c) */
        struct request *requests;      /* (c) */
};

int block_pool_create(struct block_pool **out, unsigned bios)
{
        struct block_pool *p = calloc(1, sizeof *p);

        if (!p)
                return -ENOMEM;
        mutex_init(&p->lock, LOCK_BIOS);
        p->size = bios;
        p->bios = calloc(bios, sizeof *p->bios);
        p->requests = calloc(bios, sizeof *p->requests);
        if (!p->bios || !p->requests) {
                block_pool_destroy(p);
                return -ENOMEM;
        }
        *out = p;
        return 0;
}

void block_pool_destroy(struct block_pool *p)
{
        free(p->bios);
        free(p->requests);
        free(p);
}

/* ---- bios ---- */

/* => p->lock held */
static struct bio *take_bio(struct block_pool *p)
{
        struct bio *bio = p->free_bios;

        mutex_assert_held(&p->lock);
        if (bio)
                p->free_bios = bio->bi_next;
        else if (p->used_bios < p->size)
                bio = &p->bios[p->used_bios++];
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
        struct block_pool *p = q->pool;
        struct request *rq;

        mutex_lock(&p->lock);
        rq = p->free_requests;
        if (rq)
                p->free_requests = rq->next;
        else
                rq = &p->requests[p->used_requests++];
        mutex_unlock(&p->lock);
        assert(rq < p->requests + p->size);

        rq->next = rq->prev = NULL;
        rq->q = q;
        rq->state = RQ_NEW;
        rq->opf = bio->bi_opf;
        rq->sector = bio->bi_sector;
        rq->bytes = bio->bi_size;
        rq->nr_bios = 1;
        rq->bio = rq->biotail = rq->cur = bio;
        rq->nomerge = rq->started = rq->single = false;
        rq->start_ns = now_ns();
        rq->steps = blk_flush_steps(q, bio);
        rq->cur_done = 0;
        return rq;
}

void request_free(struct request *rq)
{
        struct block_pool *p = rq->q->pool;

        mutex_lock(&p->lock);
        rq->next = p->free_requests;
        p->free_requests = rq;
        mutex_unlock(&p->lock);
}

/* ---- submission ---- */

void submit_bio(struct bio *bio, struct blk_plug *plug)
{
        struct request_queue *q = bio->bi_queue;

        /* One for the bio, one for ourselves: the bio may be gone before we return. */
        blk_queue_get(q, 2);
        bio->bi_next = NULL;
        bio->bi_status = 0;
        bio->bi_done = 0;
        stat_add(&q->trace->stats, STAT_bios, 1);
        trace_emit(q->trace, TRACE_BIO, bio->bi_fault, bio->bi_sector, bio->bi_size, bio->bi_opf,
                   0);
        if (!blk_flush_steps(q, bio)) {
                bio_end(bio);
                blk_queue_put(q, 1);
        } else if (plug && !(bio->bi_opf & (REQ_PREFLUSH | REQ_FUA))) {
                blk_plug_bio(plug, bio);
        } else if (!blk_queue_merge_bio(q, bio)) {
                blk_queue_insert(q, request_alloc(q, bio));
                blk_queue_run(q);
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
