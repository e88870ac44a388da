/* SPDX-License-Identifier: Apache-2.0
 *
 * zones.c - where the file system's own blocks lie: super blocks, descriptors, bitmaps, tables of
 * inodes, the journal. No file has them, whatever its extents say, and none of them is free, whatever
 * a bitmap says: or else a store would end up in them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/ext4.h"

static int compare(const void *a, const void *b)
{
        const struct block_run *x = a, *y = b;

        return x->start < y->start ? -1 : x->start > y->start;
}

int block_list_sort(struct block_list *l)
{
        bool alone = true;

        if (l->nr)
                qsort(l->run, l->nr, sizeof(*l->run), compare);
        for (size_t n = 0; n + 1 < l->nr; n++)
                alone &= l->run[n].nr <= l->run[n + 1].start - l->run[n].start;
        return alone ? 0 : -EUCLEAN;
}

/* The first that ends behind the block, or where there is none the number of them. */
static size_t first_behind(const struct block_list *l, uint64_t block)
{
        size_t low = 0, high = l->nr;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (l->run[middle].start + l->run[middle].nr > block)
                        high = middle;
                else
                        low = middle + 1;
        }
        return low;
}

bool ext4_in_zones(const struct ext4 *e, uint64_t start, uint64_t nr)
{
        size_t n = first_behind(&e->zones, start);

        return n < e->zones.nr && e->zones.run[n].start < start + nr;
}

void ext4_each_zone(const struct ext4 *e, uint64_t start, uint64_t end,
                    void (*each)(void *arg, uint64_t start, uint64_t nr), void *arg)
{
        for (size_t n = first_behind(&e->zones, start);
             n < e->zones.nr && e->zones.run[n].start < end; n++) {
                uint64_t from = max_u64(e->zones.run[n].start, start);
                uint64_t to = min_u64(e->zones.run[n].start + e->zones.run[n].nr, end);

                each(arg, from, to - from);
        }
}

static int add(struct ext4 *e, uint64_t start, uint64_t nr)
{
        if (start < e->fs->super->s_first_data_block || start >= e->nr_blocks ||
            nr > e->nr_blocks - start)
                return -EUCLEAN;
        return block_list_add(&e->zones, start, nr);
}

static int add_group(struct ext4 *e, dgrp_t g)
{
        ext2_filsys fs = e->fs;
        blk64_t super, old_desc, new_desc;
        blk64_t old_blocks = ext2fs_has_feature_meta_bg(fs->super)
                                     ? fs->super->s_first_meta_bg
                                     : fs->desc_blocks + fs->super->s_reserved_gdt_blocks;
        int err = 0;

        ext2fs_super_and_bgd_loc2(fs, g, &super, &old_desc, &new_desc, NULL);
        if (super || g == 0)
                err = add(e, super, 1);
        if (!err && old_desc && old_blocks)
                err = add(e, old_desc, old_blocks);
        if (!err && new_desc)
                err = add(e, new_desc, 1);
        if (!err)
                err = add(e, ext2fs_block_bitmap_loc(fs, g), 1);
        if (!err)
                err = add(e, ext2fs_inode_bitmap_loc(fs, g), 1);
        if (!err)
                err = add(e, ext2fs_inode_table_loc(fs, g), fs->inode_blocks_per_group);
        return err;
}

/* The blocks of an inode, those of its map too. */
static int list_blocks(const struct ext4_inode *i, struct block_list *out)
{
        const struct ext4_tree *t = &i->tree;
        const struct extent *x;
        int err = 0;

        for (uint64_t at = 0; !err && (x = map_next((struct ext4_map *)&i->map, at));
             at = x->first + x->nr)
                err = block_list_add(out, x->start, x->nr);
        for (size_t n = 0; n < t->nr_leaves && !err; n++)
                err = block_list_add(out, t->leaves[n].block, 1);
        for (size_t n = 0; n < t->index.nr && !err; n++)
                err = block_list_add(out, t->index.run[n].start, t->index.run[n].nr);
        return err;
}

int ext4_check_blocks(const struct ext4_inode *i)
{
        struct block_list all = { .nr = 0 };
        int err = list_blocks(i, &all);

        if (!err)
                err = block_list_sort(&all);
        block_list_free(&all);
        return err;
}

/* An inode that is nobody's to open. */
static int add_journal(struct ext4 *e)
{
        struct ext4_inode *i = calloc(1, sizeof(*i));
        int err = i ? 0 : -ENOMEM;

        if (!err) {
                map_init(&i->map);
                i->ino = e->fs->super->s_journal_inum;
                err = ext4_read_inode(e, i->ino, &i->raw);
        }
        if (!err) {
                i->extents = raw_inode(i)->i_flags & EXT4_EXTENTS_FL;
                err = ext4_load_map(e, i);
        }
        if (!err)
                err = list_blocks(i, &e->zones);
        if (i)
                ext4_inode_free(i);
        return err;
}

int ext4_zones_init(struct ext4 *e)
{
        int err = 0;

        for (dgrp_t g = 0; g < e->fs->group_desc_count && !err; g++)
                err = add_group(e, g);
        if (!err)
                err = block_list_sort(&e->zones);
        if (!err && ext2fs_has_feature_journal(e->fs->super) && e->fs->super->s_journal_inum)
                err = add_journal(e);
        return err ? err : block_list_sort(&e->zones);
}
