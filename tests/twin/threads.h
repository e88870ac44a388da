/* SPDX-License-Identifier: Apache-2.0
 *
 * threads.h - what the threads of twin's second mode share.
 *
 * Every file is an array of slots of eight bytes. Each slot has one thread that may store to it;
 * what it stores is a stamp: file, page, slot and a number that grows. So whoever looks at a slot,
 * at any time and through whatever view, can tell a store that was lost (a number below the last
 * one that was complete before the look), a page that is another's, one that is torn and one that
 * is empty. The other slots of a page belong to other threads: what is done to a whole page shows
 * in theirs.
 *
 * Each side has a record of its own, as the sides are not in step.
 */
#ifndef FAULTLINE_TESTS_TWIN_THREADS_H
#define FAULTLINE_TESTS_TWIN_THREADS_H

#include <pthread.h>
#include <stdatomic.h>

#include "twin.h"

#define SHARED_PAGES 192u /* at most, in each file */
#define SLOTS (PAGE / 8)
#define SHARED_SLOTS (SHARED_PAGES * SLOTS)
#define MAX_COPIES 8u /* private pages of a thread */

/* The number of a slot's last store: begun before it is tried, done when it is complete. A look at
 * any time finds one that is not below what was done before and not above what is begun after. */
struct record {
        _Atomic uint32_t begun[FILES][SHARED_SLOTS], done[FILES][SHARED_SLOTS];
        _Atomic uint64_t size_begun[FILES], size_done[FILES];
        uint64_t size_first[FILES]; /* with a stamp of number 0 in each slot */
};

/* What one thread knows of a page of its region on one side: a private copy does not change. */
struct copy {
        bool copied, unsure; /* unsure: it may be gone */
        uint64_t bytes[SLOTS];
};

struct worker {
        struct lane lane; /* first */
        struct copy copy[SIDES][REGION];
        uint64_t bytes[SLOTS * 4]; /* what was read */
        uint32_t low[SLOTS * 4];   /* what was done before */
        uint32_t copies;           /* numbers of private stores */
        unsigned done;             /* operations */
        uint64_t seed;
        pthread_t thread;
};

/* --- stamps.c */
uint64_t stamp_of_slot(unsigned file, uint64_t slot, uint32_t number);
/* Who may store to a slot, if there are so many threads. */
unsigned slot_owner(uint64_t slot, unsigned threads);
/* The slots of this thread in a page are [*first, *first + the result) of the page. */
unsigned slots_of(uint64_t page, unsigned id, unsigned threads, unsigned *first);
/* Before a look at nr slots: what each has to show at least. */
void look_before(struct record *r, unsigned file, uint64_t slot, unsigned nr, uint32_t *low);
/* After it. False, and a failure, if one does not. */
bool look_after(struct record *r, unsigned file, uint64_t slot, unsigned nr, const uint32_t *low,
                const uint64_t *bytes, const char *where);
/* Nothing is under way: the bytes are those of the last store, and no others. */
bool look_at_rest(struct record *r, unsigned file, uint64_t slot, unsigned nr,
                  const uint64_t *bytes, const char *where);
/* Around a store of nr slots of this thread: the stamps; then how many of them were stored. */
void store_begin(struct record *r, unsigned file, uint64_t slot, unsigned nr, uint64_t *stamps);
void store_done(struct record *r, unsigned file, uint64_t slot, unsigned nr);
void record_begin(struct record *r, const uint64_t *sizes);
void grow_begin(struct record *r, unsigned file, uint64_t size);
void grow_done(struct record *r, unsigned file, uint64_t size);

#endif
