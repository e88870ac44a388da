/* SPDX-License-Identifier: Apache-2.0
 *
 * top_lines.c - the lines of `faultline top`: engines, the hottest files, the slowest faults.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "top.h"

#define FILES_SHOWN 20
#define WORST_SHOWN 10
#define NAME_SHOWN 256

/* ---- lines ---- */

static void add(struct top_lines *out, int kind, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void add(struct top_lines *out, int kind, const char *format, ...)
{
        va_list args;

        if (out->count == out->room)
                return;
        va_start(args, format);
        vsnprintf(out->line[out->count].text, TOP_WIDTH, format, args);
        va_end(args);
        out->line[out->count++].kind = kind;
}

/* Four characters and a unit at most. */
static const char *brief(char buf[TEXT_MAX], double n, const char *units, double step)
{
        while (n >= 999.5 && units[1]) {
                n /= step;
                units++;
        }
        snprintf(buf, TEXT_MAX, n < 9.95 && n != (double)(uint64_t)n ? "%.1f%.1s" : "%.0f%.1s", n,
                 *units == ' ' ? "" : units);
        return buf;
}

static const char *brief_bytes(char buf[TEXT_MAX], double n)
{
        return brief(buf, n, "BKMGTPE", 1024);
}

static const char *brief_count(char buf[TEXT_MAX], double n)
{
        return brief(buf, n, " kMGTPE", 1000);
}

static const char *brief_time(char buf[TEXT_MAX], uint64_t ns)
{
        if (!ns)
                return strcpy(buf, "-");
        if (ns < 999500)
                snprintf(buf, TEXT_MAX, ns < 9950 ? "%.1fus" : "%.0fus", (double)ns / 1e3);
        else if (ns < 999500000)
                snprintf(buf, TEXT_MAX, ns < 9950000 ? "%.1fms" : "%.0fms", (double)ns / 1e6);
        else
                snprintf(buf, TEXT_MAX, ns < 9950000000 ? "%.1fs" : "%.0fs", (double)ns / 1e9);
        return buf;
}

static const char *shown(const char *text, char out[NAME_SHOWN])
{
        return live_shown(text, out, NAME_SHOWN);
}

/* ---- engines ---- */

static void add_engine(struct top_lines *out, const struct top_engine *e)
{
        const json_t *stats = json_object_get(e->now, "stats");
        const json_t *cache = json_object_get(e->now, "cache");
        const json_t *devices = json_object_get(e->now, "devices");
        char text[8][TEXT_MAX], program[NAME_SHOWN], mmu[NAME_SHOWN], policy[NAME_SHOWN];
        uint64_t queued = 0, in_flight = 0;

        for (size_t i = 0; i < json_array_size(devices); i++) {
                queued += live_number(json_array_get(devices, i), "queued");
                in_flight += live_number(json_array_get(devices, i), "in_flight");
        }
        add(out, TOP_PLAIN,
            "%7d %-12.12s %-7.7s %-8.8s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s %4" PRIu64
            " %4" PRIu64 " %4" PRIu64,
            e->at.pid, shown(live_text(e->now, "program"), program),
            shown(live_text(e->now, "mmu"), mmu), shown(live_text(e->now, "policy"), policy),
            brief_count(text[0], top_rate(e, "faults_major")),
            brief_count(text[1], top_rate(e, "faults_minor")), brief_time(text[2], e->p50),
            brief_time(text[3], e->p99), brief_bytes(text[4], top_rate(e, "read_bytes")),
            brief_bytes(text[5], top_rate(e, "write_bytes")),
            brief_bytes(text[6], (double)live_number(stats, "cache_bytes")),
            brief_bytes((char[TEXT_MAX]){ 0 }, (double)live_number(stats, "budget_bytes")),
            brief_bytes((char[TEXT_MAX]){ 0 }, (double)live_number(cache, "dirty_bytes")),
            brief_bytes((char[TEXT_MAX]){ 0 }, (double)live_number(cache, "writeback_bytes")),
            queued, in_flight, live_number(cache, "faults_waiting"));
}

static void add_engines(struct top_lines *out, const struct top *t, size_t most)
{
        add(out, TOP_HEADER,
            "%7s %-12s %-7s %-8s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s %4s %4s %4s", "PID",
            "PROGRAM", "MMU", "POLICY", "MAJ/s", "MIN/s", "P50", "P99", "RD/s", "WR/s", "CACHE",
            "OF", "DIRTY", "WRBACK", "QUE", "DEV", "WAIT");
        for (size_t i = 0; i < t->count && i < most; i++)
                add_engine(out, &t->engine[i]);
        if (t->count > most)
                add(out, TOP_PLAIN, "  ... %zu more", t->count - most);
}

/* ---- files ---- */

struct hot {
        const struct top_engine *engine;
        const json_t *now, *before;
        double faults; /* a second */
};

static const json_t *same_file(const json_t *answer, const char *id)
{
        const json_t *files = json_object_get(answer, "files");

        for (size_t i = 0; i < json_array_size(files); i++)
                if (!strcmp(live_text(json_array_get(files, i), "id"), id))
                        return json_array_get(files, i);
        return NULL;
}

static double growth(const struct hot *h, const char *key)
{
        uint64_t now = live_number(h->now, key), before = live_number(h->before, key);

        return now > before ? (double)(now - before) : 0;
}

/* Sorted; no more than FILES_SHOWN. */
static unsigned hottest(const struct top *t, struct hot out[FILES_SHOWN + 1])
{
        unsigned n = 0;

        for (size_t i = 0; i < t->count; i++) {
                const json_t *files = json_object_get(t->engine[i].now, "files");

                for (size_t k = 0; k < json_array_size(files); k++) {
                        struct hot h = { .engine = &t->engine[i], .now = json_array_get(files, k) };
                        unsigned at = n;

                        h.before = same_file(h.engine->before, live_text(h.now, "id"));
                        h.faults = (growth(&h, "faults_major") + growth(&h, "faults_minor")) /
                                   h.engine->seconds;
                        for (; at && out[at - 1].faults < h.faults; at--)
                                out[at] = out[at - 1];
                        out[at] = h;
                        n += n < FILES_SHOWN;
                }
        }
        return n;
}

static void add_files(struct top_lines *out, const struct top *t, size_t most)
{
        struct hot hot[FILES_SHOWN + 1];
        unsigned n = hottest(t, hot);

        add(out, TOP_PLAIN, "%s", "");
        add(out, TOP_HEADER, "%7s %8s %8s %8s %8s %8s %8s  %s", "PID", "FAULTS/s", "MAJ/s", "MEAN",
            "CACHED", "DIRTY", "SIZE", "HOTTEST FILES");
        for (unsigned i = 0; i < n && i < most; i++) {
                const struct hot *h = &hot[i];
                double faults = growth(h, "faults_major") + growth(h, "faults_minor");
                char text[6][TEXT_MAX], name[NAME_SHOWN];

                add(out, TOP_PLAIN, "%7d %8s %8s %8s %8s %8s %8s  %s", h->engine->at.pid,
                    brief_count(text[0], h->faults),
                    brief_count(text[1], growth(h, "faults_major") / h->engine->seconds),
                    brief_time(text[2],
                               faults > 0 ? (uint64_t)(growth(h, "fault_ns") / faults) : 0),
                    brief_bytes(text[3], (double)live_number(h->now, "charged_pages") * PAGE_SIZE),
                    brief_bytes(text[4], (double)live_number(h->now, "dirty_pages") * PAGE_SIZE),
                    brief_bytes(text[5], (double)live_number(h->now, "size_bytes")),
                    shown(live_text(h->now, "uri"), name));
        }
}

/* ---- the slowest faults ---- */

struct slow {
        int pid;
        const json_t *fault;
        uint64_t ns;
};

static void add_worst(struct top_lines *out, const struct top *t, size_t most)
{
        struct slow slow[WORST_SHOWN + 1];
        unsigned n = 0;

        for (size_t i = 0; i < t->count; i++) {
                const json_t *worst = json_object_get(t->engine[i].now, "worst");

                for (size_t k = 0; k < json_array_size(worst); k++) {
                        const json_t *f = json_array_get(worst, k);
                        struct slow s = { t->engine[i].at.pid, f, live_number(f, "ns") };
                        unsigned at = n;

                        for (; at && slow[at - 1].ns < s.ns; at--)
                                slow[at] = slow[at - 1];
                        slow[at] = s;
                        n += n < WORST_SHOWN;
                }
        }
        add(out, TOP_PLAIN, "%s", "");
        add(out, TOP_HEADER, "%7s %8s %8s %-12s %8s %14s  %s", "PID", "TOOK", "AGO", "WHAT",
            "THREAD", "OFFSET", "SLOWEST FAULTS");
        for (unsigned i = 0; i < n && i < most; i++) {
                char took[TEXT_MAX], ago[TEXT_MAX], name[NAME_SHOWN];
                const json_t *f = slow[i].fault;

                add(out, TOP_PLAIN, "%7d %8s %8s %-5s %-6s %8" PRIu64 " %14" PRIu64 "  %s",
                    slow[i].pid, brief_time(took, slow[i].ns),
                    brief_time(ago, live_number(f, "age_ns")),
                    live_number(f, "major") ? "major" : "minor",
                    live_number(f, "write") ? "store" : "load", live_number(f, "tid"),
                    live_number(f, "offset"), shown(live_text(f, "uri"), name));
        }
}

/* ---- all of it ---- */

static void add_title(struct top_lines *out, const struct top *t)
{
        time_t now = time(NULL);
        struct tm tm;
        char at[16] = "";

        if (localtime_r(&now, &tm))
                strftime(at, sizeof(at), "%H:%M:%S", &tm);
        add(out, TOP_TITLE, "faultline top - %s, %zu engine%s, every %.1f s%s", at, t->count,
            t->count == 1 ? "" : "s", (double)t->every / 1e9,
            t->silent ? "; some do not answer" : "");
}

bool top_lines(const struct top *t, size_t rows, struct top_lines *out)
{
        size_t room = t->count + FILES_SHOWN + WORST_SHOWN + 8, engines = t->count;
        size_t files = FILES_SHOWN, worst = WORST_SHOWN;

        if (rows && rows < room) { /* what is left is shared between files and faults */
                size_t left = rows > 6 ? rows - 6 : 0;

                engines = min_u64(engines, left / 3 + 1);
                left -= min_u64(left, engines);
                worst = min_u64(worst, left / 2);
                files = min_u64(files, left - worst);
        }
        *out = (struct top_lines){ .room = room };
        out->line = calloc(room, sizeof(*out->line));
        if (!out->line)
                return false;
        add_title(out, t);
        if (!t->count) {
                add(out, TOP_PLAIN, "%s", "no engine of this user is running");
                return true;
        }
        add_engines(out, t, engines);
        add_files(out, t, files);
        add_worst(out, t, worst);
        return true;
}
