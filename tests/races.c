/* SPDX-License-Identifier: Apache-2.0
 *
 * races.c - two things at once that once went wrong together, each for its share of the time.
 *
 *   growing       writers that lengthen one file            lost each other's pages
 *   small_cache   32 threads, the smallest cache            ran out of I/O runs, and stopped
 *   closing       files closed while reclaim looks at them  reclaim used one that was gone
 *   private_copy  private stores while reclaim runs         lost the store
 *   truncating    readers of a file that is cut and grown   put back a page that was cut off
 *   cut_in_page   a file cut within a page being written    kept the bytes behind the cut
 *   grown_tail    a file grown while its tail is written    showed what was stored behind its end
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define MAX_RACERS 32u
#define BIG 2048ul /* pages of the large file */

struct race {
        const char *name;
        struct fl_engine *engine;
        struct fl_file *file, *other;
        char *map;
        uint64_t version;
        _Atomic bool stop;
        _Atomic uint64_t done; /* whatever the race counts */
};

struct racer {
        pthread_t thread;
        struct race *race;
        void (*body)(struct racer *);
        unsigned number;
        uint64_t seed;
};

static const char *big; /* BIG stamped pages that nobody stores to */

static void *racer_main(void *arg)
{
        struct racer *w = arg;

        test_at(w->race->name);
        w->body(w);
        return NULL;
}

static void start(struct race *r, struct racer *w, unsigned nr, void (*body)(struct racer *))
{
        for (unsigned i = 0; i < nr; i++) {
                w[i] = (struct racer){ .race = r, .body = body, .number = i };
                w[i].seed = test.seed + i * 7919;
                require(!pthread_create(&w[i].thread, NULL, racer_main, &w[i]), "pthread_create");
        }
}

static void join(struct racer *w, unsigned nr)
{
        for (unsigned i = 0; i < nr; i++)
                pthread_join(w[i].thread, NULL);
}

/* When the race that begins is to be over, as test_left() counts; percent of the time are its. */
static double my_share(unsigned percent)
{
        static unsigned spent;

        spent += percent;
        return test.seconds * (100 - spent) / 100;
}

static void run_until(struct race *r, unsigned nr, void (*body)(struct racer *), double until)
{
        struct racer w[MAX_RACERS];

        start(r, w, nr, body);
        /* On a busy machine longer than asked for. */
        while (test_left() > until || !atomic_load(&r->done))
                usleep(10000);
        atomic_store(&r->stop, true);
        join(w, nr);
}

static void told(const struct race *r)
{
        printf("%s: %llu times\n", r->name, (unsigned long long)r->done);
        expect(r->done > 0, "%s: nothing was done", r->name);
}

/* --- growing: the writer that had looked at the size first set the file to its own end, cutting
 * off the pages of the one that came between. */

#define WRITERS 4u
#define EACH 16u

