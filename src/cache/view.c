/* SPDX-License-Identifier: Apache-2.0
 *
 * view.c - see view.h. A red-black tree by first page; each node knows the largest last page
 * below it, so that a search leaves out what ends too early.
 */
#include "cache/view.h"

#include <errno.h>

static int view_compare(const struct mapping_view *a, const struct mapping_view *b)
{
        if (a->first != b->first)
                return a->first < b->first ? -1 : 1;
        return (uintptr_t)a < (uintptr_t)b ? -1 : a != b;
}

static uint64_t largest_last(const struct mapping_view *v)
{
        const struct mapping_view *l = RB_LEFT(v, rb), *r = RB_RIGHT(v, rb);
        uint64_t last = v->last;

        if (l && l->subtree_last > last)
                last = l->subtree_last;
        return r && r->subtree_last > last ? r->subtree_last : last;
}

/* What the tree calls for each node that it has moved. */
#undef RB_AUGMENT
#define RB_AUGMENT(v) ((v)->subtree_last = largest_last(v))

RB_GENERATE_INTERNAL(view_rb, mapping_view, rb, view_compare, __attribute__((unused)) static)

/* The tree itself does not tell those further up. */
static void sum_up(struct mapping_view *v)
{
        for (; v; v = RB_PARENT(v, rb))
                v->subtree_last = largest_last(v);
}

void view_insert(struct view_tree *t, struct mapping_view *v)
{
        v->subtree_last = v->last;
        RB_INSERT(view_rb, &t->root, v);
        sum_up(v);
        t->nr++;
        t->nr_locked += v->locked;
}

void view_remove(struct view_tree *t, struct mapping_view *v)
{
        struct mapping_view *low = RB_PARENT(v, rb); /* the lowest node that loses something */

        if (RB_LEFT(v, rb) && RB_RIGHT(v, rb)) {
                /* The next in order takes its place. */
                struct mapping_view *heir = RB_NEXT(view_rb, &t->root, v);

                low = RB_PARENT(heir, rb) == v ? heir : RB_PARENT(heir, rb);
        }
        RB_REMOVE(view_rb, &t->root, v);
        sum_up(low);
        t->nr--;
        t->nr_locked -= v->locked;
}

/* => n's subtree has something that ends at first or later */
static struct mapping_view *search(struct mapping_view *n, uint64_t first, uint64_t last)
{
        for (;;) {
                struct mapping_view *l = RB_LEFT(n, rb), *r = RB_RIGHT(n, rb);

                if (l && l->subtree_last >= first) {
                        n = l; /* if not there, then what starts even later is not it either */
                        continue;
                }
                if (n->first > last)
                        return NULL;
                if (n->last >= first)
                        return n;
                if (!r || r->subtree_last < first)
                        return NULL;
                n = r;
        }
}

struct mapping_view *view_first(struct view_tree *t, uint64_t first, uint64_t last)
{
        struct mapping_view *root = RB_ROOT(&t->root);

        return root && root->subtree_last >= first ? search(root, first, last) : NULL;
}

struct mapping_view *view_next(struct mapping_view *v, uint64_t first, uint64_t last)
{
        for (;;) {
                struct mapping_view *r = RB_RIGHT(v, rb), *from;

                if (r && r->subtree_last >= first)
                        return search(r, first, last);
                do {
                        from = v;
                        v = RB_PARENT(v, rb);
                } while (v && from == RB_RIGHT(v, rb));
                if (!v || v->first > last)
                        return NULL;
                if (v->last >= first)
                        return v;
        }
}

int view_check(struct view_tree *t)
{
        struct mapping_view *v, *prev = NULL;
        unsigned n = 0, locked = 0;

        RB_FOREACH (v, view_rb, &t->root) {
                if (v->subtree_last != largest_last(v) || v->first > v->last ||
                    (prev && view_compare(prev, v) >= 0))
                        return -EINVAL;
                prev = v;
                n++;
                locked += v->locked;
        }
        return n == t->nr && locked == t->nr_locked ? 0 : -EINVAL;
}
