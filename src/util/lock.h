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
 *                With rwlock_spread() each reader counts itself in a place of its own thread's, so that
 *                readers on many cores write no line of memory in common; a writer looks at all.
 * Both start valid when zeroed; mutex_init() and rwlock_init() tell debug builds the lock's class,
 * and with it its place in that order (util/lockdep.h). They cost nothing otherwise.
 */
#ifndef FL_UTIL_LOCK_H
#define FL_UTIL_LOCK_H

#include "util/lockdep.h"

struct mutex {
        _Atomic uint32_t word;
#ifndef NDEBUG
        _Atomic uint32_t owner; /* thread_id() of the holder, for people with a debugger */
        enum lock_class class;  /* (c) */
#endif
};

void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

/* Readers of a lock that is spread, by thread; alone in a line of the processor's cache. */
#define READER_SLOTS 64
struct reader_slot {
        _Alignas(64) _Atomic uint32_t readers;
};

struct rwlock {
        struct reader_slot
                *slots;           /* (c) READER_SLOTS of them; NULL: readers are counted in state */
        _Atomic uint32_t state;   /* readers, or RW_WRITER */
        _Atomic uint32_t writers; /* writers that wait */
        _Atomic uint32_t seq;     /* futex word: bumped at each release that may let somebody in */
        _Atomic uint32_t sleepers;
#ifndef NDEBUG
        _Atomic uint32_t owner; /* thread_id() of the writer that is in */
        enum lock_class class;  /* (c) */
#endif
};

void rwlock_read_lock(struct rwlock *l);
bool rwlock_read_trylock(struct rwlock *l);
void rwlock_read_unlock(struct rwlock *l);
void rwlock_write_lock(struct rwlock *l);
bool rwlock_write_trylock(struct rwlock *l);
void rwlock_write_unlock(struct rwlock *l);
bool rwlock_is_write_locked(struct rwlock *l);
bool rwlock_is_locked(struct rwlock *l);
/* Of a lock that nobody uses yet. Whoever locks for reading unlocks in the same thread. */
void rwlock_spread(struct rwlock *l, struct reader_slot slots[READER_SLOTS]);

/* Of a lock that nobody uses yet. The asserts are about the calling thread. */
#ifndef NDEBUG
#define mutex_init(m, which) ((void)((m)->class = (which)))
#define rwlock_init(l, which) ((void)((l)->class = (which)))
#define mutex_assert_held(m) mutex_assert_held_at((m), LOCK_HERE)
#define rwlock_assert_held(l) rwlock_assert_held_at((l), LOCK_HERE)
#define rwlock_assert_write_held(l) rwlock_assert_write_held_at((l), LOCK_HERE)
#else
#define mutex_init(m, which) ((void)(m))
#define rwlock_init(l, which) ((void)(l))
#define mutex_assert_held(m) ((void)(m))
#define rwlock_assert_held(l) ((void)(l))
#define rwlock_assert_write_held(l) ((void)(l))
#endif

#ifndef NDEBUG
/* The same, checked and counted (lockdep.c). */
void mutex_lock_at(struct mutex *m, const char *where);
bool mutex_trylock_at(struct mutex *m, const char *where);
void mutex_unlock_at(struct mutex *m, const char *where);
void mutex_assert_held_at(const struct mutex *m, const char *where);
void rwlock_read_lock_at(struct rwlock *l, const char *where);
bool rwlock_read_trylock_at(struct rwlock *l, const char *where);
void rwlock_read_unlock_at(struct rwlock *l, const char *where);
void rwlock_write_lock_at(struct rwlock *l, const char *where);
bool rwlock_write_trylock_at(struct rwlock *l, const char *where);
void rwlock_write_unlock_at(struct rwlock *l, const char *where);
void rwlock_assert_held_at(const struct rwlock *l, const char *where);
void rwlock_assert_write_held_at(const struct rwlock *l, const char *where);
#endif

/* Whoever includes this uses the checked ones, but for those who make the locks. */
#if !defined(NDEBUG) && !defined(LOCKS_UNCHECKED)
#define mutex_lock(m) mutex_lock_at((m), LOCK_HERE)
#define mutex_trylock(m) mutex_trylock_at((m), LOCK_HERE)
#define mutex_unlock(m) mutex_unlock_at((m), LOCK_HERE)
#define rwlock_read_lock(l) rwlock_read_lock_at((l), LOCK_HERE)
#define rwlock_read_trylock(l) rwlock_read_trylock_at((l), LOCK_HERE)
#define rwlock_read_unlock(l) rwlock_read_unlock_at((l), LOCK_HERE)
#define rwlock_write_lock(l) rwlock_write_lock_at((l), LOCK_HERE)
#define rwlock_write_trylock(l) rwlock_write_trylock_at((l), LOCK_HERE)
#define rwlock_write_unlock(l) rwlock_write_unlock_at((l), LOCK_HERE)
#endif

/* Sleep while *word == value. timeout_ns 0 = no limit. Returns 0, or -ETIMEDOUT; may return
 * early, so that the caller looks again. Async-signal-safe; leaves errno alone. */
int futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
void futex_wake(_Atomic uint32_t *word, int how_many);

#endif
