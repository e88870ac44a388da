/* SPDX-License-Identifier: Apache-2.0
 *
 * export_text.c - one line an event, in order of time, after the manner of biosnoop(8).
 *
 * The file and the offset are those of the fault that an event belongs to; where the event itself
 * names a page of the file, its offset is that one's.
 */
#include <inttypes.h>
#include <string.h>

#include "event_text.h"
#include "export.h"
#include "util/base.h"
#include "util/text.h"

/* The offset an event is about: its own page, or the fault's. False: none is known. */
static bool offset_of(const struct export_input *in, const struct trace_record *r,
                      const struct export_fault *fault, uint64_t *offset)
{
        for (unsigned i = 0; i < 4; i++) {
                const char *name = trace_reader_arg(in->reader, r->event, i);
                bool page = !strcmp(name, "index") ||
                            (!strcmp(name, "start") &&
                             !strcmp(trace_reader_layer(in->reader, r->event), "cache"));

                if (page && r->arg[i] < UINT64_MAX >> PAGE_SHIFT) {
                        *offset = r->arg[i] << PAGE_SHIFT;
                        return true;
                }
        }
        if (!fault || !fault->about || fault->index >= UINT64_MAX >> PAGE_SHIFT)
                return false;
        *offset = fault->index << PAGE_SHIFT;
        return true;
}

static void print_event(const struct export_input *in, const struct trace_record *r, FILE *out)
{
        const struct export_fault *fault = r->fault ? export_fault_of(in, r->fault) : NULL;
        uint64_t began = trace_reader_monotonic(in->reader), offset;
        uint64_t since = r->time > began ? r->time - began : 0;
        const char *name = trace_reader_name(in->reader, r->event);
        char file[9] = "-", text[EVENT_TEXT_MAX], line[256];
        bool first = true;

        if (fault && fault->file)
                trace_name_of(fault->file, file);
        snprintf(line, sizeof(line), "%-6s %-24s %-8s", trace_reader_layer(in->reader, r->event),
                 trace_reader_text(in->reader, r->event), file);
        fprintf(out, "%6" PRIu64 ".%09" PRIu64 " %-7" PRIu32 " %7" PRIu64 " %s ",
                since / 1000000000, since % 1000000000, r->tid, r->fault, text_one_line(line));
        if (offset_of(in, r, fault, &offset))
                fprintf(out, "%12" PRIu64, offset);
        else
                fprintf(out, "%12s", "-");
        for (unsigned i = 0; i < 4; i++) {
                const char *argument = trace_reader_arg(in->reader, r->event, i);

                if (!*argument)
                        continue;
                event_argument(text, name, argument, r->arg[i]);
                fprintf(out, "%s%s", first ? " " : ", ", text_one_line(text));
                first = false;
        }
        fputc('\n', out);
}

static bool write_text(const struct export_input *in, FILE *out)
{
        fprintf(out, "%16s %-7s %7s %-6s %-24s %-8s %12s %s\n", "TIME(s)", "TID", "FAULT", "LAYER",
                "EVENT", "FILE", "OFFSET", "DETAIL");
        for (size_t i = 0; i < in->nr && !ferror(out); i++)
                print_event(in, &in->record[i], out);
        return !ferror(out);
}

const struct export_format export_text = { .name = "text", .write = write_text };
