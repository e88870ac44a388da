/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive.c - the policy that goes by what it sees: read-ahead from streams that are found in the
 * misses (streams.h), sized by what the device was measured to do; reclaim that a scan does not upset
 * (adaptive_reclaim.c). Advice is taken, and not needed.
 */
#include "policy/readahead.h"

#define MOST_PAGES 2048u /* 8 MiB */
/* A stream has up to two windows that nobody has touched yet: they must not push out what is in use. */
#define MEMORY_SHARE 32
#define STREAMS_SHARE 8 /* of the windows of all, of which there are two each */
#define LEAST_PAGES 32u
#define MAP_PAGES 512u /* that are shown at once, at most: a table of the processor's */

static struct stream_pace pace_of(const struct ra_request *rq)
{
        uint64_t most = min_u64(rq->ra->ra_pages, MOST_PAGES);

        if (rq->memory)
                most = min_u64(most, max_u64(rq->memory / MEMORY_SHARE, LEAST_PAGES));
        return (struct stream_pace){ .latency_ns = rq->latency_ns,
                                     .page_ns = rq->page_ns,
                                     .most = (uint32_t)most,
                                     .all = (uint32_t)(rq->memory / STREAMS_SHARE) };
}

static enum ra_why why_of(int64_t step)
{
        if (step == 1)
                return RA_STREAM_FORWARD;
        return step == -1 ? RA_STREAM_BACKWARD : RA_STREAM_STRIDED;
}

/* From touches to pages, as far as the file goes. */
static struct ra_window window_of(const struct ra_request *rq, const struct stream_window *w)
{
        int64_t step = w->step, size = step < 0 ? -step : step, end = (int64_t)rq->file_pages;
        struct ra_window out = { .stream = { step, w->windows, w->most }, .why = why_of(step) };
        uint64_t nr = w->nr;

        if (!nr || !step || w->start < 0 || w->start >= end)
                return (struct ra_window){ .why = RA_ALONE };
        nr = min_u64(nr, (uint64_t)((step > 0 ? end - 1 - w->start : w->start) / size) + 1);
        out.step = (uint32_t)size;
        out.nr = (uint32_t)nr;
        out.start = (uint64_t)(step > 0 ? w->start : w->start - (int64_t)(nr - 1) * size);
        if (w->mark < nr)
                out.async = (uint32_t)(step > 0 ? nr - w->mark : w->mark + 1);
        return out;
}

static struct ra_window miss(const struct ra_request *rq, uint64_t nr)
{
        struct stream_pace pace = pace_of(rq);
        struct streams *s = &rq->ra->streams;
        struct stream_window w;

        if (rq->advice == ADVICE_RANDOM)
                return ra_plain_window(rq->index, nr, rq->file_pages, RA_RANDOM_ADVICE);
        if (!rq->ra->ra_pages)
                return ra_plain_window(rq->index, nr, rq->file_pages, RA_DISABLED);
        w = rq->advice == ADVICE_SEQUENTIAL ? streams_begin(s, &pace, rq->index, nr)
                                            : streams_miss(s, &pace, rq->index, nr);
        if (!w.nr)
                return ra_plain_window(rq->index, nr, rq->file_pages, RA_ALONE);
        return window_of(rq, &w);
}

static struct ra_window adaptive_mmap_miss(const struct ra_request *rq)
{
        return miss(rq, 1);
}

static struct ra_window adaptive_marker(const struct ra_request *rq)
{
        struct stream_pace pace = pace_of(rq);
        struct stream_window w;

        if (rq->advice == ADVICE_RANDOM || !rq->ra->ra_pages)
                return (struct ra_window){ .why = RA_NONE };
        w = streams_marker(&rq->ra->streams, &pace, rq->index);
        return window_of(rq, &w);
}

static struct ra_window adaptive_mmap_hit(const struct ra_request *rq, bool marker)
{
        return marker ? adaptive_marker(rq) : (struct ra_window){ .why = RA_NONE };
}

static void adaptive_mapped_around(struct file_ra_state *ra, unsigned mapped)
{
        (void)ra, (void)mapped;
}

/* A stream's window as far as it has come; else what there is of the same table of the processor's. */
static struct ra_map adaptive_map_ahead(const struct ra_request *rq)
{
        if (rq->advice == ADVICE_RANDOM)
                return (struct ra_map){ .nr = 0 };
        return (struct ra_map){ .step = streams_step(&rq->ra->streams, rq->index),
                                .nr = MAP_PAGES };
}

static struct ra_window adaptive_read_miss(const struct ra_request *rq)
{
        return miss(rq, min_u64(max_u64(rq->req, 1), MOST_PAGES));
}

static void adaptive_cut(struct file_ra_state *ra, const struct ra_window *w, uint64_t stop)
{
        int64_t at = (int64_t)stop, step = w->stream.step;

        streams_cut(&ra->streams, step, step == -1 ? at - 1 : at);
}

static struct ra_window adaptive_willneed(const struct ra_request *rq, uint64_t start, uint64_t end)
{
        return ra_plain_window(start, end > start ? end - start : 0, rq->file_pages, RA_FORCED);
}

const struct vm_policy_ops adaptive_policy = {
        .name = "adaptive",
        .page_pages = 1,
        .fault_around = 16,
        .window_pages = MOST_PAGES,
        .background_percent = 10,
        .dirty_percent = 30,
        .writeback_ms = 5000,
        .expire_ms = 30000,
        .swappiness = 60,
        .swap_window = 8,
        .mmap_miss = adaptive_mmap_miss,
        .mmap_hit = adaptive_mmap_hit,
        .mapped_around = adaptive_mapped_around,
        .map_ahead = adaptive_map_ahead,
        .read_miss = adaptive_read_miss,
        .read_marker = adaptive_marker,
        .cut = adaptive_cut,
        .describe = streams_describe,
        .willneed = adaptive_willneed,
        .reclaim = &adaptive_reclaim,
};
