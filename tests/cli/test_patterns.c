/* SPDX-License-Identifier: Apache-2.0
 *
 * test_patterns.c - what programs do with files: records, trees, lists of an index, vectors, tables, scans
 * that come again. Each is replayed under adaptive, without advice and with a read-ahead of 8 MiB, and under
 * linux with 128 KiB, which is what suits such files there; pages read and misses are held to what has been
 * counted, so that what is lost on the way to something else is seen.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "replay.h"

#define CACHE 16384u      /* 64 MiB */
#define PAGES (8 * CACHE) /* of a file */
#define MOST (1u << 18)   /* accesses */

static struct replay_input in;
static uint64_t state;

static uint64_t draw(uint64_t below)
{
        uint64_t z = state += 0x9e3779b97f4a7c15u;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return (z ^ z >> 31) % below;
}

static void touch(uint64_t page)
{
        cr_assert(in.nr < MOST && page < PAGES);
        in.page[in.nr++] = page;
}

static void touch_run(uint64_t page, uint64_t nr)
{
        for (uint64_t i = 0; i < nr; i++)
                touch(page + i);
}

static struct replay_result replay(const char *policy, uint32_t ra_pages)
{
        struct replay_setup setup = { .policy = policy_find(policy),
                                      .cache = CACHE,
                                      .ra_pages = ra_pages };
        struct replay_result r;

        in.file_pages = PAGES;
        cr_assert(replay_policy(&in, &setup, &r));
        return r;
}

static void begin(void)
{
        in = (struct replay_input){ .page = malloc(MOST * sizeof(*in.page)) };
        cr_assert(in.page);
        state = 1;
}

/* Pages read, and misses: percent of the accesses' own distinct pages would be another measure, but these
 * can be compared with linux's. */
static void expect(uint64_t most_read, uint64_t most_misses)
{
        struct replay_result a = replay("adaptive", 2048), l = replay("linux", 32);

        cr_log_info("%zu accesses: read %lu, misses %lu; linux %lu, %lu", in.nr, a.read,
                    in.nr - a.hits, l.read, in.nr - l.hits);
        cr_expect_leq(a.read, most_read, "%lu pages read, linux %lu", a.read, l.read);
        cr_expect_leq(in.nr - a.hits, most_misses, "%lu misses, linux %lu", in.nr - a.hits,
                      in.nr - l.hits);
        free(in.page);
}

/* Records of 16 KiB, all alike. */
Test(patterns, records_at_random)
{
        begin();
        for (unsigned i = 0; i < 20000; i++)
                touch_run(4 * draw(PAGES / 4), 4);
        expect(77000, 30000);
}

/* Some more than others: one in four of a sixteenth of them. */
Test(patterns, records_of_which_some_are_hot)
{
        begin();
        for (unsigned i = 0; i < 20000; i++)
                touch_run(4 * draw(draw(4) ? PAGES / 64 : PAGES / 4), 4);
        expect(33000, 13000);
}

Test(patterns, records_of_64_KiB)
{
        begin();
        for (unsigned i = 0; i < 5000; i++)
                touch_run(16 * draw(PAGES / 16), 16);
        expect(80000, 5000);
}

/* First small, then large: what has been learned is forgotten. */
Test(patterns, records_that_become_larger)
{
        begin();
        for (unsigned i = 0; i < 2000; i++)
                touch_run(4 * draw(PAGES / 4), 4);
        for (unsigned i = 0; i < 1000; i++)
                touch_run(64 * draw(PAGES / 64), 64);
        expect(82000, 4600);
}

/* Root, inner node, leaf, row. */
Test(patterns, lookups_in_a_tree)
{
        begin();
        for (unsigned i = 0; i < 20000; i++) {
                uint64_t key = draw(PAGES / 2);

                touch(0);
                touch(1 + key / 1024);
                touch(200 + key / 16);
                touch(8192 + key * 2654435761u % 120000);
        }
        expect(23000, 22000);
}

/* Lists of 5 to 39 pages. */
Test(patterns, lists_of_an_index)
{
        begin();
        for (unsigned i = 0; i < 3000; i++)
                touch_run(draw(PAGES - 64), 5 + draw(35));
        expect(102000, 4400);
}

/* Three at once, until each has ended. */
Test(patterns, lists_that_are_compared)
{
        begin();
        for (unsigned i = 0; i < 1500; i++) {
                uint64_t at[3], nr[3];

                for (unsigned k = 0; k < 3; k++) {
                        at[k] = draw(PAGES - 64);
                        nr[k] = 2 + draw(18);
                }
                for (uint64_t n = 0; n < 20; n++)
                        for (unsigned k = 0; k < 3; k++)
                                if (n < nr[k])
                                        touch(at[k] + n);
        }
        expect(71000, 6200);
}

