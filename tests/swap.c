/* SPDX-License-Identifier: Apache-2.0
 *
 * swap.c - private memory four times the budget: threads store stamps into it, anonymous memory and
 * private copies of a file, while parts of it are unmapped, thrown away and protected; errors of the
 * swap area, an area that is full, two engines that want the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "swapping.h"

#define PAGE TEST_PAGE
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map_anon(struct fl_engine *e, uint64_t pages)
{
        char *p = fl_mmap(e, NULL, pages * PAGE, RW, ANON, NULL, 0);

        require(p != MAP_FAILED, "%s", fl_strerror());
        return p;
}

/* --- threads, each with pages of its own in both mappings */

#define THREADS 4
#define EACH 128 /* pages a thread, in each of the two mappings */

static struct {
        struct fl_engine *engine;
        struct fl_file *file;
        char *map[2]; /* anonymous; private of the file */
        _Atomic bool stop;
        _Atomic uint64_t checked;
} s;

static void check_page(const char *p, uint64_t number, uint64_t version, bool of_file)
{
        const char *wrong = stamp_wrong(p, number, version);

        if (version == 0 && !of_file)
                wrong = *p ? "not zero" : NULL;
        expect(!wrong, "%s page %llu, version %llu: %s", of_file ? "private" : "anonymous",
               (unsigned long long)number, (unsigned long long)version, wrong);
        atomic_fetch_add(&s.checked, 1);
}

/* One page or a few are thrown away, protected for a moment, or replaced: all but the protection
 * makes them what they were at first. */
static void disturb(char *base, uint64_t first, uint64_t *version, uint64_t *seed, bool of_file)
{
        uint64_t at = random_below(seed, EACH), nr = 1 + random_below(seed, 8);
        char *p;
        size_t len;

        nr = at + nr > EACH ? EACH - at : nr;
        p = base + (first + at) * PAGE;
        len = nr * PAGE;
        switch (random_below(seed, 6)) {
        case 3:
                expect(fl_madvise(s.engine, p, len, MADV_PAGEOUT) == 0, "%s", fl_strerror());
                return;
        case 4:
                expect(fl_madvise(s.engine, p, len, MADV_COLD) == 0, "%s", fl_strerror());
                return;
        case 5:
                expect(fl_madvise(s.engine, p, len, MADV_WILLNEED) == 0, "%s", fl_strerror());
                return;
        case 0:
                expect(fl_madvise(s.engine, p, len, MADV_DONTNEED) == 0, "%s", fl_strerror());
                break;
        case 1:
                expect(fl_mprotect(s.engine, p, len, PROT_NONE) == 0, "%s", fl_strerror());
                if (random_below(seed, 2))
                        usleep(1000);
                expect(fl_mprotect(s.engine, p, len, RW) == 0, "%s", fl_strerror());
                return;
        default:
                if (random_below(seed, 2))
                        expect(fl_munmap(s.engine, p, len) == 0, "%s", fl_strerror());
                expect(fl_mmap(s.engine, p, len, RW, MAP_FIXED | (of_file ? MAP_PRIVATE : ANON),
                               of_file ? s.file : NULL,
                               of_file ? (off_t)((first + at) * PAGE) : 0) == p,
                       "%s", fl_strerror());
        }
        memset(version + at, 0, nr * sizeof(*version));
}

static void *work(void *arg)
{
        uint64_t number = (uint64_t)(uintptr_t)arg, first = number * EACH;
        uint64_t seed = test.seed + number, version[2][EACH] = { 0 };

        test_at("storing");
        while (!atomic_load(&s.stop)) {
                unsigned which = (unsigned)random_below(&seed, 2);
                uint64_t page = random_below(&seed, EACH), *v = &version[which][page];
                char *p = s.map[which] + (first + page) * PAGE;

                check_page(p, first + page, *v, which);
                if (random_below(&seed, 2))
                        stamp_write(p, first + page, ++*v);
                if (random_below(&seed, 64) == 0)
                        disturb(s.map[which], first, version[which], &seed, which);
        }
        for (unsigned which = 0; which < 2; which++)
                for (uint64_t page = 0; page < EACH; page++)
                        check_page(s.map[which] + (first + page) * PAGE, first + page,
                                   version[which][page], which);
        return NULL;
}

