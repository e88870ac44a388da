/* SPDX-License-Identifier: Apache-2.0
 *
 * resized.c - another program makes a file shorter or longer while the engine has it open.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

/* What was stored behind the new end cannot be written, and that is told; nothing grows again. */
static void stores_behind_a_cut(void)
{
        const char *path = test_stamped_file("cut", 8);
        struct fl_engine *e = open_engine(1 << 20);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, 8 * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        unsigned char value;
        struct caught c;

        test_at("stores_behind_a_cut");
        expect(fl_madvise(e, p, 8 * TEST_PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        stamp_write(p + 1 * TEST_PAGE, 1, 5);
        stamp_write(p + 6 * TEST_PAGE, 6, 5);
        require(truncate(path, 3 * TEST_PAGE) == 0, "truncate: %s", strerror(errno));
        expect(!stamp_wrong(p + 6 * TEST_PAGE, 6, 5), "what is cached stays readable");
        errno = 0;
        expect(fl_msync(e, p, 8 * TEST_PAGE, MS_SYNC) == -1 && errno == EIO, "msync: %s",
               strerror(errno));
        expect_eq(file_size(path), 3 * TEST_PAGE, "the file has grown");
        /* a page that was not cached is a SIGBUS */
        c = try_load(p + 4 * TEST_PAGE, &value);
        expect(c.signo == SIGBUS, "page 4: %s", caught_name(c));
        expect(fl_munmap(e, p, 8 * TEST_PAGE) == 0, "%s", fl_strerror());
        expect(fl_file_close(f) == -1, "close says nothing of the page that could not be written");
        errno = 0;
        expect(fl_engine_close(e) == -1 && errno == EIO, "nor does the engine");
}

/* Looking at the size makes the engine see the cut: pages behind it go, mapped ones too. */
static void seen_by_fstat(void)
{
        const char *path = test_stamped_file("seen", 8);
        struct fl_engine *e = open_engine(1 << 20);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, 8 * TEST_PAGE, PROT_READ, MAP_SHARED, 0);
        struct stat st;
        unsigned char value;

        test_at("seen_by_fstat");
        for (unsigned n = 0; n < 8; n++)
                expect(!stamp_wrong(p + n * TEST_PAGE, n, 0), "page %u", n);
        require(truncate(path, TEST_PAGE + 100) == 0, "truncate: %s", strerror(errno));
        expect(fl_fstat(f, &st) == 0, "%s", fl_strerror());
        expect_eq(st.st_size, TEST_PAGE + 100, "the size");
        expect(try_load(p + 4 * TEST_PAGE, &value).signo == SIGBUS, "page 4 is still there");
        expect_eq(p[TEST_PAGE + 100], 0, "behind the end in the last page");
        expect_eq(try_load(p, &value).signo, 0, "page 0");
        expect(fl_munmap(e, p, 8 * TEST_PAGE) == 0, "%s", fl_strerror());
        check_engine(e);
        close_file(f);
        close_engine(e);
}

/* fl_pwrite behind a cut is a write like any other: it makes the file longer, with zeros between. */
static void pwrite_behind_a_cut(void)
{
        const char *path = test_stamped_file("pwrite", 2);
        struct fl_engine *e = open_engine(1 << 20);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char buf[5000];

        test_at("pwrite_behind_a_cut");
        expect_eq(fl_pread(f, buf, sizeof(buf), 0), 5000, "pread");
        require(truncate(path, 100) == 0, "truncate: %s", strerror(errno));
        expect_eq(fl_pwrite(f, "Z", 1, 4999), 1, "pwrite");
        expect(fl_fsync(f) == 0, "%s", fl_strerror());
        expect_eq(file_size(path), 5000, "the size");
        if (file_read(path, buf, sizeof(buf), 0)) {
                expect_eq(buf[4999], 'Z', "the byte");
                for (unsigned i = 100; i < 4999; i++)
                        require(buf[i] == 0, "byte %u is %d", i, buf[i]);
        }
        close_file(f);
        close_engine(e);
}

/* Made longer by another program: the next open sees it, and so do those who had it open. */
static void grown(void)
{
        const char *path = test_file("grown", 5000);
        struct fl_engine *e = open_engine(1 << 20);
        struct fl_file *f = open_file(e, path, O_RDONLY), *again;
        char byte = 1;
        int fd;

        test_at("grown");
        expect_eq(fl_pread(f, &byte, 1, 4999), 1, "pread");
        fd = open(path, O_WRONLY | O_APPEND);
        expect_eq(write(fd, "0123456789", 10), 10, "append");
        close(fd);
        again = open_file(e, path, O_RDONLY);
        expect_eq(fl_pread(again, &byte, 1, 5009), 1, "pread of what was appended");
        expect_eq(byte, '9', "the last byte");
        expect_eq(fl_pread(f, &byte, 1, 5000), 1, "by the first open");
        expect_eq(byte, '0', "the first byte");
        close_file(again);
        close_file(f);
        close_engine(e);
}

/* One read of many pages, whose entries lie in more than one leaf, and the file ends among the last of
 * them: what lies behind that is not there, and no zeros. */
static void ends_within_a_read(void)
{
        enum { PAGES = 512, LEFT = 300 };
        const char *path = test_stamped_file("within", PAGES);
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = 64 << 20, .policy = "adaptive", .flags = FL_ENGINE_QUIET });
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, PAGES * TEST_PAGE, PROT_READ, MAP_SHARED, 0);

        test_at("ends_within_a_read");
        require(truncate(path, LEFT * TEST_PAGE) == 0, "truncate: %s", strerror(errno));
        expect(fl_madvise(e, p, PAGES * TEST_PAGE, MADV_WILLNEED) == 0, "%s", fl_strerror());
        check_engine(e);
        expect_eq(resident_pages(e, p, PAGES), LEFT, "pages in memory");
        for (unsigned i = 0; i < PAGES; i++) {
                struct caught c = try_load(p + i * TEST_PAGE, NULL);

                expect(c.signo == (i < LEFT ? 0 : SIGBUS), "page %u: %s", i, caught_name(c));
                expect(c.signo || !stamp_wrong(p + i * TEST_PAGE, i, 0), "page %u", i);
        }
        expect(fl_munmap(e, p, PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 3, 3, 40);
        stores_behind_a_cut();
        seen_by_fstat();
        pwrite_behind_a_cut();
        grown();
        ends_within_a_read();
        return test_end();
}
