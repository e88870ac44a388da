/* SPDX-License-Identifier: Apache-2.0
 *
 * report_dots.c - faults as dots over time and offset, and the path of each through the layers.
 *
 * Up to MOST_DOTS faults have a dot each. Where there are more, a grid is laid over time and offset, so
 * coarse that no more cells than that are taken; the faults of one kind in one cell are one dot, which
 * tells how many they are and has the path of the slowest.
 *
 * A path is a flat array of numbers, three an event: ns since the fault began, the event's number, and
 * the number of its arguments' text in `words`.
 */
#include <stdlib.h>
#include <string.h>

#include "event_text.h"
#include "fault_time.h"
#include "report.h"
#include "util/base.h"

#define MOST_DOTS 3000
#define MOST_EVENTS 80000 /* of all dots' paths */
#define PATH_OF_DOT 64
#define PATH_OF_SLOWEST 400
#define SLOWEST 10
#define FINEST 1024u /* cells of the grid, either way */

/* The layers of event_depth(), and waiting for somebody else. */
static const char *const layer_names[FAULT_PARTS] = { "mmu",   "vm",     "cache", "fs",
                                                      "block", "device", "wait" };

/* Texts, each once. */
struct words {
        json_t *list, *number;
};

static size_t word(struct words *w, const char *text)
{
        json_t *found = json_object_get(w->number, text);
        size_t number = json_array_size(w->list);

        if (found)
                return (size_t)json_integer_value(found);
        json_array_append_new(w->list, report_text(text));
        json_object_set_new_nocheck(w->number, text, json_integer((json_int_t)number));
        return number;
}

/* ---- one path ---- */

static const char *arguments(const struct report *r, const struct trace_record *e, char *buf,
                             size_t size)
{
        const struct trace_reader *reader = r->in->reader;
        const char *name = trace_reader_name(reader, e->event);
        size_t n = 0;

        *buf = 0;
        for (unsigned i = 0; i < 4 && n < size; i++) {
                const char *argument = trace_reader_arg(reader, e->event, i);
                char text[EVENT_TEXT_MAX];

                if (*argument)
                        n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "",
                                              event_argument(text, name, argument, e->arg[i]));
        }
        return buf;
}

static void put_event(const struct report *r, const struct report_fault *fault,
                      const struct trace_record *e, struct words *words, json_t *path)
{
        uint64_t since = report_time(r, e->time);
        char text[4 * EVENT_TEXT_MAX + 8];

        json_array_append_new(path, report_number(since > fault->begin ? since - fault->begin : 0));
        json_array_append_new(path, json_integer(e->event));
        json_array_append_new(
                path, json_integer((json_int_t)word(words, arguments(r, e, text, sizeof(text)))));
}

/* Of a long path the beginning and the end; -1 stands for what lies between. */
static json_t *path_of(const struct report *r, const struct report_fault *fault,
                       struct words *words, size_t most)
{
        const struct export_fault *f = fault->f;
        size_t head = f->nr > most ? most * 2 / 3 : f->nr;
        json_t *path = json_array();

        for (size_t i = 0; i < f->nr; i++) {
                if (i == head) {
                        size_t left_out = f->nr - most;

                        json_array_append_new(path, json_integer(-1));
                        json_array_append_new(path, json_integer((json_int_t)left_out));
                        json_array_append_new(path, json_integer(0));
                        i += left_out;
                }
                put_event(r, fault, export_record(r->in, f, i), words, path);
        }
        return path;
}

/* ns by layer; their sum is the time of the fault. What comes before its beginning is not its time. */
static json_t *layers_of(const struct report *r, const struct report_fault *fault)
{
        const struct export_fault *f = fault->f;
        struct fault_time time = { .any = false };
        json_t *layers = json_array();

        for (size_t i = 0; i < f->nr; i++) {
                const struct trace_record *e = export_record(r->in, f, i);

                if (!f->begin || e >= f->begin)
                        fault_time_add(&time, r->in->reader, e);
        }
        for (unsigned i = 0; i < FAULT_PARTS; i++)
                json_array_append_new(layers, report_number(time.ns[i]));
        return layers;
}

/* ---- which faults have a dot ---- */

struct cell {
        uint64_t key;
        size_t fault;
        uint64_t ns;
};

struct grid {
        unsigned times, offsets;
};

static uint64_t cell_of(const struct report *r, struct grid grid, const struct report_fault *fault)
{
        const struct report_file *file = &r->file[fault->file];
        uint64_t time = (uint64_t)((double)fault->begin / (double)r->span * (grid.times - 1));
        uint64_t offset = (uint64_t)((double)fault->page / (double)(file->pages + !file->pages) *
                                     grid.offsets);

        return ((fault->file * (uint64_t)REPORT_KINDS + fault->kind) * FINEST + time) *
                       (FINEST + 1) +
               offset;
}

/* How many cells are taken, nearly: one bit for many is one too few at times. */
static size_t cells_taken(const struct report *r, struct grid grid)
{
        const size_t bits = (size_t)1 << 22;
        unsigned char *seen = calloc(bits / 8, 1);
        size_t taken = 0;

        for (size_t i = 0; seen && i < r->nr_faults; i++) {
                size_t at = cell_of(r, grid, &r->fault[i]) * 0x9e3779b97f4a7c15u >> 42;

                if (r->fault[i].page == REPORT_NO_PAGE)
                        continue;
                taken += !(seen[at / 8] & 1u << at % 8);
                seen[at / 8] |= (unsigned char)(1u << at % 8);
        }
        free(seen);
        return taken;
}

