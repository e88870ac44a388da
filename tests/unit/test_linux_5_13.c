/* SPDX-License-Identifier: Apache-2.0
 *
 * test_linux_5_13.c - the read-ahead of Linux 5.13: each rule on a case worked by hand from its text.
 *
 * No kernel is asked here. A test has its rule's number in its name; windows are half open, R is the
 * largest window.
 */
#include "readahead_model.h"

#define NOWHERE UINT64_MAX

static void start(struct model *m, uint32_t ra, uint64_t pages)
{
        model_start_with(m, "linux-5.13", ra, pages);
}

static void put(struct model *m, uint64_t first, uint64_t end)
{
        for (uint64_t i = first; i < end; i++)
                m->page[i] = CACHED;
}

#define expect_marker(m, want)                                                                     \
        cr_assert_eq(marker(m), (uint64_t)(want), "marker at %lu, not %lu", marker(m),             \
                     (uint64_t)(want))

Test(linux_5_13, L17b_random_advice_reads_one_page_of_any_mapping)
{
        struct model m;

        start(&m, 32, 24576);
        m.advice = ADVICE_RANDOM;
        m.exec = true; /* 6.18 would read ahead for it */
        for (uint64_t p = 100; p < 110; p++)
                touch(&m, p, false);
        expect(&m, "100-110");
        cr_assert_eq(m.last.why, RA_RANDOM_ADVICE);
        cr_assert_eq(m.ra.mmap_miss, 0);
        model_end(&m);
}

Test(linux_5_13, L17c_without_a_window_nothing_is_read_ahead)
{
        struct model m;

        start(&m, 0, 24576);
        touch(&m, 10, false);
        touch(&m, 12, false);
        expect(&m, "10-11 12-13");
        cr_assert_eq(m.last.why, RA_DISABLED);
        model_end(&m);
}

/* From 0 by L26a: R pages, which its request has caught up with: the marker in the middle. */
Test(linux_5_13, L17d_sequential_advice_asks_for_the_whole_window)
{
        struct model m;

        start(&m, 32, 24576);
        m.advice = ADVICE_SEQUENTIAL;
        touch(&m, 0, false);
        expect(&m, "0-32");
        expect_marker(&m, 16);
        for (uint64_t p = 1; p < 200; p++) {
                uint64_t want = p < 16 ? 32 : p < 32 ? 64 : 32 * (p / 32 + 2);

                touch(&m, p, false);
                cr_assert_eq(count(&m), want, "p=%lu: %lu, not %lu", p, count(&m), want);
        }
        cr_assert_eq(m.ra.mmap_miss, 0);
        drop_all(&m);
        model_end(&m);

        /* From elsewhere by L26g: R pages and no marker, again and again. */
        start(&m, 32, 24576);
        m.advice = ADVICE_SEQUENTIAL;
        for (uint64_t p = 5000; p < 5100; p++) {
                touch(&m, p, false);
                cr_assert_eq(count(&m), ((p - 5000) / 32 + 1) * 32);
                expect_marker(&m, NOWHERE);
        }
        model_end(&m);
}

Test(linux_5_13, L17e_after_a_hundred_misses_single_pages)
{
        struct model m;

        start(&m, 32, 24576);
        for (unsigned i = 1; i <= 130; i++) {
                drop_all(&m);
                touch(&m, 5000, true);
                cr_assert_eq(count(&m), i <= 100 ? 32 : 1, "miss %u", i);
        }
        cr_assert_eq(m.last.why, RA_MMAP_MISS);
        m.ra.mmap_miss = 999;
        drop_all(&m);
        touch(&m, 5000, true);
        cr_assert_eq(m.ra.mmap_miss, 1000);
        drop_all(&m);
        touch(&m, 5000, true);
        cr_assert_eq(m.ra.mmap_miss, 1000);
        model_end(&m);
}

