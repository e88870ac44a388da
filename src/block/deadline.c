/* SPDX-License-Identifier: Apache-2.0
 *
 * deadline.c - the elevator that sorts by sector, and lets nothing wait too long (Linux: mq-deadline).
 *
 * For each priority, real-time, best effort and idle, reads and writes each have a tree, sorted by
 * sector, and a fifo, which is also sorted by deadline. What goes next:
 *
 *   1. the oldest request of a lower priority, if it has waited PRIO_AGING (best effort, then idle)
 *   2. best effort, if it has been passed over PASSED_OVER times
 *   3. the first priority that has any; within it
 *      a. the batch goes on: the next in sector order, up to FIFO_BATCH of one direction
 *      b. a new batch: reads, unless writes have been passed over WRITES_STARVED times
 *      c. which begins at the fifo's head if its deadline has passed or nothing lies further on, else
 *         where the last batch of that direction ended
 *
 * So of what is not at the driver yet a fault read is behind no more than one read-ahead or write-back
 * in seventeen. The second rule is ours: in Linux real-time is what an administrator has asked for, here
 * it is every fault; and a fault may also come to wait for a page that is being read ahead, or for
 * a page that write-back makes clean. Every fifo is in the order of insertion, since a direction has one
 * time to expire; a request that takes over an older one's bios goes on in the older one's place.
 *
 * A back merge is found in a hash of ends, a front merge in the tree, and the last request that took a
 * bio is tried first, since the next bio often follows it.
 */
#include <assert.h>
#include <stdlib.h>

#include "block/request.h"

#define MS 1000000ull
#define READ_EXPIRE (500 * MS)
#define WRITE_EXPIRE (5000 * MS)
#define PRIO_AGING (10000 * MS)
#define PASSED_OVER 16
#define WRITES_STARVED 2
#define FIFO_BATCH 16

enum { DIR_READ, DIR_WRITE, DIRS };

/* Several may begin at one sector: the one that came first is first. */
static int compare(const struct request *a, const struct request *b)
{
        if (a->sector != b->sector)
                return a->sector < b->sector ? -1 : 1;
        return a->serial < b->serial ? -1 : a->serial > b->serial;
}

RB_HEAD(rq_tree, request);
RB_GENERATE_INTERNAL(rq_tree, request, sorted, compare, __attribute__((unused)) static)

struct level {
        struct rq_tree tree[DIRS];
        struct rq_list fifo[DIRS];
        uint64_t position[DIRS]; /* sector behind which the direction's batch goes on */
        unsigned count[DIRS];
        unsigned direction; /* of the batch */
        unsigned batched;   /* requests it has had */
        unsigned starved;   /* batches of reads since writes waited */
};

struct deadline {
        struct level level[RQ_PRIOS];
        struct elv_hash ends;
        struct request *last_merge; /* NULL, or QUEUED */
        unsigned passed_over;       /* requests that went before those of best effort in a row */
        uint64_t serial;
};

static struct deadline *deadline_of(const struct request_queue *q)
{
        return q->elv_data;
}

static unsigned direction_of(const struct request *rq)
{
        return opf_is_write(rq->opf) ? DIR_WRITE : DIR_READ;
}

/* ---- in and out ---- */

static struct rq_tree *tree_of(struct deadline *d, const struct request *rq)
{
        return &d->level[rq->prio].tree[direction_of(rq)];
}

/* It has grown: where it begins and ends are the keys by which it is found. */
static void regrow(struct deadline *d, struct request *rq, uint64_t began_at)
{
        if (rq->sector != began_at) {
                RB_REMOVE(rq_tree, tree_of(d, rq), rq);
                RB_INSERT(rq_tree, tree_of(d, rq), rq);
        }
        elv_hash_remove(rq);
        elv_hash_add(&d->ends, rq);
}

static void add(struct request_queue *q, struct request *rq)
{
        struct deadline *d = deadline_of(q);
        struct level *l = &d->level[rq->prio];
        unsigned dir = direction_of(rq);

        rq->serial = d->serial++;
        rq->deadline = rq->time[TIME_I] + (dir == DIR_READ ? READ_EXPIRE : WRITE_EXPIRE);
        RB_INSERT(rq_tree, tree_of(d, rq), rq);
        elv_hash_add(&d->ends, rq);
        rq_list_append(&l->fifo[dir], rq);
        l->count[dir]++;
        q->nr_queued++;
}

static struct request *take_out(struct request_queue *q, struct request *rq)
{
        struct deadline *d = deadline_of(q);
        struct level *l = &d->level[rq->prio];
        unsigned dir = direction_of(rq);

        RB_REMOVE(rq_tree, tree_of(d, rq), rq);
        elv_hash_remove(rq);
        rq_list_remove(&l->fifo[dir], rq);
        l->count[dir]--;
        q->nr_queued--;
        if (d->last_merge == rq)
                d->last_merge = NULL;
        return rq;
}

