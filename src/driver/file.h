/* SPDX-License-Identifier: Apache-2.0
 *
 * file.h - a host file or block device as a device; what the posix and uring drivers share.
 *
 * The file is open twice: `direct` (O_DIRECT, where the host allows it) for what is aligned, and
 * `buffered` for what is not: the last partial block of a file, or a buffer at an odd address.
 * The host keeps the two coherent.
 *
 * A transfer may take several system calls, one after the other:
 *
 *     if (file_io_begin(io, &result)) -> over at once
 *     do file_io_next(io, &part), perform the part; while (!file_io_end(io, res, &result))
 */
#ifndef FL_DRIVER_FILE_H
#define FL_DRIVER_FILE_H

#include "driver/device.h"

#define MAX_TRANSFER 0x7ffff000u /* the kernel moves no more in one call */

struct file_device {
        struct device dev;
        int buffered;
        int direct;            /* -1: the host does not allow it */
        uint32_t mem_align;    /* of buffers, for direct I/O; a power of two */
        uint32_t offset_align; /* of offset and length; a power of two */
        bool block;            /* a block device: its size is asked for differently */
        int slot;              /* uring: of `direct` in the ring's table of files, `buffered` behind
                                * it; -1: they are in none */
};

/* What one system call is to do. */
struct file_part {
        int fd;
        int slot;     /* of the ring's table of files; -1: none */
        int rw_flags; /* RWF_ */
        uint64_t offset;
        const struct iovec *iov;
        unsigned iovcnt;
};

/* True if the I/O needs no system call: *result is its result. */
bool file_io_begin(struct driver_io *io, int64_t *result);
/* The next system call of an I/O that reads or writes. */
void file_io_next(struct driver_io *io, struct file_part *part);
/* FALLOC_FL_ flags, if fallocate(2) of its range on file_fd() is all that the I/O needs; else 0. */
int file_io_fallocate(const struct driver_io *io);
/* The system call returned `res` (bytes, or -errno). True if the I/O is over with *result. */
bool file_io_end(struct driver_io *io, int64_t res, int64_t *result);
/* All system calls of an I/O that has begun, one after the other, and done(). */
void file_io_perform(struct driver_io *io);

/* The rest of the two drivers' tables. */
void file_perform(struct device *dev, struct driver_io *io);
void file_close(struct device *dev);
int file_refresh(struct device *dev, uint64_t *size);
int file_resize(struct device *dev, uint64_t size);
int file_allocate(struct device *dev, uint64_t offset, uint64_t len, uint64_t *end);
int file_punch(struct device *dev, uint64_t offset, uint64_t len);
int file_fd(const struct device *dev);

static inline struct file_device *to_file(struct device *dev)
{
        return container_of(dev, struct file_device, dev);
}

extern const struct driver_ops posix_ops, uring_ops;

/* Makes the workers, or the ring, of the env if there are none yet. 0 or -errno. */
int posix_prepare(struct driver_env *env);
int uring_prepare(struct driver_env *env);
/* The file's descriptors into the ring's table, if there is one and it has room. */
void uring_add_file(struct file_device *f);
void posix_destroy(struct driver_env *env);
void uring_destroy(struct driver_env *env);

#endif