static void stress(void)
{
        uint64_t cache = test.cache ? test.cache : THREADS * EACH * 2 / 4 * PAGE;
        const char *path = test_stamped_file("private", THREADS * EACH);
        char area[512];
        pthread_t thread[THREADS];
        struct fl_stats st;

        snprintf(area, sizeof(area), "%s:16M", test_file("swap", 0));
        s.engine = open_with_swap(cache / PAGE, test.uri ? test.uri : area, test.faults);
        s.file = open_file(s.engine, path, O_RDONLY);
        s.map[0] = map_anon(s.engine, THREADS * EACH);
        s.map[1] = map_file(s.engine, s.file, THREADS * EACH * PAGE, RW, MAP_PRIVATE, 0);
        for (unsigned i = 0; i < THREADS; i++)
                require(!pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i),
                        "pthread_create");
        do { /* on a busy machine longer than asked for */
                usleep(10000);
                st = get_stats(s.engine);
        } while ((test_left() > 0 || !st.swap_outs || !st.swap_ins) && !test_failures());
        atomic_store(&s.stop, true);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(thread[i], NULL);
        test_at("checking");
        check_engine(s.engine);
        st = get_stats(s.engine);
        printf("%llu pages checked, %llu out, %llu in\n", (unsigned long long)s.checked,
               (unsigned long long)st.swap_outs, (unsigned long long)st.swap_ins);
        expect(st.cache_bytes_peak <= cache, "%llu bytes held of %llu",
               (unsigned long long)st.cache_bytes_peak, (unsigned long long)cache);
        unmap(s.engine, s.map[0], THREADS * EACH);
        unmap(s.engine, s.map[1], THREADS * EACH);
        check_engine(s.engine);
        expect(get_stats(s.engine).cache_bytes / PAGE <= THREADS * EACH, "pages left behind");
        close_file(s.file);
        close_engine(s.engine);
}

/* --- the corners */

/* A page that is read back and not stored to keeps its slot, and goes again without a write. */
static void clean_pages(void)
{
        struct fl_engine *e = open_with_swap(256, "ram:16M", NULL);
        char *p = map_anon(e, 1000);
        uint64_t written;

        test_at("clean pages");
        for (uint64_t i = 0; i < 1000; i++)
                stamp_write(p + i * PAGE, i, 1);
        for (unsigned round = 0; round < 2; round++)
                for (uint64_t i = 0; i < 1000; i++)
                        expect(!stamp_wrong(p + i * PAGE, i, 1), "page %llu",
                               (unsigned long long)i);
        written = get_stats(e).swap_outs;
        for (unsigned round = 0; round < 3; round++)
                for (uint64_t i = 0; i < 1000; i++)
                        expect(!stamp_wrong(p + i * PAGE, i, 1), "page %llu",
                               (unsigned long long)i);
        expect_eq(get_stats(e).swap_outs, written, "pages written that were only read");
        expect(get_stats(e).swap_ins > 2000, "pages were read back");
        expect(get_stats(e).faults_major > 100, "they are major faults");
        check_engine(e);
        unmap(e, p, 1000);
        close_engine(e);
}

/* Stores in order: what comes back ahead of them can be stored to at once. (How far ahead it comes
 * depends on how much is free just then; it is a fault of its own otherwise, a major one.) */
/* What may be read only, and was several mappings, stays readable on its way out and back. */
static void protected_parts(void)
{
        struct fl_engine *e = open_with_swap(64, "ram:1M", NULL);
        char *p = map_anon(e, 32), *q = map_anon(e, 128);

        for (uint64_t i = 0; i < 32; i++)
                stamp_write(p + i * PAGE, i, 3);
        for (uint64_t i = 1; i < 31; i += 4)
                expect(fl_mprotect(e, p + i * PAGE, PAGE, PROT_NONE) == 0, "%s", fl_strerror());
        expect(fl_mprotect(e, p, 32 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < 2 * 128; i++)
                stamp_write(q + i % 128 * PAGE, i, 4);
        for (uint64_t i = 0; i < 32; i++)
                check_page(p + i * PAGE, i, 3, false);
        expect(get_stats(e).swap_outs > 32, "nothing went out");
        unmap(e, p, 32);
        unmap(e, q, 128);
        check_engine(e);
        close_engine(e);
}

static void stores_in_order(void)
{
        struct fl_engine *e = open_with_swap(256, "ram:16M", NULL);
        char *p = map_anon(e, 1000);
        uint64_t before = 0;

        test_at("stores in order");
        for (unsigned version = 1; version < 4; version++) {
                before = get_stats(e).faults_minor;
                for (uint64_t i = 0; i < 1000; i++)
                        stamp_write(p + i * PAGE, i, version);
        }
        expect(get_stats(e).faults_minor - before < 250, "%llu minor faults of 1000 stores",
               (unsigned long long)(get_stats(e).faults_minor - before));
        for (uint64_t i = 0; i < 1000; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 3), "page %llu", (unsigned long long)i);
        check_engine(e);
        unmap(e, p, 1000);
        close_engine(e);
}

