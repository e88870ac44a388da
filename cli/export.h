/* SPDX-License-Identifier: Apache-2.0
 *
 * export.h - a trace in the formats of other tools.
 *
 * Interface:
 *   - export.c is the command; it loads the trace and opens the output;
 *   - export_model.c finds out what belongs together: the events of one fault, the dispatch of a
 *     request and its completion; export_place.c, where in which file each event is about;
 *   - each format is one `struct export_format` in a file of its own, listed in export.c.
 * A trace is untrusted: its reader has checked its lengths, the numbers in it may be anything.
 */
#ifndef FAULTLINE_CLI_EXPORT_H
#define FAULTLINE_CLI_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "trace/reader.h"

/* The events that mean something to a format, by their numbers in this trace; -1: not in it. */
struct export_events {
        int fault_begin, fault_end, filemap_fault, read_iter, write_iter;
        int bio, getrq, merge, plugged, plug, insert, request, complete, flush, wake, retry;
        int fs_map, counters, lost;
};

/* The events under one fault id: those of a page fault, of a call such as fl_pread, or of neither. */
struct export_fault {
        uint64_t id;
        size_t first, nr;                       /* its part of by_fault */
        const struct trace_record *begin, *end; /* of a page fault; else NULL */
        const struct trace_record *about;       /* the first that says which page; NULL: none */
        uint64_t object, offset;                /* its file, or 0; bytes */
        uint64_t next;       /* when its thread is at its next page fault; UINT64_MAX: never */
        uint64_t short_name; /* trace_name() of the file, in a trace that tells no objects */
        bool placed;         /* the offset is known */
        bool waited;         /* for something */
};

/* Where in which file a record is about; of I/O that belongs to no file, where on the device. */
struct export_place {
        uint64_t object, offset;
        bool placed;
};

/* The operations of REQUEST, in Linux's numbers (event_text.c has their names). */
enum export_op {
        EXPORT_READ = 0,
        EXPORT_FLUSH = 2,
        EXPORT_DISCARD = 3,
        EXPORT_WRITE_ZEROES = 9,
        EXPORT_OP_MASK = 0xff
};

/* A request from its dispatch to its completion. */
struct export_io {
        const struct trace_record *start, *end; /* end NULL: the trace ends before */
        unsigned lane;                          /* no two of one lane overlap */
};

struct export_input {
        struct trace_reader *reader;
        struct trace_record *record; /* in order of time */
        size_t nr;
        struct export_events ev;
        size_t *by_fault; /* numbers of the records that belong to a fault, fault by fault */
        size_t nr_by_fault;
        struct export_fault *fault; /* in order of ids */
        size_t nr_faults;
        struct export_place *place; /* one a record */
        struct export_io *io;       /* in order of dispatch */
        size_t nr_io;
        size_t *ended; /* for each record: 1 + the number of the request it completes; 0: none */
        unsigned lanes;
};

/* 0 or -errno. What it has allocated is freed by export_model_free() in either case. */
int export_model_build(struct export_input *in);
/* Opens and reads the trace at path, and builds that. 0 or an exit status, having said why. */
int export_load(struct export_input *in, const char *path);
void export_model_free(struct export_input *in);
/* export_place.c: of the model, once the faults are known. 0 or -ENOMEM. */
int export_place_all(struct export_input *in);
/* What the record itself says of where it is about, in bytes of its object. False: nothing. */
bool export_own_offset(const struct export_input *in, const struct trace_record *r,
                       uint64_t *offset);
bool export_is_file(const struct export_input *in, uint64_t object);
/* The last component of the name of record i's file; "-" if it has none. */
const char *export_file_of(const struct export_input *in, size_t i, char buf[32]);
/* NULL: there is none of that id. */
const struct export_fault *export_fault_of(const struct export_input *in, uint64_t id);
/* A record of the fault, the i-th in order of time. */
static inline const struct trace_record *export_record(const struct export_input *in,
                                                       const struct export_fault *f, size_t i)
{
        return &in->record[in->by_fault[f->first + i]];
}

struct export_format {
        const char *name;
        bool binary;
        /* False: the output could not be written; errno says why. */
        bool (*write)(const struct export_input *in, FILE *out);
};

extern const struct export_format export_text, export_perfetto, export_blktrace;

#endif
