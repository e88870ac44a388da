/* SPDX-License-Identifier: Apache-2.0
 *
 * inode.c - a file of the image: opening, size, times, fsync, closing.
 *
 * What is done on the worker takes one struct request, on the stack of the thread that waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/ext4/ext4.h"

#define DEFAULT_READAHEAD (128 * 1024)
#define I_DEV_EXT4 (UINT64_C(3) << 62) /* | the super block */

struct request_to_worker {
        struct ext4 *e;
        struct ext4_inode *i;
        uint64_t first, end; /* bytes, or pages */
        const char *path;
        ext2_ino_t ino;
        bool flag;
        struct ext2_inode_large *raw;
        const char **why;
};

/* ---- opening ---- */

static int refuse(const char **why, int error, const char *phrase)
{
        *why = phrase;
        return error;
}

static int check_inode(struct request_to_worker *r, bool write)
{
        const struct ext2_inode *raw = EXT2_INODE(r->raw);

        if (LINUX_S_ISDIR(raw->i_mode))
                return -EISDIR;
        if (!LINUX_S_ISREG(raw->i_mode))
                return refuse(r->why, -ENODEV, "it is no regular file: it has no pages");
        if (raw->i_flags & EXT4_ENCRYPT_FL)
                return refuse(r->why, -ENOKEY, "the file is encrypted, which is not supported");
        if (raw->i_flags & EXT4_VERITY_FL)
                return refuse(r->why, -EOPNOTSUPP,
                              "the file is protected by fs-verity, which is not supported");
        if (raw->i_flags & EXT4_INLINE_DATA_FL)
                return refuse(
                        r->why, -EOPNOTSUPP,
                        "the file's data are inline in its inode (feature inline_data), which "
                        "is not supported");
        if (write && (raw->i_flags & EXT2_IMMUTABLE_FL))
                return refuse(r->why, -EPERM, "the file is immutable");
        if (write && (raw->i_flags & EXT3_JOURNAL_DATA_FL))
                return refuse(r->why, -EOPNOTSUPP,
                              "the file's data are to be journaled, which is "
                              "not supported");
        return 0;
}

/* The name, and what it names. */
static int look_up(void *arg)
{
        struct request_to_worker *r = arg;
        int err = ext4_lookup(r->e, r->path, &r->ino, r->why);

        if (!err)
                err = ext4_read_inode(r->e, r->ino, &r->raw);
        if (!err)
                err = check_inode(r, r->flag);
        if (err == -EUCLEAN && !*r->why)
                return refuse(r->why, err, "the image is corrupt: run e2fsck -f on it");
        return err;
}

static int load(void *arg)
{
        struct request_to_worker *r = arg;
        struct ext4 *e = r->e;
        struct ext4_inode *i = r->i;
        int err = ext4_load_map(e, i);

        if (!err)
                err = ext4_check_blocks(i);
        if (err == -EUCLEAN)
                return refuse(r->why, err, "its block map is corrupt: run e2fsck -f on the image");
        if (err)
                return err;
        i->next = e->inodes;
        i->link = &e->inodes;
        if (i->next)
                i->next->link = &i->next;
        e->inodes = i;
        return 0;
}

void ext4_inode_free(struct ext4_inode *i)
{
        map_destroy(&i->map);
        ext4_tree_free(&i->tree);
        block_list_free(&i->freed);
        free(i->raw);
        free(i);
}

static uint64_t largest_file(const struct ext4 *e, bool extents)
{
        uint64_t per = e->block_size / 4;

        if (extents)
                return (UINT64_C(0xffffffff) << e->block_shift) - 1;
        return min_u64((EXT2_NDIR_BLOCKS + per + per * per + per * per * per) << e->block_shift,
                       INT64_MAX);
}

static void fill_in(struct ext4_inode *i, struct ext4 *e, bool write)
{
        const struct queue_limits *limits = blk_queue_limits(e->queue);
        uint64_t readahead = e->sb.env->readahead ? e->sb.env->readahead : DEFAULT_READAHEAD;
        struct ext2_inode *raw = raw_inode(i);

        i->extents = raw->i_flags & EXT4_EXTENTS_FL;
        i->limit = largest_file(e, i->extents);
        i->size = EXT2_I_SIZE(raw);
        i->tail_unknown = true;
        i->inode.i_op = &ext4_inode_ops;
        i->inode.a_ops = &ext4_aops;
        i->inode.f_op = &ext4_file_ops;
        i->inode.i_sb = &e->sb;
        i->inode.i_queue = e->queue;
        i->inode.i_dev = I_DEV_EXT4 | (uint64_t)(uintptr_t)e;
        i->inode.i_ino = i->ino;
        atomic_store(&i->inode.i_size, i->size);
        i->inode.writable = write;
        i->inode.append_only = raw->i_flags & EXT2_APPEND_FL;
        i->inode.ra_pages = (uint32_t)(readahead >> PAGE_SHIFT);
        i->inode.io_pages = limits->max_sectors >> (PAGE_SHIFT - SECTOR_SHIFT);
}

static int cut(void *arg);
static int let_go(void *arg);

