/* SPDX-License-Identifier: Apache-2.0
 *
 * test_page.c - the state machine of a page: each transition, and all that moves along with it.
 *
 * A real page_cache with a policy and mappings that do nothing, and a file without a file
 * system: nothing but the test moves a page.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"

#define INDEX 300 /* neither the first page of the file nor of its leaf */

static struct table_pool tables;
static struct trace trace;
static struct page_cache *c;
static struct inode inode;
static struct address_space *m;
static struct page *p;

static void no_zap(struct page_cache *cache, struct mapping_view *v, uint64_t index, uint64_t nr,
                   struct zap_batch *b)
{
        (void)cache, (void)v, (void)index, (void)nr, (void)b;
        cr_assert_fail("nothing maps the file");
}

static void no_flush(struct page_cache *cache, struct zap_batch *b)
{
        (void)cache;
        cr_assert_eq(b->nr, 0);
}

static int no_protect(struct page_cache *cache, struct mapping_view *v, uint64_t index, uint64_t nr)
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

static enum reclaim_choice keep(const struct reclaim_page *page)
{
        (void)page;
        return RECLAIM_KEEP;
}

/* The flusher and reclaim have no reason to stir. */
static const struct vm_policy_ops no_policy = {
        .name = "none",
        .fault_around = 1,
        .background_percent = 90,
        .dirty_percent = 95,
        .writeback_ms = 3600000,
        .expire_ms = 3600000,
        .reclaim = keep,
};

static void start(void)
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
        memset(&inode, 0, sizeof inode);
        strcpy(inode.name, "test");
        atomic_store(&inode.i_size, 8 << 20);
        cr_assert_eq(mapping_create(c, &inode), 0);
        m = inode.i_mapping;
        p = grab_page(m, INDEX);
        cr_assert_not_null(p);
}

static void stop(void)
{
        put_page(m, p);
        mapping_destroy(m);
        cr_assert_null(inode.i_mapping);
        cache_destroy(c);
        cr_assert_eq(atomic_load(&tables.in_use), 0);
        table_pool_destroy(&tables);
}

TestSuite(page, .init = start, .fini = stop, .timeout = 30);

/* ---- everything that counts pages ---- */

struct counts {
        int dirty, writeback, reading;            /* of the cache */
        int m_pages, m_dirty, m_writeback;        /* of the file */
        int charged, private_pages, used, tagged; /* budget, leaf */
        int lru;
};

static struct counts counts(void)
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
                .lru = (int)atomic_load(&c->lru.nr),
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

static void expect_counts(const struct counts *want)
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
static void expect(enum page_state s)
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

static void start_read(void)
{
        cr_assert(budget_try_charge(c, 1));
        page_lock(c, p);
        page_start_read(c, p);
        page_unlock(c, p);
}

static void create_dirty(void)
{
        cr_assert(budget_try_charge(c, 1));
        page_lock(c, p);
        page_create_dirty(c, p);
        page_unlock(c, p);
}

static void locked(void (*transition)(struct page_cache *, struct page *))
{
        page_lock(c, p);
        transition(c, p);
        page_unlock(c, p);
}

static void fail_read(int error, bool sticky)
{
        page_lock(c, p);
        page_fail_read(c, p, error, sticky);
        page_unlock(c, p);
}

static bool end_writeback(int error)
{
        bool again;

        page_lock(c, p);
        again = page_end_writeback(c, p, error);
        page_unlock(c, p);
        return again;
}

static void end_evict(bool to_private)
{
        page_lock(c, p);
        page_end_evict(c, p, to_private);
        page_unlock(c, p);
}

static void read_it(void)
{
        start_read();
        locked(page_end_read);
}

/* Whatever state it was in: nothing is left of it. */
static void evict_it(void)
{
        locked(page_start_evict);
        end_evict(false);
        expect(PAGE_ABSENT);
}

Test(page, read_and_evicted)
{
        expect(PAGE_ABSENT);
        start_read();
        expect(PAGE_READING);
        locked(page_end_read);
        expect(PAGE_CLEAN);
        locked(page_start_evict);
        expect(PAGE_EVICTING);
        end_evict(false);
        expect(PAGE_ABSENT);
        cr_assert_eq(stat_get(&trace.stats, STAT_evicted_pages), 1);
        cr_assert_eq(stat_get(&trace.stats, STAT_readahead_wasted), 0);
        cr_assert_eq(c->budget.peak, 1);
}

Test(page, its_place_in_the_file)
{
        cr_assert_eq(page_mapping(c, p), m);
        cr_assert_eq(page_index(c, p), INDEX);
}

Test(page, a_failed_read_nobody_asked_for_is_forgotten)
{
        start_read();
        page_set(p, PG_MARKER | PG_READAHEAD);
        fail_read(-EIO, false);
        expect(PAGE_ABSENT);
        cr_assert_eq(page_word(p), 0, "no flag is left: %#x", page_word(p));
}

