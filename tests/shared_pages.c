/* SPDX-License-Identifier: Apache-2.0
 *
 * shared_pages.c - two engines in one process on the same file: each its own pages and budget,
 * both at work at once, and the end of one is nothing to the other. Engines do not see each other's
 * stores before these are written and the other drops its pages: each stores to its own half.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 512ul
#define HALF (PAGES / 2)
#define CACHE (128 * PAGE)

struct user {
        pthread_t thread;
        struct fl_engine *engine;
        struct fl_file *file;
        char *map;
        uint64_t first; /* of its half, to which nobody else stores */
        uint64_t seed, version[HALF];
        _Atomic bool stop;
        _Atomic uint64_t done;
};

static void begin(struct user *u, const char *path, uint64_t first)
{
        memset(u, 0, sizeof(*u));
        u->first = first;
        u->seed = test.seed + first;
        u->engine = open_engine(CACHE);
        u->file = open_file(u->engine, path, O_RDWR);
        u->map = map_file(u->engine, u->file, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

/* One page: what it must hold, and often its next version. */
static void visit(struct user *u)
{
        uint64_t i = random_below(&u->seed, HALF), page = u->first + i;
        char *p = u->map + page * PAGE;

        expect(!stamp_wrong(p, page, u->version[i]), "%s", stamp_wrong(p, page, u->version[i]));
        if (random_below(&u->seed, 2))
                stamp_write(p, page, ++u->version[i]);
        if (random_below(&u->seed, 100) == 0)
                expect(fl_msync(u->engine, p, PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        u->done++;
}

static void *visit_all_the_time(void *arg)
{
        test_at("visiting");
        for (struct user *u = arg; !u->stop;)
                visit(u);
        return NULL;
}

static void start(struct user *u)
{
        u->stop = false;
        require(!pthread_create(&u->thread, NULL, visit_all_the_time, u), "pthread_create");
}

static void stop(struct user *u)
{
        u->stop = true;
        pthread_join(u->thread, NULL);
}

static void end(struct user *u, bool unmap)
{
        if (unmap)
                expect(fl_munmap(u->engine, u->map, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(u->file);
        close_engine(u->engine); /* unmaps, if nobody has */
}

/* The half's pages in the file, as another program sees them. */
static void expect_written(const struct user *u, const char *path)
{
        char buf[PAGE];

        for (uint64_t i = 0; i < HALF; i++)
                if (file_read(path, buf, PAGE, (u->first + i) * PAGE))
                        expect(!stamp_wrong(buf, u->first + i, u->version[i]), "in the file: %s",
                               stamp_wrong(buf, u->first + i, u->version[i]));
}

static void side_by_side(const char *path, bool unmap)
{
        static struct user a, b;
        uint64_t was;

        begin(&a, path, 0);
        begin(&b, path, HALF);
        expect(a.map != b.map, "one address for both");
        start(&a);
        start(&b);
        while (a.done < 2000 || b.done < 2000)
                usleep(1000);
        stop(&a);
        expect(get_stats(a.engine).cache_bytes_peak <= CACHE, "the first holds too much");
        expect(get_stats(b.engine).cache_bytes_peak <= CACHE, "the second holds too much");
        /* The one ends while the other faults; nothing of the other may change. */
        was = b.done;
        end(&a, unmap);
        expect_written(&a, path);
        expect_eq(try_load(a.map, NULL).signo, SIGSEGV, "the first's memory");
        while (b.done < was + 2000)
                usleep(1000);
        /* A third comes where the first was, and sees what the first has written. */
        begin(&a, path, 0);
        for (uint64_t i = 0; i < HALF; i++)
                a.version[i] = stamp_version(a.map + i * PAGE, i);
        expect_written(&a, path);
        start(&a);
        while (a.done < 500)
                usleep(1000);
        stop(&a);
        stop(&b);
        check_engine(a.engine);
        check_engine(b.engine);
        end(&b, !unmap);
        expect_written(&b, path);
        for (int i = 0; i < 500; i++)
                visit(&a);
        end(&a, unmap);
        expect_written(&a, path);
}

int main(int argc, char **argv)
{
        unsigned fds, threads;

        test_begin(argc, argv, 0, 0, 60);
        fds = count_fds();
        threads = count_threads();
        side_by_side(test_stamped_file("unmapped", PAGES), true);
        side_by_side(test_stamped_file("mapped", PAGES), false);
        expect_eq(count_fds(), fds, "descriptors");
        expect_eq(count_threads(), threads, "threads");
        return test_end();
}
