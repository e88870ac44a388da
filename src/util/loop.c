/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.c - threads that share one epoll set.
 *
 * A thread's round: run the idles until none did something, then poll or sleep for events, then
 * run their handlers.
 *
 * Removal. An event names its source by slot and generation, and a thread takes the lock to look
 * the slot up and to write down what it is about to run. Whoever removes a source (or an idle)
 * clears the slot under the same lock, then waits until no thread has it written down.
 *
 * Kicks. `kicked` is looked at by a thread after it has counted itself among the sleepers, and
 * loop_kick() looks at the sleepers after it has set `kicked` (both sequentially consistent), so
 * one of them sees the other. The eventfd is written only when all threads sleep: one that is
 * awake looks at the flag before it sleeps.
 */
#include "util/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/lock.h"
#include "util/spin.h"

#define EVENTS 32
#define KICK_EVENT UINT64_MAX

struct slot {
        struct loop_source *source; /* [loop] NULL: free */
        uint32_t generation;        /* [loop] events of an earlier source are told by it */
};

struct loop_thread {
        struct loop *loop;        /* (c) */
        pthread_t pthread;        /* (c) */
        const void *running;      /* [loop] the source or idle whose function runs */
        struct loop_idle *cursor; /* [loop] the idle to call next */
        int fetched;              /* its own: events it has in hand besides the one it handles */
};

struct loop {
        int epfd, eventfd; /* (c) */
        struct mutex lock;
        struct slot *slots;      /* [loop] */
        unsigned nr_slots;       /* [loop] */
        struct loop_idle *idles; /* [loop] */
        unsigned removers;       /* [loop] threads that wait for a function to end */
        _Atomic uint32_t ended;  /* futex word: bumped when a function ends and somebody waits */
        _Atomic bool stop, kicked, polling;
        _Atomic unsigned sleepers, away;
        _Atomic int expected;
        struct spin spin;
        unsigned nr_threads; /* (c) set before the first thread runs */
        unsigned started;    /* who opens and closes the loop only */
        char name[16];       /* (c) */
        struct loop_thread threads[];
};

static _Thread_local struct loop_thread *current;

bool loop_is_current(const struct loop *l)
{
        return current && current->loop == l;
}

void loop_set_spin(struct loop *l, uint64_t ns)
{
        atomic_store_explicit(&l->spin.most_ns, ns, memory_order_relaxed);
}

struct spin *loop_spin(struct loop *l)
{
        return &l->spin;
}

static void write_eventfd(struct loop *l)
{
        int saved = errno;
        uint64_t one = 1;
        ssize_t ret;

        do
                ret = write(l->eventfd, &one, sizeof one);
        while (ret < 0 && errno == EINTR);
        /* EAGAIN: the counter is full, so nobody who sleeps can have missed it. */
        errno = saved;
}

void loop_kick(struct loop *l)
{
        if (atomic_exchange(&l->kicked, true) || loop_is_current(l))
                return;
        if (atomic_load(&l->sleepers) + atomic_load(&l->away) >= l->nr_threads)
                write_eventfd(l);
}

static bool must_look(struct loop *l)
{
        return atomic_load(&l->kicked) || atomic_load(&l->stop);
}

void loop_expect(struct loop *l, int more)
{
        atomic_fetch_add_explicit(&l->expected, more, memory_order_relaxed);
}

bool loop_leave(struct loop *l)
{
        if (!loop_is_current(l) || current->fetched ||
            atomic_load_explicit(&l->expected, memory_order_relaxed))
                return false;
        atomic_fetch_add(&l->away, 1);
        /* Who sleeps now has not left: of all that leave, the last one would see nobody. */
        if (atomic_load(&l->sleepers) && !must_look(l))
                return true;
        atomic_fetch_sub(&l->away, 1);
        return false;
}

void loop_return(struct loop *l)
{
        atomic_fetch_sub(&l->away, 1);
}

/* What ran has ended. => l->lock held */
static void end_function(struct loop_thread *t)
{
        struct loop *l = t->loop;

        mutex_assert_held(&l->lock);
        t->running = NULL;
        if (l->removers) {
                atomic_fetch_add(&l->ended, 1);
                futex_wake(&l->ended, INT_MAX);
        }
}

/* Wait until no thread runs `what`, which no thread can start any more.
 * => called with l->lock held; returns with it held */
