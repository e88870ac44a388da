/* SPDX-License-Identifier: Apache-2.0
 *
 * radix_fixture.h - a tree and its pool, and what the tests of it do with an entry.
 */
#ifndef TEST_RADIX_FIXTURE_H
#define TEST_RADIX_FIXTURE_H

#include <criterion/criterion.h>

#include "util/radix.h"

#define UNITS (1u << 16)
#define PTE_SHIFT 3  /* entries of 8 bytes: 512 a leaf */
#define PAGE_ENTRY 4 /* entries of 16 bytes: 256 a leaf */

static struct table_pool pool;
static struct radix r;

static inline void start(void)
{
        cr_assert_eq(table_pool_init(&pool, UNITS), 0);
        radix_init(&r, &pool, PTE_SHIFT);
}

static inline void stop(void)
{
        radix_destroy(&r);
        cr_assert_eq(atomic_load(&pool.in_use), 0, "tables leak");
        table_pool_destroy(&pool);
}

static inline unsigned tables(void)
{
        return atomic_load(&pool.in_use);
}

/* Puts `value` there; the entry is in use from now on. */
static inline void set(uint64_t index, uint64_t value)
{
        uint64_t *e = radix_get(&r, index, true);

        cr_assert_not_null(e);
        cr_assert_eq(radix_index(&r, e), index);
        cr_assert_eq(*e, 0, "index %#lx is not fresh", index);
        *e = value;
        radix_use(&r, e);
        radix_put(&r, e);
}

static inline uint64_t get(uint64_t index)
{
        uint64_t *e = radix_get(&r, index, false), value = 0;

        if (e) {
                value = *e;
                cr_assert_eq(radix_index(&r, e), index);
                radix_put(&r, e);
        }
        return value;
}

static inline void clear(uint64_t index)
{
        uint64_t *e = radix_get(&r, index, false);

        cr_assert_not_null(e, "index %#lx is gone", index);
        *e = 0;
        radix_unuse(&r, e);
        radix_put(&r, e);
}

#endif
