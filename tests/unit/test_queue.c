/* SPDX-License-Identifier: Apache-2.0
 *
 * test_queue.c - the order of dispatch, the depth, results and errors, and recursion.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "fake_device.h"

static struct fake_queue t;

static const char *dispatched(unsigned from)
{
        return fake_letters(&t, from);
}

static void submit(char letter, uint32_t opf, uint64_t page)
{
        submit_bio(fake_bio(&t, letter, opf, page, 1), NULL);
        blk_queue_check(t.q);
}

static void open_full(void)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 1;
        submit('x', IO_READ, 60);
}

static void close_all(void)
{
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

/* ---- order ---- */

Test(queue, fault_reads_before_readahead_before_writeback)
{
        open_full();
        submit('w', IO_WRITE, 0);
        submit('r', IO_READ | REQ_RAHEAD, 10);
        submit('f', IO_READ | REQ_SYNC, 20);
        submit('s', IO_WRITE | REQ_SYNC, 30);
        submit('R', IO_READ | REQ_RAHEAD, 40);
        submit('F', IO_READ | REQ_SYNC, 50);
        cr_expect_eq(t.fake.logged, 1);
        fake_complete_all(&t.fake);
        cr_expect_str_eq(dispatched(1), "fFsrRw");
        close_all();
}

Test(queue, flags_reach_the_request)
{
        fake_queue_open(&t);
        submit('f', IO_READ | REQ_SYNC, 0);
        submit('r', IO_READ | REQ_RAHEAD, 10);
        submit('w', IO_WRITE | REQ_BACKGROUND, 20);
        submit('s', IO_WRITE | REQ_SYNC | REQ_META, 30);
        cr_expect_eq(t.fake.log[0].opf, IO_READ | REQ_SYNC);
        cr_expect_eq(t.fake.log[0].flags, DRIVER_SYNC);
        cr_expect_eq(t.fake.log[1].opf, IO_READ | REQ_RAHEAD);
        cr_expect_eq(t.fake.log[1].flags, 0);
        cr_expect_eq(t.fake.log[2].opf, IO_WRITE | REQ_BACKGROUND);
        cr_expect_eq(t.fake.log[2].flags, 0);
        cr_expect_eq(t.fake.log[3].opf, IO_WRITE | REQ_SYNC | REQ_META);
        cr_expect_eq(t.fake.log[3].flags, DRIVER_SYNC | DRIVER_META);
        close_all();
}

Test(queue, no_more_than_depth_at_the_driver)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 4;
        for (unsigned i = 0; i < 10; i++)
                submit('a', IO_READ, 2 * i);
        cr_expect_eq(t.fake.nr_pending, 4);
        fake_complete(&t.fake);
        cr_expect_eq(t.fake.nr_pending, 4, "a free place is filled");
        blk_queue_check(t.q);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.ended, 10);
        close_all();
}

Test(queue, what_nobody_waits_for_stays_behind_so_many_bytes)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->bytes = 3 * PAGE_SIZE;
        for (unsigned i = 0; i < 6; i++)
                submit('r', IO_READ | REQ_RAHEAD, 2 * i);
        cr_expect_eq(t.fake.nr_pending, 3);
        submit('f', IO_READ | REQ_SYNC, 40);
        cr_expect_str_eq(dispatched(3), "f", "somebody waits for it");
        fake_complete(&t.fake);
        cr_expect_eq(t.fake.nr_pending, 3, "as much as before it came");
        fake_complete(&t.fake);
        cr_expect_eq(t.fake.nr_pending, 3, "room for one");
        blk_queue_check(t.q);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.ended, 7);
        cr_expect_eq(t.q->bytes, 0);
        close_all();
}

Test(queue, one_that_moves_more_goes_by_itself)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->bytes = PAGE_SIZE;
        submit_bio(fake_bio(&t, 'a', IO_READ | REQ_RAHEAD, 0, 4), NULL);
        submit_bio(fake_bio(&t, 'b', IO_READ | REQ_RAHEAD, 10, 4), NULL);
        cr_expect_str_eq(dispatched(0), "a");
        fake_complete_all(&t.fake);
        cr_expect_str_eq(dispatched(0), "ab");
        close_all();
}

