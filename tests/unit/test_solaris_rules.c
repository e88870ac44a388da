/* SPDX-License-Identifier: Apache-2.0
 *
 * test_solaris_rules.c - the arithmetic of Solaris's seg_vn, UFS, page scanner and fsflush: each rule on
 * cases worked by hand from its text, its number in the test's name.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "policy/pageout.h"
#include "policy/segvn.h"
#include "policy/ufs.h"

#define K 1024ul

/* --- seg_vn */

struct segment {
        bool in_memory[64];
        enum vm_advice advice[64];
};

static bool in_memory(void *arg, uint64_t page)
{
        struct segment *s = arg;

        return s->in_memory[page];
}

static enum vm_advice advice_of(void *arg, uint64_t page)
{
        struct segment *s = arg;

        return s->advice[page];
}

static struct segvn_probe segment(struct segment *s, enum vm_advice advice)
{
        for (unsigned i = 0; i < ARRAY_SIZE(s->advice); i++) {
                s->in_memory[i] = true;
                s->advice[i] = advice;
        }
        return (struct segvn_probe){ in_memory, advice_of, s, NULL };
}

Test(solaris, S8_free_behind_walks_back_from_the_fault)
{
        struct segment s;
        struct segvn_probe probe = segment(&s, ADVICE_SEQUENTIAL);
        uint64_t first;

        cr_assert(segvn_free_behind(&probe, 20, true, &first));
        cr_assert_eq(first, 1); /* the segment's first page is never freed */
        s.in_memory[12] = false;
        cr_assert(segvn_free_behind(&probe, 20, true, &first));
        cr_assert_eq(first, 13);
        s.advice[15] = ADVICE_NORMAL;
        cr_assert(segvn_free_behind(&probe, 20, true, &first));
        cr_assert_eq(first, 16);
        s.in_memory[19] = false;
        cr_assert_not(segvn_free_behind(&probe, 20, true, &first));
}

Test(solaris, S8_free_behind_only_under_sequential_advice)
{
        struct segment s;
        struct segvn_probe probe = segment(&s, ADVICE_SEQUENTIAL);
        uint64_t first;

        cr_assert_not(segvn_free_behind(&probe, 0, true, &first));
        cr_assert_not(segvn_free_behind(&probe, 1, true, &first));
        cr_assert_not(segvn_free_behind(&probe, 20, false, &first)); /* fltadvice 0 */
        probe = segment(&s, ADVICE_NORMAL);
        cr_assert_not(segvn_free_behind(&probe, 20, true, &first));
        s.advice[20] = s.advice[19] = ADVICE_SEQUENTIAL; /* of the page itself is enough */
        cr_assert(segvn_free_behind(&probe, 20, true, &first));
        cr_assert_eq(first, 19);
}

Test(solaris, S9_getpage_asks_for_eight_pages_or_for_the_fault)
{
        struct segvn_ask ask = { .len = 4 * K, .left = 1024 * K, .page = 4 * K };

        cr_assert_eq(segvn_plsz(&ask), 32 * K);
        ask.left = 20 * K;
        cr_assert_eq(segvn_plsz(&ask), 20 * K);
        ask.left = 1024 * K;
        ask.next_mapped = true;
        cr_assert_eq(segvn_plsz(&ask), 4 * K);
        ask.next_mapped = false;
        ask.rw = SEG_OTHER;
        cr_assert_eq(segvn_plsz(&ask), 4 * K);
        ask.rw = SEG_WRITE;
        cr_assert_eq(segvn_plsz(&ask), 32 * K);
        cr_assert_eq(segvn_getpage_rw(&ask), SEG_WRITE);
        ask.private = true;
        cr_assert_eq(segvn_plsz(&ask), 4 * K);
        cr_assert_eq(segvn_getpage_rw(&ask), SEG_READ);
        ask = (struct segvn_ask){ .len = 8 * K, .left = 1024 * K, .page = 8 * K };
        cr_assert_eq(segvn_plsz(&ask), 64 * K);
}

