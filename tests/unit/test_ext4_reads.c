/* SPDX-License-Identifier: Apache-2.0
 *
 * test_ext4_reads.c - a read that is under way gets what was the file's when it began, and nothing
 * that another file puts there: here it is held back, in the plug, for as long as that takes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/ext4/ext4.h"
#include "sync_run.h"

#define PAGES 64u

static struct trace trace;
static struct driver_env drivers;
static struct block_pool *pool;
static struct fs_env env;
static char image[64];

static void fill_file(const char *folder, const char *name, char byte, unsigned pages)
{
        static char page[PAGE_SIZE];
        char path[100];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        memset(page, byte, sizeof(page));
        for (unsigned i = 0; i < pages; i++)
                cr_assert_eq(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
        close(fd);
}

/* Files a and b, in memory. */
static void make_image(void)
{
        char folder[] = "/tmp/fltest-reads-XXXXXX", command[400];
        int fd = memfd_create("image", MFD_CLOEXEC), status;

        cr_assert(mkdtemp(folder) && fd >= 0 && !ftruncate(fd, 4 << 20));
        fill_file(folder, "a", 'a', PAGES);
        fill_file(folder, "b", 'b', 1);
        snprintf(image, sizeof(image), "/proc/%d/fd/%d", (int)getpid(), fd);
        snprintf(command, sizeof(command),
                 "PATH=$PATH:/usr/sbin:/sbin; command -v mke2fs >/dev/null || exit 77; "
                 "mke2fs -q -F -t ext4 -b 4096 -O ^has_journal -d %s %s >/dev/null 2>&1",
                 folder, image);
        status = system(command);
        snprintf(command, sizeof(command), "rm -r %s", folder);
        cr_assert_eq(system(command), 0);
        if (status >> 8 == 77)
                cr_skip_test("there is no mke2fs");
        cr_assert_eq(status, 0, "mke2fs");
}

static struct inode *open_file(const char *path)
{
        static struct uri u = { .scheme = URI_IMAGE, .type = "ext4" };
        struct inode *inode = NULL;
        const char *why = NULL;

        u.path = u.inner;
        strcpy(u.inner, path);
        strcpy(u.dev, image);
        cr_assert_eq(ext4_type.open(&env, path, &u, O_RDWR, &inode, &why), 0, "%s", why ? why : "");
        return inode;
}

static void begin(void)
{
        make_image();
        trace_init(&trace);
        cr_assert_eq(loop_create(&drivers.loop, 1, "test"), 0);
        drivers.trace = &trace;
        drivers.depth = 8;
        drivers.driver = "posix";
        cr_assert_eq(block_pool_create(&pool, 256), 0);
        fs_env_init(&env, &drivers, pool, &trace);
}

/* Takes all the blocks there are; how many, and all of them hold 'b' then. */
static unsigned take_all(struct inode *b, uint64_t from, char *buf)
{
        unsigned n = 0;

        for (; b->a_ops->allocate(b, from + n, true) == 0; n++) {
                memset(buf, 'b', PAGE_SIZE);
                cr_assert_eq(sync_run(b, IO_WRITE, from + n, 1, buf).error, 0);
        }
        return n;
}

struct taking {
        struct inode *a, *b;
        unsigned n; /* blocks that b has */
        char *buf;
};

/* By a thread of its own: who holds reads back waits for nothing. */
static void *take_from_a(void *arg)
{
        struct taking *t = arg;

        cr_assert_eq(t->a->i_op->punch(t->a, 0, PAGES), 0);
        cr_assert_eq(t->a->i_op->fsync(t->a, false), 0);
        t->n += take_all(t->b, t->n, t->buf);
        return NULL;
}

Test(ext4_reads, a_read_gets_no_bytes_of_another_file)
{
        char *buf = aligned_alloc(PAGE_SIZE, PAGES * PAGE_SIZE);
        char *other = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
        struct sync_run held = { .run.nr_pages = 0 };
        struct inode *a, *b;
        struct blk_plug plug;
        struct taking taking;
        pthread_t taker;

        begin();
        a = open_file("/a");
        b = open_file("/b");
        cr_assert_eq(b->i_op->truncate(b, 1 << 30), 0);
        taking = (struct taking){ .a = a, .b = b, .n = 1 + take_all(b, 1, other), .buf = other };

        held.run = (struct fs_run){
                .inode = a,
                .nr_pages = PAGES,
                .opf = IO_READ,
                .buf = buf,
                .end_io = sync_run_end_io,
        };
        waiter_init_sync(&held.waiter);
        blk_start_plug(&plug);
        a->a_ops->readahead(&held.run, &plug);
        cr_assert_eq(pthread_create(&taker, NULL, take_from_a, &taking), 0);
        pthread_join(taker, NULL);
        blk_finish_plug(&plug);
        cr_assert_eq(waiter_sleep(&held.waiter, UINT64_C(10000000000)), 0, "no end_io");
        cr_assert_eq(held.run.error, 0);
        for (size_t i = 0; i < PAGES * PAGE_SIZE; i++)
                cr_assert_eq(buf[i], 'a', "byte %zu is of another file", i);

        /* Now that it is over they may be had. */
        cr_assert_gt(take_all(b, taking.n, other), PAGES / 2);
        inode_put(b);
        inode_put(a);
        cr_assert_null(env.supers);
        free(buf);
        free(other);
}
