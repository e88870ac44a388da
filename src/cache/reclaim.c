/* SPDX-License-Identifier: Apache-2.0
 *
 * reclaim.c - which pages go when the budget runs low.
 *
 * One list, oldest first. There are no accessed bits in user space: a page that is mapped may or
 * may not be in use. So a mapped page that comes to the head is unmapped and sent round again;
 * if it is touched on the way, the minor fault that follows says so. A page that comes back
 * unmapped and untouched is evicted. Victims are zapped and punched in runs, the scattered ones
 * by one system call, since a TLB shootdown costs more than the page.
 *
 * A file may have been promised a share of the budget (share.c): while it holds no more than that
 * its pages are passed over. There are always others, since the shares leave room.
 *
 * The policy decides per page (`reclaim`); this file carries it out.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cache/cache.h"
#include "util/perturb.h"

#define BATCH ZAP_BATCH
#define KEEP_MAX 256 /* pages passed over in one go, with lru.lock held */
#define ROUNDS 3u    /* without any hope, and those who wait are told */
#define RETRY_TICK_NS 2000000ull
#define RECLAIM_TICK_NS 20000000ull /* how long a waiter may wait unlooked at */

struct victim {
        struct address_space *m;
        struct page *page;
        uint64_t index;
};

static struct page *page_at(struct page_cache *c, uint32_t number)
{
        return (struct page *)c->tables->base + (number - 1);
}

static uint32_t number_of(struct page_cache *c, const struct page *p)
{
        return (uint32_t)(p - (struct page *)c->tables->base) + 1;
}

static void link_locked(struct page_cache *c, struct page *p)
{
        struct lru *l = &c->lru;
        uint32_t n = number_of(c, p);

        mutex_assert_held(&l->lock);
        p->lru_prev = l->tail;
        p->lru_next = 0;
        if (l->tail)
                page_at(c, l->tail)->lru_next = n;
        else
                l->head = n;
        l->tail = n;
        atomic_fetch_add(&l->nr, 1);
}

void lru_add(struct page_cache *c, struct page *p)
{
        struct lru *l = &c->lru;

        mutex_lock(&l->lock);
        /* A page on its way out is not put back by somebody who only looked at it. */
        if (page_uptodate(p) && !page_set(p, PG_LRU))
                link_locked(c, p);
        mutex_unlock(&l->lock);
}

static void unlink_locked(struct page_cache *c, struct page *p)
{
        struct lru *l = &c->lru;

        mutex_assert_held(&l->lock);
        if (p->lru_prev)
                page_at(c, p->lru_prev)->lru_next = p->lru_next;
        else
                l->head = p->lru_next;
        if (p->lru_next)
                page_at(c, p->lru_next)->lru_prev = p->lru_prev;
        else
                l->tail = p->lru_prev;
        page_clear(p, PG_LRU);
        atomic_fetch_sub(&l->nr, 1);
}

void lru_remove(struct page_cache *c, struct page *p)
{
        mutex_lock(&c->lru.lock);
        if (page_test(p, PG_LRU))
                unlink_locked(c, p);
        mutex_unlock(&c->lru.lock);
}

void lru_cold(struct page_cache *c, struct page *p)
{
        struct lru *l = &c->lru;
        uint32_t n = number_of(c, p);

        mutex_lock(&l->lock);
        if (page_test(p, PG_LRU) && l->head != n) {
                unlink_locked(c, p);
                page_set(p, PG_LRU);
                p->lru_prev = 0;
                p->lru_next = l->head;
                if (l->head)
                        page_at(c, l->head)->lru_prev = n;
                else
                        l->tail = n;
                l->head = n;
                atomic_fetch_add(&l->nr, 1);
        }
        mutex_unlock(&l->lock);
}

/* Has the file no more pages left than are its own? => evict_lock */
static bool within_share(struct address_space *m)
{
        uint64_t share = atomic_load(&m->share);

        return share && atomic_load(&m->nr_pages) <= share + m->nr_taken;
}

/* Takes up to `max` pages off the head, their files in use and their leaves pinned (a page on the
 * list is in use, so its leaf and its file are there). Those of files that keep to their share go to
 * the tail instead, *kept of them. => evict_lock */
static unsigned isolate(struct page_cache *c, struct page **out, unsigned max, unsigned *kept)
{
        unsigned n = 0;

        mutex_assert_held(&c->evict_lock);
        *kept = 0;
        mutex_lock(&c->lru.lock);
        while (n < max && c->lru.head && *kept < KEEP_MAX) {
                struct page *p = page_at(c, c->lru.head);
                struct address_space *m = page_mapping(c, p);

                unlink_locked(c, p);
                if (within_share(m)) {
                        page_set(p, PG_LRU);
                        link_locked(c, p);
                        ++*kept;
                        continue;
                }
                mapping_use(m);
                radix_pin(&m->i_pages, p);
                m->nr_taken++;
                out[n++] = p;
        }
        mutex_unlock(&c->lru.lock);
        return n;
}

