/* SPDX-License-Identifier: Apache-2.0
 *
 * reclaim.c - when the budget runs low: how many pages are to go, of which kind, and what if none can.
 *
 * A file may have been promised a share of the budget (share.c): while it holds no more than that
 * its pages are passed over. There are always others, since the shares leave room.
 *
 * How pages are looked at, and go, is in shrink.c.
 */
#include "cache/shrink.h"

#define ROUNDS 3u /* without any hope, and those who wait are told */
#define RETRY_TICK_NS 2000000ull
#define RECLAIM_TICK_NS 20000000ull /* how long a waiter may wait unlooked at */

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
