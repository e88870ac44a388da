/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_worker.c - one measurement, in a process of its own.
 *
 * Both sides run the same code on a plain pointer; they differ only in who made the mapping. The
 * file is dropped from the host's page cache first. A random row first reads one cache size in
 * order, so that from the start a miss also has to evict; that is not measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "guard.h"

struct work {
        const struct bench_job *job;
        const char *memory;
        uint64_t size;
        _Atomic bool stop;
};

struct load_thread {
        pthread_t thread;
        struct work *work;
        uint64_t seed;
        volatile uint64_t done, errors;
};

static uint64_t next_random(uint64_t *state)
{
        uint64_t x = *state += 0x9e3779b97f4a7c15u;

        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

static void *load_at_random(void *arg)
{
        struct load_thread *t = arg;
        struct work *work = t->work;
        uint64_t pages = work->size / CLI_PAGE;
        volatile uint64_t state = t->seed;
        struct guard guard;

        guard_enter(&guard, work->memory, work->size);
        if (sigsetjmp(guard.env, 0))
                t->errors = t->errors + 1;
        while (!atomic_load_explicit(&work->stop, memory_order_relaxed)) {
                uint64_t at = state, page;

                page = (uint64_t)((unsigned __int128)next_random(&at) * pages >> 64);
                state = at;
                (void)*(const volatile uint64_t *)(work->memory + page * CLI_PAGE);
                t->done = t->done + 1;
        }
        guard_leave();
        return NULL;
}

static uint64_t sum_bytes(const char *memory, uint64_t size)
{
        const uint64_t *word = (const uint64_t *)memory;
        uint64_t sum = 0;

        for (uint64_t i = 0; i < size / sizeof(*word); i++)
                sum += word[i];
        return sum;
}

static void keep(uint64_t sum)
{
        __asm__ volatile("" : : "r"(sum));
}

/* False: a page could not be read. */
static bool sum_guarded(const char *memory, uint64_t size)
{
        struct guard guard;

        guard_enter(&guard, memory, size);
        if (sigsetjmp(guard.env, 0)) {
                guard_leave();
                return false;
        }
        keep(sum_bytes(memory, size));
        guard_leave();
        return true;
}

static int measure_random(struct work *work, struct bench_result *result)
{
        unsigned threads = work->job->row->threads, running = 0;
        struct load_thread *thread = calloc(threads, sizeof(*thread));
        struct timespec time = { .tv_sec = (time_t)work->job->seconds };
        uint64_t started;
        int error = 0;

        if (!thread)
                return ENOMEM;
        time.tv_nsec = (long)((work->job->seconds - (double)time.tv_sec) * 1e9);
        started = clock_ns();
        for (; running < threads; running++) {
                thread[running].work = work;
                thread[running].seed = work->job->seed * 1000003 + running;
                error = pthread_create(&thread[running].thread, NULL, load_at_random,
                                       &thread[running]);
                if (error)
                        break;
        }
        if (!error)
                nanosleep(&time, NULL);
        for (unsigned i = 0; i < running; i++) /* what counts is what was done by now */
                result->units += thread[i].done;
        result->ns = clock_ns() - started;
        atomic_store(&work->stop, true);
        for (unsigned i = 0; i < running; i++) {
                pthread_join(thread[i].thread, NULL);
                result->errors += thread[i].errors;
        }
        free(thread);
        return error;
}

static int measure_seq(struct work *work, struct bench_result *result)
{
        uint64_t started = clock_ns();

        if (sum_guarded(work->memory, work->size))
                result->units = work->size;
        else
                result->errors = 1;
        result->ns = clock_ns() - started;
        return 0;
}

/* The fastest pass: what slows down the others is not the mapping. */
static int measure_mapped(struct work *work, struct bench_result *result)
{
        uint64_t until = clock_ns() + (uint64_t)(work->job->seconds * 1e9), now;

        if (!sum_guarded(work->memory, work->size)) { /* maps all of it */
                result->errors = 1;
                return 0;
        }
        result->units = work->size;
        result->ns = UINT64_MAX;
        now = clock_ns();
        do {
                uint64_t started = now;

                keep(sum_bytes(work->memory, work->size));
                now = clock_ns();
                if (now - started < result->ns)
                        result->ns = now - started;
        } while (now < until);
        return 0;
}

static int measure(struct work *work, struct bench_result *result)
{
        switch (work->job->row->kind) {
        case BENCH_RANDOM:
                return measure_random(work, result);
        case BENCH_SEQ:
                return measure_seq(work, result);
        case BENCH_MAPPED:
                return measure_mapped(work, result);
        }
        return EINVAL;
}

/* Drops the file from the host's cache; how many pages stayed. */
static uint64_t make_cold(const char *path)
{
        enum { WINDOW = 4096 };
        unsigned char resident[WINDOW];
        uint64_t warm = 0;
        struct stat st;
        char *mapping;
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &st)) {
                if (fd >= 0)
                        close(fd);
                return 0;
        }
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        mapping = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (mapping == MAP_FAILED)
                return 0;
        for (uint64_t at = 0; at < (uint64_t)st.st_size; at += WINDOW * CLI_PAGE) {
                uint64_t n = (uint64_t)st.st_size - at;

                if (n > WINDOW * CLI_PAGE)
                        n = WINDOW * CLI_PAGE;
                if (mincore(mapping + at, n, resident))
                        break;
                for (uint64_t i = 0; i < (n + CLI_PAGE - 1) / CLI_PAGE; i++)
                        warm += resident[i] & 1;
        }
        munmap(mapping, (size_t)st.st_size);
        return warm;
}

