/* SPDX-License-Identifier: Apache-2.0
 *
 * stress.c - 16 threads on overlapping ranges of one file, sixteen times the cache: reads, stores,
 * msync, advice, MAP_FIXED over parts, views that come and go, shared and private. No page may be
 * lost, no view may show an old one, and nothing may hang.
 *
 * Also with --uri ram:16M, and with --faults delay=TIME.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "churn.h"

#define PAGE TEST_PAGE
#define PAGES 4096ul
#define CACHE (PAGES * PAGE / 16)

static void advice(struct churn *c, uint64_t *seed)
{
        static const int kinds[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED };
        uint64_t nr, first = churn_range(c, seed, 256, &nr);

        expect(fl_madvise(c->engine, c->view + first * PAGE, nr * PAGE,
                          kinds[random_below(seed, 4)]) == 0,
               "madvise: %s", fl_strerror());
}

/* The same pages of the same file again, through either open, under everybody's feet. */
static void map_fixed(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 32, &nr);
        char *at = c->view + first * PAGE;
        void *p = fl_mmap(c->engine, at, nr * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                          random_below(seed, 2) ? c->file : c->again, (off_t)(first * PAGE));

        expect(p == at, "MAP_FIXED: %p, %s", p, fl_strerror());
}

/* A second view of some pages: used, protected, taken away in two pieces. */
static void shared_view(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 48, &nr), cut;
        char *p = fl_mmap(c->engine, NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, c->again,
                          (off_t)(first * PAGE));

        require(p != MAP_FAILED, "mmap: %s", fl_strerror());
        for (int i = 0; i < 8; i++) {
                uint64_t page = first + random_below(seed, nr);
                char *at = p + (page - first) * PAGE;

                churn_lock(c, page);
                churn_look(c, page, at, "a second view");
                if (random_below(seed, 2)) {
                        churn_store_at(c, page, at);
                        churn_look(c, page, c->view + page * PAGE, "stored through a second view");
                }
                churn_unlock(c, page);
        }
        expect(fl_mprotect(c->engine, p, (nr + 1) / 2 * PAGE, PROT_READ) == 0, "mprotect: %s",
               fl_strerror());
        churn_lock(c, first);
        churn_store_at(c, first, c->view + first * PAGE);
        churn_look(c, first, p, "a second view, read-only");
        churn_unlock(c, first);
        cut = random_below(seed, nr);
        if (cut)
                expect(fl_munmap(c->engine, p, cut * PAGE) == 0, "munmap: %s", fl_strerror());
        expect(fl_munmap(c->engine, p + cut * PAGE, (nr - cut) * PAGE) == 0, "munmap: %s",
               fl_strerror());
}

/* Private copies stay out of the shared view, and come from what it shows. */
static void private_view(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 4, &nr);
        char *p;

        if (c->cfg->cache < c->cfg->threads * 8 * PAGE)
                return; /* so many copies may not fit */
        p = fl_mmap(c->engine, NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, c->file,
                    (off_t)(first * PAGE));
        require(p != MAP_FAILED, "mmap: %s", fl_strerror());
        for (uint64_t i = 0; i < nr; i++) {
                uint64_t page = first + i, mine;
                char *at = p + i * PAGE;

                churn_lock(c, page);
                if (random_below(seed, 2))
                        churn_look(c, page, at, "a private view");
                at[3000] = 1; /* between the stamps: the copy is to have the rest from the page */
                churn_look(c, page, at, "a private copy");
                mine = c->page[page].version;
                churn_store_at(c, page, c->view + page * PAGE);
                expect(!stamp_wrong(at, page, mine), "a private copy, after a shared store: %s",
                       stamp_wrong(at, page, mine));
                churn_unlock(c, page);
        }
        for (uint64_t i = 0; i < nr; i++)
                expect(p[i * PAGE + 3000] == 1, "a private store is gone");
        expect(fl_munmap(c->engine, p, nr * PAGE) == 0, "munmap: %s", fl_strerror());
}

static void mincore_all(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 256, &nr);
        unsigned char vec[256];

        expect(fl_mincore(c->engine, c->view + first * PAGE, nr * PAGE, vec) == 0, "mincore: %s",
               fl_strerror());
}

static const struct churn_op ops[] = {
        CHURN_MOSTLY,
        { "fl_pread", 20, churn_pread },
        { "fl_pwrite", 20, churn_pwrite },
        { "DONTNEED", 10, churn_dontneed },
        { "advice", 4, advice },
        { "MAP_FIXED", 6, map_fixed },
        { "shared view", 10, shared_view },
        { "private view", 10, private_view },
        { "mincore", 4, mincore_all },
        { NULL, 0, NULL },
};

int main(int argc, char **argv)
{
        struct churn_config cfg = {
                .pages = PAGES,
                .cache = CACHE,
                .ops = ops,
                .quiet = 0.7,
        };

        test_begin(argc, argv, 6, 60, 60);
        cfg.threads = test.threads ? test.threads : 16;
        cfg.cache = test.cache ? test.cache : CACHE;
        churn_run(&cfg);
        return test_end();
}
