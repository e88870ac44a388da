/* SPDX-License-Identifier: Apache-2.0
 *
 * maps.c - fifty thousand mappings of one file in one engine: each takes its own fault and shows
 * the file, a store through one is seen through all, write-back and eviction reach every mapping
 * that shows a page, and holes are found again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "most_maps.h"

#define NR 50000u
#define FILE_PAGES 64u
#define STEP 7u /* neighbours never show neighbouring pages, so they are not merged */

static char *map[NR];

static unsigned page_of(unsigned i)
{
        return i * STEP % FILE_PAGES;
}

/* A fault is counted when the thread has been woken, so the last one may be late. */
static uint64_t faults(struct fl_engine *e)
{
        struct fl_stats s;

        usleep(20000);
        s = get_stats(e);
        return s.faults_major + s.faults_minor;
}

static void expect_version(unsigned i, uint64_t version)
{
        const char *wrong = stamp_wrong(map[i], page_of(i), version);

        expect(!wrong, "mapping %u, page %u: %s", i, page_of(i), wrong);
}

/* Every 64th mapping from `from` on, which is one page of the file. */
static unsigned touch_all(unsigned from, uint64_t version)
{
        unsigned n = 0;

        for (unsigned i = from; i < NR; i += FILE_PAGES, n++)
                expect_version(i, version);
        return n;
}

static void one_fault_each(struct fl_engine *e)
{
        uint64_t before = faults(e);
        unsigned n = touch_all(3, 0);

        expect_eq(faults(e) - before, n, "a fault for each mapping");
        touch_all(3, 0);
        expect_eq(faults(e) - before, n, "and none for what is mapped");
}

/* Written back, the page is write-protected in every mapping: a store through any is an event. */
static void store_is_seen_by_all(struct fl_engine *e)
{
        unsigned first = 3, last = first + (NR - 1 - first) / FILE_PAGES * FILE_PAGES;
        uint64_t before;

        stamp_write(map[first], page_of(first), 1);
        touch_all(first, 1);
        expect(fl_msync(e, map[last], TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        faults(e);
        before = get_stats(e).faults_write;
        stamp_write(map[last], page_of(last), 2);
        faults(e);
        expect_eq(get_stats(e).faults_write - before, 1, "a store after write-back");
        touch_all(first, 2);
        expect(fl_msync(e, map[first], TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
}

/* What was evicted is shown nowhere any more. */
static void evicted_everywhere(struct fl_engine *e, struct fl_file *f)
{
        static char junk[FILE_PAGES * TEST_PAGE];
        uint64_t before;
        unsigned n;

        for (unsigned i = 0; i < 16; i++)
                expect(fl_pread(f, junk, sizeof(junk), (off_t)((i + 1) * sizeof(junk))) ==
                               (ssize_t)sizeof(junk),
                       "%s", fl_strerror());
        before = faults(e);
        n = touch_all(3, 2);
        expect(faults(e) - before >= n, "%llu faults of %u mappings whose page had gone",
               (unsigned long long)(faults(e) - before), n);
}

static void holes_are_used_again(struct fl_engine *e, struct fl_file *f)
{
        unsigned n = 0;

        for (unsigned i = 0; i < NR; i += 2)
                expect(fl_munmap(e, map[i], TEST_PAGE) == 0, "%s", fl_strerror());
        for (unsigned i = 1; i < NR; i += 1000)
                expect_version(i, page_of(i) == page_of(3) ? 2 : 0);
        for (unsigned i = 0; i < NR; i += 1000) {
                char *p = map_file(e, f, TEST_PAGE, PROT_READ, MAP_SHARED,
                                   (off_t)(page_of(i) * TEST_PAGE));

                n += p >= map[0] && p < map[NR - 1];
                map[i] = p;
                expect_version(i, page_of(i) == page_of(3) ? 2 : 0);
        }
        expect_eq(n, NR / 1000, "mappings placed in holes");
}

int main(int argc, char **argv)
{
        const char *path;
        struct fl_engine *e;
        struct fl_file *f;

        test_begin(argc, argv, 1, 1, 120);
        if (most_maps() < NR + 5000)
                test_skip("vm.max_map_count allows fewer than 55,000 mappings");
        path = test_stamped_file("maps", FILE_PAGES * 18);
        e = open_engine_with((struct fl_engine_config){
                .cache = 512 * TEST_PAGE, .policy = "linux", /* windows, and a scan takes all */
        });
        f = open_file(e, path, O_RDWR);
        for (unsigned i = 0; i < NR; i++)
                map[i] = map_file(e, f, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                                  (off_t)(page_of(i) * TEST_PAGE));
        test_at("one fault each");
        one_fault_each(e);
        test_at("a store");
        store_is_seen_by_all(e);
        test_at("eviction");
        evicted_everywhere(e, f);
        test_at("holes");
        holes_are_used_again(e, f);
        check_engine(e);
        expect(fl_munmap(e, (void *)((uintptr_t)map[1] & ~(TEST_PAGE - 1)), TEST_PAGE) == 0, "%s",
               fl_strerror());
        close_file(f);
        close_engine(e);
        return test_end();
}
