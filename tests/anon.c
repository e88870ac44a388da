/* SPDX-License-Identifier: Apache-2.0
 *
 * anon.c - memory without a file: zeros, first stores, what it costs the budget, and its limit.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (16ul << 20)
#define RW (PROT_READ | PROT_WRITE)

static char *map_anon(struct fl_engine *e, uint64_t pages, int prot, int flags)
{
        char *p =
                fl_mmap(e, NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, NULL, 0);

        require(p != MAP_FAILED, "%s", fl_strerror());
        return p;
}

static void unmap(struct fl_engine *e, void *p, uint64_t pages)
{
        expect(fl_munmap(e, p, pages * PAGE) == 0, "%s", fl_strerror());
}

static uint64_t held(struct fl_engine *e)
{
        return get_stats(e).cache_bytes / PAGE;
}

/* What a fault has charged and not used it gives back after the thread has gone on. */
static void expect_held(struct fl_engine *e, uint64_t pages, const char *what)
{
        for (unsigned i = 0; i < 1000 && held(e) != pages; i++)
                usleep(1000);
        expect(held(e) == pages, "%s: %llu, expected %llu", what, (unsigned long long)held(e),
               (unsigned long long)pages);
}

/* Loads take nothing from the budget, and show only what is touched. */
static void zeros(void)
{
        struct fl_engine *e = open_engine(CACHE);
        char *p = map_anon(e, 1024, RW, 0);
        uint64_t before = held(e);

        test_at("zeros");
        expect_eq(resident_pages(e, p, 1024), 0, "mincore before a touch");
        for (uint64_t i = 0; i < 1024; i += 7)
                expect_eq(p[i * PAGE + i], 0, "a byte never stored to");
        expect_held(e, before, "pages held after loads");
        expect_eq(resident_pages(e, p, 1024), 1024 / 7 + 1, "mincore after loads");
        expect(get_stats(e).zero_fills >= 1024 / 7, "zero_fills");
        /* In order: in runs, with fewer faults than pages. */
        unmap(e, p, 1024);
        p = map_anon(e, 1024, RW, 0);
        before = get_stats(e).faults_minor;
        for (uint64_t i = 0; i < 1024; i++)
                expect_eq(p[i * PAGE], 0, "a byte never stored to");
        expect(get_stats(e).faults_minor - before < 100, "%llu faults for 1024 loads in order",
               (unsigned long long)(get_stats(e).faults_minor - before));
        check_engine(e);
        unmap(e, p, 1024);
        close_engine(e);
}

static void first_stores(void)
{
        struct fl_engine *e = open_engine(CACHE);
        char *p = map_anon(e, 1024, RW, 0);
        uint64_t before = held(e), faults;

        test_at("first stores");
        for (uint64_t i = 1000; i > 0; i -= 10)
                stamp_write(p + i * PAGE, i, 1);
        expect_held(e, before + 100, "pages held after 100 stores here and there");
        for (uint64_t i = 1; i <= 1000; i++) {
                const char *wrong = stamp_wrong(p + i * PAGE, i, 1);

                expect(i % 10 ? p[i * PAGE] == 0 : !wrong, "page %llu: %s", (unsigned long long)i,
                       wrong ? wrong : "not zero");
        }
        expect_held(e, before + 100, "pages held after loads between them");
        /* Now those that show zeros: the kernel makes pages of them, which are charged too. */
        for (uint64_t i = 0; i < 1024; i++)
                stamp_write(p + i * PAGE, i, 2);
        expect_held(e, before + 1024, "pages held when all are stored to");
        for (uint64_t i = 0; i < 1024; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 2), "after all: page %llu",
                       (unsigned long long)i);
        check_engine(e);
        expect(fl_madvise(e, p, 1024 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect_held(e, before, "pages held after MADV_DONTNEED");
        expect_eq(p[10 * PAGE], 0, "after MADV_DONTNEED");
        unmap(e, p, 1024);
        p = map_anon(e, 1024, RW, 0);
        faults = get_stats(e).faults_write;
        for (uint64_t i = 0; i < 1024; i++)
                stamp_write(p + i * PAGE, i, 3);
        expect(get_stats(e).faults_write - faults < 100, "%llu faults for 1024 stores in order",
               (unsigned long long)(get_stats(e).faults_write - faults));
        for (uint64_t i = 0; i < 1024; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 3), "in order: page %llu",
                       (unsigned long long)i);
        check_engine(e);
        unmap(e, p, 1024);
        expect_held(e, 0, "pages held after munmap");
        close_engine(e);
}