/* A page cannot be written: it stays, and nothing is lost. */
static void write_errors(void)
{
        struct fl_engine *e = open_with_swap(256, "ram:16M", "eio@0+16M");
        struct caught c = { 0 };
        uint64_t i = 0;
        char *p = map_anon(e, 1000);

        test_at("write errors");
        for (; i < 1000 && !c.signo; i++) {
                c = try_store(p + i * PAGE, 1);
                if (!c.signo)
                        stamp_write(p + i * PAGE, i, 1);
        }
        expect(c.signo == SIGBUS, "the page that does not fit: %s", caught_name(c));
        expect(get_stats(e).io_errors > 0, "io_errors");
        for (uint64_t k = 0; k + 1 < i; k++)
                expect(!stamp_wrong(p + k * PAGE, k, 1), "page %llu: %s", (unsigned long long)k,
                       stamp_wrong(p + k * PAGE, k, 1));
        check_engine(e);
        unmap(e, p, 1000);
        close_engine(e);
}

/* fl_error says why the page cannot be had; it stays in its slot, and fl_error_clear has it read again. A
 * device that is well again after one read gives it back; else it is dropped, and begins anew. */
static void expect_told(struct fl_engine *e, char *page, uint64_t number, bool heals)
{
        struct fl_error_info info = { .size = sizeof(info) };
        unsigned char byte = 1;
        int signo = SIGBUS;

        expect_eq(fl_error(e, page, PAGE, &info), 1, "fl_error of a page that cannot be read");
        expect_eq(info.error, EIO, "its errno");
        expect(info.addr == page, "its address");
        for (int i = 0; i < 2 && signo; i++) {
                expect_eq(fl_error_clear(e, page, PAGE), 0, "fl_error_clear");
                signo = try_load(page, &byte).signo;
        }
        expect(signo == (heals ? 0 : SIGBUS), "a load after fl_error_clear");
        if (heals) {
                expect(!stamp_wrong(page, number, 1), "%s", stamp_wrong(page, number, 1));
                return;
        }
        expect_eq(fl_madvise(e, page, PAGE, MADV_DONTNEED), 0, "MADV_DONTNEED");
        expect(try_load(page, &byte).signo == 0 && byte == 0, "a load after MADV_DONTNEED");
}

