/* SPDX-License-Identifier: Apache-2.0
 *
 * shmem.c - anonymous memory that is shared, seen through two mappings, of which there is more than the
 * budget: threads store stamps into it while parts of it are thrown away, written out and mapped a
 * third time. What each call does to it; errors of the swap area; no area; an area that is full.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swapping.h"

#define PAGE TEST_PAGE
#define RW (PROT_READ | PROT_WRITE)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)
#define AREA "ram:16M"

static char *map_memory(struct fl_engine *e, uint64_t pages, int flags)
{
        char *p = fl_mmap(e, NULL, pages * PAGE, RW, SHARED | flags, NULL, 0);

        require(p != MAP_FAILED, "%s", fl_strerror());
        return p;
}

/* The same pages a second time. */
static char *map_again(struct fl_engine *e, char *p, uint64_t pages)
{
        char *q = fl_mremap(e, p, 0, pages * PAGE, MREMAP_MAYMOVE);

        require(q != MAP_FAILED, "%s", fl_strerror());
        return q;
}

static void store_all(char *p, uint64_t pages, uint64_t version)
{
        for (uint64_t i = 0; i < pages; i++)
                stamp_write(p + i * PAGE, i, version);
}

static void check_all(const char *p, uint64_t pages, uint64_t version, const char *where)
{
        for (uint64_t i = 0; i < pages; i++) {
                const char *wrong = stamp_wrong(p + i * PAGE, i, version);

                if (version == 0)
                        wrong = *(const uint64_t *)(p + i * PAGE) ? "not zero" : NULL;
                expect(!wrong, "%s: page %llu: %s", where, (unsigned long long)i, wrong);
                if (wrong)
                        return;
        }
}

/* Unmapped, it leaves nothing behind: neither pages nor slots, which check_engine() counts. */
static void end(struct fl_engine *e, char *p, uint64_t pages)
{
        check_engine(e);
        unmap(e, p, pages);
        check_engine(e);
        expect_eq(get_stats(e).cache_bytes, 0, "bytes held of what is not mapped any more");
        close_engine(e);
}

/* --- threads, each with pages of its own in both mappings */

#define THREADS 4
#define EACH 128

static struct {
        struct fl_engine *engine;
        char *view[2];
        _Atomic bool stop;
        _Atomic uint64_t checked;
} s;

static void check_page(const char *p, uint64_t number, uint64_t version)
{
        const char *wrong = stamp_wrong(p, number, version);

        if (version == 0)
                wrong = *(const uint64_t *)p ? "not zero" : NULL;
        expect(!wrong, "page %llu, version %llu: %s", (unsigned long long)number,
               (unsigned long long)version, wrong);
        atomic_fetch_add(&s.checked, 1);
}

static void advise(char *p, size_t len, int advice)
{
        expect(fl_madvise(s.engine, p, len, advice) == 0, "advice %d: %s", advice, fl_strerror());
}

/* A third view of a few pages, for a moment. */
static void look_elsewhere(char *p, uint64_t first, uint64_t nr, const uint64_t *version)
{
        char *q = map_again(s.engine, p, nr);

        for (uint64_t i = 0; i < nr; i++)
                check_page(q + i * PAGE, first + i, version[i]);
        unmap(s.engine, q, nr);
}

/* Something is done to a few pages; only the first makes them what they were at first. */
static void disturb(uint64_t first, uint64_t *version, uint64_t *seed)
{
        uint64_t at = random_below(seed, EACH), nr = 1 + random_below(seed, 8);
        char *p = s.view[random_below(seed, 2)];
        size_t len;

        nr = at + nr > EACH ? EACH - at : nr;
        p += (first + at) * PAGE;
        len = nr * PAGE;
        switch (random_below(seed, 8)) {
        case 0:
                advise(p, len, MADV_REMOVE);
                memset(version + at, 0, nr * sizeof(*version));
                break;
        case 1:
                advise(p, len, MADV_DONTNEED);
                break;
        case 2:
                advise(p, len, MADV_PAGEOUT);
                break;
        case 3:
                advise(p, len, MADV_COLD);
                break;
        case 4:
                advise(p, len, MADV_WILLNEED);
                break;
        case 5:
                expect(fl_evict(s.engine, p, len) >= 0, "%s", fl_strerror());
                break;
        case 6:
                expect(fl_msync(s.engine, p, len, MS_SYNC) == 0, "%s", fl_strerror());
                break;
        default:
                look_elsewhere(p, first + at, nr, version + at);
        }
}

