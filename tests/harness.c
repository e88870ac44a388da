/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.c - see harness.h.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES 64
#define MAX_PLACES 64
#define MAX_SHOWN 20 /* failures printed; all are counted */

struct test test;

static struct {
        const char *name;
        struct timespec begin;
        _Atomic unsigned failures;
        char files[MAX_FILES][PATH_MAX];
        unsigned nr_files;
        char folder[32]; /* of test_unvisited() */
        unsigned limit;  /* seconds for all of it */
        _Atomic(const char *) place[MAX_PLACES];
        _Atomic unsigned places;
} run;

static _Thread_local unsigned my_place = UINT_MAX;

/* --- duration and watchdog --- */

static double since_begin(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)(now.tv_sec - run.begin.tv_sec) +
               (double)(now.tv_nsec - run.begin.tv_nsec) / 1e9;
}

double test_left(void)
{
        return test.seconds - since_begin();
}

void test_at(const char *where)
{
        if (my_place == UINT_MAX)
                my_place = atomic_fetch_add(&run.places, 1) % MAX_PLACES;
        atomic_store(&run.place[my_place], where);
}

/* What each thread of the process does in the kernel. */
static void show_threads(void)
{
        DIR *d = opendir("/proc/self/task");
        struct dirent *e;

        while (d && (e = readdir(d))) {
                const char *what[] = { "comm", "wchan", "syscall" };
                char path[PATH_MAX], text[128];

                if (e->d_name[0] == '.')
                        continue;
                fprintf(stderr, "  thread %s:", e->d_name);
                for (unsigned i = 0; i < 3; i++) {
                        ssize_t n = -1;
                        int fd;

                        snprintf(path, sizeof(path), "/proc/self/task/%s/%s", e->d_name, what[i]);
                        fd = open(path, O_RDONLY | O_CLOEXEC);
                        if (fd >= 0) {
                                n = read(fd, text, sizeof(text) - 1);
                                close(fd);
                        }
                        text[n > 0 ? n : 0] = 0;
                        text[strcspn(text, "\n")] = 0;
                        fprintf(stderr, " %s", text);
                }
                fputc('\n', stderr);
        }
        if (d)
                closedir(d);
}

/* With the sockets of children that were killed. */
static void remove_folder(void)
{
        char sockets[sizeof(run.folder) + 16];
        struct dirent *e;
        DIR *d;

        snprintf(sockets, sizeof(sockets), "%s/faultline", run.folder);
        d = opendir(sockets);
        while (d && (e = readdir(d)))
                if (e->d_type == DT_SOCK)
                        unlinkat(dirfd(d), e->d_name, 0);
        if (d)
                closedir(d);
        rmdir(sockets);
        rmdir(run.folder);
}

static void remove_files(void)
{
        for (unsigned i = 0; i < run.nr_files; i++)
                unlink(run.files[i]);
        if (*run.folder)
                remove_folder();
}

void test_unvisited(void)
{
        strcpy(run.folder, "/var/tmp/fltest-XXXXXX");
        require(mkdtemp(run.folder), "mkdtemp: %s", strerror(errno));
        setenv("XDG_RUNTIME_DIR", run.folder, 1);
}

static void *watchdog(void *arg)
{
        (void)arg;
        while (since_begin() < run.limit)
                usleep(100000);
        fprintf(stderr, "%s: HANGS: not over after %u s; seed %llu\n", run.name, run.limit,
                (unsigned long long)test.seed);
        for (unsigned i = 0; i < MAX_PLACES; i++)
                if (atomic_load(&run.place[i]))
                        fprintf(stderr, "  at: %s\n", atomic_load(&run.place[i]));
        show_threads();
        remove_files();
        abort();
}

