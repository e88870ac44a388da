/* SPDX-License-Identifier: Apache-2.0
 *
 * readahead.c - see readahead.h.
 *
 * Pure arithmetic on a struct file_ra_state, whose caller holds its lock. The state keeps windows
 * as the kernel does, unclipped; only what is answered to the cache is clipped to the file.
 */
#include "policy/readahead.h"

static unsigned log2_of(uint64_t v)
{
        return 63 - (unsigned)__builtin_clzll(v);
}

static uint64_t pow2_ceil(uint64_t v)
{
        return v <= 1 ? 1 : UINT64_C(1) << (log2_of(v - 1) + 1);
}

uint32_t ra_init_size(uint64_t req, uint32_t max)
{
        if (req > max)
                return max;

        uint64_t n = pow2_ceil(req);

        if (n <= max / 32)
                n *= 4;
        else if (n <= max / 4)
                n *= 2;
        else
                n = max;
        return (uint32_t)n;
}

uint32_t ra_next_size(uint64_t cur, uint32_t max)
{
        if (cur < max / 16)
                return (uint32_t)cur * 4;
        if (cur <= max / 2)
                return (uint32_t)cur * 2;
        return max;
}

uint32_t ra_max_pages(const struct file_ra_state *ra, uint64_t req)
{
        if (req > ra->ra_pages && ra->io_pages > ra->ra_pages)
                return (uint32_t)min_u64(req, ra->io_pages);
        return ra->ra_pages;
}

struct ra_window ra_plain_window(uint64_t start, uint64_t nr, uint64_t file_pages, enum ra_why why)
{
        struct ra_window w = { .start = start, .why = why };

        if (start < file_pages)
                w.nr = (uint32_t)min_u64(min_u64(nr, file_pages - start), UINT32_MAX);
        return w;
}

struct ra_window ra_marked_window(const struct ra_request *rq, enum ra_why why)
{
        const struct file_ra_state *ra = rq->ra;
        struct ra_window w = ra_plain_window(ra->start, ra->size, rq->file_pages, why);

        if (ra->async_size <= w.nr)
                w.async = ra->async_size;
        return w;
}

struct ra_window ra_forced_window(const struct file_ra_state *ra, uint64_t start, uint64_t nr,
                                  uint64_t file_pages, enum ra_why why)
{
        uint64_t cap = max_u64(ra->io_pages, ra->ra_pages);

        return ra_plain_window(start, min_u64(nr, cap), file_pages, why);
}
