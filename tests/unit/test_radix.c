/* SPDX-License-Identifier: Apache-2.0
 *
 * test_radix.c - the sparse tree under page table and page cache, and what it costs in tables.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "radix_fixture.h"

TestSuite(radix, .init = start, .fini = stop, .timeout = 30);

Test(radix, nothing_is_made_by_looking)
{
        uint64_t index = 5;

        cr_assert_null(radix_get(&r, 0, false));
        cr_assert_null(radix_get(&r, UINT64_C(1) << 40, false));
        cr_assert_null(radix_next(&r, &index, UINT64_MAX, false));
        cr_assert_eq(tables(), 0);
}

Test(radix, an_idle_leaf_goes_with_its_last_pin)
{
        uint64_t *a = radix_get(&r, 7, true), *b;

        cr_assert_eq(tables(), 1);
        b = radix_get(&r, 8, false);
        cr_assert_eq(b, a + 1, "neighbours of one leaf");
        radix_put(&r, a);
        cr_assert_eq(tables(), 1, "b still pins it");
        radix_pin(&r, b);
        radix_put(&r, b);
        cr_assert_eq(tables(), 1, "the second pin of b does");
        radix_put(&r, b);
        cr_assert_eq(tables(), 0);
        cr_assert_eq(r.height, 0);
}

Test(radix, a_leaf_in_use_stays_without_pins)
{
        set(7, 70);
        set(9, 90);
        cr_assert_eq(tables(), 1);
        cr_assert_eq(get(7), 70);
        cr_assert_eq(get(8), 0);
        clear(7);
        cr_assert_eq(tables(), 1);
        cr_assert_eq(get(9), 90);
        clear(9);
        cr_assert_eq(tables(), 0);
}

Test(radix, a_table_used_again_is_zeroed)
{
        for (int round = 0; round < 3; round++) {
                uint64_t *e = radix_get(&r, 100, true);

                for (unsigned i = 0; i < 512; i++)
                        cr_assert_eq(e[(int)i - 100], 0, "entry %u in round %d", i, round);
                memset(e - 100, 0xff, PAGE_SIZE);
                radix_put(&r, e);
        }
}

Test(radix, grows_in_height_under_its_entries)
{
        static const struct {
                uint64_t index;
                unsigned height;
        } step[] = {
                { 0, 0 },
                { 511, 0 },
                { 512, 1 },
                { (UINT64_C(1) << 18) - 1, 1 },
                { UINT64_C(1) << 18, 2 },
                { UINT64_C(1) << 27, 3 },
                { UINT64_C(1) << 36, 4 },
                { UINT64_C(1) << 40, 4 },
        };
        uint64_t *first = radix_get(&r, 0, true);

        for (unsigned i = 0; i < ARRAY_SIZE(step); i++) {
                set(step[i].index, step[i].index + 1);
                cr_assert_eq(r.height, step[i].height, "at %#lx", step[i].index);
                for (unsigned k = 0; k <= i; k++)
                        cr_assert_eq(get(step[k].index), step[k].index + 1);
                cr_assert_eq(*first, 1, "a pinned entry moved");
                cr_assert_eq(get(UINT64_C(1) << 50), 0);
        }
        radix_put(&r, first);
        for (unsigned i = 0; i < ARRAY_SIZE(step); i++)
                clear(step[i].index);
        cr_assert_eq(tables(), 0);
}

Test(radix, an_empty_tree_takes_the_height_it_needs)
{
        set(UINT64_C(1) << 40, 1);
        cr_assert_eq(r.height, 4);
        cr_assert_eq(tables(), 5);
        cr_assert_eq(get(0), 0);
        cr_assert_eq(tables(), 5);
        clear(UINT64_C(1) << 40);
        set(3, 1);
        cr_assert_eq(r.height, 0);
        cr_assert_eq(tables(), 1);
}

Test(radix, destroying_frees_what_is_in_use)
{
        for (unsigned i = 0; i < 100; i++) {
                set(UINT64_C(5000) * i * i, 1);
                radix_tag(&r, radix_get(&r, UINT64_C(5000) * i * i, false));
        }
        radix_destroy(&r);
        cr_assert_eq(tables(), 0);
        radix_init(&r, &pool, PTE_SHIFT);
        for (unsigned i = 0; i < 100; i++) {
                uint64_t none = 0;

                set(UINT64_C(700) * i * i, 1);
                cr_assert_null(radix_next(&r, &none, UINT64_MAX, true), "an old tag is left");
                clear(UINT64_C(700) * i * i);
                cr_assert_eq(tables(), 0, "an old pin or use is left");
        }
}

/* ---- radix_next ---- */

