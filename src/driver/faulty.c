/* SPDX-License-Identifier: Apache-2.0
 *
 * faulty.c - wraps any device and makes it fail, or tarry, as a --faults SPEC says.
 *
 * An I/O takes a slot, which holds a second struct driver_io for the inner device:
 *
 *   submit -> queue -> pump -> [error: not passed on] -> inner device -> [delay: timer] -> done
 *
 * Slots are as many as the env's depth, which callers keep to; what comes above waits in `queue`.
 * Only one thread pumps at a time, so that an inner device that completes at once cannot make
 * submit and done call each other without end. Delayed completions come from a thread of the
 * wrapper, started when the SPEC has a delay.
 *
 * With `powercut` the inner device is behind a volatile cache (power.c), which takes one I/O at a time,
 * in their order. What has a delay there is done in the cache, but not for a flush that comes before
 * its caller has been told.
 */
#include "driver/faulty.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "driver/power.h"
#include "util/lock.h"

#define PRIV_TICK 0 /* of the priv of an I/O handed in: power_tick() at that moment */

struct faulty_slot {
        struct driver_io io;     /* what the inner device sees */
        struct driver_io *outer; /* what our caller handed in */
        struct faulty *faulty;
        uint64_t deadline;        /* when delayed: now_ns() at which to complete */
        struct faulty_slot *next; /* [faulty] in `free` or `delayed` */
};

struct faulty {
        struct device dev;
        struct device *inner;     /* (c) */
        struct fault_rules rules; /* (c) but the counts, which are atomic */
        struct power *power;      /* (c) NULL: nothing is cached */
        struct mutex lock;
        struct io_list queue;        /* [faulty] waiting for a slot, or to be pumped */
        bool pumping;                /* [faulty] */
        bool busy;                   /* [faulty] power.c has an I/O */
        struct faulty_slot *free;    /* [faulty] */
        struct faulty_slot *delayed; /* [faulty] by deadline */
        bool stop;                   /* [faulty] */
        bool has_timer;
        pthread_t timer;
        _Atomic uint32_t wake; /* futex word of the timer: the first deadline changed */
        struct faulty_slot slots[];
};

static const struct driver_ops faulty_ops;

static struct faulty *to_faulty(const struct device *dev)
{
        return container_of(dev, struct faulty, dev);
}

/* ---- completion ---- */

static bool pump(struct faulty *f);

/* The slot is free again; then the caller gets its I/O back. */
static void finish(struct faulty_slot *slot)
{
        struct faulty *f = slot->faulty;
        struct device *inner = f->inner;
        struct driver_io *outer = slot->outer;
        int64_t result = slot->io.result;

        if (f->power)
                power_told(f->power, &slot->io);
        mutex_lock(&f->lock);
        slot->next = f->free;
        f->free = slot;
        mutex_unlock(&f->lock);
        /* Before done(), after which the device may be closed. */
        if (pump(f))
                device_commit(inner);
        driver_io_done(outer, result);
}

/* Into the list of the delayed, which is sorted; the timer looks again if it is the first. */
static void delay(struct faulty_slot *slot, uint64_t ns)
{
        struct faulty *f = slot->faulty;
        struct faulty_slot **link = &f->delayed;
        bool first;

        slot->deadline = now_ns() + ns;
        mutex_lock(&f->lock);
        while (*link && (*link)->deadline <= slot->deadline)
                link = &(*link)->next;
        first = link == &f->delayed;
        slot->next = *link;
        *link = slot;
        if (first)
                atomic_fetch_add(&f->wake, 1);
        mutex_unlock(&f->lock);
        if (first)
                futex_wake(&f->wake, 1);
}

/* Done below; it may be that nobody is told yet. */
static void complete(struct faulty_slot *slot)
{
        struct faulty *f = slot->faulty;
        uint64_t ns = faults_delay(&f->rules, slot->outer);

        mutex_lock(&f->lock);
        f->busy = false;
        mutex_unlock(&f->lock);
        if (!ns) {
                finish(slot);
                return;
        }
        /* First the next, then this: it may be the last that keeps the device open. */
        if (f->power && pump(f))
                device_commit(f->inner);
        delay(slot, ns);
}

static void inner_done(struct driver_io *io)
{
        complete(container_of(io, struct faulty_slot, io));
}

/* ---- the timer ---- */

/* The first of the delayed if its time has come; else NULL and how long to sleep, 0 for ever.
 * => f->lock held */
static struct faulty_slot *take_due(struct faulty *f, uint64_t *sleep_ns)
{
        struct faulty_slot *slot = f->delayed;
        uint64_t now = now_ns();

