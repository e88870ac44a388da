/* SPDX-License-Identifier: Apache-2.0
 *
 * test_ext4_map.c - where the blocks of a file are, beside an array that says it block by block.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/map.h"

#define BLOCKS 2000u

struct truth {
        enum extent_kind kind;
        bool written, reserved;
        uint64_t start;
};

static void expect_same(struct ext4_map *m, const struct truth *t)
{
        uint64_t at = 0, fresh = 0, seen = 0;

        while (at < BLOCKS) {
                struct map_run run;

                map_find(m, at, &run);
                cr_assert_gt(run.nr, 0);
                for (uint64_t n = 0; n < run.nr && at + n < BLOCKS; n++) {
                        const struct truth *b = &t[at + n];

                        cr_assert_eq(run.kind, b->kind, "block %lu", at + n);
                        if (run.kind == EXTENT_HOLE)
                                continue;
                        cr_assert_eq(run.start + n, b->start, "block %lu", at + n);
                        cr_assert_eq(run.written, b->written, "block %lu", at + n);
                        cr_assert_eq(run.reserved, b->reserved, "block %lu", at + n);
                }
                at += run.nr;
        }
        for (struct extent *e = map_next(m, 0); e; e = map_next(m, e->first + e->nr)) {
                seen++;
                fresh += e->kind == EXTENT_FRESH;
        }
        cr_assert_eq(seen, m->nr_extents);
        cr_assert_eq(fresh, m->nr_fresh);
}

static void set(struct ext4_map *m, struct truth *t, uint64_t first, struct map_run what)
{
        cr_assert_eq(map_set(m, first, &what), 0);
        for (uint64_t n = 0; n < what.nr; n++)
                t[first + n] = (struct truth){ .kind = what.kind,
                                               .written = what.kind == EXTENT_MAPPED,
                                               .reserved = what.reserved,
                                               .start = what.start + n };
}

static void written(struct ext4_map *m, struct truth *t, uint64_t first, uint64_t nr)
{
        map_written(m, first, nr);
        for (uint64_t n = first; n < first + nr; n++)
                if (t[n].kind == EXTENT_FRESH)
                        t[n].written = true;
}

Test(ext4_map, as_an_array)
{
        struct truth *t = calloc(BLOCKS, sizeof(*t));
        struct ext4_map m;

        srand(1);
        map_init(&m);
        for (unsigned n = 0; n < 4000; n++) {
                uint64_t first = (uint64_t)rand() % BLOCKS;
                uint64_t nr = 1 + (uint64_t)rand() % FRESH_BLOCKS;
                enum extent_kind kind = (enum extent_kind)(rand() % 4);

                if (nr > BLOCKS - first)
                        nr = BLOCKS - first;
                if (rand() % 3 == 0)
                        written(&m, t, first, nr);
                else /* often where it joins its neighbours */
                        set(&m, t, first,
                            (struct map_run){ .kind = kind,
                                              .reserved = kind == EXTENT_FRESH && rand() % 2,
                                              .start = rand() % 2 ? first + 5000 : 1 + n,
                                              .nr = nr });
                if (n % 8 == 0)
                        expect_same(&m, t);
        }
        map_destroy(&m);
        free(t);
}

Test(ext4_map, neighbours_join)
{
        struct map_run run = { .kind = EXTENT_MAPPED, .start = 100, .nr = 10 };
        struct ext4_map m;
        uint64_t end;

        map_init(&m);
        cr_assert_eq(map_set(&m, 0, &run), 0);
        run.start = 120;
        cr_assert_eq(map_set(&m, 20, &run), 0);
        cr_assert_eq(m.nr_extents, 2);
        run.start = 110;
        cr_assert_eq(map_set(&m, 10, &run), 0);
        cr_assert_eq(m.nr_extents, 1);
        cr_assert(map_before(&m, 31, &end, &run));
        cr_assert_eq(end, 30);
        cr_assert_eq(run.nr, 30);
        cr_assert_not(map_before(&m, 0, &end, &run));
        map_destroy(&m);
}

Test(ext4_map, a_hole_ends_where_something_begins)
{
        struct map_run run = { .kind = EXTENT_UNWRITTEN, .start = 100, .nr = 10 };
        struct ext4_map m;

        map_init(&m);
        map_find(&m, 7, &run);
        cr_assert_eq(run.kind, EXTENT_HOLE);
        cr_assert_eq(run.nr, UINT64_MAX - 7);
        run = (struct map_run){ .kind = EXTENT_UNWRITTEN, .start = 100, .nr = 10 };
        cr_assert_eq(map_set(&m, 50, &run), 0);
        map_find(&m, 7, &run);
        cr_assert_eq(run.nr, 43);
        map_find(&m, 51, &run);
        cr_assert_eq(run.start, 101);
        cr_assert_not(run.written);
        map_destroy(&m);
}
