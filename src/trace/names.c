/* SPDX-License-Identifier: Apache-2.0
 *
 * names.c - what the numbers of files, devices and threads stand for: records NAME in the trace.
 *
 * A file or device is named once, by whoever opens it; the name waits in a list for the writer, so
 * that it is never lost, however full the rings are. A thread is named by the writer when it meets
 * the first event of it; a thread that has ended by then stays a number.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace/sink.h"

#define MOST_NAME 1024u

struct trace_named {
        struct trace_named *next;
        enum trace_kind kind;
        uint64_t object, time;
        uint32_t tid;
        char name[];
};

static void push(struct trace *t, struct trace_named *n)
{
        n->next = atomic_load_explicit(&t->named, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&t->named, &n->next, n, memory_order_release,
                                                      memory_order_relaxed))
                ;
}

uint64_t trace_object(struct trace *t, enum trace_kind kind, const char *name)
{
        uint64_t object = atomic_fetch_add_explicit(&t->next_object, 1, memory_order_relaxed) + 1;
        size_t length = strnlen(name, MOST_NAME);
        struct trace_named *n;

        if (!trace_on(t))
                return object;
        n = malloc(sizeof(*n) + length + 1);
        if (!n)
                return object;
        *n = (struct trace_named){
                .kind = kind, .object = object, .time = now_ns(), .tid = thread_id()
        };
        memcpy(n->name, name, length);
        n->name[length] = 0;
        push(t, n);
        return object;
}

static void write_name(struct trace_sink *s, const struct trace_named *n, const char *name)
{
        size_t length = strlen(name);
        size_t size = sizeof(struct trace_record) + round_up_u64(length + 1, 8);
        char *place = sink_place(s, size);
        struct trace_record record = {
                .time = n->time,
                .tid = n->tid,
                .event = TRACE_NAME,
                .size = (uint16_t)size,
                .arg = { n->kind, length },
                .object = n->object,
        };

        if (!place)
                return;
        memset(place, 0, size);
        memcpy(place, &record, sizeof(record));
        memcpy(place + sizeof(record), name, length + 1);
}

/* The list, which holds the youngest first, the other way round. */
static struct trace_named *take_names(struct trace *t)
{
        struct trace_named *n = atomic_exchange_explicit(&t->named, NULL, memory_order_acquire);
        struct trace_named *oldest = NULL, *next;

        for (; n; n = next) {
                next = n->next;
                n->next = oldest;
                oldest = n;
        }
        return oldest;
}

void sink_write_names(struct trace_sink *s)
{
        struct trace_named *n, *next;

        if (!atomic_load_explicit(&s->trace->named, memory_order_relaxed))
                return;
        for (n = take_names(s->trace); n; n = next) {
                next = n->next;
                write_name(s, n, n->name);
                free(n);
        }
}

void trace_forget_names(struct trace *t)
{
        struct trace_named *n, *next;

        for (n = take_names(t); n; n = next) {
                next = n->next;
                free(n);
        }
}

static bool read_comm(uint32_t tid, char name[32])
{
        char path[64];
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "/proc/self/task/%u/comm", tid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, name, 31);
        close(fd);
        if (n <= 0)
                return false;
        name[n] = 0;
        name[strcspn(name, "\n")] = 0;
        return true;
}

/* Beyond what the table holds threads stay numbers. */
void sink_name_thread(struct trace_sink *s, uint32_t tid)
{
        uint32_t slot = tid * 0x9e3779b9u % THREADS_KNOWN;
        struct trace_named n = { .kind = TRACE_OF_THREAD, .object = tid, .tid = tid };
        char name[32];

        for (unsigned tries = 0; tries < 16; tries++, slot = (slot + 1) % THREADS_KNOWN) {
                if (s->thread[slot] == tid)
                        return;
                if (s->thread[slot])
                        continue;
                s->thread[slot] = tid;
                n.time = now_ns();
                if (read_comm(tid, name))
                        write_name(s, &n, name);
                return;
        }
}