static void *work(void *arg)
{
        uint64_t number = (uint64_t)(uintptr_t)arg, first = number * EACH;
        uint64_t seed = test.seed + number, version[EACH] = { 0 };

        test_at("storing");
        while (!atomic_load(&s.stop)) {
                uint64_t page = random_below(&seed, EACH), *v = &version[page];
                char *p = s.view[random_below(&seed, 2)] + (first + page) * PAGE;

                check_page(p, first + page, *v);
                if (random_below(&seed, 2))
                        stamp_write(p, first + page, ++*v);
                if (random_below(&seed, 64) == 0)
                        disturb(first, version, &seed);
        }
        for (unsigned view = 0; view < 2; view++)
                for (uint64_t page = 0; page < EACH; page++)
                        check_page(s.view[view] + (first + page) * PAGE, first + page,
                                   version[page]);
        return NULL;
}

static bool swapped(void)
{
        struct fl_stats st = get_stats(s.engine);

        return st.swap_outs > 1000 && st.swap_ins > 1000;
}

static void stress(void)
{
        uint64_t cache = test.cache ? test.cache : THREADS * EACH / 4 * PAGE;
        char area[512];
        pthread_t thread[THREADS];
        struct fl_stats st;

        snprintf(area, sizeof(area), "%s:16M", test_file("shmem-swap", 0));
        s.engine = open_with_swap(cache / PAGE, test.uri ? test.uri : area, test.faults);
        s.view[0] = map_memory(s.engine, THREADS * EACH, 0);
        s.view[1] = map_again(s.engine, s.view[0], THREADS * EACH);
        for (unsigned i = 0; i < THREADS; i++)
                require(!pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i),
                        "pthread_create");
        /* On a busy machine little time may be left. */
        for (unsigned i = 0; (test_left() > 0 || (!swapped() && i < 2000)) && !test_failures(); i++)
                usleep(10000);
        atomic_store(&s.stop, true);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(thread[i], NULL);
        test_at("checking");
        check_engine(s.engine);
        st = get_stats(s.engine);
        printf("%llu pages checked, %llu out, %llu in\n", (unsigned long long)s.checked,
               (unsigned long long)st.swap_outs, (unsigned long long)st.swap_ins);
        expect(st.swap_outs > 0 && st.swap_ins > 0, "nothing was swapped");
        expect(st.cache_bytes_peak <= cache, "%llu bytes held of %llu",
               (unsigned long long)st.cache_bytes_peak, (unsigned long long)cache);
        unmap(s.engine, s.view[0], THREADS * EACH);
        end(s.engine, s.view[1], THREADS * EACH);
}

/* --- what it is */

/* What is stored is seen in every view, and outlives all but the last of them. */
static void views(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, NULL);
        char *p = map_memory(e, 64, 0), *q = map_again(e, p, 64), *r;

        test_at("views");
        check_all(p, 64, 0, "new");
        store_all(p, 64, 1);
        check_all(q, 64, 1, "the second view");
        store_all(q, 32, 2);
        check_all(p, 32, 2, "the first view");
        unmap(e, p, 64);
        check_all(q, 32, 2, "the view that is left");
        r = fl_mremap(e, q, 64 * PAGE, 32 * PAGE, 0);
        expect(r == q, "shrinking: %s", fl_strerror());
        r = fl_mremap(e, q, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
        require(r != MAP_FAILED, "growing: %s", fl_strerror());
        expect(!stamp_wrong(r + 40 * PAGE, 40, 1), "what the memory holds behind the old end");
        end(e, r, 64);
}

/* It begins with its first page, whatever offset was given: as with the kernel's. */
static void offsets(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, NULL);
        char *p = fl_mmap(e, NULL, 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, NULL, 64 * PAGE);

        test_at("offsets");
        require(p != MAP_FAILED, "%s", fl_strerror());
        check_all(p, 8, 0, "new");
        store_all(p, 8, 1);
        check_all(p, 8, 1, "stored to");
        end(e, p, 8);
}

