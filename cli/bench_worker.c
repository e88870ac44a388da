/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_worker.c - one measurement, in a process of its own.
 *
 * The file is dropped from the host's page cache first, what the workload's setup does is not
 * measured. CPU time is that of all threads of this process, the engine's own among them, less
 * that of the thread that --busy adds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

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
        for (uint64_t at = 0; at < (uint64_t)st.st_size; at += WINDOW * PAGE_SIZE) {
                uint64_t n = (uint64_t)st.st_size - at;

                if (n > WINDOW * PAGE_SIZE)
                        n = WINDOW * PAGE_SIZE;
                if (mincore(mapping + at, n, resident))
                        break;
                for (uint64_t i = 0; i < (n + PAGE_SIZE - 1) / PAGE_SIZE; i++)
                        warm += resident[i] & 1;
        }
        munmap(mapping, (size_t)st.st_size);
        return warm;
}

/* ---- CPU time, and the thread beside ---- */

struct busy {
        pthread_t thread;
        bool running;
        _Atomic bool stop;
        uint64_t cpu_ns;
};

static uint64_t timespec_ns(struct timespec t)
{
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Works in memory of its own: its core holds translations of this process, no more. */
static void *be_busy(void *arg)
{
        struct busy *busy = arg;
        volatile uint64_t word[512] = { 0 };
        struct timespec used;

        for (uint64_t i = 0; !atomic_load_explicit(&busy->stop, memory_order_relaxed); i++)
                word[i % 512] = word[i % 512] + i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        busy->cpu_ns = timespec_ns(used);
        return NULL;
}

static int busy_start(struct busy *busy, bool wanted)
{
        int error = wanted ? pthread_create(&busy->thread, NULL, be_busy, busy) : 0;

        busy->running = wanted && !error;
        return error;
}

static void busy_end(struct busy *busy)
{
        if (!busy->running)
                return;
        atomic_store(&busy->stop, true);
        pthread_join(busy->thread, NULL);
        busy->running = false;
}

static uint64_t cpu_now(void)
{
        struct rusage used;

        if (getrusage(RUSAGE_SELF, &used))
                return 0;
        return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000u +
               (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000u;
}

/* ---- the measurement ---- */

/* How much of the file is used. */
static uint64_t pages_used(const struct bench_job *job, uint64_t size)
{
        uint64_t set = job->load->set ? job->cache / 1000 * job->load->set : size;

        return (set < size ? set : size) / PAGE_SIZE;
}

static struct fl_stats engine_stats(const struct work *w)
{
        struct fl_stats stats = { .size = sizeof(stats) };

        if (w->session.engine)
                fl_stats(w->session.engine, &stats);
        return stats;
}

/* A counter of the machine's; 0: it cannot be told. */
static uint64_t vmstat(const char *key)
{
        FILE *f = fopen("/proc/vmstat", "re");
        char name[64];
        uint64_t n, found = 0;

        while (f && fscanf(f, "%63s %" SCNu64, name, &n) == 2)
                if (!strcmp(name, key))
                        found = n;
        if (f)
                fclose(f);
        return found;
}

/* Bytes that have gone to swap or come back so far. Nobody but the row should swap meanwhile. */
static uint64_t swapped_bytes(const struct work *w)
{
        struct fl_stats stats = engine_stats(w);

        if (!w->load->swaps)
                return 0;
        if (w->session.engine)
                return (stats.swap_ins + stats.swap_outs) * PAGE_SIZE;
        return (vmstat("pswpin") + vmstat("pswpout")) * PAGE_SIZE;
}

static uint64_t faults_of(const struct fl_stats *stats)
{
        return stats->faults_major + stats->faults_minor;
}

static uint64_t meta_a_page(const struct work *w)
{
        struct fl_stats stats = engine_stats(w);
        uint64_t pages = stats.cache_bytes / PAGE_SIZE;

        return pages && w->load->far ? stats.meta_bytes / pages : 0;
}

static int measure(struct work *w, struct bench_result *result)
{
        struct busy busy = { 0 };
        struct fl_stats first, last;
        uint64_t before, used, swapped;
        uint64_t events, lost;
        int error;

        w->pages = pages_used(w->job, w->size);
        error = w->load->setup(w);
        if (!error)
                error = busy_start(&busy, w->job->busy);
        swapped = swapped_bytes(w);
        first = engine_stats(w);
        bench_trace_count(w, &events, &lost);
        before = cpu_now();
        if (!error)
                error = w->load->run(w, result);
        busy_end(&busy);
        used = cpu_now() - before;
        used -= used > busy.cpu_ns ? busy.cpu_ns : used;
        result->cpu_ns = result->passes ? used / result->passes : used;
        last = engine_stats(w);
        result->spins = last.spins - first.spins;
        result->spin_hits = last.spin_hits - first.spin_hits;
        result->spin_ns = last.spin_ns - first.spin_ns;
        result->swapped = swapped_bytes(w) - swapped;
        result->faults = faults_of(&last) - faults_of(&first);
        result->meta = meta_a_page(w);
        bench_trace_count(w, &result->events, &result->lost);
        result->events -= events;
        result->lost -= lost;
        return error ? fail(w->job->path, w->load->name, "%s", strerror(error)) : 0;
}

static int clean_up(struct work *w, int status)
{
        for (uint64_t i = 0; i < w->parts; i++)
                w->ops->unmap(w, w->part[i], w->part_pages * PAGE_SIZE);
        free(w->part);
        zipf_free(w->zipf);
        if (w->memory)
                w->ops->unmap(w, w->memory, w->mapped);
        return w->ops->close(w, status);
}

/* 16 TiB are the most that ext4 takes, less a page. */
#define FAR_BYTES ((1ull << 44) - PAGE_SIZE)
#define NEAR_BYTES (1ull << 30)

static int choose_file(struct work *w)
{
        int error;

        snprintf(w->path, sizeof(w->path), "%s", w->job->path);
        if (w->load->remote) {
                int status = bench_nbd_start(&w->nbd, w->job->path, w->load->delay_ms);

                memcpy(w->path, w->nbd.uri, sizeof(w->nbd.uri));
                return status;
        }
        if (!w->load->far)
                return 0;
        error = bench_sparse_file(w->job->path, w->ops->small ? NEAR_BYTES : FAR_BYTES, w->path);
        return error ? fail(w->path, "make a sparse file", "%s", strerror(error)) : 0;
}

static int work_on_side(const struct options *o, const struct bench_job *job,
                        struct bench_result *result)
{
        struct work work = {
                .options = o,
                .job = job,
                .load = job->load,
                .ops = &bench_sides[job->side],
                .fd = -1,
                .trace_fd = -1,
        };
        int status = choose_file(&work);

        if (status)
                return status;
        status = work.ops->open(&work);
        if (work.load->far)
                unlink(work.path); /* it is open, and nobody else's */
        if (!status)
                status = measure(&work, result);
        status = clean_up(&work, status);
        bench_nbd_stop(&work.nbd);
        return status;
}

int bench_work(const struct options *o, const struct bench_job *job)
{
        struct bench_result result = { .warm_pages = make_cold(job->path) };
        int status;

        if (bench_sides[job->side].open)
                status = work_on_side(o, job, &result);
        else if (job->side == SIDE_NBDCOPY)
                status = bench_nbdcopy(job, &result);
        else
                status = bench_fio(job, &result);
        if (status)
                return status;
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
               " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
               result.units, result.ns, result.cpu_ns, result.errors, result.warm_pages,
               result.swapped, result.meta, result.spins, result.spin_hits, result.spin_ns,
               result.faults, result.events, result.lost);
        return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
