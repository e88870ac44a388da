/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.h - a trace file, read back.
 *
 * The file is untrusted: every length in it is checked, and a file that ends early, or holds
 * nonsense somewhere, is read up to there; trace_reader_problem() then says what was found.
 * Names come from the file itself, so that a trace of another version can be read.
 */
#ifndef FL_TRACE_READER_H
#define FL_TRACE_READER_H

#include "trace/trace.h"

struct trace_reader;

/* 0, or -errno: of open(2) and read(2); EINVAL not a regular file, EBADMSG not a trace, EPROTO a
 * version this reader does not know. *why then points to a static phrase for people, or NULL
 * (then strerror says it). */
int trace_reader_open(struct trace_reader **out, const char *path, const char **why);
void trace_reader_close(struct trace_reader *r);

/* The next record: 1, or 0 at the end, or -errno of read(2). Within one drain of the rings
 * records are in order of time; over the whole file only nearly so. Records that name something are
 * not among them: what they say is kept. */
int trace_reader_next(struct trace_reader *r, struct trace_record *record);
/* All records from here on in order of time, in an array that the caller frees. 0 or -errno. */
int trace_reader_load(struct trace_reader *r, struct trace_record **records, size_t *nr);

/* Once the end is reached: NULL if the file is whole, else what is wrong with it. */
const char *trace_reader_problem(const struct trace_reader *r);
/* Events lost while the trace was taken; known once the end has been reached. */
uint64_t trace_reader_dropped(const struct trace_reader *r);

/* The name of a file or device by its number, or of a thread: NULL if none has been told as far as the
 * file has been read. Good until the next record is read. */
const char *trace_reader_object(struct trace_reader *r, uint64_t object, enum trace_kind *kind);
const char *trace_reader_thread(struct trace_reader *r, uint32_t tid);

uint32_t trace_reader_pid(const struct trace_reader *r);
/* Both clocks when the trace began: realtime of an event = realtime + (time - monotonic). */
uint64_t trace_reader_monotonic(const struct trace_reader *r);
uint64_t trace_reader_realtime(const struct trace_reader *r);

/* Never NULL; "?" for an event that the file does not name. */
const char *trace_reader_name(const struct trace_reader *r, unsigned event);  /* FIND_VMA */
const char *trace_reader_layer(const struct trace_reader *r, unsigned event); /* vm */
const char *trace_reader_text(const struct trace_reader *r, unsigned event);  /* find_vma */
/* Name of argument i; "" = unused. */
const char *trace_reader_arg(const struct trace_reader *r, unsigned event, unsigned i);
/* The event of that name in this file, or -1. */
int trace_reader_find(const struct trace_reader *r, const char *name);

#endif
