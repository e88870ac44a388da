/* SPDX-License-Identifier: Apache-2.0
 *
 * lockdep.c - the locks a thread holds, their order, and what they cost. Debug builds only.
 *
 * The list of held locks is the thread's own, so nothing here is locked. A signal handler may
 * interrupt any of it and take locks too; it releases them before it returns, so that for those
 * it interrupted the list is as it was. Hence a place is claimed by one store before it is filled
 * in, and no entry is ever moved.
 *
 * The classes and their counters are the process's: a class says what kind of lock it is, which is
 * the same for every engine, and nothing is decided by a counter. They are like the table behind
 * lockstat(1M) or /proc/lock_stat.
 */
#define LOCKS_UNCHECKED
#include "util/lockdep.h"

#ifndef NDEBUG

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/lock.h"

/* Reclaim holds a batch of 64 pages. A munmap of mappings of more files than this holds more: of
 * those that find no place here only the number is known, and no check fails for them. */
#define HELD_MAX 96

static const struct {
        const char *name;
        unsigned rank, flags;
} classes[] = {
#define X(class, name, rank, flags) [LOCK_##class] = { name, rank, flags },
        LOCK_CLASSES(X)
#undef X
};

struct held {
        const void *lock; /* NULL: a free place */
        const char *where;
        uint64_t since; /* lock_clock() */
        enum lock_class class;
        enum lock_mode mode;
};

static _Thread_local struct {
        struct held place[HELD_MAX];
        unsigned used;                   /* places behind are free */
        uint16_t extra[LOCK_CLASSES_NR]; /* held without a place */
        int own_io;                      /* I/Os under way that only this thread can end, */
        int held_back;                   /* and requests that only it can send */
} mine;

static const char claimed; /* its address: a place about to be filled in */

static _Atomic bool counting;
static struct {
        _Atomic uint64_t taken, waited, wait_ns, wait_max, hold_ns, hold_max;
} counters[LOCK_CLASSES_NR][LOCK_MODES];

/* ---- dying ---- */

/* The compiler says from where it looked. */
static const char *short_place(const char *where)
{
        while (strncmp(where, "../", 3) == 0)
                where += 3;
        return where;
}

static void die_with(const char *line)
{
        if (write(STDERR_FILENO, line, strlen(line)) < 0)
                abort(); /* there is nobody to tell */
        abort();
}

void lock_die(const char *where, const char *what)
{
        char line[256];

        snprintf(line, sizeof(line), "faultline: %s: %s\n", short_place(where), what);
        die_with(line);
}

/* why: what is wrong with taking one while the other is held. */
static void die_of(enum lock_class class, const char *where, const struct held *h, const char *why)
{
        char line[512];

        snprintf(line, sizeof(line),
                 "faultline: %s: %s is wanted while %s is held, taken at %s: %s "
                 "(docs/locking.md)\n",
                 short_place(where), classes[class].name, classes[h->class].name,
                 short_place(h->where), why);
        die_with(line);
}

/* ---- the list ---- */

static bool is_held(const struct held *h)
{
        return h->lock && h->lock != &claimed;
}

/* The youngest entry of the lock. */
static struct held *find(const void *lock)
{
        for (unsigned i = mine.used; i > 0; i--)
                if (mine.place[i - 1].lock == lock)
                        return &mine.place[i - 1];
        return NULL;
}

static void add(const struct held *new)
{
        struct held *h;
        unsigned i = 0;

        while (i < HELD_MAX && mine.place[i].lock)
                i++;
        if (i == HELD_MAX) {
                mine.extra[new->class]++;
                return;
        }
        h = &mine.place[i];
        h->lock = &claimed;
        atomic_signal_fence(memory_order_seq_cst);
        if (mine.used <= i)
                mine.used = i + 1;
        h->where = new->where;
        h->since = new->since;
        h->class = new->class;
        h->mode = new->mode;
        atomic_signal_fence(memory_order_seq_cst);
        h->lock = new->lock;
}

static void drop(struct held *h)
{
        h->lock = NULL;
        atomic_signal_fence(memory_order_seq_cst);
        while (mine.used && !mine.place[mine.used - 1].lock)
                mine.used--;
}

/* ---- I/O that only this thread can end ---- */

void lock_own_io(int more)
{
        mine.own_io += more;
}

void lock_held_back(int more)
{
        mine.held_back += more;
}

static void check_held_back(const char *where, const char *what)
{
        char line[256];

        if (!mine.held_back)
                return;
        snprintf(line, sizeof(line), "%s with %d requests held back (docs/locking.md)", what,
                 mine.held_back);
        lock_die(where, line);
}

static void check_own_io(const char *where, const char *what)
{
        char line[256];

        if (!mine.own_io)
                return;
        snprintf(line, sizeof(line),
                 "%s while %d I/Os are under way that only this thread can end (docs/locking.md)",
                 what, mine.own_io);
        lock_die(where, line);
}

