/* SPDX-License-Identifier: Apache-2.0
 *
 * replay_exact.c - least recently used, and Belady's optimum: what a policy is measured against.
 *
 * Both see every access and read the page that is missing and no other. lru gives up the page whose last
 * access is the longest ago; opt the one whose next access is the furthest away, which no policy can
 * know and none can better.
 */
#include <stdlib.h>

#include "replay.h"

#define NONE UINT32_MAX

/* The pages that are there, the latest touched last. */
struct recency {
        uint32_t *before, *after; /* by id; NONE: no neighbour */
        bool *here;
        uint32_t first, last;
};

static void recency_unlink(struct recency *r, uint32_t id)
{
        uint32_t before = r->before[id], after = r->after[id];

        *(before == NONE ? &r->first : &r->after[before]) = after;
        *(after == NONE ? &r->last : &r->before[after]) = before;
        r->here[id] = false;
}

static void recency_append(struct recency *r, uint32_t id)
{
        r->before[id] = r->last;
        r->after[id] = NONE;
        *(r->last == NONE ? &r->first : &r->after[r->last]) = id;
        r->last = id;
        r->here[id] = true;
}

bool replay_lru(const struct replay_input *in, uint64_t cache, struct replay_result *out)
{
        struct recency r = { .first = NONE, .last = NONE };
        uint64_t nr = 0;
        bool ok;

        *out = (struct replay_result){ 0 };
        r.before = calloc(in->distinct, sizeof(*r.before));
        r.after = calloc(in->distinct, sizeof(*r.after));
        r.here = calloc(in->distinct, sizeof(*r.here));
        ok = r.before && r.after && r.here;
        for (size_t i = 0; ok && i < in->nr; i++) {
                uint32_t id = in->id[i];

                out->counted += replay_counts(in, in->page[i]);
                if (r.here[id]) {
                        out->hits += replay_counts(in, in->page[i]);
                        recency_unlink(&r, id);
                } else {
                        out->read++;
                        if (nr == cache) {
                                recency_unlink(&r, r.first);
                                out->evicted++;
                        } else {
                                nr++;
                        }
                }
                recency_append(&r, id);
        }
        free(r.before);
        free(r.after);
        free(r.here);
        return ok;
}

struct future {
        uint64_t next; /* number of the access that touches it again */
        uint32_t id;
};

/* Greatest first. */
struct heap {
        struct future *item;
        size_t nr;
};

static void heap_push(struct heap *h, struct future f)
{
        size_t i = h->nr++;

        for (; i && h->item[(i - 1) / 2].next < f.next; i = (i - 1) / 2)
                h->item[i] = h->item[(i - 1) / 2];
        h->item[i] = f;
}

static struct future heap_pop(struct heap *h)
{
        struct future top = h->item[0], last = h->item[--h->nr];
        size_t i = 0, child;

        while ((child = 2 * i + 1) < h->nr) {
                if (child + 1 < h->nr && h->item[child + 1].next > h->item[child].next)
                        child++;
                if (h->item[child].next <= last.next)
                        break;
                h->item[i] = h->item[child];
                i = child;
        }
        h->item[i] = last;
        return top;
}

/* For each access the number of the next one of the same page; in->nr: there is none. */
static void find_next(const struct replay_input *in, uint64_t *next, uint64_t *seen)
{
        for (uint32_t id = 0; id < in->distinct; id++)
                seen[id] = in->nr;
        for (size_t i = in->nr; i-- > 0;) {
                next[i] = seen[in->id[i]];
                seen[in->id[i]] = i;
        }
}

bool replay_opt(const struct replay_input *in, uint64_t cache, struct replay_result *out)
{
        uint64_t *next = calloc(in->nr, sizeof(*next));
        uint64_t *due = calloc(in->distinct, sizeof(*due)); /* of pages that are there */
        bool *here = calloc(in->distinct, sizeof(*here));
        struct heap heap = { .item = calloc(in->nr, sizeof(*heap.item)) };
        bool ok = next && due && here && heap.item;
        uint64_t nr = 0;

        *out = (struct replay_result){ 0 };
        if (ok)
                find_next(in, next, due);
        for (size_t i = 0; ok && i < in->nr; i++) {
                uint32_t id = in->id[i];

                out->counted += replay_counts(in, in->page[i]);
                if (here[id]) {
                        out->hits += replay_counts(in, in->page[i]);
                } else {
                        out->read++;
                        while (nr == cache) {
                                struct future f = heap_pop(&heap);

                                /* One for each access: only the page's latest counts. */
                                if (!here[f.id] || due[f.id] != f.next)
                                        continue;
                                here[f.id] = false;
                                out->evicted++;
                                nr--;
                        }
                        here[id] = true;
                        nr++;
                }
                due[id] = next[i];
                heap_push(&heap, (struct future){ next[i], id });
        }
        free(next);
        free(due);
        free(here);
        free(heap.item);
        return ok;
}
