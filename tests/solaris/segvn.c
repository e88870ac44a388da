/* SPDX-License-Identifier: Apache-2.0
 *
 * segvn.c - what seg_vn does with a fault and with advice: free-behind (S8), what is mapped
 * with a page (S9, S10), advice (S29).
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "ground.h"

static void S8_free_behind(void)
{
        struct ground g = start_ground("behind", PROT_READ, MAP_SHARED);

        advise_units(&g, 0, UNITS, MADV_SEQUENTIAL);
        for (unsigned i = 0; i < 4; i++)
                touch_unit(&g, i);
        /* The fault on 2 mapped eight pages: 3 made none. The segment's first page stays. */
        expect_in_memory(&g, "0 2-33", "behind the third");
        touch_unit(&g, 10);
        expect_in_memory(&g, "0 10-33", "behind the eleventh");
        end_ground(&g);
}

static void S8_free_behind_goes_back_to_the_first_page_not_in_memory(void)
{
        struct ground g = start_ground("walk", PROT_READ, MAP_SHARED);

        for (unsigned i = 20; i < 24; i++)
                touch_unit(&g, i);
        for (unsigned i = 60; i < 70; i += 3)
                touch_unit(&g, i);
        advise_units(&g, 0, UNITS, MADV_SEQUENTIAL);
        expect_in_memory(&g, "20-52 60 63 66 69", "before");
        touch_unit(&g, 64);
        expect_in_memory(&g, "20-52 60 64 66 69", "63 only");
        end_ground(&g);
}

