/* SPDX-License-Identifier: Apache-2.0
 *
 * commit.c - the order in which a file's changes reach the disk.
 *
 *   1. what FRESH blocks have got their bytes becomes part of the map
 *   2. new tree blocks, bitmaps: nothing refers to them yet
 *   3. flush: they are on the disk, and so are the bytes of 1.
 *   4. the inode, one block: size, times, and the root of the new tree, all at once
 *   5. flush
 *   6. what the old inode referred to is free, in memory; the bitmaps go with the next 2. Unless it is
 *      being read: a page that is on its way must not get what another file puts there. Then it waits
 *      for a later commit.
 *
 * What fails before 4. leaves the old file. Should 4. or 5. fail, either inode may be on the disk:
 * what only one of them refers to stays taken, and the image is not called clean.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/ext4/ext4.h"

static int publish(struct ext4 *e, struct ext4_inode *i)
{
        uint64_t at = 0;
        struct extent *x;
        int err = 0;

        while (i->map.nr_fresh && !err && (x = map_next(&i->map, at))) {
                struct map_run run;

                at = max_u64(at, x->first);
                if (x->kind != EXTENT_FRESH) {
                        at = x->first + x->nr;
                        continue;
                }
                map_find(&i->map, at, &run);
                if (run.written) {
                        bool reserved = run.reserved;

                        run.kind = EXTENT_MAPPED;
                        run.reserved = false;
                        err = map_set(&i->map, at, &run);
                        if (!err) {
                                ext4_tree_touch(i, at, run.nr);
                                if (!reserved)
                                        ext2fs_iblk_add_blocks(e->fs, raw_inode(i), run.nr);
                        }
                }
                at += run.nr;
        }
        return err;
}

/* The blocks of the old tree that the new one does not have. */
static int list_old_nodes(const struct ext4_inode *i, const struct ext4_tree *new,
                          struct block_list *out)
{
        const struct ext4_tree *old = &i->tree;
        int err = 0;

        for (size_t n = 0; n < old->nr_leaves && !err; n++)
                if (!new->nr_leaves || old->leaves[n].dirty)
                        err = block_list_add(out, old->leaves[n].block, 1);
        for (size_t n = 0; n < old->index.nr && !err; n++)
                err = block_list_add(out, old->index.run[n].start, old->index.run[n].nr);
        return err;
}

static uint64_t blocks_in(const struct block_list *l)
{
        uint64_t sum = 0;

        for (size_t n = 0; n < l->nr; n++)
                sum += l->run[n].nr;
        return sum;
}

static int append(struct block_list *to, struct block_list *from)
{
        int err = 0;

        for (size_t n = 0; n < from->nr && !err; n++)
                err = block_list_add(to, from->run[n].start, from->run[n].nr);
        block_list_free(from);
        return err;
}

static void set_time(struct ext4 *e, struct ext4_inode *i, uint64_t ns)
{
        uint64_t seconds = ns / 1000000000u;
        uint32_t extra = (uint32_t)(((seconds - (uint64_t)(int64_t)(int32_t)seconds) >> 32) &
                                    EXT4_EPOCH_MASK) |
                         (uint32_t)(ns % 1000000000u) << EXT4_EPOCH_BITS;

        i->raw->i_mtime = i->raw->i_ctime = (uint32_t)seconds;
        if (EXT2_INODE_SIZE(e->fs->super) > EXT2_GOOD_OLD_INODE_SIZE &&
            inode_includes(EXT2_GOOD_OLD_INODE_SIZE + i->raw->i_extra_isize, i_mtime_extra))
                i->raw->i_mtime_extra = i->raw->i_ctime_extra = extra;
}

/* Steps 2 and 3. */
static int prepare(struct ext4 *e, struct ext4_inode *i, struct ext4_tree *new,
                   struct block_list *taken, struct block_list *gone, void *root)
{
        int err = ext4_mark(e);

        if (!err && i->map_dirty)
                err = ext4_tree_write(e, i, new, taken, root);
        if (!err && i->map_dirty)
                err = list_old_nodes(i, new, gone);
        if (!err)
                err = ext4_write_groups(e);
        return err ? err : ext4_flush(e);
}