static void put_back(struct page_cache *c, struct page *p, bool locked)
{
        struct address_space *m = page_mapping(c, p);

        lru_add(c, p);
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
                put_back(c, v[i].page, true);
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
                                if (gone)
                                        page_end_evict(c, v[k].page, false);
                                else
                                        page_cancel_evict(c, v[k].page);
                                evicted += gone;
                        }
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

/* => c->evict_lock held */
static bool shrink_batch(struct page_cache *c, unsigned max, struct reclaim_result *r)
{
        struct page *pages[BATCH];
        struct victim zap[BATCH], evict[BATCH];
        unsigned nz = 0, ne = 0, kept, n = isolate(c, pages, max, &kept);

        for (unsigned i = 0; i < n; i++) {
                struct page *p = pages[i];
                uint32_t w;

                perturb_gap();
                if (!page_trylock(p)) {
                        r->busy++;
                        put_back(c, p, false);
                        continue;
                }
                w = page_word(p);
                if (page_state_of(w) == PAGE_CLEAN && page_is_pinned(c, p)) {
                        /* Neither taken nor a step towards it. */
                } else if (page_state_of(w) == PAGE_CLEAN) {
                        struct reclaim_page q = { w & PG_REFERENCED, w & PG_MAPPED,
                                                  w & PG_READAHEAD };

                        switch (c->policy->reclaim(&q)) {
                        case RECLAIM_EVICT:
                                add_victim(evict, ne++, c, p);
                                continue;
                        case RECLAIM_UNMAP:
                                add_victim(zap, nz++, c, p);
                                continue;
                        case RECLAIM_KEEP:
                                page_clear(p, PG_REFERENCED);
                                r->rotated++;
                                break;
                        }
                } else {
                        r->dirty += page_uptodate(p);
                }
                put_back(c, p, true);
        }
        zap_victims(c, zap, nz);
        r->evicted += evict_victims(c, evict, ne);
        r->zapped += nz;
        r->scanned += n + kept;
        return n + kept > 0;
}

struct reclaim_result shrink_list(struct page_cache *c, unsigned want)
{
        struct reclaim_result r = { 0 };
        uint64_t bound = 2 * atomic_load(&c->lru.nr) + BATCH;

        mutex_assert_held(&c->evict_lock);
        while (r.evicted < want && r.scanned < bound) {
                /* Of a short list never much at once: it may be just what faults wait for. */
                uint64_t share = atomic_load(&c->lru.nr) / 4 + 1;
                uint64_t max = min_u64(want - r.evicted, min_u64(share, BATCH));

                if (!shrink_batch(c, (unsigned)max, &r))
                        break;
        }
        trace_emit(c->trace, TRACE_RECLAIM, 0, r.scanned, r.zapped, r.evicted, 0);
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
        return error;
}

void reclaim_kick(struct page_cache *c)
{
        worker_kick(&c->reclaimer);
}

/* Nothing can be freed and nothing is on its way: those who wait must be told. Dirty pages that
 * could not be written a moment ago are no way out. */
static bool is_stuck(struct page_cache *c)
{
        struct address_space *m;
        bool hope = false;

        if (atomic_load(&c->nr_reading) || atomic_load(&c->nr_writeback) ||
            atomic_load(&c->nr_swapping_out) || atomic_load(&c->nr_swapping_in) ||
            staging_in_use(&c->staging))
                return false;
        mutex_lock(&c->lock);
        TAILQ_FOREACH (m, &c->mappings, link)
                hope |= atomic_load(&m->nr_dirty) && !mapping_write_failed(m);
        mutex_unlock(&c->lock);
        return !hope;
}

/* Pages that the budget lacks, beyond those that are on their way to swap. */
static int64_t lacking(struct page_cache *c)
{
        return atomic_load(&c->budget.high) - budget_free(c) - atomic_load(&c->nr_swapping_out);
}

/* Private pages that are too many, so that a new one would have to wait, likewise. */
static int64_t too_private(struct page_cache *c)
{
        int64_t low = atomic_load(&c->budget.low) / 2;

        if (!atomic_load(&c->p_ops))
                return 0;
        return atomic_load(&c->budget.private_pages) + low - budget_private_most(c) -
               atomic_load(&c->nr_swapping_out);
}

/* How many of `want` pages should be private ones: in proportion to what there is of either, the
 * policy weighing them (L51). */
static unsigned private_share(struct page_cache *c, unsigned want)
{
        uint64_t own = (uint64_t)atomic_load(&c->budget.private_pages) * c->policy->swappiness;
        uint64_t files = atomic_load(&c->lru.nr) * (200 - c->policy->swappiness);

        if (!atomic_load(&c->p_ops) || own == 0)
                return 0;
        return (unsigned)((want * own + own + files - 1) / (own + files));
}

