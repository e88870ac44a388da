/* SPDX-License-Identifier: Apache-2.0
 *
 * view.h - which mappings show which pages of a file: a tree of intervals.
 *
 * A file may be mapped tens of thousands of times, mostly elsewhere: whoever protects or zaps a
 * page asks for the views that show it and meets no others. Guarded by the file's i_mmap_lock.
 *
 *     VIEW_FOREACH (v, &m->i_mmap, first, last)
 *             ... v shows a page of [first, last] ...
 */
#ifndef FL_CACHE_VIEW_H
#define FL_CACHE_VIEW_H

#include <bsd/sys/tree.h>

#include "util/base.h"

/* One mapping's view of the file; embedded in vm's VMA. Both structs are [i_mmap], as the file's
 * tree is. */
struct mapping_view {
        RB_ENTRY(mapping_view) rb;
        uint64_t first, last;  /* pages of the file, last included; fixed while it is in a tree */
        uint64_t subtree_last; /* the largest last at or below this node */
        bool locked;           /* its pages are not reclaimed (mlock) */
        uint64_t share;        /* pages of the budget that it asks for its file (share.c) */
};
RB_HEAD(view_rb, mapping_view);

struct view_tree {
        struct view_rb root;
        unsigned nr;
        _Atomic unsigned nr_locked;
};

void view_insert(struct view_tree *t, struct mapping_view *v);
void view_remove(struct view_tree *t, struct mapping_view *v);
/* The first view, in the order of first pages, that shows a page of [first, last]; the next. */
struct mapping_view *view_first(struct view_tree *t, uint64_t first, uint64_t last);
struct mapping_view *view_next(struct mapping_view *v, uint64_t first, uint64_t last);

#define VIEW_FOREACH(v, tree, first, last)                                                         \
        for ((v) = view_first((tree), (first), (last)); (v); (v) = view_next((v), (first), (last)))

/* Every node's sum is right, and the tree is in order: 0, or -EINVAL. */
int view_check(struct view_tree *t);

#endif