/* A page cannot be read back: SIGBUS for it, and never zeros; the others are as they were. */
static void read_errors(bool heals)
{
        struct fl_engine *e =
                open_with_swap(256, "ram:16M", heals ? "eio-read@64K+4K*1" : "eio-read@64K+4K");
        unsigned lost = 0, good = 0;
        char *p = map_anon(e, 1000);

        test_at("read errors");
        if (heals) /* each page alone, so that the one read that fails is one that somebody wants */
                expect(fl_madvise(e, p, 1000 * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < 1000; i++)
                stamp_write(p + i * PAGE, i, 1);
        for (uint64_t i = 0; i < 1000; i++) {
                unsigned char byte;

                if (try_load(p + i * PAGE, &byte).signo == SIGBUS) {
                        lost++;
                        expect_told(e, p + i * PAGE, i, heals);
                } else if (!stamp_wrong(p + i * PAGE, i, 1)) {
                        good++;
                }
        }
        expect(lost == 1 && good == 999, "%u lost, %u good, of 1000", lost, good);
        expect(get_stats(e).io_errors > 0, "io_errors");
        check_engine(e);
        unmap(e, p, 1000);
        close_engine(e);
}

/* Memory and swap together are full: an error where it is mapped, or at the page too many; all that
 * came before can still be read and stored to. */
static void full(void)
{
        struct fl_engine *e = open_with_swap(256, "ram:2M", NULL);
        struct caught c = { 0 };
        uint64_t i = 0;
        char *p = fl_mmap(e, NULL, 2000 * PAGE, RW, ANON, NULL, 0);

        test_at("full");
        expect(p == MAP_FAILED && errno == ENOMEM, "2000 pages: %s", strerror(errno));
        p = fl_mmap(e, NULL, 2000 * PAGE, RW, ANON | MAP_NORESERVE, NULL, 0);
        require(p != MAP_FAILED, "%s", fl_strerror());
        for (; i < 2000 && !c.signo; i++) {
                c = try_store(p + i * PAGE, 1);
                if (!c.signo)
                        stamp_write(p + i * PAGE, i, 1);
        }
        expect(c.signo == SIGBUS && i > 512 && i < 768, "%llu pages, then %s",
               (unsigned long long)i, caught_name(c));
        for (unsigned version = 1; version < 4; version++)
                for (uint64_t k = 0; k + 1 < i; k++) {
                        expect(!stamp_wrong(p + k * PAGE, k, version), "page %llu: %s",
                               (unsigned long long)k, stamp_wrong(p + k * PAGE, k, version));
                        stamp_write(p + k * PAGE, k, version + 1);
                }
        check_engine(e);
        expect(fl_madvise(e, p, 100 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(!try_store(p + i * PAGE, 1).signo, "another page, with room");
        unmap(e, p, 2000);
        close_engine(e);
}

/* The budget becomes smaller: what is too much goes to swap. */
static void smaller(void)
{
        struct fl_engine *e = open_with_swap(512, "ram:16M", NULL);
        char *p = map_anon(e, 400);

        test_at("smaller");
        for (uint64_t i = 0; i < 400; i++)
                stamp_write(p + i * PAGE, i, 1);
        expect(fl_engine_set_cache(e, 256 * PAGE) == 0, "%s", fl_strerror());
        expect(get_stats(e).cache_bytes <= 256 * PAGE, "more is held than may be");
        for (uint64_t i = 0; i < 400; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 1), "page %llu", (unsigned long long)i);
        check_engine(e);
        unmap(e, p, 400);
        close_engine(e);
}

static void check_range(const char *p, uint64_t first, uint64_t pages, uint64_t version)
{
        for (uint64_t i = first; i < first + pages; i++)
                expect(!stamp_wrong(p + i * PAGE, i, version), "page %llu: %s",
                       (unsigned long long)i, stamp_wrong(p + i * PAGE, i, version));
}

static void *keep_storing(void *arg)
{
        struct timespec begin, now;

        test_at("storing to what is on its way");
        clock_gettime(CLOCK_MONOTONIC, &begin);
        do {
                for (uint64_t i = 0; i < 64; i++)
                        ((volatile char *)arg)[i * PAGE + 100] = 1;
                clock_gettime(CLOCK_MONOTONIC, &now);
        } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 <
                 150);
        return NULL;
}

/* Rows come back from their way to the area, since they are stored to: they free no room, and wake
 * nobody. Who waits for it is not forgotten. */
static void rows_that_come_back(void)
{
        struct fl_engine *e = open_with_swap(512 * PAGE, "ram:16M", "delay=20ms");
        char *p = map_anon(e, 475);
        pthread_t thread;

        test_at("rows that come back");
        for (uint64_t i = 0; i < 475; i++) {
                /* Soon there is no room, but what the first pages would make. */
                if (i == 64)
                        require(!pthread_create(&thread, NULL, keep_storing, p), "pthread_create");
                p[i * PAGE] = 2;
        }
        pthread_join(thread, NULL);
        for (uint64_t i = 475; i-- > 0;) /* those in memory first, or all would go and come again */
                expect_eq(p[i * PAGE], 2, "a page");
        check_engine(e);
        unmap(e, p, 475);
        close_engine(e);
}

/* Out because somebody asks, and back; p: 256 private pages, stamped 1 where they lie. */
static void ask(struct fl_engine *e, char *p)
{
        struct fl_stats st = get_stats(e);
        uint64_t out = st.swap_outs, in = st.swap_ins;

        expect(fl_madvise(e, p, 128 * PAGE, MADV_PAGEOUT) == 0, "%s", fl_strerror());
        expect_eq(resident(e, p, 256), 128, "in memory after MADV_PAGEOUT of the first half");
        expect_eq(get_stats(e).swap_outs, out + 128, "pages out");
        expect_eq(evict_all(e, p, 256, 128), 128, "evicted of the rest");
        expect_eq(resident(e, p, 256), 0, "in memory");
        expect_eq(fl_evict(e, p, 256 * PAGE), 0, "evicted of nothing");
        expect(fl_madvise(e, p, 256 * PAGE, MADV_WILLNEED) == 0, "%s", fl_strerror());
        for (int i = 0; i < 1000 && resident(e, p, 256) < 256; i++)
                usleep(1000);
        expect_eq(resident(e, p, 256), 256, "read when they were asked for");
        st = get_stats(e);
        expect_eq(st.swap_ins, in + 256, "pages in");
        check_range(p, 0, 256, 1);
        expect_eq(get_stats(e).faults_major, st.faults_major, "no fault had to read");
        /* Not stored to since: they go without a write. */
        expect_eq(evict_all(e, p, 256, 256), 256, "evicted again");
        expect_eq(get_stats(e).swap_outs, out + 256, "pages out, of which none was written twice");
        check_range(p, 0, 256, 1);
        for (uint64_t i = 0; i < 256; i++)
                stamp_write(p + i * PAGE, i, 1);
        expect(fl_mlock(e, p, 16 * PAGE) == 0, "%s", fl_strerror());
        expect(fl_madvise(e, p, 16 * PAGE, MADV_PAGEOUT) == -1 && errno == EINVAL, "locked");
        expect_eq(evict_all(e, p, 32, 16), 16, "evicted of what is half locked");
        expect(fl_munlock(e, p, 16 * PAGE) == 0, "%s", fl_strerror());
}

/* The copies go to swap, and the file's own pages, which are clean, go too: what is said to have gone is
 * the memory of both, no more and no less. q: 256 pages of f, all of them copies. */
static void evict_copies(struct fl_engine *e, struct fl_file *f, char *q)
{
        uint64_t held;
        char page[PAGE];

        for (uint64_t i = 0; i < 256; i++) {
                (void)*(volatile char *)(q + i * PAGE);
                expect(fl_pread(f, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE, "%s",
                       fl_strerror());
        }
        check_engine(e); /* nothing is on its way */
        held = get_stats(e).cache_bytes;
        expect_eq(evict_all(e, q, 256, 512), 512, "copies, and the pages they were made from");
        expect_eq(held - get_stats(e).cache_bytes, 512 * PAGE, "bytes given back");
        expect_eq(resident(e, q, 256), 0, "copies in memory");
        expect_eq(fl_evict(e, q, 256 * PAGE), 0, "evicted of nothing");
        for (uint64_t i = 0; i < 256; i++)
                expect(fl_pread(f, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE, "%s",
                       fl_strerror());
        check_engine(e);
        expect_eq(evict_all(e, q, 256, 256), 256, "the file's pages alone, the copies being out");
}

static void asked(void)
{
        struct fl_engine *e = open_with_swap(1024, "ram:16M", NULL);
        struct fl_file *f = open_file(e, test_stamped_file("asked", 256), O_RDONLY);
        char *p = map_anon(e, 256), *q = map_file(e, f, 256 * PAGE, RW, MAP_PRIVATE, 0);

        test_at("asked");
        for (uint64_t i = 0; i < 256; i++) {
                stamp_write(p + i * PAGE, i, 1);
                stamp_write(q + i * PAGE, i, 1);
        }
        ask(e, p);
        check_engine(e);
        unmap(e, p, 256);
        check_engine(e);
        check_range(q, 0, 256, 1);
        evict_copies(e, f, q);
        check_range(q, 0, 256, 1);
        unmap(e, q, 256);
        close_file(f);
        close_engine(e);

        /* No area: they stay, and are said to. */
        e = open_engine(256 * PAGE);
        p = map_anon(e, 64);
        for (uint64_t i = 0; i < 64; i++)
                stamp_write(p + i * PAGE, i, 1);
        expect(fl_madvise(e, p, 64 * PAGE, MADV_PAGEOUT) == 0, "%s", fl_strerror());
        expect_eq(fl_evict(e, p, 64 * PAGE), 0, "evicted, and nowhere to go");
        check_range(p, 0, 64, 1);
        unmap(e, p, 64);
        close_engine(e);
}

/* What is cold goes first: the rest of what fits stays where it is. */
static void cold(void)
{
        struct fl_engine *e = open_with_swap(512, "ram:16M", NULL);
        char *p = map_anon(e, 600);

        test_at("cold");
        for (uint64_t i = 0; i < 400; i++)
                stamp_write(p + i * PAGE, i, 1);
        expect(fl_madvise(e, p + 200 * PAGE, 200 * PAGE, MADV_COLD) == 0, "%s", fl_strerror());
        for (uint64_t i = 400; i < 500; i++)
                stamp_write(p + i * PAGE, i, 1);
        check_engine(e);
        expect(get_stats(e).swap_outs > 0, "nothing had to go");
        expect_eq(resident(e, p, 200), 200, "in memory of what was not cold");
        expect(resident(e, p + 200 * PAGE, 200) < 200, "all that is cold is in memory");
        check_range(p, 0, 500, 1);
        unmap(e, p, 600);
        close_engine(e);
}

/* Locked, and made longer: the new part is faulted in, as the kernel does. */
static void locked_grows(void)
{
        struct fl_engine *e = open_with_swap(512, "ram:16M", NULL);
        char *p = map_anon(e, 32), *q;

        test_at("locked, and longer");
        expect(fl_mlock(e, p, 32 * PAGE) == 0, "%s", fl_strerror());
        q = fl_mremap(e, p, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
        if (q == MAP_FAILED) { /* it could not grow in place, nor move */
                expect(errno == EOPNOTSUPP, "%s", fl_strerror());
                unmap(e, p, 32);
                close_engine(e);
                return;
        }
        expect_eq(resident(e, q, 64), 64, "in memory of what is locked");
        expect(fl_munlock(e, q, 64 * PAGE) == 0, "%s", fl_strerror());
        expect(fl_mlock2(e, q, 64 * PAGE, MLOCK_ONFAULT) == 0, "%s", fl_strerror());
        p = fl_mremap(e, q, 64 * PAGE, 96 * PAGE, MREMAP_MAYMOVE);
        require(p != MAP_FAILED, "%s", fl_strerror());
        expect_eq(resident(e, p, 96), 64, "in memory, locked as it is touched");
        unmap(e, p, 96);
        close_engine(e);
}

/* What is refused as a swap area. */
static void areas(void)
{
        const char *other = test_file("other", 1 << 20), *new = test_file("area", 0);
        struct fl_engine_config cfg = { .size = sizeof(cfg), .cache = 256 * PAGE, .swap = other };
        char spec[512];
        struct fl_engine *e;

        test_at("areas");
        expect(!fl_engine_open(&cfg) && errno == EEXIST, "a file that holds something: %s",
               fl_strerror());
        expect(file_size(other) == 1 << 20, "it has been changed");
        cfg.swap = new;
        expect(!fl_engine_open(&cfg) && errno == EINVAL, "no size: %s", fl_strerror());
        cfg.swap = "/nonexistent/swap:1M";
        expect(!fl_engine_open(&cfg) && errno == ENOENT, "no such folder: %s", fl_strerror());
        cfg.swap = "x:4K";
        expect(!fl_engine_open(&cfg) && errno == EINVAL, "too small: %s", fl_strerror());
        expect(access("x", F_OK), "what was made for nothing is still there");
        snprintf(spec, sizeof(spec), "%s:1M", new);
        cfg.swap = spec;
        e = fl_engine_open(&cfg);
        require(e, "%s", fl_strerror());
        expect(!fl_engine_open(&cfg) && errno == EBUSY, "a second engine: %s", fl_strerror());
        close_engine(e);
        cfg.swap = new; /* it has a size now, and is known */
        e = fl_engine_open(&cfg);
        require(e, "%s", fl_strerror());
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 4, 120, 60);
        if (!test.cache && !test.faults) {
                areas();
                clean_pages();
                protected_parts();
                stores_in_order();
                write_errors();
                rows_that_come_back();
                for (unsigned i = 0; i < 8; i++) /* SIGBUS and its reason come together */
                        read_errors(i % 2);
                full();
                smaller();
                asked();
                cold();
                locked_grows();
        }
        stress();
        return test_end();
}
