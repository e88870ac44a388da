/* SPDX-License-Identifier: Apache-2.0
 *
 * page_fixture.h - a page of a file, and all that moves along with its state.
 *
 * A real page_cache with a policy and mappings that do nothing, and a file without a file
 * system: nothing but the test moves a page.
 */
#ifndef TEST_PAGE_FIXTURE_H
#define TEST_PAGE_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cache/cache.h"

#define INDEX 300 /* neither the first page of the file nor of its leaf */

static struct table_pool tables;
static struct trace trace;
static struct page_cache *c;
static const struct address_space_operations no_operations;
static struct inode inode;
static struct address_space *m;
static struct page *p;

static inline void no_zap(struct page_cache *cache, struct mapping_view *v, uint64_t index,
                          uint64_t nr, struct zap_batch *b)
{
        (void)cache, (void)v, (void)index, (void)nr, (void)b;
        cr_assert_fail("nothing maps the file");
}

static inline void no_flush(struct page_cache *cache, struct zap_batch *b)
{
        (void)cache;
        cr_assert_eq(b->nr, 0);
}

static inline int no_protect(struct page_cache *cache, struct mapping_view *v, uint64_t index,
                             uint64_t nr)
{
        (void)cache, (void)v, (void)index, (void)nr;
        cr_assert_fail("nothing maps the file");
        return -EINVAL;
}

static const struct mapping_ops no_mappings = {
        .zap_run = no_zap,
        .zap_flush = no_flush,
        .protect_run = no_protect,
};

/* The flusher and reclaim have no reason to stir. */
static const struct vm_policy_ops no_policy = {
        .name = "none",
        .fault_around = 1,
        .background_percent = 90,
        .dirty_percent = 95,
        .writeback_ms = 3600000,
        .expire_ms = 3600000,
        .reclaim = &clock_reclaim,
};

static inline void start(void)
{
        struct cache_config cfg = {
                .bytes = 4 << 20,
                .tables = &tables,
                .trace = &trace,
                .policy = &no_policy,
                .m_ops = &no_mappings,
        };

        trace_init(&trace);
        cr_assert_eq(table_pool_init(&tables, 1024), 0);
        cr_assert_eq(cache_create(&c, &cfg), 0);
        inode = (struct inode){ .a_ops = &no_operations };
        atomic_store(&inode.i_size, 8 << 20);
        mutex_lock(&c->open_lock);
        cr_assert_eq(mapping_create(c, &inode), 0);
        mutex_unlock(&c->open_lock);
        m = inode.i_mapping;
        p = grab_page(m, INDEX);
        cr_assert_not_null(p);
}

static inline void stop(void)
{
        put_page(m, p);
        mutex_lock(&c->open_lock);
        mapping_destroy(m);
        mutex_unlock(&c->open_lock);
        cr_assert_null(inode.i_mapping);
        cache_destroy(c);
        cr_assert_eq(atomic_load(&tables.in_use), 0);
        table_pool_destroy(&tables);
}

/* ---- everything that counts pages ---- */

struct counts {
        int dirty, writeback, reading;            /* of the cache */
        int m_pages, m_dirty, m_writeback;        /* of the file */
        int charged, private_pages, used, tagged; /* budget, leaf */
        int lru;
};

static inline struct counts counts(void)
{
        struct table_header *h = table_header_of(&tables, p);

        return (struct counts){
                .dirty = (int)atomic_load(&c->nr_dirty),
                .writeback = (int)atomic_load(&c->nr_writeback),
                .reading = (int)atomic_load(&c->nr_reading),
                .m_pages = (int)atomic_load(&m->nr_pages),
                .m_dirty = (int)atomic_load(&m->nr_dirty),
                .m_writeback = (int)atomic_load(&m->nr_writeback),
                .charged = (int)atomic_load(&c->budget.charged),
                .private_pages = (int)atomic_load(&c->budget.private_pages),
                .used = (int)atomic_load(&h->used),
                .tagged = (int)atomic_load(&h->tagged),
                .lru = (int)atomic_load(&c->lru.pages.nr),
        };
}

