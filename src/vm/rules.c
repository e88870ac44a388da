/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.c - what a program says of its mappings beyond mmap(2): fl_mapping_set, fl_mapping_info.
 *
 * Rules belong to a VMA, as protection does: setting them on a part splits it, and neighbours with
 * the same rules become one again.
 */
#include <errno.h>

#include "vm/mm.h"

/* => mm->lock held for writing. Up to the first hole, as mprotect. */
static int set_locked(struct mm *mm, uint64_t addr, uint64_t end, const struct vma_rules *rules)
{
        rwlock_assert_write_held(&mm->lock);
        while (addr < end) {
                struct vma *v = find_vma(mm, addr);
                uint64_t stop;

                if (!v || v->vm_start > addr)
                        return -ENOMEM;
                stop = min_u64(v->vm_end, end);
                if (!rules_equal(&v->vm_rules, rules)) {
                        if (split_at(mm, addr, stop))
                                return -ENOMEM;
                        v = find_vma(mm, addr);
                        v->vm_rules = *rules;
                        vma_merge(mm, v);
                }
                addr = stop;
        }
        return 0;
}

int mm_set_rules(struct mm *mm, uint64_t addr, uint64_t len, const struct vma_rules *rules)
{
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE);
        int error;

        if (addr & ~PAGE_MASK)
                return -EINVAL;
        if (len == 0)
                return 0;
        if (end <= addr)
                return -ENOMEM;
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
