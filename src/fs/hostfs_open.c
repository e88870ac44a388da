/* SPDX-License-Identifier: Apache-2.0
 *
 * hostfs_open.c - opening a host file as open(2) would, and once per file, not per open.
 *
 * The path is resolved once, to an O_PATH descriptor; type and permission are checked on that,
 * and the device is opened through /proc/self/fd, so that nobody can put another file there in
 * between. Nothing here can block on a FIFO or touch a terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/hostfs.h"

#define OPEN_SAFELY (O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
#define DEFAULT_READAHEAD (128 * 1024) /* VM_READAHEAD_PAGES */

/* One open on its way. */
struct opening {
        struct fs_env *env;
        const char *uri, *path;
        int oflags, mode;
        bool write;
        int fd; /* of the file, with the access asked for; proves the permission */
        struct stat st;
        bool lift_mode; /* we created it with a mode that forbids us to open it again */
        const char *why;
};

static int check_type(struct opening *o)
{
        mode_t mode = o->st.st_mode;

        if (S_ISDIR(mode))
                return -EISDIR;
        if (S_ISREG(mode) || S_ISBLK(mode))
                return 0;
        o->why = "neither a file nor a block device: it has no pages";
        return -ENODEV;
}

/* Through /proc, or by the path where there is none; -ESTALE if that is another file by now. */
static int reopen(const struct opening *o, int path_fd, int flags)
{
        char link[32];
        struct stat st;
        int fd;

        snprintf(link, sizeof link, "/proc/self/fd/%d", path_fd);
        fd = open(link, flags | OPEN_SAFELY);
        if (fd < 0 && errno == ENOENT)
                fd = open(o->path, flags | OPEN_SAFELY);
        if (fd < 0)
                return -errno;
        if (!fstat(fd, &st) && st.st_dev == o->st.st_dev && st.st_ino == o->st.st_ino)
                return fd;
        close(fd);
        return -ESTALE;
}

/* The kernel opens some disks that are read-only for writing, and then refuses each write. */
static int check_read_only(struct opening *o)
{
        int read_only = 0;

        if (!o->write || !S_ISBLK(o->st.st_mode) || ioctl(o->fd, BLKROGET, &read_only) ||
            !read_only)
                return 0;
        o->why = "the device is read-only";
        return -EACCES;
}

/* The file exists. */
static int open_existing(struct opening *o, int path_fd)
{
        int err;

        if (fstat(path_fd, &o->st))
                return -errno;
        if ((o->oflags & O_CREAT) && (o->oflags & O_EXCL))
                return -EEXIST;
        err = check_type(o);
        if (err)
                return err;
        o->fd = reopen(o, path_fd, o->oflags & O_ACCMODE);
        return o->fd < 0 ? o->fd : check_read_only(o);
}

/* The file did not exist a moment ago. -EEXIST: now it does. */
static int open_new(struct opening *o, int excl)
{
        o->fd = open(o->path, (o->oflags & O_ACCMODE) | O_CREAT | excl | OPEN_SAFELY, o->mode);
        if (o->fd < 0)
                return -errno;
        if (fstat(o->fd, &o->st))
                return -errno;
        o->lift_mode = excl && (o->st.st_mode & 0600) != 0600;
        return check_type(o);
}

static int open_host_file(struct opening *o)
{
        int err = -ENOENT;

        /* Twice, for a file that somebody makes or removes between look and open. The second
         * create is not exclusive: a dangling link is there and is not, and open(2) follows it. */
        for (int attempt = 0; attempt < 2; attempt++) {
                int path_fd = open(o->path, O_PATH | O_CLOEXEC);

                if (path_fd >= 0) {
                        err = open_existing(o, path_fd);
                        close(path_fd);
                        return err;
                }
                if (errno != ENOENT || !(o->oflags & O_CREAT))
                        return -errno;
                err = open_new(o, attempt ? o->oflags & O_EXCL : O_EXCL);
                if (err != -EEXIST || (o->oflags & O_EXCL))
                        return err;
        }
        return err;
}

