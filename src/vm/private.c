/* SPDX-License-Identifier: Apache-2.0
 *
 * private.c - what private pages may take of the budget: copies of file pages and anonymous ones.
 *
 * They cannot be evicted. So they leave a few pages to the cache, or else nothing of any file could
 * be read any more; and they leave alone what files have been promised (cache/share.c).
 */
#include <errno.h>

#include "vm/fault.h"

#define RESERVED_PAGES 8 /* that private pages leave to the cache, at least */

static int64_t most_private(struct page_cache *c)
{
        int64_t limit = atomic_load(&c->budget.limit);

        return limit - atomic_load(&c->budget.shares) -
               (int64_t)max_u64(RESERVED_PAGES, (uint64_t)limit / 32);
}

bool count_private(struct page_cache *c)
{
        if (atomic_fetch_add(&c->budget.private_pages, 1) < most_private(c))
                return true;
        uncount_private(c, 1);
        return false;
}

void uncount_private(struct page_cache *c, int64_t nr)
{
        atomic_fetch_sub(&c->budget.private_pages, nr);
}

bool charge_private(struct page_cache *c)
{
        if (!count_private(c))
                return false;
        if (budget_charge(c, 1))
                return true;
        uncount_private(c, 1);
        return false;
}

/* Up to nr pages of what is free beyond the watermarks, so that nobody has to reclaim for them. */
static uint64_t charge_spare(struct page_cache *c, int64_t nr)
{
        int64_t room = (budget_free(c) - atomic_load(&c->budget.high)) / 2;

        nr = nr < room ? nr : room;
        return nr > 0 && budget_try_charge(c, nr) ? (uint64_t)nr : 0;
}

uint64_t charge_private_run(struct page_cache *c, uint64_t nr)
{
        int64_t left = (most_private(c) - atomic_load(&c->budget.private_pages)) / 2;
        uint64_t more;

        if (!charge_private(c))
                return 0;
        more = charge_spare(c, (int64_t)nr - 1 < left ? (int64_t)nr - 1 : left);
        atomic_fetch_add(&c->budget.private_pages, (int64_t)more);
        return 1 + more;
}

uint64_t charge_for_now(struct page_cache *c, uint64_t nr)
{
        return budget_charge(c, 1) ? 1 + charge_spare(c, (int64_t)nr - 1) : 0;
}

void keep_as_private(struct page_cache *c, uint64_t charged, uint64_t kept)
{
        atomic_fetch_add(&c->budget.private_pages, (int64_t)kept);
        if (charged > kept)
                budget_uncharge(c, (int64_t)(charged - kept));
}

void uncharge_private(struct page_cache *c, int64_t nr)
{
        uncount_private(c, nr);
        budget_uncharge(c, nr);
}

bool private_can_fit(struct page_cache *c, uint64_t nr)
{
        int64_t most = most_private(c);

        return most > 0 && nr <= (uint64_t)most;
}

enum vm_fault_result wait_for_private(struct vm_fault *vmf, const char *tried)
{
        struct page_cache *c = vmf->mm->cache;

        bool full = vmf->write && atomic_load(&c->budget.private_pages) >= most_private(c);

        if (budget_stuck(c) || full)
                return raise_sigbus(vmf, ENOMEM, tried);
        trace_emit(vmf->mm->trace, TRACE_BUDGET_WAIT, vmf->rq.fault, 1,
                   (uint64_t)atomic_load(&c->budget.charged),
                   (uint64_t)atomic_load(&c->budget.limit), 0);
        vmf->rq.wait.kind = WAIT_BUDGET;
        return VM_FAULT_RETRY;
}
