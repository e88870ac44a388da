/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c - see map.h: a red-black tree of extents by their first block.
 */
#include "fs/ext4/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const struct extent *a, const struct extent *b)
{
        return a->first < b->first ? -1 : a->first > b->first;
}

RB_GENERATE_INTERNAL(extent_tree, extent, link, compare, __attribute__((unused)) static)

void map_init(struct ext4_map *m)
{
        memset(m, 0, sizeof(*m));
        mutex_init(&m->lock, LOCK_EXT4_MAP);
        RB_INIT(&m->tree);
}

void map_destroy(struct ext4_map *m)
{
        struct extent *e;

        while ((e = RB_ROOT(&m->tree))) {
                RB_REMOVE(extent_tree, &m->tree, e);
                free(e);
        }
}

static uint64_t end_of(const struct extent *e)
{
        return e->first + e->nr;
}

/* The last extent that begins at or before the block. */
static struct extent *at_or_before(struct ext4_map *m, uint64_t block)
{
        struct extent *e = RB_ROOT(&m->tree), *best = NULL;

        while (e) {
                if (e->first <= block) {
                        best = e;
                        e = RB_RIGHT(e, link);
                } else {
                        e = RB_LEFT(e, link);
                }
        }
        return best;
}

struct extent *map_next(struct ext4_map *m, uint64_t block)
{
        struct extent *e = at_or_before(m, block);

        if (e && end_of(e) > block)
                return e;
        return e ? RB_NEXT(extent_tree, &m->tree, e) : RB_MIN(extent_tree, &m->tree);
}

/* The run from `block` on, which is in the extent. */
static void run_of(const struct extent *e, uint64_t block, struct map_run *out)
{
        uint64_t end = end_of(e);

        *out = (struct map_run){
                .kind = e->kind,
                .written = extent_written(e, block),
                .reserved = e->reserved,
                .start = e->start + (block - e->first),
                .nr = end - block,
        };
        if (e->kind != EXTENT_FRESH)
                return;
        out->nr = 1;
        while (block + out->nr < end && extent_written(e, block + out->nr) == out->written)
                out->nr++;
}

void map_find(struct ext4_map *m, uint64_t block, struct map_run *out)
{
        struct extent *e;

        mutex_lock(&m->lock);
        e = map_next(m, block);
        if (e && e->first <= block)
                run_of(e, block, out);
        else
                *out = (struct map_run){ .nr = e ? e->first - block : UINT64_MAX - block };
        mutex_unlock(&m->lock);
}

bool map_before(struct ext4_map *m, uint64_t block, uint64_t *end, struct map_run *out)
{
        struct extent *e = block ? at_or_before(m, block - 1) : NULL;

        if (!e)
                return false;
        *end = end_of(e);
        *out = (struct map_run){ .kind = e->kind, .start = e->start, .nr = e->nr };
        return true;
}

void map_written(struct ext4_map *m, uint64_t first, uint64_t nr)
{
        mutex_lock(&m->lock);
        for (struct extent *e = map_next(m, first); e && e->first < first + nr;
             e = RB_NEXT(extent_tree, &m->tree, e)) {
                uint64_t end = min_u64(end_of(e), first + nr);

                if (e->kind != EXTENT_FRESH)
                        continue;
                for (uint64_t b = max_u64(e->first, first); b < end; b++) {
                        uint64_t bit = e->bit + (b - e->first);

                        e->written[bit / 64] |= UINT64_C(1) << (bit % 64);
                }
        }
        mutex_unlock(&m->lock);
}

/* ---- changing it; memory is fetched before the lock is taken and given back after ---- */

/* Extents on their way into the tree and out of it. */
struct change {
        struct extent *spare[2];
        struct extent *gone;
};

/* So many blocks more of it, or fewer. */
static void count_fresh(struct ext4_map *m, const struct extent *e, uint64_t blocks)
{
        if (e->kind == EXTENT_FRESH)
                m->fresh_blocks += blocks;
}

