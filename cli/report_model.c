/* SPDX-License-Identifier: Apache-2.0
 *
 * report_model.c - each fault measured: its kind, its time, its place in which file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "live.h"
#include "report.h"
#include "util/base.h"

#define MOST_FILES 512 /* what comes on top goes under one name */
#define MOST_THREADS 1024
/* Keys of what has no number in the trace, nor letters of a name. */
#define NO_FILE UINT64_MAX
#define ANONYMOUS (UINT64_MAX - 1)
#define OTHERS (UINT64_MAX - 2)

#define DO_FAULT_ANONYMOUS 3 /* DO_FAULT's kinds, as event_text.c has their names */
#define DO_FAULT_SWAP 4

const char *const report_kinds[REPORT_KINDS] = { "major", "minor",  "store",
                                                 "call",  "failed", "unfinished" };

json_t *report_text(const char *text)
{
        return live_json(text);
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

static char *file_name(const struct report *r, uint64_t key)
{
        const char *name = trace_reader_object(r->in->reader, key, NULL);
        char letters[9];

        if (key == NO_FILE)
                return strdup("(no file named)");
        if (key == ANONYMOUS)
                return strdup("(anonymous memory)");
        if (key == OTHERS)
                return strdup("(other files)");
        if (name)
                return strdup(name);
        trace_name_of(key, letters);
        return strdup(letters);
}

/* Its number; nr_files: there is none of that key. */
static unsigned find_file(const struct report *r, uint64_t key)
{
        unsigned i = 0;

        while (i < r->nr_files && r->file[i].key != key)
                i++;
        return i;
}

/* A new one if there is room. */
static unsigned file_number(struct report *r, uint64_t key)
{
        unsigned i = find_file(r, key);

        if (i < r->nr_files)
                return i;
        if (r->nr_files == MOST_FILES)
                key = OTHERS;
        if (r->nr_files == MOST_FILES + 1)
                return MOST_FILES;
        r->file[r->nr_files] = (struct report_file){ .key = key, .name = file_name(r, key) };
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

/* Memory without a file: its pages are counted in their mapping. */
static bool is_anonymous(const struct report *r, const struct export_fault *f, uint64_t *page)
{
        for (size_t i = 0; i < f->nr; i++) {
                const struct trace_record *e = export_record(r->in, f, i);

                if (e->event != r->ev.do_fault)
                        continue;
                *page = e->arg[1];
                return e->arg[0] == DO_FAULT_ANONYMOUS || e->arg[0] == DO_FAULT_SWAP;
        }
        return false;
}

static void place(struct report *r, struct report_fault *fault)
{
        const struct export_fault *f = fault->f;
        uint64_t key = f->object ? f->object : f->short_name;
        struct report_file *file;

        fault->page = f->placed ? f->offset >> PAGE_SHIFT : REPORT_NO_PAGE;
        if (!key)
                key = is_anonymous(r, f, &fault->page) ? ANONYMOUS : NO_FILE;
        if (fault->page >= REPORT_MOST >> PAGE_SHIFT)
                fault->page = REPORT_NO_PAGE;
        fault->file = file_number(r, key);
        file = &r->file[fault->file];
        if (fault->page != REPORT_NO_PAGE && fault->page >= file->pages)
                file->pages = fault->page + 1;
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

static void measure(struct report *r, const struct export_fault *f)
{
        const struct trace_record *first = f->begin ? f->begin : export_record(r->in, f, 0);
        const struct trace_record *last = f->end ? f->end : export_record(r->in, f, f->nr - 1);
        struct report_fault *fault = &r->fault[r->nr_faults++];

        *fault = (struct report_fault){
                .f = f,
                .begin = report_time(r, first->time),
                .ns = last->time > first->time ? last->time - first->time : 0,
                .thread = thread_number(r, f->begin ? (uint32_t)f->begin->arg[2] : first->tid),
                .kind = kind_of(f),
        };
        place(r, fault);
}

unsigned report_file_of(const struct report *r, const struct trace_record *e)
{
        const struct export_fault *f = e->fault ? export_fault_of(r->in, e->fault) : NULL;
        uint64_t object = r->in->place[e - r->in->record].object;

        if (object)
                return find_file(r, object);
        return f && f->short_name ? find_file(r, f->short_name) : r->nr_files;
}

static struct report_events find_events(const struct trace_reader *reader)
{
        return (struct report_events){
                .do_fault = trace_reader_find(reader, "DO_FAULT"),
                .page_cache_ra = trace_reader_find(reader, "PAGE_CACHE_RA"),
                .kluster = trace_reader_find(reader, "PVN_READ_KLUSTER"),
                .getpage_ra = trace_reader_find(reader, "GETPAGE_RA"),
                .read_pages = trace_reader_find(reader, "READ_PAGES"),
                .uptodate = trace_reader_find(reader, "PAGE_UPTODATE"),
                .evict = trace_reader_find(reader, "EVICT"),
                .find_get_page = trace_reader_find(reader, "FIND_GET_PAGE"),
                .set_pte = trace_reader_find(reader, "SET_PTE"),
                .reclaim = trace_reader_find(reader, "RECLAIM"),
                .budget_wait = trace_reader_find(reader, "BUDGET_WAIT"),
                .writeback = trace_reader_find(reader, "WRITEBACK"),
                .fsync = trace_reader_find(reader, "FS_FSYNC"),
                .error = trace_reader_find(reader, "ERROR"),
        };
}

int report_model_build(struct report *r)
{
        const struct export_input *in = r->in;

        r->ev = find_events(in->reader);
        r->zero = trace_reader_monotonic(in->reader);
        r->span = in->nr ? report_time(r, in->record[in->nr - 1].time) : 0;
        r->span += !r->span;
        r->fault = calloc(in->nr_faults + 1, sizeof(*r->fault));
        r->file = calloc(MOST_FILES + 1, sizeof(*r->file));
        r->thread = calloc(MOST_THREADS, sizeof(*r->thread));
        if (!r->fault || !r->file || !r->thread)
                return -ENOMEM;
        for (size_t i = 0; i < in->nr_faults; i++)
                if (in->fault[i].begin || in->fault[i].about)
                        measure(r, &in->fault[i]);
        for (unsigned i = 0; i < r->nr_files; i++)
                if (!r->file[i].name)
                        return -ENOMEM;
        return 0;
}

void report_model_free(struct report *r)
{
        for (unsigned i = 0; r->file && i < r->nr_files; i++)
                free(r->file[i].name);
        free(r->file);
        free(r->fault);
        free(r->thread);
}