/* A protection for a part, a hole, another mapping in the middle: what is left is as it was. */
static void parts(void)
{
        struct fl_engine *e = open_engine(CACHE);
        char *p = map_anon(e, 64, RW, 0);

        test_at("parts");
        for (uint64_t i = 0; i < 64; i++)
                stamp_write(p + i * PAGE, i, 1);
        expect(fl_mprotect(e, p + 16 * PAGE, 16 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect(try_store(p + 20 * PAGE, 1).signo == SIGSEGV, "a store to what is read-only");
        expect(fl_mprotect(e, p + 16 * PAGE, 16 * PAGE, RW) == 0, "%s", fl_strerror());
        stamp_write(p + 20 * PAGE, 20, 1);
        unmap(e, p + 32 * PAGE, 8);
        expect(try_load(p + 33 * PAGE, NULL).signo == SIGSEGV, "a load from a hole");
        expect(fl_mmap(e, p + 32 * PAGE, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                       NULL, 0) == p + 32 * PAGE,
               "%s", fl_strerror());
        for (uint64_t i = 0; i < 64; i++)
                if (i >= 32 && i < 40)
                        expect_eq(p[i * PAGE], 0, "a new page in the middle");
                else
                        expect(!stamp_wrong(p + i * PAGE, i, 1), "page %llu",
                               (unsigned long long)i);
        expect(fl_msync(e, p, 64 * PAGE, MS_SYNC) == 0, "msync: %s", fl_strerror());
        expect(fl_madvise(e, p, 64 * PAGE, MADV_WILLNEED) == 0, "willneed: %s", fl_strerror());
        expect(fl_mmap(e, p + 8 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                       NULL, 0) == MAP_FAILED &&
                       errno == EEXIST,
               "MAP_FIXED_NOREPLACE over it: %s", strerror(errno));
        check_engine(e);
        unmap(e, p, 64);
        close_engine(e);
}

/* More than can ever be: refused when it is mapped, or a signal for the page that is too many. */
static void too_much(void)
{
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = 256 * PAGE, .flags = FL_ENGINE_QUIET });
        struct caught c = { 0 };
        uint64_t i = 0;
        char *p;

        test_at("too much");
        p = fl_mmap(e, NULL, 1024 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
        expect(p == MAP_FAILED && errno == ENOMEM, "1024 pages in a cache of 256: %s",
               strerror(errno));
        p = map_anon(e, 1024, RW, MAP_NORESERVE);
        for (; i < 1024 && !c.signo; i++)
                c = try_store(p + i * PAGE, 7);
        expect(c.signo == SIGBUS && c.code == BUS_ADRERR && c.addr == p + (i - 1) * PAGE,
               "the page that does not fit: %s", caught_name(c));
        expect(i > 200 && i < 256, "%llu pages fitted", (unsigned long long)i);
        expect(get_stats(e).cache_bytes_peak <= 256 * PAGE, "the budget was exceeded");
        for (uint64_t k = 0; k + 1 < i; k++)
                expect_eq(p[k * PAGE], 7, "a page that did fit");
        expect_eq(p[1000 * PAGE], 0, "zeros need no room");
        c = try_store(p + 1000 * PAGE, 7);
        expect(c.signo == SIGBUS && c.addr == p + 1000 * PAGE,
               "a store to zeros that are shown: %s", caught_name(c));
        expect(fl_madvise(e, p, 512 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(!try_store(p + (i - 1) * PAGE, 8).signo, "the page again, with room");
        check_engine(e);
        unmap(e, p, 1024);
        close_engine(e);
}

/* --- loads and one store at once: a store between the zeros and their protection is not lost, and
 * is charged for. */

#define RACERS 4
#define RACE_PAGES 96

static struct {
        struct fl_engine *engine;
        char *p;
        pthread_barrier_t barrier;
        _Atomic bool stop;
} race;

static void *racer(void *arg)
{
        bool stores = arg;

        for (;;) {
                pthread_barrier_wait(&race.barrier);
                if (race.stop)
                        return NULL;
                for (uint64_t k = 0; k < RACE_PAGES; k++) {
                        volatile uint64_t *word = (uint64_t *)(race.p + k * 37 % RACE_PAGES * PAGE);

                        if (stores)
                                word[1] = k + 1;
                        else
                                expect_eq(word[0], 0, "a word not stored to");
                }
                pthread_barrier_wait(&race.barrier);
        }
}

static void races(void)
{
        pthread_t thread[RACERS];
        uint64_t rounds = 0;

        test_at("races");
        race.engine = open_engine(CACHE);
        pthread_barrier_init(&race.barrier, NULL, RACERS + 1);
        for (unsigned i = 0; i < RACERS; i++)
                require(!pthread_create(&thread[i], NULL, racer, i == 0 ? &race : NULL),
                        "pthread_create");
        for (; test_left() > 0 && !test_failures(); rounds++) {
                race.p = map_anon(race.engine, RACE_PAGES, RW, 0);
                pthread_barrier_wait(&race.barrier);
                pthread_barrier_wait(&race.barrier);
                for (uint64_t k = 0; k < RACE_PAGES; k++)
                        expect_eq(((uint64_t *)(race.p + k * 37 % RACE_PAGES * PAGE))[1], k + 1,
                                  "a word at the end");
                expect_held(race.engine, RACE_PAGES, "pages held at the end");
                unmap(race.engine, race.p, RACE_PAGES);
        }
        race.stop = true;
        pthread_barrier_wait(&race.barrier);
        for (unsigned i = 0; i < RACERS; i++)
                pthread_join(thread[i], NULL);
        expect(rounds > 0, "nothing was done");
        printf("%llu rounds\n", (unsigned long long)rounds);
        check_engine(race.engine);
        close_engine(race.engine);
}

/* One mapping for the engine and, since each part got pages of its own while they were apart, two
 * for the kernel: a run of pages goes across the seam between them. */
static void seam(bool store)
{
        struct fl_engine *e = open_engine(CACHE);
        char *p = map_anon(e, 128, RW, 0);

        test_at(store ? "stores across a seam" : "loads across a seam");
        expect(fl_mprotect(e, p + 64 * PAGE, PAGE, PROT_NONE) == 0, "%s", fl_strerror());
        p[0] = p[127 * PAGE] = 1;
        expect(fl_mprotect(e, p + 64 * PAGE, PAGE, RW) == 0, "%s", fl_strerror());
        for (unsigned i = 3; i < 127; i++) { /* runs of 1, 4, 16, 64 from page 3 on */
                if (store)
                        p[i * PAGE] = 2;
                expect_eq(p[i * PAGE], store ? 2 : 0, "what a page holds");
        }
        unmap(e, p, 128);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 3, 60, 60);
        zeros();
        first_stores();
        parts();
        too_much();
        races();
        seam(false);
        seam(true);
        return test_end();
}
