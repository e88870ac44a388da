/* SPDX-License-Identifier: Apache-2.0
 *
 * posix.c - host files by preadv2 and pwritev2 on a pool of threads; where io_uring is forbidden.
 *
 * One pool per env, first in first out over all its devices. The workers start with the first
 * device: making a thread allocates, which submit() must not.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "driver/file.h"
#include "util/lock.h"

/* As many reads as a worker pool can keep at the disk; idle workers cost only their stacks. */
#define WORKERS 16
#define WORKER_STACK (256u << 10) /* completions run on it: file system and cache code */

struct pool_threads {
        struct mutex lock;
        struct io_list queue;  /* [pool] not yet taken by a worker */
        unsigned queued;       /* [pool] */
        unsigned sleepers;     /* [pool] workers that sleep and have not been called */
        unsigned calls;        /* [pool] calls that no sleeper has answered yet */
        bool stop;             /* [pool] */
        _Atomic uint32_t wake; /* futex word: bumped when there is something to do */
        unsigned nr_threads;
        pthread_t threads[WORKERS];
};

/* ---- the workers ---- */

/* => p->lock held, dropped while asleep */
static void sleep_until_called(struct pool_threads *p)
{
        mutex_assert_held(&p->lock);
        p->sleepers++;
        while (!p->calls && !p->stop) {
                uint32_t seen = atomic_load(&p->wake);

                mutex_unlock(&p->lock);
                lock_assert_none();
                futex_wait(&p->wake, seen, 0);
                mutex_lock(&p->lock);
        }
        if (p->calls)
                p->calls--;
}

/* The next I/O; sleeps while there is none. NULL: the pool ends. */
static struct driver_io *take(struct pool_threads *p)
{
        struct driver_io *io;

        mutex_lock(&p->lock);
        while (!(io = io_list_pop(&p->queue)) && !p->stop)
                sleep_until_called(p);
        if (io)
                p->queued--;
        mutex_unlock(&p->lock);
        return io;
}

static void *worker(void *arg)
{
        struct pool_threads *p = arg;
        struct driver_io *io;

        while ((io = take(p)))
                file_io_perform(io);
        return NULL;
}

/* ---- the pool ---- */

static void pool_destroy(struct pool_threads *p)
{
        mutex_lock(&p->lock);
        p->stop = true;
        atomic_fetch_add(&p->wake, 1);
        mutex_unlock(&p->lock);
        futex_wake(&p->wake, WORKERS);
        for (unsigned i = 0; i < p->nr_threads; i++)
                pthread_join(p->threads[i], NULL);
        free(p);
}

static int start_workers(struct pool_threads *p)
{
        pthread_attr_t attr;
        sigset_t all, old;
        int err = pthread_attr_init(&attr);

        if (err)
                return -err;
        pthread_attr_setstacksize(&attr, WORKER_STACK);
        /* The program's signal handlers must not run here. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        while (!err && p->nr_threads < WORKERS) {
                err = pthread_create(&p->threads[p->nr_threads], &attr, worker, p);
                if (!err)
                        pthread_setname_np(p->threads[p->nr_threads++], "fl-posix");
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
        return p->nr_threads ? 0 : -err; /* fewer will do */
}

int posix_prepare(struct driver_env *env)
{
        struct pool_threads *p, *none = NULL;
        int err;

        if (__atomic_load_n(&env->threads, __ATOMIC_ACQUIRE))
                return 0;
        p = calloc(1, sizeof *p);
        if (!p)
                return -ENOMEM;
        mutex_init(&p->lock, LOCK_POSIX);
        err = start_workers(p);
        /* Two opens at once: the second pool goes. */
        if (err || !__atomic_compare_exchange_n(&env->threads, &none, p, false, __ATOMIC_ACQ_REL,
                                                __ATOMIC_ACQUIRE))
                pool_destroy(p);
        return err;
}

void posix_destroy(struct driver_env *env)
{
        if (env->threads)
                pool_destroy(env->threads);
        env->threads = NULL;
}

/* ---- the driver ---- */

static void posix_submit(struct device *dev, struct driver_io *io)
{
        struct pool_threads *p = dev->env->threads;
        int64_t result;

        if (file_io_begin(io, &result)) {
                driver_io_done(io, result);
                return;
        }
        mutex_lock(&p->lock);
        io_list_push(&p->queue, io);
        p->queued++;
        mutex_unlock(&p->lock);
}

/* Calls as many sleepers as there is work for; those awake take more before they sleep. */
static void posix_commit(struct device *dev)
{
        struct pool_threads *p = dev->env->threads;
        unsigned wake;

        mutex_lock(&p->lock);
        wake = p->queued < p->sleepers ? p->queued : p->sleepers;
        if (wake) {
                p->sleepers -= wake;
                p->calls += wake;
                atomic_fetch_add(&p->wake, 1);
        }
        mutex_unlock(&p->lock);
        if (wake)
                futex_wake(&p->wake, (int)wake);
}

const struct driver_ops posix_ops = {
        .name = "posix",
        .signal_safe = true,
        .submit = posix_submit,
        .perform = file_perform,
        .commit = posix_commit,
        .close = file_close,
        .refresh = file_refresh,
        .resize = file_resize,
        .punch = file_punch,
        .allocate = file_allocate,
        .fd = file_fd,
};
