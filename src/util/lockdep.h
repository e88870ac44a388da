/* SPDX-License-Identifier: Apache-2.0
 *
 * lockdep.h - what debug builds know about locks: who holds which, in what order they may be
 * taken, and how long they are waited for and held.
 *
 * Every lock belongs to a class, given by mutex_init(), rwlock_init() or waitq_init(). A thread
 * keeps a list of the locks it holds, and whoever takes one is checked against it before he waits:
 * a deadlock that needs two threads and bad luck becomes an abort in one thread, at once, naming
 * both locks and where they were taken.
 *
 *   - A lock is taken, waiting if need be, only while all held ones are of lower rank.
 *   - A try waits for nobody, so it may come in any order; what it got counts as held.
 *   - Two of one class: only by try, or, where the class says so, in the order of their addresses.
 *   - A lock is released by the thread that took it. None is ever handed over.
 *
 * util/lock.h and cache/page.h put the checks around their own functions; nobody else calls
 * anything here but the asserts. With NDEBUG nothing of it is left, neither code nor size.
 * Async-signal-safe (but for dying); allocates nothing.
 */
#ifndef FL_UTIL_LOCKDEP_H
#define FL_UTIL_LOCKDEP_H

#include "util/base.h"

#define LOCK_MAY_SLEEP 1u  /* may be held across I/O, and while its end is waited for */
#define LOCK_BY_ADDRESS 2u /* several may be held, taken in the order of their addresses */

/* X(class, name, rank, flags), as in docs/locking.md: of two locks that a thread holds the one
 * taken first has the lower rank. Of classes of one rank no two are held together. */
#define LOCK_CLASSES(X)                                                                            \
        X(UNNAMED, "lock without a class", 0, 0) /* zeroed and never told: no order */             \
        X(FORK, "fork_lock", 1, LOCK_MAY_SLEEP)                                                    \
        X(OPEN, "open_lock", 1, LOCK_MAY_SLEEP)                                                    \
        X(FS_ENV, "fs_env.lock", 2, LOCK_MAY_SLEEP)                                                \
        X(I_RWSEM, "i_rwsem", 3, LOCK_MAY_SLEEP)                                                   \
        X(SQUASHFS_TREE, "squashfs tree.lock", 3, LOCK_MAY_SLEEP)                                  \
        X(MM, "mm.lock", 4, LOCK_BY_ADDRESS) /* several by fork alone */                           \
        X(EVICT, "evict_lock", 5, 0)                                                               \
        X(PAGE, "page LOCK", 6, 0)                                                                 \
        X(I_MMAP, "i_mmap_lock", 7, LOCK_BY_ADDRESS)                                               \
        X(PTL, "ptl", 8, 0)                                                                        \
        X(MOVE, "move_lock", 8, 0)                                                                 \
        X(SIGSEGV, "sigsegv.lock", 9, 0)                                                           \
        X(RA, "ra_lock", 9, 0)                                                                     \
        X(LRU, "lru.lock", 9, 0)                                                                   \
        X(CACHE, "page_cache.lock", 9, 0)                                                          \
        X(RADIX, "radix.lock", 10, 0)                                                              \
        X(QUEUE, "request_queue.lock", 10, 0)                                                      \
        X(TABLES, "table_pool.lock", 11, 0)                                                        \
        X(BIOS, "block_pool.lock", 11, 0)                                                          \
        X(ROOM, "room_lock", 11, 0)                                                                \
        X(KNOWN, "known_blocks.lock", 11, 0)                                                       \
        X(RUN, "run_lock", 11, 0)                                                                  \
        X(DROP, "drop_lock", 11, 0)                                                                \
        X(PREFETCH, "prefetch_lock", 11, 0)                                                        \
        X(PARK, "park_lock", 11, 0)                                                                \
        X(VMAS, "vma_pool.lock", 11, 0)                                                            \
        X(STAGING, "staging.lock", 11, 0)                                                          \
        X(WAITQ, "waitq.lock", 11, 0)                                                              \
        X(LOOP, "loop.lock", 11, 0)                                                                \
        X(MEMFS, "memfs.lock", 11, 0)                                                              \
        X(URING, "uring.lock", 11, 0)                                                              \
        X(SWAP, "swap_area.lock", 11, 0)                                                           \
        X(HANDOVER, "handover_lock", 11, 0)                                                        \
        X(POSIX, "pool_threads.lock", 11, 0)                                                       \
        X(FAULTY, "faulty.lock", 11, 0)                                                            \
        X(NBD, "nbd.lock", 11, 0)                                                                  \
        X(NBD_LOG, "nbd_log.lock", 11, 0)                                                          \
        X(RAM, "ram.lock", 11, 0)                                                                  \
        X(SQUASHFS_BLOCKS, "squashfs blocks.lock", 11, 0)                                          \
        X(WORKER, "fs_worker.lock", 11, 0)                                                         \
        X(EXT4_MAP, "ext4_map.lock", 11, 0)

