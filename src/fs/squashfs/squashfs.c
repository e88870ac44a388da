/* SPDX-License-Identifier: Apache-2.0
 *
 * squashfs.c - squashfs as a file system: mounting, opening, and runs of pages.
 *
 * An image is mounted as long as a file of it is open, and once, however often and under whatever name
 * its device is opened. A run is handed to a worker of the image's; there each of its blocks is
 * decompressed to where its bytes belong.
 */
#include "fs/squashfs/squashfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_WORKERS 4
#define BLOCKS_A_MARK 64 /* of these one knows where it lies, and the others are counted from it */

struct squashfs {
        struct super_block sb;
        struct request_queue *queue;
        struct image image;
        struct tree tree;
        struct blocks blocks;
        struct fs_worker *worker;
        unsigned users; /* [env] inodes, and opens under way */
};

struct squashfs_inode {
        struct inode inode;
        sqfs_inode_generic_t *raw; /* (c) with the sizes of its blocks, as stored */
        uint64_t nr_blocks;        /* (c) */
        uint64_t *mark;            /* (c) where each 64th block lies */
        struct place tail;         /* (c) its part of a fragment block, if there is one */
        uint32_t tail_from;        /* (c) and where in it */
        struct stat st;            /* (c) */
};

static struct squashfs *squashfs_of(const struct inode *inode)
{
        return container_of(inode->i_sb, struct squashfs, sb);
}

static struct squashfs_inode *to_squashfs(struct inode *inode)
{
        return container_of(inode, struct squashfs_inode, inode);
}

/* ---- where a file's bytes lie ---- */

/* A block's size, as the image stores it. */
static void set_stored(struct place *place, uint32_t word)
{
        place->stored = word & 0xffffff;
        place->packed = !(word & (1u << 24));
}

/* The block that holds the byte at `pos`, which is within the file. *from: where in it. */
static struct place find_block(const struct squashfs_inode *s, uint64_t pos, uint32_t *from)
{
        uint32_t size = squashfs_of(&s->inode)->tree.super.block_size;
        uint64_t n = pos / size, first = round_down_u64(n, BLOCKS_A_MARK);
        struct place place = { .fragment = false };

        if (n == s->nr_blocks) {
                *from = s->tail_from + (uint32_t)(pos % size);
                return s->tail;
        }
        place.at = s->mark[n / BLOCKS_A_MARK];
        for (uint64_t i = first; i < n; i++)
                place.at += s->raw->extra[i] & 0xffffff;
        set_stored(&place, s->raw->extra[n]);
        place.bytes = (uint32_t)min_u64(size, (uint64_t)s->st.st_size - n * size);
        *from = (uint32_t)(pos % size);
        return place;
}

/* How many bytes of the run lie within the file. */
static uint64_t bytes_within(const struct fs_run *run)
{
        uint64_t size = atomic_load(&run->inode->i_size), start = fs_run_start(run);

        return start < size ? min_u64(fs_run_bytes(run), size - start) : 0;
}

/* ---- address_space_operations ---- */

static int read_blocks(struct block_reader *r, struct fs_run *run, uint64_t bytes)
{
        struct squashfs_inode *s = to_squashfs(run->inode);
        uint64_t start = fs_run_start(run), done = 0;
        int err = 0;

        while (done < bytes && !err) {
                uint32_t from, n;
                struct place place = find_block(s, start + done, &from);
                uint32_t end = place.fragment ? s->tail_from + place.bytes : place.bytes;

                n = (uint32_t)min_u64(end - from, bytes - done);
                err = block_read(r, &place, from, n, run->buf + done);
                done += n;
        }
        return err;
}

/* On a worker. */
static void run_work(struct fs_work *work)
{
        struct fs_run *run = container_of(work, struct fs_run, work);
        struct squashfs_inode *s = to_squashfs(run->inode);
        struct squashfs *fs = squashfs_of(run->inode);
        uint64_t bytes = bytes_within(run);
        struct block_reader r = { .opf = run->opf, .fault = run->fault };
        int err = 0;

        fs_run_clip(run, bytes);
        if (bytes) {
                uint32_t from;
                struct place last = find_block(s, fs_run_start(run) + bytes - 1, &from);

                /* What lies between is read in few pieces; a tail lies elsewhere. */
                r.end = last.fragment ? 0 : last.at + last.stored;
                block_reader_begin(&r, &fs->blocks);
                err = read_blocks(&r, run, bytes);
                block_reader_end(&r);
        }
        if (err)
                fs_run_error(run, err);
        fs_run_end(run);
}

