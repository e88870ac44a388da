/* SPDX-License-Identifier: Apache-2.0
 *
 * top.c - `faultline top`: engines of this user that run, again and again.
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "top.h"

#define EVERY_LEAST 100000000ull
#define EVERY_MOST 3600000000000ull

/* As top's: seconds, if no unit is said. */
static bool parse_every(const char *text, uint64_t *out)
{
        const char *at = text;
        char *end;
        double seconds;

        if (take_time(&at, out) && !*at)
                return *out >= EVERY_LEAST && *out <= EVERY_MOST;
        seconds = strtod(text, &end);
        if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
                return false;
        *out = (uint64_t)(seconds * 1e9);
        return true;
}

static bool print_frame(const struct top *t)
{
        struct top_lines lines;

        if (!top_lines(t, 0, &lines))
                return false;
        for (size_t i = 0; i < lines.count; i++)
                puts(lines.line[i].text);
        free(lines.line);
        return !fflush(stdout);
}

static bool print_frame_json(const struct top *t)
{
        json_t *engines = json_array();

        for (size_t i = 0; i < t->count; i++)
                json_array_append(engines, t->engine[i].now);
        return print_json(stdout, json_pack("{s:o}", "engines", engines));
}

static int batch(struct top *t, uint64_t times, bool json)
{
        for (uint64_t n = 0; !times || n < times; n++) {
                struct timespec pause = { .tv_sec = (time_t)(t->every / 1000000000),
                                          .tv_nsec = (long)(t->every % 1000000000) };

                if (n)
                        nanosleep(&pause, NULL);
                if (!top_sample(t))
                        return fail(NULL, "ask the engines", "%s", strerror(ENOMEM));
                if (n && !json)
                        putchar('\n');
                if (!(json ? print_frame_json(t) : print_frame(t)))
                        return fail(NULL, "write", "%s", strerror(errno));
        }
        return EXIT_DONE;
}

static int top(struct options *o, int argc, char **argv, struct string_list *only)
{
        struct top t = { .every = 2000000000, .only = only };
        const char *every = NULL;
        uint64_t times = 0, pid;
        bool lines = false;
        const struct option_spec own[] = {
                { "batch", OPTION_FLAG, &lines, NULL, 0 },
                { "b", OPTION_FLAG, &lines, NULL, 0 },
                { "count", OPTION_COUNT, &times, NULL, 1 },
                { "n", OPTION_COUNT, &times, NULL, 1 },
                { "pid", OPTION_LIST, only, NULL, 0 },
                { "p", OPTION_LIST, only, NULL, 0 },
                { "delay", OPTION_STRING, &every, NULL, 0 },
                { "d", OPTION_STRING, &every, NULL, 0 },
                { 0 },
        };
        int status = options_parse(o, own, &argc, argv);

        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        if (argc > 1)
                return fail_usage(o, "takes no operands");
        for (size_t i = 0; i < only->count; i++)
                if (!parse_count(only->item[i], &pid) || pid < 1 || pid > INT32_MAX)
                        return fail_usage(o, "-p %s: is no process", only->item[i]);
        if (every && !parse_every(every, &t.every))
                return fail_usage(
                        o, "-d %s: must be seconds from 0.1 to 3600, or a time such as 500ms",
                        every);
        setlocale(LC_CTYPE, "");
        if (lines || o->json)
                status = batch(&t, times, o->json);
        else if (!top_has_screen)
                status = fail(NULL, "top", "was built without ncurses; use -b");
        else if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
                status = fail(NULL, "top", "not on a terminal; use -b");
        else
                status = top_screen(&t, times);
        top_free(&t);
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct string_list only = { .count = 0 };
        int status = top(o, argc, argv, &only);

        string_list_free(&only);
        return status;
}

const struct command command_top = {
        .name = "top",
        .summary = "running engines: faults, latencies, cache, files, live",
        .help = "top [-b|--batch] [-n|--count N] [-d|--delay SECONDS] [-p|--pid PID]... [--json]\n"
                "\n"
                "Shows the engines of this user that run, the files with most faults, and the\n"
                "slowest faults since each engine was opened. Rates and latencies are since the\n"
                "frame before, in the first since the engine was opened. Keys: h tells them, q "
                "ends.\n"
                "  --batch, -b   lines instead of a screen, for files and programs\n"
                "  --count, -n   so many frames, then end\n"
                "  --delay, -d   seconds between frames (2)\n"
                "  --pid, -p     engines of this process only; may be given several times\n"
                "  --json        one object a frame, with all that the engines tell\n"
                "\n"
                "Columns: MAJ/s, MIN/s major and minor faults; P50, P99 their latency; RD/s, WR/s\n"
                "bytes of I/O; CACHE OF the cache and its limit; DIRTY, WRBACK bytes to be written "
                "and\n"
                "being written; QUE, DEV requests that wait and are at the device; WAIT faults "
                "that\n"
                "wait.\n"
                "\n"
                "Examples:\n"
                "  faultline top\n"
                "  faultline top -b -n 1\n",
        .run = run,
};
