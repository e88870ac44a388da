/* SPDX-License-Identifier: Apache-2.0
 *
 * page.c - the state machine of one page; the diagram is in page.h.
 *
 * What moves along with a state is kept here and nowhere else: the leaf's use count and dirty
 * tag, the counters of file and cache, the budget, the reclaim list.
 *
 * The lock itself is here too; in debug builds others get it by way of page_lock_at() and the
 * like, at the end.
 */
#define LOCKS_UNCHECKED
#include "cache/page.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/cache.h"
#include "cache/guess.h"
#include "util/perturb.h"

static struct waitq *wq_of(struct page_cache *c, const struct page *p)
{
        uintptr_t n = (uintptr_t)p / sizeof(*p);

        return &c->page_wq[(n ^ (n >> 8)) % PAGE_WAITQS];
}

bool page_is_locked(const struct page *p)
{
        return page_word(p) & PG_LOCKED;
}

bool page_trylock(struct page *p)
{
        return !(atomic_fetch_or(&p->word, PG_LOCKED) & PG_LOCKED);
}

static bool busy_locked(uint32_t word)
{
        return word & PG_LOCKED;
}

void page_lock(struct page_cache *c, struct page *p)
{
        perturb();
        for (int spin = 0; spin < 64; spin++) {
                if (page_trylock(p))
                        return;
                __builtin_ia32_pause();
        }
        while (!page_trylock(p)) {
                struct waiter w;

                waiter_init_sync(&w);
                if (page_wait_add(c, p, &w, busy_locked))
                        waiter_sleep_for_lock(&w);
        }
}

void page_unlock(struct page_cache *c, struct page *p)
{
        uint32_t old;

        perturb();
        old = atomic_fetch_and(&p->word, ~(PG_LOCKED | PG_WAITERS));
        assert(old & PG_LOCKED);
        if (old & PG_WAITERS)
                waitq_wake(wq_of(c, p), p);
}

bool page_busy_reading(uint32_t word)
{
        enum page_state s = page_state_of(word);

        return s == PAGE_READING || s == PAGE_EVICTING || (word & PG_LOCKED);
}

bool page_busy_writeback(uint32_t word)
{
        return page_state_of(word) == PAGE_WRITEBACK || (word & PG_LOCKED);
}

bool page_wait_add(struct page_cache *c, struct page *p, struct waiter *w,
                   bool (*busy)(uint32_t word))
{
        struct waitq *q = wq_of(c, p);

        waitq_add(q, w, p);
        perturb_gap();
        if (busy(atomic_fetch_or(&p->word, PG_WAITERS)))
                return true;
        if (waitq_remove(q, w))
                return false;
        return true; /* being woken just now: the wake-up will come */
}

static void set_state(struct page *p, enum page_state s, uint32_t clear)
{
        uint32_t old = page_word(p), new;

        page_assert_locked(p);
        perturb();
        do {
                new = (old & ~(PG_STATE_MASK | clear)) | (uint32_t)s << PG_STATE_SHIFT;
        } while (!atomic_compare_exchange_weak(&p->word, &old, new));
        perturb();
}

/* Before the page is seen to be DIRTY, and the other way round when it has ceased to be: who looks for
 * dirty pages goes by the tags, and passes by a page that is neither tagged nor being written. msync
 * would return without it. */
static void count_dirty(struct page_cache *c, struct address_space *m, struct page *p)
{
        radix_tag(&m->i_pages, p);
        if (atomic_fetch_add(&m->nr_dirty, 1) == 0 && !m->swap_backed)
                atomic_store(&m->dirtied_at, now_ns());
        if (!m->swap_backed)
                atomic_fetch_add(&c->nr_dirty, 1);
}

static void uncount_dirty(struct page_cache *c, struct address_space *m, struct page *p)
{
        radix_untag(&m->i_pages, p);
        if (atomic_fetch_sub(&m->nr_dirty, 1) == 1)
                atomic_store(&m->dirtied_at, 0);
        if (!m->swap_backed)
                atomic_fetch_sub(&c->nr_dirty, 1);
}

