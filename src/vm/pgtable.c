/* SPDX-License-Identifier: Apache-2.0
 *
 * pgtable.c - see pgtable.h.
 */
#include "vm/pgtable.h"

#include "vm/mm.h"

const char *pte_state_name(enum pte_state s)
{
        static const char *const names[] = {
                "none", "cache", "copy", "swapped", "poisoned", "zero"
        };

        return (unsigned)s < ARRAY_SIZE(names) ? names[s] : "?";
}

struct pte *pte_get(struct mm *mm, uint64_t addr, bool create)
{
        return radix_get(&mm->pgd, addr >> PAGE_SHIFT, create);
}

void pte_put(struct mm *mm, struct pte *p)
{
        radix_put(&mm->pgd, p);
}

void pte_lock(struct mm *mm, struct pte *p)
{
        mutex_lock(radix_leaf_lock(&mm->pgd, p));
}

void pte_unlock(struct mm *mm, struct pte *p)
{
        mutex_unlock(radix_leaf_lock(&mm->pgd, p));
}

/* The table's use count goes along, and how many private pages there are. */
static uint64_t change(struct mm *mm, struct pte *p, uint64_t value)
{
        uint64_t old = atomic_exchange(&p->value, value);
        enum pte_state was = value_state(old), is = value_state(value);

        if (was == PTE_NONE && is != PTE_NONE)
                radix_use(&mm->pgd, p);
        else if (was != PTE_NONE && is == PTE_NONE)
                radix_unuse(&mm->pgd, p);
        if (state_is_private(was) != state_is_private(is))
                atomic_fetch_add(&mm->swap.exist, state_is_private(is) ? 1 : -1);
        return old;
}

enum pte_state pte_set(struct mm *mm, struct pte *p, enum pte_state s)
{
        rwlock_assert_held(&mm->lock);
        return value_state(change(mm, p, s));
}

uint64_t pte_exchange(struct mm *mm, struct pte *p, uint64_t value)
{
        mutex_assert_held(radix_leaf_lock(&mm->pgd, p));
        return change(mm, p, value);
}

bool pte_clear_cache(struct mm *mm, struct pte *p)
{
        uint64_t old = PTE_CACHE;

        if (!atomic_compare_exchange_strong(&p->value, &old, PTE_NONE))
                return false;
        radix_unuse(&mm->pgd, p);
        return true;
}

struct pte *pte_next_table(struct mm *mm, uint64_t *addr, uint64_t last)
{
        uint64_t index = *addr >> PAGE_SHIFT;
        struct pte *p = radix_next(&mm->pgd, &index, last >> PAGE_SHIFT, false);

        *addr = index << PAGE_SHIFT;
        return p;
}
