/* SPDX-License-Identifier: Apache-2.0
 *
 * reclaim.c - which pages go when the budget runs low.
 *
 * There are no accessed bits in user space: a page that is mapped may or may not be in use. So it
 * is unmapped and looked at again later; if it is touched meanwhile, the minor fault that follows says
 * so. Victims are zapped and punched in runs, the scattered ones by one system call, since a TLB
 * shootdown costs more than the page.
 *
 * A file may have been promised a share of the budget (share.c): while it holds no more than that
 * its pages are passed over. There are always others, since the shares leave room.
 *
 * In what order pages are looked at, and what becomes of each, is the policy's (policy/reclaim.h, by way
 * of lru.c); this file carries it out.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cache/filemap.h"
#include "util/perturb.h"

#define BATCH ZAP_BATCH
#define SHM_LOOK 512 /* pages of shmem that a fault looks at, for one that is clean */
#define ROUNDS 3u    /* without any hope, and those who wait are told */
#define RETRY_TICK_NS 2000000ull
#define RECLAIM_TICK_NS 20000000ull /* how long a waiter may wait unlooked at */

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

/* => evict_lock */
static void shrink_lru(struct page_cache *c, struct lru *l, unsigned want, uint64_t bound,
                       struct reclaim_result *r)
{
        unsigned first = r->evicted, scanned = r->scanned;

        mutex_assert_held(&c->evict_lock);
        while (r->evicted - first < want && r->scanned - scanned < bound)
                if (!shrink_batch(c, l, batch_of(l, want - (r->evicted - first)), r, NULL))
                        break;
}

/* As often as a page may have to be looked at. */
static uint64_t whole_list(const struct lru *l)
{
        return 4 * atomic_load(&l->pages.nr) + BATCH;
}

/* Pages of shmem that can be evicted as they are. */
static uint64_t clean_shmem(struct page_cache *c)
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
        /* Of shmem what could be written would be on its way. */
        TAILQ_FOREACH (m, &c->mappings, link)
                hope |= atomic_load(&m->nr_dirty) && !mapping_write_failed(m) && !m->swap_backed;
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

/* Memory that is no file's: private pages, if they can go at all, and shmem's. */
static uint64_t private_memory(struct page_cache *c)
{
        int64_t nr = atomic_load(&c->budget.private_pages) - atomic_load(&c->budget.shm_dirty);

        return atomic_load(&c->p_ops) && nr > 0 ? (uint64_t)nr : 0;
}

static uint64_t shared_memory(struct page_cache *c)
{
        return shmem_can_write(c) ? atomic_load(&c->shm_lru.pages.nr) : clean_shmem(c);
}

/* How many of `want` pages should be of that: in proportion to what there is of either, the policy
 * weighing them (L51). */
static unsigned memory_share(struct page_cache *c, unsigned want)
{
        uint64_t own = (private_memory(c) + shared_memory(c)) * c->policy->swappiness;
        uint64_t files = atomic_load(&c->lru.pages.nr) * (200 - c->policy->swappiness);

        return own ? (unsigned)((want * own + own + files - 1) / (own + files)) : 0;
}

static unsigned shrink_private(struct page_cache *c, unsigned want)
{
        const struct private_ops *ops = atomic_load(&c->p_ops);

        return ops && want ? ops->shrink(c->p_arg, want) : 0;
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

/* Pages of shmem that were evicted or are being written now. */
static unsigned shrink_shmem(struct page_cache *c, unsigned want, struct reclaim_result *r)
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

/* Of either kind of memory that is no file's, in proportion. How many went or are on their way. */
static unsigned shrink_memory(struct page_cache *c, unsigned want, struct reclaim_result *r)
{
        uint64_t own = private_memory(c), shared = shared_memory(c);
        unsigned part, went;

        if (!want || own + shared == 0)
                return 0;
        part = (unsigned)((want * shared + own + shared - 1) / (own + shared));
        went = part ? shrink_shmem(c, part, r) : 0;
        if (went < want)
                went += shrink_private(c, want - went);
        return went || part == want ? went : shrink_shmem(c, want, r);
}

static struct reclaim_result shrink_files(struct page_cache *c, unsigned want)
{
        struct reclaim_result r = { 0 };

        if (!want)
                return r;
        mutex_lock(&c->evict_lock);
        shrink_lru(c, &c->lru, want, whole_list(&c->lru), &r);
        mutex_unlock(&c->evict_lock);
        trace_emit(c->trace, RECLAIM, 0, 0, r.scanned, r.zapped, r.evicted, 0);
        if (r.dirty) {
                atomic_store(&c->reclaim_wants, r.dirty < BATCH ? BATCH : r.dirty);
                flusher_kick(c);
        }
        return r;
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

void scan_memory(struct page_cache *c, unsigned want)
{
        struct reclaim_result r = {
                0
        }; /* its own: what files gave is no part of what is wanted here */

        shrink_memory(c, memory_share(c, want), &r);
}

/* One round at the watermarks. Returns true if nothing could be done. */
static bool balance(struct page_cache *c, uint64_t *cleaned)
{
        for (;;) {
                int64_t lack = lacking(c), excess = too_private(c);
                unsigned want = lack <= 0 ? 0 : lack < BATCH ? (unsigned)lack : BATCH;
                unsigned at_least = excess <= 0 ? 0 : excess < BATCH ? (unsigned)excess : BATCH;
                unsigned share = memory_share(c, want), went;
                struct reclaim_result r, own = { 0 };

                if (!want && !at_least)
                        return false;
                share = share > at_least ? share : at_least;
                went = shrink_memory(c, share, &own);
                r = shrink_files(c, want > went ? want - went : 0);
                if (!went && !r.evicted && share < want)
                        went = shrink_memory(c, want, &own);
                if (!went && !r.evicted) {
                        uint64_t done = atomic_load(&c->writeback_done);
                        bool moved = done != *cleaned || r.zapped || r.rotated || r.busy ||
                                     own.zapped || own.rotated || own.busy;

                        *cleaned = done;
                        return !moved;
                }
        }
}

/* Pages that somebody wants to go. True: some are left, and wait for memory to be written with. */
static bool serve_requests(struct page_cache *c)
{
        const struct private_ops *ops = atomic_load(&c->p_ops);

        return ops && ops->serve(c->p_arg);
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

/* As pageout_due(); 0 also where there is no scanner. */
static uint64_t scan_due(struct page_cache *c, uint64_t last)
{
        return c->policy->scan ? pageout_due(c, last) : 0;
}

void *reclaim_thread(void *arg)
{
        struct page_cache *c = arg;
        struct worker *w = &c->reclaimer;
        struct despair d = { 0 };
        bool asked = false;
        uint64_t cleaned = 0, scanned_at = now_ns();
        uint32_t seen = 0;

        while (!atomic_load(&w->stop)) {
                /* What is on its way to swap may come back: who waits for its room is looked after. */
                bool low = budget_free(c) < atomic_load(&c->budget.low) || too_private(c) > 0 ||
                           asked || waitq_busy(&c->budget.wq);
                uint64_t freed, private_freed, due = scan_due(c, scanned_at);

                if (waitq_busy(&c->retry_wq))
                        worker_sleep(w, &seen, RETRY_TICK_NS);
                else
                        worker_sleep(w, &seen, low ? RECLAIM_TICK_NS : due);
                if (scan_due(c, scanned_at) == 1) {
                        scanned_at = now_ns();
                        pageout_wake(c);
                }
                waitq_wake(&c->retry_wq, NULL); /* those whose time has not come wait on */
                asked = serve_requests(c);
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