static void usage(void)
{
        fprintf(stderr,
                "usage: %s [SECONDS [SEED]] [--faults SPEC] [--uri URI] [--driver NAME] "
                "[--threads N] [--pagers N] [--cache BYTES] [--perturb SEED] [--mmu NAME] "
                "[--policy NAME] [--spin NANOSECONDS]\n",
                run.name);
        exit(2);
}

static void parse(int argc, char **argv)
{
        unsigned given = 0;

        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : NULL;

                if (argv[i][0] != '-') {
                        if (given == 0)
                                test.seconds = strtod(argv[i], NULL);
                        else
                                test.seed = strtoull(argv[i], NULL, 0);
                        given++;
                        continue;
                }
                if (!value)
                        usage();
                if (!strcmp(argv[i], "--faults"))
                        test.faults = value;
                else if (!strcmp(argv[i], "--uri"))
                        test.uri = value;
                else if (!strcmp(argv[i], "--driver"))
                        test.driver = value;
                else if (!strcmp(argv[i], "--threads"))
                        test.threads = (unsigned)strtoul(value, NULL, 0);
                else if (!strcmp(argv[i], "--cache"))
                        test.cache = strtoull(value, NULL, 0);
                else if (!strcmp(argv[i], "--perturb"))
                        test.perturb = strtoull(value, NULL, 0);
                else if (!strcmp(argv[i], "--mmu"))
                        test.mmu = value;
                else if (!strcmp(argv[i], "--policy"))
                        test.policy = value;
                else if (!strcmp(argv[i], "--spin"))
                        test.spin = strtoull(value, NULL, 0);
                else if (!strcmp(argv[i], "--pagers"))
                        test.pagers = (unsigned)strtoul(value, NULL, 0);
                else
                        usage();
                i++;
        }
        if (given > 2 || test.seconds < 0)
                usage();
}

static void install_handlers(void);

void test_begin(int argc, char **argv, double shorter, double longer, unsigned slack)
{
        const char *seconds = getenv("FAULTLINE_TEST_SECONDS");
        const char *is_long = getenv("FAULTLINE_TEST_LONG");
        pthread_t thread;

        clock_gettime(CLOCK_MONOTONIC, &run.begin);
        run.name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
        test.seconds = is_long && *is_long ? longer : shorter;
        if (seconds && *seconds)
                test.seconds = strtod(seconds, NULL);
        test.seed = (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
        test.mmu = getenv("FAULTLINE_MMU");
        parse(argc, argv);
        run.limit = (unsigned)test.seconds + slack;
        setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
        printf("%s: %g s, seed %llu\n", run.name, test.seconds, (unsigned long long)test.seed);
        atexit(remove_files);
        install_handlers();
        if (pthread_create(&thread, NULL, watchdog, NULL)) {
                perror("pthread_create");
                exit(1);
        }
        pthread_detach(thread);
        test_at("main");
}

int test_end(void)
{
        unsigned n = atomic_load(&run.failures);

        if (n)
                printf("%s: FAILED: %u expectations; seed %llu\n", run.name, n,
                       (unsigned long long)test.seed);
        else
                printf("%s: passed in %.1f s\n", run.name, since_begin());
        return n ? 1 : 0;
}

void test_exit(void)
{
        test_end();
        remove_files();
        _exit(1); /* other threads may be anywhere */
}

void test_skip(const char *why)
{
        fprintf(stderr, "%s: skipped: %s\n", run.name, why);
        exit(77);
}

void test_fail(const char *file, int line, const char *format, ...)
{
        char text[512];
        va_list ap;

        if (atomic_fetch_add(&run.failures, 1) >= MAX_SHOWN)
                return;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
}

unsigned test_failures(void)
{
        return atomic_load(&run.failures);
}

uint64_t random_next(uint64_t *state)
{
        uint64_t z = *state += 0x9e3779b97f4a7c15u;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
}

/* --- files --- */

const char *test_file(const char *name, uint64_t size)
{
        char *path = run.files[run.nr_files++];
        int fd;

        require(run.nr_files <= MAX_FILES, "too many files");
        snprintf(path, PATH_MAX, "./fltest-%s-%s-%d", run.name, name, (int)getpid());
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        require(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "%s: %s", path, strerror(errno));
        close(fd);
        return path;
}

const char *test_stamped_file(const char *name, uint64_t pages)
{
        const char *path = test_file(name, pages * TEST_PAGE);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        char buf[TEST_PAGE];

        for (uint64_t i = 0; i < pages; i++) {
                stamp_write(buf, i, 0);
                require(pwrite(fd, buf, sizeof(buf), (off_t)(i * TEST_PAGE)) == (ssize_t)TEST_PAGE,
                        "%s: %s", path, strerror(errno));
        }
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
        return path;
}

bool file_read(const char *path, void *buf, size_t len, uint64_t offset)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : pread(fd, buf, len, (off_t)offset);

        if (fd >= 0)
                close(fd);
        expect(n == (ssize_t)len, "%s: read %zd of %zu bytes at %llu", path, n, len,
               (unsigned long long)offset);
        return n == (ssize_t)len;
}

