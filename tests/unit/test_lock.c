/* SPDX-License-Identifier: Apache-2.0
 *
 * test_lock.c - mutual exclusion and lost wake-ups, with more threads than processors.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/lock.h"
#include "util/perturb.h"

#define THREADS 8
#define ROUNDS 20000

static struct mutex mutex;
static struct rwlock rwlock;
static uint64_t plain_a, plain_b; /* changed at once, only under the lock */
static _Atomic unsigned inside, torn;

static void run_threads(void *(*main)(void *), unsigned n)
{
        pthread_t threads[THREADS];

        for (unsigned i = 0; i < n; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, main, (void *)(uintptr_t)i), 0);
        for (unsigned i = 0; i < n; i++)
                pthread_join(threads[i], NULL);
}

static void *add_under_mutex(void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < ROUNDS; i++) {
                if (i % 3 || !mutex_trylock(&mutex))
                        mutex_lock(&mutex);
                mutex_assert_held(&mutex);
                plain_a++;
                if (i % 512 == 0)
                        sched_yield(); /* makes the others sleep */
                plain_b++;
                mutex_unlock(&mutex);
        }
        return NULL;
}

Test(mutex, excludes, .timeout = 30)
{
        run_threads(add_under_mutex, THREADS);
        cr_assert_eq(plain_a, (uint64_t)THREADS * ROUNDS);
        cr_assert_eq(plain_b, (uint64_t)THREADS * ROUNDS);
        cr_assert_eq(atomic_load(&mutex.word), 0);
}

Test(mutex, trylock_fails_while_held)
{
        cr_assert(mutex_trylock(&mutex));
        cr_assert_not(mutex_trylock(&mutex));
        mutex_unlock(&mutex);
        cr_assert(mutex_trylock(&mutex));
}

#ifndef NDEBUG
Test(mutex, unlock_by_another_thread_is_caught)
{
        pid_t child = fork();
        int status;

        if (!child) {
                close(STDERR_FILENO);
                mutex_unlock(&mutex);
                _exit(0);
        }
        waitpid(child, &status, 0);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

static void *read_or_write(void *arg)
{
        bool writer = (uintptr_t)arg % 4 == 0;

        for (unsigned i = 0; i < ROUNDS / 4; i++) {
                if (writer) {
                        rwlock_write_lock(&rwlock);
                        if (atomic_fetch_add(&inside, 1))
                                atomic_fetch_add(&torn, 1);
                        plain_a++;
                        if (i % 64 == 0)
                                sched_yield();
                        plain_b++;
                        atomic_fetch_sub(&inside, 1);
                        rwlock_write_unlock(&rwlock);
                } else {
                        rwlock_read_lock(&rwlock);
                        atomic_fetch_add(&inside, 1);
                        if (plain_a != plain_b)
                                atomic_fetch_add(&torn, 1);
                        if (i % 64 == 0)
                                sched_yield();
                        atomic_fetch_sub(&inside, 1);
                        rwlock_read_unlock(&rwlock);
                }
        }
        return NULL;
}

static struct reader_slot slots[READER_SLOTS];

static void *read_once(void *arg)
{
        rwlock_read_lock(&rwlock);
        rwlock_read_unlock(&rwlock);
        return arg;
}

static void check_exclusion(void)
{
        pthread_t reader;

        run_threads(read_or_write, THREADS);
        cr_assert_eq(torn, 0);
        cr_assert_eq(plain_a, 2 * (ROUNDS / 4));
        cr_assert_not(rwlock_is_locked(&rwlock));
        rwlock_read_lock(&rwlock); /* the other comes in meanwhile, or this never ends */
        cr_assert_eq(pthread_create(&reader, NULL, read_once, NULL), 0);
        pthread_join(reader, NULL);
        rwlock_read_unlock(&rwlock);
        cr_assert_not(rwlock_is_locked(&rwlock));
        cr_assert_eq(atomic_load(&rwlock.sleepers), 0);
}

Test(rwlock, excludes_writers_and_lets_readers_share, .timeout = 60)
{
        check_exclusion();
}

Test(rwlock, spread_excludes_writers_too, .timeout = 60)
{
        rwlock_spread(&rwlock, slots);
        for (uint64_t seed = 1; seed <= 12; seed++) {
                plain_a = plain_b = 0;
                perturb_get(seed);
                check_exclusion();
                perturb_put(seed);
        }
        for (unsigned i = 0; i < READER_SLOTS; i++)
                cr_assert_eq(atomic_load(&slots[i].readers), 0);
}

Test(rwlock, readers_of_a_spread_one_write_nothing_in_common)
{
        struct rwlock before;

        rwlock_spread(&rwlock, slots);
        memcpy(&before, &rwlock, sizeof(before));
        rwlock_read_lock(&rwlock);
        cr_assert_eq(memcmp(&before, &rwlock, sizeof(before)), 0);
        cr_assert_eq(atomic_load(&slots[thread_id() % READER_SLOTS].readers), 1);
        cr_assert(rwlock_is_locked(&rwlock));
        cr_assert_not(rwlock_write_trylock(&rwlock));
        rwlock_read_unlock(&rwlock);
        cr_assert_eq(memcmp(&before, &rwlock, sizeof(before)), 0);
        cr_assert(rwlock_write_trylock(&rwlock));
        cr_assert_not(rwlock_read_trylock(&rwlock));
        rwlock_write_unlock(&rwlock);
}

static void *write_once(void *arg)
{
        (void)arg;
        rwlock_write_lock(&rwlock);
        plain_a = 1;
        rwlock_write_unlock(&rwlock);
        return NULL;
}

static void check_held_off(void)
{
        pthread_t writer;

        cr_assert(rwlock_read_trylock(&rwlock));
        pthread_create(&writer, NULL, write_once, NULL);
        while (!atomic_load(&rwlock.writers))
                sched_yield();
        cr_assert_not(rwlock_read_trylock(&rwlock));
        cr_assert_not(rwlock_is_write_locked(&rwlock));
        rwlock_read_unlock(&rwlock);
        pthread_join(writer, NULL);
        cr_assert_eq(plain_a, 1);
        cr_assert(rwlock_read_trylock(&rwlock));
}

Test(rwlock, waiting_writer_holds_off_readers, .timeout = 10)
{
        check_held_off();
}

Test(rwlock, waiting_writer_holds_off_readers_of_a_spread_one, .timeout = 10)
{
        rwlock_spread(&rwlock, slots);
        check_held_off();
}

Test(futex, times_out_and_keeps_errno, .timeout = 10)
{
        _Atomic uint32_t word = 1;
        uint64_t begin = now_ns();

        errno = EXDEV;
        cr_assert_eq(futex_wait(&word, 1, 20000000), -ETIMEDOUT);
        cr_assert_geq(now_ns() - begin, 20000000);
        cr_assert_eq(futex_wait(&word, 2, 0), 0);
        futex_wake(&word, 1);
        cr_assert_eq(errno, EXDEV);
}

Test(thread_id, is_the_kernels_also_after_fork)
{
        pid_t child;
        int status;

        cr_assert_eq(thread_id(), (uint32_t)gettid());
        child = fork();
        if (!child)
                _exit(thread_id() != (uint32_t)gettid());
        waitpid(child, &status, 0);
        cr_assert_eq(status, 0);
}
