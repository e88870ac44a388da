/* SPDX-License-Identifier: Apache-2.0
 *
 * churn.c - see churn.h.
 */
#include "churn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE TEST_PAGE

void churn_lock(struct churn *c, uint64_t page)
{
        pthread_mutex_lock(&c->page[page].lock);
}

void churn_unlock(struct churn *c, uint64_t page)
{
        pthread_mutex_unlock(&c->page[page].lock);
}

void churn_look(struct churn *c, uint64_t page, const char *p, const char *where)
{
        const char *wrong = stamp_wrong(p, page, c->page[page].version);

        expect(!wrong, "%s: %s", where, wrong);
}

void churn_store_at(struct churn *c, uint64_t page, char *p)
{
        stamp_write(p, page, ++c->page[page].version);
}

uint64_t churn_range(struct churn *c, uint64_t *seed, uint64_t max, uint64_t *nr)
{
        uint64_t first = random_below(seed, c->cfg->pages), left = c->cfg->pages - first;

        *nr = 1 + random_below(seed, max < left ? max : left);
        return first;
}

/* --- ops --- */

/* Half of the accesses fall on a sixteenth of the file, so that pages are met in every state. */
static uint64_t some_page(struct churn *c, uint64_t *seed)
{
        bool hot = random_below(seed, 2);

        return random_below(seed, hot ? c->cfg->pages / 16 : c->cfg->pages);
}

void churn_read(struct churn *c, uint64_t *seed)
{
        uint64_t page = some_page(c, seed);

        churn_lock(c, page);
        churn_look(c, page, c->view + page * PAGE, "read");
        churn_unlock(c, page);
}

void churn_store(struct churn *c, uint64_t *seed)
{
        uint64_t page = some_page(c, seed);
        char *p = c->view + page * PAGE;

        churn_lock(c, page);
        if (random_below(seed, 2))
                churn_look(c, page, p, "before a store");
        churn_store_at(c, page, p);
        churn_look(c, page, p, "after a store");
        churn_unlock(c, page);
}

void churn_scan(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 64, &nr);

        for (uint64_t i = first; i < first + nr; i++) {
                churn_lock(c, i);
                churn_look(c, i, c->view + i * PAGE, "scan");
                churn_unlock(c, i);
        }
}

void churn_msync(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 32, &nr);

        expect(fl_msync(c->engine, c->view + first * PAGE, nr * PAGE,
                        random_below(seed, 4) ? MS_SYNC : MS_ASYNC) == 0,
               "msync: %s", fl_strerror());
}