static void wait_ended(struct loop *l, const void *what)
{
        mutex_assert_held(&l->lock);
        assert(!loop_is_current(l) || current->running != what);
        l->removers++;
        for (unsigned i = 0; i < l->nr_threads; i++) {
                while (l->threads[i].running == what && &l->threads[i] != current) {
                        uint32_t ended = atomic_load(&l->ended);

                        mutex_unlock(&l->lock);
                        futex_wait(&l->ended, ended, 0);
                        mutex_lock(&l->lock);
                }
        }
        l->removers--;
}

/* Calls every idle once. True if one of them did something. */
static bool run_idles_once(struct loop_thread *t)
{
        struct loop *l = t->loop;
        bool again = false;

        mutex_lock(&l->lock);
        t->cursor = l->idles;
        while (t->cursor) {
                struct loop_idle *idle = t->cursor;

                t->cursor = idle->next;
                t->running = idle;
                mutex_unlock(&l->lock);
                again |= idle->run(idle);
                mutex_lock(&l->lock);
                end_function(t);
        }
        mutex_unlock(&l->lock);
        return again;
}

static void run_idles(struct loop_thread *t)
{
        /* An exchange, so that what the kicker did before is seen by the idles. */
        do
                atomic_exchange(&t->loop->kicked, false);
        while (run_idles_once(t));
}

static void run_handler(struct loop_thread *t, uint64_t event)
{
        struct loop *l = t->loop;
        unsigned index = (uint32_t)event;
        struct loop_source *s;

        mutex_lock(&l->lock);
        s = l->slots[index].generation == event >> 32 ? l->slots[index].source : NULL;
        t->running = s;
        mutex_unlock(&l->lock);
        if (!s)
                return;
        s->ready(s);
        mutex_lock(&l->lock);
        end_function(t);
        mutex_unlock(&l->lock);
}

/* The eventfd stays readable once the loop stops: each thread that goes wakes the next. */
static void drain_eventfd(struct loop *l)
{
        uint64_t count;

        if (!atomic_load(&l->stop) && read(l->eventfd, &count, sizeof count) < 0)
                return; /* another thread was faster */
        if (atomic_load(&l->stop))
                write_eventfd(l);
}

/* Polls for at most spin_ns; only one thread of a loop at a time. Returns as epoll_wait(). */
static int poll_events(struct loop *l, struct epoll_event *events)
{
        uint64_t begin, most, spun;
        int n = 0;

        if (!atomic_load_explicit(&l->spin.most_ns, memory_order_relaxed) ||
            atomic_exchange(&l->polling, true))
                return 0;
        most = spin_begin(&l->spin);
        if (most) {
                begin = now_ns();
                do {
                        n = epoll_wait(l->epfd, events, EVENTS, 0);
                        spun = now_ns() - begin;
                } while (n <= 0 && !must_look(l) && spun < most);
                spin_end(&l->spin, spun, n > 0 || must_look(l));
        }
        atomic_store(&l->polling, false);
        return n;
}

static int wait_events(struct loop *l, struct epoll_event *events)
{
        int n = poll_events(l, events);

        if (n > 0)
                return n;
        atomic_fetch_add(&l->sleepers, 1);
        n = must_look(l) ? 0 : epoll_wait(l->epfd, events, EVENTS, -1);
        atomic_fetch_sub(&l->sleepers, 1);
        return n; /* EINTR looks like no event: the caller goes round again */
}

static void *loop_main(void *arg)
{
        struct loop_thread *t = arg;
        struct loop *l = t->loop;
        struct epoll_event events[EVENTS];

        current = t;
        while (!atomic_load(&l->stop)) {
                int n;

                run_idles(t);
                n = wait_events(l, events);
                for (int i = 0; i < n; i++) {
                        t->fetched = n - 1 - i;
                        if (events[i].data.u64 == KICK_EVENT)
                                drain_eventfd(l);
                        else
                                run_handler(t, events[i].data.u64);
                }
        }
        return NULL;
}

