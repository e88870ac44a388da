/* SPDX-License-Identifier: Apache-2.0
 *
 * siblings.c - eight children that inherit one shared mapping store to it, each to pages of its own,
 * in a cache a quarter of its size, while the parent stores too and writes back: no store is lost, in
 * memory, in the file or in swap, and the budget holds as seen from outside. Then: private pages in swap that
 * parent and children have in common, and a fork for which there is no room.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "family.h"

#define PAGE TEST_PAGE
#define PAGES 1024ul
#define CACHE (1ul << 20)
#define CHILDREN 8u
#define BOTH (PROT_READ | PROT_WRITE)

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        char *shared, *anon;
        unsigned number;   /* of a child */
        uint64_t *version; /* of each page; the kernel's memory, everybody's */
        uint64_t rounds, pages;
};

/* Page n belongs to child n % (CHILDREN + 1); those of the last to the parent. */
static int store_to_own(void *arg)
{
        struct scene *s = arg;
        uint64_t seed = test.seed + s->number;

        for (uint64_t i = 0; i < s->rounds; i++) {
                uint64_t n =
                        random_below(&seed, PAGES / (CHILDREN + 1)) * (CHILDREN + 1) + s->number;
                char *p = s->shared + n * PAGE;

                if (stamp_wrong(p, n, s->version[n])) {
                        fprintf(stderr, "child %u: %s\n", s->number,
                                stamp_wrong(p, n, s->version[n]));
                        return 1;
                }
                stamp_write(p, n, ++s->version[n]);
                /* And somebody else's, whatever is in it. */
                (void)*(volatile char *)(s->shared + random_below(&seed, PAGES) * PAGE);
        }
        return 0;
}

