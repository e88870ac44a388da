/* SPDX-License-Identifier: Apache-2.0
 *
 * test_merge.c - which bios become one request, drawn.
 *
 * A column is a page of the device, a letter the bio that covers it. Bios are submitted from top
 * to bottom; then what must reach the driver, in order. Each case runs through a plug, and again
 * through the queue's own lists while the device is full.
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
static struct bio *bio_of(const char *line, uint32_t opf)
{
        uint64_t first = strspn(line, ".");

        return fake_bio(&t, line[first], opf, first, (uint32_t)strlen(line + first));
}

static bool same_picture(const char *want, const char *got)
{
        size_t n = strlen(want);

        return !strncmp(want, got, n) && strspn(got + n, ".") == strlen(got + n);
}

static void expect_requests(const struct merge_case *c, unsigned from, const char *how)
{
        unsigned n = 0;

        for (; c->requests[n]; n++) {
                cr_assert_lt(from + n, t.fake.logged, "%s (%s): too few requests", c->name, how);
                cr_expect(same_picture(c->requests[n], t.fake.log[from + n].picture),
                          "%s (%s): request %u is %s", c->name, how, n,
                          t.fake.log[from + n].picture);
        }
        cr_expect_eq(t.fake.logged, from + n, "%s (%s): %u requests", c->name, how,
                     t.fake.logged - from);
        cr_expect_eq(fake_stat(&t, STAT_merges_back), c->back, "%s (%s): %lu back", c->name, how,
                     fake_stat(&t, STAT_merges_back));
        cr_expect_eq(fake_stat(&t, STAT_merges_front), c->front, "%s (%s): %lu front", c->name, how,
                     fake_stat(&t, STAT_merges_front));
}

static void setup(const struct merge_case *c)
{
        struct queue_limits *l;

        fake_queue_open(&t);
        l = blk_queue_limits(t.q);
        if (c->limits.max_sectors)
                l->max_sectors = c->limits.max_sectors;
        if (c->limits.max_segments)
                l->max_segments = c->limits.max_segments;
}

static void submit_all(const struct merge_case *c, struct blk_plug *plug)
{
        for (unsigned i = 0; c->bios[i]; i++) {
                submit_bio(bio_of(c->bios[i], c->opf[i]), plug);
                blk_queue_check(t.q);
        }
}

Test(merge, in_the_plug)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                struct blk_plug plug;

                setup(&cases[i]);
                blk_start_plug(&plug);
                submit_all(&cases[i], &plug);
                cr_expect_eq(t.fake.logged, 0, "%s: nothing moves before", cases[i].name);
                blk_finish_plug(&plug);
                /* The classes are dispatched in their order, which the drawings keep. */
                expect_requests(&cases[i], 0, "plug");
                fake_complete_all(&t.fake);
                fake_queue_close(&t);
        }
}

Test(merge, in_the_queue)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                setup(&cases[i]);
                blk_queue_limits(t.q)->depth = 1;
                submit_bio(fake_bio(&t, 'x', IO_READ, 50, 1), NULL); /* fills the device */
                submit_all(&cases[i], NULL);
                cr_expect_eq(t.fake.logged, 1);
                fake_complete_all(&t.fake);
                expect_requests(&cases[i], 1, "queue");
                fake_queue_close(&t);
        }
}

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
