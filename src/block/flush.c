/* SPDX-License-Identifier: Apache-2.0
 *
 * flush.c - PREFLUSH and FUA: what makes writes durable, as a sequence of steps of one request.
 *
 *     PREFLUSH -> DATA -> POSTFLUSH -> done       an error ends the sequence
 *
 * PREFLUSH: the bio asks that what was written before be durable first.
 * DATA:     the bio has any.
 * POSTFLUSH: the bio asks for FUA and the device does not know it.
 * A device without a cache that forgets (write_through) needs neither flush. Flushes wait for nothing: a
 * caller that wants writes covered waits for them first.
 *
 * A request whose only step is DATA goes the way of all others. The rest pass plug and elevator by:
 *
 *              .-------------------- next step is a flush -----------.
 *              v                                                     |
 *     insert -> waiting[pending]    waiting[running] -> step done -> |-> DATA: at head -> driver -.
 *                      |                  ^     one flush for all    |-> none left: complete      |
 *                      '-----kick---------'                          ^----------------------------'
 *
 * kick: the two lists change places, and the device is told to flush, if no flush is under way, and no
 * DATA step of a sequence is either, since it may want the same flush right after; but the first of those
 * that wait does so no longer than BLK_FLUSH_PATIENCE. Whatever ends kicks, so nobody is forgotten.
 * A request that comes while a flush is under way is not served by that one: what it wants durable
 * may have been written after it began.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/request.h"

int blk_flush_create(struct request_queue *q)
{
        struct request *rq = calloc(1, sizeof *rq);

        if (!rq)
                return -ENOMEM;
        rq->q = q;
        rq->opf = IO_FLUSH | REQ_PREFLUSH | REQ_SYNC;
        rq->prio = PRIO_RT;
        q->flush.rq = rq;
        return 0;
}

void blk_flush_destroy(struct request_queue *q)
{
        free(q->flush.rq);
}

unsigned blk_flush_steps(const struct request_queue *q, const struct bio *bio)
{
        bool cached = !q->dev->write_through;
        unsigned steps = 0;

        if (opf_op(bio->bi_opf) == IO_FLUSH)
                return cached ? STEP_PREFLUSH : 0;
        if (cached && bio->bi_opf & REQ_PREFLUSH)
                steps |= STEP_PREFLUSH;
        if (bio->bi_size)
                steps |= STEP_DATA;
        if (cached && bio->bi_size && bio->bi_opf & REQ_FUA && !q->dev->fua)
                steps |= STEP_POSTFLUSH;
        return steps;
}

/* The step the request is at; 0: none is left. */
static unsigned step_of(const struct request *rq)
{
        return rq->steps & -rq->steps;
}

/* ---- from step to step. => q->lock held ---- */

static void kick(struct request_queue *q)
{
        struct blk_flush *f = &q->flush;

        mutex_assert_held(&q->lock);
        if (f->running || !f->waiting[f->pending].head)
                return;
        if (f->data_in_flight && q->now() < f->pending_since + BLK_FLUSH_PATIENCE)
                return;
        f->running = true;
        f->rq->started = false;
        memset(f->rq->time, 0, sizeof f->rq->time);
        f->rq->time[TIME_Q] = f->rq->time[TIME_I] = f->pending_since;
        f->rq->nr_bios = rq_list_count(&f->waiting[f->pending]);
        blk_queue_insert_at_head(q, f->rq);
        f->pending ^= 1;
}

/* NEW or DISPATCHED -> QUEUED, for the step it is at. */
static void enter_step(struct request_queue *q, struct request *rq)
{
        struct blk_flush *f = &q->flush;

        if (step_of(rq) == STEP_DATA) {
                f->data_in_flight++;
                blk_queue_insert_at_head(q, rq);
                return;
        }
        if (!f->waiting[f->pending].head)
                f->pending_since = q->now();
        rq->state = RQ_QUEUED;
        rq_list_append(&f->waiting[f->pending], rq);
}

/* True if there is another one. */
static bool next_step(struct request_queue *q, struct request *rq, int error)
{
        rq->steps &= rq->steps - 1;
        if (error) {
                rq->steps = 0;
                /* A sequence has one bio; if the data failed, it has been told. */
                if (!rq->bio->bi_status)
                        rq->bio->bi_status = error;
        }
        if (!rq->steps)
                return false;
        enter_step(q, rq);
        return true;
}

/* ---- what happens ---- */

void blk_flush_insert(struct request_queue *q, struct request *rq)
{
        mutex_lock(&q->lock);
        rq->time[TIME_I] = q->now();
        enter_step(q, rq);
        kick(q);
        mutex_unlock(&q->lock);
}

void blk_flush_data_done(struct request *rq)
{
        struct request_queue *q = rq->q;
        bool goes_on;

        mutex_lock(&q->lock);
        q->flush.data_in_flight--;
        goes_on = next_step(q, rq, rq->bio->bi_status);
        if (goes_on)
                rq_back(q, rq);
        kick(q);
        mutex_unlock(&q->lock);
        if (!goes_on)
                request_complete(rq);
}

/* Takes off the served list those that are done with it. => q->lock held */
static struct request *end_flush_step(struct request_queue *q, int error)
{
        struct rq_list served = q->flush.waiting[!q->flush.pending];
        struct request *rq, *done = NULL, **tail = &done;

        q->flush.waiting[!q->flush.pending] = (struct rq_list){ 0 };
        while ((rq = served.head)) {
                rq_list_remove(&served, rq);
                if (next_step(q, rq, error))
                        continue;
                *tail = rq;
                tail = &rq->next;
        }
        return done;
}

void blk_flush_done(struct request *rq, int error)
{
        struct request_queue *q = rq->q;
        struct request *done, *next;

        mutex_lock(&q->lock);
        rq_back(q, rq);
        q->flush.running = false;
        rq->time[TIME_C] = q->now();
        blk_account(q, rq, 0);
        trace_emit(q->trace, FLUSH, 0, q->object, rq->nr_bios, (uint64_t)error,
                   rq->time[TIME_C] - rq->time[TIME_Q], 0);
        done = end_flush_step(q, error);
        kick(q);
        mutex_unlock(&q->lock);
        for (; done; done = next) {
                next = done->next;
                request_complete(done);
        }
}
