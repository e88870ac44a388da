/* SPDX-License-Identifier: Apache-2.0
 *
 * test_linux_readahead.c - the linux policy's read-ahead for mapped pages, against what mincore(2)
 * shows on Linux 6.18. Each test is a row of the table of expected residency: the running kernel is
 * the oracle.
 */
#include "readahead_model.h"

static void one_touch(uint32_t ra, uint64_t pages, uint64_t at, const char *want,
                      uint64_t want_marker)
{
        struct model m;

        model_start(&m, ra, pages);
        touch(&m, at, false);
        expect(&m, want);
        cr_assert_eq(marker(&m), want_marker, "marker at %lu, not %lu", marker(&m), want_marker);
        model_end(&m);
}

Test(linux_readahead, one_touch_reads_around)
{
        one_touch(32, 24576, 0, "0-32", 24);
        one_touch(32, 24576, 15, "0-32", 24);
        one_touch(32, 24576, 16, "0-32", 24);
        one_touch(32, 24576, 17, "1-33", 25);
        one_touch(32, 24576, 64, "48-80", 72);
        one_touch(32, 24576, 16000, "15984-16016", 16008);
        one_touch(2048, 24576, 0, "0-2048", 1536);
        one_touch(2048, 24576, 1, "0-2048", 1536);
        one_touch(2048, 24576, 100, "0-2048", 1536);
        one_touch(2048, 24576, 1024, "0-2048", 1536);
        one_touch(2048, 24576, 1025, "1-2049", 1537);
        one_touch(2048, 24576, 5000, "3976-6024", 5512);
        one_touch(64, 24576, 5000, "4968-5032", 5016); /* FADV_SEQUENTIAL doubles 32 */
        one_touch(4096, 24576, 5000, "2952-7048", 6024);
}

Test(linux_readahead, window_is_clipped_to_the_file)
{
        one_touch(2048, 24576, 24575, "23551-24576", UINT64_MAX);
        one_touch(32, 100, 95, "79-100", UINT64_MAX); /* the marker stays at 103: past the end */
        one_touch(32, 100, 90, "74-100", 98);         /* at 98, not moved by the clip */
        one_touch(32, 1, 0, "0-1", UINT64_MAX);
        one_touch(32, 25, 3, "0-25", 24);
}

Test(linux_readahead, second_touch_changes_nothing)
{
        struct model m;

        model_start(&m, 32, 24576);
        touch(&m, 64, false);
        for (uint64_t i = 48; i < 80; i++)
                if (i != 72)
                        touch(&m, i, false);
        expect(&m, "48-80");
        model_end(&m);
}

Test(linux_readahead, marker_appends_a_window)
{
        struct model m;

        model_start(&m, 2048, 24576);
        touch(&m, 0, false);
        touch(&m, 1536, false);
        expect(&m, "0-4096");
        model_end(&m);

        model_start(&m, 32, 24576);
        touch(&m, 0, false);
        touch(&m, 24, false);
        expect(&m, "0-64");
        model_end(&m);
}

Test(linux_readahead, forward_from_the_start)
{
        for (uint64_t r = 32; r <= 2048; r *= 64) {
                struct model m;

                model_start(&m, (uint32_t)r, 24576);
                for (uint64_t p = 0; p < 6 * r; p++) {
                        uint64_t want = p < r * 3 / 4 ? r : p < r ? 2 * r : r * (p / r + 2);

                        touch(&m, p, false);
                        cr_assert_eq(count(&m), want, "r=%lu p=%lu: %lu, not %lu", r, p, count(&m),
                                     want);
                        cr_assert_eq(first_missing(&m, 0, m.pages), want);
                }
                model_end(&m);
        }
}

struct step {
        uint64_t at, end;
};

static void forward_steps(uint32_t ra, uint64_t from, uint64_t first, const struct step *steps,
                          size_t n, uint64_t stop)
{
        struct model m;
        size_t i = 0;

        model_start(&m, ra, 24576);
        for (uint64_t p = from; p < stop; p++) {
                touch(&m, p, false);
                while (i + 1 < n && p >= steps[i + 1].at)
                        i++;
                cr_assert_eq(first_missing(&m, first, m.pages), steps[i].end,
                             "at %lu: end %lu, not %lu", p, first_missing(&m, first, m.pages),
                             steps[i].end);
                cr_assert_eq(count(&m), steps[i].end - first);
        }
        model_end(&m);
}

