/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c - rings that the threads write; writer.c has the thread that drains them to the file.
 *
 * Interface: trace.h. The sink (sink.h), made by trace_start(), is one mapping: a table of owners and
 * the rings. A thread claims a ring by compare-and-swap on its first event and keeps it; it remembers
 * rings of the last two sinks it wrote to, by the sink's generation, so that two engines and a
 * stop followed by a start find the right one. A ring has one producer (its owner; an event from
 * a signal handler that interrupts one being written is dropped) and one consumer (the writer).
 *
 * Stopping: writers announce themselves in `inflight` before they look at t->sink, trace_stop()
 * takes t->sink away and then waits until it has seen every counter at zero, so that nobody
 * holds the sink when it is unmapped.
 */
#include <sched.h>
#include <string.h>

#include "trace/sink.h"

/* What a thread knows about its rings. */
static _Thread_local struct {
        uint32_t serial; /* never used twice, unlike a tid */
        bool busy;
        unsigned next;
        struct {
                uint64_t generation;
                struct ring *ring;
        } known[2];
} self;

static _Atomic uint32_t serials;
static struct {
        _Alignas(64) _Atomic uint32_t n;
} inflight[64];

/* The threads that were writing are not in a child of fork(): it would wait for them for ever. But the
 * one that forks is there, which may be in a signal handler that has interrupted it. */
static void forget_emitters(void)
{
        for (unsigned i = 0; i < ARRAY_SIZE(inflight); i++)
                atomic_store(&inflight[i].n, 0);
        if (self.busy)
                atomic_store(&inflight[self.serial % ARRAY_SIZE(inflight)].n, 1);
}

__attribute__((constructor)) static void register_fork_handler(void)
{
        pthread_atfork(NULL, NULL, forget_emitters);
}

void trace_init(struct trace *t)
{
        memset(t, 0, sizeof *t);
}

uint64_t trace_dropped(struct trace *t)
{
        return atomic_load_explicit(&t->dropped, memory_order_relaxed);
}

/* The caller's ring of this sink: the one it had before, or a free one. NULL: none is free. Then it comes
 * here with each event, as all do that have none: it must cost others nothing, so it writes nowhere. */
static struct ring *claim_ring(struct trace_sink *s)
{
        uint64_t me = (uint64_t)self.serial << 32 | thread_id(), owner;
        unsigned first = RINGS; /* that is free */

        for (unsigned i = 0; i < RINGS; i++) {
                owner = atomic_load_explicit(&s->owner[i], memory_order_relaxed);
                if (owner == me)
                        return &s->ring[i];
                if (!owner && first == RINGS)
                        first = i;
        }
        for (unsigned i = first; i < RINGS; i++) {
                owner = atomic_load_explicit(&s->owner[i], memory_order_relaxed);
                if (!owner && atomic_compare_exchange_strong(&s->owner[i], &owner, me))
                        return &s->ring[i];
        }
        if (!atomic_load_explicit(&s->crowded, memory_order_relaxed))
                atomic_store_explicit(&s->crowded, true, memory_order_relaxed);
        return NULL;
}

static struct ring *find_ring(struct trace_sink *s)
{
        struct ring *ring;

        for (unsigned i = 0; i < ARRAY_SIZE(self.known); i++)
                if (likely(self.known[i].generation == s->generation))
                        return self.known[i].ring;
        ring = claim_ring(s);
        if (ring) {
                unsigned slot = self.next++ % ARRAY_SIZE(self.known);

                self.known[slot].generation = s->generation;
                self.known[slot].ring = ring;
        }
        return ring;
}

/* A free place of the ring, or NULL. Where a part of it is waiting, the writer is to look now: it may be
 * asleep for longer than the rest lasts. It is told again only when as much has come on top. */
static struct trace_record *reserve(struct trace_sink *s, struct ring *ring, uint64_t head)
{
        if (unlikely(head - ring->tail_seen >= WAKE_RECORDS)) {
                ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
                if (head - ring->tail_seen >= WAKE_RECORDS && head - ring->woken >= WAKE_RECORDS) {
                        ring->woken = head;
                        atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed);
                        futex_wake(&s->turn, 1);
                }
                if (head - ring->tail_seen == RING_RECORDS)
                        return NULL;
        }
        return &ring->record[head % RING_RECORDS];
}

static bool append(struct trace_sink *s, const struct trace_record *record)
{
        struct ring *ring = find_ring(s);
        struct trace_record *place;
        uint64_t head;

        if (!ring)
                return false;
        head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        place = reserve(s, ring, head);
        if (!place)
                return false;
        *place = *record;
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
        return true;
}

void trace_write(struct trace *t, enum trace_event ev, uint64_t fault, uint64_t object, uint64_t a,
                 uint64_t b, uint64_t c, uint64_t d)
{
        struct trace_sink *s;
        _Atomic uint32_t *count;

        if (self.busy) {
                trace_drop(t, 1);
                return;
        }
        self.busy = true;
        atomic_signal_fence(memory_order_seq_cst);
        if (unlikely(!self.serial))
                self.serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
        count = &inflight[self.serial % ARRAY_SIZE(inflight)].n;
        atomic_fetch_add(count, 1);
        s = sink_of(t);
        if (s) {
                struct trace_record record = {
                        .time = now_ns(),
                        .fault = fault,
                        .tid = thread_id(),
                        .event = (uint16_t)ev,
                        .size = sizeof record,
                        .arg = { a, b, c, d },
                        .object = object,
                };

                if (!append(s, &record))
                        trace_drop(t, 1);
        }
        atomic_fetch_sub(count, 1);
        atomic_signal_fence(memory_order_seq_cst);
        self.busy = false;
}

void trace_wait_for_emitters(void)
{
        for (unsigned i = 0; i < ARRAY_SIZE(inflight); i++)
                while (atomic_load(&inflight[i].n))
                        sched_yield();
}

uint64_t trace_name(const char *name)
{
        uint64_t arg = 0;

        memcpy(&arg, name, strnlen(name, sizeof arg));
        return arg;
}

void trace_name_of(uint64_t arg, char out[9])
{
        memcpy(out, &arg, sizeof arg);
        out[8] = '\0';
}
