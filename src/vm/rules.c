/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.c - what a program says of its mappings beyond mmap(2): fl_mapping_set, fl_mapping_info.
 *
 * Rules belong to a VMA, as protection does: setting them on a part splits it, and neighbours with
 * the same rules become one again.
 */
#include <errno.h>

#include "vm/mm.h"

static void put_locked(struct vma *v, const struct vma_rules *rules)
{
        struct address_space *m = v->vm_file ? v->vm_file->mapping : NULL;

        if (m)
                rwlock_write_lock(&m->i_mmap_lock);
        v->vm_rules = *rules;
        v->vm_view.share = rules->share;
        if (m)
                rwlock_write_unlock(&m->i_mmap_lock);
}

/* v begins and ends where it should. All of the rules or, if they cannot be had, none. */
static int follow_locked(struct mm *mm, struct vma *v, const struct vma_rules *rules)
{
        struct vma_rules old = v->vm_rules;
        int error = 0;

        if (rules->share && (!v->vm_file || v->vm_file->mapping->swap_backed))
                return -EINVAL; /* there is no file to have it */
        put_locked(v, rules);
        if (rules->share != old.share)
                error = share_update(v->vm_file->mapping);
        if (error)
                put_locked(v, &old);
        vma_merge(mm, v);
        return error;
}

/* => mm->lock held for writing. Up to the first hole, as mprotect. */
static int set_locked(struct mm *mm, uint64_t addr, uint64_t end, const struct vma_rules *rules)
{
        rwlock_assert_write_held(&mm->lock);
        while (addr < end) {
                uint64_t stop;
                struct vma *v = vma_at(mm, addr, end, &stop);
                int error;

                if (!v)
                        return -ENOMEM;
                if (!rules_equal(&v->vm_rules, rules)) {
                        if (split_at(mm, addr, stop))
                                return -ENOMEM;
                        error = follow_locked(mm, find_vma(mm, addr), rules);
                        if (error)
                                return error;
                }
                addr = stop;
        }
        return 0;
}

int mm_set_rules(struct mm *mm, uint64_t addr, uint64_t len, const struct vma_rules *rules)
{
        uint64_t end;
        int error = span_end(addr, len, &end);

        if (error)
                return error;
        rwlock_write_lock(&mm->lock);
        error = set_locked(mm, addr, end, rules);
        rwlock_write_unlock(&mm->lock);
        return error;
}

bool mm_report(struct mm *mm, uint64_t addr, struct mapping_report *out)
{
        struct vma *v;

        rwlock_read_lock(&mm->lock);
        v = find_vma(mm, addr);
        if (v && v->vm_start > addr)
                v = NULL;
        if (v) {
                *out = (struct mapping_report){
                        .start = v->vm_start,
                        .end = v->vm_end,
                        .offset = v->vm_pgoff << PAGE_SHIFT,
                        .prot = v->vm_prot,
                        .maxprot = v->vm_maxprot,
                        .shared = v->vm_shared,
                        .file = v->vm_file,
                        .rules = v->vm_rules,
                };
                if (out->file)
                        file_get(out->file);
        }
        rwlock_read_unlock(&mm->lock);
        return v;
}