static int by_cell(const void *a, const void *b)
{
        const struct cell *x = a, *y = b;

        if (x->key != y->key)
                return x->key < y->key ? -1 : 1;
        if (x->ns != y->ns)
                return x->ns > y->ns ? -1 : 1;
        return x->fault < y->fault ? -1 : x->fault > y->fault;
}

/* In order of cells, the slowest of each first. NULL: no memory. */
static struct cell *lay_out(const struct report *r, size_t *nr, bool *alone)
{
        struct grid grid = { FINEST, FINEST };
        struct cell *cell = calloc(r->nr_faults + 1, sizeof(*cell));

        *nr = 0;
        for (size_t i = 0; cell && i < r->nr_faults; i++)
                if (r->fault[i].page != REPORT_NO_PAGE)
                        cell[(*nr)++] = (struct cell){ .fault = i, .ns = r->fault[i].ns };
        *alone = *nr <= MOST_DOTS;
        while (!*alone && grid.offsets > 2 && cells_taken(r, grid) > MOST_DOTS) {
                if (grid.times > grid.offsets)
                        grid.times /= 2;
                else
                        grid.offsets /= 2;
        }
        for (size_t i = 0; i < *nr; i++)
                cell[i].key = *alone ? i : cell_of(r, grid, &r->fault[cell[i].fault]);
        if (cell)
                qsort(cell, *nr, sizeof(*cell), by_cell);
        return cell;
}

static json_t *new_dot(const struct report *r, const struct report_fault *fault, size_t faults,
                       struct words *words, size_t most)
{
        return json_pack("{so, so, so, so, si, si, si, so, so, so}", "id",
                         report_number(fault->f->id), "t", report_number(fault->begin), "ns",
                         report_number(fault->ns), "page", report_number(fault->page), "file",
                         (int)fault->file, "thread", (int)r->thread[fault->thread], "kind",
                         (int)fault->kind, "n", report_number(faults), "layers",
                         layers_of(r, fault), "path", path_of(r, fault, words, most));
}

static size_t length_of_paths(const struct report *r, const struct cell *cell, size_t nr,
                              size_t *dots)
{
        size_t events = 0;

        *dots = 0;
        for (size_t i = 0; i < nr; i++) {
                size_t length = r->fault[cell[i].fault].f->nr;

                if (i && cell[i].key == cell[i - 1].key)
                        continue;
                (*dots)++;
                events += length < PATH_OF_DOT ? length : PATH_OF_DOT;
        }
        return events;
}

static struct words new_words(void)
{
        struct words words = { .list = json_array(), .number = json_object() };

        word(&words, "");
        return words;
}

static json_t *with_words(const char *name, json_t *list, struct words words)
{
        json_decref(words.number);
        return json_pack("{so, so}", name, list, "words", words.list);
}

json_t *report_dots(const struct report *r)
{
        struct words words = new_words();
        json_t *list = json_array(), *all;
        size_t nr, dots, most = PATH_OF_DOT;
        bool alone;
        struct cell *cell = lay_out(r, &nr, &alone);

        if (cell && length_of_paths(r, cell, nr, &dots) > MOST_EVENTS)
                most = MOST_EVENTS / dots > 12 ? MOST_EVENTS / dots : 12;
        for (size_t i = 0, next; cell && i < nr; i = next) {
                for (next = i + 1; next < nr && cell[next].key == cell[i].key; next++)
                        ;
                json_array_append_new(list,
                                      new_dot(r, &r->fault[cell[i].fault], next - i, &words, most));
        }
        free(cell);
        all = with_words("list", list, words);
        json_object_set_new(all, "together", json_boolean(!alone));
        json_object_set_new(all, "placed", report_number(nr));
        return cell ? all : NULL;
}

/* ---- the slowest ---- */

/* Those of the kind, or what there is of all that have ended. */
json_t *report_slowest(const struct report *r)
{
        const struct report_fault *slowest[SLOWEST];
        struct words words = new_words();
        json_t *list = json_array();
        unsigned nr = 0;

        for (size_t i = 0; i < r->nr_faults; i++) {
                const struct report_fault *fault = &r->fault[i];
                unsigned at = nr;

                if (fault->kind == REPORT_CALL)
                        continue;
                while (at && slowest[at - 1]->ns < fault->ns)
                        at--;
                if (at == SLOWEST)
                        continue;
                nr += nr < SLOWEST;
                memmove(&slowest[at + 1], &slowest[at], (nr - 1 - at) * sizeof(*slowest));
                slowest[at] = fault;
        }
        for (unsigned i = 0; i < nr; i++)
                json_array_append_new(list, new_dot(r, slowest[i], 1, &words, PATH_OF_SLOWEST));
        return with_words("list", list, words);
}

/* What the numbers in the paths stand for. */
json_t *report_events(const struct report *r)
{
        json_t *events = json_object(), *layers = json_array();
        bool seen[UINT16_MAX + 1] = { false };
        char number[8];

        for (size_t i = 0; i < r->in->nr; i++)
                seen[r->in->record[i].event] = true;
        for (unsigned e = 0; e < ARRAY_SIZE(seen); e++) {
                const char *layer = trace_reader_layer(r->in->reader, e);

                if (!seen[e])
                        continue;
                snprintf(number, sizeof(number), "%u", e);
                json_object_set_new(events, number,
                                    json_pack("{so, so, si}", "text",
                                              report_text(trace_reader_text(r->in->reader, e)),
                                              "layer", report_text(layer), "depth",
                                              (int)event_depth(layer)));
        }
        for (unsigned i = 0; i < FAULT_PARTS; i++)
                json_array_append_new(layers, json_string(layer_names[i]));
        return json_pack("{so, so}", "of", events, "layers", layers);
}