/* 6 KiB each, so in two pages. */
Test(patterns, vectors_at_random)
{
        begin();
        for (unsigned i = 0; i < 30000; i++) {
                uint64_t at = draw(PAGES / 3 * 2 - 1) * 6144;

                touch_run(at / 4096, (at % 4096 + 6143) / 4096 + 1);
        }
        expect(57000, 31000);
}

Test(patterns, two_strides_in_turn)
{
        begin();
        for (unsigned i = 0; i < 4000; i++) {
                touch(5 + 16 * i);
                touch(70000 + 13 * i);
        }
        expect(8000 + 4 * 64, 6);
}

/* Pages 0, 3 and 5 of each eight. */
Test(patterns, columns_of_a_table)
{
        begin();
        for (unsigned i = 0; i < 8000; i++) {
                touch(8 * i);
                touch(8 * i + 3);
                touch(8 * i + 5);
        }
        expect(24000 + 8 * 64, 30);
}

/* A file of three caches, three times. */
Test(patterns, a_scan_that_comes_again)
{
        begin();
        for (unsigned i = 0; i < 3; i++)
                touch_run(0, 50000);
        expect(140000, 400);
}

/* It goes back a little now and then. */
Test(patterns, a_scan_that_steps_back)
{
        uint64_t at = 0;

        begin();
        for (unsigned i = 0; i < 60; i++) {
                uint64_t nr = 200 + draw(1300);

                touch_run(at, nr);
                at += nr - draw(200);
        }
        expect(53000, 4);
}

/* Seven of ten pages, and three of ten, in order: to read all is faster than to wait for each. */
Test(patterns, a_scan_with_holes)
{
        begin();
        for (uint64_t i = 0; i < 60000; i++)
                if (draw(10) < 7)
                        touch(i);
        expect(62000, 150);
        begin();
        for (uint64_t i = 0; i < 100000; i++)
                if (draw(10) < 3)
                        touch(i);
        expect(98000, 3800);
}

/* 64 readers in turn, whose windows share the cache. */
Test(patterns, many_readers)
{
        begin();
        for (unsigned i = 0; i < 600; i++)
                for (unsigned k = 0; k < 64; k++)
                        touch(k * 2048 + i);
        expect(44000, 1200);
}

/* Sixteen sorted runs, of which now one and now another goes on. */
Test(patterns, runs_that_are_merged)
{
        uint64_t at[16] = { 0 };

        begin();
        for (unsigned i = 0; i < 40000; i++) {
                unsigned k = (unsigned)draw(16);

                touch(k * 8000 + at[k]++);
        }
        expect(46000, 80);
}

Test(patterns, binary_search)
{
        begin();
        for (unsigned i = 0; i < 8000; i++) {
                uint64_t low = 0, high = PAGES, key = draw(PAGES);

                while (high - low > 1) {
                        uint64_t middle = (low + high) / 2;

                        touch(middle);
                        *(key < middle ? &high : &low) = middle;
                }
        }
        expect(40500, 40500);
}

/* Column after column, two in a page. */
Test(patterns, a_matrix_by_columns)
{
        begin();
        for (unsigned column = 0; column < 6; column++)
                for (unsigned row = 0; row < 1200; row++)
                        touch(row * 100 + column / 3);
        expect(2400 + 3 * 64, 8);
}

/* Random touches after long streams have ended: near where they ended there is none. */
Test(patterns, at_random_after_streams)
{
        begin();
        for (unsigned k = 0; k < 8; k++)
                touch_run(k * 16384, 4000);
        for (unsigned i = 0; i < 20000; i++)
                touch(draw(PAGES));
        expect(32000 + 8 * 1024 + 20000 * 11 / 10, 20000);
}

#define SET (CACHE / 10 * 9)
#define SCANNED (PAGES - SET)

/* A set that fits, some of it used more than the rest, beside readers of all the rest: after its pages have come
 * once, few of them are missed; and what is read ahead of many readers is not pushed out before it is touched. */
static void expect_set_stays(unsigned readers, uint64_t most_misses)
{
        struct replay_result r;
        uint64_t at[4] = { 0 };

        begin();
        for (unsigned i = 0; in.nr + 1 + 4 <= MOST; i++) {
                touch(draw(draw(SET) + 1));
                for (unsigned k = 0; k < 4; k++) {
                        unsigned reader = k % readers;

                        touch(SET + reader * (SCANNED / readers) + at[reader]++);
                        at[reader] %= SCANNED / readers;
                }
        }
        in.counted = SET;
        r = replay("adaptive", 2048);
        cr_log_info("%lu accesses: misses %lu, wasted %lu", r.counted, r.counted - r.hits,
                    r.wasted);
        cr_expect_leq(r.counted - r.hits, most_misses, "%lu of the set are missed",
                      r.counted - r.hits);
        cr_expect_leq(r.wasted, CACHE / 4, "%lu pages are wasted", r.wasted);
        free(in.page);
}

Test(patterns, a_set_beside_a_scan)
{
        expect_set_stays(1, 13500);
}

Test(patterns, a_set_beside_four_scans)
{
        expect_set_stays(4, 14100);
}
