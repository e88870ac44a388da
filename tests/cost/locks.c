/* SPDX-License-Identifier: Apache-2.0
 *
 * locks.c - what the locks on the fault path cost eight threads: how often a fault takes each, how long it
 * is held and waited for. Of a debug build, which counts them; a release build has nothing to tell.
 *
 *   locks [URI [MIB [TOUCHES [MMU...]]]]  ram:16M, a cache of 2 MiB, 4,000; every MMU that works
 *
 * Three workloads, each in a process of its own: loads from random pages of a file larger than the cache;
 * loads of pages that are cached and not shown; stores to random pages (which add nothing to what is
 * there). Only what happens after the cache is full is counted. As a test: no fault takes mm->lock for
 * writing or waits for it, and every lock has a class.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <faultline/faultline.h>

#include "util/base.h"
#include "util/lockdep.h"

#define THREADS 8
#define ROWS (LOCK_CLASSES_NR * LOCK_MODES)

struct load {
        const char *name;
        bool write, cached;
};

static const struct load loads[] = {
        { "random loads", false, false },
        { "loads of what is cached", false, true },
        { "random stores", true, false },
};

struct run {
        const struct load *load;
        struct fl_engine *engine;
        char *memory;
        uint64_t pages; /* that are touched */
        uint64_t each;  /* touches of a thread */
        _Atomic unsigned ready;
};

static void die(const char *what)
{
        fprintf(stderr, "locks: %s: %s\n", what, fl_strerror());
        exit(1);
}

