/* SPDX-License-Identifier: Apache-2.0
 *
 * worker.c - see worker.h.
 *
 * `wanted` is the futex word that idle threads sleep on: bumped by whoever queues, with the lock
 * held, and read by an idle thread with the lock held, so that no wake-up falls in between.
 */
#include "fs/worker.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct fs_worker {
        struct mutex lock;
        struct fs_work *head, *tail; /* [worker] */
        bool ending;                 /* [worker] */
        _Atomic uint32_t wanted;
        unsigned nr; /* (c) */
        const char *name;
        pthread_t threads[];
};

/* The next in the queue. NULL: it is empty, and the worker ends. */
static struct fs_work *take(struct fs_worker *w)
{
        struct fs_work *work;

        mutex_lock(&w->lock);
        while (!(work = w->head) && !w->ending) {
                uint32_t seen = atomic_load(&w->wanted);

                mutex_unlock(&w->lock);
                futex_wait(&w->wanted, seen, 0);
                mutex_lock(&w->lock);
        }
        if (work)
                w->head = work->next;
        mutex_unlock(&w->lock);
        return work;
}

static void *worker_main(void *arg)
{
        struct fs_worker *w = arg;
        struct fs_work *work;

        pthread_setname_np(pthread_self(), w->name);
        while ((work = take(w)))
                work->run(work);
        return NULL;
}

static int start_threads(struct fs_worker *w, unsigned threads)
{
        sigset_t all, old;
        int err = 0;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        while (w->nr < threads && !err) {
                err = pthread_create(&w->threads[w->nr], NULL, worker_main, w);
                w->nr += !err;
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return -err;
}

int fs_worker_create(struct fs_worker **out, unsigned threads, const char *name)
{
        struct fs_worker *w = calloc(1, sizeof(*w) + threads * sizeof(w->threads[0]));
        int err;

        if (!w)
                return -ENOMEM;
        mutex_init(&w->lock, LOCK_WORKER);
        w->name = name;
        err = start_threads(w, threads);
        if (err) {
                fs_worker_destroy(w);
                return err;
        }
        *out = w;
        return 0;
}

void fs_worker_destroy(struct fs_worker *w)
{
        if (!w)
                return;
        mutex_lock(&w->lock);
        w->ending = true;
        atomic_fetch_add(&w->wanted, 1);
        mutex_unlock(&w->lock);
        futex_wake(&w->wanted, INT_MAX);
        for (unsigned i = 0; i < w->nr; i++)
                pthread_join(w->threads[i], NULL);
        free(w);
}

void fs_work_queue(struct fs_worker *w, struct fs_work *work)
{
        work->next = NULL;
        mutex_lock(&w->lock);
        if (w->head)
                w->tail->next = work;
        else
                w->head = work;
        w->tail = work;
        atomic_fetch_add(&w->wanted, 1);
        mutex_unlock(&w->lock);
        futex_wake(&w->wanted, 1);
}

struct call {
        struct fs_work work;
        int (*call)(void *);
        void *arg;
        int result;
        _Atomic uint32_t done;
};

static void run_call(struct fs_work *work)
{
        struct call *c = container_of(work, struct call, work);

        c->result = c->call(c->arg);
        atomic_store(&c->done, 1);
        futex_wake(&c->done, 1);
}

int fs_worker_call(struct fs_worker *w, int (*call)(void *arg), void *arg)
{
        struct call c = { .work.run = run_call, .call = call, .arg = arg };

        lock_assert_may_sleep();
        fs_work_queue(w, &c.work);
        while (!atomic_load(&c.done))
                futex_wait(&c.done, 0, 0);
        return c.result;
}
