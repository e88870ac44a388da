/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - host files as devices: opening, alignment, size, and going on after short transfers.
 *
 * Neighbours: posix.c and uring.c perform the parts this file cuts an I/O into.
 * In an I/O's priv: [0] bytes moved so far, [1] PRIV_ flags, [2..3] a cut iovec (see below).
 */
#include "driver/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PRIV_MOVED 0
#define PRIV_FLAGS 1
#define PRIV_IOVEC 2
#define PRIV_BUFFERED 1u /* no direct I/O for this one: asked for, or the host refused it */

/* A file of which the host does not say what direct I/O needs: what always worked. */
#define DEFAULT_ALIGN 4096

static bool aligned(uint64_t v, uint32_t to)
{
        return (v & (to - 1)) == 0;
}

/* ---- one I/O ---- */

bool file_io_begin(struct driver_io *io, int64_t *result)
{
        bool write = io->op == IO_WRITE;

        bool zero = io->op == IO_DISCARD || io->op == IO_WRITE_ZEROES;

        *result = 0;
        io->priv[PRIV_MOVED] = 0;
        io->priv[PRIV_FLAGS] = io->flags & DRIVER_BUFFERED ? PRIV_BUFFERED : 0;
        if (io->op == IO_FLUSH)
                return false;
        if (io->op != IO_READ && !write && !zero)
                *result = -EOPNOTSUPP;
        else if (io->op != IO_READ && io->dev->read_only)
                *result = -EROFS;
        return *result || !io->len;
}

/* How many of the leading iovecs may go to the direct descriptor as they are? */
static unsigned direct_iovecs(const struct file_device *f, const struct driver_io *io)
{
        unsigned n = 0;

        while (n < io->iovcnt && aligned((uintptr_t)io->iov[n].iov_base, f->mem_align) &&
               aligned(io->iov[n].iov_len, f->offset_align))
                n++;
        return n;
}

/* Cut the first iovec to whole blocks, so that only what is left over is buffered.
 * The copy lives in io->priv, since a ring reads it later. False: not even one block. */
static bool cut_iovec(const struct file_device *f, struct driver_io *io, struct file_part *part)
{
        struct iovec cut = {
                .iov_base = io->iov->iov_base,
                .iov_len = round_down_u64(io->iov->iov_len, f->offset_align),
        };

        _Static_assert(sizeof cut <= 2 * sizeof io->priv[0], "an iovec fits into priv[2..3]");
        if (!cut.iov_len || !aligned((uintptr_t)cut.iov_base, f->mem_align))
                return false;
        memcpy(&io->priv[PRIV_IOVEC], &cut, sizeof cut);
        part->iov = (struct iovec *)&io->priv[PRIV_IOVEC];
        part->iovcnt = 1;
        return true;
}

void file_io_next(struct driver_io *io, struct file_part *part)
{
        struct file_device *f = to_file(io->dev);
        unsigned n;

        part->offset = io->offset + io->priv[PRIV_MOVED];
        part->rw_flags = io->op == IO_WRITE && io->flags & DRIVER_FUA ? RWF_DSYNC : 0;
        part->fd = f->direct;
        part->slot = f->slot;
        part->iov = io->iov;
        if (f->direct >= 0 && !(io->priv[PRIV_FLAGS] & PRIV_BUFFERED) &&
            aligned(part->offset, f->offset_align)) {
                n = direct_iovecs(f, io);
                part->iovcnt = n < MAX_SEGMENTS ? n : MAX_SEGMENTS;
                if (n || cut_iovec(f, io, part))
                        return;
        }
        part->fd = f->buffered;
        part->slot = f->slot < 0 ? -1 : f->slot + 1;
        part->iovcnt = io->iovcnt < MAX_SEGMENTS ? io->iovcnt : MAX_SEGMENTS;
}

/* A host file gives its blocks back, or keeps them; a block device discards, or is written over, as it
 * can. It does not grow. */
int file_io_fallocate(const struct driver_io *io)
{
        if (io->op == IO_WRITE_ZEROES && io->flags & DRIVER_NOUNMAP)
                return FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
        if (io->op == IO_DISCARD || io->op == IO_WRITE_ZEROES)
                return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        return 0;
}

/* The first `bytes` are done: let iov begin behind them. */
static void advance(struct driver_io *io, uint64_t bytes)
{
        io->priv[PRIV_MOVED] += bytes;
        while (bytes) {
                uint64_t n = min_u64(bytes, io->iov->iov_len);

                io->iov->iov_base = (char *)io->iov->iov_base + n;
                io->iov->iov_len -= n;
                bytes -= n;
                if (!io->iov->iov_len && io->iovcnt) {
                        io->iov++;
                        io->iovcnt--;
                }
        }
}

