/* SPDX-License-Identifier: Apache-2.0
 *
 * worker.h - threads that do what the faulting thread must not: run a library that allocates and
 * locks.
 *
 * A fault may be served in a signal handler, in the middle of the program's own malloc. A file
 * system whose library is not made for that hands the work over here and returns; end_io comes
 * from the worker. One worker with one thread is also how calls of a library that is not
 * thread-safe are put in a row.
 */
#ifndef FL_FS_WORKER_H
#define FL_FS_WORKER_H

#include "util/lock.h"

/* Embedded in what it is about; the worker's from fs_work_queue() until `run` is called. */
struct fs_work {
        struct fs_work *next;
        void (*run)(struct fs_work *);
};

struct fs_worker;

/* Starts `threads` threads, with all signals blocked. 0 or -errno. */
int fs_worker_create(struct fs_worker **out, unsigned threads, const char *name);
/* Does what is still queued, then ends the threads. Not from one of them. NULL: nothing. */
void fs_worker_destroy(struct fs_worker *w);
/* work->run(work) will be called by one of the threads, in the order of the queue. Any thread,
 * never blocks, async-signal-safe. */
void fs_work_queue(struct fs_worker *w, struct fs_work *work);
/* The same, and waits for it: the result of call(arg). Async-signal-safe if the thread may wait
 * there. Not from one of the worker's threads. => no lock held but those that may be held across
 * I/O */
int fs_worker_call(struct fs_worker *w, int (*call)(void *arg), void *arg);

#endif
