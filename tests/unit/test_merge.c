/* SPDX-License-Identifier: Apache-2.0
 *
 * test_merge.c - which bios become one request, drawn.
 *
 * A column is a page of the device, a letter the bio that covers it. Bios are submitted from top
 * to bottom; then what must reach the driver, in any order. Each case runs through a plug, and again
 * through each elevator while the device is full.
 */
#include "fake_device.h"

#define W IO_WRITE
#define MAX_LINES 8

struct merge_case {
        const char *name;
        const char *bios[MAX_LINES];
        const char *requests[MAX_LINES];
        unsigned back, front;
        uint32_t opf[MAX_LINES]; /* of each bio; 0 is a read */
        uint16_t ioprio[MAX_LINES];
        struct queue_limits limits;
};

/* clang-format off */
static const struct merge_case cases[] = {
        {
                .name = "back",
                .bios = { "AA",
                          "..BB" },
                .requests = { "AABB" },
                .back = 1,
        },
        {
                .name = "front",
                .bios = { "..AA",
                          "BB" },
                .requests = { "BBAA" },
                .front = 1,
        },
        {
                .name = "a gap keeps them apart",
                .bios = { "AA",
                          "...BB" },
                .requests = { "AA",
                              "...BB" },
        },
        {
                .name = "overlapping is not adjoining",
                .bios = { "AA",
                          ".BB" },
                .requests = { "AA",
                              ".BB" },
        },
        {
                .name = "the third fills the gap: it joins B in front, and then that joins A",
                .bios = { "AA",
                          "....BB",
                          "..CC" },
                .requests = { "AACCBB" },
                .back = 1,
                .front = 1,
        },
        {
                .name = "downwards",
                .bios = { "...A",
                          "..B",
                          ".C",
                          "D" },
                .requests = { "DCBA" },
                .front = 3,
        },
        {
                .name = "an older request than the last one is found",
                .bios = { "AA",
                          "........BB",
                          "..CC" },
                .requests = { "AACC",
                              "........BB" },
                .back = 1,
        },
        {
                .name = "reads and writes stay apart",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_READ, W },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "nor do they join when somebody waits for both",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_READ, W | REQ_SYNC },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "a fault read does not join a read-ahead",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_READ | REQ_SYNC, IO_READ | REQ_RAHEAD },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "read-ahead joins read-ahead",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_READ | REQ_RAHEAD, IO_READ | REQ_RAHEAD },
                .requests = { "AABB" },
                .back = 1,
        },
        {
                .name = "a write somebody waits for does not join one nobody waits for",
                .bios = { "AA",
                          "..BB" },
                .opf = { W | REQ_SYNC, W },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "an ioprio joins its like",
                .bios = { "AA",
                          "..BB",
                          "....CC" },
                .opf = { W, W, W },
                .ioprio = { BLK_IOPRIO(BLK_CLASS_BE, 4), BLK_IOPRIO(BLK_CLASS_BE, 4), 0 },
                .requests = { "AABB",
                              "....CC" },
                .back = 1,
        },
        {
                .name = "of one ioprio, reads join read-ahead",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_READ, IO_READ | REQ_RAHEAD },
                .ioprio = { BLK_IOPRIO(BLK_CLASS_IDLE, 0), BLK_IOPRIO(BLK_CLASS_IDLE, 0) },
                .requests = { "AABB" },
                .back = 1,
        },
        {
                .name = "NOMERGE, the first",
                .bios = { "AA",
                          "..BB" },
                .opf = { W | REQ_NOMERGE, W },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "NOMERGE, the second",
                .bios = { "AA",
                          "..BB" },
                .opf = { W, W | REQ_NOMERGE },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "sectors: just enough",
                .bios = { "AA",
                          "..BB" },
                .limits = { .max_sectors = 32 },
                .requests = { "AABB" },
                .back = 1,
        },
        {
                .name = "sectors: one too few; and then the request is closed",
                .bios = { ".AA",
                          "...BB",
                          "C" },
                .limits = { .max_sectors = 31 },
                .requests = { ".AA",
                              "...BB",
                              "C" },
        },
        {
                .name = "no request crosses the end of a chunk",
                .bios = { "AA",
                          "..BB",
                          "....CC" },
                .limits = { .chunk_sectors = 32 },
                .requests = { "AABB",
                              "....CC" },
                .back = 1,
        },
        {
                .name = "nor if it would be shorter than a chunk",
                .bios = { "..AA",
                          "....BB" },
                .limits = { .chunk_sectors = 32 },
                .requests = { "..AA",
                              "....BB" },
        },
        {
                .name = "buffers that the device counts twice",
                .bios = { "AA",
                          "..BB" },
                .limits = { .max_segments = 3, .max_segment_size = PAGE_SIZE },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "discards",
                .bios = { "..AA",
                          "BB",
                          "....CC" },
                .opf = { IO_DISCARD, IO_DISCARD, IO_DISCARD },
                .limits = { .max_discard_sectors = 32 },
                .requests = { "BBAA",
                              "....CC" },
                .front = 1,
        },
        {
                .name = "a discard is no write",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_DISCARD, W },
                .limits = { .max_discard_sectors = 1024 },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "zeroes do not merge",
                .bios = { "AA",
                          "..BB" },
                .opf = { IO_WRITE_ZEROES, IO_WRITE_ZEROES },
                .limits = { .max_write_zeroes_sectors = 1024 },
                .requests = { "AA",
                              "..BB" },
        },
        {
                .name = "segments",
                .bios = { "A",
                          ".B",
                          "..C" },
                .limits = { .max_segments = 2 },
                .requests = { "AB",
                              "..C" },
                .back = 1,
        },
        {
                .name = "segments of a request merge",
                .bios = { "A",
                          "..B",
                          ".C" },
                .limits = { .max_segments = 2 },
                .requests = { "A",
                              ".CB" },
                .front = 1,
        },
};
/* clang-format on */