Test(linux_readahead, forward_from_the_middle_trims_to_alignment)
{
        static const struct step steps[] = {
                { 5000, 5016 }, { 5008, 5048 }, { 5016, 5072 }, { 5048, 5088 },
                { 5072, 5120 }, { 5088, 5152 }, { 5120, 5184 }, { 5152, 5216 },
        };
        /* Ends aligned to 4, 16, 64, 256, 1024, then 2048. */
        static const struct step large[] = {
                { 5000, 6024 },   { 5512, 8072 },   { 6024, 10112 },
                { 8072, 12160 },  { 10112, 14080 }, { 12160, 15360 },
                { 14080, 16384 }, { 15360, 18432 }, { 16384, 20480 },
        };

        forward_steps(32, 5000, 4984, steps, ARRAY_SIZE(steps), 5180);
        forward_steps(2048, 5000, 3976, large, ARRAY_SIZE(large), 18000);
}

Test(linux_readahead, backward)
{
        struct model m;

        model_start(&m, 32, 24576);
        touch(&m, 1000, false);
        expect(&m, "984-1016");
        for (uint64_t p = 999; p >= 984; p--)
                touch(&m, p, false);
        expect(&m, "984-1016");
        for (int k = 0; k < 5; k++) {
                uint64_t miss = 983 - 17 * (uint64_t)k;
                uint64_t before = count(&m);

                touch(&m, miss, false);
                cr_assert_eq(count(&m), before + 17);
                cr_assert(m.page[miss - 16] & CACHED);
                for (uint64_t p = miss; p > miss - 17; p--)
                        touch(&m, p, false);
                cr_assert_eq(count(&m), before + 17);
        }
        expect(&m, "899-1016");
        model_end(&m);

        model_start(&m, 2048, 24576);
        touch(&m, 20000, false);
        expect(&m, "18976-21024");
        touch(&m, 18975, false);
        expect(&m, "17951-21024");
        touch(&m, 17950, false);
        expect(&m, "16926-21024");
        model_end(&m);
}

Test(linux_readahead, stride_16)
{
        struct model m;

        model_start(&m, 32, 24576);
        touch(&m, 0, false);
        expect(&m, "0-32");
        touch(&m, 16, false);
        expect(&m, "0-32");
        for (uint64_t p = 32; p < 400; p += 16) {
                touch(&m, p, false);
                cr_assert_eq(count(&m), p + 16);
                cr_assert_eq(first_missing(&m, 0, m.pages), p + 16);
        }
        model_end(&m);
}

Test(linux_readahead, stride_8_is_a_stream)
{
        struct model m;

        model_start(&m, 32, 24576);
        for (uint64_t p = 0; p < 1024; p += 8) {
                uint64_t want = p < 24 ? 32 : p < 32 ? 64 : 32 * (p / 32 + 2);

                touch(&m, p, false);
                cr_assert_eq(count(&m), want);
        }
        model_end(&m);
}

Test(linux_readahead, long_strides_are_disjoint)
{
        static const uint64_t strides[] = { 33, 50, 100, 1000 };
        struct model m;

        for (size_t s = 0; s < ARRAY_SIZE(strides); s++) {
                model_start(&m, 32, 24576);
                for (uint64_t k = 0; k < 20; k++) {
                        uint64_t p = k * strides[s];

                        touch(&m, p, false);
                        cr_assert_eq(count(&m),
                                     32 * (k + 1) - (k && strides[s] < 48 ? 48 - strides[s] : 0));
                        if (k && strides[s] >= 48) {
                                cr_assert_not(m.page[p - 17] & CACHED);
                                cr_assert_not(m.page[p + 16] & CACHED);
                        }
                }
                model_end(&m);
        }

        model_start(&m, 2048, 24576);
        touch(&m, 0, false);
        expect(&m, "0-2048");
        touch(&m, 1500, false);
        expect(&m, "0-2048");
        touch(&m, 3000, false);
        expect(&m, "0-4024");
        touch(&m, 4500, false);
        expect(&m, "0-5524");
        model_end(&m);

        model_start(&m, 2048, 24576);
        touch(&m, 0, false);
        touch(&m, 3000, false);
        expect(&m, "0-4024");
        touch(&m, 6000, false);
        touch(&m, 9000, false);
        expect(&m, "0-4024 4976-7024 7976-10024");
        model_end(&m);
}

