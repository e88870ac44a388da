/* SPDX-License-Identifier: Apache-2.0
 *
 * test_scanner.c - the two hands of Solaris's page scanner, on pages that are numbers: each rule on its
 * own, its number first in the name.
 */
#include <criterion/criterion.h>

#include "policy/policy.h"

#define PAGES 64

static struct slot {
        struct reclaim_node node;
        bool mapped, referenced;
        unsigned shared;
} slots[PAGES];
static struct reclaim r;

static void begin(uint64_t between, unsigned pages)
{
        reclaim_init(&r, &scanner_reclaim, &slots->node, sizeof(*slots), PAGES, NULL);
        r.own[0] = between;
        for (unsigned n = 1; n <= pages; n++) {
                struct reclaim_page seen = { 0 };

                slots[n - 1].mapped = slots[n - 1].referenced = true;
                cr_assert_not(r.ops->added(&r, n, &seen, n));
        }
}

/* What became of the next page; *n: which. */
static enum reclaim_choice step(uint32_t *n)
{
        enum reclaim_choice choice;
        struct slot *s;

        *n = r.ops->next(&r);
        cr_assert_neq(*n, 0);
        s = &slots[*n - 1];
        choice = r.ops->look(&r, *n,
                             &(struct reclaim_page){ .referenced = s->referenced,
                                                     .mapped = s->mapped,
                                                     .shared = s->shared });
        if (choice == RECLAIM_UNMAP)
                s->mapped = s->referenced = false;
        if (choice == RECLAIM_KEEP)
                s->referenced = false;
        if (choice != RECLAIM_EVICT)
                reclaim_put_back(&r, *n);
        return choice;
}

static void expect_step(uint32_t page, enum reclaim_choice choice)
{
        uint32_t n;
        enum reclaim_choice c = step(&n);

        cr_assert_eq(n, page, "page %u, not %u", n, page);
        cr_assert_eq(c, choice, "page %u: %d, not %d", n, c, choice);
}

/* The front hand goes first, by the spread; then each takes a page in turn. */
Test(scanner, S36_the_back_hand_is_handspread_behind)
{
        begin(4, 10);
        for (uint32_t n = 1; n <= 5; n++)
                expect_step(n, RECLAIM_UNMAP);
        expect_step(1, RECLAIM_EVICT);
        expect_step(6, RECLAIM_UNMAP);
        expect_step(2, RECLAIM_EVICT);
}

Test(scanner, S36_what_is_referenced_between_the_hands_is_spared)
{
        begin(2, 8);
        for (uint32_t n = 1; n <= 3; n++)
                expect_step(n, RECLAIM_UNMAP);
        slots[0].mapped = slots[0].referenced = true;
        expect_step(1, RECLAIM_KEEP);
        expect_step(4, RECLAIM_UNMAP);
        slots[1].referenced = true; /* by read(2) */
        expect_step(2, RECLAIM_KEEP);
        expect_step(5, RECLAIM_UNMAP);
        expect_step(3, RECLAIM_EVICT);
}

/* A page that is never touched again goes in the first lap, one that always is never. */
Test(scanner, S36_a_hot_page_stays)
{
        unsigned evicted = 0;

        begin(8, 40);
        for (unsigned i = 0; i < 400 && evicted < 39; i++) {
                uint32_t n;
                enum reclaim_choice c = step(&n);

                evicted += c == RECLAIM_EVICT;
                cr_assert(n != 17 || c != RECLAIM_EVICT, "the hot page went");
                slots[16].mapped = slots[16].referenced = true;
        }
        cr_assert_eq(evicted, 39);
}