uint64_t file_size(const char *path)
{
        struct stat st;

        return stat(path, &st) ? UINT64_MAX : (uint64_t)st.st_size;
}

/* --- stamps --- */

struct stamp {
        uint64_t number, version, mix, sum;
};

static const unsigned stamp_places[] = { 0, 2016, TEST_PAGE - sizeof(struct stamp) };
#define STAMPS (sizeof(stamp_places) / sizeof(stamp_places[0]))

static struct stamp stamp_of(uint64_t number, uint64_t version)
{
        uint64_t state = number * 0x100000001b3u ^ version;
        struct stamp s = { number, version, random_next(&state), 0 };

        s.sum = ~(s.number + s.version * 3 + s.mix * 5);
        return s;
}

void stamp_write(void *page, uint64_t number, uint64_t version)
{
        struct stamp s = stamp_of(number, version);

        for (unsigned i = 0; i < STAMPS; i++)
                memcpy((char *)page + stamp_places[i], &s, sizeof(s));
}

const char *stamp_wrong(const void *page, uint64_t number, uint64_t version)
{
        static _Thread_local char text[256];
        struct stamp good = stamp_of(number, version), s;

        for (unsigned i = 0; i < STAMPS; i++) {
                memcpy(&s, (const char *)page + stamp_places[i], sizeof(s));
                if (!memcmp(&s, &good, sizeof(s)))
                        continue;
                snprintf(text, sizeof(text),
                         "page %llu: stamp %u should be version %llu, is page %llu version %llu"
                         "%s",
                         (unsigned long long)number, i, (unsigned long long)version,
                         (unsigned long long)s.number, (unsigned long long)s.version,
                         s.sum == ~(s.number + s.version * 3 + s.mix * 5) ? "" : " (broken)");
                return text;
        }
        return NULL;
}

uint64_t stamp_version(const void *page, uint64_t number)
{
        struct stamp s;

        memcpy(&s, page, sizeof(s));
        return stamp_wrong(page, number, s.version) ? UINT64_MAX : s.version;
}

/* --- signals --- */

static _Thread_local sigjmp_buf *volatile trying;
static _Thread_local volatile struct caught last_caught;

static void on_signal(int signo, siginfo_t *info, void *context)
{
        (void)context;
        if (!trying) {
                char text[128];
                int n = snprintf(text, sizeof(text), "unexpected signal %d, code %d, at %p\n",
                                 signo, info->si_code, info->si_addr);

                atomic_fetch_add(&run.failures, 1); /* should it not come again */
                if (write(STDERR_FILENO, text, (size_t)n) < 0)
                        _exit(1);
                remove_files();
                signal(signo, SIG_DFL);
                return; /* the access runs again and ends the process */
        }
        last_caught.signo = signo;
        last_caught.code = info->si_code;
        last_caught.addr = info->si_addr;
        siglongjmp(*trying, 1);
}

