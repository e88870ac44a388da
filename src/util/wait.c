/* SPDX-License-Identifier: Apache-2.0
 *
 * wait.c - wait queues: a short list under a mutex, first come first woken.
 *
 * The list is circular: head->prev is the tail. Once a waiter's `wake` has been called the
 * waiter may be gone, so its link is read before.
 */
#include "util/wait.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>

/* `q` is changed under the queue's lock and read without it by a sleeper that gives up. */
static void set_queue(struct waiter *w, struct waitq *q)
{
        __atomic_store_n(&w->q, q, __ATOMIC_RELAXED);
}

static struct waitq *queue_of(struct waiter *w)
{
        return __atomic_load_n(&w->q, __ATOMIC_RELAXED);
}

/* `head` too is read without the lock, by waitq_busy(). */
static void set_head(struct waiter **head, struct waiter *w)
{
        __atomic_store_n(head, w, __ATOMIC_RELAXED);
}

static void link_tail(struct waiter **head, struct waiter *w)
{
        if (!*head) {
                w->next = w->prev = w;
                set_head(head, w);
                return;
        }
        w->next = *head;
        w->prev = (*head)->prev;
        w->prev->next = w->next->prev = w;
}

static void unlink_waiter(struct waiter **head, struct waiter *w)
{
        if (w->next == w) {
                set_head(head, NULL);
                return;
        }
        w->prev->next = w->next;
        w->next->prev = w->prev;
        if (*head == w)
                set_head(head, w->next);
}

void waitq_add(struct waitq *q, struct waiter *w, const void *key)
{
        mutex_lock(&q->lock);
        assert(!queue_of(w));
        w->key = key;
        set_queue(w, q);
        link_tail(&q->head, w);
        mutex_unlock(&q->lock);
}

bool waitq_remove(struct waitq *q, struct waiter *w)
{
        bool queued;

        mutex_lock(&q->lock);
        queued = queue_of(w) == q;
        if (queued) {
                unlink_waiter(&q->head, w);
                set_queue(w, NULL);
        }
        mutex_unlock(&q->lock);
        return queued;
}

/* Moves the waiters with this key from q to a list of their own, in order. */
static struct waiter *take_matching(struct waitq *q, const void *key)
{
        struct waiter *taken = NULL, *w, *next, *last;

        mutex_lock(&q->lock);
        last = q->head ? q->head->prev : NULL;
        for (w = q->head; w; w = next) {
                next = w == last ? NULL : w->next;
                if (key && w->key && w->key != key)
                        continue;
                unlink_waiter(&q->head, w);
                set_queue(w, NULL);
                link_tail(&taken, w);
        }
        mutex_unlock(&q->lock);
        return taken;
}

unsigned waitq_wake(struct waitq *q, const void *key)
{
        struct waiter *w = take_matching(q, key);
        struct waiter *last = w ? w->prev : NULL;
        unsigned n = 0;

        while (w) {
                struct waiter *next = w == last ? NULL : w->next;

                w->wake(w);
                w = next;
                n++;
        }
        return n;
}

/* woken: whoever wakes need not call the kernel for one that has not gone to sleep. */
enum { AWAKE, WOKEN, ASLEEP };

static void wake_sleeper(struct waiter *w)
{
        if (atomic_exchange(&w->woken, WOKEN) == ASLEEP)
                futex_wake(&w->woken, INT_MAX); /* it may be gone: then nobody is woken */
}

void waiter_init_sync(struct waiter *w)
{
        *w = (struct waiter){ .wake = wake_sleeper };
}

static int sleep_until_woken(struct waiter *w, uint64_t timeout_ns)
{
        uint64_t deadline = timeout_ns ? now_ns() + timeout_ns : 0;

        assert(w->wake == wake_sleeper);
        while (atomic_load_explicit(&w->woken, memory_order_acquire) != WOKEN) {
                uint32_t awake = AWAKE;
                uint64_t now = deadline ? now_ns() : 0;

                if (deadline && now >= deadline) {
                        struct waitq *q = queue_of(w);

                        if (q && waitq_remove(q, w))
                                return -ETIMEDOUT;
                        deadline = 0; /* taken off by a waker that is about to wake */
                        continue;
                }
                atomic_compare_exchange_strong(&w->woken, &awake, ASLEEP);
                futex_wait(&w->woken, ASLEEP, deadline ? deadline - now : 0);
        }
        return 0;
}

int waiter_sleep(struct waiter *w, uint64_t timeout_ns)
{
        lock_assert_may_sleep();
        return sleep_until_woken(w, timeout_ns);
}

void waiter_sleep_for_lock(struct waiter *w)
{
        sleep_until_woken(w, 0);
}
