/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.c - mlock, mlock2, munlock, and memcntl's: what a locked VMA shows stays in memory.
 *
 * It is a flag of the VMA and of its view of the file; reclaim asks the views of a page before it
 * takes it (cache/reclaim.c). Private pages of locked VMAs are passed by on the way to swap. The
 * engine's memory is what is locked: the kernel may still swap frames.
 *
 * The limit is the budget less an eighth, at least 32 pages, in place of RLIMIT_MEMLOCK: what is locked
 * must leave room for others to go on.
 */
#include <errno.h>
#include <sys/mman.h>

#include "vm/map.h"
#include "vm/memcntl.h"

static int64_t most_locked(struct mm *mm)
{
        int64_t limit = atomic_load(&mm->cache->budget.limit);

        return limit - (limit / 8 > 32 ? limit / 8 : 32);
}

/* Pages of [start, end) that are not locked yet, and those that are, anywhere. => mm->lock */
static int64_t count_new(struct mm *mm, uint64_t start, uint64_t end)
{
        int64_t n = 0;

        end = min_u64(end, SPACE_SIZE);
        for (struct vma *v = find_vma(mm, start); v && v->vm_start < end; v = vma_next(v))
                if (!(v->vm_flags & VM_LOCKED))
                        n += (int64_t)((min_u64(end, v->vm_end) - max_u64(start, v->vm_start)) >>
                                       PAGE_SHIFT);
        return n;
}

bool mm_may_lock(struct mm *mm, int64_t pages)
{
        int64_t locked = 0;

        for (struct vma *v = find_vma(mm, 0); v; v = vma_next(v))
                if (v->vm_flags & VM_LOCKED)
                        locked += (int64_t)((v->vm_end - v->vm_start) >> PAGE_SHIFT);
        return locked + pages <= most_locked(mm);
}

void vma_set_flags(struct vma *v, unsigned flags)
{
        struct address_space *m = v->vm_file ? v->vm_file->mapping : NULL;
        unsigned old = v->vm_flags;

        if (m)
                rwlock_write_lock(&m->i_mmap_lock);
        vma_remove_view_locked(v);
        v->vm_flags = flags;
        vma_add_view_locked(v);
        if (m)
                rwlock_write_unlock(&m->i_mmap_lock);
        if (old & ~flags & VM_LOCKED)
                budget_reconsider(v->vm_mm->cache);
}

/* --- Linux's calls --- */

/* Up to the first hole, as the kernel. => mm->lock, write */
static int apply(struct mm *mm, uint64_t addr, uint64_t end, unsigned set)
{
        while (addr < end) {
                uint64_t stop;
                struct vma *v = vma_at(mm, addr, end, &stop);
                unsigned flags;

                if (!v)
                        return -ENOMEM;
                flags = (v->vm_flags & ~(VM_LOCKED | VM_LOCKONFAULT)) | set;
                if (v->vm_flags != flags) {
                        if (split_at(mm, addr, stop))
                                return -ENOMEM;
                        v = find_vma(mm, addr);
                        vma_set_flags(v, flags);
                        vma_merge(mm, v);
                }
                addr = stop;
        }
        return 0;
}

/* Whole pages: 0, 1: there is nothing to do, or -EINVAL. */
static int round_out(uint64_t *addr, uint64_t *end, uint64_t len)
{
        uint64_t start = *addr & PAGE_MASK;

        *end = start + round_up_u64(len + (*addr - start), PAGE_SIZE);
        *addr = start;
        return *end < start ? -EINVAL : *end == start;
}

int mm_lock(struct mm *mm, uint64_t addr, uint64_t len, bool onfault)
{
        unsigned set = VM_LOCKED | (onfault ? VM_LOCKONFAULT : 0);
        uint64_t end;
        int error = round_out(&addr, &end, len);

        if (error)
                return error < 0 ? error : 0;
        rwlock_write_lock(&mm->lock);
        error = mm_may_lock(mm, count_new(mm, addr, end)) ? apply(mm, addr, end, set) : -ENOMEM;
        rwlock_write_unlock(&mm->lock);
        if (error || onfault)
                return error;
        error = mm_populate(mm, addr, end, POPULATE_NATURAL);
        return error == -EFAULT ? -ENOMEM : error == -ENOMEM ? -EAGAIN : error;
}

int mm_unlock(struct mm *mm, uint64_t addr, uint64_t len)
{
        uint64_t end;
        int error = round_out(&addr, &end, len);

        if (error)
                return error < 0 ? error : 0;
        rwlock_write_lock(&mm->lock);
        error = apply(mm, addr, end, 0);
        rwlock_write_unlock(&mm->lock);
        return error;
}

/* --- Solaris's: memcntl.c --- */

