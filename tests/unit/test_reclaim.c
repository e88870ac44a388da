/* SPDX-License-Identifier: Apache-2.0
 *
 * test_reclaim.c - replacement algorithms by themselves: pages that are numbers, in the order in which
 * they go.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

#define PAGES 4096

struct slot {
        uint64_t key;
        struct reclaim_node node;
        bool here, referenced, mapped, ahead, asked, refault;
        bool hot; /* touched again as soon as it is unmapped */
};
static struct slot slots[PAGES];
static struct reclaim r;
static void *ghosts;

static void begin(const struct reclaim_ops *ops, uint64_t memory)
{
        size_t bytes = reclaim_ghost_bytes(ops, memory);

        ghosts = bytes ? calloc(1, bytes) : NULL;
        reclaim_init(&r, ops, &slots->node, sizeof(*slots), memory, ghosts);
}

static void end(void)
{
        free(ghosts);
}

/* Page n; touched when it came, and mapped. */
static void come(uint32_t n)
{
        struct slot *s = &slots[n - 1];
        struct reclaim_page seen = { .readahead = s->ahead, .asked = s->asked };

        s->refault = r.ops->added(&r, n, &seen, reclaim_key(7, n));
        s->here = s->mapped = s->referenced = true;
}

static void touch(uint32_t n)
{
        slots[n - 1].mapped = slots[n - 1].referenced = true;
}

static struct reclaim_page seen_of(const struct slot *s)
{
        return (struct reclaim_page){ .referenced = s->referenced,
                                      .mapped = s->mapped,
                                      .readahead = s->ahead,
                                      .asked = s->asked };
}

/* The next to go, gone. */
static uint32_t go(void)
{
        for (unsigned looks = 0; looks < 8 * PAGES; looks++) {
                uint32_t n = reclaim_next(&r);
                struct reclaim_page seen;
                struct slot *s;
                enum reclaim_choice choice;

                cr_assert_neq(n, 0, "no page is left");
                s = &slots[n - 1];
                seen = seen_of(s);
                choice = r.ops->look(&r, n, &seen);
                if (choice == RECLAIM_EVICT) {
                        if (r.ops->evicted)
                                r.ops->evicted(&r, n, &seen, reclaim_key(7, n));
                        s->here = s->mapped = s->referenced = false;
                        return n;
                }
                s->referenced = false;
                s->mapped &= choice != RECLAIM_UNMAP;
                if (s->hot)
                        touch(n);
                reclaim_put_back(&r, n);
        }
        cr_assert_fail("looks without end");
        return 0;
}

Test(reclaim, a_list_is_in_order)
{
        begin(&clock_reclaim, 64);
        for (uint32_t n = 1; n <= 4; n++)
                reclaim_append(&r, 1, n);
        reclaim_prepend(&r, 1, 5);
        reclaim_unlink(&r, 2);
        cr_assert_eq(r.list[1].nr, 4);
        cr_assert_eq(atomic_load(&r.nr), 4);
        cr_assert_eq(reclaim_pop(&r, 1), 5);
        cr_assert_eq(reclaim_pop(&r, 1), 1);
        reclaim_unlink(&r, 4);
        reclaim_put_back(&r, 4);
        reclaim_cold(&r, 4, false);
        cr_assert_eq(reclaim_next(&r), 4);
        cr_assert_eq(r.list[1].nr, 1);
        cr_assert_eq(reclaim_pop(&r, 1), 3);
        cr_assert_eq(reclaim_pop(&r, 1), 0);
        cr_assert_eq(atomic_load(&r.nr), 0);
        end();
}

Test(reclaim, ghosts_are_found_once_and_know_their_age)
{
        uint64_t distance;
        bool bit;

        begin(&linux_reclaim, 1000);
        cr_assert_not(ghost_take(&r, 42, &distance, &bit));
        for (uint64_t k = 0; k < 100; k++, r.age++)
                ghost_add(&r, reclaim_key(1, k), k & 1);
        cr_assert(ghost_take(&r, reclaim_key(1, 90), &distance, &bit));
        cr_assert_eq(distance, 10);
        cr_assert_not(bit);
        cr_assert(ghost_take(&r, reclaim_key(1, 91), &distance, &bit));
        cr_assert_eq(distance, 9);
        cr_assert(bit);
        cr_assert_not(ghost_take(&r, reclaim_key(1, 91), &distance, &bit));
        cr_assert_not(ghost_take(&r, reclaim_key(2, 92), &distance, &bit), "another file's");
        end();
}

