/* SPDX-License-Identifier: Apache-2.0
 *
 * wait.h - wait queues: how anything in the engine waits for anything.
 *
 * A waiter names a queue and a key (the thing waited for; queues are shared by hash). When the
 * thing happens, waitq_wake() calls `wake` of each waiter with that key, once, having taken it
 * off the queue. Two kinds of waiter use it:
 *   - a thread that sleeps (waiter_init_sync, waiter_sleep): fl_pread, msync, reclaim;
 *   - a fault that is parked (its own `wake`): the pager goes on with other faults and runs
 *     the fault again when it has been woken. Nothing else of the fault is kept.
 *
 * The race between looking and sleeping is closed as in the kernel: add the waiter, look again,
 * and take the waiter off (waitq_remove) when there is no need to wait any more.
 */
#ifndef FL_UTIL_WAIT_H
#define FL_UTIL_WAIT_H

#include "util/lock.h"

struct waitq;

struct waiter {
        struct waiter *next, *prev;    /* [wq] */
        struct waitq *q;               /* [wq] NULL once woken or removed */
        const void *key;               /* [wq] NULL matches every wake-up */
        void (*wake)(struct waiter *); /* (c) called without the queue's lock, by whoever wakes */
        _Atomic uint32_t woken;        /* futex word of waiters made by waiter_init_sync() */
};

struct waitq {
        struct mutex lock;
        struct waiter *head; /* [wq]; waitq_busy() peeks */
};

static inline void waitq_init(struct waitq *q)
{
        mutex_init(&q->lock, LOCK_WAITQ);
        q->head = NULL;
}

void waiter_init_sync(struct waiter *w);
/* Sleep until woken; 0, or -ETIMEDOUT after timeout_ns (0 = no limit; then the waiter has been
 * removed). Only for waiters made by waiter_init_sync(). => no lock held but those that may be
 * held across I/O */
int waiter_sleep(struct waiter *w, uint64_t timeout_ns);
/* The same, without a limit, for a thread that waits for a lock: what else it may hold is a matter
 * of the order of locks. */
void waiter_sleep_for_lock(struct waiter *w);

void waitq_add(struct waitq *q, struct waiter *w, const void *key);
/* True if the waiter was still queued; false if it has been, or is being, woken. For a sync
 * waiter that returns false, waiter_sleep() must still be called: its wake may not be over. */
bool waitq_remove(struct waitq *q, struct waiter *w);
/* Wakes the waiters with this key, all of them if key is NULL. Returns how many. */
unsigned waitq_wake(struct waitq *q, const void *key);
/* Does anybody wait? A hint: it may have changed by the time it is read. */
static inline bool waitq_busy(struct waitq *q)
{
        return __atomic_load_n(&q->head, __ATOMIC_RELAXED) != NULL;
}

#endif
