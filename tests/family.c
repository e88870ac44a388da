/* SPDX-License-Identifier: Apache-2.0
 *
 * family.c - see family.h.
 */
#include "family.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct fl_engine *open_family(struct fl_engine_config config)
{
        config.fork = "inherit";
        return open_engine_with(config);
}

pid_t start_child(int (*fn)(void *), void *arg)
{
        pid_t pid = fork();

        require(pid >= 0, "fork: %s", strerror(errno));
        if (pid == 0) {
                alarm(110);
                _exit(fn(arg));
        }
        return pid;
}

void expect_child(pid_t pid, int status, const char *what)
{
        int s = -1;

        test_at("waiting for a child");
        require(waitpid(pid, &s, 0) == pid, "waitpid: %s", strerror(errno));
        expect(WIFEXITED(s) && WEXITSTATUS(s) == status, "%s: the child: %s %d, expected exit %d",
               what, WIFSIGNALED(s) ? "signal" : "exit",
               WIFSIGNALED(s) ? WTERMSIG(s) : WEXITSTATUS(s), status);
}

void wait_for_word(const int *pipe)
{
        char c;

        while (read(pipe[0], &c, 1) < 0 && errno == EINTR)
                ;
}

void give_word(const int *pipe)
{
        require(write(pipe[1], "x", 1) == 1, "write: %s", strerror(errno));
}

int wrong_page(const char *p, uint64_t nr, uint64_t version)
{
        for (uint64_t i = 0; i < nr; i++)
                if (stamp_wrong(p + i * TEST_PAGE, i, version))
                        return i < 99 ? (int)i + 1 : 100;
        return 0;
}

void expect_nothing_left(unsigned fds, unsigned threads)
{
        for (int i = 0; i < 5000 && (count_fds() > fds || count_threads() > threads); i++)
                usleep(1000);
        expect_eq(count_fds(), fds, "descriptors left");
        expect_eq(count_threads(), threads, "threads left");
}
