/* SPDX-License-Identifier: Apache-2.0
 *
 * folio.c - see folio.h.
 */
#include "policy/folio.h"

/* The largest folio of the page cache, that of a huge page: L32's "max order". */
#define MAX_FOLIO_ORDER 9
/* Slots of a node of the kernel's tree of pages. */
#define NODE_SLOTS 64

static unsigned log2_of(uint64_t v)
{
        return 63 - (unsigned)__builtin_clzll(v);
}

/* L26c asks page_cache_next_miss() for the first hole behind the page. Where that page lies inside a
 * folio, the walk begins at the slot of the folio's first page while its index is the page's: so the
 * hole is reported so many pages too late as the page lies inside, and at the end of the tree's node
 * so many pages are passed by unseen; from there on the two agree. A folio as large as a node has
 * slots of its own higher up, where they agree from the start. mincore(2) shows it. */
static uint64_t next_miss(const struct ra_request *rq, uint64_t max)
{
        const struct ra_probe *probe = rq->probe;
        uint64_t from = rq->index + 1, folio = max_u64(rq->folio, 1), end = from + max;
        uint64_t lag = folio < NODE_SLOTS ? from % folio : 0;
        uint64_t node_end = (from / NODE_SLOTS + 1) * NODE_SLOTS;
        uint64_t miss = probe->first_missing(probe->arg, from, max);

        if (!lag || miss >= end)
                return miss;
        if (miss < node_end)
                return min_u64(miss + lag, end);
        if (miss >= node_end + lag)
                return miss;
        return node_end + lag < end
                       ? probe->first_missing(probe->arg, node_end + lag, end - node_end - lag)
                       : end;
}

bool folio_after_cached(const struct ra_request *rq, uint64_t req, uint32_t max)
{
        uint64_t start = next_miss(rq, max);

        if (start <= rq->index || start - rq->index > max)
                return false;
        rq->ra->start = start;
        rq->ra->size = ra_next_size(start - rq->index + req, max);
        return true;
}

void folio_trim(struct file_ra_state *ra, uint32_t max)
{
        ra->order += 2;

        unsigned bits = (unsigned)min_u64(ra->order, (uint64_t)__builtin_ctz(max));
        uint64_t end = ra->start + ra->size;
        uint64_t aligned_end = end >> bits << bits;

        if (aligned_end > ra->start)
                ra->size -= (uint32_t)(end - aligned_end);
        if (ra->order > MAX_FOLIO_ORDER)
                ra->order = MAX_FOLIO_ORDER;
        if (ra->size && ra->order > log2_of(ra->size))
                ra->order = log2_of(ra->size);
}

/* Pages of the folio that begins at index, of a window that ends before `end`: aligned to its size,
 * and not past the end. */
static uint64_t folio_pages(uint64_t index, unsigned order, uint64_t end)
{
        if (index)
                order = (unsigned)min_u64(order, (uint64_t)__builtin_ctzll(index));
        while (order && index + (UINT64_C(1) << order) > end)
                order--;
        return UINT64_C(1) << order;
}

/* The first of the window's folios that reaches beyond `index`; end if none does. */
static uint64_t folio_of(const struct ra_window *w, unsigned order, uint64_t index)
{
        uint64_t at = w->start, end = w->start + w->nr;

        if (order == 0)
                return min_u64(max_u64(at, index), end);
        while (at < end && at + folio_pages(at, order, end) <= index)
                at += folio_pages(at, order, end);
        return at;
}

struct ra_window folio_window(const struct ra_request *rq, enum ra_why why)
{
        const struct file_ra_state *ra = rq->ra;
        struct ra_window w = ra_plain_window(ra->start, ra->size, rq->file_pages, why);
        uint64_t end = w.start + w.nr, mark, nr = 1, seen, cached;

        if (!w.nr || !ra->async_size)
                return w;
        mark = folio_of(&w, ra->order, ra->start + ra->size - ra->async_size);
        if (mark < end)
                nr = folio_pages(mark, ra->order, end);
        w.async = (uint32_t)(end - mark);
        w.mark_nr = (uint32_t)nr;
        if (ra->order == 0 && w.nr == ra->size) /* L31 would put it there too */
                return w;
        seen = min_u64(mark + nr, end) - w.start;
        cached = rq->probe->first_cached(rq->probe->arg, w.start, seen);
        if (cached < w.start + seen) {
                uint64_t left = end - folio_of(&w, ra->order, cached);

                w.async = ra->async_size <= left ? ra->async_size : 0;
                w.mark_nr = 1;
        }
        return w;
}
