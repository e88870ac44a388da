/* SPDX-License-Identifier: Apache-2.0
 *
 * descriptors.c - an engine leaves nothing behind: descriptors, threads and mappings are as before,
 * after use and after every open that fails, which also says why with the errno of open(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 128ul
#define CACHE (1ul << 20)
#define SLACK (1ull << 30) /* arenas and stacks; an engine reserves far more */

/* Mappings of something, and address space in all. Anonymous mappings are not counted: the C
 * library keeps stacks of threads and arenas for the next. */
static void count_mappings(unsigned *named, uint64_t *bytes)
{
        FILE *f = fopen("/proc/self/maps", "re");
        unsigned long long from, to, inode;
        char line[512];

        *named = 0;
        *bytes = 0;
        while (f && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "%llx-%llx %*s %*s %*s %llu", &from, &to, &inode) != 3)
                        continue;
                *named += inode != 0;
                *bytes += to - from;
        }
        if (f)
                fclose(f);
}

struct held {
        unsigned fds, threads, named;
        uint64_t bytes;
};

static struct held look(void)
{
        struct held h = { .fds = count_fds(), .threads = count_threads() };

        count_mappings(&h.named, &h.bytes);
        return h;
}

/* A thread that has been joined leaves /proc a moment later. */
static void expect_as_before(const struct held *before, const char *after)
{
        struct held now = look();

        for (int i = 0; i < 100 && now.threads > before->threads; i++) {
                usleep(10000);
                now = look();
        }
        expect(now.fds == before->fds, "after %s: %u descriptors, %u before", after, now.fds,
               before->fds);
        expect(now.threads == before->threads, "after %s: %u threads, %u before", after,
               now.threads, before->threads);
        expect(now.named == before->named, "after %s: %u mappings, %u before", after, now.named,
               before->named);
        expect(now.bytes <= before->bytes + SLACK, "after %s: %llu bytes mapped, %llu before",
               after, (unsigned long long)now.bytes, (unsigned long long)before->bytes);
}

static void bad_engines(const struct held *before)
{
        const struct {
                struct fl_engine_config config;
                int error;
                const char *what;
        } bad[] = {
                { { .cache = 63 * PAGE }, EINVAL, "63 pages of cache" },
                { { .cache = 1 }, EINVAL, "a byte of cache" },
                { { .mmu = "pixie" }, EINVAL, "an unknown MMU" },
                { { .policy = "vms" }, EINVAL, "an unknown policy" },
                { { .readahead = PAGE - 1 }, EINVAL, "a window of less than a page" },
                { { .tune = "autoup=5" }, EINVAL, "parameters of a policy that has none" },
                { { .policy = "solaris", .tune = "autoup=0" }, EINVAL, "a parameter of nothing" },
                { { .page_size = 5000 }, EINVAL, "a page that is no power of two" },
                { { .driver = "floppy" }, EINVAL, "an unknown driver" },
                { { .faults = "eio@" }, EINVAL, "bad faults" },
                { { .faults = "eio@0+4K,boom" }, EINVAL, "bad faults at the end" },
                { { .trace = "/nowhere/at/all" }, ENOENT, "a trace that cannot be made" },
        };

        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct fl_engine_config c = bad[i].config;
                struct fl_engine *e;

                c.size = sizeof(c);
                if (!c.cache)
                        c.cache = CACHE;
                errno = 0;
                e = fl_engine_open(&c);
                expect(!e && errno == bad[i].error, "%s: %s", bad[i].what, strerror(errno));
                expect(strlen(fl_strerror()) > 10 && !strchr(fl_strerror(), '\n'), "%s: \"%s\"",
                       bad[i].what, fl_strerror());
                if (e)
                        fl_engine_close(e);
                expect_as_before(before, bad[i].what);
        }
}

