/* SPDX-License-Identifier: Apache-2.0
 *
 * test_pages.c - pages beside each other: the reclaim list, their leaf, the first dirty one of a file.
 */
#include "page_fixture.h"

TestSuite(pages, .init = start, .fini = stop, .timeout = 30);

/* ---- the reclaim list ---- */

static const struct reclaim_list *first(void)
{
        return &c->lru.pages.list[0];
}

Test(pages, the_list_is_in_order_and_holds_a_page_once)
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
        cr_assert_eq(atomic_load(&c->lru.pages.nr), 5);
        lru_remove(c, page[0]); /* first, last, middle */
        lru_remove(c, page[4]);
        lru_remove(c, page[2]);
        lru_remove(c, page[2]);
        cr_assert_eq(atomic_load(&c->lru.pages.nr), 2);
        cr_assert_eq((struct page *)tables.base + first()->head - 1, page[1]);
        cr_assert_eq((struct page *)tables.base + first()->tail - 1, page[3]);
        lru_add(c, page[0]);
        cr_assert_eq((struct page *)tables.base + first()->tail - 1, page[0]);
        for (unsigned i = 0; i < 5; i++) {
                page_lock(c, page[i]);
                page_start_evict(c, page[i]);
                lru_put_back(c, page[i], false); /* somebody who only looked at it */
                page_end_evict(c, page[i], false);
                page_unlock(c, page[i]);
                put_page(m, page[i]);
        }
        cr_assert_eq(atomic_load(&c->lru.pages.nr), 0);
        cr_assert_eq(first()->head, 0);
        cr_assert_eq(first()->tail, 0);
        expect(PAGE_ABSENT);
}

/* ---- the leaf of a page in use outlives every pin ---- */

Test(pages, a_cached_page_needs_no_pin)
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

Test(pages, dirtied_at_is_the_first_page_of_many)
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
        page_unlock(c, other);
        locked(page_cancel_dirty);
        cr_assert_neq(atomic_load(&m->dirtied_at), 0);
        page_lock(c, other);
        page_cancel_dirty(c, other);
        cr_assert_eq(atomic_load(&m->dirtied_at), 0);
        page_start_evict(c, other);
        page_end_evict(c, other, false);
        page_unlock(c, other);
        put_page(m, other);
        evict_it();
}
