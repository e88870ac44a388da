/* SPDX-License-Identifier: Apache-2.0
 *
 * basic.c - what mappings promise, one thing after the other, and bad arguments side by side with
 * the kernel's own calls on a twin file.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (16ul << 20)
#define READERS 10

static uint64_t cache_bytes(struct fl_engine *e)
{
        return get_stats(e).cache_bytes;
}

static void expect_stamps(const char *p, uint64_t first, uint64_t nr, const char *what)
{
        for (uint64_t i = 0; i < nr; i++) {
                const char *wrong = stamp_wrong(p + i * PAGE, first + i, 0);

                expect(!wrong, "%s: %s", what, wrong);
        }
}

static void expect_file_stamp(const char *path, uint64_t page, uint64_t version, const char *what)
{
        char buf[PAGE];

        if (file_read(path, buf, PAGE, page * PAGE)) {
                const char *wrong = stamp_wrong(buf, page, version);

                expect(!wrong, "%s: in the file: %s", what, wrong);
        }
}

/* One file opened twice: the private mapping sees the shared one's stores until it copies. */
static void shared_and_private(void)
{
        const char *path = test_stamped_file("two", 64);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR), *g = open_file(e, path, O_RDONLY);
        char *s = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        char *p = map_file(e, g, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        char *r = map_file(e, g, 64 * PAGE, PROT_READ, MAP_SHARED, 0);

        test_at("shared and private");
        expect_stamps(p, 0, 64, "private");
        expect_stamps(s, 0, 64, "shared");
        for (uint64_t i = 0; i < 64; i++)
                stamp_write(s + i * PAGE, i, 1);
        for (uint64_t i = 0; i < 64; i++) {
                expect(!stamp_wrong(p + i * PAGE, i, 1), "private sees the shared store: %s",
                       stamp_wrong(p + i * PAGE, i, 1));
                expect(!stamp_wrong(r + i * PAGE, i, 1), "the other open sees it: %s",
                       stamp_wrong(r + i * PAGE, i, 1));
        }
        /* Copies: of a page that is mapped, and (after DONTNEED) of one that is not. */
        expect(fl_madvise(e, p + 32 * PAGE, 32 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < 64; i += 2)
                stamp_write(p + i * PAGE, i, 50);
        for (uint64_t i = 0; i < 64; i++)
                stamp_write(s + i * PAGE, i, 2);
        for (uint64_t i = 0; i < 64; i++) {
                const char *wrong = stamp_wrong(p + i * PAGE, i, i % 2 ? 2 : 50);

                expect(!wrong, "private after the copy: %s", wrong);
        }
        expect(fl_msync(e, s, 64 * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < 64; i++)
                expect_file_stamp(path, i, 2, "private stores stay out");
        /* DONTNEED throws the copies away; Solaris's loses nothing. */
        expect(fl_madvise(e, p, 64 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < 64; i++)
                expect(!stamp_wrong(p + i * PAGE, i, test_solaris() && i % 2 == 0 ? 50 : 2),
                       "private after DONTNEED");
        check_engine(e);
        if (!test_solaris())
                expect_eq(cache_bytes(e), 64 * PAGE, "copies given back");
        expect(fl_munmap(e, s, 64 * PAGE) == 0 && fl_munmap(e, p, 64 * PAGE) == 0 &&
                       fl_munmap(e, r, 64 * PAGE) == 0,
               "%s", fl_strerror());
        close_file(f);
        close_file(g);
        close_engine(e);
}

/* Ten readers share every page; a store adds one; touching what is mapped changes nothing. */
static void ten_private_readers(void)
{
        const uint64_t pages = 300, size = pages * PAGE - 1000;
        const char *path = test_stamped_file("ten", pages);
        struct fl_stats before, after;
        struct fl_engine *e;
        struct fl_file *f;
        char *p[READERS];

        test_at("ten private readers");
        require(truncate(path, (off_t)size) == 0, "truncate: %s", strerror(errno));
        e = open_engine(CACHE);
        f = open_file(e, path, O_RDONLY);
        for (unsigned i = 0; i < READERS; i++) {
                p[i] = map_file(e, f, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
                expect_stamps(p[i], 0, pages - 1, "a reader");
        }
        check_engine(e);
        expect_eq(cache_bytes(e), pages * PAGE, "ten readers share the file's pages");
        before = get_stats(e);
        for (unsigned i = 0; i < READERS; i++)
                expect_stamps(p[i], 0, pages - 1, "again");
        after = get_stats(e);
        after.elapsed_ns = before.elapsed_ns;
        expect(!memcmp(&before, &after, sizeof(before)), "touching mapped pages changed a counter");
        p[3][7 * PAGE + 100] = 1;
        expect_eq(cache_bytes(e), (pages + 1) * PAGE, "one store adds one page");
        p[3][7 * PAGE + 2000] = 2;
        expect_eq(cache_bytes(e), (pages + 1) * PAGE, "a second store adds none");
        check_engine(e);
        expect_eq(get_stats(e).cow_copies, 1, "one copy");
        for (unsigned i = 0; i < READERS; i++)
                expect_eq(p[i][7 * PAGE + 100], i == 3 ? 1 : p[0][7 * PAGE + 100], "others");
        for (unsigned i = 0; i < READERS; i++)
                expect(fl_munmap(e, p[i], pages * PAGE) == 0, "%s", fl_strerror());
        expect_eq(cache_bytes(e), pages * PAGE, "unmapped: the copy is given back");
        close_file(f);
        expect_eq(cache_bytes(e), 0, "closed: nothing is kept");
        close_engine(e);
}

/* Zeros past the end; stores there are lost; the file never grows. */
static void last_partial_page(void)
{
        const uint64_t size = 3 * PAGE + 123;
        const char *path = test_stamped_file("tail", 4);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f;
        char *p, buf[PAGE];

        test_at("last partial page");
        require(truncate(path, (off_t)size) == 0, "truncate: %s", strerror(errno));
        for (int round = 0; round < 3; round++) {
                f = open_file(e, path, O_RDWR);
                p = map_file(e, f, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
                for (unsigned i = 123; i < PAGE; i++)
                        expect(p[3 * PAGE + i] == 0, "byte %u past the end is %d", i,
                               p[3 * PAGE + i]);
                memset(p + 3 * PAGE + 100, 'a' + round, PAGE - 100);
                expect(fl_msync(e, p, 4 * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
                expect_eq(file_size(path), size, "the file does not grow");
                if (file_read(path, buf, 123, 3 * PAGE))
                        expect(buf[122] == 'a' + round && buf[100] == 'a' + round,
                               "the bytes before the end are written");
                expect(fl_munmap(e, p, 4 * PAGE) == 0, "%s", fl_strerror());
                close_file(f);
                expect_eq(file_size(path), size, "nor at close");
        }
        close_engine(e);
}

/* munmap, MAP_FIXED and mprotect on parts: the rest stays as it was. */
static void parts(void)
{
        const char *a = test_stamped_file("a", 64), *b = test_stamped_file("b", 128);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, a, O_RDWR), *g = open_file(e, b, O_RDWR);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), *q;

        test_at("parts");
        expect_stamps(p, 0, 64, "whole");
        stamp_write(p + 20 * PAGE, 20, 1);
        /* Pages 64..79 of b over pages 16..31 of a, touched and untouched. */
        q = fl_mmap(e, p + 16 * PAGE, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g,
                    64 * PAGE);
        require(q == p + 16 * PAGE, "MAP_FIXED: %s", fl_strerror());
        expect_stamps(p, 0, 16, "below");
        expect_stamps(q, 64, 16, "the other file");
        expect_stamps(p + 32 * PAGE, 32, 32, "above");
        stamp_write(q + PAGE, 65, 7);
        /* A private view over part of that, then the shared one again. */
        q = fl_mmap(e, p + 17 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, f,
                    40 * PAGE);
        require(q == p + 17 * PAGE, "MAP_FIXED: %s", fl_strerror());
        stamp_write(q, 40, 99);
        expect(!stamp_wrong(q, 40, 99), "a private copy");
        check_engine(e);
        q = fl_mmap(e, p + 17 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, g, 65 * PAGE);
        require(q == p + 17 * PAGE, "MAP_FIXED: %s", fl_strerror());
        expect(!stamp_wrong(q, 65, 7), "%s", stamp_wrong(q, 65, 7));
        expect(!stamp_wrong(p + 40 * PAGE, 40, 0), "the shared page is not the private one");
        check_engine(e);
        expect_eq(cache_bytes(e) / PAGE * PAGE, cache_bytes(e), "whole pages");
        /* A hole, and protection on a part. */
        expect(fl_munmap(e, p + 48 * PAGE, 8 * PAGE) == 0, "%s", fl_strerror());
        expect_stamps(p + 32 * PAGE, 32, 16, "before the hole");
        expect_stamps(p + 56 * PAGE, 56, 8, "behind the hole");
        expect_eq(try_load(p + 48 * PAGE, NULL).signo, SIGSEGV, "in the hole");
        expect(fl_mprotect(e, p + 4 * PAGE, 4 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect_eq(try_store(p + 5 * PAGE, 1).signo, SIGSEGV, "a store to a read-only part");
        expect_eq(try_store(p + 8 * PAGE + 1000, 1).signo, 0, "a store behind it");
        expect(fl_mprotect(e, p + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE) == 0, "%s",
               fl_strerror());
        stamp_write(p + 5 * PAGE, 5, 3);
        expect(!stamp_wrong(p + 5 * PAGE, 5, 3), "a store after mprotect");
        expect(fl_msync(e, p, 16 * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect_file_stamp(a, 5, 3, "after mprotect");
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_file(g);
        expect_file_stamp(a, 20, 1, "stored before MAP_FIXED hid it");
        expect_file_stamp(a, 40, 0, "the private store");
        expect_file_stamp(b, 65, 7, "stored through MAP_FIXED");
        close_engine(e);
}

/* --- bad arguments, beside the kernel's --- */

enum which { READ_WRITE, READ_ONLY, WRITE_ONLY, NO_FILE, NR_FILES };

struct twins {
        struct fl_engine *e;
        struct fl_file *f[NR_FILES];
        int fd[NR_FILES];
        char *base[2]; /* 16 pages of the read-write file, shared; [0] ours, [1] the kernel's */
        char *ro[2];   /* 4 pages of the read-only one, shared */
};

struct map_case {
        size_t len;
        int prot, flags;
        enum which file;
        off_t offset;
        long at; /* bytes from base; -1: NULL */
};

static const struct map_case map_cases[] = {
        { 0, PROT_READ, MAP_SHARED, READ_WRITE, 0, -1 },
        { SIZE_MAX, PROT_READ, MAP_SHARED, READ_WRITE, 0, -1 },
        { SIZE_MAX - PAGE, PROT_READ, MAP_SHARED, READ_WRITE, 0, -1 },
        { 1ul << 47, PROT_READ, MAP_SHARED, READ_WRITE, 0, -1 },
        { 1ul << 60, PROT_READ, MAP_PRIVATE, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED, READ_WRITE, 1, -1 },
        { PAGE, PROT_READ, MAP_SHARED, READ_WRITE, 512, -1 },
        { PAGE, PROT_READ, MAP_SHARED, READ_WRITE, -(off_t)PAGE, -1 },
        { 2 * PAGE, PROT_READ, MAP_SHARED, READ_WRITE, LLONG_MAX & ~(off_t)4095, -1 },
        { PAGE, PROT_READ, MAP_SHARED, READ_WRITE, LLONG_MAX & ~(off_t)4095, -1 },
        { PAGE, PROT_READ, MAP_SHARED, WRITE_ONLY, -(off_t)PAGE, -1 },
        { PAGE, PROT_READ, 0, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_NORESERVE, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED_VALIDATE, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x200000, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED | 0x200000, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED | MAP_GROWSDOWN, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, READ_WRITE, 0, -1 },
        { PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, READ_ONLY, 0, -1 },
        { PAGE, PROT_WRITE, MAP_SHARED, READ_ONLY, 0, -1 },
        { PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, READ_ONLY, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED, WRITE_ONLY, 0, -1 },
        { PAGE, PROT_WRITE, MAP_SHARED, WRITE_ONLY, 0, -1 },
        { PAGE, PROT_READ, MAP_PRIVATE, WRITE_ONLY, 0, -1 },
        { PAGE, PROT_NONE, MAP_PRIVATE, READ_ONLY, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED, NO_FILE, 0, -1 },
        { 0, PROT_READ, MAP_SHARED, NO_FILE, 0, -1 },
        { PAGE, PROT_READ, MAP_SHARED, NO_FILE, 1, -1 },
        { 0, PROT_READ, 0, READ_WRITE, 1, -1 },
        { PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, READ_WRITE, 0, 1 },
        { PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, READ_WRITE, 0, 1 },
        { PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, READ_WRITE, 0, 0 },
        { PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, READ_WRITE, -(off_t)PAGE, 1 },
        { PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, READ_WRITE, -(off_t)PAGE, 0 },
        { PAGE, PROT_READ, MAP_FIXED_NOREPLACE, READ_WRITE, 0, 0 },
        { PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x200000, WRITE_ONLY, 0, -1 },
        { 4 * PAGE, PROT_READ, MAP_SHARED, READ_WRITE, 1024 * PAGE, -1 },
        { 100, PROT_READ, MAP_PRIVATE, READ_WRITE, 0, -1 },
};

/* Not with Solaris's errors, and their order: tests/solaris.c. */
static void map_table(struct twins *t)
{
        for (unsigned i = 0; !test_solaris() && i < sizeof(map_cases) / sizeof(map_cases[0]); i++) {
                const struct map_case *c = &map_cases[i];
                int got, want;
                void *p, *q;

                errno = 0;
                p = fl_mmap(t->e, c->at < 0 ? NULL : t->base[0] + c->at, c->len, c->prot, c->flags,
                            t->f[c->file], c->offset);
                got = p == MAP_FAILED ? errno : 0;
                errno = 0;
                q = mmap(c->at < 0 ? NULL : t->base[1] + c->at, c->len, c->prot, c->flags,
                         t->fd[c->file], c->offset);
                want = q == MAP_FAILED ? errno : 0;
                expect(got == want,
                       "mmap(len %#zx, prot %d, flags %#x, file %d, offset %#llx, at %ld): "
                       "%s, the kernel says %s",
                       c->len, c->prot, (unsigned)c->flags, c->file, (unsigned long long)c->offset,
                       c->at, strerror(got), strerror(want));
                if (p != MAP_FAILED)
                        expect(fl_munmap(t->e, p, c->len) == 0, "%s", fl_strerror());
                if (q != MAP_FAILED)
                        munmap(q, c->len);
        }
}

enum call { MUNMAP, MPROTECT, MADVISE, MSYNC, MINCORE };

struct range_case {
        enum call call;
        bool ro; /* on the read-only mapping */
        long at; /* bytes from it */
        size_t len;
        int arg;
};

/* base has a hole: pages 8 to 11. */
static const struct range_case range_cases[] = {
        { MUNMAP, false, 1, PAGE, 0 },
        { MUNMAP, false, 0, 0, 0 },
        { MUNMAP, false, 0, SIZE_MAX, 0 },
        { MUNMAP, false, 0, SIZE_MAX & ~(PAGE - 1), 0 },
        { MUNMAP, false, 9 * PAGE, PAGE, 0 },
        { MPROTECT, false, 1, PAGE, PROT_READ },
        { MPROTECT, false, 0, 0, PROT_READ },
        { MPROTECT, false, 1, 0, PROT_READ },
        { MPROTECT, false, 0, SIZE_MAX & ~(PAGE - 1), PROT_READ },
        { MPROTECT, false, 9 * PAGE, PAGE, PROT_READ },
        { MPROTECT, false, 7 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE },
        { MPROTECT, false, 0, PAGE, 0x40 },
        { MPROTECT, false, 0, PAGE, PROT_GROWSDOWN | PROT_GROWSUP },
        { MPROTECT, false, 0, 0, 0x40 },
        { MPROTECT, false, 0, SIZE_MAX & ~(PAGE - 1), 0x40 },
        { MPROTECT, false, 0, 0, PROT_GROWSUP },
        { MPROTECT, false, 0, PAGE, PROT_GROWSUP },
        { MPROTECT, false, 9 * PAGE, 6 * PAGE, PROT_GROWSUP },
        { MPROTECT, false, 0, PAGE, PROT_GROWSDOWN },
        { MPROTECT, false, 9 * PAGE, PAGE, PROT_GROWSDOWN },
        { MPROTECT, false, 9 * PAGE, 6 * PAGE, PROT_GROWSDOWN },
        { MPROTECT, true, 0, PAGE, PROT_READ | PROT_WRITE },
        { MPROTECT, true, 0, PAGE, PROT_WRITE },
        { MPROTECT, true, 0, PAGE, PROT_NONE },
        { MPROTECT, true, 0, PAGE, PROT_READ },
        { MADVISE, false, 1, PAGE, MADV_RANDOM },
        { MADVISE, false, 0, PAGE, 9999 },
        { MADVISE, false, 0, 0, 9999 },
        { MADVISE, false, 0, 0, MADV_RANDOM },
        { MADVISE, false, 1, 0, MADV_RANDOM },
        { MADVISE, false, 0, SIZE_MAX, MADV_RANDOM },
        { MADVISE, false, PAGE, SIZE_MAX & ~(PAGE - 1), MADV_RANDOM },
        { MADVISE, false, 9 * PAGE, PAGE, MADV_RANDOM },
        { MADVISE, false, 7 * PAGE, 6 * PAGE, MADV_RANDOM },
        { MADVISE, false, 7 * PAGE, 6 * PAGE, MADV_DONTNEED },
        { MADVISE, false, 7 * PAGE, 6 * PAGE, MADV_WILLNEED },
        { MADVISE, false, 12 * PAGE, 4 * PAGE, MADV_NORMAL },
        { MADVISE, false, 0, 100, MADV_DONTNEED },
        { MSYNC, false, 1, PAGE, MS_SYNC },
        { MSYNC, false, 0, PAGE, MS_SYNC | MS_ASYNC },
        { MSYNC, false, 0, PAGE, 0x40 },
        { MSYNC, false, 0, PAGE, 0 },
        { MSYNC, false, 0, PAGE, MS_INVALIDATE },
        { MSYNC, false, 0, 0, MS_SYNC },
        { MSYNC, false, PAGE, SIZE_MAX & ~(PAGE - 1), MS_SYNC },
        { MSYNC, false, 9 * PAGE, PAGE, MS_SYNC },
        { MSYNC, false, 9 * PAGE, PAGE, MS_ASYNC },
        { MSYNC, false, 7 * PAGE, 6 * PAGE, MS_SYNC },
        { MSYNC, false, 7 * PAGE, 6 * PAGE, MS_ASYNC },
        { MSYNC, false, 7 * PAGE, 6 * PAGE, MS_INVALIDATE },
        { MINCORE, false, 1, PAGE, 0 },
        { MINCORE, false, 0, 0, 0 },
        { MINCORE, false, 0, SIZE_MAX, 0 },
        { MINCORE, false, 9 * PAGE, PAGE, 0 },
        { MINCORE, false, 7 * PAGE, 2 * PAGE, 0 },
        { MINCORE, false, 12 * PAGE, 4 * PAGE, 0 },
};

static int call_ours(struct fl_engine *e, const struct range_case *c, char *p)
{
        unsigned char vec[64];

        switch (c->call) {
        case MUNMAP:
                return fl_munmap(e, p, c->len);
        case MPROTECT:
                return fl_mprotect(e, p, c->len, c->arg);
        case MADVISE:
                return fl_madvise(e, p, c->len, c->arg);
        case MSYNC:
                return fl_msync(e, p, c->len, c->arg);
        default:
                return fl_mincore(e, p, c->len, vec);
        }
}

static int call_kernel(const struct range_case *c, char *p)
{
        unsigned char vec[64];

        switch (c->call) {
        case MUNMAP:
                return munmap(p, c->len);
        case MPROTECT:
                return mprotect(p, c->len, c->arg);
        case MADVISE:
                return madvise(p, c->len, c->arg);
        case MSYNC:
                return msync(p, c->len, c->arg);
        default:
                return mincore(p, c->len, vec);
        }
}

static void range_table(struct twins *t)
{
        static const char *const names[] = { "munmap", "mprotect", "madvise", "msync", "mincore" };

        for (unsigned i = 0; i < sizeof(range_cases) / sizeof(range_cases[0]); i++) {
                const struct range_case *c = &range_cases[i];
                char **base = c->ro ? t->ro : t->base;
                int got, want;

                /* Solaris's madvise is memcntl: no length is an error, too much of it ENOMEM (S25). */
                if (test_solaris() && c->call == MADVISE && c->len - 1 > SIZE_MAX / 2)
                        continue;
                errno = 0;
                got = call_ours(t->e, c, base[0] + c->at) ? errno : 0;
                errno = 0;
                want = call_kernel(c, base[1] + c->at) ? errno : 0;
                expect(got == want, "%s(%s + %#lx, %#zx, %#x): %s, the kernel says %s",
                       names[c->call], c->ro ? "read-only" : "base", c->at, c->len,
                       (unsigned)c->arg, strerror(got), strerror(want));
        }
}

/* Where no file can be, however it is open. */
static void offset_table(struct twins *t)
{
        static const off_t offsets[] = { -1, LLONG_MAX, LLONG_MAX - 50 };
        char buf[100] = { 0 };

        for (unsigned i = 0; i < 3 * NO_FILE * 2; i++) {
                unsigned file = i % NO_FILE;
                off_t at = offsets[i / NO_FILE % 3];
                bool in = i >= 3 * NO_FILE;
                int got, want;

                errno = 0;
                got = (in ? fl_pread(t->f[file], buf, 100, at)
                          : fl_pwrite(t->f[file], buf, 100, at)) < 0
                              ? errno
                              : 0;
                errno = 0;
                want = (in ? pread(t->fd[file], buf, 100, at) : pwrite(t->fd[file], buf, 100, at)) <
                                       0
                               ? errno
                               : 0;
                expect(got == want, "%s of file %u at %lld: %s, the kernel says %s",
                       in ? "pread" : "pwrite", file, (long long)at, strerror(got), strerror(want));
        }
}

static void bad_arguments(void)
{
        static const int modes[] = { O_RDWR, O_RDONLY, O_WRONLY };
        const char *ours = test_stamped_file("ours", 16), *twin = test_stamped_file("twin", 16);
        struct twins t = { .e = open_engine(CACHE), .fd = { -1, -1, -1, -1 } };

        test_at("bad arguments");
        for (unsigned i = 0; i < NO_FILE; i++) {
                t.f[i] = open_file(t.e, ours, modes[i]);
                t.fd[i] = open(twin, modes[i] | O_CLOEXEC);
                require(t.fd[i] >= 0, "%s: %s", twin, strerror(errno));
        }
        t.base[0] = map_file(t.e, t.f[0], 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        t.base[1] = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, t.fd[0], 0);
        t.ro[0] = map_file(t.e, t.f[1], 4 * PAGE, PROT_READ, MAP_SHARED, 0);
        t.ro[1] = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, t.fd[1], 0);
        map_table(&t);
        offset_table(&t);
        expect(fl_munmap(t.e, t.base[0] + 8 * PAGE, 4 * PAGE) == 0, "%s", fl_strerror());
        munmap(t.base[1] + 8 * PAGE, 4 * PAGE);
        range_table(&t);
        expect_stamps(t.base[0], 0, 8, "after all that");
        expect(fl_munmap(t.e, t.base[0], 16 * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(t.e, t.ro[0], 4 * PAGE) == 0, "%s", fl_strerror());
        munmap(t.base[1], 16 * PAGE);
        munmap(t.ro[1], 4 * PAGE);
        for (unsigned i = 0; i < NO_FILE; i++) {
                close_file(t.f[i]);
                close(t.fd[i]);
        }
        close_engine(t.e);
}

/* The pages that fl_mincore shows, in a hole-free range. */
static void residency(void)
{
        const char *path = test_stamped_file("core", 64);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        unsigned unit = test_page_pages();
        unsigned char vec[64];

        test_at("residency");
        expect(fl_madvise(e, p, 64 * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (unsigned i = 0; i < 64; i += 3 * unit)
                expect(!stamp_wrong(p + i * PAGE, i, 0), "a touch");
        expect(fl_mincore(e, p, 64 * PAGE, vec) == 0, "%s", fl_strerror());
        for (unsigned i = 0; i < 64; i++)
                expect(vec[i] == (i / unit % 3 == 0), "page %u: mincore says %d", i, vec[i]);
        check_engine(e); /* a fault is counted after its thread has gone on */
        expect_eq(get_stats(e).faults_major, (64 / unit + 2) / 3, "a fault a page");
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        shared_and_private();
        ten_private_readers();
        last_partial_page();
        parts();
        bad_arguments();
        residency();
        return test_end();
}
