/* SPDX-License-Identifier: Apache-2.0
 *
 * test_faulty.c - the words of --faults, and what they do to a ram disk below a queue.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "block/block.h"
#include "driver/driver.h"

struct fixture {
        struct trace trace;
        struct driver_env env;
        struct block_pool *pool;
        struct request_queue *q;
        char buf[64 << 10];
};

static struct fixture f;

/* path: NULL for a ram disk. */
static void setup_on(const char *path, const char *faults)
{
        struct device *dev;

        memset(&f, 0, sizeof f);
        trace_init(&f.trace);
        f.env = (struct driver_env){ .trace = &f.trace, .faults = faults, .driver = "posix" };
        cr_assert_eq(block_pool_create(&f.pool, 256), 0);
        if (path)
                cr_assert_eq(device_open_file(&f.env, path, O_RDWR, &dev), 0);
        else
                cr_assert_eq(device_open_ram(&f.env, 1 << 20, &dev), 0);
        cr_assert_str_eq(dev->ops->name, "faulty");
        cr_assert_eq(blk_queue_create(&f.q, dev, f.pool, &f.trace), 0);
}

static void setup(const char *faults)
{
        setup_on(NULL, faults);
}

static void teardown(void)
{
        blk_queue_destroy(f.q);
        block_pool_destroy(f.pool);
        driver_env_destroy(&f.env);
}

static int page(uint32_t opf, uint64_t index)
{
        return submit_bio_wait(f.q, opf, index << (PAGE_SHIFT - SECTOR_SHIFT), f.buf, PAGE_SIZE, 0);
}

Test(faulty, words)
{
        static const char *const good[] = {
                "",
                "eio@0+4096",
                "eio@4K+1M*3",
                "eio@0+4k",
                "eio-read@64K+4K*2",
                "enospc@1G+4K",
                "delay=5ms",
                "delay=100us@0+4K",
                "delay=1s",
                "delay=7ns",
                "seed=42",
                "eio@1+1,eio@2+1*1,enospc@0+1,delay=1us,seed=0",
                "short@0+1",
                "short@4K+1M*2",
                "powercut=1",
                "torn",
                "powercut=7,torn,seed=3",
        };
        static const char *const bad[] = {
                "eio",
                "eio@",
                "eio@5",
                "eio@0+0",
                "eio@-1+4",
                "eio@0+1*0",
                "eio@0+1*",
                "eio@0+1x",
                "enospc@0+1*2",
                "delay",
                "delay=",
                "delay=5",
                "delay=5m",
                "delay=5MS",
                "delay=5ms@",
                "seed=",
                "seed=x",
                "eio@0+1,",
                ",eio@0+1",
                "tornado",
                "eio@0+1 ",
                "eio@0+99999999999999999999",
                "eio@18446744073709551615+2",
                "short",
                "short@0+1*0",
                "powercut",
                "powercut=",
                "powercut=0",
                "powercut=x",
                "torn=1",
                "torn@0+1",
                "delay=99999999999999999999s",
                "eio@99999999999G+1",
        };

        for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
                cr_expect_eq(faults_check(good[i]), 0, "%s", good[i]);
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
                cr_expect_eq(faults_check(bad[i]), -EINVAL, "%s", bad[i]);
}

Test(faulty, a_bad_spec_opens_nothing)
{
        struct driver_env env = { .faults = "tornado" };
        struct device *dev;

        cr_expect_eq(device_open_ram(&env, 4096, &dev), -EINVAL);
}

Test(faulty, eio_touches_its_range_only)
{
        setup("eio@8K+4K");
        cr_expect_eq(page(IO_READ, 1), 0);
        cr_expect_eq(page(IO_READ, 2), -EIO);
        cr_expect_eq(page(IO_WRITE, 2), -EIO);
        cr_expect_eq(page(IO_READ, 3), 0);
        cr_expect_eq(page(IO_WRITE | REQ_PREFLUSH, 3), 0);
        cr_expect_eq(submit_bio_wait(f.q, IO_READ, 0, f.buf, 8192, 0), 0);
        cr_expect_eq(submit_bio_wait(f.q, IO_READ, 0, f.buf, 8193, 0), -EIO);
        cr_expect_eq(stat_get(&f.trace.stats, STAT_io_errors), 3);
        teardown();
}

