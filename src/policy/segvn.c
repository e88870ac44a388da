/* SPDX-License-Identifier: Apache-2.0
 *
 * segvn.c - see segvn.h.
 */
#include "policy/segvn.h"

uint64_t segvn_plsz(const struct segvn_ask *ask)
{
        uint64_t most = (uint64_t)PVN_GETPAGE_NUM * ask->page;

        if ((ask->private && ask->rw == SEG_WRITE) || ask->rw == SEG_OTHER || ask->next_mapped)
                return ask->len;
        return min_u64(most, ask->left);
}

enum seg_rw segvn_getpage_rw(const struct segvn_ask *ask)
{
        return ask->private && ask->rw == SEG_WRITE ? SEG_READ : ask->rw;
}

bool segvn_free_behind(const struct segvn_probe *probe, uint64_t page, bool fltadvice,
                       uint64_t *first)
{
        uint64_t from = page;

        if (page == 0 || !fltadvice || probe->advice(probe->arg, page) != ADVICE_SEQUENTIAL)
                return false;
        /* The segment's first page is the end of the walk, and stays. */
        while (from > 1 && probe->in_memory(probe->arg, from - 1) &&
               probe->advice(probe->arg, from - 1) == ADVICE_SEQUENTIAL)
                from--;
        *first = from;
        return from < page;
}

static bool refused_by(enum vm_advice advice, int64_t delta)
{
        return advice == ADVICE_RANDOM || (advice == ADVICE_SEQUENTIAL && delta < 0);
}

bool segvn_kluster(const struct segvn_kluster *k)
{
        if (k->delta < 0 ? (uint64_t)-k->delta > k->off : k->off + (uint64_t)k->delta >= k->size)
                return false;
        if (refused_by(k->advice, k->delta) || refused_by(k->to_advice, k->delta))
                return false;
        if (!k->private)
                return true;
        return k->anon == k->to_anon && (!k->anon || k->adjacent);
}
