/* SPDX-License-Identifier: Apache-2.0
 *
 * hits.c - fl_pread of what is in memory, which locks nothing, and what may happen to it meanwhile.
 *
 *   quiet     without a system call: one would end the thread
 *   evicted   its page goes, and comes again
 *   tables    and the table of the tree that it is in
 *   written   fl_pwrite puts other bytes there: all of a page's, or none
 *   cut       the file becomes shorter and longer
 *   scattered the kernel's page tables do not stay for what is gone
 *   forked    a handler forks in the middle of a read, which ends in parent and child
 *   parted    and what the child was reading goes before it has read it
 *   growing   the file becomes longer than it was ever expected to be
 *   appended  by fl_pwrite: nobody sees it longer before what was written is there
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#ifdef __SANITIZE_THREAD__
#define THREADS_ARE_WATCHED true
#else
#define THREADS_ARE_WATCHED false
#endif
#define PAGE TEST_PAGE
#define READERS 3u
#define FEW 64ul /* pages, so that each is read often */

struct scene {
        const char *name;
        struct fl_engine *engine;
        struct fl_file *file;
        char *map;
        uint64_t apart; /* pages from one that is read to the next */
        _Atomic bool over;
        _Atomic uint64_t read, done;
};

struct reader {
        pthread_t thread;
        struct scene *scene;
        uint64_t seed;
        void (*look)(struct reader *, uint64_t page, const char *buf, ssize_t n);
};

static uint64_t version_of_all; /* scene `evicted`: it never changes */

static void *read_pages(void *arg)
{
        struct reader *r = arg;
        struct scene *s = r->scene;
        char buf[PAGE];

        test_at(s->name);
        while (!atomic_load(&s->over)) {
                uint64_t page = random_below(&r->seed, FEW);
                ssize_t n = fl_pread(s->file, buf, PAGE, (off_t)(page * s->apart * PAGE));

                expect(n >= 0, "%s: fl_pread: %s", s->name, fl_strerror());
                r->look(r, page, buf, n);
                atomic_fetch_add(&s->read, 1);
        }
        return NULL;
}

static void open_scene(struct scene *s, const char *name, const char *path, uint64_t cache)
{
        memset(s, 0, sizeof(*s));
        test_at(name);
        s->name = name;
        s->apart = 1;
        s->engine = open_engine(cache);
        s->file = open_file(s->engine, path, O_RDWR);
}

static void close_scene(struct scene *s)
{
        printf("%s: %llu reads, %llu times\n", s->name, (unsigned long long)s->read,
               (unsigned long long)s->done);
        expect(s->done > 0, "%s: nothing was done", s->name);
        check_engine(s->engine);
        close_file(s->file);
        close_engine(s->engine);
}

/* Readers, and `meanwhile` again and again, until `left` seconds of the test are left. */
static void run(struct scene *s, double left, void (*meanwhile)(struct scene *),
                void (*look)(struct reader *, uint64_t, const char *, ssize_t))
{
        struct reader r[READERS];

        for (unsigned i = 0; i < READERS; i++) {
                r[i] = (struct reader){ .scene = s, .seed = test.seed + i * 7919, .look = look };
                require(!pthread_create(&r[i].thread, NULL, read_pages, &r[i]), "pthread_create");
        }
        while (test_left() > left || !atomic_load(&s->done) || !atomic_load(&s->read)) {
                meanwhile(s);
                atomic_fetch_add(&s->done, 1);
        }
        atomic_store(&s->over, true);
        for (unsigned i = 0; i < READERS; i++)
                pthread_join(r[i].thread, NULL);
}

/* --- quiet */

/* The kernel ends the thread at any call but read, write and exit. */
static void *read_in_silence(void *arg)
{
        struct scene *s = arg;
        char buf[2 * PAGE];

        for (uint64_t i = 0; i < 3 * FEW; i++)
                fl_pread(s->file, buf, PAGE, (off_t)(i % FEW * PAGE));
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
                return NULL;
        for (uint64_t i = 0; i < FEW; i++) {
                uint64_t pos = i * PAGE + 8; /* parts of two pages; of one at the file's end */
                ssize_t n = fl_pread(s->file, buf, PAGE, (off_t)pos);

                if (n == (ssize_t)(i < FEW - 1 ? PAGE : PAGE - 8) &&
                    memcmp(buf, s->map + pos, n) == 0)
                        atomic_fetch_add(&s->done, 1);
        }
        syscall(SYS_exit, 0);
        return NULL;
}