/* A store to a hole asks for room first: that is no I/O, and the write is still to fail. */
Test(faulty, asking_for_room_uses_up_nothing)
{
        char path[] = "/var/tmp/fl-faulty-XXXXXX";
        int fd = mkstemp(path);
        struct device *dev;
        uint64_t end;

        cr_assert_eq(ftruncate(fd, 1 << 20), 0);
        setup_on(path, "eio@0+4K*1,enospc@64K+4K");
        dev = blk_queue_device(f.q);
        cr_expect_eq(dev->ops->allocate(dev, 0, PAGE_SIZE, &end), 0);
        cr_expect_eq(page(IO_WRITE, 0), -EIO);
        cr_expect_eq(page(IO_WRITE, 0), 0);
        cr_expect_eq(dev->ops->allocate(dev, 64 << 10, PAGE_SIZE, &end), -ENOSPC);
        teardown();
        close(fd);
        unlink(path);
}

Test(faulty, a_failed_write_changes_nothing)
{
        setup("eio@0+4K*1");
        memset(f.buf, 'x', PAGE_SIZE);
        cr_expect_eq(page(IO_WRITE, 0), -EIO);
        cr_expect_eq(page(IO_READ, 0), 0, "only the first time");
        cr_expect_eq(f.buf[0], 0);
        teardown();
}

Test(faulty, count)
{
        setup("eio@0+4K*3");
        for (int i = 0; i < 3; i++)
                cr_expect_eq(page(IO_READ, 0), -EIO);
        for (int i = 0; i < 3; i++)
                cr_expect_eq(page(IO_READ, 0), 0);
        teardown();
}

Test(faulty, enospc_is_for_writes)
{
        setup("enospc@0+1M");
        cr_expect_eq(page(IO_READ, 0), 0);
        cr_expect_eq(page(IO_WRITE, 0), -ENOSPC);
        cr_expect_eq(submit_bio_wait(f.q, IO_WRITE | REQ_PREFLUSH, 0, NULL, 0, 0), 0);
        teardown();
}

/* Each I/O moves less than it is asked to; who goes on gets to the end. */
Test(faulty, short_transfers)
{
        char buf[sizeof f.buf];

        for (unsigned seed = 0; seed < 20; seed++) {
                char spec[40];

                snprintf(spec, sizeof spec, "short@0+1M,seed=%u", seed);
                setup(spec);
                for (unsigned i = 0; i < sizeof f.buf; i++)
                        buf[i] = f.buf[i] = (char)(i >> 9 ^ i * seed);
                cr_assert_eq(submit_bio_wait(f.q, IO_WRITE, 8, f.buf, sizeof f.buf, 0), 0);
                memset(f.buf, 'x', sizeof f.buf);
                cr_assert_eq(submit_bio_wait(f.q, IO_READ, 8, f.buf, sizeof f.buf, 0), 0);
                cr_assert_arr_eq(f.buf, buf, sizeof buf);
                teardown();
        }
}

static void ignore(struct driver_io *io)
{
        (void)io;
}

/* How many bytes the device below the queue moves. */
static int64_t moved(enum io_op op, uint64_t offset, uint64_t len)
{
        struct iovec iov[2] = { { f.buf, len / 2 }, { f.buf + len / 2, len - len / 2 } };
        struct driver_io io = {
                .op = op, .offset = offset, .len = len, .iov = iov, .iovcnt = 2, .done = ignore
        };

        device_submit(blk_queue_device(f.q), &io); /* ram is done at once */
        return io.result;
}

Test(faulty, a_short_transfer_is_in_its_range_and_as_often_as_said)
{
        setup("short@4K+4K*2");
        cr_expect_eq(moved(IO_READ, 8192, 8192), 8192);
        cr_expect_lt(moved(IO_READ, 0, 8192), 8192);
        cr_expect_lt(moved(IO_WRITE, 4096, 4096), 4096);
        cr_expect_eq(moved(IO_READ, 0, 8192), 8192);
        teardown();
        setup("short@0+1M,seed=3");
        for (unsigned i = 0; i < 100; i++) {
                int64_t n = moved(i % 2 ? IO_WRITE : IO_READ, 4096 * i, 4096);

                cr_expect(n >= 512 && n < 4096 && n % 512 == 0, "%lld", (long long)n);
        }
        cr_expect_eq(moved(IO_READ, 0, 512), 512, "a sector is never cut");
        cr_expect_eq(moved(IO_WRITE, 100, 7), 7);
        teardown();
}