static void (*end_of_bio)(struct bio *);
static unsigned logged_at_end;

static void note_what_is_there(struct bio *bio)
{
        logged_at_end = t.fake.logged;
        end_of_bio(bio);
}

/* What follows an end may take long: a copy of all that was read. */
Test(queue, the_device_goes_on_before_anybody_is_told)
{
        struct bio *bio;

        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 1;
        bio = fake_bio(&t, 'a', IO_READ | REQ_RAHEAD, 0, 1);
        end_of_bio = bio->bi_end_io;
        bio->bi_end_io = note_what_is_there;
        submit_bio(bio, NULL);
        submit('b', IO_READ | REQ_RAHEAD, 10);
        cr_expect_eq(t.fake.logged, 1);
        fake_complete(&t.fake);
        cr_expect_eq(logged_at_end, 2);
        cr_expect_eq(t.fake.commits, 2);
        close_all();
}

Test(queue, depth_is_the_environments)
{
        struct trace trace;
        struct driver_env env = { .trace = &trace, .depth = 7 };
        struct fake_device fake = { .dev = { .ops = &fake_ops, .env = &env } };
        struct block_pool *pool;
        struct request_queue *q;

        trace_init(&trace);
        fake.dev.max_bytes = 1 << 20;
        fake.dev.max_segments = 16;
        cr_assert_eq(block_pool_create(&pool, 1), 0);
        cr_assert_eq(blk_queue_create(&q, &fake.dev, pool, &trace), 0);
        cr_expect_eq(blk_queue_limits(q)->depth, 7);
        cr_expect_eq(blk_queue_limits(q)->max_sectors, 2048);
        cr_expect_eq(blk_queue_limits(q)->max_segments, 16);
        blk_queue_destroy(q);
        block_pool_destroy(pool);
}

/* ---- results ---- */

static int64_t ends_after_five_pages(struct fake_device *f, struct driver_io *io)
{
        uint64_t end = 5 * PAGE_SIZE;

        (void)f;
        return io->offset < end ? (int64_t)min_u64(io->len, end - io->offset) : 0;
}

static void submit_three_reads(void)
{
        struct blk_plug plug;

        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_READ, 0, 4), &plug);
        submit_bio(fake_bio(&t, 'B', IO_READ, 4, 4), &plug);
        submit_bio(fake_bio(&t, 'C', IO_READ, 8, 4), &plug);
        blk_finish_plug(&plug);
        fake_complete_all(&t.fake);
}

Test(queue, the_end_of_the_device_cuts_bios)
{
        fake_queue_open(&t);
        t.fake.result = ends_after_five_pages;
        t.fake.dev.size = 5 * PAGE_SIZE;
        submit_three_reads();
        cr_expect_eq(t.fake.logged, 1);
        cr_expect_eq(t.fake.done['A'], 4 * PAGE_SIZE);
        cr_expect_eq(t.fake.done['B'], PAGE_SIZE);
        cr_expect_eq(t.fake.done['C'], 0);
        cr_expect_eq(t.fake.status['B'] | t.fake.status['C'], 0);
        cr_expect_eq(fake_stat(&t, STAT_read_bytes), 5 * PAGE_SIZE);
        close_all();
}

static int64_t page_six_is_bad(struct fake_device *f, struct driver_io *io)
{
        uint64_t bad = 6 * PAGE_SIZE;

        (void)f;
        return io->offset <= bad && bad < io->offset + io->len ? -EIO : (int64_t)io->len;
}

