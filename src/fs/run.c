/* SPDX-License-Identifier: Apache-2.0
 *
 * run.c - the life of a struct fs_run between a file system and the block layer.
 *
 *   fs_run_begin -> fs_run_bio ... fs_run_bio -> fs_run_end -> (last bio done) -> end_io
 *
 * `pending` counts the bios and, until fs_run_end, the file system itself. Whoever takes it to
 * zero completes the run, on whatever thread that is.
 */
#include <errno.h>
#include <string.h>

#include "fs/inode.h"

static bool run_is_read(const struct fs_run *run)
{
        return (run->opf & REQ_OP_MASK) == IO_READ;
}

void fs_run_begin(struct fs_run *run)
{
        struct trace *t = run->inode->i_sb->env->trace;

        run->error = 0;
        run->valid = 0;
        run->done = NULL;
        run->whole = false;
        atomic_store_explicit(&run->pending, 1, memory_order_relaxed);
        atomic_store_explicit(&run->first_error, 0, memory_order_relaxed);
        atomic_store_explicit(&run->first_missing, UINT64_MAX, memory_order_relaxed);
        if (run_is_read(run))
                trace_emit(t, FS_READAHEAD, run->fault, run->inode->i_object, run->index,
                           run->nr_pages, trace_name(run->inode->i_sb->type), 0);
        else
                trace_emit(t, FS_WRITEPAGES, run->fault, run->inode->i_object, run->index,
                           run->nr_pages, trace_name(run->inode->i_sb->type), 0);
}

void fs_run_error(struct fs_run *run, int error)
{
        int none = 0;

        atomic_compare_exchange_strong(&run->first_error, &none, error);
}

void fs_run_clip(struct fs_run *run, uint64_t bytes)
{
        uint64_t now = atomic_load(&run->first_missing);

        while (bytes < now && !atomic_compare_exchange_weak(&run->first_missing, &now, bytes))
                ;
}

static void complete(struct fs_run *run)
{
        uint64_t bytes = fs_run_bytes(run);

        run->error = atomic_load(&run->first_error);
        if (!run->error)
                run->valid = min_u64(bytes, atomic_load(&run->first_missing));
        if (run_is_read(run) && !run->error)
                memset(run->buf + run->valid, 0, bytes - run->valid);
        if (run->done)
                run->done(run);
        run->end_io(run);
}

void fs_run_end(struct fs_run *run)
{
        if (atomic_fetch_sub(&run->pending, 1) == 1)
                complete(run);
}

/* The device ended at that byte of the run. */
static void end_short(struct fs_run *run, uint64_t at)
{
        if (run->whole && fs_run_start(run) + at < atomic_load(&run->inode->i_size))
                fs_run_error(run, -EIO);
        else
                fs_run_clip(run, at);
}

static void run_bio_end_io(struct bio *bio)
{
        struct fs_run *run = bio->bi_private;

        if (bio->bi_status)
                fs_run_error(run, bio->bi_status);
        else if (bio->bi_done < bio->bi_size)
                end_short(run, (uint64_t)((char *)bio->bi_buf - run->buf) + bio->bi_done);
        fs_run_end(run);
}

/* All bios of the pool are in flight, many perhaps in our own plug: let those go. */
static struct bio *alloc_after_unplug(struct request_queue *q, struct blk_plug *plug, uint32_t opf,
                                      uint64_t sector, void *buf, uint32_t bytes)
{
        if (!plug)
                return NULL;
        blk_finish_plug(plug);
        return bio_alloc(q, opf, sector, buf, bytes);
}

int fs_run_bio_flags(struct fs_run *run, struct request_queue *q, uint64_t sector, uint32_t offset,
                     uint32_t bytes, uint32_t flags, struct blk_plug *plug)
{
        uint32_t opf = run->opf | flags;
        char *buf = run->buf + offset;
        struct bio *bio = bio_alloc(q, opf, sector, buf, bytes);

        if (!bio)
                bio = alloc_after_unplug(q, plug, opf, sector, buf, bytes);
        if (!bio) {
                fs_run_error(run, -ENOMEM);
                return -ENOMEM;
        }
        bio->bi_end_io = run_bio_end_io;
        bio->bi_private = run;
        bio->bi_fault = run->fault;
        atomic_fetch_add(&run->pending, 1);
        trace_emit(run->inode->i_sb->env->trace, FS_MAP, run->fault, run->inode->i_object,
                   fs_run_start(run) + offset, bytes, sector, blk_queue_device(q)->object);
        submit_bio(bio, plug);
        return 0;
}

int fs_run_bio(struct fs_run *run, struct request_queue *q, uint64_t sector, uint32_t offset,
               uint32_t bytes, struct blk_plug *plug)
{
        return fs_run_bio_flags(run, q, sector, offset, bytes, 0, plug);
}
