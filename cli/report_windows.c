/* SPDX-License-Identifier: Apache-2.0
 *
 * report_windows.c - read-ahead: what each window read, and what became of its pages.
 *
 * The records are gone through in order of time. A page that is read belongs to its window until it is
 * read again. It is used when a fault asks for it or maps it, late when another fault than the window's
 * asked for it while it was still being read, and wasted when neither happened.
 */
#include <stdlib.h>
#include <string.h>

#include "event_text.h"
#include "report.h"
#include "util/base.h"

#define MOST_PAGES (1u << 22)     /* that are followed */
#define MOST_OF_WINDOW (1u << 16) /* a longer one is not followed */
#define MOST_SHOWN 1500
#define DECISIONS 1024 /* of faults under way at once; more: "?" */
#define MOST_WHYS 64

#define PAGE_STATE_READING 1 /* FIND_GET_PAGE's state, as event_text.c has its names */

enum page_fate { WASTED, USED, LATE };

struct followed {
        uint64_t key; /* file and page; 0: free */
        uint32_t window, page;
        bool arrived;
};

struct window {
        uint64_t begin, end; /* since the trace began; end 0: it never came */
        uint64_t start, fault;
        uint32_t pages, why;
        unsigned file;
        unsigned char *fate; /* page by page; NULL: not followed */
};

struct decision {
        uint64_t fault;
        const struct trace_record *e;
};

struct reading {
        struct report *r;
        struct window *window;
        size_t nr_windows;
        unsigned char *fates;
        size_t nr_pages;
        struct followed *followed; /* by a hash of the key */
        size_t slots;
        struct decision decision[DECISIONS];
        char why[MOST_WHYS][EVENT_TEXT_MAX];
        uint64_t by_why[MOST_WHYS][5]; /* windows, pages, used, late, wasted */
        unsigned nr_whys;
};

static struct followed *slot_of(struct reading *x, unsigned file, uint64_t page)
{
        uint64_t key = ((uint64_t)file + 1) << 44 | (page & ((UINT64_C(1) << 44) - 1));
        size_t at = (key * 0x9e3779b97f4a7c15u >> 20) & (x->slots - 1);

        while (x->followed[at].key && x->followed[at].key != key)
                at = (at + 1) & (x->slots - 1);
        x->followed[at].key = key;
        return &x->followed[at];
}

/* NULL: no window has read it. */
static struct followed *find_page(struct reading *x, unsigned file, uint64_t page)
{
        uint64_t key = ((uint64_t)file + 1) << 44 | (page & ((UINT64_C(1) << 44) - 1));
        size_t at = (key * 0x9e3779b97f4a7c15u >> 20) & (x->slots - 1);

        while (x->followed[at].key && x->followed[at].key != key)
                at = (at + 1) & (x->slots - 1);
        return x->followed[at].key ? &x->followed[at] : NULL;
}

/* ---- why ---- */

static uint32_t why_number(struct reading *x, const struct trace_record *decision)
{
        const struct trace_reader *reader = x->r->in->reader;
        char text[EVENT_TEXT_MAX] = "nothing in the trace says why";
        uint64_t why;

        if (decision && report_argument(x->r, decision, "why", &why))
                event_text(text, trace_reader_name(reader, decision->event), "why", why);
        for (uint32_t i = 0; i < x->nr_whys; i++)
                if (!strcmp(x->why[i], text))
                        return i;
        if (x->nr_whys == MOST_WHYS)
                return MOST_WHYS - 1;
        memcpy(x->why[x->nr_whys], text, sizeof(text));
        return x->nr_whys++;
}

static struct decision *decision_of(struct reading *x, uint64_t fault)
{
        return &x->decision[fault % DECISIONS];
}

/* ---- what happened, in order of time ---- */

