/* SPDX-License-Identifier: Apache-2.0
 *
 * vma.c - VMAs: the sorted list and the tree, split, merge, and the search for a gap.
 *
 * Whatever changes a VMA's span holds mm->lock for writing (against faults) and the file's
 * i_mmap_lock for writing (against write-back and reclaim, which come from the file's side).
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/mm.h"

static int vma_compare(const struct vma *a, const struct vma *b)
{
        return a->vm_start < b->vm_start ? -1 : a->vm_start > b->vm_start;
}

static uint64_t max_gap(const struct vma *v)
{
        const struct vma *l = RB_LEFT(v, vm_rb), *r = RB_RIGHT(v, vm_rb);
        uint64_t gap = max_u64(v->vm_gap, l ? l->vm_max_gap : 0);

        return max_u64(gap, r ? r->vm_max_gap : 0);
}

/* What the tree calls for each node that it has moved. */
#undef RB_AUGMENT
#define RB_AUGMENT(v) ((v)->vm_max_gap = max_gap(v))

RB_GENERATE_INTERNAL(vma_tree, vma, vm_rb, vma_compare, __attribute__((unused)) static)

static void sum_up(struct vma *v)
{
        for (; v; v = RB_PARENT(v, vm_rb))
                v->vm_max_gap = max_gap(v);
}

/* The gap before v, which may be NULL. */
static void measure_gap(struct vma *v)
{
        struct vma *prev = v ? vma_prev(v) : NULL;

        if (v)
                v->vm_gap = v->vm_start - (prev ? prev->vm_end : 0);
        sum_up(v);
}

void vma_resized(struct vma *v)
{
        measure_gap(v);
        measure_gap(vma_next(v));
}

struct vma *find_vma(struct mm *mm, uint64_t addr)
{
        struct vma *v = RB_ROOT(&mm->mm_rb), *best = NULL;

        rwlock_assert_held(&mm->lock);
        while (v) {
                if (addr < v->vm_end) {
                        best = v;
                        if (addr >= v->vm_start)
                                break;
                        v = RB_LEFT(v, vm_rb);
                } else {
                        v = RB_RIGHT(v, vm_rb);
                }
        }
        return best;
}

struct vma *vma_at(struct mm *mm, uint64_t addr, uint64_t end, uint64_t *stop)
{
        struct vma *v = find_vma(mm, addr);

        if (!v || v->vm_start > addr)
                return NULL;
        *stop = min_u64(v->vm_end, end);
        return v;
}

const char *vma_name(const struct vma *v)
{
        return v->vm_file ? v->vm_file->inode->name : "anonymous memory";
}

struct vma *vma_next(struct vma *v)
{
        return TAILQ_NEXT(v, vm_list);
}

struct vma *vma_prev(struct vma *v)
{
        return TAILQ_PREV(v, vma_list, vm_list);
}

/* The first VMA behind v with a gap of len before it. */
static struct vma *next_gap(struct vma *v, uint64_t len)
{
        struct vma *n = RB_RIGHT(v, vm_rb);

        while (!n || n->vm_max_gap < len) {
                /* Nothing below on the right: up, to the first node that lies behind v. */
                do {
                        n = v;
                        v = RB_PARENT(v, vm_rb);
                } while (v && n == RB_RIGHT(v, vm_rb));
                if (!v || v->vm_gap >= len)
                        return v;
                n = RB_RIGHT(v, vm_rb);
        }
        for (;;) { /* the lowest at or below n */
                struct vma *l = RB_LEFT(n, vm_rb);

                if (l && l->vm_max_gap >= len)
                        n = l;
                else if (n->vm_gap >= len)
                        return n;
                else
                        n = RB_RIGHT(n, vm_rb);
        }
}

uint64_t get_unmapped_area(struct mm *mm, uint64_t hint, uint64_t len)
{
        uint64_t at = hint > mm->window_lo ? hint : mm->window_lo;
        struct vma *v = find_vma(mm, at), *prev;

        if (v && (v->vm_start < at || v->vm_start - at < len)) {
                v = next_gap(v, len);
                prev = v ? vma_prev(v) : TAILQ_LAST(&mm->mmap, vma_list);
                at = prev->vm_end;
        }
        return at < mm->window_hi && mm->window_hi - at >= len ? at : 0;
}

struct vma *vma_alloc(struct mm *mm)
{
        struct vma *v = vma_pool_get(&mm->vmas);

