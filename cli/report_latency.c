/* SPDX-License-Identifier: Apache-2.0
 *
 * report_latency.c - how long faults took: a histogram and percentiles by kind, tables of files and
 * threads. The percentiles are of the faults themselves, not of the histogram's classes.
 */
#include <math.h>
#include <stdlib.h>

#include "report.h"

#define CLASSES 4 /* of the histogram between a time and its double */

/* Faults in groups, the fastest of each first. */
struct ranked {
        uint64_t group, ns;
        size_t fault;
};

static int by_group(const void *a, const void *b)
{
        const struct ranked *x = a, *y = b;

        if (x->group != y->group)
                return x->group < y->group ? -1 : 1;
        return x->ns < y->ns ? -1 : x->ns > y->ns;
}

static uint64_t group_of_kind(const struct report_fault *fault)
{
        return fault->kind;
}
static uint64_t group_of_file(const struct report_fault *fault)
{
        return fault->file;
}
static uint64_t group_of_thread(const struct report_fault *fault)
{
        return fault->thread;
}

static struct ranked *rank(const struct report *r, uint64_t (*group)(const struct report_fault *))
{
        struct ranked *ranked = calloc(r->nr_faults + 1, sizeof(*ranked));

        for (size_t i = 0; ranked && i < r->nr_faults; i++)
                ranked[i] = (struct ranked){ group(&r->fault[i]), r->fault[i].ns, i };
        if (ranked)
                qsort(ranked, r->nr_faults, sizeof(*ranked), by_group);
        return ranked;
}

/* The least time that so many permille of them do not exceed. */
static json_t *percentile(const struct ranked *ranked, size_t nr, unsigned permille)
{
        size_t at = (nr * permille + 999) / 1000;

        return report_number(ranked[at ? at - 1 : 0].ns);
}

/* Of one group, nr of them from `ranked` on. */
static json_t *numbers_of(const struct ranked *ranked, size_t nr)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < nr; i++)
                sum += ranked[i].ns < REPORT_MOST ? ranked[i].ns : REPORT_MOST;
        return json_pack("{so, so, so, so, so, so, so, so}", "count", report_number(nr), "sum",
                         report_number(sum), "min", report_number(ranked->ns), "p50",
                         percentile(ranked, nr, 500), "p90", percentile(ranked, nr, 900), "p99",
                         percentile(ranked, nr, 990), "p999", percentile(ranked, nr, 999), "max",
                         report_number(ranked[nr - 1].ns));
}

/* How many of the group are of each kind. */
static json_t *kinds_of(const struct report *r, const struct ranked *ranked, size_t nr)
{
        json_int_t count[REPORT_KINDS] = { 0 };
        json_t *kinds = json_array();

        for (size_t i = 0; i < nr; i++)
                count[r->fault[ranked[i].fault].kind]++;
        for (unsigned i = 0; i < REPORT_KINDS; i++)
                json_array_append_new(kinds, json_integer(count[i]));
        return kinds;
}

static json_t *pair(int class, json_int_t count)
{
        return json_pack("[i, I]", class, count);
}

/* [class, count], ...: class c holds what takes from 2^(c/4) ns on. */
static json_t *histogram(const struct ranked *ranked, size_t nr)
{
        json_t *classes = json_array();
        json_int_t count = 0;
        int last = 0;

        for (size_t i = 0; i < nr; i++) {
                int class = ranked[i].ns ? (int)(log2((double)ranked[i].ns) * CLASSES) : 0;

                if (count && class != last) {
                        json_array_append_new(classes, pair(last, count));
                        count = 0;
                }
                last = class;
                count++;
        }
        if (count)
                json_array_append_new(classes, pair(last, count));
        return classes;
}

json_t *report_latency(const struct report *r)
{
        struct ranked *ranked = rank(r, group_of_kind);
        json_t *list = ranked ? json_array() : NULL;

        for (size_t i = 0, nr; ranked && i < r->nr_faults; i += nr) {
                json_t *of;

                for (nr = 1; i + nr < r->nr_faults && ranked[i + nr].group == ranked[i].group;)
                        nr++;
                of = numbers_of(&ranked[i], nr);
                json_object_set_new(of, "kind", json_integer((json_int_t)ranked[i].group));
                json_object_set_new(of, "histogram", histogram(&ranked[i], nr));
                json_array_append_new(list, of);
        }
        free(ranked);
        return list;
}

/* A line of a table for each group that has faults. */
static json_t *table(const struct report *r, uint64_t (*group)(const struct report_fault *),
                     void (*describe)(const struct report *, size_t, json_t *))
{
        struct ranked *ranked = rank(r, group);
        json_t *list = ranked ? json_array() : NULL;

        for (size_t i = 0, nr; ranked && i < r->nr_faults; i += nr) {
                json_t *line;

                for (nr = 1; i + nr < r->nr_faults && ranked[i + nr].group == ranked[i].group;)
                        nr++;
                line = numbers_of(&ranked[i], nr);
                json_object_set_new(line, "kinds", kinds_of(r, &ranked[i], nr));
                describe(r, (size_t)ranked[i].group, line);
                json_array_append_new(list, line);
        }
        free(ranked);
        return list;
}

static void describe_file(const struct report *r, size_t number, json_t *line)
{
        const struct report_file *file = &r->file[number];

        json_object_set_new(line, "file", json_integer((json_int_t)number));
        json_object_set_new(line, "name", report_text(file->name));
        json_object_set_new(line, "pages", report_number(file->pages));
        json_object_set_new(line, "windows", report_number(file->windows));
        json_object_set_new(line, "read", report_number(file->read));
        json_object_set_new(line, "used", report_number(file->used));
        json_object_set_new(line, "late", report_number(file->late));
}

json_t *report_files(const struct report *r)
{
        return table(r, group_of_file, describe_file);
}

static void describe_thread(const struct report *r, size_t number, json_t *line)
{
        const char *name = trace_reader_thread(r->in->reader, r->thread[number]);

        json_object_set_new(line, "thread", json_integer(r->thread[number]));
        json_object_set_new(line, "name", report_text(name ? name : ""));
}

json_t *report_threads(const struct report *r)
{
        return table(r, group_of_thread, describe_thread);
}
