/* SPDX-License-Identifier: Apache-2.0
 *
 * published.c - an engine's own socket: who may use it, what becomes of it, and that nobody who uses it
 * badly is noticed by a fault.
 *
 * The folder is one of the test's own, by XDG_RUNTIME_DIR.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define PAGES 512ul
#define CACHE (1ul << 20)
#define ANSWER (1u << 20)

static char base[] = "/var/tmp/fltest-published-XXXXXX", folder[64];
static char answer[ANSWER];

/* Sockets in the folder, those with a dot too; the last one's path. */
static unsigned count_sockets(char *path, size_t size)
{
        DIR *d = opendir(folder);
        struct dirent *entry;
        unsigned n = 0;

        while (d && (entry = readdir(d))) {
                if (entry->d_type != DT_SOCK)
                        continue;
                n++;
                if (path)
                        snprintf(path, size, "%s/%.100s", folder, entry->d_name);
        }
        if (d)
                closedir(d);
        return n;
}

static int connect_to(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
                close(fd);
                return -1;
        }
        return fd;
}

/* A signal of the harness's does not end it. */
static ssize_t receive(int fd, void *to, size_t size)
{
        ssize_t n;

        do
                n = recv(fd, to, size, 0);
        while (n < 0 && errno == EINTR);
        return n;
}

