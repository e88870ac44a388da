/* SPDX-License-Identifier: Apache-2.0
 *
 * report_model.c - each fault measured: its kind, its time, its place in which file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "util/base.h"

#define MOST_FILES 512 /* what comes on top goes under one name */
#define MOST_THREADS 1024
#define AREAS 4096 /* remembered by their first address */
#define NO_FILE 0  /* keys: a name as an argument is never one of these */
#define ANONYMOUS 1
#define OTHERS 2

#define DO_FAULT_ANONYMOUS 3 /* DO_FAULT's kinds, as event_text.c has their names */
#define DO_FAULT_SWAP 4

const char *const report_kinds[REPORT_KINDS] = { "major", "minor",  "store",
                                                 "call",  "failed", "unfinished" };

json_t *report_text(const char *text)
{
        json_t *string = json_string(text);
        char buf[256];
        size_t n = 0;

        if (string)
                return string;
        for (; *text && n < sizeof(buf) - 1; text++) /* not UTF-8 */
                buf[n++] = *text < ' ' || *text > '~' ? '?' : *text;
        buf[n] = 0;
        return json_string(buf);
}

json_t *report_number(uint64_t value)
{
        return json_integer((json_int_t)(value < REPORT_MOST ? value : REPORT_MOST));
}

bool report_argument(const struct report *r, const struct trace_record *e, const char *name,
                     uint64_t *value)
{
        for (unsigned i = 0; i < 4; i++) {
                if (strcmp(trace_reader_arg(r->in->reader, e->event, i), name))
                        continue;
                *value = e->arg[i];
                return true;
        }
        return false;
}

/* ---- files and threads ---- */

static const char *file_name(uint64_t key)
{
        char name[9];

        if (key == NO_FILE)
                return strdup("(no file named)");
        if (key == ANONYMOUS)
                return strdup("(anonymous memory)");
        if (key == OTHERS)
                return strdup("(other files)");
        trace_name_of(key, name);
        return strdup(name);
}

/* Its number; a new one if there is room. */
static unsigned file_number(struct report *r, uint64_t key)
{
        for (unsigned i = 0; i < r->nr_files; i++)
                if (r->file[i].key == key)
                        return i;
        if (r->nr_files == MOST_FILES)
                key = OTHERS;
        if (r->nr_files == MOST_FILES + 1)
                return MOST_FILES;
        r->file[r->nr_files] = (struct report_file){ .key = key, .name = file_name(key) };
        return r->nr_files++;
}

static unsigned thread_number(struct report *r, uint32_t tid)
{
        for (unsigned i = 0; i < r->nr_threads; i++)
                if (r->thread[i] == tid)
                        return i;
        if (r->nr_threads == MOST_THREADS)
                return MOST_THREADS - 1;
        r->thread[r->nr_threads] = tid;
        return r->nr_threads++;
}

/* ---- where a fault is ---- */

/* Which file was seen in an area. A minor fault may name none, but it names the area. */
struct areas {
        uint64_t start[AREAS];
        unsigned file[AREAS]; /* 1 + its number */
};

static unsigned *area_of(struct areas *areas, uint64_t start)
{
        uint64_t at = (start * 0x9e3779b97f4a7c15u >> 48) % AREAS;

        if (areas->start[at] != start) { /* another's: the later one stays */
                areas->start[at] = start;
                areas->file[at] = 0;
        }
        return &areas->file[at];
}

struct place {
        bool anonymous, has_area;
        uint64_t area, page;
};

static void look_at(const struct report *r, const struct trace_record *e, struct place *place)
{
        uint64_t value;

        if (e->event == r->ev.find_vma && !place->has_area) {
                place->has_area = true;
                place->area = e->arg[0];
        }
        if (e->event == r->ev.do_fault &&
            (e->arg[0] == DO_FAULT_ANONYMOUS || e->arg[0] == DO_FAULT_SWAP))
                place->anonymous = true;
        if (place->page != REPORT_NO_PAGE)
                return;
        if (report_argument(r, e, "index", &value))
                place->page = value;
        else if (report_argument(r, e, "off", &value))
                place->page = value >> PAGE_SHIFT;
}

static struct place place_of(const struct report *r, const struct export_fault *f)
{
        struct place place = { .page = f->about ? f->index : REPORT_NO_PAGE };

        for (size_t i = 0; i < f->nr && i < 64; i++)
                look_at(r, export_record(r->in, f, i), &place);
        if (place.page >= REPORT_MOST >> PAGE_SHIFT)
                place.page = REPORT_NO_PAGE;
        return place;
}

static enum report_kind kind_of(const struct export_fault *f)
{
        if (!f->begin)
                return REPORT_CALL;
        if (!f->end)
                return REPORT_UNFINISHED;
        if (f->end->arg[0] >= 2)
                return REPORT_FAILED;
        if (f->end->arg[1])
                return REPORT_MAJOR;
        return f->begin->arg[1] ? REPORT_STORE : REPORT_MINOR;
}