/* The end of the path, if it is long: not the link it was opened through. */
static void name_device(struct device *dev, const char *path)
{
        size_t len = strlen(path), room = sizeof dev->name - 1;

        strcpy(dev->name, len > room ? path + len - room : path);
}

/* A device of the very file that o->fd is, with a queue before it. */
static int open_queue(struct opening *o, bool write, struct request_queue **out)
{
        char link[32];
        struct device *dev;
        struct stat st;
        int flags = write ? O_RDWR : O_RDONLY;
        int err;

        snprintf(link, sizeof link, "/proc/self/fd/%d", o->fd);
        err = device_open_file(o->env->drivers, link, flags, &dev);
        if (err == -ENOENT)
                err = device_open_file(o->env->drivers, o->path, flags, &dev);
        if (err)
                return err;
        name_device(dev, o->path);
        if (fstat(device_fd(dev), &st))
                err = -errno;
        else if (st.st_dev != o->st.st_dev || st.st_ino != o->st.st_ino)
                err = -ESTALE;
        else
                err = blk_queue_create(out, dev, o->env->pool, o->env->trace);
        if (err)
                device_close(dev);
        return err;
}

/* As open_queue, for a file that was just created with a mode such as 0444. */
static int open_queue_lifted(struct opening *o, bool write, struct request_queue **out)
{
        int err;

        if (o->lift_mode && fchmod(o->fd, (o->st.st_mode & 07777) | 0600))
                return -errno;
        err = open_queue(o, write, out);
        if (o->lift_mode && fchmod(o->fd, o->st.st_mode & 07777) && !err) {
                err = -errno;
                blk_queue_destroy(*out);
        }
        if (err == -EACCES && (o->oflags & O_ACCMODE) == O_WRONLY)
                o->why = "the page cache must be able to read it too";
        if (err == -ESTALE)
                o->why = "another file took its place while it was opened";
        return err;
}

/* ---- the device's numbers ---- */

static bool read_number(const char *format, dev_t dev, const char *name, uint64_t *out)
{
        char path[128];
        unsigned long long n;
        FILE *f;
        bool ok;

        snprintf(path, sizeof path, format, major(dev), minor(dev), name);
        f = fopen(path, "re");
        if (!f)
                return false;
        ok = fscanf(f, "%llu", &n) == 1;
        fclose(f);
        if (ok)
                *out = n;
        return ok;
}

/* A disk's own queue, or that of the disk a partition lies on. */
static bool read_queue(dev_t dev, const char *name, uint64_t *out)
{
        return read_number("/sys/dev/block/%u:%u/queue/%s", dev, name, out) ||
               read_number("/sys/dev/block/%u:%u/../queue/%s", dev, name, out);
}

static void set_readahead(struct opening *o, struct inode *inode)
{
        dev_t dev = S_ISBLK(o->st.st_mode) ? o->st.st_rdev : o->st.st_dev;
        uint64_t ra = DEFAULT_READAHEAD / 1024, io;

        /* A file system without a disk of its own may still say what it wants. */
        if (!read_queue(dev, "read_ahead_kb", &ra))
                read_number("/sys/class/bdi/%u:%u/%s", dev, "read_ahead_kb", &ra);
        if (!read_queue(dev, "max_sectors_kb", &io))
                io = ra;
        if (o->env->readahead)
                ra = o->env->readahead / 1024;
        inode->ra_pages = (uint32_t)min_u64(ra / 4, UINT32_MAX);
        inode->io_pages = (uint32_t)min_u64(io / 4, UINT32_MAX);
}

static bool is_append_only(int fd)
{
        struct statx sx;

        return !statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &sx) &&
               (sx.stx_attributes & STATX_ATTR_APPEND);
}

/* As it was mounted where it was first opened. */
static bool is_noexec(int fd)
{
        struct statvfs vfs;

        return !fstatvfs(fd, &vfs) && (vfs.f_flag & ST_NOEXEC);
}

/* ---- the inode ---- */

static struct super_block *get_super_locked(struct fs_env *env)
{
        struct super_block *sb;

