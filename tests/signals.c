/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.c - which signal, with which code and address: beside the kernel's own mapping of a twin
 * file where it has one; and those that only an engine raises: a page that cannot be read, a
 * private copy that does not fit.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (8ul << 20)

/* --- beside the kernel --- */

#define PAGES 20      /* mapped */
#define FILE_PAGES 15 /* the last of them partial */
#define HOLE 4        /* pages 4 and 5 are unmapped */
#define READ_ONLY 6   /* page 6 */
#define NONE 7        /* page 7 */
#define TOUCHED 8     /* read before its protection went, page 8 */
#define WRITE_ONLY 9

struct access {
        const char *what;
        bool store;
        long at;
};

static const struct access accesses[] = {
        { "load", false, 10 },
        { "store", true, 3 * PAGE + 10 },
        { "load in the hole", false, HOLE *PAGE + 4095 },
        { "store in the hole", true, (HOLE + 1) * PAGE },
        { "load, read-only", false, READ_ONLY *PAGE + 1 },
        { "store, read-only and mapped", true, READ_ONLY *PAGE + 2 },
        { "load, PROT_NONE", false, NONE *PAGE + 77 },
        { "store, PROT_NONE", true, NONE *PAGE + 78 },
        { "load, PROT_NONE since it was touched", false, TOUCHED *PAGE + 5 },
        { "store, PROT_NONE since it was touched", true, TOUCHED *PAGE + 6 },
        { "load, write-only", false, WRITE_ONLY *PAGE },
        { "store, write-only", true, WRITE_ONLY *PAGE },
        { "load behind the end in the last page", false, (FILE_PAGES - 1) * PAGE + 4000 },
        { "store behind the end in the last page", true, (FILE_PAGES - 1) * PAGE + 4000 },
        { "load past the last page", false, FILE_PAGES *PAGE + 123 },
        { "store past the last page", true, (FILE_PAGES + 1) * PAGE + 123 },
        { "load past the last page again", false, FILE_PAGES *PAGE + 124 },
        { "load behind the mapping", false, PAGES *PAGE },
};

static void arrange(struct fl_engine *e, char *p)
{
        const struct {
                int page, prot;
        } parts[] = { { READ_ONLY, PROT_READ },
                      { NONE, PROT_NONE },
                      { TOUCHED, PROT_NONE },
                      { WRITE_ONLY, PROT_WRITE } };

        *(volatile char *)(p + TOUCHED * PAGE) = 1;
        for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
                char *at = p + parts[i].page * (long)PAGE;
                int r = e ? fl_mprotect(e, at, PAGE, parts[i].prot)
                          : mprotect(at, PAGE, parts[i].prot);

                require(r == 0, "mprotect: %s", strerror(errno));
        }
        require((e ? fl_munmap(e, p + HOLE * PAGE, 2 * PAGE) : munmap(p + HOLE * PAGE, 2 * PAGE)) ==
                        0,
                "munmap: %s", strerror(errno));
}

/* The kernel's, with nothing behind it for as long as the test lasts: what other threads of the process map
 * meanwhile goes to the upper end of a gap, and that is far away. */
static char *map_twin(int fd, int flags)
{
        const uint64_t size = PAGES * PAGE, room = 1ul << 30;
        char *q = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        require(q != MAP_FAILED, "mmap: %s", strerror(errno));
        require(mmap(q, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) == q, "mmap: %s",
                strerror(errno));
        munmap(q + size, room - size);
        return q;
}

