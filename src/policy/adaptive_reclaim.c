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
 *                                                       ^ |
 *      came back soon after it had gone ------+         | | touched
 *                                             v         | v
 *                                            MAIN <-----|-+
 *                                              |        |
 *                                              +--------+ its turn has come
 *
 * After S3-FIFO (Yang et al., 2023): new pages pass through a small queue, so that what is used once
 * does not push out what is used again; ghosts bring back what went too early. Two things are
 * different. A mapped page cannot show that it is touched, so SMALL is followed by TRIED, where it is
 * unmapped and a touch is a minor fault. And what a stream reads has a queue of its own, which
 * gives its pages up without a second look: free-behind.
 *
 * To be touched in TRIED costs a minor fault, a fifth to a third of what a miss costs; with nearly all in
 * use, most would be asked in vain. So who has been in use is left alone in MAIN for some rounds, for more
 * each time; and who is not, after that, has as many tries, which cost nothing.
 *
 * MAIN would be left alone while streams pass by; so one look in so many is at its oldest, and what is
 * no longer in use goes in the end. The other way round, what a stream read too far would stay within its
 * share for ever while all that is wanted fits but for that: one look in four is at the streams' oldest.
 *
 * Free-behind is for what streams bring in. When it is others who bring in pages, the streams have ended, and
 * what they have left may be in use: then it is tried too, the youngest first, where what was read beyond
 * the end is.
 */
#include "policy/reclaim.h"

enum { SMALL, MAIN, TRIED, STREAM };

/* Of a node's bits: how often in a row the page was in use when it was asked, as far as that counts, and
 * rounds of MAIN until it is asked again. */
#define WAITED 1u /* read ahead, not touched when first looked at: sent round once */
#define ANSWER 2u
#define ANSWERS 6u
#define ROUND 16u
static const uint8_t rest[] = { 0, 3, 15 }; /* rounds, after so many answers before the last */
#define MOST_RESTING 64 /* pages passed by in MAIN, until one is asked all the same */

#define NEW_SHARE 20 /* SMALL and TRIED: a twentieth of all pages */
/* What streams may keep: a sixteenth, which is two windows of one; more, up to a quarter, where what they have
 * read has to go before it is touched. */
#define STREAM_LEAST 16
#define STREAM_MOST 4
#define TOO_EARLY 8 /* a page that would, against so many that were left behind */

/* Streams are there, for this many pages that they have brought in: a window of theirs, also of a small
 * memory's. A page of others counts for two. */
#define FLOW_SHARE 32
#define FLOW_LEAST 64
#define FLOW_OTHERS 2

#define MAIN_MOST 80 /* percent that pages of a stream may make MAIN, when they come back */
#define RETRY 64     /* pages that go until lists are tried again of which none could */
#define TURNS 4      /* of as many looks while all is within its share one is at STREAM */
#define AGE_MAIN 16  /* memories' worth of looks in which all of MAIN is looked at once */

/* own: looks at other lists since the last at MAIN, weighed by its size; looks while all is within its share;
 * whether it is streams that bring in pages, 0: others do; pages that streams may keep besides their least;
 * passes in a row of each list. */
enum { DUE, TURN, FLOW, ROOM, PASSED };

/* A page has come in, by a stream or not. */
static void note_flow(struct reclaim *r, bool stream)
{
        uint64_t most = atomic_load(&r->nr) / FLOW_SHARE + FLOW_LEAST;

        if (stream)
                r->own[FLOW] += r->own[FLOW] < most;
        else
                r->own[FLOW] -= min_u64(r->own[FLOW], FLOW_OTHERS);
}

static bool adaptive_added(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                           uint64_t key)
{
        uint64_t most = atomic_load(&r->nr) * MAIN_MOST / 100, distance;
        bool before, bit;
        unsigned list;

        reclaim_node(r, page)->bits = 0;
        if (!p->asked)
                note_flow(r, p->readahead);
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
        if (may_give(r, STREAM) && r->list[STREAM].nr > nr / STREAM_LEAST + r->own[ROOM] &&
            (r->own[FLOW] || new <= nr / NEW_SHARE))
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

/* The oldest of MAIN that is not left alone. */
static uint32_t next_of_main(struct reclaim *r)
{
        uint32_t page = reclaim_pop(r, MAIN);

        for (unsigned n = 0; n < MOST_RESTING && reclaim_node(r, page)->bits >= ROUND; n++) {
                reclaim_node(r, page)->bits -= ROUND;
                reclaim_append(r, MAIN, page);
                page = reclaim_pop(r, MAIN);
        }
        return page;
}

/* It was in use when it was asked. */
static enum reclaim_choice answered(struct reclaim_node *node)
{
        unsigned before = (node->bits & ANSWERS) / ANSWER;
        unsigned answers = before + (before + 1 < sizeof(rest));

        node->bits = (uint8_t)((node->bits & WAITED) | answers * ANSWER | rest[before] * ROUND);
        node->list = MAIN;
        return RECLAIM_KEEP;
}

/* It was not. Who has been in use before is waited for once more for each time: that costs nothing. */
static enum reclaim_choice not_answered(struct reclaim_node *node)
{
        if (!(node->bits & ANSWERS))
                return RECLAIM_EVICT;
        node->bits -= ANSWER;
        return RECLAIM_KEEP;
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
        if (list == RECLAIM_LISTS)
                return 0;
        if (list == STREAM && !r->own[FLOW]) {
                uint32_t page = r->list[STREAM].tail;

                reclaim_unlink(r, page);
                return page;
        }
        return list == MAIN ? next_of_main(r) : reclaim_pop(r, list);
}

/* A page that streams have read is the next to go. */
static void note_room(struct reclaim *r, bool too_early)
{
        uint64_t nr = atomic_load(&r->nr), most = nr / STREAM_MOST - nr / STREAM_LEAST;

        if (too_early)
                r->own[ROOM] = min_u64(r->own[ROOM] + TOO_EARLY, most);
        else
                r->own[ROOM] -= r->own[ROOM] > 0;
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
        if (node->list == STREAM && !r->own[FLOW]) {
                node->bits |= WAITED;
                return keep_on(node, TRIED, p);
        }
        if (node->list == STREAM)
                note_room(r, p->readahead);
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
                return p->mapped || p->referenced ? answered(node) : not_answered(node);
        default:
                if (p->mapped)
                        return keep_on(node, TRIED, p);
                return p->referenced ? keep_on(node, MAIN, p) : RECLAIM_EVICT;
        }
}

/* A list of which all have been passed by is left alone, until a page of it has gone otherwise or all
 * others have come to that. Meanwhile some may have become clean: now and then it is tried. */
static void adaptive_pass(struct reclaim *r, uint32_t page)
{
        struct reclaim_node *node = reclaim_node(r, page);

        r->own[PASSED + node->list]++;
        if (node->list == STREAM && !r->own[FLOW]) /* not the youngest again and again */
                node->list = TRIED;
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
