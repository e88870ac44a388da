/* SPDX-License-Identifier: Apache-2.0
 *
 * rmap.c - from a file's pages to the mappings that show them: mapping_ops, for write-back and
 * reclaim. The caller holds the file's i_mmap_lock, so no VMA of the file can move or go.
 */
#include <errno.h>

#include "vm/mm.h"

static struct vma *vma_of(struct mapping_view *v)
{
        return container_of(v, struct vma, vm_view);
}

static void batch_add(struct page_cache *c, struct vma *v, uint64_t addr, uint64_t nr,
                      struct zap_batch *b)
{
        if (b->nr == ZAP_BATCH)
                c->m_ops->zap_flush(c, b);
        b->mmu = v->vm_mm->mmu;
        b->iov[b->nr++] = (struct iovec){ (void *)(uintptr_t)addr, nr << PAGE_SHIFT };
}

/* Calls fn for each run of pages in [index, index+nr) that v shows, from the page table. clear:
 * they are not shown any more. */
static void each_shown(struct vma *v, uint64_t index, uint64_t nr, bool clear,
                       void (*fn)(struct vma *, uint64_t addr, uint64_t nr, void *), void *arg)
{
        struct mm *mm = v->vm_mm;
        uint64_t addr = vma_address(v, index), end = addr + (nr << PAGE_SHIFT), stop;
        struct pte *p;

        rwlock_assert_held(&v->vm_file->mapping->i_mmap_lock);
        while ((p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;
                uint64_t run = 0;

                for (; addr < stop; addr += PAGE_SIZE, p++) {
                        if (clear ? pte_clear_cache(mm, p) : pte_state(p) == PTE_CACHE) {
                                run++;
                                continue;
                        }
                        if (run)
                                fn(v, addr - (run << PAGE_SHIFT), run, arg);
                        run = 0;
                }
                if (run)
                        fn(v, addr - (run << PAGE_SHIFT), run, arg);
                pte_put(mm, table);
        }
}

static void zap_shown(struct vma *v, uint64_t addr, uint64_t nr, void *arg)
{
        /* What a child shows goes with the frame, and is protected till then. */
        if (space_of(addr) == 0)
                batch_add(v->vm_mm->cache, v, addr, nr, arg);
}

/* What the kernel does not unmap (the program has locked it in memory by itself) is shown still,
 * and its PTE has gone: nobody would protect it for write-back. So the next store to it is to be
 * told of. */
static void vm_zap_flush(struct page_cache *c, struct zap_batch *b)
{
        const struct mmu_ops *ops = b->nr ? b->mmu->ops : NULL;

        (void)c;
        if (ops && ops->unmap(b->mmu, b->iov, b->nr))
                for (unsigned i = 0; i < b->nr; i++)
                        ops->write_protect(b->mmu, (uint64_t)(uintptr_t)b->iov[i].iov_base,
                                           b->iov[i].iov_len >> PAGE_SHIFT);
        b->nr = 0;
}

static void protect_shown(struct vma *v, uint64_t addr, uint64_t nr, void *arg)
{
        struct mmu *mmu = v->vm_mm->mmu;
        int r = mmu->ops->write_protect(mmu, addr, nr), *error = arg;

        /* ENOENT: the program has unmapped it behind our back, nobody can store there. */
        if (r && r != -ENOENT && !*error)
                *error = r;
}

/* A page may be dirty when it is unmapped, and a child shows it all the same: once its PTE has gone, nobody
 * would know to protect it for write-back. So it is protected before. */
static void vm_zap_run(struct page_cache *c, struct mapping_view *view, uint64_t index, uint64_t nr,
                       struct zap_batch *b)
{
        struct vma *v = vma_of(view);
        int error = 0;

        (void)c;
        if (space_of(v->vm_start))
                each_shown(v, index, nr, false, protect_shown, &error);
        if (!error) /* else it is shown as before, and known to be */
                each_shown(v, index, nr, true, zap_shown, b);
}

static int vm_protect_run(struct page_cache *c, struct mapping_view *view, uint64_t index,
                          uint64_t nr)
{
        int error = 0;

        (void)c;
        /* A private mapping shows the cache's pages write-protected from the start. */
        if (vma_of(view)->vm_shared)
                each_shown(vma_of(view), index, nr, false, protect_shown, &error);
        return error;
}

static bool vm_shows(struct mapping_view *view, uint64_t index)
{
        struct vma *v = vma_of(view);
        struct pte *pte = pte_get(v->vm_mm, vma_address(v, index), false);
        bool yes = pte && pte_state(pte) == PTE_CACHE;

        if (pte)
                pte_put(v->vm_mm, pte);
        return yes;
}

/* The mm that maps the file; NULL: none, and whoever maps it from now on sees its new size. All
 * mappings of one cache's files are in one mm, those of children too. */
static struct mm *mm_of(struct address_space *m)
{
        struct mapping_view *v;
        struct mm *mm;

        rwlock_read_lock(&m->i_mmap_lock);
        v = view_first(&m->i_mmap, 0, UINT64_MAX);
        mm = v ? vma_of(v)->vm_mm : NULL;
        rwlock_read_unlock(&m->i_mmap_lock);
        return mm;
}

/* Calls fn for what is mapped of the file behind page `end`. */
static void each_behind(struct address_space *m, uint64_t end,
                        void (*fn)(struct mm *, uint64_t addr, uint64_t len))
{
        struct mapping_view *view;

        rwlock_read_lock(&m->i_mmap_lock);
        VIEW_FOREACH (view, &m->i_mmap, end, UINT64_MAX) {
                struct vma *v = vma_of(view);
                uint64_t addr = vma_address(v, max_u64(view->first, end));

                fn(v->vm_mm, addr, v->vm_end - addr);
        }
        rwlock_read_unlock(&m->i_mmap_lock);
}

static void forget(struct mm *mm, uint64_t addr, uint64_t len)
{
        struct iovec iov = { (void *)(uintptr_t)addr, len };

        /* Where the kernel refuses, zeros go on standing in for the page, and fl_error tells of
         * it: a store there would go nowhere without a word when the file is longer again. */
        mm_unblank(mm, find_vma(mm, addr), addr, addr + len);
        /* For an MMU that remembers what it has shown; which needs no memory
         * (shadow_restrict()). The kernel's own translations have gone with the frames. */
        mm->mmu->ops->unmap(mm->mmu, &iov, 1);
        mm_clear_ptes_but_blank(mm, addr, len);
}

static int vm_cut(struct address_space *m, uint64_t size)
{
        struct mm *mm = mm_of(m);
        int error;

        if (mm) {
                rwlock_write_lock(&mm->lock);
                each_behind(m, pages_of(size), swap_cancel);
        }
        /* The kernel takes all that it shows behind the new end, and private copies there. */
        error = m->frames->ops->resize(m->frames, size);
        if (mm && !error)
                each_behind(m, pages_of(size), forget);
        end_cut(m);
        if (mm)
                rwlock_write_unlock(&mm->lock);
        return error;
}

const struct mapping_ops vm_mapping_ops = {
        .zap_run = vm_zap_run,
        .zap_flush = vm_zap_flush,
        .protect_run = vm_protect_run,
        .cut = vm_cut,
        .shows = vm_shows,
};
