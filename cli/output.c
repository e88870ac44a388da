/* SPDX-License-Identifier: Apache-2.0
 *
 * output.c - messages, the progress bar and the counters, for people and as JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "trace/stats.h"
#include "util/lockdep.h"
#include "util/text.h"

#define URI_SHOWN 500

int fail(const char *uri, const char *what, const char *reason, ...)
{
        char text[1024], line[4096];
        const char *cut = "";
        va_list args;

        va_start(args, reason);
        vsnprintf(text, sizeof(text), reason, args);
        va_end(args);
        if (uri && strlen(uri) > URI_SHOWN) { /* of a longer one its end: the reason must fit */
                uri += strlen(uri) - URI_SHOWN;
                cut = "...";
        }
        snprintf(line, sizeof(line), "%s%s%s%s: %s", cut, uri ? uri : "", uri ? ": " : "", what,
                 text);
        fprintf(stderr, "faultline: %s\n", text_one_line(line));
        return EXIT_FAILED;
}

int fail_library(void)
{
        char line[4096];

        snprintf(line, sizeof(line), "%s", fl_strerror());
        fprintf(stderr, "faultline: %s\n", text_one_line(line));
        return EXIT_FAILED;
}

int fail_usage(const struct options *o, const char *format, ...)
{
        const char *name = o->command ? o->command->name : NULL;
        char text[1024];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        text_one_line(text);
        if (name)
                fprintf(stderr, "faultline: %s: %s (see faultline %s --help)\n", name, text, name);
        else
                fprintf(stderr, "faultline: %s (see faultline --help)\n", text);
        return EXIT_USAGE;
}

/* ---- progress ---- */

#define PROGRESS_FIRST 500000000u /* what is done sooner needs no bar */
#define PROGRESS_EVERY 100000000u

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
        *p = (struct progress){ .what = what, .total = total, .started = now_ns() };
        p->enabled = total > 0 && isatty(STDERR_FILENO);
        p->shown_at = p->started + PROGRESS_FIRST - PROGRESS_EVERY;
}

void progress_show(struct progress *p, uint64_t done)
{
        static const char full[] = "########################################";
        struct winsize window = { 0 };
        unsigned percent, width = sizeof(full) - 1;
        uint64_t now;

        if (!p->enabled)
                return;
        now = now_ns();
        if (now < p->shown_at + PROGRESS_EVERY)
                return;
        p->shown_at = now;
        percent = (unsigned)((done < p->total ? done : p->total) * 100.0 / (double)p->total);
        if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &window) && window.ws_col > 0 && window.ws_col < 80)
                width = 10;
        fprintf(stderr, "\r\033[K%s [%.*s%*s] %3u%%  %.1f s", p->what, (int)(width * percent / 100),
                full, (int)(width - width * percent / 100), "", percent,
                (double)(now - p->started) / 1e9);
        fflush(stderr);
        p->drawn = true;
}

void progress_end(struct progress *p)
{
        if (p->drawn)
                fputs("\r\033[K", stderr);
        p->drawn = false;
        p->enabled = false;
}

/* ---- numbers for people ---- */

const char *text_bytes(char *buf, uint64_t bytes)
{
        static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
        double value = (double)bytes;
        unsigned u = 0;

        while (value >= 1024 && u + 1 < sizeof(unit) / sizeof(*unit)) {
                value /= 1024;
                u++;
        }
        snprintf(buf, TEXT_MAX, value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s", value,
                 unit[u]);
        return buf;
}

const char *text_time(char *buf, uint64_t ns)
{
        if (ns < 1000000)
                snprintf(buf, TEXT_MAX, "%.1f us", (double)ns / 1e3);
        else if (ns < 1000000000)
                snprintf(buf, TEXT_MAX, "%.1f ms", (double)ns / 1e6);
        else
                snprintf(buf, TEXT_MAX, "%.2f s", (double)ns / 1e9);
        return buf;
}

const char *text_count(char *buf, uint64_t n)
{
        char digits[24];
        int length = snprintf(digits, sizeof(digits), "%" PRIu64, n);
        char *out = buf;

        for (int i = 0; i < length; i++) {
                if (i && (length - i) % 3 == 0)
                        *out++ = ',';
                *out++ = digits[i];
        }
        *out = '\0';
        return buf;
}

/* ---- counters ---- */

json_t *stats_json(const struct fl_stats *stats)
{
        json_t *object = json_object();

        if (!object)
                return NULL;
#define X(name) json_object_set_new(object, #name, json_integer((json_int_t)stats->name));
        STATS_KEYS(X, X)
#undef X
        return object;
}

bool print_json(FILE *stream, json_t *object)
{
        bool ok = object && !json_dumpf(object, stream, JSON_PRESERVE_ORDER) &&
                  fputc('\n', stream) != EOF && !fflush(stream);

        json_decref(object);
        return ok;
}

