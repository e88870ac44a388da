/* SPDX-License-Identifier: Apache-2.0
 *
 * test_streams.c - the detectors of adaptive by themselves: touches of pages that nobody has, and what is
 * read for each of them.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "policy/policy.h"

#define FILE_PAGES 100000
#define NOT (-1)

static struct streams s;
static const struct stream_pace pace = { .latency_ns = 80000, .page_ns = 2000, .most = 2048 };
/* What is there, and which page asks for more. */
static bool here[FILE_PAGES], marked[FILE_PAGES];
static unsigned misses, windows;
static uint64_t pages_read;

static void take(const struct stream_window *w, int64_t at)
{
        if (!w->nr) {
                pages_read += at != NOT && !here[at];
                if (at != NOT)
                        here[at] = true;
                return;
        }
        windows++;
        for (uint32_t i = 0; i < w->nr; i++) {
                int64_t page = w->start + w->step * (int64_t)i;

                if (page < 0 || page >= FILE_PAGES)
                        break;
                pages_read += !here[page];
                here[page] = true;
                marked[page] = i == w->mark;
        }
        cr_assert(at == NOT || here[at], "%ld is missing and not read", at);
}

static void touch(int64_t at)
{
        struct stream_window w;

        if (!here[at]) {
                misses++;
                w = streams_miss(&s, &pace, (uint64_t)at, 1);
                take(&w, at);
        } else if (marked[at]) {
                marked[at] = false;
                w = streams_marker(&s, &pace, (uint64_t)at);
                take(&w, NOT);
        }
}

static void expect_few_misses(unsigned most, unsigned touches)
{
        cr_assert_leq(misses, most, "%u misses of %u touches", misses, touches);
        cr_assert_leq(pages_read, touches + 3 * 512, "%lu pages for %u touches", pages_read,
                      touches);
}

Test(streams, forward)
{
        for (int64_t i = 0; i < 20000; i++)
                touch(5000 + i);
        expect_few_misses(2, 20000);
        cr_assert_leq(windows, 80, "%u windows: they grow", windows);
}

Test(streams, backward)
{
        for (int64_t i = 0; i < 20000; i++)
                touch(50000 - i);
        expect_few_misses(2, 20000);
}

Test(streams, down_to_the_first_page)
{
        for (int64_t i = 0; i < 1000; i++)
                touch(999 - i);
        cr_assert_leq(misses, 2);
        cr_assert_eq(pages_read, 1000);
}

Test(streams, strided)
{
        static const int64_t steps[] = { 2, 7, 64, 500, -64, -3 };

        for (size_t k = 0; k < ARRAY_SIZE(steps); k++) {
                memset(&s, 0, sizeof(s));
                memset(here, 0, sizeof(here));
                memset(marked, 0, sizeof(marked));
                misses = windows = 0;
                pages_read = 0;
                for (int64_t i = 0; i < 190; i++)
                        touch((steps[k] > 0 ? 0 : FILE_PAGES - 1) + steps[k] * i);
                cr_assert_leq(misses, 3, "step %ld: %u misses", steps[k], misses);
                cr_assert_leq(pages_read, 190 + 2 * 64, "step %ld: %lu pages", steps[k],
                              pages_read);
        }
}

/* Taking turns, in one file: forward, backward, and two with the same step side by side. */
Test(streams, several_interleaved)
{
        unsigned touches = 0;

        for (int64_t i = 0; i < 150; i++) {
                touch(1000 + i);
                touch(20000 - i);
                touch(30000 + 64 * i);
                touch(30005 + 64 * i);
                touches += 4;
        }
        cr_assert_leq(misses, 2 + 2 + 3 + 3);
        cr_assert_leq(pages_read, touches + 4 * 300);
}