static void beside_the_kernel(int flags)
{
        const uint64_t size = (FILE_PAGES - 1) * PAGE + 1234;
        const char *ours = test_stamped_file(flags == MAP_SHARED ? "s" : "p", FILE_PAGES);
        const char *twin = test_stamped_file(flags == MAP_SHARED ? "st" : "pt", FILE_PAGES);
        struct fl_engine *e;
        struct fl_file *f;
        char *p, *q;
        int fd;

        test_at(flags == MAP_SHARED ? "beside the kernel, shared" : "beside the kernel, private");
        require(!truncate(ours, (off_t)size) && !truncate(twin, (off_t)size), "truncate");
        e = open_engine(CACHE);
        f = open_file(e, ours, O_RDWR);
        fd = open(twin, O_RDWR | O_CLOEXEC);
        p = map_file(e, f, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, 0);
        q = map_twin(fd, flags);
        arrange(e, p);
        arrange(NULL, q);
        for (unsigned i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
                const struct access *a = &accesses[i];
                struct caught got, want;

                got = a->store ? try_store(p + a->at, 5) : try_load(p + a->at, NULL);
                want = a->store ? try_store(q + a->at, 5) : try_load(q + a->at, NULL);
                expect(got.signo == want.signo && got.code == want.code, "%s, %s: %s; kernel %s",
                       flags == MAP_SHARED ? "shared" : "private", a->what, caught_name(got),
                       caught_name(want));
                if (got.signo && got.signo == want.signo)
                        expect((char *)got.addr - p == (char *)want.addr - q,
                               "%s: si_addr is page + %ld; kernel + %ld", a->what,
                               (long)((char *)got.addr - (p + a->at)),
                               (long)((char *)want.addr - (q + a->at)));
        }
        check_engine(e);
        expect(fl_munmap(e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
        munmap(q, PAGES * PAGE);
        close(fd);
        close_file(f);
        expect_eq(file_size(ours), size, "the file's size");
        close_engine(e);
}

static void empty_file(void)
{
        const char *path = test_file("empty", 0);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        char *q = map_file(e, f, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);

        test_at("empty file");
        expect(!strcmp(caught_name(try_load(p, NULL)), "SIGBUS/ADRERR"), "load, shared");
        expect(!strcmp(caught_name(try_store(p, 1)), "SIGBUS/ADRERR"), "store, shared");
        expect(!strcmp(caught_name(try_load(q, NULL)), "SIGBUS/ADRERR"), "load, private");
        expect(!strcmp(caught_name(try_store(q, 1)), "SIGBUS/ADRERR"), "store, private");
        expect(fl_munmap(e, p, PAGE) == 0 && fl_munmap(e, q, PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* --- a page that cannot be read --- */

/* What stderr gets while it is caught. */
struct stderr_catch {
        int saved, fd;
};

static struct stderr_catch catch_stderr(void)
{
        struct stderr_catch c = { dup(STDERR_FILENO), -1 };
        char name[] = "./fltest-stderr-XXXXXX";

        c.fd = mkostemp(name, O_CLOEXEC);
        require(c.saved >= 0 && c.fd >= 0, "catching stderr: %s", strerror(errno));
        unlink(name);
        dup2(c.fd, STDERR_FILENO);
        return c;
}

/* Lines that hold both words; the rest is passed on. */
static unsigned release_stderr(struct stderr_catch c, const char *one, const char *other)
{
        static char text[1 << 16];
        ssize_t n = pread(c.fd, text, sizeof(text) - 1, 0);
        unsigned lines = 0;

        dup2(c.saved, STDERR_FILENO);
        close(c.saved);
        close(c.fd);
        text[n > 0 ? n : 0] = 0;
        for (char *line = text, *next; *line; line = next) {
                next = strchr(line, '\n');
                next = next ? next + 1 : line + strlen(line);
                if (memmem(line, (size_t)(next - line), one, strlen(one)) &&
                    memmem(line, (size_t)(next - line), other, strlen(other)))
                        lines++;
                else
                        fwrite(line, 1, (size_t)(next - line), stderr);
        }
        return lines;
}

#define BAD 10 /* the page whose reads fail */

static void read_error(int flags, bool store, bool random)
{
        const char *path = test_stamped_file(flags == MAP_SHARED ? "eio-s" : "eio-p", 64);
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = CACHE,
                                           .policy = "linux",
                                           .faults = random ? "eio@40K+4K*1" : "eio@40K+4K*2" });
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, flags, 0);
        struct stderr_catch c;
        struct caught got;
        unsigned lines;

        test_at("read error");
        expect(fl_madvise(e, p, 64 * PAGE, random ? MADV_RANDOM : MADV_NORMAL) == 0, "%s",
               fl_strerror());
        c = catch_stderr();
        got = store ? try_store(p + BAD * PAGE + 9, 1) : try_load(p + BAD * PAGE + 9, NULL);
        lines = release_stderr(c, path, "Input/output error");
        expect(got.signo == SIGBUS && got.code == BUS_ADRERR, "a page that cannot be read: %s",
               caught_name(got));
        expect((uintptr_t)got.addr / PAGE == (uintptr_t)(p + BAD * PAGE) / PAGE,
               "si_addr %p is not of the page %p", got.addr, (void *)(p + BAD * PAGE));
        expect(lines == 1, "%u lines on stderr, not one", lines);
        for (uint64_t i = 0; i < 64; i++)
                if (i != BAD)
                        expect(!stamp_wrong(p + i * PAGE, i, 0), "the others can be read: %s",
                               stamp_wrong(p + i * PAGE, i, 0));
        expect(get_stats(e).io_errors > 0, "io_errors is 0");
        /* It stays so until it is asked to be tried again. */
        got = try_load(p + BAD * PAGE, NULL);
        expect(got.signo == SIGBUS, "the second touch: %s", caught_name(got));
        madvise(p + BAD * PAGE, PAGE, MADV_DONTNEED); /* the kernel's own takes the mark, no more */
        got = try_load(p + BAD * PAGE, NULL);
        expect(got.signo == SIGBUS, "after madvise(2): %s", caught_name(got));
        expect(fl_madvise(e, p + BAD * PAGE, PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        got = try_load(p + BAD * PAGE, NULL);
        expect(got.signo == 0, "after MADV_DONTNEED: %s", caught_name(got));
        if (!got.signo)
                expect(!stamp_wrong(p + BAD * PAGE, BAD, 0), "%s",
                       stamp_wrong(p + BAD * PAGE, BAD, 0));
        check_engine(e);
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* Read-ahead that meets the bad page harms nobody who does not touch it. */
static void read_error_in_readahead(void)
{
        const char *path = test_stamped_file("eio-ra", 64);
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .policy = "linux", .faults = "eio@40K+4K" });
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ, MAP_SHARED, 0), buf[PAGE];
        struct stderr_catch c;

        test_at("read error in read-ahead");
        for (uint64_t i = 0; i < 64; i++)
                if (i != BAD)
                        expect(!stamp_wrong(p + i * PAGE, i, 0), "%s",
                               stamp_wrong(p + i * PAGE, i, 0));
        expect(fl_pread(f, buf, PAGE, BAD * PAGE) == -1 && errno == EIO, "fl_pread: %s",
               strerror(errno));
        c = catch_stderr();
        for (int i = 0; i < 3; i++) {
                expect_eq(try_load(p + BAD * PAGE, NULL).signo, SIGBUS, "the bad page");
                expect(fl_madvise(e, p + BAD * PAGE, PAGE, MADV_DONTNEED) == 0, "%s",
                       fl_strerror());
        }
        expect_eq(release_stderr(c, path, "Input/output error"), 3, "a line each time");
        check_engine(e);
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* --- private stores and the budget --- */

#define SMALL 64u      /* pages of budget, of which some are for I/O */
#define BIG_FILE 512ul /* pages */

struct filler {
        pthread_t thread;
        char *p;
        uint64_t first, step;
        unsigned stored, refused;
};

static void *fill(void *arg)
{
        struct filler *w = arg;

        test_at("filling the budget with private stores");
        for (uint64_t i = w->first; i < BIG_FILE; i += w->step) {
                struct caught c = try_store(w->p + i * PAGE + 3000, 7);

                w->stored += c.signo == 0;
                w->refused += c.signo == SIGBUS;
                if (c.signo)
                        break;
        }
        return NULL;
}

static void budget_full(unsigned threads)
{
        const char *path = test_stamped_file(threads > 1 ? "full-8" : "full", BIG_FILE);
        struct fl_engine *e = open_engine(SMALL * PAGE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, BIG_FILE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        char *s = map_file(e, f, BIG_FILE * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        struct filler w[8] = { 0 };
        unsigned stored = 0, refused = 0, kept = 0;
        struct stderr_catch c = catch_stderr();
        unsigned lines;

        test_at("budget full of private copies");
        for (unsigned i = 0; i < threads; i++) {
                w[i] = (struct filler){ .p = p, .first = i, .step = threads };
                require(!pthread_create(&w[i].thread, NULL, fill, &w[i]), "pthread_create");
        }
        for (unsigned i = 0; i < threads; i++) {
                pthread_join(w[i].thread, NULL);
                stored += w[i].stored;
                refused += w[i].refused;
        }
        lines = release_stderr(c, path, "Cannot allocate memory");
        expect(refused == threads, "%u of %u threads were refused", refused, threads);
        expect(stored >= SMALL / 2 && stored <= SMALL, "%u copies in a budget of %u", stored,
               SMALL);
        expect(lines == refused, "%u lines on stderr for %u signals", lines, refused);
        expect(get_stats(e).cache_bytes_peak <= SMALL * PAGE, "more than the budget was held");
        /* What was copied is there, and can be stored to; what is in the file can be read. */
        for (uint64_t i = 0; i < BIG_FILE; i++) {
                unsigned char v;
                struct caught got = try_load(p + i * PAGE + 3000, &v);

                if (!got.signo && v == 7) {
                        kept++;
                        expect_eq(try_store(p + i * PAGE + 3001, 8).signo, 0, "a second store");
                }
        }
        expect_eq(kept, stored, "copies that are kept");
        for (uint64_t i = 0; i < BIG_FILE; i++) {
                struct caught got = try_load(s + i * PAGE, NULL);

                expect(got.signo == 0, "page %llu of the file is not readable: %s",
                       (unsigned long long)i, caught_name(got));
                if (!got.signo)
                        expect(!stamp_wrong(s + i * PAGE, i, 0), "%s",
                               stamp_wrong(s + i * PAGE, i, 0));
        }
        /* Room again: what was refused goes now. */
        expect(fl_madvise(e, p, BIG_FILE * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        for (uint64_t i = 500; i < 520 && i < BIG_FILE; i++)
                expect_eq(try_store(p + i * PAGE, 9).signo, 0, "a store when there is room");
        check_engine(e);
        expect(fl_munmap(e, p, BIG_FILE * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(e, s, BIG_FILE * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        beside_the_kernel(MAP_SHARED);
        beside_the_kernel(MAP_PRIVATE);
        empty_file();
        for (int i = 0; i < 8; i++)
                read_error(i & 1 ? MAP_PRIVATE : MAP_SHARED, i & 2, i & 4);
        read_error_in_readahead();
        budget_full(1);
        budget_full(8);
        return test_end();
}
