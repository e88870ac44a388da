/* SPDX-License-Identifier: Apache-2.0
 *
 * replay_policy.c - a policy's decisions on a page cache that holds nothing but flags.
 *
 * It does what vm and cache do with a policy's answers, in their order: a page that is mapped costs
 * nothing and is not seen; one that is cached is mapped with its neighbours; a miss reads a window; a
 * marker reads the next. The policy's replacement algorithm (policy/reclaim.h) is the one that an engine
 * runs; one page goes at a time, when the cache is full (an engine takes many at once, and begins a
 * little earlier).
 */
#include <stdlib.h>

#include "replay.h"

#define NONE UINT32_MAX

enum flag {
        MAPPED = 1,
        REFERENCED = 2,
        MARKER = 4,
        MARK_HEAD = 8,
        AHEAD = 16, /* nobody has touched it yet */
};

struct rpage {
        uint64_t index;
        struct reclaim_node lru;
        uint32_t chain; /* in its bucket; also the list of free ones */
        unsigned flags;
};

struct replay {
        const struct replay_setup *setup;
        struct replay_result *out;
        struct rpage *page;
        uint32_t *bucket;
        uint32_t mask; /* buckets - 1 */
        uint32_t free;
        struct reclaim lru;
        void *ghosts;
        uint64_t nr, room, file_pages;
        struct file_ra_state ra;
        struct ra_probe probe;
};

static uint32_t *bucket_of(struct replay *r, uint64_t index)
{
        return &r->bucket[(index * 0x9e3779b97f4a7c15u >> 32) & r->mask];
}

static struct rpage *find(struct replay *r, uint64_t index)
{
        uint32_t n = *bucket_of(r, index);

        while (n != NONE && r->page[n].index != index)
                n = r->page[n].chain;
        return n == NONE ? NULL : &r->page[n];
}

static uint32_t number_of(const struct replay *r, const struct rpage *p)
{
        return (uint32_t)(p - r->page);
}

static struct reclaim_page seen_of(const struct rpage *p)
{
        return (struct reclaim_page){ .referenced = p->flags & REFERENCED,
                                      .mapped = p->flags & MAPPED,
                                      .readahead = p->flags & AHEAD };
}

static void evict(struct replay *r, struct rpage *p)
{
        uint32_t *link = bucket_of(r, p->index);

        while (*link != number_of(r, p))
                link = &r->page[*link].chain;
        *link = p->chain;
        p->chain = r->free;
        r->free = number_of(r, p);
        r->nr--;
        r->out->evicted++;
        r->out->wasted += !!(p->flags & AHEAD);
        p->flags = 0;
}

/* One page goes. */
static void reclaim(struct replay *r)
{
        for (;;) {
                uint32_t n = reclaim_next(&r->lru);
                struct rpage *p = &r->page[n - 1];
                struct reclaim_page seen = seen_of(p);
                enum reclaim_choice choice = r->lru.ops->look(&r->lru, n, &seen);

                if (choice == RECLAIM_EVICT) {
                        if (r->lru.ops->evicted)
                                r->lru.ops->evicted(&r->lru, n, &seen, reclaim_key(0, p->index));
                        evict(r, p);
                        return;
                }
                p->flags &= ~(unsigned)REFERENCED;
                if (choice == RECLAIM_UNMAP)
                        p->flags &= ~(unsigned)MAPPED;
                reclaim_put_back(&r->lru, n);
        }
}

/* Reads the page, which is not there. */
static void read_page(struct replay *r, uint64_t index, unsigned flags)
{
        uint32_t *head = bucket_of(r, index), n;
        struct reclaim_page seen;

        while (r->nr == r->room)
                reclaim(r);
        n = r->free;
        r->free = r->page[n].chain;
        r->page[n] = (struct rpage){ .index = index, .chain = *head, .flags = flags };
        *head = n;
        seen = seen_of(&r->page[n]);
        r->lru.ops->added(&r->lru, n + 1, &seen, reclaim_key(0, index));
        r->nr++;
        r->out->read++;
}

static void read_window(struct replay *r, const struct ra_window *w, uint64_t wanted)
{
        uint64_t mark = w->nr - w->async, step = max_u64(w->step, 1);

        for (uint64_t i = 0; i < w->nr; i++) {
                uint64_t index = w->start + i * step;
                unsigned flags = index == wanted ? 0 : AHEAD;

                if (w->async && i >= mark && i - mark < max_u64(w->mark_nr, 1))
                        flags |= i == mark ? MARKER | MARK_HEAD : MARKER;
                if (!find(r, index))
                        read_page(r, index, flags);
        }
}

