/* SPDX-License-Identifier: Apache-2.0
 *
 * writer.c - the thread that drains the rings to the file, and the life of a trace.
 *
 * It sleeps for DRAIN_NS at a time, or until a ring is a quarter full. What it writes besides the events:
 * names (names.c), every COUNTERS_NS what the engine holds, if that has changed, and where events were
 * lost. Whatever happens to the file, nobody waits for it: after the first failed write tracing is off,
 * the file ends with the last whole record, and a trailer if there is room for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "trace/sink.h"
#include "util/say.h"

#define DRAIN_NS 2000000
#define COUNTERS_NS 10000000
#define AHEAD 5      /* of nice(2) */
#define GIVE_BACK 64 /* records */

/* ---- to the file ---- */

/* 0 or -errno; of what is written in part the rest follows. */
static int write_fully(int fd, const void *data, size_t len)
{
        const char *p = data;

        while (len) {
                ssize_t n = write(fd, p, len);

                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return -EIO;
                if (n > 0) {
                        p += n;
                        len -= (size_t)n;
                }
        }
        return 0;
}

/* The file ends where it did before. */
static void cut_off(struct trace_sink *s)
{
        if (ftruncate(s->fd, (off_t)s->size) == 0)
                (void)lseek(s->fd, (off_t)s->size, SEEK_SET);
}

static void stop_at_error(struct trace_sink *s)
{
        struct trace *t = s->trace;

        atomic_store(&t->on, false);
        cut_off(s);
        if (!t->quiet)
                say("faultline: %s: writing the trace: %s; tracing stops here", s->path,
                    strerror(-s->error));
}

static void flush_buffer(struct trace_sink *s)
{
        if (!s->error && s->used) {
                s->error = write_fully(s->fd, s->buffer, s->used);
                if (s->error) {
                        stop_at_error(s);
                } else {
                        s->written += s->buffered;
                        s->size += s->used;
                }
        }
        if (s->error)
                trace_drop(s->trace, s->events);
        s->buffered = 0;
        s->events = 0;
        s->used = 0;
}

void *sink_place(struct trace_sink *s, size_t size)
{
        void *place;

        if (s->used + size > sizeof s->buffer)
                flush_buffer(s);
        if (s->error)
                return NULL;
        place = s->buffer + s->used;
        s->used += size;
        s->buffered++;
        return place;
}

static void put_record(struct trace_sink *s, const struct trace_record *record, uint64_t time)
{
        struct trace_record *place = sink_place(s, sizeof *record);

        if (place) {
                *place = *record;
                place->time = time;
                s->events++;
        } else {
                trace_drop(s->trace, 1);
        }
}

/* An event of the writer's own: no loss if it cannot be written. */
static void put_own(struct trace_sink *s, enum trace_event event, const uint64_t arg[4])
{
        struct trace_record *place = sink_place(s, sizeof *place);

        if (place) {
                *place = (struct trace_record){ .time = s->round,
                                                .tid = thread_id(),
                                                .event = (uint16_t)event,
                                                .size = sizeof *place };
                memcpy(place->arg, arg, sizeof place->arg);
        }
}

/* What one drain takes from one ring. */
struct pending {
        struct trace_ring *ring;
        const struct trace_record *record; /* all of them */
        uint64_t tail, head;
        uint64_t tick; /* of the first */
};

static const struct trace_record *first_of(const struct pending *p)
{
        return &p->record[p->tail % RING_RECORDS];
}

static unsigned collect(struct trace_sink *s, struct pending *pending)
{
        struct trace *t = s->trace;
        unsigned n = 0;

        for (unsigned i = 0; i < TRACE_RINGS; i++) {
                struct pending p = { .ring = &t->ring[i], .record = s->record[i] };

                if (!atomic_load_explicit(&t->owner[i], memory_order_relaxed) ||
                    atomic_load_explicit(&p.ring->aside, memory_order_relaxed))
                        continue;
                p.tail = atomic_load_explicit(&p.ring->tail, memory_order_relaxed);
                p.head = atomic_load_explicit(&p.ring->head, memory_order_acquire);
                if (p.tail == p.head)
                        continue;
                p.tick = first_of(&p)->time;
                pending[n++] = p;
        }
        return n;
}

