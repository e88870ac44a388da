/* SPDX-License-Identifier: Apache-2.0
 *
 * shares.c - several files, one budget: what a file has been promised stays, whatever else is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (4ul << 20)
#define KEPT 256ul        /* pages of the file that keeps */
#define SCANNED 4096ul    /* of the one that is scanned: four times the cache */
#define MOST (896ul - 56) /* an eighth less than the cache without its staging memory */

struct world {
        struct fl_engine *e;
        struct fl_file *a, *b;
        char *p, *q; /* a, b */
        size_t pages;
};

static struct world begin(size_t pages, uint64_t cache)
{
        struct world w = { .e = open_engine(cache), .pages = pages };

        w.a = open_file(w.e, test_stamped_file("kept", pages), O_RDWR);
        w.b = open_file(w.e, test_stamped_file("scanned", SCANNED), O_RDWR);
        w.p = map_file(w.e, w.a, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        w.q = map_file(w.e, w.b, SCANNED * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        return w;
}

static void end(struct world *w)
{
        check_engine(w->e);
        expect(fl_munmap(w->e, w->p, w->pages * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(w->e, w->q, SCANNED * PAGE) == 0, "%s", fl_strerror());
        close_file(w->a);
        close_file(w->b);
        close_engine(w->e);
}

static int set_share(struct fl_engine *e, char *p, size_t pages, uint64_t share)
{
        struct fl_mapping_config cfg = { .size = sizeof(cfg), .share = share * PAGE };

        return fl_mapping_set(e, p, pages * PAGE, &cfg);
}

static struct fl_mapping_info info_at(struct fl_engine *e, const void *p)
{
        struct fl_mapping_info info = { .size = sizeof(info) };

        require(fl_mapping_info(e, p, &info) == 0, "%s", fl_strerror());
        return info;
}

static size_t resident(struct world *w)
{
        return resident_pages(w->e, w->p, w->pages);
}

static void scan(const char *p, size_t pages)
{
        for (size_t i = 0; i < pages; i++) {
                const char *wrong = stamp_wrong(p + i * PAGE, i, 0);

                expect(!wrong, "%s", wrong);
        }
}

/* Loads of b, then stores, several times over. */
static void scan_over(struct world *w)
{
        for (int round = 0; round < 3; round++)
                scan(w->q, SCANNED);
        for (size_t i = 0; i < SCANNED; i++)
                stamp_write(w->q + i * PAGE, i, 0);
}

/* A fault is counted after its thread has gone on. */
static struct fl_stats settled(struct fl_engine *e)
{
        struct fl_stats a, b = get_stats(e);

        do {
                a = b;
                usleep(50000);
                b = get_stats(e);
        } while (a.faults_major != b.faults_major || a.faults_minor != b.faults_minor);
        return b;
}

static void a_share_stays(void)
{
        struct world w = begin(KEPT, CACHE);
        uint64_t major, faults;
        struct fl_stats s;

        test_at("a share stays");
        expect(set_share(w.e, w.p, KEPT, KEPT) == 0, "%s", fl_strerror());
        expect_eq(info_at(w.e, w.p).share, KEPT * PAGE, "what it asks for");
        expect_eq(info_at(w.e, w.q).share, 0, "what the other asks for");
        scan(w.p, KEPT);
        scan_over(&w);
        expect_eq(resident(&w), KEPT, "pages of a after b has been scanned");
        expect_eq(info_at(w.e, w.p).cached, KEPT * PAGE, "bytes of a in the cache");
        /* They are not only cached: they were never unmapped, so no touch of one is a fault. */
        s = settled(w.e);
        major = s.faults_major;
        faults = s.faults_major + s.faults_minor;
        scan(w.p, KEPT);
        s = settled(w.e);
        expect_eq(s.faults_major - major, 0, "major faults on what is kept");
        expect_eq(s.faults_major + s.faults_minor - faults, 0, "faults on what is kept");
        expect(s.evicted_pages > SCANNED, "b went through the cache: %llu pages evicted",
               (unsigned long long)s.evicted_pages);
        /* Given up, it goes as all else does. */
        expect(set_share(w.e, w.p, KEPT, 0) == 0, "%s", fl_strerror());
        scan_over(&w);
        expect(resident(&w) < KEPT / 2, "%zu pages of a stay without a share", resident(&w));
        end(&w);
}

/* A file that is larger than its share keeps that much of itself, not more. */
static void part_of_a_file(void)
{
        struct world w = begin(2 * KEPT, CACHE);

        test_at("part of a file");
        expect(set_share(w.e, w.p, KEPT, KEPT) == 0, "%s", fl_strerror());
        scan(w.p, 2 * KEPT);
        scan_over(&w);
        expect_eq(resident(&w), KEPT, "pages of a");
        /* Its own pages are what it gives up for others of its own. */
        scan(w.p, 2 * KEPT);
        expect(resident(&w) >= KEPT, "%zu pages of a", resident(&w));
        end(&w);
}

/* The share is that of the mappings: it goes with the last that asks for it. */
static void as_long_as_mapped(void)
{
        struct world w = begin(KEPT, CACHE);
        char *again = map_file(w.e, w.a, KEPT * PAGE, PROT_READ, MAP_PRIVATE, 0);

        test_at("as long as it is mapped");
        expect(set_share(w.e, again, KEPT, KEPT) == 0, "%s", fl_strerror());
        expect(set_share(w.e, w.p, KEPT / 2, KEPT / 2) == 0, "%s", fl_strerror());
        scan(w.p, KEPT);
        scan_over(&w);
        expect_eq(resident(&w), KEPT, "pages of a, the largest share");
        expect(fl_munmap(w.e, again, KEPT * PAGE) == 0, "%s", fl_strerror());
        scan_over(&w);
        expect_eq(resident(&w), KEPT / 2, "pages of a, what is left of its share");
        expect(fl_munmap(w.e, w.p, KEPT / 2 * PAGE) == 0, "%s", fl_strerror());
        scan_over(&w);
        expect(info_at(w.e, w.p + KEPT / 2 * PAGE).cached < KEPT / 4 * PAGE,
               "%llu bytes of a stay without a share",
               (unsigned long long)info_at(w.e, w.p + KEPT / 2 * PAGE).cached);
        end(&w);
}

/* What cannot be kept is not promised, and what has been promised is kept. */
static void no_more_than_there_is(void)
{
        struct world w = begin(KEPT, CACHE);

        test_at("no more than there is");
        errno = 0;
        expect(set_share(w.e, w.p, KEPT, 1024) == -1 && errno == ENOMEM, "all: %s",
               strerror(errno));
        expect(set_share(w.e, w.p, KEPT, UINT64_MAX / PAGE) == -1 && errno == ENOMEM, "more: %s",
               strerror(errno));
        expect_eq(info_at(w.e, w.p).share, 0, "what a asks for after that");
        expect(set_share(w.e, w.p, KEPT, 500) == 0, "%s", fl_strerror());
        errno = 0;
        expect(set_share(w.e, w.q, SCANNED, 500) == -1 && errno == ENOMEM, "both: %s",
               strerror(errno));
        expect(set_share(w.e, w.q, SCANNED, 300) == 0, "%s", fl_strerror());
        errno = 0;
        expect(fl_engine_set_cache(w.e, CACHE / 2) == -1 && errno == EBUSY, "a smaller cache: %s",
               strerror(errno));
        expect(set_share(w.e, w.q, SCANNED, 0) == 0, "%s", fl_strerror());
        expect(set_share(w.e, w.p, KEPT, 100) == 0, "%s", fl_strerror());
        expect(fl_engine_set_cache(w.e, CACHE / 2) == 0, "%s", fl_strerror());
        scan(w.q, SCANNED);
        end(&w);
}

/* All that can be promised is, and in use: the rest of the world goes on in what is left, private
 * copies stop in time. */
static void all_is_promised(void)
{
        struct world w = begin(MOST, CACHE);
        struct caught c = { 0 };
        size_t copies = 0;
        char *copy;

        test_at("all is promised");
        expect(set_share(w.e, w.p, MOST, MOST) == 0, "%s", fl_strerror());
        scan(w.p, MOST);
        scan_over(&w);
        expect_eq(resident(&w), MOST, "pages of a");
        copy = map_file(w.e, w.b, SCANNED * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        for (; copies < SCANNED && !c.signo; copies++)
                c = try_store(copy + copies * PAGE, 1);
        expect(c.signo == SIGBUS && copies < 960 - MOST, "%zu copies beside the share, then %s",
               copies, caught_name(c));
        scan(w.q, SCANNED);
        expect_eq(resident(&w), MOST, "pages of a beside copies");
        expect(fl_munmap(w.e, copy, SCANNED * PAGE) == 0, "%s", fl_strerror());
        end(&w);
}

/* The smallest cache there is. */
static void of_the_smallest_cache(void)
{
        struct world w = begin(32, 64 * PAGE);

        test_at("the smallest cache");
        expect(set_share(w.e, w.p, 32, 32) == 0, "%s", fl_strerror());
        scan(w.p, 32);
        scan_over(&w);
        expect_eq(resident(&w), 32, "pages of a");
        end(&w);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 80);
        a_share_stays();
        part_of_a_file();
        as_long_as_mapped();
        no_more_than_there_is();
        all_is_promised();
        of_the_smallest_cache();
        return test_end();
}
