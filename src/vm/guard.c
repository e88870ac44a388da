/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.c - the files whose mappings a change touches, all locked at once (map.h).
 */
#include "vm/map.h"

/* The two lists, each in the order of addresses, as one. */
static struct address_space *merge_lists(struct address_space *a, struct address_space *b)
{
        struct address_space *first = NULL, **end = &first;

        while (a && b) {
                struct address_space **less = (uintptr_t)a < (uintptr_t)b ? &a : &b;

                *end = *less;
                end = &(*less)->guard_next;
                *less = *end;
        }
        *end = a ? a : b;
        return first;
}

static struct address_space *sort_list(struct address_space *list)
{
        struct address_space *middle = list, *rest, *at;

        if (!list || !list->guard_next)
                return list;
        /* The middle takes one step where the end takes two. */
        for (at = list->guard_next; at && at->guard_next; at = at->guard_next->guard_next)
                middle = middle->guard_next;
        rest = middle->guard_next;
        middle->guard_next = NULL;
        return merge_lists(sort_list(list), sort_list(rest));
}

static void guard_add(struct rmap_guard *g, struct address_space *m)
{
        if (!m || m->guarded)
                return;
        m->guarded = true;
        m->guard_next = g->first;
        g->first = m;
}

void guard_lock(struct rmap_guard *g, struct mm *mm, uint64_t start, uint64_t end,
                struct address_space *extra)
{
        rwlock_assert_write_held(&mm->lock);
        g->first = NULL;
        guard_add(g, extra);
        for (struct vma *v = find_vma(mm, start); v && v->vm_start < end; v = vma_next(v))
                guard_add(g, v->vm_file ? v->vm_file->mapping : NULL);
        g->first = sort_list(g->first);
        for (struct address_space *m = g->first; m; m = m->guard_next)
                rwlock_write_lock(&m->i_mmap_lock);
}

void guard_unlock(struct rmap_guard *g)
{
        for (struct address_space *m = g->first, *next; m; m = next) {
                next = m->guard_next;
                m->guarded = false;
                rwlock_write_unlock(&m->i_mmap_lock);
        }
}
