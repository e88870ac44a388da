/* SPDX-License-Identifier: Apache-2.0
 *
 * test_ticks.c - what the processor counts becomes the time of the clock.
 */
#include <criterion/criterion.h>
#include <unistd.h>

#include "trace/ticks.h"

#define SLACK 1000000u /* ns, for a look that was interrupted; a wrong line is farther off */
#define EVENTS 200

/* An event lies between what the clock said before it and after it, however far the looks are apart. */
Test(ticks, agree_with_the_clock)
{
        uint64_t before[EVENTS], tick[EVENTS], after[EVENTS], last = 0;
        struct ticks c;

        ticks_start(&c);
        for (unsigned round = 0; round < 5; round++) {
                for (unsigned i = 0; i < EVENTS; i++) {
                        before[i] = now_ns();
                        tick[i] = ticks_now(&c);
                        after[i] = now_ns();
                        if (i % 50 == 0)
                                usleep(20000);
                }
                ticks_look(&c);
                for (unsigned i = 0; i < EVENTS; i++) {
                        uint64_t ns = ticks_to_ns(&c, tick[i]);

                        cr_assert_geq(ns + SLACK, before[i]);
                        cr_assert_leq(ns, after[i] + SLACK);
                        cr_assert_geq(ns, last, "out of order");
                        last = ns;
                }
        }
}

/* 2 ticks a nanosecond up to tick 1000, then 4. */
static const struct ticks two_lines = {
        .counted = true,
        .until = 700,
        .line = { { .tick = 400, .ns = 200, .slope = 1ull << 31 },
                  { .tick = 1000, .ns = 500, .slope = 1ull << 30 } },
};

Test(ticks, lie_on_lines_that_meet)
{
        cr_assert_eq(ticks_to_ns(&two_lines, 400), 200);
        cr_assert_eq(ticks_to_ns(&two_lines, 998), 499);
        cr_assert_eq(ticks_to_ns(&two_lines, 1000), 500);
        cr_assert_eq(ticks_to_ns(&two_lines, 1400), 600);
        cr_assert_eq(ticks_to_ns(&two_lines, 200), 100, "older than both");
}

Test(ticks, no_event_is_later_than_the_look)
{
        cr_assert_eq(ticks_to_ns(&two_lines, 1800), 700);
        cr_assert_eq(ticks_to_ns(&two_lines, 1ull << 62), 700);
}

/* After a suspend the processor may count from 0 again: the clock goes on, and so do later events. */
Test(ticks, begin_anew)
{
        uint64_t now, tick;
        struct ticks c;

        ticks_start(&c);
        if (!c.counted)
                cr_skip_test("the kernel keeps the time by something else");
        ticks_look(&c);
        c.tick += 1ull << 60;
        ticks_look(&c);
        usleep(2000);
        now = now_ns();
        tick = ticks_now(&c);
        ticks_look(&c);
        cr_assert_geq(ticks_to_ns(&c, tick) + SLACK, now);
        cr_assert_leq(ticks_to_ns(&c, tick), now_ns());
}

/* Or the machine has moved, and counts differently: a look that takes longer than ever is not interrupted
 * each time. */
Test(ticks, of_a_processor_that_has_become_slower)
{
        uint64_t now, tick;
        struct ticks c;

        ticks_start(&c);
        if (!c.counted)
                cr_skip_test("the kernel keeps the time by something else");
        ticks_look(&c);
        c.least = 1;
        c.line[1].slope /= 2;
        for (unsigned i = 0; i < 100; i++) {
                usleep(200);
                ticks_look(&c);
        }
        usleep(2000);
        now = now_ns();
        tick = ticks_now(&c);
        ticks_look(&c);
        cr_assert_geq(ticks_to_ns(&c, tick) + SLACK, now);
        cr_assert_leq(ticks_to_ns(&c, tick), now_ns());
}

Test(ticks, without_a_counter_are_nanoseconds)
{
        struct ticks c = { .counted = false };
        uint64_t now = now_ns();

        ticks_look(&c);
        cr_assert_geq(ticks_now(&c), now);
        cr_assert_eq(ticks_to_ns(&c, 12345), 12345);
}
