/* SPDX-License-Identifier: Apache-2.0
 *
 * data.c - pages of a file to blocks of the device, and room for what is stored.
 *
 * Reading, and writing to blocks that exist, happens on the thread that asks, which may be in a
 * signal handler: a look at the map, and bios. Room is found on the worker, before a page becomes
 * dirty. Write-back may find none all the same: the file has become longer within a page that was dirty
 * already, or the page became dirty while it was punched out. Then the run goes by way of the worker.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/ext4/ext4.h"

#define MOST_WAIT 200 /* ms, for reads to end, when the disk is full */

/* How many bytes of the run lie within the file. */
static uint64_t bytes_within(const struct fs_run *run)
{
        uint64_t size = atomic_load(&run->inode->i_size), start = fs_run_start(run);

        return start < size ? min_u64(fs_run_bytes(run), size - start) : 0;
}

/* What the run has from byte `at` on: bytes that are alike, and the sector they begin at. */
static uint64_t part_of(struct fs_run *run, uint64_t at, uint64_t bytes, struct map_run *out,
                        uint64_t *sector)
{
        const struct ext4 *e = ext4_of(run->inode);
        uint64_t pos = fs_run_start(run) + at, inside = pos & (e->block_size - 1);
        uint64_t block = pos >> e->block_shift;

        map_find(&to_ext4_inode(run->inode)->map, block, out);
        *sector = ((out->start << e->block_shift) + inside) >> SECTOR_SHIFT;
        if (out->nr >= ((bytes - at + inside) >> e->block_shift) + 1)
                return bytes - at;
        return (out->nr << e->block_shift) - inside;
}

/* ---- reading ---- */

static void read_done(struct fs_run *run)
{
        atomic_fetch_sub(&to_ext4_inode(run->inode)->reads, 1);
}

static void ext4_readahead(struct fs_run *run, struct blk_plug *plug)
{
        const struct ext4 *e = ext4_of(run->inode);
        uint64_t bytes = bytes_within(run), at = 0;
        uint64_t unit = min_u64(e->block_size, PAGE_SIZE);
        int err = 0;

        atomic_fetch_add(&to_ext4_inode(run->inode)->reads, 1); /* before it looks where they are */
        fs_run_begin(run);
        run->whole = true;
        run->done = read_done;
        fs_run_clip(run, bytes);
        while (at < bytes && !err) {
                struct map_run what;
                uint64_t sector, n = part_of(run, at, bytes, &what, &sector);

                if (what.written)
                        err = fs_run_bio(run, e->queue, sector, (uint32_t)at,
                                         (uint32_t)round_up_u64(n, unit), plug);
                else
                        memset(run->buf + at, 0, n);
                at += n;
        }
        fs_run_end(run);
}

/* ---- writing ---- */

static bool has_room(struct ext4_inode *i, uint64_t first, uint64_t end)
{
        struct map_run run;

        for (; first < end; first += run.nr) {
                map_find(&i->map, first, &run);
                if (run.kind != EXTENT_MAPPED && run.kind != EXTENT_FRESH)
                        return false;
        }
        return true;
}

static void write_done(struct fs_run *run)
{
        const struct ext4 *e = ext4_of(run->inode);
        struct ext4_inode *i = to_ext4_inode(run->inode);
        bool last;

        if (!run->error && run->valid)
                map_written(&i->map, fs_run_start(run) >> e->block_shift, blocks_of(e, run->valid));
        mutex_lock(&i->map.lock);
        last = i->last_run == run;
        if (last) {
                i->last_run = NULL;
                atomic_fetch_add(&i->tail_seq, 1);
        }
        mutex_unlock(&i->map.lock);
        if (last)
                futex_wake(&i->tail_seq, 1);
}

/* True: the file's last block is being cleared behind the end, and the run waits for that. */
static bool must_wait(struct ext4_inode *i, struct fs_run *run)
{
        uint64_t size = atomic_load(&i->inode.i_size), last = (size - 1) >> PAGE_SHIFT;
        bool wait = false;

        if (!size || last < run->index || last >= run->index + run->nr_pages)
                return false;
        mutex_lock(&i->map.lock);
        if (i->tail_busy) {
                i->held_run = run;
                wait = true;
        } else {
                i->last_run = run;
        }
        mutex_unlock(&i->map.lock);
        return wait;
}

