/* SPDX-License-Identifier: Apache-2.0
 *
 * top_sample.c - what engines say now, beside what they said before.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

static void engine_end(struct top_engine *e)
{
        json_decref(e->now);
        json_decref(e->before);
}

void top_free(struct top *t)
{
        for (size_t i = 0; i < t->count; i++)
                engine_end(&t->engine[i]);
        free(t->engine);
        t->engine = NULL;
        t->count = 0;
}

static struct top_engine *find(struct top *t, const struct live_engine *at)
{
        for (size_t i = 0; i < t->count; i++)
                if (!strcmp(t->engine[i].at.name, at->name) &&
                    !strcmp(t->engine[i].at.folder, at->folder))
                        return &t->engine[i];
        return NULL;
}

/* ---- what has changed ---- */

double top_rate(const struct top_engine *e, const char *key)
{
        uint64_t now = live_number(json_object_get(e->now, "stats"), key);
        uint64_t before = live_number(json_object_get(e->before, "stats"), key);

        return now > before ? (double)(now - before) / e->seconds : 0;
}

static uint64_t pair(const json_t *histogram, size_t i, size_t which)
{
        json_int_t n = json_integer_value(json_array_get(json_array_get(histogram, i), which));

        return n > 0 ? (uint64_t)n : 0;
}

/* How many of the i-th pair are new. *k: a pair of `before`; both are in the order of their ends. */
static uint64_t gained(const json_t *now, size_t i, const json_t *before, size_t *k)
{
        uint64_t end = pair(now, i, 0), n = pair(now, i, 1), had = 0;

        while (*k < json_array_size(before) && pair(before, *k, 0) < end)
                ++*k;
        if (*k < json_array_size(before) && pair(before, *k, 0) == end)
                had = pair(before, *k, 1);
        return n > had ? n - had : 0;
}

uint64_t top_quantile(const json_t *now, const json_t *before, unsigned permille)
{
        uint64_t total = 0, seen = 0;
        size_t k = 0;

        for (size_t i = 0; i < json_array_size(now); i++)
                total += min_u64(gained(now, i, before, &k), UINT64_MAX / 2048);
        k = 0;
        for (size_t i = 0; i < json_array_size(now); i++) {
                seen += min_u64(gained(now, i, before, &k), UINT64_MAX / 2048);
                if (seen &&
                    seen >= total / 1000 * permille + (total % 1000 * permille + 999) / 1000)
                        return pair(now, i, 0);
        }
        return 0;
}

static void measure(struct top_engine *e)
{
        const json_t *faults = json_object_get(e->now, "fault_ns");
        const json_t *had = json_object_get(e->before, "fault_ns");
        uint64_t ns = live_number(json_object_get(e->now, "stats"), "elapsed_ns");
        uint64_t before = live_number(json_object_get(e->before, "stats"), "elapsed_ns");

        e->seconds = ns > before ? (double)(ns - before) / 1e9 : 1;
        e->p50 = top_quantile(faults, had, 500);
        e->p99 = top_quantile(faults, had, 990);
}

/* ---- asking ---- */

static double weight(const struct top_engine *e, enum top_order order)
{
        switch (order) {
        case TOP_BY_LATENCY:
                return (double)e->p99;
        case TOP_BY_CACHE:
                return (double)live_number(json_object_get(e->now, "stats"), "cache_bytes");
        default:
                return top_rate(e, "faults_major") + top_rate(e, "faults_minor");
        }
}

/* What weighs most comes first; equals in the order they were found. */
static void sort(struct top *t)
{
        for (size_t i = 1; i < t->count; i++)
                for (size_t k = i;
                     k && weight(&t->engine[k], t->order) > weight(&t->engine[k - 1], t->order);
                     k--) {
                        struct top_engine e = t->engine[k];

                        t->engine[k] = t->engine[k - 1];
                        t->engine[k - 1] = e;
                }
}

/* Or has it been closed since we found it? */
static bool is_there(const struct live_engine *at)
{
        char path[sizeof(at->folder) + sizeof(at->name)];

        snprintf(path, sizeof(path), "%s/%s", at->folder, at->name);
        return access(path, F_OK) == 0;
}

static bool is_wanted(const struct top *t, int pid)
{
        bool wanted = !t->only->count;

        for (size_t i = 0; i < t->only->count; i++)
                wanted |= atoi(t->only->item[i]) == pid;
        return wanted;
}

bool top_sample(struct top *t)
{
        struct top next = { .order = t->order, .every = t->every, .only = t->only };
        struct live_engines found;
        bool ok = live_find(&found);

        if (ok && found.count)
                ok = (next.engine = calloc(found.count, sizeof(*next.engine)));
        for (size_t i = 0; ok && i < found.count; i++) {
                struct top_engine *e = &next.engine[next.count], *old;

                e->now = live_ask(&found.item[i], "/v1/engine");
                if (!e->now || !is_wanted(t, found.item[i].pid)) {
                        next.silent += !e->now && is_there(&found.item[i]);
                        json_decref(e->now);
                        continue;
                }
                e->at = found.item[i];
                old = find(t, &e->at);
                e->before = old ? json_incref(old->now) : NULL;
                measure(e);
                next.count++;
        }
        live_free(&found);
        top_free(t);
        *t = next;
        sort(t);
        return ok;
}
