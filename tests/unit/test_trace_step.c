/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_step.c - what happens in the middle of an event, instruction by instruction: a handler writes
 * to another trace, leaves for good, or stays for long.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ucontext.h>

#include "trace_fixture.h"
#include "util/lock.h"

#ifdef __x86_64__
/* A thread that writes to one trace has its handler write to another for the first time, after each of the
 * instructions of an event in turn: what it knows of its rings changes under it. */
#define TRAP_FLAG 0x100

static struct trace others[2];
static volatile unsigned steps_left;
static volatile bool stepped;

static void step(int signo, siginfo_t *info, void *context)
{
        ucontext_t *uc = context;

        (void)signo, (void)info;
        if (steps_left--)
                return;
        stepped = true;
        uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        trace_write(&others[1], TRACE_WAKE, 7, 0, 7, 7, 7, 7);
}

static void single_steps(bool on)
{
        unsigned long flags = __builtin_ia32_readeflags_u64();

        __builtin_ia32_writeeflags_u64(on ? flags | TRAP_FLAG : flags & ~TRAP_FLAG);
}

static void know_nothing(void)
{
        for (unsigned i = 0; i < 2; i++) {
                trace_init(&others[i]);
                trace_write(&others[i], TRACE_PTE, 1, 0, 1, 1, 1, 1);
        }
        trace_init(&others[0]);
        trace_init(&others[1]);
}

Test(trace_step, handler_writes_to_another_trace, .init = set_up, .fini = tear_down, .timeout = 60)
{
        struct sigaction sa = { .sa_sigaction = step, .sa_flags = SA_SIGINFO };
        uint64_t dropped;
        unsigned events = 0;
        size_t n;

        sigaction(SIGTRAP, &sa, NULL);
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        for (unsigned at = 0; !at || stepped; at++, events += 2) {
                know_nothing();
                trace_write(&trace[0], TRACE_PTE, 9, 0, 9, 9, 9, 9);
                trace_write(&others[0], TRACE_PTE, 1, 0, 1, 1, 1, 1);
                stepped = false;
                steps_left = at;
                single_steps(true);
                trace_write(&trace[0], TRACE_PTE, 9, 0, 9, 9, 9, 9);
                single_steps(false);
        }
        cr_assert_geq(events, 40);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        free(load(path[0], &n, &dropped));
        cr_assert_eq(n, events);
        cr_assert_eq(dropped, 0);
}

static sigjmp_buf outside;
static _Atomic uint32_t in_the_middle, go_on;

static bool is_in_an_event(void)
{
        for (unsigned i = 0; i < TRACE_RINGS; i++)
                if (trace[0].ring[i].busy && !trace[0].ring[i].aside)
                        return true;
        return false;
}

/* In the middle of an event: does not return. */
static void leave(int signo)
{
        (void)signo;
        if (is_in_an_event() && !steps_left--)
                siglongjmp(outside, 1);
}

/* Stays there until it is told to go on. */
static void linger(int signo)
{
        (void)signo;
        if (!is_in_an_event() || steps_left-- || atomic_exchange(&in_the_middle, 1))
                return;
        futex_wake(&in_the_middle, 1);
        while (!atomic_load(&go_on))
                futex_wait(&go_on, 0, 0);
}

static void emit_step_by_step(void (*handler)(int))
{
        signal(SIGTRAP, handler);
        if (!sigsetjmp(outside, 1)) {
                single_steps(true);
                trace_write(&trace[0], TRACE_PTE, 9, 0, 9, 9, 9, 9);
                single_steps(false);
        }
        signal(SIGTRAP, SIG_DFL);
}

/* All of a trace's events, from a thread that has left one before, or not. */
static void trace_some(uint64_t some)
{
        uint64_t dropped;
        size_t n;

        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        for (unsigned i = 0; i < some; i++)
                trace_emit(&trace[0], PTE, 9, 0, 9, 9, 9, 9);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        free(load(path[0], &n, &dropped));
        cr_assert_eq(n, some);
        cr_assert_eq(dropped, 0);
}

/* Nobody waits for the rest of an event that a handler has left by siglongjmp(); those before it are there,
 * and so are those of the next trace. */
Test(trace_step, an_event_that_is_never_over, .init = set_up, .fini = tear_down, .timeout = 60)
{
        uint64_t dropped;
        size_t n;

        for (unsigned at = 0; at <= 12; at += 6) {
                cr_assert_eq(trace_start(&trace[0], path[0]), 0);
                for (unsigned i = 0; i < 100; i++)
                        trace_emit(&trace[0], PTE, i, 0, 0, 0, 0, 0);
                steps_left = at;
                emit_step_by_step(leave);
                cr_assert(is_in_an_event(), "%u", at);
                trace_emit(&trace[0], PTE, 0, 0, 0, 0, 0, 0);
                cr_assert_eq(trace_stop(&trace[0]), 0);
                free(load(path[0], &n, &dropped));
                cr_assert_eq(n, 100, "%zu arrived", n);
                cr_assert_eq(dropped, 1);
                trace_some(50);
        }
}

static void *emit_and_linger(void *arg)
{
        emit_step_by_step(linger);
        for (unsigned i = 0; i < 5; i++)
                trace_emit(&trace[0], PTE, i, 0, 0, 0, 0, 0);
        return arg;
}

/* It may be over much later, when the next trace has begun and ended: then it writes where nothing is. */
Test(trace_step, an_event_that_is_over_much_later, .init = set_up, .fini = tear_down, .timeout = 60)
{
        uint64_t dropped;
        pthread_t thread;
        size_t n;

        for (unsigned round = 0; round < 6; round++) {
                unsigned next = round / 2;

                steps_left = round % 2 ? 12 : 0; /* it has looked where to write, or not */
                atomic_store(&in_the_middle, 0);
                atomic_store(&go_on, 0);
                cr_assert_eq(trace_start(&trace[0], path[0]), 0);
                cr_assert_eq(pthread_create(&thread, NULL, emit_and_linger, NULL), 0);
                while (!atomic_load(&in_the_middle))
                        futex_wait(&in_the_middle, 0, 0);
                cr_assert_eq(trace_stop(&trace[0]), 0);
                if (next)
                        trace_some(50);
                if (next > 1)
                        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
                atomic_store(&go_on, 1);
                futex_wake(&go_on, 1);
                pthread_join(thread, NULL);
                cr_assert_eq(trace_stop(&trace[0]), 0);
                free(load(path[0], &n, &dropped));
                cr_assert(next < 2 || n == 5, "%zu arrived", n);
                cr_assert_eq(dropped, 0);
                trace_some(50);
                cr_assert_null(trace[0].left);
        }
}
#endif