static void window_read(struct reading *x, const struct trace_record *e)
{
        const struct decision *d = decision_of(x, e->fault);
        bool known = d->e && d->fault == e->fault;
        struct window *w = &x->window[x->nr_windows];

        *w = (struct window){ .begin = report_time(x->r, e->time),
                              .start = e->arg[0],
                              .fault = e->fault,
                              .pages = (uint32_t)(e->arg[1] < UINT32_MAX ? e->arg[1] : UINT32_MAX),
                              .file = report_file_of(x->r, e),
                              .why = why_number(x, known ? d->e : NULL) };
        if (w->file == x->r->nr_files || w->start >= REPORT_MOST >> PAGE_SHIFT)
                return; /* a page from swap, a call's that named no file */
        x->nr_windows++;
        if (w->pages > MOST_OF_WINDOW || x->nr_pages + w->pages > MOST_PAGES)
                return;
        w->fate = x->fates + x->nr_pages;
        x->nr_pages += w->pages;
        for (uint32_t i = 0; i < w->pages; i++) {
                struct followed *page = slot_of(x, w->file, w->start + i);

                page->window = (uint32_t)(x->nr_windows - 1);
                page->page = i;
                page->arrived = false;
        }
}

static void pages_came(struct reading *x, const struct trace_record *e)
{
        unsigned file = report_file_of(x->r, e);
        uint64_t pages = e->arg[1] < MOST_OF_WINDOW ? e->arg[1] : MOST_OF_WINDOW;

        for (uint64_t i = 0; file < x->r->nr_files && i < pages; i++) {
                struct followed *page = find_page(x, file, e->arg[0] + i);

                if (!page)
                        continue;
                page->arrived = true;
                x->window[page->window].end = report_time(x->r, e->time);
        }
}

static void page_used(struct reading *x, unsigned file, uint64_t index, enum page_fate fate,
                      uint64_t fault)
{
        struct followed *page = find_page(x, file, index);
        struct window *w = page ? &x->window[page->window] : NULL;

        if (!w || w->fate[page->page] == LATE)
                return;
        /* What the fault itself asked for had to be read: that is not late. */
        if (fate == LATE && (page->arrived || w->fault == fault))
                fate = USED;
        w->fate[page->page] = (unsigned char)fate;
}

static void page_found(struct reading *x, const struct trace_record *e)
{
        unsigned file = report_file_of(x->r, e);
        bool reading = e->arg[2] == PAGE_STATE_READING;

        if (file < x->r->nr_files && (e->arg[1] || reading))
                page_used(x, file, e->arg[0], reading ? LATE : USED, e->fault);
}

/* The neighbours that a fault maps with its page: all of a range of addresses. */
static void pages_mapped(struct reading *x, const struct trace_record *e)
{
        const struct export_fault *f = e->fault ? export_fault_of(x->r->in, e->fault) : NULL;
        unsigned file = report_file_of(x->r, e);
        uint64_t pages = e->arg[1] < MOST_OF_WINDOW ? e->arg[1] : MOST_OF_WINDOW, index;

        if (!f || !f->begin || file == x->r->nr_files || !f->placed)
                return;
        index = (f->offset >> PAGE_SHIFT) +
                (uint64_t)((int64_t)(e->arg[0] - (f->begin->arg[0] & ~(PAGE_SIZE - 1))) /
                           (int64_t)PAGE_SIZE);
        for (uint64_t i = 0; i < pages; i++)
                page_used(x, file, index + i, USED, e->fault);
}

static void follow(struct reading *x)
{
        const struct report_events *ev = &x->r->ev;

        for (size_t i = 0; i < x->r->in->nr; i++) {
                const struct trace_record *e = &x->r->in->record[i];

                if (e->event == ev->page_cache_ra || e->event == ev->kluster ||
                    e->event == ev->getpage_ra)
                        *decision_of(x, e->fault) = (struct decision){ e->fault, e };
                else if (e->event == ev->read_pages)
                        window_read(x, e);
                else if (e->event == ev->uptodate)
                        pages_came(x, e);
                else if (e->event == ev->find_get_page)
                        page_found(x, e);
                else if (e->event == ev->set_pte)
                        pages_mapped(x, e);
        }
}

