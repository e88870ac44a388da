/* SPDX-License-Identifier: Apache-2.0
 *
 * advice.c - what madvise and fl_evict do to pages: which are gone, which are written, which are
 * there, what a hole reads as and what the file holds then.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define PAGES 64u
#define CACHE (256 * TEST_PAGE)

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static struct fl_engine *engine;
static struct fl_file *file;
static const char *path;

static unsigned resident(char *p, unsigned nr)
{
        return (unsigned)resident_pages(engine, p, nr);
}

static char *map(int prot, int flags)
{
        return map_file(engine, file, PAGES * TEST_PAGE, prot, flags, 0);
}

static void unmap(char *p)
{
        expect(fl_munmap(engine, p, PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
}

static void advise(char *p, unsigned first, unsigned nr, int advice)
{
        expect(fl_madvise(engine, p + first * TEST_PAGE, nr * TEST_PAGE, advice) == 0,
               "advice %d: %s", advice, fl_strerror());
}

static void expect_stamps(char *p, unsigned first, unsigned nr, uint64_t version)
{
        for (unsigned i = first; i < first + nr; i++) {
                const char *wrong = stamp_wrong(p + i * TEST_PAGE, i, version);

                expect(!wrong, "page %u: %s", i, wrong);
        }
}

static void expect_zeros(const char *p, const char *what)
{
        for (unsigned i = 0; i < TEST_PAGE; i++)
                if (p[i]) {
                        expect(false, "%s: byte %u is %u", what, i, (unsigned char)p[i]);
                        return;
                }
}

static uint64_t blocks_of(void)
{
        struct stat st;

        return stat(path, &st) ? 0 : (uint64_t)st.st_blocks;
}

/* Every page is there and none faults afterwards. */
static void populate(void)
{
        char *p = map(PROT_READ | PROT_WRITE, MAP_SHARED),
             *q = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
        struct fl_stats before;

        advise(p, 0, PAGES, MADV_POPULATE_READ);
        expect_eq(resident(p, PAGES), PAGES, "populated");
        usleep(20000);
        before = get_stats(engine);
        expect_stamps(p, 0, PAGES, 0);
        usleep(20000);
        expect_eq(get_stats(engine).faults_minor, before.faults_minor,
                  "loads of what was populated");
        advise(p, 8, 8, MADV_POPULATE_WRITE);
        usleep(20000);
        before = get_stats(engine);
        for (unsigned i = 8; i < 16; i++)
                stamp_write(p + i * TEST_PAGE, i, 1);
        usleep(20000);
        expect_eq(get_stats(engine).faults_write, before.faults_write, "stores to the same");
        expect(fl_msync(engine, p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        advise(q, 0, 4, MADV_POPULATE_WRITE);
        usleep(20000);
        before = get_stats(engine);
        for (unsigned i = 0; i < 4; i++)
                q[i * TEST_PAGE] = 7;
        usleep(20000);
        expect_eq(get_stats(engine).faults_write, before.faults_write, "stores to private copies");
        expect_stamps(p, 0, 8, 0);
        unmap(q);
        unmap(p);
}

/* Clean pages go, dirty ones and private copies stay, and the answer is what has gone. */
static void evict(void)
{
        char *p = map(PROT_READ | PROT_WRITE, MAP_SHARED),
             *q = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
        ssize_t bytes;

        advise(p, 0, PAGES, MADV_POPULATE_READ);
        q[5 * TEST_PAGE + 100] ^= 1;
        stamp_write(p + 3 * TEST_PAGE, 3, 2);
        bytes = fl_evict(engine, p, PAGES * TEST_PAGE);
        expect_eq(bytes, (PAGES - 1) * TEST_PAGE, "evicted");
        expect_eq(resident(p, PAGES), 1, "left");
        expect_eq(resident(q, PAGES), 2, "left of the private mapping");
        check_engine(engine); /* what went is shown nowhere */
        expect(fl_msync(engine, p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect_eq(fl_evict(engine, p, PAGES * TEST_PAGE), TEST_PAGE, "evicted once it is clean");
        expect_eq(fl_evict(engine, p, PAGES * TEST_PAGE), 0, "evicted of nothing");
        expect_stamps(p, 0, 3, 0);
        expect_stamps(p, 3, 1, 2);
        expect(fl_evict(engine, p + 1, TEST_PAGE) == -1 && errno == EINVAL, "inside a page");
        unmap(q);
        unmap(p);
}

static bool becomes_clean(uint64_t before, unsigned pages)
{
        for (int i = 0; i < 2000; i++) {
                if (get_stats(engine).writeback_pages - before >= pages)
                        return true;
                usleep(5000);
        }
        return false;
}

/* PAGEOUT evicts what is clean and writes what is dirty, but leaves alone what others show too. */
static void pageout(void)
{
        char *p = map(PROT_READ | PROT_WRITE, MAP_SHARED), *q = map(PROT_READ, MAP_SHARED);
        uint64_t before = get_stats(engine).writeback_pages;

        advise(p, 0, PAGES, MADV_POPULATE_READ);
        advise(q, 0, PAGES, MADV_RANDOM); /* or all that is cached would be shown with the four */
        advise(q, 40, 4, MADV_POPULATE_READ);
        fl_evict(engine, q + 20 * TEST_PAGE, TEST_PAGE);
        /* Not in order, or page 12 would be dirty by guess. */
        stamp_write(p + 11 * TEST_PAGE, 11, 3);
        stamp_write(p + 10 * TEST_PAGE, 10, 3);
        advise(p, 0, 32, MADV_PAGEOUT);
        expect(becomes_clean(before, 2), "what was dirty has not been written");
        expect_eq(resident(p, 32), 2, "left of what was paged out");
        expect_eq(resident(p + 32 * TEST_PAGE, 32), 32, "not asked for");
        /* Shown through q as well. */
        advise(p, 40, 4, MADV_PAGEOUT);
        expect_eq(resident(p + 40 * TEST_PAGE, 4), 4, "what two mappings show");
        expect_stamps(p, 10, 2, 3);
        unmap(q);
        unmap(p);
}

/* What is cold goes first, although it has been touched last. */
static void cold(void)
{
        char *p = map(PROT_READ, MAP_SHARED), *q;
        struct fl_file *other = open_file(engine, test_file("other", 512 * TEST_PAGE), O_RDONLY);
        unsigned left, other_left;

        fl_evict(engine, p, PAGES * TEST_PAGE);
        advise(p, 32, 32, MADV_POPULATE_READ);
        advise(p, 0, 32, MADV_POPULATE_READ);
        advise(p, 0, 32, MADV_COLD);
        advise(p, 0, 32, MADV_DONTNEED); /* not shown any more, so that all are alike to reclaim */
        advise(p, 32, 32, MADV_DONTNEED);
        q = map_file(engine, other, 512 * TEST_PAGE, PROT_READ, MAP_SHARED, 0);
        fl_madvise(engine, q, 512 * TEST_PAGE, MADV_RANDOM);
        for (unsigned i = 0; i < 512 && resident(p, 32) == 32; i++) {
                volatile char c = q[i * TEST_PAGE];

                (void)c;
        }
        left = resident(p, 32);
        expect(left < 32, "the cache holds everything");
        other_left = resident(p + 32 * TEST_PAGE, 32);
        expect(left < other_left, "%u cold pages are left, and of the others %u", left, other_left);
        expect(fl_munmap(engine, q, 512 * TEST_PAGE) == 0, "%s", fl_strerror());
        close_file(other);
        unmap(p);
}

/* REMOVE makes a hole: in the file, and in all mappings but private copies. */
static void hole(void)
{
        char *p = map(PROT_READ | PROT_WRITE, MAP_SHARED),
             *q = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
        uint64_t before;
        char bytes[TEST_PAGE];

        advise(p, 0, PAGES, MADV_POPULATE_READ);
        expect(fl_msync(engine, p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        before = blocks_of();
        stamp_write(p + 21 * TEST_PAGE, 21, 4); /* dirty: never to be written */
        memcpy(bytes, q + 22 * TEST_PAGE, TEST_PAGE);
        q[22 * TEST_PAGE] = bytes[0]; /* a copy of the old bytes */
        advise(p, 20, 8, MADV_REMOVE);
        expect(blocks_of() < before, "%llu blocks, as before", (unsigned long long)before);
        for (unsigned i = 20; i < 28; i++)
                expect_zeros(p + i * TEST_PAGE, "a page of the hole");
        expect_zeros(q + 23 * TEST_PAGE, "the same, privately");
        expect(!memcmp(q + 22 * TEST_PAGE, bytes, TEST_PAGE), "a private copy is gone");
        expect(fl_msync(engine, p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect(file_read(path, bytes, TEST_PAGE, 21 * TEST_PAGE), "no page 21");
        expect_zeros(bytes, "page 21 of the file");
        expect_stamps(p, 19, 1, 0);
        expect_stamps(p, 28, 1, 0);
        for (unsigned i = 20; i < 28; i++)
                stamp_write(p + i * TEST_PAGE, i, 5);
        expect_stamps(q, 20, 2, 5);
        unmap(q);
        unmap(p);
}

/* --- holes made while others store, load and write back: what was there before must not be back */

static struct {
        char *p;
        _Atomic bool stop;
        _Atomic unsigned begun, over;
} race;

#define HOLE_FIRST 16u
#define HOLE_PAGES 16u

static void *punch(void *arg)
{
        (void)arg;
        while (!atomic_load(&race.stop)) {
                atomic_fetch_add(&race.begun, 1);
                advise(race.p, HOLE_FIRST, HOLE_PAGES, MADV_REMOVE);
                atomic_fetch_add(&race.over, 1);
        }
        return NULL;
}

static void *sync_all(void *arg)
{
        (void)arg;
        while (!atomic_load(&race.stop)) {
                expect(fl_msync(engine, race.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s",
                       fl_strerror());
                fl_evict(engine, race.p, PAGES * TEST_PAGE);
        }
        return NULL;
}

static void *store(void *arg)
{
        unsigned page = HOLE_FIRST + (unsigned)(uintptr_t)arg;
        volatile unsigned char *at = (unsigned char *)race.p + page * TEST_PAGE + 77;
        uint64_t seed = test.seed + page;

        while (!atomic_load(&race.stop)) {
                unsigned char value = (unsigned char)(1 + random_below(&seed, 255)), got;
                unsigned begun = atomic_load(&race.begun), over = atomic_load(&race.over);
                bool calm = begun == over;

                *at = value;
                calm &= atomic_load(&race.begun) == begun;
                for (unsigned i = 0; i < 20; i++) {
                        over = atomic_load(&race.over);
                        got = *at;
                        if (!calm)
                                break;
                        if (over > begun)
                                expect(got == 0, "page %u: byte %u is back in the hole", page, got);
                        else if (atomic_load(&race.begun) == begun)
                                expect(got == value, "page %u: byte %u, not %u", page, got, value);
                }
        }
        return NULL;
}

static void holes_at_once(void)
{
        pthread_t threads[6];

        race.p = map(PROT_READ | PROT_WRITE, MAP_SHARED);
        for (unsigned i = 0; i < 4; i++)
                pthread_create(&threads[i], NULL, store, (void *)(uintptr_t)(i * 4));
        pthread_create(&threads[4], NULL, punch, NULL);
        pthread_create(&threads[5], NULL, sync_all, NULL);
        while (test_left() > 0 && !test_failures())
                usleep(20000);
        atomic_store(&race.stop, true);
        for (unsigned i = 0; i < 6; i++)
                pthread_join(threads[i], NULL);
        expect(atomic_load(&race.over) > 0, "no hole was made");
        printf("%u holes\n", atomic_load(&race.over));
        unmap(race.p);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 2, 60, 60);
        path = test_stamped_file("advice", PAGES);
        engine = open_engine_with((struct fl_engine_config){ .cache = CACHE });
        file = open_file(engine, path, O_RDWR);
        test_at("populate");
        populate();
        test_at("evict");
        evict();
        test_at("pageout");
        pageout();
        test_at("cold");
        cold();
        test_at("hole");
        hole();
        test_at("holes at once");
        holes_at_once();
        check_engine(engine);
        close_file(file);
        close_engine(engine);
        return test_end();
}
