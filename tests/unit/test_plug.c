/* SPDX-License-Identifier: Apache-2.0
 *
 * test_plug.c - when a plug lets go of its requests.
 */
#include "fake_device.h"

static struct fake_queue t, t2;

/* Requests that cannot merge: every other page. */
static void submit_apart(unsigned from, unsigned n, struct blk_plug *plug)
{
        for (unsigned i = from; i < from + n; i++)
                submit_bio(fake_bio(&t, 'a', IO_READ, 2 * i, 1), plug);
}

Test(plug, holds_back_until_it_is_finished)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_apart(0, 3, &plug);
        cr_expect_eq(t.fake.logged, 0);
        cr_expect_eq(plug.count, 3);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 3);
        cr_expect_eq(t.fake.commits, 1, "one commit for the batch, not %u", t.fake.commits);
        cr_expect_eq(plug.count, 0);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 3);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, is_flushed_before_the_seventeenth_request)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_apart(0, BLK_MAX_REQUEST_COUNT, &plug);
        cr_expect_eq(t.fake.logged, 0);
        submit_apart(BLK_MAX_REQUEST_COUNT, 1, &plug);
        cr_expect_eq(t.fake.logged, BLK_MAX_REQUEST_COUNT);
        cr_expect_eq(plug.count, 1);
        blk_finish_plug(&plug);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, is_flushed_behind_a_large_request)
{
        const unsigned large = BLK_PLUG_FLUSH_SIZE / PAGE_SIZE;
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, large - 1), &plug);
        submit_bio(fake_bio(&t, 'b', IO_READ, 100, 1), &plug);
        cr_expect_eq(t.fake.logged, 0, "31 pages are not large");
        submit_bio(fake_bio(&t, 'c', IO_READ, 200, large), &plug);
        cr_expect_eq(t.fake.logged, 0);
        submit_bio(fake_bio(&t, 'd', IO_READ, 300, 1), &plug);
        cr_expect_eq(t.fake.logged, 3, "the last one was large");
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 4);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, merging_does_not_count_as_a_request)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        for (unsigned i = 0; i < 2 * BLK_MAX_REQUEST_COUNT; i++)
                submit_bio(fake_bio(&t, 'a', IO_READ, i, 1), &plug);
        cr_expect_eq(plug.count, 1);
        cr_expect_eq(t.fake.logged, 0);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 1);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, counts_two_that_became_one_as_one)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        submit_bio(fake_bio(&t, 'c', IO_READ, 2, 1), &plug);
        cr_expect_eq(plug.count, 2);
        submit_bio(fake_bio(&t, 'b', IO_READ, 1, 1), &plug);
        cr_expect_eq(plug.count, 1);
        cr_expect_eq(plug.bios, 3);
        blk_finish_plug(&plug);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, fua_and_preflush_pass_by)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'a', IO_WRITE, 0, 1), &plug);
        submit_bio(fake_bio(&t, 'b', IO_WRITE | REQ_FUA, 1, 1), &plug);
        cr_expect_eq(t.fake.logged, 1);
        cr_expect_eq(t.fake.log[0].picture[1], 'b');
        submit_bio(fake_bio(&t, 'c', IO_WRITE | REQ_PREFLUSH, 0, 0), &plug);
        cr_expect_eq(t.fake.logged, 2);
        cr_expect_eq(t.fake.log[1].op, IO_FLUSH);
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 3);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, serves_several_queues)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        fake_queue_open(&t2);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        submit_bio(fake_bio(&t2, 'b', IO_READ, 1, 1), &plug);
        submit_bio(fake_bio(&t, 'c', IO_READ, 1, 1), &plug);
        submit_bio(fake_bio(&t2, 'd', IO_READ, 2, 1), &plug);
        cr_expect_eq(plug.count, 2, "neighbours on different devices are no neighbours");
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 1);
        cr_expect_eq(t2.fake.logged, 1);
        cr_expect(!strncmp(t.fake.log[0].picture, "ac.", 3));
        cr_expect(!strncmp(t2.fake.log[0].picture, ".bd", 3));
        cr_expect_eq(t.fake.commits, 1);
        cr_expect_eq(t2.fake.commits, 1);
        fake_complete_all(&t.fake);
        fake_complete_all(&t2.fake);
        fake_queue_close(&t);
        fake_queue_close(&t2);
}

/* A plugged request joins what its queue already holds. */
Test(plug, flushing_merges_with_the_queue)
{
        struct blk_plug plug;

        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 1;
        submit_bio(fake_bio(&t, 'x', IO_READ, 50, 1), NULL);
        blk_start_plug(&plug);
        submit_bio(fake_bio(&t, 'b', IO_READ, 1, 1), &plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), NULL); /* queued meanwhile */
        blk_finish_plug(&plug);
        blk_queue_check(t.q);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.logged, 2);
        cr_expect(!strncmp(t.fake.log[1].picture, "ab.", 3));
        fake_queue_close(&t);
}

