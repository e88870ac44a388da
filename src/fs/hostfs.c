/* SPDX-License-Identifier: Apache-2.0
 *
 * hostfs.c - a host file is its own disk: byte n of the file is byte n of the device.
 *
 * Opening is in hostfs_open.c. Here is what happens to an open file: one bio for a run of pages,
 * since on this "disk" a file is always contiguous.
 *
 * Other programs may change the file's size under us. A read ends where the host file ends; a
 * write looks at the size first and is cut to it, so that write-back never grows a file. (Between
 * the look and the write another program can still cut the file: the host offers no write that
 * refuses to grow a file.)
 */
#include "fs/hostfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ALLOCATE_PAGES 256 /* 1 MiB at once, at most */

static struct device *hostfs_device(struct inode *inode)
{
        return blk_queue_device(hostfs_queue(inode));
}

uint64_t hostfs_device_size(struct device *dev)
{
        return __atomic_load_n(&dev->size, __ATOMIC_RELAXED);
}

/* The size as the host has it now. */
static int look_at_size(struct inode *inode, uint64_t *size)
{
        struct device *dev = hostfs_device(inode);

        if (dev->ops->refresh)
                return dev->ops->refresh(dev, size);
        *size = hostfs_device_size(dev);
        return 0;
}

/* Whole pages also at the end of the file: the device moves what there is, the run zeroes the
 * rest. */
static void hostfs_readahead(struct fs_run *run, struct blk_plug *plug)
{
        uint64_t sector = fs_run_start(run) >> SECTOR_SHIFT;

        fs_run_begin(run);
        fs_run_bio(run, hostfs_queue(run->inode), sector, 0, (uint32_t)fs_run_bytes(run), plug);
        fs_run_end(run);
}

/* Whole pages in one bio; what is left of the file in the last page in one of its own, which the
 * driver sends through the buffered descriptor, exactly as long as it is. */
static void write_bytes(struct fs_run *run, uint32_t bytes, struct blk_plug *plug)
{
        struct request_queue *q = hostfs_queue(run->inode);
        uint64_t sector = fs_run_start(run) >> SECTOR_SHIFT;
        uint32_t whole = (uint32_t)round_down_u64(bytes, PAGE_SIZE);

        if (whole && fs_run_bio(run, q, sector, 0, whole, plug))
                return;
        if (bytes > whole)
                fs_run_bio_flags(run, q, sector + (whole >> SECTOR_SHIFT), whole, bytes - whole,
                                 REQ_NOMERGE | REQ_BUFFERED, plug);
}

static void hostfs_writepages(struct fs_run *run, struct blk_plug *plug)
{
        struct inode *inode = run->inode;
        /* Looked at before the device's: the file may be growing, which changes that one first. */
        uint64_t i_size = atomic_load(&inode->i_size);
        uint64_t start = fs_run_start(run), size;
        int err;

        fs_run_begin(run);
        err = look_at_size(inode, &size);
        size = err ? 0 : min_u64(size, i_size);
        /* Another program has cut the file short: what lies behind its end cannot be written, and
         * whoever stored it is told. */
        if (!err && min_u64(start + fs_run_bytes(run), i_size) > size)
                err = -EIO;
        if (err)
                fs_run_error(run, err);
        if (start < size)
                write_bytes(run, (uint32_t)min_u64(fs_run_bytes(run), size - start), plug);
        fs_run_end(run);
}

/* What the host's file system makes of it is not ours to know. */
static int hostfs_place(struct inode *inode, uint64_t index, uint64_t *at)
{
        (void)inode;
        *at = index << PAGE_SHIFT;
        return 1;
}

