/* SPDX-License-Identifier: Apache-2.0
 *
 * image.c - the bytes of an image: for the library in small pieces, for blocks in large ones.
 *
 * The library asks for two bytes here and a few thousand there. What it asks for is read in windows,
 * of which a few are kept, and only those are copied from.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/squashfs/squashfs.h"

int image_read(struct image *image, uint64_t at, char *buf, uint64_t bytes, uint32_t opf,
               uint64_t fault)
{
        uint64_t most = (uint64_t)blk_queue_limits(image->queue)->max_sectors << SECTOR_SHIFT;
        int err = 0;

        if (at > image->size || bytes > image->size - at)
                return -EIO;
        most = max_u64(round_down_u64(most, IMAGE_ALIGN), IMAGE_ALIGN);
        for (uint64_t done = 0; done < bytes && !err; done += most)
                err = submit_bio_wait(image->queue, opf, (at + done) >> SECTOR_SHIFT, buf + done,
                                      (uint32_t)min_u64(most, bytes - done), fault);
        return err;
}

/* A window that holds the byte, or NULL with image->error. */
static struct window *window_at(struct image *image, uint64_t at)
{
        struct window *w;
        uint64_t bytes;

        for (unsigned i = 0; i < WINDOWS; i++) {
                w = &image->window[i];
                if (at >= w->at && at - w->at < w->bytes)
                        return w;
        }
        w = &image->window[image->next++ % WINDOWS];
        w->bytes = 0;
        w->at = round_down_u64(at, IMAGE_ALIGN);
        bytes = min_u64(WINDOW_BYTES, image->size - w->at);
        image->error = image_read(image, w->at, w->buf, bytes, IO_READ | REQ_META | REQ_SYNC, 0);
        if (image->error)
                return NULL;
        w->bytes = (uint32_t)bytes;
        return w;
}

static int image_read_at(sqfs_file_t *file, sqfs_u64 at, void *buffer, size_t bytes)
{
        struct image *image = (struct image *)file;
        char *to = buffer;

        if (at > image->size || bytes > image->size - at)
                return SQFS_ERROR_OUT_OF_BOUNDS;
        while (bytes) {
                const struct window *w = window_at(image, at);
                size_t n;

                if (!w)
                        return SQFS_ERROR_IO;
                n = min_u64(bytes, w->at + w->bytes - at);
                memcpy(to, w->buf + (at - w->at), n);
                to += n;
                at += n;
                bytes -= n;
        }
        return 0;
}

static int image_write_at(sqfs_file_t *file, sqfs_u64 at, const void *buffer, size_t bytes)
{
        (void)file, (void)at, (void)buffer, (void)bytes;
        return SQFS_ERROR_IO;
}

static sqfs_u64 image_get_size(const sqfs_file_t *file)
{
        return ((const struct image *)file)->size;
}

static int image_truncate(sqfs_file_t *file, sqfs_u64 size)
{
        (void)file, (void)size;
        return SQFS_ERROR_IO;
}

int image_init(struct image *image, struct request_queue *queue)
{
        *image = (struct image){
                .file = {
                        .read_at = image_read_at,
                        .write_at = image_write_at,
                        .get_size = image_get_size,
                        .truncate = image_truncate,
                },
                .queue = queue,
                .size = blk_queue_device(queue)->size,
        };
        for (unsigned i = 0; i < WINDOWS; i++) {
                image->window[i].buf = aligned_alloc(IMAGE_ALIGN, WINDOW_BYTES);
                if (!image->window[i].buf)
                        return -ENOMEM;
        }
        return 0;
}

void image_destroy(struct image *image)
{
        for (unsigned i = 0; i < WINDOWS; i++)
                free(image->window[i].buf);
}