static uint64_t mix(uint64_t x)
{
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

static void *touch(void *arg)
{
        struct run *r = arg;
        uint64_t seed = (uint64_t)atomic_fetch_add(&r->ready, 1) << 32;

        for (uint64_t i = 0; i < r->each; i++) {
                char *page = r->memory + mix(seed + i) % r->pages * PAGE_SIZE;

                if (r->load->write)
                        atomic_fetch_add((_Atomic uint64_t *)(void *)page, 0);
                else
                        (void)*(volatile uint64_t *)page;
        }
        return NULL;
}

static void touch_by_all(struct run *r)
{
        pthread_t thread[THREADS];

        for (unsigned i = 0; i < THREADS; i++)
                if (pthread_create(&thread[i], NULL, touch, r))
                        die("thread");
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(thread[i], NULL);
}

static void print_row(const struct lock_stat *s, double faults)
{
        printf("| %s%s | %.2f | %.2f | %.1f | %.0f | %.3f | %.1f | %.0f |\n", s->name,
               s->read ? ", read" : "", (double)s->taken / faults,
               100.0 * (double)s->waited / (double)s->taken,
               s->waited ? (double)s->wait_ns / (double)s->waited / 1e3 : 0,
               (double)s->wait_max / 1e3, (double)s->hold_ns / (double)s->taken / 1e3,
               (double)s->hold_ns / faults / 1e3, (double)s->hold_max / 1e3);
}

static int check_row(const struct lock_stat *s, double faults)
{
        const char *wrong = NULL;

        if (strstr(s->name, "without a class"))
                wrong = "is taken";
        else if (!strcmp(s->name, "mm.lock") && !s->read)
                wrong = "is taken for writing";
        else if (!strcmp(s->name, "mm.lock") && s->waited)
                wrong = "is waited for by a fault";
        if (wrong)
                fprintf(stderr, "locks: %s %s: %.2f a fault\n", s->name, wrong,
                        (double)s->taken / faults);
        return wrong != NULL;
}

static int by_taken(const void *a, const void *b)
{
        const struct lock_stat *x = a, *y = b;

        return x->taken < y->taken ? 1 : -(x->taken > y->taken);
}

/* Locks that one fault in five takes, or more. */
static int tell(const struct run *r, const char *mmu, double faults, double ns)
{
        struct lock_stat rows[ROWS];
        unsigned n = lock_stats(rows, ROWS);
        int wrong = 0;

        printf("\n%s, %u threads, MMU %s: %.0f faults, %.1f us of time each\n\n"
               "| lock | taken a fault | waited for, %% | wait, mean us | longest | held, mean us "
               "| "
               "held a fault, us | longest |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
               r->load->name, THREADS, mmu, faults, ns / faults / 1e3);
        qsort(rows, n, sizeof(*rows), by_taken);
        for (unsigned i = 0; i < n; i++) {
                wrong |= check_row(&rows[i], faults);
                if ((double)rows[i].taken >= faults / 5)
                        print_row(&rows[i], faults);
        }
        return wrong;
}

static uint64_t faults_of(struct fl_engine *e)
{
        struct fl_stats stats = { .size = sizeof(stats) };

        fl_stats(e, &stats);
        return stats.faults_major + stats.faults_minor;
}

static int measure(const struct load *load, const char *uri, uint64_t cache, uint64_t faults,
                   const char *mmu)
{
        struct run r = { .load = load, .each = faults / THREADS };
        struct fl_engine_config config = { .size = sizeof(config), .cache = cache, .mmu = mmu };
        struct fl_file *file;
        struct stat st;
        uint64_t before, started, bytes;
        int wrong;

        r.engine = fl_engine_open(&config);
        file = r.engine ? fl_file_open(r.engine, uri, load->write ? O_RDWR : O_RDONLY, NULL) : NULL;
        if (!file || fl_fstat(file, &st))
                die(uri);
        bytes = (uint64_t)st.st_size / PAGE_SIZE * PAGE_SIZE;
        r.memory = fl_mmap(r.engine, NULL, bytes, PROT_READ | (load->write ? PROT_WRITE : 0),
                           MAP_SHARED, file, 0);
        if (r.memory == MAP_FAILED || fl_madvise(r.engine, r.memory, bytes, MADV_RANDOM))
                die("map");
        r.pages = (load->cached ? min_u64(cache / 2, bytes) : bytes) / PAGE_SIZE;
        for (uint64_t i = 0; i < min_u64(load->cached ? cache / 2 : cache, bytes) / PAGE_SIZE; i++)
                (void)*(volatile uint64_t *)(r.memory + i * PAGE_SIZE);
        if (load->cached && fl_madvise(r.engine, r.memory, bytes, MADV_DONTNEED))
                die("unmap");
        before = faults_of(r.engine);
        lock_stats_start();
        started = now_ns();
        touch_by_all(&r);
        wrong = tell(&r, mmu, (double)(faults_of(r.engine) - before), (double)(now_ns() - started));
        fl_munmap(r.engine, r.memory, bytes);
        fl_file_close(file);
        fl_engine_close(r.engine);
        return wrong;
}

static bool works(const char *mmu)
{
        struct fl_engine_config config = {
                .size = sizeof(config), .cache = 1 << 20, .mmu = mmu, .flags = FL_ENGINE_QUIET
        };
        struct fl_engine *e = fl_engine_open(&config);

        return e && !fl_engine_close(e);
}

int main(int argc, char **argv)
{
        const char *const all[] = { "sigbus", "uffd", NULL };
        const char *uri = argc > 1 ? argv[1] : "ram:16M";
        uint64_t cache = argc > 2 ? strtoull(argv[2], NULL, 0) << 20 : 2 << 20;
        uint64_t faults = argc > 3 ? strtoull(argv[3], NULL, 0) : 4000;
        bool wrong = false;

#ifdef NDEBUG
        fprintf(stderr, "locks: a release build counts no locks\n");
        return 77;
#endif
        for (const char *const *mmu = argc > 4 ? (const char *const *)argv + 4 : all; *mmu; mmu++) {
                for (unsigned i = 0; works(*mmu) && i < sizeof(loads) / sizeof(*loads); i++) {
                        int status = 1;
                        pid_t child;

                        fflush(stdout);
                        child = fork();
                        if (!child)
                                exit(measure(&loads[i], uri, cache, faults, *mmu));
                        if (child < 0 || waitpid(child, &status, 0) < 0 || status)
                                wrong = true;
                }
        }
        return wrong;
}
