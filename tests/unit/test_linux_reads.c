/* SPDX-License-Identifier: Apache-2.0
 *
 * test_linux_reads.c - the linux policy's read-ahead for fl_pread, against what Linux 6.18 does for read(2).
 */
#include "readahead_model.h"

Test(linux_reads, ramp_up)
{
        struct model m;

        model_start(&m, 32, 24576);
        pread_pages(&m, 0, 1);
        expect(&m, "0-4"); /* 1 <= 32/32: four times */
        cr_assert_eq(m.last.why, RA_INITIAL);
        cr_assert_eq(marker(&m), 1);
        pread_pages(&m, 1, 1);
        expect(&m, "0-12"); /* 4 -> 8 */
        cr_assert_eq(m.last.why, RA_MARKER);
        pread_pages(&m, 2, 2);
        pread_pages(&m, 4, 1);
        expect(&m, "0-16"); /* 8 -> 16 would end at 28; at order 4 it ends at 16 */
        model_end(&m);
}

Test(linux_reads, without_a_stream_read_what_was_asked)
{
        struct model m;

        model_start(&m, 32, 24576);
        pread_pages(&m, 1000, 3);
        expect(&m, "1000-1003");
        cr_assert_eq(m.last.why, RA_STANDALONE);
        pread_pages(&m, 3000, 40); /* more than the window, device takes 1024: 40 */
        expect(&m, "1000-1003 3000-3040");
        /* Sequential to the last read. */
        pread_pages(&m, 3040, 2);
        cr_assert_eq(m.last.why, RA_INITIAL);
        expect(&m, "1000-1003 3000-3044");
        model_end(&m);
}

Test(linux_reads, cached_pages_before_make_a_context)
{
        struct model m;

        model_start(&m, 32, 24576);
        for (uint64_t p = 200; p < 210; p++)
                m.page[p] = CACHED;
        pread_pages(&m, 210, 2);
        cr_assert_eq(m.last.why, RA_CONTEXT);
        expect(&m, "200-222"); /* 10 before + 2 asked */
        cr_assert_eq(marker(&m), 221);
        drop_all(&m);
        for (uint64_t p = 0; p < 5; p++)
                m.page[p] = CACHED;
        m.ra.prev_pos = -1;
        pread_pages(&m, 5, 2);
        expect(&m, "0-17"); /* the whole prefix is cached: 2 * 5 + 2 */
        model_end(&m);
}

/* L20: only reads leave behind where they ended. */
Test(linux_reads, L20_a_fault_is_no_read_to_go_on_from)
{
        struct model m;

        model_start(&m, 32, 24576);
        m.advice = ADVICE_RANDOM;
        touch(&m, 1999, false);
        expect(&m, "1999-2000");
        m.advice = ADVICE_NORMAL;
        pread_pages(&m, 2000, 1);
        cr_assert_eq(m.last.why, RA_STANDALONE);
        expect(&m, "1999-2001");
        pread_pages(&m, 2001, 1);
        cr_assert_eq(m.last.why, RA_INITIAL, "but one read is, for the next");
        model_end(&m);
}
