/* SPDX-License-Identifier: Apache-2.0
 *
 * sync.c - msync on an mm, piece by piece: what is shared is written back (L41).
 */
#include <errno.h>
#include <sys/mman.h>

#include "vm/mm.h"

/* The next shared piece at or behind *addr: its file, held, and pages. False: none. *hole is set
 * when an address on the way is not mapped. */
static bool next_piece(struct mm *mm, uint64_t *addr, uint64_t end, struct file **f,
                       uint64_t *first, uint64_t *last, bool *hole, bool *locked,
                       bool stop_at_locked)
{
        bool found = false;

        rwlock_read_lock(&mm->lock);
        while (!found && *addr < end) {
                struct vma *v = find_vma(mm, *addr);
                uint64_t stop;

                if (!v || v->vm_start > *addr)
                        *hole = true;
                if (!v || v->vm_start >= min_u64(end, SPACE_SIZE))
                        break;
                *addr = max_u64(*addr, v->vm_start);
                stop = min_u64(v->vm_end, end);
                if (v->vm_flags & VM_LOCKED) {
                        *locked = true;
                        if (stop_at_locked)
                                break;
                }
                if (v->vm_shared) {
                        *f = v->vm_file;
                        file_get(*f);
                        *first = vma_index(v, *addr);
                        *last = vma_index(v, stop);
                        found = true;
                }
                *addr = stop;
        }
        rwlock_read_unlock(&mm->lock);
        return found;
}

int mm_sync(struct mm *mm, uint64_t addr, uint64_t len, int flags)
{
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE), first, last;
        bool hole = false, locked = false, invalidate = flags & MS_INVALIDATE;
        struct file *f;

        if ((flags & ~(MS_ASYNC | MS_SYNC | MS_INVALIDATE)) || (addr & ~PAGE_MASK) ||
            ((flags & MS_ASYNC) && (flags & MS_SYNC)))
                return -EINVAL;
        if (end < addr)
                return -ENOMEM;
        while (next_piece(mm, &addr, end, &f, &first, &last, &hole, &locked, invalidate)) {
                int error = 0, r;

                if (hole && flags == MS_ASYNC) {
                        file_put(f);
                        return -ENOMEM; /* L41: at once */
                }
                if (flags & MS_SYNC)
                        error = fsync_range(f, first, last, true);
                else if ((flags & MS_ASYNC) && mm->cache->policy->async_starts_io &&
                         !f->mapping->swap_backed)
                        writeback_start(f->mapping, first, last, UINT64_MAX, 0, WB_ASKED, 0);
                r = file_put(f);
                if (error || r)
                        return error ? error : r;
        }
        if (locked && invalidate)
                return -EBUSY;
        return hole ? -ENOMEM : 0;
}
