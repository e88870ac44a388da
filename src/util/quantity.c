/* SPDX-License-Identifier: Apache-2.0
 *
 * quantity.c - see quantity.h.
 */
#include "util/quantity.h"

#include <string.h>
#include <strings.h>

struct unit {
        const char *name;
        uint64_t factor;
};

static const struct unit size_units[] = {
        { "K", 1ull << 10 },
        { "M", 1ull << 20 },
        { "G", 1ull << 30 },
        { 0 },
};
static const struct unit time_units[] = {
        { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { 0 },
};

bool take_number(const char **s, uint64_t *out)
{
        const char *p = *s;
        uint64_t n = 0;

        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
                        return false;
        if (p == *s)
                return false;
        *s = p;
        *out = n;
        return true;
}

/* The unit's factor, its name taken; 0: none of them. */
static uint64_t take_unit(const char **s, const struct unit *unit,
                          int (*compare)(const char *, const char *, size_t))
{
        for (; unit->name; unit++) {
                size_t n = strlen(unit->name);

                if (compare(*s, unit->name, n))
                        continue;
                *s += n;
                return unit->factor;
        }
        return 0;
}

static bool scale(uint64_t *out, uint64_t factor)
{
        return !__builtin_mul_overflow(*out, factor, out);
}

bool take_size(const char **s, uint64_t *out)
{
        uint64_t factor;

        if (!take_number(s, out))
                return false;
        factor = take_unit(s, size_units, strncasecmp);
        return scale(out, factor ? factor : 1);
}

bool take_time(const char **s, uint64_t *out)
{
        uint64_t factor;

        if (!take_number(s, out))
                return false;
        factor = take_unit(s, time_units, strncmp);
        return factor && scale(out, factor);
}

bool parse_size(const char *text, uint64_t *out)
{
        return take_size(&text, out) && !*text;
}