Test(linux_readahead, random_advice_reads_the_page)
{
        for (uint32_t r = 32; r <= 2048; r *= 64) {
                struct model m;

                model_start(&m, r, 24576);
                m.advice = ADVICE_RANDOM;
                touch(&m, 0, false);
                touch(&m, 100, false);
                touch(&m, 101, false);
                touch(&m, 24575, false);
                expect(&m, "0-1 100-102 24575-24576");
                cr_assert_eq(m.last.why, RA_RANDOM_ADVICE);
                cr_assert_eq(m.ra.mmap_miss, 0);
                model_end(&m);
        }
}

Test(linux_readahead, sequential_advice_from_the_start)
{
        struct model m;

        model_start(&m, 32, 24576);
        m.advice = ADVICE_SEQUENTIAL;
        touch(&m, 0, false);
        expect(&m, "0-32");
        cr_assert_eq(marker(&m), 16);
        cr_assert_eq(m.last.why, RA_SEQUENTIAL_ADVICE);
        for (uint64_t p = 1; p < 300; p++) {
                uint64_t want = p < 16 ? 32 : p < 32 ? 64 : 32 * (p / 32 + 2);

                touch(&m, p, false);
                cr_assert_eq(count(&m), want, "p=%lu: %lu, not %lu", p, count(&m), want);
        }
        model_end(&m);

        model_start(&m, 2048, 24576);
        m.advice = ADVICE_SEQUENTIAL;
        touch(&m, 0, false);
        expect(&m, "0-2048");
        cr_assert_eq(marker(&m), 1024);
        model_end(&m);
}

Test(linux_readahead, sequential_advice_from_the_middle)
{
        for (uint64_t r = 32; r <= 2048; r *= 64) {
                struct model m;

                model_start(&m, (uint32_t)r, 24576);
                m.advice = ADVICE_SEQUENTIAL;
                for (uint64_t p = 5000; p < 5000 + 4 * r; p++) {
                        touch(&m, p, false);
                        cr_assert_eq(count(&m), ((p - 5000) / r + 1) * r);
                        cr_assert_eq(marker(&m), UINT64_MAX);
                }
                cr_assert_not(m.page[4999] & CACHED);
                cr_assert_eq(m.ra.mmap_miss, 0);
                model_end(&m);
        }
}

Test(linux_readahead, exec_goes_forward_within_the_mapping)
{
        struct model m;

        model_start(&m, 32, 24576);
        m.exec = true;
        m.vma_start = 90;
        m.vma_end = 150;
        touch(&m, 100, false);
        expect(&m, "100-132");
        cr_assert_eq(marker(&m), UINT64_MAX);
        cr_assert_eq(m.last.why, RA_EXEC);
        touch(&m, 140, false);
        expect(&m, "100-132 140-150");
        model_end(&m);

        model_start(&m, 2048, 24576);
        m.exec = true;
        m.advice = ADVICE_RANDOM; /* does not suppress it */
        touch(&m, 5000, false);
        expect(&m, "5000-7048");
        model_end(&m);
}

