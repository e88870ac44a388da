/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_reader.c - the reader on good, shortened, damaged and foreign files.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/format.h"
#include "trace/reader.h"

#define RECORDS 5u

static char path[64];
static char *good; /* a whole trace of RECORDS records */
static size_t good_size, head_size;

static void write_file(const void *data, size_t len)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, data, len), (ssize_t)len);
        close(fd);
}

/* Names of threads come and go with the machine: the tests know exactly what is there. */
static void drop_names(void)
{
        struct trace_record *trailer;
        size_t to = head_size;

        for (size_t at = head_size; at < good_size;) {
                const struct trace_record *r = (const struct trace_record *)(good + at);
                size_t size = r->size;

                if (r->event != TRACE_NAME) {
                        memmove(good + to, good + at, size);
                        to += size;
                }
                at += size;
        }
        good_size = to;
        trailer = (struct trace_record *)(good + good_size) - 1;
        trailer->arg[1] = RECORDS;
}

static void set_up(void)
{
        struct trace trace;
        struct stat st;
        int fd;

        snprintf(path, sizeof path, "/tmp/faultline-reader-XXXXXX");
        fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        trace_init(&trace);
        cr_assert_eq(trace_start(&trace, path), 0);
        for (unsigned i = 0; i < RECORDS; i++)
                trace_emit(&trace, FIND_VMA, i, i, i, 0, 0, 0);
        cr_assert_eq(trace_stop(&trace), 0);
        fstat(fd, &st);
        good_size = (size_t)st.st_size;
        good = malloc(good_size);
        cr_assert_eq(read(fd, good, good_size), (ssize_t)good_size);
        close(fd);
        head_size = ((struct trace_header *)good)->header_size;
        drop_names();
        cr_assert_eq(good_size, head_size + (RECORDS + 1) * sizeof(struct trace_record));
}

static void tear_down(void)
{
        unlink(path);
        free(good);
}

/* Reads all there is: the error of open, or how many records. *whole: no problem was reported. */
static int read_all(bool *whole)
{
        struct trace_record record;
        struct trace_reader *r;
        const char *why;
        int n = 0, ret;

        ret = trace_reader_open(&r, path, &why);
        if (ret) {
                cr_assert_lt(ret, 0);
                return ret;
        }
        while ((ret = trace_reader_next(r, &record)) > 0) {
                cr_assert_lt(n++, 100000);
                /* Whatever the number, there is a name. */
                cr_assert_not_null(trace_reader_text(r, record.event));
                cr_assert_not_null(trace_reader_arg(r, record.event, 3));
        }
        cr_assert_eq(ret, 0);
        cr_assert_eq(trace_reader_next(r, &record), 0);
        *whole = !trace_reader_problem(r);
        trace_reader_close(r);
        return n;
}

Test(reader, names_come_from_the_file, .init = set_up, .fini = tear_down)
{
        struct trace_reader *r;
        const char *why;

        write_file(good, good_size);
        cr_assert_eq(trace_reader_open(&r, path, &why), 0);
        cr_assert_eq(trace_reader_find(r, "FIND_VMA"), TRACE_FIND_VMA);
        cr_assert_eq(trace_reader_find(r, "NO_SUCH"), -1);
        cr_assert_str_eq(trace_reader_name(r, TRACE_FIND_VMA), "FIND_VMA");
        cr_assert_str_eq(trace_reader_layer(r, TRACE_FIND_VMA), "vm");
        cr_assert_str_eq(trace_reader_text(r, TRACE_FIND_VMA), "find_vma");
        cr_assert_str_eq(trace_reader_arg(r, TRACE_FIND_VMA, 1), "end");
        cr_assert_str_eq(trace_reader_arg(r, TRACE_FIND_VMA, 4), "");
        cr_assert_str_eq(trace_reader_text(r, TRACE_NR_EVENTS), "?");
        cr_assert_str_eq(trace_reader_text(r, TRACE_ERROR), "error");
        cr_assert_str_eq(trace_reader_arg(r, TRACE_ERROR, 2), "length");
        trace_reader_close(r);
}

