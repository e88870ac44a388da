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

/* Whose the page is, and where. */
enum whereabouts {
        OWN_HERE,   /* private, or zeros */
        OWN_AWAY,   /* in the swap area, or on its way from there, whatever became of reading it */
        FILES_HERE, /* the file's, in the cache */
        FILES_AWAY, /* or nobody has had it yet */
};

static enum whereabouts where_is(struct mm *mm, struct vma *v, uint64_t addr, enum pte_state *s)
{
        struct pte *pte = pte_get(mm, addr, false);
        uint64_t value = PTE_NONE;
        struct page *p;
        bool here;

        if (pte) {
                value = v->vm_shared ? pte_value(pte) : pte_settled(mm, pte);
                pte_put(mm, pte);
        }
        *s = value_state(value);
        if (*s == PTE_COPY || *s == PTE_ZERO || *s == PTE_SWAPPING || *s == PTE_BLANK)
                return OWN_HERE;
        if (value_slot(value)) /* SWAPPED, SWAPIN, or POISONED since it could not be read */
                return OWN_AWAY;
        p = v->vm_file ? find_page(v->vm_file->mapping, vma_index(v, addr)) : NULL;
        if (!p)
                return FILES_AWAY;
        here = page_uptodate(p);
        put_page(v->vm_file->mapping, p);
        return here ? FILES_HERE : FILES_AWAY;
}

static unsigned char is_resident(struct mm *mm, struct vma *v, uint64_t addr)
{
        enum pte_state s;
        enum whereabouts where = where_is(mm, v, addr, &s);

        return where == OWN_HERE || where == FILES_HERE;
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
        unsigned char flags =
                v->vm_flags & VM_LOCKED ? INCORE_INCORE | INCORE_LOCKED : INCORE_INCORE;
        enum pte_state s;

        switch (where_is(mm, v, addr, &s)) {
        case OWN_HERE:
                if (v->vm_prot & PROT_WRITE)
                        flags |= INCORE_ANON;
                if ((s == PTE_COPY || s == PTE_SWAPPING) && v->vm_file)
                        flags |= INCORE_HASCOW;
                return flags;
        case FILES_HERE:
                return flags | (v->vm_file->mapping->swap_backed ? INCORE_ANON : INCORE_VNODE);
        default:
                return 0;
        }
}

int mm_incore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec)
{
        return mm_look(mm, addr, len, vec, incore_of);
}
