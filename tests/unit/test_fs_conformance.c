/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fs_conformance.c - what every file system owes the cache, at the level of its operations.
 *
 * Each test runs on every backing: a host file where O_DIRECT works (the directory the tests run
 * in), one where it does not (/dev/shm), and memfs on a ram disk. A new file system is one more
 * entry in `backings`.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/memfs.h"
#include "sync_run.h"

#define MIB (UINT64_C(1) << 20)

/* ---- an engine without a cache ---- */

struct env {
        struct trace trace;
        struct driver_env drivers;
        struct block_pool *pool;
        struct fs_env fs;
};

static void env_start(struct env *e)
{
        memset(e, 0, sizeof *e);
        trace_init(&e->trace);
        cr_assert_eq(loop_create(&e->drivers.loop, 1, "test"), 0);
        e->drivers.trace = &e->trace;
        e->drivers.depth = 16;
        cr_assert_eq(block_pool_create(&e->pool, 1024), 0);
        fs_env_init(&e->fs, &e->drivers, e->pool, &e->trace);
}

static void env_stop(struct env *e)
{
        fs_env_destroy(&e->fs);
        driver_env_destroy(&e->drivers);
        loop_destroy(e->drivers.loop);
        block_pool_destroy(e->pool);
}

struct backing {
        const char *name;
        const char *dir;    /* host files; NULL: memfs */
        const char *driver; /* of host files */
};

static const struct backing backings[] = {
        { "hostfs, uring", ".", "auto" },
        { "hostfs, posix", ".", "posix" },
        { "hostfs without O_DIRECT", "/dev/shm", "auto" },
        { "memfs", NULL, NULL },
};
#define NR_BACKINGS ((int)ARRAY_SIZE(backings))

/* A file of a backing, empty at the start. */
struct fixture {
        struct env e;
        const struct backing *b;
        struct super_block *sb;
        char path[256];
        struct inode *inode;
};

static struct inode *open_file(struct fixture *f)
{
        struct inode *inode;
        const char *why;
        int err = f->sb ? memfs_open(f->sb, f->path, 0, &inode)
                        : fs_open(&f->e.fs, f->path, O_RDWR | O_CREAT, 0600, &inode, &why);

        cr_assert_eq(err, 0, "%s: %s", f->b->name, strerror(-err));
        return inode;
}

static void fixture_start(struct fixture *f, int backing)
{
        struct device *ram;

        env_start(&f->e);
        f->b = &backings[backing];
        f->sb = NULL;
        if (f->b->dir) {
                f->e.drivers.driver = f->b->driver;
                snprintf(f->path, sizeof f->path, "%s/fl-conformance-%d", f->b->dir, getpid());
                unlink(f->path);
        } else {
                snprintf(f->path, sizeof f->path, "file");
                cr_assert_eq(device_open_ram(&f->e.drivers, 8 * MIB, &ram), 0);
                cr_assert_eq(memfs_create(&f->e.fs, ram, &f->sb), 0);
        }
        f->inode = open_file(f);
}

static void fixture_stop(struct fixture *f)
{
        inode_put(f->inode);
        env_stop(&f->e);
        if (!f->sb)
                unlink(f->path);
}

static char *pages_alloc(uint64_t n)
{
        char *p = mmap(NULL, n * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0);

        cr_assert_neq(p, MAP_FAILED);
        return p;
}

/* ---- runs, as the cache makes them, but waited for ---- */

static int read_pages(struct inode *inode, uint64_t index, uint32_t n, char *buf, uint64_t *valid)
{
        struct fs_run run;

        memset(buf, 0xee, n * PAGE_SIZE);
        run = sync_run(inode, IO_READ | REQ_SYNC, index, n, buf);
        *valid = run.valid;
        return run.error;
}

static int write_pages(struct inode *inode, uint64_t index, uint32_t n, char *buf)
{
        int err = 0;

        if (inode->a_ops->write_begin)
                err = inode->a_ops->write_begin(inode, index << PAGE_SHIFT, n * PAGE_SIZE);
        return err ? err : sync_run(inode, IO_WRITE, index, n, buf).error;
}

