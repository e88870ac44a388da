/* SPDX-License-Identifier: Apache-2.0
 *
 * mincore.c - mincore, and Solaris's incore: what of a range is in memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vm/mm.h"

/* 0 if [addr, end) is mapped without a hole, -ENOMEM if not. */
static int check_covered(struct mm *mm, uint64_t addr, uint64_t end)
{
        for (struct vma *v = find_vma(mm, addr); addr < end; v = vma_next(v)) {
                if (!v || v->vm_start > addr)
                        return -ENOMEM;
                addr = v->vm_end;
        }
        return 0;
}

static unsigned char is_resident(struct mm *mm, struct vma *v, uint64_t addr)
{
        struct pte *pte = pte_get(mm, addr, false);
        struct page *p;
        bool yes = false, in_swap = false;

        if (pte) {
                uint64_t value = v->vm_shared ? pte_value(pte) : pte_settled(mm, pte);
                enum pte_state s = value_state(value);

                yes = s == PTE_COPY || s == PTE_ZERO || s == PTE_SWAPPING || s == PTE_BLANK;
                in_swap = s == PTE_SWAPPED || s == PTE_SWAPIN ||
                          (s == PTE_POISONED && value_slot(value));
                pte_put(mm, pte);
        }
        if (!yes && !in_swap && v->vm_file &&
            (p = find_page(v->vm_file->mapping, vma_index(v, addr)))) {
                yes = page_uptodate(p);
                put_page(v->vm_file->mapping, p);
        }
        return yes;
}

int mm_look(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec,
            unsigned char (*look)(struct mm *, struct vma *, uint64_t addr))
{
        unsigned char chunk[1024];
        uint64_t end;
        int error = span_end(addr, len, &end);

        if (error)
                return error;
        while (addr < end) {
                uint64_t stop = min_u64(end, addr + sizeof(chunk) * PAGE_SIZE), at = addr;
                struct vma *v;

                rwlock_read_lock(&mm->lock);
                error = check_covered(mm, addr, stop);
                for (v = find_vma(mm, addr); !error && at < stop; at += PAGE_SIZE) {
                        if (at >= v->vm_end)
                                v = vma_next(v);
                        chunk[(at - addr) >> PAGE_SHIFT] = look(mm, v, at);
                }
                rwlock_read_unlock(&mm->lock);
                if (error)
                        return error;
                /* vec may be mapped memory: nothing is held now. */
                lock_assert_none();
                memcpy(vec, chunk, (stop - addr) >> PAGE_SHIFT);
                vec += (stop - addr) >> PAGE_SHIFT;
                addr = stop;
        }
        return 0;
}

int mm_mincore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec)
{
        return mm_look(mm, addr, len, vec, is_resident);
}

/* --- Solaris's: S32 --- */

static unsigned char incore_of(struct mm *mm, struct vma *v, uint64_t addr)
{
        struct pte *pte = pte_get(mm, addr, false);
        enum pte_state s = PTE_NONE;
        unsigned char flags = 0;
        bool copy;

        if (pte) {
                s = value_state(v->vm_shared ? pte_value(pte) : pte_settled(mm, pte));
                pte_put(mm, pte);
        }
        copy = s == PTE_COPY || s == PTE_SWAPPING;
        if (copy || s == PTE_ZERO || s == PTE_BLANK) {
                flags = INCORE_INCORE;
                if (v->vm_prot & PROT_WRITE)
                        flags |= INCORE_ANON;
                if (copy && v->vm_file)
                        flags |= INCORE_HASCOW;
        } else if (v->vm_file && s != PTE_SWAPPED && s != PTE_SWAPIN) {
                struct address_space *m = v->vm_file->mapping;
                struct page *p = find_page(m, vma_index(v, addr));

                if (p && page_uptodate(p))
                        flags = INCORE_INCORE | (m->swap_backed ? INCORE_ANON : INCORE_VNODE);
                if (p)
                        put_page(m, p);
        }
        return flags && (v->vm_flags & VM_LOCKED) ? flags | INCORE_LOCKED : flags;
}

int mm_incore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec)
{
        return mm_look(mm, addr, len, vec, incore_of);
}
