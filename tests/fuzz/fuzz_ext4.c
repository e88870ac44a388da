/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_ext4.c - ext4 images that lie: listed, read, and written to. The module's files are linked in, so
 * that they are covered; libext2fs is Debian's. Most seeds have no checksums, which a fuzzer cannot make.
 */
#include "fs/ext4/ext4.h"
#include "image.h"

static void write_pages(struct image_fuzz *f, struct inode *inode, uint64_t first, uint64_t end)
{
        for (uint64_t i = first; i < end && i < pages_of(inode->i_size); i++) {
                int err = inode->a_ops->allocate(inode, i, true);

                must(err <= 0);
                if (err)
                        return;
        }
        memset(f->buf, 0xa5, RUN_PAGES * PAGE_SIZE);
        if (first < pages_of(inode->i_size))
                image_run(f, inode, IO_WRITE, first, (uint32_t)(end - first));
}

/* As the cache does it, which shows no page meanwhile. */
static void change(struct image_fuzz *f, struct inode *inode)
{
        uint64_t size = inode->i_size;

        if (!inode->writable)
                return;
        write_pages(f, inode, 0, 2);
        must(inode->i_op->fsync(inode, false) <= 0);
        must(inode->i_op->punch(inode, 0, 1) <= 0);
        if (inode->i_op->truncate(inode, size + 20000) == 0)
                write_pages(f, inode, pages_of(size), pages_of(size + 20000));
        must(inode->i_op->fsync(inode, false) <= 0);
        if (inode->i_op->truncate(inode, size / 2) == 0)
                write_pages(f, inode, 0, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct image_fuzz f;

        if (!f.type)
                image_fuzz_start(&f, &ext4_type);
        /* An image to be written to must be in order; one to be read need not. */
        f.oflags = size && data[0] % 2 ? O_RDONLY : O_RDWR;
        f.more = change;
        image_fuzz_one(&f, data, size);
        return 0;
}
