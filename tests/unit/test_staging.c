/* SPDX-License-Identifier: Apache-2.0
 *
 * test_staging.c - the staging pool that I/O goes through, and frames in a memfd.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/frame.h"

static struct staging s;

static void start(unsigned pages)
{
        cr_assert_eq(staging_init(&s, pages), 0);
}

static void stop(void)
{
        cr_assert_eq(s.in_use, 0);
        cr_assert_eq(s.writing, 0);
        for (unsigned i = 0; i < (s.pages + 63) / 64; i++)
                cr_assert_eq(s.bitmap[i], 0, "a page stays taken");
        staging_destroy(&s);
}

TestSuite(staging, .timeout = 30);

/* Page number of what was got; checks how much it was. */
static unsigned get(unsigned want, unsigned expected, bool write)
{
        unsigned nr = want;
        char *buf = staging_get(&s, &nr, write);

        cr_assert_eq(nr, expected, "asked for %u, got %u, not %u", want, nr, expected);
        cr_assert_eq(buf == NULL, expected == 0);
        if (!buf)
                return 0;
        cr_assert_eq((buf - s.base) % PAGE_SIZE, 0);
        cr_assert_leq((unsigned)((buf - s.base) >> PAGE_SHIFT) + nr, s.pages);
        return (unsigned)((buf - s.base) >> PAGE_SHIFT);
}

static void put(unsigned page, unsigned nr, bool write)
{
        staging_put(&s, s.base + ((size_t)page << PAGE_SHIFT), nr, write);
}

/* What the kernel has been told of the mapping that p lies in: the line VmFlags of smaps. */
static bool has_flag(const void *p, const char *flag)
{
        FILE *f = fopen("/proc/self/smaps", "re");
        bool here = false, yes = false;
        char line[512];

        cr_assert_not_null(f);
        while (fgets(line, sizeof(line), f)) {
                unsigned long from, to;

                if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
                        here = (uintptr_t)p >= from && (uintptr_t)p < to;
                else if (here && !strncmp(line, "VmFlags:", 8))
                        yes = strstr(line, flag);
        }
        fclose(f);
        return yes;
}

/* A device that is told of each page by itself is half as fast, or less. */
Test(staging, lies_in_huge_pages_where_there_are_any)
{
        start(1024);
        cr_assert_eq((uintptr_t)s.base % (2 << 20), 0);
        if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0)
                cr_assert(has_flag(s.base, " hg"));
        memset(s.base, 1, (size_t)1024 << PAGE_SHIFT);
        stop();
}

Test(staging, the_lowest_run_that_fits)
{
        start(16);
        cr_assert_eq(get(4, 4, false), 0);
        cr_assert_eq(get(3, 3, false), 4);
        cr_assert_eq(get(2, 2, false), 7);
        put(4, 3, false);
        cr_assert_eq(get(4, 4, false), 9, "the hole of three is too small");
        cr_assert_eq(get(2, 2, false), 4);
        put(0, 4, false);
        put(4, 2, false);
        put(7, 2, false);
        put(9, 4, false);
        stop();
}

Test(staging, fragmented_it_gives_the_longest_run)
{
        start(16);
        cr_assert_eq(get(16, 16, false), 0);
        put(1, 1, false); /* x.xxx...xx..xxxx */
        put(5, 3, false);
        put(10, 2, false);
        cr_assert_eq(get(8, 3, false), 5);
        cr_assert_eq(get(8, 2, false), 10);
        cr_assert_eq(get(8, 1, false), 1);
        get(1, 0, false);
        put(0, 16, false);
        stop();
}

Test(staging, runs_cross_the_words_of_the_bitmap)
{
        start(200);
        cr_assert_eq(get(60, 60, false), 0);
        cr_assert_eq(get(100, 100, false), 60);
        cr_assert_eq(get(64, 40, false), 160, "all that is left");
        put(0, 200, false);
        cr_assert_eq(get(64, 64, false), 0);
        cr_assert_eq(get(64, 64, false), 64, "behind a word that is full");
        put(60, 10, false);
        cr_assert_eq(get(10, 10, false), 60, "over the border of two words");
        put(0, 128, false);
        get(200, 200, false);
        put(60, 4, false);
        put(128, 5, false);
        cr_assert_eq(get(9, 5, false), 128, "a full word ends a run");
        put(0, 60, false);
        put(64, 136, false);
        stop();
}