static unsigned shrink_private(struct page_cache *c, unsigned want)
{
        const struct private_ops *ops = atomic_load(&c->p_ops);

        return ops && want ? ops->shrink(c->p_arg, want) : 0;
}

static struct reclaim_result shrink_files(struct page_cache *c, unsigned want)
{
        struct reclaim_result r = { 0 };

        if (!want)
                return r;
        mutex_lock(&c->evict_lock);
        r = shrink_list(c, want);
        mutex_unlock(&c->evict_lock);
        if (r.dirty) {
                atomic_store(&c->reclaim_wants, r.dirty < BATCH ? BATCH : r.dirty);
                flusher_kick(c);
        }
        return r;
}

/* One round at the watermarks. Returns true if nothing could be done. */
static bool balance(struct page_cache *c, uint64_t *cleaned)
{
        for (;;) {
                int64_t lack = lacking(c), excess = too_private(c);
                unsigned want = lack <= 0 ? 0 : lack < BATCH ? (unsigned)lack : BATCH;
                unsigned at_least = excess <= 0 ? 0 : excess < BATCH ? (unsigned)excess : BATCH;
                unsigned share = private_share(c, want), went;
                struct reclaim_result r;

                if (!want && !at_least)
                        return false;
                share = share > at_least ? share : at_least;
                went = shrink_private(c, share);
                r = shrink_files(c, want > went ? want - went : 0);
                if (!went && !r.evicted && share < want)
                        went = shrink_private(c, want);
                if (!went && !r.evicted) {
                        uint64_t done = atomic_load(&c->writeback_done);
                        bool moved = done != *cleaned || r.zapped || r.rotated || r.busy;

                        *cleaned = done;
                        return !moved;
                }
        }
}

/* Is the next private page one too many? */
static bool no_room(struct page_cache *c)
{
        return atomic_load(&c->p_ops) &&
               atomic_load(&c->budget.private_pages) >= budget_private_most(c);
}

/* Rounds in a row that brought nothing. A fault that was stopped, by the scheduler, say, with a charge
 * in its hand looks like one that has nothing to come: so a round counts only when all have ended
 * that had begun at the time of the one before, and nothing has been given back since. Without that
 * nobody can have taken a charge meanwhile either. */
struct despair {
        unsigned fruitless, roomless;
        uint64_t freed, private_freed;
        bool asked;
        unsigned epoch;
};

static bool holders_have_ended(struct page_cache *c, struct despair *d)
{
        if (!d->asked)
                d->epoch = atomic_fetch_add(&c->hold_epoch, 1) & 1;
        d->asked = atomic_load(&c->holding[d->epoch]) != 0;
        return !d->asked;
}

static void count_round(struct page_cache *c, struct despair *d, uint64_t freed,
                        uint64_t private_freed)
{
        if (!holders_have_ended(c, d))
                return;
        d->fruitless = budget_free(c) < 1 && freed == d->freed ? d->fruitless + 1 : 0;
        d->roomless = no_room(c) && private_freed == d->private_freed ? d->roomless + 1 : 0;
        d->freed = freed;
        d->private_freed = private_freed;
        if (d->fruitless >= ROUNDS)
                atomic_store(&c->budget.stuck_at, freed);
        if (d->roomless >= ROUNDS)
                atomic_store(&c->budget.private_stuck_at, private_freed);
}

void *reclaim_thread(void *arg)
{
        struct page_cache *c = arg;
        struct worker *w = &c->reclaimer;
        struct despair d = { 0 };
        uint64_t cleaned = 0;
        uint32_t seen = 0;

        while (!atomic_load(&w->stop)) {
                bool low = budget_free(c) < atomic_load(&c->budget.low) || too_private(c) > 0;
                uint64_t freed, private_freed;

                if (waitq_busy(&c->retry_wq))
                        worker_sleep(w, &seen, RETRY_TICK_NS);
                else
                        worker_sleep(w, &seen, low ? RECLAIM_TICK_NS : 0);
                waitq_wake(&c->retry_wq, NULL); /* those whose time has not come wait on */
                freed = atomic_load(&c->budget.freed);
                private_freed = atomic_load(&c->budget.private_freed);
                if (balance(c, &cleaned) && is_stuck(c))
                        count_round(c, &d, freed, private_freed);
                else
                        d.fruitless = d.roomless = 0;
                /* Look in on the waiters also when no uncharge has woken them. */
                if (budget_free(c) > 0 || d.fruitless >= ROUNDS || d.roomless >= ROUNDS)
                        waitq_wake(&c->budget.wq, NULL);
        }
        return NULL;
}