Test(queue, only_the_bad_bio_of_a_merged_request_fails)
{
        fake_queue_open(&t);
        t.fake.result = page_six_is_bad;
        submit_three_reads();
        cr_expect_eq(t.fake.logged, 4, "all at once, then one by one");
        cr_expect_eq(t.fake.log[2].offset, 4 * PAGE_SIZE);
        cr_expect_eq(t.fake.log[2].len, 4 * PAGE_SIZE);
        cr_expect_eq(t.fake.status['A'], 0);
        cr_expect_eq(t.fake.done['A'], 4 * PAGE_SIZE);
        cr_expect_eq(t.fake.status['B'], -EIO);
        cr_expect_eq(t.fake.status['C'], 0);
        cr_expect_eq(t.fake.done['C'], 4 * PAGE_SIZE);
        cr_expect_eq(fake_stat(&t, STAT_io_errors), 1);
        cr_expect_eq(fake_stat(&t, STAT_requests), 1, "a retry is no new request");
        close_all();
}

static int64_t nobody_answers(struct fake_device *f, struct driver_io *io)
{
        (void)f, (void)io;
        return -ETIMEDOUT;
}

/* Each bio by itself would wait as long as all of them did. */
Test(queue, a_device_out_of_reach_is_not_asked_bio_by_bio)
{
        fake_queue_open(&t);
        t.fake.result = nobody_answers;
        submit_three_reads();
        cr_expect_eq(t.fake.logged, 1);
        for (const char *letter = "ABC"; *letter; letter++)
                cr_expect_eq(t.fake.status[(unsigned char)*letter], -ETIMEDOUT);
        close_all();
}

Test(queue, the_same_for_writes)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        t.fake.result = page_six_is_bad;
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_WRITE, 5, 1), &plug);
        submit_bio(fake_bio(&t, 'B', IO_WRITE, 6, 1), &plug);
        blk_finish_plug(&plug);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.status['A'], 0);
        cr_expect_eq(t.fake.status['B'], -EIO);
        cr_expect_eq(fake_stat(&t, STAT_write_bytes), PAGE_SIZE);
        close_all();
}

/* What waits for its next try has been at the driver: it is closed. */
Test(queue, nothing_joins_a_request_that_is_retried)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 1;
        t.fake.result = page_six_is_bad;
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_WRITE, 6, 1), &plug);
        submit_bio(fake_bio(&t, 'B', IO_WRITE, 7, 1), &plug);
        blk_finish_plug(&plug);
        submit('f', IO_READ, 20); /* takes the place that the failure frees */
        fake_complete(&t.fake);
        submit('C', IO_WRITE, 8);
        fake_complete_all(&t.fake);
        cr_expect_eq(fake_stat(&t, STAT_merges_back), 1, "A and B only");
        cr_expect_eq(t.fake.ended, 4);
        cr_expect_eq(t.fake.done['C'], PAGE_SIZE);
        close_all();
}

static int64_t half(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        return (int64_t)io->len / 2;
}

static int64_t a_page_at_most(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        return (int64_t)min_u64(io->len, PAGE_SIZE + 512);
}

static int64_t nothing(struct fake_device *f, struct driver_io *io)
{
        (void)f, (void)io;
        return 0;
}

/* What is left of it is another I/O, from where the first ended, in the middle of a bio too. */
Test(queue, a_short_transfer_is_gone_on_with)
{
        for (int write = 0; write < 2; write++) {
                struct blk_plug plug;

                fake_queue_open(&t);
                t.fake.result = a_page_at_most;
                blk_start_plug(&plug);
                submit_bio(fake_bio(&t, 'A', write ? IO_WRITE : IO_READ, 0, 2), &plug);
                submit_bio(fake_bio(&t, 'B', write ? IO_WRITE : IO_READ, 2, 1), &plug);
                blk_finish_plug(&plug);
                fake_complete_all(&t.fake);
                cr_expect_eq(t.fake.logged, 3);
                cr_expect_eq(t.fake.log[1].offset, PAGE_SIZE + 512);
                cr_expect_eq(t.fake.log[2].offset, 2 * (PAGE_SIZE + 512));
                cr_expect_eq(t.fake.log[2].len, PAGE_SIZE - 1024);
                cr_expect_eq(t.fake.done['A'], 2 * PAGE_SIZE);
                cr_expect_eq(t.fake.done['B'], PAGE_SIZE);
                cr_expect_eq(t.fake.status['A'] | t.fake.status['B'], 0);
                close_all();
        }
}

