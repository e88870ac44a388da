/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - what the files of `faultline bench` share.
 *
 * A workload is a row of the table in bench_rows.c: a setup, a run and a pattern. A side is an
 * entry of bench_sides[]: who serves the workload's loads, stores and calls. Each measurement,
 * one workload on one side, runs in a process of its own, `faultline bench --worker SIDE ...`
 * (bench_worker.c), so that no side finds anything warm; it prints one `struct bench_result` as a
 * line of numbers. bench_run.c orders the measurements and puts what they say into one JSON
 * document; the tables and the page are made from that document alone (bench_table.c,
 * bench_html.c).
 */
#ifndef FAULTLINE_CLI_BENCH_H
#define FAULTLINE_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "cli.h"

/* The order is that of a round. */
enum bench_side {
        SIDE_FAULTLINE,
        SIDE_UNADVISED,
        SIDE_SMALL,
        SIDE_UNTRACED,
        SIDE_MMAP,
        SIDE_ADVISED,
        SIDE_PREAD,
        SIDE_URING,
        SIDE_FIO_PSYNC,
        SIDE_FIO_URING,
        SIDE_MALLOC,
        SIDE_NBDCOPY,
        SIDE_FIO_NBD,
        NR_SIDES
};

enum bench_unit { UNIT_OPERATIONS, UNIT_BYTES };

struct work;
struct bench_result;
struct stream;

/* ---- bench_rows.c: the workloads ---- */

struct workload {
        const char *name;
        const char *title; /* for people */
        enum bench_unit unit;
        unsigned sides;         /* 1u << SIDE_..., each */
        enum bench_side beside; /* the side the ratio and the floor are about */
        unsigned floor;         /* the ratio asked for, in percent; 0: none */
        unsigned threads;       /* of memory and call sides; for io_uring the depth, unless: */
        unsigned depth;         /* of io_uring and fio; 0: as many as threads */
        unsigned block;         /* bytes of one call; memory sides touch one word a page */
        unsigned set;           /* what is used, in thousandths of the cache; 0: all the file */
        int advice;             /* MADV_; for Faultline and SIDE_ADVISED */
        bool write;             /* stores */
        bool hot;               /* what is measured is all in memory */
        bool steady;            /* long: 30 s unless --seconds says otherwise */
        bool calls;             /* Faultline by fl_pread() too */
        bool scan;              /* one more thread reads the whole file in order, uncounted */
        bool sync_last;    /* stores are synced once, at the end, and the time of that counts */
        bool tail;         /* what counts is the time that 99 of 100 loads stay below, while one
                                 * more thread stores and syncs, uncounted */
        bool anon;         /* memory without a file: `set` of it */
        unsigned budget;   /* what the engine may hold, in caches; 0: one */
        bool swaps;        /* more than fits: the kernel's sides need a swap file */
        bool unlimited;    /* the kernel's sides have no memory limit */
        bool far;          /* on a sparse file, as large as they come; SIDE_SMALL: 1 GiB */
        bool remote;       /* the file is the export of an NBD server */
        unsigned delay_ms; /* which waits so long before each read */
        bool traced;       /* Faultline writes a trace, but for SIDE_UNTRACED */
        unsigned rate;     /* accesses a second, if it can; 0: as fast as they go */
        const char *mmu;   /* the best one for this, where --mmu names none; NULL: auto */
        uint64_t spin;     /* ns, where --spin says nothing or off */
        int (*setup)(struct work *w); /* not measured; 0 or an errno value */
        int (*run)(struct work *w, struct bench_result *result); /* likewise */
        uint64_t (*next)(struct stream *s);                      /* the next page; NULL: none */
        const char *fio; /* its rw=; NULL: fio has no such job */
};

extern const struct workload bench_rows[];
extern const unsigned bench_nr_rows;
const struct workload *bench_find_row(const char *name);

/* ---- one measurement ---- */

struct bench_job {
        const struct workload *load;
        enum bench_side side;
        const char *path;
        uint64_t cache; /* bytes; what the engine may hold, unless the workload says otherwise */
        double seconds;
        uint64_t seed;
        bool busy; /* a second thread runs all the while */
};

struct bench_result {
        uint64_t units; /* operations or bytes */
        uint64_t ns, cpu_ns;
        uint64_t passes; /* that the CPU time was spent on, units being of one; 0: one */
        uint64_t errors;
        uint64_t warm_pages; /* of the file in the host's page cache at the start */
        uint64_t swapped;    /* bytes that went to the swap area or came back, while measured */
        uint64_t faults;     /* of the engine, while measured */
        uint64_t meta;       /* the engine's metadata at the end, in bytes a page that it holds */
        uint64_t spins, spin_hits, spin_ns; /* as in fl_stats, while measured */
        uint64_t events, lost; /* that a trace took while measured, and those that it could not */
};

/* In the worker: measures and prints the result. Exit status. */
int bench_work(const struct options *o, const struct bench_job *job);

/* A stream of pages; a thread, or a slot of the ring, has one of its own. */
struct stream {
        const struct work *work;
        uint64_t state, at, pages;
};

