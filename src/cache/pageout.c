/* SPDX-License-Identifier: Apache-2.0
 *
 * pageout.c - reclaim at a rate: under a policy with a page scanner (S34, S35) pages are looked at some
 * times a second, the more the less is free, and not until it is enough again.
 *
 * What is clean goes; what is dirty is written and goes then (putpage.c), so many at a time. Only
 * below a last level, or when somebody waits, reclaim does not wait for its turn (reclaim.c).
 */
#include <time.h>

#include "cache/filemap.h"

#define LOOK 1024 /* pages between two looks at the clock */

static uint64_t cpu_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct scan_turn turn_now(struct page_cache *c)
{
        return c->policy->scan->turn(&c->tune, (uint64_t)atomic_load(&c->budget.limit),
                                     filemap_freemem(c), c->page_pages);
}

uint64_t pageout_due(struct page_cache *c, uint64_t last)
{
        uint64_t period = (uint64_t)c->policy->scan->period_ms * 1000000ull, past;

        if (filemap_freemem(c) >= (uint64_t)atomic_load(&c->budget.scan_below))
                return 0;
        past = now_ns() - last;
        return past < period ? period - past : 1;
}

void pageout_wake(struct page_cache *c)
{
        struct scan_turn turn = turn_now(c);
        uint64_t most_ns = (uint64_t)c->policy->scan->period_ms * 10000ull * turn.cpu_percent;
        uint64_t began = cpu_ns();
        struct reclaim_result r = { .pushes = turn.pushes };

        while (r.scanned < turn.pages && cpu_ns() - began < most_ns) {
                uint64_t before = r.scanned;

                scan_files(c, min_u64(turn.pages - before, LOOK), &r);
                if (r.scanned == before)
                        break;
        }
        scan_memory(c, (unsigned)min_u64(turn.pushes, ZAP_BATCH));
        trace_emit(c->trace, RECLAIM, 0, 0, r.scanned, r.zapped, r.evicted, 0);
}
