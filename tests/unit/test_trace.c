/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace.c - the rings: every event arrives once or is counted as dropped.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forbid.h"
#include "trace_fixture.h"
#include "util/lock.h"

Test(trace, records_come_back, .init = set_up, .fini = tear_down)
{
        struct trace *t = &trace[0];
        struct trace_record *r;
        uint64_t dropped, begin;
        struct stat st;
        char name[9];
        size_t n;

        trace_emit(t, PTE, 1, 0, 0, 0, 0, 0); /* off: goes nowhere */
        cr_assert_eq(trace_start(t, path[0]), 0);
        cr_assert_eq(trace_start(t, path[1]), -EBUSY);
        begin = now_ns();
        trace_emit(t, FIND_VMA, trace_new_fault(t), 77, 1, 2, 3, 4);
        trace_emit(t, FS_READAHEAD, trace_new_fault(t), 0, 5, UINT64_MAX, trace_name("hostfs"), 0);
        cr_assert_eq(trace_stop(t), 0);
        cr_assert_eq(trace_stop(t), 0);
        trace_emit(t, PTE, 1, 0, 0, 0, 0, 0);
        r = load(path[0], &n, &dropped);
        cr_assert_eq(n, 2);
        cr_assert_eq(dropped, 0);
        cr_assert_eq(r[0].event, TRACE_FIND_VMA);
        cr_assert_eq(r[0].fault, 1);
        cr_assert_eq(r[0].object, 77);
        cr_assert_eq(r[0].tid, (uint32_t)gettid());
        cr_assert_eq(r[0].arg[0] * 1000 + r[0].arg[1] * 100 + r[0].arg[2] * 10 + r[0].arg[3], 1234);
        cr_assert_geq(r[0].time, begin);
        cr_assert_geq(r[1].time, r[0].time);
        cr_assert_leq(r[1].time, now_ns());
        cr_assert_eq(r[1].fault, 2);
        cr_assert_eq(r[1].arg[1], UINT64_MAX);
        trace_name_of(r[1].arg[2], name);
        cr_assert_str_eq(name, "hostfs");
        trace_name_of(trace_name("page_cache"), name);
        cr_assert_str_eq(name, "page_cac");
        stat(path[0], &st);
        cr_assert_eq(st.st_size % 8, 0);
        free(r);
}

static unsigned worked_out;

static uint64_t work_out(void)
{
        return ++worked_out;
}

/* What would be told is not worked out for nobody. */
Test(trace, arguments_are_for_whoever_looks, .init = set_up, .fini = tear_down)
{
        struct trace *t = &trace[0];
        uint64_t dropped;
        size_t n;

        trace_emit(t, PTE, 1, 0, work_out(), 0, 0, 0);
        cr_assert_eq(worked_out, 0);
#ifdef FL_PROBES
        faultline_ACCESS_semaphore = 1; /* as the kernel does, for one who attaches to it */
        trace_emit(t, PTE, 1, 0, work_out(), 0, 0, 0);
        cr_assert_eq(worked_out, 0, "somebody looks at another event");
        trace_emit(t, ACCESS, 1, 0, work_out(), 0, 0, 0);
        cr_assert_eq(worked_out, 1);
        faultline_ACCESS_semaphore = 0;
        trace_emit(t, ACCESS, 1, 0, work_out(), 0, 0, 0);
        cr_assert_eq(worked_out, 1);
#endif
        worked_out = 0;
        cr_assert_eq(trace_start(t, path[0]), 0);
        trace_emit(t, PTE, 1, 0, work_out(), 0, 0, 0);
        cr_assert_eq(worked_out, 1, "not once");
        cr_assert_eq(trace_stop(t), 0);
        trace_emit(t, PTE, 1, 0, work_out(), 0, 0, 0);
        cr_assert_eq(worked_out, 1);
        free(load(path[0], &n, &dropped));
        cr_assert_eq(n, 1);
}

