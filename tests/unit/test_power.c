/* SPDX-License-Identifier: Apache-2.0
 *
 * test_power.c - a disk with a volatile write cache and its power cut (driver/power.c): what is on it
 * after each kind of write, and with each kind of cut. The disk is a file in memory, looked at past
 * the driver.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/driver.h"
#include "util/lock.h"

#define SIZE (16ul << 20)
#define PAGES 64

struct disk {
        struct trace trace;
        struct driver_env env;
        struct device *dev;
        int fd;
        char name[64];
};

static struct disk *disk_make(void)
{
        struct disk *d = calloc(1, sizeof *d);

        cr_assert(d);
        trace_init(&d->trace);
        d->env = (struct driver_env){ .trace = &d->trace, .driver = "posix" };
        d->fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        cr_assert_eq(ftruncate(d->fd, SIZE), 0);
        snprintf(d->name, sizeof d->name, "/proc/self/fd/%d", d->fd);
        return d;
}

static void disk_attach(struct disk *d, const char *faults)
{
        d->env.faults = faults;
        atomic_store(&d->env.writes, 0);
        cr_assert_eq(device_open_file(&d->env, d->name, O_RDWR, &d->dev), 0);
        cr_assert_str_eq(d->dev->ops->name, "faulty");
}

static void disk_detach(struct disk *d)
{
        device_close(d->dev);
        d->dev = NULL;
}

static struct disk *disk_open(const char *faults)
{
        struct disk *d = disk_make();

        disk_attach(d, faults);
        return d;
}

static void disk_close(struct disk *d)
{
        if (d->dev)
                disk_detach(d);
        driver_env_destroy(&d->env);
        close(d->fd);
        free(d);
}

/* ---- I/Os ---- */

struct wait {
        struct driver_io io;
        struct iovec iov;
        _Atomic uint32_t done;
};

static void wait_done(struct driver_io *io)
{
        struct wait *w = container_of(io, struct wait, io);

        atomic_store(&w->done, 1);
        futex_wake(&w->done, 1);
}

static void begin(struct device *dev, struct wait *w, enum io_op op, uint32_t flags, uint64_t at,
                  void *buf, uint64_t len)
{
        w->iov = (struct iovec){ .iov_base = buf, .iov_len = len };
        w->io = (struct driver_io){ .op = op,
                                    .flags = flags,
                                    .offset = at,
                                    .len = len,
                                    .iov = &w->iov,
                                    .iovcnt = 1,
                                    .done = wait_done };
        atomic_store(&w->done, 0);
        device_submit(dev, &w->io);
        device_commit(dev);
}

static int64_t end(struct wait *w)
{
        while (!atomic_load(&w->done))
                cr_assert_eq(futex_wait(&w->done, 0, 10000000000ull), 0, "an I/O was lost");
        return w->io.result;
}

static int64_t do_io(struct device *dev, enum io_op op, uint32_t flags, uint64_t at, void *buf,
                     uint64_t len)
{
        struct wait w;

        begin(dev, &w, op, flags, at, buf, len);
        return end(&w);
}

/* A page, or pages, of one letter. */
static int64_t put_flags(struct disk *d, uint64_t page, uint64_t nr, char letter, uint32_t flags)
{
        char *buf = malloc(nr * PAGE_SIZE);
        int64_t result;

        memset(buf, letter, nr * PAGE_SIZE);
        result = do_io(d->dev, IO_WRITE, flags, page * PAGE_SIZE, buf, nr * PAGE_SIZE);
        free(buf);
        return result;
}

static int64_t put(struct disk *d, uint64_t page, char letter)
{
        return put_flags(d, page, 1, letter, 0);
}

static int64_t flush(struct disk *d)
{
        return do_io(d->dev, IO_FLUSH, 0, 0, NULL, 0);
}

/* The letter of a page; '?' if it is a mixture; 'e' if it cannot be read. 0: zeros. */
static char letter_of(const char *page)
{
        return memcmp(page, page + 1, PAGE_SIZE - 1) ? '?' : page[0];
}

