/* SPDX-License-Identifier: Apache-2.0
 *
 * export_text.c - one line an event, in order of time, after the manner of biosnoop(8).
 *
 * File and offset are what export_place.c finds; a file's name may have blanks, which are printed.
 */
#include <inttypes.h>

#include "event_text.h"
#include "export.h"
#include "util/base.h"
#include "util/text.h"

static void print_event(const struct export_input *in, size_t i, FILE *out)
{
        const struct trace_record *r = &in->record[i];
        uint64_t began = trace_reader_monotonic(in->reader);
        uint64_t since = r->time > began ? r->time - began : 0;
        const char *name = trace_reader_name(in->reader, r->event);
        char file[32], text[EVENT_TEXT_MAX], line[256];
        bool first = true;

        snprintf(line, sizeof(line), "%-6s %-24s %-8s", trace_reader_layer(in->reader, r->event),
                 trace_reader_text(in->reader, r->event), export_file_of(in, i, file));
        fprintf(out, "%6" PRIu64 ".%09" PRIu64 " %-7" PRIu32 " %7" PRIu64 " %s ",
                since / 1000000000, since % 1000000000, r->tid, r->fault, text_one_line(line));
        if (in->place[i].placed)
                fprintf(out, "%12" PRIu64, in->place[i].offset);
        else
                fprintf(out, "%12s", "-");
        for (unsigned a = 0; a < 4; a++) {
                const char *argument = trace_reader_arg(in->reader, r->event, a);

                if (!*argument)
                        continue;
                event_argument(text, name, argument, r->arg[a]);
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
                print_event(in, i, out);
        return !ferror(out);
}

const struct export_format export_text = { .name = "text", .write = write_text };
