/* SPDX-License-Identifier: Apache-2.0
 *
 * churn.h - many threads on one file, every page of which carries a stamp with a version.
 *
 * A page has a lock of the test's own and a version that is known while the lock is held: whoever
 * holds it can say what every view of the page must show, stores the next version or asks the
 * engine for something that may not change it. At quiet points the engine's invariants are checked.
 * At the end the file, read by read(2), holds the last version of every page.
 */
#ifndef FAULTLINE_TESTS_CHURN_H
#define FAULTLINE_TESTS_CHURN_H

#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"

struct churn;

/* One thing that a thread does, now and then. */
struct churn_op {
        const char *name;
        unsigned weight;
        void (*run)(struct churn *c, uint64_t *seed);
};

struct churn_config {
        uint64_t pages, cache; /* the file's; bytes */
        unsigned threads;
        const struct churn_op *ops; /* ends with one without a name */
        double quiet;               /* seconds between quiet points */
        /* Told at each quiet point, when nothing runs; may be NULL. */
        void (*at_quiet)(struct churn *c);
};

struct churn {
        const struct churn_config *cfg;
        struct fl_engine *engine;
        struct fl_file *file, *again; /* two opens of it */
        const char *path;             /* NULL: not on the host */
        char *view;                   /* all of it, shared, read and write */
        int direct;                   /* descriptor for reading around every cache, or -1 */
        struct churn_page {
                pthread_mutex_t lock;
                uint64_t version; /* [lock] */
        } * page;
        _Atomic bool pause, stop;
        pthread_barrier_t barrier;
        uint64_t total_weight;
        _Atomic uint64_t *done; /* how often each op has run */
};

/* Everything from opening to the last look at the file. */
void churn_run(const struct churn_config *cfg);

/* Ops that every churn can use. */
void churn_read(struct churn *c, uint64_t *seed);
void churn_store(struct churn *c, uint64_t *seed);
void churn_scan(struct churn *c, uint64_t *seed);
void churn_msync(struct churn *c, uint64_t *seed);
void churn_msync_and_look(struct churn *c, uint64_t *seed);
void churn_pread(struct churn *c, uint64_t *seed);
void churn_pwrite(struct churn *c, uint64_t *seed);
void churn_dontneed(struct churn *c, uint64_t *seed);

/* The rows of a table of ops that most of the time goes into. */
#define CHURN_MOSTLY                                                                               \
        { "read", 300, churn_read }, { "store", 300, churn_store }, { "scan", 20, churn_scan },    \
                { "msync", 10, churn_msync },                                                      \
        {                                                                                          \
                "msync and look", 5, churn_msync_and_look                                          \
        }

/* For ops: lock a page, look at it where it is mapped at p, store its next version there. */
void churn_lock(struct churn *c, uint64_t page);
void churn_unlock(struct churn *c, uint64_t page);
void churn_look(struct churn *c, uint64_t page, const char *p, const char *where);
void churn_store_at(struct churn *c, uint64_t page, char *p);
/* A random range of up to max pages. */
uint64_t churn_range(struct churn *c, uint64_t *seed, uint64_t max, uint64_t *nr);

#endif
