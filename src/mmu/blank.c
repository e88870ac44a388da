/* SPDX-License-Identifier: Apache-2.0
 *
 * blank.c - a page of the mapping's own in the place of one that could not be had.
 *
 * It is anonymous memory, mapped over the range: neither of the file nor registered for faults, so
 * that what is stored there reaches nobody else. It is made elsewhere and moved into its place in
 * one step: no thread sees half of it, no child inherits it.
 */
#include "mmu/blank.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int blank_page(uint64_t addr, int prot, const void *bytes)
{
        void *at = (void *)(uintptr_t)addr;
        char *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        int error = 0;

        if (p == MAP_FAILED)
                return -errno;
        if (bytes)
                memcpy(p, bytes, PAGE_SIZE);
        if (madvise(p, PAGE_SIZE, MADV_DONTFORK) || madvise(p, PAGE_SIZE, MADV_DONTDUMP) ||
            mprotect(p, PAGE_SIZE, prot) ||
            mremap(p, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
                error = -errno;
                munmap(p, PAGE_SIZE);
        }
        return error;
}
