/* SPDX-License-Identifier: Apache-2.0
 *
 * test_deadline.c - what the deadline elevator sends next, by a clock of the test's.
 *
 * The device takes one request at a time, so that all others wait; each complete() lets one more go.
 */
#include <errno.h>

#include "fake_device.h"

#define MS 1000000ull
#define RT BLK_IOPRIO(BLK_CLASS_RT, 0)
#define BE BLK_IOPRIO(BLK_CLASS_BE, 0)
#define IDLE BLK_IOPRIO(BLK_CLASS_IDLE, 0)

static struct fake_queue t;

static void submit_as(char letter, uint32_t opf, uint64_t page, uint16_t ioprio)
{
        struct bio *bio = fake_bio(&t, letter, opf, page, 1);

        bio->bi_ioprio = ioprio;
        submit_bio(bio, NULL);
        blk_queue_check(t.q);
}

static void submit(char letter, uint32_t opf, uint64_t page)
{
        submit_as(letter, opf, page, BE);
}

static void complete(unsigned n)
{
        while (n--) {
                fake_complete(&t.fake);
                blk_queue_check(t.q);
        }
}

/* Something is at the device, behind all that the tests use: batches begin with the first of what comes. */
static void open_full(void)
{
        fake_queue_open(&t);
        blk_queue_limits(t.q)->depth = 1;
        submit_as('x', IO_READ, 200, RT);
}

/* Everything goes; in what order? */
static void expect_order(const char *letters)
{
        fake_complete_all(&t.fake);
        cr_expect_str_eq(fake_letters(&t, 1), letters);
        fake_queue_close(&t);
}

/* ---- one priority ---- */

Test(deadline, goes_by_sector)
{
        open_full();
        submit('d', IO_READ, 40);
        submit('b', IO_READ, 20);
        submit('c', IO_READ, 30);
        submit('a', IO_READ, 10);
        expect_order("abcd");
}

/* At the end of the disk it goes on where the one that has waited longest is. */
Test(deadline, begins_again_with_the_oldest)
{
        open_full();
        submit('d', IO_READ, 40);
        submit('f', IO_READ, 60);
        complete(1); /* d goes */
        submit('b', IO_READ, 20);
        submit('a', IO_READ, 10);
        submit('e', IO_READ, 50);
        expect_order("defba");
}

Test(deadline, reads_first_but_not_for_ever)
{
        open_full();
        for (unsigned i = 0; i < 50; i++)
                submit('r', IO_READ, 2 * i);
        submit('w', IO_WRITE, 11);
        submit('W', IO_WRITE, 13);
        fake_complete_all(&t.fake);
        /* The first batch began when no write waited for it; two more pass the writes over. */
        cr_expect_eq(strcspn(fake_letters(&t, 1), "wW"), 3 * 16, "%s", fake_letters(&t, 1));
        cr_expect_eq(strlen(fake_letters(&t, 1)), 52);
        fake_queue_close(&t);
}

Test(deadline, a_batch_of_writes_is_not_interrupted_before_its_end)
{
        open_full();
        for (unsigned i = 0; i < 20; i++)
                submit('w', IO_WRITE, 2 * i);
        complete(1);
        submit('r', IO_READ, 500);
        fake_complete_all(&t.fake);
        cr_expect_eq(strcspn(fake_letters(&t, 1), "r"), 16, "%s", fake_letters(&t, 1));
        fake_queue_close(&t);
}

/* Twenty lie further on, but the one behind us has waited for half a second. */
Test(deadline, a_read_that_has_expired_begins_the_next_batch)
{
        open_full();
        submit('b', IO_READ, 100);
        complete(1);
        submit('o', IO_READ, 10);
        fake_clock += 499 * MS;
        for (unsigned i = 1; i <= 40; i++)
                submit('r', IO_READ, 100 + 2 * i);
        complete(1); /* x, b: a batch that goes on for 15 more */
        fake_clock += 1 * MS;
        fake_complete_all(&t.fake);
        cr_expect_eq(strcspn(fake_letters(&t, 1), "o"), 16, "%s", fake_letters(&t, 1));
        fake_queue_close(&t);
}