/* Its whole answer is in `answer`. -1: nobody is there; else the status. */
static int ask(const char *path, const char *request)
{
        struct timeval limit = { .tv_sec = 30 };
        int fd = connect_to(path), status = 0;
        size_t got = 0;
        ssize_t n;

        if (fd < 0)
                return -1;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        (void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
        while (got + 1 < sizeof(answer) &&
               (n = receive(fd, answer + got, sizeof(answer) - got - 1)) > 0)
                got += (size_t)n;
        answer[got] = '\0';
        close(fd);
        if (sscanf(answer, "HTTP/1.1 %d", &status) != 1)
                return 0;
        return status;
}

static struct fl_engine *open_published(const char *publish)
{
        struct fl_engine_config c = {
                .size = sizeof(c),
                .cache = CACHE,
                .mmu = test.mmu,
                .publish = publish,
        };
        struct fl_engine *e = fl_engine_open(&c);

        require(e, "%s", fl_strerror());
        return e;
}

static long long number_in(const char *text, const char *key)
{
        const char *at = strstr(text, key);

        return at ? atoll(at + strlen(key)) : -1;
}

static void two_engines(void)
{
        struct fl_engine *a = open_published(NULL), *b = open_published("on");
        char path[256] = "";
        struct stat st;

        test_at("two engines");
        expect_eq(count_sockets(path, sizeof(path)), 2, "sockets");
        require(!lstat(path, &st), "%s: %s", path, strerror(errno));
        expect(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600, "mode %o", st.st_mode);
        require(!lstat(folder, &st), "%s", folder);
        expect_eq(st.st_mode & 0777, 0700, "mode of the folder");
        expect_eq(ask(path, "GET /v1/engine HTTP/1.1\r\nHost: x\r\n\r\n"), 200, "status");
        expect_eq(number_in(answer, "\"pid\":"), getpid(), "pid");
        expect_eq(number_in(answer, "\"budget_bytes\":"), CACHE, "budget");
        expect_eq(ask(path, "HEAD /metrics HTTP/1.0\n\n"), 200, "status of HEAD");
        expect(strstr(answer, "\r\n\r\n") && !strstr(answer, "\r\n\r\n")[4], "HEAD has a body");
        expect(strstr(answer, "application/openmetrics-text; version=1.0.0"), "type: %s", answer);
        expect_eq(fl_engine_close(a), 0, "close");
        expect_eq(count_sockets(path, sizeof(path)), 1, "sockets after one was closed");
        expect_eq(ask(path, "GET /v1/engine HTTP/1.0\r\n\r\n"), 200, "status of the other");
        expect_eq(fl_engine_close(b), 0, "close");
        expect_eq(count_sockets(NULL, 0), 0, "sockets after both were closed");

        a = open_published("off");
        expect_eq(count_sockets(NULL, 0), 0, "sockets of one that is not published");
        fl_engine_close(a);
        setenv("FAULTLINE_PUBLISH", "off", 1);
        a = open_published(NULL);
        expect_eq(count_sockets(NULL, 0), 0, "sockets, with FAULTLINE_PUBLISH=off");
        fl_engine_close(a);
        unsetenv("FAULTLINE_PUBLISH");
        errno = 0;
        a = fl_engine_open(&(struct fl_engine_config){ .size = sizeof(struct fl_engine_config),
                                                       .publish = "maybe" });
        expect(!a && errno == EINVAL, "publish maybe");
}

/* ---- requests that are none ---- */

static const struct {
        const char *request;
        int status;
} bad[] = {
        { "GET / HTTP/1.1\r\n\r\n", 404 },
        { "GET /v1/engine/ HTTP/1.1\r\n\r\n", 404 },
        { "GET /v1/file HTTP/1.1\r\n\r\n", 400 },
        { "GET /v1/file?id=file+1:2 HTTP/1.1\r\n\r\n", 404 },
        { "GET /v1/file?id=file+1:2&parts=99999999 HTTP/1.1\r\n\r\n", 400 },
        { "GET /v1/file?id=%zz HTTP/1.1\r\n\r\n", 400 },
        { "POST /v1/engine HTTP/1.1\r\n\r\n", 405 },
        { "GET /v1/engine HTTP/2.0\r\n\r\n", 505 },
        { "GET /v1/engine\r\n\r\n", 400 },
        { "GET\r\n\r\n", 400 },
        { "\r\n\r\n", 400 },
        { "GET http://x/v1/engine HTTP/1.1\r\n\r\n", 400 },
        { "GET /v1/en", 408 },
};

static void bad_requests(void)
{
        struct fl_engine *e = open_published(NULL);
        static char longest[8192];
        char path[256] = "";

        test_at("bad requests");
        count_sockets(path, sizeof(path));
        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                expect_eq(ask(path, bad[i].request), bad[i].status, bad[i].request);
        memset(longest, 'x', sizeof(longest) - 1);
        memcpy(longest, "GET /", 5);
        expect_eq(ask(path, longest), 414, "a request without an end");
        expect_eq(ask(path, "GET /metrics HTTP/1.1\r\n\r\n"), 200, "a good one after these");
        fl_engine_close(e);
}

/* ---- a child ---- */

/* Nothing is told of it: no handler of pthread_atfork(3) is called. */
static pid_t fork_silently(void)
{
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void children(const char *how, pid_t (*make)(void))
{
        struct fl_engine *e = open_published(NULL);
        char path[256] = "", kept[64], byte;
        int ready[2], status;
        pid_t child;

        test_at(how);
        snprintf(kept, sizeof(kept), "%s/kept", base);
        count_sockets(path, sizeof(path));
        require(!pipe2(ready, O_CLOEXEC), "pipe");
        child = make();
        if (child == 0) {
                (void)!write(ready[1], "x", 1);
                pause();
                _exit(0);
        }
        require(read(ready[0], &byte, 1) == 1, "the child says nothing");
        expect_eq(ask(path, "GET /v1/engine HTTP/1.1\r\n\r\n"), 200, "status");
        expect_eq(number_in(answer, "\"pid\":"), getpid(), "who answers");
        /* Kept open by the child, the name would look as if somebody listened. */
        require(!link(path, kept), "link: %s", strerror(errno));
        fl_engine_close(e);
        expect_eq(ask(kept, "GET /v1/engine HTTP/1.1\r\n\r\n"), -1, "who answers now");
        unlink(kept);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        close(ready[0]);
        close(ready[1]);
}

/* Who is connected learns of the end, though a child has been forked meanwhile. */
static void connected_children(void)
{
        struct fl_engine *e = open_published(NULL);
        struct timeval limit = { .tv_sec = 40 };
        char path[256] = "", byte;
        int fd, ready[2], status;
        pid_t child;

        test_at("a child forked while somebody is connected");
        count_sockets(path, sizeof(path));
        require(!pipe2(ready, O_CLOEXEC), "pipe");
        fd = connect_to(path);
        require(fd >= 0, "connect: %s", strerror(errno));
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        expect_eq(ask(path, "GET /metrics HTTP/1.0\r\n\r\n"), 200, "status of who came later");
        child = fork();
        if (child == 0) {
                (void)!write(ready[1], "x", 1);
                pause();
                _exit(0);
        }
        require(read(ready[0], &byte, 1) == 1, "the child says nothing");
        fl_engine_close(e);
        errno = 0;
        expect(receive(fd, &byte, 1) <= 0 && errno != EAGAIN, "the connection is still there");
        close(fd);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        close(ready[0]);
        close(ready[1]);
}

/* A child keeps no connection of a parent that has been killed. */
static void connected_orphan(void)
{
        struct timeval limit = { .tv_sec = 40 };
        char path[256] = "", byte;
        int fd, ready[2], go[2], status;
        pid_t parent, child;

        test_at("a parent killed while somebody is connected");
        require(!pipe2(ready, O_CLOEXEC) && !pipe2(go, O_CLOEXEC), "pipe");
        parent = fork();
        if (parent == 0) {
                open_published(NULL);
                (void)!write(ready[1], "x", 1);
                (void)!read(go[0], &byte, 1);
                child = fork();
                if (child)
                        (void)!write(ready[1], &child, sizeof(child));
                pause();
                _exit(0);
        }
        require(read(ready[0], &byte, 1) == 1, "the parent says nothing");
        count_sockets(path, sizeof(path));
        fd = connect_to(path);
        require(fd >= 0, "connect: %s", strerror(errno));
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        expect_eq(ask(path, "GET /metrics HTTP/1.0\r\n\r\n"), 200, "status of who came later");
        require(write(go[1], "x", 1) == 1 && read(ready[0], &child, sizeof(child)) == sizeof(child),
                "the parent does not fork");
        kill(parent, SIGKILL);
        waitpid(parent, &status, 0);
        errno = 0;
        expect(receive(fd, &byte, 1) <= 0 && errno != EAGAIN, "the child has the connection");
        kill(child, SIGKILL);
        close(fd);
        close(ready[0]);
        close(ready[1]);
        close(go[0]);
        close(go[1]);
        unlink(path);
}

/* An engine whose process was killed leaves a socket, which the next one removes; and nothing else. */
static void killed(void)
{
        struct fl_engine *e;
        char path[256] = "", other[128];
        int ready[2], status;
        char byte;
        pid_t child;

        test_at("a process that was killed");
        require(!pipe2(ready, O_CLOEXEC), "pipe");
        child = fork();
        if (child == 0) {
                open_published(NULL);
                (void)!write(ready[1], "x", 1);
                pause();
                _exit(0);
        }
        require(read(ready[0], &byte, 1) == 1, "the child says nothing");
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        close(ready[0]);
        close(ready[1]);
        expect_eq(count_sockets(path, sizeof(path)), 1, "sockets left behind");
        snprintf(other, sizeof(other), "%s/note", folder);
        close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        e = open_published(NULL);
        expect(access(path, F_OK) != 0, "%s is still there", path);
        expect(access(other, F_OK) == 0, "what is no socket was removed");
        unlink(other);
        expect_eq(count_sockets(NULL, 0), 1, "sockets");
        fl_engine_close(e);
}

/* ---- folders that are not to be trusted ---- */

static void not_in(const char *what)
{
        struct fl_engine *e = open_published(NULL);

        expect_eq(count_sockets(NULL, 0), 0, what);
        fl_engine_close(e);
}

static void folders(void)
{
        test_at("folders");
        require(!chmod(folder, 0755), "chmod");
        not_in("sockets in a folder that others can look into");
        require(!chmod(folder, 0700) && !rmdir(folder), "rmdir: %s", strerror(errno));
        require(!symlink(base, folder), "symlink");
        not_in("sockets behind a link");
        unlink(folder);
        require(!chmod(base, 0777), "chmod");
        not_in("sockets in a folder that others may change");
        require(!chmod(base, 0700), "chmod");
}

/* ---- faults go on, whoever connects ---- */

#define RUDE 12

/* Connections that say half, nothing, or ask and never read. */
static void connect_rudely(const char *path, int fds[RUDE])
{
        const char *const words[] = { "GET /v1/engine HTTP/1.1\r\n\r\n", "GET /v1", "", "\1\2\3" };
        int small = 1;

        for (unsigned i = 0; i < RUDE; i++) {
                fds[i] = connect_to(path);
                if (fds[i] < 0)
                        continue;
                (void)setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
                (void)!send(fds[i], words[i % 4], strlen(words[i % 4]), MSG_NOSIGNAL);
        }
}

static void rude_clients(void)
{
        struct fl_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
        const char *name = test_file("fltest-published", PAGES * TEST_PAGE);
        struct fl_engine *e = open_published(NULL);
        struct fl_file *f = fl_file_open(e, name, O_RDONLY, NULL);
        char path[256] = "", *p;
        int fds[RUDE];

        test_at("clients that do not behave");
        count_sockets(path, sizeof(path));
        require(f, "%s", fl_strerror());
        p = fl_mmap(e, NULL, PAGES * TEST_PAGE, PROT_READ, MAP_SHARED, f, 0);
        require(p != MAP_FAILED, "%s", fl_strerror());
        fl_madvise(e, p, PAGES * TEST_PAGE, MADV_RANDOM);
        connect_rudely(path, fds);
        fl_stats(e, &before);
        for (unsigned i = 0; i < PAGES; i++)
                *(volatile char *)(p + i * TEST_PAGE);
        fl_stats(e, &after);
        expect(after.faults_major - before.faults_major >= PAGES - CACHE / TEST_PAGE, "%llu faults",
               (unsigned long long)(after.faults_major - before.faults_major));
        /* Their time is over at last, and then it is our turn. */
        expect_eq(ask(path, "GET /v1/engine HTTP/1.1\r\n\r\n"), 200, "status");
        expect(number_in(answer, "\"faults_major\":") >= (long long)(PAGES - CACHE / TEST_PAGE),
               "what is told of faults: %s", answer);
        for (unsigned i = 0; i < RUDE; i++)
                if (fds[i] >= 0)
                        close(fds[i]);
        connect_rudely(path, fds); /* closing waits for none of them */
        expect_eq(fl_munmap(e, p, PAGES * TEST_PAGE), 0, "munmap");
        expect_eq(fl_file_close(f), 0, "close of the file");
        expect_eq(fl_engine_close(e), 0, "close");
        for (unsigned i = 0; i < RUDE; i++)
                if (fds[i] >= 0)
                        close(fds[i]);
}

/* ---- nobody takes another's place ---- */

#define PLACES 8 /* of those who ask at one socket */

static unsigned count_open(const int fds[PLACES])
{
        unsigned n = 0;
        char byte;

        for (unsigned i = 0; i < PLACES; i++)
                n += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        return n;
}

/* Eight who say nothing, and then one who asks: how many of the eight are still connected when that one
 * has been answered. */
static unsigned left_beside(const char *silent, const char *path)
{
        int fds[PLACES];
        unsigned n;

        for (unsigned i = 0; i < PLACES; i++) {
                fds[i] = connect_to(silent);
                require(fds[i] >= 0, "connect: %s", strerror(errno));
        }
        usleep(100000); /* so that all have been let in: where they took its places it has to wait */
        expect_eq(ask(path, "GET /metrics HTTP/1.0\r\n\r\n"), 200, "status");
        n = count_open(fds);
        for (unsigned i = 0; i < PLACES; i++)
                close(fds[i]);
        return n;
}

/* All of them go when their time is over; on a machine that is busy that may come first, so it is tried
 * again. */
static void places(void)
{
        char metrics[128], path[256] = "";
        struct fl_engine_config c = {
                .size = sizeof(c), .cache = CACHE, .mmu = test.mmu, .metrics = metrics
        };
        struct fl_engine *e;
        unsigned beside = 0, same = 0;

        test_at("places");
        snprintf(metrics, sizeof(metrics), "unix:%s/metrics", base);
        e = fl_engine_open(&c);
        require(e, "%s", fl_strerror());
        count_sockets(path, sizeof(path));
        for (unsigned i = 0; i < 5 && beside != PLACES; i++)
                beside = left_beside(metrics + 5, path);
        expect_eq(beside, PLACES, "scrapers, when somebody looked at the engine");
        for (unsigned i = 0; i < 5 && !same; i++)
                same = left_beside(path, path);
        expect(same, "all had to go before the ninth was answered");
        fl_engine_close(e);
}

/* ---- a limit on the size of files ---- */

/* In a process of its own: what a limit sends, SIGXFSZ, ends it. */
static int work_within_a_limit(const char *metrics, const char *said, const char *file)
{
        const struct rlimit limit = { 1000, 1000 };
        struct fl_engine_config c = {
                .size = sizeof(c), .cache = CACHE, .mmu = test.mmu, .metrics = metrics
        };
        pid_t child = fork();
        int status = -1;

        if (child == 0) {
                struct fl_engine *e = fl_engine_open(&c);
                int err = open(said, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                if (!e || dup2(err, STDERR_FILENO) < 0 || setrlimit(RLIMIT_FSIZE, &limit))
                        _exit(2);
                if (fl_engine_close(e))
                        _exit(1);
                /* The pages of a file have memory that is a file, too. */
                e = fl_engine_open(
                        &(struct fl_engine_config){ .size = sizeof(c), .publish = "off" });
                errno = 0;
                _exit(!e || fl_file_open(e, file, O_RDONLY, NULL) || errno != EFBIG ? 3 : 0);
        }
        waitpid(child, &status, 0);
        return status;
}

static void limit_on_files(void)
{
        const char *file = test_file("fltest-published-limit", PAGES * TEST_PAGE);
        char metrics[64], said[64], text[512] = "";
        int fd;

        test_at("a limit on the size of files");
        snprintf(metrics, sizeof(metrics), "%s/m.prom", base);
        snprintf(said, sizeof(said), "%s/said", base);
        expect_eq(work_within_a_limit(metrics, said, file), 0, "how it ends");
        fd = open(said, O_RDONLY | O_CLOEXEC);
        expect(read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "going on without\n") &&
                       strchr(text, '\n') == strrchr(text, '\n'),
               "not one line: %s", text);
        close(fd);
        unlink(said);
        unlink(metrics);
}

/* ---- a program that wants no more descriptors ---- */

/* Its own process: the limit stays. The status that is told to one who has connected before. */
static int ask_without_descriptors(void)
{
        const struct rlimit none = { 0, 0 };
        struct fl_engine *e = open_published(NULL);
        char path[256] = "", text[64] = "";
        int fd, status = 0;

        count_sockets(path, sizeof(path));
        fd = connect_to(path);
        if (fd < 0 || send(fd, "GET /metrics HT", 15, MSG_NOSIGNAL) != 15 ||
            ask(path, "GET /metrics HTTP/1.0\r\n\r\n") != 200 || setrlimit(RLIMIT_NOFILE, &none))
                return 0;
        /* Once that is read, poll(2) is called anew, and refuses. */
        for (int n = send(fd, "T", 1, MSG_NOSIGNAL) == 1; n > 0;)
                if (ioctl(fd, SIOCOUTQ, &n))
                        return 0;
        (void)!send(fd, "P/1.0\r\n\r\n", 9, MSG_NOSIGNAL);
        if (receive(fd, text, sizeof(text) - 1) > 0)
                (void)sscanf(text, "HTTP/1.1 %d", &status);
        return fl_engine_close(e) ? 0 : status;
}

static void no_more_descriptors(void)
{
        pid_t child;
        int status = -1;

        test_at("a limit of no descriptors");
        child = fork();
        if (child == 0) {
                status = ask_without_descriptors();
                if (status != 200)
                        fprintf(stderr, "status %d\n", status);
                _exit(status != 200);
        }
        waitpid(child, &status, 0);
        expect_eq(status, 0, "how it ends");
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 1, 110);
        require(mkdtemp(base), "mkdtemp");
        snprintf(folder, sizeof(folder), "%s/faultline", base);
        setenv("XDG_RUNTIME_DIR", base, 1);
        unsetenv("FAULTLINE_PUBLISH");
        two_engines();
        bad_requests();
        children("a forked child", fork);
        children("a child of which nobody is told", fork_silently);
        connected_children();
        connected_orphan();
        killed();
        folders();
        rude_clients();
        places();
        limit_on_files();
        no_more_descriptors();
        rmdir(folder);
        expect(!rmdir(base), "something is left in %s", base);
        return test_end();
}
