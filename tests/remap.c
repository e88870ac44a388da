/* SPDX-License-Identifier: Apache-2.0
 *
 * remap.c - mremap: what was there before is there afterwards, stores, private copies and protection
 * included; a page that moves without faulting does not fault; a clean page still notices a store;
 * the budget has lost nothing. And all of it while others touch the pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "mman.h"

#define PAGES 64u
#define CACHE (256 * TEST_PAGE)
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)

static struct fl_engine *engine;
static struct fl_file *file;
static const char *path;

static void expect_stamps(char *p, unsigned first, unsigned nr, uint64_t version)
{
        for (unsigned i = 0; i < nr; i++) {
                const char *wrong = stamp_wrong(p + BYTES(i), first + i, version);

                expect(!wrong, "page %u: %s", first + i, wrong);
        }
}

static void expect_gone(char *p, const char *what)
{
        struct caught c = try_load(p, NULL);

        expect(c.signo == SIGSEGV, "%s: %s", what, caught_name(c));
}

static char *map(unsigned nr, int prot, int flags, unsigned first)
{
        return map_file(engine, file, BYTES(nr), prot, flags, (off_t)BYTES(first));
}

static char *remap(char *p, unsigned old, unsigned new, int flags, void *to)
{
        char *q = fl_mremap(engine, p, BYTES(old), BYTES(new), flags, to);

        require(q != MAP_FAILED, "%u pages to %u, flags %d: %s", old, new, flags, fl_strerror());
        return q;
}

static void unmap(char *p, unsigned nr)
{
        expect(fl_munmap(engine, p, BYTES(nr)) == 0, "%s", fl_strerror());
}

static uint64_t faults(void)
{
        struct fl_stats s;

        usleep(20000);
        s = get_stats(engine);
        return s.faults_major + s.faults_minor;
}

static void shrinks_and_grows(void)
{
        char *p = map(8, PROT_READ, MAP_SHARED, 0), *block;

        expect_stamps(p, 0, 8, 0);
        expect(remap(p, 8, 3, 0, NULL) == p, "shrunk elsewhere");
        expect_gone(p + BYTES(3), "behind a shrunk mapping");
        expect(remap(p, 3, 12, 0, NULL) == p, "grown elsewhere");
        expect_stamps(p, 0, 12, 0);
        block = fl_mmap(engine, p + BYTES(12), TEST_PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file,
                        0);
        expect(block == p + BYTES(12), "%s", fl_strerror());
        expect(fl_mremap(engine, p, BYTES(12), BYTES(16), 0) == MAP_FAILED && errno == ENOMEM,
               "grown onto something: %s", strerror(errno));
        block = p;
        p = remap(p, 12, 16, MREMAP_MAYMOVE, NULL);
        expect(p != block, "grown in place, where something is");
        expect_stamps(p, 0, 16, 0);
        expect_gone(block, "where it was");
        unmap(block + BYTES(12), 1);
        unmap(p, 16);
}

/* A private mapping takes its copies along, a shared one what it may store. */
static void takes_all_along(void)
{
        char *s = map(8, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        char *p = map(8, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        char *room = map(16, PROT_READ, MAP_SHARED, 0), *q;
        uint64_t before;

        expect_stamps(s, 0, 8, 0);
        expect_stamps(p, 0, 8, 0);
        stamp_write(p + BYTES(2), 2, 9);
        stamp_write(s + BYTES(5), 5, 1);
        q = remap(p, 8, 8, MREMAP_MAYMOVE | MREMAP_FIXED, room);
        expect(q == room, "not where it was told to go");
        before = faults();
        expect_stamps(q, 0, 2, 0);
        expect_stamps(q + BYTES(2), 2, 1, 9);
        expect_stamps(q + BYTES(3), 3, 2, 0);
        expect_stamps(q + BYTES(5), 5, 1, 1);
        expect_eq(faults(), before, "faults on what has moved");
        check_engine(engine);
        q = remap(q, 8, 20, MREMAP_MAYMOVE, NULL);
        expect_stamps(q + BYTES(2), 2, 1, 9);
        expect_stamps(q + BYTES(8), 8, 12, 0);
        unmap(q, 20);
        check_engine(engine);
        unmap(room + BYTES(8), 8);
        unmap(s, 8);
}

/* Clean, and moved: the first store must still be noticed, or it is never written. */
static void clean_stays_clean(void)
{
        char *p = map(8, PROT_READ | PROT_WRITE, MAP_SHARED, 32), page[TEST_PAGE];
        char *room = map(8, PROT_READ, MAP_SHARED, 0);
        const char *wrong;

        stamp_write(p + BYTES(1), 33, 1);
        expect(fl_msync(engine, p, BYTES(8), MS_SYNC) == 0, "%s", fl_strerror());
        p = remap(p, 8, 8, MREMAP_MAYMOVE | MREMAP_FIXED, room);
        stamp_write(p + BYTES(1), 33, 2);
        expect(fl_msync(engine, p, BYTES(8), MS_SYNC) == 0, "%s", fl_strerror());
        expect(file_read(path, page, TEST_PAGE, BYTES(33)), "page 33");
        wrong = stamp_wrong(page, 33, 2);
        expect(!wrong, "the file's page 33: %s", wrong);
        /* And a page that goes is shown nowhere, at the new place neither. */
        expect(fl_evict(engine, p, BYTES(8)) > 0, "nothing evicted");
        expect_stamps(p + BYTES(1), 33, 1, 2);
        unmap(p, 8);
}

static void leaves_an_empty_one(void)
{
        char *p = map(8, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0), *q;

        stamp_write(p + BYTES(3), 3, 7);
        q = fl_mremap(engine, p, BYTES(8), BYTES(8), MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
        require(q != MAP_FAILED, "%s", fl_strerror());
        expect_stamps(q + BYTES(3), 3, 1, 7);
        expect_stamps(p, 0, 5, 0); /* from the file again */
        stamp_write(p + BYTES(3), 3, 8);
        expect_stamps(q + BYTES(3), 3, 1, 7);
        unmap(q, 8);
        /* Of its middle: what is left is one mapping as before. */
        q = fl_mremap(engine, p + BYTES(3), BYTES(2), BYTES(2), MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
                      NULL);
        require(q != MAP_FAILED, "%s", fl_strerror());
        expect_stamps(q, 3, 1, 8);
        unmap(q, 2);
        p = remap(p, 8, 16, MREMAP_MAYMOVE, NULL);
        expect_stamps(p, 0, 3, 0);
        unmap(p, 16);
        check_engine(engine);
}

static void a_second_view(void)
{
        char *p = map(8, PROT_READ | PROT_WRITE, MAP_SHARED, 0), *q;

        q = remap(p, 0, 8, MREMAP_MAYMOVE, NULL);
        stamp_write(p + BYTES(4), 4, 3);
        expect_stamps(q + BYTES(4), 4, 1, 3);
        unmap(q, 8);
        unmap(p, 8);
}

/* Memory without a file. */
static void anonymous(void)
{
        char *p = fl_mmap(engine, NULL, BYTES(8), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

        require(p != MAP_FAILED, "%s", fl_strerror());
        p[BYTES(2)] = 5;
        p = remap(p, 8, 24, MREMAP_MAYMOVE, NULL);
        expect(p[BYTES(2)] == 5 && p[0] == 0 && p[BYTES(20)] == 0, "bytes %d, %d, %d", p[BYTES(2)],
               p[0], p[BYTES(20)]);
        p[BYTES(20)] = 6;
        p = remap(p, 24, 4, 0, NULL);
        check_engine(engine);
        p = remap(p, 4, 24, MREMAP_MAYMOVE, NULL);
        expect(p[BYTES(2)] == 5 && p[BYTES(20)] == 0, "bytes %d, %d", p[BYTES(2)], p[BYTES(20)]);
        unmap(p, 24);
}

/* --- at once: one moves a window to and fro, others store through another and write back --- */

static struct {
        char *shared, *room;
        _Atomic bool stop;
        _Atomic unsigned long moves;
        _Atomic uint64_t version[PAGES];
} race;

static void *mover(void *arg)
{
        char *at = race.room;

        (void)arg;
        while (!atomic_load(&race.stop)) {
                char *to = race.room + (at == race.room ? BYTES(PAGES) : 0);

                for (unsigned i = 0; i < PAGES; i++) {
                        uint64_t least = atomic_load(&race.version[i]);
                        uint64_t got = stamp_version(at + BYTES(i), i);

                        /* Another thread may be storing it just now. */
                        expect(got == UINT64_MAX || got >= least, "page %u: version %llu, of %llu",
                               i, (unsigned long long)got, (unsigned long long)least);
                }
                at = remap(at, PAGES, PAGES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
                atomic_fetch_add(&race.moves, 1);
        }
        unmap(at, PAGES);
        return NULL;
}

static void *storer(void *arg)
{
        unsigned me = (unsigned)(uintptr_t)arg;

        for (uint64_t version = 10; !atomic_load(&race.stop); version++)
                for (unsigned i = me; i < PAGES; i += 2) {
                        stamp_write(race.shared + BYTES(i), i, version);
                        atomic_store(&race.version[i], version);
                }
        return NULL;
}

static void *cleaner(void *arg)
{
        (void)arg;
        while (!atomic_load(&race.stop)) {
                expect(fl_msync(engine, race.shared, BYTES(PAGES), MS_SYNC) == 0, "%s",
                       fl_strerror());
                fl_evict(engine, race.shared, BYTES(PAGES));
        }
        return NULL;
}

static void at_once(void)
{
        static char bytes[PAGES * TEST_PAGE];
        pthread_t threads[4];

        race.shared = map(PAGES, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        race.room = map(2 * PAGES, PROT_READ, MAP_SHARED, 0);
        unmap(race.room + BYTES(PAGES), PAGES);
        pthread_create(&threads[0], NULL, mover, NULL);
        pthread_create(&threads[1], NULL, storer, (void *)0);
        pthread_create(&threads[2], NULL, storer, (void *)1);
        pthread_create(&threads[3], NULL, cleaner, NULL);
        while (test_left() > 0 && !test_failures())
                usleep(20000);
        atomic_store(&race.stop, true);
        for (unsigned i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        expect(atomic_load(&race.moves) > 0, "nothing was moved");
        printf("%lu moves\n", atomic_load(&race.moves));
        expect(fl_msync(engine, race.shared, BYTES(PAGES), MS_SYNC) == 0, "%s", fl_strerror());
        if (file_read(path, bytes, sizeof(bytes), 0))
                for (unsigned i = 0; i < PAGES; i++) {
                        const char *wrong =
                                stamp_wrong(bytes + BYTES(i), i, atomic_load(&race.version[i]));

                        expect(!wrong, "the file's page %u: %s", i, wrong);
                }
        unmap(race.shared, PAGES);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 2, 60, 60);
        path = test_stamped_file("remap", PAGES);
        engine = open_engine_with((struct fl_engine_config){ .cache = CACHE });
        file = open_file(engine, path, O_RDWR);
        test_at("shrinking and growing");
        shrinks_and_grows();
        test_at("moving");
        takes_all_along();
        test_at("a clean page");
        clean_stays_clean();
        test_at("MREMAP_DONTUNMAP");
        leaves_an_empty_one();
        test_at("a second view");
        a_second_view();
        test_at("anonymous memory");
        anonymous();
        test_at("at once");
        at_once();
        check_engine(engine);
        close_file(file);
        close_engine(engine);
        return test_end();
}
