/* SPDX-License-Identifier: Apache-2.0
 *
 * test_page.c - the state machine of a page: each transition, and all that moves along with it.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "page_fixture.h"

TestSuite(page, .init = start, .fini = stop, .timeout = 30);

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
        cr_assert_eq(page_word(p) & ~PG_CHANGES, 0, "%#x is left", page_word(p));
}

Test(page, who_reads_without_the_lock_sees_that_it_changes)
{
        uint32_t before;

        read_it();
        before = page_word(p);
        locked(page_make_dirty);
        locked(page_start_writeback);
        end_writeback(0);
        cr_assert_eq((page_word(p) ^ before) & PG_CHANGES, 0, "these are the same bytes");
        locked(page_change);
        cr_assert_neq((page_word(p) ^ before) & PG_CHANGES, 0);
        before = page_word(p);
        evict_it();
        read_it();
        cr_assert_neq((page_word(p) ^ before) & PG_CHANGES, 0);
        cr_assert_eq(m->changes, 2);
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

static void *leave_later(void *arg)
{
        usleep(50000);
        mapping_unuse(arg);
        return NULL;
}

/* An I/O, say, that ends when nobody holds the file any more. */
Test(page, the_last_user_wakes_who_ends_the_mapping)
{
        pthread_t user;

        mapping_use(m);
        cr_assert_eq(pthread_create(&user, NULL, leave_later, m), 0);
        pthread_detach(user); /* stop() comes next, and waits for it */
}