/* Short until a byte is left, then none: that is no way to go on. */
Test(queue, a_write_that_moves_nothing_is_an_error)
{
        fake_queue_open(&t);
        t.fake.result = half;
        submit('A', IO_WRITE, 0);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.status['A'], -EIO);
        close_all();
}

/* A read that meets it ends there; where the end is known, nobody asks once more. */
Test(queue, a_read_ends_with_the_device)
{
        fake_queue_open(&t);
        t.fake.result = nothing;
        submit('A', IO_READ, 0);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.status['A'], 0);
        cr_expect_eq(t.fake.done['A'], 0);
        t.fake.result = half;
        t.fake.dev.size = PAGE_SIZE / 2;
        submit('B', IO_READ, 0);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.logged, 2);
        cr_expect_eq(t.fake.done['B'], PAGE_SIZE / 2);
        close_all();
}

Test(queue, an_empty_bio_ends_at_once)
{
        fake_queue_open(&t);
        submit_bio(fake_bio(&t, 'A', IO_READ, 0, 0), NULL);
        cr_expect_eq(t.fake.ended, 1);
        cr_expect_eq(t.fake.logged, 0);
        close_all();
}

static int64_t fails(struct fake_device *f, struct driver_io *io)
{
        (void)f, (void)io;
        return -EIO;
}

/* ---- times and numbers ---- */

static uint64_t stamps[RQ_TIMES];

static int64_t keeps_stamps(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        memcpy(stamps, container_of(io, struct request, io)->time, sizeof stamps);
        return (int64_t)io->len;
}

struct seen_latency {
        uint64_t count, q2c, d2c; /* in sum */
};

static void add_latency(void *arg, const char *device, enum blk_stat op, struct blk_latency *l)
{
        struct seen_latency *seen = arg;

        (void)device;
        seen[op].count = atomic_load(&l->q2c.count);
        seen[op].q2c = atomic_load(&l->q2c.sum);
        seen[op].d2c = atomic_load(&l->d2c.sum);
}

/*  clock   100  110        120       130         150      180
 *   A       Q G             I                     D        C
 *   B            Q: joins A
 *   x                               its end lets A go
 */
Test(queue, each_step_leaves_its_time)
{
        struct seen_latency seen[BLK_STATS] = { 0 };
        struct blk_queue_stats s;
        struct blk_plug plug;

        open_full();
        t.fake.result = keeps_stamps;
        fake_clock = 100;
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'A', IO_WRITE, 0, 1), &plug);
        fake_clock = 110;
        submit_bio(fake_bio(&t, 'B', IO_WRITE, 1, 1), &plug);
        fake_clock = 120;
        blk_finish_plug(&plug);
        fake_clock = 150;
        fake_complete(&t.fake);
        fake_clock = 180;
        fake_complete(&t.fake);
        cr_expect_eq(stamps[TIME_Q], 100);
        cr_expect_eq(stamps[TIME_G], 100);
        cr_expect_eq(stamps[TIME_M], 110);
        cr_expect_eq(stamps[TIME_I], 120);
        cr_expect_eq(stamps[TIME_D], 150);
        blk_queue_stats(t.q, &s);
        cr_expect_eq(s.op[BLK_WRITE].requests, 1);
        cr_expect_eq(s.op[BLK_WRITE].bios, 2);
        cr_expect_eq(s.op[BLK_WRITE].bytes, 2 * PAGE_SIZE);
        cr_expect_eq(s.op[BLK_WRITE].queue_ns, 50);
        cr_expect_eq(s.op[BLK_WRITE].device_ns, 30);
        cr_expect_eq(s.op[BLK_READ].requests, 1, "x");
        cr_expect(block_pool_latencies(t.q->pool, 0, add_latency, seen));
        cr_expect_eq(seen[BLK_WRITE].count, 1);
        cr_expect_eq(seen[BLK_WRITE].q2c, 80);
        cr_expect_eq(seen[BLK_WRITE].d2c, 30);
        cr_expect_eq(seen[BLK_READ].count, 1);
        cr_expect_eq(seen[BLK_FLUSH].count, 0);
        cr_expect_not(block_pool_latencies(t.q->pool, 1, add_latency, seen));
        close_all();
}

