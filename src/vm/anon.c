/* SPDX-License-Identifier: Apache-2.0
 *
 * anon.c - memory without a file: Linux's do_anonymous_page (L4).
 *
 * A load is shown the kernel's page of zeros, which takes nothing from the budget; the first store
 * takes a page. Under Solaris's policies a load does too (S11). Each of a page's states changes under ptl (pgtable.h), which is held over the ioctl.
 * Charging comes before that, since it may evict, and evicting takes locks that come before ptl.
 *
 * A fault costs far more than a page, so a thread that goes through memory in the order of its
 * addresses gets more each time: 1, 4, 16, ... ANON_RUN_MAX pages, as far as the budget has room to
 * spare. Other accesses get the page they touch.
 */
#include <errno.h>
#include <sys/mman.h>

#include "util/perturb.h"
#include "vm/fault.h"

#define ZERO_RUN_MAX 64u /* of mmu_ops.zero */

int anon_init(struct mm *mm)
{
        size_t bytes = ANON_RUN_MAX * PAGE_SIZE;
        void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return -ENOMEM;
        /* Each page of it is the kernel's one page of zeros, which stays in the processor's cache. */
        madvise(p, bytes, MADV_NOHUGEPAGE);
        mm->zeros = p;
        return 0;
}

void anon_destroy(struct mm *mm)
{
        if (mm->zeros)
                munmap(mm->zeros, ANON_RUN_MAX * PAGE_SIZE);
}

static struct anon_stream *stream_of(struct vm_fault *vmf)
{
        return &vmf->mm->streams[vmf->tid % MM_STREAMS];
}

/* How many pages this fault should take. */
static uint64_t plan_run(struct vm_fault *vmf)
{
        struct anon_stream *s = stream_of(vmf);
        uint64_t left = (vmf->vma->vm_end - vmf->address) >> PAGE_SHIFT, run = 1;

        if (atomic_load(&s->tid) == vmf->tid && atomic_load(&s->next) == vmf->address)
                run = min_u64(4 * (uint64_t)atomic_load(&s->run), ANON_RUN_MAX);
        return min_u64(min_u64(run, left), pte_left(vmf->pte));
}

static void note_run(struct vm_fault *vmf, uint64_t run, uint64_t taken)
{
        struct anon_stream *s = stream_of(vmf);

        atomic_store(&s->tid, vmf->tid);
        atomic_store(&s->run, (uint32_t)run);
        atomic_store(&s->next, vmf->address + (taken << PAGE_SHIFT));
}

/* Entries from p on that are in state s, at most max. => ptl */
static uint64_t same_state(const struct pte *p, enum pte_state s, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && pte_state(p + n) == s)
                n++;
        return n;
}

static void set_run(struct vm_fault *vmf, uint64_t nr, enum pte_state s)
{
        for (uint64_t i = 0; i < nr; i++)
                pte_set(vmf->mm, vmf->pte + i, s);
        trace_fault(vmf, SET_PTE, vmf->address, nr, UINT64_MAX, s == PTE_COPY);
}

/* New pages where nothing is: *done of them. 0 or -errno. => ptl */
static int fill_locked(struct vm_fault *vmf, uint64_t nr, uint64_t *done)
{
        struct mmu *mmu = vmf->mm->mmu;
        int error = mmu->ops->copy(mmu, vmf->address, vmf->mm->zeros, nr, false, done);

        if (error == -EEXIST && *done == 0) {
                /* Zeros are shown already: the kernel makes a page of them. */
                error = mmu->ops->unprotect(mmu, vmf->address, 1);
                *done = 1;
        } else if (*done == 0) {
                mmu->ops->wake(mmu, vmf->address, 1);
        } else {
                error = 0;
        }
        set_run(vmf, *done, PTE_COPY);
        stat_add(&vmf->mm->trace->stats, STAT_zero_fills, *done);
        return error;
}

/* Zeros are shown, write-protected: the kernel itself makes pages of them, once stores may proceed.
 * Charged they are now, also if they may not. 0 or -errno. => ptl */
static int break_zeros_locked(struct vm_fault *vmf, uint64_t nr)
{
        struct mmu *mmu = vmf->mm->mmu;

        set_run(vmf, nr, PTE_COPY);
        perturb_gap();
        stat_add(&vmf->mm->trace->stats, STAT_zero_fills, nr);
        return mmu->ops->unprotect(mmu, vmf->address, nr);
}

/* The first store. */
static enum vm_fault_result take_pages(struct vm_fault *vmf)
{
        struct page_cache *c = vmf->mm->cache;
        uint64_t run = plan_run(vmf), charged, taken = 0;
        int error = charge_private_run(vmf->mm, run, &charged);
        enum pte_state s;

