/* SPDX-License-Identifier: Apache-2.0
 *
 * sink.h - what is between the threads that write events (trace.c) and the thread that writes the
 * file (writer.c, names.c): one mapping, from trace_start() to trace_stop(). Who owns which ring, and
 * how far it is filled, is in struct trace, which outlives it.
 */
#ifndef FL_TRACE_SINK_H
#define FL_TRACE_SINK_H

#include <pthread.h>

#include "trace/format.h"
#include "trace/ticks.h"
#include "util/lock.h"

#define RING_RECORDS 32768              /* a power of two */
#define WAKE_RECORDS (RING_RECORDS / 4) /* so many wait: the writer is woken */
#define BUFFER_SIZE (256u << 10)
#define THREADS_KNOWN 4096u /* a power of two */

struct trace_sink {
        struct trace *trace;
        pthread_t writer;
        _Atomic bool stop;
        struct ticks ticks; /* what `time` of the records in the rings is */
        /* the writer's: */
        int fd;
        int error;              /* the first failed write, -errno */
        uint64_t written, size; /* records and bytes in the file, the head's too */
        uint64_t buffered;      /* records in the buffer, */
        uint64_t events;        /* those of them that are no words of the writer's own, */
        size_t used;            /* and bytes */
        uint64_t round;         /* ns, when this drain began: the time of what it adds */
        uint64_t lost_told;     /* drops that LOST has told of */
        uint64_t counters_at;   /* ns, of the last COUNTERS */
        struct trace_counters counters;
        uint32_t thread[THREADS_KNOWN]; /* that have been named, by a hash of the tid; 0: free */
        _Alignas(64) char buffer[BUFFER_SIZE];
        char path[256]; /* (c) the end of it, for people */
        _Alignas(64) struct trace_record record[TRACE_RINGS][RING_RECORDS];
};

static inline struct trace_sink *sink_of(struct trace *t)
{
        return __atomic_load_n(&t->sink, __ATOMIC_SEQ_CST);
}
static inline void trace_drop(struct trace *t, uint64_t n)
{
        atomic_fetch_add_explicit(&t->dropped, n, memory_order_relaxed);
}
/* trace.c: who writes to a sink of t's from now on will be seen by trace_wait_for_emitters(). */
void trace_expect_emitters(struct trace *t);
/* t's sink was taken away: waits until nobody writes to it, but not for ever. False: somebody may still; the
 * sink's memory has to stay. */
bool trace_wait_for_emitters(struct trace *t);
/* Those for whom that was too long get other rings. => the writer has ended */
void trace_leave_aside(struct trace *t);
/* The thread that owns the ring is no more. */
bool trace_owner_is_gone(uint64_t owner);

/* writer.c: the buffer's next `size` bytes, for one record. NULL: nothing can be written any more. */
void *sink_place(struct trace_sink *s, size_t size);
/* names.c, by the writer: what has been named since; a thread's name, the first time it is seen. */
void sink_write_names(struct trace_sink *s);
void sink_name_thread(struct trace_sink *s, uint32_t tid);
/* Nobody names anything any more that would be written. */
void trace_forget_names(struct trace *t);

#endif
