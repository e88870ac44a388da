/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.h - locks made of one word and a futex.
 *
 * Our own rather than pthread's because the fault path may run in a signal handler:
 * these neither allocate nor keep per-thread state, and a waiter sleeps in the kernel.
 * The order in which locks are taken is written in docs/locking.md and nowhere else.
 *
 * struct mutex:  0 free, 1 held, 2 held and somebody sleeps.
 * struct rwlock: readers share, a writer excludes; a waiting writer holds off new readers.
 *                Not recursive in either direction.
 * Both start valid when zeroed.
 */
#ifndef FL_UTIL_LOCK_H
#define FL_UTIL_LOCK_H

#include "util/base.h"

struct mutex {
        _Atomic uint32_t word;
#ifndef NDEBUG
        _Atomic uint32_t owner; /* thread_id() of the holder, for mutex_assert_held() */
#endif
};

void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

struct rwlock {
        _Atomic uint32_t state;   /* readers, or RW_WRITER */
        _Atomic uint32_t writers; /* writers that wait */
        _Atomic uint32_t seq;     /* futex word: bumped at each release that may let somebody in */
        _Atomic uint32_t sleepers;
};

void rwlock_read_lock(struct rwlock *l);
bool rwlock_read_trylock(struct rwlock *l);
void rwlock_read_unlock(struct rwlock *l);
void rwlock_write_lock(struct rwlock *l);
void rwlock_write_unlock(struct rwlock *l);
bool rwlock_is_write_locked(struct rwlock *l);
bool rwlock_is_locked(struct rwlock *l);

#ifndef NDEBUG
void mutex_assert_held_at(struct mutex *m, const char *file, int line);
#define mutex_assert_held(m) mutex_assert_held_at((m), __FILE__, __LINE__)
#else
#define mutex_assert_held(m) ((void)0)
#endif

/* Sleep while *word == value. timeout_ns 0 = no limit. Returns 0, or -ETIMEDOUT; may return
 * early, so that the caller looks again. Async-signal-safe; leaves errno alone. */
int futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
void futex_wake(_Atomic uint32_t *word, int how_many);

#endif