Test(deadline, one_that_has_not_expired_waits_for_the_end_of_the_disk)
{
        open_full();
        submit('b', IO_READ, 100);
        complete(1);
        submit('o', IO_READ, 10);
        for (unsigned i = 1; i <= 40; i++)
                submit('r', IO_READ, 100 + 2 * i);
        fake_clock += 499 * MS;
        fake_complete_all(&t.fake);
        cr_expect_eq(strcspn(fake_letters(&t, 1), "o"), 41, "%s", fake_letters(&t, 1));
        fake_queue_close(&t);
}

static unsigned place_of_the_old_write(uint64_t waits)
{
        unsigned place;

        open_full();
        submit('b', IO_WRITE, 100);
        complete(1);
        submit('o', IO_WRITE, 10);
        for (unsigned i = 1; i <= 40; i++)
                submit('w', IO_WRITE, 100 + 2 * i);
        fake_clock += waits;
        fake_complete_all(&t.fake);
        place = (unsigned)strcspn(fake_letters(&t, 1), "o");
        fake_queue_close(&t);
        return place;
}

Test(deadline, writes_expire_after_five_seconds)
{
        cr_expect_eq(place_of_the_old_write(5000 * MS), 16);
        cr_expect_eq(place_of_the_old_write(4999 * MS), 41);
}

/* ---- merges ---- */

/*        page  10 11 12 13 ... 20 21 22
 *  o, oldest    O
 *  others                       r  r  r (apart)
 *  then            N  joins O: what has become of them goes at O's time
 */
Test(deadline, what_is_merged_keeps_the_older_place)
{
        open_full();
        submit('b', IO_READ, 100);
        complete(1);
        submit('N', IO_READ, 12);
        fake_clock += 100 * MS;
        submit('O', IO_READ, 10);
        for (unsigned i = 1; i <= 40; i++)
                submit('r', IO_READ, 100 + 2 * i);
        submit('M', IO_READ, 11); /* joins both */
        fake_clock += 400 * MS;   /* N's time is over, O's is not */
        fake_complete_all(&t.fake);
        cr_expect_eq(strcspn(fake_letters(&t, 1), "OMN"), 16, "%s", fake_letters(&t, 1));
        cr_expect_eq(t.fake.logged, 2 + 40 + 1);
        fake_queue_close(&t);
}

