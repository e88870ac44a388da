/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - an inode's extents, or its old block map, into our own look-up.
 *
 * Nothing here is believed: every level of an extent tree lies one above the next, extents come in
 * order and within what the index above says, so that no block of the tree can be met twice; an old
 * block map may name no more blocks than the image has. So the work ends, whatever the image says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/ext4.h"

#include <ext2fs/ext3_extents.h>

#define MAX_DEPTH 5

struct loading {
        struct ext4 *e;
        struct ext4_inode *i;
        uint64_t next;  /* extents: no block before this may follow */
        uint64_t named; /* block maps: blocks met so far */
        /* Neighbours are put into the map as one. */
        uint64_t first;
        struct map_run run;
};

/* They may be a file's. */
static bool on_device(const struct ext4 *e, uint64_t start, uint64_t nr)
{
        return start > e->fs->super->s_first_data_block && start < e->nr_blocks &&
               nr <= e->nr_blocks - start && !ext4_in_zones(e, start, nr);
}

static int put_run(struct loading *l)
{
        int err = l->run.nr ? map_set(&l->i->map, l->first, &l->run) : 0;

        l->run.nr = 0;
        return err;
}

static int add_run(struct loading *l, uint64_t first, uint64_t start, uint64_t nr,
                   enum extent_kind kind)
{
        int err;

        if (l->run.nr && l->run.kind == kind && l->first + l->run.nr == first &&
            l->run.start + l->run.nr == start) {
                l->run.nr += nr;
                return 0;
        }
        err = put_run(l);
        l->first = first;
        l->run = (struct map_run){ .kind = kind, .start = start, .nr = nr };
        return err;
}

/* ---- extents ---- */

static int load_extent(struct loading *l, const struct ext3_extent *x, uint64_t end)
{
        bool unwritten = x->ee_len > EXT_INIT_MAX_LEN;
        uint64_t nr = unwritten ? x->ee_len - EXT_INIT_MAX_LEN : x->ee_len;
        uint64_t start = x->ee_start | (uint64_t)x->ee_start_hi << 32;

        if (nr == 0 || x->ee_block < l->next || x->ee_block + nr > end ||
            !on_device(l->e, start, nr))
                return -EUCLEAN;
        l->next = x->ee_block + nr;
        return add_run(l, x->ee_block, start, nr, unwritten ? EXTENT_UNWRITTEN : EXTENT_MAPPED);
}

/* Entries of a node with room for `room`, of this depth; what it holds lies before block `end`. */
static int load_node(struct loading *l, const struct ext3_extent_header *h, unsigned depth,
                     size_t room, uint64_t end);

static int load_child(struct loading *l, const struct ext3_extent_idx *x, unsigned depth,
                      uint64_t end)
{
        struct ext4 *e = l->e;
        uint64_t block = x->ei_leaf | (uint64_t)x->ei_leaf_hi << 32;
        size_t room = (e->block_size - sizeof(struct ext3_extent_header)) / 12;
        struct ext3_extent_header *h;
        int err;

        if (x->ei_block < l->next || x->ei_block >= end || !on_device(e, block, 1))
                return -EUCLEAN;
        l->next = x->ei_block;
        h = malloc(e->block_size);
        if (!h)
                return -ENOMEM;
        err = ext4_read_block(e, block, h);
        /* The library looks for the checksum where eh_max says, however far that is. */
        if (!err && (h->eh_magic != EXT3_EXT_MAGIC || h->eh_max > room))
                err = -EUCLEAN;
        if (!err && !ext2fs_extent_block_csum_verify(e->fs, l->i->ino, h))
                err = -EUCLEAN;
        if (!err && h->eh_entries == 0)
                err = -EUCLEAN; /* or else the same block might be met again and again */
        if (!err && depth == 0)
                err = ext4_tree_add(&l->i->tree, &(struct leaf){
                                                         .first = EXT_FIRST_EXTENT(h)->ee_block,
                                                         .block = block,
                                                 });
        if (!err && depth)
                err = block_list_add(&l->i->tree.index, block, 1);
        if (!err)
                err = load_node(l, h, depth, room, end);
        free(h);
        return err;
}

static int load_node(struct loading *l, const struct ext3_extent_header *h, unsigned depth,
                     size_t room, uint64_t end)
{
        const struct ext3_extent_idx *x = EXT_FIRST_INDEX(h);
        int err = 0;

        if (h->eh_magic != EXT3_EXT_MAGIC || h->eh_depth != depth || h->eh_entries > room)
                return -EUCLEAN;
        for (unsigned n = 0; n < h->eh_entries && !err; n++) {
                uint64_t until = n + 1u < h->eh_entries ? x[n + 1].ei_block : end;

                if (depth == 0)
                        err = load_extent(l, EXT_FIRST_EXTENT(h) + n, end);
                else
                        err = load_child(l, &x[n], depth - 1, min_u64(until, end));
        }
        return err;
}

static int load_extents(struct loading *l)
{
        const struct ext3_extent_header *h = (const void *)l->i->raw->i_block;

        if (h->eh_depth > MAX_DEPTH)
                return -EUCLEAN;
        return load_node(l, h, h->eh_depth, 4, UINT64_C(1) << 32);
}

/* ---- old block maps ---- */

/* The blocks below a pointer: itself at level 0. *at: the block of the file, moved on. */
static int load_pointer(struct loading *l, uint32_t pointer, unsigned level, uint64_t *at)
{
        struct ext4 *e = l->e;
        uint64_t below = UINT64_C(1) << (level * (e->block_shift - 2));
        uint64_t end = blocks_of(e, EXT2_I_SIZE(raw_inode(l->i)));
        uint32_t *pointers;
        int err;

        if (!pointer || (*at >= end && *e->read_only)) {
                *at += below;
                return 0;
        }
        /* Nothing lies behind the end of such a file: who wrote there would lose it, or give it out
         * twice. e2fsck mends it. */
        if (*at >= end)
                return -EUCLEAN;
        if (!on_device(e, pointer, 1) || ++l->named > e->nr_blocks)
                return -EUCLEAN;
        if (level == 0)
                return add_run(l, (*at)++, pointer, 1, EXTENT_MAPPED);
        pointers = malloc(e->block_size);
        if (!pointers)
                return -ENOMEM;
        err = ext4_read_block(e, pointer, pointers);
        if (!err && level == 1)
                err = ext4_tree_add(&l->i->tree, &(struct leaf){ .first = *at, .block = pointer });
        else if (!err)
                err = block_list_add(&l->i->tree.index, pointer, 1);
        for (unsigned n = 0; n < e->block_size / 4 && !err; n++)
                err = load_pointer(l, pointers[n], level - 1, at);
        free(pointers);
        return err;
}

static int load_block_map(struct loading *l)
{
        const uint32_t *pointers = l->i->raw->i_block;
        uint64_t at = 0;
        int err = 0;

        for (unsigned n = 0; n < EXT2_N_BLOCKS && !err; n++)
                err = load_pointer(l, pointers[n],
                                   n < EXT2_NDIR_BLOCKS ? 0 : n - EXT2_NDIR_BLOCKS + 1, &at);
        return err;
}

int ext4_load_map(struct ext4 *e, struct ext4_inode *i)
{
        struct loading l = { .e = e, .i = i };
        int err = i->extents ? load_extents(&l) : load_block_map(&l);

        return err ? err : put_run(&l);
}
