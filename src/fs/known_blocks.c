/* SPDX-License-Identifier: Apache-2.0
 *
 * known_blocks.c - see known_blocks.h.
 */
#include "fs/known_blocks.h"

void known_init(struct known_blocks *k)
{
        mutex_init(&k->lock, LOCK_KNOWN);
}

uint64_t known_at(struct known_blocks *k, uint64_t index)
{
        uint64_t n = 0;

        mutex_lock(&k->lock);
        for (unsigned i = 0; i < KNOWN_RANGES && !n; i++)
                if (k->range[i].first <= index && index < k->range[i].end)
                        n = k->range[i].end - index;
        mutex_unlock(&k->lock);
        return n;
}

uint64_t known_before(struct known_blocks *k, uint64_t index)
{
        uint64_t n = 0;

        mutex_lock(&k->lock);
        for (unsigned i = 0; i < KNOWN_RANGES && !n; i++)
                if (k->range[i].first < index && k->range[i].end >= index)
                        n = index - k->range[i].first;
        mutex_unlock(&k->lock);
        return n;
}

void known_add(struct known_blocks *k, uint64_t first, uint64_t end, uint64_t epoch)
{
        mutex_lock(&k->lock);
        if (atomic_load(&k->epoch) == epoch) {
                /* Those that touch it become part of it. */
                for (unsigned i = 0; i < KNOWN_RANGES; i++)
                        if (k->range[i].first < k->range[i].end && k->range[i].first <= end &&
                            first <= k->range[i].end) {
                                first = min_u64(first, k->range[i].first);
                                end = max_u64(end, k->range[i].end);
                                k->range[i].first = k->range[i].end = 0;
                                k->next = i;
                        }
                for (unsigned i = 0; i < KNOWN_RANGES; i++)
                        if (k->range[i].first == k->range[i].end)
                                k->next = i;
                k->range[k->next].first = first;
                k->range[k->next].end = end;
                k->next = (k->next + 1) % KNOWN_RANGES;
        }
        mutex_unlock(&k->lock);
}

void known_forget(struct known_blocks *k)
{
        mutex_lock(&k->lock);
        atomic_fetch_add(&k->epoch, 1);
        for (unsigned i = 0; i < KNOWN_RANGES; i++)
                k->range[i].first = k->range[i].end = 0;
        mutex_unlock(&k->lock);
}