/* However many came in between: none.c would look at eight. */
Test(deadline, a_merge_is_found_among_many)
{
        open_full();
        submit('A', IO_WRITE, 500);
        submit('C', IO_WRITE, 600);
        for (unsigned i = 0; i < 100; i++)
                submit('w', IO_WRITE, 2 * i);
        submit('B', IO_WRITE, 501);
        submit('D', IO_WRITE, 599);
        cr_expect_eq(fake_stat(&t, STAT_merges_back), 1);
        cr_expect_eq(fake_stat(&t, STAT_merges_front), 1);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

static void submit_pages(char letter, uint64_t page, uint32_t pages)
{
        struct bio *bio = fake_bio(&t, letter, IO_WRITE, page, pages);

        bio->bi_ioprio = BE;
        submit_bio(bio, NULL);
        blk_queue_check(t.q);
}

/* Two that begin at one sector, and end at different ones, are two. */
Test(deadline, requests_may_overlap)
{
        open_full();
        submit('a', IO_WRITE, 10);
        submit_bio(fake_bio(&t, 'b', IO_WRITE, 10, 2), NULL);
        submit('c', IO_WRITE, 10);
        submit('d', IO_WRITE, 30);
        submit('e', IO_WRITE, 29); /* joins d */
        submit_pages('f', 20, 3);
        submit('g', IO_WRITE, 23); /* joins f */
        submit('h', IO_WRITE, 21); /* begins within f */
        submit_pages('i', 18, 2);  /* joins f */
        submit_pages('j', 16, 5);  /* ends where h begins: joins h, which is before f now */
        blk_queue_check(t.q);
        fake_complete_all(&t.fake);
        cr_expect_eq(t.fake.ended, 11);
        fake_queue_close(&t);
}

/* ---- priorities ---- */

Test(deadline, a_bio_has_the_priority_it_asks_for)
{
        open_full();
        submit_as('i', IO_READ, 10, IDLE);
        submit_as('b', IO_READ, 20, BE);
        submit_as('r', IO_WRITE, 30, RT);
        submit_as('s', IO_READ | REQ_SYNC, 40, IDLE);
        cr_expect_eq(blk_queue_state(t.q).queued[PRIO_RT], 1);
        cr_expect_eq(blk_queue_state(t.q).queued[PRIO_BE], 1);
        cr_expect_eq(blk_queue_state(t.q).queued[PRIO_IDLE], 2);
        expect_order("rbis");
}

Test(deadline, without_one_it_is_what_it_is)
{
        open_full();
        submit_as('w', IO_WRITE, 10, 0);
        submit_as('a', IO_READ | REQ_RAHEAD, 20, 0);
        submit_as('s', IO_WRITE | REQ_SYNC, 30, 0);
        submit_as('f', IO_READ, 40, 0);
        expect_order("fsaw");
}

/* Idle requests wait for as long as there is anything else; then for ten seconds. */
static unsigned reads_before_an_idle_one(uint64_t step)
{
        unsigned reads = 0;

        open_full();
        submit_as('i', IO_READ, 10, IDLE);
        while (!strchr(fake_letters(&t, 1), 'i') && reads < 100) {
                submit_as('r', IO_READ, 20 + 2 * (reads++ % 20), RT);
                fake_clock += step;
                complete(1);
        }
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
        return reads;
}

Test(deadline, an_idle_one_waits_ten_seconds)
{
        cr_expect_eq(reads_before_an_idle_one(1000 * MS), 10);
        cr_expect_eq(reads_before_an_idle_one(1), 100);
}

Test(deadline, the_aged_one_is_the_oldest_and_best_effort_comes_before_idle)
{
        open_full();
        submit_as('i', IO_READ, 10, IDLE);
        submit_as('w', IO_WRITE, 30, BE);
        fake_clock += 1 * MS;
        submit_as('b', IO_READ, 20, BE);
        submit_as('r', IO_READ, 40, RT);
        submit_as('R', IO_READ, 50, RT);
        submit_as('S', IO_READ, 60, RT);
        fake_clock += 10000 * MS;
        expect_order("wbirRS");
}

/* Fault reads without end: read-ahead, for which a fault may wait by now, comes all the same. */
Test(deadline, best_effort_is_passed_over_sixteen_times)
{
        unsigned reads = 0;

        open_full();
        submit_as('w', IO_WRITE, 0, 0);
        while (!strchr(fake_letters(&t, 1), 'w') && reads < 100) {
                submit_as('f', IO_READ, 10 + 2 * (reads++ % 20), 0);
                complete(1);
        }
        cr_expect_eq(reads, 17);
        fake_complete_all(&t.fake);
        fake_queue_close(&t);
}

/* ---- at the head ---- */

static int64_t first_try_fails(struct fake_device *f, struct driver_io *io)
{
        (void)f;
        return io->len > PAGE_SIZE ? -EIO : (int64_t)io->len;
}

/* A request that has to go again, bio by bio, goes before all that wait. */
Test(deadline, what_has_been_at_the_driver_goes_on_first)
{
        open_full();
        t.fake.result = first_try_fails;
        submit('A', IO_WRITE, 10);
        submit('B', IO_WRITE, 11);
        complete(1);
        submit_as('r', IO_READ, 20, RT);
        expect_order("AAAr");
}