Test(page, a_failed_read_somebody_asked_for_stays_until_tried_again)
{
        start_read();
        fail_read(-EIO, true);
        expect(PAGE_ERROR);
        cr_assert_eq(p->error, -EIO);
        read_it();
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, an_error_is_written_over)
{
        start_read();
        fail_read(-EIO, true);
        create_dirty();
        expect(PAGE_DIRTY);
        locked(page_cancel_dirty);
        evict_it();
}

Test(page, dirty_and_written)
{
        read_it();
        locked(page_make_dirty);
        expect(PAGE_DIRTY);
        locked(page_make_dirty);
        expect(PAGE_DIRTY); /* counted once */
        locked(page_start_writeback);
        expect(PAGE_WRITEBACK);
        cr_assert_not(end_writeback(0));
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, made_whole_by_a_write)
{
        create_dirty();
        expect(PAGE_DIRTY);
        locked(page_start_writeback);
        cr_assert_not(end_writeback(0));
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, stored_to_during_write_back)
{
        create_dirty();
        locked(page_start_writeback);
        cr_assert_not(page_may_write(p), "the next store is an event");
        locked(page_make_dirty);
        cr_assert(page_test(p, PG_REDIRTY));
        expect(PAGE_WRITEBACK); /* not dirty yet: it is counted once */
        locked(page_make_dirty);
        expect(PAGE_WRITEBACK);
        cr_assert(end_writeback(0));
        expect(PAGE_DIRTY);
        cr_assert_not(page_test(p, PG_REDIRTY));
        locked(page_start_writeback);
        cr_assert_not(end_writeback(0), "REDIRTY was of the write before");
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, a_failed_write_back_stays_dirty)
{
        create_dirty();
        for (int i = 0; i < 3; i++) {
                locked(page_start_writeback);
                cr_assert(end_writeback(-ENOSPC));
                expect(PAGE_DIRTY);
        }
        locked(page_start_writeback);
        locked(page_make_dirty);
        cr_assert(end_writeback(-EIO), "failed and stored to");
        expect(PAGE_DIRTY);
        locked(page_start_writeback);
        cr_assert_not(end_writeback(0));
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, thrown_away_by_truncation)
{
        create_dirty();
        locked(page_cancel_dirty);
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, evicted_to_a_private_copy)
{
        struct counts want = { .charged = 1, .private_pages = 1 };

        read_it();
        locked(page_start_evict);
        end_evict(true);
        cr_assert_eq(page_state(p), PAGE_ABSENT);
        expect_counts(&want);
        /* The copy goes. */
        atomic_fetch_sub(&c->budget.private_pages, 1);
        budget_uncharge(c, 1);
        expect(PAGE_ABSENT);
}

Test(page, evict_for_private_passes_the_frame_on)
{
        struct counts want = { .charged = 1, .private_pages = 1 };
        static const char bytes[PAGE_SIZE] = "x";
        struct stat st;

        cr_assert_eq(m->frames->ops->fill(m->frames, INDEX, bytes, 1), 0);
        read_it();
        page_lock(c, p);
        cr_assert_eq(evict_for_private(c, m, p), 0);
        cr_assert(page_is_locked(p));
        page_unlock(c, p);
        cr_assert_eq(page_state(p), PAGE_ABSENT);
        expect_counts(&want);
        cr_assert_eq(fstat(m->frames->ops->fd(m->frames), &st), 0);
        cr_assert_eq(st.st_blocks, 0, "the frame went back to the kernel");
}

Test(page, eviction_called_off)
{
        read_it();
        locked(page_start_evict);
        locked(page_cancel_evict);
        expect(PAGE_CLEAN);
        evict_it();
}

Test(page, what_was_read_ahead_in_vain_is_counted)
{
        start_read();
        page_set(p, PG_READAHEAD);
        locked(page_end_read);
        evict_it();
        cr_assert_eq(stat_get(&trace.stats, STAT_readahead_wasted), 1);
}

Test(page, marks_go_with_the_page)
{
        read_it();
        page_set(p, PG_MARKER | PG_REFERENCED | PG_MAPPED | PG_READAHEAD);
        locked(page_make_dirty);
        locked(page_start_writeback);
        end_writeback(0);
        cr_assert(page_test(p, PG_MARKER) && page_test(p, PG_REFERENCED) &&
                          page_test(p, PG_MAPPED) && page_test(p, PG_READAHEAD),
                  "they stay through write-back");
        evict_it();
        cr_assert_eq(page_word(p), 0, "%#x is left", page_word(p));
}

/* ---- the reclaim list ---- */

