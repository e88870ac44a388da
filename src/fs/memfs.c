/* SPDX-License-Identifier: Apache-2.0
 *
 * memfs.c - the worked example of a file system: files are holes and 4 KiB blocks of a device.
 *
 * What a file system has to do, and where it is done here:
 *   - map pages of a file to sectors of a device:  struct extent, one a page; NO_BLOCK is a hole
 *   - ->readahead: turn the mapped pages into bios and fill the holes with zeros
 *   - ->writepages: the same, never beyond i_size
 *   - ->write_begin: find room before a page becomes dirty, so that write-back cannot fail for
 *     want of it
 *   - ->truncate: set the size; what was cut off reads as zeros if the file grows again
 *   - ->punch: blocks in the middle go; they read as zeros
 * The names and maps are in memory only and go with the super block; the bytes are on the device.
 *
 * A block keeps whatever its last owner wrote. Therefore an extent says how many of its bytes
 * this file has written (`valid`); the rest is zeros, without I/O. Each page is a bio of its own,
 * so that neighbours merge in the plug, for everyone to see.
 *
 * The cache lets no write-back of a page run while truncate cuts that page off: its block may be
 * another file's the next moment.
 */
#include "fs/memfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/inode.h"

#define BLOCK_SECTORS (PAGE_SIZE / SECTOR_SIZE)
#define NO_BLOCK 0                        /* a hole; block 0 is never given away */
#define MAX_BLOCKS UINT32_MAX             /* of a device: 16 TiB */
#define MAX_FILE_SIZE (UINT64_C(1) << 40) /* the map of such a file is 2 GiB, if all written */
#define RAM_SLACK 16                      /* blocks of a ram: disk beyond its file */

struct extent {
        uint32_t block; /* on the device, NO_BLOCK: none */
        uint32_t valid; /* bytes of it that have been written, from its start */
};

struct memfs_file {
        struct memfs_file *next; /* [env] */
        uint64_t ino;
        char name[64];
        uint64_t size;      /* [memfs] what the next inode starts with */
        struct extent *map; /* [memfs] one a page of the file */
        uint64_t map_pages; /* [memfs] never falls */
        uint64_t blocks;    /* [memfs] held by the map */
};

struct memfs {
        struct super_block sb;
        struct request_queue *queue;
        struct mutex lock; /* never held across I/O */
        uint64_t *bitmap;  /* [memfs] a bit a block: taken */
        uint64_t nr_blocks;
        uint64_t free_blocks;     /* [memfs] */
        uint64_t next_block;      /* [memfs] where to look first: what is written one after the
                               * other lies so too, and merges */
        struct memfs_file *files; /* [env] */
        uint64_t next_ino;        /* [env] */
        bool transient;           /* goes with its only file: ram:SIZE */
};

struct memfs_inode {
        struct inode inode;
        struct memfs_file *file;
};

static struct memfs *to_memfs(struct super_block *sb)
{
        return container_of(sb, struct memfs, sb);
}

static struct memfs *memfs_of(struct inode *inode)
{
        return to_memfs(inode->i_sb);
}

static struct memfs_file *file_of(struct inode *inode)
{
        return container_of(inode, struct memfs_inode, inode)->file;
}

/* ---- blocks ---- */

/* The first free block in [from, to), or NO_BLOCK. */
static uint64_t find_free(const struct memfs *fs, uint64_t from, uint64_t to)
{
        while (from < to) {
                uint64_t word = ~fs->bitmap[from / 64] >> (from % 64);

                if (word) {
                        from += (uint64_t)__builtin_ctzll(word);
                        return from < to ? from : NO_BLOCK;
                }
                from = round_down_u64(from, 64) + 64;
        }
        return NO_BLOCK;
}

