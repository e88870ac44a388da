/* SPDX-License-Identifier: Apache-2.0
 *
 * book.c - where the book says otherwise: part 4 of the rules.
 */
#include <sys/mman.h>

#include "ground.h"

static void book_a_page_at_the_fault_and_eight_at_each_64_KiB(void)
{
        struct ground g = start_ground_with("solaris-book", "book", PROT_READ, MAP_SHARED, 0);

        touch_unit(&g, 3);
        expect_in_memory(&g, "3", "one page");
        touch_unit(&g, 8);
        expect_in_memory(&g, "3 8-16", "a boundary");
        touch_unit(&g, 16);
        expect_in_memory(&g, "3 8-24", "the next, which was there");
        advise_units(&g, 0, UNITS, MADV_RANDOM);
        touch_unit(&g, 80);
        expect_in_memory(&g, "3 8-24 80-88", "RANDOM only forbids the cluster");
        end_ground(&g);
}

static void book_the_file_systems_cluster_unless_shared_or_random(void)
{
        struct ground g = start_ground_with("solaris-book", "cluster", PROT_READ, MAP_PRIVATE, 0);

        touch_unit(&g, 40);
        expect_in_memory(&g, "40-56", "a cluster");
        advise_units(&g, 0, UNITS, MADV_RANDOM);
        touch_unit(&g, 80);
        expect_in_memory(&g, "40-56 80-88", "RANDOM");
        end_ground(&g);
}

static void book_sequential_frees_all_up_to_the_fault(void)
{
        struct ground g = start_ground_with("solaris-book", "upto", PROT_READ, MAP_SHARED, 0);

        touch_unit(&g, 1);
        touch_unit(&g, 3);
        touch_unit(&g, 20);
        advise_units(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch_unit(&g, 61);
        expect_in_memory(&g, "61", "holes, and the first page, do not matter");
        end_ground(&g);
}

static void book_protection_is_reduced(void)
{
        struct ground g = start_ground_with("solaris-book", "reduced", PROT_READ, MAP_SHARED, 0);
        struct fl_mapping_info info = { .size = sizeof(info) };
        char *p = map_file(g.e, g.f, UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

        expect(fl_mapping_info(g.e, p, &info) == 0, "%s", fl_strerror());
        expect_eq(info.prot, PROT_READ, "what is left");
        expect(fl_munmap(g.e, p, UNIT) == 0, "%s", fl_strerror());
        end_ground(&g);
}

void test_book(void)
{
        book_protection_is_reduced();
        book_a_page_at_the_fault_and_eight_at_each_64_KiB();
        book_the_file_systems_cluster_unless_shared_or_random();
        book_sequential_frees_all_up_to_the_fault();
}
