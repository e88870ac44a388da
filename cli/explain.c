/* SPDX-License-Identifier: Apache-2.0
 *
 * explain.c - `faultline explain`: page faults, layer by layer, as they happened.
 *
 * The engine runs with a trace; each touch is bracketed by two readings of the trace's clock;
 * then the engine is closed and the trace read back. Whatever is printed about a fault is an
 * event of the trace: this file knows no order of events and no event that must be there.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "event_text.h"
#include "fault_time.h"
#include "guard.h"
#include "trace/reader.h"

#define SETTLE_NS 50000000L /* what a touch started, such as read-ahead, ends meanwhile */

struct explain_touch {
        uint64_t offset;
        bool write;
        uint64_t began, ended; /* the trace's clock */
        const char *address;   /* NULL with --via pread */
        int mapped;            /* to the device: as fl_bmap, at `where` */
        off_t where;
        bool failed;
        char reason[128];
};

struct explain {
        struct session session;
        struct string_list specs;
        const char *via;
        struct explain_touch *touch;
        size_t touches;
        int trace_fd; /* our own file, already without a name; -1: the user's */
        struct trace_reader *reader;
        struct trace_record *record;
        size_t records;
};

/* "OFFSET", "OFFSET:r", "OFFSET:w" */
static bool parse_touch(const char *text, struct explain_touch *touch)
{
        const char *colon = strchr(text, ':');
        char number[32];

        snprintf(number, sizeof(number), "%.*s", colon ? (int)(colon - text) : 31, text);
        if (colon && strcmp(colon, ":r") && strcmp(colon, ":w"))
                return false;
        *touch = (struct explain_touch){ .write = colon && colon[1] == 'w' };
        return parse_size(number, &touch->offset) && touch->offset <= INT64_MAX;
}

static int parse_touches(struct explain *x, const struct options *o)
{
        static const char *first[] = { "0:r" };
        const char **spec = x->specs.count ? x->specs.item : first;

        x->touches = x->specs.count ? x->specs.count : 1;
        x->touch = calloc(x->touches, sizeof(*x->touch));
        if (!x->touch)
                return fail("explain", "parse", "%s", strerror(ENOMEM));
        for (size_t i = 0; i < x->touches; i++) {
                if (!parse_touch(spec[i], &x->touch[i]))
                        return fail_usage(o, "--touch %s: must be OFFSET, OFFSET:r or OFFSET:w",
                                          spec[i]);
                if (x->touch[i].write && !strcmp(x->via, "pread"))
                        return fail_usage(o, "--touch %s: pread does not store", spec[i]);
        }
        return 0;
}

/* ---- touching ---- */

static void touch_mapped(struct explain_touch *touch, char *mapping)
{
        /* The processor must see a store, and the file must not change: or in a zero that the
         * compiler does not know to be one. */
        static volatile char zero;
        struct guard guard;

        touch->address = mapping + touch->offset;
        guard_enter(&guard, touch->address, 1);
        if (sigsetjmp(guard.env, 0))
                touch->failed = true;
        else if (touch->write)
                __atomic_fetch_or(mapping + touch->offset, zero, __ATOMIC_RELAXED);
        else
                (void)*(volatile char *)(mapping + touch->offset);
        guard_leave();
}

static void touch_pread(struct explain *x, struct explain_touch *touch)
{
        char byte;

        touch->failed = fl_pread(x->session.file, &byte, 1, (off_t)touch->offset) < 0;
        if (touch->failed)
                snprintf(touch->reason, sizeof(touch->reason), "%s", strerror(errno));
}

static int touch_all(struct explain *x, char *mapping)
{
        const struct timespec settle = { .tv_nsec = SETTLE_NS };
        int status = 0;

        for (size_t i = 0; i < x->touches; i++) {
                struct explain_touch *touch = &x->touch[i];

                touch->began = now_ns();
                if (mapping)
                        touch_mapped(touch, mapping);
                else
                        touch_pread(x, touch);
                touch->ended = now_ns();
                nanosleep(&settle, NULL);
        }
        /* Asking why is a read too: only after the last touch, so that it is nobody's. */
        for (size_t i = 0; i < x->touches; i++) {
                struct explain_touch *touch = &x->touch[i];

                touch->mapped = fl_bmap(x->session.file, (off_t)touch->offset, &touch->where);
                if (!touch->failed)
                        continue;
                if (!*touch->reason)
                        snprintf(touch->reason, sizeof(touch->reason), "%s",
                                 session_reason(&x->session, touch->offset, false));
                status = fail(x->session.uri, touch->write ? "store" : "load",
                              "offset %" PRIu64 ": %s", touch->offset, touch->reason);
        }
        return status;
}

