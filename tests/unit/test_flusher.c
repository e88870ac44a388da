/* SPDX-License-Identifier: Apache-2.0
 *
 * test_flusher.c - who may make no more pages dirty is let go on by a flusher that has written for him,
 * under a policy whose flusher writes at its turns and when it is asked.
 */
#include <unistd.h>

#include "cache/filemap.h"
#include "page_fixture.h"

#define DIRTY 8 /* of a limit of 4 */

static _Atomic unsigned written;

static void write_run(struct fs_run *run, struct blk_plug *plug)
{
        (void)plug;
        atomic_fetch_add(&written, run->nr_pages);
        run->end_io(run);
}

static const struct address_space_operations counting = { .writepages = write_run };

static uint64_t never(const struct policy_tune *tune, uint64_t memory)
{
        (void)tune, (void)memory;
        return 0;
}

static struct vm_policy_ops by_turns;

static void begin(void)
{
        start();
        inode.a_ops = &counting;
        by_turns = no_policy;
        by_turns.flush_scan = never;
        by_turns.dirty_percent = 0;
        __atomic_store_n(&c->policy, &by_turns, __ATOMIC_SEQ_CST);
        flusher_kick(c);
        usleep(300000); /* it sleeps by the new policy, and the last pause of anybody is long over */
}

TestSuite(flusher, .init = begin, .fini = stop, .timeout = 30);

static void each_page(void (*fn)(struct page_cache *, struct page *))
{
        for (unsigned i = 0; i < DIRTY; i++) {
                struct page *q = grab_page(m, i);

                page_lock(c, q);
                fn(c, q);
                page_unlock(c, q);
                put_page(m, q);
        }
}

static void evict(struct page_cache *cache, struct page *q)
{
        page_start_evict(cache, q);
        page_end_evict(cache, q, false);
}

/* It is he who has ended the flusher's sleep: it must look again who waits. */
Test(flusher, writes_for_who_has_woken_it)
{
        struct wait_on on = { .kind = WAIT_DIRTY };
        struct waiter w;

        cr_assert(budget_try_charge(c, DIRTY));
        each_page(page_create_dirty);
        waiter_init_sync(&w);
        cr_assert(wait_on_add(c, &on, &w));
        waiter_sleep(&w, 0);
        cr_assert_eq(atomic_load(&written), DIRTY, "%u pages written", atomic_load(&written));
        while (atomic_load(&c->nr_writeback) || staging_in_use(&c->staging))
                usleep(1000);
        each_page(evict);
}
