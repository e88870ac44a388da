/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - what must hold of a queue at any moment, for tests. Debug builds.
 */
#include <assert.h>

#include "block/request.h"

#ifndef NDEBUG

static void check_bios(const struct request *rq)
{
        uint64_t at = rq_offset(rq);
        unsigned n = 0, segments = 0;

        for (const struct bio *bio = rq->bio; bio; bio = bio->bi_next, n++) {
                assert(bio->bi_queue == rq->q && opf_op(bio->bi_opf) == opf_op(rq->opf));
                assert(bio->bi_ioprio == rq->ioprio);
                assert(blk_prio(bio->bi_opf, bio->bi_ioprio) == rq->prio);
                assert(rq->nr_bios == 1 || bio_offset(bio) == at);
                assert(bio->bi_next || bio == rq->biotail);
                at += bio->bi_size;
                segments += bio_segments(bio);
        }
        assert(n == rq->nr_bios && n > 0 && segments == rq->nr_segments);
        assert(at == rq_end_offset(rq));
}

void blk_request_check(const struct request *rq)
{
        assert(rq->state == RQ_QUEUED && rq->steps);
        assert(rq->time[TIME_Q] && rq->time[TIME_Q] <= rq->time[TIME_I]);
        if (rq->nr_bios > 1) {
                assert(!(rq->opf & REQ_NOMERGE_FLAGS));
                assert(rq->nr_segments <= blk_max_segments(rq->q));
                assert(rq->bytes <= blk_max_bytes(rq->q, opf_op(rq->opf), rq_offset(rq)));
        }
        check_bios(rq);
}

static unsigned check_at_head(const struct request_queue *q)
{
        const struct request *prev = NULL;
        unsigned flushes = 0;

        for (const struct request *rq = q->at_head.head; rq; prev = rq, rq = rq->next) {
                assert(rq->q == q && rq->prev == prev && rq->state == RQ_QUEUED);
                assert(rq->started || rq->sequence || rq == q->flush.rq);
                flushes += rq == q->flush.rq;
                if (rq != q->flush.rq)
                        check_bios(rq);
        }
        assert(q->at_head.tail == prev);
        return flushes;
}

static void check_flush(const struct request_queue *q)
{
        const struct blk_flush *f = &q->flush;

        for (unsigned i = 0; i < ARRAY_SIZE(f->waiting); i++)
                for (const struct request *rq = f->waiting[i].head; rq; rq = rq->next) {
                        assert(rq->state == RQ_QUEUED && rq->sequence);
                        assert((rq->steps & -rq->steps) != STEP_DATA && rq->steps);
                }
        assert(check_at_head(q) <= f->running);
        /* What is served has been waiting in the other list, and nobody is left behind. */
        assert(f->running == !!f->waiting[!f->pending].head);
        assert(f->running || f->data_in_flight || !f->waiting[f->pending].head);
}

void blk_queue_check(struct request_queue *q)
{
        mutex_lock(&q->lock);
        q->elv->check(q);
        check_flush(q);
        assert(q->in_flight <= q->limits.depth);
        mutex_unlock(&q->lock);
}

#else

void blk_request_check(const struct request *rq)
{
        (void)rq;
}

#endif
