/* SPDX-License-Identifier: Apache-2.0
 *
 * super.c - an image: what of it can be used, mounting, the valid flag, unmounting.
 *
 * The super block is looked at here before the library sees it: what it claims must fit on the
 * device. An image that may be read but not written (features, an unclean unmount) is mounted, and
 * says why when a file is to be opened for writing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "fs/ext4/ext4.h"

#define SUPER_BYTES 1024 /* its size, and where it lies */

struct feature {
        uint32_t bit;
        const char *name;
};

/* Readable without knowing more. */
#define INCOMPAT_READ                                                                              \
        (EXT2_FEATURE_INCOMPAT_FILETYPE | EXT2_FEATURE_INCOMPAT_META_BG |                          \
         EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_MMP | \
         EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT4_FEATURE_INCOMPAT_EA_INODE |                          \
         EXT4_FEATURE_INCOMPAT_CSUM_SEED | EXT4_FEATURE_INCOMPAT_LARGEDIR |                        \
         EXT4_FEATURE_INCOMPAT_INLINE_DATA | EXT4_FEATURE_INCOMPAT_ENCRYPT |                       \
         EXT4_FEATURE_INCOMPAT_CASEFOLD | EXT3_FEATURE_INCOMPAT_RECOVER)
/* With the first of these a second writer would have to be watched for. */
#define INCOMPAT_WRITE (INCOMPAT_READ & ~(uint32_t)EXT4_FEATURE_INCOMPAT_MMP)
#define RO_COMPAT_WRITE                                                                            \
        (EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |                 \
         EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_GDT_CSUM |                      \
         EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |                   \
         EXT4_FEATURE_RO_COMPAT_METADATA_CSUM | EXT4_FEATURE_RO_COMPAT_VERITY |                    \
         EXT4_FEATURE_RO_COMPAT_PROJECT)

