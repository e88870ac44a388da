/* SPDX-License-Identifier: Apache-2.0
 *
 * test_page_lock.c - the lock bit of a page, and those who wait for it or for the page's I/O.
 *
 * Pages without a file: lock and wait queues need the word and the cache's queues only.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "cache/cache.h"

#define FOREVER 10000000000ull /* ns: longer than any wake-up takes */

static struct page_cache cache;
static struct page pages[4 * PAGE_WAITQS];
static struct page *p = &pages[77];

TestSuite(page_lock, .timeout = 30);

static void set_state(struct page *page, enum page_state s)
{
        atomic_store(&page->word, (page_word(page) & ~PG_STATE_MASK) | s << PG_STATE_SHIFT);
}

/* True if it has not been woken, and is on no queue any more. */
static bool asleep(struct waiter *w)
{
        bool was = waitq_remove(w->q ? w->q : &cache.page_wq[0], w);

        cr_assert_eq(atomic_load(&w->woken), !was);
        return was;
}

Test(page_lock, a_bit_of_the_word)
{
        set_state(p, PAGE_DIRTY);
        page_set(p, PG_MARKER);
        cr_assert(page_trylock(p));
        cr_assert(page_is_locked(p));
        cr_assert_not(page_trylock(p));
        cr_assert_eq(page_state(p), PAGE_DIRTY);
        page_unlock(&cache, p);
        cr_assert_not(page_is_locked(p));
        cr_assert_eq(page_state(p), PAGE_DIRTY);
        cr_assert(page_test(p, PG_MARKER));
        page_lock(&cache, p);
        cr_assert(page_is_locked(p));
        page_unlock(&cache, p);
}

Test(page_lock, busy_is_locked_or_under_way)
{
        static const struct {
                enum page_state s;
                bool reading, writeback;
        } row[] = {
                { PAGE_ABSENT, false, false },   { PAGE_READING, true, false },
                { PAGE_CLEAN, false, false },    { PAGE_DIRTY, false, false },
                { PAGE_WRITEBACK, false, true }, { PAGE_EVICTING, true, false },
                { PAGE_ERROR, false, false },
        };

        for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
                uint32_t word = (uint32_t)row[i].s << PG_STATE_SHIFT;

                cr_assert_eq(page_busy_reading(word), row[i].reading, "state %u", i);
                cr_assert_eq(page_busy_writeback(word), row[i].writeback, "state %u", i);
                cr_assert(page_busy_reading(word | PG_LOCKED));
                cr_assert(page_busy_writeback(word | PG_LOCKED));
        }
}

Test(page_lock, nobody_waits_for_what_is_over)
{
        struct waiter w;

        set_state(p, PAGE_CLEAN);
        waiter_init_sync(&w);
        cr_assert_not(page_wait_add(&cache, p, &w, page_busy_reading));
        for (unsigned i = 0; i < PAGE_WAITQS; i++)
                cr_assert_not(waitq_busy(&cache.page_wq[i]), "it is still queued");
}

Test(page_lock, unlocking_wakes_all_that_wait)
{
        struct waiter w[3];

        page_lock(&cache, p);
        for (unsigned i = 0; i < 3; i++) {
                waiter_init_sync(&w[i]);
                cr_assert(page_wait_add(&cache, p, &w[i], page_busy_reading));
        }
        cr_assert(page_test(p, PG_WAITERS));
        page_unlock(&cache, p);
        cr_assert_not(page_test(p, PG_WAITERS));
        for (unsigned i = 0; i < 3; i++)
                cr_assert_eq(waiter_sleep(&w[i], FOREVER), 0);
}

Test(page_lock, those_who_wait_for_io_are_woken_by_its_end)
{
        struct waiter w;

        set_state(p, PAGE_READING); /* not locked: I/O holds no lock */
        waiter_init_sync(&w);
        cr_assert(page_wait_add(&cache, p, &w, page_busy_reading));
        page_lock(&cache, p);
        set_state(p, PAGE_CLEAN);
        page_unlock(&cache, p);
        cr_assert_eq(waiter_sleep(&w, FOREVER), 0);

        set_state(p, PAGE_WRITEBACK);
        waiter_init_sync(&w);
        cr_assert_not(page_wait_add(&cache, p, &w, page_busy_reading), "it can be read");
        cr_assert(page_wait_add(&cache, p, &w, page_busy_writeback));
        page_lock(&cache, p);
        set_state(p, PAGE_DIRTY);
        page_unlock(&cache, p);
        cr_assert_eq(waiter_sleep(&w, FOREVER), 0);
}

