/* SPDX-License-Identifier: Apache-2.0
 *
 * test_uring.c - what only the driver on io_uring does: batches, files and memory the ring knows.
 */
#include <pthread.h>
#include <stddef.h>
#include <sys/resource.h>

#include "driver_fixture.h"
#include "forbid.h"

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

/* From here on nobody in the process may. */
static void forbid_enter(void)
{
        if (!forbid_call(SYS_io_uring_enter, EPERM, SECCOMP_FILTER_FLAG_TSYNC))
                cr_skip_test("seccomp filters are not allowed");
}

/* A program may confine itself when all is set up: I/O goes on, slowly. */
Test(uring, forbidden_when_there_is_a_ring, .timeout = 30)
{
        char *buf = aligned_buffer(), *seen = aligned_buffer();
        struct fixture f;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        memset(buf, 'x', 8192);
        cr_assert_eq(do_io(f.dev, IO_WRITE, 0, 0, buf, 4096), 4096);
        forbid_enter();
        for (unsigned i = 1; i < 20; i++)
                cr_assert_eq(do_io(f.dev, IO_WRITE, 0, 4096ul * i, buf, 8192 - 100), 8192 - 100);
        cr_assert_eq(do_io(f.dev, IO_FLUSH, 0, 0, NULL, 0), 0);
        cr_assert_eq(do_io(f.dev, IO_DISCARD, 0, 4096, NULL, 4096), 4096);
        cr_assert_eq(do_io(f.dev, IO_READ, 0, 0, seen, 8192), 8192);
        memset(buf + 4096, 0, 4096);
        cr_expect_arr_eq(seen, buf, 8192);
        fixture_close(&f);
        free(buf);
        free(seen);
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

/* ---- reads by the thread that waits for them ---- */

#define LONG 10000000000u /* ns: whatever else runs, the read ends before */

static bool polling_open(struct fixture *f, uint64_t spin, char *buf)
{
        struct device *dev;

        if (!ring_open(f))
                return false;
        fill(buf, SIZE, 7);
        cr_assert_eq(do_io(f->dev, IO_WRITE, 0, 0, buf, SIZE), SIZE);
        device_close(f->dev);
        driver_env_destroy(&f->env);
        atomic_store(&f->env.spin.most_ns, spin);
        cr_assert_eq(device_open_file(&f->env, f->path, O_RDWR, &dev), 0);
        f->dev = dev;
        return true;
}

static int64_t perform_read(struct device *dev, uint64_t offset, char *buf, uint64_t len)
{
        struct iovec iov = { .iov_base = buf, .iov_len = len };
        struct sync_io s = { .io = { .op = IO_READ,
                                     .offset = offset,
                                     .len = len,
                                     .iov = &iov,
                                     .iovcnt = 1,
                                     .done = sync_done } };

        device_perform(dev, &s.io);
        cr_assert(atomic_load(&s.done), "it is over when perform returns");
        return s.io.result;
}

/* Aligned, in parts of which the last is through the host's cache, and past the end. */
Test(uring, a_read_that_is_polled_for)
{
        char *wrote = aligned_buffer(), *buf = aligned_buffer();
        struct fixture f;

        if (!polling_open(&f, LONG, wrote))
                cr_skip_test("no io_uring");
        for (unsigned i = 0; i < 100; i++) {
                uint64_t at = (i * 37 % 256) * 4096;

                memset(buf, 'x', 4096);
                cr_assert_eq(perform_read(f.dev, at, buf, 4096), 4096);
                cr_assert_arr_eq(buf, wrote + at, 4096);
        }
        cr_expect_eq(atomic_load(&f.env.spin.spins), 100);
        cr_expect_eq(atomic_load(&f.env.spin.hits), 100);
        cr_assert_eq(perform_read(f.dev, SIZE - 8192, buf, 8000), 8000);
        cr_assert_arr_eq(buf, wrote + SIZE - 8192, 8000);
        cr_assert_eq(perform_read(f.dev, SIZE - 4096, buf, 3 * 4096), 4096);
        cr_assert_eq(perform_read(f.dev, SIZE, buf, 4096), 0);
        fixture_close(&f);
        free(wrote);
        free(buf);
}

/* The time is up before any device can answer: the thread sleeps until it has. */
Test(uring, a_read_polled_for_in_vain)
{
        char *wrote = aligned_buffer(), *buf = aligned_buffer();
        struct fixture f;

        if (!polling_open(&f, 1, wrote))
                cr_skip_test("no io_uring");
        for (unsigned i = 0; i < 256; i++) {
                memset(buf, 'x', 4096);
                cr_assert_eq(perform_read(f.dev, i * 4096, buf, 4096), 4096);
                cr_assert_arr_eq(buf, wrote + i * 4096, 4096);
        }
        cr_expect_geq(atomic_load(&f.env.spin.spins), 1);
        fixture_close(&f);
        free(wrote);
        free(buf);
}

struct polling_reader {
        struct fixture *f;
        const char *wrote;
        unsigned seed;
};

static void *read_at_random(void *arg)
{
        struct polling_reader *r = arg;
        char *buf = aligned_buffer();

        for (unsigned i = 0; i < 300; i++) {
                uint64_t at = (uint64_t)(rand_r(&r->seed) % 256) * 4096;

                cr_assert_eq(perform_read(r->f->dev, at, buf, 4096), 4096);
                cr_assert_arr_eq(buf, r->wrote + at, 4096);
        }
        free(buf);
        return NULL;
}

/* More than there are rings: each gets its own bytes; and when they have gone, a lone one is polled for. */
Test(uring, many_who_could_poll, .timeout = 60)
{
        enum { READERS = 20 };
        struct polling_reader r[READERS];
        pthread_t thread[READERS];
        char *wrote = aligned_buffer(), *buf = aligned_buffer();
        uint64_t before;
        struct fixture f;

        if (!polling_open(&f, LONG, wrote))
                cr_skip_test("no io_uring");
        for (unsigned i = 0; i < READERS; i++) {
                r[i] = (struct polling_reader){ &f, wrote, i };
                cr_assert_eq(pthread_create(&thread[i], NULL, read_at_random, &r[i]), 0);
        }
        for (unsigned i = 0; i < READERS; i++)
                pthread_join(thread[i], NULL);
        before = atomic_load(&f.env.spin.spins);
        cr_assert_eq(perform_read(f.dev, 0, buf, 4096), 4096);
        cr_expect_eq(atomic_load(&f.env.spin.spins), before + 1);
        fixture_close(&f);
        free(wrote);
        free(buf);
}

/* Off is off: no rings, nothing counted. */
Test(uring, nobody_polls_unasked)
{
        char *wrote = aligned_buffer(), *buf = aligned_buffer();
        struct fixture f;

        if (!polling_open(&f, 0, wrote))
                cr_skip_test("no io_uring");
        cr_assert_eq(perform_read(f.dev, 0, buf, 4096), 4096);
        cr_assert_arr_eq(buf, wrote, 4096);
        cr_expect_eq(atomic_load(&f.env.spin.spins), 0);
        fixture_close(&f);
        free(wrote);
        free(buf);
}
