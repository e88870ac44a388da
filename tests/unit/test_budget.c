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

static void nothing(struct waiter *w)
{
        (void)w;
}

/* Nothing that is on its way need ever free room: the reclaimer may sleep without a limit, and looks after
 * those who wait from here on. */
Test(budget, who_waits_is_looked_after)
{
        unsigned held = hold_begin(c);
        struct wait_on on = { .kind = WAIT_BUDGET };
        struct waiter w = { .wake = nothing };
        uint32_t kicks;

        take_all();
        rounds();
        kicks = atomic_load(&c->reclaimer.kicks);
        cr_assert(wait_on_add(c, &on, &w));
        cr_expect_gt(atomic_load(&c->reclaimer.kicks), kicks);
        waitq_remove(&c->budget.wq, &w);
        hold_end(c, held);
        until_stuck();
        give_all_back();
}

/* What staging memory takes is lost to what is cached. */
Test(budget, a_large_cache_gives_less_to_staging)
{
        static const struct {
                uint64_t bytes;
                unsigned pages;
        } row[] = {
                { 256 << 10, 8 },     { 64 << 20, 1024 },  { 128 << 20, 2048 },
                { 256 << 20, 2048 },  { 512 << 20, 4096 }, { 1ull << 30, 8192 },
                { 4ull << 30, 8192 },
        };

        for (unsigned i = 0; i < sizeof(row) / sizeof(*row); i++) {
                struct cache_config cfg = {
                        .bytes = row[i].bytes,
                        .tables = &tables,
                        .trace = &trace,
                        .policy = &no_policy,
                        .m_ops = &no_mappings,
                };
                struct page_cache *other;

                cr_assert_eq(cache_create(&other, &cfg), 0);
                cr_expect_eq(other->staging.pages, row[i].pages, "%u pages of row %u",
                             other->staging.pages, i);
                cache_destroy(other);
        }
}
