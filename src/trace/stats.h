/* SPDX-License-Identifier: Apache-2.0
 *
 * stats.h - the counters of one engine. Plain relaxed atomics: a counter is never used to decide.
 */
#ifndef FL_TRACE_STATS_H
#define FL_TRACE_STATS_H

#include "trace/worst.h"

/* The members of struct fl_stats, in their order; the names are also the keys of `--stats --json`.
 * COUNTED(name) has a counter here; TOLD(name) is read from whoever knows it, in fl_stats(). */
#define STATS_KEYS(COUNTED, TOLD)                                                                  \
        COUNTED(faults_major)                                                                      \
        COUNTED(faults_minor)                                                                      \
        COUNTED(faults_write)                                                                      \
        COUNTED(cow_copies)                                                                        \
        COUNTED(zero_fills)                                                                        \
        COUNTED(swap_ins)                                                                          \
        COUNTED(swap_outs)                                                                         \
        COUNTED(readahead_pages)                                                                   \
        COUNTED(readahead_hits)                                                                    \
        COUNTED(readahead_wasted)                                                                  \
        COUNTED(evicted_pages)                                                                     \
        COUNTED(writeback_pages)                                                                   \
        COUNTED(bios)                                                                              \
        COUNTED(requests)                                                                          \
        COUNTED(merges_back)                                                                       \
        COUNTED(merges_front)                                                                      \
        COUNTED(flushes)                                                                           \
        COUNTED(read_bytes)                                                                        \
        COUNTED(write_bytes)                                                                       \
        TOLD(cache_bytes)                                                                          \
        TOLD(cache_bytes_peak)                                                                     \
        TOLD(meta_bytes)                                                                           \
        TOLD(budget_bytes)                                                                         \
        COUNTED(io_errors)                                                                         \
        TOLD(fault_ns_p50)                                                                         \
        TOLD(fault_ns_p99)                                                                         \
        TOLD(fault_ns_max)                                                                         \
        TOLD(elapsed_ns)                                                                           \
        TOLD(trace_dropped)                                                                        \
        TOLD(spins)                                                                                \
        TOLD(spin_hits)                                                                            \
        TOLD(spin_ns)

#define STATS_NOT_COUNTED(name)
#define STATS(X) STATS_KEYS(X, STATS_NOT_COUNTED)

enum counter {
#define X(name) STAT_##name,
        STATS(X)
#undef X
                STAT_NR
};

/* Latencies: 64 powers of two, 32 steps each; good to 2 percent. */
#define HIST_STEPS 32
#define HIST_SLOTS (64 * HIST_STEPS)
struct histogram {
        _Atomic uint64_t slot[HIST_SLOTS];
        _Atomic uint64_t count, max, sum;
};
void histogram_add(struct histogram *h, uint64_t value);
/* The value below which `permille` of the samples lie; 0 when there are none. */
uint64_t histogram_quantile(struct histogram *h, unsigned permille);
/* The first value that no longer belongs to the slot. Slots before that of 2^n end at or before 2^n. */
uint64_t histogram_slot_end(unsigned slot);

struct stats {
        _Atomic uint64_t n[STAT_NR];
        struct histogram fault_ns;
        struct histogram major_ns; /* of these the major ones */
        struct worst worst;
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
