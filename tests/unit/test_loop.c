/* SPDX-License-Identifier: Apache-2.0
 *
 * test_loop.c - the event loop: events and kicks arrive, removal is final, signals stay out.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/loop.h"

static struct loop *loop;

struct counter {
        struct loop_source source;
        struct loop_idle idle;
        _Atomic uint64_t seen, running;
        _Atomic bool gone, late;
};

static void pause_us(long us)
{
        struct timespec ts = { .tv_nsec = us * 1000 };

        nanosleep(&ts, NULL);
}

static void wait_until(_Atomic uint64_t *value, uint64_t target)
{
        uint64_t begin = now_ns();

        while (atomic_load(value) < target) {
                cr_assert_lt(now_ns() - begin, 5000000000u, "%lu of %lu came", atomic_load(value),
                             target);
                pause_us(50);
        }
}

static void read_count(struct loop_source *s)
{
        struct counter *c = s->arg;
        uint64_t n;

        atomic_fetch_add(&c->running, 1);
        if (atomic_load(&c->gone) || !loop_is_current(loop))
                atomic_store(&c->late, true);
        if (read(s->fd, &n, sizeof n) == sizeof n)
                atomic_fetch_add(&c->seen, n);
        pause_us(20);
        if (atomic_load(&c->gone))
                atomic_store(&c->late, true);
        atomic_fetch_sub(&c->running, 1);
}

static void counter_open(struct counter *c)
{
        *c = (struct counter){ 0 };
        c->source.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        c->source.ready = read_count;
        c->source.arg = c;
        cr_assert_eq(loop_add(loop, &c->source), 0);
}

static void add_event(struct counter *c)
{
        uint64_t one = 1;

        cr_assert_eq(write(c->source.fd, &one, sizeof one), sizeof one);
}

Test(loop, every_event_is_handled, .timeout = 30)
{
        static struct counter c[12];

        for (unsigned threads = 1; threads <= 4; threads += 3) {
                cr_assert_eq(loop_create(&loop, threads, "test"), 0);
                cr_assert_not(loop_is_current(loop));
                for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
                        counter_open(&c[i]);
                for (unsigned n = 0; n < 200; n++)
                        for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
                                add_event(&c[i]);
                for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
                        wait_until(&c[i].seen, 200);
                        cr_assert_not(c[i].late);
                        loop_remove(loop, &c[i].source);
                        close(c[i].source.fd);
                }
                loop_destroy(loop);
        }
}

/* A source is removed in the midst of its events: its handler must not be seen afterwards. */
Test(loop, removed_source_does_not_run, .timeout = 60)
{
        static struct counter c;

        cr_assert_eq(loop_create(&loop, 3, "test"), 0);
        for (unsigned round = 0; round < 500; round++) {
                counter_open(&c);
                for (unsigned n = 0; n < 3; n++)
                        add_event(&c);
                if (round % 2)
                        wait_until(&c.seen, 1);
                loop_remove(loop, &c.source);
                cr_assert_eq(atomic_load(&c.running), 0, "round %u: the handler still runs", round);
                atomic_store(&c.gone, true);
                add_event(&c);
                pause_us(30);
                cr_assert_not(c.late, "round %u: the handler ran after the removal", round);
                close(c.source.fd);
        }
        loop_destroy(loop);
}

/* Idles: each adds what it was asked to do. */
static _Atomic uint64_t asked, done;

static bool do_asked(struct loop_idle *i)
{
        uint64_t n = atomic_exchange(&asked, 0);
        struct counter *c = i->arg;

        if (c && atomic_load(&c->gone))
                atomic_store(&c->late, true);
        atomic_fetch_add(&done, n);
        return n > 0;
}

static void *ask_often(void *arg)
{
        unsigned pause = (unsigned)(uintptr_t)arg;

        for (unsigned n = 0; n < 5000; n++) {
                atomic_fetch_add(&asked, 1);
                loop_kick(loop);
                if (pause && n % pause == 0)
                        pause_us(10); /* lets the loop fall asleep */
        }
        return NULL;
}

