/* SPDX-License-Identifier: Apache-2.0
 *
 * shrink.c - pages that are looked at to be reclaimed, a batch at a time, and what becomes of them.
 *
 * There are no accessed bits in user space: a page that is mapped may or may not be in use. So it
 * is unmapped and looked at again later; if it is touched meanwhile, the minor fault that follows says
 * so. Victims are zapped and punched in runs, the scattered ones by one system call, since a TLB
 * shootdown costs more than the page.
 *
 * In what order pages are looked at, and what becomes of each, is the policy's (policy/reclaim.h, by way
 * of lru.c); this file carries it out.
 */
#include "cache/shrink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util/perturb.h"

#define FOLIO_LEAVES 2u
#define SHM_LOOK 512 /* pages of shmem that a fault looks at, for one that is clean */

struct victim {
        struct address_space *m;
        struct page *page;
        uint64_t index;
};

static void put_back(struct page_cache *c, struct page *p, bool locked, bool looked)
{
        struct address_space *m = page_mapping(c, p);

        lru_put_back(c, p, looked);
        m->nr_taken--;
        if (locked)
                page_unlock(c, p);
        put_page(m, p);
        mapping_unuse(m);
}

/* Sorted by file and index, so that neighbours become runs. */
static void add_victim(struct victim *v, unsigned nr, struct page_cache *c, struct page *p)
{
        struct victim new = { page_mapping(c, p), p, page_index(c, p) };
        unsigned i = nr;

        while (i > 0 &&
               (v[i - 1].m > new.m || (v[i - 1].m == new.m &&v[i - 1].index > new.index))) {
                v[i] = v[i - 1];
                i--;
        }
        v[i] = new;
}

/* Spans of the victims of one file, from v[0] on; *nr_spans of them. Returns victims used. */
static unsigned spans_of(const struct victim *v, unsigned nr, struct page_span *spans,
                         unsigned *nr_spans)
{
        unsigned i, s = 0;

        for (i = 0; i < nr && v[i].m == v[0].m; i++) {
                if (s && spans[s - 1].index + spans[s - 1].nr == v[i].index)
                        spans[s - 1].nr++;
                else
                        spans[s++] = (struct page_span){ v[i].index, 1 };
        }
        *nr_spans = s;
        return i;
}

static void zap_victims(struct page_cache *c, struct victim *v, unsigned nr)
{
        struct page_span spans[BATCH];

        for (unsigned i = 0, used, n; i < nr; i += used) {
                used = spans_of(v + i, nr - i, spans, &n);
                mapping_zap(v[i].m, spans, n);
        }
        perturb_gap();
        for (unsigned i = 0; i < nr; i++) {
                page_clear(v[i].page, PG_MAPPED | PG_REFERENCED);
                page_set(v[i].page, PG_PROBED);
                put_back(c, v[i].page, true, true);
        }
}

static unsigned evict_victims(struct page_cache *c, struct victim *v, unsigned nr)
{
        struct page_span spans[BATCH];
        unsigned evicted = 0;

        for (unsigned i = 0; i < nr; i++)
                page_start_evict(c, v[i].page);
        for (unsigned i = 0, used, n; i < nr; i += used) {
                struct frames *f = v[i].m->frames;
                unsigned k = i;
                bool mapped = false;

                used = spans_of(v + i, nr - i, spans, &n);
                for (unsigned j = i; j < i + used; j++)
                        mapped |= page_test(v[j].page, PG_MAPPED);
                if (mapped)
                        mapping_zap(v[i].m, spans, n);
                perturb_gap();
                for (unsigned s = 0; s < n; s++) {
                        bool gone = f->ops->release(f, spans[s].index, spans[s].nr) == 0;

                        for (uint64_t j = 0; j < spans[s].nr; j++, k++) {
                                if (gone) {
                                        lru_evicted(c, v[k].page);
                                        page_end_evict(c, v[k].page, false);
                                } else {
                                        page_cancel_evict(c, v[k].page);
                                }
                                evicted += gone;
                        }
                        trace_evicted(v[i].m, spans[s].index, gone ? spans[s].nr : 0,
                                      EVICT_RECLAIM);
                }
        }
        for (unsigned i = 0; i < nr; i++) {
                v[i].m->nr_taken--;
                page_unlock(c, v[i].page);
                put_page(v[i].m, v[i].page);
                mapping_unuse(v[i].m);
        }
        return evicted;
}

/* Of a neighbour of a page that is to go no more is known than of that page, and it is on the same list: so it
 * is to go too. Then it is locked. */