Test(faulty, delay_is_at_least_as_long_as_said)
{
        uint64_t start;

        setup("delay=1s@4K+4K");
        start = now_ns();
        cr_expect_eq(page(IO_READ, 0), 0);
        cr_expect_lt(now_ns() - start, 900000000ull, "not in the range");
        start = now_ns();
        cr_expect_eq(page(IO_READ, 1), 0);
        cr_expect_geq(now_ns() - start, 1000000000ull);
        teardown();
}

#define DELAY_NS 200000000ull
static _Atomic unsigned ended;
static _Atomic uint64_t submitted_ns;

static void count_end(struct bio *bio)
{
        cr_assert_eq(bio->bi_status, 0);
        cr_assert_geq(now_ns() - atomic_load(&submitted_ns), DELAY_NS);
        atomic_fetch_add(&ended, 1);
}

/* The submitter goes on, and the delays run side by side, not one after the other: a machine may be as
 * busy as it likes, but 64 of them in a row are far longer. */
Test(faulty, delays_overlap_and_do_not_block)
{
        uint64_t start = now_ns();

        setup("delay=200ms");
        atomic_store(&submitted_ns, start);
        for (unsigned i = 0; i < 64; i++) {
                struct bio *bio = bio_alloc(f.q, IO_READ, 16 * i, f.buf, PAGE_SIZE);

                bio->bi_end_io = count_end;
                submit_bio(bio, NULL);
        }
        cr_expect_lt(atomic_load(&ended), 63, "submission does not wait");
        teardown(); /* waits for them */
        cr_expect_eq(atomic_load(&ended), 64);
        cr_expect_lt(now_ns() - start, 32 * DELAY_NS);
}

/* One slot, held by a delayed I/O; the others wait for it and then follow all at once. */
#define WAITING 2000
static _Atomic long deepest;

/* On a busy machine two threads may end them: each has a stack of its own. */
static void note_stack(struct driver_io *io)
{
        static _Thread_local uintptr_t first;
        char here;
        long depth;

        first = first ? first : (uintptr_t)&here;
        depth = labs((long)(first - (uintptr_t)&here));
        if (depth > atomic_load(&deepest))
                atomic_store(&deepest, depth);
        (void)io;
        atomic_fetch_add(&ended, 1);
}

Test(faulty, what_waits_for_a_slot_does_not_grow_the_stack)
{
        static struct driver_io io[WAITING];
        struct driver_env env = { .depth = 1, .faults = "delay=20ms@0+1" };
        struct device *dev;
        struct iovec iov = { .iov_base = f.buf, .iov_len = 1 };

        cr_assert_eq(device_open_ram(&env, 4096, &dev), 0);
        for (unsigned i = 0; i < WAITING; i++) {
                io[i] = (struct driver_io){ .op = IO_READ, .offset = i > 0, .len = 1 };
                io[i].iov = &iov;
                io[i].iovcnt = 1;
                io[i].done = note_stack;
                device_submit(dev, &io[i]);
        }
        device_commit(dev);
        for (unsigned i = 0; i < 1000 && atomic_load(&ended) < WAITING; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        cr_expect_eq(atomic_load(&ended), WAITING);
        cr_expect_lt(atomic_load(&deepest), 4096, "%ld bytes deep", atomic_load(&deepest));
        device_close(dev);
}

Test(faulty, passes_size_and_descriptor_on)
{
        struct device *dev;

        setup("seed=3");
        dev = blk_queue_device(f.q);
        cr_expect_eq(dev->size, 1 << 20);
        cr_expect_eq(dev->ops->resize(dev, 4096), 0);
        cr_expect_eq(dev->size, 4096);
        cr_expect_eq(page(IO_READ, 1), -EIO, "the device ends before");
        cr_expect_eq(device_fd(dev), -1);
        teardown();
}
