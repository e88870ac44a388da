/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_fio.c - the same workload as a job of fio's, where fio is installed.
 *
 * psync runs as many threads as the other sides, io_uring one thread with their depth; both with
 * O_DIRECT. nbd is one connection with that depth, to a server as the other side has it. Their numbers are fio's own, from its JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* In the child: never returns. */
static void exec_fio(const struct bench_job *job, const char *uri, int out)
{
        const struct workload *load = job->load;
        bool one = job->side != SIDE_FIO_PSYNC, pass = load->unit == UNIT_BYTES;
        unsigned depth = load->depth ? load->depth : load->threads;
        char file[4176], pattern[48], block[32], jobs[32], iodepth[32], runtime[48], seed[48];
        const char *engine = *uri  ? "--ioengine=nbd"
                             : one ? "--ioengine=io_uring"
                                   : "--ioengine=psync";
        const char *argv[25] = { "fio",         "--name=bench", "--output-format=json",
                                 engine,        "--direct=1",   "--thread",
                                 pattern,       block,          "--allow_file_create=0",
                                 jobs,          iodepth,        "--group_reporting",
                                 "--eta=never", seed,           file };
        unsigned n = 15;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(file, sizeof(file), "--%s=%s", *uri ? "uri" : "filename", *uri ? uri : job->path);
        snprintf(pattern, sizeof(pattern), "--rw=%s", load->fio);
        snprintf(block, sizeof(block), "--bs=%u", load->block);
        snprintf(jobs, sizeof(jobs), "--numjobs=%u", one ? 1 : load->threads);
        snprintf(iodepth, sizeof(iodepth), "--iodepth=%u", one ? depth : 1);
        snprintf(seed, sizeof(seed), "--randseed=%" PRIu64, job->seed);
        snprintf(runtime, sizeof(runtime), "--runtime=%.0fms", job->seconds * 1e3);
        if (!pass) {
                argv[n++] = "--time_based";
                argv[n++] = "--norandommap";
                argv[n++] = runtime;
        }
        if (load->write && !load->anon)
                argv[n++] = pass ? "--end_fsync=1" : "--fdatasync=64";
        argv[n] = NULL;
        if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
                execvp("fio", (char **)(uintptr_t)argv);
        _exit(127);
}

/* fio may say something before its JSON. */
static json_t *read_json(int fd)
{
        FILE *answer = fdopen(fd, "r");
        json_t *all = NULL;
        int c;

        if (!answer) {
                close(fd);
                return NULL;
        }
        do
                c = fgetc(answer);
        while (c != EOF && c != '{');
        if (c == '{' && ungetc(c, answer) == c)
                all = json_loadf(answer, JSON_DISABLE_EOF_CHECK, NULL);
        while (fgetc(answer) != EOF)
                ;
        fclose(answer);
        return all;
}

static bool take_result(json_t *all, const struct bench_job *job, struct bench_result *result)
{
        json_t *first = json_array_get(json_object_get(all, "jobs"), 0);
        json_t *part = json_object_get(first, job->load->write ? "write" : "read");
        bool bytes = job->load->unit == UNIT_BYTES;
        double percent = bench_number(first, "usr_cpu") + bench_number(first, "sys_cpu");

        if (!part)
                return false;
        result->units = (uint64_t)bench_number(part, bytes ? "io_bytes" : "total_ios");
        result->ns = (uint64_t)(bench_number(part, "runtime") * 1e6);
        result->cpu_ns = (uint64_t)(percent / 100 * bench_number(first, "job_runtime") * 1e6);
        result->errors = (uint64_t)bench_number(first, "total_err");
        return result->ns > 0;
}

static int run_fio(const struct bench_job *job, const char *uri, struct bench_result *result)
{
        int out[2], child_status = 0;
        json_t *all;
        pid_t child;
        bool ok;

        if (pipe2(out, O_CLOEXEC))
                return fail("fio", "pipe", "%s", strerror(errno));
        child = fork();
        if (child < 0)
                return fail("fio", "fork", "%s", strerror(errno));
        if (!child)
                exec_fio(job, uri, out[1]);
        close(out[1]);
        all = read_json(out[0]);
        while (waitpid(child, &child_status, 0) < 0 && errno == EINTR)
                ;
        ok = !child_status && take_result(all, job, result);
        json_decref(all);
        return ok ? 0 : fail("fio", job->load->name, "it gave no result (status %d)", child_status);
}

int bench_fio(const struct bench_job *job, struct bench_result *result)
{
        struct bench_nbd server = { 0 };
        int status;

        if (job->side != SIDE_FIO_NBD)
                return run_fio(job, "", result);
        status = bench_nbd_start(&server, job->path, job->load->delay_ms);
        if (!status)
                status = run_fio(job, server.uri, result);
        bench_nbd_stop(&server);
        return status;
}