static char seen(struct disk *d, uint64_t page)
{
        char buf[PAGE_SIZE];

        if (do_io(d->dev, IO_READ, 0, page * PAGE_SIZE, buf, PAGE_SIZE) != PAGE_SIZE)
                return 'e';
        return letter_of(buf);
}

static char on_disk(struct disk *d, uint64_t page)
{
        char buf[PAGE_SIZE];

        cr_assert_eq(pread(d->fd, buf, PAGE_SIZE, (off_t)(page * PAGE_SIZE)), PAGE_SIZE);
        return letter_of(buf);
}

/* ---- the cache ---- */

Test(power, a_write_is_seen_at_once_and_on_disk_after_a_flush)
{
        struct disk *d = disk_open("powercut=100");

        cr_expect_eq(put(d, 3, 'a'), PAGE_SIZE);
        cr_expect_eq(seen(d, 3), 'a');
        cr_expect_eq(on_disk(d, 3), 0);
        cr_expect_eq(put(d, 3, 'b'), PAGE_SIZE);
        cr_expect_eq(seen(d, 3), 'b', "the younger");
        cr_expect_eq(flush(d), 0);
        cr_expect_eq(on_disk(d, 3), 'b');
        cr_expect_eq(seen(d, 3), 'b');
        cr_expect_eq(put(d, 3, 'c'), PAGE_SIZE);
        cr_expect_eq(on_disk(d, 3), 'b');
        disk_detach(d);
        cr_expect_eq(on_disk(d, 3), 'c', "closed without a cut: it is a disk that is turned off");
        disk_close(d);
}

Test(power, reads_see_parts_of_what_is_cached)
{
        struct disk *d = disk_open("powercut=100");
        char buf[3 * PAGE_SIZE];

        cr_assert_eq(put_flags(d, 0, 3, 'a', 0), 3 * PAGE_SIZE);
        cr_assert_eq(flush(d), 0);
        memset(buf, 'b', 1000);
        cr_assert_eq(do_io(d->dev, IO_WRITE, 0, PAGE_SIZE + 100, buf, 1000), 1000);
        cr_assert_eq(do_io(d->dev, IO_READ, 0, 50, buf, 2 * PAGE_SIZE), 2 * PAGE_SIZE);
        for (unsigned i = 0; i < 2 * PAGE_SIZE; i++) {
                unsigned at = i + 50;
                bool b = at >= PAGE_SIZE + 100 && at < PAGE_SIZE + 1100;

                cr_assert_eq(buf[i], b ? 'b' : 'a', "byte %u", at);
        }
        disk_close(d);
}

Test(power, fua_is_on_disk_and_covers_nothing_else)
{
        struct disk *d = disk_open("powercut=100");

        cr_assert_eq(put(d, 1, 'a'), PAGE_SIZE);
        cr_assert_eq(put(d, 2, 'a'), PAGE_SIZE);
        cr_assert_eq(put_flags(d, 1, 1, 'b', DRIVER_FUA), PAGE_SIZE);
        cr_expect_eq(on_disk(d, 1), 'b');
        cr_expect_eq(on_disk(d, 2), 0);
        cr_expect_eq(seen(d, 1), 'b');
        cr_assert_eq(flush(d), 0);
        cr_expect_eq(on_disk(d, 1), 'b', "the older one does not come over it");
        cr_expect_eq(on_disk(d, 2), 'a');
        disk_close(d);
}

Test(power, a_full_cache_is_written_out)
{
        struct disk *d = disk_open("powercut=1000000");

        for (unsigned i = 0; i < 1100; i++)
                cr_assert_eq(put(d, i, (char)('a' + i % 26)), PAGE_SIZE);
        cr_expect_eq(on_disk(d, 0), 'a');
        for (unsigned i = 0; i < 1100; i++)
                cr_assert_eq(seen(d, i), 'a' + i % 26);
        /* Larger than the cache. */
        cr_assert_eq(put_flags(d, 10, 1200, 'x', 0), 1200 * PAGE_SIZE);
        cr_expect_eq(seen(d, 9), 'j');
        cr_expect_eq(seen(d, 10), 'x');
        cr_expect_eq(seen(d, 1209), 'x');
        cr_assert_eq(put(d, 10, 'y'), PAGE_SIZE);
        cr_expect_eq(seen(d, 10), 'y');
        disk_close(d);
}

