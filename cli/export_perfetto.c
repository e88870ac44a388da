/* SPDX-License-Identifier: Apache-2.0
 *
 * export_perfetto.c - JSON in Chrome's trace event format, which ui.perfetto.dev, chrome://tracing and
 * speedscope read. Times are microseconds since the trace began.
 *
 *   - a page fault is an asynchronous slice (b, e), and on the track of its thread a slice (X) a layer,
 *     each inside the one above it: a layer lasts until an event of one above it comes;
 *   - fl_pread and fl_pwrite are asynchronous slices from their first event to their last;
 *   - requests are slices on tracks of their own, as many as were under way at once;
 *   - arrows (s, f) lead from a fault to the requests that served it: those dispatched for it, and
 *     those of others, such as read-ahead, that were reading its page while it waited;
 *   - bytes in the cache, dirty bytes and the depth of the queue are counters (C);
 *   - what belongs to no fault is an instant (i).
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "event_text.h"
#include "export.h"
#include "util/base.h"

#define LANE_TID (1u << 30) /* beyond any thread's */
#define MOST_SLICES 512     /* of one fault */

struct writer {
        const struct export_input *in;
        FILE *out;
        uint64_t last;          /* the time of the last event: what has no end ends there */
        json_int_t pid, arrows; /* arrows: so far */
        bool first, ok;
};

static void put(struct writer *w, json_t *event)
{
        if (!event)
                errno = ENOMEM;
        w->ok = w->ok && event && fputs(w->first ? "\n" : ",\n", w->out) >= 0 &&
                !json_dumpf(event, w->out, JSON_COMPACT | JSON_REAL_PRECISION(15));
        w->first = false;
        json_decref(event);
}

static double microseconds(const struct writer *w, uint64_t time)
{
        uint64_t began = trace_reader_monotonic(w->in->reader);

        return time > began ? (double)(time - began) / 1e3 : 0.0;
}

/* Names come from the trace; JSON wants UTF-8, people want what can be printed. */
static json_t *printable(const char *text)
{
        char buf[EVENT_TEXT_MAX];
        size_t n = 0;

        for (; *text && n < sizeof(buf) - 1; text++)
                buf[n++] = *text < ' ' || *text > '~' ? '?' : *text;
        buf[n] = 0;
        return json_string(buf);
}

static json_t *arguments(const struct writer *w, const struct trace_record *r)
{
        const char *name = trace_reader_name(w->in->reader, r->event);
        json_t *args = json_object();
        char text[EVENT_TEXT_MAX];

        for (unsigned i = 0; i < 4; i++) {
                const char *argument = trace_reader_arg(w->in->reader, r->event, i);

                if (*argument)
                        json_object_set_new(args, argument,
                                            printable(event_text(text, name, argument, r->arg[i])));
        }
        return args;
}

/* ---- faults ---- */

struct slice {
        const struct trace_record *opened;
        uint64_t end;
        unsigned depth;
};

/* Where the fault ends, as far as its thread is concerned. */
static uint64_t fault_end(const struct writer *w, const struct export_fault *f)
{
        uint64_t end = f->end ? f->end->time : w->last;

        return end < f->next ? end : f->next;
}

/* Those below `depth` end. What ends together ends a ns apart, the innermost first: times are told in
 * floating microseconds, where begin and duration may add up to more than the end of what is around. */
static void end_slices(struct slice *slice, const unsigned *open, unsigned *nr_open, int depth,
                       uint64_t end)
{
        unsigned ending = 0;

        while (ending < *nr_open && (int)slice[open[*nr_open - 1 - ending]].depth > depth)
                ending++;
        for (; ending; ending--) {
                struct slice *s = &slice[open[--*nr_open]];

                s->end = end > s->opened->time + ending ? end - ending : s->opened->time;
        }
}