Test(page_lock, pages_that_share_a_queue_wake_their_own)
{
        struct waiter w, other;
        struct waitq *q;
        unsigned shared = 0;

        set_state(p, PAGE_READING);
        waiter_init_sync(&w);
        cr_assert(page_wait_add(&cache, p, &w, page_busy_reading));
        q = w.q;
        for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
                if (&pages[i] == p)
                        continue;
                page_lock(&cache, &pages[i]);
                waiter_init_sync(&other);
                cr_assert(page_wait_add(&cache, &pages[i], &other, page_busy_reading));
                shared += other.q == q;
                page_unlock(&cache, &pages[i]);
                cr_assert_eq(waiter_sleep(&other, FOREVER), 0);
        }
        cr_assert_gt(shared, 0, "no other page of %zu shares its queue", ARRAY_SIZE(pages));
        cr_assert(asleep(&w), "woken for another page");
}

Test(page_lock, neighbours_spread_over_the_queues)
{
        unsigned used = 0;

        for (unsigned i = 0; i < PAGE_WAITQS; i++) {
                struct waiter *w = malloc(sizeof *w);

                cr_assert(page_trylock(&pages[i]));
                waiter_init_sync(w);
                page_wait_add(&cache, &pages[i], w, page_busy_reading);
        }
        for (unsigned i = 0; i < PAGE_WAITQS; i++)
                used += waitq_busy(&cache.page_wq[i]);
        cr_assert_gt(used, PAGE_WAITQS / 2, "%u queues for %u pages", used, PAGE_WAITQS);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 20000

static unsigned long plain; /* guarded by the page's lock */
static pthread_barrier_t all_here;

static void *lock_and_count(void *arg)
{
        unsigned me = (unsigned)(uintptr_t)arg;

        pthread_barrier_wait(&all_here);
        for (unsigned i = 0; i < 5 * ROUNDS; i++) {
                page_lock(&cache, p);
                plain++;
                if (i % 1000 == me)
                        sched_yield(); /* so that the others come to sleep */
                page_unlock(&cache, p);
        }
        return NULL;
}

Test(page_lock, threads_exclude_each_other)
{
        pthread_t t[THREADS];

        set_state(p, PAGE_CLEAN);
        pthread_barrier_init(&all_here, NULL, THREADS);
        for (uintptr_t i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&t[i], NULL, lock_and_count, (void *)i), 0);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(t[i], NULL);
        cr_assert_eq(plain, 5ul * THREADS * ROUNDS);
        cr_assert_eq(page_word(p), (uint32_t)PAGE_CLEAN << PG_STATE_SHIFT);
        for (unsigned i = 0; i < PAGE_WAITQS; i++)
                cr_assert_not(waitq_busy(&cache.page_wq[i]));
}

/* One ends I/O just once a round, others wait for it: none sleeps for ever. */
#define WAITERS 2
static _Atomic unsigned round_nr, passed;

static void *wait_for_io(void *arg)
{
        (void)arg;
        for (unsigned i = 1; i <= ROUNDS; i++) {
                struct waiter w;

                while (atomic_load(&round_nr) < i)
                        sched_yield();
                waiter_init_sync(&w);
                if (page_wait_add(&cache, p, &w, page_busy_reading))
                        cr_assert_eq(waiter_sleep(&w, FOREVER), 0, "a wake-up was lost");
                atomic_fetch_add(&passed, 1);
        }
        return NULL;
}

Test(page_lock, no_wake_up_is_lost)
{
        pthread_t t[WAITERS];

        for (unsigned i = 0; i < WAITERS; i++)
                cr_assert_eq(pthread_create(&t[i], NULL, wait_for_io, NULL), 0);
        for (unsigned i = 1; i <= ROUNDS; i++) {
                set_state(p, PAGE_READING);
                atomic_store(&round_nr, i);
                for (volatile unsigned spin = 0; spin < i % 256 * 4; spin++)
                        ;
                page_lock(&cache, p);
                atomic_fetch_and(&p->word, ~PG_STATE_MASK);
                page_unlock(&cache, p);
                while (atomic_load(&passed) < i * WAITERS)
                        sched_yield();
        }
        for (unsigned i = 0; i < WAITERS; i++)
                pthread_join(t[i], NULL);
        cr_assert_not(page_test(p, PG_LOCKED));
}
