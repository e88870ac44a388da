/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c - rings that the threads write and the thread that drains them to the file.
 *
 * Interface: trace.h. The sink, made by trace_start(), is one mapping: a table of owners and the
 * rings. A thread claims a ring by compare-and-swap on its first event and keeps it; it remembers
 * rings of the last two sinks it wrote to, by the sink's generation, so that two engines and a
 * stop followed by a start find the right one. A ring has one producer (its owner; an event from
 * a signal handler that interrupts one being written is dropped) and one consumer (the writer).
 *
 * Stopping: writers announce themselves in `inflight` before they look at t->sink, trace_stop()
 * takes t->sink away and then waits until it has seen every counter at zero, so that nobody
 * holds the sink when it is unmapped.
 */
#include "trace/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "trace/format.h"
#include "util/lock.h"

#define RINGS 128
#define RING_RECORDS 8192 /* a power of two */
#define DRAIN_NS 2000000
#define BUFFER_RECORDS 1024

struct ring {
        _Alignas(64) _Atomic uint64_t head; /* next to write; the owner's */
        uint64_t tail_seen;                 /* the owner's last look at tail */
        _Alignas(64) _Atomic uint64_t tail; /* next to drain; the writer's */
        _Alignas(64) struct trace_record record[RING_RECORDS];
};

struct trace_sink {
        struct trace *trace;
        uint64_t generation; /* unique in the process */
        int fd;
        int error; /* the writer's first failed write, -errno */
        pthread_t writer;
        _Atomic uint32_t stop;      /* futex word */
        _Atomic bool crowded;       /* a thread found no ring since the writer last looked */
        uint64_t written, buffered; /* the writer's */
        struct trace_record buffer[BUFFER_RECORDS];
        _Atomic uint64_t owner[RINGS]; /* serial << 32 | tid; 0: free */
        struct ring ring[RINGS];
};

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

static _Atomic uint64_t generations;
static _Atomic uint32_t serials;
static struct {
        _Alignas(64) _Atomic uint32_t n;
} inflight[64];

static struct trace_sink *sink_of(struct trace *t)
{
        return __atomic_load_n(&t->sink, __ATOMIC_SEQ_CST);
}

void trace_init(struct trace *t)
{
        memset(t, 0, sizeof *t);
}

uint64_t trace_dropped(struct trace *t)
{
        return atomic_load_explicit(&t->dropped, memory_order_relaxed);
}

static void drop(struct trace *t, uint64_t n)
{
        atomic_fetch_add_explicit(&t->dropped, n, memory_order_relaxed);
}

/* The caller's ring of this sink: the one it had before, or a free one. NULL: none is free. */
static struct ring *claim_ring(struct trace_sink *s)
{
        uint64_t me = (uint64_t)self.serial << 32 | thread_id();
        unsigned i;