static void find_room(struct fs_work *work);

void ext4_write_run(struct fs_run *run, struct blk_plug *plug)
{
        struct ext4 *e = ext4_of(run->inode);
        struct ext4_inode *i = to_ext4_inode(run->inode);
        uint64_t bytes = bytes_within(run), at = 0;
        uint64_t first = fs_run_start(run) >> e->block_shift;
        int err = 0;

        if (bytes &&
            (!atomic_load(&e->marked) || !has_room(i, first, first + blocks_of(e, bytes)))) {
                run->work.run = find_room;
                fs_work_queue(e->worker, &run->work);
                return;
        }
        if (must_wait(i, run))
                return;
        fs_run_clip(run, bytes); /* so many have been written, then */
        /* A block is written whole; behind the end of the file it holds zeros. */
        memset(run->buf + bytes, 0, round_up_u64(bytes, e->block_size) - bytes);
        bytes = round_up_u64(bytes, e->block_size);
        while (at < bytes && !err) {
                struct map_run what;
                uint64_t sector, n = part_of(run, at, bytes, &what, &sector);

                err = fs_run_bio(run, e->queue, sector, (uint32_t)at, (uint32_t)n, plug);
                at += n;
        }
        fs_run_end(run);
}

/* On the worker: room first, then the device. */
static void find_room(struct fs_work *work)
{
        struct fs_run *run = container_of(work, struct fs_run, work);
        struct ext4 *e = ext4_of(run->inode);
        struct ext4_inode *i = to_ext4_inode(run->inode);
        uint64_t first = fs_run_start(run) >> e->block_shift;
        uint64_t end = first + blocks_of(e, bytes_within(run));
        int err;

        ext4_io_allow(e->io, 4 * e->nr_blocks * e->block_size + (1u << 20));
        err = ext4_mark(e);
        if (!err)
                err = ext4_allocate_blocks(e, i, first, end);
        if (!err) {
                ext4_write_run(run, NULL);
                return;
        }
        fs_run_error(run, err);
        fs_run_end(run);
}

static void ext4_writepages(struct fs_run *run, struct blk_plug *plug)
{
        fs_run_begin(run);
        run->whole = true;
        run->done = write_done;
        ext4_touch_times(to_ext4_inode(run->inode));
        ext4_write_run(run, plug);
}

/* ---- room ---- */

/* Blocks that must stay free, or the extents of what was given out could not be written; when the inode
 * gets `more`. */
static uint64_t room_for_trees(struct ext4 *e, const struct ext4_inode *i, uint64_t more)
{
        uint64_t sum = ext4_tree_room(e, i, more);

        for (const struct ext4_inode *other = e->inodes; other; other = other->next)
                if (other != i && (other->map_dirty || other->map.nr_fresh))
                        sum += ext4_tree_room(e, other, 0);
        return sum;
}

/* What was cut off of files becomes free when their inodes say so, and nobody reads it any more: reads
 * do not wait for us. */
static bool commit_freed(struct ext4 *e)
{
        bool any = false;

        for (struct ext4_inode *i = e->inodes; i; i = i->next) {
                if (!i->freed.nr)
                        continue;
                for (unsigned ms = 0; ms < MOST_WAIT && atomic_load(&i->reads); ms++)
                        usleep(1000);
                any |= !ext4_commit(e, i, false) && !i->freed.nr;
        }
        return any;
}

static int alloc_row(struct ext4 *e, struct ext4_inode *i, uint64_t goal, uint64_t want,
                     struct block_run *out)
{
        int err = ext4_alloc(e, goal, want, room_for_trees(e, i, want), out);

        if (err == -ENOSPC && commit_freed(e))
                err = ext4_alloc(e, goal, want, room_for_trees(e, i, want), out);
        return err;
}

/* An unwritten extent has its blocks; but to say which of them have been written may take some more. */
static bool can_split(struct ext4 *e, struct ext4_inode *i, uint64_t nr)
{
        uint64_t keep = room_for_trees(e, i, nr);

        if (keep > ext2fs_free_blocks_count(e->fs->super) && commit_freed(e))
                keep = room_for_trees(e, i, nr);
        return keep <= ext2fs_free_blocks_count(e->fs->super);
}

