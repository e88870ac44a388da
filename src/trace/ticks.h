/* SPDX-License-Identifier: Apache-2.0
 *
 * ticks.h - the time of an event while it lies in a ring: what the processor counts, where the kernel
 * itself keeps the time by that, since it is read in half the time of the clock; else nanoseconds.
 *
 * The writer makes nanoseconds of CLOCK_MONOTONIC of it. At each drain it looks at both, and the time
 * of an event lies on the line between two such looks, so that whatever the kernel does to the clock is
 * followed. Lines meet: what comes first in ticks does so in nanoseconds.
 */
#ifndef FL_TRACE_TICKS_H
#define FL_TRACE_TICKS_H

#include "util/base.h"

/* From `tick`, at `ns`, on each tick is slope / 2^32 ns. */
struct ticks_line {
        uint64_t tick, ns, slope;
};

struct ticks {
        bool counted; /* (c) by the processor */
        /* the writer's: */
        uint64_t tick, ns;         /* the last look */
        uint64_t until;            /* ns: no event is later */
        uint64_t least;            /* ticks that the quickest look took */
        struct ticks_line line[2]; /* up to the look before the last, and up to the last */
};

/* Async-signal-safe. The processor may have read it a little before loads that come earlier. */
static inline uint64_t ticks_now(const struct ticks *c)
{
#ifdef __x86_64__
        if (likely(c->counted))
                return __builtin_ia32_rdtsc();
#endif
        (void)c;
        return now_ns();
}

void ticks_start(struct ticks *c);
/* Before events up to now are converted; at least once. */
void ticks_look(struct ticks *c);
uint64_t ticks_to_ns(const struct ticks *c, uint64_t tick);

#endif
