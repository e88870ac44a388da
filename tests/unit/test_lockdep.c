/* SPDX-License-Identifier: Apache-2.0
 *
 * test_lockdep.c - the checks of debug builds: what is against the order dies, what is not does
 * not, and waits and holds are counted. Each death is by SIGABRT, and says on stderr what it is of.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/cache.h"
#include "util/lock.h"

#ifndef NDEBUG

static struct rwlock mm, i_mmap[2], rwsem;
static struct mutex open_lock, evict, lru, radix, tables, staging, waitq, unnamed;
static struct page_cache cache;
static struct page pages[200];

static void init(void)
{
        rwlock_init(&mm, LOCK_MM);
        rwlock_init(&rwsem, LOCK_I_RWSEM);
        rwlock_init(&i_mmap[0], LOCK_I_MMAP);
        rwlock_init(&i_mmap[1], LOCK_I_MMAP);
        mutex_init(&open_lock, LOCK_OPEN);
        mutex_init(&evict, LOCK_EVICT);
        mutex_init(&lru, LOCK_LRU);
        mutex_init(&radix, LOCK_RADIX);
        mutex_init(&tables, LOCK_TABLES);
        mutex_init(&staging, LOCK_STAGING);
        mutex_init(&waitq, LOCK_WAITQ);
}

TestSuite(lockdep, .init = init, .timeout = 30);

/* fn dies of SIGABRT, in a process of its own, and its last words are one line that holds each of
 * `words`, up to a NULL. */
static void expect_death(void (*fn)(void), const char *const *words)
{
        char line[1024] = "";
        size_t len = 0;
        ssize_t n;
        int fd[2], status;
        pid_t child;

        cr_assert_eq(pipe(fd), 0);
        child = fork();
        if (!child) {
                dup2(fd[1], STDERR_FILENO);
                fn();
                _exit(0);
        }
        close(fd[1]);
        while ((n = read(fd[0], line + len, sizeof(line) - 1 - len)) > 0)
                len += (size_t)n;
        close(fd[0]);
        waitpid(child, &status, 0);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "it lives: %s", line);
        cr_assert_eq(strchr(line, '\n'), line + len - 1, "not one line: %s", line);
        for (; *words; words++)
                cr_assert(strstr(line, *words), "no %s in: %s", *words, line);
}
#define expect_death_of(fn, ...) expect_death(fn, (const char *const[]){ __VA_ARGS__, NULL })

/* ---- order ---- */

Test(lockdep, the_order_of_a_fault_is_fine)
{
        rwlock_read_lock(&mm);
        page_lock(&cache, &pages[0]);
        cr_assert(mutex_trylock(&evict)); /* a try may come in any order */
        cr_assert(page_trylock(&pages[1]));
        rwlock_read_lock(&i_mmap[0]);
        mutex_lock(&radix);
        mutex_lock(&tables);
        mutex_unlock(&tables);
        mutex_unlock(&radix);
        rwlock_read_unlock(&i_mmap[0]);
        page_unlock(&cache, &pages[0]); /* not the last one taken */
        page_unlock(&cache, &pages[1]);
        mutex_unlock(&evict);
        rwlock_read_unlock(&mm);
        lock_assert_none();
}

static void mm_under_page(void)
{
        page_lock(&cache, &pages[0]);
        rwlock_read_lock(&mm);
}

static void leaf_under_leaf(void)
{
        mutex_lock(&waitq);
        mutex_lock(&staging);
}

static void under_what_was_tried(void)
{
        cr_assert(mutex_trylock(&radix));
        mutex_lock(&lru);
}

Test(lockdep, against_the_order_dies)
{
        expect_death_of(mm_under_page, "mm.lock is wanted while page LOCK is held",
                        "tests/unit/test_lockdep.c:", "against the order");
        expect_death_of(leaf_under_leaf, "staging.lock is wanted while waitq.lock");
        expect_death_of(under_what_was_tried, "lru.lock is wanted while radix.lock");
}

static void mutex_twice(void)
{
        mutex_lock(&lru);
        mutex_lock(&lru);
}