Test(queue, every_kind_is_counted_by_itself)
{
        struct blk_queue_state state;
        struct blk_queue_stats s;
        char name[64] = "";

        fake_queue_open(&t);
        strcpy(t.fake.dev.name, "fake");
        t.fake.immediate = true;
        blk_queue_limits(t.q)->max_discard_sectors = 1024;
        blk_queue_limits(t.q)->max_write_zeroes_sectors = 1024;
        submit('r', IO_READ, 0);
        submit('d', IO_DISCARD, 0);
        submit('z', IO_WRITE_ZEROES, 0);
        submit('w', IO_WRITE | REQ_PREFLUSH, 0);
        submit('w', IO_WRITE, 0);
        cr_expect(block_pool_stats(t.pool, 0, name, &s, &state));
        cr_expect_str_eq(name, "fake");
        cr_expect_eq(s.op[BLK_READ].requests, 1);
        cr_expect_eq(s.op[BLK_WRITE].requests, 2);
        cr_expect_eq(s.op[BLK_WRITE].bytes, 2 * PAGE_SIZE);
        cr_expect_eq(s.op[BLK_DISCARD].bytes, PAGE_SIZE);
        cr_expect_eq(s.op[BLK_WRITE_ZEROES].bytes, PAGE_SIZE);
        cr_expect_eq(s.op[BLK_FLUSH].requests, 1);
        cr_expect_eq(s.op[BLK_FLUSH].bios, 1);
        cr_expect_eq(fake_stat(&t, STAT_write_bytes), 2 * PAGE_SIZE);
        cr_expect_not(block_pool_stats(t.pool, 1, name, &s, &state));
        close_all();
}

/* By its number somebody who watches knows a device again. */
Test(queue, devices_keep_their_numbers_when_others_come)
{
        struct fake_device more[2];
        struct request_queue *q[2];
        struct blk_queue_state state;
        struct blk_queue_stats s;
        char name[64] = "";

        fake_queue_open(&t);
        strcpy(t.fake.dev.name, "0");
        for (unsigned i = 0; i < 2; i++) {
                more[i] = (struct fake_device){ .dev = t.fake.dev };
                snprintf(more[i].dev.name, sizeof(more[i].dev.name), "%u", i + 1);
                cr_assert_eq(blk_queue_create(&q[i], &more[i].dev, t.pool, &t.trace), 0);
        }
        for (unsigned i = 0; i < 3; i++) {
                cr_expect(block_pool_stats(t.pool, i, name, &s, &state));
                cr_expect_eq(*name, (char)('0' + i), "device %u is %s", i, name);
        }
        for (unsigned i = 0; i < 2; i++)
                blk_queue_destroy(q[i]);
        close_all();
}

/* ---- completion within submit, submission within completion ---- */

#define CHAIN 20000
static unsigned chained;
static char *lowest;

static void chain(struct bio *bio)
{
        char here;

        if (!lowest || &here < lowest)
                lowest = &here;
        if (++chained < CHAIN) {
                struct bio *next = fake_bio(&t, 'c', IO_READ, chained, 1);

                next->bi_end_io = chain;
                t.fake.logged = 0;
                submit_bio(next, NULL);
        }
        (void)bio;
}

Test(queue, a_chain_of_bios_does_not_grow_the_stack)
{
        char top;
        struct bio *bio;

        fake_queue_open(&t);
        t.fake.immediate = true;
        bio = fake_bio(&t, 'c', IO_READ, 0, 1);
        bio->bi_end_io = chain;
        submit_bio(bio, NULL);
        cr_expect_eq(chained, CHAIN);
        cr_expect_lt(&top - lowest, 4096, "%ld bytes deep", (long)(&top - lowest));
        close_all();
}

