/* SPDX-License-Identifier: Apache-2.0
 *
 * inline.c - faults run to their end by one thread, which sleeps where a pager would park them:
 * the thread that faulted, in its signal handler, or one that asks for pages beforehand.
 *
 * In the handler everything from here down is async-signal-safe: no malloc, no lock that the
 * interrupted code may hold (none of ours is held while mapped memory is touched), no stdio.
 */
#include <errno.h>

#include "vm/fault.h"

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
        }
        return 0;
}