static int run_touches(struct explain *x)
{
        struct session *s = &x->session;
        int prot = PROT_READ, status;
        char *mapping;

        for (size_t i = 0; i < x->touches; i++) {
                if (x->touch[i].offset >= s->size)
                        return fail(s->uri, "touch",
                                    "offset %" PRIu64 " is past the end (%" PRIu64 " bytes)",
                                    x->touch[i].offset, s->size);
                if (x->touch[i].write)
                        prot |= PROT_WRITE;
        }
        if (!strcmp(x->via, "pread"))
                return touch_all(x, NULL);
        mapping = fl_mmap(s->engine, NULL, s->size, prot, MAP_SHARED, s->file, 0);
        if (mapping == MAP_FAILED)
                return fail_library();
        status = touch_all(x, mapping);
        if (fl_munmap(s->engine, mapping, s->size) && !status)
                status = fail_library();
        return status;
}

/* ---- the trace ---- */

/* Opens the engine with a trace: the user's --trace, or a file of our own without a name. */
static int open_traced(struct explain *x, const struct options *o, const char *uri, int flags)
{
        const char *folder = getenv("TMPDIR");
        struct options traced = *o;
        char path[512];
        int status;

        x->trace_fd = -1;
        if (!o->trace) {
                snprintf(path, sizeof(path), "%s/faultline-explain-XXXXXX",
                         folder && *folder ? folder : "/tmp");
                x->trace_fd = mkostemp(path, O_CLOEXEC);
                if (x->trace_fd < 0)
                        return fail(path, "create", "%s", strerror(errno));
                traced.trace = path;
        }
        status = session_open(&x->session, &traced, uri, flags, NULL);
        x->session.options = o;
        if (x->trace_fd >= 0)
                unlink(path);
        return status;
}

static int load_trace(struct explain *x)
{
        const char *path = x->session.options->trace, *why = NULL;
        char name[64];
        int error;

        if (x->trace_fd >= 0) {
                snprintf(name, sizeof(name), "/proc/self/fd/%d", x->trace_fd);
                path = name;
        }
        error = trace_reader_open(&x->reader, path, &why);
        if (error)
                return fail(path, "open the trace", "%s", why ? why : strerror(-error));
        error = trace_reader_load(x->reader, &x->record, &x->records);
        if (error)
                return fail(path, "read the trace", "%s", strerror(-error));
        if (trace_reader_problem(x->reader))
                return fail(path, "read the trace", "%s", trace_reader_problem(x->reader));
        return 0;
}

/* Is this record the first of its fault, and did the fault begin with this touch or after it,
 * before the next one? */
static bool begins_fault(const struct explain *x, size_t touch, size_t record)
{
        const struct trace_record *r = &x->record[record];
        uint64_t until = touch + 1 < x->touches ? x->touch[touch + 1].began : UINT64_MAX;

        if (!r->fault || r->time < x->touch[touch].began || r->time >= until)
                return false;
        if (touch + 1 == x->touches && r->time > x->touch[touch].ended + (uint64_t)SETTLE_NS)
                return false;
        for (size_t i = 0; i < record; i++)
                if (x->record[i].fault == r->fault)
                        return false;
        return true;
}

/* ---- printing ---- */

static void print_event(const struct explain *x, const struct trace_record *r, uint64_t began)
{
        const char *layer = trace_reader_layer(x->reader, r->event);
        unsigned depth = 2 * event_depth(layer);
        bool first = true;

        printf("%10.1f  %-6s  %*s%-*s ", (double)(r->time - began) / 1e3, layer, (int)depth, "",
               34 - (int)depth, trace_reader_text(x->reader, r->event));
        for (unsigned i = 0; i < 4; i++) {
                const char *argument = trace_reader_arg(x->reader, r->event, i);
                char text[EVENT_TEXT_MAX];

                if (!*argument)
                        continue;
                printf("%s%s", first ? "" : ", ",
                       event_argument(text, trace_reader_name(x->reader, r->event), argument,
                                      r->arg[i]));
                first = false;
        }
        putchar('\n');
}

/* What the events of one fault say about all of it. */
struct fault_summary {
        const struct trace_record *end; /* FAULT_END */
        bool major;
        uint64_t events, began, last;
        struct fault_time time;
};