/* How much of the file a row maps. */
static uint64_t span_of(const struct bench_job *job, uint64_t size)
{
        uint64_t half = job->cache / 2 / CLI_PAGE * CLI_PAGE;

        return job->row->kind == BENCH_MAPPED && half < size ? half : size;
}

static int warm_up(struct work *work)
{
        uint64_t n = work->job->cache < work->size ? work->job->cache : work->size;

        if (work->job->row->kind == BENCH_RANDOM && !sum_guarded(work->memory, n))
                return EIO;
        return 0;
}

static int work_faultline(const struct options *o, const struct bench_job *job,
                          struct bench_result *result)
{
        struct options engine = *o;
        struct fl_stats stats = { .size = sizeof(stats) };
        struct work work = { .job = job };
        struct session s;
        char *mapping;
        int status, error;

        engine.cache = job->cache;
        status = session_open(&s, &engine, job->path, O_RDONLY, NULL);
        if (status)
                return session_close(&s, status);
        work.size = span_of(job, s.size);
        mapping = fl_mmap(s.engine, NULL, work.size, PROT_READ, MAP_SHARED, s.file, 0);
        if (mapping == MAP_FAILED)
                return session_close(&s, fail_library());
        work.memory = mapping;
        if (fl_madvise(s.engine, mapping, work.size, job->row->advice))
                status = fail_library();
        error = status ? 0 : warm_up(&work);
        if (!status && !error)
                error = measure(&work, result);
        if (error)
                status = fail(job->path, job->row->name, "%s", strerror(error));
        if (!fl_stats(s.engine, &stats))
                result->cache_peak = stats.cache_bytes_peak;
        fl_munmap(s.engine, mapping, work.size);
        return session_close(&s, status);
}

/* Plain memory of the same size with the same bytes: what can be hoped for when all is mapped. */
static char *plain_memory(const struct bench_job *job, uint64_t *size)
{
        struct stat st;
        char *memory = NULL;
        int fd = open(job->path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0 && !fstat(fd, &st)) {
                *size = span_of(job, (uint64_t)st.st_size);
                memory = aligned_alloc(CLI_PAGE, *size);
        }
        for (uint64_t at = 0; memory && at < *size;) {
                ssize_t got = pread(fd, memory + at, *size - at, (off_t)at);

                if (got <= 0) {
                        free(memory);
                        memory = NULL;
                        break;
                }
                at += (uint64_t)got;
        }
        if (fd >= 0)
                close(fd);
        return memory;
}

static int work_plain(const struct bench_job *job, struct bench_result *result)
{
        struct work work = { .job = job };
        char *memory = plain_memory(job, &work.size);
        int error;

        if (!memory)
                return fail(job->path, "read into memory", "%s", strerror(errno ? errno : EIO));
        work.memory = memory;
        error = measure(&work, result);
        free(memory);
        return error ? fail(job->path, job->row->name, "%s", strerror(error)) : 0;
}

static int work_kernel(const struct bench_job *job, struct bench_result *result)
{
        struct work work = { .job = job };
        struct stat st;
        char *mapping;
        int fd = open(job->path, O_RDONLY | O_CLOEXEC), error;

        if (fd < 0 || fstat(fd, &st))
                return fail(job->path, "open", "%s", strerror(errno));
        work.size = span_of(job, (uint64_t)st.st_size);
        mapping = mmap(NULL, work.size, PROT_READ, MAP_SHARED, fd, 0);
        if (mapping == MAP_FAILED)
                return fail(job->path, "mmap", "%s", strerror(errno));
        work.memory = mapping;
        if (madvise(mapping, work.size, job->row->advice))
                return fail(job->path, "madvise", "%s", strerror(errno));
        error = guard_install();
        error = error ? -error : warm_up(&work);
        if (!error)
                error = measure(&work, result);
        munmap(mapping, work.size);
        close(fd);
        return error ? fail(job->path, job->row->name, "%s", strerror(error)) : 0;
}

int bench_work(const struct options *o, const struct bench_job *job)
{
        struct bench_result result = { .warm_pages = make_cold(job->path) };
        int status;

        if (job->side == SIDE_FAULTLINE)
                status = work_faultline(o, job, &result);
        else if (job->row->kind == BENCH_MAPPED)
                status = work_plain(job, &result);
        else
                status = work_kernel(job, &result);
        if (status)
                return status;
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", result.units,
               result.ns, result.errors, result.warm_pages, result.cache_peak);
        return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
