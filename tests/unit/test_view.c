/* SPDX-License-Identifier: Apache-2.0
 *
 * test_view.c - the tree of a file's mappings against a plain list, and its depth.
 */
#include "cache/view.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define MANY 50000u

static struct view_tree tree;

static uint64_t draw(uint64_t *s)
{
        *s = *s * 6364136223846793005ull + 1442695040888963407ull;
        return *s >> 33;
}

static unsigned depth(const struct mapping_view *v)
{
        unsigned l = v ? depth(RB_LEFT(v, rb)) : 0, r = v ? depth(RB_RIGHT(v, rb)) : 0;

        return v ? 1 + (l > r ? l : r) : 0;
}

static void expect_found(struct mapping_view *all, const bool *in, unsigned nr, uint64_t first,
                         uint64_t last)
{
        struct mapping_view *v;
        uint64_t before = 0;
        unsigned found = 0, expected = 0;

        for (unsigned i = 0; i < nr; i++)
                expected += in[i] && all[i].first <= last && all[i].last >= first;
        VIEW_FOREACH (v, &tree, first, last) {
                cr_assert(v->first <= last && v->last >= first, "a view that shows nothing of it");
                cr_assert_geq(v->first, before, "not in order");
                before = v->first;
                found++;
        }
        cr_assert_eq(found, expected, "[%llu, %llu]: %u views, not %u", (unsigned long long)first,
                     (unsigned long long)last, found, expected);
}

Test(view, finds_what_a_list_finds)
{
        enum { NR = 200 };
        static struct mapping_view all[NR];
        static bool in[NR];
        uint64_t s = 7;

        for (unsigned n = 0; n < 20000; n++) {
                unsigned i = (unsigned)(draw(&s) % NR);
                uint64_t first = draw(&s) % 300;

                if (in[i]) {
                        view_remove(&tree, &all[i]);
                } else {
                        all[i].first = first;
                        all[i].last = first + draw(&s) % (draw(&s) % 8 ? 4 : 300);
                        all[i].locked = draw(&s) % 2;
                        view_insert(&tree, &all[i]);
                }
                in[i] = !in[i];
                cr_assert_eq(view_check(&tree), 0, "after %u steps", n);
                first = draw(&s) % 320;
                expect_found(all, in, NR, first, first + draw(&s) % 20);
        }
}

Test(view, the_whole_range_is_everything)
{
        struct mapping_view v[3] = { { .first = 0, .last = UINT64_MAX },
                                     { .first = UINT64_MAX, .last = UINT64_MAX },
                                     { .first = 5, .last = 5 } };
        struct mapping_view *found;
        unsigned n = 0;

        cr_assert_null(view_first(&tree, 0, UINT64_MAX));
        for (unsigned i = 0; i < 3; i++)
                view_insert(&tree, &v[i]);
        VIEW_FOREACH (found, &tree, 0, UINT64_MAX)
                n++;
        cr_assert_eq(n, 3);
        n = 0;
        VIEW_FOREACH (found, &tree, 5, 5)
                n++;
        cr_assert_eq(n, 2);
}

/* Fifty thousand mappings of one file, and one asks for one page: the way there is as long as the
 * tree is deep, and of those on the way no more than their neighbours are looked at. */
Test(view, many_are_not_deep)
{
        struct mapping_view *all = calloc(MANY, sizeof(*all));

        for (unsigned i = 0; i < MANY; i++) {
                all[i].first = all[i].last = (uint64_t)i * 3 % MANY * 2;
                view_insert(&tree, &all[i]);
        }
        cr_assert_eq(view_check(&tree), 0);
        cr_assert_leq(depth(RB_ROOT(&tree.root)), 32);
        for (unsigned i = 0; i < MANY; i++) {
                struct mapping_view *v = view_first(&tree, all[i].first, all[i].first);

                cr_assert_eq(v->first, all[i].first);
                cr_assert_null(view_first(&tree, all[i].first + 1, all[i].first + 1));
        }
        free(all);
}

Test(view, many_of_one_page)
{
        struct mapping_view *all = calloc(MANY, sizeof(*all)), *v;
        unsigned n = 0;

        for (unsigned i = 0; i < MANY; i++) {
                all[i].first = all[i].last = 9;
                view_insert(&tree, &all[i]);
        }
        cr_assert_leq(depth(RB_ROOT(&tree.root)), 32);
        cr_assert_null(view_first(&tree, 0, 8));
        cr_assert_null(view_first(&tree, 10, UINT64_MAX));
        VIEW_FOREACH (v, &tree, 9, 9)
                n++;
        cr_assert_eq(n, MANY);
        for (unsigned i = 0; i < MANY; i++)
                view_remove(&tree, &all[i]);
        cr_assert_eq(tree.nr, 0);
        cr_assert_null(RB_ROOT(&tree.root));
        free(all);
}