Test(staging, writes_take_no_more_than_half)
{
        start(10);
        get(10, 5, true);
        cr_assert_not(staging_available(&s, true));
        cr_assert(staging_available(&s, false));
        get(1, 0, true);
        get(10, 5, false);
        cr_assert_not(staging_available(&s, false));
        put(0, 5, true);
        cr_assert(staging_available(&s, true));
        cr_assert(staging_available(&s, false));
        get(10, 5, false);
        cr_assert_not(staging_available(&s, true), "reads may take all, and then nothing is left");
        put(0, 10, false);
        cr_assert_eq(s.writing, 0);
        stop();
}

Test(staging, the_smallest_pool_serves_both)
{
        start(8);
        for (unsigned i = 0; i < 4; i++)
                get(1, 1, true);
        get(1, 0, true);
        for (unsigned i = 0; i < 4; i++)
                get(1, 1, false);
        get(1, 0, false);
        put(0, 4, true);
        put(4, 4, false);
        stop();
}

Test(staging, parts_of_a_run_come_back_one_by_one)
{
        start(16);
        cr_assert_eq(get(8, 8, true), 0);
        put(5, 3, true);
        cr_assert_eq(s.in_use, 5);
        cr_assert_eq(s.writing, 5);
        cr_assert_eq(get(4, 3, true), 5, "the rest of the half");
        put(0, 1, true);
        put(1, 4, true);
        put(5, 2, true);
        put(7, 1, true);
        stop();
}

Test(staging, what_comes_back_wakes)
{
        struct waiter w;

        start(8);
        get(8, 8, false);
        waiter_init_sync(&w);
        waitq_add(&s.wq, &w, NULL);
        put(3, 1, false);
        cr_assert_eq(waiter_sleep(&w, 5000000000ull), 0);
        put(0, 3, false);
        put(4, 4, false);
        stop();
}

/* Each marks what it holds, and finds its mark when it puts it back. */
#define THREADS 4
static pthread_barrier_t all_here;

static void *get_and_put(void *arg)
{
        unsigned me = (unsigned)(uintptr_t)arg, seed = me + 1, got = 0;
        bool write = me % 2;

        pthread_barrier_wait(&all_here);
        for (unsigned i = 0; got < 10000; i++) {
                unsigned nr = 1 + (unsigned)rand_r(&seed) % 9, first;
                char *buf = staging_get(&s, &nr, write);

                /* Whoever has it all may have lost its processor: let it have ours. */
                if (!buf) {
                        sched_yield();
                        continue;
                }
                got++;
                for (unsigned p = 0; p < nr; p++)
                        *(volatile unsigned *)(buf + p * PAGE_SIZE) = i << 4 | me;
                for (unsigned p = 0; p < nr; p++)
                        cr_assert_eq(*(volatile unsigned *)(buf + p * PAGE_SIZE), i << 4 | me,
                                     "a page was given to two");
                first = (unsigned)rand_r(&seed) % (nr + 1);
                if (first)
                        staging_put(&s, buf, first, write);
                if (nr - first)
                        staging_put(&s, buf + first * PAGE_SIZE, nr - first, write);
        }
        return NULL;
}

Test(staging, threads_get_and_put)
{
        pthread_t t[THREADS];

        start(20);
        pthread_barrier_init(&all_here, NULL, THREADS);
        for (uintptr_t i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&t[i], NULL, get_and_put, (void *)i), 0);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(t[i], NULL);
        stop();
}

/* ---- frames ---- */

static struct frames *f;

