/* SPDX-License-Identifier: Apache-2.0
 *
 * devfs.c - a whole device as one file: byte n of the file is byte n of the device.
 *
 * For devices that have no name on the host, such as an NBD export; the host's own block devices are
 * files of hostfs. A file here is what a block device is to open(2): it exists or not, has the size
 * it has (ftruncate is EINVAL), O_TRUNC does nothing, and each page can be written, without asking for
 * room. A device is opened once, whatever for, since a server may take one client only; who may
 * write is a matter of the inode.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/inode.h"

/* What one read-ahead should bring, where the host has no number for the device: at a millisecond
 * a round trip as many bytes are on their way at a GB/s. */
#define DEFAULT_READAHEAD (1u << 20)

struct devfs_inode {
        struct inode inode;
        char *uri; /* (c) */
};

static const struct super_operations devfs_super_ops;
static const struct inode_operations devfs_inode_ops;
static const struct address_space_operations devfs_aops;
static const struct file_operations devfs_file_ops;

static struct devfs_inode *to_devfs(struct inode *inode)
{
        return container_of(inode, struct devfs_inode, inode);
}

/* Whole pages at the end, too: the device moves what it has, the run zeroes the rest. */
static void devfs_readahead(struct fs_run *run, struct blk_plug *plug)
{
        fs_run_begin(run);
        run->whole = true;
        fs_run_bio(run, run->inode->i_queue, fs_run_start(run) >> SECTOR_SHIFT, 0,
                   (uint32_t)fs_run_bytes(run), plug);
        fs_run_end(run);
}

static void devfs_writepages(struct fs_run *run, struct blk_plug *plug)
{
        uint64_t start = fs_run_start(run), size = atomic_load(&run->inode->i_size);
        uint32_t bytes = start < size ? (uint32_t)min_u64(fs_run_bytes(run), size - start) : 0;

        fs_run_begin(run);
        run->whole = true;
        if (bytes)
                fs_run_bio_flags(run, run->inode->i_queue, start >> SECTOR_SHIFT, 0, bytes,
                                 bytes % SECTOR_SIZE ? REQ_NOMERGE : 0, plug);
        fs_run_end(run);
}

/* There are no holes that we could know of; the first sector is not one. */
static int devfs_place(struct inode *inode, uint64_t index, uint64_t *at)
{
        (void)inode;
        *at = index << PAGE_SHIFT;
        return 1;
}

/* As ftruncate(2) of a block device. */
static int devfs_truncate(struct inode *inode, uint64_t size)
{
        (void)inode;
        (void)size;
        return -EINVAL;
}

/* As fallocate(2) of a block device: not where the device itself cannot do it. */
static int devfs_punch(struct inode *inode, uint64_t first, uint64_t end)
{
        static char zeros[SECTOR_SIZE] __attribute__((aligned(PAGE_SIZE)));
        uint64_t start = first << PAGE_SHIFT, size = atomic_load(&inode->i_size), sectors;
        struct request_queue *q = inode->i_queue;
        int err;

        if (!inode->writable || !blk_queue_limits(q)->max_write_zeroes_sectors)
                return -EOPNOTSUPP;
        if (start >= size)
                return 0;
        end = min_u64(end, pages_of(size)) << PAGE_SHIFT;
        sectors = (min_u64(end, size) - start) >> SECTOR_SHIFT;
        err = blkdev_issue_zeroout(q, start >> SECTOR_SHIFT, sectors);
        if (err || end <= size || size % SECTOR_SIZE == 0)
                return err;
        /* What is left of a device that does not end with a sector. */
        return submit_bio_wait(q, IO_WRITE | REQ_NOMERGE | REQ_SYNC, size >> SECTOR_SHIFT, zeros,
                               size % SECTOR_SIZE, 0);
}

static int devfs_fsync(struct inode *inode, bool datasync)
{
        (void)datasync;
        return inode->writable ? generic_fsync(inode, inode->i_queue) : 0;
}

static void devfs_getattr(struct inode *inode, struct stat *st)
{
        bool read_only = blk_queue_device(inode->i_queue)->read_only;

        *st = (struct stat){
                .st_mode = S_IFBLK | (read_only ? 0400 : 0600),
                .st_nlink = 1,
                .st_blksize = PAGE_SIZE,
                .st_size = (off_t)atomic_load(&inode->i_size),
        };
}

static void devfs_put_super(struct super_block *sb)
{
        free(sb);
}