static void fill(char *buf, uint64_t bytes, unsigned seed)
{
        for (uint64_t i = 0; i < bytes; i++)
                buf[i] = (char)((i * 2654435761u + i / PAGE_SIZE + seed) >> 3 | 1); /* never 0 */
}

static bool all_zero(const char *buf, uint64_t bytes)
{
        for (uint64_t i = 0; i < bytes; i++)
                if (buf[i])
                        return false;
        return true;
}

/* The file is `size` bytes of fill(seed), and zeros to the end of the last page. */
static void expect_content(struct fixture *f, uint64_t size, unsigned seed)
{
        uint64_t n = pages_of(size), valid;
        char *want, *got;

        if (!n)
                return;
        want = pages_alloc(n);
        got = pages_alloc(n);
        fill(want, size, seed);
        cr_assert_eq(read_pages(f->inode, 0, (uint32_t)n, got, &valid), 0);
        cr_assert_eq(valid, size, "%s: %lu valid, not %lu", f->b->name, valid, size);
        cr_assert_eq(memcmp(got, want, size), 0, "%s, size %lu", f->b->name, size);
        cr_assert(all_zero(got + size, n * PAGE_SIZE - size), "%s: the tail", f->b->name);
        munmap(want, n * PAGE_SIZE);
        munmap(got, n * PAGE_SIZE);
}

static void make_file(struct fixture *f, uint64_t size, unsigned seed)
{
        uint64_t n = pages_of(size);
        char *buf = pages_alloc(n + 1);

        cr_assert_eq(f->inode->i_op->truncate(f->inode, size), 0);
        fill(buf, n * PAGE_SIZE, seed); /* also past the end: it must not get out */
        if (n)
                cr_assert_eq(write_pages(f->inode, 0, (uint32_t)n, buf), 0);
        munmap(buf, (n + 1) * PAGE_SIZE);
}

/* What another program sees. */
static uint64_t host_size(struct fixture *f)
{
        struct stat st;

        if (f->sb)
                return f->inode->i_size;
        cr_assert_eq(stat(f->path, &st), 0);
        return (uint64_t)st.st_size;
}

static const uint64_t sizes[] = { 0, 1, 511, 4095, 4096, 4097, 3 * 4096 + 512, MIB + 7 };

#define ON_EACH_BACKING(name)                                                                      \
        ParameterizedTestParameters(conformance, name)                                             \
        {                                                                                          \
                static int backing[ARRAY_SIZE(backings)];                                          \
                                                                                                   \
                for (int i = 0; i < NR_BACKINGS; i++)                                              \
                        backing[i] = i;                                                            \
                return cr_make_param_array(int, backing, ARRAY_SIZE(backings));                    \
        }                                                                                          \
        ParameterizedTest(int *backing, conformance, name, .timeout = 30)

ON_EACH_BACKING(what_is_written_is_read)
{
        struct fixture f;

        fixture_start(&f, *backing);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                make_file(&f, sizes[i], 1);
                cr_assert_eq(f.inode->i_size, sizes[i]);
                cr_assert_eq(host_size(&f), sizes[i], "%s: the file grew", f.b->name);
                expect_content(&f, sizes[i], 1);
                /* Again, from a fresh open. */
                inode_put(f.inode);
                f.inode = open_file(&f);
                cr_assert_eq(f.inode->i_size, sizes[i]);
                expect_content(&f, sizes[i], 1);
        }
        fixture_stop(&f);
}

