/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_nbd.c - an export in memory, by nbdkit behind a Unix socket: read by Faultline, and by nbdcopy.
 *
 * Each measurement has a server of its own, filled with the file's bytes. nbdcopy throws away what it
 * reads; its time is that of the whole command.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "util/base.h"
#include "util/module.h"

#define START_MS 10000 /* in which the server has to be there */

/* Starts a command without input and output. Its pid, or -1. */
static pid_t start(const char *const argv[])
{
        pid_t child = fork();
        int null;

        if (child)
                return child;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0)
                execvp(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
}

/* True: it ended well. */
static bool finish(pid_t child, struct rusage *used)
{
        int status = -1;

        while (child > 0 && wait4(child, &status, 0, used) < 0 && errno == EINTR)
                ;
        return status == 0;
}

static bool wait_for_socket(struct bench_nbd *s)
{
        for (int ms = 0; ms < START_MS; ms += 10) {
                struct stat st;

                if (!stat(s->socket, &st))
                        return true;
                if (waitpid(s->server, NULL, WNOHANG) == s->server) {
                        s->server = 0;
                        return false;
                }
                usleep(10000);
        }
        return false;
}

int bench_nbd_start(struct bench_nbd *s, const char *path, unsigned delay_ms)
{
        char size[32], delay[48];
        const char *serve[] = { "nbdkit",         "-f",     "-U", s->socket, "-t", "64",
                                "--filter=delay", "memory", size, delay,     NULL };
        const char *at_once[] = { "nbdkit", "-f", "-U", s->socket, "memory", size, NULL };
        const char *fill[] = { "nbdcopy", path, s->uri, NULL };
        struct stat st;
        struct rusage used;

        if (stat(path, &st))
                return fail(path, "look at the size", "%s", strerror(errno));
        bench_own_name(path, "nbd", s->socket);
        snprintf(s->uri, sizeof(s->uri), "nbd+unix:///?socket=%s", s->socket);
        snprintf(size, sizeof(size), "%jd", (intmax_t)st.st_size);
        snprintf(delay, sizeof(delay), "rdelay=%ums", delay_ms);
        unlink(s->socket);
        s->size = (uint64_t)st.st_size;
        s->server = start(delay_ms ? serve : at_once);
        if (s->server > 0 && wait_for_socket(s) && finish(start(fill), &used))
                return 0;
        bench_nbd_stop(s);
        return fail("nbdkit", "serve the file's bytes from memory", "it does not");
}

void bench_nbd_stop(struct bench_nbd *s)
{
        if (s->server > 0) {
                kill(s->server, SIGTERM);
                waitpid(s->server, NULL, 0);
                s->server = 0;
        }
        if (*s->socket)
                unlink(s->socket);
}

static uint64_t time_ns(struct timeval t)
{
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

int bench_nbdcopy(const struct bench_job *job, struct bench_result *result)
{
        struct bench_nbd s = { 0 };
        const char *copy[] = { "nbdcopy", s.uri, "null:", NULL };
        struct rusage used = { 0 };
        int status = bench_nbd_start(&s, job->path, job->load->delay_ms);
        uint64_t begin;

        if (status)
                return status;
        begin = now_ns();
        if (!finish(start(copy), &used))
                status = fail("nbdcopy", job->load->name, "it failed");
        result->ns = now_ns() - begin;
        result->units = s.size;
        result->cpu_ns = time_ns(used.ru_utime) + time_ns(used.ru_stime);
        bench_nbd_stop(&s);
        return status;
}

const char *bench_nbd_problem(void)
{
        char path[MODULE_PATH_MAX];

        if (module_find("nbd", path))
                return "the module for NBD is not installed";
        if (!bench_is_in_path("nbdkit"))
                return "nbdkit is not installed";
        return bench_is_in_path("nbdcopy") ? NULL : "nbdcopy is not installed";
}

const char *bench_nbd_fio_problem(void)
{
        const char *ask[] = { "fio", "--enghelp=nbd", NULL };
        const char *problem = bench_nbd_problem();
        struct rusage used;

        if (problem)
                return problem;
        return finish(start(ask), &used) ? NULL : "fio knows no nbd";
}