        for (i = 0; i < RINGS; i++)
                if (atomic_load_explicit(&s->owner[i], memory_order_relaxed) == me)
                        return &s->ring[i];
        for (i = 0; i < RINGS; i++) {
                uint64_t free = 0;

                if (atomic_compare_exchange_strong(&s->owner[i], &free, me))
                        return &s->ring[i];
        }
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

/* A free place of the ring, or NULL. */
static struct trace_record *reserve(struct ring *ring, uint64_t head)
{
        if (unlikely(head - ring->tail_seen == RING_RECORDS)) {
                ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
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
        place = reserve(ring, head);
        if (!place)
                return false;
        *place = *record;
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
        return true;
}

void trace_write(struct trace *t, enum trace_event ev, uint64_t fault, uint64_t a, uint64_t b,
                 uint64_t c, uint64_t d)
{
        struct trace_sink *s;
        _Atomic uint32_t *count;

        if (self.busy) {
                drop(t, 1);
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
                };

                if (!append(s, &record))
                        drop(t, 1);
        }
        atomic_fetch_sub(count, 1);
        atomic_signal_fence(memory_order_seq_cst);
        self.busy = false;
}

/* Writes all of it; the first failure is kept and ends all writing. */
static void write_all(struct trace_sink *s, const void *data, size_t len)
{
        const char *p = data;

        while (len && !s->error) {
                ssize_t n = write(s->fd, p, len);

                if (n < 0 && errno != EINTR)
                        s->error = -errno;
                if (n > 0) {
                        p += n;
                        len -= (size_t)n;
                }
        }
}

static void flush_buffer(struct trace_sink *s)
{
        write_all(s, s->buffer, s->buffered * sizeof s->buffer[0]);
        if (s->error)
                drop(s->trace, s->buffered);
        else
                s->written += s->buffered;
        s->buffered = 0;
}

/* What one drain takes from one ring. */
struct pending {
        struct ring *ring;
        uint64_t tail, head;
};

static struct trace_record *first_of(struct pending *p)
{
        return &p->ring->record[p->tail % RING_RECORDS];
}

static unsigned collect(struct trace_sink *s, struct pending *pending)
{
        unsigned n = 0;

        for (unsigned i = 0; i < RINGS; i++) {
                struct pending p = { .ring = &s->ring[i] };

                if (!atomic_load(&s->owner[i]))
                        continue;
                p.tail = atomic_load_explicit(&p.ring->tail, memory_order_relaxed);
                p.head = atomic_load_explicit(&p.ring->head, memory_order_acquire);
                if (p.tail != p.head)
                        pending[n++] = p;
        }
        return n;
}

/* Merges what the rings hold now into the file: each is in order of time already.
 * True if there was anything. */
static bool drain(struct trace_sink *s)
{
        struct pending pending[RINGS];
        unsigned n = collect(s, pending);
        bool any = n > 0;

        while (n) {
                struct pending *oldest = &pending[0];

                for (unsigned i = 1; i < n; i++)
                        if (first_of(&pending[i])->time < first_of(oldest)->time)
                                oldest = &pending[i];
                s->buffer[s->buffered++] = *first_of(oldest);
                atomic_store_explicit(&oldest->ring->tail, ++oldest->tail, memory_order_release);
                if (oldest->tail == oldest->head)
                        *oldest = pending[--n];
                if (s->buffered == BUFFER_RECORDS)
                        flush_buffer(s);
        }
        flush_buffer(s);
        return any;
}

/* Frees the rings of threads that have ended, when somebody has found none. */
static void reclaim_rings(struct trace_sink *s)
{
        if (!atomic_exchange(&s->crowded, false))
                return;
        for (unsigned i = 0; i < RINGS; i++) {
                uint64_t owner = atomic_load(&s->owner[i]);
                struct ring *ring = &s->ring[i];

                if (!owner || !syscall(SYS_tgkill, getpid(), (pid_t)(uint32_t)owner, 0) ||
                    errno != ESRCH)
                        continue;
                /* Nobody writes here any more; an event may be left for the next drain. */
                if (atomic_load(&ring->head) == atomic_load(&ring->tail))
                        atomic_store(&s->owner[i], 0);
        }
}

static uint64_t realtime_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Seven strings an event, each with its NUL. */
static const char event_strings[] =
#define X(name, layer, text, a, b, c, d) #name "\0" layer "\0" text "\0" a "\0" b "\0" c "\0" d "\0"
        TRACE_EVENTS(X)
#undef X
        ;

static void write_header(struct trace_sink *s)
{
        static const char padding[8];
        const uint32_t strings = sizeof event_strings - 1; /* less the compiler's own NUL */
        const uint32_t padded = (uint32_t)round_up_u64(strings, 8);
        struct trace_header header = {
                .header_size = (uint32_t)sizeof header + padded,
                .version = TRACE_VERSION,
                .record_size = sizeof(struct trace_record),
                .monotonic = now_ns(),
                .realtime = realtime_ns(),
                .pid = (uint32_t)getpid(),
                .nr_events = TRACE_NR_EVENTS,
                .nr_args = TRACE_ARGS,
                .strings_size = strings,
        };

        memcpy(header.magic, TRACE_MAGIC, sizeof header.magic);
        write_all(s, &header, sizeof header);
        write_all(s, event_strings, strings);
        write_all(s, padding, padded - strings);
}

static void write_trailer(struct trace_sink *s)
{
        struct trace_record trailer = {
                .time = now_ns(),
                .tid = thread_id(),
                .event = TRACE_TRAILER,
                .size = sizeof trailer,
                .arg = { trace_dropped(s->trace), s->written, 0, 0 },
        };

        write_all(s, &trailer, sizeof trailer);
}

static void *writer_main(void *arg)
{
        struct trace_sink *s = arg;

        while (!atomic_load(&s->stop)) {
                drain(s);
                reclaim_rings(s);
                futex_wait(&s->stop, 0, DRAIN_NS);
        }
        while (drain(s))
                ;
        write_trailer(s);
        return NULL;
}

static void sink_free(struct trace_sink *s)
{
        if (s->fd >= 0)
                close(s->fd);
        munmap(s, sizeof *s);
}

static int start_writer(struct trace_sink *s)
{
        sigset_t all, old;
        int err;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        err = pthread_create(&s->writer, NULL, writer_main, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (!err)
                pthread_setname_np(s->writer, "fl-trace");
        return -err;
}

/* Takes a file that is empty, or an earlier trace, and nothing else: not data that somebody named
 * by mistake, not a FIFO that nobody reads. */
static int prepare_file(int fd)
{
        char magic[sizeof(TRACE_MAGIC) - 1];
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st))
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        n = pread(fd, magic, sizeof(magic), 0);
        if (n < 0)
                return -errno;
        if (n > 0 && (n < (ssize_t)sizeof(magic) || memcmp(magic, TRACE_MAGIC, sizeof(magic))))
                return -EEXIST;
        return fchmod(fd, 0600) || ftruncate(fd, 0) ? -errno : 0;
}

static int open_file(const char *path, int *err)
{
        int fd = open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

        *err = fd < 0 ? -errno : prepare_file(fd);
        if (*err && fd >= 0) {
                close(fd);
                fd = -1;
        }
        return fd;
}

int trace_start(struct trace *t, const char *path)
{
        struct trace_sink *s;
        int err = 0;

        if (sink_of(t))
                return -EBUSY;
        s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s == MAP_FAILED)
                return -errno;
        s->trace = t;
        s->generation = atomic_fetch_add(&generations, 1) + 1;
        s->fd = open_file(path, &err);
        if (s->fd >= 0) {
                write_header(s);
                err = s->error;
        }
        atomic_store(&t->dropped, 0);
        if (!err)
                err = start_writer(s);
        if (err) {
                sink_free(s);
                return err;
        }
        __atomic_store_n(&t->sink, s, __ATOMIC_SEQ_CST);
        atomic_store(&t->on, true);
        return 0;
}

int trace_stop(struct trace *t)
{
        struct trace_sink *s = sink_of(t);
        int err;

        if (!s)
                return 0;
        atomic_store(&t->on, false);
        __atomic_store_n(&t->sink, NULL, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < ARRAY_SIZE(inflight); i++)
                while (atomic_load(&inflight[i].n))
                        sched_yield();
        atomic_store(&s->stop, 1);
        futex_wake(&s->stop, 1);
        pthread_join(s->writer, NULL);
        err = s->error;
        if (close(s->fd) && !err)
                err = -errno;
        s->fd = -1;
        sink_free(s);
        return err;
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