/* Puts what one ring holds up to `until` into the file, its first record in any case. Threads are told by
 * name before their first event. */
static void put_run(struct trace_sink *s, struct pending *p, uint64_t until)
{
        sink_name_thread(s, first_of(p)->tid); /* all are the owner's */
        do {
                const struct trace_record *record = first_of(p);

                if (record->event == TRACE_FAULT_BEGIN && record->arg[2])
                        sink_name_thread(s, (uint32_t)record->arg[2]);
                p->ring->told = max_u64(p->ring->told, ticks_to_ns(&s->ticks, record->time));
                put_record(s, record, p->ring->told);
                if (++p->tail == p->head)
                        break;
                if (p->tail % GIVE_BACK == 0) /* a write may take long */
                        atomic_store_explicit(&p->ring->tail, p->tail, memory_order_release);
                p->tick = first_of(p)->time;
        } while (p->tick <= until);
        atomic_store_explicit(&p->ring->tail, p->tail, memory_order_release);
}

/* Merges what the rings hold now into the file: each is in order of time already, and mostly some go on
 * for a while before another has an event. True if there was anything. */
static bool drain(struct trace_sink *s)
{
        struct pending pending[TRACE_RINGS];
        unsigned n;
        bool any;

        s->round = now_ns();
        n = collect(s, pending);
        any = n > 0;

        ticks_look(&s->ticks);
        sink_write_names(s);
        while (n) {
                struct pending *oldest = &pending[0];
                uint64_t until = UINT64_MAX; /* the first tick of the others */

                for (unsigned i = 1; i < n; i++) {
                        if (pending[i].tick < oldest->tick) {
                                until = oldest->tick;
                                oldest = &pending[i];
                        } else {
                                until = min_u64(until, pending[i].tick);
                        }
                }
                put_run(s, oldest, until);
                if (oldest->tail == oldest->head)
                        *oldest = pending[--n];
        }
        return any;
}

/* ---- what it tells of its own ---- */

static void tell_lost(struct trace_sink *s)
{
        uint64_t lost = trace_dropped(s->trace);

        if (lost == s->lost_told || s->error)
                return;
        put_own(s, TRACE_LOST, (uint64_t[4]){ lost - s->lost_told });
        s->lost_told = lost;
}

static void tell_counters(struct trace_sink *s, bool last)
{
        struct trace *t = s->trace;
        struct trace_counters now = { 0 };
        void (*ask)(void *, struct trace_counters *) = atomic_load(&t->counters);

        if (!ask || (!last && s->round < s->counters_at + COUNTERS_NS))
                return;
        ask(t->counters_arg, &now);
        if (s->counters_at && !memcmp(&now, &s->counters, sizeof now))
                return;
        s->counters_at = s->round;
        s->counters = now;
        put_own(s, TRACE_COUNTERS, (uint64_t[4]){ now.cache, now.dirty, now.queue, now.budget });
}

void trace_set_counters(struct trace *t, void (*counters)(void *arg, struct trace_counters *out),
                        void *arg)
{
        t->counters_arg = arg;
        atomic_store(&t->counters, counters);
}

/* Frees the rings of threads that have ended, when somebody has found none. */
static void reclaim_rings(struct trace *t)
{
        if (!atomic_exchange(&t->crowded, false))
                return;
        for (unsigned i = 0; i < TRACE_RINGS; i++) {
                uint64_t owner = atomic_load(&t->owner[i]);
                struct trace_ring *ring = &t->ring[i];

                if (!owner || !trace_owner_is_gone(owner))
                        continue;
                /* Nobody writes here any more; an event may be left for the next drain. */
                if (atomic_load(&ring->aside))
                        atomic_store(&ring->tail, atomic_load(&ring->head));
                if (atomic_load(&ring->head) == atomic_load(&ring->tail)) {
                        atomic_store(&ring->busy, false);
                        atomic_store(&ring->aside, false);
                        atomic_store(&t->owner[i], 0);
                }
        }
}

/* ---- the thread, and the life of a trace ---- */

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