static uint64_t draw(uint64_t *state)
{
        *state += 0x9e3779b97f4a7c15u;

        uint64_t z = (*state ^ *state >> 30) * 0xbf58476d1ce4e5b9u;

        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

Test(streams, random_reads_its_pages_alone)
{
        uint64_t state = 3;

        for (unsigned i = 0; i < 20000; i++)
                touch((int64_t)(draw(&state) % FILE_PAGES));
        cr_assert_leq(pages_read, misses + misses / 50, "%lu pages for %u misses", pages_read,
                      misses);
}

/* A stream among random touches is found and kept. */
Test(streams, a_stream_in_the_noise)
{
        uint64_t state = 4;
        unsigned missed = 0;

        for (int64_t i = 0; i < 5000; i++) {
                missed += !here[i];
                touch(i);
                for (unsigned k = 0; k < 3; k++)
                        touch(10000 + (int64_t)(draw(&state) % (FILE_PAGES - 10000)));
        }
        cr_assert_leq(missed, 8, "%u misses of the stream", missed);
}

/* Read ahead and gone before it is touched: less is read, until that helps. */
Test(streams, windows_that_are_for_nothing_become_smaller)
{
        uint32_t before;

        for (int64_t i = 0; i < 3000; i++)
                touch(i);
        before = s.stream[0].window;
        cr_assert_geq(before, 256);
        for (int64_t i = 3000; i < 3000 + 2 * (int64_t)before; i++)
                here[i] = marked[i] = false;
        touch(3000);
        cr_assert_leq(s.stream[0].window, before / 2);
        for (int64_t i = 3001; i < 20000; i++)
                touch(i);
        cr_assert_geq(s.stream[0].window, before, "and larger again");
}

Test(streams, the_window_is_what_keeps_the_device_busy)
{
        struct stream_pace p = { .most = 2048 };

        cr_assert_eq(stream_most(&p, 1), 256, "not measured yet");
        p.latency_ns = 80000;
        p.page_ns = 2000;
        cr_assert_eq(stream_most(&p, 1), 320);
        p.latency_ns = 8000000; /* a disk that turns */
        p.page_ns = 40000;
        cr_assert_eq(stream_most(&p, 1), 1600);
        p.latency_ns = 40000000; /* far away */
        cr_assert_eq(stream_most(&p, 1), 2048);
        cr_assert_eq(stream_most(&p, 64), 64, "single reads");
        p.most = 16;
        cr_assert_eq(stream_most(&p, -1), 16);
}

/* fl_pread asks for several pages at once. */
Test(streams, calls_one_behind_the_other)
{
        struct stream_window w = streams_miss(&s, &pace, 100, 16);

        cr_assert_eq(w.nr, 0);
        w = streams_miss(&s, &pace, 116, 16);
        cr_assert_eq(w.start, 116);
        cr_assert_geq(w.nr, 32);
        cr_assert_eq(w.mark, 16, "the next call asks for more");
        w = streams_marker(&s, &pace, 132);
        cr_assert_geq(w.nr, 64);
}

static uint64_t records(unsigned nr, int64_t size)
{
        uint64_t state = 5, before = pages_read;

        memset(here, 0, sizeof(here));
        memset(marked, 0, sizeof(marked));
        for (unsigned i = 0; i < nr; i++) {
                int64_t at = (int64_t)(draw(&state) % (FILE_PAGES / 100)) * 100;

                for (int64_t k = 0; k < size; k++)
                        touch(at + k);
        }
        before = pages_read - before;
        memset(here, 0, sizeof(here));
        memset(marked, 0, sizeof(marked));
        return before;
}

/* What lies behind a record is not read, once it is known how long they are; and if others come, that is
 * forgotten. */
Test(streams, records_have_a_length)
{
        uint64_t few = (STREAMS + 20) * 12; /* have to end first */

        cr_assert_leq(records(400, 4), 400 * 4 + few);
        cr_assert_leq(records(400, 4), 400 * 4 + 400 / 10);
        cr_assert_leq(records(400, 32), 400 * 32 + 64 * 64);
        misses = 0;
        cr_assert_leq(records(200, 32), 200 * 32 + 200 * 32 / 10);
        cr_assert_leq(misses, 2 * 200 + 20, "%u misses: a window for each", misses);
}

/* And yet a stream that goes on is read ahead. */
Test(streams, a_stream_among_records)
{
        records(400, 4);
        misses = 0;
        for (int64_t i = 0; i < 5000; i++)
                touch(20000 + i);
        cr_assert_leq(misses, 8, "%u misses", misses);
}

/* Whoever says so is believed, however short others are. */
Test(streams, told_by_advice)
{
        struct stream_window w;

        records(400, 4);
        w = streams_begin(&s, &pace, 50000, 1);
        cr_assert_geq(w.nr, 32);
        w = streams_begin(&s, &pace, 50000 + w.nr, 1);
        cr_assert_geq(w.nr, 64);
        for (unsigned i = 0; i < 10; i++)
                w = streams_marker(&s, &pace, (uint64_t)(w.start + w.mark));
        cr_assert_geq(w.nr, 256);
}

Test(streams, sixty_four_in_turn)
{
        for (int64_t i = 0; i < 150; i++)
                for (int64_t k = 0; k < STREAMS; k++)
                        touch(1500 * k + k * k * 37 % 400 + i);
        cr_assert_leq(misses, 2 * STREAMS, "%u misses", misses);
        cr_assert_eq(streams_active(&s), STREAMS);
}

/* Some of the pages are there already, also those that would have carried a mark. */
Test(streams, over_islands)
{
        uint64_t state = 6;

        for (int64_t i = 1000; i < 21000; i += 4 + (int64_t)(draw(&state) % 40))
                for (int64_t k = 0; k < 10; k++)
                        here[i + k] = true;
        for (int64_t i = 1000; i < 21000; i++) {
                if (!here[i] || marked[i])
                        touch(i);
        }
        cr_assert_leq(misses, 20000 / 100, "%u misses", misses);
}
