/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c - rings that the threads write; writer.c has the thread that drains them to the file.
 *
 * Interface: trace.h. A thread claims a ring of a trace by compare-and-swap on its first event, and
 * keeps it until it ends, whether tracing is on or not; it remembers those of the last two traces that
 * it wrote to. A ring has one producer (its owner; an event from a signal handler that interrupts one
 * being written is dropped) and one consumer (the writer). The records are in the sink (sink.h), a
 * mapping that is there from trace_start() to trace_stop().
 *
 * Stopping: an owner marks its ring busy, and then looks whether there is a sink; trace_stop() takes the
 * sink away, and then looks which rings are busy, and waits for those. Each has to see what the other
 * wrote first. An event has no fence for that: membarrier(2) puts one into all threads, once, when a
 * trace stops. Where it may not be called, every event has its own.
 *
 * An event may never be over: a handler of the program's has interrupted it and left by siglongjmp(3). Who
 * stops waits for PATIENCE_NS only. Then that ring is left aside, and the thread gets another one with its next
 * event; the sink's memory stays, should the thread come back, and the next trace uses it again.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trace/sink.h"

#define UNSEEN_US 10000
#define PATIENCE_NS 1000000000ull /* for an event that is being written */
#define YIELDS 1000u              /* before who waits for it sleeps in between */
#define PAUSE_US 200

/* What a thread knows about its rings. */
static _Thread_local struct {
        uint32_t serial; /* never used twice, unlike a tid */
        unsigned next;
        struct {
                uint64_t id; /* of the trace */
                struct trace_ring *ring;
        } known[2];
} self;

static _Atomic uint32_t serials;
static _Atomic uint64_t ids;

void trace_init(struct trace *t)
{
        memset(t, 0, sizeof *t);
        t->id = atomic_fetch_add_explicit(&ids, 1, memory_order_relaxed) + 1;
}

uint64_t trace_dropped(struct trace *t)
{
        return atomic_load_explicit(&t->dropped, memory_order_relaxed);
}

/* The caller's ring: the one it had before, or a free one. NULL: none is free. Then it comes here with
 * each event, as all do that have none: it must cost others nothing, so it writes nowhere. */
static struct trace_ring *claim_ring(struct trace *t)
{
        uint64_t me = (uint64_t)self.serial << 32 | thread_id(), owner;
        unsigned first = TRACE_RINGS; /* that is free */

        for (unsigned i = 0; i < TRACE_RINGS; i++) {
                owner = atomic_load_explicit(&t->owner[i], memory_order_relaxed);
                if (owner == me && !atomic_load_explicit(&t->ring[i].aside, memory_order_relaxed))
                        return &t->ring[i];
                if (!owner && first == TRACE_RINGS)
                        first = i;
        }
        for (unsigned i = first; i < TRACE_RINGS; i++) {
                owner = atomic_load_explicit(&t->owner[i], memory_order_relaxed);
                if (!owner && atomic_compare_exchange_strong(&t->owner[i], &owner, me))
                        return &t->ring[i];
        }
        if (!atomic_load_explicit(&t->crowded, memory_order_relaxed))
                atomic_store_explicit(&t->crowded, true, memory_order_relaxed);
        return NULL;
}

/* A signal handler may come in between, and remember the same: it takes the next place. */
static struct trace_ring *learn_ring(struct trace *t)
{
        unsigned slot = self.next++ % ARRAY_SIZE(self.known);
        struct trace_ring *ring;

        if (!self.serial)
                self.serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
        ring = claim_ring(t);
        if (!ring)
                return NULL;
        self.known[slot].id = 0;
        atomic_signal_fence(memory_order_seq_cst);
        self.known[slot].ring = ring;
        atomic_signal_fence(memory_order_seq_cst);
        self.known[slot].id = t->id;
        return ring;
}

/* A signal handler that comes in between may leave another trace's ring in the same place. */
static inline bool is_ring_of(const struct trace *t, const struct trace_ring *ring)
{
        return (uintptr_t)ring - (uintptr_t)t->ring < sizeof(t->ring);
}

static inline struct trace_ring *find_ring(struct trace *t)
{
        for (unsigned i = 0; i < ARRAY_SIZE(self.known); i++)
                if (likely(self.known[i].id == t->id)) {
                        struct trace_ring *ring;

                        atomic_signal_fence(memory_order_seq_cst);
                        ring = *(struct trace_ring *volatile *)&self.known[i].ring;
                        if (likely(is_ring_of(t, ring)))
                                return ring;
                }
        return learn_ring(t);
}

/* Is there a place in the ring? Where a part of it is waiting, the writer is to look now: it may be asleep
 * for longer than the rest lasts. It is told again only when as much has come on top. */