static void quiet(void)
{
        struct scene s;
        pthread_t thread;

        if (test.perturb || test_solaris() || THREADS_ARE_WATCHED)
                return; /* the one sleeps, the others are told of each read or of each thread's end */
        open_scene(&s, "quiet", test_stamped_file("quiet", FEW), 4ul << 20);
        s.map = map_file(s.engine, s.file, FEW * PAGE, PROT_READ, MAP_SHARED, 0);
        for (uint64_t i = 0; i < FEW; i++)
                s.read += (unsigned char)s.map[i * PAGE];
        require(!pthread_create(&thread, NULL, read_in_silence, &s), "pthread_create");
        pthread_join(thread, NULL);
        expect_eq(s.done, FEW, "pages read without a system call");
        fl_munmap(s.engine, s.map, FEW * PAGE);
        close_scene(&s);
}

/* --- evicted */

static void expect_stamp(struct reader *r, uint64_t page, const char *buf, ssize_t n)
{
        const char *wrong = n == (ssize_t)PAGE ? stamp_wrong(buf, page, version_of_all) : "short";

        expect(!wrong, "%s: page %llu: %s", r->scene->name, (unsigned long long)page, wrong);
}

/* Who reads leaves where he was without a lock; what is told of the reads is another's to look at. */
static void look_on(struct scene *s)
{
        struct fl_mapping_info info = { .size = sizeof(info) };

        expect(fl_mapping_info(s->engine, s->map, &info) == 0, "%s", fl_strerror());
}

static void evict(struct scene *s)
{
        look_on(s);
        fl_evict(s->engine, s->map, FEW * s->apart * PAGE);
        usleep(200);
}

static void evicted(const char *name, uint64_t apart, double left)
{
        const char *path = test_file(name, FEW * apart * PAGE);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        char buf[PAGE];
        struct scene s;

        for (uint64_t i = 0; i < FEW; i++) {
                stamp_write(buf, i, version_of_all);
                require(pwrite(fd, buf, PAGE, (off_t)(i * apart * PAGE)) == (ssize_t)PAGE,
                        "pwrite");
        }
        close(fd);
        open_scene(&s, name, path, 4ul << 20);
        s.apart = apart;
        s.map = map_file(s.engine, s.file, FEW * apart * PAGE, PROT_READ, MAP_SHARED, 0);
        run(&s, left, evict, expect_stamp);
        fl_munmap(s.engine, s.map, FEW * apart * PAGE);
        close_scene(&s);
}

/* --- written */

static void expect_whole(struct reader *r, uint64_t page, const char *buf, ssize_t n)
{
        expect(n == (ssize_t)PAGE && stamp_version(buf, page) != UINT64_MAX,
               "%s: page %llu is no whole page", r->scene->name, (unsigned long long)page);
}

static void write_all(struct scene *s)
{
        char buf[PAGE];

        for (uint64_t i = 0; i < FEW; i++) {
                stamp_write(buf, i, s->done);
                expect(fl_pwrite(s->file, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
                       "fl_pwrite: %s", fl_strerror());
        }
}

static void written(double left)
{
        struct scene s;

        open_scene(&s, "written", test_stamped_file("written", FEW), 4ul << 20);
        run(&s, left, write_all, expect_whole);
        close_scene(&s);
}

/* --- cut */

static void expect_some(struct reader *r, uint64_t page, const char *buf, ssize_t n)
{
        static const char zeros[PAGE];

        expect(n == 0 || (n == (ssize_t)PAGE && (stamp_version(buf, page) != UINT64_MAX ||
                                                 memcmp(buf, zeros, PAGE) == 0)),
               "%s: page %llu: %zd bytes, neither whole nor zeros", r->scene->name,
               (unsigned long long)page, n);
}

static void cut_and_grow(struct scene *s)
{
        usleep(500);
        expect(fl_ftruncate(s->file, FEW / 2 * PAGE) == 0, "fl_ftruncate: %s", fl_strerror());
        usleep(500); /* those that are left are read again meanwhile */
        expect(fl_ftruncate(s->file, FEW * PAGE) == 0, "fl_ftruncate: %s", fl_strerror());
        write_all(s);
}

static void cut(double left)
{
        struct scene s;

        open_scene(&s, "cut", test_stamped_file("cut", FEW), 4ul << 20);
        run(&s, left, cut_and_grow, expect_some);
        close_scene(&s);
}

/* --- scattered */

#define APART (2ul << 20)
#define SPOTS 6000ul

static uint64_t page_tables(void)
{
        FILE *f = fopen("/proc/self/status", "r");
        unsigned long long kib = 0;
        char line[256];

        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "VmPTE: %llu", &kib) == 1)
                        break;
        if (f)
                fclose(f);
        return kib << 10;
}