static void reader_twice(void)
{
        rwlock_read_lock(&mm);
        rwlock_read_lock(&mm);
}

static void page_twice(void)
{
        page_lock(&cache, &pages[0]);
        page_lock(&cache, &pages[0]);
}

static void unnamed_twice(void)
{
        mutex_lock(&unnamed);
        mutex_lock(&unnamed);
}

Test(lockdep, recursion_dies)
{
        expect_death_of(mutex_twice, "lru.lock is wanted", "it is the same lock");
        expect_death_of(reader_twice, "mm.lock is wanted", "it is the same lock");
        expect_death_of(page_twice, "page LOCK is wanted", "it is the same lock");
        expect_death_of(unnamed_twice, "it is the same lock");
}

static void two_pages(void)
{
        page_lock(&cache, &pages[0]);
        page_lock(&cache, &pages[1]);
}

static void down_the_addresses(void)
{
        rwlock_write_lock(&i_mmap[1]);
        rwlock_write_lock(&i_mmap[0]);
}

Test(lockdep, several_of_a_kind)
{
        rwlock_write_lock(&i_mmap[0]);
        rwlock_write_lock(&i_mmap[1]);
        cr_assert_eq(lock_held_of(LOCK_I_MMAP), 2);
        rwlock_write_unlock(&i_mmap[1]);
        rwlock_write_unlock(&i_mmap[0]);
        expect_death_of(two_pages, "only one of the kind");
        expect_death_of(down_the_addresses, "i_mmap_lock is wanted while i_mmap_lock is held",
                        "order of their addresses");
}

/* More than there are places for: they are counted, and nothing is said that is not so. */
Test(lockdep, very_many)
{
        for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
                cr_assert(page_trylock(&pages[i]));
        cr_assert_eq(lock_held_of(LOCK_PAGE), ARRAY_SIZE(pages));
        for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
                page_assert_locked(&pages[i]);
        for (unsigned i = ARRAY_SIZE(pages); i > 0; i--)
                page_unlock(&cache, &pages[i - 1]);
        cr_assert_eq(lock_held_of(LOCK_PAGE), 0);
        lock_assert_none();
}

/* Hand over hand, so that the oldest is always released first. */
Test(lockdep, places_are_used_again)
{
        page_lock(&cache, &pages[0]);
        for (unsigned i = 1; i < ARRAY_SIZE(pages); i++) {
                cr_assert(page_trylock(&pages[i]));
                page_unlock(&cache, &pages[i - 1]);
                page_assert_locked(&pages[i]);
                cr_assert_eq(lock_held_of(LOCK_PAGE), 1);
        }
}

/* ---- who holds what ---- */

static void *unlock_it(void *arg)
{
        page_unlock(&cache, arg);
        return NULL;
}

static void released_by_another(void)
{
        pthread_t t;

        page_lock(&cache, &pages[0]);
        pthread_create(&t, NULL, unlock_it, &pages[0]);
        pthread_join(t, NULL);
}

static void released_as_what_it_is_not(void)
{
        rwlock_read_lock(&mm);
        rwlock_write_unlock(&mm);
}

Test(lockdep, release_by_another_thread_dies)
{
        expect_death_of(released_by_another, "page LOCK is released by a thread that does not");
        expect_death_of(released_as_what_it_is_not, "mm.lock is released", "in this way");
}

static void read_is_not_write(void)
{
        rwlock_read_lock(&mm);
        rwlock_assert_held(&mm);
        rwlock_assert_write_held(&mm);
}

static void not_at_all(void)
{
        rwlock_assert_held(&mm);
}

static void *hold_page(void *arg)
{
        page_lock(&cache, arg);
        return NULL;
}

static void page_of_another(void)
{
        pthread_t t;

        pthread_create(&t, NULL, hold_page, &pages[0]);
        pthread_join(t, NULL);
        cr_assert(page_is_locked(&pages[0]));
        page_assert_locked(&pages[0]);
}