static void remove_locked(struct ext4_map *m, struct extent *e, struct change *c)
{
        mutex_assert_held(&m->lock);
        RB_REMOVE(extent_tree, &m->tree, e);
        m->nr_extents--;
        m->nr_fresh -= e->kind == EXTENT_FRESH;
        count_fresh(m, e, -e->nr);
        e->next = c->gone;
        c->gone = e;
}

static void insert_locked(struct ext4_map *m, struct extent *e)
{
        mutex_assert_held(&m->lock);
        RB_INSERT(extent_tree, &m->tree, e);
        m->nr_extents++;
        m->nr_fresh += e->kind == EXTENT_FRESH;
        count_fresh(m, e, e->nr);
}

static void cut_front(struct extent *e, uint64_t nr)
{
        e->first += nr;
        e->start += nr;
        e->bit += (unsigned)nr;
        e->nr -= nr;
}

static void cut_back(struct ext4_map *m, struct extent *e, uint64_t end)
{
        count_fresh(m, e, end - end_of(e));
        e->nr = end - e->first;
}

/* Of one that is in the tree: its place among the others stays. */
static void cut_front_of(struct ext4_map *m, struct extent *e, uint64_t nr)
{
        count_fresh(m, e, -nr);
        cut_front(e, nr);
}

/* Nothing is left in [first, end). At most one extent is split, which takes spare[1]. */
static void clear_locked(struct ext4_map *m, uint64_t first, uint64_t end, struct change *c)
{
        struct extent *e = map_next(m, first), *next;

        for (; e && e->first < end; e = next) {
                next = RB_NEXT(extent_tree, &m->tree, e);
                if (e->first >= first && end_of(e) <= end) {
                        remove_locked(m, e, c);
                } else if (e->first < first && end_of(e) > end) {
                        struct extent *tail = c->spare[1];

                        assert(tail); /* there is one such extent at most */
                        c->spare[1] = NULL;
                        *tail = *e;
                        cut_front(tail, end - e->first);
                        cut_back(m, e, first);
                        insert_locked(m, tail);
                } else if (e->first < first) {
                        cut_back(m, e, first);
                } else {
                        cut_front_of(m, e, end - e->first);
                }
        }
}

/* `b` follows `a`, in the file and on the device, and is of the same kind. */
static bool joins(const struct extent *a, const struct extent *b)
{
        return a && b && a->kind == b->kind && a->kind != EXTENT_FRESH && end_of(a) == b->first &&
               a->start + a->nr == b->start;
}

static void join_locked(struct ext4_map *m, struct extent *e, struct change *c)
{
        struct extent *prev = RB_PREV(extent_tree, &m->tree, e);
        struct extent *next = RB_NEXT(extent_tree, &m->tree, e);

        if (joins(e, next)) {
                e->nr += next->nr;
                remove_locked(m, next, c);
        }
        if (joins(prev, e)) {
                prev->nr += e->nr;
                remove_locked(m, e, c);
        }
}

int map_set(struct ext4_map *m, uint64_t first, const struct map_run *what)
{
        struct change c = { .spare = { malloc(sizeof(struct extent)),
                                       malloc(sizeof(struct extent)) } };
        struct extent *e = c.spare[0];
        int err = c.spare[0] && c.spare[1] ? 0 : -ENOMEM;

        if (!err) {
                mutex_lock(&m->lock);
                clear_locked(m, first, first + what->nr, &c);
                if (what->kind != EXTENT_HOLE) {
                        c.spare[0] = NULL;
                        *e = (struct extent){
                                .first = first,
                                .nr = what->nr,
                                .start = what->start,
                                .kind = what->kind,
                                .reserved = what->reserved,
                        };
                        insert_locked(m, e);
                        join_locked(m, e, &c);
                }
                mutex_unlock(&m->lock);
        }
        free(c.spare[0]);
        free(c.spare[1]);
        while ((e = c.gone)) {
                c.gone = e->next;
                free(e);
        }
        return err;
}