static void measure(struct report *r, const struct export_fault *f, struct areas *areas)
{
        const struct trace_record *first = f->begin ? f->begin : export_record(r->in, f, 0);
        const struct trace_record *last = f->end ? f->end : export_record(r->in, f, f->nr - 1);
        struct place place = place_of(r, f);
        unsigned *seen = place.has_area ? area_of(areas, place.area) : NULL;
        struct report_fault *fault = &r->fault[r->nr_faults++];

        *fault = (struct report_fault){
                .f = f,
                .begin = report_time(r, first->time),
                .ns = last->time > first->time ? last->time - first->time : 0,
                .page = place.page,
                .thread = thread_number(r, f->begin ? (uint32_t)f->begin->arg[2] : first->tid),
                .kind = kind_of(f),
        };
        if (f->about && f->file)
                fault->file = file_number(r, f->file);
        else if (place.anonymous)
                fault->file = file_number(r, ANONYMOUS);
        else
                fault->file = seen && *seen ? *seen - 1 : UINT32_MAX;
        if (seen && fault->file != UINT32_MAX)
                *seen = fault->file + 1;
}

/* Those that named no file: their area may have been seen with one later. */
static void place_the_rest(struct report *r, struct areas *areas)
{
        for (size_t i = 0; i < r->nr_faults; i++) {
                struct report_fault *fault = &r->fault[i];
                struct place place;
                unsigned seen;

                if (fault->file == UINT32_MAX) {
                        place = place_of(r, fault->f);
                        seen = place.has_area ? *area_of(areas, place.area) : 0;
                        fault->file = seen ? seen - 1 : file_number(r, NO_FILE);
                }
                if (fault->page != REPORT_NO_PAGE && fault->page >= r->file[fault->file].pages)
                        r->file[fault->file].pages = fault->page + 1;
        }
}

static int by_id(const void *key, const void *fault)
{
        uint64_t x = *(const uint64_t *)key, y = ((const struct report_fault *)fault)->f->id;

        return x < y ? -1 : x > y;
}

unsigned report_file_of(const struct report *r, const struct trace_record *e)
{
        const struct report_fault *fault =
                e->fault ? bsearch(&e->fault, r->fault, r->nr_faults, sizeof(*r->fault), by_id)
                         : NULL;

        return fault ? fault->file : r->nr_files;
}

static struct report_events find_events(const struct trace_reader *reader)
{
        return (struct report_events){
                .find_vma = trace_reader_find(reader, "FIND_VMA"),
                .do_fault = trace_reader_find(reader, "DO_FAULT"),
                .retry = trace_reader_find(reader, "RETRY"),
                .page_cache_ra = trace_reader_find(reader, "PAGE_CACHE_RA"),
                .kluster = trace_reader_find(reader, "PVN_READ_KLUSTER"),
                .getpage_ra = trace_reader_find(reader, "GETPAGE_RA"),
                .read_pages = trace_reader_find(reader, "READ_PAGES"),
                .uptodate = trace_reader_find(reader, "PAGE_UPTODATE"),
                .find_get_page = trace_reader_find(reader, "FIND_GET_PAGE"),
                .filemap_fault = trace_reader_find(reader, "FILEMAP_FAULT"),
                .getapage = trace_reader_find(reader, "GETAPAGE"),
                .set_pte = trace_reader_find(reader, "SET_PTE"),
                .reclaim = trace_reader_find(reader, "RECLAIM"),
                .budget_wait = trace_reader_find(reader, "BUDGET_WAIT"),
                .writeback = trace_reader_find(reader, "WRITEBACK"),
                .fsync = trace_reader_find(reader, "FS_FSYNC"),
                .throttle = trace_reader_find(reader, "DIRTY_THROTTLE"),
                .error = trace_reader_find(reader, "ERROR"),
        };
}

int report_model_build(struct report *r)
{
        const struct export_input *in = r->in;
        struct areas *areas = calloc(1, sizeof(*areas));

        r->ev = find_events(in->reader);
        r->zero = trace_reader_monotonic(in->reader);
        r->span = in->nr ? report_time(r, in->record[in->nr - 1].time) : 0;
        r->span += !r->span;
        r->fault = calloc(in->nr_faults + 1, sizeof(*r->fault));
        r->file = calloc(MOST_FILES + 1, sizeof(*r->file));
        r->thread = calloc(MOST_THREADS, sizeof(*r->thread));
        if (!areas || !r->fault || !r->file || !r->thread) {
                free(areas);
                return -ENOMEM;
        }
        for (size_t i = 0; i < in->nr_faults; i++)
                if (in->fault[i].begin || in->fault[i].about)
                        measure(r, &in->fault[i], areas);
        place_the_rest(r, areas);
        free(areas);
        for (unsigned i = 0; i < r->nr_files; i++)
                if (!r->file[i].name)
                        return -ENOMEM;
        return 0;
}

void report_model_free(struct report *r)
{
        for (unsigned i = 0; r->file && i < r->nr_files; i++)
                free((void *)r->file[i].name);
        free(r->file);
        free(r->fault);
        free(r->thread);
}
