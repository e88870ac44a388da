/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_fixture.h - two traces, each with a file, and what a file holds when all is over.
 */
#ifndef TEST_TRACE_FIXTURE_H
#define TEST_TRACE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "trace/reader.h"

static char path[2][64];
static struct trace trace[2];

static inline void set_up(void)
{
        for (unsigned i = 0; i < 2; i++) {
                int fd;

                snprintf(path[i], sizeof path[i], "/tmp/faultline-trace-XXXXXX");
                fd = mkstemp(path[i]);
                cr_assert_geq(fd, 0);
                close(fd);
                trace_init(&trace[i]);
        }
}

static inline void tear_down(void)
{
        for (unsigned i = 0; i < 2; i++)
                unlink(path[i]);
}

/* What threads wrote themselves; the writer's own word for what was lost goes out. */
static inline struct trace_record *load(const char *file, size_t *nr, uint64_t *dropped)
{
        struct trace_record *records;
        struct trace_reader *r;
        uint64_t lost = 0;
        const char *why;

        cr_assert_eq(trace_reader_open(&r, file, &why), 0, "%s", why);
        cr_assert_eq(trace_reader_load(r, &records, nr), 0);
        cr_assert_null(trace_reader_problem(r), "%s", trace_reader_problem(r));
        cr_assert_eq(trace_reader_pid(r), (uint32_t)getpid());
        *dropped = trace_reader_dropped(r);
        for (size_t i = 0, all = *nr; i < all; i++) {
                if (!i)
                        *nr = 0;
                if (records[i].event != TRACE_LOST)
                        records[(*nr)++] = records[i];
                else
                        lost += records[i].arg[0];
        }
        cr_assert_eq(lost, *dropped, "LOST tells of %lu, the trailer of %lu", lost, *dropped);
        trace_reader_close(r);
        return records;
}

#endif
