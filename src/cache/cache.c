/* SPDX-License-Identifier: Apache-2.0
 *
 * cache.c - making and unmaking a page cache, its threads, and how anything in it is waited for.
 */
#include "cache/cache.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache/filemap.h"

#define STAGING_MAX_PAGES 8192 /* 32 MiB: some windows of the largest kind */
#define STAGING_MIN_PAGES 8
#define STAGING_AMPLE_PAGES 2048 /* 8 MiB: what is at a device, twice */
#define WAIT_TICK_NS 100000000ull

void worker_start(struct worker *w, const char *name, void *(*fn)(void *), void *arg)
{
        sigset_t all, old;

        /* A program's signal handlers must not run on our threads. */
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        w->running = pthread_create(&w->thread, NULL, fn, arg) == 0;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (w->running)
                pthread_setname_np(w->thread, name);
}

void worker_kick(struct worker *w)
{
        atomic_fetch_add(&w->kicks, 1);
        if (atomic_load(&w->sleeping))
                futex_wake(&w->kicks, 1);
}

void worker_sleep(struct worker *w, uint32_t *seen, uint64_t ns)
{
        lock_assert_none();
        atomic_store(&w->sleeping, 1);
        if (atomic_load(&w->kicks) == *seen && !atomic_load(&w->stop))
                futex_wait(&w->kicks, *seen, ns);
        atomic_store(&w->sleeping, 0);
        *seen = atomic_load(&w->kicks);
}

void worker_stop(struct worker *w)
{
        if (!w->running)
                return;
        atomic_store(&w->stop, true);
        atomic_fetch_add(&w->kicks, 1);
        futex_wake(&w->kicks, 1);
        pthread_join(w->thread, NULL);
        w->running = false;
}

/* A sixteenth of the cache, of a large one a thirty-second: it is lost to what is cached, and twice what is
 * at a device at once keeps that busy. */
static unsigned staging_pages(uint64_t bytes)
{
        uint64_t pages = (bytes >> PAGE_SHIFT) / 16;

        if (pages > STAGING_AMPLE_PAGES)
                pages = max_u64(STAGING_AMPLE_PAGES, pages / 2);
        if (pages > STAGING_MAX_PAGES)
                return STAGING_MAX_PAGES;
        return pages < STAGING_MIN_PAGES ? STAGING_MIN_PAGES : (unsigned)pages;
}

/* As many pages as are dirty at once, and what is kept of them is a third of a percent of the budget. */
static uint64_t guess_places(uint64_t bytes)
{
        return min_u64(max_u64((bytes >> PAGE_SHIFT) / 4, CACHE_MIN_PAGES), GUESSES_MAX);
}

static void init_locks(struct page_cache *c)
{
        mutex_init(&c->lock, LOCK_CACHE);
        mutex_init(&c->run_lock, LOCK_RUN);
        mutex_init(&c->drop_lock, LOCK_DROP);
        mutex_init(&c->prefetch_lock, LOCK_PREFETCH);
        mutex_init(&c->evict_lock, LOCK_EVICT);
        mutex_init(&c->open_lock, LOCK_OPEN);
        waitq_init(&c->budget.wq);
        waitq_init(&c->dirty_wq);
        waitq_init(&c->retry_wq);
        waitq_init(&c->room_wq);
        waitq_init(&c->cut_wq);
        mutex_init(&c->room_lock, LOCK_ROOM);
        for (unsigned i = 0; i < PAGE_WAITQS; i++)
                waitq_init(&c->page_wq[i]);
}

static unsigned processors(void)
{
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        return n > 0 ? (unsigned)n : 1;
}

