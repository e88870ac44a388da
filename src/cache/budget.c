/* SPDX-License-Identifier: Apache-2.0
 *
 * budget.c - how many pages may be held, and what happens at the limit.
 *
 * Everything that holds memory is charged before it takes it, so the limit is hard. Whoever
 * cannot charge evicts clean pages on the spot; if there are none it waits (WAIT_BUDGET), and
 * reclaim, the flusher and completing reads are bound to wake it. When reclaim has found that
 * nothing can be freed and nothing is on its way, the budget is stuck and the waiters fail instead.
 */
#include "cache/cache.h"

static void note_peak(struct budget *b, int64_t now)
{
        int64_t peak = atomic_load_explicit(&b->peak, memory_order_relaxed);

        while (now > peak && !atomic_compare_exchange_weak(&b->peak, &peak, now))
                ;
}

#define RESERVED_PAGES 8 /* that private pages leave to the files, at least */

int64_t budget_private_most(struct page_cache *c)
{
        int64_t limit = atomic_load(&c->budget.limit);

        return limit - atomic_load(&c->budget.shares) -
               (int64_t)max_u64(RESERVED_PAGES, (uint64_t)limit / 32);
}

/* From there on it looks by itself. */
static bool begins_to_scan(struct budget *b, int64_t left, int64_t pages)
{
        int64_t below = atomic_load(&b->scan_below);

        return left < below && left + pages >= below;
}

bool budget_try_charge(struct page_cache *c, int64_t pages)
{
        struct budget *b = &c->budget;
        int64_t old = atomic_load(&b->charged), left;

        do {
                if (old + pages > atomic_load(&b->limit))
                        return false;
        } while (!atomic_compare_exchange_weak(&b->charged, &old, old + pages));
        note_peak(b, old + pages);
        left = atomic_load(&b->limit) - old - pages;
        if (left < atomic_load(&b->low) || begins_to_scan(b, left, pages))
                reclaim_kick(c);
        return true;
}

void budget_uncharge(struct page_cache *c, int64_t pages)
{
        struct budget *b = &c->budget;

        atomic_fetch_sub(&b->charged, pages);
        atomic_fetch_add(&b->freed, 1);
        waitq_wake(&b->wq, NULL);
}

bool budget_charge(struct page_cache *c, int64_t pages)
{
        int64_t extra = atomic_load(&c->budget.low) / 2;

        if (extra > 16)
                extra = 16;
        for (int tries = 0; tries < 2; tries++) {
                if (budget_try_charge(c, pages))
                        return true;
                if (mutex_trylock(&c->evict_lock)) {
                        struct reclaim_result r = shrink_list(c, (unsigned)(pages + extra));

                        mutex_unlock(&c->evict_lock);
                        if (r.evicted == 0 && r.zapped == 0)
                                break;
                }
        }
        if (budget_try_charge(c, pages))
                return true;
        reclaim_kick(c);
        return false;
}

bool budget_stuck(struct page_cache *c)
{
        return atomic_load(&c->budget.stuck_at) == atomic_load(&c->budget.freed);
}

bool budget_private_stuck(struct page_cache *c)
{
        return atomic_load(&c->budget.private_stuck_at) == atomic_load(&c->budget.private_freed);
}

void budget_reconsider(struct page_cache *c)
{
        atomic_fetch_add(&c->budget.freed, 1);
        atomic_fetch_add(&c->budget.private_freed, 1);
        waitq_wake(&c->budget.wq, NULL);
        reclaim_kick(c);
}

void budget_set_limit(struct page_cache *c, uint64_t bytes)
{
        struct budget *b = &c->budget;
        int64_t pages = (int64_t)(bytes >> PAGE_SHIFT) - c->staging.pages;
        /* What is kept free is lost to a set that would just fit. Enough for a fault to find a page
         * at once, no more: faults that find none evict by themselves. */
        int64_t low = pages / 128;
        int64_t high;

        if (low > 2048)
                low = 2048;
        if (low < 4)
                low = 4;
        high = low + (low > 64 ? 64 : low / 2 + 1);
        if (c->policy->scan) {
                struct scan_levels l =
                        c->policy->scan->levels(&c->tune, (uint64_t)pages, c->page_pages);

                low = l.at_once < 4 ? 4 : (int64_t)l.at_once;
                high = low + 1;
                atomic_store(&b->scan_below, (int64_t)l.below);
        }
        c->budget_bytes = bytes;
        atomic_store(&b->low, low);
        atomic_store(&b->high, high);
        atomic_store(&b->limit, pages);
        atomic_fetch_add(&b->freed, 1);
        atomic_fetch_add(&b->private_freed, 1);
        waitq_wake(&b->wq, NULL);
}