/* After msync the bytes are on the disk, for every program to see. */
void churn_msync_and_look(struct churn *c, uint64_t *seed)
{
        _Alignas(4096) char buf[PAGE];
        uint64_t page = some_page(c, seed);

        if (c->direct < 0)
                return;
        churn_lock(c, page);
        churn_store_at(c, page, c->view + page * PAGE);
        expect(fl_msync(c->engine, c->view + page * PAGE, PAGE, MS_SYNC) == 0, "msync: %s",
               fl_strerror());
        if (pread(c->direct, buf, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE)
                churn_look(c, page, buf, "on the disk after msync");
        else
                expect(false, "%s: %s", c->path, strerror(errno));
        churn_unlock(c, page);
}

void churn_pread(struct churn *c, uint64_t *seed)
{
        uint64_t page = some_page(c, seed);
        char buf[PAGE];

        churn_lock(c, page);
        if (fl_pread(c->file, buf, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE)
                churn_look(c, page, buf, "fl_pread");
        else
                expect(false, "fl_pread: %s", fl_strerror());
        churn_unlock(c, page);
}

void churn_pwrite(struct churn *c, uint64_t *seed)
{
        uint64_t page = some_page(c, seed);
        size_t half = random_below(seed, 2) ? PAGE : PAGE / 2;
        char buf[PAGE];

        churn_lock(c, page);
        memcpy(buf, c->view + page * PAGE, PAGE);
        churn_store_at(c, page, buf);
        for (size_t at = 0; at < PAGE; at += half)
                expect(fl_pwrite(c->again, buf + at, half, (off_t)(page * PAGE + at)) ==
                               (ssize_t)half,
                       "fl_pwrite: %s", fl_strerror());
        churn_look(c, page, c->view + page * PAGE, "after fl_pwrite");
        churn_unlock(c, page);
}

void churn_dontneed(struct churn *c, uint64_t *seed)
{
        uint64_t nr, first = churn_range(c, seed, 64, &nr);

        expect(fl_madvise(c->engine, c->view + first * PAGE, nr * PAGE, MADV_DONTNEED) == 0,
               "MADV_DONTNEED: %s", fl_strerror());
}

/* --- the run --- */

static const struct churn_op *pick(struct churn *c, uint64_t *seed)
{
        uint64_t at = random_below(seed, c->total_weight);
        const struct churn_op *op = c->cfg->ops;

        for (; at >= op->weight; op++)
                at -= op->weight;
        return op;
}

struct worker {
        pthread_t thread;
        struct churn *churn;
        uint64_t seed;
};

static void *work(void *arg)
{
        struct worker *w = arg;
        struct churn *c = w->churn;

        for (;;) {
                const struct churn_op *op;

                if (atomic_load(&c->pause)) {
                        test_at("quiet");
                        pthread_barrier_wait(&c->barrier);
                        pthread_barrier_wait(&c->barrier);
                        if (atomic_load(&c->stop))
                                return NULL;
                        continue;
                }
                op = pick(c, &w->seed);
                test_at(op->name);
                op->run(c, &w->seed);
                atomic_fetch_add(&c->done[op - c->cfg->ops], 1);
        }
}

static void open_all(struct churn *c)
{
        const struct churn_config *cfg = c->cfg;

        if (!test.uri)
                c->path = test_stamped_file("file", cfg->pages);
        c->engine = open_engine(cfg->cache);
        c->file = open_file(c->engine, test.uri ? test.uri : c->path, O_RDWR);
        /* Each open of ram: is another disk. */
        c->again = test.uri ? c->file : open_file(c->engine, c->path, O_RDWR);
        c->view = map_file(c->engine, c->file, cfg->pages * PAGE, PROT_READ | PROT_WRITE,
                           MAP_SHARED, 0);
        c->direct = c->path ? open(c->path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
        for (uint64_t i = 0; i < cfg->pages; i++) {
                pthread_mutex_init(&c->page[i].lock, NULL);
                if (test.uri)
                        stamp_write(c->view + i * PAGE, i, 0);
        }
}

static void expect_all(struct churn *c, const char *where)
{
        for (uint64_t i = 0; i < c->cfg->pages; i++)
                churn_look(c, i, c->view + i * PAGE, where);
}

static void close_all(struct churn *c)
{
        char buf[PAGE];

        expect_all(c, "at the end");
        if (!c->path) { /* it goes with its last handle: look below the mapping at least */
                expect(fl_fsync(c->file) == 0, "%s", fl_strerror());
                for (uint64_t i = 0; i < c->cfg->pages; i++)
                        if (fl_pread(c->file, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE)
                                churn_look(c, i, buf, "fl_pread at the end");
        }
        expect(get_stats(c->engine).cache_bytes_peak <= c->cfg->cache, "over the budget");
        expect(fl_munmap(c->engine, c->view, c->cfg->pages * PAGE) == 0, "%s", fl_strerror());
        if (c->again != c->file)
                close_file(c->again);
        close_file(c->file);
        expect_eq(get_stats(c->engine).cache_bytes, 0, "after the last close");
        close_engine(c->engine);
        if (c->direct >= 0)
                close(c->direct);
        for (uint64_t i = 0; c->path && i < c->cfg->pages; i++)
                if (file_read(c->path, buf, PAGE, i * PAGE))
                        churn_look(c, i, buf, "in the file");
}

static bool all_have_run(const struct churn *c)
{
        unsigned i = 0;

        for (const struct churn_op *op = c->cfg->ops; op->name; op++)
                if (!c->done[i++])
                        return false;
        return true;
}

/* All threads stand still: look at everything. On a slow machine it takes longer than was asked for until
 * each operation has had its turn. */
static void quiet_point(struct churn *c, unsigned number)
{
        atomic_store(&c->pause, true);
        pthread_barrier_wait(&c->barrier);
        test_at("at a quiet point");
        check_engine(c->engine);
        if (number % 4 == 3)
                expect_all(c, "at a quiet point");
        if (c->cfg->at_quiet)
                c->cfg->at_quiet(c);
        if ((test_left() <= 0 && all_have_run(c)) || test_failures())
                atomic_store(&c->stop, true);
        atomic_store(&c->pause, false);
        pthread_barrier_wait(&c->barrier);
}

static void report(struct churn *c)
{
        struct fl_stats s = get_stats(c->engine);
        unsigned i = 0;

        for (const struct churn_op *op = c->cfg->ops; op->name; op++, i++) {
                printf("%s%s %llu", i ? ", " : "", op->name, (unsigned long long)c->done[i]);
                expect(c->done[i] > 0, "%s was never run", op->name);
        }
        printf("\n%llu major, %llu minor, %llu write faults, %llu copies, %llu evicted, "
               "%llu written\n",
               (unsigned long long)s.faults_major, (unsigned long long)s.faults_minor,
               (unsigned long long)s.faults_write, (unsigned long long)s.cow_copies,
               (unsigned long long)s.evicted_pages, (unsigned long long)s.writeback_pages);
}

void churn_run(const struct churn_config *cfg)
{
        struct churn c = { .cfg = cfg };
        struct worker *w = calloc(cfg->threads, sizeof(*w));
        unsigned nr_ops = 0;

        for (const struct churn_op *op = cfg->ops; op->name; op++, nr_ops++)
                c.total_weight += op->weight;
        c.page = calloc(cfg->pages, sizeof(*c.page));
        c.done = calloc(nr_ops, sizeof(*c.done));
        require(w && c.page && c.done, "no memory");
        pthread_barrier_init(&c.barrier, NULL, cfg->threads + 1);
        open_all(&c);
        for (unsigned i = 0; i < cfg->threads; i++) {
                w[i] = (struct worker){ .churn = &c, .seed = test.seed + i };
                require(!pthread_create(&w[i].thread, NULL, work, &w[i]), "pthread_create");
        }
        for (unsigned n = 0; !atomic_load(&c.stop); n++) {
                double end = test_left() - cfg->quiet;

                test_at("running");
                while (test_left() > 0 && test_left() > end && !test_failures())
                        usleep(20000);
                quiet_point(&c, n);
        }
        for (unsigned i = 0; i < cfg->threads; i++)
                pthread_join(w[i].thread, NULL);
        test_at("closing");
        report(&c);
        close_all(&c);
        pthread_barrier_destroy(&c.barrier);
        free(c.page);
        free(c.done);
        free(w);
}
