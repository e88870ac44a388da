/* SPDX-License-Identifier: Apache-2.0
 *
 * test_request_flags.c - who sets which flags of a request, seen at memfs on a ram disk below a
 * real engine: what the block layer traced, and what reached the driver.
 *
 *   fault read: SYNC     read-ahead: RAHEAD     the flusher: none     META: nobody
 *   msync(MS_SYNC), fsync: SYNC, and then a commit with PREFLUSH, or FUA
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "api/engine.h"
#include "trace/reader.h"

#define FILE_PAGES 512u
#define FILE_BYTES (FILE_PAGES * PAGE_SIZE)
#define WINDOW 32u /* pages of read-ahead */
#define ALL_FLAGS (REQ_SYNC | REQ_RAHEAD | REQ_PREFLUSH | REQ_FUA | REQ_META)

static struct fl_engine *e;
static struct fl_file *f;
static struct address_space *m;
static char *map;
static char path[] = "/tmp/faultline-flags-XXXXXX";

/* ---- a driver layer that writes down what passes ---- */

static struct {
        const struct driver_ops *below;
        struct driver_ops ops;
        struct {
                enum io_op op;
                uint32_t flags;
                uint64_t len;
        } io[1024];
        _Atomic unsigned nr;
} driver;

static void record_submit(struct device *dev, struct driver_io *io)
{
        unsigned n = atomic_fetch_add(&driver.nr, 1);

        if (n < ARRAY_SIZE(driver.io)) {
                driver.io[n].op = io->op;
                driver.io[n].flags = io->flags;
                driver.io[n].len = io->len;
        }
        driver.below->submit(dev, io);
}

static void layer_recorder(struct device *dev)
{
        driver.below = dev->ops;
        driver.ops = *dev->ops;
        driver.ops.submit = record_submit;
        dev->ops = &driver.ops;
}

/* ---- an engine with a file that is on the disk and not in the cache ---- */

