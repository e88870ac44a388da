/* SPDX-License-Identifier: Apache-2.0
 *
 * none.c - no elevator: first in, first out, whoever waits for it.
 *
 * For devices that order what they get better than we can, and for comparisons. As in Linux a bio is
 * tried against the last few requests only, so it costs the same however many wait.
 */
#include <assert.h>

#include "block/request.h"

struct none {
        struct rq_list fifo;
};

static struct none *none_of(const struct request_queue *q)
{
        return q->elv_data;
}

static void took(struct request_queue *q, struct request *gone)
{
        if (gone)
                q->nr_queued--;
}

static bool none_merge_bio(struct request_queue *q, struct bio *bio)
{
        struct request *gone;

        if (!blk_merge_bio_list(&none_of(q)->fifo, bio, BLK_MERGE_SEARCH, &gone))
                return false;
        took(q, gone);
        return true;
}

static void none_insert(struct request_queue *q, struct request *rq)
{
        rq_list_append(&none_of(q)->fifo, rq);
        q->nr_queued++;
        took(q, blk_merge_list(&none_of(q)->fifo, rq, BLK_MERGE_SEARCH));
}

static struct request *none_dispatch(struct request_queue *q, uint64_t now)
{
        struct request *rq = none_of(q)->fifo.head;

        (void)now;
        if (rq) {
                rq_list_remove(&none_of(q)->fifo, rq);
                q->nr_queued--;
        }
        return rq;
}

static bool none_urgent(const struct request_queue *q)
{
        const struct request *rq = none_of(q)->fifo.head;

        return rq && rq->prio == PRIO_RT;
}

static void none_count(const struct request_queue *q, struct blk_queue_state *state)
{
        for (const struct request *rq = none_of(q)->fifo.head; rq; rq = rq->next)
                state->queued[rq->prio]++;
}

#ifndef NDEBUG
static void none_check(const struct request_queue *q)
{
        const struct request *prev = NULL;
        unsigned n = 0;

        for (const struct request *rq = none_of(q)->fifo.head; rq; prev = rq, rq = rq->next, n++) {
                assert(rq->q == q && rq->prev == prev);
                blk_request_check(rq);
        }
        assert(none_of(q)->fifo.tail == prev && n == q->nr_queued);
}
#else
#define none_check NULL
#endif

const struct elevator_ops none_elevator = {
        .name = "none",
        .size = sizeof(struct none),
        .merge_bio = none_merge_bio,
        .insert = none_insert,
        .dispatch = none_dispatch,
        .urgent = none_urgent,
        .count = none_count,
        .check = none_check,
};
