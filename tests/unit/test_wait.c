/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wait.c - wait queues: keys, order, time limits, and no wake-up lost or given twice.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "util/wait.h"

static struct waitq queue;

struct counted {
        struct waiter waiter;
        unsigned woken, order;
};
static unsigned order;

static void count_wake(struct waiter *w)
{
        struct counted *c = container_of(w, struct counted, waiter);

        c->woken++;
        c->order = ++order;
}

Test(waitq, wakes_by_key_in_order)
{
        struct counted c[5] = { 0 };
        int a, b;
        const void *keys[] = { &a, &b, &a, NULL, &b };

        for (unsigned i = 0; i < 5; i++) {
                c[i].waiter.wake = count_wake;
                waitq_add(&queue, &c[i].waiter, keys[i]);
        }
        cr_assert_eq(waitq_wake(&queue, &a), 3); /* both of a, and the one without a key */
        cr_assert_eq(c[0].order, 1);
        cr_assert_eq(c[2].order, 2);
        cr_assert_eq(c[3].order, 3);
        cr_assert_eq(waitq_wake(&queue, &a), 0);
        cr_assert_eq(c[1].woken + c[4].woken, 0);
        cr_assert_eq(waitq_wake(&queue, NULL), 2);
        cr_assert_eq(c[1].order, 4);
        cr_assert_eq(c[4].order, 5);
        cr_assert_null(queue.head);
}

Test(waitq, removed_waiter_is_not_woken)
{
        struct counted c[3] = { 0 };

        for (unsigned i = 0; i < 3; i++) {
                c[i].waiter.wake = count_wake;
                waitq_add(&queue, &c[i].waiter, &queue);
        }
        cr_assert(waitq_remove(&queue, &c[0].waiter));
        cr_assert_not(waitq_remove(&queue, &c[0].waiter));
        cr_assert_eq(waitq_wake(&queue, &queue), 2);
        cr_assert_eq(c[0].woken, 0);
        cr_assert_not(waitq_remove(&queue, &c[1].waiter));
}

static void add_again(struct waiter *w)
{
        struct counted *c = container_of(w, struct counted, waiter);

        if (++c->woken < 3)
                waitq_add(&queue, w, &queue);
}

Test(waitq, waiter_may_wait_again_from_its_wake)
{
        struct counted c = { .waiter.wake = add_again };

        waitq_add(&queue, &c.waiter, &queue);
        for (unsigned i = 1; i <= 3; i++) {
                cr_assert_eq(waitq_wake(&queue, &queue), 1);
                cr_assert_eq(c.woken, i);
        }
        cr_assert_eq(waitq_wake(&queue, &queue), 0);
}

Test(waitq, sleeper_times_out, .timeout = 10)
{
        struct waiter w;
        uint64_t begin = now_ns();

        waiter_init_sync(&w);
        waitq_add(&queue, &w, &queue);
        cr_assert_eq(waiter_sleep(&w, 20000000), -ETIMEDOUT);
        cr_assert_geq(now_ns() - begin, 20000000);
        cr_assert_null(queue.head);
}

/* A pool of tokens: threads take one or wait for one to come back, as for pages of a budget. */
#define THREADS 6
#define ROUNDS 20000
static _Atomic int tokens = 2;
static _Atomic unsigned timeouts;

static bool take_token(void)
{
        int n = atomic_load(&tokens);

        while (n > 0)
                if (atomic_compare_exchange_weak(&tokens, &n, n - 1))
                        return true;
        return false;
}

static void wait_for_token(uint64_t limit)
{
        for (;;) {
                struct waiter w;

                waiter_init_sync(&w);
                waitq_add(&queue, &w, &tokens);
                if (take_token()) {
                        if (!waitq_remove(&queue, &w))
                                waiter_sleep(&w, 0);
                        return;
                }
                if (waiter_sleep(&w, limit))
                        atomic_fetch_add(&timeouts, 1);
        }
}

static void *take_and_give(void *arg)
{
        for (unsigned i = 0; i < ROUNDS; i++) {
                wait_for_token(*(uint64_t *)arg);
                if (i % 128 == 0)
                        sched_yield();
                atomic_fetch_add(&tokens, 1);
                waitq_wake(&queue, &tokens);
        }
        return NULL;
}

static void run_tokens(uint64_t limit)
{
        pthread_t threads[THREADS];

        for (unsigned i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, take_and_give, &limit), 0);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        cr_assert_eq(tokens, 2);
        cr_assert_null(queue.head);
}

Test(waitq, no_wake_up_is_lost, .timeout = 60)
{
        run_tokens(0);
}

/* The limit is so short that it races with the wake-ups: a waiter on the stack that is woken
 * after its thread has gone would break something here. */
Test(waitq, time_limit_races_with_wake, .timeout = 60)
{
        run_tokens(1000);
}