/* A server with the file's bytes in memory. */
struct bench_nbd {
        pid_t server; /* 0: none */
        uint64_t size;
        char socket[4096], uri[4160];
};

/* What a running measurement has; the side's open() fills its part. */
struct work {
        const struct options *options;
        const struct bench_job *job;
        const struct workload *load;
        const struct side_ops *ops;
        struct session session; /* Faultline's, */
        struct options engine;  /* and what it was opened with */
        char path[4160];        /* of the file */
        struct bench_nbd nbd;   /* if that is remote */
        char swap[4160];        /* the engine's own swap area; "": none */
        char trace[4096];       /* and its trace, */
        int trace_fd;           /* which has no name any more; -1: there is none */
        int fd;                 /* the others' */
        uint64_t size;          /* of the file */
        uint64_t pages;         /* the pattern's */
        uint64_t mapped;        /* bytes at memory */
        char *memory;           /* NULL: the side has none, or it is in parts */
        char **part;            /* many mappings of part_pages */
        uint64_t parts, part_pages;
        uint64_t timed; /* ns, of runs that measure only a part of what they do */
        struct zipf *zipf;
        _Atomic bool stop;
};

#define PART_PAGES 16
#define SYNC_EVERY 64 /* stores or writes between two syncs */

/* ---- bench_sides.c: who serves ---- */

struct side_ops {
        const char *key, *name;
        bool limited;                             /* runs under the memory cgroup */
        bool advised;                             /* follows the workload's advice */
        bool memory;                              /* loads and stores; else calls */
        bool ring;                                /* calls by io_uring, past the host's cache */
        bool small;                               /* the workload's small case */
        bool untraced;                            /* without the trace of the others */
        int (*open)(struct work *w);              /* 0 or an exit status, having said why */
        int (*close)(struct work *w, int status); /* likewise, status if nothing fails */
        void *(*map)(struct work *w, uint64_t offset, uint64_t len); /* MAP_FAILED and errno */
        int (*unmap)(struct work *w, void *at, uint64_t len);
        int (*advise)(struct work *w, void *at, uint64_t len, int advice);
        int (*sync)(struct work *w); /* all stores and writes are durable; 0 or -1 and errno */
        ssize_t (*read)(struct work *w, void *buf, size_t n, uint64_t at);
        ssize_t (*write)(struct work *w, const void *buf, size_t n, uint64_t at);
};

extern const struct side_ops bench_sides[NR_SIDES];
/* Why the side cannot run here with this file, or NULL; text may be put in `why`. */
const char *bench_side_absent(enum bench_side side, const char *path, char why[256]);
/* Can an engine with this MMU be opened here? */
bool bench_mmu_works(const char *mmu);
/* Is there such a program? */
bool bench_is_in_path(const char *program);
/* NR_SIDES: no such key. */
enum bench_side bench_find_side(const char *key, size_t length);

/* ---- bench_loads.c, bench_memory.c, bench_trace.c, bench_ring.c, bench_block.c, bench_zipf.c, bench_fio.c: what the
 * table is made of ---- */

int setup_nothing(struct work *w);
int setup_map(struct work *w);
int setup_fill(struct work *w); /* and fills the cache, or reads all that is used */
int setup_parts(struct work *w);
int setup_zipf(struct work *w);
int setup_stored(struct work *w); /* maps all, and stores to all of it */
int setup_maps(struct work *w);
int setup_paced(struct work *w);

int run_touches(struct work *w, struct bench_result *result);
int run_pass(struct work *w, struct bench_result *result);
int run_refault(struct work *w, struct bench_result *result);
int run_msync(struct work *w, struct bench_result *result);
int run_map_unmap(struct work *w, struct bench_result *result);
int run_mapped(struct work *w, struct bench_result *result);
int run_map_large(struct work *w, struct bench_result *result);
int run_first_touch(struct work *w, struct bench_result *result);
int run_maps(struct work *w, struct bench_result *result);
int run_paced(struct work *w, struct bench_result *result);
int run_touches_ring(struct work *w, struct bench_result *result);
int run_block_ram(struct work *w, struct bench_result *result);
int run_block_reads(struct work *w, struct bench_result *result);
int run_prefetch(struct work *w, struct bench_result *result);
int run_pass_ring(struct work *w, struct bench_result *result);

uint64_t next_random(struct stream *s);
uint64_t next_forward(struct stream *s);
uint64_t next_backward(struct stream *s);
uint64_t next_stride(struct stream *s);
uint64_t next_of_four(struct stream *s);
uint64_t next_zipf(struct stream *s);

void stream_begin(struct stream *s, const struct work *w, unsigned number);
/* Calls `step` until the time is up; each adds to the units. */
int run_steps(struct work *w, struct bench_result *result,
              int (*step)(struct work *, struct stream *, struct bench_result *));
uint64_t random_step(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t n);
uint64_t sum_bytes(const char *memory, uint64_t size);
void bench_keep(uint64_t sum); /* the compiler may not drop it */
struct timespec bench_time(double seconds);