bool file_io_end(struct driver_io *io, int64_t res, int64_t *result)
{
        if (res == -EINTR || res == -EAGAIN)
                return false;
        if (io->op == IO_FLUSH) {
                *result = res;
                return true;
        }
        if (file_io_fallocate(io)) {
                *result = res < 0 ? res : (int64_t)io->len;
                return true;
        }
        if (res == -EINVAL && !(io->priv[PRIV_FLAGS] & PRIV_BUFFERED)) {
                /* Direct I/O refused, perhaps by the file's new layout: the host knows best. */
                io->priv[PRIV_FLAGS] |= PRIV_BUFFERED;
                return false;
        }
        if (res < 0) {
                *result = res;
                return true;
        }
        advance(io, (uint64_t)res);
        *result = (int64_t)io->priv[PRIV_MOVED];
        if (res == 0 && io->op == IO_WRITE)
                *result = -EIO;
        return res == 0 || io->priv[PRIV_MOVED] == io->len;
}

/* One system call of it. */
static int64_t perform_part(struct driver_io *io)
{
        struct file_part part;
        ssize_t n;
        int mode;

        if (io->op == IO_FLUSH)
                return fdatasync(file_fd(io->dev)) ? -errno : 0;
        mode = file_io_fallocate(io);
        if (mode)
                return fallocate(file_fd(io->dev), mode, (off_t)io->offset, (off_t)io->len) ? -errno
                                                                                            : 0;
        file_io_next(io, &part);
        if (io->op == IO_READ)
                n = preadv2(part.fd, part.iov, (int)part.iovcnt, (off_t)part.offset, 0);
        else
                n = pwritev2(part.fd, part.iov, (int)part.iovcnt, (off_t)part.offset,
                             part.rw_flags);
        return n < 0 ? -errno : n;
}

void file_io_perform(struct driver_io *io)
{
        int64_t result;

        while (!file_io_end(io, perform_part(io), &result))
                ;
        driver_io_done(io, result);
}

void file_perform(struct device *dev, struct driver_io *io)
{
        int64_t result;

        (void)dev;
        if (file_io_begin(io, &result))
                driver_io_done(io, result);
        else
                file_io_perform(io);
}

/* ---- the device ---- */

static int file_size(const struct file_device *f, uint64_t *size)
{
        struct stat st;

        if (f->block)
                return ioctl(f->buffered, BLKGETSIZE64, size) ? -errno : 0;
        if (fstat(f->buffered, &st))
                return -errno;
        *size = (uint64_t)st.st_size;
        return 0;
}

int file_refresh(struct device *dev, uint64_t *size)
{
        int err = file_size(to_file(dev), size);

        if (!err)
                __atomic_store_n(&dev->size, *size, __ATOMIC_RELAXED);
        return err;
}

int file_resize(struct device *dev, uint64_t size)
{
        if (dev->read_only)
                return -EROFS;
        if (size > INT64_MAX)
                return -EFBIG;
        if (ftruncate(to_file(dev)->buffered, (off_t)size))
                return -errno;
        __atomic_store_n(&dev->size, size, __ATOMIC_RELAXED);
        return 0;
}

/* What is no hole has room: where it ends is asked of the host once. Else blocks are reserved, without
 * making the file longer. A file system that cannot do that says ENOSPC when it is written. */
int file_allocate(struct device *dev, uint64_t offset, uint64_t len, uint64_t *end)
{
        int fd = to_file(dev)->buffered, err;
        off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;

        *end = offset + len;
        if (data == (off_t)offset) {
                hole = lseek(fd, data, SEEK_HOLE);
                if (hole >= (off_t)(offset + PAGE_SIZE)) {
                        *end = (uint64_t)hole;
                        return 0;
                }
        }
        do {
                err = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
        } while (err && errno == EINTR);
        return err && errno != EOPNOTSUPP && errno != ENOSYS ? -errno : 0;
}

int file_punch(struct device *dev, uint64_t offset, uint64_t len)
{
        int err;

        if (dev->read_only)
                return -EROFS;
        do {
                err = fallocate(to_file(dev)->buffered, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)offset, (off_t)len);
        } while (err && errno == EINTR);
        return err ? -errno : 0;
}

int file_fd(const struct device *dev)
{
        return container_of(dev, const struct file_device, dev)->buffered;
}

void file_close(struct device *dev)
{
        struct file_device *f = to_file(dev);

        if (f->direct >= 0)
                close(f->direct);
        if (f->buffered >= 0)
                close(f->buffered);
        free(f);
}

