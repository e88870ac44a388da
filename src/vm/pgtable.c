/* SPDX-License-Identifier: Apache-2.0
 *
 * pgtable.c - see pgtable.h.
 */
#include "vm/pgtable.h"

#include <errno.h>

#include "vm/mm.h"

const char *pte_state_name(enum pte_state s)
{
        static const char *const names[] = { "none", "cache",    "copy",   "swapped", "poisoned",
                                             "zero", "swapping", "swapin", "blank" };

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

uint64_t pte_settled(struct mm *mm, struct pte *p)
{
        uint64_t value = pte_value(p);

        if (value_state(value) != PTE_NONE && value_state(value) != PTE_CACHE)
                return value;
        pte_lock(mm, p);
        value = pte_value(p);
        pte_unlock(mm, p);
        return value;
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
        if (value_is_private(old) != value_is_private(value))
                atomic_fetch_add(&mm->swap.exist, value_is_private(value) ? 1 : -1);
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

struct pte *pte_next_table(struct mm *mm, uint64_t *addr, uint64_t end, uint64_t *stop)
{
        uint64_t index = *addr >> PAGE_SHIFT, part_end = 0;
        struct pte *p = radix_next_part(&mm->pgd, &index, end >> PAGE_SHIFT, &part_end);

        *addr = index << PAGE_SHIFT;
        *stop = part_end << PAGE_SHIFT;
        return p;
}

/* Calls fn for each entry of [addr, addr+len) that is not NONE, its table pinned; stops at an error. */
static int each_entry(struct mm *mm, uint64_t addr, uint64_t len,
                      int (*fn)(struct mm *, struct pte *, uint64_t addr, uint64_t arg),
                      uint64_t arg)
{
        uint64_t end = addr + len, stop;
        struct pte *p;
        int error = 0;

        rwlock_assert_write_held(&mm->lock);
        while (!error && (p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;

                for (; !error && addr < stop; addr += PAGE_SIZE, p++)
                        if (pte_state(p) != PTE_NONE)
                                error = fn(mm, p, addr, arg);
                pte_put(mm, table);
        }
        return error;
}

static int copy_entry(struct mm *mm, struct pte *p, uint64_t addr, uint64_t delta)
{
        struct pte *to = pte_get(mm, addr + delta, true);

        if (!to)
                return -ENOMEM;
        change(mm, to, pte_value(p)); /* its slot too */
        pte_put(mm, to);
        return 0;
}

static int forget_entry(struct mm *mm, struct pte *p, uint64_t addr, uint64_t arg)
{
        (void)addr, (void)arg;
        pte_set(mm, p, PTE_NONE);
        return 0;
}

void pgtable_forget(struct mm *mm, uint64_t addr, uint64_t len)
{
        each_entry(mm, addr, len, forget_entry, 0);
}

int pgtable_copy(struct mm *mm, uint64_t from, uint64_t to, uint64_t len)
{
        int error = each_entry(mm, from, len, copy_entry, to - from);

        if (error)
                pgtable_forget(mm, to, len);
        return error;
}
