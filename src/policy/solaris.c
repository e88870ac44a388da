/* SPDX-License-Identifier: Apache-2.0
 *
 * solaris.c - the policy of Solaris: VOP_GETPAGE of UFS below seg_vn.
 *
 * The order in which rules are tried is that of ufs_getpage(): in a stream, a page that is there
 * starts the next cluster when that is due; a page that is not is read with what follows it on the
 * disk, and in a stream the cluster behind that as well. The arithmetic is in segvn.c, ufs.c and
 * pageout.c; rule numbers are those of docs/policies.md.
 *
 * A page is 8 KiB, two of the cache's, unless the engine has been told otherwise. What UFS knows of the disk is taken from the device's
 * read-ahead: so long is a cluster, and the file is contiguous for that long everywhere.
 */
#include "policy/solaris.h"
#include "policy/pageout.h"
#include "policy/segvn.h"
#include "policy/ufs.h"

#define FS_BSIZE 8192u

/* A GETPAGE under way. */
struct getpage {
        const struct ra_request *rq;
        struct ufs_stream *stream;
        struct ufs_layout layout;
        uint64_t off;
        bool sequential;
};

static struct getpage getpage_of(const struct ra_request *rq)
{
        uint64_t cluster = (uint64_t)rq->ra->ra_pages << PAGE_SHIFT;
        struct getpage g = {
                .rq = rq,
                .stream = &rq->ra->ufs,
                .layout = { .i_size = rq->file_pages << PAGE_SHIFT,
                            .page = solaris_page_pages(rq) << PAGE_SHIFT,
                            .fs_bsize = FS_BSIZE,
                            .fs_maxcontig = (uint32_t)max_u64(cluster / FS_BSIZE, 1) },
                .off = round_down_u64(rq->index, solaris_page_pages(rq)) << PAGE_SHIFT,
        };

        g.sequential = ufs_is_sequential(g.stream, g.off, false);
        return g;
}

/* How far the file is contiguous from there. */
static uint64_t contiguous(const struct getpage *g, uint64_t off)
{
        return off < g->layout.i_size ? min_u64(ufs_clustsz(&g->layout), g->layout.i_size - off)
                                      : 0;
}

static bool is_cached(void *arg, uint64_t off)
{
        const struct getpage *g = arg;
        const struct ra_probe *probe = g->rq->probe;
        uint64_t index = off >> PAGE_SHIFT;
        uint64_t nr = min_u64(solaris_page_pages(g->rq), g->rq->file_pages - index);

        return probe->first_missing(probe->arg, index, nr) >= index + nr;
}

static bool may_kluster(void *arg, uint64_t off)
{
        const struct getpage *g = arg;
        const struct ra_request *rq = g->rq;
        uint64_t start = rq->vma_start << PAGE_SHIFT;
        struct segvn_kluster k = {
                .off = g->off > start ? g->off - start : 0,
                .size = (rq->vma_end << PAGE_SHIFT) - start,
                .delta = (int64_t)(off - g->off),
                .advice = rq->advice,
                .to_advice = rq->advice,
        };

        if (rq->kluster)
                return rq->kluster(rq->kluster_arg, off >> PAGE_SHIFT);
        return segvn_kluster(&k);
}

/* S18: of [io.off, io.off + io.len) what one request reads. */
static struct ufs_io kluster(struct getpage *g, struct ufs_io io, bool ahead)
{
        struct pageout_limits limits = pageout_limits_tuned(
                g->rq->tune, g->rq->memory / solaris_page_pages(g->rq), g->layout.page);
        struct pvn_ask ask = {
                .off = io.off,
                .vp_off = io.off,
                .vp_end = io.off + io.len,
                .page = g->layout.page,
                .ahead = ahead,
                .freemem = g->rq->freemem / solaris_page_pages(g->rq),
                .minfree = limits.minfree,
                .cached = is_cached,
                .kluster = may_kluster,
                .arg = g,
        };

        return pvn_read_kluster(&ask);
}

static struct ra_window window(const struct getpage *g, struct ufs_io io, enum ra_why why)
{
        uint64_t start = io.off >> PAGE_SHIFT;
        uint64_t end = min_u64((io.off + io.len + PAGE_SIZE - 1) >> PAGE_SHIFT, g->rq->file_pages);

        return (struct ra_window){ .start = start,
                                   .nr = end > start ? (uint32_t)(end - start) : 0,
                                   .why = why };
}

/* S17, S18. */
static struct ra_window next_cluster(struct getpage *g)
{
        uint64_t at = g->stream->i_nextrio;
        bool off = !g->rq->ra->ra_pages;
        struct ufs_io io;

        if (at < g->layout.i_size && is_cached(g, at)) {
                ufs_read_ahead_exists(g->stream, &g->layout);
                return solaris_nothing;
        }
        io = ufs_read_ahead(g->stream, &g->layout, contiguous(g, at), g->rq->vma_end << PAGE_SHIFT,
                            off);
        if (io.len)
                io = kluster(g, io, true);
        g->stream->i_nextrio = io.off + io.len;
        return window(g, io, RA_UFS_AHEAD);
}