        if (v) {
                memset(v, 0, sizeof(*v));
                v->vm_mm = mm;
        }
        return v;
}

void vma_free(struct vma *v)
{
        if (v->vm_ops && v->vm_ops->close)
                v->vm_ops->close(v);
        vma_pool_put(&v->vm_mm->vmas, v);
}

void vma_link(struct mm *mm, struct vma *v)
{
        struct vma *next;

        rwlock_assert_write_held(&mm->lock);
        assert(!RB_FIND(vma_tree, &mm->mm_rb, v));
        next = find_vma(mm, v->vm_start);
        assert(!next || v->vm_end <= next->vm_start);
        if (next)
                TAILQ_INSERT_BEFORE(next, v, vm_list);
        else
                TAILQ_INSERT_TAIL(&mm->mmap, v, vm_list);
        v->vm_gap = v->vm_max_gap = 0;
        RB_INSERT(vma_tree, &mm->mm_rb, v);
        vma_resized(v);
        mm->map_count += space_of(v->vm_start) == 0;
        vma_check(v);
}

void vma_unlink(struct mm *mm, struct vma *v)
{
        struct vma *next = vma_next(v), *low = RB_PARENT(v, vm_rb);

        rwlock_assert_write_held(&mm->lock);
        if (RB_LEFT(v, vm_rb) && RB_RIGHT(v, vm_rb)) /* the next in order takes its place */
                low = RB_PARENT(next, vm_rb) == v ? next : RB_PARENT(next, vm_rb);
        RB_REMOVE(vma_tree, &mm->mm_rb, v);
        TAILQ_REMOVE(&mm->mmap, v, vm_list);
        sum_up(low);
        measure_gap(next);
        mm->map_count -= space_of(v->vm_start) == 0;
}

void view_update_locked(struct vma *v)
{
        if (v->vm_file)
                rwlock_assert_write_held(&v->vm_file->mapping->i_mmap_lock);
        v->vm_view.share = v->vm_rules.share;
        v->vm_view.locked = v->vm_flags & VM_LOCKED;
        v->vm_view.first = v->vm_pgoff;
        v->vm_view.last = v->vm_pgoff + ((v->vm_end - v->vm_start) >> PAGE_SHIFT) - 1;
}

void vma_add_view_locked(struct vma *v)
{
        view_update_locked(v);
        if (v->vm_file) {
                rwlock_assert_write_held(&v->vm_file->mapping->i_mmap_lock);
                view_insert(&v->vm_file->mapping->i_mmap, &v->vm_view);
        }
}

void vma_remove_view_locked(struct vma *v)
{
        if (v->vm_file) {
                rwlock_assert_write_held(&v->vm_file->mapping->i_mmap_lock);
                view_remove(&v->vm_file->mapping->i_mmap, &v->vm_view);
        }
}

static void lock_views(struct vma *v)
{
        if (v->vm_file)
                rwlock_write_lock(&v->vm_file->mapping->i_mmap_lock);
}

static void unlock_views(struct vma *v)
{
        if (v->vm_file)
                rwlock_write_unlock(&v->vm_file->mapping->i_mmap_lock);
}

struct vma *vma_dup(const struct vma *v)
{
        struct vma *twin = vma_alloc(v->vm_mm);

        if (!twin)
                return NULL;
        twin->vm_prot = v->vm_prot;
        twin->vm_maxprot = v->vm_maxprot;
        twin->vm_shared = v->vm_shared;
        twin->vm_advice = v->vm_advice;
        twin->vm_rules = v->vm_rules;
        twin->vm_flags = v->vm_flags;
        twin->vm_locking = v->vm_locking;
        twin->vm_file = v->vm_file;
        twin->vm_ops = v->vm_ops;
        return twin;
}

struct vma *split_vma(struct mm *mm, struct vma *v, uint64_t addr)
{
        struct vma *upper = vma_dup(v);

        rwlock_assert_write_held(&mm->lock);
        assert(addr > v->vm_start && addr < v->vm_end && !(addr & ~PAGE_MASK));
        if (!upper)
                return NULL;
        upper->vm_start = addr;
        upper->vm_end = v->vm_end;
        upper->vm_pgoff = vma_index(v, addr);
        lock_views(v);
        vma_remove_view_locked(v);
        v->vm_end = addr;
        vma_add_view_locked(v);
        vma_add_view_locked(upper);
        unlock_views(v);
        vma_resized(v);
        if (upper->vm_ops && upper->vm_ops->open)
                upper->vm_ops->open(upper);
        vma_link(mm, upper);
        vma_check(v);
        return upper;
}