/* => env->lock held */
static int open_first_locked(struct request_to_worker *r, const char *uri, int oflags,
                             struct inode **out)
{
        struct ext4 *e = r->e;
        struct ext4_inode *i = calloc(1, sizeof(*i));
        int err;

        if (!i)
                return -ENOMEM;
        map_init(&i->map);
        i->ino = r->ino;
        i->raw = r->raw;
        r->raw = NULL;
        r->i = i;
        fill_in(i, e, r->flag);
        if (EXT2_I_SIZE(raw_inode(i)) > i->limit)
                err = refuse(r->why, -EUCLEAN, "its size is corrupt: run e2fsck -f on the image");
        else
                err = ext4_call(e, load, r);
        if (err) {
                ext4_inode_free(i);
                return err;
        }
        if ((oflags & O_TRUNC) && atomic_load(&i->inode.i_size)) {
                r->first = 0;
                err = ext4_call(e, cut, r);
                ext4_touch_times(i);
        }
        if (err) {
                ext4_call(e, let_go, r);
                ext4_inode_free(i);
                return err;
        }
        inode_insert_locked(e->sb.env, &i->inode, uri);
        *out = &i->inode;
        return 0;
}

int ext4_open_locked(struct ext4 *e, const char *uri, const char *path, int oflags,
                     struct inode **out, const char **why)
{
        struct request_to_worker r = {
                .e = e,
                .path = path,
                .flag = (oflags & O_ACCMODE) != O_RDONLY,
                .why = why,
        };
        struct inode *inode;
        int err = ext4_call(e, look_up, &r);

        if (!err && (oflags & O_CREAT) && (oflags & O_EXCL))
                err = -EEXIST;
        if (err == -ENOENT && (oflags & O_CREAT))
                err = refuse(why, -EROFS, "files cannot be made in an image");
        if (err) {
                free(r.raw);
                return err;
        }
        inode = inode_find_locked(e->sb.env, I_DEV_EXT4 | (uint64_t)(uintptr_t)e, r.ino);
        if (!inode) {
                err = open_first_locked(&r, uri, oflags, out);
                free(r.raw);
                return err;
        }
        free(r.raw);
        *out = inode;
        ext4_put_locked(e); /* one inode, one reference, which it has */
        if ((oflags & O_TRUNC) && atomic_load(&inode->i_size)) {
                *why = "it is open already, and cannot be truncated by opening it";
                return -EBUSY;
        }
        inode->writable |= r.flag;
        return 0;
}

/* ---- the size ---- */

/* Takes the bytes behind `size` in its block off: nobody writes there meanwhile. A run of write-back
 * that comes to the page has to wait in held_run; one that is under way is waited for. */
static void hold_tail(struct ext4_inode *i)
{
        mutex_lock(&i->map.lock);
        i->tail_busy = true;
        while (i->last_run) {
                uint32_t seen = atomic_load(&i->tail_seq);

                mutex_unlock(&i->map.lock);
                futex_wait(&i->tail_seq, seen, 0);
                mutex_lock(&i->map.lock);
        }
        mutex_unlock(&i->map.lock);
}

static void release_tail(struct ext4_inode *i)
{
        struct fs_run *run;

        mutex_lock(&i->map.lock);
        i->tail_busy = false;
        run = i->held_run;
        i->held_run = NULL;
        mutex_unlock(&i->map.lock);
        if (run)
                ext4_write_run(run, NULL);
}

static bool all_zero(const char *p, size_t n)
{
        return n == 0 || (*p == 0 && !memcmp(p, p + 1, n - 1));
}

/* Behind the end of the file its last block holds zeros, on the device. */
static int clear_tail(struct ext4 *e, struct ext4_inode *i, uint64_t size)
{
        size_t used = size & (e->block_size - 1);
        struct map_run run;
        char *block;
        int err;

        if (!used || !i->tail_unknown)
                return 0;
        block = malloc(e->block_size);
        if (!block)
                return -ENOMEM;
        hold_tail(i);
        map_find(&i->map, size >> e->block_shift, &run);
        err = run.written ? ext4_read_block(e, run.start, block) : 0;
        if (!err && run.written && !all_zero(block + used, e->block_size - used)) {
                memset(block + used, 0, e->block_size - used);
                err = ext4_write_block(e, run.start, block);
        }
        release_tail(i);
        free(block);
        i->tail_unknown = err != 0;
        return err;
}

/* To r->first bytes, which is less or as much. */
static int cut(void *arg)
{
        struct request_to_worker *r = arg;
        int err = ext4_mark(r->e);

        if (!err)
                err = ext4_unmap(r->e, r->i, blocks_of(r->e, r->first), UINT64_MAX);
        if (err)
                return err;
        r->i->tail_unknown = true;
        r->i->size = r->first;
        atomic_store(&r->i->inode.i_size, r->first);
        return 0;
}

static int grow(void *arg)
{
        struct request_to_worker *r = arg;
        struct ext4_inode *i = r->i;
        uint64_t old = r->end, size = r->first;
        int err = ext4_mark(r->e);

        /* Until the disk has the file as short as it is, its old bytes must not be cleared. */
        if (!err && i->tail_unknown && EXT2_I_SIZE(raw_inode(i)) > old)
                err = ext4_commit(r->e, i, false);
        if (!err)
                err = clear_tail(r->e, i, old);
        if (err)
                return err;
        i->size = size;
        atomic_store(&i->inode.i_size, size);
        return 0;
}