Test(lockdep, asserts_are_about_this_thread)
{
        rwlock_write_lock(&mm);
        rwlock_assert_held(&mm);
        rwlock_assert_write_held(&mm);
        rwlock_write_unlock(&mm);
        expect_death_of(read_is_not_write, "not held for writing");
        expect_death_of(not_at_all, "not held by this thread");
        expect_death_of(page_of_another, "not locked by this thread");
}

/* ---- what may not be held ---- */

static void sleep_with_page(void)
{
        struct waiter w;

        page_lock(&cache, &pages[0]);
        waiter_init_sync(&w);
        atomic_store(&w.woken, 1);
        waiter_sleep(&w, 0);
}

static void none_but_open_lock(void)
{
        mutex_lock(&open_lock);
        lock_assert_none();
}

static void submit_with_page(void)
{
        rwlock_read_lock(&mm);
        lock_assert_below(LOCK_EVICT);
        page_lock(&cache, &pages[0]);
        lock_assert_below(LOCK_EVICT);
}

static void zap_with_too_few(void)
{
        page_lock(&cache, &pages[0]);
        lock_assert_held_of(LOCK_PAGE, 1);
        lock_assert_held_of(LOCK_PAGE, 2);
}

Test(lockdep, what_may_be_held_where)
{
        struct waiter w;

        mutex_lock(&open_lock);
        rwlock_read_lock(&rwsem);
        waiter_init_sync(&w);
        atomic_store(&w.woken, 1);
        waiter_sleep(&w, 0);
        rwlock_read_unlock(&rwsem);
        mutex_unlock(&open_lock);
        expect_death_of(sleep_with_page, "page LOCK", "while the thread waits");
        expect_death_of(none_but_open_lock, "open_lock", "where nothing may be");
        expect_death_of(submit_with_page, "page LOCK", "over a call");
        expect_death_of(zap_with_too_few, "1 of page LOCK held, not 2");
}

/* ---- with I/O under way that only this thread can end ---- */

static void sleep_before_it_ends(void)
{
        struct waiter w;

        lock_own_io(2);
        lock_own_io(-1);
        waiter_init_sync(&w);
        atomic_store(&w.woken, 1);
        waiter_sleep(&w, 0);
}

static void return_before_it_ends(void)
{
        lock_own_io(1);
        lock_assert_none();
}

static void lock_before_it_ends(void)
{
        lock_own_io(1);
        mutex_lock(&staging); /* nobody holds it for long */
        mutex_unlock(&staging);
        rwlock_read_lock(&rwsem);
}

static void end_it_with_page(void)
{
        lock_own_io(1);
        lock_assert_may_end_io();
        page_lock(&cache, &pages[0]);
        lock_assert_may_end_io();
}

static void sleep_with_some_held_back(void)
{
        struct waiter w;

        lock_held_back(1);
        lock_assert_none(); /* a pager goes on, and sends them later */
        waiter_init_sync(&w);
        atomic_store(&w.woken, 1);
        waiter_sleep(&w, 0);
}

static void lock_with_some_held_back(void)
{
        lock_held_back(1);
        rwlock_read_lock(&rwsem);
}

Test(lockdep, nobody_waits_before_his_own_io_has_ended)
{
        struct waiter w;

        lock_own_io(1);
        lock_own_io(-1);
        waiter_init_sync(&w);
        atomic_store(&w.woken, 1);
        waiter_sleep(&w, 0);
        lock_assert_none();
        expect_death_of(sleep_before_it_ends, "the thread waits while 1 I/Os are under way");
        expect_death_of(return_before_it_ends, "the thread goes on while 1 I/Os are under way");
        expect_death_of(lock_before_it_ends, "is wanted while 1 I/Os are under way");
        expect_death_of(sleep_with_some_held_back, "the thread waits with 1 requests held back");
        expect_death_of(lock_with_some_held_back, "is wanted with 1 requests held back");
        expect_death_of(end_it_with_page, "page LOCK", "while the thread waits for I/O");
}

/* ---- a handler of a signal ---- */

