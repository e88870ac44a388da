/* SPDX-License-Identifier: Apache-2.0
 *
 * report_series.c - what is counted over time, in BINS parts of the trace, and the heat map.
 */
#include <stdlib.h>

#include "report.h"
#include "util/base.h"

#define BINS 200
#define HEAT_TIMES 160
#define HEAT_OFFSETS 64
#define HEAT_FILES 8 /* those with the most faults */

#define OP_MASK 0xff
#define OP_WRITE 1

/* What is summed up in each bin. */
enum sum {
        BIOS,
        MERGES,
        REQUESTS,
        BYTES_READ,
        BYTES_WRITTEN,
        PAGES_READ,
        EVICTED,
        BUDGET_WAITS,
        WRITTEN_BACK,
        FLUSHES,
        FSYNCS,
        ERRORS,
        LOST,
        SUMS
};
static const char *const sum_names[SUMS] = {
        [BIOS] = "bios",
        [MERGES] = "merges",
        [REQUESTS] = "requests",
        [BYTES_READ] = "bytes_read",
        [BYTES_WRITTEN] = "bytes_written",
        [PAGES_READ] = "pages_read",
        [EVICTED] = "evicted",
        [BUDGET_WAITS] = "budget_waits",
        [WRITTEN_BACK] = "written_back",
        [FLUSHES] = "flushes",
        [FSYNCS] = "fsyncs",
        [ERRORS] = "errors",
        [LOST] = "lost",
};

struct series {
        uint64_t sum[SUMS][BINS];
        uint64_t faults[REPORT_KINDS][BINS];
        uint64_t cache[BINS], dirty[BINS], limit[BINS]; /* at the end of each, bytes */
        bool counted;
        uint64_t depth_most[BINS];
        double depth_time[BINS]; /* requests times ns */
};

static unsigned bin_of(const struct report *r, uint64_t time)
{
        unsigned bin = (unsigned)((double)time / (double)r->span * BINS);

        return bin < BINS ? bin : BINS - 1;
}

static void add(struct series *s, enum sum what, unsigned bin, uint64_t value)
{
        uint64_t *sum = &s->sum[what][bin];

        *sum = value < REPORT_MOST - *sum ? *sum + value : REPORT_MOST;
}

static void add_request(struct series *s, const struct trace_record *e, unsigned bin)
{
        uint64_t op = e->arg[2] & OP_MASK;

        add(s, REQUESTS, bin, 1);
        if (!op)
                add(s, BYTES_READ, bin, e->arg[1]);
        else if (op == OP_WRITE)
                add(s, BYTES_WRITTEN, bin, e->arg[1]);
}

/* What the engine holds: it stays so until it is told again. */
static void note_counters(struct series *s, const struct trace_record *e, unsigned bin)
{
        s->counted = true;
        for (; bin < BINS; bin++) {
                s->cache[bin] = e->arg[0];
                s->dirty[bin] = e->arg[1];
                s->limit[bin] = e->arg[3];
        }
}

static void add_event(const struct report *r, struct series *s, const struct trace_record *e,
                      unsigned bin)
{
        const struct report_events *ev = &r->ev;
        const struct export_events *io = &r->in->ev;

        if (e->event == io->bio)
                add(s, BIOS, bin, 1);
        else if (e->event == io->merge)
                add(s, MERGES, bin, 1);
        else if (e->event == io->request)
                add_request(s, e, bin);
        else if (e->event == ev->uptodate)
                add(s, PAGES_READ, bin, e->arg[1]);
        else if (e->event == (ev->evict < 0 ? ev->reclaim : ev->evict))
                add(s, EVICTED, bin, e->arg[ev->evict < 0 ? 2 : 1]);
        else if (e->event == io->flush)
                add(s, FLUSHES, bin, 1);
        else if (e->event == io->lost)
                add(s, LOST, bin, e->arg[0]);
        else if (e->event == io->counters)
                note_counters(s, e, bin);
        else if (e->event == ev->budget_wait)
                add(s, BUDGET_WAITS, bin, 1);
        else if (e->event == ev->writeback)
                add(s, WRITTEN_BACK, bin, e->arg[1]);
        else if (e->event == ev->fsync)
                add(s, FSYNCS, bin, 1);
        else if (e->event == ev->error)
                add(s, ERRORS, bin, 1);
}

/* So many requests were under way from `from` until `until`. */
static void add_depth(const struct report *r, struct series *s, uint64_t depth, uint64_t from,
                      uint64_t until)
{
        double width = (double)r->span / BINS;

        for (unsigned bin = bin_of(r, from), last = bin_of(r, until); bin <= last; bin++) {
                double begin = bin * width, end = begin + width;

                begin = begin > (double)from ? begin : (double)from;
                end = end < (double)until ? end : (double)until;
                if (end > begin)
                        s->depth_time[bin] += (double)depth * (end - begin);
                if (depth > s->depth_most[bin])
                        s->depth_most[bin] = depth;
        }
}

