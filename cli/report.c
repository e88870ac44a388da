/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - `faultline report`: a trace as one page of HTML that needs nothing else.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "report_page.h"

#ifndef FAULTLINE_VERSION
#define FAULTLINE_VERSION "unknown"
#endif

static json_t *about(const struct report *r)
{
        const struct trace_reader *reader = r->in->reader;
        const char *problem = trace_reader_problem(reader);

        return json_pack(
                "{ss, so, so, so, so, so, so, so, so}", "version", FAULTLINE_VERSION, "name",
                report_text(r->trace), "pid", report_number(trace_reader_pid(reader)),
                "realtime_ms", report_number(trace_reader_realtime(reader) / 1000000), "span",
                report_number(r->span), "events", report_number(r->in->nr), "dropped",
                report_number(trace_reader_dropped(reader)), "faults", report_number(r->nr_faults),
                "problem", problem ? report_text(problem) : json_null());
}

static json_t *kinds(void)
{
        json_t *names = json_array();

        for (unsigned i = 0; i < REPORT_KINDS; i++)
                json_array_append_new(names, json_string(report_kinds[i]));
        return names;
}

/* NULL: no memory. */
static json_t *document(struct report *r)
{
        /* First: it counts in the files what their table tells. */
        json_t *windows = report_windows(r);

        return json_pack("{so, so, so, so, so, so, so, so, so, so, so}", "trace", about(r), "kinds",
                         kinds(), "events", report_events(r), "dots", report_dots(r), "slowest",
                         report_slowest(r), "latency", report_latency(r), "windows", windows,
                         "series", report_series(r), "heat", report_heat(r), "files",
                         report_files(r), "threads", report_threads(r));
}

/* Names in a trace are anybody's. "<" stands only in strings of JSON, and there as an escape: nothing in
 * them ends the element that the document is in, or begins another. */
static int put_safe(const char *buffer, size_t size, void *out)
{
        for (size_t i = 0; i < size; i++)
                if (buffer[i] == '<' ? fputs("\\u003c", out) < 0 : fputc(buffer[i], out) == EOF)
                        return -1;
        return 0;
}

static bool put_page(const json_t *document, FILE *out)
{
        fwrite(report_page_head, 1, report_page_head_size, out);
        if (json_dump_callback(document, put_safe, out, JSON_COMPACT | JSON_ENSURE_ASCII))
                return false;
        fwrite(report_page_tail, 1, report_page_tail_size, out);
        return !ferror(out);
}

static bool put_json(const json_t *document, FILE *out)
{
        return !json_dumpf(document, out, JSON_COMPACT) && fputc('\n', out) != EOF;
}

static int write_out(const json_t *document, bool json, const char *path)
{
        FILE *out = path ? fopen(path, "we") : stdout;
        const char *name = path ? path : "standard output";
        bool written;

        if (!out)
                return fail(name, "open", "%s", strerror(errno));
        errno = 0;
        written = (json ? put_json : put_page)(document, out) && !fflush(out) && !ferror(out);
        if (out != stdout && fclose(out))
                written = false;
        if (!written)
                return fail(name, "write", "%s", strerror(errno ? errno : EIO));
        return EXIT_DONE;
}

static int make_report(const struct export_input *in, const char *trace, bool json,
                       const char *path)
{
        struct report r = { .in = in, .trace = trace };
        json_t *all = NULL;
        int error = report_model_build(&r), status;

        if (!error) {
                all = document(&r);
                error = all ? 0 : -ENOMEM;
        }
        status = error ? fail(trace, "report", "%s", strerror(-error)) : write_out(all, json, path);
        json_decref(all);
        report_model_free(&r);
        return status;
}

/* A name that leads back to the trace would have it overwritten by what was made of it. */
static bool is_same_file(const char *a, const char *b)
{
        struct stat x, y;

        return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int run(struct options *o, int argc, char **argv)
{
        const char *path = NULL, *trace;
        const struct option_spec own[] = { { "o", OPTION_STRING, &path, NULL, 0 }, { 0 } };
        struct export_input in = { 0 };
        int status = options_parse_one(o, own, argc, argv, "trace", &trace);

        if (!trace)
                return status;
        if (!o->json && !report_page_head_size)
                return fail(trace, "report",
                            "this faultline was built without the page: see report/README.md; "
                            "--json works");
        if (!o->json && !path && isatty(STDOUT_FILENO))
                return fail(trace, "report", "a page, and this is a terminal: -o FILE.html");
        if (path && is_same_file(trace, path))
                return fail(path, "report", "that is the trace itself");
        status = export_load(&in, trace);
        if (!status)
                status = make_report(&in, trace, o->json, path);
        if (!status && trace_reader_problem(in.reader))
                status = fail(trace, "read", "%s; what is before that is in the report",
                              trace_reader_problem(in.reader));
        export_model_free(&in);
        free(in.record);
        if (in.reader)
                trace_reader_close(in.reader);
        return status;
}

const struct command command_report = {
        .name = "report",
        .summary = "a trace as one page of HTML: faults, read-ahead, requests, cache",
        .help = "report TRACE [-o FILE.html]\n"
                "\n"
                "Turns what --trace has written into one page that needs nothing else: faults "
                "over\n"
                "time and offset, each with its path through the layers, an access heat map,\n"
                "latencies, read-ahead with what was used, wasted and late, requests, cache,\n"
                "write-back, the slowest faults taken apart, tables of files and threads.\n"
                "  -o FILE    where to; standard output if it is not given\n"
                "With --json, what the page shows as one JSON object.\n"
                "\n"
                "Examples:\n"
                "  faultline cat data.bin --trace t >/dev/null\n"
                "  faultline report t -o t.html && xdg-open t.html\n",
        .run = run,
};
