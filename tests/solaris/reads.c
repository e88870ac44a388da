/* SPDX-License-Identifier: Apache-2.0
 *
 * reads.c - free-behind of read(2), S22: of a large file that is read in a row, what has been read goes
 * before what is in use.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "ground.h"

#define SMALL (4ul << 20) /* a cache */
#define LARGE 4096        /* pages of a file: four times that */
#define CHUNK (64ul << 10)

static void read_units(struct ground *g, unsigned unit, unsigned nr)
{
        char buf[32 * UNIT];

        expect(nr <= 32 &&
                       fl_pread(g->f, buf, nr * UNIT, (off_t)(unit * UNIT)) == (ssize_t)(nr * UNIT),
               "%s", fl_strerror());
}

static void touch_all(struct ground *g)
{
        for (unsigned page = 0; page < UNITS * UNIT / TEST_PAGE; page++) {
                const char *wrong = stamp_wrong(g->p + page * TEST_PAGE, page, 0);

                expect(!wrong, "page %u: %s", page, wrong);
        }
}

static void read_large(struct ground *g)
{
        struct fl_file *f = open_file(g->e, test_stamped_file("large", LARGE), O_RDONLY);
        static char buf[CHUNK];

        for (unsigned page = 0; page < LARGE; page += CHUNK / TEST_PAGE) {
                const char *wrong;

                expect(fl_pread(f, buf, CHUNK, (off_t)page * TEST_PAGE) == (ssize_t)CHUNK, "%s",
                       fl_strerror());
                wrong = stamp_wrong(buf, page, 0);
                expect(!wrong, "page %u: %s", page, wrong);
        }
        close_file(f);
}

/* What is mapped is not touched again: by itself the scanner would take it. */
static void S22_what_is_read_in_a_row_goes_before_what_is_in_use(void)
{
        struct ground g = start_ground_tuned("in use", PROT_READ, SMALL, NULL);
        char text[1024];

        touch_all(&g);
        expect_in_memory(&g, "0-127", "before");
        read_large(&g);
        expect_in_memory(&g, "0-127", "behind four times as much as there is memory");
        end_ground(&g);

        g = start_ground_tuned("freebehind=0", PROT_READ, SMALL, "freebehind=0");
        touch_all(&g);
        read_large(&g);
        expect(strcmp(in_memory(&g, text, sizeof(text)), "0-127") != 0, "all has stayed");
        end_ground(&g);
}

/* Where there is memory for it, it stays. */
static void S22_what_is_freed_is_found_again(void)
{
        struct ground g = start_ground_tuned("again", PROT_READ, 0, NULL);
        uint64_t bytes;

        for (unsigned unit = 0; unit < UNITS; unit += 32)
                read_units(&g, unit, 32);
        expect_in_memory(&g, "0-127", "all of it");
        bytes = get_stats(g.e).read_bytes;
        for (unsigned unit = 0; unit < UNITS; unit += 32)
                read_units(&g, unit, 32);
        expect_eq(get_stats(g.e).read_bytes, bytes, "read twice");
        end_ground(&g);
}

static void S22_dirty_pages_are_written_and_then_go(void)
{
        struct ground g = start_ground_tuned("written", PROT_READ | PROT_WRITE, 0, NULL);
        char byte = 0;

        store_unit(&g, 50);
        read_units(&g, 40, 20);
        /* 41 begins a stream: to 49, which is followed by a page that is there; then clusters. */
        expect_in_memory(&g, "40-49 51-82", "without the one that was dirty");
        expect(file_read(g.path, &byte, 1, 50 * UNIT + 100) && byte == 1, "not written: %d", byte);
        end_ground(&g);
}

static void S22_neither_small_files_nor_random_reads_nor_locked_pages(void)
{
        struct ground g = start_ground_tuned("kept", PROT_READ | PROT_WRITE, 0, NULL);
        char byte = 1;

        for (unsigned i = 0; i < 4; i++) /* up to smallfile1, 32 KiB, and the page there */
                store_unit(&g, i);
        store_unit(&g, 50);
        store_unit(&g, 60);
        expect(fl_mlock(g.e, g.p + 60 * UNIT, UNIT) == 0, "%s", fl_strerror());
        read_units(&g, 0, 4);
        read_units(&g, 50, 1);
        read_units(&g, 59, 2);
        check_engine(g.e);
        for (unsigned i = 0; i < 4; i++)
                expect(file_read(g.path, &byte, 1, (off_t)(i * UNIT + 100)) && byte != 1,
                       "%u: written", i);
        expect(file_read(g.path, &byte, 1, 50 * UNIT + 100) && byte != 1, "no stream: written");
        expect(file_read(g.path, &byte, 1, 60 * UNIT + 100) && byte != 1, "locked: written");
        expect(fl_munlock(g.e, g.p + 60 * UNIT, UNIT) == 0, "%s", fl_strerror());
        end_ground(&g);
}

void test_reads(void)
{
        S22_what_is_read_in_a_row_goes_before_what_is_in_use();
        S22_what_is_freed_is_found_again();
        S22_dirty_pages_are_written_and_then_go();
        S22_neither_small_files_nor_random_reads_nor_locked_pages();
}