Test(trace, new_file_is_private, .init = set_up, .fini = tear_down)
{
        struct stat st;

        unlink(path[0]);
        umask(0);
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        cr_assert_eq(stat(path[0], &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0600);
}

/* A child of fork() traces for itself, whatever the parent's threads are about. */
static _Atomic bool forked_enough;

static void *emit_all_the_time(void *arg)
{
        while (!atomic_load(&forked_enough))
                trace_emit(&trace[0], PTE, 1, 0, (uintptr_t)arg, 0, 0, 0);
        return NULL;
}

static int trace_in_child(void)
{
        alarm(20); /* or it waits for a thread that it has not */
        if (trace_start(&trace[1], path[1]))
                return 1;
        trace_emit(&trace[1], PTE, 1, 0, 0, 0, 0, 0);
        return trace_stop(&trace[1]) ? 2 : 0;
}

Test(trace, child_waits_for_no_thread_of_the_parent, .init = set_up, .fini = tear_down)
{
        pthread_t thread[4];
        int status = 0;

        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        for (unsigned i = 0; i < 4; i++)
                cr_assert_eq(pthread_create(&thread[i], NULL, emit_all_the_time, NULL), 0);
        for (unsigned i = 0; i < 30 && !status; i++) {
                pid_t pid;

                usleep(1000);
                pid = fork();
                cr_assert_geq(pid, 0);
                if (pid == 0)
                        _exit(trace_in_child());
                cr_assert_eq(waitpid(pid, &status, 0), pid);
        }
        atomic_store(&forked_enough, true);
        for (unsigned i = 0; i < 4; i++)
                pthread_join(thread[i], NULL);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        cr_assert_eq(status, 0, "a child ended with %#x", (unsigned)status);
}

/* Threads number their events; what arrives of each must be in order, and none may be missing
 * that was not counted. */
#define THREADS 6
#define EVENTS 60000u
static unsigned pause_every;

static void *emit_numbered(void *arg)
{
        for (unsigned i = 0; i < EVENTS; i++) {
                for (unsigned which = 0; which < 2; which++)
                        trace_emit(&trace[which], PTE, i, 0, (uintptr_t)arg, i, which, 0);
                if (pause_every && i % pause_every == 0)
                        usleep(1000);
        }
        return NULL;
}

static void check_numbered(unsigned which)
{
        uint64_t next[THREADS] = { 0 }, dropped;
        struct trace_record *r;
        size_t n;

        r = load(path[which], &n, &dropped);
        cr_assert_eq(n + dropped, THREADS * EVENTS, "%zu arrived, %lu dropped", n, dropped);
        for (size_t i = 0; i < n; i++) {
                uint64_t *expected = &next[r[i].arg[0]];

                cr_assert_eq(r[i].arg[2], which);
                cr_assert_geq(r[i].arg[1], *expected, "event twice or out of order");
                cr_assert_eq(r[i].fault, r[i].arg[1], "torn record");
                *expected = r[i].arg[1] + 1;
        }
        free(r);
}

static void emit_from_threads(void)
{
        pthread_t threads[THREADS];

        for (uintptr_t i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, emit_numbered, (void *)i), 0);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
}

Test(trace, two_engines_from_many_threads, .init = set_up, .fini = tear_down, .timeout = 60)
{
        pause_every = 1000;
        for (unsigned which = 0; which < 2; which++)
                cr_assert_eq(trace_start(&trace[which], path[which]), 0);
        emit_from_threads();
        for (unsigned which = 0; which < 2; which++) {
                cr_assert_eq(trace_stop(&trace[which]), 0);
                check_numbered(which);
        }
}

Test(trace, full_rings_drop_and_count, .init = set_up, .fini = tear_down, .timeout = 60)
{
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        emit_from_threads(); /* faster than any disk */
        cr_assert_eq(trace_stop(&trace[0]), 0);
        check_numbered(0);
}

