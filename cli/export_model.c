/* SPDX-License-Identifier: Apache-2.0
 *
 * export_model.c - what belongs together in a trace.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "export.h"
#include "util/base.h"

#define FAULT_THREAD 2 /* argument of FAULT_BEGIN */
#define MOST_OPEN 4096 /* requests under way at once; what comes on top has no end */

static struct export_events find_events(const struct trace_reader *r)
{
        return (struct export_events){
                .fault_begin = trace_reader_find(r, "FAULT_BEGIN"),
                .fault_end = trace_reader_find(r, "FAULT_END"),
                .filemap_fault = trace_reader_find(r, "FILEMAP_FAULT"),
                .read_iter = trace_reader_find(r, "READ_ITER"),
                .write_iter = trace_reader_find(r, "WRITE_ITER"),
                .bio = trace_reader_find(r, "BIO"),
                .getrq = trace_reader_find(r, "GETRQ"),
                .merge = trace_reader_find(r, "MERGE"),
                .plugged = trace_reader_find(r, "PLUGGED"),
                .plug = trace_reader_find(r, "PLUG"),
                .insert = trace_reader_find(r, "INSERT"),
                .request = trace_reader_find(r, "REQUEST"),
                .complete = trace_reader_find(r, "COMPLETE"),
                .flush = trace_reader_find(r, "FLUSH"),
                .wake = trace_reader_find(r, "WAKE"),
                .retry = trace_reader_find(r, "RETRY"),
                .fs_map = trace_reader_find(r, "FS_MAP"),
                .counters = trace_reader_find(r, "COUNTERS"),
                .lost = trace_reader_find(r, "LOST"),
        };
}

static int by_fault(const void *a, const void *b, void *arg)
{
        const struct export_input *in = arg;
        size_t i = *(const size_t *)a, j = *(const size_t *)b;
        uint64_t x = in->record[i].fault, y = in->record[j].fault;

        if (x != y)
                return x < y ? -1 : 1;
        return i < j ? -1 : i > j;
}

static int sort_by_fault(struct export_input *in)
{
        in->by_fault = calloc(in->nr + 1, sizeof(*in->by_fault));
        if (!in->by_fault)
                return -ENOMEM;
        for (size_t i = 0; i < in->nr; i++)
                if (in->record[i].fault)
                        in->by_fault[in->nr_by_fault++] = i;
        qsort_r(in->by_fault, in->nr_by_fault, sizeof(*in->by_fault), by_fault, in);
        return 0;
}

/* Traces of old told the first letters of the file's name in an argument. */
static uint64_t file_argument(const struct export_input *in, const struct trace_record *r)
{
        for (unsigned i = 0; i < 4; i++)
                if (!strcmp(trace_reader_arg(in->reader, r->event, i), "file"))
                        return r->arg[i];
        return 0;
}

static void add_event(const struct export_input *in, struct export_fault *f,
                      const struct trace_record *r)
{
        const struct export_events *ev = &in->ev;
        bool about = r->event == ev->filemap_fault || r->event == ev->read_iter ||
                     r->event == ev->write_iter;

        f->nr++;
        if (!f->object && export_is_file(in, r->object))
                f->object = r->object;
        if (!f->placed && (f->object || about))
                f->placed = export_own_offset(in, r, &f->offset);
        if (r->event == ev->fault_begin && !f->begin)
                f->begin = r;
        if (r->event == ev->fault_end && f->begin && !f->end)
                f->end = r;
        f->waited |= r->event == ev->retry;
        if (!about || f->about)
                return;
        f->about = r;
        f->short_name = file_argument(in, r);
}

static int group_faults(struct export_input *in)
{
        size_t ids = 0;

        for (size_t i = 0; i < in->nr_by_fault; i++)
                ids += !i ||
                       in->record[in->by_fault[i]].fault != in->record[in->by_fault[i - 1]].fault;
        in->fault = calloc(ids + 1, sizeof(*in->fault));
        if (!in->fault)
                return -ENOMEM;
        for (size_t i = 0; i < in->nr_by_fault; i++) {
                const struct trace_record *r = &in->record[in->by_fault[i]];

                if (!in->nr_faults || in->fault[in->nr_faults - 1].id != r->fault)
                        in->fault[in->nr_faults++] =
                                (struct export_fault){ .id = r->fault, .first = i };
                add_event(in, &in->fault[in->nr_faults - 1], r);
        }
        return 0;
}

static int by_thread(const void *a, const void *b)
{
        const struct export_fault *x = *(struct export_fault *const *)a;
        const struct export_fault *y = *(struct export_fault *const *)b;

        if (x->begin->arg[FAULT_THREAD] != y->begin->arg[FAULT_THREAD])
                return x->begin->arg[FAULT_THREAD] < y->begin->arg[FAULT_THREAD] ? -1 : 1;
        return x->begin->time < y->begin->time ? -1 : x->begin->time > y->begin->time;
}