static void make_frames(void)
{
        cr_assert_eq(memfd_frames.create(&f, 20 * PAGE_SIZE + 1), 0);
        cr_assert_eq(f->ops, &memfd_frames);
}

static void free_frames(void)
{
        f->ops->destroy(f);
}

TestSuite(frames, .init = make_frames, .fini = free_frames, .timeout = 30);

static struct stat host_stat(void)
{
        struct stat st;

        cr_assert_eq(fstat(f->ops->fd(f), &st), 0);
        return st;
}

/* Memory the kernel holds for it. */
static uint64_t held(void)
{
        return (uint64_t)host_stat().st_blocks * 512;
}

static void fill(uint64_t index, uint64_t nr, char byte)
{
        char *buf = malloc(nr * PAGE_SIZE);

        memset(buf, byte, nr * PAGE_SIZE);
        cr_assert_eq(f->ops->fill(f, index, buf, nr), 0);
        free(buf);
}

Test(frames, whole_pages_and_sparse)
{
        cr_assert_eq(host_stat().st_size, 21 * PAGE_SIZE);
        cr_assert_eq(held(), 0);
        cr_assert_str_eq(f->ops->name, "memfd");
}

Test(frames, what_is_filled_is_shown)
{
        const char *shown = mmap(NULL, 21 * PAGE_SIZE, PROT_READ, MAP_SHARED, f->ops->fd(f), 0);

        cr_assert_neq(shown, MAP_FAILED);
        fill(3, 2, 'a');
        cr_assert_eq(held(), 2 * PAGE_SIZE);
        cr_assert_eq(shown[3 * PAGE_SIZE], 'a');
        cr_assert_eq(shown[5 * PAGE_SIZE - 1], 'a');
        munmap((void *)shown, 21 * PAGE_SIZE);
}

Test(frames, bytes_in_and_out)
{
        char buf[2 * PAGE_SIZE];

        fill(3, 2, 'a');
        cr_assert_eq(f->ops->copy_in(f, 4 * PAGE_SIZE - 2, "1234", 4), 0);
        cr_assert_eq(f->ops->copy_out(f, 3 * PAGE_SIZE, buf, sizeof buf), 0);
        cr_assert_eq(buf[PAGE_SIZE - 3], 'a');
        cr_assert_eq(memcmp(buf + PAGE_SIZE - 2, "1234", 4), 0);
        cr_assert_eq(buf[PAGE_SIZE + 2], 'a');
        cr_assert_lt(f->ops->copy_out(f, 21 * PAGE_SIZE - 1, buf, 2), 0, "behind the end");
}

Test(frames, released_memory_goes_back)
{
        char buf[PAGE_SIZE];

        fill(2, 10, 'a');
        cr_assert_eq(held(), 10 * PAGE_SIZE);
        cr_assert_eq(f->ops->release(f, 4, 3), 0);
        cr_assert_eq(held(), 7 * PAGE_SIZE);
        cr_assert_eq(host_stat().st_size, 21 * PAGE_SIZE);
        cr_assert_eq(f->ops->copy_out(f, 3 * PAGE_SIZE, buf, PAGE_SIZE), 0);
        cr_assert_eq(buf[0], 'a');
        cr_assert_eq(f->ops->copy_out(f, 7 * PAGE_SIZE, buf, PAGE_SIZE), 0);
        cr_assert_eq(buf[PAGE_SIZE - 1], 'a');
        cr_assert_eq(f->ops->release(f, 0, 21), 0);
        cr_assert_eq(held(), 0);
        fill(4, 1, 'b');
        cr_assert_eq(f->ops->copy_out(f, 4 * PAGE_SIZE, buf, PAGE_SIZE), 0);
        cr_assert_eq(buf[0], 'b');
}

/* ---- folios ---- */

TestSuite(folios, .timeout = 60);

#define FOLIO 512u
static char *source;

