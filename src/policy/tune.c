/* SPDX-License-Identifier: Apache-2.0
 *
 * tune.c - see tune.h.
 */
#include "policy/tune.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/pageout.h"
#include "util/quantity.h"

enum unit { SECONDS, PAGES, NUMBER, SWITCH };

static const struct {
        const char *name;
        enum unit unit;
        uint64_t least, most;
} parameters[TUNE_NR] = {
#define X(name, unit, least, most) [TUNE_##name] = { #name, unit, least, most },
        TUNE_PARAMETERS(X)
#undef X
};

#define AUTOUP 30
#define FSFLUSHR 1

static void set(struct policy_tune *t, enum tune_parameter p, uint64_t value)
{
        t->value[p] = value;
        t->given |= 1u << p;
}

struct policy_tune tune_complete(const struct policy_tune *t, uint64_t memory, uint32_t page)
{
        struct pageout_limits l = pageout_limits_tuned(t, memory, page);
        struct policy_tune all = *t;

        set(&all, TUNE_autoup,
            tune_or(t, TUNE_autoup, max_u64(AUTOUP, tune_or(t, TUNE_tune_t_fsflushr, 0))));
        set(&all, TUNE_tune_t_fsflushr,
            tune_or(t, TUNE_tune_t_fsflushr, min_u64(FSFLUSHR, all.value[TUNE_autoup])));
        set(&all, TUNE_dopageflush, tune_or(t, TUNE_dopageflush, 1));
        set(&all, TUNE_lotsfree, l.lotsfree);
        set(&all, TUNE_desfree, l.desfree);
        set(&all, TUNE_minfree, l.minfree);
        set(&all, TUNE_throttlefree, l.throttlefree);
        set(&all, TUNE_slowscan, l.slowscan);
        set(&all, TUNE_fastscan, l.fastscan);
        set(&all, TUNE_handspreadpages, l.handspread);
        set(&all, TUNE_maxpgio, l.maxpgio);
        set(&all, TUNE_min_percent_cpu, l.cpu_least);
        set(&all, TUNE_max_percent_cpu, l.cpu_most);
        set(&all, TUNE_fltadvice, tune_or(t, TUNE_fltadvice, 1));
        set(&all, TUNE_freebehind, tune_or(t, TUNE_freebehind, 1));
        set(&all, TUNE_cache_read_ahead, tune_or(t, TUNE_cache_read_ahead, 0));
        return all;
}

/* --- what makes no sense --- */

struct complaint {
        char *why;
        size_t size;
};

static int complain(const struct complaint *c, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
static int complain(const struct complaint *c, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(c->why, c->size, format, ap);
        va_end(ap);
        return -EINVAL;
}

/* Of each pair the first is no more than the second. */
static const struct {
        enum tune_parameter less, more;
} orders[] = {
        { TUNE_tune_t_fsflushr, TUNE_autoup }, { TUNE_minfree, TUNE_desfree },
        { TUNE_throttlefree, TUNE_lotsfree },  { TUNE_desfree, TUNE_lotsfree },
        { TUNE_slowscan, TUNE_fastscan },      { TUNE_min_percent_cpu, TUNE_max_percent_cpu },
};

/* What is given counts as it is given, not as it was cut to fit. */
static int check(const struct policy_tune *given, uint64_t memory, uint32_t page,
                 const struct complaint *c)
{
        struct policy_tune all = tune_complete(given, memory, page);

        for (int i = 0; i < TUNE_NR; i++)
                all.value[i] = tune_or(given, (enum tune_parameter)i, all.value[i]);
        for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
                if (all.value[orders[i].less] > all.value[orders[i].more])
                        return complain(c, "%s (%llu) must not be more than %s (%llu)",
                                        parameters[orders[i].less].name,
                                        (unsigned long long)all.value[orders[i].less],
                                        parameters[orders[i].more].name,
                                        (unsigned long long)all.value[orders[i].more]);
        if (all.value[TUNE_lotsfree] > memory / 2)
                return complain(c, "lotsfree must leave half of the cache's %llu pages",
                                (unsigned long long)memory);
        if (all.value[TUNE_handspreadpages] >= memory)
                return complain(c, "handspreadpages must be less than the cache's %llu pages",
                                (unsigned long long)memory);
        return 0;
}

/* --- reading --- */

static int find(const char *name, size_t len)
{
        for (int i = 0; i < TUNE_NR; i++)
                if (strlen(parameters[i].name) == len && !memcmp(parameters[i].name, name, len))
                        return i;
        return -1;
}

/* Pages may be a size: the unit decides what a plain number is. */
static bool take_value(const char **s, enum unit unit, uint32_t page, uint64_t *out)
{
        const char *start = *s;
        uint64_t number;

        if (!take_number(s, &number))
                return false;
        *out = number;
        if (unit != PAGES || **s == ',' || **s == '\0')
                return true;
        *s = start;
        if (!take_size(s, out))
                return false;
        *out /= page;
        return true;
}

static int take_parameter(const char **s, uint32_t page, struct policy_tune *out,
                          const struct complaint *c)
{
        size_t len = strcspn(*s, "=,");
        int i = find(*s, len);
        uint64_t value;

        if (i < 0)
                return complain(c, "there is no parameter %.*s", (int)min_u64(len, 40), *s);
        if (out->given & 1u << i)
                return complain(c, "%s is given twice", parameters[i].name);
        *s += len;
        if (*(*s)++ != '=' || !take_value(s, parameters[i].unit, page, &value) ||
            (**s != ',' && **s != '\0'))
                return complain(c, "%s must be a number%s", parameters[i].name,
                                parameters[i].unit == PAGES ? " of pages, or a size" : "");
        if (value < parameters[i].least || value > parameters[i].most)
                return complain(c, "%s must be from %llu to %llu", parameters[i].name,
                                (unsigned long long)parameters[i].least,
                                (unsigned long long)parameters[i].most);
        set(out, (enum tune_parameter)i, value);
        return 0;
}

int tune_parse(const char *text, uint64_t memory, uint32_t page, struct policy_tune *out, char *why,
               size_t size)
{
        struct complaint c = { why, size };
        int error = 0;

        memset(out, 0, sizeof(*out));
        if (!text || !*text)
                return 0;
        do
                error = take_parameter(&text, page, out, &c);
        while (!error && *text++ == ',');
        return error ? error : check(out, memory, page, &c);
}

int tune_text(const struct policy_tune *t, char *buf, size_t size)
{
        int n = 0;

        if (size)
                *buf = '\0';
        for (int i = 0; i < TUNE_NR; i++) {
                size_t left = (size_t)n < size ? size - (size_t)n : 0;

                if (t->given & 1u << i)
                        n += snprintf(left ? buf + n : NULL, left, "%s%s=%llu", n ? "," : "",
                                      parameters[i].name, (unsigned long long)t->value[i]);
        }
        return n;
}