static struct fake_queue t;

/* The bio that a line of letters shows. */
static struct bio *bio_of(const char *line, uint32_t opf, uint16_t ioprio)
{
        uint64_t first = strspn(line, ".");
        struct bio *bio = fake_bio(&t, line[first], opf, first, (uint32_t)strlen(line + first));

        bio->bi_ioprio = ioprio;
        return bio;
}

static bool same_picture(const char *want, const char *got)
{
        size_t n = strlen(want);

        return !strncmp(want, got, n) && strspn(got + n, ".") == strlen(got + n);
}

static bool has_reached(const char *picture, unsigned from)
{
        for (unsigned i = from; i < t.fake.logged; i++)
                if (same_picture(picture, t.fake.log[i].picture))
                        return true;
        return false;
}

static void expect_requests(const struct merge_case *c, unsigned from, const char *how)
{
        unsigned n = 0;

        for (; c->requests[n]; n++)
                cr_expect(has_reached(c->requests[n], from), "%s (%s): there is no request %s",
                          c->name, how, c->requests[n]);
        cr_expect_eq(t.fake.logged, from + n, "%s (%s): %u requests", c->name, how,
                     t.fake.logged - from);
        cr_expect_eq(fake_stat(&t, STAT_merges_back), c->back, "%s (%s): %lu back", c->name, how,
                     fake_stat(&t, STAT_merges_back));
        cr_expect_eq(fake_stat(&t, STAT_merges_front), c->front, "%s (%s): %lu front", c->name, how,
                     fake_stat(&t, STAT_merges_front));
}

static void setup(const struct merge_case *c, const char *elevator)
{
        struct queue_limits *l;

        fake_queue_open_with(&t, elevator);
        l = blk_queue_limits(t.q);
        if (c->limits.max_sectors)
                l->max_sectors = c->limits.max_sectors;
        if (c->limits.max_segments)
                l->max_segments = c->limits.max_segments;
        if (c->limits.max_segment_size)
                l->max_segment_size = c->limits.max_segment_size;
        l->chunk_sectors = c->limits.chunk_sectors;
        l->max_discard_sectors = c->limits.max_discard_sectors;
        l->max_write_zeroes_sectors = c->limits.max_write_zeroes_sectors;
}

static void submit_all(const struct merge_case *c, struct blk_plug *plug)
{
        for (unsigned i = 0; c->bios[i]; i++) {
                submit_bio(bio_of(c->bios[i], c->opf[i], c->ioprio[i]), plug);
                blk_queue_check(t.q);
        }
}

Test(merge, in_the_plug)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                struct blk_plug plug;

                setup(&cases[i], NULL);
                blk_start_plug(&plug);
                submit_all(&cases[i], &plug);
                cr_expect_eq(t.fake.logged, 0, "%s: nothing moves before", cases[i].name);
                blk_finish_plug(&plug);
                expect_requests(&cases[i], 0, "plug");
                fake_complete_all(&t.fake);
                fake_queue_close(&t);
        }
}

static void run_in_queue(const struct merge_case *c, const char *elevator)
{
        setup(c, elevator);
        blk_queue_limits(t.q)->depth = 1;
        submit_bio(fake_bio(&t, 'x', IO_READ, 50, 1), NULL); /* fills the device */
        submit_all(c, NULL);
        cr_expect_eq(t.fake.logged, 1);
        fake_complete_all(&t.fake);
        expect_requests(c, 1, elevator);
        fake_queue_close(&t);
}

