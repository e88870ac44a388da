/* SPDX-License-Identifier: Apache-2.0
 *
 * private.c - what a private page is worth after the file has changed: the same steps on the kernel's
 * private mapping and on ours, byte by byte, whether or not the page has been in swap meanwhile.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 8
#define RW (PROT_READ | PROT_WRITE)
#define NONE (-1) /* SIGBUS */

static struct fl_engine *engine;
static struct fl_file *ours;
static int theirs; /* another file with the same bytes */
static char *p, *k, *ballast;
static bool swap;

/* All private pages go to swap, and stay there until they are touched. */
static void push_out(void)
{
        for (uint64_t i = 0; swap && i < 1000; i++)
                stamp_write(ballast + i * PAGE, i, 1);
}

static void store(uint64_t page, unsigned offset, char value)
{
        p[page * PAGE + offset] = k[page * PAGE + offset] = value;
}

static void write_file(uint64_t page, unsigned offset, char value)
{
        off_t at = (off_t)(page * PAGE + offset);

        require(fl_pwrite(ours, &value, 1, at) == 1, "%s", fl_strerror());
        require(pwrite(theirs, &value, 1, at) == 1, "pwrite");
}

static void truncate_both(off_t size)
{
        expect(fl_ftruncate(ours, size) == 0, "%s", fl_strerror());
        require(ftruncate(theirs, size) == 0, "ftruncate");
}

static int look(const char *at)
{
        unsigned char byte = 0;

        return try_load(at, &byte).signo == SIGBUS ? NONE : byte;
}

static void compare(const char *when)
{
        push_out();
        for (uint64_t page = 0; page < PAGES; page++)
                for (unsigned offset = 0; offset < PAGE; offset += 500) {
                        size_t at = page * PAGE + offset;
                        int a = look(p + at), b = look(k + at);

                        expect(a == b, "%s%s: page %llu, byte %u is %d, the kernel's %d", when,
                               swap ? ", swapped" : "", (unsigned long long)page, offset, a, b);
                }
}

/* Two files made alike have the same bytes. */
static const char *make_file(const char *name)
{
        const char *path = test_file(name, PAGES * PAGE);
        int fd = open(path, O_WRONLY);
        unsigned char page[PAGE];

        require(fd >= 0, "open");
        for (uint64_t i = 0; i < PAGES; i++) {
                for (unsigned at = 0; at < PAGE; at++)
                        page[at] = (unsigned char)(i * 31 + at / 100);
                require(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE, "pwrite");
        }
        close(fd);
        return path;
}

static void play(void)
{
        size_t len = PAGES * PAGE;

        p = map_file(engine, ours, len, RW, MAP_PRIVATE, 0);
        k = mmap(NULL, len, RW, MAP_PRIVATE, theirs, 0);
        require(k != MAP_FAILED, "mmap");
        for (uint64_t page = 0; page < PAGES; page += 2)
                store(page, 500, (char)(10 + page));
        compare("stored to");
        for (uint64_t page = 0; page < PAGES; page++)
                write_file(page, 1000, (char)(20 + page));
        compare("the file has changed");

        /* A part loses its protection for a while; copies and what is no copy stay what they are. */
        expect(fl_mprotect(engine, p + PAGE, 3 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        require(mprotect(k + PAGE, 3 * PAGE, PROT_READ) == 0, "mprotect");
        expect(try_store(p + 2 * PAGE, 1).signo == SIGSEGV, "a store to what is read-only");
        compare("a part is read-only");
        expect(fl_mprotect(engine, p + PAGE, 3 * PAGE, RW) == 0, "%s", fl_strerror());
        require(mprotect(k + PAGE, 3 * PAGE, RW) == 0, "mprotect");
        store(2, 1500, 30);
        store(3, 1500, 31);
        compare("writable again, and stored to");

        expect(fl_madvise(engine, p + 2 * PAGE, PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        if (!test_solaris()) /* whose advice throws nothing away */
                require(madvise(k + 2 * PAGE, PAGE, MADV_DONTNEED) == 0, "madvise");
        compare("one is thrown away");

        /* Cut within page 4, whose copy stays; 6 goes, and is the file's when it grows again. */
        push_out();
        truncate_both(4 * PAGE + 700);
        compare("cut short");
        truncate_both(PAGES * PAGE);
        compare("long again");
        check_engine(engine);
        expect(fl_munmap(engine, p, len) == 0, "%s", fl_strerror());
        munmap(k, len);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 1, 60);
        for (unsigned i = 0; i < 2; i++) {
                struct fl_engine_config cfg = { .cache = 256 * PAGE,
                                                .flags = FL_ENGINE_QUIET,
                                                .swap = i ? "ram:16M" : NULL };

                swap = i;
                engine = open_engine_with(cfg);
                ours = open_file(engine, make_file(i ? "ours2" : "ours"), O_RDWR);
                theirs = open(make_file(i ? "theirs2" : "theirs"), O_RDWR);
                require(theirs >= 0, "open");
                if (swap)
                        ballast = fl_mmap(engine, NULL, 1000 * PAGE, RW,
                                          MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
                require(!swap || ballast != MAP_FAILED, "%s", fl_strerror());
                play();
                expect(!swap || get_stats(engine).swap_ins > 0, "nothing came back from swap");
                close(theirs);
                close_file(ours);
                close_engine(engine);
        }
        return test_end();
}