static uint32_t alloc_block_locked(struct memfs *fs)
{
        uint64_t block = NO_BLOCK;

        mutex_assert_held(&fs->lock);
        if (fs->free_blocks) {
                block = find_free(fs, fs->next_block, fs->nr_blocks);
                if (block == NO_BLOCK)
                        block = find_free(fs, 0, fs->next_block);
        }
        if (block == NO_BLOCK)
                return NO_BLOCK;
        fs->bitmap[block / 64] |= UINT64_C(1) << (block % 64);
        fs->free_blocks--;
        fs->next_block = block + 1;
        return (uint32_t)block;
}

static void free_block_locked(struct memfs *fs, uint64_t block)
{
        mutex_assert_held(&fs->lock);
        fs->bitmap[block / 64] &= ~(UINT64_C(1) << (block % 64));
        fs->free_blocks++;
}

static struct extent get_extent(struct inode *inode, uint64_t index)
{
        struct memfs *fs = memfs_of(inode);
        struct memfs_file *file = file_of(inode);
        struct extent e = { .block = NO_BLOCK };

        mutex_lock(&fs->lock);
        if (index < file->map_pages)
                e = file->map[index];
        mutex_unlock(&fs->lock);
        return e;
}

/* A block for the page, its own or a new one, of which `valid` bytes are about to be written.
 * (Should the write fail, the page stays dirty in the cache, and is written again.) */
static int make_extent(struct inode *inode, uint64_t index, uint32_t valid, uint32_t *block)
{
        struct memfs *fs = memfs_of(inode);
        struct memfs_file *file = file_of(inode);
        struct extent *e;
        int err = 0;

        mutex_lock(&fs->lock);
        if (index >= file->map_pages) {
                err = -EFBIG; /* beyond the file's end */
        } else {
                e = &file->map[index];
                if (e->block == NO_BLOCK) {
                        e->block = alloc_block_locked(fs);
                        file->blocks += e->block != NO_BLOCK;
                }
                if (e->block == NO_BLOCK)
                        err = -ENOSPC;
                else if (e->valid < valid)
                        e->valid = valid;
                *block = e->block;
        }
        mutex_unlock(&fs->lock);
        return err;
}

/* ---- address_space_operations ---- */

/* Reads what the file has written of the block; the rest of the page is zeros. */
static int read_page(struct fs_run *run, uint32_t n, struct blk_plug *plug)
{
        struct extent e = get_extent(run->inode, run->index + n);
        uint32_t offset = n << PAGE_SHIFT;
        uint32_t bytes = e.block == NO_BLOCK ? 0 : e.valid;

        memset(run->buf + offset + bytes, 0, PAGE_SIZE - bytes);
        if (!bytes)
                return 0;
        return fs_run_bio_flags(run, memfs_of(run->inode)->queue, e.block * BLOCK_SECTORS, offset,
                                bytes, bytes % SECTOR_SIZE ? REQ_NOMERGE : 0, plug);
}

/* How many bytes of the run lie within the file. */
static uint64_t bytes_within(const struct fs_run *run)
{
        uint64_t size = atomic_load(&run->inode->i_size), start = fs_run_start(run);

        return start < size ? min_u64(fs_run_bytes(run), size - start) : 0;
}

static void memfs_readahead(struct fs_run *run, struct blk_plug *plug)
{
        uint64_t bytes = bytes_within(run);

        fs_run_begin(run);
        fs_run_clip(run, bytes);
        for (uint32_t n = 0; n < pages_of(bytes); n++)
                if (read_page(run, n, plug))
                        break;
        fs_run_end(run);
}

static int write_page(struct fs_run *run, uint32_t n, uint32_t bytes, struct blk_plug *plug)
{
        uint32_t block;
        int err = make_extent(run->inode, run->index + n, bytes, &block);

        if (err) {
                fs_run_error(run, err);
                return err;
        }
        return fs_run_bio_flags(run, memfs_of(run->inode)->queue, block * BLOCK_SECTORS,
                                n << PAGE_SHIFT, bytes, bytes % SECTOR_SIZE ? REQ_NOMERGE : 0,
                                plug);
}