enum lock_class {
#define X(class, name, rank, flags) LOCK_##class,
        LOCK_CLASSES(X)
#undef X
                LOCK_CLASSES_NR
};

/* Alone, or shared with others who read. */
enum lock_mode { LOCK_ALONE, LOCK_SHARED, LOCK_MODES };

/* One line of the table of waits and holds; times in nanoseconds. */
struct lock_stat {
        const char *name;
        bool read;
        uint64_t taken, waited; /* times; waited: of these, how often it was not free at once */
        uint64_t wait_ns, wait_max, hold_ns, hold_max;
};

#ifndef NDEBUG

/* The place in the source, as one pointer. */
#define LOCK_HERE_(line) __FILE__ ":" #line
#define LOCK_HERE_OF(line) LOCK_HERE_(line)
#define LOCK_HERE LOCK_HERE_OF(__LINE__)

/* About to wait for it, should it be taken. Dies if that is out of order. */
void lock_will_take(const void *lock, enum lock_class class, const char *where);
/* It has been taken; waited_since: lock_clock() before the wait, 0: there was none. */
void lock_taken(const void *lock, enum lock_class class, enum lock_mode mode, const char *where,
                uint64_t waited_since);
/* About to be released. Dies if this thread does not hold it. */
void lock_released(const void *lock, enum lock_class class, enum lock_mode mode, const char *where);
/* now_ns(), or 0 while nobody counts. */
uint64_t lock_clock(void);

/* Does this thread hold it? Either mode will do, or only LOCK_ALONE. */
bool lock_held(const void *lock, enum lock_class class, bool write);
/* How many locks of the class it holds. */
unsigned lock_held_of(enum lock_class class);
void lock_die(const char *where, const char *what);

/* This thread holds nothing: about to touch a program's memory, to wait without end. */
#define lock_assert_none() lock_assert_none_at(LOCK_HERE)
/* It holds nothing but what may be held across I/O: about to wait for I/O. */
#define lock_assert_may_sleep() lock_assert_may_sleep_at(LOCK_HERE)
/* It holds nothing of the class's rank or above: about to submit, to complete, to park. */
#define lock_assert_below(class) lock_assert_below_at((class), LOCK_HERE)
/* It holds at least nr of the class. */
#define lock_assert_held_of(class, nr) lock_assert_held_of_at((class), (nr), LOCK_HERE)
/* So many more I/Os are under way that nobody but this thread can end, and who waits for them may hold what it
 * waits for: lock_assert_none() and lock_assert_may_sleep() die of that, and so does wanting a lock that may be
 * held across I/O. */
void lock_own_io(int more);
/* So many more requests that it holds back, and whoever it waits for may wait for those: likewise, but with
 * lock_assert_none() it may go on, and send them later. */
void lock_held_back(int more);
/* As lock_assert_may_sleep(), but about to wait for just its own I/O. */
#define lock_assert_may_end_io() lock_assert_may_end_io_at(LOCK_HERE)
void lock_assert_none_at(const char *where);
void lock_assert_may_end_io_at(const char *where);
void lock_assert_may_sleep_at(const char *where);
void lock_assert_below_at(enum lock_class class, const char *where);
void lock_assert_held_of_at(enum lock_class class, uint64_t nr, const char *where);

/* Counting starts, for the whole process and for good. */
void lock_stats_start(void);
/* One row for each class and mode that has been taken since, at most max. Returns how many. */
unsigned lock_stats(struct lock_stat *out, unsigned max);

#else

#define lock_assert_none() ((void)0)
#define lock_assert_may_sleep() ((void)0)
#define lock_assert_may_end_io() ((void)0)
#define lock_own_io(more) ((void)(more))
#define lock_held_back(more) ((void)(more))
#define lock_assert_below(class) ((void)0)
#define lock_assert_held_of(class, nr) ((void)0)
static inline void lock_stats_start(void)
{
}
static inline unsigned lock_stats(struct lock_stat *out, unsigned max)
{
        (void)out, (void)max;
        return 0;
}

#endif

#endif
