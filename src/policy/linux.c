/* SPDX-License-Identifier: Apache-2.0
 *
 * linux.c - the policy of Linux 6.18: read-around on a mapped miss, windows that grow and are
 * triggered by a marker page, 16 pages of fault-around; reclaim is in linux_reclaim.c.
 *
 * The order in which rules are tried is the kernel's (do_sync_mmap_readahead,
 * do_async_mmap_readahead, page_cache_sync_ra, page_cache_async_ra); arithmetic is in
 * readahead.c, that of folios in folio.c. What mincore(2) shows on a real kernel is what the cache
 * holds here: tests/fidelity/ asks the running one, tests/unit/test_linux_readahead.c has the table.
 */
#include "policy/linux.h"
#include "policy/folio.h"

#define MMAP_LOTSAMISS 100

/* L27. */
static struct ra_window page_cache_sync_ra(const struct ra_request *rq, uint64_t req)
{
        struct file_ra_state *ra = rq->ra;
        uint32_t max = ra_max_pages(ra, req);
        uint64_t prev = (uint64_t)ra->prev_pos >> PAGE_SHIFT;
        enum ra_why why = RA_INITIAL;

        if (rq->index == 0 || req > max || rq->index - prev <= 1) {
                ra->start = rq->index;
                ra->size = ra_init_size(req, max);
                ra->async_size = ra->size > req ? (uint32_t)(ra->size - req) : ra->size / 2;
        } else {
                uint64_t before = rq->probe->cached_before(rq->probe->arg, rq->index, max);

                if (before <= req)
                        return ra_plain_window(rq->index, req, rq->file_pages, RA_STANDALONE);
                if (before == rq->index) /* all of the file so far: a long stream */
                        before *= 2;
                ra->start = rq->index;
                ra->size = (uint32_t)min_u64(before + req, max);
                ra->async_size = 1;
                why = RA_CONTEXT;
        }
        ra->order = 0;
        return folio_window(rq, why);
}

/* L28. The mark may lie on a folio of several pages, and any of them may have been touched first: only
 * its first is the one that a stream would have come to. */
static struct ra_window page_cache_async_ra(const struct ra_request *rq, uint64_t req)
{
        struct file_ra_state *ra = rq->ra;
        uint32_t max = ra_max_pages(ra, req);

        uint64_t expected = ra->start + ra->size - ra->async_size;

        if (rq->index == expected - expected % max_u64(rq->folio, 1)) {
                ra->start += ra->size;
                ra->size = (uint32_t)max_u64(ra->size, ra_next_size(ra->size, max));
        } else if (!folio_after_cached(rq, req, max)) {
                return linux_nothing;
        }
        folio_trim(ra, max);
        ra->async_size = ra->size;
        return folio_window(rq, RA_MARKER);
}

/* L17f: forward, within the mapping, no marker. */
static void exec_window(const struct ra_request *rq)
{
        struct file_ra_state *ra = rq->ra;
        uint64_t end = rq->index + ra->ra_pages;

        if (rq->vma_end > rq->index)
                end = min_u64(end, rq->vma_end);
        ra->start = max_u64(rq->index, rq->vma_start);
        ra->size = (uint32_t)(end - ra->start);
        ra->async_size = 0;
        ra->order = 0;
}

/* L17g: centred on the fault. At the start of the file the window moves, it does not shrink. */
void linux_around_window(const struct ra_request *rq)
{
        struct file_ra_state *ra = rq->ra;
        uint32_t half = ra->ra_pages / 2;

        ra->start = rq->index > half ? rq->index - half : 0;
        ra->size = ra->ra_pages;
        ra->async_size = ra->ra_pages / 4;
        ra->order = 0;
}

bool linux_lots_of_misses(struct file_ra_state *ra)
{
        if (ra->mmap_miss < MMAP_LOTSAMISS * 10)
                ra->mmap_miss++;
        return ra->mmap_miss > MMAP_LOTSAMISS;
}

/* L17, in the kernel's order. */
static struct ra_window linux_mmap_miss(const struct ra_request *rq)
{
        struct file_ra_state *ra = rq->ra;

        if (rq->advice == ADVICE_RANDOM && !rq->exec)
                return linux_only_this_page(RA_RANDOM_ADVICE);
        if (!ra->ra_pages)
                return linux_only_this_page(RA_DISABLED);
        if (rq->advice == ADVICE_SEQUENTIAL) {
                struct ra_window w = page_cache_sync_ra(rq, ra->ra_pages);

                w.why = RA_SEQUENTIAL_ADVICE;
                return w;
        }

        if (linux_lots_of_misses(ra))
                return linux_only_this_page(RA_MMAP_MISS);

        if (rq->exec) {
                exec_window(rq);
                return folio_window(rq, RA_EXEC);
        }
        linux_around_window(rq);
        return folio_window(rq, RA_AROUND);
}

/* L18. */
static struct ra_window linux_mmap_hit(const struct ra_request *rq, bool marker)
{
        struct file_ra_state *ra = rq->ra;

        if (rq->advice == ADVICE_RANDOM || !ra->ra_pages)
                return linux_nothing;
        if (!rq->locked && ra->mmap_miss)
                ra->mmap_miss--;
        return marker ? page_cache_async_ra(rq, ra->ra_pages) : linux_nothing;
}

/* L19. */
void linux_mapped_around(struct file_ra_state *ra, unsigned mapped)
{
        ra->mmap_miss -= (uint32_t)min_u64(ra->mmap_miss, mapped);
}

/* L25, L27. */
static struct ra_window linux_read_miss(const struct ra_request *rq)
{
        if (!rq->ra->ra_pages)
                return ra_plain_window(rq->index, 1, rq->file_pages, RA_DISABLED);
        if (rq->advice == ADVICE_RANDOM)
                return ra_forced_window(rq->ra, rq->index, rq->req, rq->file_pages, RA_FORCED);
        return page_cache_sync_ra(rq, rq->req);
}

static struct ra_window linux_read_marker(const struct ra_request *rq)
{
        return rq->ra->ra_pages ? page_cache_async_ra(rq, rq->req) : linux_nothing;
}

/* L35: one call reads no more than the device's largest request or the window, from its start. */
struct ra_window linux_willneed(const struct ra_request *rq, uint64_t start, uint64_t end)
{
        return ra_forced_window(rq->ra, start, end > start ? end - start : 0, rq->file_pages,
                                RA_FORCED);
}

const struct vm_policy_ops linux_policy = {
        .name = "linux",
        .page_pages = 1,
        .fault_around = 16,
        .background_percent = 10,
        .dirty_percent = 20,
        .writeback_ms = 5000,
        .expire_ms = 30000,
        .swappiness = 60,
        .writes_read_alone = true,
        .swap_window = 8,
        .refaults_stay_missed = true,
        .mmap_miss = linux_mmap_miss,
        .mmap_hit = linux_mmap_hit,
        .mapped_around = linux_mapped_around,
        .read_miss = linux_read_miss,
        .read_marker = linux_read_marker,
        .willneed = linux_willneed,
        .reclaim = &linux_reclaim,
};