static void count(const struct report *r, struct series *s)
{
        const struct export_input *in = r->in;
        uint64_t depth = 0, since = 0;

        for (size_t i = 0; i < in->nr; i++) {
                const struct trace_record *e = &in->record[i];
                uint64_t time = report_time(r, e->time);
                bool begins = e->event == in->ev.request, ends = in->ended[i];

                add_event(r, s, e, bin_of(r, time));
                if (!begins && !ends)
                        continue;
                add_depth(r, s, depth, since, time);
                depth = begins ? depth + 1 : depth - 1;
                since = time;
        }
        add_depth(r, s, depth, since, r->span);
        for (size_t i = 0; i < r->nr_faults; i++)
                s->faults[r->fault[i].kind][bin_of(r, r->fault[i].begin)]++;
}

static json_t *numbers(const uint64_t *value)
{
        json_t *list = json_array();

        for (unsigned i = 0; i < BINS; i++)
                json_array_append_new(list, report_number(value[i]));
        return list;
}

json_t *report_series(const struct report *r)
{
        struct series *s = calloc(1, sizeof(*s));
        json_t *all = json_object(), *faults = json_array(), *mean = json_array();

        if (!s)
                return NULL;
        count(r, s);
        for (unsigned i = 0; i < REPORT_KINDS; i++)
                json_array_append_new(faults, numbers(s->faults[i]));
        for (unsigned i = 0; i < BINS; i++)
                json_array_append_new(mean, json_real(s->depth_time[i] / ((double)r->span / BINS)));
        for (unsigned i = 0; i < SUMS; i++)
                json_object_set_new(all, sum_names[i], numbers(s->sum[i]));
        if (s->counted) {
                json_object_set_new(all, "cache", numbers(s->cache));
                json_object_set_new(all, "dirty", numbers(s->dirty));
                json_object_set_new(all, "limit", numbers(s->limit));
        }
        json_object_set_new(all, "bins", json_integer(BINS));
        json_object_set_new(all, "faults", faults);
        json_object_set_new(all, "depth_most", numbers(s->depth_most));
        json_object_set_new(all, "depth_mean", mean);
        free(s);
        return all;
}

/* ---- the heat map ---- */

struct heat {
        size_t faults;
        unsigned file;
};

static int by_faults(const void *a, const void *b)
{
        const struct heat *x = a, *y = b;

        if (x->faults != y->faults)
                return x->faults > y->faults ? -1 : 1;
        return x->file < y->file ? -1 : x->file > y->file;
}

/* [time, offset, faults, ...]: the cells where there are any. */
static json_t *cells_of(const struct report *r, unsigned number)
{
        const struct report_file *file = &r->file[number];
        uint32_t *cell = calloc((size_t)HEAT_TIMES * HEAT_OFFSETS, sizeof(*cell));
        json_t *list = json_array();

        for (size_t i = 0; cell && i < r->nr_faults; i++) {
                const struct report_fault *fault = &r->fault[i];
                unsigned time, offset;

                if (fault->file != number || fault->page == REPORT_NO_PAGE)
                        continue;
                time = (unsigned)((double)fault->begin / (double)r->span * HEAT_TIMES);
                offset = (unsigned)((double)fault->page / (double)file->pages * HEAT_OFFSETS);
                time = time < HEAT_TIMES ? time : HEAT_TIMES - 1;
                offset = offset < HEAT_OFFSETS ? offset : HEAT_OFFSETS - 1;
                cell[time * HEAT_OFFSETS + offset]++;
        }
        for (unsigned i = 0; cell && i < HEAT_TIMES * HEAT_OFFSETS; i++) {
                if (!cell[i])
                        continue;
                json_array_append_new(list, json_integer(i / HEAT_OFFSETS));
                json_array_append_new(list, json_integer(i % HEAT_OFFSETS));
                json_array_append_new(list, json_integer(cell[i]));
        }
        free(cell);
        return list;
}

json_t *report_heat(const struct report *r)
{
        struct heat *heat = calloc(r->nr_files + 1, sizeof(*heat));
        json_t *list = json_array();

        if (!heat)
                return NULL;
        for (unsigned i = 0; i < r->nr_files; i++)
                heat[i].file = i;
        for (size_t i = 0; i < r->nr_faults; i++)
                heat[r->fault[i].file].faults += r->fault[i].page != REPORT_NO_PAGE;
        qsort(heat, r->nr_files, sizeof(*heat), by_faults);
        for (unsigned i = 0; i < r->nr_files && i < HEAT_FILES && heat[i].faults; i++)
                json_array_append_new(list, json_pack("{si, so}", "file", (int)heat[i].file,
                                                      "cells", cells_of(r, heat[i].file)));
        free(heat);
        return json_pack("{si, si, so}", "times", HEAT_TIMES, "offsets", HEAT_OFFSETS, "files",
                         list);
}
