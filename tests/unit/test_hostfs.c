/* SPDX-License-Identifier: Apache-2.0
 *
 * test_hostfs.c - opening host files as open(2) would, and files that other programs change.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sync_run.h"

static struct {
        struct trace trace;
        struct driver_env drivers;
        struct block_pool *pool;
        struct fs_env fs;
        char dir[64];
} t;

static void start(void)
{
        memset(&t, 0, sizeof t);
        trace_init(&t.trace);
        cr_assert_eq(loop_create(&t.drivers.loop, 1, "test"), 0);
        t.drivers.trace = &t.trace;
        cr_assert_eq(block_pool_create(&t.pool, 256), 0);
        fs_env_init(&t.fs, &t.drivers, t.pool, &t.trace);
        strcpy(t.dir, "fl-hostfs-XXXXXX");
        cr_assert_not_null(mkdtemp(t.dir));
        cr_assert_eq(chdir(t.dir), 0);
}

static void stop(void)
{
        char command[128];

        for (size_t i = 0; i < ARRAY_SIZE(t.fs.hash); i++)
                cr_assert_null(t.fs.hash[i], "an inode is left");
        fs_env_destroy(&t.fs);
        driver_env_destroy(&t.drivers);
        loop_destroy(t.drivers.loop);
        block_pool_destroy(t.pool);
        snprintf(command, sizeof command, "rm -rf ../%s", t.dir);
        cr_assert_eq(chdir(".."), 0);
        snprintf(command, sizeof command, "rm -rf %s", t.dir);
        cr_assert_eq(system(command), 0);
}

TestSuite(hostfs, .init = start, .fini = stop, .timeout = 30);

static struct inode *open_ok(const char *uri, int oflags, int mode)
{
        struct inode *inode;
        const char *why;
        int err = fs_open(&t.fs, uri, oflags, mode, &inode, &why);

        cr_assert_eq(err, 0, "%s: %s (%s)", uri, strerror(-err), why ? why : "");
        return inode;
}

static const char *open_fails(const char *uri, int oflags, int mode, int want)
{
        struct inode *inode = NULL;
        const char *why = "unset";
        int err = fs_open(&t.fs, uri, oflags, mode, &inode, &why);

        cr_assert_eq(err, want, "%s: %s, not %s", uri, strerror(-err), strerror(-want));
        cr_assert_null(inode);
        return why;
}

static void make(const char *path, uint64_t size, char byte)
{
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

        cr_assert_geq(fd, 0);
        for (uint64_t i = 0; i < size; i++)
                cr_assert_eq(write(fd, &byte, 1), 1);
        close(fd);
}

static uint64_t size_of(const char *path)
{
        struct stat st;

        cr_assert_eq(stat(path, &st), 0);
        return (uint64_t)st.st_size;
}

static int count_fds(void)
{
        int n = 0;

        for (int fd = 0; fd < 256; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static char page[8 * PAGE_SIZE] __attribute__((aligned(4096)));

Test(hostfs, what_is_no_file_is_refused_at_once)
{
        struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "socket" };
        int s = socket(AF_UNIX, SOCK_STREAM, 0), before;

        cr_assert_eq(mkdir("directory", 0700), 0);
        cr_assert_eq(mkfifo("fifo", 0600), 0);
        cr_assert_eq(bind(s, (struct sockaddr *)&a, sizeof a), 0);
        before = count_fds();
        open_fails("directory", O_RDONLY, 0, -EISDIR);
        open_fails("directory", O_RDWR, 0, -EISDIR);
        open_fails("directory", O_RDWR | O_CREAT, 0600, -EISDIR);
        open_fails("fifo", O_RDONLY, 0, -ENODEV);
        open_fails("fifo", O_WRONLY, 0, -ENODEV);
        open_fails("fifo", O_RDWR | O_CREAT, 0600, -ENODEV);
        open_fails("socket", O_RDONLY, 0, -ENODEV);
        open_fails("/dev/null", O_RDWR, 0, -ENODEV);
        open_fails("/dev/tty", O_RDWR, 0, -ENODEV);
        open_fails("missing", O_RDWR, 0, -ENOENT);
        open_fails("", O_RDONLY, 0, -ENOENT);
        open_fails("missing/x", O_RDWR | O_CREAT, 0600, -ENOENT);
        cr_assert_not_null(open_fails("http:x", O_RDONLY, 0, -EINVAL));
        cr_assert_eq(count_fds(), before, "descriptors leak");
        close(s);
}

Test(hostfs, permissions_are_the_hosts)
{
        struct inode *inode;
        struct stat st;

        umask(022);
        make("secret", 10, 'x');
        make("readonly", 10, 'x');
        cr_assert_eq(chmod("secret", 0), 0);
        cr_assert_eq(chmod("readonly", 0444), 0);
        cr_assert_eq(chmod(".", 0777), 0);
        if (geteuid() == 0 && seteuid(65534))
                cr_skip_test("cannot become nobody");
        open_fails("secret", O_RDONLY, 0, -EACCES);
        open_fails("readonly", O_RDWR, 0, -EACCES);
        inode_put(open_ok("readonly", O_RDONLY, 0));

        /* cp of a read-only file: created so, and written all the same. */
        inode = open_ok("locked", O_RDWR | O_CREAT, 0444);
        cr_assert(inode->writable);
        inode_put(inode);
        cr_assert_eq(stat("locked", &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0444);
        cr_assert_eq(seteuid(getuid()), 0);
}

