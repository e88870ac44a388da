/* SPDX-License-Identifier: Apache-2.0
 *
 * flush.c - PREFLUSH and FUA: what makes writes durable, as a sequence of steps of one request.
 *
 *     PREFLUSH -> DATA -> POSTFLUSH -> done       an error ends the sequence
 *
 * PREFLUSH: the bio asks that what was written before be durable first.
 * DATA:     the bio has any.
 * POSTFLUSH: the bio asks for FUA and the device does not know it.
 * Flushes wait for nothing: a caller that wants writes covered waits for them first.
 */
#include "block/request.h"

unsigned blk_flush_steps(const struct request_queue *q, const struct bio *bio)
{
        unsigned steps = 0;

        if (opf_op(bio->bi_opf) == IO_FLUSH)
                return STEP_PREFLUSH;
        if (bio->bi_opf & REQ_PREFLUSH)
                steps |= STEP_PREFLUSH;
        if (bio->bi_size)
                steps |= STEP_DATA;
        if (bio->bi_size && bio->bi_opf & REQ_FUA && !q->dev->fua)
                steps |= STEP_POSTFLUSH;
        return steps;
}

/* The step the request is at; 0: none is left. */
unsigned blk_flush_step(const struct request *rq)
{
        return rq->steps & -rq->steps;
}

void blk_flush_step_done(struct request *rq, int error)
{
        rq->steps &= rq->steps - 1;
        if (!error)
                return;
        rq->steps = 0;
        /* Flushing requests do not merge; of the others only the data step has errors, and it
         * has written them down bio by bio. */
        if (!rq->bio->bi_status)
                rq->bio->bi_status = error;
}