/* S16, S18. */
struct ra_window solaris_miss(const struct ra_request *rq)
{
        struct getpage g = getpage_of(rq);
        struct ufs_io io =
                ufs_read_miss(g.stream, &g.layout, g.off, contiguous(&g, g.off), g.sequential);
        uint64_t asked = io.len;
        enum ra_why why = g.sequential && g.off ? RA_UFS_CLUSTER : RA_UFS_BLOCK;

        io = kluster(&g, io, false);
        g.stream->i_nextrio = io.off + io.len;
        if (io.len < asked && rq->advice == ADVICE_RANDOM)
                why = RA_KLUSTER_REFUSED;
        return window(&g, io, why);
}

/* S16: the cluster behind what is waited for. */
struct ra_window solaris_ahead(const struct ra_request *rq)
{
        struct getpage g = getpage_of(rq);

        return g.sequential ? next_cluster(&g) : solaris_nothing;
}

/* S15. */
struct ra_window solaris_hit(const struct ra_request *rq)
{
        struct getpage g = getpage_of(rq);

        if (!g.sequential || !ufs_cluster_due(g.stream, &g.layout, g.off, true))
                return solaris_nothing;
        return next_cluster(&g);
}

static struct ra_window solaris_mmap_hit(const struct ra_request *rq, bool marker)
{
        (void)marker; /* there are none */
        return solaris_hit(rq);
}

struct ra_window solaris_read_marker(const struct ra_request *rq)
{
        (void)rq;
        return solaris_nothing;
}

void solaris_mapped_around(struct file_ra_state *ra, unsigned mapped)
{
        (void)ra, (void)mapped;
}

/* S14. */
void solaris_returned(const struct ra_request *rq, uint64_t end)
{
        ufs_returned(&rq->ra->ufs, round_up_u64(end, solaris_page_pages(rq)) << PAGE_SHIFT);
}

/* S22. Solaris works the sizes of files anew once a second, and we each time. */
enum read_behind solaris_read_behind(const struct ra_request *rq)
{
        struct getpage g = getpage_of(rq);
        struct ufs_small_files small =
                ufs_small_files(rq->freemem << PAGE_SHIFT, rq->processors ? rq->processors : 1);
        unsigned flags =
                ufs_read_flags(g.stream, &small, g.off, tune_or(rq->tune, TUNE_freebehind, 1),
                               tune_or(rq->tune, TUNE_cache_read_ahead, 0));

        if (!(flags & UFS_FREE))
                return READ_KEEPS;
        return flags & UFS_DONTNEED ? READ_FREES_FIRST : READ_FREES;
}

/* S29: all of it, whatever a window may be. */
struct ra_window solaris_willneed(const struct ra_request *rq, uint64_t start, uint64_t end)
{
        uint64_t stop = min_u64(end, rq->file_pages);

        return (struct ra_window){ .start = start,
                                   .nr = stop > start ? (uint32_t)min_u64(stop - start, UINT32_MAX)
                                                      : 0,
                                   .why = RA_UFS_WILLNEED };
}

static bool solaris_free_behind(const struct segvn_probe *probe, uint64_t page, uint64_t *first)
{
        return segvn_free_behind(probe, page, tune_or(probe->tune, TUNE_fltadvice, 1), first);
}

static const struct segvn_policy solaris_segvn = {
        .plsz = segvn_plsz,
        .getpage_rw = segvn_getpage_rw,
        .free_behind = solaris_free_behind,
        .kluster = segvn_kluster,
};

/* S33: pages of the cache. */
uint64_t solaris_flush_scan(const struct policy_tune *tune, uint64_t memory)
{
        struct policy_tune t = tune_complete(tune, memory, PAGE_SIZE);

        if (!t.value[TUNE_dopageflush])
                return 0;
        return fsflush_scan(memory, (unsigned)t.value[TUNE_tune_t_fsflushr],
                            (unsigned)t.value[TUNE_autoup]);
}

const struct vm_policy_ops solaris_policy = {
        .name = "solaris",
        .page_pages = FS_BSIZE / PAGE_SIZE,
        .fault_around = 1,
        .background_percent = 80,
        .dirty_percent = 80,
        .writeback_ms = 1000,
        .tunable = true,
        .async_starts_io = true,
        .flush_scan = solaris_flush_scan,
        .expire_ms = 30000,
        .mandatory = MANDATORY_HELD,
        .swappiness = 60,
        .swap_window = 8,
        .mmap_miss = solaris_miss,
        .mmap_hit = solaris_mmap_hit,
        .mapped_around = solaris_mapped_around,
        .read_miss = solaris_miss,
        .read_marker = solaris_read_marker,
        .read_hit = solaris_hit,
        .read_behind = solaris_read_behind,
        .ahead = solaris_ahead,
        .returned = solaris_returned,
        .willneed = solaris_willneed,
        .reclaim = &scanner_reclaim,
        .scan = &solaris_scan,
        .segvn = &solaris_segvn,
};