/* More than there is room for: of those that went last most are known, of the first none. */
Test(reclaim, ghosts_forget_the_oldest)
{
        uint64_t distance;
        unsigned late = 0, early = 0;
        bool bit;

        begin(&linux_reclaim, 1000);
        for (uint64_t k = 0; k < 10000; k++, r.age++)
                ghost_add(&r, reclaim_key(1, k), false);
        for (uint64_t k = 0; k < 500; k++) {
                early += ghost_take(&r, reclaim_key(1, k), &distance, &bit);
                late += ghost_take(&r, reclaim_key(1, 9999 - k), &distance, &bit);
        }
        cr_assert_lt(early, 5);
        cr_assert_gt(late, 400);
        end();
}

Test(reclaim, the_clock_gives_a_second_chance)
{
        begin(&clock_reclaim, 64);
        for (uint32_t n = 1; n <= 3; n++)
                come(n);
        cr_assert_eq(go(), 1);
        touch(2);
        cr_assert_eq(go(), 3);
        cr_assert_eq(go(), 2);
        end();
}

/* Inactive pages go in order; one that is touched twice while it is looked at does not. */
Test(reclaim, L51_a_second_sight_before_a_page_is_active)
{
        begin(&linux_reclaim, 64);
        for (uint32_t n = 1; n <= 8; n++)
                come(n);
        cr_assert_eq(go(), 1);
        touch(2);
        cr_assert_eq(go(), 3);
        cr_assert_eq(r.list[1].nr, 1, "2 is active");
        come(1);
        for (uint32_t n = 4; n <= 8; n++)
                cr_assert_eq(go(), n);
        cr_assert_eq(go(), 1);
        cr_assert_eq(go(), 2, "nothing else is left");
        end();
}

/* What is never touched twice passes by pages that are. */
Test(reclaim, L51_a_scan_does_not_take_the_active_pages)
{
        begin(&linux_reclaim, 64);
        for (uint32_t n = 1; n <= 64; n++) {
                come(n);
                slots[n - 1].hot = n <= 16;
        }
        for (unsigned i = 0; i < 1000; i++) {
                go();
                come(100 + i);
        }
        for (uint32_t n = 1; n <= 16; n++)
                cr_assert(slots[n - 1].here, "page %u went for one that was seen once", n);
        end();
}

/* Pages 1 to 32, of which eight become active; 9 to 16 go. */
static void some_active(void)
{
        begin(&linux_reclaim, 64);
        for (uint32_t n = 1; n <= 32; n++) {
                come(n);
                slots[n - 1].hot = n <= 8;
        }
        for (uint32_t n = 9; n <= 16; n++)
                cr_assert_eq(go(), n);
        for (uint32_t n = 1; n <= 8; n++)
                cr_assert_eq(slots[n - 1].node.list, 1);
}

/* Inactive pages that are dirty, or promised to stay, do not hide the active ones. */
Test(reclaim, L51_active_pages_go_when_no_inactive_one_can)
{
        unsigned looks = 0;
        uint32_t n;

        begin(&linux_reclaim, 64);
        for (n = 1; n <= 8; n++) {
                come(n);
                slots[n - 1].hot = n <= 2;
        }
        cr_assert_eq(go(), 3);
        cr_assert_eq(r.list[1].nr, 2);
        while ((n = r.ops->next(&r)) > 2) {
                cr_assert_lt(looks++, 64, "the active pages are never looked at");
                reclaim_pass(&r, n);
        }
        end();
}

/* A page that comes back before there have been more evictions than there are active pages. */
Test(reclaim, L19_a_refault_within_the_working_set_is_active_at_once)
{
        some_active();
        come(16);
        cr_assert_eq(slots[15].node.list, 1);
        cr_assert_not(slots[15].refault, "it was never active");
        for (uint32_t n = 200; n < 230; n++) {
                come(n);
                go();
        }
        come(10);
        cr_assert_eq(slots[9].node.list, 0, "too long ago");
        end();
}

