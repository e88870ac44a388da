/* SPDX-License-Identifier: Apache-2.0
 *
 * fsflush.c - when dirty pages are written under Solaris's policy, one function a rule, its number first in
 * the name. The test owns the clock: the flusher's period is an hour, and a wake of fsflush is a call.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"

#define PAGES 64u
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)
#define AUTOUP 30u

static struct vm_policy_ops slow; /* solaris, whose wakes are ours */
static struct fl_engine *engine;
static struct fl_file *file;
static char *p;
static unsigned together; /* pages of ours that are one of Solaris's */

static void open_all(const char *policy, const char *tune)
{
        engine = open_engine_with(
                (struct fl_engine_config){ .cache = 4 << 20, .policy = policy, .tune = tune });
        together = engine->cache->page_pages;
        if (!strcmp(policy, "solaris")) {
                slow = *engine->cache->policy;
                slow.writeback_ms = 3600000;
                __atomic_store_n(&engine->cache->policy, &slow, __ATOMIC_SEQ_CST);
                flusher_kick(engine->cache); /* it sleeps by the old period */
                usleep(100000);
        }
        file = open_file(engine, test_stamped_file("flushed", PAGES), O_RDWR);
        p = map_file(engine, file, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

static void close_all(void)
{
        expect(fl_munmap(engine, p, BYTES(PAGES)) == 0, "%s", fl_strerror());
        check_engine(engine);
        close_file(file);
        close_engine(engine);
}

/* Written so far, once what is under way has ended: a write is counted before it gives its memory back. */
static uint64_t written(void)
{
        while ((atomic_load(&engine->cache->nr_writeback) ||
                staging_in_use(&engine->cache->staging)) &&
               test_left() > -20)
                usleep(1000);
        return get_stats(engine).writeback_pages;
}

static void store(unsigned n, uint64_t version)
{
        stamp_write(p + BYTES(n), n, version);
}

/* All that is dirty, and nothing else, within autoup seconds. */
static void s33_all_of_memory_in_autoup_seconds(void)
{
        unsigned wake;

        open_all("solaris", NULL);
        for (unsigned i = 0; i < PAGES; i += 2 * together)
                store(i, 1);
        flusher_kick(engine->cache);
        usleep(50000);
        expect_eq(written(), 0, "before its turn, though kicked");
        for (wake = 0; wake < AUTOUP + 1; wake++)
                fsflush_wake(engine->cache);
        expect_eq(written(), PAGES / 2, "in its turn");
        for (wake = 0; wake < AUTOUP + 1; wake++)
                fsflush_wake(engine->cache);
        expect_eq(written(), PAGES / 2, "what is clean is not written again");
        close_all();
}

/* A share of memory at each wake: the pages in memory in their order, then what is free. */
static void s33_a_share_at_each_wake(void)
{
        uint64_t memory, share, first = 0, none = 0;

        /* What is tuned goes before the policy's period: a wake of its own would be one too many. */
        open_all("solaris", "autoup=86400,tune_t_fsflushr=864");
        memory = (uint64_t)atomic_load(&engine->cache->budget.limit);
        share = (memory + 99) / 100;
        for (unsigned i = 0; i < PAGES; i++)
                store(i, 1);
        for (unsigned wake = 1; wake <= 100; wake++) {
                uint64_t before = written();

                fsflush_wake(engine->cache);
                if (wake == 1)
                        first = written();
                else if (before == PAGES)
                        none += written() == before;
        }
        expect_eq(first, share, "one wake's share");
        expect_eq(written(), PAGES, "after all of them");
        expect(none >= 90, "wakes that had only free memory to look at: %u", (unsigned)none);
        /* Stored to again: not before the hand has gone round. */
        store(0, 2);
        for (unsigned wake = 0; wake < 100; wake++)
                fsflush_wake(engine->cache);
        expect_eq(written(), PAGES + together, "in the next lap");
        close_all();
}

static void s33_dopageflush_off(void)
{
        open_all("solaris", "dopageflush=0");
        store(3, 1);
        for (unsigned wake = 0; wake < 100; wake++)
                fsflush_wake(engine->cache);
        expect_eq(written(), 0, "pages written");
        close_all();
}

/* The real clock. */
static void s33_wakes_by_itself(void)
{
        engine = open_engine_with((struct fl_engine_config){
                .cache = 4 << 20, .policy = "solaris", .tune = "autoup=1" });
        file = open_file(engine, test_stamped_file("awake", PAGES), O_RDWR);
        p = map_file(engine, file, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        store(3, 1);
        while (get_stats(engine).writeback_pages < 1 && test_left() > -20)
                usleep(20000);
        expect(written() >= 1, "pages written");
        close_all();
}

/* However many are dirty, and however old they are: what Linux calls background and expiry is not. */
static void s33_not_before_unless_asked(void)
{
        open_all("solaris", NULL);
        for (unsigned i = 0; i < PAGES; i++)
                store(i, 1);
        for (unsigned i = 0; i < 5; i++) {
                flusher_kick(engine->cache);
                usleep(20000);
        }
        expect_eq(written(), 0, "nobody has asked");
        expect(fl_msync(engine, p, BYTES(4), MS_SYNC) == 0, "%s", fl_strerror());
        expect_eq(written(), 4, "asked for by msync");
        /* Reclaim asks: there is no room for all of a larger file. */
        {
                struct fl_file *f = open_file(engine, test_file("larger", 8 << 20), O_RDWR);
                char *q = map_file(engine, f, 8 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

                for (size_t i = 0; i < 8 << 20; i += TEST_PAGE)
                        q[i] = 1;
                expect(written() > 100, "asked for by reclaim: %u", (unsigned)written());
                expect(fl_munmap(engine, q, 8 << 20) == 0, "%s", fl_strerror());
                close_file(f);
        }
        close_all();
}

static void s28_msync_async_starts(void)
{
        open_all("solaris", NULL);
        store(4, 1);
        expect(fl_msync(engine, p, BYTES(PAGES), MS_ASYNC) == 0, "%s", fl_strerror());
        expect_eq(written(), together, "started at once");
        close_all();
        open_all("linux", NULL);
        store(4, 1);
        expect(fl_msync(engine, p, BYTES(PAGES), MS_ASYNC) == 0, "%s", fl_strerror());
        expect_eq(written(), 0, "L41: under linux nothing");
        close_all();
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 5, 5, 60);
        test_at("s33_all_of_memory_in_autoup_seconds");
        s33_all_of_memory_in_autoup_seconds();
        test_at("s33_a_share_at_each_wake");
        s33_a_share_at_each_wake();
        test_at("s33_dopageflush_off");
        s33_dopageflush_off();
        test_at("s33_wakes_by_itself");
        s33_wakes_by_itself();
        test_at("s33_not_before_unless_asked");
        s33_not_before_unless_asked();
        test_at("s28_msync_async_starts");
        s28_msync_async_starts();
        return test_end();
}