static void start(void)
{
        struct fl_engine_config cfg = {
                .size = sizeof cfg,
                .cache = 4 << 20,
                .policy = "linux",
                .readahead = WINDOW * PAGE_SIZE,
        };
        char *bytes = malloc(FILE_BYTES);
        int fd = mkstemp(path);

        cr_assert_geq(fd, 0);
        close(fd);
        e = fl_engine_open(&cfg);
        if (!e && (errno == EPERM || errno == ENOSYS))
                cr_skip_test("%s", fl_strerror());
        cr_assert_not_null(e, "%s", fl_strerror());
        f = fl_file_open(e, "ram:2M", O_RDWR, NULL);
        cr_assert_not_null(f, "%s", fl_strerror());
        m = f->file->mapping;
        memset(bytes, 'x', FILE_BYTES);
        cr_assert_eq(fl_pwrite(f, bytes, FILE_BYTES, 0), FILE_BYTES);
        free(bytes);
        cr_assert_eq(fl_fsync(f), 0);
        invalidate_range(m, 0, UINT64_MAX);
        cr_assert_eq(atomic_load(&m->nr_pages), 0, "the file is still cached");
        map = fl_mmap(e, NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
        cr_assert_neq(map, MAP_FAILED, "%s", fl_strerror());
        layer_recorder(blk_queue_device(m->host->i_queue));
}

static void stop(void)
{
        cr_assert_eq(fl_munmap(e, map, FILE_BYTES), 0);
        cr_assert_eq(fl_file_close(f), 0);
        cr_assert_eq(fl_engine_close(e), 0);
        unlink(path);
}

TestSuite(request_flags, .init = start, .fini = stop, .timeout = 30);

static void sleep_ms(long ms)
{
        nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void touch(uint64_t page)
{
        cr_assert_eq(*(volatile char *)(map + page * PAGE_SIZE), 'x');
}

static void store(uint64_t page)
{
        *(volatile char *)(map + page * PAGE_SIZE) = 'x';
}

/* ---- what happened between begin() and end() ---- */

static struct trace_record *records;
static size_t nr_records;

static void begin(void)
{
        free(records);
        records = NULL;
        atomic_store(&driver.nr, 0);
        cr_assert_eq(trace_start(&e->trace, path), 0);
}

static void end(void)
{
        struct trace_reader *r;
        const char *why;

        while (atomic_load(&e->cache->nr_reading) || atomic_load(&e->cache->nr_writeback))
                sleep_ms(1);
        cr_assert_eq(trace_stop(&e->trace), 0);
        cr_assert_eq(trace_reader_open(&r, path, &why), 0);
        cr_assert_eq(trace_reader_load(r, &records, &nr_records), 0);
        cr_assert_null(trace_reader_problem(r));
        cr_assert_eq(trace_reader_dropped(r), 0);
        trace_reader_close(r);
        cr_assert_lt(atomic_load(&driver.nr), ARRAY_SIZE(driver.io));
        for (size_t i = 0; i < nr_records; i++)
                if (records[i].event == TRACE_BIO || records[i].event == TRACE_REQUEST)
                        cr_assert_not(records[i].arg[2] & REQ_META);
}

/* The next bio or request from *i on: its record, or NULL. */
static const struct trace_record *next(size_t *i, enum trace_event event, enum io_op op)
{
        while (*i < nr_records) {
                const struct trace_record *r = &records[(*i)++];

                if (r->event == event && (r->arg[2] & REQ_OP_MASK) == op)
                        return r;
        }
        return NULL;
}

/* How many there are; each has just these of ALL_FLAGS. */
static unsigned all_have(enum trace_event event, enum io_op op, uint32_t flags)
{
        const struct trace_record *r;
        unsigned n = 0;
        size_t i = 0;

        for (; (r = next(&i, event, op)); n++)
                cr_assert_eq(r->arg[2] & ALL_FLAGS, flags, "opf %#lx of sector %lu", r->arg[2],
                             r->arg[0]);
        return n;
}

static unsigned count(enum trace_event event, enum io_op op)
{
        unsigned n = 0;
        size_t i = 0;

        while (next(&i, event, op))
                n++;
        return n;
}

static uint64_t sector_of(uint64_t page)
{
        int64_t sector = m->host->a_ops->bmap(m->host, page);

        cr_assert_gt(sector, 0);
        return (uint64_t)sector;
}

/* The flags that the bio of this page was read with. */
static uint32_t read_flags(uint64_t page)
{
        const struct trace_record *r;
        size_t i = 0;

        while ((r = next(&i, TRACE_BIO, IO_READ)))
                if (r->arg[0] == sector_of(page))
                        return r->arg[2] & ALL_FLAGS;
        cr_assert_fail("page %lu was not read", page);
        return 0;
}

/* What reached the driver. */
static unsigned driver_count(enum io_op op)
{
        unsigned n = 0;

        for (unsigned i = 0; i < atomic_load(&driver.nr); i++)
                n += driver.io[i].op == op;
        return n;
}

static void driver_all_have(enum io_op op, uint32_t flags)
{
        for (unsigned i = 0; i < atomic_load(&driver.nr); i++)
                if (driver.io[i].op == op)
                        cr_assert_eq(driver.io[i].flags, flags, "I/O %u: %#x", i,
                                     driver.io[i].flags);
}

/* ---- reads ---- */

Test(request_flags, a_fault_reads_sync)
{
        cr_assert_eq(fl_madvise(e, map, FILE_BYTES, MADV_RANDOM), 0);
        begin();
        touch(100);
        end();
        cr_assert_eq(all_have(TRACE_BIO, IO_READ, REQ_SYNC), 1);
        cr_assert_eq(all_have(TRACE_REQUEST, IO_READ, REQ_SYNC), 1);
        cr_assert_eq(read_flags(100), REQ_SYNC);
        cr_assert_eq(driver_count(IO_READ), 1);
        driver_all_have(IO_READ, DRIVER_SYNC);
        cr_assert_eq(count(TRACE_BIO, IO_WRITE), 0);
}

/* The window around a fault: the page that is waited for is SYNC, whatever surrounds it. */
Test(request_flags, a_fault_with_read_around_reads_its_page_sync)
{
        const struct trace_record *r;
        size_t i = 0;

        begin();
        touch(100);
        end();
        cr_assert_eq(count(TRACE_BIO, IO_READ), WINDOW);
        cr_assert_eq(read_flags(100), REQ_SYNC);
        while ((r = next(&i, TRACE_BIO, IO_READ))) {
                uint32_t flags = r->arg[2] & ALL_FLAGS;

                cr_assert(flags == REQ_SYNC || flags == REQ_RAHEAD, "opf %#lx", r->arg[2]);
        }
}

Test(request_flags, a_store_reads_sync)
{
        cr_assert_eq(fl_madvise(e, map, FILE_BYTES, MADV_RANDOM), 0);
        begin();
        store(100);
        end();
        cr_assert_eq(all_have(TRACE_BIO, IO_READ, REQ_SYNC), 1);
        cr_assert_eq(count(TRACE_BIO, IO_WRITE), 0, "a dirty page is not written at once");
}

Test(request_flags, pread_reads_sync)
{
        char byte;

        begin();
        cr_assert_eq(fl_pread(f, &byte, 1, 200 * PAGE_SIZE), 1);
        end();
        cr_assert_geq(count(TRACE_BIO, IO_READ), 1);
        cr_assert_eq(read_flags(200), REQ_SYNC);
}

Test(request_flags, pwrite_of_a_part_reads_the_page_sync)
{
        begin();
        cr_assert_eq(fl_pwrite(f, "y", 1, 200 * PAGE_SIZE + 1), 1);
        end();
        cr_assert_eq(read_flags(200), REQ_SYNC);
        cr_assert_eq(count(TRACE_BIO, IO_WRITE), 0);
}

/* The page with the read-ahead mark, of those cached. */
static uint64_t find_marker(void)
{
        for (uint64_t i = 0; i < FILE_PAGES; i++) {
                struct page *p = find_page(m, i);
                bool marker = p && page_test(p, PG_MARKER);

                if (p)
                        put_page(m, p);
                if (marker)
                        return i;
        }
        cr_assert_fail("no page carries a mark");
        return 0;
}

Test(request_flags, the_next_window_is_read_ahead)
{
        uint64_t marker;

        cr_assert_eq(fl_madvise(e, map, FILE_BYTES, MADV_SEQUENTIAL), 0);
        touch(0);
        while (atomic_load(&e->cache->nr_reading))
                sleep_ms(1);
        marker = find_marker();
        begin();
        touch(marker);
        end();
        cr_assert_geq(all_have(TRACE_BIO, IO_READ, REQ_RAHEAD), 2);
        cr_assert_geq(all_have(TRACE_REQUEST, IO_READ, REQ_RAHEAD), 1);
        driver_all_have(IO_READ, 0);
}

Test(request_flags, the_next_window_of_pread_is_read_ahead)
{
        char bytes[PAGE_SIZE];
        uint64_t marker;

        cr_assert_eq(fl_pread(f, bytes, sizeof bytes, 0), PAGE_SIZE);
        while (atomic_load(&e->cache->nr_reading))
                sleep_ms(1);
        marker = find_marker();
        begin();
        cr_assert_eq(fl_pread(f, bytes, sizeof bytes, (off_t)(marker * PAGE_SIZE)), PAGE_SIZE);
        end();
        cr_assert_geq(all_have(TRACE_BIO, IO_READ, REQ_RAHEAD), 2);
        driver_all_have(IO_READ, 0);
}

Test(request_flags, willneed_is_read_ahead)
{
        begin();
        cr_assert_eq(fl_madvise(e, map + 64 * PAGE_SIZE, 16 * PAGE_SIZE, MADV_WILLNEED), 0);
        end();
        cr_assert_eq(all_have(TRACE_BIO, IO_READ, REQ_RAHEAD), 16);
        driver_all_have(IO_READ, 0);
}

/* ---- writes ---- */

/* `pages` bios wrote them with SYNC; then, and only then, what makes them durable. */
static void check_durable(unsigned pages)
{
        const struct trace_record *r;
        unsigned writes = 0, commits = 0;
        size_t i = 0;

        while ((r = next(&i, TRACE_BIO, IO_WRITE))) {
                uint32_t opf = (uint32_t)r->arg[2];

                if (r->arg[1]) {
                        cr_assert(opf & REQ_SYNC, "opf %#x", opf);
                        cr_assert_not(opf & (REQ_RAHEAD | REQ_PREFLUSH));
                        cr_assert_eq(commits, 0, "written after the commit");
                        commits += (opf & REQ_FUA) != 0;
                        writes++;
                } else {
                        cr_assert(opf & REQ_PREFLUSH, "an empty write without PREFLUSH");
                        cr_assert(opf & REQ_SYNC, "somebody waits for the commit");
                        commits++;
                }
        }
        cr_assert_eq(writes, pages);
        cr_assert_eq(commits, 1);
        cr_assert_eq(count(TRACE_BIO, IO_READ), 0);
}

/* The driver has got the same: data, then a flush, or data with FUA. */
static void check_driver_durable(void)
{
        unsigned n = atomic_load(&driver.nr);

        cr_assert_gt(n, 0);
        if (driver.io[n - 1].op == IO_WRITE) {
                cr_assert(driver.io[n - 1].flags & DRIVER_FUA);
        } else {
                cr_assert_eq(driver.io[n - 1].op, IO_FLUSH, "nothing comes after it");
                cr_assert_eq(driver_count(IO_FLUSH), 1);
        }
        for (unsigned i = 0; i < n; i++)
                if (driver.io[i].op == IO_WRITE)
                        cr_assert(driver.io[i].flags & DRIVER_SYNC);
}

Test(request_flags, msync_writes_sync_and_commits)
{
        store(3);
        store(4);
        store(7);
        store(20);
        begin();
        cr_assert_eq(fl_msync(e, map, 8 * PAGE_SIZE, MS_SYNC), 0);
        end();
        check_durable(3);
        check_driver_durable();
        cr_assert_eq(atomic_load(&m->nr_dirty), 1, "page 20 was not asked for");
}

Test(request_flags, fsync_writes_sync_and_commits)
{
        store(3);
        cr_assert_eq(fl_pwrite(f, "y", 1, 50 * PAGE_SIZE), 1);
        store(400);
        begin();
        cr_assert_eq(fl_fsync(f), 0);
        end();
        check_durable(3);
        check_driver_durable();
        cr_assert_eq(atomic_load(&m->nr_dirty), 0);
}

Test(request_flags, fsync_of_what_is_clean_commits_all_the_same)
{
        begin();
        cr_assert_eq(fl_fsync(f), 0);
        end();
        check_durable(0);
        check_driver_durable();
}

Test(request_flags, msync_async_starts_nothing)
{
        store(3);
        begin();
        cr_assert_eq(fl_msync(e, map, FILE_BYTES, MS_ASYNC), 0);
        end();
        cr_assert_eq(count(TRACE_BIO, IO_WRITE), 0);
        cr_assert_eq(atomic_load(&driver.nr), 0);
}

/* Over the background limit the flusher writes: nobody waits for that. */
Test(request_flags, the_flusher_sets_none)
{
        unsigned over = (unsigned)dirty_background(e->cache) + 8;
        char bytes[PAGE_SIZE];

        cr_assert_lt(over, FILE_PAGES);
        cr_assert_lt(over, dirty_limit(e->cache), "a dirtier would have to pause");
        memset(bytes, 'x', sizeof bytes);
        begin();
        for (unsigned i = 0; i < over; i++)
                cr_assert_eq(fl_pwrite(f, bytes, sizeof bytes, (off_t)(i * PAGE_SIZE)), PAGE_SIZE);
        for (unsigned tries = 0; atomic_load(&m->nr_dirty) >= over && tries < 10000; tries++)
                sleep_ms(1);
        end();
        cr_assert_geq(all_have(TRACE_BIO, IO_WRITE, 0), 1, "the flusher never came");
        cr_assert_geq(all_have(TRACE_REQUEST, IO_WRITE, 0), 1);
        driver_all_have(IO_WRITE, 0);
        cr_assert_eq(driver_count(IO_FLUSH), 0);
        cr_assert_eq(count(TRACE_BIO, IO_READ), 0, "whole pages need no read");
}
