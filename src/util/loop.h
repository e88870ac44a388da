/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.h - the threads that wait in one place: for page-fault events, for completions, and for
 * work handed over by other threads. The pager threads of the uffd MMU are loop threads, and so
 * is whoever reaps io_uring; one system call waits for both.
 *
 * A source is a file descriptor that becomes readable (level-triggered: a handler may leave some
 * of it unread). Handlers run on a loop thread and must not block on I/O; with several threads
 * the same handler, and the same idle function, may run on more than one at once. After each
 * round of handlers, and before sleeping, every registered `idle` function is called until none
 * reports that it did something; that is where parked faults run again and where a batch of
 * submissions goes to the kernel.
 */
#ifndef FL_UTIL_LOOP_H
#define FL_UTIL_LOOP_H

#include "util/base.h"

struct loop;
struct spin;

struct loop_source {
        int fd;
        void (*ready)(struct loop_source *); /* fd is readable */
        void *arg;
        /* Told once when something comes: the handler must leave nothing. Else a second thread is woken
         * for what the first has in hand. */
        bool edge;
};

struct loop_idle {
        bool (*run)(struct loop_idle *); /* true: did something, call everyone again */
        void *arg;
        struct loop_idle *next; /* private to the loop */
};

/* Starts `threads` threads named `name`. 0 or -errno. */
int loop_create(struct loop **out, unsigned threads, const char *name);
/* Stops and joins the threads. Sources and idles must not be used by them any more. */
void loop_destroy(struct loop *l);

int loop_add(struct loop *l, struct loop_source *s);
/* After it returns no thread runs, or will run, the source's handler. Not from a handler. */
void loop_remove(struct loop *l, struct loop_source *s);
/* Idles may be added at any time and are removed only by loop_remove_idle, same rule. */
void loop_add_idle(struct loop *l, struct loop_idle *i);
void loop_remove_idle(struct loop *l, struct loop_idle *i);

/* Make sure that the idle functions run soon. Any thread; async-signal-safe; never blocks.
 * From a loop thread of l it costs no system call. */
void loop_kick(struct loop *l);
/* Is the caller a thread of this loop? */
bool loop_is_current(const struct loop *l);
/* A thread of the loop that would sleep in a handler, because it has nothing else to do: may it? True if
 * another thread waits in its place, nothing is to be looked at, and nothing is on its way whose end only
 * this thread may see (loop_expect). loop_return() when it is back. Not in an idle function, which
 * loop_kick() promises to run. */
bool loop_leave(struct loop *l);
void loop_return(struct loop *l);
/* So many more things are on their way that a thread of the loop has to fetch; negative: have come. */
void loop_expect(struct loop *l, int more);
/* How long a loop thread polls before it sleeps; 0 = sleeps at once. */
void loop_set_spin(struct loop *l, uint64_t ns);
/* What has come of that (util/spin.h), to be read. */
struct spin *loop_spin(struct loop *l);

#endif