/* Signals are the program's: its handlers must never run on a thread that serves faults. */
static int start_threads(struct loop *l)
{
        sigset_t all, old;
        int err = 0;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        for (unsigned i = 0; i < l->nr_threads && !err; i++) {
                l->threads[i].loop = l;
                err = pthread_create(&l->threads[i].pthread, NULL, loop_main, &l->threads[i]);
                if (err)
                        break;
                l->started++;
                pthread_setname_np(l->threads[i].pthread, l->name);
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return -err;
}

static int epoll_add(struct loop *l, int fd, uint64_t event, bool edge)
{
        struct epoll_event ev = { .events = EPOLLIN | (edge ? EPOLLET : 0), .data.u64 = event };

        return epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

int loop_create(struct loop **out, unsigned threads, const char *name)
{
        struct loop *l;
        int err;

        if (!threads)
                return -EINVAL;
        l = calloc(1, sizeof *l + threads * sizeof l->threads[0]);
        if (!l)
                return -ENOMEM;
        mutex_init(&l->lock, LOCK_LOOP);
        l->nr_threads = threads;
        snprintf(l->name, sizeof l->name, "%s", name);
        l->eventfd = -1;
        l->epfd = epoll_create1(EPOLL_CLOEXEC);
        if (l->epfd >= 0)
                l->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        err = l->epfd < 0 || l->eventfd < 0 ? -errno : epoll_add(l, l->eventfd, KICK_EVENT, false);
        if (!err)
                err = start_threads(l);
        if (err) {
                loop_destroy(l);
                return err;
        }
        *out = l;
        return 0;
}

void loop_destroy(struct loop *l)
{
        assert(!loop_is_current(l));
        atomic_store(&l->stop, true);
        if (l->started)
                write_eventfd(l);
        for (unsigned i = 0; i < l->started; i++)
                pthread_join(l->threads[i].pthread, NULL);
        if (l->eventfd >= 0)
                close(l->eventfd);
        if (l->epfd >= 0)
                close(l->epfd);
        free(l->slots);
        free(l);
}

/* A free slot, or -1. => l->lock held */
static int find_slot(struct loop *l)
{
        mutex_assert_held(&l->lock);
        for (unsigned i = 0; i < l->nr_slots; i++)
                if (!l->slots[i].source)
                        return (int)i;
        return -1;
}

/* Room for more. The lock is let go of meanwhile: the thread that holds malloc's may wait for a
 * fault, and so for a thread of the loop. => l->lock held. False: no memory */
static bool more_slots(struct loop *l)
{
        unsigned nr = l->nr_slots + 8;
        struct slot *slots, *old;
        bool made;

        mutex_assert_held(&l->lock);
        mutex_unlock(&l->lock);
        slots = calloc(nr, sizeof *slots);
        made = slots;
        mutex_lock(&l->lock);
        if (slots && nr > l->nr_slots) { /* nobody else has made room meanwhile */
                old = l->slots;
                if (old)
                        memcpy(slots, old, l->nr_slots * sizeof *slots);
                l->slots = slots;
                l->nr_slots = nr;
        } else {
                old = slots;
        }
        mutex_unlock(&l->lock);
        free(old);
        mutex_lock(&l->lock);
        return made;
}

int loop_add(struct loop *l, struct loop_source *s)
{
        struct slot *slot;
        int index, err = -ENOMEM;

        mutex_lock(&l->lock);
        while ((index = find_slot(l)) < 0 && more_slots(l))
                ;
        if (index >= 0) {
                slot = &l->slots[index];
                slot->source = s;
                err = epoll_add(l, s->fd, (uint64_t)slot->generation << 32 | (unsigned)index,
                                s->edge);
                if (err)
                        slot->source = NULL;
        }
        mutex_unlock(&l->lock);
        return err;
}

void loop_remove(struct loop *l, struct loop_source *s)
{
        mutex_lock(&l->lock);
        for (unsigned i = 0; i < l->nr_slots; i++) {
                if (l->slots[i].source != s)
                        continue;
                epoll_ctl(l->epfd, EPOLL_CTL_DEL, s->fd, NULL);
                l->slots[i].source = NULL;
                l->slots[i].generation++;
        }
        wait_ended(l, s);
        mutex_unlock(&l->lock);
}

void loop_add_idle(struct loop *l, struct loop_idle *i)
{
        mutex_lock(&l->lock);
        i->next = l->idles;
        l->idles = i;
        mutex_unlock(&l->lock);
        loop_kick(l);
}

void loop_remove_idle(struct loop *l, struct loop_idle *i)
{
        mutex_lock(&l->lock);
        for (struct loop_idle **link = &l->idles; *link; link = &(*link)->next) {
                if (*link == i) {
                        *link = i->next;
                        break;
                }
        }
        for (unsigned t = 0; t < l->nr_threads; t++)
                if (l->threads[t].cursor == i)
                        l->threads[t].cursor = i->next;
        wait_ended(l, i);
        mutex_unlock(&l->lock);
}
