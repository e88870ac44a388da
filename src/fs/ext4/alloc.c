/* SPDX-License-Identifier: Apache-2.0
 *
 * alloc.c - which blocks are free: the bitmaps of the groups, read when first needed.
 *
 * A bitmap and its group's descriptor change here in memory, and go to the disk with
 * ext4_write_groups(). The order in which that may happen is commit.c's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/ext4.h"

int block_list_add(struct block_list *l, uint64_t start, uint64_t nr)
{
        struct block_run *last = l->nr ? &l->run[l->nr - 1] : NULL;

        if (last && last->start + last->nr == start) {
                last->nr += nr;
                return 0;
        }
        if (!l->run || l->nr == l->room) {
                size_t room = l->room ? 2 * l->room : 16;
                struct block_run *more = realloc(l->run, room * sizeof(*more));

                if (!more)
                        return -ENOMEM;
                l->run = more;
                l->room = room;
        }
        l->run[l->nr++] = (struct block_run){ start, nr };
        return 0;
}

void block_list_free(struct block_list *l)
{
        free(l->run);
        *l = (struct block_list){ .nr = 0 };
}

int ext4_groups_init(struct ext4 *e)
{
        e->bitmaps = calloc(e->fs->group_desc_count, sizeof(*e->bitmaps));
        e->dirty_groups = calloc(e->fs->group_desc_count, sizeof(*e->dirty_groups));
        return e->bitmaps && e->dirty_groups ? 0 : -ENOMEM;
}

void ext4_groups_free(struct ext4 *e)
{
        for (dgrp_t g = 0; e->bitmaps && g < e->fs->group_desc_count; g++)
                free(e->bitmaps[g]);
        free(e->bitmaps);
        free(e->dirty_groups);
        e->bitmaps = NULL;
        e->dirty_groups = NULL;
}

static uint64_t group_start(struct ext4 *e, dgrp_t g)
{
        return e->fs->super->s_first_data_block + (uint64_t)g * e->fs->super->s_blocks_per_group;
}

static uint32_t group_blocks(struct ext4 *e, dgrp_t g)
{
        return (uint32_t)min_u64(e->fs->super->s_blocks_per_group,
                                 e->nr_blocks - group_start(e, g));
}

static dgrp_t group_of(struct ext4 *e, uint64_t block)
{
        return (dgrp_t)((block - e->fs->super->s_first_data_block) /
                        e->fs->super->s_blocks_per_group);
}

static bool taken(const uint8_t *bitmap, uint32_t bit)
{
        return bitmap[bit / 8] >> (bit % 8) & 1;
}

struct group_bitmap {
        struct ext4 *e;
        dgrp_t g;
        uint8_t *bitmap;
        bool taken; /* all that was looked at */
};

