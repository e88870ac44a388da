/* SPDX-License-Identifier: Apache-2.0
 *
 * test_pgtable.c - mm->pgd: entries, when their tables go, and walks over sparse addresses.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "vm/mm.h"

#define GIB (UINT64_C(1) << 30)
#define TABLE (UINT64_C(512) << PAGE_SHIFT) /* what a table of entries covers */

static struct table_pool pool;
static struct mm mm;

static void start(void)
{
        memset(&mm, 0, sizeof mm);
        cr_assert_eq(table_pool_init(&pool, 4096), 0);
        radix_init(&mm.pgd, &pool, 3);
        rwlock_read_lock(&mm.lock);
}

static void stop(void)
{
        rwlock_read_unlock(&mm.lock);
        radix_destroy(&mm.pgd);
        cr_assert_eq(atomic_load(&pool.in_use), 0);
        table_pool_destroy(&pool);
}

TestSuite(pgtable, .init = start, .fini = stop, .timeout = 30);

static unsigned tables(void)
{
        return atomic_load(&pool.in_use);
}

/* Returns what it was. */
static enum pte_state set(uint64_t addr, enum pte_state s)
{
        struct pte *p = pte_get(&mm, addr, true);
        enum pte_state old;

        cr_assert_not_null(p);
        old = pte_set(&mm, p, s);
        cr_assert_eq(pte_state(p), s);
        pte_put(&mm, p);
        return old;
}

static enum pte_state get(uint64_t addr)
{
        struct pte *p = pte_get(&mm, addr, false);
        enum pte_state s = PTE_NONE;

        if (p) {
                s = pte_state(p);
                pte_put(&mm, p);
        }
        return s;
}

Test(pgtable, nothing_is_made_by_looking)
{
        cr_assert_null(pte_get(&mm, 5 * GIB, false));
        cr_assert_eq(tables(), 0);
        pte_put(&mm, pte_get(&mm, 5 * GIB, true));
        cr_assert_eq(tables(), 0, "an entry that stayed NONE keeps no table");
}

Test(pgtable, an_entry_is_a_page)
{
        struct pte *a = pte_get(&mm, 5 * GIB, true);
        struct pte *b = pte_get(&mm, 5 * GIB + PAGE_SIZE - 1, true);
        struct pte *c = pte_get(&mm, 5 * GIB + PAGE_SIZE, true);

        cr_assert_eq(a, b);
        cr_assert_eq(a + 1, c);
        pte_put(&mm, a);
        pte_put(&mm, b);
        pte_put(&mm, c);
}

Test(pgtable, states_and_what_they_were)
{
        static const enum pte_state all[] = { PTE_NONE, PTE_CACHE, PTE_COPY, PTE_SWAPPED,
                                              PTE_POISONED };

        for (unsigned from = 0; from < ARRAY_SIZE(all); from++)
                for (unsigned to = 0; to < ARRAY_SIZE(all); to++) {
                        set(7 * GIB, all[from]);
                        cr_assert_eq(set(7 * GIB, all[to]), all[from]);
                        cr_assert_eq(get(7 * GIB), all[to]);
                        cr_assert_eq(tables() > 0, all[to] != PTE_NONE, "%s to %s",
                                     pte_state_name(all[from]), pte_state_name(all[to]));
                }
        set(7 * GIB, PTE_NONE);
        cr_assert_eq(tables(), 0);
        cr_assert_str_eq(pte_state_name(PTE_POISONED), "poisoned");
        cr_assert_str_eq(pte_state_name(99), "?");
}

Test(pgtable, clear_cache_clears_nothing_else)
{
        static const enum pte_state others[] = { PTE_NONE, PTE_COPY, PTE_SWAPPED, PTE_POISONED };
        struct pte *p = pte_get(&mm, GIB, true);

        for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
                pte_set(&mm, p, others[i]);
                cr_assert_not(pte_clear_cache(&mm, p));
                cr_assert_eq(pte_state(p), others[i]);
        }
        pte_set(&mm, p, PTE_CACHE);
        cr_assert(pte_clear_cache(&mm, p));
        cr_assert_eq(pte_state(p), PTE_NONE);
        cr_assert_not(pte_clear_cache(&mm, p));
        pte_put(&mm, p);
        cr_assert_eq(tables(), 0, "the use count went with it, once");
}