Test(hostfs, create_exclusive_truncate)
{
        struct inode *inode;
        struct stat st;

        umask(022);
        inode = open_ok("new", O_RDWR | O_CREAT | O_EXCL, 0666);
        cr_assert_eq(inode->i_size, 0);
        inode_put(inode);
        cr_assert_eq(stat("new", &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0644);
        open_fails("new", O_RDWR | O_CREAT | O_EXCL, 0666, -EEXIST);

        make("full", 5000, 'x');
        inode = open_ok("full", O_RDWR, 0);
        cr_assert_not_null(open_fails("full", O_RDWR | O_TRUNC, 0, -EBUSY));
        cr_assert_eq(size_of("full"), 5000);
        inode_put(inode);
        inode = open_ok("full", O_RDWR | O_TRUNC, 0);
        cr_assert_eq(inode->i_size, 0);
        cr_assert_eq(size_of("full"), 0);
        inode_put(open_ok("full", O_RDWR | O_TRUNC, 0)); /* empty: nothing to lose */
        inode_put(inode);
        make("full", 10, 'x');
        open_fails("full", O_RDONLY | O_TRUNC, 0, -EINVAL);
        cr_assert_eq(size_of("full"), 10);
}

Test(hostfs, links)
{
        struct inode *a, *b;

        make("file", 100, 'x');
        cr_assert_eq(symlink("file", "soft"), 0);
        cr_assert_eq(link("file", "hard"), 0);
        cr_assert_eq(symlink("made", "dangling"), 0);
        cr_assert_eq(symlink("loop", "loop"), 0);
        a = open_ok("soft", O_RDONLY, 0);
        b = open_ok("file:./hard", O_RDONLY, 0);
        cr_assert_eq(a, b);
        cr_assert_str_eq(a->name, "soft");
        inode_put(a);
        inode_put(b);
        open_fails("dangling", O_RDWR, 0, -ENOENT);
        open_fails("dangling", O_RDWR | O_CREAT | O_EXCL, 0600, -EEXIST);
        inode_put(open_ok("dangling", O_RDWR | O_CREAT, 0600));
        cr_assert_eq(size_of("made"), 0);
        open_fails("loop", O_RDONLY, 0, -ELOOP);
        make("a:b", 1, 'x');
        inode_put(open_ok("./a:b", O_RDONLY, 0));
}

Test(hostfs, a_file_read_first_can_be_written_later)
{
        struct inode *r, *w;
        int maxprot = PROT_READ | PROT_WRITE;
        int before = count_fds();

        make("file", 2 * PAGE_SIZE, 'a');
        r = open_ok("file", O_RDONLY, 0);
        cr_assert_eq(r->f_op->map(r, PROT_READ | PROT_WRITE, MAP_SHARED, &maxprot), -EACCES);
        cr_assert_eq(r->f_op->map(r, PROT_READ | PROT_WRITE, MAP_PRIVATE, &maxprot), 0);
        cr_assert_eq(maxprot, PROT_READ | PROT_WRITE);
        cr_assert_eq(r->f_op->map(r, PROT_READ, MAP_SHARED, &maxprot), 0);
        cr_assert_eq(maxprot, PROT_READ);
        cr_assert_eq(r->i_op->truncate(r, 0), -EINVAL);
        cr_assert_eq(r->i_op->fsync(r, true), 0);
        w = open_ok("file", O_RDWR, 0);
        cr_assert_eq(r, w);
        cr_assert_eq(r->f_op->map(r, PROT_READ | PROT_WRITE, MAP_SHARED, &maxprot), 0);
        memset(page, 'b', PAGE_SIZE);
        cr_assert_eq(sync_run(w, IO_WRITE, 1, 1, page).error, 0);
        inode_put(w);
        memset(page, 0, sizeof page);
        cr_assert_eq(sync_run(r, IO_READ, 0, 2, page).error, 0);
        cr_assert_eq(page[PAGE_SIZE - 1], 'a');
        cr_assert_eq(page[PAGE_SIZE], 'b');
        inode_put(r);
        /* The driver keeps its ring, and perhaps one more, for the next. */
        r = open_ok("file", O_RDONLY, 0);
        inode_put(r);
        cr_assert_leq(count_fds(), before + 2);
}

Test(hostfs, cut_short_by_another_program)
{
        struct inode *inode;
        struct fs_run run;

        make("file", 4 * PAGE_SIZE, 'a');
        inode = open_ok("file", O_RDWR, 0);
        cr_assert_eq(truncate("file", PAGE_SIZE + 10), 0);

        /* Reads: what is left, zeros, and told so. */
        run = sync_run(inode, IO_READ, 0, 4, page);
        cr_assert_eq(run.error, 0);
        cr_assert_eq(run.valid, PAGE_SIZE + 10);
        cr_assert_eq(page[PAGE_SIZE + 9], 'a');
        for (size_t i = PAGE_SIZE + 10; i < 4 * PAGE_SIZE; i++)
                cr_assert_eq(page[i], 0);
        run = sync_run(inode, IO_READ, 2, 1, page);
        cr_assert_eq(run.error, 0);
        cr_assert_eq(run.valid, 0);

        /* Writes: to the new end, and never beyond; what lies there is told. */
        cr_assert_eq(inode->i_size, 4 * PAGE_SIZE);
        memset(page, 'b', sizeof page);
        cr_assert_eq(sync_run(inode, IO_WRITE, 0, 4, page).error, -EIO);
        cr_assert_eq(sync_run(inode, IO_WRITE, 3, 1, page).error, -EIO);
        cr_assert_eq(size_of("file"), PAGE_SIZE + 10);

        cr_assert_eq(inode->i_op->refresh(inode), 0);
        cr_assert_eq(inode->i_size, PAGE_SIZE + 10);
        inode_put(inode);

        make("check", PAGE_SIZE + 10, 'b');
        cr_assert_eq(system("cmp -s file check"), 0);
}

/* It grew: what i_size does not know is not written, and is seen after a refresh. */
Test(hostfs, grown_by_another_program)
{
        struct inode *inode;
        int fd;

        make("file", 10, 'a');
        inode = open_ok("file", O_RDWR, 0);
        fd = open("file", O_WRONLY | O_APPEND);
        cr_assert_eq(write(fd, "cccc", 4), 4);
        close(fd);
        memset(page, 'b', PAGE_SIZE);
        cr_assert_eq(sync_run(inode, IO_WRITE, 0, 1, page).error, 0);
        cr_assert_eq(inode->i_op->refresh(inode), 0);
        cr_assert_eq(inode->i_size, 14);
        cr_assert_eq(sync_run(inode, IO_READ, 0, 1, page).valid, 14);
        cr_assert_eq(memcmp(page, "bbbbbbbbbbcccc", 15), 0);
        inode_put(inode);
}

/* Pages and tail do not become one request: the tail takes the buffered descriptor. */
Test(hostfs, the_tail_is_a_request_of_its_own)
{
        struct inode *inode;
        uint64_t bios, requests;

        make("file", 2 * PAGE_SIZE + 10, 'a');
        inode = open_ok("file", O_RDWR, 0);
        bios = stat_get(&t.trace.stats, STAT_bios);
        requests = stat_get(&t.trace.stats, STAT_requests);
        memset(page, 'b', sizeof page);
        cr_assert_eq(sync_run(inode, IO_WRITE, 0, 3, page).error, 0);
        cr_assert_eq(stat_get(&t.trace.stats, STAT_bios) - bios, 2);
        cr_assert_eq(stat_get(&t.trace.stats, STAT_requests) - requests, 2);
        inode_put(inode);
        make("check", 2 * PAGE_SIZE + 10, 'b');
        cr_assert_eq(system("cmp -s file check"), 0);
}

Test(hostfs, readahead_is_the_devices_or_what_was_asked)
{
        struct inode *inode;

        make("file", 10, 'a');
        inode = open_ok("file", O_RDONLY, 0);
        cr_assert_gt(inode->io_pages, 0);
        inode_put(inode);
        t.fs.readahead = 64 * 1024;
        inode = open_ok("file", O_RDONLY, 0);
        cr_assert_eq(inode->ra_pages, 16);
        inode_put(inode);
}

Test(hostfs, sparse_files_of_any_size)
{
        struct inode *inode;
        int fd = open("huge", O_RDWR | O_CREAT, 0600);
        uint64_t size = (UINT64_C(1) << 43) + 5; /* 8 TiB */

        if (ftruncate(fd, (off_t)size))
                cr_skip_test("the host has no such files");
        close(fd);
        inode = open_ok("huge", O_RDWR, 0);
        cr_assert_eq(inode->i_size, size);
        cr_assert_eq(sync_run(inode, IO_READ, size >> PAGE_SHIFT, 1, page).valid, 5);
        inode_put(inode);
}