/* ---- a thread that waits does its own read ---- */

static unsigned performed, commits_before;
static char performed_letter;

static void perform(struct device *dev, struct driver_io *io)
{
        struct fake_device *f = container_of(dev, struct fake_device, dev);

        performed_letter = fake_log(f, io)->letter;
        commits_before = f->commits;
        performed++;
        io->result = fake_result(f, io);
        io->done(io);
}

static const struct driver_ops performing_ops = {
        .name = "fake",
        .signal_safe = true,
        .submit = fake_submit,
        .perform = perform,
        .commit = fake_commit,
        .close = fake_close,
};

static void open_performing(struct blk_plug *plug)
{
        fake_queue_open(&t);
        t.fake.dev.ops = &performing_ops;
        performed = 0;
        blk_start_plug(plug);
}

Test(plug, a_thread_that_waits_reads_itself)
{
        struct blk_plug plug;

        open_performing(&plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        plug.waits = true;
        blk_finish_plug(&plug);
        cr_expect_eq(performed, 1);
        cr_expect_eq(t.fake.nr_pending, 0);
        cr_expect_eq(t.fake.commits, 0, "nothing was held back");
        cr_expect_eq(t.fake.status['a'], 0);
        cr_expect_eq(t.fake.done['a'], PAGE_SIZE);
        cr_expect_eq(fake_stat(&t, STAT_requests), 1);
        cr_expect_eq(blk_queue_state(t.q).in_flight, 0);
        cr_expect_not(plug.waits, "of this one flush only");
        fake_queue_close(&t);
}

Test(plug, what_nobody_waits_for_starts_before)
{
        struct blk_plug plug;

        open_performing(&plug);
        submit_bio(fake_bio(&t, 'w', IO_WRITE, 40, 1), &plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        submit_bio(fake_bio(&t, 'r', IO_READ | REQ_RAHEAD, 20, 4), &plug);
        plug.waits = true;
        blk_finish_plug(&plug);
        cr_expect_eq(performed, 1);
        cr_expect_eq(performed_letter, 'a');
        cr_expect_eq(commits_before, 1, "the others were on their way");
        cr_expect_eq(t.fake.nr_pending, 2);
        cr_expect_eq(fake_letters(&t, 0)[2], 'a');
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

Test(plug, one_that_does_not_wait_reads_nothing_itself)
{
        struct blk_plug plug;

        open_performing(&plug);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        blk_finish_plug(&plug);
        plug.waits = true;
        submit_bio(fake_bio(&t, 'r', IO_READ | REQ_RAHEAD, 20, 4), &plug);
        blk_finish_plug(&plug);
        cr_expect_eq(performed, 0);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

/* Short of the whole: what is left of it is the thread's too. */
static int64_t half_of_a_page(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        return io->len == PAGE_SIZE ? (int64_t)PAGE_SIZE / 2 : (int64_t)io->len;
}

Test(plug, the_rest_of_a_short_read_is_read_by_it_too)
{
        struct blk_plug plug;

        open_performing(&plug);
        t.fake.result = half_of_a_page;
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        plug.waits = true;
        blk_finish_plug(&plug);
        cr_expect_eq(performed, 2);
        cr_expect_eq(t.fake.done['a'], PAGE_SIZE);
        fake_queue_close(&t);
}

Test(plug, a_thread_that_waits_flushes_itself)
{
        struct blk_plug plug;

        open_performing(&plug);
        cr_expect_eq(submit_bio_wait(t.q, IO_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, NULL, 0, 0), 0);
        cr_expect_eq(performed, 1);
        cr_expect_eq(t.fake.nr_pending, 0);
        cr_expect_eq(blk_queue_state(t.q).in_flight, 0);
        fake_queue_close(&t);
}

/* No place at the driver: whoever frees one starts it, and does not wait for it. */
Test(plug, a_full_device_takes_it_later)
{
        struct blk_plug plug;

        open_performing(&plug);
        blk_queue_limits(t.q)->depth = 1;
        submit_bio(fake_bio(&t, 'b', IO_READ, 40, 1), NULL);
        submit_bio(fake_bio(&t, 'a', IO_READ, 0, 1), &plug);
        plug.waits = true;
        blk_finish_plug(&plug);
        cr_expect_eq(t.fake.logged, 1);
        fake_complete(&t.fake);
        cr_expect_eq(t.fake.logged, 2);
        cr_expect_eq(performed, 0);
        fake_complete(&t.fake);
        cr_expect_eq(t.fake.done['a'], PAGE_SIZE);
        fake_queue_close(&t);
}