/* ---- the document ---- */

static void count_fates(struct reading *x)
{
        for (size_t i = 0; i < x->nr_windows; i++) {
                const struct window *w = &x->window[i];
                struct report_file *file = &x->r->file[w->file];
                uint64_t of[3] = { 0 };

                for (uint32_t p = 0; w->fate && p < w->pages; p++)
                        of[w->fate[p]]++;
                file->windows++;
                file->read += w->pages;
                file->used += of[USED] + of[LATE];
                file->late += of[LATE];
                if (w->start + w->pages > file->pages)
                        file->pages = w->start + w->pages;
                x->by_why[w->why][0]++;
                x->by_why[w->why][1] += w->pages;
                x->by_why[w->why][2] += of[USED];
                x->by_why[w->why][3] += of[LATE];
                x->by_why[w->why][4] += of[WASTED];
        }
}

/* [fate, pages, fate, pages, ...] */
static json_t *fates_of(const struct window *w)
{
        json_t *runs = json_array();

        for (uint32_t p = 0, run; w->fate && p < w->pages; p += run) {
                for (run = 1; p + run < w->pages && w->fate[p + run] == w->fate[p];)
                        run++;
                json_array_append_new(runs, json_integer(w->fate[p]));
                json_array_append_new(runs, json_integer(run));
        }
        return runs;
}

static json_t *window_json(const struct window *w)
{
        return json_pack("{so, so, so, so, si, si, so, so}", "t", report_number(w->begin), "end",
                         report_number(w->end), "start", report_number(w->start), "pages",
                         report_number(w->pages), "file", (int)w->file, "why", (int)w->why, "fault",
                         report_number(w->fault), "fates", fates_of(w));
}

static json_t *whys_json(const struct reading *x)
{
        json_t *whys = json_array();

        for (unsigned i = 0; i < x->nr_whys; i++) {
                const uint64_t *n = x->by_why[i];

                json_array_append_new(
                        whys, json_pack("{so, so, so, so, so, so}", "why", report_text(x->why[i]),
                                        "windows", report_number(n[0]), "pages",
                                        report_number(n[1]), "used", report_number(n[2]), "late",
                                        report_number(n[3]), "wasted", report_number(n[4])));
        }
        return whys;
}

static bool make_room(struct reading *x)
{
        const struct export_input *in = x->r->in;
        size_t windows = 0, pages = 0;

        for (size_t i = 0; i < in->nr; i++) {
                if (in->record[i].event != x->r->ev.read_pages)
                        continue;
                windows++;
                if (in->record[i].arg[1] <= MOST_OF_WINDOW)
                        pages += in->record[i].arg[1];
        }
        pages = pages < MOST_PAGES ? pages : MOST_PAGES;
        for (x->slots = 64; x->slots < 2 * pages;)
                x->slots *= 2;
        x->window = calloc(windows + 1, sizeof(*x->window));
        x->fates = calloc(pages + 1, 1);
        x->followed = calloc(x->slots, sizeof(*x->followed));
        return x->window && x->fates && x->followed;
}

json_t *report_windows(struct report *r)
{
        struct reading *x = calloc(1, sizeof(*x));
        json_t *list = json_array(), *all = NULL;
        size_t step;

        if (!x)
                return NULL;
        x->r = r;
        if (make_room(x)) {
                follow(x);
                count_fates(x);
                step = (x->nr_windows + MOST_SHOWN - 1) / MOST_SHOWN;
                for (size_t i = 0; i < x->nr_windows; i += step)
                        json_array_append_new(list, window_json(&x->window[i]));
                all = json_pack("{so, sO, so}", "count", report_number(x->nr_windows), "list", list,
                                "whys", whys_json(x));
        }
        json_decref(list);
        free(x->window);
        free(x->fates);
        free(x->followed);
        free(x);
        return all;
}
