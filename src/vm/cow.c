/* SPDX-License-Identifier: Apache-2.0
 *
 * cow.c - private mappings: the first store makes a copy, which is charged to the budget.
 *
 * Nothing mapped yet: the copy is put there at once. The cache's page mapped: charge, then let
 * the store through, and the kernel copies. At the limit the copy takes over the charge of the
 * clean cache page it was made from, so that one page of budget is enough to go on; if there
 * is nothing to take and nothing to wait for, the store raises SIGBUS. So it does when copies
 * hold all but the last few pages: they cannot be reclaimed, and without those pages nothing of
 * any file could be read any more.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "util/perturb.h"
#include "vm/fault.h"

/* A charge for a private page: a free one, or that of the locked, clean cache page, whose bytes
 * have been taken. 0, -EAGAIN: wait for the budget, -ENOMEM: there will be none. */
static int charge_copy(struct vm_fault *vmf)
{
        struct page_cache *c = vmf->mm->cache;
        struct page *p = vmf->rq.page;
        int error = may_be_new(vmf->mm);
        bool taken;

        page_assert_locked(p);
        if (!error)
                error = count_private(vmf->mm);
        if (error || budget_charge(c, 1))
                return error;
        taken = page_state(p) == PAGE_CLEAN &&
                evict_for_private(c, vmf->vma->vm_file->mapping, p) == 0;
        uncount_private(c, 1); /* the one taken is counted already */
        return taken ? 0 : -EAGAIN;
}

/* The cache's page is mapped here and the kernel is about to copy it. => page locked. False: not
 * so any more, or there is no charge to be had; then nothing is mapped here. *error: what the MMU says. */
static bool let_kernel_copy(struct vm_fault *vmf, int *error)
{
        struct mmu *mmu = vmf->mm->mmu;
        struct iovec iov = { (void *)(uintptr_t)vmf->address, PAGE_SIZE };

        if (pte_state(vmf->pte) != PTE_CACHE)
                return false; /* zapped between the look and the lock */
        trace_fault(vmf, COW, vmf->address, 1, 0, 0);
        if (charge_private(vmf->mm)) {
                /* Unmapped, the page can hand over its own charge. */
                mmu->ops->unmap(mmu, &iov, 1);
                pte_clear_cache(vmf->mm, vmf->pte);
                return false;
        }
        pte_lock(vmf->mm, vmf->pte);
        pte_set(vmf->mm, vmf->pte, PTE_COPY);
        stat_add(&vmf->mm->trace->stats, STAT_cow_copies, 1);
        perturb_gap();
        *error = mmu->ops->unprotect(mmu, vmf->address, 1);
        pte_unlock(vmf->mm, vmf->pte);
        return true;
}

enum vm_fault_result do_private_wp(struct vm_fault *vmf)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        struct page *p;
        int error = 0;
        bool done;

        if (vmf->kind != MMU_FAULT_WP)
                return do_cow_fault(vmf); /* the kernel has unmapped it */
        p = grab_page(m, vmf->index);
        if (!p)
                return page_failed(vmf, ENOMEM, "copying a private page");
        perturb_gap();
        /* Whoever zaps this address holds the page's lock until it is done: a zap that came late
         * would take the copy. */
        page_lock(vmf->mm->cache, p);
        done = let_kernel_copy(vmf, &error);
        page_unlock(vmf->mm->cache, p);
        put_page(m, p);
        return done ? mmu_result(vmf, error, "copying a private page") : do_cow_fault(vmf);
}

/* Puts the copy in its place. *kept: it is, and its charge with it. 0 or -errno. => ptl */
static int install_locked(struct vm_fault *vmf, const void *buf, bool *kept)
{
        struct mmu *mmu = vmf->mm->mmu;
        enum pte_state s = pte_state(vmf->pte);
        uint64_t old;
        int error;

        page_assert_locked(vmf->rq.page);
        if (s == PTE_SWAPPED || s == PTE_SWAPPING || s == PTE_SWAPIN) {
                mmu->ops->wake(mmu, vmf->address, 1); /* made and swapped out before we came */
                return 0;
        }
        error = mmu->ops->copy(mmu, vmf->address, buf, 1, false, NULL);
        if (error == -EEXIST && vmf->asked && pte_state(vmf->pte) == PTE_CACHE) {
                /* No store follows that would make the kernel copy the page that is shown. */
                struct iovec iov = { (void *)(uintptr_t)vmf->address, PAGE_SIZE };

                mmu->ops->unmap(mmu, &iov, 1);
                error = mmu->ops->copy(mmu, vmf->address, buf, 1, false, NULL);
        }
        if (error && error != -EEXIST) {
                /* The mapping has changed: nothing was made, the thread faults again. */
                mmu->ops->wake(mmu, vmf->address, 1);
                return error;
        }
        if (error == -EEXIST) /* the cache's page, write-protected, or the copy already */
                error = mmu->ops->unprotect(mmu, vmf->address, 1);
        trace_fault(vmf, SET_PTE, vmf->address, 1, UINT64_MAX, 1);
        old = pte_exchange(vmf->mm, vmf->pte, PTE_COPY);
        *kept = !private_gone(vmf->mm, old); /* else charged when it was made */
        if (*kept)
                stat_add(&vmf->mm->trace->stats, STAT_cow_copies, 1);
        return error;
}

/* => rq.page locked; buf holds its bytes and the copy is charged. Ends the fault. */
static enum vm_fault_result install_copy(struct vm_fault *vmf, const void *buf, bool charged)
{
        bool kept = false;
        int error;

        pte_lock(vmf->mm, vmf->pte);
        error = install_locked(vmf, buf, &kept);
        pte_unlock(vmf->mm, vmf->pte);
        if (charged && !kept)
                uncharge_private(vmf->mm->cache, 1);
        release_page(vmf);
        return mmu_result(vmf, error, "copying a private page");
}

enum vm_fault_result do_cow_fault(struct vm_fault *vmf)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        char buf[PAGE_SIZE];
        enum filemap_result r;
        bool have;
        int error;

        trace_fault(vmf, DO_FAULT, 1, vmf->index, 0, 0);
        r = vmf->vma->vm_ops->fault(vmf);
        if (r != FILEMAP_PAGE)
                return result_of(vmf, r);
        have = pte_state(vmf->pte) == PTE_COPY; /* charged when it was made */
        trace_fault(vmf, COW, vmf->address, 2, 0, 0);
        error = m->frames->ops->copy_out(m->frames, vmf->index << PAGE_SHIFT, buf, PAGE_SIZE);
        if (error) {
                release_page(vmf);
                return page_failed(vmf, -error, "copying a private page");
        }
        error = have ? 0 : charge_copy(vmf);
        if (error) {
                release_page(vmf);
                return wait_for_private(vmf, error, "copying a private page");
        }
        perturb_gap();
        return install_copy(vmf, buf, !have);
}
