/* SPDX-License-Identifier: Apache-2.0
 *
 * pgtable.h - mm->pgd: what each page of an mm shows, as we installed it.
 *
 * Four levels of 512 entries, made on demand; one PTE is one 4 KiB page. The kernel's own
 * table may show less (it may unmap pages behind our back), never more: so NONE is certain and
 * CACHE means "installed since it was last removed".
 *
 * A PTE that shows a page of the cache (CACHE) changes with that page's lock held, or with mm->lock
 * held for writing. Every change to or from the states of a private page (ZERO, COPY and
 * those of vm/swap.h) is made with the lock of the PTE's table held, ptl, which is Linux's split page table lock: it is held across
 * the ioctl that installs or relaxes the translation, and never across I/O.
 */
#ifndef FL_VM_PGTABLE_H
#define FL_VM_PGTABLE_H

#include "util/radix.h"

enum pte_state {
        PTE_NONE,
        PTE_CACHE,    /* shows the cache's page */
        PTE_COPY,     /* a private page, charged */
        PTE_SWAPPED,  /* a private page in a slot of the swap area */
        PTE_POISONED, /* touching it raises SIGBUS; says why; keeps a slot that it had */
        PTE_ZERO,     /* anonymous, only read so far: the kernel's page of zeros, not charged */
        PTE_SWAPPING, /* COPY, and being written to a slot */
        PTE_SWAPIN,   /* being read from a slot */
        PTE_BLANK,    /* zeros stand in for a page that could not be had; charged; else likewise */
};

#define PTE_STATE_MASK 15u
#define PTE_REF (1u << 4) /* COPY: stored to while it was SWAPPING; spared once */
#define PTE_SLOT_SHIFT 8
#define PTE_ERROR_SHIFT 48 /* of POISONED, BLANK and SWAPPED: the errno */

struct pte {
        /* [LOCK], ptl or [mm] to write, see above; enum pte_state, flags, and a slot or 0 */
        _Atomic uint64_t value;
};

static inline uint64_t pte_value(const struct pte *p)
{
        return atomic_load_explicit(&p->value, memory_order_acquire);
}
static inline enum pte_state value_state(uint64_t value)
{
        return value & PTE_STATE_MASK;
}
static inline uint32_t value_slot(uint64_t value)
{
        return (uint32_t)(value >> PTE_SLOT_SHIFT);
}
static inline uint64_t make_value(enum pte_state s, uint32_t slot)
{
        return (uint64_t)s | (uint64_t)slot << PTE_SLOT_SHIFT;
}
static inline enum pte_state pte_state(const struct pte *p)
{
        return value_state(pte_value(p));
}
/* A page that nobody else has, wherever it is. */
static inline bool value_is_private(uint64_t value)
{
        enum pte_state s = value_state(value);

        return s == PTE_COPY || s == PTE_SWAPPED || s == PTE_SWAPPING || s == PTE_SWAPIN ||
               value_slot(value);
}
/* Why the page could not be had; 0: it could. */
static inline int value_error(uint64_t value)
{
        return value_state(value) == PTE_SWAPPED ? 0 : (int)(value >> PTE_ERROR_SHIFT);
}
static inline int pte_error(const struct pte *p)
{
        return value_error(pte_value(p));
}
/* Why it could not be read from its slot, alone, just now. */
static inline int value_read_error(uint64_t value)
{
        return value_state(value) == PTE_SWAPPED ? (int)(value >> PTE_ERROR_SHIFT) : 0;
}
/* POISONED, BLANK; error is a positive errno. A page that was SWAPPED keeps its slot: it is not lost,
 * but waits there until it is tried again. */
static inline uint64_t failed_value(enum pte_state s, int error, uint64_t old)
{
        uint32_t slot = value_state(old) == PTE_SWAPPED ? value_slot(old) : 0;

        return make_value(s, slot) | (uint64_t)error << PTE_ERROR_SHIFT;
}
/* What such a page is when it is to be tried again. */
static inline uint64_t untried_value(uint64_t failed)
{
        return value_slot(failed) ? make_value(PTE_SWAPPED, value_slot(failed)) : PTE_NONE;
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
/* The value, once who is about to show a private page there has said so: the thread that waits for the
 * page runs a moment before. => pinned */
uint64_t pte_settled(struct mm *mm, struct pte *p);
/* Returns the old state. Keeps the table's use count. => pinned */
enum pte_state pte_set(struct mm *mm, struct pte *p, enum pte_state s);
/* The same with a slot; returns the old value. => ptl */
uint64_t pte_exchange(struct mm *mm, struct pte *p, uint64_t value);
/* What is shown in [from, from+len) is shown from `to` on as well, where nothing was: for mremap,
 * before the one or the other is forgotten. 0, or -ENOMEM and nothing changed. Forgetting makes them
 * NONE; what they hold of the budget, nobody gives back. => mm->lock held for writing */
int pgtable_copy(struct mm *mm, uint64_t from, uint64_t to, uint64_t len);
void pgtable_forget(struct mm *mm, uint64_t addr, uint64_t len);
/* CACHE -> NONE only. */
bool pte_clear_cache(struct mm *mm, struct pte *p);
/* The next table with entries in use of [*addr, end): pinned, and the entry of *addr; its part of that
 * ends at *stop. NULL: none. */
struct pte *pte_next_table(struct mm *mm, uint64_t *addr, uint64_t end, uint64_t *stop);

#endif
