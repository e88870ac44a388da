/* SPDX-License-Identifier: Apache-2.0
 *
 * inline.c - faults run to their end by one thread, which sleeps where a pager would park them:
 * the thread that faulted, in its signal handler, or one that asks for pages beforehand.
 *
 * In the handler everything from here down is async-signal-safe: no malloc, no lock that the
 * interrupted code may hold (none of ours is held while mapped memory is touched), no stdio.
 */
#include <errno.h>
#include <sys/mman.h>

#include "util/signals.h"
#include "vm/fault.h"

#define LET_IN (64 * PAGE_SIZE) /* so often a long call lets signals in */

static enum vm_fault_result run_fault(struct vm_fault *vmf)
{
        enum vm_fault_result r;
        struct blk_plug plug;

        vmf->sleeps = true;
        vmf->begin_ns = now_ns();
        vmf->rq.fault = trace_new_fault(vmf->mm->trace);
        vmf->rq.plug = &plug;
        blk_start_plug(&plug);
        r = do_page_fault(vmf);
        blk_finish_plug(&plug);
        return r;
}

enum mmu_verdict mm_fault_inline(struct mmu_client *client, const struct mmu_fault *fault)
{
        struct vm_fault vmf = {
                .mm = client->arg,
                .address = fault->address,
                .write = fault->write,
                .kind = fault->kind,
                .tid = fault->tid,
                .epoch = atomic_load(&client->epoch),
        };

        switch (run_fault(&vmf)) {
        case VM_FAULT_SIGSEGV:
                return vmf.vma ? MMU_SIGSEGV : MMU_NOT_OURS;
        case VM_FAULT_SIGBUS:
                return MMU_SIGBUS;
        default:
                return MMU_SERVED;
        }
}

int mm_touch(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
        uint64_t end = addr + len;

        if (end < addr)
                return -EFAULT;
        if (len == 0)
                return 0;
        for (addr &= PAGE_MASK; addr < end; addr += PAGE_SIZE) {
                struct vm_fault vmf = {
                        .mm = mm,
                        .address = addr,
                        .write = write,
                        .kind = MMU_FAULT_MINOR,
                        .tid = thread_id(),
                        .asked = true,
                };
                enum vm_fault_result r = run_fault(&vmf);

                if (r == VM_FAULT_SIGSEGV)
                        return -EFAULT;
                if (r == VM_FAULT_SIGBUS)
                        return vmf.error;
                if ((addr & (LET_IN - 1)) == 0)
                        signals_let_in();
        }
        return 0;
}

/* 1: the page is shown as it should be, 0: it has to be faulted in, or -errno. */
static int look_at(struct vm_fault *vmf, enum populate how)
{
        struct mm *mm = vmf->mm;
        struct vma *v = find_vma(mm, vmf->address);
        enum pte_state s = PTE_NONE;
        struct pte *pte;

        if (!v || v->vm_start > vmf->address)
                return -ENOMEM;
        if (how == POPULATE_NATURAL && !v->vm_prot)
                return -EFAULT;
        if ((how == POPULATE_READ && !(v->vm_prot & PROT_READ)) ||
            (how == POPULATE_WRITE && !(v->vm_prot & PROT_WRITE)))
                return -EINVAL;
        vmf->write = how == POPULATE_WRITE ||
                     (how == POPULATE_NATURAL && !v->vm_shared && (v->vm_prot & PROT_WRITE));
        pte = pte_get(mm, vmf->address, false);
        if (pte) {
                s = pte_state(pte);
                pte_put(mm, pte);
        }
        if (s == PTE_POISONED)
                return -EHWPOISON;
        if (s == PTE_COPY)
                return 1;
        return !vmf->write && (s == PTE_CACHE || s == PTE_ZERO || s == PTE_SWAPPING);
}

static int populate_page(struct mm *mm, uint64_t addr, enum populate how)
{
        struct vm_fault vmf = {
                .mm = mm,
                .address = addr,
                .kind = MMU_FAULT_MINOR,
                .tid = thread_id(),
                .asked = true,
                .rq.asked = true,
        };
        int there;

        rwlock_read_lock(&mm->lock);
        there = look_at(&vmf, how);
        rwlock_read_unlock(&mm->lock);
        if (there)
                return there < 0 ? there : 0;
        switch (run_fault(&vmf)) {
        case VM_FAULT_SIGSEGV:
                return -ENOMEM; /* unmapped meanwhile */
        case VM_FAULT_SIGBUS:
                return vmf.error == -ENOMEM ? -ENOMEM : -EFAULT;
        default:
                return 0;
        }
}

int mm_populate(struct mm *mm, uint64_t addr, uint64_t end, enum populate how)
{
        int error = 0;

        for (; !error && addr < end; addr += PAGE_SIZE) {
                error = populate_page(mm, addr, how);
                if ((addr & (LET_IN - 1)) == 0)
                        signals_let_in();
        }
        return error;
}
