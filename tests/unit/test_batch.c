/* SPDX-License-Identifier: Apache-2.0
 *
 * test_batch.c - writes that the thread which waits for them sends and ends itself.
 */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

#include "block/block.h"
#include "driver_fixture.h"
#include "forbid.h"
#include "util/wait.h"

#define MOST 200 /* more than a batch holds, and than a queue has at the driver */

struct one {
        struct sync_io sync;
        struct iovec iov[2];
        pthread_t by;
};

static struct one one[MOST];
static char *buf;

static bool ring_open(struct fixture *f)
{
        static const struct subject s = { "uring", "/var/tmp", NULL };

        if (!fixture_open(f, &s))
                return false;
        buf = aligned_buffer();
        for (unsigned i = 0; i < SIZE; i++)
                buf[i] = (char)(i * 11 + (i >> 12));
        return true;
}

static void done_here(struct driver_io *io)
{
        container_of(io, struct one, sync.io)->by = pthread_self();
        sync_done(io);
}

static void submit(struct device *dev, unsigned i, uint64_t offset, size_t len, unsigned parts,
                   struct driver_batch *b)
{
        one[i] = (struct one){
                .sync.io = { .op = IO_WRITE,
                             .offset = offset,
                             .len = len,
                             .iovcnt = parts,
                             .batch = b,
                             .done = done_here },
        };
        one[i].iov[0] = (struct iovec){ buf + offset, parts > 1 ? len / 2 : len };
        one[i].iov[1] = (struct iovec){ buf + offset + len / 2, len - len / 2 };
        one[i].sync.io.iov = one[i].iov;
        device_submit(dev, &one[i].sync.io);
}

static void expect_ended_here(unsigned nr)
{
        for (unsigned i = 0; i < nr; i++) {
                cr_assert(atomic_load(&one[i].sync.done), "%u is not over", i);
                cr_expect_eq(one[i].sync.io.result, (int64_t)one[i].sync.io.len);
                cr_expect(pthread_equal(one[i].by, pthread_self()), "%u", i);
        }
}

static void expect_written(struct fixture *f, uint64_t bytes)
{
        char *seen = aligned_buffer();

        cr_assert_eq(do_io(f->dev, IO_READ, 0, 0, seen, bytes), (int64_t)bytes);
        cr_expect_arr_eq(seen, buf, bytes);
        free(seen);
}

static void all_close(struct fixture *f)
{
        fixture_close(f);
        free(buf);
}

Test(batch, is_sent_and_ended_by_its_thread)
{
        struct uring_state before, after;
        struct driver_batch *b;
        struct fixture f;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        cr_assert(uring_state(&f.env, &before));
        b = device_batch_begin(f.dev);
        cr_assert_not_null(b);
        cr_expect_null(device_batch_begin(f.dev), "one a thread");
        for (unsigned i = 0; i < 64; i++)
                submit(f.dev, i, 4096ul * i, 4096, 1 + i % 2, b);
        cr_expect_eq(device_batch_count(b), 64);
        device_commit(f.dev);
        device_batch_wait(b, 16);
        cr_expect_leq(device_batch_count(b), 16);
        device_batch_end(b);
        expect_ended_here(64);
        cr_assert(uring_state(&f.env, &after));
        cr_expect_eq(after.ios - before.ios, 64);
        cr_expect_leq(after.calls - before.calls, 16, "%d calls",
                      (int)(after.calls - before.calls));
        expect_written(&f, 64 * 4096);
        all_close(&f);
}

/* Two parts each: what is aligned, and what is left of it. */
Test(batch, goes_on_where_one_call_was_not_enough)
{
        struct driver_batch *b;
        struct fixture f;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        b = device_batch_begin(f.dev);
        cr_assert_not_null(b);
        for (unsigned i = 0; i < 40; i++)
                submit(f.dev, i, 8192ul * i, 8192 - (i == 39 ? 100 : 0), 1, b);
        device_commit(f.dev);
        device_batch_end(b);
        expect_ended_here(40);
        expect_written(&f, 40 * 8192 - 100);
        all_close(&f);
}

Test(batch, what_it_has_no_room_for_goes_as_ever, .timeout = 60)
{
        struct driver_batch *b;
        struct fixture f;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        usleep(50000); /* the loop's thread sleeps by now: somebody has to wake it */
        b = device_batch_begin(f.dev);
        cr_assert_not_null(b);
        for (unsigned i = 0; i < MOST; i++)
                submit(f.dev, i, 4096ul * i, 4096, 1, b);
        device_commit(f.dev);
        for (unsigned i = device_batch_count(b); i < MOST; i++)
                cr_expect_eq(sync_wait(&one[i].sync), 4096);
        device_batch_end(b);
        expect_ended_here(0);
        expect_written(&f, MOST * 4096);
        b = device_batch_begin(f.dev);
        cr_assert_not_null(b, "it has been given back");
        device_batch_end(b);
        all_close(&f);
}

