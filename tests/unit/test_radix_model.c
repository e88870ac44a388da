/* SPDX-License-Identifier: Apache-2.0
 *
 * test_radix_model.c - random operations on a radix tree and on a plain sorted array.
 */
#include <string.h>

#include "radix_fixture.h"

TestSuite(radix_model, .init = start, .fini = stop, .timeout = 30);

#define MODEL_MAX 3000
static struct {
        uint64_t index, value;
        bool tagged;
} model[MODEL_MAX];
static unsigned model_nr;

static uint64_t random64(void)
{
        static uint64_t x = 88172645463325252ull;

        x ^= x << 13;
        x ^= x >> 7;
        return x ^= x << 17;
}

/* Dense near zero, and in clusters up to 2^40. */
static uint64_t random_index(void)
{
        uint64_t n = random64();
        uint64_t cluster = (n >> 8) % 8;

        return ((cluster * cluster * cluster) << 31 >> (n % 3 * 11)) + (n >> 32) % 3000;
}

/* The first of the model at or behind index. */
static unsigned model_find(uint64_t index)
{
        unsigned lo = 0, hi = model_nr;

        while (lo < hi) {
                unsigned mid = (lo + hi) / 2;

                if (model[mid].index < index)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

static void toggle_entry(uint64_t index)
{
        unsigned at = model_find(index);

        if (at < model_nr && model[at].index == index) {
                uint64_t *e = radix_get(&r, index, false);

                cr_assert_eq(*e, model[at].value);
                if (model[at].tagged)
                        radix_untag(&r, e);
                radix_put(&r, e);
                clear(index);
                memmove(&model[at], &model[at + 1], (--model_nr - at) * sizeof model[0]);
        } else if (model_nr < MODEL_MAX) {
                uint64_t value = random64() | 1;

                set(index, value);
                memmove(&model[at + 1], &model[at], (model_nr++ - at) * sizeof model[0]);
                model[at].index = index;
                model[at].value = value;
                model[at].tagged = false;
        }
}

static void toggle_tag(uint64_t index)
{
        unsigned at = model_find(index);
        uint64_t *e;

        if (at == model_nr)
                return;
        e = radix_get(&r, model[at].index, false);
        cr_assert_eq(*e, model[at].value);
        model[at].tagged = !model[at].tagged;
        if (model[at].tagged)
                radix_tag(&r, e);
        else
                radix_untag(&r, e);
        radix_put(&r, e);
}

/* The first leaf with a (tagged) entry, from the one that index lies in. */
static void check_next(uint64_t index, bool tagged)
{
        uint64_t at = index, want = UINT64_MAX;
        void *e = radix_next(&r, &at, UINT64_MAX, tagged);

        for (unsigned i = model_find(index >> 9 << 9); i < model_nr; i++)
                if (!tagged || model[i].tagged) {
                        want = max_u64(index, model[i].index >> 9 << 9);
                        break;
                }
        if (want == UINT64_MAX) {
                cr_assert_null(e, "found %#lx from %#lx", at, index);
                return;
        }
        cr_assert_not_null(e, "nothing from %#lx, not %#lx", index, want);
        cr_assert_eq(at, want, "%#lx from %#lx, not %#lx", at, index, want);
        cr_assert_eq(radix_index(&r, e), want);
        radix_put(&r, e);
}

/* The tables that these entries need, and no more. */
static unsigned model_tables(void)
{
        unsigned n = 0;

        for (unsigned level = 0; level <= r.height; level++)
                for (unsigned i = 0; i < model_nr; i++) {
                        unsigned shift = 9 + 9 * level;

                        n += i == 0 || model[i].index >> shift != model[i - 1].index >> shift;
                }
        return n;
}

Test(radix_model, random_operations_against_a_sorted_array)
{
        for (unsigned i = 0; i < 60000; i++) {
                uint64_t index = random_index();

                switch (random64() % 8) {
                case 0:
                case 1:
                case 2:
                        toggle_entry(index);
                        break;
                case 3:
                        if (model_nr)
                                toggle_entry(model[random64() % model_nr].index);
                        break;
                case 4:
                        toggle_tag(index);
                        break;
                case 5:
                        check_next(index, false);
                        break;
                case 6:
                        check_next(index, true);
                        break;
                default: {
                        unsigned at = model_find(index);
                        bool there = at < model_nr && model[at].index == index;

                        cr_assert_eq(get(index), there ? model[at].value : 0);
                }
                }
                if (i % 100 == 0)
                        cr_assert_eq(tables(), model_tables(), "after %u operations", i);
        }
        while (model_nr)
                toggle_entry(model[random64() % model_nr].index);
        cr_assert_eq(tables(), 0);
}