static const struct feature incompat_names[] = {
        { EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression" },
        { EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, "journal_dev" },
        { EXT4_FEATURE_INCOMPAT_MMP, "mmp" },
        { EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata" },
};

static const struct feature ro_compat_names[] = {
        { EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT, "has_snapshot" },
        { EXT4_FEATURE_RO_COMPAT_QUOTA, "quota" },
        { EXT4_FEATURE_RO_COMPAT_BIGALLOC, "bigalloc" },
        { EXT4_FEATURE_RO_COMPAT_REPLICA, "replica" },
        { EXT4_FEATURE_RO_COMPAT_READONLY, "read-only" },
        { EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS, "shared_blocks" },
        { EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT, "orphan_present" },
};

/* One image on its way to be mounted. */
struct mounting {
        struct ext4 *e;
        const struct uri *u;
        struct ext2_super_block super;
        const char *why;
        char *text; /* where `why` may be put together */
};

static int refuse(struct mounting *m, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static int refuse(struct mounting *m, int error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(m->text, sizeof(m->e->sb.env->drivers->why), format, args);
        va_end(args);
        m->why = m->text;
        return error;
}

static void refuse_writing(struct ext4 *e, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* The first reason stays. */
static void refuse_writing(struct ext4 *e, const char *format, ...)
{
        va_list args;

        if (*e->read_only)
                return;
        va_start(args, format);
        vsnprintf(e->read_only, sizeof(e->read_only), format, args);
        va_end(args);
}

/* The name of the lowest of these features. */
static const char *feature_name(uint32_t bits, const struct feature *names, size_t nr, char *buf,
                                size_t size)
{
        for (size_t i = 0; i < nr; i++)
                if (bits & names[i].bit)
                        return names[i].name;
        snprintf(buf, size, "number 0x%x", bits & -bits);
        return buf;
}

static int check_features(struct mounting *m)
{
        const struct ext2_super_block *s = &m->super;
        uint32_t unknown = s->s_feature_incompat & ~(uint32_t)INCOMPAT_READ;
        char buf[32];

        if (unknown)
                return refuse(m, -EOPNOTSUPP, "it has the feature %s, which is not supported",
                              feature_name(unknown, incompat_names, ARRAY_SIZE(incompat_names), buf,
                                           sizeof(buf)));
        unknown = s->s_feature_incompat & ~(uint32_t)INCOMPAT_WRITE;
        if (unknown)
                refuse_writing(m->e, "it has the feature %s, with which it can only be read",
                               feature_name(unknown, incompat_names, ARRAY_SIZE(incompat_names),
                                            buf, sizeof(buf)));
        unknown = s->s_feature_ro_compat & ~(uint32_t)RO_COMPAT_WRITE;
        if (unknown)
                refuse_writing(m->e, "it has the feature %s, with which it can only be read",
                               feature_name(unknown, ro_compat_names, ARRAY_SIZE(ro_compat_names),
                                            buf, sizeof(buf)));
        return 0;
}

static int check_state(struct mounting *m)
{
        const struct ext2_super_block *s = &m->super;
        struct ext4 *e = m->e;

        if (s->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) {
                if (!m->u->norecovery)
                        return refuse(
                                m, -EUCLEAN,
                                "its journal needs recovery: run e2fsck -p %.100s (or read it "
                                "as it is, with ?norecovery)",
                                m->u->dev);
                e->unreplayed = true;
                say("faultline: %s: its journal has not been replayed: the data may be old",
                    m->u->dev);
        }
        if (m->u->norecovery)
                refuse_writing(e, "?norecovery opens it for reading only");
        if (s->s_state & EXT2_ERROR_FS)
                return refuse(m, -EUCLEAN,
                              "its super block says that it has errors: run e2fsck -f %.100s",
                              m->u->dev);
        if (!(s->s_state & EXT2_VALID_FS) || s->s_last_orphan)
                refuse_writing(e, "it was not unmounted cleanly: run e2fsck -p %.100s", m->u->dev);
        return 0;
}

/* What it says of its size and shape, before anything is allocated by it. */
static int check_geometry(struct mounting *m)
{
        const struct ext2_super_block *s = &m->super;
        struct ext4 *e = m->e;
        uint64_t size = blk_queue_device(e->queue)->size, groups;
        bool wide = s->s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT;
        bool clusters = s->s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_BIGALLOC;
        uint32_t ratio = clusters ? s->s_log_cluster_size - s->s_log_block_size : 0;
        uint32_t inode_size = s->s_rev_level ? s->s_inode_size : EXT2_GOOD_OLD_INODE_SIZE;

        if (s->s_log_block_size > 6 || s->s_rev_level > EXT2_DYNAMIC_REV)
                return refuse(m, -EUCLEAN, "its super block is corrupt");
        e->block_shift = 10 + s->s_log_block_size;
        e->block_size = 1u << e->block_shift;
        blk_queue_device(e->queue)->meta_block = e->block_size;
        e->nr_blocks = s->s_blocks_count | (wide ? (uint64_t)s->s_blocks_count_hi << 32 : 0);
        if (e->nr_blocks > size >> e->block_shift)
                return refuse(m, -EUCLEAN,
                              "it is cut short: it has %llu blocks of %u, and %llu "
                              "of them are there",
                              (unsigned long long)e->nr_blocks, e->block_size,
                              (unsigned long long)(size >> e->block_shift));
        if (s->s_first_data_block != (e->block_size == 1024 && !clusters ? 1 : 0) ||
            e->nr_blocks <= s->s_first_data_block || s->s_blocks_per_group < 256 || ratio > 10 ||
            s->s_blocks_per_group > (e->block_size * 8) << ratio ||
            (s->s_blocks_per_group % 8 && s->s_blocks_per_group < e->nr_blocks) ||
            s->s_inodes_per_group == 0 || s->s_inodes_per_group > e->block_size * 8 ||
            inode_size < EXT2_GOOD_OLD_INODE_SIZE || inode_size > e->block_size ||
            (inode_size & (inode_size - 1)) ||
            (wide &&
             (s->s_desc_size < EXT2_MIN_DESC_SIZE_64BIT || s->s_desc_size > EXT2_MAX_DESC_SIZE ||
              s->s_desc_size & (s->s_desc_size - 1))))
                return refuse(m, -EUCLEAN, "its super block is corrupt");
        groups = (e->nr_blocks - s->s_first_data_block + s->s_blocks_per_group - 1) /
                 s->s_blocks_per_group;
        if (groups > UINT32_MAX || groups * s->s_inodes_per_group != s->s_inodes_count)
                return refuse(m, -EUCLEAN, "its super block is corrupt");
        if (e->block_size > PAGE_SIZE)
                refuse_writing(e, "its blocks are larger than a page: it can only be read");
        return 0;
}

static int read_super(struct mounting *m)
{
        struct request_queue *q = m->e->queue;
        void *buf;
        int err;

        if (blk_queue_device(q)->size < 2 * SUPER_BYTES)
                return refuse(m, -EINVAL, "not an ext2, ext3 or ext4 file system");
        buf = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
        if (!buf)
                return -ENOMEM;
        err = submit_bio_wait(q, IO_READ | REQ_META | REQ_SYNC, SUPER_BYTES >> SECTOR_SHIFT, buf,
                              SUPER_BYTES, 0);
        memcpy(&m->super, buf, SUPER_BYTES);
        free(buf);
        if (!err && m->super.s_magic != EXT2_SUPER_MAGIC)
                return refuse(m, -EINVAL, "not an ext2, ext3 or ext4 file system");
        return err;
}

int ext4_mark(struct ext4 *e)
{
        uint16_t state = e->fs->super->s_state;
        int err;

        if (atomic_load(&e->marked))
                return 0;
        e->fs->super->s_state &= (uint16_t)~EXT2_VALID_FS;
        err = ext4_error(ext2fs_flush2(e->fs, 0));
        if (err)
                e->fs->super->s_state = state;
        else
                atomic_store(&e->marked, true);
        return err;
}

/* ---- on the worker ---- */

static int mount_on_worker(void *arg)
{
        struct mounting *m = arg;
        struct ext4 *e = m->e;
        int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | (*e->read_only ? 0 : EXT2_FLAG_RW);
        errcode_t err;

        ext4_io_allow(e->io, 2 * e->nr_blocks * e->block_size);
        err = ext2fs_open2(ext4_io_name(e->io), NULL, flags, 0, 0, ext4_io_manager(e->io), &e->fs);
        if (err) {
                e->fs = NULL;
                if (err == EXT2_ET_SB_CSUM_INVALID)
                        return refuse(m, -EUCLEAN, "the checksum of its super block is wrong");
                if (err == EXT2_ET_UNSUPP_FEATURE || err == EXT2_ET_RO_UNSUPP_FEATURE)
                        return refuse(m, -EOPNOTSUPP, "it has a feature that libext2fs lacks");
                if (ext4_error(err) == -EUCLEAN)
                        return refuse(m, -EUCLEAN,
                                      "its super block or group descriptors are "
                                      "corrupt");
                return ext4_error(err);
        }
        e->fs->flags |= EXT2_FLAG_SUPER_ONLY | EXT2_FLAG_MASTER_SB_ONLY;
        err = ext4_zones_init(e);
        if (err == -EUCLEAN)
                return refuse(m, -EUCLEAN,
                              "where it has its metadata cannot be: run e2fsck -f %.100s",
                              m->u->dev);
        return err ? (int)err : ext4_groups_init(e);
}

/* Nobody has a file of it open, and all is committed. */
static int unmount_on_worker(void *arg)
{
        struct ext4 *e = arg;
        int err = 0;

        if (!e->fs)
                return 0;
        if (atomic_load(&e->marked)) {
                err = ext4_write_groups(e);
                if (!err && !e->failed) {
                        e->fs->super->s_state |= EXT2_VALID_FS;
                        err = ext4_error(ext2fs_flush2(e->fs, 0)); /* flushes before and after */
                }
        }
        ext4_groups_free(e);
        block_list_free(&e->zones);
        ext2fs_free(e->fs);
        e->fs = NULL;
        return err;
}

/* ---- mounting ---- */

static int lock_device(struct ext4 *e, int how)
{
        int fd = device_fd(blk_queue_device(e->queue));

        return fd >= 0 && flock(fd, how | LOCK_NB) ? -errno : 0;
}

static void dispose(struct ext4 *e)
{
        if (e->worker) {
                int err = fs_worker_call(e->worker, unmount_on_worker, e);

                if (err)
                        say("faultline: %s: unmounting: %s: run e2fsck -p", e->sb.s_id,
                            strerror(-err));
                fs_worker_destroy(e->worker);
        }
        ext4_io_destroy(e->io);
        if (e->queue) {
                /* A child that was forked meanwhile has the descriptor too, and the lock with it. */
                lock_device(e, LOCK_UN);
                blk_queue_destroy(e->queue);
        }
        free(e);
}

static int open_device(struct fs_env *env, const struct uri *u, struct device **out, int *ro_error,
                       const char **why)
{
        int err;

        *ro_error = 0;
        if (!u->norecovery) {
                err = device_open_uri(env->drivers, u->dev, O_RDWR, out, why);
                if (err != -EACCES && err != -EROFS && err != -EPERM)
                        return err;
                *ro_error = err;
        }
        return device_open_uri(env->drivers, u->dev, O_RDONLY, out, why);
}

static int mount(struct mounting *m, struct device *dev, int ro_error)
{
        struct ext4 *e = m->e;
        struct fs_env *env = e->sb.env;
        int err = blk_queue_create(&e->queue, dev, env->pool, env->trace);

        if (err) {
                device_close(dev);
                return err;
        }
        if (lock_device(e, LOCK_SH))
                return refuse(m, -EBUSY, "another engine or program writes to the image");
        if (ro_error)
                refuse_writing(e, "the image cannot be written to: %s", strerror(-ro_error));
        else if (dev->read_only)
                refuse_writing(e, "the device is read-only");
        err = read_super(m);
        if (!err)
                err = check_features(m);
        if (!err)
                err = check_geometry(m);
        if (!err)
                err = check_state(m);
        if (!err)
                err = ext4_io_create(&e->io, e->queue);
        if (!err)
                err = fs_worker_create(&e->worker, 1, "fl-ext4");
        if (!err)
                err = fs_worker_call(e->worker, mount_on_worker, m);
        return err;
}

static int mount_locked(struct fs_env *env, const struct uri *u, struct device *dev, int ro_error,
                        const char *id, struct ext4 **out, const char **why)
{
        struct ext4 *e = calloc(1, sizeof(*e));
        struct mounting m = { .e = e, .u = u, .text = env->drivers->why };
        int err;

        if (!e) {
                device_close(dev);
                return -ENOMEM;
        }
        e->sb.s_op = &ext4_super_ops;
        e->sb.type = "ext4";
        e->sb.env = env;
        snprintf(e->sb.s_id, sizeof(e->sb.s_id), "%s", id);
        err = mount(&m, dev, ro_error);
        if (err) {
                *why = m.why;
                dispose(e);
                return err;
        }
        super_insert_locked(env, &e->sb);
        *out = e;
        return 0;
}

/* May it be written to, by us alone? */
static int want_write_locked(struct ext4 *e, const char **why)
{
        if (*e->read_only) {
                *why = e->sb.env->drivers->why;
                snprintf(e->sb.env->drivers->why, sizeof(e->sb.env->drivers->why), "%s",
                         e->read_only);
                return -EROFS;
        }
        if (e->locked)
                return 0;
        if (lock_device(e, LOCK_EX)) {
                /* The one we had went with the attempt. */
                if (lock_device(e, LOCK_SH))
                        refuse_writing(e, "another engine or program writes to the image");
                *why = "another engine or program uses the image";
                return -EBUSY;
        }
        e->locked = true;
        return 0;
}

/* The one that is mounted, or mounts it. */
static int find_or_mount_locked(struct fs_env *env, const struct uri *u, struct ext4 **out,
                                const char **why)
{
        struct super_block *sb = super_find_name_locked(env, &ext4_super_ops, u->dev);
        char id[sizeof(sb->s_id)];
        struct device *dev;
        int ro_error, err;

        if (!sb) {
                err = open_device(env, u, &dev, &ro_error, why);
                if (err)
                        return err;
                device_id(dev, u->dev, id, sizeof(id));
                if (strlen(id) == sizeof(id) - 1)
                        *id = 0; /* perhaps not all of it: nobody's */
                sb = *id ? super_find_locked(env, &ext4_super_ops, id) : NULL;
                if (!sb)
                        return mount_locked(env, u, dev, ro_error, id, out, why);
                device_close(dev);
        }
        *out = to_ext4(sb);
        if (!(*out)->unreplayed || u->norecovery)
                return 0;
        *why = "its journal needs recovery, and with ?norecovery it is open already";
        return -EUCLEAN;
}

int ext4_get_locked(struct fs_env *env, const struct uri *u, bool write, struct ext4 **out,
                    const char **why)
{
        int err = find_or_mount_locked(env, u, out, why);

        if (err)
                return err;
        (*out)->nr_inodes++;
        if (write)
                err = want_write_locked(*out, why);
        if (write && !err && u->norecovery) {
                *why = "?norecovery opens it for reading only";
                err = -EROFS;
        }
        if (err)
                ext4_put_locked(*out);
        return err;
}

void ext4_put_locked(struct ext4 *e)
{
        if (--e->nr_inodes)
                return;
        super_remove_locked(e->sb.env, &e->sb);
        dispose(e);
}

struct worker_call {
        struct ext4 *e;
        int (*call)(void *);
        void *arg;
};

static int call_bounded(void *arg)
{
        struct worker_call *c = arg;

        /* No operation has to read more than all there is, but for a directory on the way twice. */
        ext4_io_allow(c->e->io, 4 * c->e->nr_blocks * c->e->block_size + (1u << 20));
        return c->call(c->arg);
}

int ext4_call(struct ext4 *e, int (*call)(void *), void *arg)
{
        struct worker_call c = { .e = e, .call = call, .arg = arg };

        return fs_worker_call(e->worker, call_bounded, &c);
}

/* The environment ends; inodes are gone by then, and the last of them has unmounted it. */
static void ext4_put_super(struct super_block *sb)
{
        dispose(to_ext4(sb));
}

const struct super_operations ext4_super_ops = {
        .evict_inode = ext4_evict_inode,
        .put_super = ext4_put_super,
};
