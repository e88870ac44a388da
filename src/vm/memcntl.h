/* SPDX-License-Identifier: Apache-2.0
 *
 * memcntl.h - Solaris's memcntl(2): what memcntl.c and lock.c share. Numbers are Solaris's, as those of
 * faultline.h are; rule numbers S are those of docs/policies.md.
 */
#ifndef FL_VM_MEMCNTL_H
#define FL_VM_MEMCNTL_H

#include "util/mman.h"
#include "vm/mm.h"

#define ATTR_SHARED 0x10
#define ATTR_PRIVATE 0x20
#define ATTR_PROT (PROT_READ | PROT_WRITE | PROT_EXEC)

/* S26: is what is mapped by v meant? Without a kind of mapping private ones are, so that PROC_TEXT and
 * PROC_DATA need no more. */
static inline bool attr_matches(const struct vma *v, int attr)
{
        return !attr ||
               (v->vm_shared == !!(attr & ATTR_SHARED) && v->vm_prot == (attr & ATTR_PROT));
}

/* memcntl.c: is that, or any (0), a size of pages here? */
bool mm_has_page_size(struct mm *mm, uint64_t size);

/* lock.c: S30. Up to the first hole, of a range; the whole address space has none. What was locked
 * before stays so, also if it fails: EAGAIN, EIO, ENOMEM. */
int lock_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr);
int unlock_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr);

#endif
