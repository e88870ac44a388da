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
