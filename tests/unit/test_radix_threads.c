/* SPDX-License-Identifier: Apache-2.0
 *
 * test_radix_threads.c - threads that pin, use and drop the same few leaves of a radix tree.
 */
#include <pthread.h>
#include <stdlib.h>

#include "radix_fixture.h"
#include "util/perturb.h"

TestSuite(radix_threads, .init = start, .fini = stop, .timeout = 30);

#define THREADS 4
#define SPOTS 5

/* Few, so that the threads meet; far apart, so that leaves and middle tables come and go. */
static uint64_t spot(unsigned n)
{
        return (uint64_t)n * n * n << 14;
}

static pthread_barrier_t all_here;
static unsigned rounds;

static void *pin_and_unpin(void *arg)
{
        unsigned me = (unsigned)(uintptr_t)arg, seed = me + 1;
        bool mine[SPOTS] = { false };

        pthread_barrier_wait(&all_here);
        for (unsigned i = 0; i < rounds; i++) {
                unsigned n = (unsigned)rand_r(&seed) % SPOTS;
                uint64_t index = spot(n) + me, want = index << 8 | me | 0x10;
                _Atomic uint64_t *e = radix_get(&r, index, !mine[n]);
                uint64_t at = index;
                void *leaf;

                cr_assert_not_null(e);
                cr_assert_eq(radix_index(&r, (void *)e), index);
                perturb_gap(); /* pinned, and maybe not in use */
                if (mine[n]) {
                        cr_assert_eq(atomic_load(e), want, "entry %#lx was lost", index);
                        atomic_store(e, 0);
                        radix_unuse(&r, (void *)e);
                } else {
                        cr_assert_eq(atomic_load(e), 0);
                        atomic_store(e, want);
                        radix_use(&r, (void *)e);
                        leaf = radix_next(&r, &at, UINT64_MAX, false);
                        cr_assert_eq(at, index, "a leaf in use was passed by");
                        radix_put(&r, leaf);
                }
                mine[n] = !mine[n];
                radix_put(&r, (void *)e);
        }
        for (unsigned n = 0; n < SPOTS; n++)
                if (mine[n])
                        clear(spot(n) + me);
        return NULL;
}

static void run_threads(unsigned n)
{
        pthread_t t[THREADS];

        rounds = n;
        pthread_barrier_init(&all_here, NULL, THREADS);
        for (uintptr_t i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&t[i], NULL, pin_and_unpin, (void *)i), 0);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(t[i], NULL);
        cr_assert_eq(tables(), 0);
        cr_assert_eq(r.height, 0);
}

Test(radix_threads, pin_and_unpin)
{
        run_threads(60000);
}

/* Between the last unpin and the look at whether the leaf can go, others come. */
Test(radix_threads, pin_while_a_leaf_may_go)
{
        perturb_get(1);
        run_threads(6000);
        perturb_put(1);
}
