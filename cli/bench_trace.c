/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_trace.c - the rows with a trace: where it goes, what it holds, and faults at a fixed rate.
 *
 * The trace lies beside the bench's file, on the same disk. It is written whole and goes with the
 * process, for its name is taken away as soon as it is open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define RECORD_BYTES 64 /* of an event in the file */
#define BURST 60        /* accesses between two looks at the clock: a millisecond's at 60,000 */

void bench_trace_name(struct work *w)
{
        if (!w->load->traced || w->ops->untraced)
                return;
        bench_own_name(w->job->path, "trace", w->trace);
        w->engine.trace = w->trace;
}

void bench_trace_hide(struct work *w)
{
        if (!*w->trace)
                return;
        w->trace_fd = open(w->trace, O_RDONLY | O_CLOEXEC);
        unlink(w->trace);
}

void bench_trace_count(const struct work *w, uint64_t *events, uint64_t *lost)
{
        struct fl_stats stats = { .size = sizeof(stats) };
        struct stat st;

        *events = 0;
        *lost = 0;
        if (w->trace_fd < 0 || fl_stats(w->session.engine, &stats) || fstat(w->trace_fd, &st))
                return;
        *events = (uint64_t)st.st_size / RECORD_BYTES;
        *lost = stats.trace_dropped;
}

/* Whoever is late goes on at once, and does not make up for it in one go. */
static void wait_until(uint64_t *due)
{
        struct timespec at = { .tv_sec = (time_t)(*due / 1000000000u),
                               .tv_nsec = (long)(*due % 1000000000u) };
        uint64_t now = now_ns();

        if (now < *due)
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        else
                *due = now;
}

static uint64_t minor_faults(const struct work *w)
{
        struct fl_stats stats = { .size = sizeof(stats) };

        return fl_stats(w->session.engine, &stats) ? 0 : stats.faults_minor;
}

/* All of it is cached, and none of it shown. */
int setup_paced(struct work *w)
{
        int error = setup_fill(w);

        if (error || w->pages < BURST)
                return error ? error : EINVAL;
        return w->ops->advise(w, w->memory, w->pages * PAGE_SIZE, MADV_DONTNEED) ? errno : 0;
}

/* Loads from page after page, each with its own fault, since at random only that page is shown; and what
 * a burst of them has shown is unmapped again. What counts are the faults. */
int run_paced(struct work *w, struct bench_result *result)
{
        uint64_t started = now_ns(), until = started + (uint64_t)(w->job->seconds * 1e9);
        uint64_t step = BURST * 1000000000ull / w->load->rate, due = started;
        uint64_t before = minor_faults(w), length = BURST * PAGE_SIZE;

        for (uint64_t at = 0; now_ns() < until; at = (at + 1) % (w->pages / BURST)) {
                char *memory = w->memory + at * length;

                for (unsigned k = 0; k < BURST; k++)
                        bench_keep(*(const volatile uint64_t *)(memory + k * PAGE_SIZE));
                if (w->ops->advise(w, memory, length, MADV_DONTNEED))
                        return errno;
                due += step;
                wait_until(&due);
        }
        result->units = minor_faults(w) - before;
        result->ns = now_ns() - started;
        return 0;
}
