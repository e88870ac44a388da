/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_trace.c - the reader of trace files, on any file.
 */
#include <string.h>

#include "fuzz.h"
#include "trace/format.h"
#include "trace/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *path = fuzz_file(data, size), *why = NULL;
        struct trace_record *record = NULL;
        struct trace_reader *r;
        size_t nr = 0;

        if (trace_reader_open(&r, path, &why))
                return 0;
        must(!trace_reader_load(r, &record, &nr));
        must(nr <= size / TRACE_LEAST_RECORD);
        for (size_t i = 0; i < nr; i++) {
                const char *object = trace_reader_object(r, record[i].object, NULL);
                const char *thread = trace_reader_thread(r, record[i].tid);

                must(!object || strlen(object) <= 1024);
                must(!thread || strlen(thread) <= 1024);
                must(trace_reader_name(r, record[i].event));
                must(trace_reader_layer(r, record[i].event) &&
                     trace_reader_text(r, record[i].event));
                for (unsigned a = 0; a < 4; a++)
                        must(trace_reader_arg(r, record[i].event, a));
        }
        (void)trace_reader_problem(r);
        (void)trace_reader_dropped(r);
        free(record);
        trace_reader_close(r);
        return 0;
}
