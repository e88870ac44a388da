/* SPDX-License-Identifier: Apache-2.0
 *
 * reclaim.h - how a policy brings its replacement algorithm: lists of pages, and what it remembers of
 * pages that have gone.
 *
 * An algorithm sees pages as numbers from 1 on. Each has a node, which lies in whatever its user keeps
 * for a page: the cache a struct page (cache/lru.c), the replayer a slot (cli/replay_policy.c). Both
 * run the same functions in the same order:
 *
 *   added      a page has come in, by a read or by a store
 *   next       gives up the page that is to be looked at next
 *   look       says what is to become of it; then it is put back (reclaim_put_back), unmapped and put
 *              back, or evicted
 *   pass       instead of look: the page cannot go now, whatever the algorithm thinks of it
 *   cold       somebody who knows says that the page is not needed any more
 *   evicted    a page has gone because look said so; pages that go otherwise are unlinked, no more
 *
 * A touch is no call: nobody sees it while a mapping shows the page, and a lock for each would cost more
 * than it is worth. `look` is told of touches that were seen since the last time; an algorithm that wants
 * to know more unmaps the page and looks at it again later: a touch is a minor fault then.
 *
 * So that somebody who reclaims comes to an end, a page that is not touched any more is given up
 * after a few looks, whatever it was before.
 *
 * Calls are serialised by the user (the cache: lru.lock); nothing here waits, allocates or does I/O.
 */
#ifndef FL_POLICY_RECLAIM_H
#define FL_POLICY_RECLAIM_H

#include "util/base.h"

enum reclaim_choice {
        RECLAIM_EVICT, /* it goes */
        RECLAIM_KEEP,  /* back to where its node says, its touches forgotten */
        RECLAIM_UNMAP, /* likewise, and no mapping shows it any more */
};

/* What the user knows of a page. */
struct reclaim_page {
        bool referenced; /* a fault or fl_pread has found it since it was last looked at */
        bool mapped;     /* some mapping shows it: touches cannot be seen */
        bool readahead;  /* read ahead and never used */
        bool asked;      /* brought in by a call that asked for it, not by a touch */
        unsigned shared; /* mappings that show it, if the policy has a scanner and they are many */
};

/* Ten bytes, so that a page has sixteen. */
struct __attribute__((packed, aligned(2))) reclaim_node {
        uint32_t next, prev; /* numbers of its neighbours; 0: none */
        uint8_t list;        /* which it is on, or is to be put back to */
        uint8_t bits;        /* the algorithm's */
};

struct reclaim_list {
        uint32_t head, tail;
        uint64_t nr;
};

/* What is remembered of pages that have gone: in sets of a few entries, each with a part of the page's
 * key and its age when it went. A set that is full forgets its oldest. */
#define GHOST_WAYS 8
struct reclaim_ghosts {
        uint32_t *entry; /* the user's memory; zeros; NULL: there are none */
        uint64_t sets;
        unsigned age_shift;
};
/* Bytes for about `entries` of them. */
size_t ghosts_bytes(uint64_t entries);

#define RECLAIM_LISTS 4 /* of an algorithm; behind them the cold pages, which go first */
struct reclaim_ops;
struct reclaim {
        const struct reclaim_ops *ops;
        char *nodes; /* of page n: nodes + (n - 1) * node_size */
        size_t node_size;
        uint64_t memory; /* pages there may be, about */
        struct reclaim_list list[RECLAIM_LISTS + 1];
        _Atomic uint64_t nr; /* on all of them; may be read at any time */
        struct reclaim_ghosts ghosts;
        uint64_t age;                    /* the algorithm's clock */
        uint64_t own[4 + RECLAIM_LISTS]; /* the algorithm's */
};