static void squashfs_readahead(struct fs_run *run, struct blk_plug *plug)
{
        (void)plug;
        fs_run_begin(run);
        run->work.run = run_work;
        fs_work_queue(squashfs_of(run->inode)->worker, &run->work);
}

/* Nothing can be dirty. */
static void squashfs_writepages(struct fs_run *run, struct blk_plug *plug)
{
        (void)plug;
        fs_run_begin(run);
        fs_run_error(run, -EROFS);
        fs_run_end(run);
}

static int squashfs_write_begin(struct inode *inode, uint64_t pos, uint64_t len)
{
        (void)inode, (void)pos, (void)len;
        return -EROFS;
}

static int squashfs_place(struct inode *inode, uint64_t index, uint64_t *at)
{
        struct place place;
        uint32_t from;

        if (index >= pages_of(atomic_load(&inode->i_size)))
                return 0;
        place = find_block(to_squashfs(inode), index << PAGE_SHIFT, &from);
        *at = place.at;
        return place.stored > 0;
}

/* ---- inode_operations ---- */

static int squashfs_refresh(struct inode *inode)
{
        (void)inode;
        return 0;
}

static int squashfs_fsync(struct inode *inode, bool datasync)
{
        (void)inode, (void)datasync;
        return 0;
}

static void squashfs_getattr(struct inode *inode, struct stat *st)
{
        *st = to_squashfs(inode)->st;
}

/* ---- the super block ---- */

static void squashfs_put_super(struct super_block *sb)
{
        struct squashfs *fs = container_of(sb, struct squashfs, sb);

        fs_worker_destroy(fs->worker);
        blocks_destroy(&fs->blocks);
        tree_destroy(&fs->tree);
        image_destroy(&fs->image);
        blk_queue_destroy(fs->queue);
        free(fs);
}

static const struct super_operations squashfs_super_ops;
static const struct inode_operations squashfs_inode_ops;
static const struct address_space_operations squashfs_aops;
static const struct file_operations squashfs_file_ops;

/* The device is in the queue's hands already. */
static int mount_queue(struct squashfs *fs, const char **why)
{
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        sqfs_compressor_config_t packer;
        struct blocks_config config = {
                .image = &fs->image,
                .trace = fs->sb.env->trace,
                .packer = &packer,
                .workers = processors < 2              ? 2
                           : processors > MOST_WORKERS ? MOST_WORKERS
                                                       : (unsigned)processors,
        };
        int err = image_init(&fs->image, fs->queue);

        if (!err)
                err = tree_init(&fs->tree, &fs->image, &packer, why);
        if (!err)
                err = blocks_init(&fs->blocks, &config);
        if (!err)
                err = fs_worker_create(&fs->worker, config.workers, "fl-squashfs");
        return err;
}

/* Takes the device over, also on error. => env->lock held */
static int mount_locked(struct fs_env *env, struct device *dev, const char *id,
                        struct squashfs **out, const char **why)
{
        struct squashfs *fs = calloc(1, sizeof *fs);
        int err = fs ? blk_queue_create(&fs->queue, dev, env->pool, env->trace) : -ENOMEM;

        if (err) {
                device_close(dev);
                free(fs);
                return err;
        }
        fs->sb.s_op = &squashfs_super_ops;
        fs->sb.type = "squashfs";
        fs->sb.env = env;
        memcpy(fs->sb.s_id, id, strlen(id) + 1);
        err = mount_queue(fs, why);
        if (err) {
                squashfs_put_super(&fs->sb);
                return err;
        }
        super_insert_locked(env, &fs->sb);
        *out = fs;
        return 0;
}

/* The image on that device, mounted, with a user more. => env->lock held */
static int get_super_locked(struct fs_env *env, const char *uri, struct squashfs **out,
                            const char **why)
{
        char id[sizeof((*out)->sb.s_id)];
        struct super_block *sb = super_find_name_locked(env, &squashfs_super_ops, uri);
        struct device *dev;
        int err;

        if (sb) {
                *out = container_of(sb, struct squashfs, sb);
                (*out)->users++;
                return 0;
        }
        err = device_open_uri(env->drivers, uri, O_RDONLY, &dev, why);
        if (err)
                return err;
        device_id(dev, uri, id, sizeof id);
        if (strlen(id) == sizeof id - 1)
                *id = 0; /* perhaps not all of it: nobody's */
        else
                sb = super_find_locked(env, &squashfs_super_ops, id);
        if (sb) {
                device_close(dev);
                *out = container_of(sb, struct squashfs, sb);
        } else {
                err = mount_locked(env, dev, id, out, why);
        }
        if (!err)
                (*out)->users++;
        return err;
}