static bool has_place(struct trace *t, struct trace_ring *ring, uint64_t head)
{
        if (likely(head - ring->tail_seen < WAKE_RECORDS))
                return true;
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head - ring->tail_seen >= WAKE_RECORDS && head - ring->woken >= WAKE_RECORDS) {
                ring->woken = head;
                atomic_fetch_add_explicit(&t->turn, 1, memory_order_relaxed);
                futex_wake(&t->turn, 1);
        }
        return head - ring->tail_seen < RING_RECORDS;
}

static inline bool may_write(const struct trace_ring *ring)
{
        return !atomic_load_explicit(&ring->busy, memory_order_relaxed) &&
               !atomic_load_explicit(&ring->aside, memory_order_relaxed);
}

/* An event of the thread's is being written, below this one or for ever; or was, for too long. */
static struct trace_ring *instead_of(struct trace *t, struct trace_ring *ring)
{
        if (!atomic_load_explicit(&ring->aside, memory_order_relaxed))
                return NULL;
        for (unsigned i = 0; i < ARRAY_SIZE(self.known); i++)
                if (self.known[i].id == t->id)
                        self.known[i].id = 0;
        ring = learn_ring(t);
        return ring && may_write(ring) ? ring : NULL;
}

void trace_write(struct trace *t, enum trace_event ev, uint64_t fault, uint64_t object, uint64_t a,
                 uint64_t b, uint64_t c, uint64_t d)
{
        struct trace_ring *ring = find_ring(t);
        struct trace_sink *s;
        uint64_t head;

        if (unlikely(ring && !may_write(ring)))
                ring = instead_of(t, ring);
        if (unlikely(!ring)) {
                trace_drop(t, 1);
                return;
        }
        if (likely(atomic_load_explicit(&t->fenced_from_afar, memory_order_relaxed)))
                atomic_store_explicit(&ring->busy, true, memory_order_relaxed);
        else
                atomic_store(&ring->busy, true); /* and only then looks */
        atomic_signal_fence(memory_order_seq_cst);
        s = sink_of(t);
        if (likely(s)) {
                head = atomic_load_explicit(&ring->head, memory_order_relaxed);
                if (likely(has_place(t, ring, head))) {
                        s->record[ring - t->ring][head % RING_RECORDS] = (struct trace_record){
                                .time = ticks_now(&s->ticks),
                                .fault = fault,
                                .tid = thread_id(),
                                .event = (uint16_t)ev,
                                .size = sizeof(struct trace_record),
                                .arg = { a, b, c, d },
                                .object = object,
                        };
                        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
                } else {
                        trace_drop(t, 1);
                }
        }
        atomic_store_explicit(&ring->busy, false, memory_order_release);
}

static bool fence_all(int command)
{
        return syscall(SYS_membarrier, command, 0, 0) == 0;
}

void trace_expect_emitters(struct trace *t)
{
        if (fence_all(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
                atomic_store(&t->fenced_from_afar, true);
}

bool trace_owner_is_gone(uint64_t owner)
{
        return syscall(SYS_tgkill, getpid(), (pid_t)(uint32_t)owner, 0) && errno == ESRCH;
}

/* A thread may have ended in the middle of an event: in a signal handler, which came in between. */
static bool is_writing(struct trace *t, unsigned i)
{
        return atomic_load(&t->ring[i].busy) && !trace_owner_is_gone(atomic_load(&t->owner[i]));
}

/* False: it was waited for long enough, or left aside before. */
static bool wait_for_ring(struct trace *t, unsigned i, uint64_t until, unsigned *looks)
{
        struct trace_ring *ring = &t->ring[i];

        while (is_writing(t, i)) {
                if (atomic_load(&ring->aside))
                        return false;
                if (now_ns() > until) {
                        ring->late = true;
                        return false;
                }
                if (++*looks < YIELDS)
                        sched_yield();
                else
                        usleep(PAUSE_US);
        }
        return true;
}

bool trace_wait_for_emitters(struct trace *t)
{
        uint64_t until = now_ns() + PATIENCE_NS;
        unsigned looks = 0;
        bool all = true;

        if (atomic_load(&t->fenced_from_afar) && !fence_all(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
                /* Forbidden meanwhile; but nothing that was written stays unseen for so long. */
                atomic_store(&t->fenced_from_afar, false);
                usleep(UNSEEN_US);
        }
        for (unsigned i = 0; i < TRACE_RINGS; i++)
                all &= wait_for_ring(t, i, until, &looks);
        return all;
}

/* Even if it is over by now: nobody has read what it wrote. */
void trace_leave_aside(struct trace *t)
{
        for (unsigned i = 0; i < TRACE_RINGS; i++)
                if (t->ring[i].late) {
                        t->ring[i].late = false;
                        atomic_store(&t->ring[i].aside, true);
                }
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