int cache_create(struct page_cache **out, const struct cache_config *cfg)
{
        struct page_cache *c = calloc(1, sizeof(*c));
        unsigned runs;

        if (!c)
                return -ENOMEM;
        c->tables = cfg->tables;
        c->trace = cfg->trace;
        c->policy = cfg->policy;
        c->page_pages = cfg->page_pages ? cfg->page_pages : cfg->policy->page_pages;
        c->tune = cfg->tune;
        c->processors = processors();
        c->m_ops = cfg->m_ops;
        c->shmem = cfg->shmem;
        TAILQ_INIT(&c->mappings);
        init_locks(c);
        if (lru_init(c, &c->lru, cfg->bytes >> PAGE_SHIFT) ||
            lru_init(c, &c->shm_lru, cfg->bytes >> PAGE_SHIFT) ||
            staging_init(&c->staging, staging_pages(cfg->bytes)))
                goto fail;
        budget_set_limit(c, cfg->bytes);
        if (guesses_init(&c->guesses, guess_places(cfg->bytes)))
                goto fail;
        runs = c->staging.pages;
        c->runs = calloc(runs, sizeof(*c->runs));
        if (!c->runs)
                goto fail;
        for (unsigned i = 0; i < runs; i++) {
                c->runs[i].cache = c;
                io_run_put(&c->runs[i]);
        }
        worker_start(&c->reclaimer, "fl-reclaim", reclaim_thread, c);
        worker_start(&c->flusher, "fl-flusher", flusher_thread, c);
        worker_start(&c->roomer, "fl-room", room_thread, c);
        if (!c->reclaimer.running || !c->flusher.running || !c->roomer.running)
                goto fail;
        *out = c;
        return 0;
fail:
        cache_destroy(c);
        return -ENOMEM;
}

void cache_staging(struct page_cache *c, void **base, size_t *bytes)
{
        *base = c->staging.base;
        *bytes = (size_t)c->staging.pages << PAGE_SHIFT;
}

void cache_stop(struct page_cache *c)
{
        worker_stop(&c->prefetcher);
        worker_stop(&c->flusher);
        worker_stop(&c->reclaimer);
}

void cache_destroy(struct page_cache *c)
{
        assert(TAILQ_EMPTY(&c->mappings));
        worker_stop(&c->roomer);
        cache_stop(c);
        staging_destroy(&c->staging);
        guesses_destroy(&c->guesses);
        lru_destroy(&c->lru);
        lru_destroy(&c->shm_lru);
        free(c->runs);
        free(c);
}

void cache_set_private(struct page_cache *c, const struct private_ops *ops, void *arg)
{
        c->p_arg = arg;
        atomic_store(&c->p_ops, ops);
}

int cache_resize(struct page_cache *c, uint64_t bytes)
{
        uint64_t old = c->budget_bytes;
        int64_t limit = (int64_t)(bytes >> PAGE_SHIFT) - c->staging.pages;

        /* The staging pool stays as it was made, so it may be too large for a small budget. */
        if (limit < (int64_t)c->staging.pages)
                return -EINVAL;
        mutex_lock(&c->lock);
        if (!shares_fit(c, atomic_load(&c->budget.shares), limit)) {
                mutex_unlock(&c->lock);
                return -EBUSY;
        }
        budget_set_limit(c, bytes);
        mutex_unlock(&c->lock);
        reclaim_kick(c); /* less may be free now than what a charge would have told it of */
        for (unsigned idle = 0; budget_free(c) < 0;) {
                struct reclaim_result r;

                mutex_lock(&c->evict_lock);
                r = shrink_list(c, ZAP_BATCH);
                mutex_unlock(&c->evict_lock);
                if (r.evicted || r.zapped || r.rotated) {
                        idle = 0;
                        continue;
                }
                flusher_kick(c);
                reclaim_kick(c); /* private pages are its to send away */
                if (idle++ >= 100 || budget_stuck(c)) {
                        budget_set_limit(c, old);
                        return -EBUSY;
                }
                struct waiter w;

                waiter_init_sync(&w);
                waitq_add(&c->budget.wq, &w, NULL);
                waiter_sleep(&w, WAIT_TICK_NS / 10);
        }
        return 0;
}

static struct waitq *queue_for(struct page_cache *c, const struct wait_on *on)
{
        switch (on->kind) {
        case WAIT_BUDGET:
        case WAIT_PRIVATE:
                return &c->budget.wq;
        case WAIT_STAGING:
                return &c->staging.wq;
        case WAIT_DIRTY:
                return &c->dirty_wq;
        case WAIT_SWAP:
                return on->q;
        case WAIT_RETRY:
                return &c->retry_wq;
        case WAIT_ROOM:
                return &c->room_wq;
        case WAIT_CUT:
                return &c->cut_wq;
        default:
                return NULL;
        }
}

