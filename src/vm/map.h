/* SPDX-License-Identifier: Apache-2.0
 *
 * map.h - what map.c and guard.c have for the others that change which addresses are mapped.
 * => mm->lock held for writing, all of it
 */
#ifndef FL_VM_MAP_H
#define FL_VM_MAP_H

#include "vm/mm.h"

#define MAX_MAPS 65536u

/* The files whose mappings a change touches, each with its i_mmap_lock held for writing: no
 * write-back or reclaim may act on an address that is about to be something else. */
struct rmap_guard {
        struct address_space *first; /* by guard_next, in the order of their addresses */
};

/* guard.c: the files mapped in [start, end), and extra, which may be NULL: all locks at once, in order of
 * their addresses. It takes no memory: malloc may be locked by a thread whose fault waits for us. */
void guard_lock(struct rmap_guard *g, struct mm *mm, uint64_t start, uint64_t end,
                struct address_space *extra);
void guard_unlock(struct rmap_guard *g);
/* map.c: choose an address in our window, and map there; or let the kernel choose. MAP_FIXED: at *addr. */
int place(struct mm *mm, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
          uint64_t offset);
/* Take the VMAs of [start, end), which begin and end there, out of mm and off their files'
 * lists; onto `gone`. => guard held */
void detach(struct mm *mm, uint64_t start, uint64_t end, struct vma_list *gone);
/* And free them. => mm->lock not held any more */
void free_vma_list(struct vma_list *gone);
/* munmap of whole pages; what was there is put onto `gone`. 0 or -errno. */
int unmap_locked(struct mm *mm, uint64_t start, uint64_t end, struct vma_list *gone);

/* smmap.c: Solaris's checks of an mmap, in its order and with its errors (S1 to S4); *len is rounded up,
 * *prot may be reduced. 0 and *maxprot, or -errno. */
int smmap_check(struct mm *mm, uint64_t addr, uint64_t *len, int *prot, int flags,
                const struct file *f, uint64_t offset, int *maxprot);
/* May it be mapped, as to its record locks? 0 or -EAGAIN. May block. => no lock held */
int check_mandatory(struct mm *mm, const struct file *f, int flags);
/* S4, S5: swap for all pages of v as it is to be, unless it has some or needs none; [start, end) is about
 * to be unmapped, and gives back what has been promised there. => mm->lock held for writing. 0 or
 * -EAGAIN */
int swap_reserve(struct mm *mm, struct vma *v, uint64_t pages, int prot, uint64_t start,
                 uint64_t end);
/* Could that be promised to so many pages more? => mm->lock */
bool swap_can_promise(struct mm *mm, uint64_t pages, uint64_t start, uint64_t end);

#endif