static void S8_locked_pages_stay(void)
{
        struct ground g = start_ground("locked", PROT_READ, MAP_SHARED);

        for (unsigned i = 20; i < 24; i++)
                touch_unit(&g, i);
        expect(fl_mlock(g.e, g.p + 22 * UNIT, UNIT) == 0, "%s", fl_strerror());
        advise_units(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch_unit(&g, 40);
        expect_in_memory(&g, "22 40-52", "what is locked stays, the walk goes on");
        expect(fl_munlock(g.e, g.p + 22 * UNIT, UNIT) == 0, "%s", fl_strerror());
        end_ground(&g);
}

static void S8_dirty_pages_are_written_first(void)
{
        struct ground g = start_ground("dirty", PROT_READ | PROT_WRITE, MAP_SHARED);
        char byte = 0;

        for (unsigned i = 50; i < 53; i++)
                store_unit(&g, i);
        advise_units(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch_unit(&g, 60); /* 52 mapped eight pages */
        expect(file_read(g.path, &byte, 1, 52 * UNIT + 100) && byte == 1, "not written: %d", byte);
        expect_in_memory(&g, "60-82", "and they are gone");
        end_ground(&g);
}

/* --- what a fault maps */

static void S10_S19_all_that_is_returned_is_mapped(void)
{
        struct ground g = start_ground("extra", PROT_READ, MAP_SHARED);
        char buf[16 * UNIT];
        unsigned long before;

        expect(fl_pread(g.f, buf, sizeof(buf), 32 * UNIT) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        touch_unit(&g, 32);
        before = count_faults(&g);
        for (unsigned i = 33; i < 40; i++)
                touch_unit(&g, i);
        expect_eq(count_faults(&g), before, "eight pages are mapped");
        touch_unit(&g, 40);
        expect_eq(count_faults(&g), before + 1, "not the ninth");
        touch_unit(&g, 31);
        expect_eq(count_faults(&g), before + 2, "nor what lies before");
        end_ground(&g);
}

static void S9_hat_probe_a_mapped_page_behind_it_keeps_a_fault_to_its_own(void)
{
        struct ground g = start_ground("probe", PROT_READ | PROT_WRITE, MAP_PRIVATE);
        char buf[16 * UNIT];
        unsigned long before;

        expect(fl_pread(g.f, buf, sizeof(buf), 32 * UNIT) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        for (unsigned half = 0; half < 2; half++) { /* a private store maps its own page only */
                struct caught c = try_store(g.p + 37 * UNIT + half * TEST_PAGE, 0);

                expect(!c.signo, "a store: %s", caught_name(c));
        }
        touch_unit(&g, 36); /* 37 is mapped */
        before = count_faults(&g);
        touch_unit(&g, 38); /* so this is not: and with it eight are */
        expect_eq(count_faults(&g), before + 1, "38 was not mapped with 36");
        touch_unit(&g, 45);
        expect_eq(count_faults(&g), before + 1, "45 with 38");
        end_ground(&g);
}

static void S9_both_halves_of_a_page_go_together(void)
{
        struct ground g = start_ground("halves", PROT_READ | PROT_WRITE, MAP_SHARED);
        unsigned long before;
        struct caught c;
        char byte = 0;

        store_unit(&g, 70);
        before = count_faults(&g);
        for (unsigned half = 0; half < 2; half++) {
                c = try_store(g.p + 70 * UNIT + half * TEST_PAGE + 8, 1);
                expect(!c.signo, "a store: %s", caught_name(c));
        }
        expect_eq(count_faults(&g), before, "one fault made both halves writable");
        expect_in_memory(&g, "70", "both in memory");
        touch_unit(
                &g,
                90); /* shown, and protected; then the first store is to the one, and then the other */
        store_unit(&g, 90);
        before = count_faults(&g);
        c = try_store(g.p + 90 * UNIT + TEST_PAGE + 8, 1);
        expect(!c.signo, "a store: %s", caught_name(c));
        expect_eq(count_faults(&g), before, "again");
        expect(fl_msync(g.e, g.p, UNITS * UNIT, MS_SYNC) == 0, "%s", fl_strerror());
        expect(file_read(g.path, &byte, 1, 90 * UNIT + TEST_PAGE + 8) && byte == 1,
               "a store that nobody saw: %d", byte);
        end_ground(&g);
}

/* --- memory that is advised: S29 */

static void S29_sequential_unloads_so_that_faults_recur(void)
{
        struct ground g = start_ground("unload", PROT_READ, MAP_SHARED);
        unsigned long before;

        touch_unit(&g, 20);
        before = count_faults(&g);
        touch_unit(&g, 20);
        expect_eq(count_faults(&g), before, "it is mapped");
        advise_units(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch_unit(&g, 20);
        expect_eq(count_faults(&g), before + 1, "and is not any more");
        end_ground(&g);
}

static void S29_dontneed_writes_and_destroys(void)
{
        struct ground g = start_ground("dontneed", PROT_READ | PROT_WRITE, MAP_SHARED);
        char byte = 0;

        store_unit(&g, 20);
        touch_unit(&g, 30);
        advise_units(&g, 20, 11, MADV_DONTNEED);
        expect_in_memory(&g, "", "the file's pages go");
        expect(file_read(g.path, &byte, 1, 20 * UNIT + 100) && byte == 1, "not written: %d", byte);
        end_ground(&g);
}

static void S29_dontneed_loses_nothing_private(void)
{
        struct ground g = start_ground("keeps", PROT_READ | PROT_WRITE, MAP_PRIVATE);

        store_unit(&g, 20);
        advise_units(&g, 0, UNITS, MADV_DONTNEED);
        expect_eq(g.p[20 * UNIT + 100], 1, "a private store");
        end_ground(&g);
}

/* --- memory of its own: S11 */

static unsigned long pages_used(struct fl_engine *e)
{
        check_engine(e);
        return get_stats(e).cache_bytes / TEST_PAGE;
}

/* Linux shows a page of zeros that all share (L4). */
static void S11_a_load_from_new_memory_takes_a_page_of_zeros(void)
{
        static const struct {
                const char *policy;
                unsigned long pages;
        } rows[] = { { "solaris", 3 }, { "solaris-book", 3 }, { "linux", 0 } };

        for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                struct ground g =
                        start_ground_with(rows[i].policy, "new", PROT_READ, MAP_SHARED, 0);
                unsigned long before = pages_used(g.e);
                char *p = fl_mmap(g.e, NULL, UNIT * UNITS, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                                  NULL, 0);

                expect(p != MAP_FAILED, "%s", fl_strerror());
                for (unsigned k = 50; k > 20; k -= 10)
                        expect_eq(p[k * TEST_PAGE + 7], 0, "zeros");
                expect_eq(pages_used(g.e) - before, rows[i].pages, rows[i].policy);
                expect(fl_mprotect(g.e, p, UNIT * UNITS, PROT_READ | PROT_WRITE) == 0, "%s",
                       fl_strerror());
                for (unsigned k = 50; k > 20; k -= 10)
                        expect(!try_store(p + k * TEST_PAGE, 1).signo, "a store");
                expect_eq(pages_used(g.e) - before, 3, "a store to each");
                expect(fl_munmap(g.e, p, UNIT * UNITS) == 0, "%s", fl_strerror());
                expect_eq(pages_used(g.e), before, "given back");
                end_ground(&g);
        }
}

/* The file's page stays what it was; only the half that is stored to is copied. */
static void S11_a_private_store_copies_the_files_page(void)
{
        struct ground g = start_ground("copies", PROT_READ | PROT_WRITE, MAP_PRIVATE);
        unsigned long before;
        char byte = 1;

        touch_unit(&g, 20);
        before = pages_used(g.e);
        store_unit(&g, 20);
        expect_eq(pages_used(g.e) - before, 1, "a page more");
        expect_eq(g.p[20 * UNIT + 100], 1, "its own");
        expect(fl_pread(g.f, &byte, 1, 20 * UNIT + 100) == 1 && byte != 1, "the file's: %d", byte);
        end_ground(&g);
}

/* S12: page by page, over all of the range, whatever a window may be. */
static void S12_S29_willneed_reads_all_of_the_range(void)
{
        struct ground g = start_ground("needs", PROT_READ, MAP_SHARED);

        advise_units(&g, 10, 80, MADV_WILLNEED);
        expect_in_memory(&g, "10-89", "five times a cluster");
        end_ground(&g);
}

/* S6, S7: a fault in a hole, and one that the protection forbids. */
static void S6_FC_NOMAP_and_S7_FC_PROT_are_signals(void)
{
        struct ground g = start_ground("faults", PROT_READ, MAP_SHARED);
        struct caught c = try_store(g.p, 1);
        unsigned char byte;

        expect(c.signo == SIGSEGV && c.code == SEGV_ACCERR, "S7: %s", caught_name(c));
        expect(fl_munmap(g.e, g.p + 40 * UNIT, UNIT) == 0, "%s", fl_strerror());
        c = try_load(g.p + 40 * UNIT, &byte);
        expect(c.signo == SIGSEGV && c.code == SEGV_MAPERR, "S6: %s", caught_name(c));
        end_ground(&g);
}

static void S25_S29_errors_of_advice(void)
{
        struct ground g = start_ground("advice", PROT_READ | PROT_WRITE, MAP_SHARED);

        store_unit(&g, 20);
        advise_units(&g, 0, UNITS, MADV_FREE); /* not of a file: nothing */
        expect_in_memory(&g, "20", "FREE");
        expect(fl_madvise(g.e, g.p, 0, MADV_NORMAL) < 0 && errno == EINVAL, "no length");
        expect(fl_madvise(g.e, g.p + 1, UNIT, MADV_RANDOM) < 0 && errno == EINVAL, "inside a page");
        expect(fl_madvise(g.e, g.p, UNIT, 77) < 0 && errno == EINVAL, "unknown");
        expect(fl_munmap(g.e, g.p + 40 * UNIT, UNIT) == 0, "%s", fl_strerror());
        expect(fl_madvise(g.e, g.p, UNITS * UNIT, MADV_WILLNEED) < 0 && errno == ENOMEM, "a hole");
        expect(strstr(fl_strerror(), "madvise"), "what was tried: %s", fl_strerror());
        end_ground(&g);
}

void test_segvn(void)
{
        S8_free_behind();
        S8_free_behind_goes_back_to_the_first_page_not_in_memory();
        S8_locked_pages_stay();
        S8_dirty_pages_are_written_first();
        S10_S19_all_that_is_returned_is_mapped();
        S9_hat_probe_a_mapped_page_behind_it_keeps_a_fault_to_its_own();
        S9_both_halves_of_a_page_go_together();
        S29_sequential_unloads_so_that_faults_recur();
        S29_dontneed_writes_and_destroys();
        S29_dontneed_loses_nothing_private();
        S11_a_load_from_new_memory_takes_a_page_of_zeros();
        S11_a_private_store_copies_the_files_page();
        S12_S29_willneed_reads_all_of_the_range();
        S6_FC_NOMAP_and_S7_FC_PROT_are_signals();
        S25_S29_errors_of_advice();
}