Test(linux_readahead, willneed_is_capped_and_unmarked)
{
        struct model m;

        for (uint32_t r = 32; r <= 2048; r *= 64) {
                uint64_t cap = r == 32 ? 1024 : 2048;
                struct ra_request rq;

                model_start(&m, r, 24576);
                rq = request(&m, 0, false);
                apply(&m, m.policy->willneed(&rq, 100, 200));
                expect(&m, "100-200");
                cr_assert_eq(marker(&m), UINT64_MAX);
                drop_all(&m);
                apply(&m, m.policy->willneed(&rq, 5000, 20000));
                cr_assert_eq(m.last.start, 5000);
                cr_assert_eq(count(&m), cap);
                drop_all(&m);
                apply(&m, m.policy->willneed(&rq, 24570, 30000));
                expect(&m, "24570-24576");
                apply(&m, m.policy->willneed(&rq, 24576, 30000));
                cr_assert_eq(m.last.nr, 0);
                apply(&m, m.policy->willneed(&rq, 7, 7));
                cr_assert_eq(m.last.nr, 0);
                model_end(&m);
        }
}

Test(linux_readahead, random_read_misses_keep_reading_around)
{
        struct model m;

        model_start(&m, 32, 24576);
        for (int i = 0; i < 130; i++) {
                drop_all(&m);
                touch(&m, 5000, false);
                expect(&m, "4984-5016");
        }
        model_end(&m);
}

Test(linux_readahead, write_misses_stop_reading_around_after_100)
{
        for (uint64_t r = 32; r <= 2048; r *= 64) {
                struct model m;

                model_start(&m, (uint32_t)r, 24576);
                for (int i = 1; i <= 130; i++) {
                        drop_all(&m);
                        touch(&m, 5000, true);
                        cr_assert_eq(count(&m), i <= 100 ? r : 1, "miss %d: %lu", i, count(&m));
                }
                cr_assert_eq(m.last.why, RA_MMAP_MISS);
                cr_assert_eq(m.ra.mmap_miss, 130);
                model_end(&m);
        }
}

Test(linux_readahead, one_read_brings_read_around_back)
{
        struct model m;

        model_start(&m, 32, 24576);
        for (int i = 0; i < 101; i++) {
                drop_all(&m);
                touch(&m, 5000, true);
        }
        cr_assert_eq(m.ra.mmap_miss, 101);
        drop_all(&m);
        for (uint64_t p = 64; p < 80; p++)
                m.page[p] = CACHED;
        touch(&m, 70, false);
        cr_assert_eq(m.ra.mmap_miss, 85);
        touch(&m, 9000, true);
        expect(&m, "64-80 8984-9016");
        model_end(&m);
}

Test(linux_readahead, a_hit_lowers_the_misses_unless_the_page_is_locked)
{
        struct model m;
        struct ra_request rq;

        model_start(&m, 32, 24576);
        m.ra.mmap_miss = 2;
        rq = request(&m, 7, true);
        rq.locked = true;
        m.policy->mmap_hit(&rq, false);
        cr_assert_eq(m.ra.mmap_miss, 2);
        rq.locked = false;
        for (int i = 0; i < 3; i++)
                m.policy->mmap_hit(&rq, false);
        cr_assert_eq(m.ra.mmap_miss, 0);
        m.ra.mmap_miss = 5000;
        m.policy->mmap_miss(&rq);
        cr_assert_eq(m.ra.mmap_miss, 5000); /* counts to 1000, no further */
        m.policy->mapped_around(&m.ra, 6000);
        cr_assert_eq(m.ra.mmap_miss, 0);
        model_end(&m);
}

Test(linux_readahead, without_a_window_nothing_is_read_ahead)
{
        struct model m;

        model_start(&m, 0, 24576);
        for (uint64_t p = 10; p < 20; p++) {
                touch(&m, p, false);
                cr_assert_eq(count(&m), p - 9);
        }
        cr_assert_eq(m.last.why, RA_DISABLED);
        model_end(&m);
}