/* Blocks for one page, or, where one store follows another, for as many as there have been. */
static int hostfs_allocate(struct inode *inode, uint64_t index, bool ask)
{
        struct hostfs_inode *h = to_hostfs(inode);
        struct device *dev = hostfs_device(inode);
        uint64_t pages = pages_of(atomic_load(&inode->i_size)), epoch, more, end = 0;
        int err;

        if (h->block || !dev->ops->allocate || known_at(&h->known, index))
                return 0;
        if (!ask)
                return -EAGAIN;
        epoch = atomic_load(&h->known.epoch);
        more = min_u64(max_u64(known_before(&h->known, index), 1), ALLOCATE_PAGES);
        more = index < pages ? min_u64(more, pages - index) : 1;
        err = dev->ops->allocate(dev, index << PAGE_SHIFT, more << PAGE_SHIFT, &end);
        if (err && more > 1) /* all that is left may be enough */
                err = dev->ops->allocate(dev, index << PAGE_SHIFT, PAGE_SIZE, &end);
        if (!err)
                known_add(&h->known, index, max_u64(end >> PAGE_SHIFT, index + 1), epoch);
        return err;
}

static int hostfs_truncate(struct inode *inode, uint64_t size)
{
        struct device *dev = hostfs_device(inode);
        int err;

        if (!inode->writable || !dev->ops->resize || to_hostfs(inode)->block)
                return -EINVAL; /* as ftruncate(2) */
        err = dev->ops->resize(dev, size);
        known_forget(&to_hostfs(inode)->known);
        if (!err)
                atomic_store(&inode->i_size, size);
        return err;
}

static int hostfs_punch(struct inode *inode, uint64_t first, uint64_t end)
{
        struct device *dev = hostfs_device(inode);

        int err;

        if (!dev->ops->punch)
                return -EOPNOTSUPP;
        err = dev->ops->punch(dev, first << PAGE_SHIFT, (end - first) << PAGE_SHIFT);
        known_forget(&to_hostfs(inode)->known);
        return err;
}

static int hostfs_refresh(struct inode *inode)
{
        uint64_t size;
        int err = look_at_size(inode, &size);

        if (!err && size < atomic_load(&inode->i_size))
                known_forget(&to_hostfs(inode)->known); /* longer again, it has a hole there */
        if (!err)
                atomic_store(&inode->i_size, size);
        return err;
}

/* What is read-only has written nothing. Data and the size, as fdatasync(2): times stay behind. */
static int hostfs_fsync(struct inode *inode, bool datasync)
{
        (void)datasync;
        return inode->writable ? generic_fsync(inode, hostfs_queue(inode)) : 0;
}

static void hostfs_getattr(struct inode *inode, struct stat *st)
{
        *st = (struct stat){ 0 };
        fstat(device_fd(hostfs_device(inode)), st);
        st->st_size = (off_t)atomic_load(&inode->i_size);
}

static void hostfs_evict_inode(struct inode *inode)
{
        struct hostfs_inode *h = to_hostfs(inode);

        blk_queue_destroy(hostfs_queue(inode));
        if (h->read_only)
                blk_queue_destroy(h->read_only);
        free(h);
}

static void hostfs_put_super(struct super_block *sb)
{
        free(sb);
}

const struct super_operations hostfs_super_ops = {
        .evict_inode = hostfs_evict_inode,
        .put_super = hostfs_put_super,
};

const struct inode_operations hostfs_inode_ops = {
        .truncate = hostfs_truncate,
        .punch = hostfs_punch,
        .refresh = hostfs_refresh,
        .fsync = hostfs_fsync,
        .getattr = hostfs_getattr,
};

const struct address_space_operations hostfs_aops = {
        .readahead = hostfs_readahead,
        .writepages = hostfs_writepages,
        .allocate = hostfs_allocate,
        .place = hostfs_place,
        .signal_safe = true,
};

/* Of whatever process, and of whatever kind: nobody's own are those of our open. */
static bool hostfs_locked(struct inode *inode)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        return !fcntl(device_fd(hostfs_device(inode)), F_OFD_GETLK, &lock) &&
               lock.l_type != F_UNLCK;
}

const struct file_operations hostfs_file_ops = {
        .map = generic_file_map,
        .locked = hostfs_locked,
};
