/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_swap.c - a swap file for the kernel's side of the rows that swap.
 *
 * swapon(2) is for the whole machine and outlives whoever called it. So a process of its own calls
 * it, sleeps until the bench lets go of a pipe, or has ended in whatever way, and takes it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* What the kernel looks for in the first page. */
struct header {
        char boot[1024];
        uint32_t version, last_page, nr_bad;
        char rest[PAGE_SIZE - 1024 - 12 - 10];
        char magic[10];
};
_Static_assert(sizeof(struct header) == PAGE_SIZE, "a page");

/* NULL, or what failed, and errno. */
static const char *make_file(const char *path, uint64_t size)
{
        struct header header = { .version = 1, .last_page = (uint32_t)(size / PAGE_SIZE - 1) };
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        const char *failed = NULL;

        if (fd < 0)
                return "making a swap file";
        memcpy(header.magic, "SWAPSPACE2", sizeof(header.magic));
        errno = posix_fallocate(fd, 0, (off_t)size);
        if (errno || pwrite(fd, &header, sizeof(header), 0) != sizeof(header) || fsync(fd))
                failed = "filling a swap file";
        close(fd);
        return failed;
}

/* In the process that holds it: never returns. */
static void hold(const char *path, uint64_t size, int alive, int answer)
{
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
        const char *failed;
        char problem[256] = "", byte;

        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                signal(signals[i], SIG_IGN);
        failed = make_file(path, size);
        if (!failed && swapon(path, 0))
                failed = "swapon";
        if (failed)
                snprintf(problem, sizeof(problem), "%s: %s", failed, strerror(errno));
        if (write(answer, problem, sizeof(problem)) == sizeof(problem))
                while (!failed && read(alive, &byte, 1) < 0 && errno == EINTR)
                        ;
        if (!failed)
                swapoff(path);
        unlink(path);
        _exit(0);
}

void bench_swap_on(struct bench_swap *s, const char *path, uint64_t size)
{
        int alive[2], answer[2];
        char name[4096];

        *s = (struct bench_swap){ .alive = -1 };
        bench_own_name(path, "kernel-swap", name);
        if (pipe2(alive, O_CLOEXEC)) {
                snprintf(s->problem, sizeof(s->problem), "pipe: %s", strerror(errno));
                return;
        }
        if (pipe2(answer, O_CLOEXEC)) {
                snprintf(s->problem, sizeof(s->problem), "pipe: %s", strerror(errno));
                close(alive[0]);
                close(alive[1]);
                return;
        }
        s->holder = fork();
        if (!s->holder) {
                close(alive[1]);
                close(answer[0]);
                hold(name, size, alive[0], answer[1]);
        }
        close(alive[0]);
        close(answer[1]);
        if (s->holder < 0 || read(answer[0], s->problem, sizeof(s->problem)) <= 0)
                snprintf(s->problem, sizeof(s->problem), "fork: %s", strerror(errno));
        close(answer[0]);
        s->alive = alive[1];
        if (*s->problem)
                bench_swap_off(s);
}

void bench_swap_off(struct bench_swap *s)
{
        if (s->alive < 0)
                return;
        close(s->alive);
        s->alive = -1;
        while (s->holder > 0 && waitpid(s->holder, NULL, 0) < 0 && errno == EINTR)
                ;
}
