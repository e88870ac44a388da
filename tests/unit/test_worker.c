/* SPDX-License-Identifier: Apache-2.0
 *
 * test_worker.c - work handed to other threads: all of it is done, in order, and ends before the
 * worker does.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "fs/worker.h"

#define WORKS 1000

struct item {
        struct fs_work work;
        unsigned number;
        _Atomic unsigned *done;
        bool in_order;
};

static void run_item(struct fs_work *work)
{
        struct item *i = container_of(work, struct item, work);

        i->in_order = atomic_fetch_add(i->done, 1) == i->number;
}

static void queue_all(struct fs_worker *w, struct item *items, _Atomic unsigned *done)
{
        for (unsigned n = 0; n < WORKS; n++) {
                items[n] = (struct item){ .work.run = run_item, .number = n, .done = done };
                fs_work_queue(w, &items[n].work);
        }
}

Test(worker, does_everything_in_order)
{
        struct item *items = calloc(WORKS, sizeof(*items));
        _Atomic unsigned done = 0;
        struct fs_worker *w;

        cr_assert_eq(fs_worker_create(&w, 1, "fl-test"), 0);
        queue_all(w, items, &done);
        fs_worker_destroy(w);
        cr_assert_eq(atomic_load(&done), WORKS);
        for (unsigned n = 0; n < WORKS; n++)
                cr_assert(items[n].in_order, "%u", n);
        free(items);
}

Test(worker, several_threads_leave_nothing)
{
        struct item *items = calloc(WORKS, sizeof(*items));
        _Atomic unsigned done = 0;
        struct fs_worker *w;

        cr_assert_eq(fs_worker_create(&w, 4, "fl-test"), 0);
        queue_all(w, items, &done);
        fs_worker_destroy(w);
        cr_assert_eq(atomic_load(&done), WORKS);
        free(items);
}

static int negative(void *arg)
{
        int *n = arg;

        nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
        return -(*n)++;
}

Test(worker, a_call_waits_and_returns)
{
        struct fs_worker *w;
        int n = 7;

        cr_assert_eq(fs_worker_create(&w, 1, "fl-test"), 0);
        cr_expect_eq(fs_worker_call(w, negative, &n), -7);
        cr_expect_eq(fs_worker_call(w, negative, &n), -8);
        cr_expect_eq(n, 9);
        fs_worker_destroy(w);
        fs_worker_destroy(NULL);
}
