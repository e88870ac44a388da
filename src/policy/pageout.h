/* SPDX-License-Identifier: Apache-2.0
 *
 * pageout.h - how fast Solaris's page scanner runs and what it takes, and how much of memory fsflush
 * looks at. Arithmetic only; rule numbers are those of docs/policies.md. Units: pages; "memory" is the
 * engine's budget, and absolute floors of the original are clamped to an eighth of it.
 */
#ifndef FL_POLICY_PAGEOUT_H
#define FL_POLICY_PAGEOUT_H

#include "policy/tune.h"

/* S34, S35. */
struct pageout_limits {
        uint64_t lotsfree, desfree, minfree, throttlefree, pageout_reserve;
        uint64_t fastscan, slowscan; /* pages a second */
        uint64_t handspread;
        uint64_t maxpgio;             /* pages a second */
        uint64_t cpu_least, cpu_most; /* percent */
};
struct pageout_limits pageout_limits(uint64_t memory, uint32_t page);
/* The same, where some are given. What is given for more memory than there is is cut to fit. */
struct pageout_limits pageout_limits_tuned(const struct policy_tune *t, uint64_t memory,
                                           uint32_t page);

#define PAGEOUT_HZ 4 /* wakes a second */
/* S34. */
bool pageout_wanted(const struct pageout_limits *l, uint64_t freemem, uint64_t needfree);
/* S35: pages to look at in one wake. */
uint64_t pageout_desscan(const struct pageout_limits *l, uint64_t freemem, uint64_t deficit);
/* S35: percent of a processor. */
unsigned pageout_cpu_cap(const struct pageout_limits *l, uint64_t freemem, uint64_t deficit);
/* S35: pages to be written in one wake. */
uint64_t pageout_pushes(const struct pageout_limits *l);

/* S36: what a page looks like to the hands. */
struct pageout_page {
        bool kernel, free, locked;
        bool referenced; /* since the front hand passed */
        bool dirty;
        unsigned shared; /* mappings that show it */
};
enum pageout_step { PAGEOUT_SKIP, PAGEOUT_CLEAR, PAGEOUT_KEEP, PAGEOUT_PUSH, PAGEOUT_FREE };
enum pageout_step pageout_front(const struct pageout_page *p, unsigned po_share);
enum pageout_step pageout_back(const struct pageout_page *p, unsigned po_share);
/* S36: after a lap. */
unsigned pageout_share(unsigned po_share, bool fruitless, bool ample);

/* S33: pages that fsflush looks at when it wakes, and after how many wakes it syncs inodes. */
uint64_t fsflush_scan(uint64_t memory, unsigned tune_t_fsflushr, unsigned autoup);
unsigned fsflush_iflush(unsigned tune_t_fsflushr, unsigned autoup);

#endif
