/* SPDX-License-Identifier: Apache-2.0
 *
 * format.h - the head of a trace file, for trace.c that writes it and reader.c that reads it.
 * In words: docs/trace-format.md.
 */
#ifndef FL_TRACE_FORMAT_H
#define FL_TRACE_FORMAT_H

#include "trace/trace.h"

#define TRACE_VERSION 1
#define TRACE_ARGS 4
#define TRACE_LEAST_RECORD 56u /* of the first files, which told no object */
#define TRACE_TRAILER 0xffffu  /* event of the last record: arg = dropped, records */

struct trace_header {
        char magic[8];        /* TRACE_MAGIC, no NUL */
        uint32_t header_size; /* bytes before the first record: this struct and the strings */
        uint16_t version;
        uint16_t record_size; /* the least a record takes */
        uint64_t monotonic;   /* both clocks at the start, ns */
        uint64_t realtime;
        uint32_t pid;
        uint16_t nr_events;
        uint16_t nr_args;
        uint32_t strings_size; /* without the padding to 8 bytes */
        uint32_t zero[5];
};

_Static_assert(sizeof(struct trace_header) == 64, "part of the file format");
_Static_assert(sizeof(struct trace_record) == 64, "part of the file format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little endian");

#endif
