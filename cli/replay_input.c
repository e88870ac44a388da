/* SPDX-License-Identifier: Apache-2.0
 *
 * replay_input.c - the accesses to be replayed.
 *
 * A list has one page number a line; `#` starts a comment. A trace holds no accesses but what the
 * engine saw of them: the faults, and the pages of fl_pread. What was mapped already left nothing
 * behind. It is untrusted, like any trace; trace/reader.h checks it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access.h"
#include "cli.h"
#include "replay.h"
#include "trace/reader.h"

#define MOST_PAGES (UINT64_C(1) << 51) /* of a file: 2^63 bytes */

static bool is_trace(const char *path)
{
        char magic[sizeof(TRACE_MAGIC) - 1];
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        bool yes = fd >= 0 && pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
                   !memcmp(magic, TRACE_MAGIC, sizeof(magic));

        if (fd >= 0)
                close(fd);
        return yes;
}

static int read_list(struct replay_input *in, const char *path)
{
        struct access_plan plan = {
                .pattern = ACCESS_LIST,
                .list_path = path,
                .pages = MOST_PAGES,
        };
        int status = access_prepare(&plan);

        in->page = plan.list;
        in->nr = plan.list_length;
        return status;
}

/* What one look at a page is told by, and the file it belongs to. */
struct events {
        int look, fault, read;
        uint64_t file; /* its number; of a trace that tells none its name; 0: not known yet */
};

static uint64_t file_of(const struct trace_reader *r, const struct trace_record *record)
{
        for (unsigned i = 0; !record->object && i < 4; i++)
                if (!strcmp(trace_reader_arg(r, record->event, i), "file"))
                        return record->arg[i];
        return record->object;
}

/* Adds what the record tells. A fault that is run again looks again: that is one access. */
static int add_record(struct replay_input *in, const struct trace_reader *r, struct events *e,
                      const struct trace_record *record, struct trace_record *last)
{
        bool named = record->event == e->fault || record->event == e->read;
        uint64_t file = named ? file_of(r, record) : 0;

        if (file) {
                if (e->file && e->file != file)
                        return -EXDEV;
                e->file = file;
        }
        if (record->event != e->look)
                return 0;
        if (record->fault == last->fault && record->arg[0] == last->arg[0])
                return 0;
        if (record->arg[0] >= MOST_PAGES)
                return -EBADMSG;
        *last = *record;
        in->page[in->nr++] = record->arg[0];
        return 0;
}

static int take_records(struct replay_input *in, struct trace_reader *r, const char *path)
{
        struct events e = { .look = trace_reader_find(r, "FIND_GET_PAGE"),
                            .fault = trace_reader_find(r, "FILEMAP_FAULT"),
                            .read = trace_reader_find(r, "READ_ITER") };
        struct trace_record *records = NULL, last = { 0 };
        size_t nr = 0;
        int error = trace_reader_load(r, &records, &nr);

        if (!error) {
                in->page = calloc(nr ? nr : 1, sizeof(*in->page));
                error = in->page ? 0 : -ENOMEM;
        }
        for (size_t i = 0; !error && i < nr; i++)
                error = add_record(in, r, &e, &records[i], &last);
        free(records);
        if (error == -EXDEV)
                return fail(path, "replay", "the trace holds faults of more than one file");
        if (error)
                return fail(path, "read", "%s", strerror(-error));
        if (trace_reader_problem(r))
                return fail(path, "read", "%s", trace_reader_problem(r));
        if (!in->nr)
                return fail(path, "replay", "no faults and no reads in it");
        return 0;
}

static int read_trace(struct replay_input *in, const char *path)
{
        struct trace_reader *r;
        const char *why = NULL;
        int status, error = trace_reader_open(&r, path, &why);

        if (error)
                return fail(path, "open", "%s", why ? why : strerror(-error));
        status = take_records(in, r, path);
        trace_reader_close(r);
        return status;
}

static int by_page(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

/* Numbers the different pages. */
static bool number_pages(struct replay_input *in)
{
        uint64_t *sorted = calloc(in->nr, sizeof(*sorted));
        size_t nr = 0;

        in->id = calloc(in->nr, sizeof(*in->id));
        if (!sorted || !in->id) {
                free(sorted);
                return false;
        }
        memcpy(sorted, in->page, in->nr * sizeof(*sorted));
        qsort(sorted, in->nr, sizeof(*sorted), by_page);
        for (size_t i = 0; i < in->nr; i++)
                if (!i || sorted[i] != sorted[nr - 1])
                        sorted[nr++] = sorted[i];
        for (size_t i = 0; i < in->nr; i++) {
                const uint64_t *at = bsearch(&in->page[i], sorted, nr, sizeof(*sorted), by_page);

                in->id[i] = (uint32_t)(at - sorted);
        }
        in->distinct = (uint32_t)nr;
        in->file_pages = sorted[nr - 1] + 1;
        free(sorted);
        return true;
}

int replay_read(struct replay_input *in, const char *path)
{
        int status;

        *in = (struct replay_input){ 0 };
        status = is_trace(path) ? read_trace(in, path) : read_list(in, path);
        if (status)
                return status;
        if (in->nr >= UINT32_MAX)
                return fail(path, "replay", "more than 4,294,967,294 accesses");
        if (!number_pages(in))
                return fail(path, "replay", "%s", strerror(ENOMEM));
        return 0;
}

void replay_free(struct replay_input *in)
{
        free(in->page);
        free(in->id);
}
