/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive_reclaim.c - what adaptive gives up first: pages that a stream has left behind, then pages that
 * have been asked for once, then those of which nothing has been heard for long.
 *
 *            read ahead                       read because somebody wanted it
 *                |                                        |
 *             STREAM --touched again--+                 SMALL
 *                |                    |                   | looked at: unmapped
 *              goes                   +---------------> TRIED --not touched--> goes
 *                                                         |
 *      came back soon after it had gone -----------+      | touched
 *                                                  v      v
 *                                                    MAIN <--- touched since it was last looked at
 *                                                     |
 *                                                   goes
 *
 * After S3-FIFO (Yang et al., 2023): new pages pass through a small queue, so that what is used once
 * does not push out what is used again; ghosts bring back what went too early. Two things are
 * different. A mapped page cannot show that it is touched, so SMALL is followed by TRIED, where it is
 * unmapped and a touch is a minor fault. And what a stream reads has a queue of its own, which
 * gives its pages up without a second look: free-behind.
 *
 * MAIN would be left alone while streams pass by; so one look in so many is at its oldest, and what is
 * no longer in use goes in the end. The other way round, what a stream read too far would stay within its
 * share for ever while all that is wanted fits but for that: one look in four is at the streams' oldest.
 */
#include "policy/reclaim.h"

enum { SMALL, MAIN, TRIED, STREAM };
#define WAITED 1u /* read ahead, not touched when first looked at: sent round once */

#define NEW_SHARE 10   /* SMALL and TRIED: a tenth of all pages */
#define STREAM_SHARE 8 /* what streams may keep: an eighth */
#define MAIN_MOST 80   /* percent that pages of a stream may make MAIN, when they come back */
#define RETRY 64       /* pages that go until lists are tried again of which none could */
#define TURNS 4        /* of as many looks while all is within its share one is at STREAM */
#define AGE_MAIN 16    /* memories' worth of looks in which all of MAIN is looked at once */

/* own: looks at other lists since the last at MAIN, weighed by its size; looks while all is within its share;
 * passes in a row of each list. */
enum { DUE, TURN, PASSED };

static bool adaptive_added(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                           uint64_t key)
{
        uint64_t most = atomic_load(&r->nr) * MAIN_MOST / 100, distance;
        bool before, bit;
        unsigned list;

        reclaim_node(r, page)->bits = 0;
        before = ghost_take(r, key, &distance, &bit);
        if (p->asked) /* whoever says what he needs is believed, more than what he has used once */
                list = MAIN;
        else if (p->readahead) /* a scan that comes round keeps as much as there is room for */
                list = before && r->list[MAIN].nr < most ? MAIN : STREAM;
        else
                list = before ? MAIN : SMALL;
        reclaim_append(r, list, page);
        return before;
}

static bool may_give(const struct reclaim *r, unsigned list)
{
        return r->list[list].nr && r->own[PASSED + list] <= r->list[list].nr;
}

static unsigned choose(struct reclaim *r)
{
        uint64_t nr = atomic_load(&r->nr), new = r->list[SMALL].nr + r->list[TRIED].nr;
        unsigned first;

        r->own[DUE] += r->list[MAIN].nr;
        if (r->own[DUE] > AGE_MAIN * nr && may_give(r, MAIN)) {
                r->own[DUE] = 0;
                return MAIN;
        }
        if (may_give(r, STREAM) && r->list[STREAM].nr > nr / STREAM_SHARE)
                return STREAM;
        if (new > nr / NEW_SHARE) {
                bool tried = r->list[TRIED].nr > r->list[SMALL].nr;

                if (may_give(r, tried ? TRIED : SMALL))
                        return tried ? TRIED : SMALL;
        }
        first = r->own[TURN]++ % TURNS ? MAIN : STREAM;
        for (unsigned list = first; list < first + RECLAIM_LISTS; list++)
                if (may_give(r, list % RECLAIM_LISTS))
                        return list % RECLAIM_LISTS;
        return RECLAIM_LISTS;
}

static uint32_t adaptive_next(struct reclaim *r)
{
        unsigned list;

        list = choose(r);
        if (list == RECLAIM_LISTS) { /* none of any: from the beginning */
                for (list = 0; list < RECLAIM_LISTS; list++)
                        r->own[PASSED + list] = 0;
                list = choose(r);
        }
        return list == RECLAIM_LISTS ? 0 : reclaim_pop(r, list);
}

static enum reclaim_choice keep_on(struct reclaim_node *node, unsigned list,
                                   const struct reclaim_page *p)
{
        node->list = (uint8_t)list;
        return p->mapped ? RECLAIM_UNMAP : RECLAIM_KEEP;
}

static enum reclaim_choice adaptive_look(struct reclaim *r, uint32_t page,
                                         const struct reclaim_page *p)
{
        struct reclaim_node *node = reclaim_node(r, page);

        r->own[PASSED + node->list] = 0;
        if (p->readahead && !(node->bits & WAITED)) {
                node->bits |= WAITED;
                return RECLAIM_KEEP;
        }
        switch (node->list) {
        case STREAM:
                return p->referenced ? keep_on(node, TRIED, p) : RECLAIM_EVICT;
        case SMALL:
                return p->mapped || p->referenced ? keep_on(node, TRIED, p) : RECLAIM_EVICT;
        case TRIED:
                return p->mapped || p->referenced ? keep_on(node, MAIN, p) : RECLAIM_EVICT;
        default:
                if (p->referenced)
                        return keep_on(node, MAIN, p);
                return p->mapped ? keep_on(node, TRIED, p) : RECLAIM_EVICT; /* shown with others */
        }
}

/* A list of which all have been passed by is left alone, until a page of it has gone otherwise or all
 * others have come to that. Meanwhile some may have become clean: now and then it is tried. */
static void adaptive_pass(struct reclaim *r, uint32_t page)
{
        r->own[PASSED + reclaim_node(r, page)->list]++;
}

/* Of what streams leave behind one page in four is remembered: there is much of it, and it would push out
 * what is known of others. */
static void adaptive_evicted(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                             uint64_t key)
{
        (void)p;
        if (++r->age % RETRY == 0)
                for (unsigned list = 0; list < RECLAIM_LISTS; list++)
                        r->own[PASSED + list] /= 2;
        if (reclaim_node(r, page)->list != STREAM || key >> 62 == 0)
                ghost_add(r, key, false);
}

const struct reclaim_ops adaptive_reclaim = {
        .name = "small, tried, main and stream",
        .ghosts = 200,
        .added = adaptive_added,
        .next = adaptive_next,
        .look = adaptive_look,
        .pass = adaptive_pass,
        .evicted = adaptive_evicted,
};