/* ---- order ---- */

static void check_pair(const void *lock, enum lock_class class, const char *where,
                       const struct held *h)
{
        if (h->lock == lock)
                die_of(class, where, h, "it is the same lock");
        if (class == LOCK_UNNAMED || h->class == LOCK_UNNAMED)
                return;
        if (class == h->class) {
                if (!(classes[class].flags & LOCK_BY_ADDRESS))
                        die_of(class, where, h, "only one of the kind may be held");
                if ((uintptr_t)lock < (uintptr_t)h->lock)
                        die_of(class, where, h,
                               "several are taken in the order of their addresses");
                return;
        }
        if (classes[class].rank <= classes[h->class].rank)
                die_of(class, where, h, "that is against the order");
}

void lock_will_take(const void *lock, enum lock_class class, const char *where)
{
        if (classes[class].flags & LOCK_MAY_SLEEP) {
                check_held_back(where, "a lock that is held across I/O is wanted");
                check_own_io(where, "a lock that is held across I/O is wanted");
        }
        for (unsigned i = 0; i < mine.used; i++)
                if (is_held(&mine.place[i]))
                        check_pair(lock, class, where, &mine.place[i]);
}

/* ---- counting ---- */

uint64_t lock_clock(void)
{
        return unlikely(atomic_load_explicit(&counting, memory_order_relaxed)) ? now_ns() : 0;
}

static void add_time(_Atomic uint64_t *sum, _Atomic uint64_t *max, uint64_t ns)
{
        uint64_t most = atomic_load_explicit(max, memory_order_relaxed);

        atomic_fetch_add_explicit(sum, ns, memory_order_relaxed);
        while (ns > most && !atomic_compare_exchange_weak_explicit(
                                    max, &most, ns, memory_order_relaxed, memory_order_relaxed))
                ;
}

static void count_taken(enum lock_class class, enum lock_mode mode, uint64_t now,
                        uint64_t waited_since)
{
        atomic_fetch_add_explicit(&counters[class][mode].taken, 1, memory_order_relaxed);
        if (!waited_since)
                return;
        atomic_fetch_add_explicit(&counters[class][mode].waited, 1, memory_order_relaxed);
        add_time(&counters[class][mode].wait_ns, &counters[class][mode].wait_max,
                 now - waited_since);
}

void lock_taken(const void *lock, enum lock_class class, enum lock_mode mode, const char *where,
                uint64_t waited_since)
{
        struct held h = { lock, where, lock_clock(), class, mode };

        if (h.since)
                count_taken(class, mode, h.since, waited_since);
        add(&h);
}

void lock_released(const void *lock, enum lock_class class, enum lock_mode mode, const char *where)
{
        struct held *h = find(lock);

        if (h && h->mode == mode) {
                if (h->since)
                        add_time(&counters[class][mode].hold_ns, &counters[class][mode].hold_max,
                                 now_ns() - h->since);
                drop(h);
        } else if (!h && mine.extra[class]) {
                mine.extra[class]--;
        } else {
                char what[128];

                snprintf(what, sizeof(what), "%s is released by a thread that does not hold it%s",
                         classes[class].name, h ? " in this way" : "");
                lock_die(where, what);
        }
}

void lock_stats_start(void)
{
        atomic_store(&counting, true);
}

unsigned lock_stats(struct lock_stat *out, unsigned max)
{
        unsigned n = 0;

        for (unsigned c = 0; c < LOCK_CLASSES_NR; c++) {
                for (unsigned m = 0; m < LOCK_MODES && n < max; m++) {
                        if (!atomic_load(&counters[c][m].taken))
                                continue;
                        out[n++] = (struct lock_stat){
                                .name = classes[c].name,
                                .read = m == LOCK_SHARED,
                                .taken = atomic_load(&counters[c][m].taken),
                                .waited = atomic_load(&counters[c][m].waited),
                                .wait_ns = atomic_load(&counters[c][m].wait_ns),
                                .wait_max = atomic_load(&counters[c][m].wait_max),
                                .hold_ns = atomic_load(&counters[c][m].hold_ns),
                                .hold_max = atomic_load(&counters[c][m].hold_max),
                        };
                }
        }
        return n;
}

/* ---- asserts ---- */

bool lock_held(const void *lock, enum lock_class class, bool write)
{
        struct held *h = find(lock);

        if (!h)
                return mine.extra[class] > 0;
        return !write || h->mode == LOCK_ALONE;
}

unsigned lock_held_of(enum lock_class class)
{
        unsigned n = mine.extra[class];

        for (unsigned i = 0; i < mine.used; i++)
                n += is_held(&mine.place[i]) && mine.place[i].class == class;
        return n;
}

