/* SPDX-License-Identifier: Apache-2.0
 *
 * export.c - `faultline export`: a trace for the tools that people know.
 */
#include "export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static const struct export_format *const formats[] = { &export_text, &export_perfetto,
                                                       &export_blktrace };

/* A name that leads back to the trace would have it overwritten by what was made of it. */
static bool is_same_file(const char *a, const char *b)
{
        struct stat x, y;

        return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int write_out(const struct export_input *in, const struct export_format *format,
                     const char *path)
{
        FILE *out = path ? fopen(path, "we") : stdout;
        const char *name = path ? path : "standard output";
        bool written;

        if (!out)
                return fail(name, "open", "%s", strerror(errno));
        if (format->binary && isatty(fileno(out)))
                return fail(name, "write", "binary data, and this is a terminal: -o FILE");
        errno = 0;
        written = format->write(in, out) && !fflush(out) && !ferror(out);
        if (out != stdout && fclose(out))
                written = false;
        if (!written)
                return fail(name, "write", "%s", strerror(errno ? errno : EIO));
        return EXIT_DONE;
}

/* What is there has been exported; what is missing is told. */
static int report_damage(const struct export_input *in, const char *path)
{
        const char *problem = trace_reader_problem(in->reader);
        uint64_t dropped = trace_reader_dropped(in->reader);

        if (dropped)
                fprintf(stderr,
                        "faultline: %s: export: %" PRIu64 " events were lost while it was taken\n",
                        path, dropped);
        return problem ? fail(path, "read", "%s; what is before that was exported", problem)
                       : EXIT_DONE;
}

static int run(struct options *o, int argc, char **argv)
{
        const char *name = NULL, *path = NULL, *trace;
        const struct option_spec own[] = {
                { "format", OPTION_CHOICE, &name, "text|perfetto|blktrace", 0 },
                { "o", OPTION_STRING, &path, NULL, 0 },
                { 0 },
        };
        const struct export_format *format = formats[0];
        struct export_input in = { 0 };
        int status = options_parse_one(o, own, argc, argv, "trace", &trace);

        if (!trace)
                return status;
        for (size_t i = 0; name && i < ARRAY_SIZE(formats); i++)
                if (!strcmp(formats[i]->name, name))
                        format = formats[i];
        if (path && is_same_file(trace, path))
                return fail(path, "export", "that is the trace itself");
        status = export_load(&in, trace);
        if (!status)
                status = write_out(&in, format, path);
        if (!status)
                status = report_damage(&in, trace);
        export_model_free(&in);
        free(in.record);
        if (in.reader)
                trace_reader_close(in.reader);
        return status;
}

const struct command command_export = {
        .name = "export",
        .summary = "a trace as text, or for Perfetto, speedscope, blkparse, btt and iowatcher",
        .help = "export TRACE [--format text|perfetto|blktrace] [-o FILE]\n"
                "\n"
                "Turns what --trace has written into what other tools read.\n"
                "  --format text      one line an event, with file and offset (the default)\n"
                "  --format perfetto  JSON for ui.perfetto.dev, chrome://tracing and speedscope:\n"
                "                     faults by thread and layer, requests, arrows between them\n"
                "  --format blktrace  what blktrace(8) writes: the block layer's events\n"
                "  -o FILE            where to; standard output if it is not given\n"
                "\n"
                "Examples:\n"
                "  faultline cat data.bin --trace t >/dev/null\n"
                "  faultline export t | less\n"
                "  faultline export t --format perfetto -o t.json\n"
                "  faultline export t --format blktrace -o t.blktrace.0 && blkparse -i t\n",
        .run = run,
};