ON_EACH_BACKING(pages_anywhere)
{
        char *buf = pages_alloc(4), *got = pages_alloc(4);
        struct fixture f;
        uint64_t valid;

        fixture_start(&f, *backing);
        make_file(&f, 64 * PAGE_SIZE + 100, 2);
        fill(buf, 4 * PAGE_SIZE, 9);
        cr_assert_eq(write_pages(f.inode, 17, 3, buf), 0);
        cr_assert_eq(read_pages(f.inode, 18, 2, got, &valid), 0);
        cr_assert_eq(valid, 2 * PAGE_SIZE);
        cr_assert_eq(memcmp(got, buf + PAGE_SIZE, 2 * PAGE_SIZE), 0);
        /* Across the end, and beyond it. */
        cr_assert_eq(read_pages(f.inode, 63, 4, got, &valid), 0);
        cr_assert_eq(valid, PAGE_SIZE + 100);
        cr_assert(all_zero(got + valid, 4 * PAGE_SIZE - valid));
        cr_assert_eq(read_pages(f.inode, 65, 1, got, &valid), 0);
        cr_assert_eq(valid, 0);
        cr_assert(all_zero(got, PAGE_SIZE));
        fixture_stop(&f);
        munmap(buf, 4 * PAGE_SIZE);
        munmap(got, 4 * PAGE_SIZE);
}

ON_EACH_BACKING(writing_never_grows_the_file)
{
        char *buf = pages_alloc(4);
        struct fixture f;

        fixture_start(&f, *backing);
        make_file(&f, PAGE_SIZE + 1, 3);
        fill(buf, 4 * PAGE_SIZE, 3);
        cr_assert_eq(f.inode->a_ops->writepages != NULL, 1);
        cr_assert_eq(sync_run(f.inode, IO_WRITE, 0, 4, buf).error, 0);
        cr_assert_eq(sync_run(f.inode, IO_WRITE, 2, 4, buf).error, 0); /* wholly beyond */
        cr_assert_eq(host_size(&f), PAGE_SIZE + 1);
        expect_content(&f, PAGE_SIZE + 1, 3);
        fixture_stop(&f);
        munmap(buf, 4 * PAGE_SIZE);
}

ON_EACH_BACKING(truncate_down_and_up)
{
        char *got = pages_alloc(8);
        struct fixture f;
        uint64_t valid;

        fixture_start(&f, *backing);
        make_file(&f, 4 * PAGE_SIZE, 4);
        cr_assert_eq(f.inode->i_op->truncate(f.inode, PAGE_SIZE + 10), 0);
        cr_assert_eq(host_size(&f), PAGE_SIZE + 10);
        expect_content(&f, PAGE_SIZE + 10, 4);
        cr_assert_eq(f.inode->i_op->truncate(f.inode, 8 * PAGE_SIZE), 0);
        cr_assert_eq(f.inode->i_size, 8 * PAGE_SIZE);
        cr_assert_eq(host_size(&f), 8 * PAGE_SIZE);
        cr_assert_eq(read_pages(f.inode, 0, 8, got, &valid), 0);
        cr_assert_eq(valid, 8 * PAGE_SIZE);
        cr_assert(all_zero(got + PAGE_SIZE + 10, 7 * PAGE_SIZE - 10), "%s: what was cut is back",
                  f.b->name);
        cr_assert_eq(f.inode->i_op->truncate(f.inode, 0), 0);
        cr_assert_eq(host_size(&f), 0);
        cr_assert_eq(read_pages(f.inode, 0, 1, got, &valid), 0);
        cr_assert_eq(valid, 0);
        fixture_stop(&f);
        munmap(got, 8 * PAGE_SIZE);
}

/* The bytes between the old end and the new one are zeros, though the page that was written had
 * something there. */
ON_EACH_BACKING(growing_shows_zeros_behind_the_old_end)
{
        char *got = pages_alloc(2);
        struct fixture f;
        uint64_t valid;

        fixture_start(&f, *backing);
        make_file(&f, 100, 5);
        cr_assert_eq(f.inode->i_op->truncate(f.inode, 2 * PAGE_SIZE), 0);
        cr_assert_eq(read_pages(f.inode, 0, 2, got, &valid), 0);
        cr_assert_eq(valid, 2 * PAGE_SIZE);
        cr_assert(!all_zero(got, 100));
        cr_assert(all_zero(got + 100, 2 * PAGE_SIZE - 100), "%s", f.b->name);
        fixture_stop(&f);
        munmap(got, 2 * PAGE_SIZE);
}