static void memfs_writepages(struct fs_run *run, struct blk_plug *plug)
{
        uint64_t bytes = bytes_within(run);

        fs_run_begin(run);
        for (uint64_t at = 0; at < bytes; at += PAGE_SIZE)
                if (write_page(run, (uint32_t)(at >> PAGE_SHIFT),
                               (uint32_t)min_u64(bytes - at, PAGE_SIZE), plug))
                        break;
        fs_run_end(run);
}

static int memfs_write_begin(struct inode *inode, uint64_t pos, uint64_t len)
{
        uint32_t block;
        int err = 0;

        for (uint64_t i = pos >> PAGE_SHIFT; i < pages_of(pos + len) && !err; i++)
                err = make_extent(inode, i, 0, &block);
        return err;
}

static int64_t memfs_bmap(struct inode *inode, uint64_t index)
{
        return (int64_t)(get_extent(inode, index).block * BLOCK_SECTORS);
}

/* ---- inode_operations ---- */

/* A larger map, once; the old one is free()d by the caller. Holes are zeros: NO_BLOCK. */
static struct extent *replace_map_locked(struct memfs_file *file, struct extent *map,
                                         uint64_t pages)
{
        struct extent *old = file->map;

        if (old)
                memcpy(map, old, file->map_pages * sizeof *map);
        file->map = map;
        file->map_pages = pages;
        return old;
}

static void free_pages_locked(struct memfs *fs, struct memfs_file *file, uint64_t first,
                              uint64_t end)
{
        mutex_assert_held(&fs->lock);
        for (uint64_t i = first; i < end; i++) {
                if (file->map[i].block != NO_BLOCK) {
                        free_block_locked(fs, file->map[i].block);
                        file->blocks--;
                }
                file->map[i] = (struct extent){ .block = NO_BLOCK };
        }
}

static void cut_locked(struct memfs *fs, struct memfs_file *file, uint64_t size)
{
        free_pages_locked(fs, file, pages_of(size), pages_of(file->size));
        if (size % PAGE_SIZE) {
                struct extent *last = &file->map[size / PAGE_SIZE];

                last->valid = (uint32_t)min_u64(last->valid, size % PAGE_SIZE);
        }
}

static int set_size(struct memfs *fs, struct memfs_file *file, uint64_t size)
{
        uint64_t pages = pages_of(size);
        struct extent *map = NULL;
        bool grow;

        if (size > MAX_FILE_SIZE)
                return -EFBIG;
        mutex_lock(&fs->lock);
        grow = pages > file->map_pages;
        mutex_unlock(&fs->lock);
        if (grow) {
                map = calloc(pages, sizeof *map);
                if (!map)
                        return -ENOMEM;
        }
        mutex_lock(&fs->lock);
        if (size < file->size)
                cut_locked(fs, file, size);
        if (pages > file->map_pages)
                map = replace_map_locked(file, map, pages);
        file->size = size;
        mutex_unlock(&fs->lock);
        free(map);
        return 0;
}

static int memfs_truncate(struct inode *inode, uint64_t size)
{
        int err;

        if (!inode->writable)
                return -EINVAL; /* as ftruncate(2) */
        err = set_size(memfs_of(inode), file_of(inode), size);
        if (!err)
                atomic_store(&inode->i_size, size);
        return err;
}

static int memfs_punch(struct inode *inode, uint64_t first, uint64_t end)
{
        struct memfs *fs = memfs_of(inode);
        struct memfs_file *file = file_of(inode);

        mutex_lock(&fs->lock);
        free_pages_locked(fs, file, first, min_u64(end, pages_of(file->size)));
        mutex_unlock(&fs->lock);
        return 0;
}

/* Nobody but us changes the size. */
static int memfs_refresh(struct inode *inode)
{
        (void)inode;
        return 0;
}

static int memfs_fsync(struct inode *inode, bool datasync)
{
        (void)datasync;
        return generic_fsync(inode, memfs_of(inode)->queue);
}

