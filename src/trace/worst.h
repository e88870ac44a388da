/* SPDX-License-Identifier: Apache-2.0
 *
 * worst.h - the slowest faults of an engine since it was opened, for `faultline top`.
 *
 * A fault that is faster than all of them, which is nearly every one, costs a look at one word. Nobody
 * waits: while one thread puts its fault in, or somebody reads, another's is left out.
 */
#ifndef FL_TRACE_WORST_H
#define FL_TRACE_WORST_H

#include "util/base.h"

#define WORST_FAULTS 10
struct worst_fault {
        uint64_t ns, ended_ns; /* how long, and when it was over: now_ns() */
        uint64_t file;         /* address_space.number; 0: memory without a file, or nothing */
        uint64_t index;        /* page of the file; of memory its address in pages */
        uint32_t tid;
        bool write, major;
};

struct worst {
        _Atomic uint64_t floor; /* of those kept the fastest, once there are so many */
        _Atomic uint32_t busy;  /* taken by trying, for some hundred instructions */
        unsigned count;         /* [busy] */
        struct worst_fault fault[WORST_FAULTS]; /* [busy] */
};

void worst_put(struct worst *w, const struct worst_fault *f);
/* Async-signal-safe, and no more than a look if it is none of the worst. */
static inline bool worst_wants(struct worst *w, uint64_t ns)
{
        return unlikely(ns > atomic_load_explicit(&w->floor, memory_order_relaxed));
}
/* The slowest first; how many. May sleep a moment. */
unsigned worst_get(struct worst *w, struct worst_fault out[WORST_FAULTS]);

#endif