static int write_header(struct trace_sink *s)
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
        int error;

        memcpy(header.magic, TRACE_MAGIC, sizeof header.magic);
        error = write_fully(s->fd, &header, sizeof header);
        if (!error)
                error = write_fully(s->fd, event_strings, strings);
        if (!error)
                error = write_fully(s->fd, padding, padded - strings);
        s->size = header.header_size;
        return error;
}

/* After a failed write there may be room for so little. */
static void write_trailer(struct trace_sink *s)
{
        struct trace_record trailer = {
                .time = now_ns(),
                .tid = thread_id(),
                .event = TRACE_TRAILER,
                .size = sizeof trailer,
                .arg = { trace_dropped(s->trace), s->written, 0, 0 },
        };
        int error = write_fully(s->fd, &trailer, sizeof trailer);

        if (error)
                cut_off(s);
        if (!s->error)
                s->error = error;
}

/* It needs little time, but that before a ring is full, however busy the machine is: where it may it goes
 * a little before those that it serves. */
static void go_before_others(void)
{
        int now;

        errno = 0;
        now = getpriority(PRIO_PROCESS, 0);
        if (!errno)
                (void)setpriority(PRIO_PROCESS, 0, now - AHEAD);
}

static void *writer_main(void *arg)
{
        struct trace_sink *s = arg;
        struct trace *t = s->trace;

        go_before_others();
        while (!atomic_load(&s->stop)) {
                uint32_t turn = atomic_load(&t->turn);

                drain(s);
                tell_lost(s);
                tell_counters(s, false);
                flush_buffer(s);
                reclaim_rings(t);
                if (!atomic_load(&s->stop))
                        futex_wait(&t->turn, turn, DRAIN_NS);
        }
        while (drain(s))
                ;
        tell_lost(s);
        tell_counters(s, true);
        flush_buffer(s);
        write_trailer(s);
        return NULL;
}

/* keep: somebody may still come back and write to it. So its place stays, without memory, for the next. */
static void sink_free(struct trace_sink *s, bool keep)
{
        struct trace *t = s->trace;

        if (s->fd >= 0)
                close(s->fd);
        t->left = keep ? s : NULL;
        if (keep)
                (void)madvise(s, sizeof *s, MADV_DONTNEED);
        else
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

/* Of a long path its end. */
static void keep_path(struct trace_sink *s, const char *path)
{
        size_t length = strlen(path), most = sizeof s->path - 1;

        strcpy(s->path, length > most ? path + length - most : path);
}

static struct trace_sink *sink_create(struct trace *t)
{
        struct trace_sink *s = t->left;

        if (!s)
                s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s == MAP_FAILED)
                return NULL;
        s->trace = t;
        return s;
}

int trace_start(struct trace *t, const char *path)
{
        struct trace_sink *s;
        int err = 0;

        if (sink_of(t))
                return -EBUSY;
        s = sink_create(t);
        if (!s)
                return -errno;
        keep_path(s, path);
        s->fd = open_file(path, &err);
        if (s->fd >= 0)
                err = write_header(s);
        atomic_store(&t->dropped, 0);
        ticks_start(&s->ticks);
        trace_expect_emitters(t);
        if (!err)
                err = start_writer(s);
        if (err) {
                sink_free(s, t->left != NULL);
                return err;
        }
        __atomic_store_n(&t->sink, s, __ATOMIC_SEQ_CST);
        atomic_store(&t->on, true);
        return 0;
}

int trace_stop(struct trace *t)
{
        struct trace_sink *s = sink_of(t);
        bool quiet;
        int err;

        if (!s)
                return 0;
        atomic_store(&t->on, false);
        __atomic_store_n(&t->sink, NULL, __ATOMIC_SEQ_CST);
        quiet = trace_wait_for_emitters(t);
        atomic_store(&s->stop, true);
        atomic_fetch_add(&t->turn, 1);
        futex_wake(&t->turn, 1);
        pthread_join(s->writer, NULL);
        trace_forget_names(t);
        atomic_store(&t->counters, NULL);
        err = s->error;
        if (close(s->fd) && !err)
                err = -errno;
        s->fd = -1;
        trace_leave_aside(t);
        sink_free(s, !quiet);
        return err;
}