Test(solaris, S13_what_may_be_read_together)
{
        struct segvn_kluster k = { .off = 32 * K, .size = 64 * K, .delta = 4 * K };

        cr_assert(segvn_kluster(&k));
        k.delta = 32 * K; /* the segment ends there */
        cr_assert_not(segvn_kluster(&k));
        k.delta = 28 * K;
        cr_assert(segvn_kluster(&k));
        k.delta = -32 * (int64_t)K;
        cr_assert(segvn_kluster(&k));
        k.delta = -36 * (int64_t)K;
        cr_assert_not(segvn_kluster(&k));
        k.delta = -4 * (int64_t)K;
        k.advice = ADVICE_SEQUENTIAL; /* not backward */
        cr_assert_not(segvn_kluster(&k));
        k.delta = 4 * K;
        cr_assert(segvn_kluster(&k));
        k.to_advice = ADVICE_RANDOM; /* the other page's own */
        cr_assert_not(segvn_kluster(&k));
        k.to_advice = ADVICE_NORMAL;
        k.advice = ADVICE_RANDOM;
        cr_assert_not(segvn_kluster(&k));
}

Test(solaris, S13_private_pages_are_not_mixed_with_the_files)
{
        struct segvn_kluster k = { .off = 32 * K, .size = 64 * K, .delta = 4 * K, .private = true };

        cr_assert(segvn_kluster(&k));
        k.anon = true;
        cr_assert_not(segvn_kluster(&k));
        k.to_anon = true;
        cr_assert_not(segvn_kluster(&k));
        k.adjacent = true;
        cr_assert(segvn_kluster(&k));
        k.anon = false;
        cr_assert_not(segvn_kluster(&k));
}

/* --- UFS: blocks of 8 KiB, clusters of 7 of them */

static const struct ufs_layout ufs = {
        .i_size = 1000 * K, .page = 4 * K, .fs_bsize = 8 * K, .fs_maxcontig = 7
};

Test(solaris, S14_a_range_behind_the_last_page_is_a_fault)
{
        struct ufs_layout l = ufs;

        l.i_size = 9 * K;
        cr_assert_eq(ufs_check_range(&l, 0, 12 * K), 0);
        cr_assert_eq(ufs_check_range(&l, 8 * K, 4 * K), 0);
        cr_assert_eq(ufs_check_range(&l, 8 * K, 8 * K), -EFAULT);
        cr_assert_eq(ufs_check_range(&l, 12 * K, 4 * K), -EFAULT);
        cr_assert_eq(ufs_check_range(&l, UINT64_MAX - 4 * K, 8 * K), -EFAULT);
}

Test(solaris, S15_sequential_is_where_the_last_pages_ended)
{
        struct ufs_stream s = { 0 };

        cr_assert(ufs_is_sequential(&s, 0, false));
        cr_assert_not(ufs_is_sequential(&s, 0, true)); /* S_CREATE */
        ufs_returned(&s, 24 * K);
        cr_assert(ufs_is_sequential(&s, 24 * K, false));
        cr_assert_not(ufs_is_sequential(&s, 20 * K, false));
        cr_assert_not(ufs_is_sequential(&s, 28 * K, false));
}

Test(solaris, S15_the_next_cluster_is_due_one_cluster_before)
{
        struct ufs_stream s = { .i_nextrio = 112 * K };

        cr_assert_eq(ufs_clustsz(&ufs), 56 * K);
        cr_assert_not(ufs_cluster_due(&s, &ufs, 52 * K, true));
        cr_assert(ufs_cluster_due(&s, &ufs, 56 * K, true));
        cr_assert(ufs_cluster_due(&s, &ufs, 112 * K, true));
        cr_assert_not(ufs_cluster_due(&s, &ufs, 116 * K, true)); /* has been passed */
        cr_assert_not(ufs_cluster_due(&s, &ufs, 56 * K, false)); /* the page itself is missing */
        s.i_nextrio = ufs.i_size;
        cr_assert_not(ufs_cluster_due(&s, &ufs, ufs.i_size - 4 * K, true));
}

Test(solaris, S16_a_miss_reads_a_block_or_what_is_contiguous)
{
        struct ufs_stream s = { 0 };
        struct ufs_io io = ufs_read_miss(&s, &ufs, 0, 56 * K, true);

        cr_assert_eq(io.len, 8 * K); /* at 0 in any case */
        cr_assert_eq(s.i_nextrio, 8 * K);
        io = ufs_read_miss(&s, &ufs, 200 * K, 56 * K, false);
        cr_assert_eq(io.off, 200 * K);
        cr_assert_eq(io.len, 8 * K);
        cr_assert_eq(s.i_nextrio, 208 * K);
        io = ufs_read_miss(&s, &ufs, 208 * K, 56 * K, true);
        cr_assert_eq(io.len, 56 * K);
        cr_assert_eq(s.i_nextrio, 264 * K);
        io = ufs_read_miss(&s, &ufs, 264 * K, 4 * K, true); /* no more in a row */
        cr_assert_eq(io.len, 4 * K);
        io = ufs_read_miss(&s, &ufs, 300 * K, 0, true); /* a hole: zeros, no I/O */
        cr_assert_eq(io.len, 0);
        cr_assert_eq(s.i_nextrio, 268 * K);
}

