/* SPDX-License-Identifier: Apache-2.0
 *
 * blockmap.c - an old block map (ext2, ext3), written to new blocks, as tree.c does with extents.
 *
 * Pointers to blocks: twelve in the inode, then one to a block of pointers (here a leaf), one to a
 * block of pointers to leaves, and one to a block of pointers to those. A leaf stands for as many blocks
 * of the file as it has pointers; one in which nothing has changed stays where it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/ext4.h"

struct writing {
        struct ext4 *e;
        struct ext4_inode *i;
        struct ext4_tree *out;
        struct block_list *taken;
        unsigned per; /* pointers of a block */
};

/* A block of pointers goes to the device. 0 is a hole, and so is a block of nothing but holes. */
static int put_pointers(struct writing *w, const uint32_t *pointers, uint64_t *block)
{
        uint64_t goal = w->taken->nr ? w->taken->run[w->taken->nr - 1].start : 0;
        struct block_run got;
        bool any = false;
        int err;

        for (unsigned n = 0; n < w->per; n++)
                any |= pointers[n] != 0;
        *block = 0;
        if (!any)
                return 0;
        err = ext4_alloc(w->e, goal, 1, 0, &got);
        if (err)
                return err;
        err = block_list_add(w->taken, got.start, 1);
        if (err) {
                ext4_free(w->e, got.start, 1);
                return err;
        }
        *block = got.start;
        return got.start > UINT32_MAX ? -EFBIG : ext4_write_block(w->e, got.start, pointers);
}

/* The blocks [first, first+nr) of the file as pointers. */
static int fill(struct writing *w, uint64_t first, unsigned nr, uint32_t *pointers)
{
        struct extent *x;
        uint64_t at = first;

        memset(pointers, 0, nr * sizeof(*pointers));
        while (at < first + nr && (x = map_next(&w->i->map, at)) && x->first < first + nr) {
                uint64_t end = min_u64(x->first + x->nr, first + nr);

                for (at = max_u64(at, x->first); at < end && x->kind == EXTENT_MAPPED; at++) {
                        uint64_t block = x->start + (at - x->first);

                        if (block > UINT32_MAX)
                                return -EFBIG;
                        pointers[at - first] = (uint32_t)block;
                }
                at = end;
        }
        return 0;
}

static const struct leaf *old_leaf(const struct ext4_tree *t, uint64_t first)
{
        size_t low = 0, high = t->nr_leaves;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (t->leaves[middle].first == first)
                        return &t->leaves[middle];
                if (t->leaves[middle].first < first)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

/* What stands for the blocks from `first` on at this level: 1 is a leaf. *block: 0 for holes. */
static int write_level(struct writing *w, uint64_t first, unsigned level, uint64_t *block)
{
        uint64_t below = 1;
        struct extent *x = map_next(&w->i->map, first);
        const struct leaf *old;
        uint32_t *pointers;
        int err = 0;

        for (unsigned n = 1; n < level; n++)
                below *= w->per;
        *block = 0;
        if (!x || x->first >= first + below * w->per)
                return 0;
        old = level == 1 ? old_leaf(&w->i->tree, first) : NULL;
        if (old && !old->dirty) {
                *block = old->block;
                return ext4_tree_add(w->out, old);
        }
        pointers = calloc(w->per, sizeof(*pointers));
        if (!pointers)
                return -ENOMEM;
        if (level == 1)
                err = fill(w, first, w->per, pointers);
        for (unsigned n = 0; level > 1 && n < w->per && !err; n++) {
                uint64_t child;

                err = write_level(w, first + n * below, level - 1, &child);
                pointers[n] = (uint32_t)child;
        }
        if (!err)
                err = put_pointers(w, pointers, block);
        if (!err && *block)
                err = level == 1 ? ext4_tree_add(w->out,
                                                 &(struct leaf){ .first = first, .block = *block })
                                 : block_list_add(&w->out->index, *block, 1);
        free(pointers);
        return err;
}

int ext4_block_map_write(struct ext4 *e, struct ext4_inode *i, struct ext4_tree *out,
                         struct block_list *taken, uint32_t *root)
{
        struct writing w = { .e = e, .i = i, .out = out, .taken = taken, .per = e->block_size / 4 };
        uint64_t first = EXT2_NDIR_BLOCKS, span = w.per, block;
        int err = fill(&w, 0, EXT2_NDIR_BLOCKS, root);

        *out = (struct ext4_tree){ .nr_leaves = 0 };
        for (unsigned level = 1; level <= 3 && !err; level++) {
                err = write_level(&w, first, level, &block);
                root[EXT2_IND_BLOCK + level - 1] = (uint32_t)block;
                first += span;
                span *= w.per;
        }
        if (err)
                ext4_tree_free(out);
        return err;
}
