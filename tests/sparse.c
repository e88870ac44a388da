/* SPDX-License-Identifier: Apache-2.0
 *
 * sparse.c - what is remembered of a mapping goes with the pages that are there, not with its size:
 * mapping 16 TiB costs what mapping a page costs, a page lying alone costs 16 KiB at most, and after
 * eviction and unmapping all of it has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define FAR ((1ull << 44) - PAGE) /* ext4's largest file */
#define APART (256ull << 20)
#define TOUCHES 60000u           /* 14.6 TiB */
#define TOUCHES_SHORT 6000u      /* each costs the kernel 5 KiB of page tables */
#define A_PAGE_ALONE (16u << 10) /* bytes of metadata */

/* A sparse file of that size, or a skip. */
static const char *sparse_file(uint64_t size)
{
        const char *path = test_file("sparse", 0);

        if (truncate(path, (off_t)size))
                test_skip("this host file system takes no file of 16 TiB");
        return path;
}

static uint64_t meta(struct fl_engine *e)
{
        return get_stats(e).meta_bytes;
}

/* Mapped, protected in the middle, advised, unmapped: at no time is there more. */
static void costs_no_more(struct fl_engine *e, struct fl_file *f, uint64_t size, int flags)
{
        uint64_t before = meta(e);
        int prot = PROT_READ | PROT_WRITE;
        char *p = fl_mmap(e, NULL, size, prot, flags | MAP_NORESERVE, f, 0);

        require(p != MAP_FAILED, "%llu bytes: %s", (unsigned long long)size, fl_strerror());
        expect_eq(meta(e), before, "metadata of an untouched mapping");
        expect(fl_mprotect(e, p + size / PAGE / 2 * PAGE, PAGE, PROT_READ) == 0, "%s",
               fl_strerror());
        expect(fl_madvise(e, p, size, MADV_RANDOM) == 0, "%s", fl_strerror());
        expect(fl_madvise(e, p, size, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(fl_msync(e, p, size, MS_SYNC) == 0, "%s", fl_strerror());
        expect_eq(meta(e), before, "metadata of a mapping with a part and an advice");
        expect(fl_munmap(e, p, size) == 0, "%s", fl_strerror());
        expect_eq(meta(e), before, "metadata after unmapping");
}

static void not_proportional(const char *path)
{
        struct fl_engine *e = open_engine(4 << 20);
        struct fl_file *f = open_file(e, path, O_RDWR);

        test_at("sizes");
        for (uint64_t size = PAGE; size < FAR; size *= 512) {
                costs_no_more(e, f, size, MAP_SHARED);
                costs_no_more(e, f, size, MAP_PRIVATE);
                costs_no_more(e, NULL, size, MAP_PRIVATE | MAP_ANONYMOUS);
        }
        costs_no_more(e, f, FAR, MAP_SHARED);
        costs_no_more(e, f, FAR, MAP_PRIVATE);
        check_engine(e);
        close_file(f);
        close_engine(e);
}

/* Tables are given back by whoever has finished with them, which may be just after a thread was let
 * go on. */
static void expect_meta(struct fl_engine *e, uint64_t bytes, const char *what)
{
        for (unsigned i = 0; i < 1000 && meta(e) != bytes; i++)
                usleep(1000);
        expect_eq(meta(e), bytes, what);
}

/* Every page alone, of a file or of none: then evicted, or thrown away, and unmapped. */
static void alone(const char *path, unsigned touches, bool anonymous)
{
        struct fl_engine *e = open_engine((touches + touches / 8 + 256) * PAGE);
        struct fl_file *f = anonymous ? NULL : open_file(e, path, O_RDWR);
        uint64_t size = touches * APART, before = meta(e), used;
        char *p =
                fl_mmap(e, NULL, size, PROT_READ | PROT_WRITE,
                        anonymous ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED, f, 0);

        test_at(anonymous ? "anonymous pages alone" : "pages alone");
        require(p != MAP_FAILED, "%s", fl_strerror());
        expect(fl_madvise(e, p, size, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (unsigned i = 0; i < touches; i++) {
                volatile char *at = p + i * APART;

                if (anonymous)
                        *at = 1;
                else
                        expect_eq(*at, 0, "a byte of a hole");
        }
        expect(get_stats(e).cache_bytes >= touches * PAGE, "pages went that should have stayed");
        used = (meta(e) - before) / touches;
        printf("%u pages, %llu bytes of metadata each\n", touches, (unsigned long long)used);
        expect(used <= A_PAGE_ALONE, "%llu bytes of metadata a page", (unsigned long long)used);
        expect(used >= 4096, "%llu bytes of metadata a page: not counted",
               (unsigned long long)used);
        check_engine(e);
        if (anonymous)
                expect(fl_madvise(e, p, size, MADV_DONTNEED) == 0, "%s", fl_strerror());
        else
                expect_eq(fl_evict(e, p, size), touches * PAGE, "bytes evicted");
        expect_meta(e, before, "metadata after eviction");
        expect(fl_munmap(e, p, size) == 0, "%s", fl_strerror());
        expect_meta(e, before, "metadata after unmapping");
        if (f)
                close_file(f);
        expect_meta(e, 0, "metadata at the end");
        close_engine(e);
}

int main(int argc, char **argv)
{
        const char *is_long = getenv("FAULTLINE_TEST_LONG"), *path;
        unsigned touches = is_long && *is_long ? TOUCHES : TOUCHES_SHORT;

        test_begin(argc, argv, 1, 1, 150);
        path = sparse_file(FAR);
        not_proportional(path);
        alone(path, touches, false);
        alone(path, touches / 4, true);
        return test_end();
}
