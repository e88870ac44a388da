/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - one measurement: what bench.c orders and bench_worker.c carries out.
 *
 * Each measurement runs in a process of its own, `faultline bench --worker ...`, so that no side
 * finds anything warm; it prints one `struct bench_result` as a line of numbers.
 */
#ifndef FAULTLINE_CLI_BENCH_H
#define FAULTLINE_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum bench_side { SIDE_FAULTLINE, SIDE_KERNEL };

enum bench_kind {
        BENCH_RANDOM, /* one load a page, at random; operations a second */
        BENCH_SEQ,    /* every byte, once, in order; bytes a second */
        BENCH_MAPPED, /* every byte, again and again, all of it mapped; bytes a second */
};

struct bench_row {
        const char *name;
        enum bench_kind kind;
        unsigned threads;
        int advice;         /* MADV_ */
        unsigned floor;     /* the ratio asked for, in percent */
        const char *beside; /* the other side, for people */
};

struct bench_job {
        const struct bench_row *row;
        enum bench_side side;
        const char *path;
        uint64_t cache; /* bytes; what the engine may hold, and the working set of BENCH_MAPPED */
        double seconds;
        uint64_t seed;
};

struct bench_result {
        uint64_t units; /* operations or bytes */
        uint64_t ns;
        uint64_t errors;
        uint64_t warm_pages; /* of the file in the host's page cache at the start */
        uint64_t cache_peak; /* the engine's; 0 on the other side */
};

const struct bench_row *bench_find_row(const char *name);
extern const struct bench_row bench_rows[];
extern const unsigned bench_nr_rows;

struct options;
/* In the worker: measures and prints the result. Exit status. */
int bench_work(const struct options *o, const struct bench_job *job);

/* ---- bench_cgroup.c ---- */

/* A memory cgroup of our own, with a limit. */
struct bench_cgroup {
        char path[4096];   /* "" if there is none */
        char problem[256]; /* why not */
};
void bench_cgroup_create(struct bench_cgroup *g, uint64_t limit);
/* Moves the calling process into it; for a child between fork and exec. */
bool bench_cgroup_enter(const struct bench_cgroup *g);
void bench_cgroup_remove(struct bench_cgroup *g);

/* ---- bench_file.c ---- */

/* Makes sure that `folder`/faultline-bench-SIZE.dat exists and holds `size` pseudo-random bytes;
 * its name goes to path. 0, or EXIT_FAILED. */
int bench_file(const char *folder, uint64_t size, char path[4096]);

#endif
