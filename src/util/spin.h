/* SPDX-License-Identifier: Apache-2.0
 *
 * spin.h - polling for a while before sleeping: for how long, whether it is worth it, what it cost.
 *
 * One struct for each kind of wait. A wait that ended while it was polled for (a hit) has saved a sleep
 * and a wake-up; one that did not has burnt the time. So after a miss the next waits sleep at once: one
 * of them after the first miss in a row, three after the second, up to SPIN_LEFT_OUT.
 *
 * Counters are plain relaxed atomics: two threads that judge at once may forget one of the judgements.
 */
#ifndef FL_UTIL_SPIN_H
#define FL_UTIL_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SPIN_LEFT_OUT 63u

struct spin {
        _Atomic uint64_t most_ns; /* of one; 0: never polls */
        _Atomic uint32_t
                left_out;        /* waits that are to sleep at once before the next is polled for */
        _Atomic uint32_t misses; /* what left_out becomes at the next one: 0, 1, 3, ... */
        _Atomic uint64_t spins, hits, ns;
};

/* How long to poll for what is waited for now; 0: sleep at once. */
uint64_t spin_begin(struct spin *s);
/* After spin_begin() that was not 0: it took so long, and what was waited for has come. */
void spin_end(struct spin *s, uint64_t ns, bool hit);

/* Between two looks. */
static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
}

#endif