ON_EACH_BACKING(fsync_flushes)
{
        struct fixture f;
        uint64_t before;

        fixture_start(&f, *backing);
        make_file(&f, MIB, 6);
        before = stat_get(&f.e.trace.stats, STAT_flushes);
        cr_assert_eq(f.inode->i_op->fsync(f.inode, true), 0);
        cr_assert_eq(stat_get(&f.e.trace.stats, STAT_flushes), before + 1);
        fixture_stop(&f);
}

ON_EACH_BACKING(two_opens_share_an_inode)
{
        struct inode *again;
        struct fixture f;

        fixture_start(&f, *backing);
        make_file(&f, 5000, 7);
        cr_assert(inode_is_last(f.inode));
        again = open_file(&f);
        cr_assert_eq(again, f.inode);
        cr_assert_not(inode_is_last(f.inode));
        inode_get(again);
        inode_put(f.inode);
        inode_put(f.inode);
        cr_assert(inode_is_last(again));
        expect_content(&f, 5000, 7);
        fixture_stop(&f);
}

ON_EACH_BACKING(getattr_and_map)
{
        int maxprot = PROT_READ | PROT_WRITE;
        struct fixture f;
        struct stat st;

        fixture_start(&f, *backing);
        make_file(&f, 4097, 8);
        f.inode->i_op->getattr(f.inode, &st);
        cr_assert_eq(st.st_size, 4097);
        cr_assert(S_ISREG(st.st_mode));
        cr_assert_eq(f.inode->i_op->refresh(f.inode), 0);
        cr_assert_eq(f.inode->i_size, 4097);
        cr_assert_eq(f.inode->f_op->map(f.inode, PROT_WRITE, MAP_SHARED, &maxprot), 0);
        cr_assert_eq(maxprot, PROT_READ | PROT_WRITE);
        cr_assert(f.inode->a_ops->signal_safe);
        fixture_stop(&f);
}

/* ---- memfs alone ---- */

Test(memfs, holes_cost_no_io)
{
        char *got = pages_alloc(16), *page = pages_alloc(1);
        struct fixture f;
        uint64_t valid, bios;

        fixture_start(&f, NR_BACKINGS - 1);
        cr_assert_eq(f.inode->i_op->truncate(f.inode, 16 * PAGE_SIZE), 0);
        bios = stat_get(&f.e.trace.stats, STAT_bios);
        cr_assert_eq(read_pages(f.inode, 0, 16, got, &valid), 0);
        cr_assert_eq(valid, 16 * PAGE_SIZE);
        cr_assert(all_zero(got, 16 * PAGE_SIZE));
        cr_assert_eq(stat_get(&f.e.trace.stats, STAT_bios), bios);
        cr_assert_eq(f.inode->a_ops->bmap(f.inode, 3), 0);
        fill(page, PAGE_SIZE, 1);
        cr_assert_eq(write_pages(f.inode, 3, 1, page), 0);
        cr_assert_gt(f.inode->a_ops->bmap(f.inode, 3), 0);
        cr_assert_eq(f.inode->a_ops->bmap(f.inode, 4), 0);
        fixture_stop(&f);
        munmap(got, 16 * PAGE_SIZE);
        munmap(page, PAGE_SIZE);
}

Test(memfs, a_bio_a_page_and_they_merge)
{
        struct fixture f;
        uint64_t bios, requests;

        fixture_start(&f, NR_BACKINGS - 1);
        bios = stat_get(&f.e.trace.stats, STAT_bios);
        requests = stat_get(&f.e.trace.stats, STAT_requests);
        make_file(&f, 16 * PAGE_SIZE, 1);
        cr_assert_eq(stat_get(&f.e.trace.stats, STAT_bios) - bios, 16);
        cr_assert_eq(stat_get(&f.e.trace.stats, STAT_requests) - requests, 1);
        fixture_stop(&f);
}