static void memfs_getattr(struct inode *inode, struct stat *st)
{
        struct memfs *fs = memfs_of(inode);
        struct memfs_file *file = file_of(inode);
        uint64_t blocks;

        mutex_lock(&fs->lock);
        blocks = file->blocks;
        mutex_unlock(&fs->lock);
        *st = (struct stat){
                .st_dev = inode->i_dev,
                .st_ino = inode->i_ino,
                .st_mode = S_IFREG | 0600,
                .st_nlink = 1,
                .st_size = (off_t)atomic_load(&inode->i_size),
                .st_blksize = PAGE_SIZE,
                .st_blocks = (blkcnt_t)(blocks * BLOCK_SECTORS),
        };
}

/* ---- super block, opening ---- */

static void memfs_put_super(struct super_block *sb)
{
        struct memfs *fs = to_memfs(sb);
        struct memfs_file *file;

        while ((file = fs->files)) {
                fs->files = file->next;
                free(file->map);
                free(file);
        }
        blk_queue_destroy(fs->queue);
        free(fs->bitmap);
        free(fs);
}

static void memfs_evict_inode(struct inode *inode)
{
        struct memfs *fs = memfs_of(inode);
        struct fs_env *env = fs->sb.env;

        free(container_of(inode, struct memfs_inode, inode));
        if (!fs->transient)
                return;
        mutex_lock(&env->lock);
        super_remove_locked(env, &fs->sb);
        mutex_unlock(&env->lock);
        memfs_put_super(&fs->sb);
}

static const struct super_operations memfs_super_ops;
static const struct inode_operations memfs_inode_ops;
static const struct address_space_operations memfs_aops;
static const struct file_operations memfs_file_ops;

static int init_blocks(struct memfs *fs, uint64_t bytes)
{
        fs->nr_blocks = bytes / PAGE_SIZE;
        if (fs->nr_blocks > MAX_BLOCKS)
                return -EFBIG;
        if (fs->nr_blocks < 2)
                return -EINVAL;
        fs->bitmap = calloc((fs->nr_blocks + 63) / 64, sizeof *fs->bitmap);
        if (!fs->bitmap)
                return -ENOMEM;
        fs->bitmap[0] = 1; /* NO_BLOCK */
        fs->next_block = 1;
        fs->free_blocks = fs->nr_blocks - 1;
        return 0;
}

static int create(struct fs_env *env, struct device *dev, struct memfs **out)
{
        struct memfs *fs = calloc(1, sizeof *fs);
        int err = fs ? init_blocks(fs, dev->size) : -ENOMEM;

        if (!err)
                err = blk_queue_create(&fs->queue, dev, env->pool, env->trace);
        if (err) {
                device_close(dev);
                if (fs)
                        free(fs->bitmap);
                free(fs);
                return err;
        }
        mutex_init(&fs->lock, LOCK_MEMFS);
        fs->sb.s_op = &memfs_super_ops;
        fs->sb.type = "memfs";
        fs->sb.env = env;
        *out = fs;
        return 0;
}

int memfs_create(struct fs_env *env, struct device *dev, struct super_block **out)
{
        struct memfs *fs;
        int err = create(env, dev, &fs);

        if (err)
                return err;
        mutex_lock(&env->lock);
        super_insert_locked(env, &fs->sb);
        mutex_unlock(&env->lock);
        *out = &fs->sb;
        return 0;
}

/* The file of that name, or a new one of `size` bytes; NULL with *err. => env->lock held */
static struct memfs_file *get_file_locked(struct memfs *fs, const char *name, uint64_t size,
                                          int *err)
{
        struct memfs_file *file;

        mutex_assert_held(&fs->sb.env->lock);
        for (file = fs->files; file; file = file->next)
                if (!strcmp(file->name, name))
                        return file;
        file = calloc(1, sizeof *file);
        *err = file ? set_size(fs, file, size) : -ENOMEM;
        if (*err) {
                free(file);
                return NULL;
        }
        strncpy(file->name, name, sizeof file->name - 1);
        file->ino = ++fs->next_ino;
        file->next = fs->files;
        fs->files = file;
        return file;
}