struct other {
        struct fixture *f;
        struct driver_batch *b;
};

static void *submit_by_another(void *arg)
{
        struct other *o = arg;

        submit(o->f->dev, 0, 0, 4096, 1, o->b);
        device_commit(o->f->dev);
        return NULL;
}

/* A request may be taken from the queue by whoever comes by. */
Test(batch, is_no_other_threads, .timeout = 60)
{
        struct driver_batch *b;
        struct other other;
        struct fixture f;
        pthread_t t;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        b = device_batch_begin(f.dev);
        cr_assert_not_null(b);
        other = (struct other){ &f, b };
        cr_assert_eq(pthread_create(&t, NULL, submit_by_another, &other), 0);
        pthread_join(t, NULL);
        cr_expect_eq(device_batch_count(b), 0);
        cr_expect_eq(sync_wait(&one[0].sync), 4096);
        device_batch_end(b);
        all_close(&f);
}

/* ---- where it may not ---- */

/* From here on the thread's calls fail so, and no other thread's. */
static void refuse_enter(int error)
{
        if (!forbid_call(SYS_io_uring_enter, error, 0))
                cr_skip_test("seccomp filters are not allowed");
}

static void refused_with(int error)
{
        struct driver_batch *b;
        struct fixture f;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        b = device_batch_begin(f.dev);
        cr_assert_not_null(b);
        for (unsigned i = 0; i < 40; i++) {
                if (i == 10)
                        device_commit(f.dev); /* the kernel has some already */
                if (i == 20)
                        refuse_enter(error);
                submit(f.dev, i, 4096ul * i, 4096, 1 + i % 2, b);
        }
        device_commit(f.dev);
        device_batch_end(b);
        for (unsigned i = 0; i < 40; i++)
                cr_expect_eq(sync_wait(&one[i].sync), 4096);
        for (unsigned i = 40; i < 60; i++) { /* whether there is another */
                b = device_batch_begin(f.dev);
                submit(f.dev, i, 4096ul * i, 4096, 1, b);
                device_commit(f.dev);
                if (b)
                        device_batch_end(b);
                cr_expect_eq(sync_wait(&one[i].sync), 4096);
        }
        expect_written(&f, 60 * 4096);
        all_close(&f);
}

/* A program may confine its threads when all is set up. */
Test(batch, that_is_refused_goes_by_the_ring_of_all, .timeout = 60)
{
        refused_with(EPERM);
}

Test(batch, that_finds_no_memory_goes_by_the_ring_of_all, .timeout = 60)
{
        refused_with(EAGAIN);
}

#ifndef NDEBUG
/* Whoever waits for a write that only he can end waits for ever. */
Test(batch, nobody_waits_beside_his_own, .signal = SIGABRT, .timeout = 60)
{
        struct waiter w;
        struct fixture f;

        waiter_init_sync(&w);
        atomic_store(&w.woken, 1);
        if (!ring_open(&f))
                abort();
        submit(f.dev, 0, 0, 4096, 1, device_batch_begin(f.dev));
        device_commit(f.dev);
        waiter_sleep(&w, 0);
}
#endif

/* ---- by way of a queue ---- */

static unsigned ended_here;
static pthread_t here;

static void end_bio(struct bio *bio)
{
        cr_expect_eq(bio->bi_status, 0);
        ended_here += pthread_equal(pthread_self(), here) != 0;
}

/* More than are at the driver at once: an end makes room for the next, which is the thread's own too. */
Test(batch, all_of_a_plug_of_its_own, .timeout = 60)
{
        struct request_queue *q;
        struct block_pool *pool;
        struct blk_plug plug;
        struct fixture f;

        if (!ring_open(&f))
                cr_skip_test("no io_uring");
        here = pthread_self();
        cr_assert_eq(block_pool_create(&pool, MOST), 0);
        cr_assert_eq(blk_queue_create(&q, f.dev, pool, &f.trace), 0);
        f.dev = NULL; /* the queue's */
        blk_start_plug(&plug);
        plug.own = true;
        for (unsigned i = 0; i < 100; i++) {
                struct bio *bio = bio_alloc(q, IO_WRITE | REQ_SYNC, 16ul * i, buf, 4096);

                bio->bi_end_io = end_bio;
                submit_bio(bio, &plug);
        }
        blk_end_plug(&plug);
        cr_expect_eq(ended_here, 100);
        cr_expect_null(plug.batch);
        cr_expect_eq(submit_bio_wait(q, IO_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, NULL, 0, 0), 0);
        blk_queue_destroy(q);
        block_pool_destroy(pool);
        all_close(&f);
}