/* The layers of a fault, one inside the other; parents first. Returns how many. */
static unsigned slices_of(const struct writer *w, const struct export_fault *f, struct slice *slice)
{
        unsigned open[8], nr_open = 0, nr = 0;

        for (size_t i = 0; i < f->nr && nr < MOST_SLICES; i++) {
                const struct trace_record *r = export_record(w->in, f, i);
                const char *layer = trace_reader_layer(w->in->reader, r->event);
                unsigned depth = event_depth(layer);

                if (r == f->end || r->time >= f->next)
                        break;
                if (r->time < f->begin->time || !*layer)
                        continue;
                end_slices(slice, open, &nr_open, (int)depth, r->time);
                if (nr_open && slice[open[nr_open - 1]].depth == depth)
                        continue;
                open[nr_open++] = nr;
                slice[nr++] = (struct slice){ .opened = r, .depth = depth };
        }
        end_slices(slice, open, &nr_open, -1, fault_end(w, f));
        return nr;
}

static void put_layers(struct writer *w, const struct export_fault *f)
{
        static const char *const category[] = { "mmu", "vm", "cache", "fs", "block", "driver" };
        struct slice slice[MOST_SLICES];
        unsigned nr = slices_of(w, f, slice);

        for (unsigned i = 0; i < nr; i++) {
                const struct trace_record *r = slice[i].opened;

                put(w, json_pack("{ss, ss, so, sf, sf, sI, sI, so}", "ph", "X", "cat",
                                 category[slice[i].depth], "name",
                                 printable(trace_reader_text(w->in->reader, r->event)), "ts",
                                 microseconds(w, r->time), "dur",
                                 (double)(slice[i].end - r->time) / 1e3, "pid", w->pid, "tid",
                                 (json_int_t)f->begin->arg[2], "args", arguments(w, r)));
        }
}

static const char *fault_name(const struct writer *w, const struct export_fault *f)
{
        if (!f->begin)
                return f->about->event == w->in->ev.write_iter ? "fl_pwrite" : "fl_pread";
        if (f->end && f->end->arg[1])
                return "major fault";
        return f->begin->arg[1] ? "store fault" : "minor fault";
}

static json_t *fault_arguments(const struct writer *w, const struct export_fault *f)
{
        json_t *args = f->begin ? arguments(w, f->begin) : json_object();
        json_t *end = f->end ? arguments(w, f->end) : NULL;
        size_t first = w->in->by_fault[f->first];
        char file[32];

        if (end)
                json_object_update(args, end);
        json_decref(end);
        if (f->begin && !f->end)
                json_object_set_new(args, "unfinished", json_true());
        json_object_set_new(args, "file", printable(export_file_of(w->in, first, file)));
        if (f->placed)
                json_object_set_new(args, "offset", json_integer((json_int_t)f->offset));
        return args;
}

static void put_fault(struct writer *w, const struct export_fault *f)
{
        const struct trace_record *first = f->begin ? f->begin : f->about;
        uint64_t end = f->begin ? fault_end(w, f) : export_record(w->in, f, f->nr - 1)->time;
        json_int_t tid = f->begin ? (json_int_t)f->begin->arg[2] : first->tid;
        const char *name = fault_name(w, f);
        char id[32];

        snprintf(id, sizeof(id), "0x%" PRIx64, f->id);
        put(w, json_pack("{ss, ss, ss, ss, sf, sI, sI, so}", "ph", "b", "cat", "fault", "name",
                         name, "id", id, "ts", microseconds(w, first->time), "pid", w->pid, "tid",
                         tid, "args", fault_arguments(w, f)));
        if (f->begin)
                put_layers(w, f);
        put(w, json_pack("{ss, ss, ss, ss, sf, sI, sI}", "ph", "e", "cat", "fault", "name", name,
                         "id", id, "ts", microseconds(w, end), "pid", w->pid, "tid", tid));
}

/* What is no part of a fault or a call: write-back, reclaim. */
static void put_instant(struct writer *w, const struct trace_record *r)
{
        const struct export_events *ev = &w->in->ev;

        if (r->event == ev->request || r->event == ev->complete || r->event == ev->counters)
                return;
        put(w, json_pack("{ss, ss, ss, so, sf, sI, sI, so}", "ph", "i", "s", "t", "cat", "event",
                         "name", printable(trace_reader_text(w->in->reader, r->event)), "ts",
                         microseconds(w, r->time), "pid", w->pid, "tid", (json_int_t)r->tid, "args",
                         arguments(w, r)));
}