        mutex_assert_held(&f->lock);
        *sleep_ns = 0;
        if (!slot)
                return NULL;
        if (slot->deadline > now) {
                *sleep_ns = slot->deadline - now;
                return NULL;
        }
        f->delayed = slot->next;
        return slot;
}

static void *timer_main(void *arg)
{
        struct faulty *f = arg;

        for (;;) {
                struct faulty_slot *slot;
                uint64_t sleep_ns;
                uint32_t seen;
                bool stop;

                mutex_lock(&f->lock);
                slot = take_due(f, &sleep_ns);
                seen = atomic_load(&f->wake);
                stop = f->stop;
                mutex_unlock(&f->lock);
                if (slot)
                        finish(slot);
                else if (stop)
                        return NULL;
                else
                        futex_wait(&f->wake, seen, sleep_ns);
        }
}

static int start_timer(struct faulty *f)
{
        sigset_t all, old;
        int err;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        err = pthread_create(&f->timer, NULL, timer_main, f);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        f->has_timer = !err;
        if (!err)
                pthread_setname_np(f->timer, "fl-faulty");
        return -err;
}

static void stop_timer(struct faulty *f)
{
        if (!f->has_timer)
                return;
        mutex_lock(&f->lock);
        f->stop = true;
        atomic_fetch_add(&f->wake, 1);
        mutex_unlock(&f->lock);
        futex_wake(&f->wake, 1);
        pthread_join(f->timer, NULL);
}

/* ---- submission ---- */

/* Takes the end off, so that `len` bytes are left. */
static void cut_io(struct driver_io *io, uint64_t len)
{
        uint64_t left = len;
        unsigned n = 0;

        io->len = len;
        for (; n < io->iovcnt && left; n++) {
                io->iov[n].iov_len = min_u64(io->iov[n].iov_len, left);
                left -= io->iov[n].iov_len;
        }
        io->iovcnt = n;
}

static void start(struct faulty_slot *slot)
{
        struct faulty *f = slot->faulty;
        struct driver_io *outer = slot->outer;
        int err = faults_error(&f->rules, outer);

        slot->io = (struct driver_io){
                .op = outer->op,
                .flags = outer->flags,
                .offset = outer->offset,
                .len = outer->len,
                .iov = outer->iov,
                .iovcnt = outer->iovcnt,
                .fault = outer->fault,
                .object = outer->object,
                .result = err,
                .done = inner_done,
        };
        if (err) {
                complete(slot);
                return;
        }
        cut_io(&slot->io, faults_short(&f->rules, outer));
        if (f->power)
                power_submit(f->power, &slot->io, outer->priv[PRIV_TICK]);
        else
                device_submit(f->inner, &slot->io);
}

/* The next queued I/O in a slot of its own, or NULL. => f->lock held */
static struct faulty_slot *take_slot(struct faulty *f)
{
        struct faulty_slot *slot = f->free;

        mutex_assert_held(&f->lock);
        if (!slot || !f->queue.head || (f->power && f->busy))
                return NULL;
        f->busy = true;
        f->free = slot->next;
        slot->outer = io_list_pop(&f->queue);
        return slot;
}

/* Starts what is queued, unless somebody is doing so: then that one will. True if any. */
static bool pump(struct faulty *f)
{
        struct faulty_slot *slot;
        bool any = false;

        mutex_lock(&f->lock);
        if (f->pumping) {
                mutex_unlock(&f->lock);
                return false;
        }
        f->pumping = true;
        while ((slot = take_slot(f))) {
                mutex_unlock(&f->lock);
                start(slot);
                any = true;
                mutex_lock(&f->lock);
        }
        f->pumping = false;
        mutex_unlock(&f->lock);
        return any;
}

static void faulty_submit(struct device *dev, struct driver_io *io)
{
        struct faulty *f = to_faulty(dev);

        if (f->power)
                io->priv[PRIV_TICK] = power_tick(f->power);
        mutex_lock(&f->lock);
        io_list_push(&f->queue, io);
        mutex_unlock(&f->lock);
        pump(f);
}

static void faulty_commit(struct device *dev)
{
        device_commit(to_faulty(dev)->inner);
}

/* ---- the device ---- */

struct flush_wait {
        struct driver_io io;
        _Atomic uint32_t done;
};

static void flush_done(struct driver_io *io)
{
        struct flush_wait *w = container_of(io, struct flush_wait, io);

        atomic_store(&w->done, 1);
        futex_wake(&w->done, 1);
}

/* What is cached goes to the device before it is closed, or changed past the cache; after a cut, what
 * survives does. 0, or why the device is not to be changed. */
