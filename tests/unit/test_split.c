/* SPDX-License-Identifier: Apache-2.0
 *
 * test_split.c - bios that are larger than the device takes, and operations that it may not have.
 */
#include <errno.h>
#include <stdio.h>

#include "fake_device.h"

static struct fake_queue t;

struct split_case {
        const char *name;
        uint64_t sector;
        uint32_t sectors;
        struct queue_limits limits; /* 0: as they are */
        uint32_t op;
        const char *pieces; /* "sector+sectors ..." */
};

static const struct split_case cases[] = {
        { "just enough", 8, 64, { .max_sectors = 64 }, IO_READ, "8+64" },
        { "sectors", 8, 65, { .max_sectors = 64 }, IO_READ, "8+64 72+1" },
        { "sectors, cut at blocks of 4 KiB",
          3,
          100,
          { .max_sectors = 20, .block_size = 4096 },
          IO_WRITE,
          "3+13 16+16 32+16 48+16 64+16 80+16 96+7" },
        { "less than a block may be moved",
          8,
          10,
          { .max_sectors = 4, .block_size = 4096 },
          IO_WRITE,
          "8+4 12+4 16+2" },
        { "segments",
          0,
          64,
          { .max_segments = 4, .max_segment_size = 4096 },
          IO_READ,
          "0+32 32+32" },
        { "chunks", 100, 100, { .chunk_sectors = 64 }, IO_READ, "100+28 128+64 192+8" },
        { "chunks and sectors",
          100,
          100,
          { .chunk_sectors = 64, .max_sectors = 40 },
          IO_READ,
          "100+28 128+40 168+24 192+8" },
        { "discard",
          0,
          3000,
          { .max_discard_sectors = 1024, .max_sectors = 8 },
          IO_DISCARD,
          "0+1024 1024+1024 2048+952" },
        { "zeroes", 8, 128, { .max_write_zeroes_sectors = 64 }, IO_WRITE_ZEROES, "8+64 72+64" },
};

static void set_limits(const struct split_case *c)
{
        struct queue_limits *l = blk_queue_limits(t.q);

        if (c->limits.max_sectors)
                l->max_sectors = c->limits.max_sectors;
        if (c->limits.max_segments)
                l->max_segments = c->limits.max_segments;
        if (c->limits.max_segment_size)
                l->max_segment_size = c->limits.max_segment_size;
        if (c->limits.block_size)
                l->block_size = c->limits.block_size;
        l->chunk_sectors = c->limits.chunk_sectors;
        l->max_discard_sectors = c->limits.max_discard_sectors;
        l->max_write_zeroes_sectors = c->limits.max_write_zeroes_sectors;
}

static struct bio *bio_of(const struct split_case *c)
{
        struct bio *bio = fake_bio(&t, 'A', c->op, c->sector >> 3, 1);

        bio->bi_sector = c->sector;
        bio->bi_size = c->sectors << SECTOR_SHIFT;
        if (!op_has_data(opf_op(c->op)))
                bio->bi_buf = NULL;
        return bio;
}

static const char *pieces(void)
{
        static char text[1024];
        size_t n = 0;

        text[0] = 0;
        for (unsigned i = 0; i < t.fake.logged; i++)
                n += (size_t)snprintf(text + n, sizeof text - n, "%s%lu+%lu", i ? " " : "",
                                      t.fake.log[i].offset >> SECTOR_SHIFT,
                                      t.fake.log[i].len >> SECTOR_SHIFT);
        return text;
}

static unsigned nr_pieces(const char *text)
{
        unsigned n = 0;

        for (; *text; text++)
                n += *text == '+';
        return n;
}

Test(split, parts_go_at_once)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct split_case *c = &cases[i];

                fake_queue_open(&t);
                set_limits(c);
                submit_bio(bio_of(c), NULL);
                cr_expect_eq(t.fake.nr_pending, nr_pieces(c->pieces), "%s", c->name);
                cr_expect_str_eq(pieces(), c->pieces, "%s: %s", c->name, pieces());
                cr_expect_eq(t.fake.ended, 0);
                fake_complete_all(&t.fake);
                cr_expect_eq(t.fake.ended, 1, "%s", c->name);
                cr_expect_eq(t.fake.status['A'], 0);
                cr_expect_eq(t.fake.done['A'], c->sectors << SECTOR_SHIFT, "%s", c->name);
                fake_queue_close(&t);
        }
}