static bool goes_along(struct page_cache *c, struct page *p, const struct page *with)
{
        const uint32_t known = PG_KNOWN & ~PG_DROP & ~PG_MARKS;

        if (page_state(p) != PAGE_CLEAN || !page_trylock(p))
                return false;
        if (page_state(p) == PAGE_CLEAN && !(page_word(p) & known & ~page_word(with)) &&
            p->lru.list == with->lru.list)
                return true;
        page_unlock(c, p);
        return false;
}

/* The pages of a folio. */
struct folio {
        struct address_space *m;
        uint64_t first, nr;
        uint64_t each;                   /* pages of a leaf */
        struct page *leaf[FOLIO_LEAVES]; /* pinned */
};

static struct page *folio_page(const struct folio *f, uint64_t k)
{
        return f->leaf[k / f->each] + k % f->each;
}

static void folio_put(struct folio *f, uint64_t leaves)
{
        while (leaves--)
                put_page(f->m, f->leaf[leaves]);
}

/* False: not all of its leaves are there. */
static bool folio_get(struct folio *f, struct address_space *m, uint64_t index)
{
        f->m = m;
        f->nr = m->frames->ops->folio;
        f->first = index - index % f->nr;
        f->each = 1ull << radix_leaf_bits(&m->i_pages);
        assert(f->nr == f->each * FOLIO_LEAVES);
        for (uint64_t n = 0; n < FOLIO_LEAVES; n++) {
                f->leaf[n] = find_page(m, f->first + n * f->each);
                if (!f->leaf[n]) {
                        folio_put(f, n);
                        return false;
                }
        }
        return true;
}

/* All but `own`, which is locked and stays so. */
static void folio_unlock(struct page_cache *c, const struct folio *f, uint64_t nr,
                         const struct page *own)
{
        for (uint64_t k = 0; k < nr; k++)
                if (folio_page(f, k) != own)
                        page_unlock(c, folio_page(f, k));
}

static bool folio_lock(struct page_cache *c, const struct folio *f, const struct page *own)
{
        for (uint64_t k = 0; k < f->nr; k++) {
                if (folio_page(f, k) == own || goes_along(c, folio_page(f, k), own))
                        continue;
                folio_unlock(c, f, k, own);
                return false;
        }
        /* Asked when all are locked: who locks the file in memory comes after us, or is seen. */
        if (atomic_load(&f->m->i_mmap.nr_locked) == 0)
                return true;
        folio_unlock(c, f, f->nr, own);
        return false;
}

/* => all of its pages locked, and clean */
static bool folio_release(struct page_cache *c, const struct folio *f)
{
        struct frames *frames = f->m->frames;
        bool mapped = false, gone;

        for (uint64_t k = 0; k < f->nr; k++) {
                page_start_evict(c, folio_page(f, k));
                mapped |= page_test(folio_page(f, k), PG_MAPPED);
        }
        if (mapped)
                mapping_zap(f->m, &(struct page_span){ f->first, f->nr }, 1);
        perturb_gap();
        gone = frames->ops->release(frames, f->first, f->nr) == 0;
        for (uint64_t k = 0; k < f->nr; k++) {
                if (gone) {
                        lru_evicted(c, folio_page(f, k));
                        page_end_evict(c, folio_page(f, k), false);
                } else {
                        page_cancel_evict(c, folio_page(f, k));
                }
        }
        trace_evicted(f->m, f->first, gone ? f->nr : 0, EVICT_RECLAIM);
        return gone;
}

/* With the page, which is to go, all of its folio, if that is to go too: it is unmapped and given back at
 * once, and need not be split. False: it is not, and nothing has happened. => page locked, in the hands of
 * reclaim */
static bool evict_folio(struct page_cache *c, struct page *p, struct reclaim_result *r)
{
        /* It has been in use, or each was unmapped to see if it is: they go one by one. */
        const uint32_t asked = PG_REFERENCED | PG_PROBED | PG_WORKINGSET | PG_ASKED;
        struct address_space *m = page_mapping(c, p);
        struct folio f;

        if (!m->frames->ops->folio || atomic_load(&m->share) || page_test(p, asked) ||
            !folio_get(&f, m, page_index(c, p)))
                return false;
        if (!folio_lock(c, &f, p)) {
                folio_put(&f, FOLIO_LEAVES);
                return false;
        }
        if (folio_release(c, &f))
                r->evicted += (unsigned)f.nr;
        folio_unlock(c, &f, f.nr, NULL);
        folio_put(&f, FOLIO_LEAVES);
        m->nr_taken--;
        put_page(m, p);
        mapping_unuse(m);
        return true;
}

