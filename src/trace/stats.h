/* SPDX-License-Identifier: Apache-2.0
 *
 * stats.h - the counters of one engine. Plain relaxed atomics: a counter is never used to decide.
 */
#ifndef FL_TRACE_STATS_H
#define FL_TRACE_STATS_H

#include "util/base.h"

/* X(name): the name is also the key in `--stats --json` */
#define STATS(X)                                                                                   \
        X(faults_major)                                                                            \
        X(faults_minor)                                                                            \
        X(faults_write)                                                                            \
        X(cow_copies)                                                                              \
        X(zero_fills)                                                                              \
        X(swap_ins)                                                                                \
        X(swap_outs)                                                                               \
        X(readahead_pages)                                                                         \
        X(readahead_hits)                                                                          \
        X(readahead_wasted)                                                                        \
        X(evicted_pages)                                                                           \
        X(writeback_pages)                                                                         \
        X(bios)                                                                                    \
        X(requests)                                                                                \
        X(merges_back)                                                                             \
        X(merges_front)                                                                            \
        X(flushes)                                                                                 \
        X(read_bytes)                                                                              \
        X(write_bytes)                                                                             \
        X(io_errors)

enum counter {
#define X(name) STAT_##name,
        STATS(X)
#undef X
                STAT_NR
};

/* Latencies: 64 powers of two, 16 steps each; good to 6 percent. */
#define HIST_STEPS 16
#define HIST_SLOTS (64 * HIST_STEPS)
struct histogram {
        _Atomic uint64_t slot[HIST_SLOTS];
        _Atomic uint64_t count, max;
};
void histogram_add(struct histogram *h, uint64_t value);
/* The value below which `permille` of the samples lie; 0 when there are none. */
uint64_t histogram_quantile(struct histogram *h, unsigned permille);

struct stats {
        _Atomic uint64_t n[STAT_NR];
        struct histogram fault_ns;
};
static inline void stat_add(struct stats *s, enum counter which, uint64_t n)
{
        atomic_fetch_add_explicit(&s->n[which], n, memory_order_relaxed);
}
static inline uint64_t stat_get(struct stats *s, enum counter which)
{
        return atomic_load_explicit(&s->n[which], memory_order_relaxed);
}

#endif