/* The last user's leaving unmounts it. => env->lock not held */
static void put_super(struct squashfs *fs)
{
        struct fs_env *env = fs->sb.env;
        bool last;

        mutex_lock(&env->lock);
        last = --fs->users == 0;
        if (last)
                super_remove_locked(env, &fs->sb);
        mutex_unlock(&env->lock);
        if (last)
                squashfs_put_super(&fs->sb);
}

/* ---- opening ---- */

static void free_inode(struct squashfs_inode *s)
{
        sqfs_free(s->raw);
        free(s->mark);
        free(s);
}

static void squashfs_evict_inode(struct inode *inode)
{
        struct squashfs *fs = squashfs_of(inode);

        free_inode(to_squashfs(inode));
        put_super(fs);
}

/* Marks where the blocks lie; none may lie outside the image, nor be longer than a block is. */
static int map_blocks(struct squashfs_inode *s, uint32_t block_size, uint64_t image_size)
{
        uint64_t at;

        s->nr_blocks = sqfs_inode_get_file_block_count(s->raw);
        s->mark = calloc(s->nr_blocks / BLOCKS_A_MARK + 1, sizeof *s->mark);
        if (!s->mark)
                return -ENOMEM;
        if (sqfs_inode_get_file_block_start(s->raw, &at))
                return -EUCLEAN;
        for (uint64_t i = 0; i < s->nr_blocks; i++) {
                struct place place;

                set_stored(&place, s->raw->extra[i]);
                if (i % BLOCKS_A_MARK == 0)
                        s->mark[i / BLOCKS_A_MARK] = at;
                if (place.stored > block_size)
                        return -EUCLEAN;
                if (place.stored && (at > image_size || place.stored > image_size - at))
                        return -EUCLEAN;
                at += place.stored;
                s->st.st_blocks += (blkcnt_t)(place.stored >> SECTOR_SHIFT);
        }
        return 0;
}

/* => tree.lock held */
static int map_tail_locked(struct squashfs_inode *s, struct tree *t, uint64_t image_size)
{
        uint32_t block_size = t->super.block_size, index, from;
        uint64_t size = (uint64_t)s->st.st_size;
        sqfs_fragment_t fragment;

        if (s->nr_blocks >= size / block_size + (size % block_size != 0))
                return 0;
        if (sqfs_inode_get_frag_location(s->raw, &index, &from) ||
            sqfs_frag_table_lookup(t->fragments, index, &fragment))
                return -EUCLEAN;
        s->tail = (struct place){
                .at = fragment.start_offset,
                .bytes = (uint32_t)(size % block_size),
                .fragment = true,
        };
        s->tail_from = from;
        set_stored(&s->tail, fragment.size);
        if (!s->tail.stored || s->tail.stored > block_size || s->tail.at > image_size ||
            s->tail.stored > image_size - s->tail.at)
                return -EUCLEAN;
        return from > block_size || s->tail.bytes > block_size - from ? -EUCLEAN : 0;
}

/* => env->lock and tree.lock held. Takes node->inode over, also on error. */
static int make_inode_locked(struct squashfs *fs, struct node *node, uint64_t dev,
                             struct squashfs_inode **out)
{
        struct squashfs_inode *s = calloc(1, sizeof *s);
        struct fs_env *env = fs->sb.env;
        uint64_t readahead = env->readahead ? env->readahead : 128 * 1024;
        int err;

        if (!s) {
                sqfs_free(node->inode);
                return -ENOMEM;
        }
        s->raw = node->inode;
        tree_stat_locked(&fs->tree, s->raw, &s->st);
        s->st.st_dev = dev;
        err = map_blocks(s, fs->tree.super.block_size, fs->image.size);
        if (!err)
                err = map_tail_locked(s, &fs->tree, fs->image.size);
        if (err) {
                free_inode(s);
                return err;
        }
        s->inode.i_op = &squashfs_inode_ops;
        s->inode.a_ops = &squashfs_aops;
        s->inode.f_op = &squashfs_file_ops;
        s->inode.i_sb = &fs->sb;
        s->inode.i_queue = fs->queue;
        s->inode.i_dev = dev;
        s->inode.i_ino = node->ref;
        s->inode.i_size = (uint64_t)s->st.st_size;
        s->inode.ra_pages = (uint32_t)(readahead / PAGE_SIZE);
        s->inode.io_pages = max_u64(fs->tree.super.block_size, STRETCH_BYTES) / PAGE_SIZE;
        *out = s;
        return 0;
}

