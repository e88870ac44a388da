/* SPDX-License-Identifier: Apache-2.0
 *
 * spin.c - see spin.h.
 */
#include "util/spin.h"

#define GET(word) atomic_load_explicit(&(word), memory_order_relaxed)
#define SET(word, value) atomic_store_explicit(&(word), value, memory_order_relaxed)
#define ADD(word, value) atomic_fetch_add_explicit(&(word), value, memory_order_relaxed)

uint64_t spin_begin(struct spin *s)
{
        uint64_t most = GET(s->most_ns);
        uint32_t left = GET(s->left_out);

        if (!most || !left)
                return most;
        SET(s->left_out, left - 1);
        return 0;
}

void spin_end(struct spin *s, uint64_t ns, bool hit)
{
        uint32_t misses = hit ? 0 : GET(s->misses) * 2 + 1;

        if (misses > SPIN_LEFT_OUT)
                misses = SPIN_LEFT_OUT;
        if (misses != GET(s->misses)) /* most often it is not: no line is written to by many */
                SET(s->misses, misses);
        if (misses)
                SET(s->left_out, misses);
        ADD(s->spins, 1);
        if (hit)
                ADD(s->hits, 1);
        ADD(s->ns, ns);
}
