/* SPDX-License-Identifier: Apache-2.0
 *
 * test_flush.c - the steps of a flush, and how many flushes reach the device.
 */
#include <errno.h>

#include "fake_device.h"

static struct fake_queue t;

static void open_queue(bool fua, bool write_through)
{
        fake_queue_open(&t);
        t.fake.dev.fua = fua;
        t.fake.dev.write_through = write_through;
}

/* Flushes go by letter, each of the others has a page of its own. */
static void submit(char letter, uint32_t opf)
{
        submit_bio(fake_bio(&t, letter, opf, (uint64_t)letter % 32 * 2, opf_op(opf) != IO_FLUSH),
                   NULL);
        blk_queue_check(t.q);
}

static void complete(unsigned n)
{
        while (n--) {
                fake_complete(&t.fake);
                blk_queue_check(t.q);
        }
}

static unsigned flushes(void)
{
        unsigned n = 0;

        for (unsigned i = 0; i < t.fake.logged; i++)
                n += t.fake.log[i].op == IO_FLUSH;
        return n;
}

static int64_t fails(struct fake_device *f, struct driver_io *io)
{
        (void)f, (void)io;
        return -EIO;
}

/* ---- one ---- */

struct flush_case {
        const char *name;
        uint32_t opf;
        uint32_t pages;
        enum { CACHE, FUA, THROUGH } device; /* a cache that forgets; that and FUA; none */
        const char *ops;                     /* F flush, W write, U write with FUA */
};

static const struct flush_case flush_cases[] = {
        { "an empty PREFLUSH", IO_WRITE | REQ_PREFLUSH, 0, CACHE, "F" },
        { "a flush by its operation", IO_FLUSH, 0, CACHE, "F" },
        { "PREFLUSH with data", IO_WRITE | REQ_PREFLUSH, 1, CACHE, "FW" },
        { "FUA, known", IO_WRITE | REQ_FUA, 1, FUA, "U" },
        { "FUA, unknown", IO_WRITE | REQ_FUA, 1, CACHE, "WF" },
        { "both, known", IO_WRITE | REQ_PREFLUSH | REQ_FUA, 1, FUA, "FU" },
        { "both, unknown", IO_WRITE | REQ_PREFLUSH | REQ_FUA, 1, CACHE, "FWF" },
        { "nothing to flush: an empty PREFLUSH", IO_WRITE | REQ_PREFLUSH, 0, THROUGH, "" },
        { "nothing to flush: a flush", IO_FLUSH, 0, THROUGH, "" },
        { "nothing to flush: both", IO_WRITE | REQ_PREFLUSH | REQ_FUA, 1, THROUGH, "W" },
};

static char op_letter(const struct fake_io *io)
{
        return io->op == IO_FLUSH ? 'F' : io->flags & DRIVER_FUA ? 'U' : 'W';
}

Test(flush, sequences)
{
        for (unsigned i = 0; i < ARRAY_SIZE(flush_cases); i++) {
                const struct flush_case *c = &flush_cases[i];
                char ops[8] = "";

                open_queue(c->device == FUA, c->device == THROUGH);
                submit_bio(fake_bio(&t, 'A', c->opf, 0, c->pages), NULL);
                for (unsigned step = 1; c->ops[0] && c->ops[step]; step++) {
                        cr_expect_eq(t.fake.logged, step, "%s: one after the other", c->name);
                        complete(1);
                }
                cr_expect_eq(t.fake.ended, !c->ops[0], "%s: not before the last step", c->name);
                complete(t.fake.nr_pending);
                cr_expect_eq(t.fake.ended, 1, "%s", c->name);
                for (unsigned n = 0; n < t.fake.logged; n++)
                        ops[n] = op_letter(&t.fake.log[n]);
                cr_expect_str_eq(ops, c->ops, "%s: %s", c->name, ops);
                cr_expect_eq(fake_stat(&t, STAT_flushes), flushes(), "%s", c->name);
                fake_queue_close(&t);
        }
}

Test(flush, an_error_ends_the_flush_sequence)
{
        open_queue(false, false);
        t.fake.result = fails;
        submit('A', IO_WRITE | REQ_PREFLUSH);
        complete(1);
        cr_expect_eq(t.fake.logged, 1, "no data after a flush that failed");
        cr_expect_eq(t.fake.status['A'], -EIO);
        cr_expect_eq(fake_stat(&t, STAT_io_errors), 1);
        fake_queue_close(&t);
}

static int64_t flush_fails(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        return io->op == IO_FLUSH ? -EIO : (int64_t)io->len;
}