/* How many at once: as many again as the row of stores has just got. */
static uint64_t how_many(struct ext4 *e, struct ext4_inode *i, uint64_t at, uint64_t need,
                         const struct map_run *hole, uint64_t *goal)
{
        uint64_t left = blocks_of(e, i->size), want = need, end;
        struct map_run before;

        *goal = e->fs->super->s_first_data_block +
                (uint64_t)((i->ino - 1) / e->fs->super->s_inodes_per_group) *
                        e->fs->super->s_blocks_per_group;
        if (map_before(&i->map, at, &end, &before)) {
                *goal = before.start + before.nr;
                if (end == at && before.kind == EXTENT_FRESH)
                        want = max_u64(need, 2 * before.nr);
        }
        left = left > at ? left - at : need;
        want = max_u64(need, min_u64(want, left));
        return min_u64(min_u64(want, hole->nr), FRESH_BLOCKS);
}

int ext4_allocate_blocks(struct ext4 *e, struct ext4_inode *i, uint64_t first, uint64_t end)
{
        int err = 0;

        while (first < end && !err) {
                struct map_run run = { .kind = EXTENT_HOLE };
                struct block_run got;
                uint64_t goal;

                map_find(&i->map, first, &run);
                if (run.kind == EXTENT_UNWRITTEN) {
                        run.kind = EXTENT_FRESH;
                        run.reserved = true;
                        run.nr = min_u64(run.nr, FRESH_BLOCKS);
                        if (!can_split(e, i, run.nr))
                                run.nr = min_u64(run.nr, end - first);
                        if (!can_split(e, i, run.nr))
                                return -ENOSPC;
                        err = map_set(&i->map, first, &run);
                } else if (run.kind == EXTENT_HOLE) {
                        run.nr = how_many(e, i, first, end - first, &run, &goal);
                        err = alloc_row(e, i, goal, run.nr, &got);
                        if (err)
                                return err;
                        run = (struct map_run){ .kind = EXTENT_FRESH,
                                                .start = got.start,
                                                .nr = got.nr };
                        err = map_set(&i->map, first, &run);
                        if (err)
                                ext4_free(e, got.start, got.nr);
                }
                first += run.nr;
        }
        return err;
}

struct room_wanted {
        struct ext4 *e;
        struct ext4_inode *i;
        uint64_t first, end;
};

static int allocate_on_worker(void *arg)
{
        struct room_wanted *w = arg;
        int err = ext4_mark(w->e);

        return err ? err : ext4_allocate_blocks(w->e, w->i, w->first, w->end);
}

static int ext4_allocate(struct inode *inode, uint64_t index, bool ask)
{
        struct ext4 *e = ext4_of(inode);
        struct ext4_inode *i = to_ext4_inode(inode);
        uint64_t pos = index << PAGE_SHIFT, size = atomic_load(&inode->i_size);
        struct room_wanted w = { .e = e, .i = i, .first = pos >> e->block_shift };

        w.end = blocks_of(e, min_u64(size, pos + PAGE_SIZE));
        if (atomic_load(&e->marked) && has_room(i, w.first, w.end))
                return 0;
        return ask ? ext4_call(e, allocate_on_worker, &w) : -EAGAIN;
}

static int64_t ext4_bmap(struct inode *inode, uint64_t index)
{
        const struct ext4 *e = ext4_of(inode);
        uint64_t pos = index << PAGE_SHIFT;
        struct map_run run;

        map_find(&to_ext4_inode(inode)->map, pos >> e->block_shift, &run);
        if (run.kind != EXTENT_MAPPED && run.kind != EXTENT_FRESH)
                return 0;
        return (int64_t)(((run.start << e->block_shift) + (pos & (e->block_size - 1))) >>
                         SECTOR_SHIFT);
}

const struct address_space_operations ext4_aops = {
        .readahead = ext4_readahead,
        .writepages = ext4_writepages,
        .allocate = ext4_allocate,
        .bmap = ext4_bmap,
        .signal_safe = true,
};