Test(trace, ring_holds_32768_before_it_drops, .init = set_up, .fini = tear_down, .timeout = 60)
{
        uint64_t dropped;
        size_t n;

        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        for (unsigned i = 0; i < 32768; i++)
                trace_emit(&trace[0], PTE, i, 0, 0, 0, 0, 0);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        free(load(path[0], &n, &dropped));
        cr_assert_eq(n, 32768);
        cr_assert_eq(dropped, 0);
}

/* One drain merges the rings by time, so that only its edges can be out of order. */
Test(trace, file_is_nearly_in_order, .init = set_up, .fini = tear_down, .timeout = 60)
{
        uint64_t latest = 0, records = 0, late = 0;
        struct trace_record record;
        struct trace_reader *r;
        const char *why;

        pause_every = 1000;
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        emit_from_threads();
        cr_assert_eq(trace_stop(&trace[0]), 0);
        cr_assert_eq(trace_reader_open(&r, path[0], &why), 0);
        for (; trace_reader_next(r, &record) > 0; records++) {
                late += record.time < latest;
                latest = max_u64(latest, record.time);
        }
        trace_reader_close(r);
        cr_assert_lt(late * 20, records, "%lu of %lu", late, records);
}

static void forbid_membarrier(void)
{
        if (!forbid_call(SYS_membarrier, EPERM, SECCOMP_FILTER_FLAG_TSYNC))
                cr_skip_test("seccomp filters are not allowed");
}

/* Starting and stopping under fire: nothing is used after it has been freed, and each file
 * is whole. */
static _Atomic bool quit;

static void *emit_until_quit(void *arg)
{
        (void)arg;
        while (!atomic_load(&quit))
                trace_emit(&trace[0], PTE, 0, 0, 0, 0, 0, 0);
        return NULL;
}

/* From that round on membarrier(2) does not work. */
static void stop_and_start(int without_from, bool at_stop)
{
        pthread_t threads[3];
        uint64_t dropped;
        size_t n;

        for (unsigned i = 0; i < 3; i++)
                pthread_create(&threads[i], NULL, emit_until_quit, NULL);
        for (int round = 0; round < 30; round++) {
                if (round == without_from && !at_stop)
                        forbid_membarrier();
                cr_assert_eq(trace_start(&trace[0], path[0]), 0);
                usleep(1000 * (unsigned)(round % 4));
                if (round == without_from && at_stop)
                        forbid_membarrier();
                cr_assert_eq(trace_stop(&trace[0]), 0);
                free(load(path[0], &n, &dropped));
        }
        atomic_store(&quit, true);
        for (unsigned i = 0; i < 3; i++)
                pthread_join(threads[i], NULL);
}

Test(trace, stop_and_start_under_fire, .init = set_up, .fini = tear_down, .timeout = 60)
{
        stop_and_start(-1, false);
}

/* Then each event has a fence. */
Test(trace, without_membarrier, .init = set_up, .fini = tear_down, .timeout = 60)
{
        stop_and_start(0, false);
}

Test(trace, membarrier_goes_away, .init = set_up, .fini = tear_down, .timeout = 60)
{
        stop_and_start(15, true);
}

static void *emit_one(void *arg)
{
        trace_emit(&trace[0], PTE, (uintptr_t)arg, 0, 0, 0, 0, 0);
        return NULL;
}

/* More threads than rings, one after the other: the rings of the dead are used again. */
Test(trace, rings_of_ended_threads_are_reused, .init = set_up, .fini = tear_down, .timeout = 60)
{
        uint64_t dropped;
        size_t n;

        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        for (uintptr_t i = 0; i < 400; i++) {
                pthread_t thread;

                cr_assert_eq(pthread_create(&thread, NULL, emit_one, (void *)i), 0);
                pthread_join(thread, NULL);
                if (i % 20 == 0)
                        usleep(8000);
        }
        cr_assert_eq(trace_stop(&trace[0]), 0);
        free(load(path[0], &n, &dropped));
        cr_assert_eq(n + dropped, 400);
        cr_assert_geq(n, 300, "%zu arrived", n);
}