/* Of a file, or of memory without one, which goes to swap instead. */
static void eight_writers(bool of_file)
{
        const char *path = test_stamped_file("file", PAGES);
        struct scene s = { .rounds = test.perturb ? 200 : 600 };
        pid_t pid[CHILDREN];
        uint64_t most = 0;
        char buf[PAGE];

        test_at(of_file ? "eight writers" : "eight writers, of memory");
        s.version = mmap(NULL, PAGES * sizeof(uint64_t), BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        require(s.version != MAP_FAILED, "mmap: %s", strerror(errno));
        s.e = open_family(
                (struct fl_engine_config){ .cache = CACHE, .swap = of_file ? NULL : "ram:16M" });
        s.f = open_file(s.e, path, O_RDWR);
        s.shared = map_file(s.e, s.f, PAGES * PAGE, BOTH,
                            MAP_SHARED | (of_file ? 0 : MAP_ANONYMOUS), 0);
        for (uint64_t i = 0; !of_file && i < PAGES; i++)
                stamp_write(s.shared + i * PAGE, i, 0);
        do {
                for (s.number = 0; s.number < CHILDREN; s.number++)
                        pid[s.number] = start_child(store_to_own, &s);
                for (uint64_t r = 0; r < 20; r++) {
                        struct scene mine = s;

                        mine.number = CHILDREN;
                        mine.rounds = s.rounds / 20;
                        expect_eq(store_to_own(&mine), 0, "the parent's own pages");
                        expect(fl_msync(s.e, s.shared, PAGES * PAGE, MS_SYNC) == 0, "%s",
                               fl_strerror());
                        most = memfd_bytes() > most ? memfd_bytes() : most;
                }
                for (unsigned i = 0; i < CHILDREN; i++)
                        expect_child(pid[i], 0, "a writer");
                for (uint64_t i = 0; i < PAGES && !test_failures(); i++)
                        expect(!stamp_wrong(s.shared + i * PAGE, i, s.version[i]),
                               "in the parent: %s",
                               stamp_wrong(s.shared + i * PAGE, i, s.version[i]));
                check_engine(s.e);
        } while (of_file && test_left() > 0 && !test_failures());
        expect(fl_msync(s.e, s.shared, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; of_file && i < PAGES && file_read(path, buf, PAGE, i * PAGE); i++)
                expect(!stamp_wrong(buf, i, s.version[i]), "in the file: %s",
                       stamp_wrong(buf, i, s.version[i]));
        expect(most > CACHE / 2 && most <= CACHE, "%llu bytes in the memfds, %lu allowed",
               (unsigned long long)most, CACHE);
        expect(get_stats(s.e).cache_bytes_peak <= CACHE, "the engine counted more than allowed");
        expect(fl_munmap(s.e, s.shared, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(s.f);
        close_engine(s.e);
        munmap(s.version, PAGES * sizeof(uint64_t));
}

/* --- swap --------------------------------------------------------------------------------- */

/* As they were at the fork; then a few of its own, as many as there is room for in memory. */
static int read_and_store(void *arg)
{
        struct scene *s = arg;
        int wrong = wrong_page(s->anon, s->pages, 1);

        if (wrong)
                return wrong;
        for (uint64_t i = 0; i < s->pages; i += 16)
                stamp_write(s->anon + i * PAGE, i, 2 + s->number);
        for (uint64_t i = 0; i < s->pages; i++)
                if (stamp_wrong(s->anon + i * PAGE, i, i % 16 ? 1 : 2 + s->number))
                        return 100;
        return 0;
}

static void in_swap(void)
{
        struct scene s = { .pages = CACHE / PAGE };
        pid_t pid[2];

        test_at("swap");
        s.e = open_family((struct fl_engine_config){ .cache = CACHE, .swap = "ram:32M" });
        s.anon = map_file(s.e, NULL, s.pages * PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        for (uint64_t i = 0; i < s.pages; i++)
                stamp_write(s.anon + i * PAGE, i, 1);
        /* What a child reads stays in memory till it ends: it gets the lower quarter. */
        expect(!fl_madvise(s.e, s.anon + s.pages / 4 * PAGE, s.pages * 3 / 4 * PAGE, MADV_DONTFORK),
               "%s", fl_strerror());
        s.pages /= 4;
        for (int i = 0; i < 3; i++) {
                /* Sends the lower quarter out. */
                for (uint64_t k = s.pages; k < 4 * s.pages; k++)
                        expect(!stamp_wrong(s.anon + k * PAGE, k, 1), "%s",
                               stamp_wrong(s.anon + k * PAGE, k, 1));
                for (s.number = 0; s.number < 2; s.number++)
                        pid[s.number] = start_child(read_and_store, &s);
                expect_child(pid[0], 0, "the first, with swap");
                expect_child(pid[1], 0, "the second, with swap");
                expect_eq(wrong_page(s.anon, s.pages, 1), 0, "the parent's pages");
        }
        expect(get_stats(s.e).swap_ins > 0 && get_stats(s.e).swap_outs > 0, "nothing was swapped");
        expect(get_stats(s.e).cache_bytes_peak <= CACHE, "the engine counted more than allowed");
        expect(fl_munmap(s.e, s.anon, 4 * s.pages * PAGE) == 0, "%s", fl_strerror());
        for (int i = 0; i < 5000 && get_stats(s.e).cache_bytes; i++)
                usleep(1000);
        check_engine(s.e);
        expect_eq(get_stats(s.e).cache_bytes, 0, "the children's pages are still charged");
        close_engine(s.e);
}

/* --- no room ------------------------------------------------------------------------------ */

static int without(void *arg)
{
        struct scene *s = arg;

        return try_load(s->anon, NULL).signo != SIGSEGV;
}

static int with(void *arg)
{
        struct scene *s = arg;

        return wrong_page(s->anon, s->pages, 1);
}

static void no_room(void)
{
        struct scene s = { .pages = CACHE / PAGE * 5 / 8 };

        test_at("no room");
        s.e = open_family((struct fl_engine_config){ .cache = CACHE, .flags = FL_ENGINE_QUIET });
        s.anon = map_file(s.e, NULL, s.pages * PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        for (uint64_t i = 0; i < s.pages; i++)
                stamp_write(s.anon + i * PAGE, i, 1);
        expect_child(start_child(without, &s), 0, "a fork for which there is no room");
        expect_eq(wrong_page(s.anon, s.pages, 1), 0, "the parent's pages");
        check_engine(s.e);
        s.pages /= 2;
        expect(fl_munmap(s.e, s.anon + s.pages * PAGE, s.pages * PAGE) == 0, "%s", fl_strerror());
        expect_child(start_child(with, &s), 0, "a fork for which there is room again");
        expect(fl_munmap(s.e, s.anon, s.pages * PAGE) == 0, "%s", fl_strerror());
        close_engine(s.e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 30, 100);
        if (CHILDREN_MAY_HANG)
                test_skip("this sanitizer's allocator may stay locked in a forked child");
        eight_writers(false);
        eight_writers(true);
        in_swap();
        no_room();
        return test_end();
}
