/* SPDX-License-Identifier: Apache-2.0
 *
 * squashfs.c - files in squashfs images: each block is decompressed once, what is damaged is an error
 * and nothing else, and nothing can be stored.
 *
 * That all bytes are right is tests/cli/image_tree.sh's. Needs mksquashfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "trace/reader.h"

#define PAGE TEST_PAGE
#define BLOCK (128ul << 10)
#define BLOCK_PAGES (BLOCK / PAGE)
#define BLOCKS 48ul
#define TAIL 5000ul /* bytes behind the last block: a fragment */
#define SIZE (BLOCKS * BLOCK + TAIL)
#define CACHE (2ul << 20)

static const char *image; /* with `plain` in it, and a few more */
static const char *plain; /* the file itself */
static char uri[512];

/* ---- an image ---- */

/* Numbers: they compress, and no two pages are the same. */
static void make_plain(void)
{
        FILE *f;

        plain = test_file("plain", 0);
        f = fopen(plain, "w");
        require(f, "%s: %s", plain, strerror(errno));
        for (unsigned i = 0; i < SIZE / 8 + 1; i++)
                fprintf(f, "%07u\n", i);
        require(!fclose(f) && !truncate(plain, SIZE), "%s: %s", plain, strerror(errno));
}

static const char *base_of(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static void make_image(void)
{
        if (!test_run("command -v mksquashfs >/dev/null 2>&1"))
                test_skip("mksquashfs is not installed");
        make_plain();
        image = test_file("image", 0);
        require(test_run("mksquashfs '%s' '%s' -noappend -quiet -no-progress -comp gzip -b %lu "
                         ">/dev/null 2>&1",
                         plain, image, BLOCK),
                "mksquashfs failed");
        snprintf(uri, sizeof(uri), "squashfs:%s#/%s", image, base_of(plain));
}

static void need_module(void)
{
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = fl_file_open(e, uri, O_RDONLY, NULL);

        if (!f && errno == ENOPKG)
                test_skip("the module squashfs has not been built");
        if (f)
                close_file(f);
        close_engine(e);
}

/* ---- one engine, the file mapped ---- */

struct world {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        const char *trace;
};

static struct world begin(const char *trace, const char *faults)
{
        struct world w = { .trace = trace };

        w.e = open_engine_with((struct fl_engine_config){ .cache = test.cache ? test.cache : CACHE,
                                                          .trace = trace,
                                                          .faults = faults,
                                                          .flags = FL_ENGINE_QUIET });
        w.f = open_file(w.e, uri, O_RDONLY);
        w.p = map_file(w.e, w.f, SIZE, PROT_READ, MAP_SHARED, 0);
        return w;
}

static void end(struct world *w)
{
        check_engine(w->e);
        expect(fl_munmap(w->e, w->p, SIZE) == 0, "%s", fl_strerror());
        close_file(w->f);
        close_engine(w->e);
}

/* Of page n the first line that begins in it: page 0 begins with line 0, of 8 bytes each. */
static bool right(const char *p, uint64_t page)
{
        char want[24];

        snprintf(want, sizeof(want), "%07lu\n", (unsigned long)(page * PAGE / 8));
        return !memcmp(p, want, 8);
}

static void load(struct world *w, uint64_t page)
{
        unsigned char byte;
        struct caught c = try_load(w->p + page * PAGE, &byte);

        expect(!c.signo, "page %lu: %s", (unsigned long)page, caught_name(c));
        if (!c.signo)
                expect(right(w->p + page * PAGE, page), "page %lu holds %.7s", (unsigned long)page,
                       w->p + page * PAGE);
}

/* ---- once ---- */

struct decompressed {
        unsigned all;  /* events */
        unsigned most; /* of one block */
};

static struct decompressed count_blocks(const char *path)
{
        struct decompressed d = { 0 };
        struct trace_record *r;
        struct trace_reader *reader;
        const char *why;
        size_t nr;

        require(!trace_reader_open(&reader, path, &why), "%s", path);
        require(!trace_reader_load(reader, &r, &nr), "%s", path);
        expect(trace_reader_dropped(reader) == 0, "events were lost");
        for (size_t i = 0; i < nr; i++) {
                unsigned same = 0;

                if (r[i].event != TRACE_FS_BLOCK)
                        continue;
                d.all++;
                /* Two blocks may share a sector: so the size is looked at too. */
                for (size_t j = 0; j < nr; j++)
                        same += r[j].event == TRACE_FS_BLOCK && r[j].arg[0] == r[i].arg[0] &&
                                r[j].arg[1] == r[i].arg[1];
                if (same > d.most)
                        d.most = same;
        }
        free(r);
        trace_reader_close(reader);
        return d;
}

/* The windows of read-ahead begin and end anywhere in a block. Runs beside each other, on two workers
 * maybe, share it all the same. */
static void test_sequential(void)
{
        static const int advice[] = { MADV_NORMAL, MADV_SEQUENTIAL };

        for (unsigned a = 0; a < 2; a++) {
                struct world w = begin(test_file("trace", 0), NULL);
                struct decompressed d;

                test_at("sequential");
                expect(fl_madvise(w.e, w.p, SIZE, advice[a]) == 0, "%s", fl_strerror());
                /* Off the blocks' boundaries, so that they never fall in with the windows'. */
                for (uint64_t page = 5; page < SIZE / PAGE + 1; page++)
                        load(&w, page);
                end(&w);
                d = count_blocks(w.trace);
                expect_eq(d.most, 1, advice[a] == MADV_NORMAL ? "normal" : "sequential");
                expect_eq(d.all, BLOCKS + 1, "blocks decompressed");
        }
}

/* A block's pages, in any order and one at a time, are one decompression. */
static void test_scattered(void)
{
        struct world w = begin(test_file("trace", 0), NULL);
        struct decompressed d;

        test_at("scattered");
        expect(fl_madvise(w.e, w.p, SIZE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (uint64_t block = BLOCKS; block-- > 0;)
                for (uint64_t i = 0; i < BLOCK_PAGES; i++)
                        load(&w, block * BLOCK_PAGES + i * 13 % BLOCK_PAGES);
        end(&w);
        d = count_blocks(w.trace);
        expect_eq(d.most, 1, "scattered");
        expect_eq(d.all, BLOCKS, "blocks decompressed");
}

/* ---- errors ---- */

/* Only the pages of the block are lost, and only as long as it cannot be read. */
static void expect_one_bad(struct world *w, uint64_t bad)
{
        struct fl_error_info info = { .size = sizeof(info) };

        for (uint64_t block = bad - 2; block <= bad + 2; block++)
                for (uint64_t i = 0; i < BLOCK_PAGES; i += 5) {
                        uint64_t page = block * BLOCK_PAGES + i;
                        unsigned char byte;

                        if (block != bad) {
                                load(w, page);
                        } else {
                                struct caught c = try_load(w->p + page * PAGE, &byte);

                                expect(c.signo == SIGBUS, "page %lu: %s", (unsigned long)page,
                                       caught_name(c));
                        }
                }
        expect_eq(fl_error(w->e, w->p + bad * BLOCK, BLOCK, &info), 1, "fl_error");
        expect_eq(info.error, EIO, "the error");
        expect_eq(fl_error_clear(w->e, w->p + bad * BLOCK, BLOCK), 0, "fl_error_clear");
}

static off_t where_is(struct world *w, uint64_t block)
{
        off_t at = 0;

        require(fl_bmap(w->f, (off_t)(block * BLOCK), &at) == 1, "%s", fl_strerror());
        return at;
}

static void test_eio(void)
{
        struct world w = begin(NULL, NULL);
        off_t at = where_is(&w, 7) + 8192; /* in no page of the image that holds another block */
        char spec[64];

        test_at("eio");
        require(where_is(&w, 8) > at + 8192, "the blocks are too small");
        end(&w);
        snprintf(spec, sizeof(spec), "eio@%lld+1", (long long)at);
        w = begin(NULL, spec);
        expect(fl_madvise(w.e, w.p, SIZE, MADV_RANDOM) == 0, "%s", fl_strerror());
        expect_one_bad(&w, 7);
        end(&w);
        /* Read with others, at first, and then alone, since it is wanted. */
        snprintf(spec, sizeof(spec), "eio@%lld+1*1", (long long)at);
        w = begin(NULL, spec);
        for (uint64_t page = 0; page < SIZE / PAGE; page++)
                load(&w, page);
        end(&w);
}

static void flip(off_t at, size_t n)
{
        int fd = open(image, O_RDWR | O_CLOEXEC);
        unsigned char buf[64];

        require(fd >= 0 && n <= sizeof(buf), "%s: %s", image, strerror(errno));
        require(pread(fd, buf, n, at) == (ssize_t)n, "%s: %s", image, strerror(errno));
        for (size_t i = 0; i < n; i++)
                buf[i] ^= 0xff;
        require(pwrite(fd, buf, n, at) == (ssize_t)n, "%s: %s", image, strerror(errno));
        close(fd);
}

static void test_damaged(void)
{
        struct world w = begin(NULL, NULL);
        off_t at = where_is(&w, 9) + 500;

        test_at("damaged");
        end(&w);
        flip(at, 50);
        w = begin(NULL, NULL);
        /* No read-ahead that is still under way when it is mended. */
        expect(fl_madvise(w.e, w.p, SIZE, MADV_RANDOM) == 0, "%s", fl_strerror());
        expect_one_bad(&w, 9);
        flip(at, 50); /* mended, and read again */
        for (uint64_t i = 0; i < BLOCK_PAGES; i++)
                load(&w, 9 * BLOCK_PAGES + i);
        end(&w);
}

static void expect_refused(struct fl_engine *e, const char *name, int flags, int error)
{
        struct fl_file *f = fl_file_open(e, name, flags, NULL);
        int got = errno;

        expect(!f, "%s was opened", name);
        if (f)
                close_file(f);
        else
                expect(got == error, "%s: %s, not %s", name, strerror(got), strerror(error));
}

/* Changes the last 4 bytes of the image that are `old`, in a table that is not compressed. */
static void patch(const char *path, uint32_t old, uint32_t new)
{
        static unsigned char buf[64 * 1024];
        uint64_t size = file_size(path), from = size > sizeof(buf) ? size - sizeof(buf) : 0;
        size_t at = (size_t)(size - from) - sizeof(old) + 1;
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        require(file_read(path, buf, (size_t)(size - from), from), "%s", path);
        while (at-- > 0 && memcmp(buf + at, &old, 4))
                ;
        require(fd >= 0 && at < sizeof(buf) && pwrite(fd, &new, 4, (off_t)(from + at)) == 4,
                "%s: no such word", path);
        close(fd);
}

#define STORED_AS_IT_IS (1u << 24)

/* What the file's list says of its last block is not so. */
static void test_wrong_size(void)
{
        const char *path = test_file("lists", 0);
        struct fl_engine *e;
        struct fl_file *f;
        char name[600], *p;

        test_at("wrong size");
        require(test_run("mksquashfs '%s' '%s' -noappend -quiet -no-progress -noI -noD -noF -b %lu "
                         ">/dev/null 2>&1",
                         plain, path, BLOCK),
                "mksquashfs failed");
        snprintf(name, sizeof(name), "squashfs:%s#/%s", path, base_of(plain));
        /* Shorter than the file has it: neither zeros nor what was there. */
        patch(path, BLOCK | STORED_AS_IT_IS, 100000 | STORED_AS_IT_IS);
        e = open_engine_with((struct fl_engine_config){ .cache = CACHE, .flags = FL_ENGINE_QUIET });
        f = open_file(e, name, O_RDONLY);
        p = map_file(e, f, SIZE, PROT_READ, MAP_SHARED, 0);
        for (uint64_t page = (BLOCKS - 2) * BLOCK_PAGES; page < SIZE / PAGE; page++) {
                bool bad = page / BLOCK_PAGES == BLOCKS - 1;
                unsigned char byte;
                struct caught c = try_load(p + page * PAGE, &byte);

                expect(c.signo == (bad ? SIGBUS : 0), "page %lu: %s", (unsigned long)page,
                       caught_name(c));
        }
        expect(fl_munmap(e, p, SIZE) == 0, "%s", fl_strerror());
        close_file(f);
        /* Longer than a block can be. */
        patch(path, 100000 | STORED_AS_IT_IS, 0xfff000 | STORED_AS_IT_IS);
        expect_refused(e, name, O_RDONLY, EUCLEAN);
        close_engine(e);
}

static void test_read_only(void)
{
        struct world w = begin(NULL, NULL);
        struct fl_file *again;
        char other[600], *p;
        off_t hole = 0;

        test_at("read-only");
        expect_refused(w.e, uri, O_RDWR, EROFS);
        expect_refused(w.e, uri, O_RDONLY | O_TRUNC, EROFS);
        expect_refused(w.e, uri, O_RDONLY | O_CREAT | O_EXCL, EEXIST);
        snprintf(other, sizeof(other), "%s.not", uri);
        expect_refused(w.e, other, O_RDONLY, ENOENT);
        expect_refused(w.e, other, O_RDWR | O_CREAT, EROFS);
        snprintf(other, sizeof(other), "squashfs:%s#/", image);
        expect_refused(w.e, other, O_RDONLY, EISDIR);
        snprintf(other, sizeof(other), "squashfs:%s#/", plain);
        expect_refused(w.e, other, O_RDONLY, EINVAL); /* no image */
        p = fl_mmap(w.e, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, w.f, 0);
        expect(p == MAP_FAILED && errno == EACCES, "a shared mapping to be stored to");
        expect(fl_mprotect(w.e, w.p, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES,
               "mprotect");
        expect(fl_bmap(w.f, (off_t)SIZE, &hole) == -1 && errno == EINVAL, "bmap behind the end");
        /* A private copy is the mapping's own. */
        p = map_file(w.e, w.f, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        p[0] = 'x';
        expect(right(p + PAGE, 1) && p[0] == 'x' && right(w.p, 0), "a private copy");
        expect(fl_munmap(w.e, p, 2 * PAGE) == 0, "%s", fl_strerror());
        /* Another name of the same image: the same file. */
        snprintf(other, sizeof(other), "squashfs:file:./%s#//./%s", image, base_of(plain));
        if (*image != '/') {
                struct fl_stats before, after;

                load(&w, 3);
                again = open_file(w.e, other, O_RDONLY);
                p = map_file(w.e, again, SIZE, PROT_READ, MAP_SHARED, 0);
                before = get_stats(w.e);
                expect(right(p + 3 * PAGE, 3), "the same file by another name");
                after = get_stats(w.e);
                expect_eq(after.faults_major, before.faults_major, "the pages are shared");
                expect(fl_munmap(w.e, p, SIZE) == 0, "%s", fl_strerror());
                close_file(again);
        }
        end(&w);
}

/* ---- images that lie ---- */

static void read_all_of(struct fl_engine *e, const char *name)
{
        static char buf[64 * 1024];
        struct fl_file *f = fl_file_open(e, name, O_RDONLY, NULL);
        struct stat st;

        if (!f) {
                expect(errno > 0 && *fl_strerror(), "no reason");
                return;
        }
        expect(fl_fstat(f, &st) == 0, "%s", fl_strerror());
        /* A size that cannot be is for who reads it: the ends are enough. */
        for (off_t at = 0; at < st.st_size && at < 4 << 20; at += (off_t)sizeof(buf))
                if (fl_pread(f, buf, sizeof(buf), at) < 0)
                        break;
        if (st.st_size > 4 << 20)
                (void)fl_pread(f, buf, sizeof(buf), st.st_size - 1);
        close_file(f);
}

static void walk(struct fl_engine *e, const char *folder, unsigned depth)
{
        struct fl_dir *dir = fl_opendir(e, folder);
        const struct fl_dirent *entry;
        unsigned n = 0;

        if (!dir) {
                expect(errno > 0 && *fl_strerror(), "no reason");
                return;
        }
        while ((entry = fl_readdir(dir)) && n++ < 20) {
                char name[1024];
                size_t at = (size_t)snprintf(name, sizeof(name), "%s/", folder);

                for (const char *c = entry->name; *c && at + 4 < sizeof(name); c++)
                        at += (size_t)snprintf(name + at, sizeof(name) - at,
                                               strchr("#?%", *c) ? "%%%02X" : "%c", *c);
                if (S_ISDIR(entry->st.st_mode) && depth < 4)
                        walk(e, name, depth + 1);
                else
                        read_all_of(e, name);
        }
        fl_closedir(dir);
}

static void make_small_image(const char *path)
{
        const char *folder = test_file("folder", 0);

        unlink(folder);
        require(test_run("mkdir -p '%s/a/b' && cd '%s' && seq 1 9000 >a/numbers && seq 1 100 "
                         ">a/b/few "
                         "&& "
                         "head -c 70000 /dev/zero >zeros && head -c 9000 /dev/urandom >random && "
                         "ln -s a/numbers link && ln -s loop loop && ln -s ../.. a/b/up",
                         folder, folder) &&
                        test_run("mksquashfs '%s' '%s' -noappend -quiet -no-progress -b 16K "
                                 ">/dev/null 2>&1",
                                 folder, path) &&
                        test_run("rm -rf '%s'", folder),
                "no image could be made");
}

/* Some bytes are changed, most of them in the tables; or the end is missing. */
static void mutate(char *copy, size_t *size, uint64_t *seed)
{
        unsigned n = 1 + (unsigned)random_below(seed, 6);

        while (n--) {
                uint64_t part = random_below(seed, 4);
                uint64_t at = part == 0   ? random_below(seed, 96)
                              : part == 1 ? random_below(seed, *size)
                                          : *size - 1 - random_below(seed, *size / 8);

                if (random_below(seed, 3))
                        copy[at] = (char)random_next(seed);
                else
                        copy[at] = random_below(seed, 2) ? (char)0xff : 0;
        }
        if (!random_below(seed, 10))
                *size = random_below(seed, *size + 1);
}

/* Whatever the image says: an errno and a sentence, soon, and an engine that goes on. */
static void test_lies(void)
{
        const char *good = test_file("small", 0), *bad = test_file("bad", 0);
        static char copy[1 << 20], fresh[1 << 20];
        struct fl_engine *e;
        char root[512];
        uint64_t seed = test.seed, size;
        unsigned images = 0;
        int fd;

        make_small_image(good);
        size = file_size(good);
        require(size <= sizeof(fresh) && file_read(good, fresh, size, 0), "the image is too large");
        snprintf(root, sizeof(root), "squashfs:%s#/", bad);
        e = open_engine_with((struct fl_engine_config){ .cache = CACHE, .flags = FL_ENGINE_QUIET });
        fd = open(bad, O_RDWR | O_CLOEXEC);
        while (images < 100 || test_left() > 0) {
                size_t n = size;

                test_at("lies");
                memcpy(copy, fresh, size);
                mutate(copy, &n, &seed);
                require(ftruncate(fd, 0) == 0 && pwrite(fd, copy, n, 0) == (ssize_t)n, "%s: %s",
                        bad, strerror(errno));
                walk(e, root, 0);
                images++;
        }
        close(fd);
        printf("%u images\n", images);
        check_engine(e);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 3, 60, 100);
        make_image();
        need_module();
        test_sequential();
        test_scattered();
        test_eio();
        test_damaged();
        test_wrong_size();
        test_read_only();
        test_lies();
        return test_end();
}