/* A signal handler that emits may interrupt an event of the same thread. */
static void emit_in_handler(int signo)
{
        (void)signo;
        trace_emit(&trace[0], WAKE, 7, 0, 7, 7, 7, 7);
}

static void *interrupt(void *arg)
{
        while (!atomic_load(&quit)) {
                pthread_kill(*(pthread_t *)arg, SIGUSR1);
                usleep(50);
        }
        return NULL;
}

Test(trace, events_from_signal_handlers, .init = set_up, .fini = tear_down, .timeout = 60)
{
        pthread_t me = pthread_self(), other;
        struct trace_record *r;
        uint64_t dropped;
        size_t n;

        signal(SIGUSR1, emit_in_handler);
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        pthread_create(&other, NULL, interrupt, &me);
        for (unsigned i = 0; i < 1000000; i++)
                trace_emit(&trace[0], PTE, 9, 0, 9, 9, 9, 9);
        atomic_store(&quit, true);
        pthread_join(other, NULL);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        r = load(path[0], &n, &dropped);
        for (size_t i = 0; i < n; i++) {
                uint64_t expected = r[i].event == TRACE_WAKE ? 7 : 9;

                for (unsigned a = 0; a < 4; a++)
                        cr_assert_eq(r[i].arg[a], expected, "torn record");
        }
        free(r);
}