/* It is clean now, and can be evicted: one less of those that cannot. */
static void release_memory(struct page_cache *c, struct address_space *m)
{
        struct budget *b = &c->budget;

        if (!m->swap_backed)
                return;
        atomic_fetch_sub(&b->shm_dirty, 1);
        atomic_fetch_sub(&b->private_pages, 1);
        atomic_fetch_add(&b->private_freed, 1);
        if (waitq_busy(&b->wq))
                waitq_wake(&b->wq, NULL);
}

/* The page begins in state `to`, without a mark of what it was before. */
static void begin(struct address_space *m, struct page *p, enum page_state to)
{
        enum page_state s = page_state(p);

        assert(s == PAGE_ABSENT || s == PAGE_ERROR);
        if (s == PAGE_ABSENT)
                radix_use(&m->i_pages, p);
        atomic_fetch_add(&m->nr_pages, 1);
        set_state(p, to, PG_REDIRTY | PG_KNOWN);
}

void page_start_read(struct page_cache *c, struct page *p)
{
        atomic_fetch_add(&c->nr_reading, 1);
        begin(page_mapping(c, p), p, PAGE_READING);
}

void page_end_read(struct page_cache *c, struct page *p)
{
        assert(page_state(p) == PAGE_READING);
        set_state(p, PAGE_CLEAN, 0);
        atomic_fetch_sub(&c->nr_reading, 1);
        lru_add(c, p);
}

void page_fail_read(struct page_cache *c, struct page *p, int error, bool sticky)
{
        struct address_space *m = page_mapping(c, p);

        assert(page_state(p) == PAGE_READING);
        p->error = (int16_t)error;
        set_state(p, sticky ? PAGE_ERROR : PAGE_ABSENT, PG_MARKS | PG_READAHEAD | PG_ASKED);
        if (!sticky)
                radix_unuse(&m->i_pages, p);
        atomic_fetch_sub(&m->nr_pages, 1);
        atomic_fetch_sub(&c->nr_reading, 1);
        budget_uncharge(c, 1);
}

void page_create_dirty(struct page_cache *c, struct page *p)
{
        struct address_space *m = page_mapping(c, p);

        begin(m, p, PAGE_DIRTY);
        count_dirty(c, m, p);
        lru_add(c, p);
}

void page_make_dirty(struct page_cache *c, struct page *p)
{
        enum page_state s = page_state(p);
        struct address_space *m;

        page_assert_locked(p);
        if (page_test(p, PG_GUESSED))
                guess_forget(c, p);
        if (s == PAGE_WRITEBACK) {
                page_set(p, PG_REDIRTY);
        } else if (s == PAGE_CLEAN) {
                m = page_mapping(c, p);
                count_dirty(c, m, p);
                set_state(p, PAGE_DIRTY, 0);
                if (m->swap_backed)
                        atomic_fetch_add(&c->budget.shm_dirty, 1);
        } else {
                assert(s == PAGE_DIRTY);
        }
}

void page_start_writeback(struct page_cache *c, struct page *p)
{
        struct address_space *m = page_mapping(c, p);

        assert(page_state(p) == PAGE_DIRTY);
        /* Counted before it is seen: whoever waits for it looks at the count first. */
        atomic_fetch_add(&m->nr_writeback, 1);
        atomic_fetch_add(&c->nr_writeback, 1);
        perturb_gap();
        set_state(p, PAGE_WRITEBACK, PG_REDIRTY);
        uncount_dirty(c, m, p);
}

bool page_end_writeback(struct page_cache *c, struct page *p, int error)
{
        struct address_space *m = page_mapping(c, p);
        bool again = error || page_test(p, PG_REDIRTY);

        assert(page_state(p) == PAGE_WRITEBACK);
        if (page_test(p, PG_GUESSED)) /* it could not be compared */
                guess_forget(c, p);
        if (again)
                count_dirty(c, m, p);
        perturb_gap();
        set_state(p, again ? PAGE_DIRTY : PAGE_CLEAN, PG_REDIRTY);
        if (!again)
                release_memory(c, m);
        atomic_fetch_sub(&m->nr_writeback, 1);
        atomic_fetch_sub(&c->nr_writeback, 1);
        return again;
}

