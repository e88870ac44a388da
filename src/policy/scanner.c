/* SPDX-License-Identifier: Apache-2.0
 *
 * scanner.c - the page scanner of Solaris (S34 to S36): two hands go round all pages, one behind the
 * other. The front hand forgets that a page has been referenced; the back hand takes it if nobody has
 * since.
 *
 * The circle is two lists: AHEAD of the front hand, and BETWEEN the hands, each in the order in which
 * its hand will come to the page. What has been freed, and still shows what it held, is on the CACHELIST:
 * memory is taken from there before a hand moves, and a page that is found there again is back in use. There are no reference bits here: the front hand unmaps, and the
 * minor fault of the next touch is the bit. pageout.c says how fast the hands go.
 */
#include "policy/pageout.h"
#include "policy/policy.h"

enum { AHEAD, BETWEEN, CACHELIST };

/* reclaim.own[0]: pages between the hands; above them po_share, 0: as it begins. reclaim.age: pages that the
 * front hand has come to in this lap, and whether the back hand has taken any. */
#define SPREAD_BITS 40
#define SPREAD_MASK ((UINT64_C(1) << SPREAD_BITS) - 1)
#define FREED (UINT64_C(1) << 63)
#define PO_SHARE 8u

static unsigned po_share(const struct reclaim *r)
{
        unsigned share = (unsigned)(r->own[0] >> SPREAD_BITS);

        return share ? share : PO_SHARE;
}

static uint64_t spread(const struct reclaim *r)
{
        uint64_t given = r->own[0] & SPREAD_MASK;

        return given ? given : pageout_limits(r->memory, PAGE_SIZE).handspread;
}

static bool scanner_added(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                          uint64_t key)
{
        (void)p, (void)key;
        reclaim_append(r, AHEAD, page);
        return false;
}

static uint32_t scanner_next(struct reclaim *r)
{
        if (r->list[CACHELIST].nr)
                return reclaim_pop(r, CACHELIST);
        if (r->list[BETWEEN].nr > spread(r) || r->list[AHEAD].nr == 0)
                return reclaim_pop(r, BETWEEN);
        return reclaim_pop(r, AHEAD);
}

/* The front hand has come to one page more. After a lap in which nothing was taken pages that more
 * mappings show are looked at too. */
static void count_step(struct reclaim *r)
{
        uint64_t share = po_share(r);

        if (((++r->age) & ~FREED) <= atomic_load(&r->nr))
                return;
        share = pageout_share((unsigned)share, !(r->age & FREED), r->age & FREED);
        share = min_u64(share, UINT64_MAX >> (SPREAD_BITS + 1));
        r->own[0] = (r->own[0] & SPREAD_MASK) | share << SPREAD_BITS;
        r->age = 0;
}

static struct pageout_page seen_as(const struct reclaim_page *p)
{
        return (struct pageout_page){ .referenced = p->referenced || p->mapped,
                                      .shared = p->shared };
}

static enum reclaim_choice scanner_look(struct reclaim *r, uint32_t page,
                                        const struct reclaim_page *p)
{
        struct reclaim_node *node = reclaim_node(r, page);
        struct pageout_page seen = seen_as(p);

        if (node->list == CACHELIST) {
                if (!p->referenced)
                        return p->mapped ? RECLAIM_UNMAP : RECLAIM_EVICT;
                node->list = AHEAD;
                return RECLAIM_KEEP;
        }
        if (node->list == AHEAD) {
                node->list = BETWEEN;
                count_step(r);
                return p->mapped && pageout_front(&seen, po_share(r)) == PAGEOUT_CLEAR
                               ? RECLAIM_UNMAP
                               : RECLAIM_KEEP;
        }
        node->list = AHEAD;
        if (pageout_back(&seen, po_share(r)) != PAGEOUT_FREE)
                return RECLAIM_KEEP;
        r->age |= FREED;
        return RECLAIM_EVICT;
}

/* The hands go on all the same; what cannot go is no longer free. */
static void scanner_pass(struct reclaim *r, uint32_t page)
{
        struct reclaim_node *node = reclaim_node(r, page);

        if (node->list == AHEAD)
                count_step(r);
        node->list = node->list == AHEAD ? BETWEEN : AHEAD;
}

/* S20, S22: B_FREE puts a page to the tail of the cachelist, B_DONTNEED to its head. */
static void scanner_cold(struct reclaim *r, uint32_t page, bool first)
{
        (first ? reclaim_prepend : reclaim_append)(r, CACHELIST, page);
}

const struct reclaim_ops scanner_reclaim = {
        .name = "scanner",
        .added = scanner_added,
        .next = scanner_next,
        .look = scanner_look,
        .pass = scanner_pass,
        .cold = scanner_cold,
};

/* --- how fast --- */

static struct pageout_limits limits_of(const struct policy_tune *tune, uint64_t memory,
                                       uint32_t unit)
{
        return pageout_limits_tuned(tune, memory / unit, unit * PAGE_SIZE);
}

static struct scan_levels scanner_levels(const struct policy_tune *tune, uint64_t memory,
                                         uint32_t unit)
{
        struct pageout_limits l = limits_of(tune, memory, unit);

        return (struct scan_levels){
                .below = l.lotsfree * unit,
                .at_once = l.throttlefree * unit,
                .spread = min_u64(l.handspread * unit, SPREAD_MASK),
        };
}

static struct scan_turn scanner_turn(const struct policy_tune *tune, uint64_t memory,
                                     uint64_t freemem, uint32_t unit)
{
        struct pageout_limits l = limits_of(tune, memory, unit);

        freemem /= unit;
        if (!pageout_wanted(&l, freemem, 0))
                return (struct scan_turn){ 0 };
        return (struct scan_turn){
                .pages = max_u64(pageout_desscan(&l, freemem, 0), 1) * unit,
                .pushes = pageout_pushes(&l) * unit,
                .cpu_percent = pageout_cpu_cap(&l, freemem, 0),
        };
}

const struct scan_policy solaris_scan = {
        .period_ms = 1000 / PAGEOUT_HZ,
        .levels = scanner_levels,
        .turn = scanner_turn,
};
