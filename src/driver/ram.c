/* SPDX-License-Identifier: Apache-2.0
 *
 * ram.c - a disk that is memory; the worked example of a driver.
 *
 * A driver is a struct that starts with a `struct device`, a function that opens it and fills the
 * device in, and one table of operations at the end of the file. That is all there is to it:
 *
 *   open    allocates the struct, says how large the device is and what it can do, and ends in
 *           device_opened();
 *   submit  takes one I/O, and calls driver_io_done() when it is over. This driver is done before
 *           submit() returns; one that waits for something keeps the I/O on a list of its own
 *           (io->next, io->priv) and calls driver_io_done() from another thread;
 *   close   frees it all; nothing is in flight by then.
 *
 * submit() runs on the page-fault path: it allocates nothing and never waits for an I/O.
 * driver/file.c is the next one to read, tests/unit/test_driver.c is what a new driver must pass.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "driver/device.h"
#include "util/lock.h"

struct ram {
        struct device dev;
        struct rwlock lock; /* taken for writing while the memory moves */
        char *memory;       /* [ram] zeros until written; the host gives pages when touched */
        uint64_t mapped;    /* [ram] bytes, whole pages, at least one */
};

static const struct driver_ops ram_ops;

static struct ram *to_ram(struct device *dev)
{
        return container_of(dev, struct ram, dev);
}

/* Copies between the buffers and `disk`, at most `bytes`. */
static void copy(const struct driver_io *io, char *disk, uint64_t bytes)
{
        for (unsigned i = 0; i < io->iovcnt && bytes; i++) {
                uint64_t n = min_u64(io->iov[i].iov_len, bytes);

                if (io->op == IO_READ)
                        memcpy(io->iov[i].iov_base, disk, n);
                else
                        memcpy(disk, io->iov[i].iov_base, n);
                disk += n;
                bytes -= n;
        }
}

/* Whole pages go back to the host, if they may. */
static void clear(char *from, uint64_t bytes, bool give_back)
{
        char *end = from + bytes;
        char *first = (char *)round_up_u64((uintptr_t)from, PAGE_SIZE);
        char *last = (char *)round_down_u64((uintptr_t)end, PAGE_SIZE);

        if (!give_back || first >= last || madvise(first, (size_t)(last - first), MADV_DONTNEED)) {
                memset(from, 0, bytes);
                return;
        }
        memset(from, 0, (size_t)(first - from));
        memset(last, 0, (size_t)(end - last));
}

/* Bytes moved, or -errno. */
static int64_t transfer(struct ram *ram, struct driver_io *io)
{
        uint64_t room;

        if (io->op == IO_FLUSH)
                return 0; /* there is nothing behind the memory */
        room = io->offset < ram->dev.size ? ram->dev.size - io->offset : 0;
        if (io->op != IO_READ && io->len > room)
                return -ENOSPC; /* a write moves all or fails */
        if (io->op == IO_DISCARD || io->op == IO_WRITE_ZEROES) {
                clear(ram->memory + io->offset, io->len, !(io->flags & DRIVER_NOUNMAP));
                return (int64_t)io->len;
        }
        if (io->op != IO_READ && io->op != IO_WRITE)
                return -EOPNOTSUPP;
        copy(io, ram->memory + io->offset, min_u64(io->len, room));
        return (int64_t)min_u64(io->len, room); /* a read ends where the device ends */
}

static void ram_submit(struct device *dev, struct driver_io *io)
{
        struct ram *ram = to_ram(dev);
        int64_t result;

        rwlock_read_lock(&ram->lock);
        result = transfer(ram, io);
        rwlock_read_unlock(&ram->lock);
        driver_io_done(io, result); /* the last thing: it may submit the next */
}

static void ram_close(struct device *dev)
{
        struct ram *ram = to_ram(dev);

        munmap(ram->memory, ram->mapped);
        free(ram);
}

/* Bytes to map for a device of `size`: 0 if there is no such size. */
static uint64_t mapping_size(uint64_t size)
{
        return size > INT64_MAX ? 0 : round_up_u64(max_u64(size, 1), PAGE_SIZE);
}

static int ram_resize(struct device *dev, uint64_t size)
{
        struct ram *ram = to_ram(dev);
        uint64_t bytes = mapping_size(size);
        char *memory;
        int err = 0;

        if (!bytes)
                return -EFBIG;
        rwlock_write_lock(&ram->lock);
        memory = mremap(ram->memory, ram->mapped, bytes, MREMAP_MAYMOVE);
        if (memory != MAP_FAILED) {
                /* What is cut off reads as zeros when the device grows again. */
                if (size < dev->size)
                        memset(memory + size, 0, min_u64(dev->size, bytes) - size);
                ram->memory = memory;
                ram->mapped = bytes;
                __atomic_store_n(&dev->size, size, __ATOMIC_RELAXED);
        } else {
                err = -errno;
        }
        rwlock_write_unlock(&ram->lock);
        return err;
}

int device_open_ram(struct driver_env *env, uint64_t size, struct device **out)
{
        struct ram *ram;

        if (!mapping_size(size))
                return -EFBIG;
        ram = calloc(1, sizeof *ram);
        if (!ram)
                return -ENOMEM;
        rwlock_init(&ram->lock, LOCK_RAM);
        ram->mapped = mapping_size(size);
        ram->memory = mmap(NULL, ram->mapped, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (ram->memory == MAP_FAILED) {
                free(ram);
                return -ENOMEM;
        }
        /* A forked child has no use for it, and would make us copy what we write. */
        madvise(ram->memory, ram->mapped, MADV_DONTFORK);
        madvise(ram->memory, ram->mapped, MADV_DONTDUMP);

        ram->dev = (struct device){
                .ops = &ram_ops,
                .env = env,
                .size = size,
                .block_size = SECTOR_SIZE,
                .max_segments = MAX_SEGMENTS,
                .max_discard = UINT64_MAX,
                .max_write_zeroes = UINT64_MAX,
                .fua = true,
        };
        snprintf(ram->dev.name, sizeof ram->dev.name, "ram:%llu", (unsigned long long)size);
        return device_opened(env, &ram->dev, out);
}

/* Members left out: commit (nothing is held back), refresh (the size is ours), fd (no file). */
static const struct driver_ops ram_ops = {
        .name = "ram",
        .signal_safe = true,
        .submit = ram_submit,
        .close = ram_close,
        .resize = ram_resize,
};