static const uint64_t sparse[] = {
        0,
        1,
        511,
        512,
        5 * 512 + 17,
        UINT64_C(1) << 18,
        (UINT64_C(1) << 18) + 5000,
        (UINT64_C(1) << 27) - 1,
        UINT64_C(1) << 27,
        (UINT64_C(1) << 36) + 3,
        (UINT64_C(1) << 40) - 1,
        UINT64_C(1) << 40,
};

/* All entries in use of [from, end), by leaves, as radix_next_part() cuts them; their number. */
static unsigned walk_parts(uint64_t from, uint64_t end, uint64_t *found)
{
        uint64_t index = from, stop;
        unsigned n = 0;
        uint64_t *e;

        while ((e = radix_next_part(&r, &index, end, &stop))) {
                uint64_t *leaf = e;

                cr_assert(stop > index && stop <= end, "from %lu to %lu", index, stop);
                for (; index < stop; index++, e++)
                        if (*e)
                                found[n++] = index;
                radix_put(&r, leaf);
        }
        return n;
}

/* All entries in use (or tagged) of [from, last], by leaves; their number. */
static unsigned walk(uint64_t from, uint64_t last, bool tagged, uint64_t *found)
{
        uint64_t index = from;
        unsigned n = 0;
        uint64_t *e;

        while (index <= last && (e = radix_next(&r, &index, last, tagged))) {
                uint64_t end = radix_leaf_end(&r, index), *leaf = e;

                cr_assert_eq(radix_index(&r, e), index);
                for (; index < end && index <= last; index++, e++)
                        if (*e && (!tagged || *e % 2))
                                found[n++] = index;
                radix_put(&r, leaf);
                index = end;
        }
        return n;
}

Test(radix, next_walks_the_leaves_in_use)
{
        uint64_t found[ARRAY_SIZE(sparse)];
        unsigned before;

        for (unsigned i = 0; i < ARRAY_SIZE(sparse); i++)
                set(sparse[i], 2);
        before = tables();
        cr_assert_eq(walk(0, UINT64_MAX, false, found), ARRAY_SIZE(sparse));
        for (unsigned i = 0; i < ARRAY_SIZE(sparse); i++)
                cr_assert_eq(found[i], sparse[i]);
        cr_assert_eq(walk(0, sparse[8], false, found), 9, "the last one is included");
        cr_assert_eq(walk(0, sparse[8] - 1, false, found), 8);
        cr_assert_eq(walk(sparse[4] + 1, sparse[5], false, found), 1);
        cr_assert_eq(found[0], sparse[5]);
        cr_assert_eq(walk(sparse[11] + 1, UINT64_MAX, false, found), 0);
        cr_assert_eq(tables(), before, "a walk leaves nothing behind");
        cr_assert_eq(walk_parts(0, UINT64_MAX, found), ARRAY_SIZE(sparse));
        for (unsigned i = 0; i < ARRAY_SIZE(sparse); i++)
                cr_assert_eq(found[i], sparse[i]);
        cr_assert_eq(walk_parts(0, sparse[8], found), 8, "up to the end");
        cr_assert_eq(walk_parts(sparse[3], sparse[3] + 1, found), 1);
        cr_assert_eq(walk_parts(sparse[4], sparse[4], found), 0, "of nothing");
        cr_assert_eq(tables(), before, "nor does one by parts");
}

Test(radix, next_starts_within_a_leaf)
{
        uint64_t index = 700, *e;

        set(513, 1);
        e = radix_next(&r, &index, UINT64_MAX, false);
        cr_assert_not_null(e);
        cr_assert_eq(index, 700, "the leaf is in use, though nothing behind 513 is");
        cr_assert_eq(radix_index(&r, e), 700);
        radix_put(&r, e);
}

