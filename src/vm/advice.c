/* SPDX-License-Identifier: Apache-2.0
 *
 * advice.c - madvise: L35. Holes are skipped, the rest is done, ENOMEM comes at the end.
 */
#include <errno.h>
#include <sys/mman.h>

#include "vm/mm.h"

static int set_advice(struct mm *mm, struct vma *v, uint64_t start, uint64_t end,
                      enum vm_advice advice)
{
        if (v->vm_advice == advice)
                return 0;
        if (split_at(mm, start, end))
                return -EAGAIN;
        v = find_vma(mm, start);
        v->vm_advice = advice;
        vma_merge(mm, v);
        return 0;
}

/* Translations go, private copies with them; the file's pages in the cache stay. */
static int dontneed(struct mm *mm, uint64_t start, uint64_t end)
{
        struct iovec iov = { (void *)(uintptr_t)start, end - start };
        int error = mm->mmu->ops->unmap(mm->mmu, &iov, 1);

        if (error) /* locked in memory, say: it is still shown, and must be known to be */
                return error;
        mm_clear_ptes(mm, start, end - start);
        return 0;
}

static int advise_piece(struct mm *mm, struct vma *v, uint64_t start, uint64_t end, int advice)
{
        switch (advice) {
        case MADV_NORMAL:
                return set_advice(mm, v, start, end, ADVICE_NORMAL);
        case MADV_RANDOM:
                return set_advice(mm, v, start, end, ADVICE_RANDOM);
        case MADV_SEQUENTIAL:
                return set_advice(mm, v, start, end, ADVICE_SEQUENTIAL);
        default:
                return dontneed(mm, start, end);
        }
}

static int advise_locked(struct mm *mm, uint64_t addr, uint64_t end, int advice)
{
        bool hole = false;

        rwlock_assert_write_held(&mm->lock);
        while (addr < end) {
                struct vma *v = find_vma(mm, addr);
                uint64_t start, stop;
                int error;

                hole |= !v || v->vm_start > addr;
                if (!v || v->vm_start >= end)
                        break;
                start = max_u64(addr, v->vm_start);
                stop = min_u64(end, v->vm_end);
                error = advise_piece(mm, v, start, stop, advice);
                if (error)
                        return error;
                addr = stop;
        }
        return hole ? -ENOMEM : 0;
}

/* Reads, so no lock is held: one VMA at a time, its file held. */
static int advise_willneed(struct mm *mm, uint64_t addr, uint64_t end)
{
        bool hole = false;

        while (addr < end) {
                struct file *f = NULL;
                uint64_t first = 0, last = 0;
                struct vma *v;
                bool more;

                rwlock_read_lock(&mm->lock);
                v = find_vma(mm, addr);
                hole |= !v || v->vm_start > addr;
                if (v && v->vm_start < end) {
                        uint64_t start = max_u64(addr, v->vm_start);

                        f = v->vm_file;
                        if (f)
                                file_get(f);
                        addr = min_u64(end, v->vm_end);
                        first = vma_index(v, start);
                        last = first + ((addr - start) >> PAGE_SHIFT);
                }
                more = v && v->vm_start < end;
                rwlock_read_unlock(&mm->lock);
                if (!more)
                        break;
                if (!f)
                        continue;
                filemap_willneed(f, first, last);
                file_put(f);
        }
        return hole ? -ENOMEM : 0;
}

int mm_advise(struct mm *mm, uint64_t addr, uint64_t len, int advice)
{
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE);
        int error;

        if (advice != MADV_NORMAL && advice != MADV_RANDOM && advice != MADV_SEQUENTIAL &&
            advice != MADV_WILLNEED && advice != MADV_DONTNEED)
                return -EINVAL;
        if ((addr & ~PAGE_MASK) || end < addr || (len && end == addr))
                return -EINVAL;
        if (len == 0)
                return 0;
        if (advice == MADV_WILLNEED)
                return advise_willneed(mm, addr, end);
        rwlock_write_lock(&mm->lock);
        error = advise_locked(mm, addr, end, advice);
        rwlock_write_unlock(&mm->lock);
        return error;
}