static struct fault_summary summarise(const struct explain *x, uint64_t fault)
{
        int end = trace_reader_find(x->reader, "FAULT_END");
        int major = trace_reader_find(x->reader, "MAJOR");
        struct fault_summary summary = { 0 };

        for (size_t i = 0; i < x->records; i++) {
                const struct trace_record *r = &x->record[i];

                if (r->fault != fault)
                        continue;
                fault_time_add(&summary.time, x->reader, r);
                if (!summary.events++)
                        summary.began = r->time;
                summary.last = r->time;
                if (r->event == end)
                        summary.end = r;
                if (r->event == major)
                        summary.major = true;
        }
        return summary;
}

static void print_fault(const struct explain *x, uint64_t fault)
{
        struct fault_summary summary = summarise(x, fault);
        char text[TEXT_MAX];

        printf("\n        us  layer   event\n");
        for (size_t i = 0; i < x->records; i++)
                if (x->record[i].fault == fault)
                        print_event(x, &x->record[i], summary.began);
        if (summary.end)
                printf("fault %" PRIu64 ": %s, %s until the thread could go on\n", fault,
                       summary.major ? "major" : "minor",
                       text_time(text, summary.end->time - summary.began));
        else
                printf("request %" PRIu64 ": no page fault; %s from its first event to its last\n",
                       fault, text_time(text, summary.last - summary.began));
        fault_time_print(stdout, &summary.time);
}

/* Where on its device the page is: for a store to a hole, where it is afterwards. */
static void print_place(const struct explain_touch *touch)
{
        if (touch->mapped > 0)
                printf(", sector %" PRIu64, (uint64_t)touch->where / SECTOR_SIZE);
        else if (touch->mapped == 0)
                printf(", a hole");
}

static void print_touches(const struct explain *x)
{
        for (size_t i = 0; i < x->touches; i++) {
                const struct explain_touch *touch = &x->touch[i];
                bool any = false;

                printf("%stouch %zu: %s at offset %" PRIu64, i ? "\n" : "", i + 1,
                       touch->write     ? "store"
                       : touch->address ? "load"
                                        : "fl_pread",
                       touch->offset);
                if (touch->address)
                        printf(", address 0x%" PRIxPTR, (uintptr_t)touch->address);
                print_place(touch);
                if (touch->failed)
                        printf(": failed: %s", touch->reason);
                putchar('\n');
                for (size_t n = 0; n < x->records; n++) {
                        if (!begins_fault(x, i, n))
                                continue;
                        print_fault(x, x->record[n].fault);
                        any = true;
                }
                if (!any)
                        puts(touch->address ? "no fault: already mapped" : "no event");
        }
        if (trace_reader_dropped(x->reader))
                printf("\n%" PRIu64 " events were lost: the trace is not complete\n",
                       trace_reader_dropped(x->reader));
}

static json_t *event_json(const struct explain *x, const struct trace_record *r, uint64_t began)
{
        json_t *event = json_object(), *args = json_object(), *words = json_object();
        const char *name = trace_reader_name(x->reader, r->event);

        json_object_set_new(event, "ns", json_integer((json_int_t)(r->time - began)));
        json_object_set_new(event, "layer", json_string(trace_reader_layer(x->reader, r->event)));
        json_object_set_new(event, "name", json_string(name));
        json_object_set_new(event, "text", json_string(trace_reader_text(x->reader, r->event)));
        json_object_set_new(event, "thread", json_integer(r->tid));
        for (unsigned i = 0; i < 4; i++) {
                const char *argument = trace_reader_arg(x->reader, r->event, i);
                char text[EVENT_TEXT_MAX];

                if (!*argument)
                        continue;
                json_object_set_new(args, argument, json_integer((json_int_t)r->arg[i]));
                json_object_set_new(words, argument,
                                    json_string(event_text(text, name, argument, r->arg[i])));
        }
        json_object_set_new(event, "args", args);
        json_object_set_new(event, "words", words);
        return event;
}

static json_t *fault_json(const struct explain *x, uint64_t id)
{
        struct fault_summary summary = summarise(x, id);
        uint64_t last = summary.end ? summary.end->time : summary.last;
        json_t *fault = json_object(), *events = json_array();

        json_object_set_new(fault, "id", json_integer((json_int_t)id));
        json_object_set_new(fault, "major", json_boolean(summary.major));
        json_object_set_new(fault, "ns", json_integer((json_int_t)(last - summary.began)));
        json_object_set_new(fault, "layers", fault_time_json(&summary.time));
        for (size_t i = 0; i < x->records; i++)
                if (x->record[i].fault == id)
                        json_array_append_new(events, event_json(x, &x->record[i], summary.began));
        json_object_set_new(fault, "events", events);
        return fault;
}

