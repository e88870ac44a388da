/* SPDX-License-Identifier: Apache-2.0
 *
 * test_replay.c - what is counted for lists so short that it can be worked out by hand.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "replay.h"

/* Numbers pages as replay_input.c does: here by their order of appearance, which is as good. */
static struct replay_input input(const uint64_t *page, size_t nr)
{
        struct replay_input in = { .page = malloc(nr * sizeof(*page)), .nr = nr };

        in.id = calloc(nr, sizeof(*in.id));
        cr_assert(in.page && in.id);
        for (size_t i = 0; i < nr; i++) {
                size_t k = 0;

                in.page[i] = page[i];
                in.file_pages = max_u64(in.file_pages, page[i] + 1);
                while (page[k] != page[i])
                        k++;
                in.id[i] = k == i ? in.distinct++ : in.id[k];
        }
        return in;
}

static void free_input(struct replay_input *in)
{
        free(in->page);
        free(in->id);
}

#define INPUT(...)                                                                                 \
        input((const uint64_t[]){ __VA_ARGS__ },                                                   \
              sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void expect_result(const struct replay_result *r, uint64_t hits, uint64_t read,
                          uint64_t wasted, uint64_t evicted)
{
        cr_assert_eq(r->hits, hits, "hits %lu, not %lu", r->hits, hits);
        cr_assert_eq(r->read, read, "read %lu, not %lu", r->read, read);
        cr_assert_eq(r->wasted, wasted, "wasted %lu, not %lu", r->wasted, wasted);
        cr_assert_eq(r->evicted, evicted, "evicted %lu, not %lu", r->evicted, evicted);
}

/* Belady's own string: with 3 and with 4 frames. */
Test(replay, lru_and_opt_on_beladys_string)
{
        struct replay_input in = INPUT(1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5);
        struct replay_result r;

        cr_assert(replay_lru(&in, 3, &r));
        expect_result(&r, 2, 10, 0, 7);
        cr_assert(replay_lru(&in, 4, &r));
        expect_result(&r, 4, 8, 0, 4);
        cr_assert(replay_opt(&in, 3, &r));
        expect_result(&r, 5, 7, 0, 4);
        cr_assert(replay_opt(&in, 4, &r));
        expect_result(&r, 6, 6, 0, 2);
        cr_assert(replay_opt(&in, 5, &r));
        expect_result(&r, 7, 5, 0, 0);
        free_input(&in);
}

Test(replay, lru_evicts_the_longest_untouched)
{
        struct replay_input in = INPUT(1, 2, 3, 1, 4, 2, 5, 1);
        struct replay_result r;

        cr_assert(replay_lru(&in, 3, &r)); /* 2, 3, 1 and 4 go */
        expect_result(&r, 1, 7, 0, 4);
        cr_assert(replay_opt(&in, 3, &r)); /* 3 goes for 4, then 2 or 4 for 5 */
        expect_result(&r, 3, 5, 0, 2);
        cr_assert(replay_lru(&in, 1, &r));
        expect_result(&r, 0, 8, 0, 7);
        free_input(&in);
}

static struct replay_result with(const char *policy, struct replay_input in, uint64_t cache,
                                 enum vm_advice advice)
{
        struct replay_setup setup = {
                .policy = policy_find(policy),
                .page_pages = policy_find(policy)->page_pages,
                .cache = cache,
                .ra_pages = 32,
                .advice = advice,
        };
        struct replay_result r;

        cr_assert(setup.policy);
        cr_assert(replay_policy(&in, &setup, &r));
        free_input(&in);
        return r;
}

static struct replay_input forward(uint64_t nr)
{
        uint64_t page[512];

        for (uint64_t i = 0; i < nr; i++)
                page[i] = i;
        return input(page, nr);
}

/* 0 misses and reads 32, 24 and then 32 find a marker: everything else is there. */
Test(replay, a_stream_misses_once)
{
        struct replay_result r = with("linux", forward(128), 256, ADVICE_NORMAL);

        expect_result(&r, 127, 128, 0, 0);
        r = with("linux-5.13", forward(128), 256, ADVICE_NORMAL);
        expect_result(&r, 127, 128, 0, 0);
        /* No window, no markers: each page by itself. */
        r = with("linux", forward(128), 256, ADVICE_RANDOM);
        expect_result(&r, 0, 128, 0, 0);
}

/* The first two pages, the next two ahead of them; from 2 on 32, from 4 on 32, and so on. */
Test(replay, a_stream_of_solaris_misses_once)
{
        struct replay_result r = with("solaris", forward(128), 256, ADVICE_NORMAL);

        expect_result(&r, 127, 128, 0, 0);
        /* Pages of 8 KiB, each by itself. */
        r = with("solaris", forward(128), 256, ADVICE_RANDOM);
        expect_result(&r, 64, 128, 0, 0);
        /* Faults on 0, 2, 4, 20, 36 and every 16: the one on 116 frees all but the first page. */
        r = with("solaris", forward(128), 256, ADVICE_SEQUENTIAL);
        expect_result(&r, 127, 128, 0, 114);
        /* In the middle it is none before its second page: [40, 42), then [42, 74) and [74, 106). */
        r = with("solaris", INPUT(41, 42, 300), 256, ADVICE_NORMAL);
        expect_result(&r, 0, 2 + 32 + 32 + 1, 2 + 32 + 32 + 1 - 3, 0);
}

/* Boundaries at 0, 16, 32 and 48: 16 pages after each; the mapping is a shared one. */
Test(replay, the_book_reads_eight_pages_ahead_at_64_KiB)
{
        struct replay_result r = with("solaris-book", forward(64), 256, ADVICE_NORMAL);

        expect_result(&r, 63, 64, 0, 0);
        r = with("solaris-book", INPUT(20, 99), 256, ADVICE_NORMAL);
        expect_result(&r, 0, 2 + 2, 2, 0);
        r = with("solaris-book", INPUT(32, 99), 256, ADVICE_NORMAL);
        expect_result(&r, 0, 2 + 16 + 2, 18, 0);
}

/* The second window of a stream from 5 ends on a multiple of four in the one, anywhere in the other. */
Test(replay, the_two_kernels_differ_where_windows_end)
{
        /* [84, 116), marker at 108: [116, 148); marker at 116: [148, 180), or to 176. */
        struct replay_result r = with("linux", INPUT(100, 108, 116, 999), 256, ADVICE_NORMAL);
        uint64_t last = 16 + 1; /* [983, 1000) */

        expect_result(&r, 2, 32 + 32 + 28 + last, 32 + 32 + 28 + last - 4, 0);
        r = with("linux-5.13", INPUT(100, 108, 116, 999), 256, ADVICE_NORMAL);
        expect_result(&r, 2, 32 + 32 + 32 + last, 32 + 32 + 32 + last - 4, 0);
}

Test(replay, what_is_read_around_is_wasted_if_nobody_comes)
{
        struct replay_result r = with("linux", INPUT(0, 1000), 256, ADVICE_NORMAL);

        expect_result(&r, 0, 32 + 17, 31 + 16, 0); /* [0, 32), and [984, 1001): the file ends */
        /* A window is an eighth of the cache at most. */
        r = with("linux", INPUT(0, 1000), 64, ADVICE_NORMAL);
        expect_result(&r, 0, 8 + 5, 7 + 4, 0);
}

/* 65 pages into 64: the oldest is unmapped like all others, and goes. The second, touched again, has
 * its second chance when its turn comes; the third has not. */
Test(replay, a_mapped_page_is_unmapped_before_it_goes)
{
        uint64_t page[69];
        struct replay_result r;

        for (uint64_t i = 0; i < 65; i++)
                page[i] = i * 100;
        page[65] = 100; /* there: mapped again */
        page[66] = 0;   /* missing: 100 is passed by, 200 goes */
        page[67] = 100; /* there */
        page[68] = 200; /* missing: 300 goes */
        r = with("linux", input(page, 69), 64, ADVICE_RANDOM);
        expect_result(&r, 2, 67, 0, 3);
}

/* A stream through a small cache: what was read ahead and never reached was for nothing. */
Test(replay, the_end_of_a_stream_is_wasted)
{
        uint64_t page[41];
        struct replay_result r;

        for (uint64_t i = 0; i < 40; i++)
                page[i] = i;
        page[40] = 5000;
        r = with("linux", input(page, 41), 256, ADVICE_NORMAL);
        /* To 96 by way of 24 and 32; and [4984, 5001). */
        expect_result(&r, 39, 96 + 17, 96 - 40 + 16, 0);
}

/* ---- adaptive: counts that it has to keep ---- */

static uint64_t draw(uint64_t *state)
{
        *state += 0x9e3779b97f4a7c15u;

        uint64_t z = (*state ^ *state >> 30) * 0xbf58476d1ce4e5b9u;

        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

static struct replay_input empty_input(size_t nr)
{
        struct replay_input in = { .page = malloc(nr * sizeof(*in.page)) };

        cr_assert(in.page);
        return in;
}

static void add_access(struct replay_input *in, uint64_t page)
{
        in->page[in->nr++] = page;
        in->file_pages = max_u64(in->file_pages, page + 1);
}

static struct replay_result adaptive(const struct replay_input *in, const char *policy,
                                     uint64_t cache, uint32_t ra_pages)
{
        struct replay_setup setup = {
                .policy = policy_find(policy),
                .cache = cache,
                .ra_pages = ra_pages,
        };
        struct replay_result r;

        cr_assert(replay_policy(in, &setup, &r));
        return r;
}

/* 200,000 touches at random of a file of eight caches: behind the first 256 faults at most 1.3 times the
 * bytes needed. */
Test(replay, adaptive_reads_at_random_what_is_needed)
{
        struct replay_input in = empty_input(200000);
        struct replay_result first, all;
        uint64_t state = 6;

        while (in.nr < 200000) {
                add_access(&in, draw(&state) % 65536);
                if (in.nr == 256)
                        first = adaptive(&in, "adaptive", 8192, 1024);
        }
        all = adaptive(&in, "adaptive", 8192, 1024);

        uint64_t needed = (in.nr - all.hits) - (256 - first.hits), read = all.read - first.read;

        cr_assert_leq(read * 10, needed * 13, "%lu pages read, %lu needed", read, needed);
        free_input(&in);
}

/* Forward, backward and four streams that take turns: not more than one miss a window. */
Test(replay, adaptive_does_not_leave_a_stream_waiting)
{
        static const int64_t plan[][2] = { { 0, 1 }, { 99999, -1 } };

        for (unsigned k = 0; k < 3; k++) {
                struct replay_input in = empty_input(100000);
                struct replay_result r;

                for (int64_t i = 0; i < 100000; i++)
                        add_access(&in, k < 2 ? (uint64_t)(plan[k][0] + plan[k][1] * i)
                                              : (uint64_t)(i % 4 * 25000 + i / 4));
                r = adaptive(&in, "adaptive", 12500, 1024);
                cr_assert_leq(in.nr - r.hits, k < 2 ? 2 : 12, "%lu misses of pattern %u",
                              in.nr - r.hits, k);
                cr_assert_leq(r.wasted, 4 * 512, "%lu pages wasted", r.wasted);
                free_input(&in);
        }
}

#define ZIPF_PAGES 1000000u
#define ZIPF_DRAWS 200000u
#define SCAN_RATE 4u

/* Page of a rank: no two ranks have the same, and those in use lie anywhere. */
static uint64_t page_of_rank(uint64_t rank)
{
        return rank * 618033 % ZIPF_PAGES; /* 618033 and 10^6 have no divisor in common */
}

static struct replay_input zipf_beside_a_scan(void)
{
        struct replay_input in = empty_input((size_t)ZIPF_DRAWS * (1 + SCAN_RATE));
        double *below = calloc(ZIPF_PAGES, sizeof(*below)), sum = 0;
        uint64_t state = 9, scan = 0;

        cr_assert(below);
        for (unsigned i = 0; i < ZIPF_PAGES; i++)
                below[i] = sum += pow(i + 1, -0.9);
        for (unsigned i = 0; i < ZIPF_DRAWS; i++) {
                double at = (double)(draw(&state) >> 11) * 0x1p-53 * sum;
                unsigned low = 0, high = ZIPF_PAGES - 1;

                while (low < high) {
                        unsigned middle = (low + high) / 2;

                        *(below[middle] < at ? &low : &high) =
                                below[middle] < at ? middle + 1 : middle;
                }
                add_access(&in, page_of_rank(low));
                for (unsigned k = 0; k < SCAN_RATE; k++)
                        add_access(&in, ZIPF_PAGES + scan++ % ZIPF_PAGES);
        }
        free(below);
        in.counted = ZIPF_PAGES;
        return in;
}

static void number_pages(struct replay_input *in)
{
        uint32_t *number = calloc(in->file_pages, sizeof(*number));

        in->id = calloc(in->nr, sizeof(*in->id));
        cr_assert(number && in->id);
        for (size_t i = 0; i < in->nr; i++) {
                if (!number[in->page[i]])
                        number[in->page[i]] = ++in->distinct;
                in->id[i] = number[in->page[i]] - 1;
        }
        free(number);
}

/* Zipf(0.9) over a million pages, a scan beside it four times as fast, a cache for a tenth of the pages: hits
 * of the Zipf accesses alone. */
Test(replay, adaptive_keeps_what_a_scan_would_push_out, .timeout = 60)
{
        struct replay_input in = zipf_beside_a_scan();
        struct replay_result lru, linux_618, ours;

        number_pages(&in);
        cr_assert(replay_lru(&in, ZIPF_PAGES / 10, &lru));
        linux_618 = adaptive(&in, "linux", ZIPF_PAGES / 10, 32);
        ours = adaptive(&in, "adaptive", ZIPF_PAGES / 10, 2048);
        cr_assert_eq(ours.counted, ZIPF_DRAWS);
        cr_assert_geq(ours.hits * 100, lru.hits * 100 + 10ull * ZIPF_DRAWS,
                      "%.2f%% hits, and lru %.2f%%", 100.0 * ours.hits / ZIPF_DRAWS,
                      100.0 * lru.hits / ZIPF_DRAWS);
        cr_assert_geq(ours.hits, linux_618.hits, "%.2f%% hits, and linux %.2f%%",
                      100.0 * ours.hits / ZIPF_DRAWS, 100.0 * linux_618.hits / ZIPF_DRAWS);
        free_input(&in);
}
