/* SPDX-License-Identifier: Apache-2.0
 *
 * test_histogram.c - quantiles of the latency histogram against those of the sorted samples.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "trace/stats.h"

static struct histogram h;

static int by_value(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

static uint64_t next_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static void check_quantiles(uint64_t *samples, size_t n)
{
        static const unsigned permilles[] = { 1, 10, 250, 500, 900, 990, 999 };

        for (size_t i = 0; i < n; i++)
                histogram_add(&h, samples[i]);
        qsort(samples, n, sizeof *samples, by_value);
        for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
                size_t rank = (n * permilles[i] + 999) / 1000;
                double exact = (double)samples[rank ? rank - 1 : 0];
                double got = (double)histogram_quantile(&h, permilles[i]);

                cr_assert_leq(fabs(got - exact), exact * 0.02, "permille %u: got %.0f, exact %.0f",
                              permilles[i], got, exact);
        }
        cr_assert_eq(histogram_quantile(&h, 1000), samples[n - 1]);
}

Test(histogram, empty_is_zero)
{
        cr_assert_eq(histogram_quantile(&h, 500), 0);
        cr_assert_eq(histogram_quantile(&h, 1000), 0);
}

Test(histogram, small_values_are_exact)
{
        for (uint64_t v = 0; v < 10; v++)
                histogram_add(&h, v);
        for (unsigned v = 0; v < 10; v++)
                cr_assert_eq(histogram_quantile(&h, (v + 1) * 100), v);
}

Test(histogram, one_sample_is_every_quantile)
{
        histogram_add(&h, 1000003);
        for (unsigned permille = 0; permille <= 1000; permille += 250) {
                uint64_t got = histogram_quantile(&h, permille);

                cr_assert(got >= 940003 && got <= 1000003, "permille %u: %lu", permille, got);
        }
}

Test(histogram, uniform)
{
        static uint64_t samples[20000];
        uint64_t seed = 1;

        for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
                samples[i] = next_random(&seed) % 5000000;
        check_quantiles(samples, ARRAY_SIZE(samples));
}

Test(histogram, spread_over_all_powers_of_two)
{
        static uint64_t samples[20000];
        uint64_t seed = 7;

        for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
                samples[i] = next_random(&seed) >> (next_random(&seed) % 64);
        check_quantiles(samples, ARRAY_SIZE(samples));
}

Test(histogram, largest_value_fits)
{
        histogram_add(&h, UINT64_MAX);
        cr_assert_eq(histogram_quantile(&h, 1000), UINT64_MAX);
        cr_assert_geq(histogram_quantile(&h, 500), UINT64_MAX - UINT64_MAX / 16);
}

Test(histogram, a_slot_ends_where_the_next_begins)
{
        /* Whatever is below a power of two is in slots that end there at the latest. */
        for (unsigned bit = 4; bit < 63; bit++) {
                uint64_t below = 0, bound = 1ull << bit;

                memset(&h, 0, sizeof(h));
                histogram_add(&h, bound - 1);
                histogram_add(&h, bound);
                for (unsigned i = 0; i < HIST_SLOTS; i++)
                        if (histogram_slot_end(i) <= bound)
                                below += atomic_load(&h.slot[i]);
                cr_expect_eq(below, 1, "2^%u", bit);
                cr_expect_eq(atomic_load(&h.sum), 2 * bound - 1);
        }
        for (unsigned i = 1; i < HIST_SLOTS; i++)
                cr_expect(histogram_slot_end(i) > histogram_slot_end(i - 1) || i >= 60 * HIST_STEPS,
                          "slot %u", i);
}