static void install_handlers(void)
{
        struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

        sigaction(SIGBUS, &sa, NULL);
        sigaction(SIGSEGV, &sa, NULL);
}

struct caught try_load(const volatile void *p, unsigned char *value)
{
        sigjmp_buf env;
        unsigned char v;

        last_caught.signo = last_caught.code = 0;
        if (sigsetjmp(env, 1) == 0) {
                trying = &env;
                v = *(const volatile unsigned char *)p;
                if (value)
                        *value = v;
        }
        trying = NULL;
        return last_caught;
}

struct caught try_store(volatile void *p, unsigned char value)
{
        sigjmp_buf env;

        last_caught.signo = last_caught.code = 0;
        if (sigsetjmp(env, 1) == 0) {
                trying = &env;
                *(volatile unsigned char *)p = value;
        }
        trying = NULL;
        return last_caught;
}

struct caught try_words(volatile uint64_t *to, const volatile uint64_t *from, unsigned nr)
{
        sigjmp_buf env;

        last_caught.signo = last_caught.code = 0;
        if (sigsetjmp(env, 1) == 0) {
                trying = &env;
                for (unsigned i = 0; i < nr; i++)
                        to[i] = from[i];
        }
        trying = NULL;
        return last_caught;
}

const char *caught_name(struct caught c)
{
        if (c.signo == 0)
                return "no signal";
        if (c.signo == SIGSEGV)
                return c.code == SEGV_MAPERR   ? "SIGSEGV/MAPERR"
                       : c.code == SEGV_ACCERR ? "SIGSEGV/ACCERR"
                                               : "SIGSEGV/?";
        if (c.signo == SIGBUS)
                return c.code == BUS_ADRERR      ? "SIGBUS/ADRERR"
                       : c.code == BUS_MCEERR_AR ? "SIGBUS/MCEERR_AR"
                                                 : "SIGBUS/?";
        return "another signal";
}

/* --- what the process holds --- */

static unsigned count_entries(const char *path, bool (*counts)(const char *name))
{
        DIR *d = opendir(path);
        struct dirent *e;
        unsigned n = 0;

        while (d && (e = readdir(d)))
                n += e->d_name[0] != '.' && (!counts || counts(e->d_name));
        if (d)
                closedir(d);
        return n;
}

unsigned count_fds(void)
{
        return count_entries("/proc/self/fd", NULL);
}

/* Not one of those that the kernel gives a thread to do its io_uring's work, and lets end when it likes. */
static bool is_of_program(const char *task)
{
        char path[64], name[16] = "";
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", task);
        f = fopen(path, "re");
        if (f && !fgets(name, sizeof(name), f))
                name[0] = 0;
        if (f)
                fclose(f);
        return strncmp(name, "iou-", 4) != 0;
}

unsigned count_threads(void)
{
        return count_entries("/proc/self/task", is_of_program);
}

uint64_t memfd_bytes(void)
{
        DIR *d = opendir("/proc/self/fd");
        uint64_t bytes = 0;
        struct dirent *e;

        while (d && (e = readdir(d))) {
                char path[PATH_MAX], to[PATH_MAX];
                struct stat st;
                ssize_t n;

                snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
                n = readlink(path, to, sizeof(to) - 1);
                if (n <= 0)
                        continue;
                to[n] = 0;
                if ((!strncmp(to, "/memfd:faultline", 16) || !strcmp(to, "/faultline (deleted)")) &&
                    stat(path, &st) == 0)
                        bytes += (uint64_t)st.st_blocks * 512;
        }
        if (d)
                closedir(d);
        return bytes;
}

bool test_run(const char *format, ...)
{
        char command[2048];
        va_list args;

        va_start(args, format);
        vsnprintf(command, sizeof(command), format, args);
        va_end(args);
        return system(command) == 0;
}