struct zipf *zipf_make(uint64_t n);
void zipf_free(struct zipf *z);
uint64_t zipf_next(const struct zipf *z, uint64_t *state);

/* In the worker, for the fio sides. Exit status. */
int bench_fio(const struct bench_job *job, struct bench_result *result);

/* ---- bench_trace.c ---- */

/* Before the engine is opened: names its trace, if it is to write one; after: takes the name away. */
void bench_trace_name(struct work *w);
void bench_trace_hide(struct work *w);
/* What has gone into it so far, and what was lost. */
void bench_trace_count(const struct work *w, uint64_t *events, uint64_t *lost);

/* ---- bench_nbd.c ---- */

/* Serves the bytes of the file at `path` as s->uri. 0 or an exit status. */
int bench_nbd_start(struct bench_nbd *s, const char *path, unsigned delay_ms);
void bench_nbd_stop(struct bench_nbd *s);
/* In the worker, for SIDE_NBDCOPY. Exit status. */
int bench_nbdcopy(const struct bench_job *job, struct bench_result *result);
/* Why no workload that is remote can run here, or NULL. */
const char *bench_nbd_problem(void);
/* The same for SIDE_FIO_NBD, where there is a fio. */
const char *bench_nbd_fio_problem(void);

/* ---- bench_cgroup.c ---- */

/* A memory cgroup of our own, with a limit. */
struct bench_cgroup {
        int version; /* 1 or 2 */
        int fd;      /* of its folder: locked, which says that it is in use; -1: there is none */
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
/* The worker's own, beside the file at `path`: its name goes to own, or "" if it is the file. Made
 * for a sparse file: of `size`, or the largest there can be. 0 or an errno value. */
int bench_sparse_file(const char *path, uint64_t size, char own[4096]);
/* "FOLDER/faultline-bench-PID.KIND" of this process. */
void bench_own_name(const char *path, const char *kind, char own[4096]);

/* ---- bench_swap.c ---- */

/* A swap file of our own for the kernel. A process of its own holds it, and takes it away again when
 * the bench ends, however that ends. */
struct bench_swap {
        int alive; /* closed when the file may go; -1: there is none */
        pid_t holder;
        char problem[256]; /* why there is none; "": nobody has asked */
};
void bench_swap_on(struct bench_swap *s, const char *path, uint64_t size);
void bench_swap_off(struct bench_swap *s);

/* ---- bench_run.c: the rounds, and the document ---- */

#define BENCH_MAX_ROUNDS 101

struct bench {
        const struct options *options;
        uint64_t cache, size, rounds;
        double seconds; /* 0: each workload's own */
        double steady;  /* of the long ones; 0: their own */
        bool busy;
        bool pairs;     /* Faultline and the side that the ratio is about, no other */
        unsigned sides; /* asked for; a bit each */
        unsigned here;  /* of those, the ones this machine has */
        unsigned only;  /* the sides of the next row, if it has them; 0: all that it has */
        const char *folder;
        char path[4096];
        struct bench_cgroup group;
        struct bench_swap swap;
        struct progress progress;
        struct json_t *document;
        bool live; /* print each row of the table when it is done */
};

/* Both return an exit status. The document is in b->document. */
int bench_prepare(struct bench *b);
int bench_measure(struct bench *b, const struct workload *const *rows, unsigned n);
void bench_finish(struct bench *b);

/* ---- bench_goals.c ---- */

/* Measures those of the rows that a goal is about. The runs go to *out, as an object of documents. Exit
 * status. */
int bench_goals(const struct bench *b, const struct workload *const *rows, unsigned n,
                struct json_t **out);
/* What has been reached of them in these runs. */
void bench_print_goals(FILE *out, const struct json_t *runs, bool markdown);

/* What this machine is, as an object. */
struct json_t *bench_machine(const char *path);

/* ---- bench_table.c, bench_html.c: the document for people ---- */

void bench_print_head(FILE *out, const struct json_t *document);
void bench_print_row(FILE *out, const struct json_t *row);
void bench_print_markdown(FILE *out, const struct json_t *document);
void bench_print_html(FILE *out, const struct json_t *document);

/* A rate with its unit: "12,345/s", "1.23 GB/s". */
const char *bench_text_rate(char buf[TEXT_MAX], bool bytes, double rate);
/* CPU time of one operation, or of one MiB: "12.3 us". */
const char *bench_text_cpu(char buf[TEXT_MAX], bool bytes, const struct json_t *side);
/* Below the side: what polling before sleeping took of its CPU time, and how often what was waited for came
 * meanwhile. False: nothing was polled for. */
bool bench_text_spin(char cpu[TEXT_MAX], char hits[2 * TEXT_MAX], bool bytes,
                     const struct json_t *side);
const char *bench_string(const struct json_t *object, const char *key);
double bench_number(const struct json_t *object, const char *key);
bool bench_is(const struct json_t *object, const char *key);
/* The ways the document says itself in words, one line each; NULL after the last. */
const char *bench_fact(const struct json_t *document, unsigned i, char buf[512]);

#endif
