/* SPDX-License-Identifier: Apache-2.0
 *
 * remap.c - mremap: what is mapped becomes shorter or longer, or moves, with all that it shows. The
 * kernel's own mapping, our VMA and the page table change together, under mm->lock.
 *
 * Longer in place is a second mapping right behind, which joins the first. Moving makes a mapping of
 * the new length where it goes, and the kernel then puts the old one over its beginning: private
 * pages, protections and all go along, and nobody sees the place without something that faults.
 *
 * Checks and errors in the kernel's order. As in Linux before 6.17, what moves is within one VMA.
 */
#include <errno.h>
#include <stdlib.h>

#include "util/mman.h"
#include "vm/map.h"

#define END_OF_ADDRESSES (1ull << 47)

struct remap {
        struct mm *mm;
        uint64_t from, old_len, new_len;
        uint64_t to; /* MREMAP_FIXED: where; else what came of it */
        int flags;
        bool fill; /* what is new is locked, and to be there */
        struct vma_list gone;
};

static int check_arguments(const struct remap *r)
{
        uint64_t from_end = r->from + r->old_len, to_end = r->to + r->new_len;

        if (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
                return -EINVAL;
        if ((r->from & ~PAGE_MASK) || r->new_len == 0 || r->new_len > END_OF_ADDRESSES)
                return -EINVAL;
        if (!(r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)))
                return 0;
        if (r->to > END_OF_ADDRESSES - r->new_len || (r->to & ~PAGE_MASK) ||
            !(r->flags & MREMAP_MAYMOVE))
                return -EINVAL;
        if ((r->flags & MREMAP_DONTUNMAP) && r->old_len != r->new_len)
                return -EINVAL;
        return r->from < to_end && r->to < from_end ? -EINVAL : 0;
}

/* Pages that v's mapping will have more, and what it replaces has no use for. */
static bool swap_may_grow(const struct remap *r, const struct vma *v)
{
        uint64_t kept = r->flags & MREMAP_DONTUNMAP ? 0 : r->old_len;
        uint64_t end = r->flags & MREMAP_FIXED ? r->to + r->new_len : r->to;

        return !(v->vm_flags & VM_RESERVED) || r->new_len <= kept ||
               swap_can_promise(r->mm, (r->new_len - kept) >> PAGE_SHIFT, r->to, end);
}

/* v is to be mapped anew: longer, or elsewhere. */
static int check_vma(const struct remap *r, const struct vma *v)
{
        uint64_t pages = r->new_len >> PAGE_SHIFT;

        if (r->old_len == 0 && !v->vm_shared)
                return -EINVAL; /* a second view only of what can be seen twice */
        if (r->old_len > v->vm_end - r->from)
                return -EFAULT;
        if (v->vm_file && vma_index(v, r->from) + pages > 1ull << 51)
                return -EINVAL;
        if ((v->vm_flags & VM_LOCKED) && r->new_len > r->old_len &&
            !mm_may_lock(r->mm, (int64_t)((r->new_len - r->old_len) >> PAGE_SHIFT)))
                return -EAGAIN;
        return swap_may_grow(r, v) ? 0 : -ENOMEM;
}

static int fd_of(const struct vma *v)
{
        struct frames *f = v->vm_file ? v->vm_file->mapping->frames : NULL;

        return f ? f->ops->fd(f) : -1;
}

/* Map what follows in v's file, or nothing's, as v is. */
static int reserve_like(struct remap *r, struct vma *v, uint64_t *at, uint64_t len, uint64_t pgoff,
                        int how)
{
        int flags = (v->vm_shared ? MAP_SHARED : MAP_PRIVATE) | how;

        return place(r->mm, at, len, v->vm_prot, flags, fd_of(v), pgoff << PAGE_SHIFT);
}

/* True: done. False: something is in the way. */
static bool grow_in_place(struct remap *r, struct vma *v)
{
        uint64_t delta = r->new_len - r->old_len, at = v->vm_end;
        struct vma *next = vma_next(v);
        struct rmap_guard guard;
        bool grown;

        if (r->from + r->old_len != v->vm_end || (next && next->vm_start - v->vm_end < delta) ||
            at + delta > END_OF_ADDRESSES)
                return false;
        guard_lock(&guard, r->mm, v->vm_start, v->vm_end, NULL);
        grown = reserve_like(r, v, &at, delta, vma_index(v, at), MAP_FIXED_NOREPLACE) == 0;
        if (grown) {
                vma_remove_view_locked(v);
                v->vm_end += delta;
                vma_add_view_locked(v);
        }
        guard_unlock(&guard);
        if (grown) {
                vma_resized(v);
                vma_merge(r->mm, v);
                r->to = r->from;
        }
        return grown;
}

/* v's twin, of the new length; where, is not known yet. */
static struct vma *make_copy(struct remap *r, struct vma *v)
{
        struct vma *copy = vma_dup(v);

        if (!copy)
                return NULL;
        copy->vm_pgoff = vma_index(v, r->from);
        if (copy->vm_ops && copy->vm_ops->open)
                copy->vm_ops->open(copy);
        return copy;
}

/* The new mapping, of new_len, at r->to; what was there is gone. => guard held */
static int make_room(struct remap *r, struct vma *v, bool fixed)
{
        int error;

        if (fixed)
                swap_cancel(r->mm, r->to, r->new_len);
        error = reserve_like(r, v, &r->to, r->new_len, vma_index(v, r->from),
                             fixed ? MAP_FIXED : 0);
        if (!error && fixed) {
                detach(r->mm, r->to, r->to + r->new_len, &r->gone);
                mm_clear_ptes(r->mm, r->to, r->new_len);
        }
        return error;
}