Test(power, what_cannot_be_written_out_is_told_by_the_flush)
{
        struct disk *d = disk_open("powercut=100");

        cr_assert_eq(put(d, 1, 'a'), PAGE_SIZE);
        cr_assert_eq(fcntl(d->fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
        cr_expect_eq(flush(d), -EPERM);
        cr_expect_eq(flush(d), 0, "told once");
        disk_close(d);
}

Test(power, what_the_device_may_refuse_is_not_cached)
{
        struct disk *d = disk_open("powercut=100");
        char byte = 'x';

        cr_assert_eq(put(d, 1, 'a'), PAGE_SIZE);
        cr_expect_eq(do_io(d->dev, IO_WRITE, 0, SIZE, &byte, 1), 1, "a file grows");
        cr_expect_eq(lseek(d->fd, 0, SEEK_END), SIZE + 1);
        cr_expect_eq(on_disk(d, 1), 'a', "what came before is written out");
        disk_close(d);
}

Test(power, the_size_is_changed_behind_what_is_cached)
{
        struct disk *d = disk_open("powercut=100");

        cr_assert_eq(put(d, 1, 'a'), PAGE_SIZE);
        cr_assert_eq(d->dev->ops->punch(d->dev, PAGE_SIZE, PAGE_SIZE), 0);
        cr_expect_eq(seen(d, 1), 0);
        cr_assert_eq(put(d, 1, 'b'), PAGE_SIZE);
        cr_assert_eq(d->dev->ops->resize(d->dev, PAGE_SIZE), 0);
        cr_assert_eq(d->dev->ops->resize(d->dev, SIZE), 0);
        cr_expect_eq(seen(d, 1), 0);
        disk_detach(d);
        cr_expect_eq(on_disk(d, 1), 0);
        disk_close(d);
}

/* ---- the cut ---- */

Test(power, after_the_cut_nothing_reaches_the_disk)
{
        struct disk *d = disk_open("powercut=3");
        uint64_t end_of_room;

        cr_expect_eq(put(d, 1, 'a'), PAGE_SIZE);
        cr_expect_eq(put(d, 2, 'a'), PAGE_SIZE);
        cr_expect_eq(put(d, 3, 'a'), -EIO);
        cr_expect_eq(put(d, 4, 'a'), -EIO);
        cr_expect_eq(put_flags(d, 5, 1, 'a', DRIVER_FUA), -EIO);
        cr_expect_eq(seen(d, 1), 'e');
        cr_expect_eq(flush(d), -EIO);
        cr_expect_eq(d->dev->ops->resize(d->dev, 0), -EIO);
        cr_expect_eq(d->dev->ops->punch(d->dev, 0, SIZE), -EIO);
        cr_expect_eq(d->dev->ops->allocate(d->dev, 0, SIZE, &end_of_room), -EIO);
        disk_detach(d);
        for (unsigned i = 1; i <= 5; i++)
                cr_expect_eq(on_disk(d, i), i < 3 ? 'a' : 0, "page %u", i);
        disk_close(d);
}

Test(power, the_cut_is_of_all_devices_of_an_engine)
{
        struct disk *d = disk_make();
        struct device *first;

        disk_attach(d, "powercut=3");
        first = d->dev;
        cr_assert_eq(device_open_file(&d->env, d->name, O_RDWR, &d->dev), 0);
        cr_expect_eq(put(d, 1, 'a'), PAGE_SIZE);
        cr_expect_eq(put(d, 2, 'a'), PAGE_SIZE);
        cr_expect_eq(do_io(first, IO_WRITE, 0, 0, d->name, 10), -EIO);
        cr_expect_eq(put(d, 3, 'a'), -EIO);
        cr_expect_eq(on_disk(d, 2), 'a', "in order, those before the cut are there");
        device_close(first);
        disk_close(d);
}

/* What each cut leaves of PAGES pages 'f', flushed, then PAGES writes of 'u', and the cut. */
struct result {
        char page[PAGES + 1][PAGE_SIZE];
};

static void cut_with(struct result *r, const char *spec, uint32_t flags)
{
        struct disk *d = disk_make();
        char faults[64];

        snprintf(faults, sizeof faults, "powercut=%d,%s", 2 * PAGES + 1, spec);
        disk_attach(d, faults);
        for (unsigned i = 0; i < PAGES; i++)
                cr_assert_eq(put(d, i, 'f'), PAGE_SIZE);
        cr_assert_eq(flush(d), 0);
        for (unsigned i = 0; i < PAGES; i++)
                cr_assert_eq(put_flags(d, i, 1, 'u', flags), PAGE_SIZE);
        cr_assert_eq(put(d, PAGES, 'u'), -EIO);
        disk_detach(d);
        cr_assert_eq(pread(d->fd, r, sizeof *r, 0), sizeof *r);
        disk_close(d);
}

Test(power, a_seed_loses_some_of_what_was_not_flushed)
{
        struct result *r = malloc(sizeof *r), *again = malloc(sizeof *again);
        unsigned lost[PAGES] = { 0 }, none = 0, all = 0, cut = 0;

        for (unsigned seed = 1; seed <= 40; seed++) {
                unsigned kept = 0;
                char spec[32];

                snprintf(spec, sizeof spec, "seed=%u", seed);
                cut_with(r, spec, 0);
                cut_with(again, spec, 0);
                cr_assert_arr_eq((char *)r, (char *)again, sizeof *r, "not the same for one seed");
                for (unsigned i = 0; i < PAGES; i++) {
                        char letter = letter_of(r->page[i]);

                        cr_assert(letter == 'u' || letter == 'f', "seed %u: page %u", seed, i);
                        lost[i] += letter == 'f';
                        kept += letter == 'u';
                }
                none += kept == 0;
                all += kept == PAGES;
                cut += letter_of(r->page[PAGES]) == 'u';
        }
        for (unsigned i = 0; i < PAGES; i++)
                cr_expect(lost[i] > 0 && lost[i] < 40, "page %u: lost %u times", i, lost[i]);
        cr_expect(none > 0 && all > 0, "%u times none is left, %u times all", none, all);
        cr_expect(cut > 0 && cut < 40, "the last was there %u times", cut);
        free(r);
        free(again);
}

Test(power, what_was_written_with_fua_is_never_lost)
{
        struct result *r = malloc(sizeof *r);

        for (unsigned seed = 0; seed < 20; seed++) {
                char spec[32];

                snprintf(spec, sizeof spec, "torn,seed=%u", seed);
                cut_with(r, spec, DRIVER_FUA);
                for (unsigned i = 0; i < PAGES; i++)
                        cr_assert_eq(letter_of(r->page[i]), 'u', "seed %u: page %u", seed, i);
        }
        free(r);
}

/* Older bytes that survive do not come over it. */
Test(power, a_cut_keeps_fua_over_what_came_before)
{
        for (unsigned seed = 0; seed < 100; seed++) {
                struct disk *d = disk_make();
                char spec[64];

                snprintf(spec, sizeof spec, "powercut=3,seed=%u", seed);
                disk_attach(d, spec);
                cr_assert_eq(put(d, 1, 'a'), PAGE_SIZE);
                cr_assert_eq(put_flags(d, 1, 1, 'b', DRIVER_FUA), PAGE_SIZE);
                cr_assert_eq(put(d, 2, 'a'), -EIO);
                cr_expect_eq(on_disk(d, 1), 'b', "seed %u", seed);
                disk_close(d);
        }
}

/* How many pieces of `grain` bytes of all pages hold both letters, and how many pages do. */
static unsigned mixed(const struct result *r, unsigned grain, unsigned *pages)
{
        unsigned broken = 0;

        for (unsigned i = 0; i < PAGES; i++) {
                const char *p = r->page[i];

                for (unsigned at = 0; at < PAGE_SIZE; at += grain)
                        broken += memcmp(p + at, p + at + 1, grain - 1) != 0;
                *pages += letter_of(p) == '?';
        }
        return broken;
}

Test(power, torn_writes_are_torn_between_sectors)
{
        struct result *r = malloc(sizeof *r);
        unsigned pages = 0, meta = 0;

        for (unsigned seed = 1; seed <= 20; seed++) {
                char spec[32];

                snprintf(spec, sizeof spec, "torn,seed=%u", seed);
                cut_with(r, spec, 0);
                cr_assert_eq(mixed(r, SECTOR_SIZE, &pages), 0);
                cut_with(r, spec, DRIVER_META);
                cr_assert_eq(mixed(r, SECTOR_SIZE, &meta), 0);
        }
        cr_expect_gt(pages, 20, "%u pages were torn", pages);
        cr_expect_eq(meta, 0, "metadata: blocks of 4 KiB are whole");
        free(r);
}

/* Metadata of a file system with blocks of 1 KiB, written eight blocks at once. */
Test(power, metadata_is_torn_between_blocks)
{
        unsigned torn = 0;

        for (unsigned seed = 0; seed < 40; seed++) {
                struct disk *d = disk_make();
                char spec[64], buf[2 * PAGE_SIZE];
                unsigned blocks = 0;

                snprintf(spec, sizeof spec, "powercut=1,torn,seed=%u", seed);
                disk_attach(d, spec);
                d->dev->meta_block = 1024;
                cr_assert_eq(put_flags(d, 0, 2, 'm', DRIVER_META), -EIO);
                cr_assert_eq(pread(d->fd, buf, sizeof buf, 0), sizeof buf);
                for (unsigned at = 0; at < sizeof buf; at += 1024) {
                        cr_assert_eq(memcmp(buf + at, buf + at + 1, 1023), 0, "seed %u", seed);
                        blocks += buf[at] == 'm';
                }
                torn += blocks && blocks < 8;
                disk_close(d);
        }
        cr_expect_gt(torn, 20);
}

/* ---- what a flush covers ---- */

/* The caller of the write has not been told that it is done: the flush may pass it by. */
Test(power, a_flush_covers_only_what_was_done_when_it_came)
{
        unsigned lost = 0;

        for (unsigned seed = 1; seed <= 20; seed++) {
                struct disk *d = disk_make();
                struct wait write, flushing;
                char spec[64], page[PAGE_SIZE];

                snprintf(spec, sizeof spec, "powercut=3,seed=%u,delay=2ms@4K+4K", seed);
                disk_attach(d, spec);
                memset(page, 'a', sizeof page);
                cr_assert_eq(put(d, 2, 'a'), PAGE_SIZE);
                begin(d->dev, &write, IO_WRITE, 0, PAGE_SIZE, page, PAGE_SIZE);
                begin(d->dev, &flushing, IO_FLUSH, 0, 0, NULL, 0);
                cr_assert_eq(end(&flushing), 0);
                cr_assert_eq(end(&write), PAGE_SIZE);
                cr_expect_eq(on_disk(d, 2), 'a');
                cr_expect_eq(put(d, 3, 'a'), -EIO);
                lost += on_disk(d, 1) == 0;
                disk_close(d);
        }
        cr_expect(lost > 0 && lost < 20, "lost %u times", lost);
}

/* It does not pass by what would then come over something younger. */
Test(power, a_flush_keeps_the_order_of_what_overlaps)
{
        struct disk *d = disk_open("powercut=100,delay=20ms@4K+1");
        struct wait older;
        char pages[2 * PAGE_SIZE];

        memset(pages, 'a', sizeof pages);
        begin(d->dev, &older, IO_WRITE, 0, PAGE_SIZE, pages, sizeof pages);
        cr_assert_eq(put(d, 2, 'b'), PAGE_SIZE);
        cr_assert_eq(flush(d), 0);
        cr_expect_eq(on_disk(d, 2), 'b');
        cr_assert_eq(end(&older), 2 * PAGE_SIZE);
        cr_assert_eq(flush(d), 0);
        cr_expect_eq(on_disk(d, 1), 'a');
        cr_expect_eq(on_disk(d, 2), 'b', "the older has come over it");
        disk_close(d);
}
