/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.c - reads a trace file with read(2), never trusting a number in it.
 */
#include "trace/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/format.h"

#define MAX_HEADER (1u << 20) /* no version needs more; bounds what a bad file makes us allocate */
#define MAX_RECORD 4096u
#define MAX_ARGS 16u
#define MOST_NAME 1024u
#define EVENT_STRINGS 3u /* name, layer, text; then the arguments */
#define BUFFER_SIZE (1u << 16)

struct reader_name {
        enum trace_kind kind;
        uint64_t object;
        size_t position; /* in the file: of two the later one holds */
        char *name;
};

struct trace_reader {
        int fd;
        struct trace_header header;
        char *strings;      /* the table */
        const char **names; /* nr_events * (EVENT_STRINGS + nr_args) pointers into it */
        uint64_t records;   /* read so far, without the trailer */
        uint64_t dropped;
        int name_event; /* NAME in this file; -1: it has none */
        struct reader_name *name;
        size_t nr_names, room_names;
        bool sorted; /* the names */
        bool ended;
        char problem[160]; /* "" = none */
        size_t start, end; /* of what is unread in buffer */
        char buffer[BUFFER_SIZE];
};

/* Fills the buffer until it holds `want` bytes, if the file does. Bytes there, or -errno. */
static ssize_t fill(struct trace_reader *r, size_t want)
{
        if (r->end - r->start < want) {
                memmove(r->buffer, r->buffer + r->start, r->end - r->start);
                r->end -= r->start;
                r->start = 0;
        }
        while (r->end - r->start < want) {
                ssize_t n = read(r->fd, r->buffer + r->end, BUFFER_SIZE - r->end);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (!n)
                        break;
                r->end += (size_t)n;
        }
        return (ssize_t)(r->end - r->start);
}

/* Copies len bytes out of the file. 0, -EBADMSG if there are fewer, or -errno. */
static int take(struct trace_reader *r, void *out, size_t len)
{
        char *p = out;

        while (len) {
                size_t part = len < BUFFER_SIZE ? len : BUFFER_SIZE;
                ssize_t n = fill(r, part);

                if (n < 0)
                        return (int)n;
                if ((size_t)n < part)
                        return -EBADMSG;
                memcpy(p, r->buffer + r->start, part);
                r->start += part;
                p += part;
                len -= part;
        }
        return 0;
}

static int check_header(const struct trace_header *h, const char **why)
{
        uint32_t strings = h->header_size - (uint32_t)sizeof *h;

        *why = "not a trace file";
        if (memcmp(h->magic, TRACE_MAGIC, sizeof h->magic))
                return -EBADMSG;
        if (h->version != TRACE_VERSION) {
                *why = "a trace of a version that is not known here";
                return -EPROTO;
        }
        *why = "the head of the trace is damaged";
        if (h->header_size < sizeof *h || h->header_size > MAX_HEADER || h->header_size % 8)
                return -EBADMSG;
        if (h->strings_size > strings || h->nr_args > MAX_ARGS)
                return -EBADMSG;
        if (h->record_size < TRACE_LEAST_RECORD || h->record_size > MAX_RECORD ||
            h->record_size % 8)
                return -EBADMSG;
        return 0;
}

/* Finds the strings in the table; there must be as many as the head says. */
static int index_strings(struct trace_reader *r)
{
        size_t want = (size_t)r->header.nr_events * (EVENT_STRINGS + r->header.nr_args);
        const char *p = r->strings, *end = p + r->header.strings_size;

        if (want > r->header.strings_size)
                return -EBADMSG; /* each takes at least its NUL */
        r->names = calloc(want + 1, sizeof *r->names);
        if (!r->names)
                return -ENOMEM;
        for (size_t i = 0; i < want; i++) {
                const char *nul = memchr(p, '\0', (size_t)(end - p));

                if (!nul)
                        return -EBADMSG;
                r->names[i] = p;
                p = nul + 1;
        }
        return 0;
}

static int read_head(struct trace_reader *r, const char **why)
{
        size_t table;
        int err;

        err = take(r, &r->header, sizeof r->header);
        if (err == -EBADMSG)
                *why = "not a trace file";
        if (err)
                return err;
        err = check_header(&r->header, why);
        if (err)
                return err;
        table = r->header.header_size - sizeof r->header;
        r->strings = malloc(table + 1);
        *why = NULL;
        if (!r->strings)
                return -ENOMEM;
        err = take(r, r->strings, table);
        if (!err)
                err = index_strings(r);
        if (err == -EBADMSG)
                *why = "the head of the trace is damaged";
        return err;
}

static int open_regular(const char *path, const char **why)
{
        /* O_NONBLOCK: a FIFO must not make us wait before it is refused. */
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (!fstat(fd, &st) && S_ISREG(st.st_mode))
                return fd;
        *why = "not a regular file";
        close(fd);
        return -EINVAL;
}