static void put_faults(struct writer *w)
{
        const struct export_input *in = w->in;

        for (size_t i = 0; i < in->nr_faults && w->ok; i++) {
                const struct export_fault *f = &in->fault[i];

                if (f->begin || f->about) {
                        put_fault(w, f);
                        continue;
                }
                for (size_t j = 0; j < f->nr; j++)
                        put_instant(w, export_record(in, f, j));
        }
        for (size_t i = 0; i < in->nr && w->ok; i++)
                if (!in->record[i].fault)
                        put_instant(w, &in->record[i]);
}

/* ---- requests ---- */

/* From the fault to the request, when both are there. */
static void put_arrow(struct writer *w, const struct export_fault *f, const struct export_io *io)
{
        uint64_t time = max_u64(f->begin->time, io->start->time);
        json_int_t number = ++w->arrows;
        double at = microseconds(w, time);

        put(w,
            json_pack("{ss, ss, ss, sI, sf, sI, sI}", "ph", "s", "cat", "io", "name", "served by",
                      "id", number, "ts", at, "pid", w->pid, "tid", (json_int_t)f->begin->arg[2]));
        put(w, json_pack("{ss, ss, ss, ss, sI, sf, sI, sI}", "ph", "f", "bp", "e", "cat", "io",
                         "name", "served by", "id", number, "ts", at, "pid", w->pid, "tid",
                         (json_int_t)(LANE_TID + io->lane)));
}

static bool is_during(const struct writer *w, const struct export_fault *f,
                      const struct export_io *io)
{
        uint64_t io_end = io->end ? io->end->time : w->last;

        return f->begin && io->start->time <= fault_end(w, f) && io_end >= f->begin->time;
}

