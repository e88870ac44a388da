/* SPDX-License-Identifier: Apache-2.0
 *
 * io.c - libext2fs's reads and writes as bios, marked as metadata.
 *
 * The library asks for blocks by an io_manager. Its open() gets a name and nothing else, so the
 * name is the address of the struct that holds the manager. Bytes pass through a buffer that is
 * aligned, since the library's are not, and a write of one block is one bio.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ext4/ext4.h"

#define BOUNCE_BYTES 65536u

struct ext4_io {
        struct struct_io_manager manager;
        struct struct_io_channel channel;
        struct request_queue *queue;
        char name[32];
        char *bounce;
        uint64_t allowed; /* bytes that may still be read */
};

static struct ext4_io *io_of(io_channel channel)
{
        return channel->private_data;
}

static errcode_t io_open(const char *name, int flags, io_channel *channel)
{
        void *io = NULL;

        (void)flags;
        if (sscanf(name, "%p", &io) != 1)
                return EINVAL;
        *channel = &((struct ext4_io *)io)->channel;
        return 0;
}

static errcode_t io_close(io_channel channel)
{
        (void)channel; /* ext4_io_destroy() does it */
        return 0;
}

static errcode_t io_set_blksize(io_channel channel, int blksize)
{
        channel->block_size = blksize;
        return 0;
}

/* `count` blocks, or, if it is negative, so many bytes. False: not on the device. */
static bool locate(io_channel channel, unsigned long long block, int count, uint64_t *offset,
                   uint64_t *bytes)
{
        uint64_t size = blk_queue_device(io_of(channel)->queue)->size;
        uint64_t block_size = (uint64_t)channel->block_size;

        *bytes = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * block_size;
        if (block > size / block_size)
                return false;
        *offset = block * block_size;
        return *bytes <= size - *offset && *bytes % SECTOR_SIZE == 0;
}

static errcode_t io_read(io_channel channel, unsigned long long block, int count, void *data)
{
        struct ext4_io *io = io_of(channel);
        uint64_t offset, bytes;
        char *to = data;

        if (!locate(channel, block, count, &offset, &bytes))
                return EXT2_ET_SHORT_READ;
        if (bytes > io->allowed)
                return EUCLEAN;
        io->allowed -= bytes;
        while (bytes) {
                uint32_t n = (uint32_t)min_u64(bytes, BOUNCE_BYTES);
                int err = submit_bio_wait(io->queue, IO_READ | REQ_META | REQ_SYNC,
                                          offset >> SECTOR_SHIFT, io->bounce, n, 0);

                if (err)
                        return -err;
                memcpy(to, io->bounce, n);
                to += n;
                offset += n;
                bytes -= n;
        }
        return 0;
}

static errcode_t io_write(io_channel channel, unsigned long long block, int count, const void *data)
{
        struct ext4_io *io = io_of(channel);
        uint64_t offset, bytes;
        const char *from = data;

        if (!locate(channel, block, count, &offset, &bytes))
                return EXT2_ET_SHORT_WRITE;
        while (bytes) {
                uint32_t n = (uint32_t)min_u64(bytes, BOUNCE_BYTES);
                int err;

                memcpy(io->bounce, from, n);
                err = submit_bio_wait(io->queue, IO_WRITE | REQ_META | REQ_SYNC,
                                      offset >> SECTOR_SHIFT, io->bounce, n, 0);
                if (err)
                        return -err;
                from += n;
                offset += n;
                bytes -= n;
        }
        return 0;
}

static errcode_t io_read_old(io_channel channel, unsigned long block, int count, void *data)
{
        return io_read(channel, block, count, data);
}

static errcode_t io_write_old(io_channel channel, unsigned long block, int count, const void *data)
{
        return io_write(channel, block, count, data);
}

static errcode_t io_flush(io_channel channel)
{
        return -submit_bio_wait(io_of(channel)->queue, IO_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, NULL,
                                0, 0);
}

/* ---- what the rest of the folder calls ---- */

static const struct struct_io_manager manager = {
        .magic = EXT2_ET_MAGIC_IO_MANAGER,
        .name = "faultline",
        .open = io_open,
        .close = io_close,
        .set_blksize = io_set_blksize,
        .read_blk = io_read_old,
        .write_blk = io_write_old,
        .flush = io_flush,
        .read_blk64 = io_read,
        .write_blk64 = io_write,
};

int ext4_io_create(struct ext4_io **out, struct request_queue *q)
{
        struct ext4_io *io = calloc(1, sizeof(*io));

        if (io)
                io->bounce = aligned_alloc(PAGE_SIZE, BOUNCE_BYTES);
        if (!io || !io->bounce) {
                free(io);
                return -ENOMEM;
        }
        io->queue = q;
        io->allowed = UINT64_MAX;
        io->manager = manager;
        snprintf(io->name, sizeof(io->name), "%p", (void *)io);
        io->channel = (struct struct_io_channel){
                .magic = EXT2_ET_MAGIC_IO_CHANNEL,
                .manager = &io->manager,
                .name = io->name,
                .block_size = 1024,
                .refcount = 1,
                .private_data = io,
        };
        *out = io;
        return 0;
}

void ext4_io_destroy(struct ext4_io *io)
{
        if (!io)
                return;
        free(io->bounce);
        free(io);
}

io_manager ext4_io_manager(struct ext4_io *io)
{
        return &io->manager;
}

const char *ext4_io_name(struct ext4_io *io)
{
        return io->name;
}

void ext4_io_allow(struct ext4_io *io, uint64_t bytes)
{
        io->allowed = bytes;
}

int ext4_read_block(struct ext4 *e, uint64_t block, void *buf)
{
        return ext4_error(io_channel_read_blk64(e->fs->io, block, 1, buf));
}

int ext4_write_block(struct ext4 *e, uint64_t block, const void *buf)
{
        return ext4_error(io_channel_write_blk64(e->fs->io, block, 1, buf));
}

int ext4_flush(struct ext4 *e)
{
        return ext4_error(io_channel_flush(e->fs->io));
}

int ext4_error(errcode_t err)
{
        switch (err) {
        case 0:
                return 0;
        case EXT2_ET_NO_MEMORY:
                return -ENOMEM;
        case EXT2_ET_FILE_NOT_FOUND:
                return -ENOENT;
        case EXT2_ET_NO_DIRECTORY:
                return -ENOTDIR;
        case EXT2_ET_SHORT_READ:
        case EXT2_ET_SHORT_WRITE:
                return -EIO;
        default:
                return err < 256 ? -(int)err : -EUCLEAN;
        }
}
