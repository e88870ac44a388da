/* SPDX-License-Identifier: Apache-2.0
 *
 * elevator.h - what orders the requests that wait in a queue.
 *
 * Every function is called with q->lock held, which guards the elevator's state. What is in the
 * queue's at-head list (further steps, pieces and tries of requests that have been at the driver) goes
 * before all that the elevator has, and never reaches it.
 */
#ifndef FL_BLOCK_ELEVATOR_H
#define FL_BLOCK_ELEVATOR_H

#include <bsd/sys/queue.h>

#include "util/base.h"

struct bio;
struct request;
struct request_queue;
struct blk_queue_state;

struct elevator_ops {
        const char *name;
        size_t size; /* of its state, q->elv_data, which begins as zeros */
        /* The bio joins a request that waits, if one fits. That may fill the gap between two. */
        bool (*merge_bio)(struct request_queue *q, struct bio *bio);
        /* A request comes. It may become one with others, and be the one that is left without bios. */
        void (*insert)(struct request_queue *q, struct request *rq);
        /* The next one to go, taken out; or NULL: there is none. */
        struct request *(*dispatch)(struct request_queue *q, uint64_t now);
        /* Does somebody wait for the next one, or one of the next? It goes at once, then. */
        bool (*urgent)(const struct request_queue *q);
        void (*count)(const struct request_queue *q, struct blk_queue_state *state);
        /* Dies if something is not as it should be. NULL in release builds. */
        void (*check)(const struct request_queue *q);
};

extern const struct elevator_ops deadline_elevator, none_elevator;

/* NULL: the default. Returns NULL if there is none of that name. */
const struct elevator_ops *elevator_find(const char *name);

/* Requests by where they end, for back merges (Linux: elv_rqhash). */
#define ELV_HASH_BITS 6
LIST_HEAD(elv_bucket, request);
struct elv_hash {
        struct elv_bucket bucket[1u << ELV_HASH_BITS];
};
void elv_hash_add(struct elv_hash *h, struct request *rq);
void elv_hash_remove(struct request *rq);
/* The first request of a chain in which those are that end at `offset`, and others. */
struct request *elv_hash_first(const struct elv_hash *h, uint64_t offset);

#endif