static int write_out(struct faulty *f)
{
        struct flush_wait w = { .io = { .op = IO_FLUSH, .done = flush_done } };

        if (!f->power)
                return 0;
        device_submit(&f->dev, &w.io);
        device_commit(&f->dev);
        lock_assert_may_sleep();
        while (!atomic_load(&w.done))
                futex_wait(&w.done, 0, 0);
        return w.io.result < 0 ? (int)w.io.result : 0;
}

static void faulty_close(struct device *dev)
{
        struct faulty *f = to_faulty(dev);

        write_out(f);
        stop_timer(f);
        device_close(f->inner);
        power_destroy(f->power);
        free(f);
}

static int faulty_refresh(struct device *dev, uint64_t *size)
{
        struct device *inner = to_faulty(dev)->inner;
        int err = 0;

        if (inner->ops->refresh)
                err = inner->ops->refresh(inner, size);
        else
                *size = inner->size;
        if (!err)
                __atomic_store_n(&dev->size, *size, __ATOMIC_RELAXED);
        return err;
}

static int faulty_resize(struct device *dev, uint64_t size)
{
        struct device *inner = to_faulty(dev)->inner;
        int err = write_out(to_faulty(dev));

        if (!err)
                err = inner->ops->resize ? inner->ops->resize(inner, size) : -EROFS;

        if (!err)
                __atomic_store_n(&dev->size, size, __ATOMIC_RELAXED);
        return err;
}

static int faulty_punch(struct device *dev, uint64_t offset, uint64_t len)
{
        struct device *inner = to_faulty(dev)->inner;
        int err = write_out(to_faulty(dev));

        if (err)
                return err;
        return inner->ops->punch ? inner->ops->punch(inner, offset, len) : -EOPNOTSUPP;
}

static int faulty_allocate(struct device *dev, uint64_t offset, uint64_t len, uint64_t *end)
{
        struct device *inner = to_faulty(dev)->inner;
        struct driver_io io = { .op = IO_WRITE, .offset = offset, .len = len, .dev = dev };
        int fd = inner->ops->fd ? inner->ops->fd(inner) : -1;

        *end = offset + len;
        if (to_faulty(dev)->power && power_is_off(to_faulty(dev)->power))
                return -EIO;
        if (!inner->ops->allocate)
                return 0;
        /* What has room already needs none. */
        if (lseek(fd, (off_t)offset, SEEK_DATA) != (off_t)offset &&
            faults_no_room(&to_faulty(dev)->rules, &io))
                return -ENOSPC;
        return inner->ops->allocate(inner, offset, len, end);
}

static int faulty_fd(const struct device *dev)
{
        return device_fd(to_faulty(dev)->inner);
}

static bool has_delay(const struct fault_rules *rules)
{
        for (unsigned i = 0; i < rules->count; i++)
                if (rules->rule[i].kind == FAULT_DELAY)
                        return true;
        return false;
}

int device_wrap_faulty(struct driver_env *env, struct device *inner, const char *spec,
                       struct device **out)
{
        unsigned slots = env->depth ? env->depth : DEFAULT_DEPTH;
        struct faulty *f = calloc(1, sizeof *f + slots * sizeof f->slots[0]);
        int err;

        if (!f)
                return -ENOMEM;
        mutex_init(&f->lock, LOCK_FAULTY);
        err = faults_parse(&f->rules, spec);
        if (!err && has_delay(&f->rules))
                err = start_timer(f);
        if (err) {
                free(f);
                return err;
        }
        for (unsigned i = 0; i < slots; i++) {
                f->slots[i].faulty = f;
                f->slots[i].next = f->free;
                f->free = &f->slots[i];
        }
        if (f->rules.powercut)
                err = power_create(&f->power, env, inner, &f->dev, &f->rules);
        if (err) {
                stop_timer(f);
                free(f);
                return err;
        }
        f->inner = inner;
        f->dev = *inner;
        f->dev.ops = &faulty_ops;
        f->dev.env = env;
        snprintf(f->dev.name, sizeof f->dev.name, "faulty:%.*s", (int)sizeof f->dev.name - 8,
                 inner->name);
        *out = &f->dev;
        return 0;
}

static const struct driver_ops faulty_ops = {
        .name = "faulty",
        .signal_safe = true,
        .submit = faulty_submit,
        .commit = faulty_commit,
        .close = faulty_close,
        .refresh = faulty_refresh,
        .resize = faulty_resize,
        .punch = faulty_punch,
        .allocate = faulty_allocate,
        .fd = faulty_fd,
};