/* Translations and private pages go over; then v has nothing left. => guard held */
static int move_pages(struct remap *r, bool keep)
{
        struct mm *mm = r->mm;
        int error;

        swap_cancel(mm, r->from, r->old_len);
        /* The kernel moves one mapping of its own at a time. */
        error = mm_unblank(mm, find_vma(mm, r->from), r->from, r->from + r->old_len);
        if (error)
                return error;
        error = pgtable_copy(mm, r->from, r->to, r->old_len);
        if (error)
                return error;
        error = mm->mmu->ops->move(mm->mmu, r->from, r->to, r->old_len, keep);
        pgtable_forget(mm, error ? r->to : r->from, r->old_len);
        if (!error)
                mm_note_cleared(mm, r->from, r->from + r->old_len);
        return error;
}

/* => guard held. v is exactly what moves, if anything of it does. */
static int move_guarded(struct remap *r, struct vma *v, struct vma *copy, bool fixed)
{
        bool keep = r->flags & MREMAP_DONTUNMAP;
        struct mm *mm = r->mm;
        int error = make_room(r, v, fixed);

        if (error)
                return error;
        error = r->old_len ? move_pages(r, keep) : 0;
        if (error) {
                mm->mmu->ops->release(mm->mmu, r->to, r->new_len);
                return error;
        }
        if (r->old_len && !keep) {
                vma_unlink(mm, v);
                vma_remove_view_locked(v);
                TAILQ_INSERT_TAIL(&r->gone, v, vm_list);
        }
        copy->vm_start = r->to;
        copy->vm_end = r->to + r->new_len;
        if (!copy->vm_file)
                copy->vm_pgoff = copy->vm_start >> PAGE_SHIFT;
        vma_add_view_locked(copy);
        return 0;
}

static int move(struct remap *r, struct vma *v)
{
        bool fixed = r->flags & MREMAP_FIXED;
        struct mm *mm = r->mm;
        struct rmap_guard guard;
        struct vma *copy;
        int error = 0;

        if (mm->map_count + 5 >= MAX_MAPS)
                return -ENOMEM;
        if (fixed)
                error = split_at(mm, r->to, r->to + r->new_len);
        if (!error && r->old_len)
                error = split_at(mm, r->from, r->from + r->old_len);
        v = find_vma(mm, r->from);
        copy = error ? NULL : make_copy(r, v);
        if (!copy)
                return -ENOMEM;
        if (!fixed)
                r->to = 0;
        guard_lock(&guard, mm, r->to, fixed ? r->to + r->new_len : r->to,
                   v->vm_file ? v->vm_file->mapping : NULL);
        error = move_guarded(r, v, copy, fixed);
        guard_unlock(&guard);
        if (error) {
                TAILQ_INSERT_TAIL(&r->gone, copy, vm_list);
                vma_merge(mm, v);
                return error;
        }
        if (r->flags & MREMAP_DONTUNMAP) /* nothing is left there to be locked */
                vma_unlock(v);
        vma_link(mm, copy);
        vma_merge(mm, copy);
        if (r->flags & MREMAP_DONTUNMAP)
                vma_merge(mm, find_vma(mm, r->from));
        return 0;
}

static int remap_locked(struct remap *r)
{
        struct vma *v = find_vma(r->mm, r->from);
        bool elsewhere = r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
        int error;

        if (!v || v->vm_start > r->from)
                return -EFAULT;
        /* What is cut off is unmapped, and munmap(2) wants all of it to be addresses. */
        if (r->old_len > r->new_len && r->old_len > END_OF_ADDRESSES - r->from)
                return -EINVAL;
        if (!elsewhere && r->new_len <= r->old_len) {
                r->to = r->from;
                return r->new_len == r->old_len ? 0
                                                : unmap_locked(r->mm, r->from + r->new_len,
                                                               r->from + r->old_len, &r->gone);
        }
        error = check_vma(r, v);
        if (error)
                return error;
        r->fill = (v->vm_flags & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED &&
                  r->new_len > r->old_len;
        if (!elsewhere && grow_in_place(r, v))
                return 0;
        if (r->old_len == 0 && r->to == r->from && (r->flags & MREMAP_FIXED)) {
                /* A second view of itself: what it is to replace goes first, as in the kernel. */
                error = unmap_locked(r->mm, r->to, r->to + r->new_len, &r->gone);
                return error ? error : -EFAULT;
        }
        if (!(r->flags & MREMAP_MAYMOVE))
                return -ENOMEM;
        if (r->new_len < r->old_len) {
                error = unmap_locked(r->mm, r->from + r->new_len, r->from + r->old_len, &r->gone);
                if (error)
                        return error;
                r->old_len = r->new_len;
        }
        return move(r, find_vma(r->mm, r->from));
}

int mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, int flags,
             uint64_t *to)
{
        struct remap r = {
                .mm = mm,
                .from = old,
                .old_len = round_up_u64(old_len, PAGE_SIZE),
                .new_len = round_up_u64(new_len, PAGE_SIZE),
                .to = *to,
                .flags = flags,
                .gone = TAILQ_HEAD_INITIALIZER(r.gone),
        };
        int error = check_arguments(&r);

        if (error)
                return error;
        rwlock_write_lock(&mm->lock);
        error = remap_locked(&r);
        rwlock_write_unlock(&mm->lock);
        free_vma_list(&r.gone);
        if (!error && r.fill)
                mm_populate(mm, r.to + r.old_len, r.to + r.new_len, POPULATE_NATURAL);
        if (!error)
                *to = r.to;
        return error;
}