/* False: they are not permitted here. */
static bool make_folios(void)
{
        f = NULL;
        if (folio_frames.create(&f, 4 * FOLIO * PAGE_SIZE + 1))
                return false;
        source = mmap(NULL, FOLIO * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
        cr_assert_neq(source, MAP_FAILED);
        return true;
}

static void fill_folio(uint64_t index, unsigned nr, char first)
{
        for (unsigned i = 0; i < nr; i++)
                memset(source + i * PAGE_SIZE, first + (char)(i % 7), PAGE_SIZE);
        cr_assert_eq(f->ops->fill(f, index, source, nr), 0);
}

static void expect_page(uint64_t index, char c)
{
        char buf[PAGE_SIZE];

        cr_assert_eq(f->ops->copy_out(f, index << PAGE_SHIFT, buf, PAGE_SIZE), 0);
        cr_assert_eq(buf[0], c, "page %llu: %d", (unsigned long long)index, buf[0]);
        cr_assert_eq(buf[PAGE_SIZE - 1], c);
}

/* Whole ones come and go, and of those of which a part goes the rest stays. */
Test(folios, hold_what_they_are_filled_with)
{
        if (!make_folios())
                return;
        cr_assert_eq(f->ops->folio, FOLIO);
        cr_assert_eq(host_stat().st_size, (4 * FOLIO + 1) * PAGE_SIZE);
        fill_folio(FOLIO, FOLIO, 'a');
        fill_folio(2 * FOLIO, FOLIO, 'b');
        cr_assert_eq(held(), 2 * FOLIO * PAGE_SIZE);
        expect_page(2 * FOLIO - 1, (char)('a' + (FOLIO - 1) % 7));
        cr_assert_eq(f->ops->release(f, FOLIO, FOLIO), 0);
        cr_assert_eq(held(), FOLIO * PAGE_SIZE);
        cr_assert_eq(f->ops->release(f, 2 * FOLIO + 7, 3), 0);
        cr_assert_eq(held(), (FOLIO - 3) * PAGE_SIZE, "no more nor less than was given back");
        expect_page(2 * FOLIO + 6, 'b' + 6);
        expect_page(2 * FOLIO + 10, 'b' + 3);
        fill_folio(2 * FOLIO + 8, 1, 'z');
        expect_page(2 * FOLIO + 8, 'z');
        cr_assert_eq(f->ops->resize(f, 2 * FOLIO * PAGE_SIZE), 0);
        cr_assert_eq(held(), 0);
        f->ops->destroy(f);
}

/* Of what is shorter one page can go as cheaply as ever, and nothing besides is held. */
Test(folios, a_shorter_run_holds_its_pages)
{
        if (!make_folios())
                return;
        fill_folio(100, 64, 'a');
        fill_folio(FOLIO - 1, 3, 'k');
        fill_folio(4 * FOLIO, 1, 'e');
        cr_assert_eq(held(), 68 * PAGE_SIZE, "%llu", (unsigned long long)held());
        expect_page(163, 'a');
        expect_page(FOLIO + 1, 'm');
        cr_assert_eq(f->ops->release(f, 110, 1), 0);
        cr_assert_eq(held(), 67 * PAGE_SIZE);
        expect_page(109, 'a' + 2);
        expect_page(111, 'a' + 4);
        f->ops->destroy(f);
}

Test(frames, grow_and_shrink)
{
        char buf[PAGE_SIZE];

        fill(20, 1, 'a');
        cr_assert_eq(f->ops->resize(f, 20 * PAGE_SIZE), 0);
        cr_assert_eq(host_stat().st_size, 20 * PAGE_SIZE);
        cr_assert_eq(held(), 0);
        cr_assert_eq(f->ops->resize(f, 30 * PAGE_SIZE - 5), 0);
        cr_assert_eq(host_stat().st_size, 30 * PAGE_SIZE);
        cr_assert_eq(f->ops->copy_out(f, 20 * PAGE_SIZE, buf, PAGE_SIZE), 0);
        cr_assert_eq(buf[0], 0);
        fill(29, 1, 'c');
        cr_assert_eq(held(), PAGE_SIZE);
        cr_assert_lt(f->ops->resize(f, INT64_MAX), 0);
}