bool page_is_pinned(struct page_cache *c, struct page *p)
{
        struct address_space *m = page_mapping(c, p);
        uint64_t index = page_index(c, p);
        struct mapping_view *v;
        bool yes = false;

        page_assert_locked(p);
        if (atomic_load(&m->i_mmap.nr_locked) == 0)
                return false;
        rwlock_read_lock(&m->i_mmap_lock);
        VIEW_FOREACH (v, &m->i_mmap, index, index)
                if (v->locked && c->m_ops->shows(v, index)) {
                        yes = true;
                        break;
                }
        rwlock_read_unlock(&m->i_mmap_lock);
        return yes;
}

/* Dirty pages of shmem that are to be written when evict_lock is free again, their files in use. */
struct pageout {
        struct victim victim[BATCH];
        unsigned nr, room;
};

/* May reclaim take a step with the page, which is locked? */
static bool may_go(struct page_cache *c, struct page *p, const struct pageout *out,
                   const struct reclaim_result *r)
{
        enum page_state s = page_state(p);

        if (s != PAGE_CLEAN && !(s == PAGE_DIRTY && (out ? out->nr < out->room : r->pushes)))
                return false;
        return !page_is_pinned(c, p);
}

/* Mappings that show it, where the policy asks and there may be many. => page locked */
static unsigned sharers(struct page_cache *c, struct page *p)
{
        struct address_space *m = page_mapping(c, p);
        uint64_t index = page_index(c, p);
        struct mapping_view *v;
        unsigned n = 0;

        if (!c->policy->scan)
                return 0;
        rwlock_read_lock(&m->i_mmap_lock);
        if (m->i_mmap.nr > 1)
                VIEW_FOREACH (v, &m->i_mmap, index, index)
                        n += c->m_ops->shows(v, index);
        rwlock_read_unlock(&m->i_mmap_lock);
        return n;
}

/* Written, and then it goes: a dirty page, whose file is in use, or of shmem. => page locked */
static void push(struct page_cache *c, struct page *p, struct pageout *out,
                 struct reclaim_result *r)
{
        struct address_space *m = page_mapping(c, p);

        if (out) {
                mapping_use(m);
                add_victim(out->victim, out->nr++, c, p);
        } else {
                putpage_range(m, page_index(c, p), page_index(c, p) + 1);
                r->pushes--;
        }
}

/* => c->evict_lock held. out: for dirty pages of shmem; NULL: they stay, and those of files but for so many
 * as r->pushes says. */
static bool shrink_batch(struct page_cache *c, struct lru *l, unsigned max,
                         struct reclaim_result *r, struct pageout *out)
{
        struct page *pages[BATCH];
        struct victim zap[BATCH], evict[BATCH];
        unsigned nz = 0, ne = 0, kept, n = lru_take(c, l, pages, max, &kept);

        for (unsigned i = 0; i < n; i++) {
                struct page *p = pages[i];
                bool looked = false;
                uint32_t w;

                perturb_gap();
                if (!page_trylock(p)) {
                        r->busy++;
                        put_back(c, p, false, false);
                        continue;
                }
                w = page_word(p);
                if (w & PG_LRU) { /* it has gone with its folio, and come back */
                        put_back(c, p, true, false);
                        continue;
                }
                if (may_go(c, p, out, r)) {
                        enum reclaim_choice choice;

                        if (!lru_look(c, p, w, sharers(c, p), &choice)) {
                                put_back(c, p, true, false);
                                continue;
                        }
                        switch (choice) {
                        case RECLAIM_EVICT:
                                if (page_state_of(w) == PAGE_DIRTY) {
                                        push(c, p, out, r);
                                        looked = !out;
                                        break;
                                }
                                if (!evict_folio(c, p, r))
                                        add_victim(evict, ne++, c, p);
                                continue;
                        case RECLAIM_UNMAP:
                                add_victim(zap, nz++, c, p);
                                continue;
                        case RECLAIM_KEEP:
                                page_clear(p, PG_REFERENCED);
                                r->rotated++;
                                looked = true;
                                break;
                        }
                } else if (page_state_of(w) != PAGE_CLEAN && l == &c->lru) {
                        r->dirty += page_uptodate(p);
                }
                put_back(c, p, true, looked);
        }
        zap_victims(c, zap, nz);
        r->evicted += evict_victims(c, evict, ne);
        r->zapped += nz;
        r->scanned += n + kept;
        return n + kept > 0;
}