int trace_reader_open(struct trace_reader **out, const char *path, const char **why)
{
        struct trace_reader *r;
        int err;

        *why = NULL;
        r = calloc(1, sizeof *r);
        if (!r)
                return -ENOMEM;
        err = r->fd = open_regular(path, why);
        if (r->fd >= 0)
                err = read_head(r, why);
        if (!err)
                r->name_event = trace_reader_find(r, "NAME");
        if (err) {
                trace_reader_close(r);
                return err;
        }
        *out = r;
        return 0;
}

void trace_reader_close(struct trace_reader *r)
{
        if (r->fd >= 0)
                close(r->fd);
        for (size_t i = 0; i < r->nr_names; i++)
                free(r->name[i].name);
        free(r->name);
        free(r->names);
        free(r->strings);
        free(r);
}

static int end_with(struct trace_reader *r, const char *problem, uint64_t detail)
{
        r->ended = true;
        snprintf(r->problem, sizeof r->problem, "after %llu records: %s (%llu)",
                 (unsigned long long)r->records, problem, (unsigned long long)detail);
        return 0;
}

static int end_at_trailer(struct trace_reader *r, const struct trace_record *trailer)
{
        r->ended = true;
        r->dropped = trailer->arg[0];
        if (trailer->arg[1] != r->records)
                return end_with(r, "the trailer counts other than that", trailer->arg[1]);
        return 0;
}

/* A name that the record brings along: kept as far as it can be; what makes no sense is left out.
 * 0 or -ENOMEM. */
static int keep_name(struct trace_reader *r, const struct trace_record *record, const char *text)
{
        size_t room = record->size - sizeof *record, length = record->arg[1];
        struct reader_name *more;

        if (record->arg[0] >= TRACE_NR_KINDS || length > room || length > MOST_NAME)
                return 0;
        if (r->nr_names == r->room_names) {
                r->room_names = r->room_names ? 2 * r->room_names : 64;
                more = realloc(r->name, r->room_names * sizeof *more);
                if (!more)
                        return -ENOMEM;
                r->name = more;
        }
        more = &r->name[r->nr_names];
        *more = (struct reader_name){ .kind = (enum trace_kind)record->arg[0],
                                      .object = record->object,
                                      .position = r->nr_names,
                                      .name = strndup(text, length) };
        if (!more->name)
                return -ENOMEM;
        r->nr_names++;
        r->sorted = false;
        return 0;
}

/* The next record's fixed part into *record, and all of it in the buffer. 1, 0 at the end, or -errno. */
static int look_at_record(struct trace_reader *r, struct trace_record *record)
{
        size_t known;
        ssize_t n = fill(r, TRACE_LEAST_RECORD);

        if (n < 0)
                return (int)n;
        if (!n)
                return end_with(r, "the file ends without a trailer; bytes of the next record", 0);
        if ((size_t)n < TRACE_LEAST_RECORD)
                return end_with(r, "the file is cut short; bytes of the next record", (uint64_t)n);
        memset(record, 0, sizeof *record);
        memcpy(record, r->buffer + r->start, TRACE_LEAST_RECORD);
        if (record->size < r->header.record_size || record->size > MAX_RECORD || record->size % 8)
                return end_with(r, "a record has a size that cannot be", record->size);
        n = fill(r, record->size);
        if (n < 0)
                return (int)n;
        if ((size_t)n < record->size)
                return end_with(r, "the file is cut short; bytes of the next record", (uint64_t)n);
        known = record->size < sizeof *record ? record->size : sizeof *record;
        memcpy(record, r->buffer + r->start, known);
        return 1;
}

int trace_reader_next(struct trace_reader *r, struct trace_record *record)
{
        bool is_name;
        int ret, err;

        do {
                if (r->ended)
                        return 0;
                ret = look_at_record(r, record);
                if (ret <= 0)
                        return ret;
                if (record->event == TRACE_TRAILER)
                        return end_at_trailer(r, record);
                is_name = record->event == r->name_event && record->size > sizeof *record;
                if (is_name) {
                        err = keep_name(r, record, r->buffer + r->start + sizeof *record);
                        if (err)
                                return err;
                }
                r->start += record->size;
                r->records++;
        } while (is_name);
        return 1;
}

struct ordered {
        struct trace_record record;
        size_t position;
};

/* By time; in the file's order where that is the same. */
static int by_time(const void *a, const void *b)
{
        const struct ordered *x = a, *y = b;

        if (x->record.time != y->record.time)
                return x->record.time < y->record.time ? -1 : 1;
        return x->position < y->position ? -1 : x->position > y->position;
}