Test(radix, next_passes_by_leaves_that_are_only_pinned)
{
        uint64_t *pinned = radix_get(&r, 600, true), index = 0, *e;

        set(5000, 1);
        e = radix_next(&r, &index, UINT64_MAX, false);
        cr_assert_eq(index, 5000 / 512 * 512);
        radix_put(&r, e);
        radix_put(&r, pinned);
}

Test(radix, next_finds_tagged_leaves_only)
{
        uint64_t found[ARRAY_SIZE(sparse)];

        for (unsigned i = 0; i < ARRAY_SIZE(sparse); i++)
                set(sparse[i], 2);
        cr_assert_eq(walk(0, UINT64_MAX, true, found), 0);
        for (unsigned i = 3; i < ARRAY_SIZE(sparse); i += 4) {
                uint64_t *e = radix_get(&r, sparse[i], false);

                *e = 3;
                radix_tag(&r, e);
                radix_put(&r, e);
        }
        cr_assert_eq(walk(0, UINT64_MAX, true, found), 3);
        cr_assert_eq(found[0], sparse[3]);
        cr_assert_eq(found[1], sparse[7]);
        cr_assert_eq(found[2], sparse[11]);
        for (unsigned i = 3; i < ARRAY_SIZE(sparse); i += 8) {
                uint64_t *e = radix_get(&r, sparse[i], false);

                radix_untag(&r, e);
                radix_put(&r, e);
        }
        cr_assert_eq(walk(0, UINT64_MAX, true, found), 1);
        cr_assert_eq(found[0], sparse[7]);
}

Test(radix, the_top_of_the_range_does_not_wrap)
{
        static const uint64_t top[] = {
                UINT64_MAX >> 13, /* the last page of the largest file */
                UINT64_MAX >> 12, /* the last page of all addresses */
                UINT64_MAX >> 1,
                UINT64_MAX,
        };
        uint64_t found[4], index;

        for (unsigned i = 0; i < ARRAY_SIZE(top); i++)
                set(top[i], 2);
        cr_assert_eq(radix_leaf_end(&r, UINT64_MAX), 0, "there is no index behind it");
        index = UINT64_MAX - 3;
        radix_put(&r, radix_next(&r, &index, UINT64_MAX, false));
        cr_assert_eq(index, UINT64_MAX - 3);
        cr_assert_eq(walk(0, UINT64_MAX - 512, false, found), 3);
        for (unsigned i = 0; i < 3; i++)
                cr_assert_eq(found[i], top[i]);
        for (unsigned i = 0; i < ARRAY_SIZE(top); i++)
                clear(top[i]);
        cr_assert_eq(tables(), 0);
}

Test(radix, a_full_pool_refuses_and_recovers)
{
        struct table_pool small;
        struct radix t;
        uint64_t *e;

        cr_assert_eq(table_pool_init(&small, 3), 0);
        radix_init(&t, &small, PTE_SHIFT);
        e = radix_get(&t, 0, true);
        *e = 1;
        radix_use(&t, e);
        radix_put(&t, e);
        cr_assert_null(radix_get(&t, UINT64_C(1) << 40, true));
        e = radix_get(&t, 0, false);
        cr_assert_not_null(e);
        cr_assert_eq(*e, 1);
        radix_unuse(&t, e);
        radix_put(&t, e);
        e = radix_get(&t, 600, true);
        cr_assert_not_null(e, "what was freed can be had again");
        radix_put(&t, e);
        radix_destroy(&t);
        cr_assert_eq(atomic_load(&small.in_use), 0);
        table_pool_destroy(&small);
}

/* ---- what it costs ---- */

/* Pages a GiB apart, as in a sparse file of which a few pages are touched. Of 512 GiB (of cached
 * pages: 256) one table is shared, which the first page beyond makes. */
