/* SPDX-License-Identifier: Apache-2.0
 *
 * test_nbd_io.c - what no command asks of an NBD server: zeroes and trims, below the block layer.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/block.h"
#include "driver/nbd/nbd.h"

#define SIZE (1u << 20)

struct server {
        char folder[64], file[96], socket[96], uri[160];
        pid_t pid;
        struct trace trace;
        struct driver_env env;
        struct block_pool *pool;
        struct request_queue *q;
};

static void serve(struct server *s, const char *word, const char *more)
{
        char bytes[4096];
        struct stat st;
        int fd;

        snprintf(s->folder, sizeof s->folder, "/var/tmp/fl-nbd-XXXXXX");
        cr_assert_not_null(mkdtemp(s->folder));
        snprintf(s->file, sizeof s->file, "%s/file", s->folder);
        snprintf(s->socket, sizeof s->socket, "%s/socket", s->folder);
        snprintf(s->uri, sizeof s->uri, "nbd+unix:///?socket=%s&timeout=10s", s->socket);
        fd = open(s->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        memset(bytes, 'x', sizeof bytes);
        for (unsigned at = 0; at < SIZE; at += sizeof bytes)
                cr_assert_eq(write(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
        close(fd);
        s->pid = fork();
        if (!s->pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                execl(NBD_SERVER, "nbd_server", s->socket, s->file, word, more, (char *)NULL);
                _exit(127);
        }
        for (unsigned i = 0; i < 1000 && stat(s->socket, &st); i++)
                usleep(10000);
}

static void begin(struct server *s, const char *word, const char *more)
{
        const char *why = NULL;
        struct device *dev;
        int err;

        memset(s, 0, sizeof *s);
        serve(s, word, more);
        trace_init(&s->trace);
        s->env.trace = &s->trace;
        err = nbd_type.open(&s->env, s->uri, O_RDWR, &dev, &why);
        cr_assert_eq(err, 0, "%s: %s", strerror(-err), why);
        cr_assert_eq(block_pool_create(&s->pool, 64), 0);
        cr_assert_eq(blk_queue_create(&s->q, dev, s->pool, &s->trace), 0);
}

static void end(struct server *s)
{
        blk_queue_destroy(s->q);
        block_pool_destroy(s->pool);
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        unlink(s->file);
        unlink(s->socket);
        rmdir(s->folder);
}

/* The file is x, but for zeros in [from, to). */
static void expect_zeros(const struct server *s, unsigned from, unsigned to)
{
        char *bytes = malloc(SIZE);
        int fd = open(s->file, O_RDONLY | O_CLOEXEC);

        cr_assert_eq(read(fd, bytes, SIZE), SIZE);
        for (unsigned i = 0; i < SIZE; i++)
                cr_assert_eq(bytes[i], i >= from && i < to ? 0 : 'x', "byte %u", i);
        close(fd);
        free(bytes);
}

Test(nbd_io, zeroes, .timeout = 30)
{
        struct server s;

        begin(&s, "backwards", "nofua");
        cr_expect_eq(blkdev_issue_zeroout(s.q, 9, 1000), 0);
        expect_zeros(&s, 9 * 512, 1009 * 512);
        end(&s);
}

/* The server could not zero a part of its block: zeros are written, and the rest of it stays. */
Test(nbd_io, zeroes_of_a_part_of_a_block, .timeout = 30)
{
        struct server s;

        begin(&s, "min=4096", "max=65536");
        cr_expect_eq(blkdev_issue_zeroout(s.q, 9, 2), 0);
        expect_zeros(&s, 9 * 512, 11 * 512);
        cr_expect_eq(blkdev_issue_zeroout(s.q, 11, 30), 0, "and of whole ones between");
        expect_zeros(&s, 9 * 512, 41 * 512);
        end(&s);
}

Test(nbd_io, trims, .timeout = 30)
{
        struct server s;

        begin(&s, "min=4096", "max=65536");
        cr_expect_eq(blkdev_issue_discard(s.q, 0, SIZE / 512), 0);
        cr_expect_eq(blkdev_issue_discard(s.q, 1, 3), 0, "a hint, of no whole block");
        expect_zeros(&s, 0, 0); /* this server keeps what is trimmed */
        end(&s);
}

/* As much as the server takes in one command, which does not begin at a block of its: the whole blocks
 * around it are more. */
Test(nbd_io, the_most_at_once_and_not_aligned, .timeout = 30)
{
        static char bytes[65536];
        struct server s;
        char *seen = malloc(SIZE);
        int fd;

        begin(&s, "min=4096", "max=65536");
        memset(bytes, 'y', sizeof bytes);
        cr_assert_eq(submit_bio_wait(s.q, IO_WRITE, 9, bytes, sizeof bytes, 0), 0);
        memset(bytes, '?', sizeof bytes);
        cr_assert_eq(submit_bio_wait(s.q, IO_READ, 9, bytes, sizeof bytes, 0), 0);
        for (unsigned i = 0; i < sizeof bytes; i++)
                cr_assert_eq(bytes[i], 'y');
        fd = open(s.file, O_RDONLY | O_CLOEXEC);
        cr_assert_eq(read(fd, seen, SIZE), SIZE);
        for (unsigned i = 0; i < SIZE; i++)
                cr_assert_eq(seen[i], i >= 9 * 512 && i < 9 * 512 + 65536 ? 'y' : 'x', "byte %u",
                             i);
        close(fd);
        free(seen);
        end(&s);
}

/* A program that sandboxes itself so has what it has opened. */
Test(nbd_io, a_limit_of_no_descriptors, .timeout = 30)
{
        static char bytes[4096];
        struct rlimit before, none;
        struct server s;

        begin(&s, "min=1", "max=65536");
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = (struct rlimit){ 0, before.rlim_max };
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        for (unsigned i = 0; i < 20; i++) {
                memset(bytes, '?', sizeof bytes);
                cr_expect_eq(submit_bio_wait(s.q, IO_READ, 8 * i, bytes, sizeof bytes, 0), 0);
                cr_expect_eq(bytes[4095], 'x');
        }
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        end(&s);
}