Test(pgtable, a_table_goes_with_its_last_entry)
{
        unsigned one;

        set(GIB, PTE_CACHE);
        one = tables();
        for (unsigned i = 1; i < 512; i++)
                set(GIB + i * PAGE_SIZE, i % 2 ? PTE_CACHE : PTE_COPY);
        cr_assert_eq(tables(), one);
        set(GIB + TABLE, PTE_CACHE);
        cr_assert_eq(tables(), one + 1);
        for (unsigned i = 0; i < 511; i++)
                set(GIB + i * PAGE_SIZE, PTE_NONE);
        cr_assert_eq(tables(), one + 1);
        set(GIB + 511 * PAGE_SIZE, PTE_NONE);
        cr_assert_eq(tables(), one, "its leaf is gone, the neighbour's stays");
        cr_assert_eq(get(GIB + TABLE), PTE_CACHE);
        set(GIB + TABLE, PTE_NONE);
        cr_assert_eq(tables(), 0);
}

Test(pgtable, next_table_over_sparse_addresses)
{
        static const uint64_t addr[] = {
                3 * PAGE_SIZE, TABLE + 511 * PAGE_SIZE,
                7 * GIB,       7 * GIB + 3 * TABLE + PAGE_SIZE,
                600 * GIB,     (UINT64_C(1) << 47) - PAGE_SIZE,
        };
        uint64_t at = 0, end = UINT64_C(1) << 48, stop;
        struct pte *p;

        for (unsigned i = 0; i < ARRAY_SIZE(addr); i++)
                set(addr[i], PTE_CACHE);
        for (unsigned i = 0; i < ARRAY_SIZE(addr); i++) {
                uint64_t table = round_down_u64(addr[i], TABLE);

                p = pte_next_table(&mm, &at, end, &stop);
                cr_assert_not_null(p);
                cr_assert_eq(at, table, "%#lx, not %#lx", at, table);
                cr_assert_eq(stop, table + TABLE, "%#lx ends at %#lx", at, stop);
                cr_assert_eq(pte_state(p + (addr[i] - table) / PAGE_SIZE), PTE_CACHE);
                pte_put(&mm, p);
                at += TABLE;
        }
        cr_assert_null(pte_next_table(&mm, &at, end, &stop));

        at = addr[2] + 10 * PAGE_SIZE;
        p = pte_next_table(&mm, &at, end, &stop);
        cr_assert_eq(at, addr[2] + 10 * PAGE_SIZE, "within a table it starts there");
        pte_put(&mm, p);
        at = addr[2] + TABLE;
        cr_assert_null(pte_next_table(&mm, &at, 7 * GIB + 3 * TABLE, &stop), "up to the end");
        at = addr[2] + TABLE;
        p = pte_next_table(&mm, &at, 7 * GIB + 3 * TABLE + PAGE_SIZE, &stop);
        cr_assert_not_null(p, "a page before the end");
        cr_assert_eq(stop, 7 * GIB + 3 * TABLE + PAGE_SIZE, "it goes to %#lx", stop);
        pte_put(&mm, p);
        for (unsigned i = 0; i < ARRAY_SIZE(addr); i++)
                set(addr[i], PTE_NONE);
        cr_assert_eq(tables(), 0);
}

Test(pgtable, a_mapping_of_16_tib_costs_its_touched_pages)
{
        uint64_t base = UINT64_C(1) << 44, size = UINT64_C(1) << 44;
        unsigned n = 0;

        for (uint64_t off = 0; off < size; off += 64 * GIB, n++)
                set(base + off, PTE_CACHE);
        /* A leaf and a middle table each; one more for 512 GiB; one for all. */
        cr_assert_leq(tables(), 2 * n + (unsigned)(size / (512 * GIB)) + 2);
}

/* clear_cache (reclaim, no mm lock) against set (a fault): the use count stays exact. */
static _Atomic unsigned cleared;
static _Atomic bool enough;

static void *clear_again(void *arg)
{
        while (!atomic_load(&enough))
                atomic_fetch_add(&cleared, pte_clear_cache(&mm, arg));
        return NULL;
}

Test(pgtable, clear_cache_races_with_set)
{
        struct pte *p = pte_get(&mm, GIB, true);
        pthread_t t[2];

        for (unsigned i = 0; i < 2; i++)
                cr_assert_eq(pthread_create(&t[i], NULL, clear_again, p), 0);
        for (unsigned i = 0; i < 200000 || atomic_load(&cleared) < 1000; i++)
                pte_set(&mm, p, i % 3 ? PTE_CACHE : PTE_COPY);
        atomic_store(&enough, true);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(t[i], NULL);
        cr_assert_eq(atomic_load(&table_header_of(&pool, p)->used), pte_state(p) != PTE_NONE);
        pte_set(&mm, p, PTE_NONE);
        pte_put(&mm, p);
        cr_assert_eq(tables(), 0);
}