/* No bios are left for parts: the same pieces, one after the other. */
Test(split, or_one_after_the_other)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct split_case *c = &cases[i];

                fake_queue_open(&t);
                cr_assert_not_null(bio_alloc_parts(t.pool, BLK_PARTS));
                set_limits(c);
                submit_bio(bio_of(c), NULL);
                cr_expect_eq(t.fake.nr_pending, 1, "%s", c->name);
                fake_complete_all(&t.fake);
                cr_expect_str_eq(pieces(), c->pieces, "%s: %s", c->name, pieces());
                cr_expect_eq(t.fake.ended, 1, "%s", c->name);
                cr_expect_eq(t.fake.status['A'], 0);
                cr_expect_eq(t.fake.done['A'], c->sectors << SECTOR_SHIFT, "%s", c->name);
                cr_expect_eq(fake_stat(&t, STAT_requests), 1);
                fake_queue_close(&t);
        }
}

/* They come back: a hundred large bios need no more than there are. */
Test(split, parts_are_used_again)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->max_sectors = 8;
        for (unsigned i = 0; i < 100; i++) {
                t.fake.logged = 0;
                submit_bio(fake_bio(&t, 'A', IO_READ, 0, 20), NULL);
                cr_assert_eq(t.fake.nr_pending, 20, "round %u", i);
                fake_complete_all(&t.fake);
        }
        cr_expect_eq(t.fake.ended, 100);
        cr_expect_not_null(bio_alloc_parts(t.pool, BLK_PARTS));
        fake_queue_close(&t);
}

Test(split, buffers_follow_their_parts)
{
        struct bio *bio;
        char *buf;

        fake_queue_open(&t);
        blk_queue_limits(t.q)->max_sectors = 24;
        bio = fake_bio(&t, 'A', IO_WRITE, 8, 8);
        buf = bio->bi_buf;
        submit_bio(bio, NULL);
        for (unsigned i = 0; i < 3; i++)
                cr_expect_eq(t.fake.pending[i]->iov[0].iov_base, buf + i * 3 * PAGE_SIZE);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

/* What lies before the first cut may join others, and so may what lies behind the last. */
Test(split, the_last_part_merges)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 1;
        blk_queue_limits(t.q)->max_sectors = 32;
        submit_bio(fake_bio(&t, 'x', IO_READ, 100, 1), NULL);
        submit_bio(fake_bio(&t, 'A', IO_WRITE, 0, 6), NULL);
        submit_bio(fake_bio(&t, 'B', IO_WRITE, 6, 1), NULL);
        blk_queue_check(t.q);
        fake_complete_all(&t.fake);
        cr_expect_str_eq(pieces(), "800+8 0+32 32+24");
        cr_expect_eq(t.fake.done['A'], 6 * PAGE_SIZE);
        fake_queue_close(&t);
}

static int64_t page_six_is_bad(struct fake_device *f, struct driver_io *io)
{
        uint64_t bad = 6 * PAGE_SIZE;

        (void)f;
        return io->offset <= bad && bad < io->offset + io->len ? -EIO : (int64_t)io->len;
}

Test(split, an_error_of_a_part_is_the_bios)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->max_sectors = 16;
        t.fake.result = page_six_is_bad;
        submit_bio(fake_bio(&t, 'A', IO_READ, 0, 8), NULL);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.ended, 1);
        cr_expect_eq(t.fake.status['A'], -EIO);
        cr_expect_eq(fake_stat(&t, STAT_io_errors), 1);
        fake_queue_close(&t);
}

static int64_t ends_after_five_pages(struct fake_device *f, struct driver_io *io)
{
        uint64_t end = 5 * PAGE_SIZE;

        (void)f;
        return io->offset < end ? (int64_t)min_u64(io->len, end - io->offset) : 0;
}

Test(split, the_end_of_the_device_cuts_it)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->max_sectors = 16;
        t.fake.result = ends_after_five_pages;
        submit_bio(fake_bio(&t, 'A', IO_READ, 0, 8), NULL);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.status['A'], 0);
        cr_expect_eq(t.fake.done['A'], 5 * PAGE_SIZE);
        fake_queue_close(&t);
}

static int64_t ends_after_a_page_but_not_for_long(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        if (io->offset >= 4 * PAGE_SIZE)
                return (int64_t)io->len;
        return io->offset ? 0 : PAGE_SIZE;
}