static bool print_touches_json(const struct explain *x)
{
        json_t *all = json_object(), *touches = json_array();

        for (size_t i = 0; i < x->touches; i++) {
                json_t *touch = json_object(), *faults = json_array();

                json_object_set_new(touch, "offset", json_integer((json_int_t)x->touch[i].offset));
                json_object_set_new(touch, "write", json_boolean(x->touch[i].write));
                json_object_set_new(touch, "via", json_string(x->via));
                if (x->touch[i].mapped > 0)
                        json_object_set_new(touch, "sector",
                                            json_integer((json_int_t)((uint64_t)x->touch[i].where /
                                                                      SECTOR_SIZE)));
                if (x->touch[i].failed)
                        json_object_set_new(touch, "error", json_string(x->touch[i].reason));
                for (size_t n = 0; n < x->records; n++)
                        if (begins_fault(x, i, n))
                                json_array_append_new(faults, fault_json(x, x->record[n].fault));
                json_object_set_new(touch, "faults", faults);
                json_array_append_new(touches, touch);
        }
        json_object_set_new(all, "touches", touches);
        json_object_set_new(all, "dropped",
                            json_integer((json_int_t)trace_reader_dropped(x->reader)));
        return print_json(stdout, all);
}

static int explain(struct explain *x, const struct options *o, const char *uri)
{
        int flags = O_RDONLY, status, later;

        for (size_t i = 0; i < x->touches; i++)
                if (x->touch[i].write)
                        flags = O_RDWR;
        status = open_traced(x, o, uri, flags);
        if (status)
                return session_close(&x->session, status);
        status = run_touches(x);
        status = session_close(&x->session, status);
        if (!x->touch[0].began) /* nothing was touched: nothing to show */
                return status;
        later = load_trace(x);
        if (later)
                return status ? status : later;
        if (o->json && !print_touches_json(x))
                return fail("standard output", "write", "%s", strerror(errno));
        if (!o->json)
                print_touches(x);
        if (fflush(stdout))
                return fail("standard output", "write", "%s", strerror(errno));
        return status;
}

static int run(struct options *o, int argc, char **argv)
{
        struct explain x = { .via = "mmap", .trace_fd = -1 };
        const struct option_spec own[] = {
                { "touch", OPTION_LIST, &x.specs, NULL, 0 },
                { "via", OPTION_CHOICE, &x.via, "mmap|pread", 0 },
                { 0 },
        };
        const char *uri;
        int status = options_parse_uri(o, own, argc, argv, &uri);

        if (uri && !(status = parse_touches(&x, o)))
                status = explain(&x, o, uri);
        if (x.reader)
                trace_reader_close(x.reader);
        if (x.trace_fd >= 0)
                close(x.trace_fd);
        free(x.record);
        free(x.touch);
        string_list_free(&x.specs);
        return status;
}

const struct command command_explain = {
        .name = "explain",
        .summary = "page faults, layer by layer: what each decided, why, how long it took",
        .help = "explain URI [--touch OFFSET[:r|w]]... [--via mmap|pread] [OPTIONS]\n"
                "\n"
                "Maps the file, touches it at each OFFSET in turn (at 0 if none is given), and\n"
                "prints what every layer did for each fault, in the kernel's names, read back\n"
                "from a trace of it, and in which layer its time went. The cache starts empty, so\n"
                "a first touch is cold. After each touch 50 ms pass, so that read-ahead it "
                "started\n"
                "is seen to its end. Of a file in an image the sector is that of the device which\n"
                "the image is on.\n"
                "  OFFSET:w    store (the byte that is there already: the file does not change)\n"
                "  --via pread read by fl_pread instead: the same path below the page cache\n"
                "  --json      as JSON; docs/explain.schema.json says what is in it\n"
                "\n"
                "Examples:\n"
                "  faultline explain data.bin                            a cold fault\n"
                "  faultline explain data.bin --policy linux --touch 0 --touch 128K   then a hit\n"
                "  faultline explain scratch.bin --touch 0 --touch 0:w   the first store\n"
                "  faultline explain data.bin --touch 1M --via pread\n"
                "  faultline explain squashfs:root.sqfs#/bin/sh          a file in an image\n"
                "  faultline explain data.bin --faults eio@0+4K          a read that fails\n",
        .run = run,
};
