/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.c - mutex, reader-writer lock and the futex calls below them.
 *
 * The mutex is the three-state one of Drepper's "Futexes Are Tricky". The reader-writer lock
 * sleeps on a sequence number: a waiter reads it, tries, and sleeps only if it has not moved;
 * whoever releases moves it, then wakes everybody. Critical sections are short, so everybody
 * is rarely more than one.
 *
 * A reader of a spread lock counts itself in its slot and then looks for a writer; a writer says that
 * he is there and then looks at the slots (all sequentially consistent): one of them sees the other,
 * and it is the reader that steps back. A reader that finds a writer before touches nothing, so that
 * those who wait do not wake each other.
 *
 * Nothing is checked here: debug builds put that around these functions (lockdep.c).
 */
#define LOCKS_UNCHECKED
#include "util/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/perturb.h"

_Static_assert(READER_SLOTS % 4 == 0, "in_slots looks at four at once");
#ifdef NDEBUG
_Static_assert(sizeof(struct mutex) == 4 && sizeof(struct rwlock) == 24, "nothing but the words");
#endif

#define RW_WRITER 0x80000000u
#define SPINS 64 /* a holder that runs is out again by then; one that does not run is not */

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
}

int futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
        struct timespec ts = {
                .tv_sec = (time_t)(timeout_ns / 1000000000u),
                .tv_nsec = (long)(timeout_ns % 1000000000u),
        };
        int saved = errno;
        int ret = 0;

        if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns ? &ts : NULL, NULL, 0) &&
            errno == ETIMEDOUT)
                ret = -ETIMEDOUT;
        errno = saved;
        return ret;
}

void futex_wake(_Atomic uint32_t *word, int how_many)
{
        int saved = errno;

        /* The word's memory may be gone by now; a wake-up only uses its address. */
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
        errno = saved;
}

bool mutex_trylock(struct mutex *m)
{
        uint32_t free = 0;

        return atomic_compare_exchange_strong_explicit(&m->word, &free, 1, memory_order_acquire,
                                                       memory_order_relaxed);
}

void mutex_lock(struct mutex *m)
{
        if (likely(mutex_trylock(m)))
                return;
        for (int i = 0; i < SPINS; i++) {
                cpu_relax();
                if (!atomic_load_explicit(&m->word, memory_order_relaxed) && mutex_trylock(m))
                        return;
        }
        while (atomic_exchange_explicit(&m->word, 2, memory_order_acquire))
                futex_wait(&m->word, 2, 0);
}

void mutex_unlock(struct mutex *m)
{
        if (atomic_exchange_explicit(&m->word, 0, memory_order_release) == 2)
                futex_wake(&m->word, 1);
}

/* => somebody may have become able to get in */
static void rwlock_let_in(struct rwlock *l)
{
        if (atomic_load(&l->sleepers)) {
                atomic_fetch_add(&l->seq, 1);
                futex_wake(&l->seq, INT_MAX);
        }
}

/* Without a branch for each slot: there are many of them, and next to always nobody is in any. */
static uint32_t in_slots(struct rwlock *l)
{
        uint32_t any = 0;

        for (struct reader_slot *s = l->slots, *end = s + READER_SLOTS; s < end; s += 4)
                any |= atomic_load(&s[0].readers) | atomic_load(&s[1].readers) |
                       atomic_load(&s[2].readers) | atomic_load(&s[3].readers);
        return any;
}

static bool has_readers(struct rwlock *l)
{
        return (l->slots && in_slots(l)) || (atomic_load(&l->state) & ~RW_WRITER);
}

static bool try_write(struct rwlock *l)
{
        uint32_t free = 0;

        /* First a look, so that readers are not held off by a writer that cannot get in. */
        if (l->slots && has_readers(l))
                return false;
        if (!atomic_compare_exchange_strong(&l->state, &free, RW_WRITER))
                return false;
        perturb();
        if (!l->slots || !has_readers(l))
                return true;
        atomic_fetch_and(&l->state, ~RW_WRITER);
        rwlock_let_in(l);
        return false;
}

/* Sleeps between tries. The sleeper counts itself before its last try and a releaser looks at
 * the count after the release (both sequentially consistent): one of them sees the other. */
static void rwlock_wait(struct rwlock *l, bool (*try)(struct rwlock *))
{
        for (int i = 0; i < SPINS; i++) {
                if (try(l))
                        return;
                cpu_relax();
        }
        atomic_fetch_add(&l->sleepers, 1);
        for (;;) {
                uint32_t seq = atomic_load(&l->seq);

                if (try(l))
                        break;
                futex_wait(&l->seq, seq, 0);
        }
        atomic_fetch_sub(&l->sleepers, 1);
}

void rwlock_spread(struct rwlock *l, struct reader_slot slots[READER_SLOTS])
{
        l->slots = slots;
}

static _Atomic uint32_t *own_slot(struct rwlock *l)
{
        return &l->slots[thread_id() % READER_SLOTS].readers;
}

static bool has_writer(struct rwlock *l)
{
        return (atomic_load(&l->state) & RW_WRITER) || atomic_load(&l->writers);
}

static void leave_slot(struct rwlock *l)
{
        if (atomic_fetch_sub(own_slot(l), 1) == 1)
                rwlock_let_in(l);
}

static bool enter_slot(struct rwlock *l)
{
        if (has_writer(l))
                return false;
        perturb_gap();
        atomic_fetch_add(own_slot(l), 1);
        perturb_gap();
        if (likely(!has_writer(l)))
                return true;
        leave_slot(l);
        return false;
}

bool rwlock_read_trylock(struct rwlock *l)
{
        uint32_t state;

        if (l->slots)
                return enter_slot(l);
        state = atomic_load(&l->state);
        do {
                if ((state & RW_WRITER) || atomic_load(&l->writers))
                        return false;
        } while (!atomic_compare_exchange_weak(&l->state, &state, state + 1));
        return true;
}

void rwlock_read_lock(struct rwlock *l)
{
        if (unlikely(!rwlock_read_trylock(l)))
                rwlock_wait(l, rwlock_read_trylock);
}

void rwlock_read_unlock(struct rwlock *l)
{
        if (l->slots)
                leave_slot(l);
        else if (atomic_fetch_sub(&l->state, 1) == 1)
                rwlock_let_in(l);
}

bool rwlock_write_trylock(struct rwlock *l)
{
        return !atomic_load(&l->writers) && try_write(l);
}

void rwlock_write_lock(struct rwlock *l)
{
        if (likely(rwlock_write_trylock(l)))
                return;
        atomic_fetch_add(&l->writers, 1);
        rwlock_wait(l, try_write);
        /* Readers held off by this count are let in by the release. */
        atomic_fetch_sub(&l->writers, 1);
}

void rwlock_write_unlock(struct rwlock *l)
{
        atomic_fetch_and(&l->state, ~RW_WRITER);
        rwlock_let_in(l);
}

bool rwlock_is_write_locked(struct rwlock *l)
{
        return atomic_load(&l->state) & RW_WRITER;
}

bool rwlock_is_locked(struct rwlock *l)
{
        return rwlock_is_write_locked(l) || has_readers(l);
}
