/* SPDX-License-Identifier: Apache-2.0
 *
 * merge.c - which bios and requests may become one.
 *
 * Eligible (blk_rq_merge_ok): neither is marked NOMERGE nor flushes, and both have the same
 * operation, the same ioprio, and the same priority, which the one may get from ioprio and the other
 * from what it is. A fault read that became part of a read-ahead would wait for all of it, and what
 * is merged must be found in one priority's tree.
 * Kind (blk_try_merge): the request ends where the bio starts, BACK; the other way, FRONT.
 * Limits: sectors and segments of the sum, which also may not cross a chunk's end; a request that has met a limit is not tried again.
 * A bio that ends within a sector is the end of its file: nothing starts there.
 */
#include "block/request.h"

enum merge_kind { MERGE_NONE, MERGE_BACK, MERGE_FRONT };

static bool mergeable(uint32_t opf)
{
        enum io_op op = opf_op(opf);

        return !(opf & REQ_NOMERGE_FLAGS) && (op_has_data(op) || op == IO_DISCARD);
}

static bool rq_can_grow(const struct request *rq)
{
        return !rq->nomerge && !rq->started && mergeable(rq->opf);
}

static enum merge_kind adjacency(uint64_t offset, uint64_t bytes, uint64_t offset2, uint64_t bytes2)
{
        if (offset + bytes == offset2)
                return MERGE_BACK;
        if (offset2 + bytes2 == offset)
                return MERGE_FRONT;
        return MERGE_NONE;
}

/* Is there room for so much more, the first of it at `offset`? If not, the request is closed. */
static bool within_limits(struct request *rq, uint64_t offset, uint64_t bytes, unsigned segments)
{
        const struct request_queue *q = rq->q;
        uint64_t start = min_u64(rq_offset(rq), offset);

        if (rq->bytes + bytes <= blk_max_bytes(q, opf_op(rq->opf), start) &&
            rq->nr_segments + segments <= blk_max_segments(q))
                return true;
        rq->nomerge = true;
        return false;
}

static void count_merge(struct request *rq, enum merge_kind kind, const struct bio *bio,
                        uint64_t bytes, const char *name)
{
        struct trace *t = rq->q->trace;

        stat_add(&t->stats, kind == MERGE_BACK ? STAT_merges_back : STAT_merges_front, 1);
        trace_emit(t, MERGE, bio->bi_fault, rq->q->object, bio->bi_sector, bytes, trace_name(name),
                   0);
}

/* The bios first..last join those of rq, behind or in front. */
static void add_bios(struct request *rq, struct bio *first, struct bio *last, uint64_t bytes,
                     enum merge_kind kind)
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
}

/* Hints that hold for the whole once they hold for a part; those that say that nobody waits only if for all. */
static uint32_t merged_opf(uint32_t a, uint32_t b)
{
        uint32_t any = REQ_SYNC | REQ_META | REQ_PRIO, all = REQ_RAHEAD | REQ_IDLE | REQ_BACKGROUND;

        return (a & ~all) | (b & any) | (a & b & all);
}

bool blk_merge_bio(struct request *rq, struct bio *bio)
{
        enum merge_kind kind = adjacency(rq_offset(rq), rq->bytes, bio_offset(bio), bio->bi_size);

        if (kind == MERGE_NONE || rq->q != bio->bi_queue || !rq_can_grow(rq) ||
            !mergeable(bio->bi_opf) || opf_op(rq->opf) != opf_op(bio->bi_opf) ||
            rq->ioprio != bio->bi_ioprio || rq->prio != blk_prio(bio->bi_opf, bio->bi_ioprio) ||
            !within_limits(rq, bio_offset(bio), bio->bi_size, bio_segments(bio)))
                return false;
        add_bios(rq, bio, bio, bio->bi_size, kind);
        rq->nr_bios++;
        rq->nr_segments += bio_segments(bio);
        rq->opf = merged_opf(rq->opf, bio->bi_opf);
        rq->time[TIME_M] = bio->bi_queued;
        count_merge(rq, kind, bio, bio->bi_size, kind == MERGE_BACK ? "back" : "front");
        return true;
}

bool blk_merge_requests(struct request *keep, struct request *gone)
{
        enum merge_kind kind =
                adjacency(rq_offset(keep), keep->bytes, rq_offset(gone), gone->bytes);

        if (kind == MERGE_NONE || keep->q != gone->q || !rq_can_grow(keep) || !rq_can_grow(gone) ||
            opf_op(keep->opf) != opf_op(gone->opf) || keep->ioprio != gone->ioprio ||
            keep->prio != gone->prio ||
            !within_limits(keep, rq_offset(gone), gone->bytes, gone->nr_segments))
                return false;
        count_merge(keep, kind, gone->bio, gone->bytes, "request");
        add_bios(keep, gone->bio, gone->biotail, gone->bytes, kind);
        keep->nr_bios += gone->nr_bios;
        keep->nr_segments += gone->nr_segments;
        keep->opf = merged_opf(keep->opf, gone->opf);
        keep->time[TIME_Q] = min_u64(keep->time[TIME_Q], gone->time[TIME_Q]);
        keep->time[TIME_M] = keep->q->now();
        gone->bio = gone->biotail = gone->cur = NULL;
        gone->nr_bios = 0;
        return true;
}

/* ---- in a list ---- */

struct request *blk_merge_bio_list(struct rq_list *l, struct bio *bio, unsigned search,
                                   struct request **gone)
{
        *gone = NULL;
        for (struct request *rq = l->tail; rq && search; rq = rq->prev, search--) {
                if (!blk_merge_bio(rq, bio))
                        continue;
                /* It may have filled the gap between two. */
                *gone = blk_merge_list(l, rq, BLK_MAX_REQUEST_COUNT);
                return rq;
        }
        return NULL;
}

struct request *blk_merge_list(struct rq_list *l, struct request *rq, unsigned search)
{
        bool younger = true; /* those behind rq */

        for (struct request *other = l->tail; other && search; other = other->prev, search--) {
                struct request *keep = younger ? rq : other;
                struct request *gone = younger ? other : rq;

                if (other == rq) {
                        younger = false;
                } else if (blk_merge_requests(keep, gone)) {
                        rq_list_remove(l, gone);
                        return gone;
                }
        }
        return NULL;
}
