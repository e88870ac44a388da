/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.c - an inode's extent tree, written to new blocks.
 *
 * A tree is never changed where it lies: leaves in which something has changed are written anew, and
 * so is all above them up to the root, which is in the inode. The write of the inode is then the one
 * moment at which the old tree becomes the new one, and the old blocks are free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/ext4.h"

#include <ext2fs/ext3_extents.h>

#define ROOT_ENTRIES 4

/* Entries of a node and of extents are of one size and written alike. */
union entry {
        struct ext3_extent extent;
        struct ext3_extent_idx index;
};

_Static_assert(sizeof(union entry) == 12, "as on the disk");

struct node {
        struct ext3_extent_header header;
        union entry entry[];
};

struct writing {
        struct ext4 *e;
        struct ext4_inode *i;
        struct ext4_tree *out;
        struct block_list *taken;
        struct node *node; /* a block; what is being put together */
        unsigned max;      /* entries of a block */
};

static size_t leaf_of(const struct ext4_tree *t, uint64_t block)
{
        size_t low = 0, high = t->nr_leaves;

        while (low + 1 < high) {
                size_t middle = (low + high) / 2;

                if (t->leaves[middle].first <= block)
                        low = middle;
                else
                        high = middle;
        }
        return low;
}

void ext4_tree_touch(struct ext4_inode *i, uint64_t first, uint64_t nr)
{
        struct ext4_tree *t = &i->tree;

        i->map_dirty = true;
        for (size_t n = leaf_of(t, first);
             n < t->nr_leaves && (n == 0 || t->leaves[n].first < first + nr); n++)
                t->leaves[n].dirty = true;
}

void ext4_tree_free(struct ext4_tree *t)
{
        free(t->leaves);
        block_list_free(&t->index);
        *t = (struct ext4_tree){ .nr_leaves = 0 };
}

/* A block of a FRESH extent may become an extent of its own, since its neighbours need not have been
 * written; a leaf that is written anew may need another beside it. */
uint64_t ext4_tree_room(struct ext4 *e, const struct ext4_inode *i, uint64_t more)
{
        uint64_t max = (e->block_size - sizeof(struct ext3_extent_header)) / sizeof(union entry);
        uint64_t extents = i->map.nr_extents - i->map.nr_fresh + i->map.fresh_blocks + more;
        uint64_t leaves = 2 * i->tree.nr_leaves + extents / max + 1;

        if (i->extents && !i->tree.nr_leaves && extents <= ROOT_ENTRIES)
                return 0;
        if (!i->extents) /* each may lie in a leaf of its own */
                leaves = i->tree.nr_leaves + (i->map.nr_fresh + (more != 0)) * 2;
        return leaves + leaves / (max - 1) + 5;
}

int ext4_tree_add(struct ext4_tree *t, const struct leaf *leaf)
{
        if (t->nr_leaves == t->room) {
                size_t room = t->room ? 2 * t->room : 16;
                struct leaf *more = realloc(t->leaves, room * sizeof(*more));

                if (!more)
                        return -ENOMEM;
                t->leaves = more;
                t->room = room;
        }
        t->leaves[t->nr_leaves++] = *leaf;
        return 0;
}

static void start_node(struct writing *w)
{
        memset(w->node, 0, w->e->block_size);
        w->node->header.eh_magic = EXT3_EXT_MAGIC;
        w->node->header.eh_max = (uint16_t)w->max;
}

/* The node goes to a block of its own. */
static int put_node(struct writing *w, unsigned depth, uint64_t *block)
{
        uint64_t goal = w->taken->nr ? w->taken->run[w->taken->nr - 1].start : 0;
        struct block_run got;
        int err = ext4_alloc(w->e, goal, 1, 0, &got);

        if (err)
                return err;
        err = block_list_add(w->taken, got.start, 1);
        if (err) {
                ext4_free(w->e, got.start, 1);
                return err;
        }
        w->node->header.eh_depth = (uint16_t)depth;
        ext2fs_extent_block_csum_set(w->e->fs, w->i->ino, &w->node->header);
        *block = got.start;
        return ext4_write_block(w->e, got.start, w->node);
}

