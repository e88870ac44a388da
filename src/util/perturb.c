/* SPDX-License-Identifier: Apache-2.0
 *
 * perturb.c - see perturb.h.
 */
#include "util/perturb.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define SLEEP_NS 200000u /* at most */

_Atomic uint64_t perturb_seed;
static _Atomic uint32_t users;   /* engines that asked */
static _Atomic uint32_t streams; /* threads that have drawn */

static _Thread_local struct {
        uint64_t seed; /* what the stream was made from */
        uint64_t state;
} mine;

void perturb_get(uint64_t seed)
{
        if (!seed)
                return;
        atomic_fetch_add(&users, 1);
        atomic_store(&perturb_seed, seed);
}

void perturb_put(uint64_t seed)
{
        if (seed && atomic_fetch_sub(&users, 1) == 1)
                atomic_store(&perturb_seed, 0);
}

/* splitmix64 */
static uint64_t draw(void)
{
        uint64_t z = mine.state += 0x9e3779b97f4a7c15u;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
}

void perturb_now(bool gap)
{
        uint64_t seed = atomic_load_explicit(&perturb_seed, memory_order_relaxed), r;
        int saved = errno;

        if (mine.seed != seed) {
                mine.seed = seed;
                mine.state = seed + (atomic_fetch_add(&streams, 1) << 20);
        }
        r = draw();
        if (r % (gap ? 8 : 256) == 0) {
                struct timespec t = { .tv_nsec = (long)((r >> 32) % SLEEP_NS) };

                nanosleep(&t, NULL);
        } else if (r % 8 == 1) {
                sched_yield();
        }
        errno = saved;
}