/* Opens without waiting for a FIFO's other end; blocking afterwards, or a ring would hand
 * -EAGAIN back. The descriptor or -errno. */
static int open_blocking(const char *path, int flags)
{
        int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        int now;

        if (fd < 0)
                return -errno;
        now = fcntl(fd, F_GETFL);
        if (now >= 0 && fcntl(fd, F_SETFL, now & ~O_NONBLOCK) == 0)
                return fd;
        now = -errno;
        close(fd);
        return now;
}

/* 0, or why this is nothing that has blocks. */
static int check_type(struct file_device *f, struct stat *st)
{
        if (fstat(f->buffered, st))
                return -errno;
        if (S_ISDIR(st->st_mode))
                return -EISDIR;
        f->block = S_ISBLK(st->st_mode);
        return f->block || S_ISREG(st->st_mode) ? 0 : -ENODEV;
}

/* Does reading one block directly work? For hosts that do not say so. */
static bool try_direct(int fd)
{
        void *page;
        ssize_t n;

        if (posix_memalign(&page, DEFAULT_ALIGN, DEFAULT_ALIGN))
                return false;
        n = pread(fd, page, DEFAULT_ALIGN, 0);
        free(page);
        return n >= 0;
}

/* What the host demands of direct I/O. False: it cannot be done. */
static bool direct_alignment(struct file_device *f, int fd)
{
#ifdef STATX_DIOALIGN
        struct statx sx;

        if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN) {
                f->mem_align = sx.stx_dio_mem_align;
                f->offset_align = sx.stx_dio_offset_align;
                return f->mem_align && f->offset_align;
        }
#endif
        f->mem_align = f->offset_align = DEFAULT_ALIGN;
        return try_direct(fd);
}

/* The direct descriptor of the same file, or -1. */
static int open_direct(struct file_device *f, const char *path, int oflags, const struct stat *st)
{
        struct stat again;
        int fd = open_blocking(path, oflags | O_DIRECT);

        if (fd < 0)
                return -1;
        /* The path may name another file by now. */
        if (!fstat(fd, &again) && again.st_dev == st->st_dev && again.st_ino == st->st_ino &&
            direct_alignment(f, fd))
                return fd;
        close(fd);
        return -1;
}

static int file_device_open(struct file_device *f, const char *path, int oflags)
{
        struct stat st;
        size_t len = strlen(path), keep = sizeof f->dev.name - 1;
        uint64_t size;
        int err;

        f->buffered = open_blocking(path, oflags);
        if (f->buffered < 0)
                return f->buffered;
        err = check_type(f, &st);
        if (err)
                return err;
        f->direct = open_direct(f, path, oflags, &st);
        f->dev.block_size = f->direct >= 0 ? f->offset_align : SECTOR_SIZE;
        f->dev.max_segments = MAX_SEGMENTS;
        f->dev.max_discard = f->dev.max_write_zeroes = oflags == O_RDONLY ? 0 : UINT64_MAX;
        f->dev.read_only = oflags == O_RDONLY;
        f->dev.fua = true;
        snprintf(f->dev.name, sizeof f->dev.name, "%s", len > keep ? path + len - keep : path);
        return file_refresh(&f->dev, &size);
}

/* Which driver serves host files? Makes what it needs. 0 or -errno. */
static int choose_driver(struct driver_env *env, const struct driver_ops **ops)
{
        const char *name = env->driver ? env->driver : "auto";
        bool any = !strcmp(name, "auto");

        *ops = &uring_ops;
        if (!strcmp(name, "uring"))
                return uring_prepare(env);
        if (any && !uring_prepare(env))
                return 0;
        *ops = &posix_ops;
        return any || !strcmp(name, "posix") ? posix_prepare(env) : -EINVAL;
}

int device_open_file(struct driver_env *env, const char *path, int oflags, struct device **out)
{
        const struct driver_ops *ops;
        struct file_device *f;
        int err;

        if (oflags != O_RDONLY && oflags != O_RDWR)
                return -EINVAL;
        err = choose_driver(env, &ops);
        if (err)
                return err;
        f = calloc(1, sizeof *f);
        if (!f)
                return -ENOMEM;
        f->dev.ops = ops;
        f->dev.env = env;
        f->buffered = f->direct = f->slot = -1;
        err = file_device_open(f, path, oflags);
        if (err) {
                file_close(&f->dev);
                return err;
        }
        if (ops == &uring_ops)
                uring_add_file(f);
        return device_opened(env, &f->dev, out);
}