static int load_unordered(struct trace_reader *r, struct ordered **out, size_t *nr)
{
        struct ordered *all = NULL, *more;
        size_t n = 0, room = 0;
        struct trace_record record;
        int ret;

        while ((ret = trace_reader_next(r, &record)) > 0) {
                if (n == room) {
                        room = room ? room * 2 : 1024;
                        more = realloc(all, room * sizeof *all);
                        if (!more) {
                                free(all);
                                return -ENOMEM;
                        }
                        all = more;
                }
                all[n] = (struct ordered){ .record = record, .position = n };
                n++;
        }
        if (ret < 0) {
                free(all);
                return ret;
        }
        *out = all;
        *nr = n;
        return 0;
}

int trace_reader_load(struct trace_reader *r, struct trace_record **records, size_t *nr)
{
        struct trace_record *sorted;
        struct ordered *all;
        size_t n;
        int err;

        err = load_unordered(r, &all, &n);
        if (err)
                return err;
        sorted = calloc(n ? n : 1, sizeof *sorted);
        if (!sorted) {
                free(all);
                return -ENOMEM;
        }
        if (n)
                qsort(all, n, sizeof *all, by_time);
        for (size_t i = 0; i < n; i++)
                sorted[i] = all[i].record;
        free(all);
        *records = sorted;
        *nr = n;
        return 0;
}

static int by_object(const void *a, const void *b)
{
        const struct reader_name *x = a, *y = b;
        bool threads = x->kind == TRACE_OF_THREAD;

        /* Threads are numbered by the kernel, all else by us. */
        if (threads != (y->kind == TRACE_OF_THREAD))
                return threads ? 1 : -1;
        return x->object < y->object ? -1 : x->object > y->object;
}

static int by_object_and_position(const void *a, const void *b)
{
        const struct reader_name *x = a, *y = b;
        int order = by_object(a, b);

        return order ? order : (x->position > y->position) - (x->position < y->position);
}

/* Of those that stand for it the last; there may be any number. */
static const struct reader_name *find_name(struct trace_reader *r, enum trace_kind kind,
                                           uint64_t object)
{
        const struct reader_name key = { .kind = kind, .object = object };
        size_t from = 0, to = r->nr_names; /* the first that comes behind it is in [from, to] */

        if (!r->sorted && r->nr_names)
                qsort(r->name, r->nr_names, sizeof *r->name, by_object_and_position);
        r->sorted = true;
        while (from < to) {
                size_t middle = from + (to - from) / 2;

                if (by_object(&r->name[middle], &key) <= 0)
                        from = middle + 1;
                else
                        to = middle;
        }
        if (!from || by_object(&r->name[from - 1], &key))
                return NULL;
        return &r->name[from - 1];
}

const char *trace_reader_object(struct trace_reader *r, uint64_t object, enum trace_kind *kind)
{
        const struct reader_name *found = find_name(r, TRACE_OF_FILE, object);

        if (found && kind)
                *kind = found->kind;
        return found ? found->name : NULL;
}

const char *trace_reader_thread(struct trace_reader *r, uint32_t tid)
{
        const struct reader_name *found = find_name(r, TRACE_OF_THREAD, tid);

        return found ? found->name : NULL;
}

const char *trace_reader_problem(const struct trace_reader *r)
{
        return r->problem[0] ? r->problem : NULL;
}

uint64_t trace_reader_dropped(const struct trace_reader *r)
{
        return r->dropped;
}

uint32_t trace_reader_pid(const struct trace_reader *r)
{
        return r->header.pid;
}

uint64_t trace_reader_monotonic(const struct trace_reader *r)
{
        return r->header.monotonic;
}

uint64_t trace_reader_realtime(const struct trace_reader *r)
{
        return r->header.realtime;
}

static const char *string_of(const struct trace_reader *r, unsigned event, unsigned i)
{
        unsigned each = EVENT_STRINGS + r->header.nr_args;

        return event < r->header.nr_events && i < each ? r->names[event * each + i] : "?";
}

const char *trace_reader_name(const struct trace_reader *r, unsigned event)
{
        return string_of(r, event, 0);
}

const char *trace_reader_layer(const struct trace_reader *r, unsigned event)
{
        return string_of(r, event, 1);
}

const char *trace_reader_text(const struct trace_reader *r, unsigned event)
{
        return string_of(r, event, 2);
}

const char *trace_reader_arg(const struct trace_reader *r, unsigned event, unsigned i)
{
        return i < r->header.nr_args ? string_of(r, event, EVENT_STRINGS + i) : "";
}

int trace_reader_find(const struct trace_reader *r, const char *name)
{
        for (unsigned event = 0; event < r->header.nr_events; event++)
                if (!strcmp(trace_reader_name(r, event), name))
                        return (int)event;
        return -1;
}
