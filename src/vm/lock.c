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
 *
 * memcntl's locks are undone where what they lock cannot be had. Others lock and unlock meanwhile, since
 * nothing is held while pages are read: so a VMA says which calls have locked it that are not over. It
 * stays locked when one of them is, and is unlocked when the last of them fails.
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

void vma_unlock(struct vma *v)
{
        v->vm_locking = 0;
        vma_set_flags(v, v->vm_flags & ~(VM_LOCKED | VM_LOCKONFAULT));
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
                if (v->vm_flags != flags || v->vm_locking) {
                        if (split_at(mm, addr, stop))
                                return -ENOMEM;
                        v = find_vma(mm, addr);
                        v->vm_locking = 0;
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
                         void (*fn)(struct vma *, uint32_t call), uint32_t call)
{
        bool all = end == SPACE_SIZE;

        rwlock_assert_write_held(&mm->lock);
        while (addr < end) {
                struct vma *v = find_vma(mm, addr);
                uint64_t stop;

                if (!v || v->vm_start >= end)
                        return all ? 0 : -ENOMEM;
                if (v->vm_start > addr && !all)
                        return -ENOMEM;
                addr = max_u64(addr, v->vm_start);
                stop = min_u64(end, v->vm_end);
                if (attr_matches(v, attr)) {
                        if (split_at(mm, addr, stop))
                                return -EAGAIN;
                        v = find_vma(mm, addr);
                        fn(v, call);
                        vma_merge(mm, v);
                }
                addr = stop;
        }
        return 0;
}

/* What stays locked is left so. */
static void begin_lock(struct vma *v, uint32_t call)
{
        if ((v->vm_flags & VM_LOCKED) && !v->vm_locking)
                return;
        v->vm_locking |= call;
        if (!(v->vm_flags & VM_LOCKED))
                vma_set_flags(v, v->vm_flags | VM_LOCKED);
}

static void end_lock(struct vma *v, uint32_t call, bool failed)
{
        v->vm_locking = failed ? v->vm_locking & ~call : 0;
        if (failed && !v->vm_locking)
                vma_unlock(v);
}

static void unlock(struct vma *v, uint32_t call)
{
        (void)call;
        if (v->vm_flags & VM_LOCKED)
                vma_unlock(v);
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

/* What of [*addr, end) the call is locking and may be read, up to *stop; false: nothing more. What was
 * locked before is there, or need not be. */
static bool next_to_fetch(struct mm *mm, uint32_t call, uint64_t *addr, uint64_t end,
                          uint64_t *stop)
{
        struct vma *v;

        rwlock_read_lock(&mm->lock);
        for (v = find_vma(mm, *addr); v && v->vm_start < end; v = vma_next(v))
                if ((v->vm_locking & call) && v->vm_prot)
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
static int fetch(struct mm *mm, uint32_t call, uint64_t addr, uint64_t end)
{
        uint64_t stop;

        while (next_to_fetch(mm, call, &addr, end, &stop)) {
                int error = mm_touch(mm, addr, stop - addr, false);

                if (error && error != -ENXIO && error != -EFAULT)
                        return error == -EIO ? -EIO : -EAGAIN;
                addr = stop;
        }
        return 0;
}

/* A bit for this call, which is to be given back; 0: so many are under way. => mm->lock, write */
static uint32_t begin_call_to_lock(struct mm *mm)
{
        uint32_t call = ~mm->locking & -~mm->locking;

        mm->locking |= call;
        return call;
}

/* Wherever what it has locked may be by now. */
static void end_call_to_lock(struct mm *mm, uint32_t call, bool failed)
{
        rwlock_write_lock(&mm->lock);
        for (struct vma *v = find_vma(mm, 0); v; v = vma_next(v))
                if (v->vm_locking & call) {
                        end_lock(v, call, failed);
                        v = vma_merge(mm, v);
                }
        mm->locking &= ~call;
        rwlock_write_unlock(&mm->lock);
}

int lock_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr)
{
        uint32_t call = 0;
        int error = -EAGAIN;

        rwlock_write_lock(&mm->lock);
        if (mm_may_lock(mm, count_matching(mm, addr, end, attr)))
                call = begin_call_to_lock(mm);
        if (call)
                error = each_matching(mm, addr, end, attr, begin_lock, call);
        rwlock_write_unlock(&mm->lock);
        if (!call)
                return error;
        if (!error)
                error = fetch(mm, call, addr, end);
        end_call_to_lock(mm, call, error);
        return error;
}

int unlock_matching(struct mm *mm, uint64_t addr, uint64_t end, int attr)
{
        int error;

        rwlock_write_lock(&mm->lock);
        error = each_matching(mm, addr, end, attr, unlock, 0);
        rwlock_write_unlock(&mm->lock);
        return error;
}