Test(reader, whole_file, .init = set_up, .fini = tear_down)
{
        bool whole;

        write_file(good, good_size);
        cr_assert_eq(read_all(&whole), (int)RECORDS);
        cr_assert(whole);
}

Test(reader, every_truncation, .init = set_up, .fini = tear_down, .timeout = 60)
{
        for (size_t len = 0; len < good_size; len++) {
                size_t records = len < head_size ? 0 : (len - head_size) / 64;
                bool whole = true;
                int n;

                write_file(good, len);
                n = read_all(&whole);
                if (len < head_size) {
                        cr_assert_eq(n, -EBADMSG, "%zu bytes: %d", len, n);
                        continue;
                }
                cr_assert_eq(n, (int)records, "%zu bytes: %d records", len, n);
                cr_assert_not(whole, "%zu bytes pass for a whole file", len);
        }
}

/* Any single damaged byte: the reader may read on or stop, but it ends, and inside the file. */
Test(reader, every_damaged_byte, .init = set_up, .fini = tear_down, .timeout = 120)
{
        for (size_t at = 0; at < good_size; at++) {
                static const char values[] = { 0, 1, 0x7f, (char)0x80, (char)0xff };
                char old = good[at];

                /* The text is less interesting than the numbers around it. */
                if (at >= sizeof(struct trace_header) && at < head_size && at % 16)
                        continue;
                for (size_t v = 0; v < sizeof values; v++) {
                        bool whole;

                        good[at] = values[v];
                        write_file(good, good_size);
                        read_all(&whole);
                }
                good[at] = old;
        }
}

Test(reader, damaged_sizes_are_reported, .init = set_up, .fini = tear_down)
{
        static const uint16_t sizes[] = { 0, 8, 55, 57, 4104, 65535 };
        struct trace_record *third = (struct trace_record *)(good + head_size) + 2;
        bool whole;

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                third->size = sizes[i];
                write_file(good, good_size);
                cr_assert_eq(read_all(&whole), 2, "size %u", sizes[i]);
                cr_assert_not(whole);
        }
        third->size = 128; /* longer than ours, as of a later version: swallows its neighbour */
        write_file(good, good_size);
        cr_assert_eq(read_all(&whole), (int)RECORDS - 1);
        cr_assert_not(whole, "the trailer counts one more");
}

Test(reader, damaged_head_is_refused, .init = set_up, .fini = tear_down)
{
        struct trace_header saved, *h = (struct trace_header *)good;
        bool whole;

        memcpy(&saved, h, sizeof saved);
#define REFUSED(member, value, error)                                                              \
        do {                                                                                       \
                h->member = (value);                                                               \
                write_file(good, good_size);                                                       \
                cr_assert_eq(read_all(&whole), error);                                             \
                memcpy(h, &saved, sizeof saved);                                                   \
        } while (0)
        REFUSED(magic[3], 'X', -EBADMSG);
        REFUSED(version, 2, -EPROTO);
        REFUSED(header_size, 0, -EBADMSG);
        REFUSED(header_size, 56, -EBADMSG);
        REFUSED(header_size, 0xfffffff8u, -EBADMSG);
        REFUSED(header_size, 1u << 20, -EBADMSG); /* longer than the file */
        REFUSED(record_size, 48, -EBADMSG);
        REFUSED(record_size, 0, -EBADMSG);
        REFUSED(nr_args, 17, -EBADMSG);
        REFUSED(nr_args, 16, -EBADMSG); /* more strings than there are */
        REFUSED(nr_events, 65535, -EBADMSG);
        REFUSED(strings_size, UINT32_MAX, -EBADMSG);
        REFUSED(strings_size, 0, -EBADMSG);
#undef REFUSED
        write_file(good, good_size);
        cr_assert_eq(read_all(&whole), (int)RECORDS);
}

