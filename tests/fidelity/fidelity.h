/* SPDX-License-Identifier: Apache-2.0
 *
 * fidelity.h - the same steps on the same cold file through the kernel's mmap and through Faultline's.
 *
 *   struct ground    a place with files: a file system, and the read-ahead of the device below it
 *   struct steps     what is done: touches, advice, drops; drawn from a seed, or written down
 *   struct side_ops  who does it; there are two: kernel_side and our_side
 *
 * What is compared is which pages of the file are resident when nothing is in flight any more, and how
 * many bytes were read. A run of the kernel's is disturbed, and done again, for reasons known before
 * anything is compared: see kernel.c.
 */
#ifndef FAULTLINE_TESTS_FIDELITY_H
#define FAULTLINE_TESTS_FIDELITY_H

#include "harness.h"

#define MAX_STEPS 16384
#define NR_FILES 3

/* How the kernel takes the file, which is how the file is opened and mapped here. */
enum fd_advice { FD_NORMAL, FD_SEQUENTIAL, FD_RANDOM };

enum step_kind { READ_PAGE, WRITE_PAGE, ADVISE, WILLNEED, DROP };

/* Pages are the file's. */
struct step {
        enum step_kind kind;
        uint64_t page, nr; /* nr: of WILLNEED and DROP */
        int advice;        /* of ADVISE: MADV_ */
};

struct steps {
        char name[80];
        unsigned file;            /* which of the ground's */
        uint64_t first, nr_pages; /* the part of it that is mapped */
        bool exec, private;
        enum fd_advice fd_advice;
        unsigned nr;
        struct step step[MAX_STEPS];
};

struct ground {
        char name[96];
        char path[NR_FILES][128];
        uint64_t size[NR_FILES]; /* bytes */
        char queue[96];          /* /sys folder of the device's queue */
        uint64_t ra_pages;       /* the device's own */
        uint64_t cache;          /* Faultline's */
};

#define MAX_PAGES 24576u

struct outcome {
        unsigned char resident[MAX_PAGES];
        uint64_t pages, nr_resident;
        uint64_t read_bytes;   /* UINT64_MAX: not known */
        const char *disturbed; /* why the run does not count; NULL: it does */
};

struct side_ops {
        const char *name;
        void (*run)(const struct ground *, const struct steps *, struct outcome *);
};
extern const struct side_ops kernel_side, our_side;

/* ground.c */
/* The current directory. NULL, or why the kernel is no oracle there. */
const char *ground_here(struct ground *g);
/* A file system of its own in a file, on a loop device whose read-ahead is ra_kb; 0: as it comes. */
const char *ground_loop(struct ground *g, unsigned ra_kb);
uint64_t ground_pages(const struct ground *g, unsigned file);
/* The device's read_ahead_kb now, in pages. */
uint64_t ground_readahead(const struct ground *g);

/* ours.c: one engine for all runs on one ground. */
void ours_start(const struct ground *g);
void ours_stop(void);

/* draw.c */
void draw_steps(const struct ground *g, uint64_t seed, struct steps *s);
/* patterns.c: how many there are; NULL: it has no meaning there. */
unsigned pattern_count(void);
bool pattern_steps(const struct ground *g, unsigned number, struct steps *s);
/* Touches at random and nothing else: what is read is compared in bytes. */
void random_run(const struct ground *g, uint64_t seed, unsigned nr, struct steps *s);

/* Appends one. */
void step_add(struct steps *s, enum step_kind kind, uint64_t page, uint64_t nr, int advice);

#endif