Test(queue, a_retry_bio_by_bio_within_submit_does_not_either)
{
        fake_queue_open(&t);
        t.fake.immediate = true;
        t.fake.result = page_six_is_bad;
        submit_three_reads();
        cr_expect_eq(t.fake.logged, 4);
        cr_expect_eq(t.fake.status['B'], -EIO);
        cr_expect_eq(t.fake.ended, 3);
        close_all();
}

Test(queue, commit_follows_each_batch)
{
        fake_queue_open(&t);
        submit('a', IO_READ, 0);
        cr_expect_eq(t.fake.commits, 1);
        blk_queue_limits(t.q)->depth = 1;
        submit('b', IO_READ, 2);
        cr_expect_eq(t.fake.commits, 1, "nothing was dispatched");
        fake_complete(&t.fake);
        cr_expect_eq(t.fake.commits, 2);
        close_all();
}

/* ---- pool and life ---- */

Test(queue, the_pool_gives_bios_until_it_is_empty)
{
        struct block_pool *pool;
        struct bio *a, *b;

        fake_queue_open(&t);
        pool = t.q->pool;
        cr_assert_eq(block_pool_create(&t.q->pool, 2), 0);
        a = fake_bio(&t, 'a', IO_READ, 0, 1);
        b = fake_bio(&t, 'b', IO_READ, 8, 1);
        cr_expect_null(bio_alloc(t.q, IO_READ, 0, NULL, 0));
        submit_bio(a, NULL);
        submit_bio(b, NULL);
        fake_complete(&t.fake);
        a = bio_alloc(t.q, IO_READ, 0, NULL, 0);
        cr_expect_not_null(a, "an ended bio comes back");
        fake_complete_all(&t.fake);
        block_pool_destroy(t.q->pool);
        t.q->pool = pool;
        fake_queue_close(&t);
}

static void *complete_later(void *arg)
{
        (void)arg;
        for (int i = 0; i < 100 && !__atomic_load_n(&t.fake.nr_pending, __ATOMIC_ACQUIRE); i++)
                nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        fake_complete_all(&t.fake);
        return NULL;
}

/* Lets the other sleep first; what comes after the first completes at once. */
static void *complete_then_go_on(void *arg)
{
        (void)arg;
        nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
        t.fake.immediate = true;
        fake_complete(&t.fake);
        return NULL;
}

Test(queue, submit_bio_wait_waits)
{
        pthread_t thread;
        char buf[PAGE_SIZE];

        fake_queue_open(&t);
        pthread_create(&thread, NULL, complete_later, NULL);
        cr_expect_eq(submit_bio_wait(t.q, IO_READ, 0, buf, sizeof buf, 0), 0);
        pthread_join(thread, NULL);
        t.fake.immediate = true;
        t.fake.result = fails;
        cr_expect_eq(submit_bio_wait(t.q, IO_READ, 0, buf, sizeof buf, 0), -EIO);
        t.fake.result = half;
        cr_expect_eq(submit_bio_wait(t.q, IO_READ, 0, buf, sizeof buf, 0), -EIO);
        close_all();
}

Test(queue, submit_bio_wait_waits_for_a_bio_too)
{
        struct block_pool *pool;
        pthread_t thread;
        char buf[PAGE_SIZE];

        fake_queue_open(&t);
        pool = t.q->pool;
        cr_assert_eq(block_pool_create(&t.q->pool, 1), 0);
        submit('a', IO_READ, 0);
        pthread_create(&thread, NULL, complete_then_go_on, NULL);
        cr_expect_eq(submit_bio_wait(t.q, IO_READ, 0, buf, sizeof buf, 0), 0);
        pthread_join(thread, NULL);
        block_pool_destroy(t.q->pool);
        t.q->pool = pool;
        close_all();
}

Test(queue, destroy_waits_for_what_is_in_flight)
{
        pthread_t thread;

        fake_queue_open(&t);
        submit('a', IO_READ, 0);
        pthread_create(&thread, NULL, complete_later, NULL);
        blk_queue_destroy(t.q);
        cr_expect_eq(t.fake.ended, 1);
        cr_expect(t.fake.closed);
        pthread_join(thread, NULL);
        block_pool_destroy(t.pool);
}
