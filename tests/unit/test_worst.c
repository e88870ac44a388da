/* SPDX-License-Identifier: Apache-2.0
 *
 * test_worst.c - the table of the slowest faults: those are kept, and no others, whoever writes.
 */
#include <criterion/criterion.h>
#include <pthread.h>

#include "trace/worst.h"

static struct worst w;

static void put(uint64_t ns)
{
        if (worst_wants(&w, ns))
                worst_put(&w, &(struct worst_fault){ .ns = ns, .index = ns * 2 });
}

Test(worst, the_slowest_are_kept_in_order)
{
        struct worst_fault out[WORST_FAULTS];

        cr_expect_eq(worst_get(&w, out), 0);
        for (uint64_t i = 0; i < 1000; i++)
                put(1 + i * 7919 % 1000); /* each of 1 to 1000 once */
        cr_assert_eq(worst_get(&w, out), WORST_FAULTS);
        for (uint64_t i = 0; i < WORST_FAULTS; i++) {
                cr_expect_eq(out[i].ns, 1000 - i);
                cr_expect_eq(out[i].index, out[i].ns * 2);
        }
        cr_expect_not(worst_wants(&w, 1000 - WORST_FAULTS + 1), "as fast as the fastest of them");
        cr_expect(worst_wants(&w, 1000 - WORST_FAULTS + 2));
}

Test(worst, few_are_all_there)
{
        struct worst_fault out[WORST_FAULTS];

        put(5);
        put(7);
        put(6);
        cr_assert_eq(worst_get(&w, out), 3);
        cr_expect_eq(out[0].ns, 7);
        cr_expect_eq(out[2].ns, 5);
}

static void *put_many(void *arg)
{
        for (uint64_t i = 0; i < 100000; i++)
                put(1 + (i * 7919 + (uintptr_t)arg) % 100000);
        return NULL;
}

Test(worst, no_row_is_of_two_faults)
{
        struct worst_fault out[WORST_FAULTS];
        pthread_t thread[4];

        for (uintptr_t i = 0; i < 4; i++)
                pthread_create(&thread[i], NULL, put_many, (void *)i);
        for (unsigned k = 0; k < 200; k++) {
                unsigned n = worst_get(&w, out);

                for (unsigned i = 0; i < n; i++)
                        cr_assert_eq(out[i].index, out[i].ns * 2);
        }
        for (unsigned i = 0; i < 4; i++)
                pthread_join(thread[i], NULL);
        cr_expect_eq(worst_get(&w, out), WORST_FAULTS);
}