/* The new tree is the inode's. */
static void adopt(struct ext4 *e, struct ext4_inode *i, struct ext4_tree *new,
                  const struct block_list *taken, const struct block_list *gone, const void *root)
{
        struct ext2_inode *raw = raw_inode(i);

        memcpy(raw->i_block, root, sizeof(raw->i_block));
        ext2fs_iblk_add_blocks(e->fs, raw, blocks_in(taken));
        ext2fs_iblk_sub_blocks(e->fs, raw, blocks_in(gone));
        ext4_tree_free(&i->tree);
        i->tree = *new;
        i->map_dirty = false;
}

/* Steps 4 and 5. */
static int write_inode(struct ext4 *e, struct ext4_inode *i)
{
        uint64_t changed = atomic_exchange(&i->changed, 0);
        int err;

        i->inode_dirty = true;
        if (changed)
                set_time(e, i, changed);
        err = ext4_error(ext2fs_inode_size_set(e->fs, raw_inode(i), (ext2_off64_t)i->size));
        if (!err)
                err = ext4_error(ext2fs_write_inode_full(e->fs, i->ino, raw_inode(i),
                                                         EXT2_INODE_SIZE(e->fs->super)));
        if (!err)
                err = ext4_flush(e);
        if (!err)
                i->inode_dirty = false;
        return err;
}

/* Step 6. Reads that begin later do not find the blocks in the map. */
static int free_gone(struct ext4 *e, struct ext4_inode *i)
{
        return atomic_load(&i->reads) ? 0 : ext4_free_list(e, &i->freed);
}

int ext4_commit(struct ext4 *e, struct ext4_inode *i, bool all)
{
        struct ext4_tree new = { .nr_leaves = 0 };
        struct block_list taken = { .nr = 0 }, gone = { .nr = 0 };
        uint32_t root[EXT2_N_BLOCKS];
        int err = publish(e, i);

        if (err)
                return err;
        if (!i->map_dirty && !i->inode_dirty && i->size == EXT2_I_SIZE(raw_inode(i)) &&
            !(all && atomic_load(&i->changed))) {
                err = atomic_load(&e->marked) ? ext4_flush(e) : 0;
                return err ? err : free_gone(e, i);
        }
        err = prepare(e, i, &new, &taken, &gone, root);
        if (err) {
                ext4_free_list(e, &taken);
                block_list_free(&gone);
                ext4_tree_free(&new);
                return err;
        }
        if (i->map_dirty)
                adopt(e, i, &new, &taken, &gone, root);
        block_list_free(&taken);
        err = append(&i->freed, &gone);
        e->failed |= err != 0;
        err = write_inode(e, i);
        if (err)
                e->failed = true;
        else
                err = free_gone(e, i);
        return err;
}

/* ---- what is cut off, and what was never used ---- */

int ext4_unmap(struct ext4 *e, struct ext4_inode *i, uint64_t first, uint64_t end)
{
        struct extent *x;
        int err = 0;

        while (!err && (x = map_next(&i->map, first)) && x->first < end) {
                uint64_t at = max_u64(x->first, first), start = x->start + (at - x->first);
                uint64_t nr = min_u64(x->first + x->nr, end) - at;
                bool on_disk = x->kind != EXTENT_FRESH || x->reserved;

                /* On the list before it is off the map: nothing is lost if there is no memory. */
                err = block_list_add(&i->freed, start, nr);
                if (!err)
                        err = map_set(&i->map, at, &(struct map_run){ .nr = nr });
                if (err) {
                        e->failed = true;
                        return err;
                }
                if (on_disk) {
                        ext4_tree_touch(i, at, nr);
                        ext2fs_iblk_sub_blocks(e->fs, raw_inode(i), nr);
                }
                first = at + nr;
        }
        return err;
}

int ext4_drop_fresh(struct ext4 *e, struct ext4_inode *i)
{
        uint64_t at = 0;
        struct extent *x;
        int err = 0, r = 0;

        while (i->map.nr_fresh && !r && (x = map_next(&i->map, at))) {
                struct map_run run = { .kind = EXTENT_UNWRITTEN, .start = x->start, .nr = x->nr };

                at = x->first;
                if (x->kind == EXTENT_FRESH) {
                        if (!x->reserved) {
                                int error = ext4_free(e, run.start, run.nr);

                                run.kind = EXTENT_HOLE;
                                err = err ? err : error;
                        }
                        r = map_set(&i->map, at, &run);
                        at += run.nr;
                } else {
                        at += x->nr;
                }
        }
        return err ? err : r;
}