static void check_lone_pages(unsigned shift, uint64_t apart, unsigned nr)
{
        struct radix t;

        radix_init(&t, &pool, shift);
        for (unsigned i = 0; i < nr; i++) {
                unsigned before = tables(), height = t.height;
                void *e = radix_get(&t, i * (apart >> PAGE_SHIFT), true);

                radix_use(&t, e);
                radix_put(&t, e);
                if (i)
                        cr_assert_leq(tables() - before, 2 + (t.height - height), "page %u", i);
        }
        cr_assert_leq(tables(), 2 * nr + t.height);
        radix_destroy(&t);
        cr_assert_eq(tables(), 0);
}

Test(radix, a_lone_page_costs_a_leaf_and_a_middle_table)
{
        check_lone_pages(PTE_SHIFT, UINT64_C(1) << 30, 512);
        check_lone_pages(PAGE_ENTRY, UINT64_C(1) << 30, 256);
        check_lone_pages(PTE_SHIFT, UINT64_C(1) << 21, 2000); /* a leaf each */
        check_lone_pages(PAGE_ENTRY, UINT64_C(1) << 20, 2000);
}

Test(radix, dense_entries_cost_little_more_than_themselves)
{
        for (unsigned i = 0; i < 512 * 512; i++)
                set(i, 1);
        cr_assert_eq(tables(), 513);
        for (unsigned i = 0; i < 512 * 512; i++)
                clear(i);
        cr_assert_eq(tables(), 0);
}

#ifndef __SANITIZE_ADDRESS__ /* under it munlock(2) does nothing */
/* A program that locks all memory that is to come has it filled by the kernel: the pool of an engine is
 * 16 GiB. */
Test(radix, a_pool_is_empty_where_all_memory_is_locked)
{
        static unsigned char there[UNITS];
        struct table_pool other;
        unsigned filled = 0;
        int error;

        if (mlockall(MCL_FUTURE))
                return;
        error = table_pool_init(&other, UNITS);
        munlockall();
        if (error)
                return; /* the kernel lets nobody have it who may not lock as much */
        cr_assert_eq(mincore(other.base, (size_t)UNITS << PAGE_SHIFT, there), 0);
        for (unsigned i = 0; i < UNITS; i++)
                filled += there[i] & 1;
        cr_assert_eq(filled, 0, "%u tables are there", filled);
        cr_assert_not_null(table_alloc(&other));
        table_pool_destroy(&other);
}
#endif

/* ---- looking without a lock ---- */

static uint64_t peek(uint64_t index, uint64_t *shape)
{
        const uint64_t *e = radix_peek(&r, index, shape);

        return e ? *e : 0;
}

Test(radix, a_peek_finds_what_is_there)
{
        uint64_t shape;

        cr_assert_eq(peek(7, &shape), 0);
        cr_assert(radix_unchanged(&r, shape));
        set(7, 70);
        cr_assert_eq(peek(7, &shape), 70);
        cr_assert_eq(peek(UINT64_MAX, &shape), 0, "beyond what the tree reaches");
        set(UINT64_C(1) << 40, 40);
        cr_assert_eq(peek(7, &shape), 70);
        cr_assert_eq(peek(UINT64_C(1) << 40, &shape), 40);
        cr_assert_eq(peek(UINT64_C(1) << 41, &shape), 0);
        cr_assert(radix_unchanged(&r, shape));
        clear(7);
        clear(UINT64_C(1) << 40);
}

Test(radix, a_peek_is_told_when_a_table_goes_or_the_tree_grows_higher)
{
        uint64_t shape, freed = r.freed;

        set(7, 70);
        peek(7, &shape);
        set(8, 80);
        cr_assert(radix_unchanged(&r, shape), "an entry more is no other shape");
        set(UINT64_C(1) << 40, 40);
        cr_assert(!radix_unchanged(&r, shape), "the root is another");
        peek(7, &shape);
        clear(UINT64_C(1) << 40);
        cr_assert(!radix_unchanged(&r, shape));
        cr_assert_eq(r.freed, freed + 1);
        peek(7, &shape);
        clear(7);
        cr_assert(radix_unchanged(&r, shape), "8 keeps the leaf");
        clear(8);
        cr_assert(!radix_unchanged(&r, shape));
}
