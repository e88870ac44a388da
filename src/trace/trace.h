/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.h - what happened, from every layer, under one fault id.
 *
 * Interface:
 *   - trace_emit() is called on the fault path: it allocates nothing, takes no lock, makes no
 *     system call but the vDSO clock, and returns at once when tracing is off.
 *   - Each thread writes a ring of its own, claimed from a fixed set on its first event.
 *   - A writer thread drains the rings to the file in order of time as far as one drain goes;
 *     a full ring drops events and counts them, it never waits.
 * The file: docs/trace-format.md. Reading it back: trace/reader.h.
 */
#ifndef FL_TRACE_TRACE_H
#define FL_TRACE_TRACE_H

#include "trace/events.h"
#include "trace/stats.h"
#include "util/base.h"

#define TRACE_MAGIC "FLTRACE1"

/* One event, as in memory so in the file (little endian). */
struct trace_record {
        uint64_t time;  /* CLOCK_MONOTONIC, ns */
        uint64_t fault; /* 0: belongs to no fault */
        uint32_t tid;
        uint16_t event; /* enum trace_event */
        uint16_t size;  /* of this record */
        uint64_t arg[4];
};

struct trace {
        struct stats stats; /* always on */
        _Atomic bool on;
        _Atomic uint64_t next_fault;
        _Atomic uint64_t dropped; /* events lost since trace_start() */
        struct trace_sink *sink;  /* rings and writer; NULL until trace_start() */
};

void trace_init(struct trace *t);
/* Creates `path`, 0600, or writes over an earlier trace. 0 or -errno; -EEXIST: there is something
 * else in it. */
int trace_start(struct trace *t, const char *path);
/* Drains, writes the trailer (drops), closes. Idempotent. 0 or -errno of a failed write. */
int trace_stop(struct trace *t);
uint64_t trace_dropped(struct trace *t);

static inline uint64_t trace_new_fault(struct trace *t)
{
        return atomic_fetch_add_explicit(&t->next_fault, 1, memory_order_relaxed) + 1;
}
static inline bool trace_on(struct trace *t)
{
        return unlikely(atomic_load_explicit(&t->on, memory_order_relaxed));
}
void trace_write(struct trace *t, enum trace_event ev, uint64_t fault, uint64_t a, uint64_t b,
                 uint64_t c, uint64_t d);
static inline void trace_emit(struct trace *t, enum trace_event ev, uint64_t fault, uint64_t a,
                              uint64_t b, uint64_t c, uint64_t d)
{
        if (trace_on(t))
                trace_write(t, ev, fault, a, b, c, d);
}
/* A name as an argument: its first eight bytes, read back by trace_name_of(). */
uint64_t trace_name(const char *name);
void trace_name_of(uint64_t arg, char out[9]);

#endif