/* ---- leaves ---- */

static uint64_t length_of(const struct ext3_extent *x)
{
        return x->ee_len > EXT_INIT_MAX_LEN ? x->ee_len - EXT_INIT_MAX_LEN : x->ee_len;
}

/* `next` continues `x`, and the two are one extent, if that is not too long. */
static bool extend(struct ext3_extent *x, const struct ext3_extent *next)
{
        uint64_t len = length_of(x), more = length_of(next);
        uint64_t start = x->ee_start | (uint64_t)x->ee_start_hi << 32;
        uint64_t behind = next->ee_start | (uint64_t)next->ee_start_hi << 32;
        bool unwritten = x->ee_len > EXT_INIT_MAX_LEN;

        if (unwritten != (next->ee_len > EXT_INIT_MAX_LEN) || x->ee_block + len != next->ee_block ||
            start + len != behind || len + more > EXT_UNINIT_MAX_LEN)
                return false;
        x->ee_len = (uint16_t)(x->ee_len + more);
        return true;
}

/* Where the extents of a range come out, one after the other. */
struct extents {
        struct ext4_map *map;
        uint64_t at, end;
};

/* The next as it is on the disk; false: no more. A hole there is nothing. */
static bool next_extent(struct extents *x, struct ext3_extent *out)
{
        struct extent *e;

        while ((e = map_next(x->map, x->at)) && e->first < x->end) {
                uint64_t first = max_u64(e->first, x->at), start = e->start + (first - e->first);
                uint64_t nr = min_u64(e->first + e->nr, x->end) - first;

                if (e->kind == EXTENT_FRESH && !e->reserved) {
                        x->at = first + nr;
                        continue;
                }
                nr = min_u64(nr, EXT_UNINIT_MAX_LEN);
                x->at = first + nr;
                *out = (struct ext3_extent){
                        .ee_block = (uint32_t)first,
                        .ee_len = (uint16_t)(e->kind == EXTENT_MAPPED ? nr : nr + EXT_INIT_MAX_LEN),
                        .ee_start = (uint32_t)start,
                        .ee_start_hi = (uint16_t)(start >> 32),
                };
                return true;
        }
        return false;
}

static int end_leaf(struct writing *w)
{
        struct leaf leaf = { .first = w->node->entry[0].extent.ee_block };
        int err;

        if (!w->node->header.eh_entries)
                return 0;
        err = put_node(w, 0, &leaf.block);
        if (!err)
                err = ext4_tree_add(w->out, &leaf);
        start_node(w);
        return err;
}

/* The extents of [first, end) into as many leaves as it takes. */
static int write_leaves(struct writing *w, uint64_t first, uint64_t end)
{
        struct extents x = { .map = &w->i->map, .at = first, .end = end };
        struct ext3_extent next;
        int err = 0;

        start_node(w);
        while (!err && next_extent(&x, &next)) {
                unsigned n = w->node->header.eh_entries;

                if (n && extend(&w->node->entry[n - 1].extent, &next))
                        continue;
                if (n == w->max) {
                        err = end_leaf(w);
                        n = 0;
                }
                w->node->entry[n].extent = next;
                w->node->header.eh_entries = (uint16_t)(n + 1);
        }
        return err ? err : end_leaf(w);
}

static int write_dirty_leaves(struct writing *w)
{
        const struct ext4_tree *t = &w->i->tree;
        int err = 0;

        if (!t->nr_leaves)
                return write_leaves(w, 0, UINT64_MAX);
        for (size_t n = 0; n < t->nr_leaves && !err; n++) {
                uint64_t first = n ? t->leaves[n].first : 0;
                uint64_t end = n + 1 < t->nr_leaves ? t->leaves[n + 1].first : UINT64_MAX;

                if (t->leaves[n].dirty)
                        err = write_leaves(w, first, end);
                else
                        err = ext4_tree_add(w->out, &t->leaves[n]);
        }
        return err;
}

