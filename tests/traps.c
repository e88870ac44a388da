/* SPDX-License-Identifier: Apache-2.0
 *
 * traps.c - faults that come as signals, in a program that has signals of its own: handlers, masks,
 * alternate stacks, cancellation, fork, and a handler that touches mapped memory in the middle of
 * malloc(). And what such an MMU cannot do: serve the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 512ul
#define CACHE (64 * PAGE + (192ul << 10))

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

struct ground {
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;
        char *p;
};

/* Every page of it stamped; more pages than the cache holds. */
static struct ground begin(const char *what)
{
        struct ground g = { .path = test_stamped_file(what, PAGES) };

        test_at(what);
        g.e = open_engine(CACHE);
        g.f = open_file(g.e, g.path, O_RDWR);
        g.p = map_file(g.e, g.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        return g;
}

static void end(struct ground *g)
{
        check_engine(g->e);
        expect(fl_munmap(g->e, g->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(g->f);
        close_engine(g->e);
}

static int the_signal(struct fl_engine *e)
{
        return strcmp(fl_engine_mmu(e), "sigsegv") ? SIGBUS : SIGSEGV;
}

/* --- what the kernel itself touches --- */

static void system_calls(void)
{
        struct ground g = begin("syscalls");
        int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        int pipes[2];

        require(zero >= 0 && pipe(pipes) == 0, "%s", strerror(errno));
        errno = 0;
        expect(write(pipes[1], g.p + 7 * PAGE, 100) == -1 && errno == EFAULT,
               "write(2) from an absent page: %s", strerror(errno));
        expect(fl_touch_range(g.e, g.p + 7 * PAGE + 50, 100, 0) == 0, "%s", fl_strerror());
        expect(write(pipes[1], g.p + 7 * PAGE, 100) == 100, "write(2) from a touched page: %s",
               strerror(errno));
        expect(read(zero, g.p + 7 * PAGE + 96, 100) == -1 && errno == EFAULT,
               "read(2) into a clean page: %s", strerror(errno));
        expect(fl_touch_range(g.e, g.p + 6 * PAGE, 3 * PAGE, 1) == 0, "%s", fl_strerror());
        expect(read(zero, g.p + 7 * PAGE + 96, 100) == 100, "read(2) into a touched page: %s",
               strerror(errno));
        expect(fl_msync(g.e, g.p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        if (strcmp(fl_engine_mmu(g.e), "sigbus") == 0)
                expect(read(zero, g.p + 7 * PAGE + 96, 100) == -1 && errno == EFAULT,
                       "read(2) into a page that has been written back: %s", strerror(errno));
        /* Errors are told, and nobody is signalled. */
        expect(fl_touch_range(g.e, g.p + PAGES * PAGE, 1, 0) == -1 && errno == EFAULT,
               "touching nothing: %s", fl_strerror());
        expect(fl_mprotect(g.e, g.p, PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect(fl_touch_range(g.e, g.p, 1, 1) == -1 && errno == EFAULT,
               "touching what is read-only: %s", fl_strerror());
        expect(fl_touch_range(g.e, g.p, 1, 0) == 0, "%s", fl_strerror());
        close(zero);
        close(pipes[0]);
        close(pipes[1]);
        end(&g);
}

static void touch_errors(void)
{
        const char *path = test_stamped_file("bad", 8);
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = CACHE, .faults = "eio@12K+4K" });
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, 16 * PAGE, PROT_READ, MAP_SHARED, 0);

        test_at("errors of fl_touch_range");
        expect(fl_touch_range(e, p, 3 * PAGE, 0) == 0, "%s", fl_strerror());
        expect(fl_touch_range(e, p, 8 * PAGE, 0) == -1 && errno == EIO, "a bad page: %s",
               fl_strerror());
        expect(fl_touch_range(e, p + 4 * PAGE, 4 * PAGE, 0) == 0, "%s", fl_strerror());
        expect(fl_touch_range(e, p + 4 * PAGE, 5 * PAGE, 0) == -1 && errno == ENXIO,
               "past the end: %s", fl_strerror());
        expect(fl_munmap(e, p, 16 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* --- the program's own signals --- */

static volatile sig_atomic_t seen_signo, seen_code, usr1_blocked, usr2_blocked, self_blocked;
static void *volatile seen_addr;
static char *volatile repair; /* a page to be made accessible, so that the access succeeds */

static void note(int signo, siginfo_t *info, void *context)
{
        sigset_t now;

        (void)context;
        seen_signo = signo;
        seen_code = info->si_code;
        seen_addr = info->si_addr;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        usr1_blocked = sigismember(&now, SIGUSR1);
        usr2_blocked = sigismember(&now, SIGUSR2);
        self_blocked = sigismember(&now, signo);
        if (repair)
                mprotect(repair, PAGE, PROT_READ | PROT_WRITE);
}

static struct sigaction install(int signo, int flags)
{
        struct sigaction sa = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | flags }, old;

        sigaddset(&sa.sa_mask, SIGUSR2);
        require(sigaction(signo, &sa, &old) == 0, "sigaction");
        return old;
}

static void foreign_signals(void)
{
        struct sigaction old_bus = install(SIGBUS, 0), old_segv = install(SIGSEGV, 0), now;
        struct ground g = begin("foreign");
        char *own = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        /* A fault of ours is not seen, and leaves errno alone. */
        seen_signo = 0;
        errno = 4711;
        expect(!stamp_wrong(g.p + 3 * PAGE, 3, 0), "a page");
        expect(errno == 4711, "errno is %d after a fault", errno);
        expect(seen_signo == 0, "the program saw signal %d", (int)seen_signo);
        /* One of the program's own is, as if we were not there. */
        repair = own;
        *(volatile char *)(own + 123) = 1;
        repair = NULL;
        expect(seen_signo == SIGSEGV && seen_code == SEGV_ACCERR && seen_addr == own + 123,
               "signal %d, code %d, at %p; expected %p", (int)seen_signo, (int)seen_code, seen_addr,
               (void *)(own + 123));
        expect(!usr1_blocked && usr2_blocked && self_blocked, "the handler's mask: %d %d %d",
               (int)usr1_blocked, (int)usr2_blocked, (int)self_blocked);
        for (int i = 0; i < 2; i++) {
                int signo = i ? SIGSEGV : SIGBUS;

                seen_signo = 0;
                raise(signo);
                expect(seen_signo == signo && seen_code == SI_TKILL, "raise(%d): %d, code %d",
                       signo, (int)seen_signo, (int)seen_code);
        }
        munmap(own, PAGE);
        end(&g);
        /* The program has its handler back. */
        sigaction(SIGBUS, NULL, &now);
        expect(now.sa_sigaction == note, "SIGBUS is not given back");
        sigaction(SIGSEGV, NULL, &now);
        expect(now.sa_sigaction == note, "SIGSEGV is not given back");
        sigaction(SIGBUS, &old_bus, NULL);
        sigaction(SIGSEGV, &old_segv, NULL);
}

static struct sigaction below;

static void call_below(int signo, siginfo_t *info, void *context)
{
        below.sa_sigaction(signo, info, context);
}

/* A handler put on top of ours that calls ours; then another engine, which puts ours on top of it:
 * faults of both are served, and what is nobody's gets to the handler that was there first. */
static void handler_on_top(void)
{
        struct sigaction old = install(SIGBUS, 0), old_segv = install(SIGSEGV, 0);
        struct ground g = begin("below"), h;
        struct sigaction on_top = { .sa_sigaction = call_below,
                                    .sa_flags = SA_SIGINFO | SA_NODEFER };
        int signo = the_signal(g.e);

        require(sigaction(signo, &on_top, &below) == 0, "sigaction");
        expect(!stamp_wrong(g.p + 9 * PAGE, 9, 0), "a page, through a handler on top");
        h = begin("above");
        expect(!stamp_wrong(h.p + 9 * PAGE, 9, 0), "a page of the second engine");
        expect(!stamp_wrong(g.p + 300 * PAGE, 300, 0), "a page of the first");
        seen_signo = 0;
        raise(signo);
        expect(seen_signo == 0 || seen_signo == signo, "signal %d", (int)seen_signo);
        end(&h);
        end(&g);
        sigaction(SIGBUS, &old, NULL);
        sigaction(SIGSEGV, &old_segv, NULL);
}

/* In a child, whose end is seen: what the default action does, and who is warned. */
static int child_status(void (*run)(void), char *text, size_t size)
{
        int pipes[2], status = -1;
        size_t n = 0;
        ssize_t got;
        pid_t pid;

        require(pipe(pipes) == 0, "pipe");
        fflush(stdout);
        pid = fork();
        require(pid >= 0, "fork");
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL); /* should it hang */
                dup2(pipes[1], STDERR_FILENO);
                close(pipes[0]);
                close(pipes[1]);
                run();
                _exit(0);
        }
        close(pipes[1]);
        while ((got = read(pipes[0], text + n, size - 1 - n)) > 0)
                n += (size_t)got;
        text[n] = 0;
        close(pipes[0]);
        require(waitpid(pid, &status, 0) == pid, "waitpid");
        return status;
}

static void past_the_end(void)
{
        struct fl_engine *e;
        struct fl_file *f;
        char *p;

        signal(SIGBUS, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        e = open_engine(CACHE);
        f = open_file(e, "ram:8K", O_RDWR);
        p = map_file(e, f, 4 * PAGE, PROT_READ, MAP_SHARED, 0);
        if (*(volatile char *)p == 0) /* this one is there */
                (void)*(volatile char *)(p + 3 * PAGE);
}

static void no_mapping(void)
{
        struct fl_engine *e;
        char *hole = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        signal(SIGBUS, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        e = open_engine(CACHE);
        if (e)
                *(volatile char *)(hole + PAGE) = 1;
}

static void blocked(void)
{
        sigset_t all;

        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
        close_engine(open_engine(CACHE));
}

static void not_blocked(void)
{
        close_engine(open_engine(CACHE));
}

static void endings(void)
{
        char text[1024];
        int status;

        test_at("children");
        status = child_status(past_the_end, text, sizeof(text));
        expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "past the end: status %#x; %s",
               (unsigned)status, text);
        status = child_status(no_mapping, text, sizeof(text));
        expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a real one: status %#x; %s",
               (unsigned)status, text);
        status = child_status(blocked, text, sizeof(text));
        expect(status == 0 && strstr(text, "is blocked in the thread"), "blocked: %#x, \"%s\"",
               (unsigned)status, text);
        status = child_status(not_blocked, text, sizeof(text));
        expect(status == 0 && !*text, "not blocked: %#x, \"%s\"", (unsigned)status, text);
}

/* --- stacks --- */

struct toucher {
        pthread_t thread;
        const struct ground *g;
        unsigned first;
        size_t altstack;
        _Atomic bool *stop;
};

static void *touch_all(void *arg)
{
        struct toucher *t = arg;
        stack_t ss = { .ss_size = t->altstack };

        if (t->altstack) {
                ss.ss_sp = malloc(t->altstack);
                require(ss.ss_sp && sigaltstack(&ss, NULL) == 0, "sigaltstack: %s",
                        strerror(errno));
        }
        for (unsigned i = 0; i < PAGES; i++) {
                unsigned n = (i * 7 + t->first) % PAGES;
                const char *wrong = stamp_wrong(t->g->p + n * PAGE, n, 0);

                expect(!wrong, "%s", wrong);
        }
        if (t->altstack) {
                ss.ss_flags = SS_DISABLE;
                sigaltstack(&ss, NULL);
                free(ss.ss_sp);
        }
        return NULL;
}

/* More threads than there are stacks for the fault path, on small stacks, half of them with an
 * alternate one that is hardly more than the kernel needs. */
static void small_stacks(void)
{
        struct ground g = begin("stacks");
        size_t frame = getauxval(AT_MINSIGSTKSZ);
        struct toucher t[96];
        pthread_attr_t attr;

        frame = frame ? frame : 4096;
        pthread_attr_init(&attr);
        require(!pthread_attr_setstacksize(&attr, (64ul << 10) + 2 * frame), "stack size");
        for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
                t[i] = (struct toucher){ .g = &g, .first = i * 5, .altstack = 0 };
                if (i < 32)
                        t[i].altstack = (frame + 4096 + 4095) & ~4095ul;
                require(!pthread_create(&t[i].thread, &attr, touch_all, &t[i]), "pthread_create");
        }
        for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++)
                pthread_join(t[i].thread, NULL);
        pthread_attr_destroy(&attr);
        end(&g);
}

/* --- in the middle of anything --- */

static char *volatile alarm_page;
static volatile sig_atomic_t alarms;
static volatile sig_atomic_t alarm_sum;

static void on_alarm(int signo)
{
        static uint64_t state = 1;

        (void)signo;
        alarm_sum += alarm_page[random_below(&state, PAGES) * PAGE + 100];
        alarm_page[random_below(&state, PAGES) * PAGE + 3000] = 1;
        alarms++;
}

static void in_malloc(void)
{
        struct ground g = begin("malloc");
        struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART }, old;
        struct itimerval every = { { 0, 200 }, { 0, 200 } }, never = { 0 };
        FILE *null = fopen("/dev/null", "w");

        alarm_page = g.p;
        alarms = 0;
        sigaction(SIGALRM, &sa, &old);
        setitimer(ITIMER_REAL, &every, NULL);
        for (unsigned i = 0; alarms < 2000; i++) {
                char *a = malloc(1 + i % 3000), *b = malloc(100000 + i % 100000);

                require(a && b && null, "malloc");
                a[0] = b[0] = 1;
                fprintf(null, "%p %p %u\n", (void *)a, (void *)b, i);
                free(a);
                free(b);
        }
        setitimer(ITIMER_REAL, &never, NULL);
        sigaction(SIGALRM, &old, NULL);
        fclose(null);
        end(&g);
}

static void *touch_for_ever(void *arg)
{
        struct toucher *t = arg;
        uint64_t state = t->first + 1;

        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
        for (;;) {
                t->g->p[random_below(&state, PAGES) * PAGE + 3500] = 2;
                pthread_testcancel();
        }
        return NULL;
}

/* A thread that is cancelled in a fault goes on until it has left it. */
static void cancelled(void)
{
        struct ground g = begin("cancel");

        for (unsigned i = 0; i < 60; i++) {
                struct toucher t = { .g = &g, .first = i };

                require(!pthread_create(&t.thread, NULL, touch_for_ever, &t), "pthread_create");
                usleep(500 + 37 * i);
                pthread_cancel(t.thread);
                pthread_join(t.thread, NULL);
        }
        end(&g);
}

/* --- others in the process --- */

static void two_engines(void)
{
        static const char *const names[] = { "uffd", "sigbus", "sigsegv", NULL };
        struct ground g = begin("own");

        for (unsigned i = 0; names[i]; i++) {
                struct fl_engine_config config = { .size = sizeof(config),
                                                   .cache = CACHE,
                                                   .mmu = names[i] };
                struct fl_engine *e = fl_engine_open(&config);
                struct fl_file *f;
                char *p;

                test_at(names[i]);
                if (!e) {
                        expect(errno == EPERM || errno == ENOSYS, "%s: %s", names[i],
                               fl_strerror());
                        continue;
                }
                expect(!strcmp(fl_engine_mmu(e), names[i]), "%s opened %s", names[i],
                       fl_engine_mmu(e));
                f = open_file(e, g.path, O_RDONLY);
                p = map_file(e, f, PAGES * PAGE, PROT_READ, MAP_PRIVATE, 0);
                for (unsigned k = 0; k < PAGES; k++) {
                        expect(!stamp_wrong(g.p + k * PAGE, k, 0), "ours, page %u", k);
                        expect(!stamp_wrong(p + k * PAGE, k, 0), "the %s engine's, page %u",
                               names[i], k);
                }
                expect(fl_munmap(e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
                close_file(f);
                close_engine(e);
        }
        end(&g);
}

static struct ground inherited;

/* At the address of the parent's mapping something else, which the parent's engine must not serve. */
static bool same_place(struct ground *g)
{
        size_t len = (PAGES - 1) * PAGE;
        bool ok = true;
        char *p;

        expect(fl_munmap(g->e, g->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        p = fl_mmap(g->e, inherited.p, len, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED_NOREPLACE, g->f, PAGE);
        if (p != inherited.p)
                return false;
        for (unsigned k = 0; k + 1 < PAGES; k++)
                ok = ok && !stamp_wrong(p + k * PAGE, k + 1, 0);
        expect(fl_munmap(g->e, p, len) == 0, "%s", fl_strerror());
        g->p = map_file(g->e, g->f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        return ok;
}

/* The parent's mappings are not there, and an engine of its own works. */
static void in_a_child(void)
{
        struct caught c = try_load(inherited.p + PAGE, NULL);
        struct ground g;

        if (c.signo != SIGSEGV || c.code != SEGV_MAPERR)
                _exit(10);
        g = begin("child");
        for (unsigned k = 0; k < PAGES; k++)
                if (stamp_wrong(g.p + k * PAGE, k, 0))
                        _exit(11);
        if (!same_place(&g))
                _exit(13);
        end(&g);
        unlink(g.path);
        _exit(test_failures() ? 12 : 0);
}

static void *touch_until(void *arg)
{
        struct toucher *t = arg;
        uint64_t state = t->first + 1;

        while (!atomic_load(t->stop))
                t->g->p[random_below(&state, PAGES) * PAGE + 3500] = 2;
        return NULL;
}

/* Forked while other threads are in faults, and hold whatever they hold. */
static void children(void)
{
        _Atomic bool stop = false;
        struct toucher t[3];
        char text[1024];

        inherited = begin("parent");
        for (unsigned i = 0; i < 3; i++) {
                t[i] = (struct toucher){ .g = &inherited, .first = i, .stop = &stop };
                require(!pthread_create(&t[i].thread, NULL, touch_until, &t[i]), "pthread_create");
        }
        for (unsigned i = 0; i < 5; i++) {
                int status = child_status(in_a_child, text, sizeof(text));

                expect(status == 0, "the child: status %#x; %s", (unsigned)status, text);
        }
        atomic_store(&stop, true);
        for (unsigned i = 0; i < 3; i++)
                pthread_join(t[i].thread, NULL);
        end(&inherited);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 160);
        if (!test.mmu)
                test.mmu = "sigbus";
        if (!strcmp(test.mmu, "uffd") || !strcmp(test.mmu, "auto"))
                test_skip("it is about MMUs whose faults are signals");
        system_calls();
        touch_errors();
        foreign_signals();
        handler_on_top();
        endings();
        small_stacks();
        in_malloc();
        cancelled();
        two_engines();
        children();
        return test_end();
}
