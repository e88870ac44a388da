/* SPDX-License-Identifier: Apache-2.0
 *
 * pageout.c - see pageout.h.
 */
#include "policy/pageout.h"

#define LOTSFREE_LEAST (512u << 10) /* bytes */
#define FASTSCAN_MOST (64u << 20)   /* bytes */
#define SLOWSCAN 100
#define MAXPGIO 40
#define CPU_LEAST 4
#define CPU_MOST 80
#define PO_SHARE 8
#define PO_SHARE_MOST (PO_SHARE << 24)

struct pageout_limits pageout_limits_tuned(const struct policy_tune *t, uint64_t memory,
                                           uint32_t page)
{
        struct pageout_limits l;
        uint64_t lotsfree = max_u64(memory / 64, min_u64(LOTSFREE_LEAST / page, memory / 8));

        l.lotsfree = min_u64(tune_or(t, TUNE_lotsfree, lotsfree), memory / 2);
        l.desfree = min_u64(tune_or(t, TUNE_desfree, l.lotsfree / 2), l.lotsfree);
        l.minfree = min_u64(tune_or(t, TUNE_minfree, l.desfree / 2), l.desfree);
        l.throttlefree = min_u64(tune_or(t, TUNE_throttlefree, l.minfree), l.lotsfree);
        l.pageout_reserve = l.throttlefree / 2;
        l.fastscan = tune_or(t, TUNE_fastscan, min_u64(memory / 2, FASTSCAN_MOST / page));
        l.slowscan = tune_or(t, TUNE_slowscan, min_u64(l.fastscan / 10, SLOWSCAN));
        l.handspread =
                min_u64(tune_or(t, TUNE_handspreadpages, l.fastscan), memory ? memory - 1 : 0);
        l.maxpgio = tune_or(t, TUNE_maxpgio, MAXPGIO);
        l.cpu_least = tune_or(t, TUNE_min_percent_cpu, CPU_LEAST);
        l.cpu_most = tune_or(t, TUNE_max_percent_cpu, max_u64(CPU_MOST, l.cpu_least));
        return l;
}

struct pageout_limits pageout_limits(uint64_t memory, uint32_t page)
{
        static const struct policy_tune none;

        return pageout_limits_tuned(&none, memory, page);
}

bool pageout_wanted(const struct pageout_limits *l, uint64_t freemem, uint64_t needfree)
{
        return freemem < l->lotsfree + needfree;
}

/* How much of lotsfree there is. */
static uint64_t vavail(const struct pageout_limits *l, uint64_t freemem, uint64_t deficit)
{
        return freemem > deficit ? min_u64(freemem - deficit, l->lotsfree) : 0;
}

uint64_t pageout_desscan(const struct pageout_limits *l, uint64_t freemem, uint64_t deficit)
{
        uint64_t v = vavail(l, freemem, deficit);

        if (l->lotsfree == 0)
                return l->fastscan / PAGEOUT_HZ;
        return (l->slowscan * v + l->fastscan * (l->lotsfree - v)) / l->lotsfree / PAGEOUT_HZ;
}

unsigned pageout_cpu_cap(const struct pageout_limits *l, uint64_t freemem, uint64_t deficit)
{
        uint64_t v = vavail(l, freemem, deficit);

        if (l->lotsfree == 0)
                return (unsigned)l->cpu_most;
        return (unsigned)(l->cpu_least +
                          (l->cpu_most - l->cpu_least) * (l->lotsfree - v) / l->lotsfree);
}

uint64_t pageout_pushes(const struct pageout_limits *l)
{
        return max_u64(l->maxpgio / PAGEOUT_HZ, 1);
}

static bool passed_by(const struct pageout_page *p, unsigned po_share)
{
        return p->kernel || p->free || p->locked || p->shared > po_share;
}

enum pageout_step pageout_front(const struct pageout_page *p, unsigned po_share)
{
        return passed_by(p, po_share) ? PAGEOUT_SKIP : PAGEOUT_CLEAR;
}

enum pageout_step pageout_back(const struct pageout_page *p, unsigned po_share)
{
        if (passed_by(p, po_share))
                return PAGEOUT_SKIP;
        if (p->referenced)
                return PAGEOUT_KEEP;
        return p->dirty ? PAGEOUT_PUSH : PAGEOUT_FREE;
}

unsigned pageout_share(unsigned po_share, bool fruitless, bool ample)
{
        if (fruitless && po_share < PO_SHARE_MOST)
                return po_share * 2;
        if (ample && po_share > PO_SHARE)
                return po_share / 2;
        return po_share;
}

uint64_t fsflush_scan(uint64_t memory, unsigned tune_t_fsflushr, unsigned autoup)
{
        return autoup ? (memory * tune_t_fsflushr + autoup - 1) / autoup : memory;
}

unsigned fsflush_iflush(unsigned tune_t_fsflushr, unsigned autoup)
{
        return autoup > tune_t_fsflushr && tune_t_fsflushr ? autoup / tune_t_fsflushr : 1;
}