void page_cancel_dirty(struct page_cache *c, struct page *p)
{
        struct address_space *m = page_mapping(c, p);

        assert(page_state(p) == PAGE_DIRTY);
        if (page_test(p, PG_GUESSED))
                guess_forget(c, p);
        set_state(p, PAGE_CLEAN, 0);
        uncount_dirty(c, m, p);
        release_memory(c, m);
}

void page_change(struct page_cache *c, struct page *p)
{
        page_assert_locked(p);
        atomic_fetch_add(&p->word, PG_CHANGE);
        atomic_fetch_add_explicit(&page_mapping(c, p)->changes, 1, memory_order_relaxed);
        perturb_gap();
}

void page_start_evict(struct page_cache *c, struct page *p)
{
        assert(page_state(p) == PAGE_CLEAN);
        page_change(c, p);
        set_state(p, PAGE_EVICTING, 0);
        /* Only now, so that whoever has it off the list at this moment does not put it back. */
        lru_remove(c, p);
}

void page_end_evict(struct page_cache *c, struct page *p, bool to_private)
{
        struct address_space *m = page_mapping(c, p);

        assert(page_state(p) == PAGE_EVICTING);
        if (page_test(p, PG_READAHEAD))
                stat_add(&c->trace->stats, STAT_readahead_wasted, 1);
        set_state(p, PAGE_ABSENT, PG_KNOWN);
        radix_unuse(&m->i_pages, p);
        atomic_fetch_sub(&m->nr_pages, 1);
        stat_add(&c->trace->stats, STAT_evicted_pages, 1);
        if (to_private)
                atomic_fetch_add(&c->budget.private_pages, 1);
        else
                budget_uncharge(c, 1);
}

void page_cancel_evict(struct page_cache *c, struct page *p)
{
        assert(page_state(p) == PAGE_EVICTING);
        set_state(p, PAGE_CLEAN, 0);
        lru_put_back(c, p, false);
}

void page_forget_error(struct page_cache *c, struct page *p)
{
        struct address_space *m = page_mapping(c, p);

        /* Not charged and without a frame: only the mark goes. */
        assert(page_state(p) == PAGE_ERROR);
        set_state(p, PAGE_ABSENT, 0);
        radix_unuse(&m->i_pages, p);
}

const char *page_state_name(enum page_state s)
{
        static const char *const names[] = { "absent",    "reading",  "clean", "dirty",
                                             "writeback", "evicting", "error" };

        return (unsigned)s < ARRAY_SIZE(names) ? names[s] : "?";
}

#ifndef NDEBUG
void page_check(struct page_cache *c, struct page *p)
{
        uint32_t w = page_word(p);
        enum page_state s = page_state_of(w);

        if ((unsigned)s > PAGE_ERROR || ((w & PG_REDIRTY) && s != PAGE_WRITEBACK) ||
            ((w & PG_GUESSED) && s != PAGE_DIRTY && s != PAGE_WRITEBACK) ||
            ((w & PG_MAPPED) && (s == PAGE_ABSENT || s == PAGE_READING || s == PAGE_ERROR)) ||
            ((w & PG_LRU) && (s == PAGE_ABSENT || s == PAGE_READING || s == PAGE_ERROR))) {
                fprintf(stderr, "faultline: page %llu: impossible word %#x (%s)\n",
                        (unsigned long long)page_index(c, p), w, page_state_name(s));
                abort();
        }
}

/* ---- the lock, with the checks around it ---- */

void page_lock_at(struct page_cache *c, struct page *p, const char *where)
{
        uint64_t since = 0;

        lock_will_take(p, LOCK_PAGE, where);
        perturb();
        if (!page_trylock(p)) {
                since = lock_clock();
                page_lock(c, p);
        }
        lock_taken(p, LOCK_PAGE, LOCK_ALONE, where, since);
}

bool page_trylock_at(struct page *p, const char *where)
{
        if (!page_trylock(p))
                return false;
        lock_taken(p, LOCK_PAGE, LOCK_ALONE, where, 0);
        return true;
}

void page_unlock_at(struct page_cache *c, struct page *p, const char *where)
{
        lock_released(p, LOCK_PAGE, LOCK_ALONE, where);
        page_unlock(c, p);
}

void page_assert_locked_at(const struct page *p, const char *where)
{
        if (!lock_held(p, LOCK_PAGE, true))
                lock_die(where, "the page is not locked by this thread");
}
#endif
