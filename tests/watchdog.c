/* SPDX-License-Identifier: Apache-2.0
 *
 * watchdog.c - a fault that waits too long is reported, once, with what it waits for; one that
 * does not is not. Core dumps leave mappings out.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define PAGES 64u

/* Sends stderr to a file; returns the descriptor to put back. */
static int stderr_to(const char *path)
{
        int saved = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

        dup2(fd, STDERR_FILENO);
        close(fd);
        return saved;
}

static void stderr_back(int saved)
{
        dup2(saved, STDERR_FILENO);
        close(saved);
}

/* Reports in path, each of another fault; *copy gets the last of them. */
static unsigned reports_in(const char *path, char *copy, size_t size)
{
        unsigned long long fault[64];
        FILE *f = fopen(path, "r");
        char line[2048], *number;
        unsigned n = 0;

        while (f && n < 64 && fgets(line, sizeof(line), f)) {
                if (!strstr(line, "watchdog"))
                        continue;
                snprintf(copy, size, "%s", line);
                number = strstr(line, "fault ");
                require(number && sscanf(number, "fault %llu of", &fault[n]) == 1, "%s", line);
                for (unsigned i = 0; i < n; i++)
                        expect(fault[i] != fault[n], "reported twice: %s", line);
                n++;
        }
        if (f)
                fclose(f);
        return n;
}

static void *touch(void *arg)
{
        return (void *)(uintptr_t) * (volatile unsigned char *)arg;
}

/* One load that takes `delay`, with two threads, under a watchdog of 150 ms. */
static unsigned reports_of(const char *delay, char *line, size_t size)
{
        const char *path = test_stamped_file("slow", PAGES), *log = test_file("log", 0);
        struct fl_engine_config config = {
                .size = sizeof(config), .cache = 1 << 20, .faults = delay, .watchdog = 150000000
        };
        struct fl_engine *e = open_engine_with(config);
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, PAGES * TEST_PAGE, PROT_READ, MAP_SHARED, 0);
        pthread_t thread[2];
        int saved;

        saved = stderr_to(log);
        for (unsigned i = 0; i < 2; i++)
                pthread_create(&thread[i], NULL, touch, p + 9 * TEST_PAGE);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(thread[i], NULL);
        stderr_back(saved);
        expect(!stamp_wrong(p + 9 * TEST_PAGE, 9, 0), "page 9");
        expect(fl_munmap(e, p, PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        return reports_in(log, line, size);
}

/* A signal, the kernel's own ones too, may make a thread that waits fault once more: so there may be more
 * faults than threads. */
static void slow_reads(void)
{
        char line[2048] = "", *others;
        unsigned n = 0;

        test_at("slow_reads");
        expect_eq(reports_of("delay=1ms", line, sizeof(line)), 0, "a quick read is reported");
        expect(reports_of("delay=900ms", line, sizeof(line)) >= 2, "both are reported");
        expect(strstr(line, "a load at "), "what: %s", line);
        expect(strstr(line, "for its page"), "what for: %s", line);
        expect(strstr(line, "slow"), "the file: %s", line);
        expect(strstr(line, "page reading"), "the page: %s", line);
        expect(strstr(line, "1 at the driver"), "the request: %s", line);
        others = strchr(line, ';');
        expect(others && sscanf(others, "; %u others there", &n) == 1 && n >= 1, "the waiters: %s",
               line);
}

/* A process that dies with 16 GiB mapped leaves a core that holds none of it. */
static void small_core(void)
{
        const char *path = test_file("large", 0);
        struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
        uint64_t size = 16ull << 30;
        int status = 0;
        pid_t pid;

        test_at("small_core");
        if (truncate(path, (off_t)size) || setrlimit(RLIMIT_CORE, &unlimited))
                return;
        pid = fork();
        if (pid == 0) {
                struct fl_engine *e = open_engine(4 << 20);
                struct fl_file *f = open_file(e, path, O_RDWR);
                char *p = map_file(e, f, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

                alarm(0);
                for (unsigned n = 0; n < 64; n++)
                        p[n * TEST_PAGE] = 1;
                signal(SIGABRT, SIG_DFL);
                abort();
        }
        waitpid(pid, &status, 0);
        expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x", status);
        if (WCOREDUMP(status)) {
                char core[64];

                /* by the default pattern, or the pid behind it */
                for (int with_pid = 0; with_pid < 2; with_pid++) {
                        snprintf(core, sizeof(core), with_pid ? "core.%d" : "core", pid);
                        if (access(core, F_OK) == 0) {
                                expect(file_size(core) < 512 << 20, "a core of %llu bytes",
                                       (unsigned long long)file_size(core));
                                unlink(core);
                        }
                }
        }
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 5, 5, 40);
        slow_reads();
        small_core();
        return test_end();
}
