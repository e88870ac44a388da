/* SPDX-License-Identifier: Apache-2.0
 *
 * test_file.c - into which system calls an I/O on a host file is cut: no file is needed for that.
 *
 * The device wants 512 for offsets and lengths and 4 for addresses.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/uio.h>

#include "driver/file.h"

enum { DIRECT = 100, BUFFERED = 200 };

static _Alignas(4096) char memory[64 << 10];
static struct file_device file;

struct part_case {
        const char *name;
        uint64_t offset;
        size_t skew, len[3]; /* of the buffers; the first begins at memory + skew */
        int fd;
        uint64_t part; /* bytes of the first system call */
};

static const struct part_case cases[] = {
        { "aligned", 4096, 0, { 8192 }, DIRECT, 8192 },
        { "aligned to what the host asks for, not more", 512, 4, { 512 }, DIRECT, 512 },
        { "the offset is not", 100, 0, { 4096 }, BUFFERED, 4096 },
        { "the address is not", 0, 1, { 4096 }, BUFFERED, 4096 },
        { "less than a block", 0, 0, { 100 }, BUFFERED, 100 },
        { "a tail is left over", 0, 0, { 8192 + 100 }, DIRECT, 8192 },
        { "a tail in a buffer of its own", 0, 0, { 8192, 100 }, DIRECT, 8192 },
        { "all three", 0, 0, { 512, 512, 1024 }, DIRECT, 2048 },
};

static struct driver_io io_of(const struct part_case *c, struct iovec *iov)
{
        struct driver_io io = { .op = IO_READ, .offset = c->offset, .dev = &file.dev, .iov = iov };
        char *at = memory + c->skew;

        for (; io.iovcnt < 3 && c->len[io.iovcnt]; at += c->len[io.iovcnt++]) {
                iov[io.iovcnt] = (struct iovec){ .iov_base = at, .iov_len = c->len[io.iovcnt] };
                io.len += c->len[io.iovcnt];
        }
        return io;
}

static uint64_t part_bytes(const struct file_part *part)
{
        uint64_t n = 0;

        for (unsigned i = 0; i < part->iovcnt; i++)
                n += part->iov[i].iov_len;
        return n;
}

static void setup(void)
{
        file = (struct file_device){ .buffered = BUFFERED, .direct = DIRECT };
        file.mem_align = 4;
        file.offset_align = 512;
}

TestSuite(file, .init = setup);

Test(file, the_first_part)
{
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                struct iovec iov[3];
                struct driver_io io = io_of(&cases[i], iov);
                struct file_part part;
                int64_t result;

                cr_assert(!file_io_begin(&io, &result));
                file_io_next(&io, &part);
                cr_expect_eq(part.fd, cases[i].fd, "%s", cases[i].name);
                cr_expect_eq(part_bytes(&part), cases[i].part, "%s", cases[i].name);
                cr_expect_eq(part.offset, cases[i].offset, "%s", cases[i].name);
        }
}

Test(file, what_is_left_follows)
{
        const struct part_case c = { .len = { 8192 + 100, 412 } };
        struct iovec iov[3];
        struct driver_io io = io_of(&c, iov);
        struct file_part part;
        int64_t result;

        cr_assert(!file_io_begin(&io, &result));
        file_io_next(&io, &part);
        cr_assert(!file_io_end(&io, 4096, &result), "short");
        file_io_next(&io, &part);
        cr_expect_eq(part.offset, 4096);
        cr_expect_eq(part.fd, DIRECT);
        cr_expect_eq(part_bytes(&part), 4096);
        cr_assert(!file_io_end(&io, 4096, &result));
        file_io_next(&io, &part);
        cr_expect_eq(part.fd, BUFFERED);
        cr_expect_eq(part.iov->iov_base, memory + 8192);
        cr_expect_eq(part_bytes(&part), 512);
        cr_assert(file_io_end(&io, 512, &result));
        cr_expect_eq(result, 8192 + 512);
}

Test(file, errors_and_retries)
{
        const struct part_case c = { .len = { 8192 } };
        struct iovec iov[3];
        struct driver_io io = io_of(&c, iov);
        struct file_part part;
        int64_t result;

        file_io_begin(&io, &result);
        cr_expect(!file_io_end(&io, -EINTR, &result));
        cr_expect(!file_io_end(&io, -EAGAIN, &result));
        cr_expect(!file_io_end(&io, -EINVAL, &result), "direct I/O refused");
        file_io_next(&io, &part);
        cr_expect_eq(part.fd, BUFFERED);
        cr_expect(file_io_end(&io, -EINVAL, &result), "and now it is an error");
        cr_expect_eq(result, -EINVAL);
        cr_expect(file_io_end(&io, -EIO, &result));
        cr_expect_eq(result, -EIO);
}

Test(file, end_of_file_ends_a_read_and_fails_a_write)
{
        const struct part_case c = { .len = { 8192 } };
        struct iovec iov[3];
        struct driver_io io = io_of(&c, iov);
        int64_t result;

        file_io_begin(&io, &result);
        cr_expect(!file_io_end(&io, 4096, &result));
        cr_expect(file_io_end(&io, 0, &result));
        cr_expect_eq(result, 4096);
        io = io_of(&c, iov);
        io.op = IO_WRITE;
        file_io_begin(&io, &result);
        cr_expect(file_io_end(&io, 0, &result));
        cr_expect_eq(result, -EIO);
}

Test(file, fua_is_dsync_on_writes)
{
        const struct part_case c = { .len = { 4096 } };
        struct iovec iov[3];
        struct driver_io io = io_of(&c, iov);
        struct file_part part;
        int64_t result;

        io.op = IO_WRITE;
        file_io_begin(&io, &result);
        file_io_next(&io, &part);
        cr_expect_eq(part.rw_flags, 0);
        io.flags = DRIVER_FUA;
        file_io_next(&io, &part);
        cr_expect_eq(part.rw_flags, RWF_DSYNC);
        io.op = IO_READ;
        file_io_next(&io, &part);
        cr_expect_eq(part.rw_flags, 0);
}

Test(file, without_direct_everything_is_buffered)
{
        struct iovec iov[3];
        struct driver_io io = io_of(&cases[0], iov);
        struct file_part part;
        int64_t result;

        file.direct = -1;
        file_io_begin(&io, &result);
        file_io_next(&io, &part);
        cr_expect_eq(part.fd, BUFFERED);
        cr_expect_eq(part_bytes(&part), 8192);
}
