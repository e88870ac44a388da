/* SPDX-License-Identifier: Apache-2.0
 *
 * shmem_ops.c - the vm_operations of anonymous memory that is shared: as of files, but for the first
 * store to a page, which has to find room: among the pages that memory and swap area can hold at all,
 * and among those that may be in memory and cannot be evicted (private.c).
 */
#include <errno.h>

#include "vm/fault.h"

/* => page locked, CLEAN. Counts it among the private pages. 0, -EAGAIN with rq.wait, -ENOMEM */
static int count_page(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        int error = 0;

        if (!page_holds_memory(vmf->rq.file->mapping, vmf->index))
                error = may_be_new(mm);
        if (!error)
                error = count_private(mm);
        if (error != -EAGAIN)
                return error;
        if (budget_private_stuck(mm->cache))
                return -ENOMEM;
        vmf->rq.wait.kind = WAIT_PRIVATE;
        return -EAGAIN;
}

static int shmem_vma_mkwrite(struct vm_fault *vmf, struct page *page)
{
        bool counted = page_state(page) == PAGE_CLEAN;
        int error = counted ? count_page(vmf) : 0;

        if (error)
                return error;
        error = filemap_page_mkwrite(&vmf->rq, page, true);
        if (error && counted)
                uncount_private(vmf->mm->cache, 1);
        return error;
}

const struct vm_operations shmem_vm_ops = {
        .open = file_vma_open,
        .close = file_vma_close,
        .fault = file_vma_fault,
        .map_pages = file_vma_map_pages,
        .page_mkwrite = shmem_vma_mkwrite,
};