/* Calls fn for each VMA of [addr, end) that the attributes mean, cut to it, and joins it with its
 * neighbours afterwards. The whole address space has no holes. => mm->lock held for writing */
static int each_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr,
                         unsigned (*flags_of)(const struct vma *))
{
        bool all = end == SPACE_SIZE;

        rwlock_assert_write_held(&mm->lock);
        while (addr < end) {
                struct vma *v = find_vma(mm, addr);
                uint64_t stop;
                unsigned flags;

                if (!v || v->vm_start >= end)
                        return all ? 0 : -ENOMEM;
                if (v->vm_start > addr && !all)
                        return -ENOMEM;
                addr = max_u64(addr, v->vm_start);
                stop = min_u64(end, v->vm_end);
                flags = flags_of(v);
                if (attr_matches(v, attr) && flags != v->vm_flags) {
                        if (split_at(mm, addr, stop))
                                return -EAGAIN;
                        v = find_vma(mm, addr);
                        vma_set_flags(v, flags);
                        vma_merge(mm, v);
                }
                addr = stop;
        }
        return 0;
}

static unsigned begin_lock(const struct vma *v)
{
        return v->vm_flags & VM_LOCKED ? v->vm_flags : v->vm_flags | VM_LOCKED | VM_LOCKING;
}

static unsigned keep_lock(const struct vma *v)
{
        return v->vm_flags & ~VM_LOCKING;
}

static unsigned undo_lock(const struct vma *v)
{
        return v->vm_flags & VM_LOCKING ? v->vm_flags & ~(VM_LOCKED | VM_LOCKING) : v->vm_flags;
}

static unsigned end_lock(const struct vma *v)
{
        return v->vm_flags & ~(VM_LOCKED | VM_LOCKONFAULT | VM_LOCKING);
}

/* Not locked yet and meant. => mm->lock */
static int64_t count_matching(struct mm *mm, uint64_t start, uint64_t end, int attr)
{
        int64_t n = 0;

        for (struct vma *v = find_vma(mm, start); v && v->vm_start < end; v = vma_next(v))
                if (!(v->vm_flags & VM_LOCKED) && attr_matches(v, attr))
                        n += (int64_t)((min_u64(end, v->vm_end) - max_u64(start, v->vm_start)) >>
                                       PAGE_SHIFT);
        return n;
}

/* What of [*addr, end) is being locked and may be read, up to *stop; false: nothing more. */
static bool next_to_fetch(struct mm *mm, uint64_t *addr, uint64_t end, uint64_t *stop)
{
        struct vma *v;

        rwlock_read_lock(&mm->lock);
        for (v = find_vma(mm, *addr); v && v->vm_start < end; v = vma_next(v))
                if ((v->vm_flags & VM_LOCKED) && v->vm_prot)
                        break;
        if (v && v->vm_start < end) {
                *addr = max_u64(*addr, v->vm_start);
                *stop = min_u64(end, v->vm_end);
        } else {
                *addr = end;
        }
        rwlock_read_unlock(&mm->lock);
        return *addr < end;
}

/* As loads fetch it: a private page that nobody has stored to is the file's. Behind the end of the
 * file there is nothing to be had, and nothing wrong. What may not be touched comes when it may. */
static int fetch(struct mm *mm, uint64_t addr, uint64_t end)
{
        uint64_t stop;

        while (next_to_fetch(mm, &addr, end, &stop)) {
                int error = mm_touch(mm, addr, stop - addr, false);

                if (error && error != -ENXIO && error != -EFAULT)
                        return error == -EIO ? -EIO : -EAGAIN;
                addr = stop;
        }
        return 0;
}

int lock_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr)
{
        int error = 0;

        rwlock_write_lock(&mm->lock);
        if (!mm_may_lock(mm, count_matching(mm, addr, end, attr)))
                error = -EAGAIN;
        else
                error = each_matching(mm, addr, end, attr, begin_lock);
        rwlock_write_unlock(&mm->lock);
        if (!error)
                error = fetch(mm, addr, end);
        rwlock_write_lock(&mm->lock);
        /* Holes are behind what was done; and attributes may have changed since. */
        for (struct vma *v = find_vma(mm, addr); v && v->vm_start < end; v = vma_next(v))
                if (v->vm_flags & VM_LOCKING) {
                        vma_set_flags(v, error ? undo_lock(v) : keep_lock(v));
                        v = vma_merge(mm, v);
                }
        rwlock_write_unlock(&mm->lock);
        return error;
}

int unlock_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr)
{
        int error;

        rwlock_write_lock(&mm->lock);
        error = each_matching(mm, addr, end, attr, end_lock);
        rwlock_write_unlock(&mm->lock);
        return error;
}
