/* SPDX-License-Identifier: Apache-2.0
 *
 * sink.h - what is between the threads that write events (trace.c) and the thread that writes the
 * file (writer.c, names.c): one mapping, a table of owners and the rings.
 */
#ifndef FL_TRACE_SINK_H
#define FL_TRACE_SINK_H

#include <pthread.h>

#include "trace/format.h"
#include "util/lock.h"

#define RINGS 128
#define RING_RECORDS 32768              /* a power of two */
#define WAKE_RECORDS (RING_RECORDS / 4) /* so many wait: the writer is woken */
#define BUFFER_SIZE (256u << 10)
#define THREADS_KNOWN 4096u /* a power of two */

struct ring {
        _Alignas(64) _Atomic uint64_t head; /* next to write; the owner's */
        uint64_t tail_seen;                 /* the owner's last look at tail */
        uint64_t woken;                     /* the owner's: head when it last woke the writer */
        _Alignas(64) _Atomic uint64_t tail; /* next to drain; the writer's */
        _Alignas(64) struct trace_record record[RING_RECORDS];
};

struct trace_sink {
        struct trace *trace;
        uint64_t generation; /* unique in the process */
        pthread_t writer;
        _Atomic uint32_t turn;      /* futex word: bumped to wake the writer */
        _Atomic bool stop, crowded; /* crowded: a thread found no ring since the writer looked */
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
        _Atomic uint64_t owner[RINGS]; /* serial << 32 | tid; 0: free */
        char path[256];                /* (c) the end of it, for people */
        struct ring ring[RINGS];
};

static inline struct trace_sink *sink_of(struct trace *t)
{
        return __atomic_load_n(&t->sink, __ATOMIC_SEQ_CST);
}
static inline void trace_drop(struct trace *t, uint64_t n)
{
        atomic_fetch_add_explicit(&t->dropped, n, memory_order_relaxed);
}
/* trace.c: from now on nobody writes to a sink of t's that was taken away. */
void trace_wait_for_emitters(void);

/* writer.c: the buffer's next `size` bytes, for one record. NULL: nothing can be written any more. */
void *sink_place(struct trace_sink *s, size_t size);
/* names.c, by the writer: what has been named since; a thread's name, the first time it is seen. */
void sink_write_names(struct trace_sink *s);
void sink_name_thread(struct trace_sink *s, uint32_t tid);
/* Nobody names anything any more that would be written. */
void trace_forget_names(struct trace *t);

#endif