/* PG_workingset: a page that was active, was made inactive, went, and comes back soon. */
Test(reclaim, L19_a_page_that_was_active_is_known_again)
{
        uint32_t n;

        some_active();
        slots[0].hot = false;
        do {
                n = go();
        } while (n != 1);
        cr_assert_gt(r.list[1].nr, 0);
        come(1);
        cr_assert_eq(slots[0].node.list, 1);
        cr_assert(slots[0].refault);
        end();
}

/* What a stream has read too far is within its share, and nobody comes for it. The set that is in use
 * would fit but for that: in the end it does. */
Test(reclaim, adaptive_gives_up_what_a_stream_read_too_far)
{
        enum { MEMORY = 1000, SET = 950, JUNK = 120, ROUNDS = 40 };
        uint32_t at = 1;
        unsigned misses = 0;

        begin(&adaptive_reclaim, MEMORY);
        for (uint32_t n = SET + 1; n <= SET + JUNK; n++) {
                slots[n - 1].ahead = true;
                come(n);
                slots[n - 1].mapped = slots[n - 1].referenced = false;
        }
        for (unsigned i = 0; i < ROUNDS * SET; i++) {
                uint32_t n;

                at = (uint32_t)(at * UINT64_C(48271) % 2147483647);
                n = 1 + at % SET;
                if (i == (ROUNDS - 1) * SET)
                        misses = 0;
                if (slots[n - 1].here) {
                        touch(n);
                        continue;
                }
                misses++;
                while (atomic_load(&r.nr) >= MEMORY)
                        go();
                come(n);
        }
        cr_expect_eq(misses, 0, "%u in the last round", misses);
        end();
}

/* A set that was read in order, once, and is mapped and in use since: no page of it goes for pages that are
 * used once. Where streams still pass by, it does: that is free-behind. */
Test(reclaim, adaptive_tries_what_streams_have_left)
{
        enum { MEMORY = 1000, SET = 900, OTHERS = 400 };

        for (unsigned streams = 0; streams < 2; streams++) {
                unsigned gone = 0;

                memset(slots, 0, sizeof(slots));
                begin(&adaptive_reclaim, MEMORY);
                for (uint32_t n = 1; n <= SET + OTHERS; n++) {
                        struct slot *s = &slots[n - 1];

                        if (atomic_load(&r.nr) >= MEMORY)
                                gone += go() <= SET;
                        s->ahead = n <= SET || streams;
                        s->hot = n <= SET;
                        come(n);
                        s->ahead = s->referenced = false;
                }
                if (streams)
                        cr_expect_gt(gone, OTHERS / 2, "%u of the set behind a stream", gone);
                else
                        cr_expect_eq(gone, 0, "%u of the set", gone);
                end();
        }
}

/* MADV_COLD: those go first, the one that was said first before the others, wherever they were. */
Test(reclaim, what_is_cold_goes_next_under_any_algorithm)
{
        static const struct reclaim_ops *const all[] = { &clock_reclaim, &linux_reclaim,
                                                         &adaptive_reclaim, &scanner_reclaim };

        for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
                memset(slots, 0, sizeof(slots));
                begin(all[i], 64);
                for (uint32_t n = 1; n <= 40; n++)
                        come(n);
                for (uint32_t n = 30; n <= 33; n++) {
                        slots[n - 1].mapped = slots[n - 1].referenced = false;
                        reclaim_cold(&r, n, false);
                }
                cr_assert_eq(atomic_load(&r.nr), 40);
                for (uint32_t n = 30; n <= 33; n++)
                        cr_expect_eq(go(), n, "%s", all[i]->name);
                cr_expect_eq(atomic_load(&r.nr), 36);
                end();
        }
}

/* What MADV_WILLNEED, populate or fl_prefetch brings in is more than new pages, or those of streams, may be.
 * Others that nobody wants go before it. */
Test(reclaim, adaptive_keeps_what_was_asked_for)
{
        enum { MEMORY = 400, OLD = 400, ASKED = 200 };
        unsigned here = 0;

        begin(&adaptive_reclaim, MEMORY);
        for (uint32_t n = 1; n <= OLD; n++)
                come(n);
        for (uint32_t n = OLD + 1; n <= OLD + ASKED; n++) {
                struct slot *s = &slots[n - 1];

                go();
                s->asked = s->ahead = true;
                come(n);
                s->mapped = s->referenced = false;
        }
        for (uint32_t n = OLD + 1; n <= OLD + ASKED; n++)
                here += slots[n - 1].here;
        cr_assert_eq(here, ASKED);
        end();
}