/* The faults of one file in order of place, to find who waits for a piece of it. */
static int by_place(const void *a, const void *b)
{
        const struct export_fault *x = *(const struct export_fault *const *)a;
        const struct export_fault *y = *(const struct export_fault *const *)b;

        if (x->object != y->object)
                return x->object < y->object ? -1 : 1;
        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The first of `placed` at that place or behind it. */
static size_t first_at(const struct export_fault *const *placed, size_t nr, uint64_t object,
                       uint64_t offset)
{
        const struct export_fault key = { .object = object, .offset = offset }, *at = &key;
        size_t low = 0, high = nr;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (by_place(&placed[middle], &at) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Those who waited for what the request read, whoever asked for it. */
static void put_arrows_of(struct writer *w, const struct export_io *io,
                          const struct export_fault *const *placed, size_t nr)
{
        const struct export_input *in = w->in;
        const struct trace_record *r = io->start;
        const struct export_place *place = &in->place[r - in->record];
        const struct export_fault *own = r->fault ? export_fault_of(in, r->fault) : NULL;
        uint64_t page = place->offset & PAGE_MASK;

        /* What a fault has started runs on without it: no part of it then. */
        if (own && is_during(w, own, io) && r->time >= own->begin->time)
                put_arrow(w, own, io);
        if (!place->placed || (r->arg[2] & EXPORT_OP_MASK) != EXPORT_READ)
                return;
        for (size_t i = first_at(placed, nr, place->object, page);
             i < nr && placed[i]->object == place->object &&
             placed[i]->offset < place->offset + r->arg[1];
             i++)
                if (placed[i] != own && is_during(w, placed[i], io) && placed[i]->waited)
                        put_arrow(w, placed[i], io);
}

static void put_arrows(struct writer *w)
{
        const struct export_input *in = w->in;
        const struct export_fault **placed = calloc(in->nr_faults + 1, sizeof(*placed));
        size_t nr = 0;

        if (!placed) {
                errno = ENOMEM;
                w->ok = false;
                return;
        }
        for (size_t i = 0; i < in->nr_faults; i++)
                if (in->fault[i].placed && in->fault[i].object && in->fault[i].begin)
                        placed[nr++] = &in->fault[i];
        qsort(placed, nr, sizeof(*placed), by_place);
        for (size_t i = 0; i < in->nr_io && w->ok; i++)
                put_arrows_of(w, &in->io[i], placed, nr);
        free(placed);
}

static void put_request(struct writer *w, const struct export_io *io)
{
        const struct trace_record *r = io->start;
        uint64_t end = io->end ? io->end->time : w->last;
        json_t *args = arguments(w, r), *result = io->end ? arguments(w, io->end) : NULL;
        char operation[EVENT_TEXT_MAX];

        if (result)
                json_object_update(args, result);
        else
                json_object_set_new(args, "unfinished", json_true());
        json_decref(result);
        event_text(operation, "REQUEST", "opf", r->arg[2]);
        put(w, json_pack("{ss, ss, so, sf, sf, sI, sI, so}", "ph", "X", "cat", "request", "name",
                         printable(operation), "ts", microseconds(w, r->time), "dur",
                         (double)(end - r->time) / 1e3, "pid", w->pid, "tid",
                         (json_int_t)(LANE_TID + io->lane), "args", args));
}

static void put_depth(struct writer *w)
{
        const struct export_input *in = w->in;
        json_int_t depth = 0;

        for (size_t i = 0; i < in->nr && w->ok; i++) {
                const struct trace_record *r = &in->record[i];

                if (r->event == in->ev.request)
                        depth++;
                else if (in->ended[i])
                        depth--;
                else
                        continue;
                put(w,
                    json_pack("{ss, ss, sf, sI, s{sI}}", "ph", "C", "name", "queue depth", "ts",
                              microseconds(w, r->time), "pid", w->pid, "args", "requests", depth));
        }
}

static void put_counter(struct writer *w, const char *name, uint64_t time, uint64_t bytes)
{
        put(w, json_pack("{ss, ss, sf, sI, s{sI}}", "ph", "C", "name", name, "ts",
                         microseconds(w, time), "pid", w->pid, "args", "bytes",
                         (json_int_t)min_u64(bytes, INT64_MAX)));
}

static void put_counters(struct writer *w)
{
        const struct export_input *in = w->in;

        for (size_t i = 0; i < in->nr && w->ok; i++) {
                const struct trace_record *r = &in->record[i];

                if (r->event != in->ev.counters)
                        continue;
                put_counter(w, "cache", r->time, r->arg[0]);
                put_counter(w, "dirty", r->time, r->arg[1]);
        }
}

static void put_name(struct writer *w, const char *what, json_int_t tid, const char *name)
{
        put(w, json_pack("{ss, ss, sI, sI, s{so}}", "ph", "M", "name", what, "pid", w->pid, "tid",
                         tid, "args", "name", printable(name)));
}

/* Threads that faulted, by name; the pager's slices are on their tracks. */
static void put_threads(struct writer *w)
{
        const struct export_input *in = w->in;
        uint64_t last = 0;

        for (size_t i = 0; i < in->nr_faults && w->ok; i++) {
                const struct trace_record *begin = in->fault[i].begin;
                const char *name;

                if (!begin || begin->arg[2] == last)
                        continue;
                last = begin->arg[2];
                name = trace_reader_thread(in->reader, (uint32_t)last);
                if (name)
                        put_name(w, "thread_name", (json_int_t)last, name);
        }
}

static void put_requests(struct writer *w)
{
        const struct export_input *in = w->in;

        for (unsigned lane = 0; lane < in->lanes && w->ok; lane++) {
                char name[32];

                snprintf(name, sizeof(name), "disk, request %u", lane + 1);
                put_name(w, "thread_name", LANE_TID + lane, name);
        }
        for (size_t i = 0; i < in->nr_io && w->ok; i++)
                put_request(w, &in->io[i]);
        put_arrows(w);
        put_depth(w);
        put_counters(w);
}

static bool write_perfetto(const struct export_input *in, FILE *out)
{
        struct writer w = { .in = in,
                            .out = out,
                            .last = in->nr ? in->record[in->nr - 1].time : 0,
                            .pid = trace_reader_pid(in->reader),
                            .first = true,
                            .ok = true };

        fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", out);
        put_name(&w, "process_name", 0, "faultline");
        put_threads(&w);
        put_faults(&w);
        put_requests(&w);
        fputs("\n]}\n", out);
        return w.ok && !ferror(out);
}

const struct export_format export_perfetto = { .name = "perfetto", .write = write_perfetto };