Test(linux_5_13, L17g_reads_around_executable_mappings_too)
{
        static const struct {
                uint32_t r;
                uint64_t at;
                const char *want;
                uint64_t mark;
        } rows[] = {
                { 32, 0, "0-32", 24 },
                { 32, 16, "0-32", 24 },
                { 32, 17, "1-33", 25 },
                { 32, 5000, "4984-5016", 5008 },
                { 2048, 5000, "3976-6024", 5512 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct model m;

                for (int exec = 0; exec < 2; exec++) {
                        start(&m, rows[i].r, 24576);
                        m.exec = exec;
                        m.vma_start = rows[i].at; /* the mapping's bounds are no bounds */
                        touch(&m, rows[i].at, false);
                        expect(&m, rows[i].want);
                        expect_marker(&m, rows[i].mark);
                        cr_assert_eq(m.last.why, RA_AROUND);
                        model_end(&m);
                }
        }
}

Test(linux_5_13, L18_a_hit_takes_a_miss_back_also_if_the_page_is_locked)
{
        struct model m;
        struct ra_request rq;

        start(&m, 32, 24576);
        m.ra.mmap_miss = 2;
        rq = request(&m, 7, true);
        rq.locked = true;
        m.policy->mmap_hit(&rq, false);
        cr_assert_eq(m.ra.mmap_miss, 1);
        rq.locked = false;
        for (unsigned i = 0; i < 2; i++)
                m.policy->mmap_hit(&rq, false);
        cr_assert_eq(m.ra.mmap_miss, 0);
        m.ra.mmap_miss = 5;
        rq.advice = ADVICE_RANDOM;
        cr_assert_eq(m.policy->mmap_hit(&rq, true).nr, 0);
        cr_assert_eq(m.ra.mmap_miss, 5);
        model_end(&m);
}

Test(linux_5_13, L19_what_is_mapped_around_takes_misses_back)
{
        struct model m;

        start(&m, 32, 24576);
        m.ra.mmap_miss = 20;
        put(&m, 64, 80);
        touch(&m, 70, false);
        cr_assert_eq(m.ra.mmap_miss, 4);
        m.policy->mapped_around(&m.ra, 16);
        cr_assert_eq(m.ra.mmap_miss, 0);
        model_end(&m);
}

Test(linux_5_13, L22_L23_L26b_windows_grow_4_8_16_32)
{
        static const struct {
                uint64_t at;
                const char *want;
                uint64_t mark;
        } rows[] = {
                { 0, "0-4", 1 },    { 1, "0-12", 4 },   { 2, "0-12", 4 },    { 4, "0-28", 12 },
                { 12, "0-60", 28 }, { 28, "0-92", 60 }, { 60, "0-124", 92 },
        };
        struct model m;

        start(&m, 32, 24576);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                pread_pages(&m, rows[i].at, 1);
                expect(&m, rows[i].want);
                expect_marker(&m, rows[i].mark);
        }
        cr_assert_eq(m.last.why, RA_5_13_NEXT);
        model_end(&m);
}

Test(linux_5_13, L24_a_larger_request_up_to_the_largest_of_the_device)
{
        struct model m;

        start(&m, 32, 24576);
        pread_pages(&m, 3000, 40);
        expect(&m, "3000-3040");
        cr_assert_eq(m.last.why, RA_5_13_STANDALONE);
        model_end(&m);
}

Test(linux_5_13, L25_forced_reads_have_no_marker_and_a_limit)
{
        struct model m;
        struct ra_request rq;

        start(&m, 32, 24576);
        rq = request(&m, 100, false);
        rq.advice = ADVICE_RANDOM;
        rq.req = 50;
        apply(&m, m.policy->read_miss(&rq));
        expect(&m, "100-150");
        expect_marker(&m, NOWHERE);
        cr_assert_eq(m.last.why, RA_FORCED);
        drop_all(&m);
        rq.req = 5000;
        apply(&m, m.policy->read_miss(&rq));
        expect(&m, "100-1124");
        drop_all(&m);
        m.ra.ra_pages = 0;
        rq.advice = ADVICE_NORMAL;
        apply(&m, m.policy->read_miss(&rq));
        expect(&m, "100-101");
        cr_assert_eq(m.policy->read_marker(&rq).nr, 0);
        model_end(&m);
}

Test(linux_5_13, L26a_the_start_of_the_file_begins_a_stream)
{
        struct model m;

        start(&m, 32, 24576);
        m.ra.start = 77; /* whatever was before */
        m.ra.size = 9;
        pread_pages(&m, 0, 3);
        expect(&m, "0-8"); /* 3 -> 4, at most a quarter of R: twice */
        expect_marker(&m, 3);
        cr_assert_eq(m.last.why, RA_5_13_INITIAL);
        model_end(&m);
}

/* No end is trimmed: each window is as long as the last. */
Test(linux_5_13, L26b_the_marker_starts_the_next_window)
{
        static const struct {
                uint64_t at, end;
        } rows[] = { { 5000, 5016 }, { 5008, 5048 }, { 5016, 5080 },
                     { 5048, 5112 }, { 5080, 5144 }, { 5112, 5176 } };
        struct model m;
        size_t i = 0;

        start(&m, 32, 24576);
        for (uint64_t p = 5000; p < 5140; p++) {
                touch(&m, p, false);
                while (i + 1 < ARRAY_SIZE(rows) && p >= rows[i + 1].at)
                        i++;
                cr_assert_eq(first_missing(&m, 4984, m.pages), rows[i].end, "at %lu: %lu", p,
                             first_missing(&m, 4984, m.pages));
        }
        model_end(&m);
}

Test(linux_5_13, L26b_a_miss_right_behind_the_window_goes_on)
{
        struct model m;

        start(&m, 32, 24576);
        m.advice = ADVICE_SEQUENTIAL;
        touch(&m, 0, false);
        touch(&m, 32, false); /* its marker, 16, has been passed by */
        expect(&m, "0-64");
        cr_assert_eq(m.page[48] & MARK, MARK);
        cr_assert_eq(m.page[32] & MARK, 0);
        model_end(&m);
}