Test(reader, later_version_with_longer_records, .init = set_up, .fini = tear_down)
{
        struct trace_header *h = (struct trace_header *)good;
        char *longer = calloc(1, head_size + (RECORDS + 1) * 72);
        bool whole;

        h->record_size = 72;
        memcpy(longer, good, head_size);
        for (unsigned i = 0; i <= RECORDS; i++) {
                struct trace_record *r = (struct trace_record *)(longer + head_size + i * 72);

                memcpy(r, good + head_size + i * 64, 64);
                r->size = 72;
        }
        write_file(longer, head_size + (RECORDS + 1) * 72);
        free(longer);
        cr_assert_eq(read_all(&whole), (int)RECORDS);
        cr_assert(whole);
}

/* The first files had records of 56 bytes, without an object. */
Test(reader, earlier_records_are_read, .init = set_up, .fini = tear_down)
{
        struct trace_header *h = (struct trace_header *)good;
        char *shorter = calloc(1, good_size);
        struct trace_record *records;
        struct trace_reader *r;
        const char *why;
        size_t n;

        h->record_size = 56;
        memcpy(shorter, good, head_size);
        for (unsigned i = 0; i <= RECORDS; i++) {
                char *to = shorter + head_size + i * 56;
                uint16_t size = 56;

                memcpy(to, good + head_size + i * 64, 56);
                memcpy(to + offsetof(struct trace_record, size), &size, sizeof size);
        }
        write_file(shorter, head_size + (RECORDS + 1) * 56);
        free(shorter);
        cr_assert_eq(trace_reader_open(&r, path, &why), 0, "%s", why);
        cr_assert_eq(trace_reader_load(r, &records, &n), 0);
        cr_assert_null(trace_reader_problem(r), "%s", trace_reader_problem(r));
        cr_assert_eq(n, RECORDS);
        for (unsigned i = 0; i < n; i++) {
                cr_assert_eq(records[i].arg[0], records[i].fault);
                cr_assert_eq(records[i].object, 0, "what follows is no part of the record");
        }
        free(records);
        trace_reader_close(r);
}

/* Names are bounded by their record; a kind that is not known, or a length that cannot be, is no name. */
Test(reader, damaged_names_are_left_out, .init = set_up, .fini = tear_down)
{
        static const struct {
                uint64_t kind, length;
                const char *name;
        } cases[] = {
                { TRACE_OF_FILE, 6, "hello\n" },  { TRACE_OF_DEVICE, 5, "hello" },
                { TRACE_OF_FILE, 64, "hello\n" }, { TRACE_NR_KINDS, 5, NULL },
                { TRACE_OF_FILE, 65, NULL },      { TRACE_OF_FILE, UINT64_MAX, NULL },
        };
        struct trace_record *first = (struct trace_record *)(good + head_size);

        /* The second record is the first one's name. */
        memset(first + 1, 0, sizeof *first);
        memcpy(first + 1, "hello\n", 6);
        first->event = TRACE_NAME;
        first->size = 128;
        first->object = 5;
        ((struct trace_record *)(good + good_size) - 1)->arg[1] = RECORDS - 1;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct trace_record *records;
                struct trace_reader *r;
                const char *why, *name;
                size_t n;

                first->arg[0] = cases[i].kind;
                first->arg[1] = cases[i].length;
                write_file(good, good_size);
                cr_assert_eq(trace_reader_open(&r, path, &why), 0);
                cr_assert_eq(trace_reader_load(r, &records, &n), 0);
                cr_assert_null(trace_reader_problem(r), "%s", trace_reader_problem(r));
                cr_assert_eq(n, RECORDS - 2);
                name = trace_reader_object(r, 5, NULL);
                if (cases[i].name)
                        cr_assert_str_eq(name, cases[i].name, "case %zu", i);
                else
                        cr_assert_null(name, "case %zu", i);
                free(records);
                trace_reader_close(r);
        }
}