/* Shown by more than eight mappings: passed by, until a lap has brought nothing. */
Test(scanner, S36_po_share)
{
        uint32_t n;
        unsigned looked;

        begin(2, 4);
        for (unsigned i = 0; i < 4; i++)
                slots[i].shared = 10;
        expect_step(1, RECLAIM_KEEP);
        cr_assert(slots[0].mapped, "unmapped by the front hand");
        for (looked = 0; looked < 100; looked++)
                if (step(&n) == RECLAIM_UNMAP)
                        break;
        cr_assert_lt(looked, 20, "a fruitless lap doubles po_share");
        for (looked = 0; looked < 100; looked++)
                if (step(&n) == RECLAIM_EVICT)
                        break;
        cr_assert_lt(looked, 20);
}

/* What cannot go, dirty or locked, does not stop the hands. */
Test(scanner, S36_passed_pages_do_not_stop_the_hands)
{
        unsigned seen = 0;

        begin(2, 6);
        for (uint32_t n = 1; n <= 3; n++)
                expect_step(n, RECLAIM_UNMAP);
        for (unsigned i = 0; i < 100; i++) {
                uint32_t n = r.ops->next(&r);

                cr_assert_neq(n, 0);
                seen |= 1u << n;
                reclaim_pass(&r, n);
        }
        cr_assert_eq(seen, 0x7e, "pages come to: %#x", seen);
        for (unsigned i = 0, gone = 0; gone < 6; i++) {
                uint32_t n;

                cr_assert_lt(i, 100);
                gone += step(&n) == RECLAIM_EVICT;
        }
        cr_assert_eq(r.ops->next(&r), 0);
}

/* Memory comes from the cachelist before a hand moves, from its head first. */
Test(scanner, S22_the_cachelist_goes_first)
{
        begin(2, 8);
        for (unsigned i = 4; i < 8; i++)
                slots[i].mapped = slots[i].referenced = false;
        reclaim_cold(&r, 5, false);
        reclaim_cold(&r, 6, false);
        reclaim_cold(&r, 7, true);
        expect_step(7, RECLAIM_EVICT);
        expect_step(5, RECLAIM_EVICT);
        expect_step(6, RECLAIM_EVICT);
        expect_step(1, RECLAIM_UNMAP);
}

Test(scanner, S22_what_is_found_on_the_cachelist_is_in_use_again)
{
        begin(2, 4);
        slots[1].mapped = slots[2].mapped = slots[1].referenced = false;
        reclaim_cold(&r, 2, false);
        slots[1].referenced = true;
        reclaim_cold(&r, 3, false);
        slots[2].mapped = true;
        slots[2].referenced = false;
        reclaim_cold(&r, 4, false); /* dirty, say */
        expect_step(2, RECLAIM_KEEP);
        expect_step(3, RECLAIM_UNMAP);
        cr_assert_eq(r.ops->next(&r), 4);
        reclaim_pass(&r, 4);
        expect_step(3, RECLAIM_EVICT);
        expect_step(1, RECLAIM_UNMAP);
        expect_step(2, RECLAIM_KEEP); /* by the front hand */
        expect_step(4, RECLAIM_UNMAP);
}

/* Arithmetic of the turns, in pages of 4 KiB where Solaris's have 8: 32 MiB. */
Test(scanner, S34_S35_turns)
{
        static const struct policy_tune none;
        struct scan_levels l = solaris_scan.levels(&none, 8192, 2);
        struct scan_turn t;

        cr_assert_eq(solaris_scan.period_ms, 250);
        cr_assert_eq(l.below, 128);  /* 64 pages of 8 KiB */
        cr_assert_eq(l.at_once, 32); /* 16 */
        cr_assert_eq(l.spread, 4096);
        t = solaris_scan.turn(&none, 8192, 128, 2);
        cr_assert_eq(t.pages, 0);
        t = solaris_scan.turn(&none, 8192, 126, 2);
        cr_assert_eq(t.pages, 2 * ((100 * 63 + 2048) / 64 / 4));
        cr_assert_eq(t.pushes, 20);
        cr_assert_eq(t.cpu_percent, 5);
        t = solaris_scan.turn(&none, 8192, 0, 2);
        cr_assert_eq(t.pages, 1024);
        cr_assert_eq(t.cpu_percent, 80);
}
