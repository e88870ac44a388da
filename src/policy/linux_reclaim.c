/* SPDX-License-Identifier: Apache-2.0
 *
 * linux_reclaim.c - the active and the inactive list of Linux, and what tells that a page went too early
 * (mm/vmscan.c, mm/workingset.c; rules L19 and L51).
 *
 * New pages come to the inactive list. One that is found touched there is sent round once more; found
 * touched again it is made active. Active pages go back, oldest first and touched or not, when the
 * inactive list is the shorter one. The kernel clears the accessed bit of a page that it looks
 * at; here it is unmapped for that, and a page is taken for touched when it is mapped.
 *
 * A clock counts evictions and activations. A page that comes back before it has gone on by more than
 * there are active pages would have stayed, had the list of inactive ones been longer by these: it
 * becomes active at once.
 */
#include "policy/reclaim.h"

enum { INACTIVE, ACTIVE };
enum { PASSED };      /* own: pages in a row that could not go, whatever was thought of them */
#define REFERENCED 1u /* PG_referenced: touched when last looked at */
#define WORKINGSET 2u /* PG_workingset: has been active */

#define GIB_PAGES (UINT64_C(1) << (30 - PAGE_SHIFT))

/* L19, L51: only a refault within the distance of the working set says anything. */
static bool linux_added(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                        uint64_t key)
{
        struct reclaim_node *node = reclaim_node(r, page);
        bool workingset = false, active = false;
        uint64_t distance;

        (void)p;
        node->bits = 0;
        if (ghost_take(r, key, &distance, &workingset)) {
                active = distance <= r->list[ACTIVE].nr;
                workingset &= active;
        }
        if (workingset)
                node->bits = WORKINGSET;
        if (active)
                r->age++;
        reclaim_append(r, active ? ACTIVE : INACTIVE, page);
        return workingset;
}

static uint64_t square_root(uint64_t v)
{
        uint64_t root = 0;

        while ((root + 1) * (root + 1) <= v)
                root++;
        return root;
}

/* The larger memory is, the smaller may the part of it be that pages are watched in. */
static bool inactive_is_low(const struct reclaim *r)
{
        uint64_t inactive = r->list[INACTIVE].nr, active = r->list[ACTIVE].nr;
        uint64_t gib = (inactive + active) / GIB_PAGES, ratio = gib ? square_root(10 * gib) : 1;

        return inactive * ratio < active;
}

static uint32_t linux_next(struct reclaim *r)
{
        bool none_can_go = r->own[PASSED] > r->list[INACTIVE].nr;
        uint32_t page = none_can_go || inactive_is_low(r) ? reclaim_pop(r, ACTIVE) : 0;

        if (!page)
                page = reclaim_pop(r, INACTIVE);
        return page ? page : reclaim_pop(r, ACTIVE);
}

/* shrink_active_list(): whatever it did, it has to show itself again. */
static enum reclaim_choice deactivate(struct reclaim_node *node, const struct reclaim_page *p)
{
        node->list = INACTIVE;
        node->bits |= WORKINGSET;
        return p->mapped ? RECLAIM_UNMAP : RECLAIM_KEEP;
}

static enum reclaim_choice linux_look(struct reclaim *r, uint32_t page,
                                      const struct reclaim_page *p)
{
        struct reclaim_node *node = reclaim_node(r, page);
        bool before = node->bits & REFERENCED;

        r->own[PASSED] = 0;
        if (node->list == ACTIVE)
                return deactivate(node, p);
        if (!p->mapped && !p->referenced)
                return RECLAIM_EVICT;
        node->bits |= REFERENCED;
        if (before) {
                node->list = ACTIVE;
                r->age++;
        }
        return p->mapped ? RECLAIM_UNMAP : RECLAIM_KEEP;
}

/* Where nothing else is inactive, active ones must be. */
static void linux_pass(struct reclaim *r, uint32_t page)
{
        reclaim_node(r, page)->list = INACTIVE;
        r->own[PASSED]++;
}

static void linux_evicted(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                          uint64_t key)
{
        (void)p;
        ghost_add(r, key, reclaim_node(r, page)->bits & WORKINGSET);
        r->age++;
}

const struct reclaim_ops linux_reclaim = {
        .name = "active and inactive",
        .ghosts = 100,
        .added = linux_added,
        .next = linux_next,
        .look = linux_look,
        .pass = linux_pass,
        .evicted = linux_evicted,
};