/* [start, start+nr), in the group, is taken. */
static void take(void *arg, uint64_t start, uint64_t nr)
{
        struct group_bitmap *b = arg;
        uint64_t bit = start - group_start(b->e, b->g), end = bit + nr;

        for (; bit < end; bit++)
                b->bitmap[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

static void look(void *arg, uint64_t start, uint64_t nr)
{
        struct group_bitmap *b = arg;
        uint64_t bit = start - group_start(b->e, b->g), end = bit + nr;

        for (; bit < end; bit++)
                b->taken &= taken(b->bitmap, (uint32_t)bit);
}

/* Does the bitmap know of what no file can have? */
static bool is_sane(struct ext4 *e, dgrp_t g, uint8_t *bitmap)
{
        struct group_bitmap b = { e, g, bitmap, true };

        ext4_each_zone(e, group_start(e, g), group_start(e, g) + group_blocks(e, g), look, &b);
        return b.taken;
}

/* The bitmap of a group that nobody has used yet is not on the disk: what it has to be. */
static void make_bitmap(struct ext4 *e, dgrp_t g, uint8_t *bitmap)
{
        struct group_bitmap b = { e, g, bitmap, true };

        ext4_each_zone(e, group_start(e, g), group_start(e, g) + group_blocks(e, g), take, &b);
        for (uint32_t bit = group_blocks(e, g); bit < e->block_size * 8; bit++)
                bitmap[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

static int load_bitmap(struct ext4 *e, dgrp_t g, uint8_t **out)
{
        ext2_filsys fs = e->fs;
        uint64_t at = ext2fs_block_bitmap_loc(fs, g);
        uint8_t *bitmap = e->bitmaps[g];
        int err = 0;

        *out = bitmap;
        if (bitmap)
                return 0;
        if (at <= fs->super->s_first_data_block || at >= e->nr_blocks)
                return -EUCLEAN;
        bitmap = calloc(1, e->block_size);
        if (!bitmap)
                return -ENOMEM;
        if (ext2fs_has_group_desc_csum(fs) && !ext2fs_group_desc_csum_verify(fs, g))
                err = -EUCLEAN;
        else if (ext2fs_has_group_desc_csum(fs) &&
                 ext2fs_bg_flags_test(fs, g, EXT2_BG_BLOCK_UNINIT))
                make_bitmap(e, g, bitmap);
        else
                err = ext4_read_block(e, at, bitmap);
        if (!err && !ext2fs_bg_flags_test(fs, g, EXT2_BG_BLOCK_UNINIT) &&
            !ext2fs_block_bitmap_csum_verify(fs, g, (char *)bitmap,
                                             (int)fs->super->s_clusters_per_group / 8))
                err = -EUCLEAN;
        if (!err && !is_sane(e, g, bitmap))
                err = -EUCLEAN;
        if (err) {
                free(bitmap);
                return err;
        }
        e->bitmaps[g] = *out = bitmap;
        return 0;
}

/* The first row of `want` free blocks from bit `from` on, or the longest that is shorter. */
static uint32_t find_row(struct ext4 *e, dgrp_t g, const uint8_t *bitmap, uint32_t from,
                         uint64_t want, uint64_t *nr)
{
        uint32_t end = group_blocks(e, g), best = 0, row = 0;

        *nr = 0;
        for (uint32_t bit = from; bit < end && *nr < want; bit++) {
                if (bit % 8 == 0 && bitmap[bit / 8] == 0xff) {
                        bit += 7;
                        row = 0;
                } else if (taken(bitmap, bit)) {
                        row = 0;
                } else if (++row > *nr) {
                        *nr = row;
                        best = bit + 1 - row;
                }
        }
        return best;
}

/* [start, start+nr), in one group, is taken or free from now on. */
static void change(struct ext4 *e, dgrp_t g, uint64_t start, uint64_t nr, bool take_them)
{
        ext2_filsys fs = e->fs;
        uint8_t *bitmap = e->bitmaps[g];
        uint32_t bit = (uint32_t)(start - group_start(e, g)), end = bit + (uint32_t)nr;
        uint32_t free_blocks = ext2fs_bg_free_blocks_count(fs, g);

        for (; bit < end; bit++) {
                if (taken(bitmap, bit) == take_them) {
                        e->failed = true; /* a file had it, and the bitmap said that nobody has */
                        nr--;
                }
                if (take_them)
                        bitmap[bit / 8] |= (uint8_t)(1u << (bit % 8));
                else
                        bitmap[bit / 8] &= (uint8_t) ~(1u << (bit % 8));
        }
        free_blocks = take_them ? free_blocks - (uint32_t)min_u64(nr, free_blocks)
                                : free_blocks + (uint32_t)nr;
        ext2fs_bg_free_blocks_count_set(fs, g, free_blocks);
        ext2fs_free_blocks_count_add(fs->super, take_them ? -(blk64_t)nr : nr);
        ext2fs_bg_flags_clear(fs, g, EXT2_BG_BLOCK_UNINIT);
        e->dirty_groups[g] = true;
}

int ext4_alloc(struct ext4 *e, uint64_t goal, uint64_t want, uint64_t keep, struct block_run *out)
{
        dgrp_t groups = e->fs->group_desc_count, first;
        int err;

        if (ext2fs_free_blocks_count(e->fs->super) <= keep)
                return -ENOSPC;
        want = min_u64(want, ext2fs_free_blocks_count(e->fs->super) - keep);
        if (goal <= e->fs->super->s_first_data_block || goal >= e->nr_blocks)
                goal = e->fs->super->s_first_data_block;
        first = group_of(e, goal);
        /* The first group twice: from the goal on, and last from its start. */
        for (dgrp_t n = 0; n <= groups; n++) {
                dgrp_t g = (first + n) % groups;
                uint32_t from = n ? 0 : (uint32_t)(goal - group_start(e, g)), bit;
                uint8_t *bitmap;
                uint64_t nr;

                if (ext2fs_bg_free_blocks_count(e->fs, g) == 0)
                        continue;
                err = load_bitmap(e, g, &bitmap);
                if (err)
                        return err;
                bit = find_row(e, g, bitmap, from, want, &nr);
                if (!nr)
                        continue;
                *out = (struct block_run){ group_start(e, g) + bit, nr };
                change(e, g, out->start, nr, true);
                return 0;
        }
        return -ENOSPC;
}

int ext4_free(struct ext4 *e, uint64_t start, uint64_t nr)
{
        int err = 0;

        while (nr && !err) {
                dgrp_t g = group_of(e, start);
                uint64_t n = min_u64(nr, group_start(e, g) + group_blocks(e, g) - start);
                uint8_t *bitmap;

                err = load_bitmap(e, g, &bitmap);
                if (!err)
                        change(e, g, start, n, false);
                start += n;
                nr -= n;
        }
        return err;
}

int ext4_free_list(struct ext4 *e, struct block_list *l)
{
        int err = 0, r;

        for (size_t n = 0; n < l->nr; n++) {
                r = ext4_free(e, l->run[n].start, l->run[n].nr);
                err = err ? err : r;
        }
        block_list_free(l);
        return err;
}

/* The block of the table of descriptors in which the group's lies. */
static int write_descriptors(struct ext4 *e, dgrp_t g)
{
        ext2_filsys fs = e->fs;
        dgrp_t n = g / EXT2_DESC_PER_BLOCK(fs->super);
        uint64_t at = ext2fs_descriptor_block_loc2(fs, fs->super->s_first_data_block, n);

        return ext4_write_block(e, at, (char *)fs->group_desc + (size_t)n * fs->blocksize);
}

int ext4_write_groups(struct ext4 *e)
{
        ext2_filsys fs = e->fs;
        dgrp_t per_block = EXT2_DESC_PER_BLOCK(fs->super);

        for (dgrp_t first = 0; first < fs->group_desc_count; first += per_block) {
                dgrp_t end = (dgrp_t)min_u64((uint64_t)first + per_block, fs->group_desc_count);
                bool any = false;
                int err = 0;

                for (dgrp_t g = first; g < end && !err; g++) {
                        if (!e->dirty_groups[g])
                                continue;
                        any = true;
                        ext2fs_block_bitmap_csum_set(fs, g, (char *)e->bitmaps[g],
                                                     (int)fs->super->s_clusters_per_group / 8);
                        ext2fs_group_desc_csum_set(fs, g);
                        err = ext4_write_block(e, ext2fs_block_bitmap_loc(fs, g), e->bitmaps[g]);
                }
                if (any && !err)
                        err = write_descriptors(e, first);
                if (err)
                        return err;
                memset(e->dirty_groups + first, 0, (end - first) * sizeof(*e->dirty_groups));
        }
        return 0;
}
