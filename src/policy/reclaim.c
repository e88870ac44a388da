/* SPDX-License-Identifier: Apache-2.0
 *
 * reclaim.c - see reclaim.h: the lists, the ghosts, and the simplest of algorithms.
 */
#include "policy/reclaim.h"

#include <string.h>

/* An entry: so much of the key, a bit, the age. Never 0, which is none. */
#define AGE_BITS 16
#define BIT_MASK (1u << AGE_BITS)
#define KEY_SHIFT (AGE_BITS + 1)
#define AGE_MASK (BIT_MASK - 1)

static uint64_t sets_of(uint64_t entries)
{
        return entries / GHOST_WAYS + 1;
}

size_t ghosts_bytes(uint64_t entries)
{
        return sets_of(entries) * GHOST_WAYS * sizeof(uint32_t);
}

void reclaim_init(struct reclaim *r, const struct reclaim_ops *ops, void *nodes, size_t node_size,
                  uint64_t memory, void *ghost_memory)
{
        uint64_t steps = memory >> (AGE_BITS - 4); /* an age can tell sixteen memories apart */

        memset(r, 0, sizeof(*r));
        r->ops = ops;
        r->nodes = nodes;
        r->node_size = node_size;
        r->memory = memory;
        r->ghosts.entry = ghost_memory;
        r->ghosts.sets = sets_of(memory * ops->ghosts / 100);
        r->ghosts.age_shift = steps ? 64 - (unsigned)__builtin_clzll(steps) : 0;
}

/* ---- lists ---- */

void reclaim_append(struct reclaim *r, unsigned list, uint32_t page)
{
        struct reclaim_list *l = &r->list[list];
        struct reclaim_node *node = reclaim_node(r, page);

        node->list = (uint8_t)list;
        node->prev = l->tail;
        node->next = 0;
        if (l->tail)
                reclaim_node(r, l->tail)->next = page;
        else
                l->head = page;
        l->tail = page;
        l->nr++;
        atomic_fetch_add(&r->nr, 1);
}

void reclaim_prepend(struct reclaim *r, unsigned list, uint32_t page)
{
        struct reclaim_list *l = &r->list[list];
        struct reclaim_node *node = reclaim_node(r, page);

        node->list = (uint8_t)list;
        node->prev = 0;
        node->next = l->head;
        if (l->head)
                reclaim_node(r, l->head)->prev = page;
        else
                l->tail = page;
        l->head = page;
        l->nr++;
        atomic_fetch_add(&r->nr, 1);
}

void reclaim_unlink(struct reclaim *r, uint32_t page)
{
        struct reclaim_node *node = reclaim_node(r, page);
        struct reclaim_list *l = &r->list[node->list];

        if (node->prev)
                reclaim_node(r, node->prev)->next = node->next;
        else
                l->head = node->next;
        if (node->next)
                reclaim_node(r, node->next)->prev = node->prev;
        else
                l->tail = node->prev;
        l->nr--;
        atomic_fetch_sub(&r->nr, 1);
}

uint32_t reclaim_pop(struct reclaim *r, unsigned list)
{
        uint32_t page = r->list[list].head;

        if (page)
                reclaim_unlink(r, page);
        return page;
}

void reclaim_pass(struct reclaim *r, uint32_t page)
{
        if (r->ops->pass)
                r->ops->pass(r, page);
        reclaim_put_back(r, page);
}

void reclaim_cold(struct reclaim *r, uint32_t page, bool first)
{
        reclaim_unlink(r, page);
        reclaim_node(r, page)->bits = 0;
        if (r->ops->cold)
                r->ops->cold(r, page, first);
        else
                reclaim_append(r, RECLAIM_LISTS, page);
}

uint32_t reclaim_next(struct reclaim *r)
{
        uint32_t page = reclaim_pop(r, RECLAIM_LISTS);

        if (!page)
                return r->ops->next(r);
        reclaim_node(r, page)->list = 0;
        return page;
}

/* ---- ghosts ---- */

static uint32_t *set_of(struct reclaim *r, uint64_t key)
{
        return r->ghosts.entry + (key >> 16) % r->ghosts.sets * GHOST_WAYS;
}

static uint32_t part_of(uint64_t key)
{
        return (uint32_t)(key & ((1u << (32 - KEY_SHIFT)) - 1)) << KEY_SHIFT;
}

static uint32_t age_now(const struct reclaim *r)
{
        return (uint32_t)(r->age >> r->ghosts.age_shift) & AGE_MASK;
}

static uint32_t age_of(const struct reclaim *r, uint32_t entry)
{
        return (age_now(r) - entry) & AGE_MASK;
}

void ghost_add(struct reclaim *r, uint64_t key, bool bit)
{
        uint32_t *set, *oldest, entry = part_of(key) | (bit ? BIT_MASK : 0) | age_now(r);

        if (!r->ghosts.entry)
                return;
        set = oldest = set_of(r, key);
        for (unsigned i = 0; i < GHOST_WAYS; i++) {
                if (!set[i]) {
                        oldest = &set[i];
                        break;
                }
                if (age_of(r, set[i]) > age_of(r, *oldest))
                        oldest = &set[i];
        }
        *oldest = entry ? entry : 1u << KEY_SHIFT;
}

bool ghost_take(struct reclaim *r, uint64_t key, uint64_t *distance, bool *bit)
{
        uint32_t *set;

        if (!r->ghosts.entry)
                return false;
        set = set_of(r, key);
        for (unsigned i = 0; i < GHOST_WAYS; i++) {
                if (!set[i] || set[i] >> KEY_SHIFT != part_of(key) >> KEY_SHIFT)
                        continue;
                *distance = (uint64_t)age_of(r, set[i]) << r->ghosts.age_shift;
                *bit = set[i] & BIT_MASK;
                set[i] = 0;
                return true;
        }
        return false;
}

/* ---- one list ---- */

static bool clock_added(struct reclaim *r, uint32_t page, const struct reclaim_page *p,
                        uint64_t key)
{
        (void)p, (void)key;
        reclaim_append(r, 0, page);
        return false;
}

static uint32_t clock_next(struct reclaim *r)
{
        return reclaim_pop(r, 0);
}

/* A mapped page cannot show that it is touched: it is unmapped, and the next touch, a minor fault, is
 * its reference bit. */
static enum reclaim_choice clock_look(struct reclaim *r, uint32_t page,
                                      const struct reclaim_page *p)
{
        (void)r, (void)page;
        if (p->mapped)
                return RECLAIM_UNMAP;
        return p->referenced ? RECLAIM_KEEP : RECLAIM_EVICT;
}

const struct reclaim_ops clock_reclaim = {
        .name = "clock",
        .added = clock_added,
        .next = clock_next,
        .look = clock_look,
};
