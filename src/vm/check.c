/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - mm_check: what must hold of an mm while nothing is in flight.
 */
#include <errno.h>
#include <stdio.h>

#include "vm/mm.h"

struct private_count {
        uint64_t charged, slots, exist;
        bool shared; /* slots, by processes of which one has forked the other */
};

/* What a PTE says is shown is in the cache, and the cache knows that it is shown: else it would be
 * taken away without a word to whoever shows it. */
static bool is_cached(const struct vma *v, uint64_t addr)
{
        struct address_space *m = v->vm_file ? v->vm_file->mapping : NULL;
        struct page *p = m ? find_page(m, vma_index(v, addr)) : NULL;
        bool yes = p && page_uptodate(p) && page_test(p, PG_MAPPED);

        if (p)
                put_page(m, p);
        return yes;
}

/* Each page in the span of v, from the page table: private pages are counted, false: one is shown
 * that the cache has not got. */
static bool check_pages(struct mm *mm, const struct vma *v, struct private_count *n)
{
        uint64_t addr = v->vm_start, stop;
        bool ok = true;
        struct pte *p;

        while ((p = pte_next_table(mm, &addr, v->vm_end, &stop))) {
                struct pte *table = p;

                for (; addr < stop; addr += PAGE_SIZE, p++) {
                        enum pte_state s = pte_state(p);

                        n->charged += s == PTE_COPY || s == PTE_SWAPPING || s == PTE_BLANK;
                        n->exist += value_is_private(pte_value(p));
                        n->slots += value_slot(pte_value(p)) != 0;
                        n->shared |= space_of(addr) && value_slot(pte_value(p));
                        ok = ok && (s != PTE_CACHE || is_cached(v, addr));
                }
                pte_put(mm, table);
        }
        return ok;
}

static int check_count(const char *what, uint64_t counted, int64_t kept)
{
        if (counted == (uint64_t)kept)
                return 0;
        fprintf(stderr, "faultline: mm: %llu %s, %lld kept\n", (unsigned long long)counted, what,
                (long long)kept);
        return -EINVAL;
}

static int check_private(struct mm *mm, const struct private_count *n)
{
        int error = check_count("private pages in memory", n->charged,
                                atomic_load(&mm->cache->budget.private_pages) -
                                        atomic_load(&mm->cache->budget.shm_dirty));

        if (!error)
                error = check_count("private pages", n->exist, atomic_load(&mm->swap.exist));
        if (!error && mm->swap.area && !n->shared)
                error = check_count("slots", n->slots + (uint64_t)shmem_swapped(mm->cache),
                                    atomic_load(&mm->swap.area->in_use));
        return error;
}

int mm_check(struct mm *mm)
{
        struct private_count private = { 0 };
        struct vma *v;
        int error;

        rwlock_read_lock(&mm->lock);
        error = vma_tree_check(mm);
        TAILQ_FOREACH (v, &mm->mmap, vm_list)
                if (!check_pages(mm, v, &private)) {
                        fprintf(stderr,
                                "faultline: mm: a page is shown that is not cached, at "
                                "%#llx-%#llx\n",
                                (unsigned long long)v->vm_start, (unsigned long long)v->vm_end);
                        error = -EINVAL;
                }
        if (mm->cache && check_private(mm, &private))
                error = -EINVAL;
        rwlock_read_unlock(&mm->lock);
        return error;
}