Test(linux_5_13, L26c_another_marker_reads_behind_what_is_cached)
{
        struct model m;

        start(&m, 32, 24576);
        put(&m, 500, 520);
        m.page[504] |= MARK | HEAD;
        touch(&m, 504, true);
        expect(&m, "500-552");
        expect_marker(&m, 520);
        cr_assert_eq(m.last.why, RA_5_13_MARKER);
        drop_all(&m);
        put(&m, 500, 532);
        m.page[500] |= MARK | HEAD;
        touch(&m, 500, true);
        expect(&m, "500-564"); /* a hole 32 pages on is near enough */
        drop_all(&m);
        put(&m, 500, 533);
        m.page[500] |= MARK | HEAD;
        touch(&m, 500, true);
        expect(&m, "500-533"); /* 33 are not */
        model_end(&m);
}

Test(linux_5_13, L26d_more_than_any_window_begins_a_stream)
{
        struct model m;

        start(&m, 32, 24576);
        m.ra.io_pages = 16;
        {
                struct ra_request rq = request(&m, 3000, false);

                rq.req = 40;
                apply(&m, m.policy->read_miss(&rq));
        }
        expect(&m, "3000-3032");
        expect_marker(&m, 3016);
        cr_assert_eq(m.last.why, RA_5_13_INITIAL);
        model_end(&m);
}

Test(linux_5_13, L26e_the_page_after_the_last_read_begins_a_stream)
{
        struct model m;

        start(&m, 32, 24576);
        pread_pages(&m, 1000, 1);
        expect(&m, "1000-1001");
        pread_pages(&m, 1001, 1);
        expect(&m, "1000-1005");
        expect_marker(&m, 1002);
        cr_assert_eq(m.last.why, RA_5_13_INITIAL);
        model_end(&m);
}

Test(linux_5_13, L26f_cached_pages_before_it_make_a_stream)
{
        struct model m;

        start(&m, 32, 24576);
        put(&m, 200, 210);
        pread_pages(&m, 210, 2);
        expect(&m, "200-222");
        expect_marker(&m, 221);
        cr_assert_eq(m.last.why, RA_5_13_CONTEXT);
        drop_all(&m);
        put(&m, 0, 5); /* all of the file so far: counted twice */
        m.ra.prev_pos = -1;
        pread_pages(&m, 5, 2);
        expect(&m, "0-17");
        expect_marker(&m, 16);
        model_end(&m);
}

Test(linux_5_13, L26g_no_stream_no_more_than_asked)
{
        struct model m;

        start(&m, 32, 24576);
        put(&m, 998, 1000); /* two pages before it are no more than the two asked for */
        pread_pages(&m, 1000, 2);
        expect(&m, "998-1002");
        expect_marker(&m, NOWHERE);
        cr_assert_eq(m.ra.size, 0);
        cr_assert_eq(m.last.why, RA_5_13_STANDALONE);
        model_end(&m);
}

/* READIT: a miss on the first page of a window that is all read ahead takes the next one with it. */
Test(linux_5_13, L26_readit_joins_two_windows)
{
        struct model m;

        start(&m, 32, 24576);
        pread_pages(&m, 0, 1);
        expect(&m, "0-4");
        pread_pages(&m, 4, 1); /* 8, and the 16 after it */
        expect(&m, "0-28");
        cr_assert_eq(m.page[12] & MARK, MARK);
        cr_assert_eq(m.ra.size, 24);
        cr_assert_eq(m.ra.async_size, 16);
        model_end(&m);
}

Test(linux_5_13, L31_near_the_end_the_marker_moves_forward)
{
        static const struct {
                uint64_t pages, at;
                const char *want;
                uint64_t mark;
        } rows[] = {
                { 100, 90, "74-100", 92 }, { 100, 95, "79-100", 92 }, { 100, 99, "83-100", 92 },
                { 25, 3, "0-25", 17 },     { 8, 3, "0-8", 0 },        { 7, 3, "0-7", NOWHERE },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct model m;
                struct ra_request rq;

                start(&m, 32, rows[i].pages);
                rq = request(&m, rows[i].at, true);
                apply(&m, m.policy->mmap_miss(&rq));
                expect(&m, rows[i].want);
                expect_marker(&m, rows[i].mark);
                model_end(&m);
        }
}

Test(linux_5_13, L35_willneed_reads_the_largest_request_once)
{
        struct model m;
        struct ra_request rq;

        start(&m, 32, 24576);
        rq = request(&m, 0, false);
        apply(&m, m.policy->willneed(&rq, 100, 20000));
        expect(&m, "100-1124");
        expect_marker(&m, NOWHERE);
        model_end(&m);
}

Test(linux_5_13, L43_L51_numbers_that_other_layers_ask_for)
{
        const struct vm_policy_ops *p = policy_find("linux-5.13");

        cr_assert_eq(p->fault_around, 16);
        cr_assert_eq(p->background_percent, 10);
        cr_assert_eq(p->dirty_percent, 20);
        cr_assert_eq(p->writeback_ms, 5000);
        cr_assert_eq(p->expire_ms, 30000);
        cr_assert_eq(p->swappiness, 60);
        cr_assert_eq(p->swap_window, 8);
        cr_assert_eq(p->reclaim, linux_policy.reclaim);
}