static void read_spot(struct scene *s, uint64_t spot)
{
        char buf[PAGE];

        for (int i = 0; i < 3; i++) {
                ssize_t n = fl_pread(s->file, buf, PAGE, (off_t)(spot * APART));

                expect(n == (ssize_t)PAGE, "%s: fl_pread: %s", s->name, fl_strerror());
                expect(*(uint64_t *)(void *)buf == (spot % 3 ? 0 : spot), "spot %llu holds %llu",
                       (unsigned long long)spot, (unsigned long long)*(uint64_t *)(void *)buf);
                s->read++;
        }
}

/* Every third holds its number; the others are holes. One table of the kernel's for each, were they kept. */
static void scattered(void)
{
        const char *path = test_file("scattered", SPOTS * APART);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        uint64_t before;
        struct scene s;

        for (uint64_t i = 0; i < SPOTS; i += 3)
                require(pwrite(fd, &i, sizeof(i), (off_t)(i * APART)) == sizeof(i), "pwrite");
        close(fd);
        open_scene(&s, "scattered", path, 1ul << 20);
        before = page_tables();
        for (uint64_t i = 0; i < SPOTS; i++) {
                read_spot(&s, i);
                if (i >= 100) /* gone by now, or not */
                        read_spot(&s, i - random_below(&test.seed, 100));
                s.done++;
        }
        expect(page_tables() < before + SPOTS * PAGE / 4, "page tables: %llu bytes, before %llu",
               (unsigned long long)page_tables(), (unsigned long long)before);
        close_scene(&s);
}

/* --- growing */