/* => env->lock held */
static int open_file_locked(struct memfs *fs, struct memfs_file *file, const char *uri,
                            bool writable, struct inode **out)
{
        struct fs_env *env = fs->sb.env;
        struct queue_limits *limits = blk_queue_limits(fs->queue);
        uint64_t dev = I_DEV_MEMFS | (uintptr_t)fs;
        struct memfs_inode *m;

        *out = inode_find_locked(env, dev, file->ino);
        if (*out)
                return 0;
        m = calloc(1, sizeof *m);
        if (!m)
                return -ENOMEM;
        m->file = file;
        m->inode.i_op = &memfs_inode_ops;
        m->inode.a_ops = &memfs_aops;
        m->inode.f_op = &memfs_file_ops;
        m->inode.i_sb = &fs->sb;
        m->inode.i_queue = fs->queue;
        m->inode.i_dev = dev;
        m->inode.i_ino = file->ino;
        m->inode.i_size = file->size;
        m->inode.writable = writable;
        m->inode.ra_pages = (uint32_t)((env->readahead ? env->readahead : 128 * 1024) / PAGE_SIZE);
        m->inode.io_pages = (uint32_t)(limits->max_sectors / BLOCK_SECTORS);
        inode_insert_locked(env, &m->inode, uri);
        *out = &m->inode;
        return 0;
}

int memfs_open(struct super_block *sb, const char *name, uint64_t size, struct inode **out)
{
        struct memfs *fs = to_memfs(sb);
        struct memfs_file *file;
        int err = 0;

        if (strlen(name) >= sizeof file->name)
                return -ENAMETOOLONG;
        mutex_lock(&sb->env->lock);
        file = get_file_locked(fs, name, size, &err);
        if (file)
                err = open_file_locked(fs, file, name, true, out);
        mutex_unlock(&sb->env->lock);
        return err;
}

uint64_t memfs_free_blocks(struct super_block *sb)
{
        struct memfs *fs = to_memfs(sb);
        uint64_t n;

        mutex_lock(&fs->lock);
        n = fs->free_blocks;
        mutex_unlock(&fs->lock);
        return n;
}

int memfs_open_ram(struct fs_env *env, const char *uri, uint64_t size, int oflags,
                   struct inode **out)
{
        bool writable = (oflags & O_ACCMODE) != O_RDONLY;
        struct memfs_file *file;
        struct device *dev;
        struct memfs *fs;
        int err;

        if (size > MAX_FILE_SIZE)
                return -EFBIG;
        err = device_open_ram(env->drivers, (pages_of(size) + RAM_SLACK) * PAGE_SIZE, &dev);
        if (!err)
                err = create(env, dev, &fs);
        if (err)
                return err;
        fs->transient = true;
        mutex_lock(&env->lock);
        file = get_file_locked(fs, "ram", size, &err);
        if (file)
                err = open_file_locked(fs, file, uri, writable, out);
        if (!err)
                super_insert_locked(env, &fs->sb);
        mutex_unlock(&env->lock);
        if (err)
                memfs_put_super(&fs->sb);
        return err;
}

static const struct super_operations memfs_super_ops = {
        .evict_inode = memfs_evict_inode,
        .put_super = memfs_put_super,
};

static const struct inode_operations memfs_inode_ops = {
        .truncate = memfs_truncate,
        .punch = memfs_punch,
        .refresh = memfs_refresh,
        .fsync = memfs_fsync,
        .getattr = memfs_getattr,
};

static const struct address_space_operations memfs_aops = {
        .readahead = memfs_readahead,
        .writepages = memfs_writepages,
        .write_begin = memfs_write_begin,
        .bmap = memfs_bmap,
        .signal_safe = true,
};

static const struct file_operations memfs_file_ops = {
        .map = generic_file_map,
};