/* Nor does it go with what streams leave behind, which is the first to go while they bring in pages. */
Test(reclaim, adaptive_lets_streams_pass_what_was_asked_for)
{
        enum { MEMORY = 400, ASKED = 100, PASSING = 1200 };
        unsigned here = 0;

        begin(&adaptive_reclaim, MEMORY);
        for (uint32_t n = 1; n <= ASKED + PASSING; n++) {
                struct slot *s = &slots[n - 1];

                if (n > MEMORY)
                        go();
                s->ahead = true;
                s->asked = n <= ASKED;
                come(n);
                s->mapped = s->referenced = false;
                s->ahead = s->asked; /* a stream's reader has been there, and is gone */
        }
        for (uint32_t n = 1; n <= ASKED; n++)
                here += slots[n - 1].here;
        cr_assert_eq(here, ASKED);
        end();
}

static uint64_t draw(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        return *state ^= *state << 17;
}

/* Loads from MEMORY / 10 pages more than there is room for, the k-th of which is wanted 1/k as often as
 * the first. */
struct loads {
        double below[PAGES];
        uint64_t state, misses, questions; /* those that cost a minor fault */
};

static void load(struct loads *l, uint32_t pages, uint32_t memory)
{
        double at = (double)(draw(&l->state) >> 11) * 0x1p-53 * l->below[pages - 1];
        uint32_t low = 0, high = pages - 1, n;

        while (low < high) {
                uint32_t middle = (low + high) / 2;

                if (l->below[middle] < at)
                        low = middle + 1;
                else
                        high = middle;
        }
        n = low * 1237 % pages + 1;
        if (slots[n - 1].here) {
                l->questions += !slots[n - 1].mapped;
                if (!slots[n - 1].mapped)
                        touch(n);
                return;
        }
        l->misses++;
        if (atomic_load(&r.nr) == memory)
                go();
        come(n);
}

static void run_loads(struct loads *l, uint32_t pages, uint32_t memory, unsigned nr)
{
        l->misses = l->questions = 0;
        while (nr--)
                load(l, pages, memory);
}

/* Each page that is in use and asked costs a minor fault: who has always been in use is asked rarely. The best
 * that can be had without knowing what is to come, the most wanted pages staying, is 1.1 misses of 100. */
Test(reclaim, adaptive_asks_little_of_what_stays_in_use)
{
        enum { MEMORY = 3600, WANTED = 3960, LOADS = 1000000 };
        struct loads l = { .state = 11 };

        begin(&adaptive_reclaim, MEMORY);
        for (unsigned i = 0; i < WANTED; i++)
                l.below[i] = (i ? l.below[i - 1] : 0) + 1.0 / (i + 1);
        run_loads(&l, WANTED, MEMORY, LOADS);
        run_loads(&l, WANTED, MEMORY, LOADS);
        cr_assert_leq(l.misses * 1000, 17ull * LOADS, "%lu misses", l.misses);
        cr_assert_leq(l.questions * 1000, 10ull * LOADS, "%lu answers", l.questions);
        end();
}

/* Nor does it stay for long when it is not in use any more. */
Test(reclaim, adaptive_gives_up_what_was_in_use_for_long)
{
        enum { MEMORY = 400, HOT = 300, NEXT = 2000 };
        unsigned here = 0;

        begin(&adaptive_reclaim, MEMORY);
        for (uint32_t n = 1; n <= HOT; n++) {
                come(n);
                slots[n - 1].hot = true;
        }
        for (uint32_t n = HOT + 1; n <= HOT + 1000; n++) {
                if (n > MEMORY)
                        go();
                come(n);
        }
        for (uint32_t n = 1; n <= HOT; n++)
                here += slots[n - 1].here;
        cr_assert_eq(here, HOT, "%u of them are there", here);
        for (uint32_t n = 1; n <= HOT; n++)
                slots[n - 1].hot = false;
        for (uint32_t n = HOT + 1001; n <= HOT + 1000 + NEXT; n++) {
                go();
                slots[n - 1].hot = true; /* a set that takes turns */
                come(n);
                slots[n - 301].hot = false;
        }
        here = 0;
        for (uint32_t n = 1; n <= HOT; n++)
                here += slots[n - 1].here;
        cr_assert_leq(here, HOT / 10, "%u of them are there", here);
        end();
}