Test(merge, in_the_queue)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                run_in_queue(&cases[i], "deadline");
                run_in_queue(&cases[i], "none");
        }
}

/* ---- many ---- */

#define PAGES 64

static uint64_t random_next(uint64_t *seed)
{
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        return *seed >> 33;
}

static void write_shuffled(uint64_t seed, struct blk_plug *plug)
{
        unsigned char order[PAGES];

        for (unsigned i = 0; i < PAGES; i++) {
                unsigned j = (unsigned)(random_next(&seed) % (i + 1));

                order[i] = order[j];
                order[j] = (unsigned char)i;
        }
        for (unsigned i = 0; i < PAGES; i++)
                submit_bio(fake_bio(&t, 'w', IO_WRITE, order[i], 1), plug);
}

static void expect_few(unsigned at_most, unsigned from, uint64_t seed)
{
        uint64_t bytes = 0;

        fake_complete_all(&t.fake);
        for (unsigned i = from; i < t.fake.logged; i++)
                bytes += t.fake.log[i].len;
        cr_expect_eq(bytes, PAGES * PAGE_SIZE);
        cr_expect_leq(t.fake.logged - from, at_most, "seed %lu: %u requests", seed,
                      t.fake.logged - from);
        fake_queue_close(&t);
}

/* Sixty-four pages, shuffled, become no more than four requests. */
Test(merge, shuffled_pages_in_a_plug)
{
        for (uint64_t seed = 1; seed <= 500; seed++) {
                struct blk_plug plug;

                fake_queue_open(&t);
                blk_start_plug(&plug);
                write_shuffled(seed, &plug);
                blk_finish_plug(&plug);
                expect_few(4, 0, seed);
        }
}

Test(merge, shuffled_pages_that_wait_in_the_elevator_become_one)
{
        for (uint64_t seed = 1; seed <= 500; seed++) {
                fake_queue_open(&t);
                blk_queue_limits(t.q)->depth = 1;
                submit_bio(fake_bio(&t, 'x', IO_READ, 100, 1), NULL);
                write_shuffled(seed, NULL);
                blk_queue_check(t.q);
                expect_few(1, 1, seed);
        }
}

/* ---- what becomes of the bios ---- */

Test(merge, every_bio_is_ended_once_and_gets_its_bytes)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_READ, 4, 2), &plug);
        submit_bio(fake_bio(&t, 'B', IO_READ, 0, 3), &plug);
        submit_bio(fake_bio(&t, 'C', IO_READ, 3, 1), &plug);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 1);
        cr_expect_eq(t.fake.log[0].offset, 0);
        cr_expect_eq(t.fake.log[0].len, 6 * PAGE_SIZE);
        fake_complete_all(&t.fake);
        cr_expect_str_eq(t.fake.end_order, "BCA");
        cr_expect_eq(t.fake.done['A'], 2 * PAGE_SIZE);
        cr_expect_eq(t.fake.done['B'], 3 * PAGE_SIZE);
        cr_expect_eq(t.fake.done['C'], PAGE_SIZE);
        cr_expect_eq(fake_stat(&t, STAT_bios), fake_stat(&t, STAT_requests) +
                                                       fake_stat(&t, STAT_merges_back) +
                                                       fake_stat(&t, STAT_merges_front));
        cr_expect_eq(fake_stat(&t, STAT_read_bytes), 6 * PAGE_SIZE);
        fake_queue_close(&t);
}

Test(merge, neighbours_in_memory_share_an_iovec)
{
        struct blk_plug plug;
        struct bio *apart;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_READ, 0, 2), &plug);
        submit_bio(fake_bio(&t, 'B', IO_READ, 2, 2), &plug);
        apart = fake_bio(&t, 'C', IO_READ, 4, 2);
        apart->bi_buf = (char *)apart->bi_buf + 64 * PAGE_SIZE;
        submit_bio(apart, &plug);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 1);
        cr_expect_eq(t.fake.log[0].bios, 3);
        cr_expect_eq(t.fake.log[0].iovcnt, 2);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

/* The end of a host file: 100 bytes, and nothing can follow it. */
Test(merge, an_unaligned_tail_is_merged_and_ends_the_request)
{
        struct blk_plug plug;
        struct bio *tail;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_WRITE, 0, 1), &plug);
        tail = fake_bio(&t, 'B', IO_WRITE, 1, 1);
        tail->bi_size = 100;
        submit_bio(tail, &plug);
        submit_bio(fake_bio(&t, 'C', IO_WRITE, 2, 1), &plug);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 2);
        cr_expect_eq(t.fake.log[0].len, PAGE_SIZE + 100);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}
