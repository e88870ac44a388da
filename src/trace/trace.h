/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.h - what happened, from every layer, under one fault id.
 *
 * Interface:
 *   - trace_emit() is called on the fault path: it allocates nothing, takes no lock, makes no
 *     system call but, each time a quarter of a ring waits, one futex wake;
 *     when nobody looks it is one test, and what would be told is not worked out.
 *   - Each thread writes a ring of its own, claimed from a fixed set on its first event.
 *   - A writer thread drains the rings to the file in order of time as far as one drain goes;
 *     a full ring drops events and counts them, it never waits.
 *   - Files and devices are numbered by trace_object(); every event says which one it is about.
 * The file: docs/trace-format.md. Reading it back: trace/reader.h.
 */
#ifndef FL_TRACE_TRACE_H
#define FL_TRACE_TRACE_H

#include "trace/events.h"
#include "trace/probe.h"
#include "trace/stats.h"
#include "util/base.h"

#define TRACE_MAGIC "FLTRACE1"
#define TRACE_RINGS 128

/* One event, as in memory so in the file (little endian). */
struct trace_record {
        uint64_t time;  /* CLOCK_MONOTONIC, ns; in a ring ticks (trace/ticks.h) */
        uint64_t fault; /* 0: belongs to no fault */
        uint32_t tid;
        uint16_t event; /* enum trace_event */
        uint16_t size;  /* of this record */
        uint64_t arg[4];
        uint64_t object; /* the file or device it is about; 0: none, or one that is not known */
};

/* What a name is the name of: argument `kind` of event NAME. */
enum trace_kind { TRACE_OF_FILE, TRACE_OF_DEVICE, TRACE_OF_THREAD, TRACE_NR_KINDS };

/* The event COUNTERS: bytes, but for the queue, which is requests at the devices. */
struct trace_counters {
        uint64_t cache, dirty, queue, budget;
};

/* Where one thread is in its ring. Not shared between caches, wherever the struct lies. */
struct trace_ring {
        /* the owner's: */
        _Atomic uint64_t head;     /* next to write */
        uint64_t tail_seen, woken; /* its last look at tail; head when it last woke the writer */
        _Atomic bool busy;         /* it is writing, or about to: the sink stays */
        _Atomic bool aside;        /* for too long: nobody looks here until its owner is gone */
        char apart[64];
        /* the writer's: */
        _Atomic uint64_t tail; /* next to drain */
        uint64_t told;         /* ns, the time of the last that was drained */
        bool late;             /* trace_stop()'s: it was waited for in vain */
        char apart_too[64];
};

struct trace {
        struct stats stats; /* always on */
        /* looked at with every event: */
        _Atomic bool on;
        _Atomic bool fenced_from_afar; /* owners need no fence of their own */
        bool quiet;  /* (c) nothing is said when tracing has to stop: trace_stop() returns it */
        uint64_t id; /* (c) unique in the process, from trace_init() */
        struct trace_sink *sink;           /* records and writer; NULL until trace_start() */
        struct trace_sink *left;           /* an earlier one, to which somebody may still write */
        struct trace_named *_Atomic named; /* names that the writer has not written yet */
        /* Asked by the writer now and then; it must not block. NULL: there are none. */
        void (*_Atomic counters)(void *arg, struct trace_counters *out);
        void *counters_arg; /* (c) once `counters` is set */
        /* Threads and their rings. They stay when a trace stops: who is late looks at its own. */
        _Atomic bool crowded;                /* a thread found no ring since the writer looked */
        _Atomic uint32_t turn;               /* futex word: bumped to wake the writer */
        _Atomic uint64_t owner[TRACE_RINGS]; /* serial << 32 | tid; 0: free */
        struct trace_ring ring[TRACE_RINGS];
        /* written to with every fault: */
        _Atomic uint64_t next_fault, next_object;
        _Atomic uint64_t dropped; /* events lost since trace_start() */
};

void trace_init(struct trace *t);
/* Creates `path`, 0600, or writes over an earlier trace. 0 or -errno; -EEXIST: there is something
 * else in it. */
int trace_start(struct trace *t, const char *path);
/* Drains, writes the trailer (drops), closes. Idempotent. 0 or -errno of a failed write. */
int trace_stop(struct trace *t);
uint64_t trace_dropped(struct trace *t);
/* A number for a file or device, from 1 on, and its name. May allocate: not on the fault path. */
uint64_t trace_object(struct trace *t, enum trace_kind kind, const char *name);
/* From now on until trace_stop() the writer may call it. */
void trace_set_counters(struct trace *t, void (*counters)(void *arg, struct trace_counters *out),
                        void *arg);

static inline uint64_t trace_new_fault(struct trace *t)
{
        return atomic_fetch_add_explicit(&t->next_fault, 1, memory_order_relaxed) + 1;
}
static inline bool trace_on(struct trace *t)
{
        return unlikely(atomic_load_explicit(&t->on, memory_order_relaxed));
}
void trace_write(struct trace *t, enum trace_event ev, uint64_t fault, uint64_t object, uint64_t a,
                 uint64_t b, uint64_t c, uint64_t d);
/* Does anybody look at this event: a trace, or one at its probe? Otherwise this test is all it costs. */
#ifndef FL_NO_EVENTS
#define trace_wanted(t, ev) unlikely((unsigned)trace_on(t) | TRACE_PROBED(ev))
#else /* built to measure that test: ./dev cost --events */
#define trace_wanted(t, ev) ((void)(t), false)
#endif
/* The event TRACE_<ev>, and the probe of that name. What is passed is not worked out unless somebody
 * looks: it must have no effects. */
#define trace_emit(t, ev, fault, object, a, b, c, d)                                               \
        do {                                                                                       \
                struct trace *emit_to = (t);                                                       \
                                                                                                   \
                if (trace_wanted(emit_to, ev)) {                                                   \
                        uint64_t emit_fault = (fault), emit_object = (object), emit_a = (a),       \
                                 emit_b = (b), emit_c = (c), emit_d = (d);                         \
                                                                                                   \
                        TRACE_PROBE(ev, emit_fault, emit_object, emit_a, emit_b, emit_c, emit_d);  \
                        if (trace_on(emit_to))                                                     \
                                trace_write(emit_to, TRACE_##ev, emit_fault, emit_object, emit_a,  \
                                            emit_b, emit_c, emit_d);                               \
                }                                                                                  \
        } while (0)
/* A name as an argument: its first eight bytes, read back by trace_name_of(). */
uint64_t trace_name(const char *name);
void trace_name_of(uint64_t arg, char out[9]);

#endif