/* The super block goes with its only inode. */
static void devfs_evict_inode(struct inode *inode)
{
        struct super_block *sb = inode->i_sb;
        struct fs_env *env = sb->env;

        blk_queue_destroy(inode->i_queue);
        mutex_lock(&env->lock);
        super_remove_locked(env, sb);
        mutex_unlock(&env->lock);
        free(to_devfs(inode)->uri);
        free(inode);
        devfs_put_super(sb);
}

/* ---- opening ---- */

static struct inode *find_locked(struct fs_env *env, const char *uri)
{
        mutex_assert_held(&env->lock);
        for (struct super_block *sb = env->supers; sb; sb = sb->next) {
                struct inode *inode = sb->s_op == &devfs_super_ops ? sb->s_private : NULL;

                if (inode && inode->refs && !strcmp(to_devfs(inode)->uri, uri))
                        return inode_find_locked(env, inode->i_dev, inode->i_ino);
        }
        return NULL;
}

static int open_queue(struct fs_env *env, const char *uri, int oflags, struct request_queue **out,
                      const char **why)
{
        struct device *dev;
        int err = device_open_uri(env->drivers, uri, oflags, &dev, why);

        if (err)
                return err;
        err = blk_queue_create(out, dev, env->pool, env->trace);
        if (err)
                device_close(dev);
        return err;
}

static void fill_inode(struct devfs_inode *d, struct super_block *sb, struct request_queue *q)
{
        struct device *dev = blk_queue_device(q);
        uint64_t ra = sb->env->readahead ? sb->env->readahead : DEFAULT_READAHEAD;
        uint64_t most = (uint64_t)blk_queue_limits(q)->max_sectors << SECTOR_SHIFT;

        d->inode.i_op = &devfs_inode_ops;
        d->inode.a_ops = &devfs_aops;
        d->inode.f_op = &devfs_file_ops;
        d->inode.i_sb = sb;
        d->inode.i_queue = q;
        d->inode.i_dev = I_DEV_DEVFS | (uintptr_t)sb;
        d->inode.i_size = dev->size;
        d->inode.noexec = true;
        d->inode.ra_pages = (uint32_t)min_u64(ra >> PAGE_SHIFT, UINT32_MAX);
        d->inode.io_pages = (uint32_t)max_u64(most >> PAGE_SHIFT, 1);
}

/* => env->lock held. */
static int open_first_locked(struct fs_env *env, const char *uri, int oflags, struct inode **out,
                             const char **why)
{
        struct devfs_inode *d = calloc(1, sizeof *d);
        struct super_block *sb = calloc(1, sizeof *sb);
        struct request_queue *q;
        int err = -ENOMEM;

        if (d)
                d->uri = strdup(uri);
        if (d && d->uri && sb)
                err = open_queue(env, uri, oflags, &q, why);
        if (err) {
                if (d)
                        free(d->uri);
                free(d);
                free(sb);
                return err;
        }
        sb->s_op = &devfs_super_ops;
        sb->type = "devfs";
        sb->env = env;
        sb->s_private = &d->inode;
        fill_inode(d, sb, q);
        super_insert_locked(env, sb);
        inode_insert_locked(env, &d->inode, uri);
        *out = &d->inode;
        return 0;
}

int devfs_open(struct fs_env *env, const char *uri, int oflags, struct inode **out,
               const char **why)
{
        bool write = (oflags & O_ACCMODE) != O_RDONLY;
        struct inode *inode;
        int err = 0;

        mutex_lock(&env->lock);
        inode = find_locked(env, uri);
        if (!inode)
                err = open_first_locked(env, uri, write ? O_RDWR : O_RDONLY, &inode, why);
        if (!err && (oflags & O_CREAT) && (oflags & O_EXCL))
                err = -EEXIST;
        if (!err && write && blk_queue_device(inode->i_queue)->read_only) {
                *why = "the device is read-only";
                err = -EACCES;
        }
        if (!err && write)
                inode->writable = true;
        mutex_unlock(&env->lock);
        if (!err)
                *out = inode;
        else if (inode)
                inode_put(inode);
        return err;
}

static const struct super_operations devfs_super_ops = {
        .evict_inode = devfs_evict_inode,
        .put_super = devfs_put_super,
};

static const struct inode_operations devfs_inode_ops = {
        .truncate = devfs_truncate,
        .punch = devfs_punch,
        .fsync = devfs_fsync,
        .getattr = devfs_getattr,
};

static const struct address_space_operations devfs_aops = {
        .readahead = devfs_readahead,
        .writepages = devfs_writepages,
        .place = devfs_place,
        .signal_safe = true,
};

static const struct file_operations devfs_file_ops = {
        .map = generic_file_map,
};