static void growing(void)
{
        struct scene s;
        char buf[PAGE];

        open_scene(&s, "growing", test_file("growing", 0), 1ul << 20);
        for (uint64_t end = 1; end <= 4ul << 10; end *= 2) {
                for (uint64_t i = end / 2; i < end; i++) {
                        stamp_write(buf, i, 0);
                        expect(fl_pwrite(s.file, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
                               "fl_pwrite: %s", fl_strerror());
                }
                for (uint64_t i = 0; i < 3 * FEW; i++, s.read++) {
                        uint64_t page = end - 1 - i % (end < FEW ? end : FEW);
                        const char *wrong;

                        expect(fl_pread(s.file, buf, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE,
                               "fl_pread: %s", fl_strerror());
                        wrong = stamp_wrong(buf, page, 0);
                        expect(!wrong, "page %llu: %s", (unsigned long long)page, wrong);
                }
                s.done++;
        }
        close_scene(&s);
}

/* --- appended */

#define RECORD 64ul
#define APPENDS 300ul

/* Follows the file's end, as a reader of a log does: the last record, and what may be behind it by now. */
static void *read_end(void *arg)
{
        struct scene *s = arg;
        char buf[2 * RECORD];
        off_t at = 0;

        test_at(s->name);
        while (!atomic_load(&s->over)) {
                ssize_t n = fl_pread(s->file, buf, sizeof(buf), at);

                expect(n >= 0, "%s: fl_pread: %s", s->name, fl_strerror());
                for (ssize_t i = 0; i < n; i++)
                        expect(buf[i] == 'r', "byte %zd of %zd from %lld on is %d", i, n,
                               (long long)at, buf[i]);
                if (n > (ssize_t)RECORD)
                        at += n - (ssize_t)RECORD;
                atomic_fetch_add(&s->read, n > (ssize_t)RECORD);
        }
        return NULL;
}

static void appended(double left)
{
        char record[RECORD];
        pthread_t thread;
        struct scene s;

        open_scene(&s, "appended", test_file("appended", 0), 4ul << 20);
        memset(record, 'r', RECORD);
        require(!pthread_create(&thread, NULL, read_end, &s), "pthread_create");
        while (test_left() > left || s.done < APPENDS || !atomic_load(&s.read)) {
                expect(fl_pwrite(s.file, record, RECORD, (off_t)(s.done * RECORD)) == RECORD,
                       "fl_pwrite: %s", fl_strerror());
                s.done++;
        }
        atomic_store(&s.over, true);
        pthread_join(thread, NULL);
        close_scene(&s);
}

/* --- forked */

static volatile sig_atomic_t is_child, forks;
static pid_t parent;

static void fork_here(int signo)
{
        (void)signo;
        /* While it is held back here another thread may get it, of which a child would consist. */
        if (is_child || gettid() != parent || fork() == -1)
                return;
        is_child = getpid() != parent;
        forks++;
}

static void forked(void)
{
        const struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
        char buf[PAGE];
        struct scene s;
        int status;

        if (THREADS_ARE_WATCHED)
                return;
        open_scene(&s, "forked", test_stamped_file("forked", FEW), 4ul << 20);
        parent = getpid();
        require(signal(SIGALRM, fork_here) != SIG_ERR, "signal");
        require(!setitimer(ITIMER_REAL, &often, NULL), "setitimer");
        while (forks < 100) {
                fl_pread(s.file, buf, PAGE, (off_t)(s.read++ % FEW * PAGE));
                if (is_child)
                        _exit(0);
        }
        setitimer(ITIMER_REAL, &never, NULL);
        while (wait(&status) > 0) {
                expect(WIFEXITED(status), "a child ended by signal %d", WTERMSIG(status));
                s.done++;
        }
        close_scene(&s);
}

/* --- parted */

static char *shut; /* the buffer */
static int gate[2];

/* The child goes on when the page has gone. */
static void fork_and_wait(int signo)
{
        char c;

        (void)signo;
        if (mprotect(shut, PAGE, PROT_READ | PROT_WRITE) || is_child)
                _exit(2);
        is_child = fork() == 0 && read(gate[0], &c, 1) == 1;
}

static void parted(void)
{
        const char *path = test_stamped_file("parted", FEW), *wrong;
        struct sigaction old, act = { .sa_handler = fork_and_wait, .sa_flags = SA_NODEFER };
        struct scene s;
        int status = -1;
        ssize_t n;

        if (THREADS_ARE_WATCHED)
                return;
        shut = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(shut != MAP_FAILED && !pipe(gate), "mmap, pipe");
        require(!sigaction(SIGSEGV, &act, &old), "sigaction"); /* an engine's own is asked first */
        open_scene(&s, "parted", path, 4ul << 20);
        s.map = map_file(s.engine, s.file, FEW * PAGE, PROT_READ, MAP_SHARED, 0);
        for (; s.read < 3; s.read++)
                fl_pread(s.file, shut, PAGE, 0);
        mprotect(shut, PAGE, PROT_NONE);
        n = fl_pread(s.file, shut, PAGE, 0);
        wrong = n == (ssize_t)PAGE ? stamp_wrong(shut, 0, 0) : NULL;
        if (is_child)
                _exit(wrong ? 1 : 0);
        expect(n == (ssize_t)PAGE && !wrong, "the parent's: %zd, %s", n, wrong ? wrong : "");
        fl_evict(s.engine, s.map, FEW * PAGE);
        expect(write(gate[1], "g", 1) == 1 && wait(&status) > 0, "the child");
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
               "the child was told that zeros are the page: %#x", (unsigned)status);
        s.done++;
        fl_munmap(s.engine, s.map, FEW * PAGE);
        close_scene(&s);
        sigaction(SIGSEGV, &old, NULL);
        close(gate[0]);
        close(gate[1]);
        munmap(shut, PAGE);
}

int main(int argc, char **argv)
{
        double share;

        test_begin(argc, argv, 4, 60, 60);
        quiet();
        forked();
        parted();
        growing();
        scattered();
        share = test_left() / 5;
        evicted("evicted", 1, 4 * share);
        evicted("tables", 512, 3 * share);
        written(2 * share);
        cut(share);
        appended(0);
        return test_end();
}