Test(memfs, full_disk)
{
        char *page = pages_alloc(1), *got = pages_alloc(1);
        struct super_block *sb;
        struct inode *a, *b;
        struct device *ram;
        struct env e;
        uint64_t valid;

        env_start(&e);
        cr_assert_eq(device_open_ram(&e.drivers, 9 * PAGE_SIZE, &ram), 0);
        cr_assert_eq(memfs_create(&e.fs, ram, &sb), 0);
        cr_assert_eq(memfs_free_blocks(sb), 8);
        cr_assert_eq(memfs_open(sb, "a", MIB, &a), 0);
        cr_assert_eq(memfs_open(sb, "b", MIB, &b), 0);
        cr_assert_neq(a, b);
        fill(page, PAGE_SIZE, 1);
        for (uint64_t i = 0; i < 8; i++)
                cr_assert_eq(write_pages(i % 2 ? b : a, i * 3, 1, page), 0);
        cr_assert_eq(memfs_free_blocks(sb), 0);
        cr_assert_eq(a->a_ops->write_begin(a, 100 * PAGE_SIZE, 1), -ENOSPC);
        cr_assert_eq(a->a_ops->write_begin(a, 0, PAGE_SIZE), 0); /* has its block */
        /* What one frees another may have, and sees nothing of what was in it. */
        cr_assert_eq(a->i_op->truncate(a, 0), 0);
        cr_assert_eq(memfs_free_blocks(sb), 4);
        cr_assert_eq(b->a_ops->write_begin(b, 0, PAGE_SIZE), 0);
        cr_assert_eq(memfs_free_blocks(sb), 3);
        cr_assert_eq(read_pages(b, 0, 1, got, &valid), 0);
        cr_assert(all_zero(got, PAGE_SIZE));
        inode_put(a);
        inode_put(b);
        env_stop(&e);
        munmap(page, PAGE_SIZE);
        munmap(got, PAGE_SIZE);
}

Test(memfs, ram_uri_is_a_fresh_file_each_time)
{
        struct inode *a, *b;
        const char *why;
        struct env e;
        int maxprot = PROT_READ | PROT_WRITE;

        env_start(&e);
        cr_assert_eq(fs_open(&e.fs, "ram:5000", O_RDWR, 0, &a, &why), 0);
        cr_assert_eq(fs_open(&e.fs, "ram:5000", O_RDONLY, 0, &b, &why), 0);
        cr_assert_neq(a, b);
        cr_assert_eq(a->i_size, 5000);
        cr_assert(a->writable);
        cr_assert_not(b->writable);
        cr_assert_eq(b->f_op->map(b, PROT_READ | PROT_WRITE, MAP_SHARED, &maxprot), -EACCES);
        cr_assert_str_eq(a->name, "ram:5000");
        inode_put(a);
        inode_put(b);
        cr_assert_null(e.fs.supers);
        cr_assert_eq(fs_open(&e.fs, "ram:0", O_RDWR, 0, &a, &why), 0);
        inode_put(a);
        cr_assert_eq(fs_open(&e.fs, "ram:9999999999999", O_RDWR, 0, &a, &why), -EFBIG);
        env_stop(&e);
}

/* An I/O error is the run's error, and the file is as before. */
Test(memfs, errors_reach_the_run)
{
        char *page = pages_alloc(4);
        struct device *ram, *faulty;
        struct super_block *sb;
        struct inode *inode;
        struct env e;
        uint64_t valid;

        env_start(&e);
        cr_assert_eq(device_open_ram(&e.drivers, MIB, &ram), 0);
        cr_assert_eq(device_wrap_faulty(&e.drivers, ram, "eio@8192+4096", &faulty), 0);
        cr_assert_eq(memfs_create(&e.fs, faulty, &sb), 0);
        cr_assert_eq(memfs_open(sb, "a", 4 * PAGE_SIZE, &inode), 0);
        fill(page, 4 * PAGE_SIZE, 1);
        cr_assert_eq(write_pages(inode, 0, 4, page), -EIO);
        cr_assert_eq(write_pages(inode, 0, 1, page), 0);
        cr_assert_eq(read_pages(inode, 0, 2, page, &valid), -EIO);
        cr_assert_eq(read_pages(inode, 0, 1, page, &valid), 0);
        inode_put(inode);
        env_stop(&e);
        munmap(page, 4 * PAGE_SIZE);
}