void print_stats_lines(FILE *stream, const struct fl_stats *stats)
{
#define X(name) fprintf(stream, "%-18s %" PRIu64 "\n", #name, stats->name);
        STATS_KEYS(X, X)
#undef X
}

/* To three digits behind the point where people's eyes would do with one: programs compare these. */
static const char *text_exact_time(char *buf, uint64_t ns)
{
        if (ns < 1000000)
                return text_time(buf, ns);
        snprintf(buf, TEXT_MAX, "%.3f ms", (double)ns / 1e6);
        return buf;
}

static void print_io_stats(FILE *stream, const char *device, const char *op,
                           const struct fl_io_stats *s)
{
        char bytes[TEXT_MAX], queue[TEXT_MAX], at_device[TEXT_MAX];

        if (s->requests)
                fprintf(stream, "%-32.32s %-12s %10" PRIu64 " %10" PRIu64 " %10s %10s %10s\n",
                        device, op, s->bios, s->requests, text_bytes(bytes, s->bytes),
                        text_exact_time(queue, s->queue_ns / s->requests),
                        text_exact_time(at_device, s->device_ns / s->requests));
}

static void print_latency(FILE *stream, const char *device, const char *op, const char *what,
                          const struct fl_latency *l)
{
        char p50[TEXT_MAX], p99[TEXT_MAX], most[TEXT_MAX];

        if (l->max_ns)
                fprintf(stream, "%-32.32s %-12s %10s %10s %10s %10s\n", device, op, what,
                        text_exact_time(p50, l->p50_ns), text_exact_time(p99, l->p99_ns),
                        text_exact_time(most, l->max_ns));
}

/* The same one by one: in all, and of it at the driver. */
static void print_device_latencies(FILE *stream, struct fl_engine *engine)
{
        struct fl_device_stats s = { .size = sizeof(s) };

        for (unsigned i = 0; !fl_device_stats(engine, i, &s); i++) {
                if (!i)
                        fprintf(stream, "\n%-32s %-12s %10s %10s %10s %10s\n", "latency",
                                "operation", "of", "p50", "p99", "max");
                text_one_line(s.name);
                print_latency(stream, s.name, "read", "all", &s.read_total);
                print_latency(stream, s.name, "read", "driver", &s.read_device);
                print_latency(stream, s.name, "write", "all", &s.write_total);
                print_latency(stream, s.name, "write", "driver", &s.write_device);
        }
}

/* What each device did, and how long a request waited for it and was there, on average. */
static void print_device_stats(FILE *stream, struct fl_engine *engine)
{
        struct fl_device_stats s = { .size = sizeof(s) };

        for (unsigned i = 0; !fl_device_stats(engine, i, &s); i++) {
                if (!i)
                        fprintf(stream, "\n%-32s %-12s %10s %10s %10s %10s %10s\n", "device",
                                "operation", "bios", "requests", "bytes", "waits", "takes");
                text_one_line(s.name);
                print_io_stats(stream, s.name, "read", &s.read);
                print_io_stats(stream, s.name, "write", &s.write);
                print_io_stats(stream, s.name, "flush", &s.flush);
                print_io_stats(stream, s.name, "discard", &s.discard);
                print_io_stats(stream, s.name, "write-zeroes", &s.write_zeroes);
        }
        print_device_latencies(stream, engine);
}

/* What locks were waited for and held; of a debug build, others have no rows. */
static void print_lock_stats(FILE *stream)
{
        struct lock_stat rows[LOCK_CLASSES_NR * LOCK_MODES];
        unsigned n = lock_stats(rows, LOCK_CLASSES_NR * LOCK_MODES);
        char wait[TEXT_MAX], wait_max[TEXT_MAX], hold[TEXT_MAX], hold_max[TEXT_MAX];

        if (n)
                fprintf(stream, "\n%-25s %10s %8s %10s %10s %10s %10s\n", "lock", "taken", "waited",
                        "wait", "longest", "held", "longest");
        for (unsigned i = 0; i < n; i++) {
                const struct lock_stat *s = &rows[i];

                fprintf(stream, "%-20s %-4s %10" PRIu64 " %8" PRIu64 " %10s %10s %10s %10s\n",
                        s->name, s->read ? "read" : "", s->taken, s->waited,
                        text_time(wait, s->wait_ns), text_time(wait_max, s->wait_max),
                        text_time(hold, s->hold_ns), text_time(hold_max, s->hold_max));
        }
}

void print_stats(const struct options *o, struct fl_engine *engine)
{
        struct fl_stats stats = { .size = sizeof(stats) };

        if (!o->stats)
                return;
        if (fl_stats(engine, &stats)) {
                fail_library();
                return;
        }
        if (!o->json) {
                print_stats_lines(stderr, &stats);
                print_device_stats(stderr, engine);
                print_lock_stats(stderr);
        } else if (!print_json(stderr, stats_json(&stats)))
                fail("--stats", "print", "%s", strerror(ENOMEM));
}