/* A thread goes on when it is woken, and may fault again before its pager has told that the fault is over,
 * if another pager serves the next. */
static int find_next(struct export_input *in)
{
        struct export_fault **at = calloc(in->nr_faults + 1, sizeof(*at));
        size_t nr = 0;

        if (!at)
                return -ENOMEM;
        for (size_t i = 0; i < in->nr_faults; i++) {
                in->fault[i].next = UINT64_MAX;
                if (in->fault[i].begin)
                        at[nr++] = &in->fault[i];
        }
        qsort(at, nr, sizeof(*at), by_thread);
        for (size_t i = 1; i < nr; i++)
                if (at[i]->begin->arg[FAULT_THREAD] == at[i - 1]->begin->arg[FAULT_THREAD])
                        at[i - 1]->next = at[i]->begin->time;
        free(at);
        return 0;
}

static int by_id(const void *key, const void *fault)
{
        uint64_t x = *(const uint64_t *)key, y = ((const struct export_fault *)fault)->id;

        return x < y ? -1 : x > y;
}

const struct export_fault *export_fault_of(const struct export_input *in, uint64_t id)
{
        return bsearch(&id, in->fault, in->nr_faults, sizeof(*in->fault), by_id);
}

/* The requests under way, by lane. */
struct open_ios {
        size_t io[MOST_OPEN]; /* its number + 1; 0: the lane is free */
        unsigned lanes;
};

static void io_started(struct export_input *in, struct open_ios *open, size_t io)
{
        unsigned lane = 0;

        while (lane < open->lanes && open->io[lane])
                lane++;
        if (lane == MOST_OPEN)
                lane = MOST_OPEN - 1;
        if (lane == open->lanes)
                open->lanes++;
        open->io[lane] = io + 1;
        in->io[io].lane = lane;
}

static bool is_flush(const struct trace_record *start)
{
        return (start->arg[2] & 0xff) == EXPORT_FLUSH;
}

/* Is that the end of what began so? */
static bool ends(const struct export_input *in, const struct trace_record *start,
                 const struct trace_record *end)
{
        if (start->object != end->object || is_flush(start) != (end->event == in->ev.flush))
                return false;
        return is_flush(start) || (start->arg[0] == end->arg[0] && start->arg[1] == end->arg[1]);
}

/* The oldest of that device that began at that sector and is as long. */
static void io_ended(struct export_input *in, struct open_ios *open, const struct trace_record *end)
{
        unsigned found = open->lanes;

        for (unsigned lane = 0; lane < open->lanes; lane++) {
                const struct trace_record *start;

                if (!open->io[lane])
                        continue;
                start = in->io[open->io[lane] - 1].start;
                if (ends(in, start, end) &&
                    (found == open->lanes || open->io[lane] < open->io[found]))
                        found = lane;
        }
        if (found == open->lanes) /* it was dispatched before the trace began */
                return;
        in->io[open->io[found] - 1].end = end;
        in->ended[end - in->record] = open->io[found];
        open->io[found] = 0;
}

static int pair_requests(struct export_input *in)
{
        struct open_ios *open = calloc(1, sizeof(*open));
        size_t requests = 0;

        for (size_t i = 0; i < in->nr; i++)
                requests += in->record[i].event == in->ev.request;
        in->io = calloc(requests + 1, sizeof(*in->io));
        in->ended = calloc(in->nr + 1, sizeof(*in->ended));
        if (!open || !in->io || !in->ended) {
                free(open);
                return -ENOMEM;
        }
        for (size_t i = 0; i < in->nr; i++) {
                const struct trace_record *r = &in->record[i];

                if (r->event == in->ev.request) {
                        in->io[in->nr_io].start = r;
                        io_started(in, open, in->nr_io++);
                } else if (r->event == in->ev.complete || r->event == in->ev.flush) {
                        io_ended(in, open, r);
                }
        }
        in->lanes = open->lanes;
        free(open);
        return 0;
}

int export_model_build(struct export_input *in)
{
        int error;

        in->ev = find_events(in->reader);
        error = sort_by_fault(in);
        if (!error)
                error = group_faults(in);
        if (!error)
                error = find_next(in);
        if (!error)
                error = export_place_all(in);
        if (!error)
                error = pair_requests(in);
        return error;
}

void export_model_free(struct export_input *in)
{
        free(in->by_fault);
        free(in->fault);
        free(in->place);
        free(in->io);
        free(in->ended);
}

int export_load(struct export_input *in, const char *path)
{
        const char *why = NULL;
        int error = trace_reader_open(&in->reader, path, &why);

        if (error)
                return fail(path, "open", "%s", why ? why : strerror(-error));
        error = trace_reader_load(in->reader, &in->record, &in->nr);
        if (!error)
                error = export_model_build(in);
        if (error)
                return fail(path, "read", "%s", strerror(-error));
        return EXIT_DONE;
}