void ext4_touch_times(struct ext4_inode *i)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        atomic_store(&i->changed, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

static int ext4_truncate(struct inode *inode, uint64_t size)
{
        struct ext4_inode *i = to_ext4_inode(inode);
        struct request_to_worker r = { .e = ext4_of(inode), .i = i, .first = size };
        uint64_t old = atomic_load(&inode->i_size);
        int err;

        if (!inode->writable)
                return -EINVAL; /* as ftruncate(2) */
        if (size > i->limit)
                return -EFBIG;
        /* The cache has set the smaller size already. */
        r.end = old;
        err = ext4_call(r.e, size > old ? grow : cut, &r);
        if (!err)
                ext4_touch_times(i);
        return err;
}

static int punch(void *arg)
{
        struct request_to_worker *r = arg;
        uint64_t pages = r->e->block_shift < PAGE_SHIFT ? PAGE_SHIFT - r->e->block_shift : 0;
        int err = ext4_mark(r->e);

        return err ? err : ext4_unmap(r->e, r->i, r->first << pages, r->end << pages);
}

static int ext4_punch(struct inode *inode, uint64_t first, uint64_t end)
{
        struct ext4_inode *i = to_ext4_inode(inode);
        struct request_to_worker r = { .e = ext4_of(inode), .i = i, .first = first };
        int err;

        r.end = min_u64(end, pages_of(atomic_load(&inode->i_size)));
        if (first >= r.end)
                return 0;
        err = ext4_call(r.e, punch, &r);
        if (!err)
                ext4_touch_times(i);
        return err;
}

/* ---- fsync, times, closing ---- */

static int commit(void *arg)
{
        struct request_to_worker *r = arg;

        return ext4_commit(r->e, r->i, r->flag);
}

/* Not all that is durable on this device is ours: what is read-only has written nothing. */
static int ext4_fsync(struct inode *inode, bool datasync)
{
        struct ext4 *e = ext4_of(inode);
        struct request_to_worker r = { .e = e, .i = to_ext4_inode(inode), .flag = !datasync };
        struct trace *t = e->sb.env->trace;

        trace_emit(t, FS_FSYNC, 0, inode->i_object, trace_name(e->sb.type), 0, 0, 0);
        return inode->writable ? ext4_call(e, commit, &r) : 0;
}

static int ext4_release(struct inode *inode)
{
        struct request_to_worker r = { .e = ext4_of(inode),
                                       .i = to_ext4_inode(inode),
                                       .flag = true };

        return inode->writable ? ext4_call(r.e, commit, &r) : 0;
}

static int get_stat(void *arg)
{
        struct request_to_worker *r = arg;
        struct stat *st = (struct stat *)(void *)r->path;

        ext4_stat(r->e, r->i->ino, r->i->raw, st);
        return 0;
}

static void ext4_getattr(struct inode *inode, struct stat *st)
{
        struct ext4_inode *i = to_ext4_inode(inode);
        struct request_to_worker r = { .e = ext4_of(inode), .i = i, .path = (const char *)st };
        uint64_t changed = atomic_load(&i->changed);

        ext4_call(r.e, get_stat, &r);
        st->st_dev = inode->i_dev;
        st->st_size = (off_t)atomic_load(&inode->i_size);
        if (changed)
                st->st_mtim = st->st_ctim =
                        (struct timespec){ .tv_sec = (time_t)(changed / 1000000000u),
                                           .tv_nsec = (long)(changed % 1000000000u) };
}

static int let_go(void *arg)
{
        struct request_to_worker *r = arg;
        struct ext4_inode *i = r->i;
        int err = i->inode.writable ? ext4_commit(r->e, i, true) : 0, other;

        other = ext4_drop_fresh(r->e, i);
        err = err ? err : other;
        if (err)
                r->e->failed = true;
        *i->link = i->next;
        if (i->next)
                i->next->link = i->link;
        return err;
}

void ext4_evict_inode(struct inode *inode)
{
        struct ext4 *e = ext4_of(inode);
        struct fs_env *env = e->sb.env;
        struct request_to_worker r = { .e = e, .i = to_ext4_inode(inode) };
        int err;

        /* Over all of it: whoever opens the image next finds it as it is to be. What could be written
         * has been, by ext4_release(). */
        mutex_lock(&env->lock);
        err = ext4_call(e, let_go, &r);
        if (err)
                say("faultline: %s: closing: %s", inode->name, strerror(-err));
        ext4_inode_free(r.i);
        ext4_put_locked(e);
        mutex_unlock(&env->lock);
}

const struct file_operations ext4_file_ops = {
        .map = generic_file_map,
};

const struct inode_operations ext4_inode_ops = {
        .truncate = ext4_truncate,
        .punch = ext4_punch,
        .fsync = ext4_fsync,
        .getattr = ext4_getattr,
        .release = ext4_release,
};