static bool still_blocked(struct page_cache *c, const struct wait_on *on)
{
        switch (on->kind) {
        case WAIT_BUDGET:
                return budget_free(c) < 1 && !budget_stuck(c);
        case WAIT_PRIVATE:
                return atomic_load(&c->budget.private_pages) >= budget_private_most(c) &&
                       !budget_private_stuck(c);
        case WAIT_SWAP:
                return on->blocked(on);
        case WAIT_STAGING:
                return !staging_available(&c->staging, on->write);
        case WAIT_ROOM:
                return !room_answered(c, on->room);
        case WAIT_CUT:
                return atomic_load(&on->mapping->cutting);
        case WAIT_RETRY:
                return now_ns() < on->until_ns;
        case WAIT_DIRTY:
                return atomic_load(&c->nr_dirty) + atomic_load(&c->nr_writeback) >= dirty_limit(c);
        default:
                return false;
        }
}

bool wait_on_add(struct page_cache *c, struct wait_on *on, struct waiter *w)
{
        struct waitq *q = queue_for(c, on);
        bool queued;

        if (on->kind == WAIT_PAGE) {
                queued = page_wait_add(c, on->page, w,
                                       on->write ? page_busy_writeback : page_busy_reading);
                put_page(on->mapping, on->page);
        } else if (q) {
                waitq_add(q, w, on->key);
                queued = still_blocked(c, on) || !waitq_remove(q, w);
                /* Only now can it see that somebody waits, and hold the pause short. */
                if (queued && on->kind == WAIT_DIRTY)
                        flusher_kick(c);
                /* It has a clock, and runs by it from here on while somebody is in the queue. */
                if (queued && (q == &c->retry_wq || q == &c->budget.wq))
                        reclaim_kick(c);
        } else {
                queued = false;
        }
        on->kind = WAIT_NONE;
        return queued;
}

void wait_on(struct page_cache *c, struct wait_on *on)
{
        bool timed = on->kind != WAIT_PAGE && on->kind != WAIT_SWAP;
        struct waiter w;

        waiter_init_sync(&w);
        if (wait_on_add(c, on, &w))
                waiter_sleep(&w, timed ? WAIT_TICK_NS : 0);
}

uint64_t cache_meta_bytes(struct page_cache *c)
{
        return (uint64_t)atomic_load(&c->tables->in_use) *
               (PAGE_SIZE + sizeof(struct table_header));
}

#ifndef NDEBUG
/* => nothing in flight */
int cache_check(struct page_cache *c)
{
        uint64_t pages = 0, dirty = 0, shm_dirty = 0;
        struct address_space *m;
        unsigned staging;
        int error = 0;

        mutex_lock(&c->lock);
        TAILQ_FOREACH (m, &c->mappings, link) {
                if (mapping_check(m))
                        error = -EINVAL;
                pages += atomic_load(&m->nr_pages);
                if (m->swap_backed)
                        shm_dirty += atomic_load(&m->nr_dirty) + atomic_load(&m->nr_writeback);
                else
                        dirty += atomic_load(&m->nr_dirty);
        }
        if (shmem_check(c))
                error = -EINVAL;
        mutex_unlock(&c->lock);
        pages += (uint64_t)atomic_load(&c->budget.private_pages) - shm_dirty;
        mutex_lock(&c->staging.lock);
        staging = c->staging.in_use;
        mutex_unlock(&c->staging.lock);
        if (pages != (uint64_t)atomic_load(&c->budget.charged) ||
            dirty != (uint64_t)atomic_load(&c->nr_dirty) ||
            shm_dirty != (uint64_t)atomic_load(&c->budget.shm_dirty) || staging) {
                fprintf(stderr,
                        "faultline: cache: %llu pages held, %lld charged; %llu dirty, %lld "
                        "counted; %llu dirty of shmem, %lld counted; %u staging pages taken\n",
                        (unsigned long long)pages, (long long)atomic_load(&c->budget.charged),
                        (unsigned long long)dirty, (long long)atomic_load(&c->nr_dirty),
                        (unsigned long long)shm_dirty, (long long)atomic_load(&c->budget.shm_dirty),
                        staging);
                error = -EINVAL;
        }
        return error;
}
#endif