Test(page, the_list_is_in_order_and_holds_a_page_once)
{
        struct page *page[5];

        for (unsigned i = 0; i < 5; i++) {
                cr_assert(budget_try_charge(c, 1));
                page[i] = grab_page(m, i * 1000); /* leaves of their own */
                page_lock(c, page[i]);
                page_start_read(c, page[i]);
                page_end_read(c, page[i]);
                page_unlock(c, page[i]);
        }
        lru_add(c, page[2]);
        cr_assert_eq(atomic_load(&c->lru.nr), 5);
        lru_remove(c, page[0]); /* first, last, middle */
        lru_remove(c, page[4]);
        lru_remove(c, page[2]);
        lru_remove(c, page[2]);
        cr_assert_eq(atomic_load(&c->lru.nr), 2);
        cr_assert_eq((struct page *)tables.base + c->lru.head - 1, page[1]);
        cr_assert_eq((struct page *)tables.base + c->lru.tail - 1, page[3]);
        lru_add(c, page[0]);
        cr_assert_eq((struct page *)tables.base + c->lru.tail - 1, page[0]);
        for (unsigned i = 0; i < 5; i++) {
                page_lock(c, page[i]);
                page_start_evict(c, page[i]);
                lru_add(c, page[i]); /* somebody who only looked at it */
                page_end_evict(c, page[i], false);
                page_unlock(c, page[i]);
                put_page(m, page[i]);
        }
        cr_assert_eq(atomic_load(&c->lru.nr), 0);
        cr_assert_eq(c->lru.head, 0);
        cr_assert_eq(c->lru.tail, 0);
        expect(PAGE_ABSENT);
}

/* ---- the leaf of a page in use outlives every pin ---- */

Test(page, a_cached_page_needs_no_pin)
{
        struct page *other = grab_page(m, 1500);

        cr_assert(budget_try_charge(c, 1));
        page_lock(c, other);
        page_start_read(c, other);
        page_end_read(c, other);
        page_unlock(c, other);
        put_page(m, other);
        cr_assert_eq(find_page(m, 1500), other);
        cr_assert_eq(page_state(other), PAGE_CLEAN);
        cr_assert_null(find_page(m, 1000));
        page_lock(c, other);
        page_start_evict(c, other);
        page_end_evict(c, other, false);
        page_unlock(c, other);
        put_page(m, other);
        cr_assert_null(find_page(m, 1500), "the leaf went with its last page");
}

/* ---- the first dirty page starts the clock ---- */

Test(page, dirtied_at_is_the_first_page_of_many)
{
        struct page *other = grab_page(m, INDEX + 1);
        uint64_t since;

        create_dirty();
        since = atomic_load(&m->dirtied_at);
        cr_assert_neq(since, 0);
        cr_assert(budget_try_charge(c, 1));
        page_lock(c, other);
        page_create_dirty(c, other);
        cr_assert_eq(atomic_load(&m->dirtied_at), since);
        cr_assert_eq(atomic_load(&m->nr_dirty), 2);
        locked(page_cancel_dirty);
        cr_assert_neq(atomic_load(&m->dirtied_at), 0);
        page_cancel_dirty(c, other);
        cr_assert_eq(atomic_load(&m->dirtied_at), 0);
        page_start_evict(c, other);
        page_end_evict(c, other, false);
        page_unlock(c, other);
        put_page(m, other);
        evict_it();
}

/* ---- flags are set without the lock ---- */

static _Atomic bool enough;
static _Atomic unsigned touched;

static void *touch(void *arg)
{
        uint32_t flag = (uint32_t)(uintptr_t)arg;

        while (!atomic_load(&enough)) {
                cr_assert_not(page_set(p, flag), "flag %#x was there", flag);
                cr_assert(page_clear(p, flag), "flag %#x was lost", flag);
                atomic_fetch_add(&touched, 1);
        }
        return NULL;
}

Test(page, a_transition_loses_no_flag)
{
        pthread_t t[2];

        read_it();
        cr_assert_eq(pthread_create(&t[0], NULL, touch, (void *)(uintptr_t)PG_REFERENCED), 0);
        cr_assert_eq(pthread_create(&t[1], NULL, touch, (void *)(uintptr_t)PG_MAPPED), 0);
        for (unsigned i = 0; i < 100000 || atomic_load(&touched) < 1000000; i++) {
                locked(page_make_dirty);
                locked(page_start_writeback);
                cr_assert_not(end_writeback(0));
        }
        atomic_store(&enough, true);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(t[i], NULL);
        expect(PAGE_CLEAN);
        evict_it();
}

/* ---- what must not happen ---- */

#ifndef NDEBUG
Test(page, writing_back_what_is_clean_aborts, .signal = SIGABRT)
{
        read_it();
        locked(page_start_writeback);
}

Test(page, evicting_what_is_dirty_aborts, .signal = SIGABRT)
{
        create_dirty();
        locked(page_start_evict);
}

Test(page, reading_what_is_there_aborts, .signal = SIGABRT)
{
        read_it();
        locked(page_start_read);
}

Test(page, a_transition_without_the_lock_aborts, .signal = SIGABRT)
{
        read_it();
        page_make_dirty(c, p);
}

Test(page, unlocking_what_is_not_locked_aborts, .signal = SIGABRT)
{
        page_unlock(c, p);
}

Test(page, page_check_sees_an_impossible_word, .signal = SIGABRT)
{
        page_set(p, PG_REDIRTY);
        page_check(c, p);
}

Test(page, mapping_check_sees_a_lost_page)
{
        read_it();
        atomic_fetch_add(&m->nr_pages, 1);
        cr_assert_neq(mapping_check(m), 0);
        cr_assert_neq(cache_check(c), 0);
        atomic_fetch_sub(&m->nr_pages, 1);
        evict_it();
}
#endif