static unsigned flags_at(struct replay *r, uint64_t index)
{
        const struct rpage *p = find(r, index);

        return p ? p->flags : 0;
}

/* Takes the marker off all pages that share it; how many they were. */
static uint32_t unmark(struct replay *r, uint64_t index)
{
        uint64_t first = index, end = index + 1;

        while (first && !(flags_at(r, first) & MARK_HEAD) && flags_at(r, first - 1) & MARKER)
                first--;
        while ((flags_at(r, end) & (MARKER | MARK_HEAD)) == MARKER)
                end++;
        for (uint64_t i = first; i < end; i++)
                find(r, i)->flags &= ~(unsigned)(MARKER | MARK_HEAD);
        return (uint32_t)(end - first);
}

static struct ra_request request(struct replay *r, uint64_t index)
{
        return (struct ra_request){
                .ra = &r->ra,
                .probe = &r->probe,
                .index = index,
                .req = 1,
                .file_pages = r->file_pages,
                .vma_end = r->file_pages,
                .advice = r->setup->advice,
                .fault = true,
                .shared = true,
                .page_pages = r->setup->page_pages,
                .freemem = r->room - r->nr,
                .memory = r->room,
        };
}

/* --- Solaris's way: VOP_GETPAGE, and all that it returns is mapped (vm/segvn.c, cache/getpage.c) --- */

static bool unit_in_memory(void *arg, uint64_t unit)
{
        struct replay *r = arg;
        uint64_t nr = r->setup->page_pages;
        bool yes = false;

        for (uint64_t i = 0; i < nr; i++)
                yes |= !!find(r, unit * nr + i);
        return yes;
}

static enum vm_advice unit_advice(void *arg, uint64_t unit)
{
        const struct replay *r = arg;

        (void)unit;
        return r->setup->advice;
}

/* S8. */
static void free_behind(struct replay *r, uint64_t index)
{
        const struct segvn_probe probe = { unit_in_memory, unit_advice, r, NULL };
        uint64_t nr = r->setup->page_pages, first;

        if (!r->setup->policy->segvn->free_behind(&probe, index / nr, &first))
                return;
        for (uint64_t i = first * nr; i < index / nr * nr; i++) {
                struct rpage *p = find(r, i);

                if (p) {
                        reclaim_unlink(&r->lru, number_of(r, p) + 1);
                        evict(r, p);
                }
        }
}

/* S9: where what may be returned ends. */
static uint64_t most_returned(struct replay *r, uint64_t off)
{
        uint64_t nr = r->setup->page_pages;
        struct rpage *next = find(r, off + nr);
        struct segvn_ask ask = {
                .len = nr * PAGE_SIZE,
                .left = (r->file_pages - off) * PAGE_SIZE,
                .page = (uint32_t)(nr * PAGE_SIZE),
                .next_mapped = next && (next->flags & MAPPED),
        };

        return min_u64(off + r->setup->policy->segvn->plsz(&ask) / PAGE_SIZE, r->file_pages);
}

static void segvn_fault(struct replay *r, uint64_t index)
{
        const struct vm_policy_ops *policy = r->setup->policy;
        struct ra_request rq = request(r, index);
        struct ra_window w = { .nr = 0 }, next;
        uint64_t off = round_down_u64(index, r->setup->page_pages), end = index + 1, most;

        free_behind(r, index);
        most = most_returned(r, off);
        if (find(r, index)) {
                next = policy->mmap_hit(&rq, false);
        } else {
                w = policy->mmap_miss(&rq);
                next = policy->ahead(&rq);
        }
        while (end < most && ((end >= w.start && end < w.start + w.nr) || find(r, end)))
                end++;
        policy->returned(&rq, end);
        read_window(r, &w, index);
        read_window(r, &next, UINT64_MAX);
        if (!find(r, index)) /* not in the window, or it made room for that */
                read_page(r, index, 0);
        for (uint64_t i = off; i < end; i++) {
                struct rpage *p = find(r, i);

                if (p)
                        p->flags |= MAPPED;
        }
}

/* --- Linux's --- */

