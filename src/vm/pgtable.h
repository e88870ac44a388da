/* SPDX-License-Identifier: Apache-2.0
 *
 * pgtable.h - mm->pgd: what each page of an mm shows, as we installed it.
 *
 * Four levels of 512 entries, made on demand; one PTE is one 4 KiB page. The kernel's own
 * table may show less (it may unmap pages behind our back), never more: so NONE is certain and
 * CACHE means "installed since it was last removed".
 *
 * A PTE of a file page changes with that page's lock held, or with mm->lock held for writing.
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
};

struct pte {
        _Atomic uint64_t
                value; /* [LOCK] or [mm] to write, see above; enum pte_state in the low 3 bits */
};

static inline enum pte_state pte_state(const struct pte *p)
{
        return atomic_load_explicit(&p->value, memory_order_acquire) & 7;
}
const char *pte_state_name(enum pte_state s);

struct mm;
/* The entry for addr, its table pinned. NULL: no table there (create: no memory). */
struct pte *pte_get(struct mm *mm, uint64_t addr, bool create);
void pte_put(struct mm *mm, struct pte *p);
/* Returns the old state. Keeps the table's use count. => pinned */
enum pte_state pte_set(struct mm *mm, struct pte *p, enum pte_state s);
/* CACHE -> NONE only. */
bool pte_clear_cache(struct mm *mm, struct pte *p);
/* The next table with entries in use at or behind *addr, up to last; pinned; NULL: none. */
struct pte *pte_next_table(struct mm *mm, uint64_t *addr, uint64_t last);

#endif
