/* SPDX-License-Identifier: Apache-2.0
 *
 * test_uring.c - what only the driver on io_uring does: batches, files and memory the ring knows.
 */
#include <sys/resource.h>

#include "driver_fixture.h"

/* False: no ring on this machine. */
static bool ring_open(struct fixture *f)
{
        static const struct subject s = { "uring", "/var/tmp", NULL };

        return fixture_open(f, &s);
}

static struct uring_state ring_state(struct fixture *f)
{
        struct uring_state state = { 0 };

        cr_assert(uring_state(&f->env, &state));
        return state;
}

/* What one thread submits until it commits goes to the kernel in one call. */
Test(uring, a_batch_is_one_system_call)
{
        static struct sync_io io[64];
        static struct iovec iov[64];
        struct fixture f;
        struct uring_state before, after;
        char *buf = aligned_buffer();

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        before = ring_state(&f);
        for (unsigned i = 0; i < 64; i++) {
                iov[i] = (struct iovec){ .iov_base = buf + 4096 * i, .iov_len = 4096 };
                io[i].io = (struct driver_io){ .op = IO_WRITE,
                                               .offset = 4096 * i,
                                               .len = 4096,
                                               .iov = &iov[i],
                                               .iovcnt = 1,
                                               .done = sync_done };
                atomic_store(&io[i].done, 0);
                device_submit(f.dev, &io[i].io);
        }
        device_commit(f.dev);
        for (unsigned i = 0; i < 64; i++)
                cr_expect_eq(sync_wait(&io[i]), 4096);
        after = ring_state(&f);
        cr_expect_eq(after.ios - before.ios, 64);
        cr_expect_eq(after.calls - before.calls, 1, "%d calls", (int)(after.calls - before.calls));
        fixture_close(&f);
        free(buf);
}

/* More files at once than the ring's table has room for; each is its own, whatever the slot was before. */
Test(uring, files_in_the_table_of_the_ring_and_beyond)
{
        enum { FILES = 530 };
        static struct device *dev[FILES];
        struct rlimit files;
        struct fixture f;
        char path[128], text[32], seen[32];

        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_cur < 2 * FILES + 50 || !ring_open(&f))
                cr_skip_test("too few descriptors, or no io_uring");
        for (int round = 0; round < 2; round++) {
                for (int i = 0; i < FILES; i++) {
                        int fd;

                        snprintf(path, sizeof path, "%s.%d", f.path, i);
                        fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
                        cr_assert_geq(fd, 0);
                        snprintf(text, sizeof text, "round %d file %d", round, i);
                        cr_assert_eq(pwrite(fd, text, sizeof text, 0), (ssize_t)sizeof text);
                        close(fd);
                        cr_assert_eq(device_open_file(&f.env, path, O_RDWR, &dev[i]), 0);
                        unlink(path);
                }
                for (int i = FILES - 1; i >= 0; i--) {
                        snprintf(text, sizeof text, "round %d file %d", round, i);
                        cr_assert_eq(do_io(dev[i], IO_READ, 0, 0, seen, sizeof seen), sizeof seen);
                        cr_assert_str_eq(seen, text);
                        cr_assert_eq(do_io(dev[i], IO_FLUSH, 0, 0, NULL, 0), 0);
                        device_close(dev[i]);
                }
        }
        fixture_close(&f);
}

/* I/O to and from memory the ring knows, beside it, and half in it. */
Test(uring, memory_the_ring_knows)
{
        enum { BYTES = 64 << 12 };
        struct fixture f;
        char *memory = aligned_alloc(4096, 3 * BYTES), *known, *got = aligned_alloc(4096, BYTES);

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        known = memory + BYTES;
        driver_env_add_memory(&f.env, known, BYTES);
        if (!ring_state(&f).memory)
                cr_log_warn("RLIMIT_MEMLOCK lets nothing be registered");
        for (int at = -BYTES; at <= BYTES; at += BYTES / 4) {
                for (unsigned i = 0; i < BYTES; i++)
                        known[at + (int)i] = (char)(i * 7 + (unsigned)at + (i >> 8));
                cr_assert_eq(do_io(f.dev, IO_WRITE, DRIVER_FUA, 0, known + at, BYTES), BYTES);
                memcpy(got, known + at, BYTES);
                memset(known + at, 'x', BYTES);
                cr_assert_eq(do_io(f.dev, IO_READ, 0, 0, known + at, BYTES), BYTES);
                cr_assert_arr_eq(known + at, got, BYTES, "at %d", at);
                cr_assert_eq(do_io(f.dev, IO_READ, 0, 0, known + at + 5, 1000), 1000);
                cr_assert_arr_eq(known + at + 5, got, 1000, "unaligned, at %d", at);
        }
        fixture_close(&f);
        free(memory);
        free(got);
}