/* A name given by mistake must not cost the data behind it, nor wait for a reader. */
Test(trace, nothing_but_traces_is_written_over, .init = set_up, .fini = tear_down)
{
        struct stat st;
        FILE *f = fopen("precious", "w");

        fputs("not a trace", f);
        fclose(f);
        cr_assert_eq(trace_start(&trace[0], "precious"), -EEXIST);
        cr_assert_eq(stat("precious", &st), 0);
        cr_assert_eq(st.st_size, 11);
        cr_assert_eq(mkfifo("fifo", 0600), 0);
        cr_assert_eq(trace_start(&trace[0], "fifo"), -EINVAL);
        unlink("precious");
        unlink("fifo");
        /* an earlier trace, readable by all, is taken and made private */
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        chmod(path[0], 0644);
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        cr_assert_eq(stat(path[0], &st), 0);
        cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(trace, errors_of_the_file_are_returned, .init = set_up, .fini = tear_down)
{
        struct rlimit limit = { .rlim_cur = 8192, .rlim_max = 8192 };

        cr_assert_eq(trace_start(&trace[0], "/nonexistent/trace"), -ENOENT);
        cr_assert_eq(trace_start(&trace[0], "/dev/full"), -EINVAL);
        cr_assert_not(trace_on(&trace[0]));
        signal(SIGXFSZ, SIG_IGN);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        trace[0].quiet = true;
        for (unsigned i = 0; i < 1000; i++)
                trace_emit(&trace[0], PTE, i, 0, 0, 0, 0, 0);
        cr_assert_eq(trace_stop(&trace[0]), -EFBIG);
}

/* A full disk: tracing stops, what was written before stays readable, and what is missing is told. */
Test(trace, full_disk_ends_the_trace, .init = set_up, .fini = tear_down, .timeout = 60)
{
        struct rlimit limit = { .rlim_cur = 100000, .rlim_max = 100000 };
        struct trace_record record;
        struct trace_reader *r;
        const char *why;
        uint64_t n = 0, emitted = 0;

        signal(SIGXFSZ, SIG_IGN);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        trace[0].quiet = true;
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        for (; trace_on(&trace[0]); emitted++) {
                trace_emit(&trace[0], PTE, emitted, 0, 0, 0, 0, 0);
                if (emitted % 3 == 0) /* names are no events, and are not counted with them */
                        trace_object(&trace[0], TRACE_OF_FILE, "name");
                if (emitted % 100 == 0)
                        usleep(1000);
        }
        cr_assert_eq(trace_stop(&trace[0]), -EFBIG);
        cr_assert_eq(trace_reader_open(&r, path[0], &why), 0, "%s", why);
        while (trace_reader_next(r, &record) > 0)
                cr_assert_eq(record.fault, n++, "out of order, or not whole");
        cr_assert_gt(n, 300);
        cr_assert_null(trace_reader_problem(r), "%s", trace_reader_problem(r));
        cr_assert_gt(trace_reader_dropped(r), 0);
        n += trace_reader_dropped(r); /* the last may have come when it was off */
        cr_assert(n == emitted || n == emitted - 1, "%lu of %lu", n, emitted);
        trace_reader_close(r);
}

/* Names of what events are about, of the threads that made them, and of those they tell of. */
Test(trace, names_are_told, .init = set_up, .fini = tear_down)
{
        struct trace_record *records;
        struct trace_reader *r;
        enum trace_kind kind;
        uint64_t file, device;
        char longest[2000];
        const char *why;
        size_t n;

        memset(longest, 'x', sizeof longest);
        longest[sizeof longest - 1] = 0;
        pthread_setname_np(pthread_self(), "namesake");
        cr_assert_gt(trace_object(&trace[0], TRACE_OF_FILE, "before"), 0);
        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        file = trace_object(&trace[0], TRACE_OF_FILE, "/some/file");
        device = trace_object(&trace[0], TRACE_OF_DEVICE, longest);
        cr_assert_neq(file, device);
        trace_emit(&trace[0], FAULT_BEGIN, 1, file, 0, 0, (uint64_t)gettid(), 0);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        cr_assert_eq(trace_reader_open(&r, path[0], &why), 0);
        cr_assert_eq(trace_reader_load(r, &records, &n), 0);
        cr_assert_null(trace_reader_problem(r));
        cr_assert_eq(n, 1, "names are not events");
        cr_assert_str_eq(trace_reader_object(r, records[0].object, &kind), "/some/file");
        cr_assert_eq(kind, TRACE_OF_FILE);
        cr_assert_eq(strlen(trace_reader_object(r, device, &kind)), 1024);
        cr_assert_eq(kind, TRACE_OF_DEVICE);
        cr_assert_null(trace_reader_object(r, 0, NULL));
        cr_assert_null(trace_reader_object(r, 99, NULL));
        cr_assert_str_eq(trace_reader_thread(r, records[0].tid), "namesake");
        cr_assert_null(trace_reader_thread(r, 1u << 30));
        free(records);
        trace_reader_close(r);
}

static void count_up(void *arg, struct trace_counters *out)
{
        uint64_t *n = arg;

        *out = (struct trace_counters){ .cache = ++*n, .dirty = 2, .queue = 3, .budget = 4 };
}

static void stand_still(void *arg, struct trace_counters *out)
{
        ++*(uint64_t *)arg;
        *out = (struct trace_counters){ .cache = 1 };
}

static size_t nr_counters(void (*counters)(void *, struct trace_counters *), unsigned wait_us)
{
        uint64_t asked = 0, last = 0, dropped;
        struct trace_record *r;
        size_t n;

        cr_assert_eq(trace_start(&trace[0], path[0]), 0);
        trace_set_counters(&trace[0], counters, &asked);
        usleep(wait_us);
        cr_assert_eq(trace_stop(&trace[0]), 0);
        cr_assert_geq(asked, 1);
        r = load(path[0], &n, &dropped);
        for (size_t i = 0; i < n; i++) {
                cr_assert_eq(r[i].event, TRACE_COUNTERS);
                cr_assert_gt(r[i].arg[0], last);
                last = r[i].arg[0];
        }
        free(r);
        return n;
}

Test(trace, counters_are_told_when_they_change, .init = set_up, .fini = tear_down)
{
        cr_assert_geq(nr_counters(count_up, 100000), 2);
        cr_assert_eq(nr_counters(stand_still, 100000), 1);
        cr_assert_geq(nr_counters(count_up, 0), 1);
}