/* Cut short within the first part, and longer again when the second is read: what lies between has not
 * been read, and is not said to have been. */
Test(split, no_gap_is_counted_as_moved)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->max_sectors = 32;
        t.fake.result = ends_after_a_page_but_not_for_long;
        submit_bio(fake_bio(&t, 'A', IO_READ, 0, 12), NULL);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.status['A'], 0);
        cr_expect_eq(t.fake.done['A'], PAGE_SIZE);
        fake_queue_close(&t);
}

Test(split, a_device_that_is_done_at_once)
{
        fake_queue_open(&t);
        t.fake.immediate = true;
        blk_queue_limits(t.q)->max_sectors = 16;
        submit_bio(fake_bio(&t, 'A', IO_WRITE | REQ_FUA | REQ_PREFLUSH, 0, 8), NULL);
        cr_expect_eq(t.fake.ended, 1);
        cr_expect_eq(t.fake.done['A'], 8 * PAGE_SIZE);
        fake_queue_close(&t);
}

/* ---- operations without data ---- */

Test(split, what_the_device_cannot_is_refused)
{
        fake_queue_open(&t);
        submit_bio(fake_bio(&t, 'd', IO_DISCARD, 0, 8), NULL);
        submit_bio(fake_bio(&t, 'z', IO_WRITE_ZEROES, 0, 8), NULL);
        submit_bio(fake_bio(&t, 'e', 5, 0, 8), NULL);
        cr_expect_eq(t.fake.logged, 0);
        cr_expect_eq(t.fake.ended, 3);
        cr_expect_eq(t.fake.status['d'], -EOPNOTSUPP);
        cr_expect_eq(t.fake.status['z'], -EOPNOTSUPP);
        cr_expect_eq(t.fake.status['e'], -EOPNOTSUPP);
        fake_queue_close(&t);
}

Test(split, they_reach_the_driver_without_buffers)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->max_discard_sectors = 1 << 20;
        blk_queue_limits(t.q)->max_write_zeroes_sectors = 1 << 20;
        submit_bio(fake_bio(&t, 'd', IO_DISCARD, 0, 8), NULL);
        submit_bio(fake_bio(&t, 'z', IO_WRITE_ZEROES, 8, 8), NULL);
        submit_bio(fake_bio(&t, 'n', IO_WRITE_ZEROES | REQ_NOUNMAP, 16, 8), NULL);
        cr_expect_eq(t.fake.log[0].op, IO_DISCARD);
        cr_expect_eq(t.fake.log[1].op, IO_WRITE_ZEROES);
        for (unsigned i = 0; i < 3; i++) {
                cr_expect_eq(t.fake.log[i].iovcnt, 0);
                cr_expect_eq(t.fake.log[i].len, 8 * PAGE_SIZE);
                cr_expect_eq(t.fake.log[i].flags, i == 2 ? DRIVER_NOUNMAP : 0);
        }
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

static bool ranges_are(const char *want)
{
        bool same = !strcmp(pieces(), want);

        if (!same)
                cr_log_error("%s", pieces());
        t.fake.logged = 0;
        return same;
}

/* Ranges of any length; where the device cannot, zeros are written. */
Test(split, whole_ranges)
{
        fake_queue_open(&t);
        t.fake.immediate = true;
        cr_expect_eq(blkdev_issue_discard(t.q, 0, 8), -EOPNOTSUPP);
        cr_expect_eq(blkdev_issue_zeroout(t.q, 100, 200), 0);
        cr_expect(ranges_are("100+28 128+128 256+44"), "64 KiB of zeros at once");
        cr_expect_eq(t.fake.log[0].op, IO_WRITE);
        blk_queue_limits(t.q)->max_discard_sectors = UINT32_MAX >> SECTOR_SHIFT;
        blk_queue_limits(t.q)->max_write_zeroes_sectors = UINT32_MAX >> SECTOR_SHIFT;
        cr_expect_eq(blkdev_issue_discard(t.q, 8, 5ull << 21), 0);
        cr_expect(ranges_are("8+2097144 2097152+2097152 4194304+2097152 6291456+2097152 "
                             "8388608+2097152 10485760+8"));
        cr_expect_eq(blkdev_issue_zeroout(t.q, 8, 16), 0);
        cr_expect(ranges_are("8+16"));
        cr_expect_eq(t.fake.log[0].op, IO_WRITE_ZEROES);
        fake_queue_close(&t);
}
