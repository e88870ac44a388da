/* SPDX-License-Identifier: Apache-2.0
 *
 * test_budget.c - when those who wait for memory are told that there will be none.
 */
#include <unistd.h>

#include "page_fixture.h"

TestSuite(budget, .init = start, .fini = stop, .timeout = 30);

static void take_all(void)
{
        cr_assert(budget_try_charge(c, budget_free(c)));
}

static void give_all_back(void)
{
        budget_uncharge(c, atomic_load(&c->budget.charged));
}

/* Many rounds of the reclaimer, which finds nothing to free in any. */
static void rounds(void)
{
        for (unsigned i = 0; i < 50; i++) {
                reclaim_kick(c);
                usleep(1000);
        }
}

static void until_stuck(void)
{
        while (!budget_stuck(c)) {
                reclaim_kick(c);
                usleep(1000);
        }
}

Test(budget, stuck_until_something_is_given_back)
{
        take_all();
        until_stuck();
        budget_uncharge(c, 1);
        cr_assert_not(budget_stuck(c));
        take_all();
        until_stuck();
        give_all_back();
}

Test(budget, what_somebody_has_in_hand_may_come_back)
{
        unsigned held = hold_begin(c);

        take_all();
        rounds();
        cr_assert_not(budget_stuck(c));
        hold_end(c, held);
        until_stuck();
        give_all_back();
}

Test(budget, staging_memory_in_use_is_an_io_on_its_way)
{
        unsigned nr = 1;
        char *buf = staging_get(&c->staging, &nr, false);

        take_all();
        rounds();
        cr_assert_not(budget_stuck(c));
        staging_put(&c->staging, buf, nr, false);
        until_stuck();
        give_all_back();
}