static void kick_loop(unsigned threads, uint64_t spin)
{
        struct loop_idle idle = { .run = do_asked };
        pthread_t kickers[2];

        atomic_store(&done, 0);
        cr_assert_eq(loop_create(&loop, threads, "test"), 0);
        loop_set_spin(loop, spin);
        loop_add_idle(loop, &idle);
        for (uintptr_t i = 0; i < 2; i++)
                pthread_create(&kickers[i], NULL, ask_often, (void *)(i * 10));
        for (unsigned i = 0; i < 2; i++)
                pthread_join(kickers[i], NULL);
        wait_until(&done, 10000);
        cr_assert_eq(atomic_load(&done), 10000);
        loop_remove_idle(loop, &idle);
        loop_destroy(loop);
}

Test(loop, no_kick_is_lost, .timeout = 60)
{
        for (unsigned threads = 1; threads <= 3; threads++)
                for (uint64_t spin = 0; spin <= 50000; spin += 50000)
                        kick_loop(threads, spin);
}

/* One at a time, each after the loop has fallen asleep: a lost one is not made good by the next. */
Test(loop, kick_wakes_sleeping_threads, .timeout = 60)
{
        struct loop_idle idle = { .run = do_asked };

        for (unsigned threads = 1; threads <= 3; threads += 2) {
                atomic_store(&done, 0);
                cr_assert_eq(loop_create(&loop, threads, "test"), 0);
                loop_add_idle(loop, &idle);
                for (uint64_t n = 1; n <= 300; n++) {
                        pause_us((long)(n % 150));
                        atomic_fetch_add(&asked, 1);
                        loop_kick(loop);
                        wait_until(&done, n);
                }
                loop_remove_idle(loop, &idle);
                loop_destroy(loop);
        }
}

/* A kick from a handler: no system call, but the idle runs before the thread sleeps. */
static void ask_from_handler(struct loop_source *s)
{
        uint64_t n;

        if (read(s->fd, &n, sizeof n) != sizeof n)
                return;
        atomic_fetch_add(&asked, n);
        loop_kick(loop);
}

Test(loop, kick_from_a_handler_runs_idles, .timeout = 30)
{
        struct loop_idle idle = { .run = do_asked };
        static struct counter c;

        for (unsigned threads = 1; threads <= 2; threads++) {
                atomic_store(&done, 0);
                cr_assert_eq(loop_create(&loop, threads, "test"), 0);
                loop_add_idle(loop, &idle);
                counter_open(&c);
                loop_remove(loop, &c.source);
                c.source.ready = ask_from_handler;
                cr_assert_eq(loop_add(loop, &c.source), 0);
                for (uint64_t n = 1; n <= 200; n++) {
                        add_event(&c);
                        wait_until(&done, n);
                }
                loop_remove(loop, &c.source);
                close(c.source.fd);
                loop_remove_idle(loop, &idle);
                loop_destroy(loop);
        }
}

/* "until none did something": three passes of work and one that finds none. */
static _Atomic uint64_t passes;

static bool three_times(struct loop_idle *i)
{
        (void)i;
        return atomic_fetch_add(&passes, 1) % 4 < 3;
}

Test(loop, idles_run_until_none_did_something, .timeout = 10)
{
        struct loop_idle idle = { .run = three_times };

        cr_assert_eq(loop_create(&loop, 1, "test"), 0);
        loop_add_idle(loop, &idle);
        wait_until(&passes, 4);
        loop_remove_idle(loop, &idle);
        cr_assert_eq(atomic_load(&passes) % 4, 0);
        loop_destroy(loop);
}

/* Takes its time, and notes when it runs although it has been removed. */
static bool be_slow(struct loop_idle *i)
{
        struct counter *c = i->arg;

        for (unsigned n = 0; n < 3; n++) {
                if (atomic_load(&c->gone))
                        atomic_store(&c->late, true);
                pause_us(20);
        }
        return false;
}