/* It is as long as it was made; a mapping of it may be longer. */
static void past_the_end(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, NULL);
        char *p = map_memory(e, 8, 0);
        unsigned char byte;
        struct caught c;

        test_at("past the end");
        p = fl_mremap(e, p, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
        require(p != MAP_FAILED, "%s", fl_strerror());
        expect(!try_store(p + 7 * PAGE, 1).signo, "the last page");
        c = try_load(p + 8 * PAGE, &byte);
        expect(c.signo == SIGBUS, "behind the last page: %s", caught_name(c));
        end(e, p, 16);
}

static void calls(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, NULL);
        char *p = map_memory(e, 64, 0);
        struct caught c;

        test_at("calls");
        store_all(p, 64, 1);
        expect(fl_madvise(e, p, 64 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        check_all(p, 64, 1, "after MADV_DONTNEED");
        expect(fl_madvise(e, p, 64 * PAGE, MADV_FREE) == -1 && errno == EINVAL, "MADV_FREE");
        expect(fl_msync(e, p, 64 * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect_eq(get_stats(e).write_bytes, 0, "msync has nowhere to write to");
        expect(fl_mprotect(e, p, 64 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        c = try_store(p, 1);
        expect(c.signo == SIGSEGV, "a store to what may be read: %s", caught_name(c));
        expect(fl_mprotect(e, p, 64 * PAGE, RW) == 0, "%s", fl_strerror());
        check_all(p, 64, 1, "after mprotect");
        expect(resident(e, p, 64) == 64, "%u of 64 pages are in memory", resident(e, p, 64));
        expect_eq(evict_all(e, p, 32, 32), 32, "evicted");
        expect(resident(e, p, 64) == 32, "%u of 32 pages are in memory", resident(e, p, 64));
        expect(fl_madvise(e, p, 64 * PAGE, MADV_REMOVE) == 0, "%s", fl_strerror());
        expect_eq(get_stats(e).cache_bytes, 0, "bytes held of what has been removed");
        check_engine(e);
        check_all(p, 64, 0, "after MADV_REMOVE");
        end(e, p, 64);
}

/* Out and back: each way counted, and a fault that has to read is a major one. */
static void there_and_back(void)
{
        struct fl_engine *e = open_with_swap(512, AREA, NULL);
        char *p = map_memory(e, 256, 0);
        struct fl_stats st;

        test_at("there and back");
        store_all(p, 256, 1);
        st = get_stats(e);
        expect_eq(st.faults_major, 0, "faults that read nothing");
        expect_eq(evict_all(e, p, 256, 256), 256, "evicted");
        expect_eq(get_stats(e).swap_outs, 256, "pages out");
        expect_eq(resident(e, p, 256), 0, "in memory");
        check_all(p, 256, 1, "back");
        st = get_stats(e);
        expect_eq(st.swap_ins, 256, "pages in");
        expect(st.faults_major > 0 && st.faults_major < 128, "%llu major faults for 256 pages",
               (unsigned long long)st.faults_major);
        /* Not stored to since: they go without a write. */
        expect_eq(evict_all(e, p, 256, 256), 256, "evicted again");
        expect_eq(get_stats(e).swap_outs, 256, "pages out, of which none had to be written twice");
        expect(fl_madvise(e, p, 256 * PAGE, MADV_WILLNEED) == 0, "%s", fl_strerror());
        for (int i = 0; i < 1000 && resident(e, p, 256) < 256; i++)
                usleep(1000);
        expect_eq(resident(e, p, 256), 256, "read when they were asked for");
        st = get_stats(e);
        check_all(p, 256, 1, "read ahead");
        expect_eq(get_stats(e).faults_major, st.faults_major, "no fault had to read");
        store_all(p, 256, 2);
        for (int i = 0; i < 100 && resident(e, p, 256); i++)
                expect(fl_madvise(e, p, 256 * PAGE, MADV_PAGEOUT) == 0, "%s", fl_strerror());
        expect_eq(resident(e, p, 256), 0, "in memory after MADV_PAGEOUT");
        check_all(p, 256, 2, "back again");
        end(e, p, 256);
}

/* What is locked stays, and so it does when it is made longer. */
static void locked(void)
{
        struct fl_engine *e = open_with_swap(512, AREA, NULL);
        char *p = map_memory(e, 64, MAP_LOCKED), *big = map_memory(e, 1000, 0);

        test_at("locked");
        expect_eq(resident(e, p, 64), 64, "locked pages");
        store_all(p, 64, 1);
        store_all(big, 1000, 1);
        expect_eq(fl_evict(e, p, 64 * PAGE), 0, "evicted of what is locked");
        expect_eq(resident(e, p, 64), 64, "locked pages under pressure");
        expect(fl_munlock(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        expect_eq(evict_all(e, p, 64, 64), 64, "evicted of what is not");
        expect(fl_mlock(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        expect_eq(resident(e, p, 64), 64, "locked again");
        check_all(p, 64, 1, "locked again");
        unmap(e, big, 1000);
        end(e, p, 64);
}

/* --- more than there is room for */

/* Four times the budget, in order and back: nothing is lost, and no more is held than may be. */
static void pressure(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, NULL);
        char *p = map_memory(e, 1000, 0);
        uint64_t written;

        test_at("pressure");
        store_all(p, 1000, 1);
        check_all(p, 1000, 1, "under pressure");
        store_all(p, 1000, 2);
        check_all(p, 1000, 2, "stored to again");
        check_all(p, 1000, 2, "read again");
        written = get_stats(e).swap_outs;
        for (unsigned round = 0; round < 3; round++)
                check_all(p, 1000, 2, "read once more");
        /* But for what had not been written yet, they go without a write. */
        expect(get_stats(e).swap_outs <= written + 256, "%llu pages written that were only read",
               (unsigned long long)(get_stats(e).swap_outs - written));
        expect(get_stats(e).cache_bytes_peak <= 256 * PAGE, "more held than may be");
        end(e, p, 1000);
}

/* Pages that nobody has stored to go without a write, and without an area. */
static void never_stored(void)
{
        struct fl_engine *e = open_with_swap(256, NULL, NULL);
        char *p = map_memory(e, 1000, MAP_NORESERVE);

        test_at("never stored to");
        for (unsigned round = 0; round < 2; round++)
                check_all(p, 1000, 0, "never stored to");
        expect(get_stats(e).evicted_pages > 1000, "they were evicted");
        end(e, p, 1000);
}

/* No area: an error where it is mapped, or at the page too many; and files can still be read. */
static void no_area(void)
{
        struct fl_engine *e = open_with_swap(256, NULL, NULL);
        struct fl_file *f = open_file(e, test_stamped_file("shmem-file", 300), O_RDONLY);
        struct caught c = { 0 };
        uint64_t i = 0;
        char *p = fl_mmap(e, NULL, 1000 * PAGE, RW, SHARED, NULL, 0), *q;

        test_at("no area");
        expect(p == MAP_FAILED && errno == ENOMEM, "1000 pages: %s", strerror(errno));
        p = map_memory(e, 1000, MAP_NORESERVE);
        for (; i < 1000 && !c.signo; i++) {
                c = try_store(p + i * PAGE, 1);
                if (!c.signo)
                        stamp_write(p + i * PAGE, i, 1);
        }
        expect(c.signo == SIGBUS && i > 128 && i < 256, "%llu pages, then %s",
               (unsigned long long)i, caught_name(c));
        q = map_file(e, f, 300 * PAGE, PROT_READ, MAP_SHARED, 0);
        for (uint64_t k = 0; k < 300; k++)
                expect(!stamp_wrong(q + k * PAGE, k, 0), "page %llu of the file",
                       (unsigned long long)k);
        expect_eq(fl_evict(e, p, (i - 1) * PAGE), 0, "evicted, and nowhere to go");
        check_all(p, i - 1, 1, "all that was stored");
        expect(fl_madvise(e, p, 100 * PAGE, MADV_REMOVE) == 0, "%s", fl_strerror());
        expect(!try_store(p + i * PAGE, 1).signo, "another page, with room");
        unmap(e, q, 300);
        close_file(f);
        end(e, p, 1000);
}

/* Memory and area together are full. */
static void full(void)
{
        struct fl_engine *e = open_with_swap(256, "ram:2M", NULL);
        struct caught c = { 0 };
        uint64_t i = 0;
        char *p = fl_mmap(e, NULL, 2000 * PAGE, RW, SHARED, NULL, 0);

        test_at("full");
        expect(p == MAP_FAILED && errno == ENOMEM, "2000 pages: %s", strerror(errno));
        p = map_memory(e, 2000, MAP_NORESERVE);
        for (; i < 2000 && !c.signo; i++) {
                c = try_store(p + i * PAGE, 1);
                if (!c.signo)
                        stamp_write(p + i * PAGE, i, 1);
        }
        expect(c.signo == SIGBUS && i > 512 && i < 768, "%llu pages, then %s",
               (unsigned long long)i, caught_name(c));
        for (unsigned version = 1; version < 4; version++) {
                check_all(p, i - 1, version, "full");
                store_all(p, i - 1, version + 1);
        }
        check_engine(e);
        expect(fl_madvise(e, p, 100 * PAGE, MADV_REMOVE) == 0, "%s", fl_strerror());
        expect(!try_store(p + i * PAGE, 1).signo, "another page, with room");
        end(e, p, 2000);
}

/* Private and shared memory together: one limit, one area. */
static void both_kinds(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, NULL);
        char *p = map_memory(e, 500, 0);
        char *q = fl_mmap(e, NULL, 500 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

        test_at("both kinds");
        require(q != MAP_FAILED, "%s", fl_strerror());
        for (unsigned version = 1; version < 4; version++) {
                store_all(p, 500, version);
                store_all(q, 500, version);
                check_all(p, 500, version, "shared");
                check_all(q, 500, version, "private");
        }
        expect(get_stats(e).cache_bytes_peak <= 256 * PAGE, "more held than may be");
        check_engine(e);
        unmap(e, q, 500);
        end(e, p, 500);
}

/* --- errors of the area */

static void file_write(const char *path, const char *buf, size_t len)
{
        int fd = open(path, O_WRONLY);

        require(fd >= 0 && pwrite(fd, buf, len, 0) == (ssize_t)len, "%s: %s", path,
                strerror(errno));
        close(fd);
}

/* A page cannot be written: it stays. */
static void write_errors(void)
{
        struct fl_engine *e = open_with_swap(256, AREA, "eio@0+16M");
        struct caught c = { 0 };
        uint64_t i = 0;
        char *p = map_memory(e, 1000, 0);

        test_at("write errors");
        for (; i < 1000 && !c.signo; i++) {
                c = try_store(p + i * PAGE, 1);
                if (!c.signo)
                        stamp_write(p + i * PAGE, i, 1);
        }
        expect(c.signo == SIGBUS, "the page that does not fit: %s", caught_name(c));
        expect(get_stats(e).io_errors > 0, "io_errors");
        check_all(p, i - 1, 1, "what could not be written");
        expect(fl_msync(e, p, 1000 * PAGE, MS_SYNC) == 0, "msync: %s", fl_strerror());
        end(e, p, 1000);
}

/* Pages cannot be read back, since the area has been cut short: SIGBUS, and never zeros; when they can
 * be read, their bytes are there. */
static void read_errors(void)
{
        const char *path = test_file("shmem-area", 0);
        char spec[512], *p, *saved = malloc(128 * PAGE);
        struct fl_engine *e;
        unsigned lost = 0;

        test_at("read errors");
        snprintf(spec, sizeof(spec), "%s:1M", path);
        e = open_with_swap(256, spec, NULL);
        p = map_memory(e, 64, 0);
        store_all(p, 64, 1);
        expect_eq(evict_all(e, p, 64, 64), 64, "evicted");
        require(saved && file_read(path, saved, 128 * PAGE, 0), "the area: %s", strerror(errno));
        require(truncate(path, 16 * PAGE) == 0, "%s", strerror(errno));
        for (uint64_t i = 0; i < 64; i++) {
                unsigned char byte;

                if (try_load(p + i * PAGE, &byte).signo == SIGBUS)
                        lost++;
                else
                        expect(!stamp_wrong(p + i * PAGE, i, 1), "page %llu",
                               (unsigned long long)i);
        }
        expect(lost >= 48, "%u pages are lost, of which 48 are not there", lost);
        file_write(path, saved, 128 * PAGE);
        expect(fl_error_clear(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        check_all(p, 64, 1, "when it can be read");
        free(saved);
        end(e, p, 64);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 4, 120, 60);
        if (!test.cache && !test.faults && !test.perturb) {
                views();
                offsets();
                past_the_end();
                calls();
                there_and_back();
                locked();
                pressure();
                never_stored();
                no_area();
                full();
                both_kinds();
                write_errors();
                read_errors();
        }
        stress();
        return test_end();
}