/* ---- above ---- */

static union entry index_entry(uint64_t first, uint64_t block)
{
        return (union entry){ .index = { .ei_block = (uint32_t)first,
                                         .ei_leaf = (uint32_t)block,
                                         .ei_leaf_hi = (uint16_t)(block >> 32) } };
}

/* `nr` entries of one level into blocks; *nr becomes how many, and those their entries. */
static int write_level(struct writing *w, union entry *entries, size_t *nr, unsigned depth)
{
        size_t nodes = 0;

        for (size_t at = 0; at < *nr; at += w->max) {
                unsigned n = (unsigned)min_u64(*nr - at, w->max);
                uint32_t first = entries[at].index.ei_block;
                uint64_t block;
                int err;

                start_node(w);
                memcpy(w->node->entry, entries + at, n * sizeof(*entries));
                w->node->header.eh_entries = (uint16_t)n;
                err = put_node(w, depth, &block);
                if (!err)
                        err = block_list_add(&w->out->index, block, 1);
                if (err)
                        return err;
                entries[nodes++] = index_entry(first, block);
        }
        *nr = nodes;
        return 0;
}

static void fill_root(void *root, const union entry *entries, size_t nr, unsigned depth)
{
        struct ext3_extent_header *h = root;

        memset(root, 0, sizeof(*h) + ROOT_ENTRIES * sizeof(union entry));
        h->eh_magic = EXT3_EXT_MAGIC;
        h->eh_entries = (uint16_t)nr;
        h->eh_max = ROOT_ENTRIES;
        h->eh_depth = (uint16_t)depth;
        memcpy(h + 1, entries, nr * sizeof(*entries));
}

static int write_index(struct writing *w, void *root)
{
        size_t nr = w->out->nr_leaves;
        union entry *entries = calloc(nr ? nr : 1, sizeof(*entries));
        unsigned depth = 1;
        int err = entries ? 0 : -ENOMEM;

        for (size_t n = 0; n < nr && !err; n++)
                entries[n] = index_entry(w->out->leaves[n].first, w->out->leaves[n].block);
        for (; nr > ROOT_ENTRIES && !err; depth++)
                err = write_level(w, entries, &nr, depth);
        if (!err)
                fill_root(root, entries, nr, nr ? depth : 0);
        free(entries);
        return err;
}

/* All of it in the inode, if it is little. */
static bool fits_root(struct ext4_inode *i, void *root)
{
        struct extents x = { .map = &i->map, .end = UINT64_MAX };
        union entry entries[ROOT_ENTRIES];
        struct ext3_extent next;
        size_t nr = 0;

        while (next_extent(&x, &next)) {
                if (nr && extend(&entries[nr - 1].extent, &next))
                        continue;
                if (nr == ROOT_ENTRIES)
                        return false;
                entries[nr++].extent = next;
        }
        fill_root(root, entries, nr, 0);
        return true;
}

int ext4_tree_write(struct ext4 *e, struct ext4_inode *i, struct ext4_tree *out,
                    struct block_list *taken, void *root)
{
        struct writing w = { .e = e, .i = i, .out = out, .taken = taken };
        int err;

        *out = (struct ext4_tree){ .nr_leaves = 0 };
        if (!i->extents)
                return ext4_block_map_write(e, i, out, taken, root);
        if (fits_root(i, root))
                return 0;
        w.max = (unsigned)((e->block_size - sizeof(struct ext3_extent_header)) /
                           sizeof(union entry));
        w.node = malloc(e->block_size);
        if (!w.node)
                return -ENOMEM;
        err = write_dirty_leaves(&w);
        if (!err)
                err = write_index(&w, root);
        free(w.node);
        if (err)
                ext4_tree_free(out);
        return err;
}
