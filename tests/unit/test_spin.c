/* SPDX-License-Identifier: Apache-2.0
 *
 * test_spin.c - when waits are polled for, and what is counted.
 */
#include <criterion/criterion.h>

#include "util/spin.h"

/* Waits that sleep at once before one is polled for. */
static unsigned left_out(struct spin *s)
{
        unsigned n = 0;

        while (!spin_begin(s))
                n++;
        return n;
}

Test(spin, off_is_never)
{
        struct spin s = { 0 };

        for (unsigned i = 0; i < 1000; i++)
                cr_assert_eq(spin_begin(&s), 0);
        cr_expect_eq(atomic_load(&s.spins), 0);
}

Test(spin, as_long_as_it_is_of_use_each_is_polled_for)
{
        struct spin s = { .most_ns = 50 };

        for (unsigned i = 0; i < 1000; i++) {
                cr_assert_eq(spin_begin(&s), 50);
                spin_end(&s, 3, true);
        }
        cr_expect_eq(atomic_load(&s.spins), 1000);
        cr_expect_eq(atomic_load(&s.hits), 1000);
        cr_expect_eq(atomic_load(&s.ns), 3000);
}

Test(spin, in_vain_it_becomes_rare_and_one_hit_brings_it_back)
{
        static const unsigned expected[] = { 1, 3, 7, 15, 31, 63, 63, 63 };
        struct spin s = { .most_ns = 50 };

        cr_assert_eq(left_out(&s), 0);
        for (unsigned i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
                spin_end(&s, 50, false);
                cr_assert_eq(left_out(&s), expected[i], "miss %u", i);
        }
        spin_end(&s, 20, true);
        cr_expect_eq(left_out(&s), 0);
        spin_end(&s, 50, false);
        cr_expect_eq(left_out(&s), 1);
        cr_expect_eq(atomic_load(&s.hits), 1);
        cr_expect_eq(atomic_load(&s.spins), 10);
        cr_expect_eq(atomic_load(&s.ns), 9 * 50 + 20);
}