/* ---- merging ---- */

/* The request of a tree with the lowest sector that is not below; NULL: all are. */
static struct request *first_from(const struct rq_tree *tree, uint64_t sector)
{
        struct request *rq = RB_ROOT(tree), *best = NULL;

        while (rq) {
                if (rq->sector >= sector)
                        best = rq;
                rq = rq->sector >= sector ? RB_LEFT(rq, sorted) : RB_RIGHT(rq, sorted);
        }
        return best;
}

/* Both are QUEUED: the one that is served first lives on. */
static bool merge_queued(struct request_queue *q, struct request **rq, struct request *other)
{
        bool older = other->deadline < (*rq)->deadline ||
                     (other->deadline == (*rq)->deadline && other->serial < (*rq)->serial);
        struct request *keep = older ? other : *rq, *gone = older ? *rq : other;
        uint64_t began_at = keep->sector;

        if (!blk_merge_requests(keep, gone))
                return false;
        take_out(q, gone);
        regrow(deadline_of(q), keep, began_at);
        *rq = keep;
        return true;
}

/* A request that ends where rq begins, and rq can join it. */
static struct request *before(struct deadline *d, const struct request *rq)
{
        struct request *other = elv_hash_first(&d->ends, rq_offset(rq));

        while (other && (other == rq || rq_end_offset(other) != rq_offset(rq) ||
                         other->prio != rq->prio || direction_of(other) != direction_of(rq)))
                other = LIST_NEXT(other, hashed);
        return other;
}

static struct request *behind(struct deadline *d, const struct request *rq)
{
        uint64_t end = rq_end_offset(rq);
        struct request *other;

        if (end % SECTOR_SIZE)
                return NULL;
        other = first_from(&d->level[rq->prio].tree[direction_of(rq)], end >> SECTOR_SHIFT);
        return other && other != rq && rq_offset(other) == end ? other : NULL;
}

/* rq has come, or grown: it and its neighbours become one as long as they fit. */
static void merge_neighbours(struct request_queue *q, struct request *rq)
{
        struct deadline *d = deadline_of(q);
        struct request *other;

        while ((other = before(d, rq)) && merge_queued(q, &rq, other))
                ;
        while ((other = behind(d, rq)) && merge_queued(q, &rq, other))
                ;
        d->last_merge = rq;
}

static bool merge_into(struct request_queue *q, struct request *rq, struct bio *bio)
{
        uint64_t began_at = rq->sector;

        if (!blk_merge_bio(rq, bio))
                return false;
        regrow(deadline_of(q), rq, began_at);
        merge_neighbours(q, rq);
        return true;
}

static bool adjoins(const struct request *rq, const struct bio *bio)
{
        return rq_end_offset(rq) == bio_offset(bio) || bio_end_offset(bio) == rq_offset(rq);
}

static bool deadline_merge_bio(struct request_queue *q, struct bio *bio)
{
        struct deadline *d = deadline_of(q);
        struct level *l = &d->level[blk_prio(bio->bi_opf, bio->bi_ioprio)];
        uint64_t end = bio_end_offset(bio);
        struct request *rq, *next;

        if (d->last_merge && adjoins(d->last_merge, bio) && merge_into(q, d->last_merge, bio))
                return true;
        for (rq = elv_hash_first(&d->ends, bio_offset(bio)); rq; rq = next) {
                next = LIST_NEXT(rq, hashed);
                if (rq_end_offset(rq) == bio_offset(bio) && merge_into(q, rq, bio))
                        return true;
        }
        if (end % SECTOR_SIZE)
                return false;
        rq = first_from(&l->tree[opf_is_write(bio->bi_opf)], end >> SECTOR_SHIFT);
        return rq && rq_offset(rq) == end && merge_into(q, rq, bio);
}

static void deadline_insert(struct request_queue *q, struct request *rq)
{
        add(q, rq);
        merge_neighbours(q, rq);
}

/* ---- dispatch ---- */

static bool level_is_empty(const struct level *l)
{
        return !l->count[DIR_READ] && !l->count[DIR_WRITE];
}

/* The older of the two that came first; NULL: there is none. */
static struct request *oldest(const struct level *l)
{
        struct request *read = l->fifo[DIR_READ].head, *write = l->fifo[DIR_WRITE].head;

        if (!read || !write)
                return read ? read : write;
        return read->time[TIME_I] <= write->time[TIME_I] ? read : write;
}

/* Alone, a priority has nobody to wait for. */
static struct request *aged(const struct deadline *d, uint64_t now)
{
        unsigned waiting = 0;

        for (enum rq_prio p = PRIO_RT; p < RQ_PRIOS; p++)
                waiting += !level_is_empty(&d->level[p]);
        if (waiting < 2)
                return NULL;
        for (enum rq_prio p = PRIO_BE; p <= PRIO_IDLE; p++) {
                struct request *rq = oldest(&d->level[p]);

                if (rq && rq->time[TIME_I] + PRIO_AGING <= now)
                        return rq;
        }
        return NULL;
}

