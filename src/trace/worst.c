/* SPDX-License-Identifier: Apache-2.0
 *
 * worst.c - a table of the slowest faults: whoever writes tries to be alone with it, once; whoever
 * reads tries again.
 */
#include "trace/worst.h"

#include <sched.h>
#include <string.h>

#define READ_TRIES 1000

static bool try_take(struct worst *w)
{
        uint32_t idle = 0;

        return atomic_compare_exchange_strong(&w->busy, &idle, 1);
}

/* => busy. The fastest of those kept. */
static unsigned fastest(const struct worst *w)
{
        unsigned at = 0;

        for (unsigned i = 1; i < WORST_FAULTS; i++)
                if (w->fault[i].ns < w->fault[at].ns)
                        at = i;
        return at;
}

void worst_put(struct worst *w, const struct worst_fault *f)
{
        unsigned at;

        if (!try_take(w))
                return;
        at = w->count < WORST_FAULTS ? w->count++ : fastest(w);
        if (f->ns > w->fault[at].ns)
                w->fault[at] = *f;
        if (w->count == WORST_FAULTS)
                atomic_store(&w->floor, w->fault[fastest(w)].ns);
        atomic_store(&w->busy, 0);
}

static void sort(struct worst_fault *f, unsigned n)
{
        for (unsigned i = 1; i < n; i++)
                for (unsigned k = i; k && f[k].ns > f[k - 1].ns; k--) {
                        struct worst_fault t = f[k];

                        f[k] = f[k - 1];
                        f[k - 1] = t;
                }
}

unsigned worst_get(struct worst *w, struct worst_fault out[WORST_FAULTS])
{
        unsigned n;

        for (unsigned try = 0; !try_take(w); try++) {
                if (try == READ_TRIES)
                        return 0;
                sched_yield();
        }
        n = w->count;
        memcpy(out, w->fault, n * sizeof(*out));
        atomic_store(&w->busy, 0);
        sort(out, n);
        return n;
}
