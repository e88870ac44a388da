/* SPDX-License-Identifier: Apache-2.0
 *
 * linux_5_13.c - the policy of Linux 5.13: ondemand_readahead, before there were large folios.
 *
 * What differs from 6.18, as far as mincore(2) shows it: a window is as long as it says, with its end
 * on no boundary; its marker is one page, and lies further forward where the file ends; a miss right
 * behind a window is the stream going on; an executable mapping is read around like any other, and
 * MADV_RANDOM counts for it; a page found locked takes a miss back too.
 *
 * tests/unit/test_linux_5_13.c has a test for each rule, worked by hand.
 */
#include "policy/linux.h"

/* L26, from "readit": a window that its first page has caught up with is joined with the next. */
static struct ra_window readit(const struct ra_request *rq, uint32_t max, enum ra_why why)
{
        struct file_ra_state *ra = rq->ra;

        if (rq->index == ra->start && ra->size == ra->async_size) {
                uint32_t add = ra_next_size(ra->size, max);

                if (ra->size + add <= max) {
                        ra->async_size = add;
                        ra->size += add;
                } else {
                        ra->size = max;
                        ra->async_size = max / 2;
                }
        }
        return ra_marked_window(rq, why);
}

static struct ra_window initial(const struct ra_request *rq, uint64_t req, uint32_t max)
{
        struct file_ra_state *ra = rq->ra;

        ra->start = rq->index;
        ra->size = ra_init_size(req, max);
        ra->async_size = ra->size > req ? (uint32_t)(ra->size - req) : ra->size;
        return readit(rq, max, RA_5_13_INITIAL);
}

/* L26c. */
static struct ra_window after_cached(const struct ra_request *rq, uint64_t req, uint32_t max)
{
        const struct ra_probe *probe = rq->probe;
        struct file_ra_state *ra = rq->ra;
        uint64_t start = probe->first_missing(probe->arg, rq->index + 1, max);

        if (start <= rq->index || start - rq->index > max)
                return linux_nothing;
        ra->start = start;
        ra->size = ra_next_size(start - rq->index + req, max);
        ra->async_size = ra->size;
        return readit(rq, max, RA_5_13_MARKER);
}

/* L26: the first that fits. */
static struct ra_window ondemand_readahead(const struct ra_request *rq, bool hit_marker,
                                           uint64_t req)
{
        struct file_ra_state *ra = rq->ra;
        uint32_t max = ra_max_pages(ra, req);
        uint64_t prev = (uint64_t)ra->prev_pos >> PAGE_SHIFT, before;

        if (rq->index == 0)
                return initial(rq, req, max);
        if (rq->index == ra->start + ra->size - ra->async_size ||
            rq->index == ra->start + ra->size) {
                ra->start += ra->size;
                ra->size = ra_next_size(ra->size, max);
                ra->async_size = ra->size;
                return readit(rq, max, RA_5_13_NEXT);
        }
        if (hit_marker)
                return after_cached(rq, req, max);
        if (req > max || rq->index - prev <= 1)
                return initial(rq, req, max);
        before = rq->probe->cached_before(rq->probe->arg, rq->index, max);
        if (before <= req)
                return ra_plain_window(rq->index, req, rq->file_pages, RA_5_13_STANDALONE);
        if (before >= rq->index) /* all of the file so far: a long stream */
                before *= 2;
        ra->start = rq->index;
        ra->size = (uint32_t)min_u64(before + req, max);
        ra->async_size = 1;
        return readit(rq, max, RA_5_13_CONTEXT);
}

/* L17, without its a and f. */
static struct ra_window mmap_miss(const struct ra_request *rq)
{
        struct file_ra_state *ra = rq->ra;

        if (rq->advice == ADVICE_RANDOM)
                return linux_only_this_page(RA_RANDOM_ADVICE);
        if (!ra->ra_pages)
                return linux_only_this_page(RA_DISABLED);
        if (rq->advice == ADVICE_SEQUENTIAL) {
                struct ra_window w = ondemand_readahead(rq, false, ra->ra_pages);

                w.why = RA_SEQUENTIAL_ADVICE;
                return w;
        }
        if (linux_lots_of_misses(ra))
                return linux_only_this_page(RA_MMAP_MISS);
        linux_around_window(rq);
        return ra_marked_window(rq, RA_AROUND);
}

/* L18. */
static struct ra_window mmap_hit(const struct ra_request *rq, bool marker)
{
        struct file_ra_state *ra = rq->ra;

        if (rq->advice == ADVICE_RANDOM || !ra->ra_pages)
                return linux_nothing;
        if (ra->mmap_miss)
                ra->mmap_miss--;
        return marker ? ondemand_readahead(rq, true, ra->ra_pages) : linux_nothing;
}

/* L25. */
static struct ra_window read_miss(const struct ra_request *rq)
{
        if (!rq->ra->ra_pages)
                return ra_plain_window(rq->index, 1, rq->file_pages, RA_DISABLED);
        if (rq->advice == ADVICE_RANDOM)
                return ra_forced_window(rq->ra, rq->index, rq->req, rq->file_pages, RA_FORCED);
        return ondemand_readahead(rq, false, rq->req);
}

/* L29. */
static struct ra_window read_marker(const struct ra_request *rq)
{
        return rq->ra->ra_pages ? ondemand_readahead(rq, true, rq->req) : linux_nothing;
}

const struct vm_policy_ops linux_5_13_policy = {
        .name = "linux-5.13",
        .page_pages = 1,
        .fault_around = 16,
        .background_percent = 10,
        .dirty_percent = 20,
        .writeback_ms = 5000,
        .expire_ms = 30000,
        .mandatory = MANDATORY_SHARED,
        .swappiness = 60,
        .writes_read_alone = true,
        .swap_window = 8,
        .mmap_miss = mmap_miss,
        .mmap_hit = mmap_hit,
        .mapped_around = linux_mapped_around,
        .read_miss = read_miss,
        .read_marker = read_marker,
        .willneed = linux_willneed,
        .reclaim = &linux_reclaim,
};