static volatile sig_atomic_t interrupts;

static void take_some(int sig)
{
        (void)sig;
        cr_assert(page_trylock(&pages[2]));
        cr_assert(mutex_trylock(&staging));
        page_assert_locked(&pages[2]);
        mutex_unlock(&staging);
        page_unlock(&cache, &pages[2]);
        interrupts++;
}

static void *interrupt(void *arg)
{
        while (interrupts < 4000)
                pthread_kill(*(pthread_t *)arg, SIGUSR1);
        return NULL;
}

Test(lockdep, a_signal_handler_may_take_locks)
{
        pthread_t self = pthread_self(), t;

        signal(SIGUSR1, take_some);
        cr_assert_eq(pthread_create(&t, NULL, interrupt, &self), 0);
        while (interrupts < 4000) {
                page_lock(&cache, &pages[0]);
                mutex_lock(&lru);
                mutex_lock(&radix);
                page_assert_locked(&pages[0]);
                mutex_unlock(&lru);
                page_unlock(&cache, &pages[0]);
                mutex_assert_held(&radix);
                mutex_unlock(&radix);
        }
        pthread_join(t, NULL);
        lock_assert_none();
}

/* ---- counters ---- */

static const struct lock_stat *stat_of(const char *name, bool read)
{
        static struct lock_stat rows[2 * LOCK_CLASSES_NR];
        unsigned n = lock_stats(rows, ARRAY_SIZE(rows));

        for (unsigned i = 0; i < n; i++)
                if (!strcmp(rows[i].name, name) && rows[i].read == read)
                        return &rows[i];
        return NULL;
}

static _Atomic bool inside;

static void *hold_for_a_while(void *arg)
{
        (void)arg;
        rwlock_write_lock(&mm);
        atomic_store(&inside, true);
        while (!atomic_load(&mm.sleepers))
                sched_yield();
        rwlock_write_unlock(&mm);
        return NULL;
}

Test(lockdep, nothing_is_counted_unasked)
{
        mutex_lock(&lru);
        mutex_unlock(&lru);
        cr_assert_null(stat_of("lru.lock", false));
}

Test(lockdep, waits_and_holds_are_counted)
{
        const struct lock_stat *s;
        pthread_t t;

        mutex_lock(&lru); /* taken before anybody counts: its hold is not counted */
        lock_stats_start();
        mutex_unlock(&lru);
        for (unsigned i = 0; i < 5; i++) {
                mutex_lock(&lru);
                mutex_unlock(&lru);
        }
        s = stat_of("lru.lock", false);
        cr_assert_not_null(s);
        cr_assert_eq(s->taken, 5);
        cr_assert_eq(s->waited, 0);
        cr_assert_eq(s->wait_ns, 0);
        cr_assert_gt(s->hold_max, 0);
        cr_assert_geq(s->hold_ns, s->hold_max);
        cr_assert_null(stat_of("lru.lock", true));

        cr_assert_eq(pthread_create(&t, NULL, hold_for_a_while, NULL), 0);
        while (!atomic_load(&inside))
                sched_yield();
        rwlock_read_lock(&mm);
        rwlock_read_unlock(&mm);
        pthread_join(t, NULL);
        s = stat_of("mm.lock", true);
        cr_assert_eq(s->taken, 1);
        cr_assert_eq(s->waited, 1);
        cr_assert_gt(s->wait_ns, 0);
        cr_assert_eq(s->wait_max, s->wait_ns);
        s = stat_of("mm.lock", false);
        cr_assert_eq(s->taken, 1);
        cr_assert_eq(s->waited, 0);
        cr_assert_gt(s->hold_ns, 0);

        page_lock(&cache, &pages[0]);
        page_unlock(&cache, &pages[0]);
        cr_assert_eq(stat_of("page LOCK", false)->taken, 1);
}

#endif

/* In release builds there is nothing to ask. */
Test(lock_stats, rows_fit)
{
        struct lock_stat one;

        lock_stats_start();
        cr_assert_leq(lock_stats(&one, 1), 1);
}
