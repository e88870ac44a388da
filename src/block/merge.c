/* SPDX-License-Identifier: Apache-2.0
 *
 * merge.c - which bios and requests may become one.
 *
 * Eligible (blk_rq_merge_ok): neither is marked NOMERGE nor flushes, and both have the same
 * operation and the same class. The class is ours: a fault read that became part of a read-ahead
 * would wait for all of it.
 * Kind (blk_try_merge): the request ends where the bio starts, BACK; the other way, FRONT.
 * Limits: sectors and segments of the sum; a request that has met a limit is not tried again.
 * A bio that ends within a sector is the end of its file: nothing starts there.
 */
#include "block/request.h"

enum merge_kind { MERGE_NONE, MERGE_BACK, MERGE_FRONT };

static bool mergeable(uint32_t opf)
{
        enum io_op op = opf_op(opf);

        return !(opf & REQ_NOMERGE_FLAGS) && (op == IO_READ || op == IO_WRITE);
}

static bool opf_merge_ok(uint32_t a, uint32_t b)
{
        return mergeable(a) && mergeable(b) && opf_op(a) == opf_op(b) &&
               opf_class(a) == opf_class(b);
}

static bool rq_can_grow(const struct request *rq)
{
        return !rq->nomerge && !rq->started;
}

static enum merge_kind adjacency(uint64_t offset, uint64_t bytes, uint64_t offset2, uint64_t bytes2)
{
        if (offset + bytes == offset2)
                return MERGE_BACK;
        if (offset2 + bytes2 == offset)
                return MERGE_FRONT;
        return MERGE_NONE;
}

/* Is there room for so much more? If not, the request is closed. */
static bool within_limits(struct request *rq, uint64_t bytes, unsigned bios)
{
        const struct queue_limits *l = &rq->q->limits;

        if (rq->bytes + bytes <= (uint64_t)l->max_sectors << SECTOR_SHIFT &&
            rq->nr_bios + bios <= min_u64(l->max_segments, BLK_MAX_SEGMENTS))
                return true;
        rq->nomerge = true;
        return false;
}

static void count_merge(struct request_queue *q, enum merge_kind kind, uint64_t fault,
                        uint64_t sector, uint64_t bytes, const char *name)
{
        stat_add(&q->trace->stats, kind == MERGE_BACK ? STAT_merges_back : STAT_merges_front, 1);
        if (trace_on(q->trace))
                trace_write(q->trace, TRACE_MERGE, fault, sector, bytes, trace_name(name), 0);
}

/* The bios first..last join those of rq, behind or in front. */
static void add_bios(struct request *rq, struct bio *first, struct bio *last, uint64_t bytes,
                     unsigned bios, enum merge_kind kind)
{
        if (kind == MERGE_BACK) {
                rq->biotail->bi_next = first;
                rq->biotail = last;
        } else {
                last->bi_next = rq->bio;
                rq->bio = rq->cur = first;
                rq->sector = first->bi_sector;
        }
        rq->bytes += bytes;
        rq->nr_bios += bios;
}

/* Hints that hold for the whole once they hold for a part; BACKGROUND and IDLE only if for all. */
static uint32_t merged_opf(uint32_t a, uint32_t b)
{
        uint32_t any = REQ_SYNC | REQ_META | REQ_PRIO, all = REQ_IDLE | REQ_BACKGROUND;

        return (a & ~all) | (b & any) | (a & b & all);
}

static bool attempt_merge_bio(struct request *rq, struct bio *bio)
{
        enum merge_kind kind = adjacency(rq_offset(rq), rq->bytes, bio_offset(bio), bio->bi_size);

        if (kind == MERGE_NONE || rq->q != bio->bi_queue || !rq_can_grow(rq) ||
            !opf_merge_ok(rq->opf, bio->bi_opf) || !within_limits(rq, bio->bi_size, 1))
                return false;
        add_bios(rq, bio, bio, bio->bi_size, 1, kind);
        rq->opf = merged_opf(rq->opf, bio->bi_opf);
        count_merge(rq->q, kind, bio->bi_fault, bio->bi_sector, bio->bi_size,
                    kind == MERGE_BACK ? "back" : "front");
        return true;
}

bool blk_merge_bio(struct rq_list *l, struct bio *bio, unsigned search)
{
        struct request *rq, *gone;

        for (rq = l->tail; rq && search; rq = rq->prev, search--) {
                if (!attempt_merge_bio(rq, bio))
                        continue;
                /* It may have filled the gap between two. */
                gone = blk_merge_requests(l, rq, BLK_MERGE_SEARCH);
                if (gone)
                        request_free(gone);
                return true;
        }
        return false;
}

/* keep takes over the bios of gone, if they are neighbours and all the rest holds. */
static bool attempt_merge_requests(struct request *keep, struct request *gone)
{
        enum merge_kind kind =
                adjacency(rq_offset(keep), keep->bytes, rq_offset(gone), gone->bytes);

        if (kind == MERGE_NONE || keep->q != gone->q || !rq_can_grow(keep) || !rq_can_grow(gone) ||
            !opf_merge_ok(keep->opf, gone->opf) || !within_limits(keep, gone->bytes, gone->nr_bios))
                return false;
        count_merge(keep->q, kind, gone->bio->bi_fault, gone->sector, gone->bytes, "request");
        add_bios(keep, gone->bio, gone->biotail, gone->bytes, gone->nr_bios, kind);
        keep->opf = merged_opf(keep->opf, gone->opf);
        keep->start_ns = min_u64(keep->start_ns, gone->start_ns);
        gone->bio = gone->biotail = gone->cur = NULL;
        gone->nr_bios = 0;
        return true;
}

struct request *blk_merge_requests(struct rq_list *l, struct request *rq, unsigned search)
{
        bool younger = true; /* those behind rq */

        for (struct request *other = l->tail; other && search; other = other->prev, search--) {
                struct request *keep = younger ? rq : other;
                struct request *gone = younger ? other : rq;

                if (other == rq) {
                        younger = false;
                } else if (attempt_merge_requests(keep, gone)) {
                        rq_list_remove(l, gone);
                        return gone;
                }
        }
        return NULL;
}