/* A marker that the state does not know: the next window lies behind the cached pages (L26c). */
Test(linux_readahead, unexpected_marker_continues_behind_the_cached_pages)
{
        struct model m;

        model_start(&m, 32, 24576);
        for (uint64_t p = 500; p < 520; p++)
                m.page[p] = CACHED;
        m.page[504] |= MARK;
        touch(&m, 504, true);
        expect(&m, "500-552"); /* 16 + 32 -> 32; 520+32 is aligned to 4 */
        cr_assert_eq(m.ra.start, 520);
        drop_all(&m);
        /* The hole may lie a whole window ahead, and no further. */
        for (uint64_t p = 500; p < 532; p++)
                m.page[p] = CACHED;
        m.page[500] |= MARK;
        touch(&m, 500, true);
        expect(&m, "500-560"); /* 32 pages from 532, trimmed to 16 */
        drop_all(&m);
        for (uint64_t p = 500; p < 600; p++)
                m.page[p] = CACHED;
        m.page[504] |= MARK;
        touch(&m, 504, true);
        expect(&m, "500-600");
        model_end(&m);
}

/* The second window of a stream begins with a folio of four pages, which has the marker. Of its pages
 * the first is the stream; from any other the next window starts behind what is cached, unless that
 * is found to be too far away, which from inside the folio is too early (L26c, folio.c). */
Test(linux_readahead, a_marked_folio_is_hit_by_any_of_its_pages)
{
        static const struct {
                uint64_t at, end;
        } rows[] = {
                { 5016, 5072 }, { 5017, 5048 }, { 5018, 5048 }, { 5019, 5072 }, { 5020, 5048 }
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct model m;

                model_start(&m, 32, 24576);
                touch(&m, 5000, false);
                touch(&m, 5008, false);
                for (uint64_t p = 5016; p < 5020; p++)
                        cr_assert(m.page[p] & MARK);
                cr_assert_not(m.page[5020] & MARK);
                touch(&m, rows[i].at, false);
                cr_assert_eq(first_missing(&m, 4984, m.pages), rows[i].end, "at %lu: %lu",
                             rows[i].at, first_missing(&m, 4984, m.pages));
                cr_assert(!(m.page[5019] & MARK) == (rows[i].at < 5020)); /* off all, or none */
                model_end(&m);
        }
}

/* Where the hole lies in the next node of the kernel's tree, the pages between are passed by. */
Test(linux_readahead, a_walk_from_inside_a_folio_passes_some_pages_by)
{
        struct model m;
        struct ra_request rq;

        model_start(&m, 32, 24576);
        for (uint64_t p = 4000; p < 4032; p++)
                m.page[p] = CACHED;
        rq = request(&m, 4017, true);
        rq.folio = 4; /* 4016 to 4019: so 4018 is taken for two pages less, up to 4032 */
        apply(&m, m.policy->mmap_hit(&rq, true));
        cr_assert_eq(m.last.start, 4034);
        drop_all(&m);
        for (uint64_t p = 4000; p < 4033; p++)
                m.page[p] = CACHED;
        m.page[4033] = CACHED;
        m.page[4034] = CACHED;
        m.ra.order = 0;
        apply(&m, m.policy->mmap_hit(&rq, true));
        cr_assert_eq(m.last.start, 4035);
        model_end(&m);
}

/* L31, L32: clipped to the file the marker stays, and lies past the end; but behind a cached page the
 * rest is read by the older code, which clips first. */
Test(linux_readahead, a_cached_page_moves_the_last_marker)
{
        struct model m;

        model_start(&m, 32, 100);
        touch(&m, 95, true);
        expect(&m, "79-100");
        cr_assert_eq(marker(&m), UINT64_MAX);
        drop_all(&m);
        m.page[85] = CACHED;
        touch(&m, 95, true);
        expect(&m, "79-100");
        cr_assert_eq(marker(&m), 92);
        drop_all(&m);
        m.page[94] = CACHED; /* what is left is shorter than the marker is far */
        touch(&m, 95, true);
        expect(&m, "79-100");
        cr_assert_eq(marker(&m), UINT64_MAX);
        model_end(&m);
}

/* L32: a page in the way of the marked folio, and the marker is on its first page alone. */
Test(linux_readahead, a_cached_page_splits_the_marked_folio)
{
        struct model m;

        model_start(&m, 32, 24576);
        m.page[5018] = CACHED;
        touch(&m, 5000, false);
        touch(&m, 5008, false);
        cr_assert(m.page[5016] & MARK);
        cr_assert_not(m.page[5017] & MARK);
        model_end(&m);
}