Test(loop, removed_idle_does_not_run, .timeout = 60)
{
        static struct counter kept, c;
        struct loop_idle before = { .run = be_slow, .arg = &kept };

        cr_assert_eq(loop_create(&loop, 3, "test"), 0);
        for (unsigned round = 0; round < 500; round++) {
                struct loop_idle idle = { .run = be_slow, .arg = &c };

                c = (struct counter){ 0 };
                loop_add_idle(loop, &idle);
                loop_add_idle(loop, &before); /* comes first: `idle` is next while it runs */
                loop_kick(loop);
                pause_us(round % 200);
                loop_remove_idle(loop, &idle);
                atomic_store(&c.gone, true);
                idle.run = NULL;
                loop_kick(loop);
                pause_us(100);
                cr_assert_not(c.late, "round %u", round);
                loop_remove_idle(loop, &before);
        }
        loop_destroy(loop);
}

/* An event that was fetched for a source which is then removed must not reach the source that
 * has taken its place. */
static _Atomic uint64_t at_gate;
static _Atomic bool gate_open;

static void wait_at_gate(struct loop_source *s)
{
        uint64_t n;

        atomic_store(&gate_open, false);
        atomic_fetch_add(&at_gate, 1);
        while (!atomic_load(&gate_open))
                pause_us(50);
        if (read(s->fd, &n, sizeof n) != sizeof n)
                atomic_store(&at_gate, 1000);
}

static void count_calls(struct loop_source *s)
{
        struct counter *c = s->arg;

        read_count(s);
        atomic_fetch_add(&c->seen, 1);
}

Test(loop, event_of_a_removed_source_is_dropped, .timeout = 20)
{
        static struct counter first, second, removed, replacement;

        cr_assert_eq(loop_create(&loop, 1, "test"), 0);
        counter_open(&first);
        counter_open(&second);
        counter_open(&removed);
        first.source.ready = second.source.ready = wait_at_gate;
        add_event(&first);
        wait_until(&at_gate, 1);
        add_event(&second); /* both are fetched at once when the gate opens */
        add_event(&removed);
        atomic_store(&gate_open, true);
        wait_until(&at_gate, 2);
        loop_remove(loop, &removed.source);
        counter_open(&replacement);
        replacement.source.ready = count_calls;
        atomic_store(&gate_open, true);
        pause_us(20000);
        cr_assert_eq(replacement.seen, 0, "called though its descriptor was never readable");
        cr_assert_eq(removed.seen, 0);
        loop_destroy(loop);
}

static _Atomic uint64_t on_loop_thread;

static void note_thread(int signo)
{
        (void)signo;
        if (loop_is_current(loop))
                atomic_fetch_add(&on_loop_thread, 1);
}

Test(loop, signals_do_not_reach_its_threads, .timeout = 10)
{
        static struct counter c;
        sigset_t set;

        signal(SIGUSR1, note_thread);
        cr_assert_eq(loop_create(&loop, 2, "test"), 0);
        counter_open(&c);
        /* With the only other thread blocking it, a handler could run on the loop's only. */
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        for (unsigned i = 1; i <= 20; i++) {
                kill(getpid(), SIGUSR1);
                add_event(&c);
                wait_until(&c.seen, i);
        }
        cr_assert_eq(on_loop_thread, 0);
        loop_remove(loop, &c.source);
        close(c.source.fd);
        loop_destroy(loop);
}

Test(loop, bad_descriptor_is_refused)
{
        struct loop_source s = { .fd = -1, .ready = read_count };

        cr_assert_eq(loop_create(&loop, 1, "test"), 0);
        cr_assert_eq(loop_add(loop, &s), -EBADF);
        loop_destroy(loop);
        cr_assert_eq(loop_create(&loop, 0, "test"), -EINVAL);
}

/* --- a thread that leaves the loop for a while, another one waiting in its place */

static _Atomic int left; /* 0: no answer yet, 1: it might, 2: it might not */
static _Atomic bool come_back;
static int on_its_way;
static bool kick_first;

static void leave(struct loop_source *s)
{
        uint64_t n;
        bool may;

        if (read(s->fd, &n, sizeof n) != sizeof n)
                return;
        /* The others have to be asleep again. */
        pause_us(20000);
        loop_expect(loop, on_its_way);
        if (kick_first)
                loop_kick(loop);
        may = loop_leave(loop);
        loop_expect(loop, -on_its_way);
        atomic_store(&left, may ? 1 : 2);
        while (may && !atomic_load(&come_back))
                pause_us(50);
        if (may)
                loop_return(loop);
}