Test(solaris, S17_the_next_cluster)
{
        struct ufs_stream s = { .i_nextrio = 8 * K };
        struct ufs_io io = ufs_read_ahead(&s, &ufs, 56 * K, 1000 * K, false);

        cr_assert_eq(io.off, 8 * K);
        cr_assert_eq(io.len, 8 * K); /* the second block is read alone */
        cr_assert_eq(s.i_nextrio, 16 * K);
        io = ufs_read_ahead(&s, &ufs, 56 * K, 1000 * K, false);
        cr_assert_eq(io.off, 16 * K);
        cr_assert_eq(io.len, 56 * K);
        cr_assert_eq(s.i_nextrio, 72 * K);
        ufs_read_ahead_exists(&s, &ufs);
        cr_assert_eq(s.i_nextrio, 76 * K);
}

Test(solaris, S17_no_next_cluster)
{
        struct ufs_stream s = { .i_nextrio = 72 * K };

        cr_assert_eq(ufs_read_ahead(&s, &ufs, 56 * K, 1000 * K, true).len, 0); /* directio */
        cr_assert_eq(ufs_read_ahead(&s, &ufs, 56 * K, 72 * K, false).len, 0); /* the segment ends */
        cr_assert_eq(ufs_read_ahead(&s, &ufs, 0, 1000 * K, false).len, 0);    /* a hole */
        cr_assert_eq(s.i_nextrio, 72 * K);
        s.i_nextrio = 1000 * K;
        cr_assert_eq(ufs_read_ahead(&s, &ufs, 56 * K, 2000 * K, false).len, 0);
}

struct pages {
        uint64_t cached, refused; /* a bit for each page */
};

static bool is_cached(void *arg, uint64_t off)
{
        return ((struct pages *)arg)->cached >> off / (4 * K) & 1;
}

static bool may_kluster(void *arg, uint64_t off)
{
        return !(((struct pages *)arg)->refused >> off / (4 * K) & 1);
}

static void expect_kluster(const struct pvn_ask *ask, uint64_t from, uint64_t len)
{
        struct ufs_io io = pvn_read_kluster(ask);

        cr_assert_eq(io.len, len, "%lu bytes, not %lu", io.len, len);
        cr_assert_eq(io.off, from, "from %lu, not %lu", io.off, from);
}

Test(solaris, S18_a_kluster_grows_both_ways_until_it_meets_a_page)
{
        struct pages pages = { 0 };
        struct pvn_ask ask = { .off = 32 * K,
                               .vp_off = 16 * K,
                               .vp_end = 56 * K,
                               .page = 4 * K,
                               .freemem = 100,
                               .minfree = 10,
                               .cached = is_cached,
                               .kluster = may_kluster,
                               .arg = &pages };

        expect_kluster(&ask, 16 * K, 40 * K);
        pages.cached = 1u << 5 | 1u << 12;
        expect_kluster(&ask, 24 * K, 24 * K);
        pages.cached = 0;
        pages.refused = 1u << 7 | 1u << 9;
        expect_kluster(&ask, 32 * K, 4 * K);
        pages.refused = UINT64_MAX; /* MADV_RANDOM: who waits gets his page */
        expect_kluster(&ask, 32 * K, 4 * K);
}

Test(solaris, S18_read_ahead_is_refused_when_memory_is_short)
{
        struct pages pages = { 0 };
        struct pvn_ask ask = { .off = 32 * K,
                               .vp_off = 32 * K,
                               .vp_end = 56 * K,
                               .page = 4 * K,
                               .ahead = true,
                               .freemem = 11,
                               .minfree = 10,
                               .cached = is_cached,
                               .kluster = may_kluster,
                               .arg = &pages };

        expect_kluster(&ask, 32 * K, 24 * K);
        ask.freemem = 10;
        expect_kluster(&ask, 32 * K, 0);
        ask.ahead = false;
        expect_kluster(&ask, 32 * K, 24 * K);
        ask.ahead = true;
        ask.freemem = 11;
        pages.refused = 1u << 8; /* the segment says no */
        expect_kluster(&ask, 32 * K, 0);
}