/* The data are written, but nobody knows for how long. */
Test(flush, a_failed_postflush_is_the_writes_error)
{
        open_queue(false, false);
        t.fake.result = flush_fails;
        submit('A', IO_WRITE | REQ_FUA);
        complete(2);
        cr_expect_eq(t.fake.status['A'], -EIO);
        cr_expect_eq(t.fake.ended, 1);
        fake_queue_close(&t);
}

/* ---- several ---- */

/* All that come while one is under way share the next. */
Test(flush, one_flush_serves_all_who_wait)
{
        open_queue(true, false);
        submit('a', IO_FLUSH);
        for (char c = 'b'; c <= 'k'; c++)
                submit(c, IO_FLUSH);
        cr_expect_eq(t.fake.logged, 1, "one at a time");
        cr_expect_eq(t.fake.ended, 0);
        complete(1);
        cr_expect_eq(t.fake.ended, 1, "the later ones wanted more than that one has flushed");
        complete(1);
        cr_expect_eq(t.fake.ended, 11);
        cr_expect_str_eq(t.fake.end_order, "abcdefghijk");
        cr_expect_eq(flushes(), 2);
        cr_expect_eq(fake_stat(&t, STAT_flushes), 2);
        fake_queue_close(&t);
}

/* PREFLUSH of one and the flush after another's data are one. */
Test(flush, steps_of_different_kinds_share_a_flush)
{
        open_queue(false, false);
        submit('a', IO_FLUSH);
        submit('u', IO_WRITE | REQ_FUA);
        submit('p', IO_WRITE | REQ_PREFLUSH);
        cr_expect_eq(t.fake.logged, 2, "a flush for a, and u's data");
        complete(1); /* a's; u's data are under way, so p's flush waits for them */
        cr_expect_eq(flushes(), 1);
        complete(1); /* u's data: now both want a flush */
        cr_expect_eq(flushes(), 2);
        complete(1);
        cr_expect_eq(t.fake.ended, 2, "a and u");
        complete(1); /* p's data */
        cr_expect_eq(t.fake.ended, 3);
        cr_expect_eq(flushes(), 2);
        cr_expect_str_eq(t.fake.end_order, "aup");
        fake_queue_close(&t);
}

/* Writes with FUA one after the other: whoever waits for a flush has it after five seconds. */
Test(flush, data_steps_do_not_hold_up_a_flush_for_ever)
{
        open_queue(false, false);
        submit('A', IO_WRITE | REQ_FUA);
        submit('f', IO_FLUSH);
        for (char c = 'B'; c <= 'E'; c++) {
                submit(c, IO_WRITE | REQ_FUA);
                fake_clock += 1000000000;
                complete(1);
                cr_expect_eq(flushes(), 0);
        }
        submit('F', IO_WRITE | REQ_FUA);
        fake_clock += 1000000000;
        complete(1);
        cr_expect_eq(flushes(), 1);
        while (t.fake.nr_pending)
                complete(1);
        cr_expect_eq(t.fake.ended, 7);
        fake_queue_close(&t);
}

Test(flush, an_error_is_everybodys)
{
        open_queue(true, false);
        submit('a', IO_FLUSH);
        submit('b', IO_FLUSH);
        submit('c', IO_WRITE | REQ_PREFLUSH);
        complete(1);
        t.fake.result = fails;
        complete(1);
        cr_expect_eq(t.fake.status['a'], 0);
        cr_expect_eq(t.fake.status['b'], -EIO);
        cr_expect_eq(t.fake.status['c'], -EIO);
        cr_expect_eq(t.fake.ended, 3);
        cr_expect_eq(t.fake.logged, 2, "c's data are not written");
        fake_queue_close(&t);
}

/* The device takes one I/O: what waits for a place is found when there is one. */
Test(flush, waits_for_a_place_at_the_device)
{
        open_queue(true, false);
        blk_queue_limits(t.q)->depth = 1;
        submit('A', IO_WRITE);
        submit('f', IO_FLUSH);
        submit('B', IO_WRITE);
        submit('g', IO_FLUSH);
        cr_expect_eq(t.fake.logged, 1);
        while (t.fake.nr_pending)
                complete(1);
        cr_expect_str_eq(t.fake.end_order, "AfgB");
        cr_expect_eq(flushes(), 2);
        fake_queue_close(&t);
}

/* ---- completion within submit ---- */

Test(flush, a_device_that_is_done_at_once)
{
        open_queue(false, false);
        t.fake.immediate = true;
        submit('a', IO_FLUSH);
        submit('B', IO_WRITE | REQ_PREFLUSH | REQ_FUA);
        submit('C', IO_WRITE | REQ_FUA);
        cr_expect_eq(t.fake.ended, 3);
        cr_expect_eq(flushes(), 4);
        fake_queue_close(&t);
}
