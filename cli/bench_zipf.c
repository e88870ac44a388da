/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_zipf.c - pages by Zipf's law: the k-th most wanted is wanted 1/k as often as the first.
 *
 * Walker's alias method: two small arrays, one look a draw, nothing to compute. The ranks are
 * spread over the pages, so that what is wanted often does not lie together.
 */
#include <stdlib.h>

#include "bench.h"

#define SPREAD 2654435761u /* a prime: k * SPREAD mod n meets every page once */

struct zipf {
        uint64_t n;
        uint32_t *other; /* taken instead of k ... */
        uint32_t *share; /* ... unless 32 random bits are below this */
};

/* Vose's way: every rank below the mean is filled up from one above it. */
static void fill_tables(struct zipf *z, double *weight, uint32_t *order)
{
        uint64_t small = 0, large = z->n;
        double sum = 0;

        for (uint64_t k = 0; k < z->n; k++)
                sum += 1.0 / (double)(k + 1);
        for (uint64_t k = 0; k < z->n; k++) {
                weight[k] = (double)z->n / ((double)(k + 1) * sum);
                z->share[k] = UINT32_MAX;
                z->other[k] = (uint32_t)k;
                if (weight[k] < 1)
                        order[small++] = (uint32_t)k;
                else
                        order[--large] = (uint32_t)k;
        }
        while (small > 0 && large < z->n) {
                uint32_t poor = order[--small], rich = order[large];

                z->share[poor] = (uint32_t)(weight[poor] * UINT32_MAX);
                z->other[poor] = rich;
                weight[rich] -= 1 - weight[poor];
                if (weight[rich] < 1) {
                        order[small++] = rich;
                        large++;
                }
        }
}

void zipf_free(struct zipf *z)
{
        if (z) {
                free(z->other);
                free(z->share);
        }
        free(z);
}

struct zipf *zipf_make(uint64_t n)
{
        struct zipf *z = malloc(sizeof(*z));
        double *weight = calloc(n, sizeof(*weight));
        uint32_t *order = calloc(n, sizeof(*order));

        if (z) {
                z->n = n;
                z->other = calloc(n, sizeof(*z->other));
                z->share = calloc(n, sizeof(*z->share));
        }
        if (!z || !weight || !order || !z->other || !z->share || n % SPREAD == 0) {
                zipf_free(z);
                z = NULL;
        } else {
                fill_tables(z, weight, order);
        }
        free(weight);
        free(order);
        return z;
}

uint64_t zipf_next(const struct zipf *z, uint64_t *state)
{
        uint64_t rank = random_below(state, z->n);

        if ((uint32_t)random_step(state) > z->share[rank])
                rank = z->other[rank];
        return rank * SPREAD % z->n;
}
