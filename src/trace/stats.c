/* SPDX-License-Identifier: Apache-2.0
 *
 * stats.c - the latency histogram: a slot a thirty-second of a power of two wide.
 */
#include "trace/stats.h"

#define STEP_BITS 5
_Static_assert(1 << STEP_BITS == HIST_STEPS, "the slot's number is made of bits of the value");

/* Values below HIST_STEPS have a slot each; then HIST_STEPS for every power of two. */
static unsigned slot_of(uint64_t value)
{
        unsigned exponent;

        if (value < HIST_STEPS)
                return (unsigned)value;
        exponent = 63 - (unsigned)__builtin_clzll(value);
        return (exponent - STEP_BITS + 1) * HIST_STEPS +
               (unsigned)(value >> (exponent - STEP_BITS) & (HIST_STEPS - 1));
}

static uint64_t slot_middle(unsigned slot)
{
        unsigned shift;

        if (slot < HIST_STEPS)
                return slot;
        shift = slot / HIST_STEPS - 1;
        return ((uint64_t)(HIST_STEPS + slot % HIST_STEPS) << shift) + ((1ull << shift) >> 1);
}

uint64_t histogram_slot_end(unsigned slot)
{
        unsigned shift = slot < HIST_STEPS ? 0 : slot / HIST_STEPS - 1;

        if (slot < HIST_STEPS)
                return slot + 1;
        if (shift + STEP_BITS == 63 && slot % HIST_STEPS == HIST_STEPS - 1)
                return UINT64_MAX;
        return (uint64_t)(HIST_STEPS + slot % HIST_STEPS + 1) << shift;
}

void histogram_add(struct histogram *h, uint64_t value)
{
        uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);

        atomic_fetch_add_explicit(&h->slot[slot_of(value)], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
        while (value > max &&
               !atomic_compare_exchange_weak_explicit(&h->max, &max, value, memory_order_relaxed,
                                                      memory_order_relaxed))
                ;
}

uint64_t histogram_quantile(struct histogram *h, unsigned permille)
{
        uint64_t count = atomic_load_explicit(&h->count, memory_order_relaxed);
        uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
        uint64_t rank =
                (uint64_t)((__extension__(unsigned __int128) count * permille + 999) / 1000);
        uint64_t seen = 0;

        if (!count || permille >= 1000)
                return max;
        if (!rank)
                rank = 1;
        for (unsigned i = 0; i < HIST_SLOTS; i++) {
                seen += atomic_load_explicit(&h->slot[i], memory_order_relaxed);
                if (seen >= rank)
                        return min_u64(slot_middle(i), max);
        }
        return max;
}
