/* SPDX-License-Identifier: Apache-2.0
 *
 * split.c - bios that are larger than the device takes.
 *
 * Such a bio is cut into parts, each a bio of its own, which all go at once; it ends with the last of
 * them. Parts come from a stock of their own, since the callers' bios are counted. If that has not
 * enough of them the bio stays whole, and request.c hands it to the driver piece by piece, one after
 * the other: slower, and the same otherwise.
 *
 * A cut is where the device's limits want it, and else at the end of one of its blocks, so that what
 * follows is aligned as before. A bio has one buffer: file systems ask for contiguous runs of staging
 * memory, so several would buy nothing, and requests have many.
 */
#include "block/request.h"

static uint32_t max_sectors(const struct queue_limits *l, enum io_op op)
{
        switch (op) {
        case IO_READ:
        case IO_WRITE:
                return l->max_sectors;
        case IO_DISCARD:
                return l->max_discard_sectors;
        case IO_WRITE_ZEROES:
                return l->max_write_zeroes_sectors;
        default:
                return 0;
        }
}

uint64_t blk_max_bytes(const struct request_queue *q, enum io_op op, uint64_t offset)
{
        const struct queue_limits *l = &q->limits;
        uint64_t max = (uint64_t)max_sectors(l, op) << SECTOR_SHIFT;
        uint64_t chunk = (uint64_t)l->chunk_sectors << SECTOR_SHIFT;

        if (op_has_data(op))
                max = min_u64(max, blk_max_segments(q) * (uint64_t)l->max_segment_size);
        if (chunk)
                max = min_u64(max, chunk - offset % chunk);
        return max;
}

uint64_t blk_piece_bytes(const struct request_queue *q, enum io_op op, uint64_t offset,
                         uint64_t bytes)
{
        uint64_t max = blk_max_bytes(q, op, offset);
        uint64_t end = round_down_u64(offset + max, q->limits.block_size);

        if (bytes <= max)
                return bytes;
        return end > offset ? end - offset : max;
}

unsigned bio_segments(const struct bio *bio)
{
        uint32_t most = bio->bi_queue->limits.max_segment_size;

        if (!op_has_data(opf_op(bio->bi_opf)))
                return 0;
        return bio->bi_size / most + (bio->bi_size % most != 0);
}

static unsigned count_parts(const struct request_queue *q, const struct bio *bio)
{
        uint64_t at = bio_offset(bio), end = bio_end_offset(bio);
        unsigned n = 0;

        for (; at < end && n <= BLK_PARTS; n++)
                at += blk_piece_bytes(q, opf_op(bio->bi_opf), at, end - at);
        return n;
}

/* Of the whole, no more has been moved than what lies in front of the first gap. Sums would not do: a
 * file that is cut and grows again meanwhile ends within one part, and not within the next. */
static void cut_short(struct bio *whole, const struct bio *part)
{
        uint32_t front = (uint32_t)(bio_offset(part) - bio_offset(whole)) + part->bi_done;
        uint32_t now = __atomic_load_n(&whole->bi_done, __ATOMIC_RELAXED);

        while (front < now && !__atomic_compare_exchange_n(&whole->bi_done, &now, front, false,
                                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
                ;
}

/* The first error, and the bytes in front of the first gap. */
static void end_part(struct bio *part)
{
        struct bio *whole = part->bi_private;
        int none = 0;

        if (part->bi_status)
                __atomic_compare_exchange_n(&whole->bi_status, &none, part->bi_status, false,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        if (part->bi_done < part->bi_size)
                cut_short(whole, part);
        if (atomic_fetch_sub(&whole->bi_parts, 1) == 1) {
                struct request_queue *q = whole->bi_queue;

                bio_end(whole);
                blk_queue_put(q, 1);
        }
}

/* The part of it that begins there. */
static void make_part(struct bio *part, struct bio *whole, uint64_t at)
{
        const struct request_queue *q = whole->bi_queue;
        uint64_t left = bio_end_offset(whole) - at, skip = at - bio_offset(whole);

        *part = (struct bio){
                .bi_opf = whole->bi_opf,
                .bi_size = (uint32_t)blk_piece_bytes(q, opf_op(whole->bi_opf), at, left),
                .bi_sector = at >> SECTOR_SHIFT,
                .bi_buf = whole->bi_buf ? (char *)whole->bi_buf + skip : NULL,
                .bi_ioprio = whole->bi_ioprio,
                .bi_end_io = end_part,
                .bi_private = whole,
                .bi_fault = whole->bi_fault,
                .bi_queue = whole->bi_queue,
                .bi_is_part = true,
        };
        if (part->bi_size < left)
                part->bi_opf |= REQ_NOMERGE; /* what would follow is the next part */
}

bool blk_split_bio(struct request_queue *q, struct bio *bio, struct blk_plug *plug)
{
        uint64_t at = bio_offset(bio);
        struct bio *part, *next;
        unsigned n;

        if (bio->bi_size <= blk_max_bytes(q, opf_op(bio->bi_opf), at))
                return false;
        n = count_parts(q, bio);
        part = bio_alloc_parts(q->pool, n);
        if (!part)
                return false;
        bio->bi_done = bio->bi_size;
        atomic_store_explicit(&bio->bi_parts, n, memory_order_relaxed);
        for (; part; part = next) {
                next = part->bi_next;
                make_part(part, bio, at);
                at += part->bi_size;
                submit_bio(part, plug); /* the last may end the bio */
        }
        return true;
}