/* However many names one thing has got: the last holds, and is found at once. */
#define MANY 200000u

Test(reader, many_names_of_one_thing, .init = set_up, .fini = tear_down, .timeout = 15)
{
        struct {
                struct trace_record record;
                char name[8];
        } * name;
        struct trace_record trailer = { .event = TRACE_TRAILER,
                                        .size = sizeof trailer,
                                        .arg = { 0, MANY } };
        size_t size = head_size + MANY * sizeof *name + sizeof trailer, nr;
        struct trace_record *records;
        struct trace_reader *r;
        char *file = calloc(1, size), last[8];
        const char *why;

        cr_assert(file);
        memcpy(file, good, head_size);
        name = (void *)(file + head_size);
        for (unsigned i = 0; i < MANY; i++) {
                name[i].record = (struct trace_record){ .event = TRACE_NAME,
                                                        .size = sizeof *name,
                                                        .arg = { TRACE_OF_FILE, 7 },
                                                        .object = 5 };
                snprintf(name[i].name, sizeof name[i].name, "%07u", i);
        }
        memcpy(name + MANY, &trailer, sizeof trailer);
        write_file(file, size);
        free(file);
        cr_assert_eq(trace_reader_open(&r, path, &why), 0);
        cr_assert_eq(trace_reader_load(r, &records, &nr), 0);
        cr_assert_null(trace_reader_problem(r), "%s", trace_reader_problem(r));
        cr_assert_eq(nr, 0);
        snprintf(last, sizeof last, "%07u", MANY - 1);
        for (unsigned i = 0; i < MANY; i++)
                cr_assert_str_eq(trace_reader_object(r, 5, NULL), last);
        cr_assert_null(trace_reader_object(r, 4, NULL));
        cr_assert_null(trace_reader_object(r, 6, NULL));
        cr_assert_null(trace_reader_thread(r, 5));
        free(records);
        trace_reader_close(r);
}

Test(reader, what_is_not_a_trace, .init = set_up, .fini = tear_down, .timeout = 10)
{
        struct trace_reader *r;
        const char *why;

        cr_assert_eq(trace_reader_open(&r, "/nonexistent", &why), -ENOENT);
        cr_assert_eq(trace_reader_open(&r, "/tmp", &why), -EINVAL);
        cr_assert_not_null(why);
        cr_assert_eq(trace_reader_open(&r, "/dev/zero", &why), -EINVAL);
        unlink(path);
        cr_assert_eq(mkfifo(path, 0600), 0);
        cr_assert_eq(trace_reader_open(&r, path, &why), -EINVAL);
        unlink(path);
        write_file("hello, world\n", 13);
        cr_assert_eq(trace_reader_open(&r, path, &why), -EBADMSG);
        cr_assert_str_eq(why, "not a trace file");
}

Test(reader, load_orders_by_time, .init = set_up, .fini = tear_down)
{
        struct trace_record *records = (struct trace_record *)(good + head_size), *sorted;
        struct trace_reader *r;
        const char *why;
        size_t n;

        for (unsigned i = 0; i < RECORDS; i++)
                records[i].time = i < 2 ? 100 : 100 - i; /* two the same */
        write_file(good, good_size);
        cr_assert_eq(trace_reader_open(&r, path, &why), 0);
        cr_assert_eq(trace_reader_load(r, &sorted, &n), 0);
        cr_assert_eq(n, RECORDS);
        for (unsigned i = 1; i < n; i++)
                cr_assert_leq(sorted[i - 1].time, sorted[i].time);
        cr_assert_eq(sorted[RECORDS - 2].fault, 0);
        cr_assert_eq(sorted[RECORDS - 1].fault, 1);
        free(sorted);
        trace_reader_close(r);
}
