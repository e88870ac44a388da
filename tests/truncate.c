/* SPDX-License-Identifier: Apache-2.0
 *
 * truncate.c - a file cut short and made longer under its mappings (L42).
 *
 * First one thread, step by step. Then many: each owns pages, stores and loads them through a
 * shared or a private mapping, and knows what it must see: its own last byte; zero, if the page has
 * been cut off since; SIGBUS behind the end. Meanwhile one thread cuts and grows, one writes back,
 * and the cache is too small for the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"

#define PAGES 256u
#define KEPT 16u /* never cut off */
#define THREADS 6u
#define CACHE (128 * TEST_PAGE)

/* --- step by step --- */

static void expect_byte(const char *p, int want, const char *what)
{
        unsigned char got = 0;
        struct caught c = try_load(p, &got);

        if (want < 0)
                expect(c.signo == SIGBUS, "%s: %s, byte %u", what, caught_name(c), got);
        else
                expect(c.signo == 0 && got == want, "%s: %s, byte %u, not %d", what, caught_name(c),
                       got, want);
}

static void truncate_to(struct fl_file *f, uint64_t size)
{
        expect(fl_ftruncate(f, (off_t)size) == 0, "to %llu: %s", (unsigned long long)size,
               fl_strerror());
}

static void one_by_one(struct fl_engine *e, struct fl_file *f)
{
        char *s = map_file(e, f, 8 * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        char *p = map_file(e, f, 8 * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);

        truncate_to(f, 8 * TEST_PAGE);
        for (unsigned i = 0; i < 8; i++) {
                s[i * TEST_PAGE] = 1;
                s[i * TEST_PAGE + 200] = 2;
        }
        p[2 * TEST_PAGE + 200] = 3; /* copies: in the last page, and behind */
        p[5 * TEST_PAGE] = 4;
        truncate_to(f, 2 * TEST_PAGE + 100);
        expect_byte(s + 2 * TEST_PAGE, 1, "before the end");
        expect_byte(s + 2 * TEST_PAGE + 200, 0, "behind the end, in the last page");
        expect_byte(p + 2 * TEST_PAGE + 200, 3, "a private copy of the last page");
        expect_byte(s + 3 * TEST_PAGE, -1, "the page behind");
        expect_byte(p + 5 * TEST_PAGE, -1, "a private copy behind");
        expect_byte(p + 7 * TEST_PAGE, -1, "what nobody has touched");
        check_engine(e); /* the copy's charge has been given back */
        truncate_to(f, 6 * TEST_PAGE);
        expect_byte(s + 2 * TEST_PAGE + 200, 0, "grown: the old last page");
        expect_byte(s + 3 * TEST_PAGE, 0, "grown: a page that was cut off");
        expect_byte(p + 5 * TEST_PAGE, 0, "grown: where a private copy was");
        expect_byte(p + 2 * TEST_PAGE + 200, 3, "grown: the private copy of the old last page");
        expect_byte(s + 6 * TEST_PAGE, -1, "grown: behind");
        s[5 * TEST_PAGE] = 9;
        expect_byte(p + 5 * TEST_PAGE, 9, "both show one page again");
        truncate_to(f, 0);
        expect_byte(s, -1, "an empty file");
        expect(fl_munmap(e, s, 8 * TEST_PAGE) == 0 && fl_munmap(e, p, 8 * TEST_PAGE) == 0, "%s",
               fl_strerror());
}

/* --- all at once --- */

static struct {
        struct fl_engine *engine;
        struct fl_file *file;
        char *shared, *private;
        _Atomic unsigned cuts_begun[PAGES], cuts_over[PAGES];
        _Atomic unsigned partly[PAGES]; /* times that the file was cut within it */
        _Atomic uint64_t edge;          /* the page that the file ends in, if it ends within one */
        _Atomic bool stop;
        _Atomic unsigned long cuts, stores, lost;
} race;

/* What a thread knows of one page of its own. */
struct known {
        unsigned char value; /* what it has stored last; 0: nothing that lasts */
        unsigned begun;      /* cuts of the page begun before that, and over after */
        unsigned partly;
        bool certain; /* no cut was under way */
};

static void put(struct known *k, unsigned page, char *base, uint64_t *seed)
{
        unsigned char value = (unsigned char)(1 + random_below(seed, 255));
        struct caught c;

        k->begun = atomic_load(&race.cuts_begun[page]);
        k->partly = atomic_load(&race.partly[page]);
        k->certain = atomic_load(&race.cuts_over[page]) == k->begun;
        /* Behind the end, in the last page, nothing lasts: it is not written, and reads as zero when
         * the file grows. */
        k->certain &= atomic_load(&race.edge) != page;
        c = try_store(base + page * TEST_PAGE + page, value);
        expect(c.signo == 0 || (c.signo == SIGBUS && page >= KEPT), "page %u: a store: %s", page,
               caught_name(c));
        k->certain &= atomic_load(&race.cuts_begun[page]) == k->begun;
        k->value = c.signo ? 0 : value;
        atomic_fetch_add(&race.stores, 1);
}

static void look(struct known *k, unsigned page, const char *base)
{
        unsigned over = atomic_load(&race.cuts_over[page]), begun;
        unsigned char got = 0;
        struct caught c = try_load(base + page * TEST_PAGE + page, &got);
        bool maybe_cut;

        begun = atomic_load(&race.cuts_begun[page]);
        maybe_cut = begun != k->begun || atomic_load(&race.partly[page]) != k->partly;
        if (c.signo) {
                expect(c.signo == SIGBUS && page >= KEPT, "page %u: a load: %s", page,
                       caught_name(c));
                return;
        }
        if (!k->certain)
                return;
        /* Cut off since the store, and that was over before the load: it must be gone. */
        if (over > k->begun && got == k->value && k->value)
                expect(false, "page %u: byte %u is back after a cut", page, got);
        if (got != k->value)
                expect(maybe_cut && got == 0, "page %u: byte %u, not %u, %s", page, got, k->value,
                       maybe_cut ? "cut off since" : "never cut off since");
        atomic_fetch_add(&race.lost, got != k->value);
}

static void *owner(void *arg)
{
        unsigned me = (unsigned)(uintptr_t)arg;
        uint64_t seed = test.seed + me;
        /* Two threads store privately: what they see is theirs alone. */
        char *base = me < 2 ? race.private : race.shared;
        static _Thread_local struct known known[PAGES];

        while (!atomic_load(&race.stop)) {
                unsigned page = (unsigned)random_below(&seed, PAGES / THREADS) * THREADS + me;
                /* Few private pages: they cannot be reclaimed. */
                if (me < 2 && page % 4)
                        continue;
                if (known[page].value == 0 || random_below(&seed, 2))
                        put(&known[page], page, base, &seed);
                else
                        look(&known[page], page, base);
                if (known[page].begun != atomic_load(&race.cuts_begun[page]))
                        known[page].value = 0; /* to be stored anew */
        }
        return NULL;
}

static void *cutter(void *arg)
{
        uint64_t seed = test.seed + 1000, size = PAGES * TEST_PAGE;

        (void)arg;
        while (!atomic_load(&race.stop)) {
                uint64_t to = KEPT * TEST_PAGE + random_below(&seed, (PAGES - KEPT) * TEST_PAGE);
                unsigned first = (unsigned)((to + TEST_PAGE - 1) / TEST_PAGE);

                if (random_below(&seed, 3) == 0)
                        to = PAGES * TEST_PAGE;
                if (to >= size) {
                        truncate_to(race.file, size = to);
                        atomic_store(&race.edge, to % TEST_PAGE ? to / TEST_PAGE : PAGES);
                        continue;
                }
                if (to % TEST_PAGE)
                        atomic_fetch_add(&race.partly[to / TEST_PAGE], 1);
                atomic_store(&race.edge, to % TEST_PAGE ? to / TEST_PAGE : PAGES);
                for (unsigned i = first; i < PAGES; i++)
                        atomic_fetch_add(&race.cuts_begun[i], 1);
                truncate_to(race.file, size = to);
                for (unsigned i = first; i < PAGES; i++)
                        atomic_fetch_add(&race.cuts_over[i], 1);
                atomic_fetch_add(&race.cuts, 1);
        }
        return NULL;
}

static void *writer(void *arg)
{
        uint64_t seed = test.seed + 2000;

        (void)arg;
        while (!atomic_load(&race.stop)) {
                size_t at = random_below(&seed, PAGES) * TEST_PAGE;

                expect(fl_msync(race.engine, race.shared + at, PAGES * TEST_PAGE - at, MS_SYNC) ==
                               0,
                       "msync: %s", fl_strerror());
        }
        return NULL;
}

static void compare(const char *path)
{
        static char bytes[PAGES * TEST_PAGE];
        uint64_t size;

        expect(fl_fsync(race.file) == 0, "%s", fl_strerror());
        size = file_size(path);
        if (!file_read(path, bytes, size, 0))
                return;
        for (uint64_t i = 0; i < size; i++)
                if (bytes[i] != race.shared[i]) {
                        expect(false, "byte %llu of the file differs from the mapping's",
                               (unsigned long long)i);
                        break;
                }
        expect_byte(race.shared + (size + TEST_PAGE - 1) / TEST_PAGE * TEST_PAGE,
                    size > (PAGES - 1) * TEST_PAGE ? 0 : -1, "behind the end");
}

static void all_at_once(struct fl_engine *e, struct fl_file *f, const char *path)
{
        pthread_t threads[THREADS + 2];

        race.engine = e;
        race.file = f;
        race.edge = PAGES;
        truncate_to(f, PAGES * TEST_PAGE);
        race.shared =
                map_file(e, f, (PAGES + 1) * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        race.private = map_file(e, f, PAGES * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_create(&threads[i], NULL, owner, (void *)(uintptr_t)i);
        pthread_create(&threads[THREADS], NULL, cutter, NULL);
        pthread_create(&threads[THREADS + 1], NULL, writer, NULL);
        while (test_left() > 0 && !test_failures())
                nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        atomic_store(&race.stop, true);
        for (unsigned i = 0; i < THREADS + 2; i++)
                pthread_join(threads[i], NULL);
        expect(atomic_load(&race.cuts) > 0, "only %lu cuts", atomic_load(&race.cuts));
        expect(atomic_load(&race.stores) > 0, "only %lu stores", atomic_load(&race.stores));
        printf("%lu cuts, %lu stores, %lu of them cut off\n", atomic_load(&race.cuts),
               atomic_load(&race.stores), atomic_load(&race.lost));
        truncate_to(f, (PAGES - 3) * TEST_PAGE + 77);
        compare(path);
        check_engine(e);
}

int main(int argc, char **argv)
{
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;

        test_begin(argc, argv, 3, 120, 60);
        path = test.uri ? test.uri : test_file("truncate", 8 * TEST_PAGE);
        e = open_engine_with((struct fl_engine_config){ .cache = test.cache ? test.cache : CACHE,
                                                        .pagers = test.pagers ? test.pagers : 2 });
        f = open_file(e, path, O_RDWR);
        test_at("step by step");
        one_by_one(e, f);
        test_at("all at once");
        all_at_once(e, f, path);
        expect(fl_munmap(e, race.shared, (PAGES + 1) * TEST_PAGE) == 0 &&
                       fl_munmap(e, race.private, PAGES * TEST_PAGE) == 0,
               "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        return test_end();
}