static void write_share(struct racer *w)
{
        char buf[PAGE];

        for (uint64_t i = w->number * EACH; i < (w->number + 1) * EACH; i++) {
                stamp_write(buf, i, w->race->version);
                expect(fl_pwrite(w->race->file, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
                       "fl_pwrite: %s", fl_strerror());
        }
}

static void growing(void)
{
        const char *path = test_file("grow", 0);
        struct race r = { .name = "growing", .engine = open_engine(16ul << 20) };
        double until = my_share(10);
        struct racer w[WRITERS];
        char buf[PAGE];

        test_at(r.name);
        for (; test_left() > until || !r.done; r.done++) {
                struct stat st;

                r.version = r.done;
                r.file = open_file(r.engine, path, O_RDWR | O_TRUNC);
                start(&r, w, WRITERS, write_share);
                join(w, WRITERS);
                fl_fstat(r.file, &st);
                expect_eq(st.st_size, WRITERS * EACH * PAGE, "size after growing");
                for (uint64_t i = 0; i < WRITERS * EACH; i++) {
                        memset(buf, 0, PAGE);
                        fl_pread(r.file, buf, PAGE, (off_t)(i * PAGE));
                        expect(!stamp_wrong(buf, i, r.version), "round %llu: %s",
                               (unsigned long long)r.done, stamp_wrong(buf, i, r.version));
                }
                close_file(r.file);
                for (uint64_t i = 0; i < WRITERS * EACH; i++)
                        if (file_read(path, buf, PAGE, i * PAGE))
                                expect(!stamp_wrong(buf, i, r.version), "in the file: %s",
                                       stamp_wrong(buf, i, r.version));
        }
        told(&r);
        close_engine(r.engine);
}

/* --- small_cache: staging memory was given back before the I/O run it belonged to. There are as
 * many runs as staging pages, so whoever got those pages could find no run left. */

static void look_anywhere(struct racer *w)
{
        struct race *r = w->race;
        char buf[PAGE];

        while (!r->stop) {
                uint64_t i = random_below(&w->seed, BIG);
                const char *p = r->map + i * PAGE;

                if (w->number & 1) {
                        expect(fl_pread(r->file, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
                               "fl_pread: %s", fl_strerror());
                        p = buf;
                }
                expect(!stamp_wrong(p, i, 0), "%s", stamp_wrong(p, i, 0));
                r->done++;
        }
}

static void small_cache(void)
{
        struct race r = { .name = "small_cache" };

        r.engine = open_engine_with((struct fl_engine_config){ .cache = 64 * PAGE, .pagers = 2 });
        test_at(r.name);
        r.file = open_file(r.engine, big, O_RDONLY);
        r.map = map_file(r.engine, r.file, BIG * PAGE, PROT_READ, MAP_SHARED, 0);
        expect(fl_madvise(r.engine, r.map, BIG * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        run_until(&r, MAX_RACERS, look_anywhere, my_share(15));
        told(&r);
        check_engine(r.engine);
        close_file(r.file);
        close_engine(r.engine);
}

/* --- closing: reclaim takes pages off its list, and looked at them when the last close of their
 * file had already freed the file's tables. */

#define CLOSERS 32u
#define FILE_PAGES 8u

static const char *own_file[CLOSERS];

static void open_touch_close(struct racer *w)
{
        struct race *r = w->race;

        for (; !r->stop; r->done++) {
                struct fl_file *f = open_file(r->engine, own_file[w->number], O_RDWR);
                char *p = map_file(r->engine, f, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE,
                                   MAP_SHARED, 0);

                for (uint64_t i = 0; i < FILE_PAGES; i++)
                        (void)*(volatile char *)(p + i * PAGE);
                expect(fl_munmap(r->engine, p, FILE_PAGES * PAGE) == 0, "%s", fl_strerror());
                close_file(f);
        }
}

static void closing(void)
{
        struct race r = { .name = "closing", .engine = open_engine(64 * PAGE) };
        char name[16];

        test_at(r.name);
        for (unsigned i = 0; i < CLOSERS; i++) {
                snprintf(name, sizeof(name), "own%u", i);
                own_file[i] = test_stamped_file(name, FILE_PAGES);
        }
        run_until(&r, CLOSERS, open_touch_close, my_share(20));
        told(&r);
        check_engine(r.engine);
        close_engine(r.engine);
}

/* --- private_copy: reclaim had decided to unmap a page that a private mapping showed; the store
 * came, the kernel copied the page, and then the copy was unmapped instead, store and all. All
 * storers map the same pages: the more mappings, the longer reclaim is at it. */

#define STORERS 6u
#define COPIES 16u

static void store_privately(struct racer *w)
{
        struct race *r = w->race;

        for (; !r->stop; r->done++) {
                volatile char *p = map_file(r->engine, r->file, COPIES * PAGE,
                                            PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
                char v = (char)(1 + r->done % 100);

                for (unsigned i = 0; i < COPIES; i++) /* the cache's pages, to be copied */
                        (void)p[i * PAGE + 2000];
                for (unsigned i = 0; i < COPIES; i++)
                        p[i * PAGE + 2000] = v;
                for (unsigned i = 0; i < COPIES; i++)
                        expect_eq(p[i * PAGE + 2000], v, "a private store");
                expect(fl_munmap(r->engine, (void *)p, COPIES * PAGE) == 0, "%s", fl_strerror());
        }
}

static void scan_big(struct racer *w)
{
        struct race *r = w->race;

        for (uint64_t i = 0; !r->stop; i = (i + 1) % BIG)
                (void)*(volatile char *)(r->map + i * PAGE);
}

static void private_copy(void)
{
        const char *path = test_file("zeros", COPIES * PAGE);
        struct race r = { .name = "private_copy" };
        struct racer scan;

        r.engine = open_engine_with((struct fl_engine_config){ .cache = 192 * PAGE, .pagers = 2 });
        test_at(r.name);
        r.file = open_file(r.engine, path, O_RDWR);
        r.other = open_file(r.engine, big, O_RDONLY);
        r.map = map_file(r.engine, r.other, BIG * PAGE, PROT_READ, MAP_SHARED, 0);
        start(&r, &scan, 1, scan_big);
        run_until(&r, STORERS, store_privately, my_share(20));
        join(&scan, 1);
        told(&r);
        check_engine(r.engine);
        close_file(r.file);
        close_file(r.other);
        close_engine(r.engine);
}

/* --- truncating: a reader that had looked at the size read a page back in behind the new end, so
 * that it was there, with its old bytes, when the file was long again. */

#define KEPT 16u
#define LONG 64u

static bool all_zero(const char *p, size_t len)
{
        return p[0] == 0 && !memcmp(p, p + 1, len - 1);
}

static void read_the_cut(struct racer *w)
{
        char buf[PAGE];

        while (!w->race->stop) {
                uint64_t i = KEPT + random_below(&w->seed, LONG - KEPT);
                ssize_t n = fl_pread(w->race->file, buf, PAGE, (off_t)(i * PAGE));

                expect(n == 0 || n == (ssize_t)PAGE, "fl_pread: %zd, %s", n, fl_strerror());
                if (n)
                        expect(all_zero(buf, PAGE) || stamp_version(buf, i) != UINT64_MAX,
                               "page %llu is neither zeros nor what was written",
                               (unsigned long long)i);
        }
}

static void write_from(struct race *r, uint64_t first, bool sync)
{
        char buf[PAGE];

        for (uint64_t i = first; i < LONG; i++) {
                stamp_write(buf, i, r->done);
                expect(fl_pwrite(r->file, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
                       "fl_pwrite: %s", fl_strerror());
        }
        expect(!sync || fl_fsync(r->file) == 0, "%s", fl_strerror());
}

static void cut_and_look(struct race *r)
{
        const char *p;

        expect(fl_ftruncate(r->file, KEPT * PAGE) == 0, "%s", fl_strerror());
        expect(fl_ftruncate(r->file, LONG * PAGE) == 0, "%s", fl_strerror());
        p = map_file(r->engine, r->file, LONG * PAGE, PROT_READ, MAP_SHARED, 0);
        for (uint64_t i = 0; i < KEPT; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 0), "%s", stamp_wrong(p + i * PAGE, i, 0));
        for (uint64_t i = KEPT; i < LONG; i++)
                expect(all_zero(p + i * PAGE, PAGE),
                       "round %llu: page %llu was cut off and is back", (unsigned long long)r->done,
                       (unsigned long long)i);
        expect(fl_munmap(r->engine, (void *)p, LONG * PAGE) == 0, "%s", fl_strerror());
}

static void truncating(void)
{
        const char *path = test_file("cut", 0);
        struct race r = { .name = "truncating", .engine = open_engine(16ul << 20) };
        double until = my_share(15);
        struct racer w[2];

        test_at(r.name);
        r.file = open_file(r.engine, path, O_RDWR);
        write_from(&r, 0, true);
        start(&r, w, 2, read_the_cut);
        while (test_left() > until || !r.done) {
                cut_and_look(&r);
                r.done++;
                write_from(&r, KEPT, true);
        }
        r.stop = true;
        join(w, 2);
        told(&r);
        close_file(r.file);
        close_engine(r.engine);
}

/* --- cut_in_page: the write that was under way had the whole page, and was not waited for: it put
 * the bytes behind the new end into the file again, which showed when the file was longer. */

static void sync_all(struct racer *w)
{
        expect(fl_fsync(w->race->file) == 0, "%s", fl_strerror());
}

static void cut_in_page(void)
{
        const char *path = test_file("within", 0);
        struct race r = { .name = "cut_in_page", .engine = open_engine(16ul << 20) };
        uint64_t seed = test.seed, cut, behind;
        double until = my_share(10);
        struct racer w;
        char buf[PAGE];

        test_at(r.name);
        r.file = open_file(r.engine, path, O_RDWR);
        for (; test_left() > until || !r.done; r.done++) {
                write_from(&r, 0, false);
                start(&r, &w, 1, sync_all);
                usleep((unsigned)random_below(&seed, 100));
                cut = random_below(&seed, LONG * PAGE);
                behind = PAGE - cut % PAGE;
                expect(fl_ftruncate(r.file, (off_t)cut) == 0, "%s", fl_strerror());
                join(&w, 1);
                expect(fl_ftruncate(r.file, LONG * PAGE) == 0, "%s", fl_strerror());
                expect(fl_fsync(r.file) == 0, "%s", fl_strerror());
                if (file_read(path, buf, behind, cut))
                        expect(all_zero(buf, behind),
                               "round %llu: what was cut off at %llu is back",
                               (unsigned long long)r.done, (unsigned long long)cut);
        }
        told(&r);
        close_file(r.file);
        close_engine(r.engine);
}

/* --- grown_tail: what a mapping had stored behind the end was cleared when the file grew, but not
 * in a write that was under way, and that looked at the file's size only then. */

static void grown_tail(void)
{
        const char *path = test_file("tail", 0);
        struct race r = { .name = "grown_tail" };
        uint64_t seed = test.seed, end, behind;
        double until = my_share(10);
        struct racer w;
        char buf[PAGE], *p;

        r.engine = open_engine_with(
                (struct fl_engine_config){ .cache = 16ul << 20, .perturb = test.seed | 1 });
        test_at(r.name);
        r.file = open_file(r.engine, path, O_RDWR);
        for (; test_left() > until || !r.done; r.done++) {
                end = random_below(&seed, 8 * PAGE) | 1;
                behind = PAGE - end % PAGE;
                expect(fl_ftruncate(r.file, (off_t)end) == 0, "%s", fl_strerror());
                p = map_file(r.engine, r.file, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
                memset(p + end - 1, 0xff, behind + 1);
                start(&r, &w, 1, sync_all);
                usleep((unsigned)random_below(&seed, 100));
                expect(fl_pwrite(r.file, "x", 1, LONG * PAGE - 1) == 1, "%s", fl_strerror());
                join(&w, 1);
                expect(all_zero(p + end, behind), "round %llu: stored behind %llu, shown",
                       (unsigned long long)r.done, (unsigned long long)end);
                expect(fl_munmap(r.engine, p, 8 * PAGE) == 0, "%s", fl_strerror());
                expect(fl_fsync(r.file) == 0, "%s", fl_strerror());
                if (file_read(path, buf, behind, end))
                        expect(all_zero(buf, behind), "round %llu: stored behind %llu, in the file",
                               (unsigned long long)r.done, (unsigned long long)end);
        }
        told(&r);
        close_file(r.file);
        close_engine(r.engine);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 8, 60, 60);
        mallopt(M_PERTURB, 0xa5); /* what is freed is not to look as before */
        big = test_stamped_file("big", BIG);
        growing();
        small_cache();
        closing();
        private_copy();
        truncating();
        cut_in_page();
        grown_tail();
        return test_end();
}
