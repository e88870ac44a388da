/* SPDX-License-Identifier: Apache-2.0
 *
 * solaris_book.c - the policy of seg_vn as Solaris Internals describes it (14.7), to the letter, where
 * that is older or simpler than the source: part 4 of docs/policies.md has both side by side.
 *
 * A fault reads its page of 8 KiB. At each boundary of 64 KiB the next eight pages are read ahead; a
 * cluster of the file system's, as for read(2), unless the segment is MAP_SHARED or its advice is
 * MADV_RANDOM. MADV_SEQUENTIAL frees all pages up to the faulting one. What the file's permissions do
 * not allow of the protection is left out, and a file that is locked by force is not mapped at all.
 */
#include "policy/segvn.h"
#include "policy/solaris.h"

#define BOUNDARY 65536u
#define EIGHT 8u

static uint64_t first_page(const struct ra_request *rq)
{
        return round_down_u64(rq->index, solaris_page_pages(rq));
}

static struct ra_window window(const struct ra_request *rq, uint64_t start, uint64_t nr,
                               enum ra_why why)
{
        uint64_t end = min_u64(start + nr, rq->file_pages);

        return (struct ra_window){
                .start = start,
                .nr = end > start ? (uint32_t)(end - start) : 0,
                .why = why,
        };
}

static struct ra_window book_miss(const struct ra_request *rq)
{
        return window(rq, first_page(rq), solaris_page_pages(rq), RA_BOOK_PAGE);
}

/* The first boundary that the answer to the request holds, which is eight pages at most, as far as they
 * are there: a page that is mapped with another's fault has none of its own. UINT64_MAX: none. */
static uint64_t boundary_in(const struct ra_request *rq)
{
        uint64_t page = first_page(rq), at = round_up_u64(page, BOUNDARY / PAGE_SIZE);
        uint64_t nr = at - page + 1;

        if (at == page)
                return at;
        if (nr > EIGHT * solaris_page_pages(rq) ||
            rq->probe->first_missing(rq->probe->arg, page, nr) < page + nr)
                return UINT64_MAX;
        return at;
}

static struct ra_window book_ahead(const struct ra_request *rq)
{
        uint64_t at = boundary_in(rq), start = at + solaris_page_pages(rq);
        bool cluster = !rq->shared && rq->advice != ADVICE_RANDOM;
        uint64_t nr = cluster ? rq->ra->ra_pages : EIGHT * solaris_page_pages(rq);

        if (!rq->fault)
                return solaris_ahead(rq);
        if (!rq->ra->ra_pages || at == UINT64_MAX || start >= rq->vma_end)
                return solaris_nothing;
        nr = min_u64(nr, rq->vma_end - start);
        return window(rq, start, nr, cluster ? RA_BOOK_CLUSTER : RA_BOOK_EIGHT);
}

static struct ra_window book_mmap_hit(const struct ra_request *rq, bool marker)
{
        (void)marker;
        return book_ahead(rq);
}

static bool book_free_behind(const struct segvn_probe *probe, uint64_t page, uint64_t *first)
{
        *first = 0;
        if (!tune_or(probe->tune, TUNE_fltadvice, 1))
                return false;
        return page && probe->advice(probe->arg, page) == ADVICE_SEQUENTIAL;
}

static const struct segvn_policy book_segvn = {
        .plsz = segvn_plsz,
        .getpage_rw = segvn_getpage_rw,
        .free_behind = book_free_behind,
        .kluster = segvn_kluster,
        .reduces_prot = true,
};

const struct vm_policy_ops solaris_book_policy = {
        .name = "solaris-book",
        .page_pages = 2,
        .fault_around = 1,
        .background_percent = 80,
        .dirty_percent = 80,
        .writeback_ms = 1000,
        .tunable = true,
        .async_starts_io = true,
        .flush_scan = solaris_flush_scan,
        .expire_ms = 30000,
        .mandatory = MANDATORY_ALWAYS,
        .swappiness = 60,
        .swap_window = 8,
        .mmap_miss = book_miss,
        .mmap_hit = book_mmap_hit,
        .mapped_around = solaris_mapped_around,
        .read_miss = solaris_miss,
        .read_marker = solaris_read_marker,
        .read_hit = solaris_hit,
        .read_behind = solaris_read_behind,
        .ahead = book_ahead,
        .returned = solaris_returned,
        .willneed = solaris_willneed,
        .reclaim = &scanner_reclaim,
        .scan = &solaris_scan,
        .segvn = &book_segvn,
};
