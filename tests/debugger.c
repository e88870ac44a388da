/* SPDX-License-Identifier: Apache-2.0
 *
 * debugger.c - a debugger that stops a process and reads its mappings does not hang: with every
 * thread stopped nobody can serve a fault, so what nobody has touched yet cannot be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define PAGES 64u

/* Maps the file, touches page 1, says where it is, and waits to be killed. */
static void debuggee(const char *path, int out)
{
        struct fl_engine *e = open_engine(1 << 20);
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, PAGES * TEST_PAGE, PROT_READ, MAP_SHARED, 0);

        if (fl_madvise(e, p, PAGES * TEST_PAGE, MADV_RANDOM) || stamp_wrong(p + TEST_PAGE, 1, 0) ||
            write(out, &p, sizeof(p)) != sizeof(p))
                _exit(1);
        for (;;)
                pause();
}

static double seconds(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void look(pid_t pid, char *p)
{
        double begin = seconds();
        int status;
        long word;

        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL)) {
                kill(pid, SIGKILL);
                test_skip("ptrace is not allowed here");
        }
        require(!ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), "interrupt: %s", strerror(errno));
        require(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "status %#x", status);
        errno = 0;
        word = ptrace(PTRACE_PEEKDATA, pid, p + TEST_PAGE, NULL);
        expect(word == 1 && errno == 0, "page 1, which is mapped: %ld, %s", word, strerror(errno));
        errno = 0;
        word = ptrace(PTRACE_PEEKDATA, pid, p + 40 * TEST_PAGE, NULL);
        expect(word == -1 && errno == EIO, "page 40, which is not: %ld, %s", word, strerror(errno));
        expect(seconds() - begin < 5, "it took %.1f s", seconds() - begin);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

int main(int argc, char **argv)
{
        const char *path;
        char *p = NULL;
        int fds[2];
        pid_t pid;

        test_begin(argc, argv, 5, 5, 30);
        if (test.mmu && !strcmp(test.mmu, "sigsegv"))
                test_skip("with sigsegv a debugger reads below the protection, and finds zeros");
        path = test_stamped_file("debugged", PAGES);
        require(pipe(fds) == 0, "pipe: %s", strerror(errno));
        pid = fork();
        if (pid == 0)
                debuggee(path, fds[1]);
        close(fds[1]);
        require(read(fds[0], &p, sizeof(p)) == sizeof(p), "the debuggee has ended");
        look(pid, p);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return test_end();
}