struct reclaim_ops {
        const char *name;
        unsigned ghosts; /* entries of ghosts for a hundred pages of memory */
        /* Puts the page on a list. True: it was here before, and went too early (L19's PG_workingset).
         * key: of the page, the same whenever it comes. */
        bool (*added)(struct reclaim *, uint32_t page, const struct reclaim_page *, uint64_t key);
        /* Takes it off its list. 0: there is none. */
        uint32_t (*next)(struct reclaim *);
        /* The page is off its list; sets the one to put it back to. */
        enum reclaim_choice (*look)(struct reclaim *, uint32_t page, const struct reclaim_page *);
        /* Sets the list to put it back to: such that after a while every page will have been `next`.
         * NULL: the one that it came from. */
        void (*pass)(struct reclaim *, uint32_t page);
        /* Puts the page, which is off its list, where `next` takes it before all that are in use, and, if
         * it is to be first, before those that came here earlier. NULL: to a list of its own, oldest
         * first, that is emptied before `next` is asked. */
        void (*cold)(struct reclaim *, uint32_t page, bool first);
        /* NULL: nothing is remembered. */
        void (*evicted)(struct reclaim *, uint32_t page, const struct reclaim_page *, uint64_t key);
};

/* One list, oldest first, each page seen twice before it goes. */
extern const struct reclaim_ops clock_reclaim;
/* L51: active and inactive. */
extern const struct reclaim_ops linux_reclaim;
extern const struct reclaim_ops adaptive_reclaim;
/* S36: two hands. own[0]: pages between them, 0: as many as there should be. */
extern const struct reclaim_ops scanner_reclaim;

/* ghost_memory: ghosts_bytes() of zeros for what ops->ghosts says, or NULL. */
void reclaim_init(struct reclaim *r, const struct reclaim_ops *ops, void *nodes, size_t node_size,
                  uint64_t memory, void *ghost_memory);
/* What reclaim_init() wants. */
static inline size_t reclaim_ghost_bytes(const struct reclaim_ops *ops, uint64_t memory)
{
        return ops->ghosts ? ghosts_bytes(memory * ops->ghosts / 100) : 0;
}
static inline struct reclaim_node *reclaim_node(const struct reclaim *r, uint32_t page)
{
        return (struct reclaim_node *)(r->nodes + (size_t)(page - 1) * r->node_size);
}
static inline uint32_t reclaim_number(const struct reclaim *r, const struct reclaim_node *node)
{
        return (uint32_t)((size_t)((const char *)node - r->nodes) / r->node_size) + 1;
}
/* The page is on none. */
void reclaim_append(struct reclaim *r, unsigned list, uint32_t page);
void reclaim_prepend(struct reclaim *r, unsigned list, uint32_t page);
/* The page is on one. Its node still says which. */
void reclaim_unlink(struct reclaim *r, uint32_t page);
/* The first of the list, off it; 0: it is empty. */
uint32_t reclaim_pop(struct reclaim *r, unsigned list);
/* The page, taken by `next`, stays. */
static inline void reclaim_put_back(struct reclaim *r, uint32_t page)
{
        reclaim_append(r, reclaim_node(r, page)->list, page);
}
/* Likewise, and nobody has looked: it is dirty, in use, or promised to stay. */
void reclaim_pass(struct reclaim *r, uint32_t page);
/* The page, on a list, is to be the next to go, whatever the algorithm would take: somebody has said so.
 * !first: behind those of which that was said before, if the algorithm has a `cold`. */
void reclaim_cold(struct reclaim *r, uint32_t page, bool first);
/* The page to be looked at next, off its list: of those, or what the algorithm gives up. 0: none. One of
 * those is looked at as if it had come by list 0, as new pages do. */
uint32_t reclaim_next(struct reclaim *r);

/* Remembers the page. bit: whatever the algorithm wants to know of it. */
void ghost_add(struct reclaim *r, uint64_t key, bool bit);
/* Was it here before? Forgets it. *distance: by how much r->age has grown since; *bit: of ghost_add(). */
bool ghost_take(struct reclaim *r, uint64_t key, uint64_t *distance, bool *bit);
static inline uint64_t reclaim_key(uint64_t file, uint64_t index)
{
        uint64_t k = (file + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u ^ index;

        k = (k ^ k >> 30) * 0xbf58476d1ce4e5b9u;
        k = (k ^ k >> 27) * 0x94d049bb133111ebu;
        return k ^ k >> 31;
}

#endif
