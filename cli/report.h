/* SPDX-License-Identifier: Apache-2.0
 *
 * report.h - a trace as a page to look at.
 *
 * Interface:
 *   - report.c is the command: it loads the trace, has the document made, and puts it into the page;
 *   - report_model.c measures each fault: its kind, its time, its place in which file;
 *   - each part of the page has a function that makes its part of the document, in JSON: report_dots.c
 *     (faults, and the path of each), report_latency.c (histogram, tables), report_windows.c
 *     (read-ahead), report_series.c (what is counted over time, the heat map);
 *   - report_page.h is the page itself, bundled from report/ when the command was built.
 * Whatever the size of the trace, the document has a few MB: what is too much to be shown one by one is
 * put together here. A trace is untrusted: its reader has checked its lengths, the numbers in it may be
 * anything, and so may the names.
 */
#ifndef FAULTLINE_CLI_REPORT_H
#define FAULTLINE_CLI_REPORT_H

#include <jansson.h>

#include "export.h"

#define REPORT_NO_PAGE UINT64_MAX
#define REPORT_MOST (UINT64_C(1) << 53) /* of a number in JSON that a browser takes as it is */

/* How a fault ended; the names are in report_kinds[]. */
enum report_kind {
        REPORT_MAJOR, /* I/O was waited for */
        REPORT_MINOR,
        REPORT_STORE,  /* a store to a page that was mapped read-only, or that was not major */
        REPORT_CALL,   /* fl_pread, fl_pwrite */
        REPORT_FAILED, /* a signal */
        REPORT_UNFINISHED,
        REPORT_KINDS
};
extern const char *const report_kinds[REPORT_KINDS];

struct report_fault {
        const struct export_fault *f;
        uint64_t begin, ns; /* begin: since the trace began */
        uint64_t page;      /* of its file; REPORT_NO_PAGE: none is named */
        unsigned file, thread;
        enum report_kind kind;
};

struct report_file {
        uint64_t key;   /* its number in the trace, or what stands for one */
        char *name;     /* owned; UTF-8 or not */
        uint64_t pages; /* at least so many has it */
        uint64_t windows, read, used, late;
};

/* More events by their numbers in this trace; -1: not in it. */
struct report_events {
        int do_fault, page_cache_ra, kluster, getpage_ra, read_pages, uptodate, set_pte;
        int find_get_page, reclaim, evict, budget_wait, writeback, fsync, error;
};

struct report {
        const struct export_input *in;
        const char *trace;          /* its name */
        uint64_t zero, span;        /* ns: when it began, how long it lasts; span 1 at least */
        struct report_fault *fault; /* in order of ids */
        size_t nr_faults;
        struct report_file *file;
        unsigned nr_files;
        uint32_t *thread; /* the kernel's ids */
        unsigned nr_threads;
        struct report_events ev;
};

/* 0 or -errno. What it has allocated is freed by report_model_free() in either case. */
int report_model_build(struct report *r);
void report_model_free(struct report *r);
/* The file that an event of the trace is about; nr_files: none, or one without faults. */
unsigned report_file_of(const struct report *r, const struct trace_record *e);
/* Argument `name` ("index") of an event, by its name in the trace. False: it has none. */
bool report_argument(const struct report *r, const struct trace_record *e, const char *name,
                     uint64_t *value);
static inline uint64_t report_time(const struct report *r, uint64_t time)
{
        uint64_t since = time > r->zero ? time - r->zero : 0;

        return since < REPORT_MOST ? since : REPORT_MOST;
}
/* Text of a trace or a name of a file as JSON, whatever bytes it has. */
json_t *report_text(const char *text);
json_t *report_number(uint64_t value);

/* The parts. NULL: no memory. */
json_t *report_dots(const struct report *r);
json_t *report_slowest(const struct report *r);
json_t *report_events(const struct report *r);
json_t *report_latency(const struct report *r);
json_t *report_files(const struct report *r);
json_t *report_threads(const struct report *r);
json_t *report_windows(struct report *r); /* counts in the files, too */
json_t *report_series(const struct report *r);
json_t *report_heat(const struct report *r);

#endif