        mutex_assert_held(&env->lock);
        for (sb = env->supers; sb; sb = sb->next)
                if (sb->s_op == &hostfs_super_ops)
                        return sb;
        sb = calloc(1, sizeof *sb);
        if (!sb)
                return NULL;
        sb->s_op = &hostfs_super_ops;
        sb->type = "hostfs";
        sb->env = env;
        super_insert_locked(env, sb);
        return sb;
}

static uint64_t identity(const struct stat *st, uint64_t *ino)
{
        bool block = S_ISBLK(st->st_mode);

        *ino = block ? 0 : st->st_ino;
        return block ? I_DEV_BLOCK | st->st_rdev : st->st_dev;
}

static void use_queue(struct hostfs_inode *h, struct request_queue *q)
{
        h->inode.i_queue = q;
        atomic_store_explicit(&h->queue, q, memory_order_release);
}

/* Somebody has it open. => env->lock held; the reference is taken, and dropped on error. */
static int open_again_locked(struct opening *o, struct inode *inode)
{
        struct hostfs_inode *h = to_hostfs(inode);
        struct request_queue *q;
        int err;

        mutex_assert_held(&o->env->lock);
        if ((o->oflags & O_TRUNC) && !h->block && atomic_load(&inode->i_size)) {
                o->why = "it is open already, and cannot be truncated by opening it";
                return -EBUSY;
        }
        if (!o->write || inode->writable)
                return 0;
        err = open_queue_lifted(o, true, &q);
        if (err)
                return err;
        h->read_only = hostfs_queue(inode);
        use_queue(h, q);
        inode->writable = true;
        return 0;
}

/* => env->lock held. */
static int open_first_locked(struct opening *o, struct inode **out)
{
        struct super_block *sb = get_super_locked(o->env);
        struct hostfs_inode *h = calloc(1, sizeof *h);
        struct request_queue *q;
        int err = sb && h ? 0 : -ENOMEM;

        if (!err && (o->oflags & O_TRUNC) && S_ISREG(o->st.st_mode) && ftruncate(o->fd, 0))
                err = -errno;
        if (!err)
                err = open_queue_lifted(o, o->write, &q);
        if (err) {
                free(h);
                return err;
        }
        h->block = S_ISBLK(o->st.st_mode);
        known_init(&h->known);
        h->inode.i_op = &hostfs_inode_ops;
        h->inode.a_ops = &hostfs_aops;
        h->inode.f_op = &hostfs_file_ops;
        h->inode.i_sb = sb;
        h->inode.i_dev = identity(&o->st, &h->inode.i_ino);
        h->inode.i_size = hostfs_device_size(blk_queue_device(q));
        h->inode.writable = o->write;
        h->inode.append_only = is_append_only(o->fd);
        h->inode.noexec = is_noexec(o->fd);
        use_queue(h, q);
        set_readahead(o, &h->inode);
        inode_insert_locked(o->env, &h->inode, o->uri);
        *out = &h->inode;
        return 0;
}

static int open_inode(struct opening *o, struct inode **out)
{
        struct fs_env *env = o->env;
        uint64_t ino, dev = identity(&o->st, &ino);
        struct inode *inode;
        int err;

        mutex_lock(&env->lock);
        inode = inode_find_locked(env, dev, ino);
        err = inode ? open_again_locked(o, inode) : open_first_locked(o, &inode);
        mutex_unlock(&env->lock);
        if (!err)
                *out = inode;
        else if (inode)
                inode_put(inode);
        return err;
}

int hostfs_open(struct fs_env *env, const char *uri, const char *path, int oflags, int mode,
                struct inode **out, const char **why)
{
        struct opening o = {
                .env = env,
                .uri = uri,
                .path = path,
                .oflags = oflags,
                .mode = mode,
                .write = (oflags & O_ACCMODE) != O_RDONLY,
                .fd = -1,
        };
        int err;

        if ((oflags & O_TRUNC) && !o.write) {
                *why = "O_TRUNC needs an open for writing";
                return -EINVAL;
        }
        err = open_host_file(&o);
        if (!err)
                err = open_inode(&o, out);
        if (o.fd >= 0)
                close(o.fd);
        *why = o.why;
        return err;
}
