/* SPDX-License-Identifier: Apache-2.0
 *
 * getpage.c - streams of touches and reads: what UFS reads for each, S13 to S18.
 */
#include <sys/mman.h>

#include "ground.h"

/* --- one page, and a stream */

static void S16_a_miss_reads_one_block(void)
{
        struct ground g = start_ground("miss", PROT_READ, MAP_SHARED);

        touch_unit(&g, 25);
        expect_in_memory(&g, "25", "one block");
        touch_unit(&g, 80);
        touch_unit(&g, 40);
        expect_in_memory(&g, "25 40 80", "three");
        end_ground(&g);
}

static void S14_S15_S16_S17_a_stream_from_the_start(void)
{
        struct ground g = start_ground("stream", PROT_READ, MAP_SHARED);

        touch_unit(&g, 0); /* the first block, and the second as read-ahead, both alone */
        expect_in_memory(&g, "0-1", "the first block");
        touch_unit(&g, 1); /* 8 K + 128 K >= 16 K: the next cluster is due */
        expect_in_memory(&g, "0-17", "the second block");
        touch_unit(&g, 2); /* 16 K + 128 K >= 144 K: the next */
        expect_in_memory(&g, "0-33", "the third block");
        touch_unit(&g, 10); /* eight blocks came with the third; 80 K + 128 K < 272 K */
        expect_in_memory(&g, "0-33", "not due");
        touch_unit(&g, 18);
        expect_in_memory(&g, "0-49", "due");
        end_ground(&g);
}

static void S16_a_stream_in_the_middle(void)
{
        struct ground g = start_ground("middle", PROT_READ, MAP_SHARED);

        touch_unit(&g, 30);
        expect_in_memory(&g, "30", "no stream yet");
        touch_unit(&g, 31); /* a cluster that is waited for, and the next */
        expect_in_memory(&g, "30-62", "a stream");
        touch_unit(&g, 120);
        touch_unit(&g, 121); /* to the end of the file */
        expect_in_memory(&g, "30-62 120-127", "the end of the file");
        end_ground(&g);
}

static void S14_a_stream_is_broken_by_another_access(void)
{
        struct ground g = start_ground("broken", PROT_READ, MAP_SHARED);

        touch_unit(&g, 30);
        touch_unit(&g, 90);
        touch_unit(&g, 31);
        expect_in_memory(&g, "30-31 90", "no stream");
        end_ground(&g);
}

static void S15_reads_make_streams_as_well(void)
{
        struct ground g = start_ground("reads", PROT_READ, MAP_SHARED);
        char buf[UNIT];

        expect(fl_pread(g.f, buf, UNIT, 50 * UNIT) == (ssize_t)UNIT, "%s", fl_strerror());
        expect_in_memory(&g, "50", "no stream");
        expect(fl_pread(g.f, buf, UNIT, 51 * UNIT) == (ssize_t)UNIT, "%s", fl_strerror());
        expect_in_memory(&g, "50-82", "a stream");
        expect(fl_pread(g.f, buf, UNIT, 52 * UNIT) == (ssize_t)UNIT, "%s", fl_strerror());
        expect_in_memory(&g, "50-82", "not due"); /* 52 + 16 < 83 */
        for (unsigned i = 53; i < 68; i++)
                expect(fl_pread(g.f, buf, UNIT, (off_t)(i * UNIT)) == (ssize_t)UNIT, "%s",
                       fl_strerror());
        expect_in_memory(&g, "50-98", "due from 67 on");
        end_ground(&g);
}

/* --- advice */

static void S13_S18_random_reads_one_page(void)
{
        struct ground g = start_ground("random", PROT_READ, MAP_SHARED);

        advise_units(&g, 0, UNITS, MADV_RANDOM);
        for (unsigned i = 40; i < 44; i++)
                touch_unit(&g, i);
        expect_in_memory(&g, "40-43", "a stream under RANDOM");
        end_ground(&g);
}

static void S13_read_ahead_stops_at_a_page_advised_otherwise(void)
{
        struct ground g = start_ground("part", PROT_READ, MAP_SHARED);

        advise_units(&g, 40, 8, MADV_RANDOM);
        touch_unit(&g, 30);
        touch_unit(&g, 31); /* the cluster ends before 40; the next may not begin there */
        expect_in_memory(&g, "30-39", "up to the page that is advised otherwise");
        end_ground(&g);
}

void test_getpage(void)
{
        S16_a_miss_reads_one_block();
        S14_S15_S16_S17_a_stream_from_the_start();
        S16_a_stream_in_the_middle();
        S14_a_stream_is_broken_by_another_access();
        S15_reads_make_streams_as_well();
        S13_S18_random_reads_one_page();
        S13_read_ahead_stops_at_a_page_advised_otherwise();
}