/* May it be opened so? */
static int check_open(const sqfs_inode_generic_t *inode, int oflags, const char **why)
{
        if ((oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
                return -EEXIST;
        if (tree_is_directory(inode))
                return -EISDIR;
        if (!S_ISREG(inode->base.mode))
                return -ENODEV;
        if ((oflags & O_ACCMODE) != O_RDONLY || oflags & O_TRUNC) {
                *why = "squashfs images are read-only";
                return -EROFS;
        }
        return 0;
}

/* => env->lock held */
static int open_locked(struct squashfs *fs, const char *uri, const char *path, int oflags,
                       struct inode **out, const char **why)
{
        uint64_t dev = I_DEV_MEMFS | (uintptr_t)fs;
        struct squashfs_inode *s;
        struct node node;
        int err;

        mutex_lock(&fs->tree.lock);
        err = tree_find_locked(&fs->tree, path, &node, why);
        if (err == -ENOENT && oflags & O_CREAT)
                err = -EROFS;
        if (err)
                goto unlock;
        err = check_open(node.inode, oflags, why);
        *out = err ? NULL : inode_find_locked(fs->sb.env, dev, node.ref);
        if (err || *out) {
                sqfs_free(node.inode);
                goto unlock;
        }
        err = make_inode_locked(fs, &node, dev, &s);
        if (err == -EUCLEAN)
                *why = "the file's list of blocks is damaged";
        if (err)
                goto unlock;
        inode_insert_locked(fs->sb.env, &s->inode, uri);
        fs->users++;
        *out = &s->inode;
unlock:
        mutex_unlock(&fs->tree.lock);
        return err;
}

static int squashfs_open(struct fs_env *env, const char *uri, const struct uri *u, int oflags,
                         struct inode **out, const char **why)
{
        struct squashfs *fs;
        int err;

        mutex_lock(&env->lock);
        err = get_super_locked(env, u->dev, &fs, why);
        if (err) {
                mutex_unlock(&env->lock);
                return err;
        }
        err = open_locked(fs, uri, u->path, oflags, out, why);
        mutex_unlock(&env->lock);
        put_super(fs);
        return err;
}

/* ---- listing ---- */

/* => tree.lock held */
static int list_node_locked(struct tree *t, const struct node *node, const char *path,
                            int (*entry)(void *arg, const struct fs_entry *e), void *arg,
                            const char **why)
{
        const char *slash = strrchr(path, '/');
        struct fs_entry self = { .name = slash ? slash + 1 : path };

        if (tree_is_directory(node->inode))
                return tree_list_locked(t, node->inode, entry, arg, why);
        tree_stat_locked(t, node->inode, &self.st);
        return entry(arg, &self);
}

static int squashfs_list(struct fs_env *env, const struct uri *u,
                         int (*entry)(void *arg, const struct fs_entry *e), void *arg,
                         const char **why)
{
        struct squashfs *fs;
        struct node node;
        int err;

        mutex_lock(&env->lock);
        err = get_super_locked(env, u->dev, &fs, why);
        mutex_unlock(&env->lock);
        if (err)
                return err;
        mutex_lock(&fs->tree.lock);
        err = tree_find_locked(&fs->tree, u->path, &node, why);
        if (!err) {
                err = list_node_locked(&fs->tree, &node, u->path, entry, arg, why);
                sqfs_free(node.inode);
        }
        mutex_unlock(&fs->tree.lock);
        put_super(fs);
        return err;
}

static const struct super_operations squashfs_super_ops = {
        .evict_inode = squashfs_evict_inode,
        .put_super = squashfs_put_super,
};

static const struct inode_operations squashfs_inode_ops = {
        .refresh = squashfs_refresh,
        .fsync = squashfs_fsync,
        .getattr = squashfs_getattr,
};

static const struct address_space_operations squashfs_aops = {
        .readahead = squashfs_readahead,
        .writepages = squashfs_writepages,
        .write_begin = squashfs_write_begin,
        .place = squashfs_place,
};

static const struct file_operations squashfs_file_ops = {
        .map = generic_file_map,
};

const struct file_system_type squashfs_type = {
        .name = "squashfs",
        .open = squashfs_open,
        .list = squashfs_list,
};
