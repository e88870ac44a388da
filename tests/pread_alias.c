/* SPDX-License-Identifier: Apache-2.0
 *
 * pread_alias.c - fl_pread and fl_pwrite whose buffer is a mapping of the same file, at the same
 * offset or next to it, from several threads, in the smallest budget there is: no deadlock, and
 * the right bytes.
 *
 * The file has two halves. Sources are never stored to; each thread owns slots of the other half,
 * and knows what its last call left in them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define SOURCES 512ul /* pages, version 0 for ever */
#define SLOTS 512ul   /* pages behind them, owned by threads in turn */
#define PAGES (SOURCES + SLOTS)
#define BUDGET 64
#define MAX_THREADS 64

struct worker {
        pthread_t thread;
        uint64_t seed;
        unsigned number, of;
        struct fl_file *file;
        char *shared, *private;
        uint64_t reads, writes, odd;
        uint64_t holds[SLOTS]; /* source page in the slot; UINT64_MAX: its own first stamp */
};

static uint64_t own_slot(struct worker *w)
{
        return random_below(&w->seed, SLOTS / w->of) * w->of + w->number;
}

static void expect_slot(struct worker *w, uint64_t slot, const char *p)
{
        uint64_t holds = w->holds[slot];
        uint64_t page = holds == UINT64_MAX ? SOURCES + slot : holds;
        const char *wrong = stamp_wrong(p, page, 0);

        expect(!wrong, "thread %u, slot %llu: %s", w->number, (unsigned long long)slot, wrong);
}

/* Read a source page into the slot through the mapping: the store dirties the file's own page. */
static void read_into_mapping(struct worker *w)
{
        uint64_t from = random_below(&w->seed, SOURCES), slot = own_slot(w);
        char *to = w->shared + (SOURCES + slot) * PAGE;
        ssize_t n = fl_pread(w->file, to, PAGE, (off_t)(from * PAGE));

        expect(n == (ssize_t)PAGE, "fl_pread: %zd, %s", n, fl_strerror());
        w->holds[slot] = from;
        expect_slot(w, slot, to);
        w->reads++;
}

/* Write a source page, as the mapping shows it, into the slot. */
static void write_from_mapping(struct worker *w)
{
        uint64_t from = random_below(&w->seed, SOURCES), slot = own_slot(w);
        ssize_t n =
                fl_pwrite(w->file, w->shared + from * PAGE, PAGE, (off_t)((SOURCES + slot) * PAGE));

        expect(n == (ssize_t)PAGE, "fl_pwrite: %zd, %s", n, fl_strerror());
        w->holds[slot] = from;
        expect_slot(w, slot, w->shared + (SOURCES + slot) * PAGE);
        w->writes++;
}

/* A page onto itself, both ways: nothing may change. Unaligned parts, too. */
static void onto_itself(struct worker *w)
{
        uint64_t slot = own_slot(w), page = SOURCES + slot;
        size_t skip = random_below(&w->seed, 2) * random_below(&w->seed, PAGE);
        char *p = w->shared + page * PAGE;
        ssize_t n;

        n = fl_pread(w->file, p + skip, PAGE - skip, (off_t)(page * PAGE + skip));
        expect(n == (ssize_t)(PAGE - skip), "fl_pread: %zd, %s", n, fl_strerror());
        n = fl_pwrite(w->file, p + skip, PAGE - skip, (off_t)(page * PAGE + skip));
        expect(n == (ssize_t)(PAGE - skip), "fl_pwrite: %zd, %s", n, fl_strerror());
        expect_slot(w, slot, p);
        w->odd++;
}

/* Several source pages over a private view, one page further on than they lie in the file. */
static void read_into_private(struct worker *w)
{
        uint64_t from = random_below(&w->seed, SOURCES - 4);
        char *to = w->private + w->number * 8 * PAGE;
        ssize_t n = fl_pread(w->file, to, 3 * PAGE, (off_t)(from * PAGE));

        expect(n == (ssize_t)(3 * PAGE), "fl_pread: %zd, %s", n, fl_strerror());
        for (uint64_t i = 0; i < 3; i++)
                expect(!stamp_wrong(to + i * PAGE, from + i, 0), "private: %s",
                       stamp_wrong(to + i * PAGE, from + i, 0));
        w->odd++;
}

static void *work(void *arg)
{
        struct worker *w = arg;

        while (test_left() > 0 && test_failures() == 0) {
                switch (random_below(&w->seed, 8)) {
                case 0:
                case 1:
                case 2:
                        test_at("fl_pread into the mapping");
                        read_into_mapping(w);
                        break;
                case 3:
                case 4:
                case 5:
                        test_at("fl_pwrite from the mapping");
                        write_from_mapping(w);
                        break;
                case 6:
                        test_at("a page onto itself");
                        onto_itself(w);
                        break;
                default:
                        /* The private views of few threads fit into the budget. */
                        if (w->number < 4) {
                                test_at("fl_pread into a private mapping");
                                read_into_private(w);
                        }
                }
        }
        test_at("done");
        return NULL;
}

int main(int argc, char **argv)
{
        static struct worker w[MAX_THREADS];
        uint64_t reads = 0, writes = 0, odd = 0;
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;
        char *shared, *private;
        char buf[PAGE];

        test_begin(argc, argv, 4, 30, 60);
        if (!test.threads || test.threads > MAX_THREADS)
                test.threads = 8;
        path = test_stamped_file("alias", PAGES);
        e = open_engine(BUDGET * PAGE);
        f = open_file(e, path, O_RDWR);
        shared = map_file(e, f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        private = map_file(e, f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        for (unsigned i = 0; i < test.threads; i++) {
                w[i] = (struct worker){ .seed = test.seed + i,
                                        .number = i,
                                        .of = test.threads,
                                        .file = f,
                                        .shared = shared,
                                        .private = private };
                memset(w[i].holds, 0xff, sizeof(w[i].holds));
                require(!pthread_create(&w[i].thread, NULL, work, &w[i]), "pthread_create");
        }
        for (unsigned i = 0; i < test.threads; i++) {
                pthread_join(w[i].thread, NULL);
                reads += w[i].reads;
                writes += w[i].writes;
                odd += w[i].odd;
        }
        printf("%llu reads, %llu writes, %llu others\n", (unsigned long long)reads,
               (unsigned long long)writes, (unsigned long long)odd);
        expect(reads > 0 && writes > 0, "nothing was done");
        expect(get_stats(e).cache_bytes_peak <= BUDGET * PAGE, "more than the budget was held");
        check_engine(e);
        expect(fl_munmap(e, shared, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(e, private, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        for (uint64_t i = 0; i < PAGES && file_read(path, buf, PAGE, i * PAGE); i++) {
                if (i < SOURCES)
                        expect(!stamp_wrong(buf, i, 0), "in the file: %s", stamp_wrong(buf, i, 0));
                else
                        expect_slot(&w[(i - SOURCES) % test.threads], i - SOURCES, buf);
        }
        return test_end();
}
