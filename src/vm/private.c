/* SPDX-License-Identifier: Apache-2.0
 *
 * private.c - what private pages may take of the budget, copies of file pages and anonymous ones,
 * and what they have in common whatever they were made from.
 *
 * Memory that is shared (shmem_ops.c) counts as they do, as far as it has been stored to.
 *
 * They cannot be evicted, only swapped out. So they leave a few pages of the budget to the files, and
 * what files have been promised (cache/share.c); and a new one is refused when there are as many as
 * memory and swap area can hold together, less a few. That is what makes swapping safe: as long as it
 * holds, either a slot is free, or some page in memory still has one and can go without.
 */
#include <errno.h>

#include "util/perturb.h"
#include "vm/fault.h"

#define SPARE_SLOTS 64 /* that new pages leave to swapping out */

/* How many private pages may exist, here or there. */
static int64_t most_that_exist(struct mm *mm)
{
        struct swap_area *area = mm->swap.area;
        int64_t memory = budget_private_most(mm->cache), spare;

        if (!area)
                return memory;
        spare = area->slots / 4 < SPARE_SLOTS ? area->slots / 4 : SPARE_SLOTS;
        return memory + area->slots - 1 - spare;
}

static int64_t that_exist(struct mm *mm)
{
        return atomic_load(&mm->swap.exist) + shmem_exist(mm->cache);
}

static bool can_swap(struct mm *mm)
{
        return mm->swap.area && !atomic_load(&mm->swap.area->broken);
}

bool private_can_fit(struct mm *mm, uint64_t nr)
{
        int64_t most = most_that_exist(mm);

        return most > 0 && nr <= (uint64_t)most;
}

int count_private(struct mm *mm)
{
        struct page_cache *c = mm->cache;

        if (atomic_fetch_add(&c->budget.private_pages, 1) < budget_private_most(c))
                return 0;
        uncount_private(c, 1);
        if (!can_swap(mm))
                return -ENOMEM;
        reclaim_kick(c);
        return -EAGAIN;
}

void uncount_private(struct page_cache *c, int64_t nr)
{
        atomic_fetch_sub(&c->budget.private_pages, nr);
}

int charge_known(struct mm *mm)
{
        int error = count_private(mm);

        if (error || budget_charge(mm->cache, 1))
                return error;
        uncount_private(mm->cache, 1);
        return -EAGAIN;
}

int may_be_new(struct mm *mm)
{
        return that_exist(mm) < most_that_exist(mm) ? 0 : -ENOMEM;
}

int charge_private(struct mm *mm)
{
        int error = may_be_new(mm);

        return error ? error : charge_known(mm);
}

/* Of what is free beyond the watermarks, so that nobody has to reclaim for it. */
static uint64_t charge_spare(struct page_cache *c, int64_t nr)
{
        int64_t room = (budget_free(c) - atomic_load(&c->budget.high)) / 2;

        nr = nr < room ? nr : room;
        return nr > 0 && budget_try_charge(c, nr) ? (uint64_t)nr : 0;
}

/* As many of nr more pages as there is room for among the private ones, charged. */
static uint64_t charge_more(struct mm *mm, int64_t nr)
{
        struct page_cache *c = mm->cache;
        int64_t here = budget_private_most(c) - atomic_load(&c->budget.private_pages);
        int64_t at_all = most_that_exist(mm) - that_exist(mm);
        int64_t left = (here < at_all ? here : at_all) / 2;
        uint64_t more = charge_spare(c, nr < left ? nr : left);

        atomic_fetch_add(&c->budget.private_pages, (int64_t)more);
        return more;
}

bool may_exist(struct mm *mm, int64_t more)
{
        return more == 0 || that_exist(mm) + more <= most_that_exist(mm);
}

bool charge_for_child(struct mm *mm, int64_t here)
{
        struct page_cache *c = mm->cache;

        if (atomic_fetch_add(&c->budget.private_pages, here) + here <= budget_private_most(c) &&
            budget_charge(c, here))
                return true;
        uncount_private(c, here);
        return false;
}

int charge_private_run(struct mm *mm, uint64_t nr, uint64_t *charged)
{
        int error = charge_private(mm);

        *charged = error ? 0 : 1 + charge_more(mm, (int64_t)nr - 1);
        return error;
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
        atomic_fetch_add(&c->budget.private_freed, 1);
        budget_uncharge(c, nr);
}

int what_private_wait_for(struct page_cache *c)
{
        bool here = atomic_load(&c->budget.private_pages) < budget_private_most(c);

        if (here ? budget_stuck(c) : budget_private_stuck(c))
                return WAIT_NONE;
        return here ? WAIT_BUDGET : WAIT_PRIVATE;
}

enum vm_fault_result wait_for_private(struct vm_fault *vmf, int error, const char *tried)
{
        struct page_cache *c = vmf->mm->cache;
        int kind = error == -ENOMEM ? WAIT_NONE : what_private_wait_for(c);

        if (kind == WAIT_NONE)
                return page_failed(vmf, ENOMEM, tried);
        trace_emit(vmf->mm->trace, BUDGET_WAIT, vmf->rq.fault, vmf->rq.object, 1,
                   (uint64_t)atomic_load(&c->budget.charged),
                   (uint64_t)atomic_load(&c->budget.limit), 0);
        vmf->rq.wait.kind = kind;
        return VM_FAULT_RETRY;
}

int64_t private_gone(struct mm *mm, uint64_t old)
{
        enum pte_state s = value_state(old);

        if (value_slot(old))
                swap_put(mm->swap.area, value_slot(old), 1);
        if (s == PTE_BLANK)
                atomic_fetch_sub(&mm->nr_blank, 1);
        return s == PTE_COPY || s == PTE_SWAPPING || s == PTE_BLANK;
}

static void clear_ptes(struct mm *mm, uint64_t addr, uint64_t len, bool blank_too)
{
        uint64_t start = addr, end = addr + len, stop;
        bool gone = atomic_load(&mm->untold);
        struct pte *p;

        rwlock_assert_write_held(&mm->lock);
        while ((p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;
                int64_t charged = 0;

                pte_lock(mm, table);
                for (; addr < stop; addr += PAGE_SIZE, p++) {
                        enum pte_state s = pte_state(p);

                        if (s == PTE_NONE || (s == PTE_BLANK && !blank_too))
                                continue;
                        gone |= pte_error(p) != 0 || value_is_private(pte_value(p));
                        charged += private_gone(mm, pte_exchange(mm, p, PTE_NONE));
                }
                pte_unlock(mm, table);
                pte_put(mm, table);
                if (charged)
                        uncharge_private(mm->cache, charged);
        }
        if (gone)
                mm_note_cleared(mm, start, end);
}

void mm_clear_ptes(struct mm *mm, uint64_t addr, uint64_t len)
{
        clear_ptes(mm, addr, len, true);
}

void mm_clear_ptes_but_blank(struct mm *mm, uint64_t addr, uint64_t len)
{
        clear_ptes(mm, addr, len, false);
}

int private_make_writable(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        uint64_t old = pte_value(vmf->pte);
        uint64_t ref = value_state(old) == PTE_SWAPPING ? PTE_REF : old & PTE_REF;

        if (value_slot(old)) {
                pte_exchange(mm, vmf->pte, PTE_COPY | ref);
                swap_put(mm->swap.area, value_slot(old), 1);
        }
        perturb_gap();
        return mm->mmu->ops->unprotect(mm->mmu, vmf->address, 1);
}