static unsigned choose_direction(struct level *l)
{
        if (!l->count[DIR_READ] || (l->count[DIR_WRITE] && l->starved >= WRITES_STARVED)) {
                l->starved = 0;
                return DIR_WRITE;
        }
        if (l->count[DIR_WRITE])
                l->starved++;
        return DIR_READ;
}

static struct request *begin_batch(struct level *l, uint64_t now)
{
        unsigned dir = choose_direction(l);
        struct request *head = l->fifo[dir].head;
        struct request *next = first_from(&l->tree[dir], l->position[dir]);

        l->direction = dir;
        l->batched = 0;
        return head->deadline <= now || !next ? head : next;
}

static struct request *choose(struct level *l, uint64_t now)
{
        struct request *rq = NULL;

        if (l->batched < FIFO_BATCH)
                rq = first_from(&l->tree[l->direction], l->position[l->direction]);
        if (!rq)
                rq = begin_batch(l, now);
        l->position[l->direction] = rq->sector;
        l->batched++;
        return rq;
}

/* => there is a request */
static struct level *first_level(struct deadline *d)
{
        if (d->passed_over >= PASSED_OVER)
                return &d->level[PRIO_BE];
        for (enum rq_prio p = PRIO_RT; p < PRIO_IDLE; p++)
                if (!level_is_empty(&d->level[p]))
                        return &d->level[p];
        return &d->level[PRIO_IDLE];
}

static struct request *deadline_dispatch(struct request_queue *q, uint64_t now)
{
        struct deadline *d = deadline_of(q);
        struct request *rq;

        if (!q->nr_queued)
                return NULL;
        rq = aged(d, now);
        if (!rq)
                rq = choose(first_level(d), now);
        if (rq->prio == PRIO_BE || level_is_empty(&d->level[PRIO_BE]))
                d->passed_over = 0;
        else
                d->passed_over++;
        return take_out(q, rq);
}

/* ---- for people and tests ---- */

static bool deadline_urgent(const struct request_queue *q)
{
        const struct level *l = &deadline_of(q)->level[PRIO_RT];

        return l->count[DIR_READ] + l->count[DIR_WRITE] > 0;
}

static void deadline_count(const struct request_queue *q, struct blk_queue_state *state)
{
        const struct deadline *d = deadline_of(q);

        for (enum rq_prio p = PRIO_RT; p < RQ_PRIOS; p++)
                state->queued[p] = d->level[p].count[DIR_READ] + d->level[p].count[DIR_WRITE];
}

#ifndef NDEBUG
static bool is_hashed(const struct deadline *d, const struct request *rq)
{
        const struct request *other = elv_hash_first(&d->ends, rq_end_offset(rq));

        while (other && other != rq)
                other = LIST_NEXT(other, hashed);
        return other;
}

/* Returns how many there are. */
static unsigned check_direction(const struct request_queue *q, struct level *l, enum rq_prio prio,
                                unsigned dir)
{
        const struct deadline *d = deadline_of(q);
        const struct request *prev = NULL;
        struct request *rq;
        unsigned listed = 0, sorted = 0;

        for (rq = l->fifo[dir].head; rq; prev = rq, rq = rq->next, listed++) {
                assert(rq->q == q && rq->prev == prev);
                assert(rq->prio == prio && direction_of(rq) == dir);
                assert(!prev || prev->deadline <= rq->deadline);
                assert(is_hashed(d, rq));
                blk_request_check(rq);
        }
        assert(l->fifo[dir].tail == prev);
        prev = NULL;
        RB_FOREACH (rq, rq_tree, &l->tree[dir]) {
                assert(!prev || compare(prev, rq) < 0);
                prev = rq;
                sorted++;
        }
        assert(listed == sorted && listed == l->count[dir]);
        return listed;
}

static void deadline_check(const struct request_queue *q)
{
        struct deadline *d = deadline_of(q);
        unsigned n = 0;

        for (enum rq_prio p = PRIO_RT; p < RQ_PRIOS; p++) {
                n += check_direction(q, &d->level[p], p, DIR_READ);
                n += check_direction(q, &d->level[p], p, DIR_WRITE);
                assert(d->level[p].batched <= FIFO_BATCH);
        }
        assert(n == q->nr_queued);
        assert(!d->last_merge || d->last_merge->state == RQ_QUEUED);
}
#else
#define deadline_check NULL
#endif

const struct elevator_ops deadline_elevator = {
        .name = "deadline",
        .size = sizeof(struct deadline),
        .merge_bio = deadline_merge_bio,
        .insert = deadline_insert,
        .dispatch = deadline_dispatch,
        .urgent = deadline_urgent,
        .count = deadline_count,
        .check = deadline_check,
};