static void leaver_open(struct counter *c)
{
        counter_open(c);
        loop_remove(loop, &c->source);
        c->source.ready = leave;
        c->source.edge = true;
        atomic_store(&left, 0);
        atomic_store(&come_back, false);
        cr_assert_eq(loop_add(loop, &c->source), 0);
        add_event(c);
        for (unsigned i = 0; i < 100000 && !atomic_load(&left); i++)
                pause_us(50);
}

static void leaver_close(struct counter *c)
{
        atomic_store(&come_back, true);
        loop_remove(loop, &c->source);
        close(c->source.fd);
}

/* Until the other thread waits for events, who leaves would be the last one. */
static void leaves(struct counter *c)
{
        for (unsigned tries = 0; tries < 1000; tries++) {
                leaver_open(c);
                if (atomic_load(&left) == 1)
                        return;
                leaver_close(c);
                pause_us(1000);
        }
        cr_assert_fail("it might not leave");
}

Test(loop, who_leaves_is_not_relied_on, .timeout = 30)
{
        struct loop_idle idle = { .run = do_asked };
        static struct counter c, other;

        atomic_store(&done, 0);
        cr_assert_eq(loop_create(&loop, 2, "test"), 0);
        loop_add_idle(loop, &idle);
        for (uint64_t n = 1; n <= 20; n++) {
                leaves(&c);
                pause_us(1000);
                atomic_fetch_add(&asked, 1);
                loop_kick(loop); /* the other one sleeps, and is all there is */
                wait_until(&done, n);
                counter_open(&other);
                add_event(&other);
                wait_until(&other.seen, 1);
                loop_remove(loop, &other.source);
                close(other.source.fd);
                leaver_close(&c);
        }
        loop_remove_idle(loop, &idle);
        loop_destroy(loop);
}

Test(loop, the_last_one_may_not_leave, .timeout = 30)
{
        static struct counter first, second;

        for (unsigned threads = 1; threads <= 2; threads++) {
                cr_assert_eq(loop_create(&loop, threads, "test"), 0);
                if (threads == 2)
                        leaves(&first);
                leaver_open(&second);
                cr_assert_eq(atomic_load(&left), 2, "none of %u is left", threads);
                leaver_close(&second);
                if (threads == 2)
                        leaver_close(&first);
                loop_destroy(loop);
        }
}

Test(loop, nobody_leaves_what_is_on_its_way, .timeout = 30)
{
        static struct counter c;

        cr_assert_eq(loop_create(&loop, 2, "test"), 0);
        on_its_way = 1;
        leaver_open(&c);
        cr_assert_eq(atomic_load(&left), 2);
        leaver_close(&c);
        on_its_way = 0;
        kick_first = true; /* costs no system call: this thread would have looked */
        leaver_open(&c);
        cr_assert_eq(atomic_load(&left), 2);
        leaver_close(&c);
        kick_first = false;
        leaver_open(&c);
        cr_assert_eq(atomic_load(&left), 1);
        leaver_close(&c);
        cr_assert_not(loop_leave(loop), "no thread of the loop");
        loop_destroy(loop);
}

/* A source that tells once wakes one thread for one event, and again for the next. */
Test(loop, an_edge_is_told_once, .timeout = 30)
{
        static struct counter c;

        cr_assert_eq(loop_create(&loop, 3, "test"), 0);
        counter_open(&c);
        loop_remove(loop, &c.source);
        c.source.edge = true;
        c.source.ready = count_calls;
        cr_assert_eq(loop_add(loop, &c.source), 0);
        for (uint64_t n = 1; n <= 200; n++) {
                add_event(&c);
                wait_until(&c.seen, 2 * n);
                pause_us((long)(n % 100));
        }
        cr_assert_eq(atomic_load(&c.seen), 400, "called more than once an event");
        loop_remove(loop, &c.source);
        close(c.source.fd);
        loop_destroy(loop);
}
