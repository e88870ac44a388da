/* SPDX-License-Identifier: Apache-2.0
 *
 * scanner.c - Solaris's page scanner in an engine, one function a rule, its number first in the name. The
 * test owns the clock but in one of them: a turn of the scanner comes in an hour, and a wake is a call.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"

#define PAGES 2048u
#define CACHE (8u << 20) /* 2048 pages; lotsfree is 128 of them */
#define LOTSFREE 128
#define HOT 8u
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)

static struct vm_policy_ops slow;
static struct scan_policy hourly;
static struct fl_engine *engine;
static struct fl_file *file;
static const char *path;
static char *p;
static const char *fork_policy;

static void open_all(bool own_clock)
{
        engine = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .policy = "solaris", .fork = fork_policy });
        if (own_clock) {
                slow = *engine->cache->policy;
                hourly = *slow.scan;
                hourly.period_ms = 3600000;
                slow.scan = &hourly;
                slow.writeback_ms = 3600000;
                slow.dirty_percent = 100; /* nobody is throttled: all may be dirty */
                __atomic_store_n(&engine->cache->policy, &slow, __ATOMIC_SEQ_CST);
                flusher_kick(engine->cache);
                reclaim_kick(engine->cache);
                usleep(100000); /* a turn that has begun is over: with nothing in memory */
        }
        path = test_stamped_file("scanned", PAGES);
        file = open_file(engine, path, O_RDWR);
        p = map_file(engine, file, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        expect(fl_madvise(engine, p, BYTES(PAGES), MADV_RANDOM) == 0, "%s", fl_strerror());
}

static void close_all(void)
{
        expect(fl_munmap(engine, p, BYTES(PAGES)) == 0, "%s", fl_strerror());
        check_engine(engine);
        close_file(file);
        close_engine(engine);
}

static int64_t freemem(void)
{
        return budget_free(engine->cache);
}

static unsigned resident(unsigned first, unsigned nr)
{
        return (unsigned)resident_pages(engine, p + BYTES(first), nr);
}

static void touch(unsigned n, bool write, uint64_t version)
{
        const char *wrong;

        if (write) {
                stamp_write(p + BYTES(n), n, version);
                return;
        }
        wrong = stamp_wrong(p + BYTES(n), n, version);
        expect(!wrong, "page %u: %s", n, wrong);
}

/* Until so many pages are free. How many were touched. */
static unsigned fill(int64_t leave, bool write)
{
        unsigned n = 0;

        while (freemem() > leave && n < PAGES)
                touch(n++, write, write);
        return n;
}

static void wait_for_writes(void)
{
        while ((atomic_load(&engine->cache->nr_writeback) || atomic_load(&engine->cache->drops) ||
                staging_in_use(&engine->cache->staging)) &&
               test_left() > -20)
                usleep(1000);
}

static void s34_not_while_lotsfree_is_free(void)
{
        open_all(true);
        fill(LOTSFREE + 2, false);
        for (unsigned i = 0; i < 50; i++)
                pageout_wake(engine->cache);
        expect_eq(get_stats(engine).evicted_pages, 0, "evicted with enough free");
        close_all();
}

static void s35_s36_two_hands(void)
{
        uint64_t evicted = 0, most = 0;
        unsigned n, wakes = 0, first = 0;

        open_all(true);
        n = fill(LOTSFREE / 2, false);
        pageout_wake(engine->cache);
        expect_eq(get_stats(engine).evicted_pages, 0, "S36: at the first wake only the front hand");
        while (freemem() < LOTSFREE && ++wakes < 200) {
                uint64_t before = get_stats(engine).evicted_pages;

                /* In use: touched between the hands. */
                for (unsigned i = 0; i < HOT; i++)
                        touch(i, false, 0);
                pageout_wake(engine->cache);
                evicted = get_stats(engine).evicted_pages;
                if (evicted && !first)
                        first = wakes;
                most = max_u64(most, evicted - before);
        }
        expect(freemem() >= LOTSFREE, "lotsfree is reached: %lld", (long long)freemem());
        expect(first >= 5, "S36: taken from wake %u on", first);
        expect(most <= 132, "S35: no more in a wake than desscan: %u", (unsigned)most);
        expect(evicted < LOTSFREE + 132, "S34: no more than it takes: %u", (unsigned)evicted);
        expect_eq(resident(0, HOT), HOT, "what is in use stays");
        expect(resident(HOT, 64) < 64, "what is not, oldest first, goes");
        expect(resident(n - 64, 64) == 64, "and not what has come last");
        evicted = get_stats(engine).evicted_pages;
        pageout_wake(engine->cache);
        expect_eq(get_stats(engine).evicted_pages, evicted, "then it rests");
        close_all();
}