static void map_around(struct replay *r, uint64_t index)
{
        uint64_t nr = r->setup->policy->fault_around;
        uint64_t first = round_down_u64(index, nr), end = min_u64(first + nr, r->file_pages);
        unsigned seen = 0;

        if (nr <= 1)
                return;
        for (uint64_t i = first; i < end; i++) {
                struct rpage *p = find(r, i);

                if (!p || p->flags & MARKER)
                        continue;
                p->flags |= MAPPED;
                seen++;
        }
        if (seen)
                r->setup->policy->mapped_around(&r->ra, seen);
}

/* A fault on the page, which is not mapped. */
static void fault(struct replay *r, uint64_t index)
{
        const struct vm_policy_ops *policy = r->setup->policy;
        struct ra_request rq = request(r, index);
        struct rpage *p = find(r, index);
        bool major = !p;
        struct ra_window w;

        r->out->faults++;
        if (p) {
                bool marker = p->flags & MARKER;

                map_around(r, index);
                if (p->flags & MAPPED)
                        return;
                if (marker)
                        rq.folio = unmark(r, index);
                w = policy->mmap_hit(&rq, marker);
        } else {
                w = policy->mmap_miss(&rq);
        }
        read_window(r, &w, index);
        if (!find(r, index)) /* not in the window, or it made room for that */
                read_page(r, index, 0);
        if (major)
                map_around(r, index);
}

static void access_page(struct replay *r, uint64_t index, bool counts)
{
        struct rpage *p = find(r, index);

        if (counts) {
                r->out->counted++;
                r->out->hits += !!p;
        }
        if (!p || !(p->flags & MAPPED)) {
                if (r->setup->policy->segvn)
                        segvn_fault(r, index);
                else
                        fault(r, index);
                p = find(r, index);
                p->flags |= p->flags & AHEAD ? MAPPED : MAPPED | REFERENCED;
        }
        p->flags &= ~(unsigned)AHEAD;
}

static uint64_t cached_before(void *arg, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && n < index && find(arg, index - 1 - n))
                n++;
        return n;
}

static uint64_t first_missing(void *arg, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && find(arg, index + n))
                n++;
        return index + n;
}

static uint64_t first_cached(void *arg, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && !find(arg, index + n))
                n++;
        return index + n;
}

static bool start(struct replay *r, const struct replay_input *in)
{
        size_t bytes = reclaim_ghost_bytes(r->setup->policy->reclaim, r->setup->cache);
        uint64_t most = r->room, buckets = 64;

        while (buckets < most)
                buckets *= 2;
        r->page = calloc(most, sizeof(*r->page));
        r->bucket = malloc(buckets * sizeof(*r->bucket));
        r->ghosts = bytes ? calloc(1, bytes) : NULL;
        if (!r->page || !r->bucket || (bytes && !r->ghosts))
                return false;
        reclaim_init(&r->lru, r->setup->policy->reclaim, &r->page->lru, sizeof(*r->page),
                     r->setup->cache, r->ghosts);
        r->mask = (uint32_t)(buckets - 1);
        for (uint64_t i = 0; i < buckets; i++)
                r->bucket[i] = NONE;
        for (uint64_t i = 0; i < most; i++)
                r->page[i].chain = i + 1 < most ? (uint32_t)i + 1 : NONE;
        r->file_pages = in->file_pages;
        r->ra.prev_pos = -1;
        /* As an engine clamps it. */
        r->ra.ra_pages = (uint32_t)min_u64(r->setup->ra_pages, r->setup->cache / 8);
        r->ra.io_pages = r->ra.ra_pages;
        r->probe = (struct ra_probe){ .cached_before = cached_before,
                                      .first_missing = first_missing,
                                      .first_cached = first_cached,
                                      .arg = r };
        return true;
}

bool replay_policy(const struct replay_input *in, const struct replay_setup *setup,
                   struct replay_result *out)
{
        /* A cache need not be larger than all that could be read. */
        struct replay r = {
                .setup = setup,
                .out = out,
                .room = min_u64(setup->cache, max_u64(in->file_pages, 64)),
        };
        bool ok;

        *out = (struct replay_result){ 0 };
        ok = start(&r, in);
        for (size_t i = 0; ok && i < in->nr; i++)
                access_page(&r, in->page[i], replay_counts(in, in->page[i]));
        for (uint64_t i = 0; ok && i < r.room; i++)
                out->wasted += !!(r.page[i].flags & AHEAD);
        free(r.page);
        free(r.bucket);
        free(r.ghosts);
        return ok;
}
