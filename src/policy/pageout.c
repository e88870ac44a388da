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

struct pageout_limits pageout_limits(uint64_t memory, uint32_t page)
{
        struct pageout_limits l;

        l.lotsfree = max_u64(memory / 64, min_u64(LOTSFREE_LEAST / page, memory / 8));
        l.desfree = l.lotsfree / 2;
        l.minfree = l.desfree / 2;
        l.throttlefree = l.minfree;
        l.pageout_reserve = l.throttlefree / 2;
        l.fastscan = min_u64(memory / 2, FASTSCAN_MOST / page);
        l.slowscan = min_u64(l.fastscan / 10, SLOWSCAN);
        l.handspread = l.fastscan;
        return l;
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
                return CPU_MOST;
        return (unsigned)(CPU_LEAST + (CPU_MOST - CPU_LEAST) * (l->lotsfree - v) / l->lotsfree);
}

unsigned pageout_pushes(void)
{
        return MAXPGIO / PAGEOUT_HZ;
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
        return autoup ? memory * tune_t_fsflushr / autoup : memory;
}

unsigned fsflush_iflush(unsigned tune_t_fsflushr, unsigned autoup)
{
        return autoup > tune_t_fsflushr && tune_t_fsflushr ? autoup / tune_t_fsflushr : 1;
}