/* What is dirty is written, so many in a wake, and goes then. */
static void s36_pushes(void)
{
        unsigned n, wakes = 0, written;

        open_all(true);
        n = fill(LOTSFREE / 2, true);
        while (freemem() < LOTSFREE && ++wakes < 400) {
                pageout_wake(engine->cache);
                usleep(2000);
                wait_for_writes();
        }
        written = (unsigned)get_stats(engine).writeback_pages;
        expect(freemem() >= LOTSFREE, "lotsfree is reached: %lld", (long long)freemem());
        expect(written > 0 && written <= 20 * wakes, "S35: maxpgio / 4 of 8 KiB a wake: %u in %u",
               written, wakes);
        expect(resident(0, n) <= n - LOTSFREE / 2, "what has been written is gone");
        for (unsigned i = 0; i < n; i += 7)
                touch(i, false, 1);
        close_all();
}

/* Nobody waits for the scanner's turn where next to nothing is free. */
static void s34_throttlefree(void)
{
        open_all(true);
        for (unsigned i = 0; i < PAGES; i++)
                touch(i, i & 1, 1 * (i & 1));
        for (unsigned i = 0; i < PAGES; i++)
                touch(i, false, i & 1);
        close_all();
}

static void child(int in, int out)
{
        char c = 0;

        stamp_write(p, 0, 1);
        if (write(out, &c, 1) == 1 && read(in, &c, 1) == 1) {
                stamp_write(p, 0, 2);
                c = write(out, &c, 1) == 1 ? 0 : 1;
        }
        _exit(c);
}

static void wait_for(int in)
{
        char c;

        require(read(in, &c, 1) == 1, "the child has ended");
}

/* The front hand unmaps what a child has stored to; what it stores after that is not missed. */
static void s36_what_a_child_stores_to(void)
{
        int to[2], from[2];
        char page[TEST_PAGE];
        pid_t pid;

        fork_policy = "inherit";
        open_all(true);
        require(pipe(to) == 0 && pipe(from) == 0, "pipe");
        pid = fork();
        if (pid == 0)
                child(to[0], from[1]);
        wait_for(from[0]);
        for (unsigned i = 1; freemem() > LOTSFREE / 2; i++)
                touch(i, false, 0);
        for (unsigned i = 0; i < 3; i++)
                pageout_wake(engine->cache);
        expect(fl_msync(engine, p, TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect(write(to[1], "", 1) == 1, "pipe");
        wait_for(from[0]);
        expect(fl_msync(engine, p, TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        file_read(path, page, sizeof(page), 0);
        expect_eq(stamp_version(page, 0), 2, "what the child stored last");
        expect(waitpid(pid, NULL, 0) == pid, "waitpid");
        for (unsigned i = 0; i < 2; i++) {
                close(to[i]);
                close(from[i]);
        }
        close_all();
        fork_policy = NULL;
}

static void s34_by_itself(void)
{
        open_all(false);
        fill(LOTSFREE / 2, false);
        while (freemem() < LOTSFREE && test_left() > -25)
                usleep(20000);
        expect(freemem() >= LOTSFREE, "lotsfree is reached: %lld", (long long)freemem());
        close_all();
}

/* Less is free all at once, and nobody charges anything that would tell of it. */
static void s34_a_smaller_budget(void)
{
        uint64_t less = CACHE - BYTES(400 - LOTSFREE / 2);

        open_all(false);
        fill(400, false);
        usleep(100000); /* the reclaimer sleeps */
        expect(fl_engine_set_cache(engine, less) == 0, "%s", fl_strerror());
        while (freemem() < atomic_load(&engine->cache->budget.scan_below) && test_left() > -25)
                usleep(20000);
        expect(freemem() >= atomic_load(&engine->cache->budget.scan_below), "%lld are free of %lld",
               (long long)freemem(), (long long)atomic_load(&engine->cache->budget.scan_below));
        expect(get_stats(engine).evicted_pages > 0, "enough was free all the time");
        close_all();
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 5, 5, 80);
        test_at("s34_not_while_lotsfree_is_free");
        s34_not_while_lotsfree_is_free();
        test_at("s35_s36_two_hands");
        s35_s36_two_hands();
        test_at("s36_pushes");
        s36_pushes();
        test_at("s34_throttlefree");
        s34_throttlefree();
        test_at("s36_what_a_child_stores_to");
        if (!test.mmu || strcmp(test.mmu, "sigsegv") != 0) /* its children inherit nothing */
                s36_what_a_child_stores_to();
        test_at("s34_by_itself");
        s34_by_itself();
        test_at("s34_a_smaller_budget");
        s34_a_smaller_budget();
        return test_end();
}
