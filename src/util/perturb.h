/* SPDX-License-Identifier: Apache-2.0
 *
 * perturb.h - random yields and short sleeps, to make races happen that hardly ever happen.
 *
 *   perturb()      at a state's change, or a lock's
 *   perturb_gap()  between the halves of a protocol: more often, and for longer
 *
 * Off, each is one relaxed load and a branch not taken. On, each thread draws from a stream of its
 * own, made from the seed and from how many threads came to such a point before it.
 *
 * The seed is the process's, not an engine's: the points lie in layers that know no engine, and
 * it decides nothing but time. It is on while an engine that asked for it is open; the seed is
 * that of the last one that asked.
 * Async-signal-safe; allocates nothing; leaves errno alone.
 */
#ifndef FL_UTIL_PERTURB_H
#define FL_UTIL_PERTURB_H

#include "util/base.h"

/* Hidden, so that the look at it is one load, not two. */
extern _Atomic uint64_t perturb_seed __attribute__((visibility("hidden"))); /* 0: off */

/* An engine asks for it; perturb_put() when that engine is gone. seed 0: does nothing. */
void perturb_get(uint64_t seed);
void perturb_put(uint64_t seed);

void perturb_now(bool gap);

static inline void perturb(void)
{
        if (unlikely(atomic_load_explicit(&perturb_seed, memory_order_relaxed)))
                perturb_now(false);
}
static inline void perturb_gap(void)
{
        if (unlikely(atomic_load_explicit(&perturb_seed, memory_order_relaxed)))
                perturb_now(true);
}

#endif