static uint64_t none_cached(void *arg, uint64_t index, uint64_t max)
{
        (void)arg, (void)max;
        return index;
}

/* A stream of reads at 80 KiB in a file of 64 MiB; memory is 32 MiB, 4096 pages of 8 KiB. */
static struct file_ra_state reads;
static struct policy_tune given;
static struct ra_request read_in_stream(uint64_t freemem_units)
{
        static const struct ra_probe probe = { .first_missing = none_cached };

        reads = (struct file_ra_state){ .ra_pages = 32,
                                        .ufs = { .i_nextr = 80 * K, .i_nextrio = 88 * K } };
        return (struct ra_request){
                .ra = &reads,
                .probe = &probe,
                .index = 20,
                .file_pages = 16384,
                .vma_end = 16384,
                .page_pages = 2,
                .freemem = 2 * freemem_units,
                .memory = 8192,
                .tune = &given,
        };
}

static uint32_t ahead_with(uint64_t freemem_units, uint64_t minfree)
{
        struct ra_request rq = read_in_stream(freemem_units);

        given = (struct policy_tune){ .given = minfree ? 1u << TUNE_minfree : 0 };
        given.value[TUNE_minfree] = minfree;
        return solaris_policy.ahead(&rq).nr;
}

Test(solaris, S18_minfree_is_of_solaris_pages_and_may_be_given)
{
        cr_assert_eq(ahead_with(16, 0), 0, "a 256th of 4096 pages");
        cr_assert_eq(ahead_with(17, 0), 32);
        cr_assert_eq(ahead_with(20, 20), 0);
        cr_assert_eq(ahead_with(21, 20), 32);
}

/* In a file's first 32 KiB nothing; then to the tail of the list of free pages, and, behind a tenth of
 * what is free, to its head. */
Test(solaris, S22_what_a_read_frees)
{
        struct ra_request rq = read_in_stream(100); /* 800 KiB: a tenth is 80 */

        given = (struct policy_tune){ 0 };
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_FREES, "at 80 KiB");
        rq.index = 21;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_FREES, "the page's second half");
        reads.ufs.i_nextr = 88 * K;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_KEEPS, "no stream");
        rq.index = 22;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_FREES_FIRST, "at 88 KiB");
        rq.processors = 4;
        rq.freemem *= 4;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_FREES_FIRST, "a tenth of its share");
        rq.processors = 3;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_FREES, "which is larger");
        rq.processors = 4;
        given.given = 1u << TUNE_cache_read_ahead;
        given.value[TUNE_cache_read_ahead] = 1;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_FREES, "cache_read_ahead");
        given.given = 1u << TUNE_freebehind; /* 0 */
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_KEEPS, "freebehind");
        given.given = 0;
        reads.ufs.i_nextr = 32 * K;
        rq.index = 8;
        cr_assert_eq(solaris_policy.read_behind(&rq), READ_KEEPS, "smallfile1");
}

Test(solaris, S22_reads_free_behind_in_large_files)
{
        struct ufs_small_files small = ufs_small_files(4000 * K * K, 2);
        struct ufs_stream s = { .i_nextr = 1000 * K };

        cr_assert_eq(small.smallfile1, 2000 * K * K / 1000);
        cr_assert_eq(small.smallfile2, 200 * K * K);
        cr_assert_eq(ufs_read_flags(&s, &small, 1000 * K, true, false), 0); /* small */
        s.i_nextr = 3000 * K;
        cr_assert_eq(ufs_read_flags(&s, &small, 3000 * K, true, false), UFS_FREE);
        cr_assert_eq(ufs_read_flags(&s, &small, 3004 * K, true, false), 0);  /* no stream */
        cr_assert_eq(ufs_read_flags(&s, &small, 3000 * K, false, false), 0); /* freebehind 0 */
        s.i_nextr = 300 * K * K;
        cr_assert_eq(ufs_read_flags(&s, &small, s.i_nextr, true, false), UFS_FREE | UFS_DONTNEED);
        cr_assert_eq(ufs_read_flags(&s, &small, s.i_nextr, true, true), UFS_FREE);
        small = ufs_small_files(100 * K, 1);
        cr_assert_eq(small.smallfile1, 32 * K);
        cr_assert_eq(small.smallfile2, 32 * K);
}

/* --- fsflush and the scanner */