bool vma_can_merge(const struct vma *a, const struct vma *b)
{
        return a->vm_end == b->vm_start && a->vm_file == b->vm_file && a->vm_prot == b->vm_prot &&
               a->vm_maxprot == b->vm_maxprot && a->vm_shared == b->vm_shared &&
               a->vm_advice == b->vm_advice && a->vm_flags == b->vm_flags &&
               a->vm_locking == b->vm_locking && a->vm_ops == b->vm_ops &&
               rules_equal(&a->vm_rules, &b->vm_rules) &&
               a->vm_pgoff + ((a->vm_end - a->vm_start) >> PAGE_SHIFT) == b->vm_pgoff;
}

/* a takes b in. */
static void absorb(struct mm *mm, struct vma *a, struct vma *b)
{
        vma_unlink(mm, b);
        lock_views(a);
        vma_remove_view_locked(b);
        vma_remove_view_locked(a);
        a->vm_end = b->vm_end;
        vma_add_view_locked(a);
        unlock_views(a);
        vma_resized(a);
        /* Not the last reference: a has the same file. */
        vma_free(b);
        vma_check(a);
}

struct vma *vma_merge(struct mm *mm, struct vma *v)
{
        struct vma *prev = vma_prev(v), *next = vma_next(v);

        rwlock_assert_write_held(&mm->lock);
        if (next && vma_can_merge(v, next))
                absorb(mm, v, next);
        if (prev && vma_can_merge(prev, v)) {
                absorb(mm, prev, v);
                v = prev;
        }
        return v;
}

int split_at(struct mm *mm, uint64_t start, uint64_t end)
{
        struct vma *v = find_vma(mm, start);

        rwlock_assert_write_held(&mm->lock);
        if (v && v->vm_start < start && !split_vma(mm, v, start))
                return -ENOMEM;
        v = find_vma(mm, end);
        if (v && v->vm_start < end && !split_vma(mm, v, end))
                return -ENOMEM;
        return 0;
}

#ifndef NDEBUG
void vma_check(const struct vma *v)
{
        assert(v->vm_start < v->vm_end);
        assert(!(v->vm_start & ~PAGE_MASK) && !(v->vm_end & ~PAGE_MASK));
        assert(!(v->vm_prot & ~v->vm_maxprot));
        assert(vma_is_anonymous(v) ? !v->vm_file : !!v->vm_file);
        assert(!vma_is_anonymous(v) || v->vm_pgoff == v->vm_start >> PAGE_SHIFT);
        assert(v->vm_view.first == v->vm_pgoff);
        assert(v->vm_view.last - v->vm_view.first + 1 == (v->vm_end - v->vm_start) >> PAGE_SHIFT);
}
#endif

static int complain(const char *what, const struct vma *v)
{
        fprintf(stderr, "faultline: mm: %s at %#llx-%#llx\n", what, (unsigned long long)v->vm_start,
                (unsigned long long)v->vm_end);
        return -EINVAL;
}

int vma_tree_check(struct mm *mm)
{
        struct vma *v, *prev = NULL, *in_tree = RB_MIN(vma_tree, &mm->mm_rb);
        unsigned n = 0;
        int error = 0;

        rwlock_assert_held(&mm->lock);
        TAILQ_FOREACH (v, &mm->mmap, vm_list) {
                vma_check(v);
                if (v != in_tree)
                        error = complain("list and tree differ", v);
                if (prev && prev->vm_end > v->vm_start)
                        error = complain("VMAs overlap", v);
                if (v->vm_gap != v->vm_start - (prev ? prev->vm_end : 0) ||
                    v->vm_max_gap != max_gap(v))
                        error = complain("wrong gap", v);
                in_tree = in_tree ? RB_NEXT(vma_tree, &mm->mm_rb, in_tree) : NULL;
                prev = v;
                n += space_of(v->vm_start) == 0;
        }
        if (!error && (n != mm->map_count || in_tree)) {
                fprintf(stderr, "faultline: mm: %u VMAs in the list, %u counted\n", n,
                        mm->map_count);
                error = -EINVAL;
        }
        return error;
}
