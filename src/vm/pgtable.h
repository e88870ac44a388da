/* SPDX-License-Identifier: Apache-2.0
 *
 * pgtable.h - mm->pgd: what each page of an mm shows, as we installed it.
 *
 * Four levels of 512 entries, made on demand; one PTE is one 4 KiB page. The kernel's own
 * table may show less (it may unmap pages behind our back), never more: so NONE is certain and
 * CACHE means "installed since it was last removed".
 *
 * A PTE that shows a page of the cache (CACHE) changes with that page's lock held, or with mm->lock
 * held for writing. Every change to or from the states of a private page (ZERO, COPY) is made with
 * the lock of the PTE's table held, ptl, which is Linux's split page table lock: it is held across
 * the ioctl that installs or relaxes the translation, and never across I/O.
 */
#ifndef FL_VM_PGTABLE_H
#define FL_VM_PGTABLE_H

#include "util/radix.h"

enum pte_state {
        PTE_NONE,
        PTE_CACHE,    /* shows the cache's page */
        PTE_COPY,     /* a private page, charged */
        PTE_SWAPPED,  /* a private page in swap */
        PTE_POISONED, /* touching it raises SIGBUS */
        PTE_ZERO,     /* anonymous, only read so far: the kernel's page of zeros, not charged */
};

#define PTE_STATE_BITS 4

struct pte {
        /* [LOCK], ptl or [mm] to write, see above; enum pte_state in the low bits */
        _Atomic uint64_t value;
};

static inline enum pte_state pte_state(const struct pte *p)
{
        return atomic_load_explicit(&p->value, memory_order_acquire) & ((1 << PTE_STATE_BITS) - 1);
}
const char *pte_state_name(enum pte_state s);

struct mm;
/* The entry for addr, its table pinned. NULL: no table there (create: no memory). */
struct pte *pte_get(struct mm *mm, uint64_t addr, bool create);
void pte_put(struct mm *mm, struct pte *p);
/* ptl. => pinned */
void pte_lock(struct mm *mm, struct pte *p);
void pte_unlock(struct mm *mm, struct pte *p);
/* Entries from p on to the end of its table. */
static inline unsigned pte_left(const struct pte *p)
{
        return (unsigned)((PAGE_SIZE - ((uintptr_t)p & (PAGE_SIZE - 1))) / sizeof(*p));
}
/* Returns the old state. Keeps the table's use count. => pinned */
enum pte_state pte_set(struct mm *mm, struct pte *p, enum pte_state s);
/* CACHE -> NONE only. */
bool pte_clear_cache(struct mm *mm, struct pte *p);
/* The next table with entries in use at or behind *addr, up to last; pinned; NULL: none. */
struct pte *pte_next_table(struct mm *mm, uint64_t *addr, uint64_t last);

#endif