/* Of a short list never much at once: it may be just what faults wait for. */
static unsigned batch_of(const struct lru *l, unsigned want)
{
        return (unsigned)min_u64(want, min_u64(atomic_load(&l->pages.nr) / 4 + 1, BATCH));
}

void shrink_lru(struct page_cache *c, struct lru *l, unsigned want, uint64_t bound,
                struct reclaim_result *r)
{
        unsigned first = r->evicted, scanned = r->scanned;

        mutex_assert_held(&c->evict_lock);
        while (r->evicted - first < want && r->scanned - scanned < bound)
                if (!shrink_batch(c, l, batch_of(l, want - (r->evicted - first)), r, NULL))
                        break;
}

uint64_t whole_list(const struct lru *l)
{
        return 4 * atomic_load(&l->pages.nr) + BATCH;
}

uint64_t clean_shmem(struct page_cache *c)
{
        int64_t clean =
                (int64_t)atomic_load(&c->shm_lru.pages.nr) - atomic_load(&c->budget.shm_dirty);

        return clean > 0 ? (uint64_t)clean : 0;
}

struct reclaim_result shrink_list(struct page_cache *c, unsigned want)
{
        struct reclaim_result r = { 0 };

        shrink_lru(c, &c->lru, want, whole_list(&c->lru), &r);
        if (r.evicted < want && clean_shmem(c))
                shrink_lru(c, &c->shm_lru, want - r.evicted,
                           min_u64(whole_list(&c->shm_lru), SHM_LOOK), &r);
        trace_emit(c->trace, RECLAIM, 0, 0, r.scanned, r.zapped, r.evicted, 0);
        return r;
}

int evict_for_private(struct page_cache *c, struct address_space *m, struct page *p)
{
        struct page_span span = { page_index(c, p), 1 };
        int error;

        page_assert_locked(p);
        assert(page_state(p) == PAGE_CLEAN);
        if (page_is_pinned(c, p))
                return -EBUSY;
        page_start_evict(c, p);
        if (page_test(p, PG_MAPPED))
                mapping_zap(m, &span, 1);
        perturb_gap();
        error = m->frames->ops->release(m->frames, span.index, 1);
        if (error)
                page_cancel_evict(c, p);
        else
                page_end_evict(c, p, true);
        trace_evicted(m, span.index, error ? 0 : 1, EVICT_PRIVATE);
        return error;
}

/* Neighbours are written at once. How many are on their way. */
static unsigned write_pageout(struct page_cache *c, struct pageout *out, struct blk_plug *plug)
{
        unsigned i = 0, sent = 0;

        while (i < out->nr) {
                struct victim *v = &out->victim[i];
                unsigned nr = 1;

                while (i + nr < out->nr && v[nr].m == v->m && v[nr].index == v->index + nr)
                        nr++;
                sent += writeback_row(v->m, v->index, nr, plug);
                for (unsigned k = 0; k < nr; k++)
                        mapping_unuse(v[k].m);
                i += nr;
        }
        (void)c;
        return sent;
}

unsigned shrink_shmem(struct page_cache *c, unsigned want, struct reclaim_result *r)
{
        struct pageout out;
        struct blk_plug plug;
        unsigned sent = 0;
        bool more = true;

        blk_start_plug(&plug);
        while (more && r->evicted + sent < want && r->scanned < whole_list(&c->shm_lru)) {
                bool can = staging_available(&c->staging, true);

                out.nr = 0;
                out.room = can ? (unsigned)min_u64(shmem_can_write(c), BATCH) : 0;
                if (!out.room && (!clean_shmem(c) || r->scanned > SHM_LOOK))
                        break;
                mutex_lock(&c->evict_lock);
                more = shrink_batch(c, &c->shm_lru, batch_of(&c->shm_lru, want), r, &out);
                mutex_unlock(&c->evict_lock);
                sent += write_pageout(c, &out, &plug);
        }
        blk_finish_plug(&plug);
        return r->evicted + sent;
}

void scan_files(struct page_cache *c, uint64_t pages, struct reclaim_result *r)
{
        uint64_t end = r->scanned + pages;

        mutex_lock(&c->evict_lock);
        while (r->scanned < end &&
               shrink_batch(c, &c->lru, (unsigned)min_u64(end - r->scanned, BATCH), r, NULL))
                ;
        mutex_unlock(&c->evict_lock);
}