/* What the page alone accounts for in each state; `charged` before it is started, too. */
static const struct counts in_state[] = {
        [PAGE_ABSENT] = { 0 },
        [PAGE_READING] = { .reading = 1, .m_pages = 1, .charged = 1, .used = 1 },
        [PAGE_CLEAN] = { .m_pages = 1, .charged = 1, .used = 1, .lru = 1 },
        [PAGE_DIRTY] = { .dirty = 1,
                         .m_pages = 1,
                         .m_dirty = 1,
                         .charged = 1,
                         .used = 1,
                         .tagged = 1,
                         .lru = 1 },
        [PAGE_WRITEBACK] = { .writeback = 1,
                             .m_pages = 1,
                             .m_writeback = 1,
                             .charged = 1,
                             .used = 1,
                             .lru = 1 },
        [PAGE_EVICTING] = { .m_pages = 1, .charged = 1, .used = 1 },
        [PAGE_ERROR] = { .used = 1 },
};

static inline void expect_counts(const struct counts *want)
{
        struct counts got = counts();

#define SAME(what) cr_assert_eq(got.what, want->what, #what " is %d, not %d", got.what, want->what)
        SAME(dirty);
        SAME(writeback);
        SAME(reading);
        SAME(m_pages);
        SAME(m_dirty);
        SAME(m_writeback);
        SAME(charged);
        SAME(private_pages);
        SAME(used);
        SAME(tagged);
        SAME(lru);
#undef SAME
}

/* The page is in that state, unlocked, and everything says so. */
static inline void expect(enum page_state s)
{
        cr_assert_eq(page_state(p), s, "%s, not %s", page_state_name(page_state(p)),
                     page_state_name(s));
        cr_assert_not(page_is_locked(p));
        expect_counts(&in_state[s]);
        cr_assert_eq(page_test(p, PG_LRU) != 0, in_state[s].lru);
        cr_assert_eq(page_uptodate(p), s == PAGE_CLEAN || s == PAGE_DIRTY || s == PAGE_WRITEBACK);
        cr_assert_eq(atomic_load(&m->dirtied_at) != 0, s == PAGE_DIRTY);
        cr_assert_eq(page_may_write(p), s == PAGE_DIRTY || page_test(p, PG_REDIRTY));
#ifndef NDEBUG
        page_check(c, p);
        cr_assert_eq(mapping_check(m), 0);
        cr_assert_eq(cache_check(c), 0);
#endif
}

/* ---- transitions, each with the lock around it ---- */

static inline void start_read(void)
{
        cr_assert(budget_try_charge(c, 1));
        page_lock(c, p);
        page_start_read(c, p);
        page_unlock(c, p);
}

static inline void create_dirty(void)
{
        cr_assert(budget_try_charge(c, 1));
        page_lock(c, p);
        page_create_dirty(c, p);
        page_unlock(c, p);
}

static inline void locked(void (*transition)(struct page_cache *, struct page *))
{
        page_lock(c, p);
        transition(c, p);
        page_unlock(c, p);
}

static inline void fail_read(int error, bool sticky)
{
        page_lock(c, p);
        page_fail_read(c, p, error, sticky);
        page_unlock(c, p);
}

static inline bool end_writeback(int error)
{
        bool again;

        page_lock(c, p);
        again = page_end_writeback(c, p, error);
        page_unlock(c, p);
        return again;
}

static inline void end_evict(bool to_private)
{
        page_lock(c, p);
        page_end_evict(c, p, to_private);
        page_unlock(c, p);
}

static inline void read_it(void)
{
        start_read();
        locked(page_end_read);
}

/* Whatever state it was in: nothing is left of it. */
static inline void evict_it(void)
{
        locked(page_start_evict);
        end_evict(false);
        expect(PAGE_ABSENT);
}

#endif