        if (error)
                return wait_for_private(vmf, error, "storing to a new page");
        perturb_gap();
        pte_lock(vmf->mm, vmf->pte);
        s = pte_state(vmf->pte);
        if (s == PTE_NONE) {
                error = fill_locked(vmf, same_state(vmf->pte, s, charged), &taken);
        } else if (s == PTE_ZERO && vmf->kind == MMU_FAULT_WP) {
                taken = same_state(vmf->pte, s, charged);
                error = break_zeros_locked(vmf, taken);
        } else if (s ==
                   PTE_ZERO) { /* it came before the zeros, or they have gone behind our back */
                error = fill_locked(vmf, 1, &taken);
        } else { /* another thread's fault came first */
                vmf->mm->mmu->ops->wake(vmf->mm->mmu, vmf->address, 1);
        }
        pte_unlock(vmf->mm, vmf->pte);
        if (taken)
                note_run(vmf, run, taken);
        if (taken < charged)
                uncharge_private(c, (int64_t)(charged - taken));
        return mmu_result(vmf, error, "storing to a new page");
}

/* => ptl; nr pages charged, of which those that got a store in between are kept: *taken. 0 or -errno */
static int show_zeros_locked(struct vm_fault *vmf, uint64_t nr, uint64_t *nr_shown, uint64_t *taken)
{
        struct mmu *mmu = vmf->mm->mmu;
        uint64_t own = 0;
        int shown;

        if (pte_state(vmf->pte) == PTE_ZERO)
                nr = 1; /* shown already; or gone behind our back, and then shown again */
        else
                nr = same_state(vmf->pte, PTE_NONE, nr);
        shown = nr ? mmu->ops->zero(mmu, vmf->address, nr, &own) : 0;
        for (int i = 0; i < shown; i++) {
                bool stored = own >> i & 1;

                pte_set(vmf->mm, vmf->pte + i, stored ? PTE_COPY : PTE_ZERO);
                *taken += stored;
        }
        if (shown > 0) {
                *nr_shown = (uint64_t)shown;
                stat_add(&vmf->mm->trace->stats, STAT_zero_fills, *nr_shown);
                trace_fault(vmf, SET_PTE, vmf->address, *nr_shown, UINT64_MAX, 0);
                note_run(vmf, *nr_shown, *nr_shown);
        }
        return shown < 0 ? shown : 0;
}

/* The first load. Zeros take no memory; but a store may come while they are shown and before they
 * are protected, so as many pages are charged for that moment. */
static enum vm_fault_result show_zeros(struct vm_fault *vmf)
{
        struct page_cache *c = vmf->mm->cache;
        uint64_t charged = charge_for_now(c, min_u64(plan_run(vmf), ZERO_RUN_MAX)), taken = 0,
                 shown = 1;
        int error;

        if (!charged)
                return wait_for_private(vmf, -EAGAIN, "loading from a new page");
        perturb_gap();
        pte_lock(vmf->mm, vmf->pte);
        error = show_zeros_locked(vmf, charged, &shown, &taken);
        pte_unlock(vmf->mm, vmf->pte);
        keep_as_private(c, charged, taken);
        vmf->mm->mmu->ops->wake(vmf->mm->mmu, vmf->address, shown);
        return mmu_result(vmf, error, "loading from a new page");
}

/* Is the page missing, though we know of it? The program has taken it away behind our back, and gets
 * zeros, as it would from the kernel. 0 or -errno. => ptl */
static int replace_locked(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        uint64_t old = pte_value(vmf->pte);
        int error = mm->mmu->ops->copy(mm->mmu, vmf->address, mm->zeros, 1, false, NULL);

        if (error) {
                mm->mmu->ops->wake(mm->mmu, vmf->address, 1);
        } else if (value_slot(old)) {
                pte_exchange(mm, vmf->pte, PTE_COPY);
                swap_put(mm->swap.area, value_slot(old), 1);
        }
        return error;
}

/* The page is here, or was. */
static enum vm_fault_result restore_page(struct vm_fault *vmf)
{
        struct mmu *mmu = vmf->mm->mmu;
        int error = 0;
        uint64_t v;
        bool here;

        pte_lock(vmf->mm, vmf->pte);
        v = pte_value(vmf->pte);
        here = value_state(v) == PTE_COPY || value_state(v) == PTE_SWAPPING;
        if (here && (vmf->kind == MMU_FAULT_WP || (vmf->write && value_slot(v))))
                error = private_make_writable(vmf);
        else if (value_state(v) == PTE_COPY && !vmf->swapped)
                error = replace_locked(vmf);
        else
                mmu->ops->wake(mmu, vmf->address, 1);
        pte_unlock(vmf->mm, vmf->pte);
        return mmu_result(vmf, error, "showing a private page");
}

enum vm_fault_result do_anonymous_page(struct vm_fault *vmf)
{
        enum pte_state s = pte_state(vmf->pte);

        if (s == PTE_SWAPPED || s == PTE_SWAPIN)
                return do_swap_page(vmf);
        trace_fault(vmf, DO_FAULT, 3, vmf->index, 0, 0);
        if (s == PTE_COPY || s == PTE_SWAPPING)
                return restore_page(vmf);
        /* S11: Solaris has no page of zeros that all share. */
        return vmf->write || vmf->mm->cache->policy->segvn ? take_pages(vmf) : show_zeros(vmf);
}
