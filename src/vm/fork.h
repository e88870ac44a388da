/* SPDX-License-Identifier: Apache-2.0
 *
 * fork.h - what the parts of a fork have for each other: fork.c, fork_copy.c, fork_room.c.
 */
#ifndef FL_VM_FORK_H
#define FL_VM_FORK_H

#include "vm/mm.h"
#include "vm/pgtable.h"

/* VMAs of our own, in order. => mm->lock */
#define OWN_VMA_FOREACH(v, mm)                                                                     \
        for ((v) = TAILQ_FIRST(&(mm)->mmap); (v) && space_of((v)->vm_start) == 0; (v) = vma_next(v))

static inline bool fork_inherits(const struct vma *v)
{
        return !(v->vm_flags & VM_DONTCOPY);
}

/* Does a PTE in this state stand for a page that is charged, and to the child again? */
static inline bool fork_is_charged(enum pte_state s)
{
        return s == PTE_COPY || s == PTE_BLANK;
}

/* --- fork_copy.c --- */

/* Calls fn for each PTE in v that is not NONE, while it returns 0. => mm->lock */
int fork_each_pte(struct mm *mm, const struct vma *v,
                  int (*fn)(struct mm *, uint64_t addr, uint64_t value, void *), void *arg);
/* VMAs, PTEs and steps of the child whose space is mm->fork.space. 0, or -errno with a part of it made.
 * => mm->lock, write */
int fork_copy(struct mm *mm);
/* It came to nothing: nothing is inherited, what has been charged is given back. => mm->lock, write */
void fork_undo(struct mm *mm);
/* All that a child has, or would have had, is taken back. => mm->lock, write. The caller frees `gone`. */
void fork_end_space(struct mm *mm, unsigned nr, struct vma_list *gone);
void fork_free_steps(struct mm_fork *f);

/* --- fork_room.c --- */

/* Until room for all that is here now has been charged; what has gone to swap by then needs none. -ENOMEM:
 * waiting would be of no use, or has not been for long. => no lock but fork_lock */
int fork_wait_for_room(struct mm *mm);
/* 0: what has been charged is, or has become, enough for the child's pages; -EAGAIN: it is not, since some
 * have come back; -ENOMEM. => mm->lock, write. Nothing is on its way to or from swap then. */
int fork_charge(struct mm *mm);
/* What has been charged is from now on what the child's pages need, or nothing. => mm->lock, write */
void fork_keep_charge(struct mm *mm);

#endif