Test(solaris, S33_fsflush_sees_all_of_memory_in_autoup_seconds)
{
        cr_assert_eq(fsflush_scan(30000, 1, 30), 1000);
        cr_assert_eq(fsflush_scan(30000, 5, 30), 5000);
        cr_assert_eq(fsflush_scan(30000, 1, 0), 30000);
        cr_assert_eq(fsflush_scan(1000, 1, 30), 34); /* within that time, not a bit later */
        cr_assert_eq(fsflush_iflush(1, 30), 30);
        cr_assert_eq(fsflush_iflush(5, 30), 6);
        cr_assert_eq(fsflush_iflush(40, 30), 1);
}

Test(solaris, S34_thresholds)
{
        struct pageout_limits l = pageout_limits(1 << 20, 4096); /* 4 GiB */

        cr_assert_eq(l.lotsfree, 16384);
        cr_assert_eq(l.desfree, 8192);
        cr_assert_eq(l.minfree, 4096);
        cr_assert_eq(l.throttlefree, 4096);
        cr_assert_eq(l.pageout_reserve, 2048);
        l = pageout_limits(4096, 4096); /* 16 MiB: 512 KiB are more than a 64th */
        cr_assert_eq(l.lotsfree, 128);
        l = pageout_limits(64, 4096); /* and more than an eighth of 256 KiB */
        cr_assert_eq(l.lotsfree, 8);
        cr_assert(pageout_wanted(&l, 7, 0));
        cr_assert_not(pageout_wanted(&l, 8, 0));
        cr_assert(pageout_wanted(&l, 8, 1));
}

Test(solaris, S35_scan_rates)
{
        struct pageout_limits l = pageout_limits(1 << 20, 4096);

        cr_assert_eq(l.fastscan, 16384); /* 64 MiB */
        cr_assert_eq(l.slowscan, 100);
        cr_assert_eq(l.handspread, 16384);
        cr_assert_eq(pageout_desscan(&l, 16384, 0), 25);  /* slowly */
        cr_assert_eq(pageout_desscan(&l, 20000, 0), 25);  /* never slower */
        cr_assert_eq(pageout_desscan(&l, 0, 0), 4096);    /* fast */
        cr_assert_eq(pageout_desscan(&l, 8192, 0), 2060); /* (50 + 8192) / 4 */
        cr_assert_eq(pageout_desscan(&l, 9192, 1000), 2060);
        cr_assert_eq(pageout_desscan(&l, 500, 1000), 4096);
        cr_assert_eq(pageout_cpu_cap(&l, 16384, 0), 4);
        cr_assert_eq(pageout_cpu_cap(&l, 8192, 0), 42);
        cr_assert_eq(pageout_cpu_cap(&l, 0, 0), 80);
        cr_assert_eq(pageout_pushes(&l), 10);
        l = pageout_limits(1000, 4096);
        cr_assert_eq(l.fastscan, 500);
        cr_assert_eq(l.slowscan, 50);
}

Test(solaris, S36_two_hands)
{
        struct pageout_page p = { 0 };

        cr_assert_eq(pageout_front(&p, 8), PAGEOUT_CLEAR);
        cr_assert_eq(pageout_back(&p, 8), PAGEOUT_FREE);
        p.dirty = true;
        cr_assert_eq(pageout_back(&p, 8), PAGEOUT_PUSH);
        p.referenced = true;
        cr_assert_eq(pageout_back(&p, 8), PAGEOUT_KEEP);
        p.shared = 8;
        cr_assert_eq(pageout_front(&p, 8), PAGEOUT_CLEAR);
        p.shared = 9;
        cr_assert_eq(pageout_front(&p, 8), PAGEOUT_SKIP);
        cr_assert_eq(pageout_back(&p, 8), PAGEOUT_SKIP);
        p = (struct pageout_page){ .locked = true };
        cr_assert_eq(pageout_back(&p, 8), PAGEOUT_SKIP);
        p = (struct pageout_page){ .kernel = true };
        cr_assert_eq(pageout_front(&p, 8), PAGEOUT_SKIP);
        p = (struct pageout_page){ .free = true };
        cr_assert_eq(pageout_back(&p, 8), PAGEOUT_SKIP);
}

Test(solaris, S36_what_is_shared_by_many_is_taken_at_last)
{
        cr_assert_eq(pageout_share(8, true, false), 16);
        cr_assert_eq(pageout_share(16, false, false), 16);
        cr_assert_eq(pageout_share(16, false, true), 8);
        cr_assert_eq(pageout_share(8, false, true), 8);
        cr_assert_eq(pageout_share(8u << 24, true, false), 8u << 24);
}