static void die_holding(const char *where, const struct held *h, const char *what)
{
        char line[256];

        snprintf(line, sizeof(line), "%s, taken at %s, is held %s (docs/locking.md)",
                 classes[h->class].name, short_place(h->where), what);
        lock_die(where, line);
}

void lock_assert_none_at(const char *where)
{
        check_own_io(where, "the thread goes on");
        for (unsigned i = 0; i < mine.used; i++)
                if (is_held(&mine.place[i]))
                        die_holding(where, &mine.place[i], "where nothing may be");
}

void lock_assert_may_sleep_at(const char *where)
{
        check_held_back(where, "the thread waits");
        check_own_io(where, "the thread waits");
        lock_assert_may_end_io_at(where);
}

void lock_assert_may_end_io_at(const char *where)
{
        for (unsigned i = 0; i < mine.used; i++)
                if (is_held(&mine.place[i]) &&
                    !(classes[mine.place[i].class].flags & LOCK_MAY_SLEEP))
                        die_holding(where, &mine.place[i], "while the thread waits for I/O");
}

void lock_assert_below_at(enum lock_class class, const char *where)
{
        for (unsigned i = 0; i < mine.used; i++)
                if (is_held(&mine.place[i]) &&
                    classes[mine.place[i].class].rank >= classes[class].rank)
                        die_holding(where, &mine.place[i], "over a call that may take others");
}

void lock_assert_held_of_at(enum lock_class class, uint64_t nr, const char *where)
{
        if (lock_held_of(class) < nr) {
                char line[128];

                snprintf(line, sizeof(line), "%u of %s held, not %llu", lock_held_of(class),
                         classes[class].name, (unsigned long long)nr);
                lock_die(where, line);
        }
}

/* ---- mutex and rwlock with the checks around them ---- */

static void set_owner(_Atomic uint32_t *owner, uint32_t tid)
{
        atomic_store_explicit(owner, tid, memory_order_relaxed);
}

void mutex_lock_at(struct mutex *m, const char *where)
{
        uint64_t since = 0;

        lock_will_take(m, m->class, where);
        if (!mutex_trylock(m)) {
                since = lock_clock();
                mutex_lock(m);
        }
        set_owner(&m->owner, thread_id());
        lock_taken(m, m->class, LOCK_ALONE, where, since);
}

bool mutex_trylock_at(struct mutex *m, const char *where)
{
        if (!mutex_trylock(m))
                return false;
        set_owner(&m->owner, thread_id());
        lock_taken(m, m->class, LOCK_ALONE, where, 0);
        return true;
}

void mutex_unlock_at(struct mutex *m, const char *where)
{
        lock_released(m, m->class, LOCK_ALONE, where);
        set_owner(&m->owner, 0);
        mutex_unlock(m);
}

void mutex_assert_held_at(const struct mutex *m, const char *where)
{
        if (!lock_held(m, m->class, true))
                lock_die(where, "the mutex is not held by this thread");
}

void rwlock_read_lock_at(struct rwlock *l, const char *where)
{
        uint64_t since = 0;

        lock_will_take(l, l->class, where);
        if (!rwlock_read_trylock(l)) {
                since = lock_clock();
                rwlock_read_lock(l);
        }
        lock_taken(l, l->class, LOCK_SHARED, where, since);
}

bool rwlock_read_trylock_at(struct rwlock *l, const char *where)
{
        if (!rwlock_read_trylock(l))
                return false;
        lock_taken(l, l->class, LOCK_SHARED, where, 0);
        return true;
}

void rwlock_read_unlock_at(struct rwlock *l, const char *where)
{
        lock_released(l, l->class, LOCK_SHARED, where);
        rwlock_read_unlock(l);
}

void rwlock_write_lock_at(struct rwlock *l, const char *where)
{
        uint64_t since = 0;

        lock_will_take(l, l->class, where);
        if (!rwlock_write_trylock(l)) {
                since = lock_clock();
                rwlock_write_lock(l);
        }
        set_owner(&l->owner, thread_id());
        lock_taken(l, l->class, LOCK_ALONE, where, since);
}

bool rwlock_write_trylock_at(struct rwlock *l, const char *where)
{
        if (!rwlock_write_trylock(l))
                return false;
        set_owner(&l->owner, thread_id());
        lock_taken(l, l->class, LOCK_ALONE, where, 0);
        return true;
}

void rwlock_write_unlock_at(struct rwlock *l, const char *where)
{
        lock_released(l, l->class, LOCK_ALONE, where);
        set_owner(&l->owner, 0);
        rwlock_write_unlock(l);
}

void rwlock_assert_held_at(const struct rwlock *l, const char *where)
{
        if (!lock_held(l, l->class, false))
                lock_die(where, "the rwlock is not held by this thread");
}

void rwlock_assert_write_held_at(const struct rwlock *l, const char *where)
{
        if (!lock_held(l, l->class, true))
                lock_die(where, "the rwlock is not held for writing by this thread");
}

#endif