static void bad_files(struct fl_engine *e, const char *good, const char *fifo)
{
        const struct {
                const char *uri;
                int flags, error;
        } bad[] = {
                { "./no-such-file", O_RDONLY, ENOENT },
                { "./no-such-directory/file", O_RDWR | O_CREAT, ENOENT },
                { "/", O_RDONLY, EISDIR },
                { ".", O_RDWR, EISDIR },
                { fifo, O_RDONLY, ENODEV },
                { fifo, O_RDWR, ENODEV },
                { "/dev/null", O_RDWR, ENODEV },
                { "/dev/tty", O_RDONLY, ENODEV },
                { good, O_RDWR | O_CREAT | O_EXCL, EEXIST },
                { "", O_RDONLY, ENOENT },
                { "ram:", O_RDWR, EINVAL },
                { "ram:12Q", O_RDWR, EINVAL },
                { "gopher:hole", O_RDONLY, EINVAL },
        };
        struct held before = look();

        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct fl_file *f;

                errno = 0;
                f = fl_file_open(e, bad[i].uri, bad[i].flags, NULL);
                expect(!f && errno == bad[i].error, "open %s: %s, expected %s", bad[i].uri,
                       f ? "opened" : strerror(errno), strerror(bad[i].error));
                expect(strlen(fl_strerror()) > 10 && !strchr(fl_strerror(), '\n'), "%s: \"%s\"",
                       bad[i].uri, fl_strerror());
                expect_as_before(&before, bad[i].uri);
                if (f)
                        fl_file_close(f);
        }
}

static void bad_maps(struct fl_engine *e, struct fl_file *f)
{
        struct held before = look();

        expect(fl_mmap(e, NULL, 0, PROT_READ, MAP_SHARED, f, 0) == MAP_FAILED && errno == EINVAL,
               "length 0: %s", strerror(errno));
        expect(fl_mmap(e, NULL, PAGE, PROT_READ, MAP_SHARED, f, 7) == MAP_FAILED && errno == EINVAL,
               "unaligned offset: %s", strerror(errno));
        expect(fl_mmap(e, NULL, SIZE_MAX, PROT_READ, MAP_SHARED, f, 0) == MAP_FAILED &&
                       errno == ENOMEM,
               "a length that overflows: %s", strerror(errno));
        expect(fl_mmap(e, NULL, PAGE, PROT_READ, 0, f, 0) == MAP_FAILED && errno == EINVAL,
               "no flags: %s", strerror(errno));
        expect_as_before(&before, "maps that failed");
}

/* Everything that makes the engine take something. */
static void use(const char *path, const char *fifo, unsigned round)
{
        static const char *const drivers[] = { "auto", "posix", "uring" };
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = CACHE,
                                           .driver = drivers[round % 3],
                                           .pagers = 1 + round % 3,
                                           .faults = round % 4 == 3 ? "delay=100us" : NULL });
        struct fl_file *f = open_file(e, path, O_RDWR), *g = open_file(e, path, O_RDONLY);
        struct fl_file *r = open_file(e, "ram:1M", O_RDWR);
        char *p = map_file(e, f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        char *q = map_file(e, g, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        char *m = map_file(e, r, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

        test_at("using an engine");
        bad_files(e, path, fifo);
        bad_maps(e, f);
        for (uint64_t i = 0; i < PAGES; i++) {
                const char *wrong = stamp_wrong(p + i * PAGE, i, round);

                expect(!wrong, "%s", wrong);
                stamp_write(p + i * PAGE, i, round + 1);
        }
        memset(q, 1, 8 * PAGE);
        memset(m, 2, 64 * PAGE);
        expect(fl_mmap(e, p, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, g, 0) == p, "%s",
               fl_strerror());
        expect(fl_msync(e, p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        if (round % 2) { /* else closing unmaps */
                expect(fl_munmap(e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
                expect(fl_munmap(e, q, PAGES * PAGE) == 0, "%s", fl_strerror());
        }
        close_file(g);
        close_file(r);
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        const char *path, *fifo;
        struct held before;

        test_begin(argc, argv, 0, 0, 90);
        test_unvisited();
        path = test_stamped_file("file", PAGES);
        fifo = test_file("fifo", 0);
        unlink(fifo);
        require(mkfifo(fifo, 0600) == 0, "mkfifo: %s", strerror(errno));
        before = look();
        for (unsigned round = 0; round < 50 && !test_failures(); round++) {
                use(path, fifo, round);
                expect_as_before(&before, "an engine");
                if (round % 10 == 0)
                        bad_engines(&before);
        }
        return test_end();
}
