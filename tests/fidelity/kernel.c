/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel.c - the steps through the kernel's mmap.
 *
 * A run is disturbed if the file's pages could not all be dropped before it, the device's read-ahead
 * changed during it, a page went that nobody dropped, or the reads did not end: all of that is known
 * before anything is compared. The page cache holds a page from the moment its read begins, mincore(2)
 * reports it when it is up to date; cachestat(2) counts the former, so that nothing is in flight when
 * the two are equal.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fidelity.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#define PATIENCE 20000u /* times half a millisecond, for reads to end */

struct range {
        uint64_t off, len;
};
struct cache_count {
        uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};

struct kernel_run {
        const struct steps *s;
        struct outcome *out;
        int fd;
        unsigned char *all; /* the whole file, never touched: for mincore */
        char *map;          /* of s->first */
        uint64_t size;
};

/* Bytes this process has had read from devices. */
static uint64_t bytes_read(void)
{
        FILE *f = fopen("/proc/self/io", "re");
        unsigned long long n, found = UINT64_MAX;
        char line[80];

        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "read_bytes: %llu", &n) == 1)
                        found = n;
        if (f)
                fclose(f);
        return found;
}

static uint64_t count_resident(const unsigned char *vec, uint64_t pages)
{
        uint64_t n = 0;

        for (uint64_t i = 0; i < pages; i++)
                n += vec[i] & 1;
        return n;
}

static void look(struct kernel_run *r, unsigned char *vec)
{
        require(mincore(r->all, r->size, vec) == 0, "mincore: %s", strerror(errno));
        for (uint64_t i = 0; i < r->out->pages; i++)
                vec[i] &= 1;
}

/* Nothing is in flight. */
static void settle(struct kernel_run *r)
{
        struct outcome *out = r->out;

        for (unsigned i = 0; i < PATIENCE; i++) {
                struct range range = { 0, r->size };
                struct cache_count count;

                require(syscall(SYS_cachestat, r->fd, &range, &count, 0) == 0, "cachestat: %s",
                        strerror(errno));
                look(r, out->resident);
                out->nr_resident = count_resident(out->resident, out->pages);
                if (out->nr_resident == count.nr_cache)
                        return;
                usleep(500);
        }
        out->disturbed = "reads did not end";
}

static bool start_cold(struct kernel_run *r)
{
        for (unsigned tries = 0; tries < 50; tries++) {
                struct range range = { 0, r->size };
                struct cache_count count;

                fsync(r->fd);
                posix_fadvise(r->fd, 0, 0, POSIX_FADV_DONTNEED);
                if (syscall(SYS_cachestat, r->fd, &range, &count, 0) == 0 && count.nr_cache == 0)
                        return true;
                usleep(2000);
        }
        return false;
}

/* A page that was there and is not was taken by somebody else. */
static void compare_with_before(struct kernel_run *r, const unsigned char *before,
                                const unsigned char *now)
{
        for (uint64_t i = 0; i < r->out->pages; i++)
                if (before[i] && !now[i])
                        r->out->disturbed = "a page went that nobody dropped";
}

static char *address(struct kernel_run *r, uint64_t page)
{
        return r->map + (page - r->s->first) * TEST_PAGE;
}

static void drop(struct kernel_run *r, const struct step *t)
{
        struct range range = { t->page * TEST_PAGE, t->nr * TEST_PAGE };
        struct cache_count count;

        settle(r);
        if (!r->s->private)
                msync(address(r, t->page), t->nr * TEST_PAGE, MS_SYNC);
        madvise(address(r, t->page), t->nr * TEST_PAGE, MADV_DONTNEED);
        posix_fadvise(r->fd, (off_t)range.off, (off_t)range.len, POSIX_FADV_DONTNEED);
        if (syscall(SYS_cachestat, r->fd, &range, &count, 0) || count.nr_cache)
                r->out->disturbed = "pages could not be dropped";
}

static void take_step(struct kernel_run *r, const struct step *t)
{
        switch (t->kind) {
        case READ_PAGE:
                (void)*(volatile char *)address(r, t->page);
                break;
        case WRITE_PAGE:
                *(volatile char *)address(r, t->page) = 'w';
                break;
        case ADVISE:
                madvise(r->map, r->s->nr_pages * TEST_PAGE, t->advice);
                break;
        case WILLNEED:
                madvise(address(r, t->page), t->nr * TEST_PAGE, MADV_WILLNEED);
                break;
        case DROP:
                drop(r, t);
                break;
        }
}

static void take_steps(struct kernel_run *r)
{
        static unsigned char before[MAX_PAGES], now[MAX_PAGES];

        memset(before, 0, sizeof(before));
        for (unsigned i = 0; i < r->s->nr && !r->out->disturbed; i++) {
                take_step(r, &r->s->step[i]);
                /* Long runs are looked at now and then: it takes longer than a touch. */
                if (i % (1 + r->s->nr / 100) && r->s->step[i].kind != DROP)
                        continue;
                look(r, now);
                if (r->s->step[i].kind != DROP)
                        compare_with_before(r, before, now);
                memcpy(before, now, r->out->pages);
        }
        settle(r);
        compare_with_before(r, before, r->out->resident);
}

static int kernel_open(const struct ground *g, const struct steps *s)
{
        int fd = open(g->path[s->file], O_RDWR | O_CLOEXEC);

        require(fd >= 0, "%s: %s", g->path[s->file], strerror(errno));
        return fd;
}

static void kernel_run(const struct ground *g, const struct steps *s, struct outcome *out)
{
        struct kernel_run r = { .s = s, .out = out, .size = g->size[s->file] };
        static const int advice[] = { POSIX_FADV_NORMAL, POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM };
        int prot = PROT_READ | PROT_WRITE | (s->exec ? PROT_EXEC : 0);
        uint64_t bytes, ra;

        memset(out, 0, sizeof(*out));
        out->pages = ground_pages(g, s->file);
        r.fd = kernel_open(g, s);
        if (!start_cold(&r))
                out->disturbed = "the file's pages could not be dropped";
        close(r.fd);
        ra = ground_readahead(g);
        r.fd = kernel_open(g, s);
        posix_fadvise(r.fd, 0, 0, advice[s->fd_advice]);
        r.all = mmap(NULL, r.size, PROT_READ, MAP_SHARED, r.fd, 0);
        r.map = mmap(NULL, s->nr_pages * TEST_PAGE, prot, s->private ? MAP_PRIVATE : MAP_SHARED,
                     r.fd, (off_t)(s->first * TEST_PAGE));
        require(r.all != MAP_FAILED && r.map != MAP_FAILED, "mmap: %s", strerror(errno));
        bytes = bytes_read();
        if (!out->disturbed)
                take_steps(&r);
        out->read_bytes = bytes == UINT64_MAX ? bytes : bytes_read() - bytes;
        if (ra != g->ra_pages || ground_readahead(g) != g->ra_pages)
                out->disturbed = "the device's read-ahead was changed";
        munmap(r.map, s->nr_pages * TEST_PAGE);
        munmap(r.all, r.size);
        close(r.fd);
}

const struct side_ops kernel_side = { .name = "the kernel", .run = kernel_run };
