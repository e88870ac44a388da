/* SPDX-License-Identifier: Apache-2.0
 *
 * export_blktrace.c - the block layer's events as blktrace(8) writes them, for blkparse(1), btt(1) and
 * iowatcher(1): a stream of struct blk_io_trace (linux/blktrace_api.h), as of one CPU.
 *
 * BIO is Q, GETRQ G, MERGE M or F, PLUGGED P, PLUG (its end) U, INSERT I, REQUEST D, COMPLETE and FLUSH C. Merges and
 * completions do not tell their operation in our trace: it is that of the bio, or of the dispatch,
 * that came before.
 */
#include <endian.h>
#include <inttypes.h>
#include <linux/blktrace_api.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "util/base.h"

/* Flags of an operation, in Linux's numbers. */
#define SYNC (1u << 11)
#define META (1u << 12)
#define FUA (1u << 17)
#define PREFLUSH (1u << 18)
#define RAHEAD (1u << 19)

#define MAJOR 240u        /* for local use */
#define MOST_DEVICES 256u /* what comes later counts as the last */
#define RECENT 65536u

struct stream {
        const struct export_input *in;
        FILE *out;
        uint32_t sequence;
        uint32_t *opf; /* of the bio seen last, by a hash of its sector */
        uint64_t device
                [MOST_DEVICES]; /* their objects: 240,0 and 240,1 ... in order of appearance */
        unsigned devices;
};

static uint32_t device_of(struct stream *s, uint64_t object)
{
        unsigned i = 0;

        while (i < s->devices && s->device[i] != object)
                i++;
        if (i == s->devices && i < MOST_DEVICES)
                s->device[s->devices++] = object;
        return MAJOR << 20 | (i < MOST_DEVICES ? i : MOST_DEVICES - 1);
}

static uint32_t *recent_opf(struct stream *s, uint64_t sector)
{
        return &s->opf[(sector * 0x9e3779b97f4a7c15u >> 48) % RECENT];
}

/* As the kernel's blk_add_trace() has it. */
static uint32_t categories(uint64_t opf)
{
        uint64_t op = opf & EXPORT_OP_MASK;
        uint32_t c = op == EXPORT_READ ? BLK_TC_READ : BLK_TC_WRITE;

        if (op == EXPORT_FLUSH)
                return BLK_TC_FLUSH | BLK_TC_WRITE;
        if (op == EXPORT_DISCARD || op == EXPORT_WRITE_ZEROES)
                c |= BLK_TC_DISCARD;
        if (opf & SYNC)
                c |= BLK_TC_SYNC;
        if (opf & META)
                c |= BLK_TC_META;
        if (opf & RAHEAD)
                c |= BLK_TC_AHEAD;
        if (opf & PREFLUSH)
                c |= BLK_TC_FLUSH;
        if (opf & FUA)
                c |= BLK_TC_FUA;
        return c;
}

static void put(struct stream *s, const struct trace_record *r, struct blk_io_trace t,
                const void *pdu)
{
        uint64_t began = trace_reader_monotonic(s->in->reader);

        t.magic = BLK_IO_TRACE_MAGIC | BLK_IO_TRACE_VERSION;
        t.sequence = ++s->sequence;
        t.time = r && r->time > began ? r->time - began : 0;
        t.device = r ? device_of(s, r->object) : MAJOR << 20;
        if (r && !t.pid)
                t.pid = r->tid;
        fwrite(&t, sizeof(t), 1, s->out);
        if (pdu && t.pdu_len)
                fwrite(pdu, t.pdu_len, 1, s->out);
}

/* Sector, length and operation of the event; action: a BLK_TA_. */
static void put_io(struct stream *s, const struct trace_record *r, uint32_t action, uint64_t opf)
{
        put(s, r,
            (struct blk_io_trace){ .sector = r->arg[0],
                                   .bytes = (uint32_t)r->arg[1],
                                   .action = action | (uint32_t)BLK_TC_ACT(categories(opf)) },
            NULL);
}

static void put_merge(struct stream *s, const struct trace_record *r)
{
        bool front = r->arg[2] == trace_name("front");

        put_io(s, r, front ? BLK_TA_FRONTMERGE : BLK_TA_BACKMERGE, *recent_opf(s, r->arg[0]));
}

static void put_unplug(struct stream *s, const struct trace_record *r)
{
        uint64_t requests = htobe64(r->arg[0]);

        put(s, r, (struct blk_io_trace){ .action = BLK_TA_UNPLUG_IO, .pdu_len = sizeof(requests) },
            &requests);
}

static void put_complete(struct stream *s, const struct trace_record *r)
{
        size_t io = s->in->ended[r - s->in->record];
        const struct trace_record *start = io ? s->in->io[io - 1].start : NULL;
        uint64_t opf = start ? start->arg[2] : *recent_opf(s, r->arg[0]);
        int64_t error = (int64_t)r->arg[2] < 0 ? -(int64_t)r->arg[2] : 0;

        put(s, r,
            (struct blk_io_trace){ .sector = r->arg[0],
                                   .bytes = (uint32_t)r->arg[1],
                                   .action =
                                           BLK_TA_COMPLETE | (uint32_t)BLK_TC_ACT(categories(opf)),
                                   .error = (uint16_t)error },
            NULL);
}

/* Its dispatch was at sector 0, and of no bytes. */
static void put_flushed(struct stream *s, const struct trace_record *r)
{
        int64_t error = -(int64_t)r->arg[1];

        put(s, r,
            (struct blk_io_trace){
                    .action = BLK_TA_COMPLETE | (uint32_t)BLK_TC_ACT(categories(EXPORT_FLUSH)),
                    .error = (uint16_t)error,
            },
            NULL);
}

static void put_event(struct stream *s, const struct trace_record *r)
{
        const struct export_events *ev = &s->in->ev;

        if (r->event == ev->bio) {
                *recent_opf(s, r->arg[0]) = (uint32_t)r->arg[2];
                put_io(s, r, BLK_TA_QUEUE, r->arg[2]);
        } else if (r->event == ev->getrq) {
                put_io(s, r, BLK_TA_GETRQ, r->arg[2]);
        } else if (r->event == ev->merge) {
                put_merge(s, r);
        } else if (r->event == ev->plugged) {
                put(s, r, (struct blk_io_trace){ .action = BLK_TA_PLUG }, NULL);
        } else if (r->event == ev->plug) {
                put_unplug(s, r);
        } else if (r->event == ev->insert) {
                put_io(s, r, BLK_TA_INSERT, r->arg[2]);
        } else if (r->event == ev->request) {
                put_io(s, r, BLK_TA_ISSUE, r->arg[2]);
        } else if (r->event == ev->complete) {
                put_complete(s, r);
        } else if (r->event == ev->flush) {
                put_flushed(s, r);
        }
}

/* The time of day at the start, so that blkparse can print it. */
static void put_clock(struct stream *s)
{
        uint64_t now = trace_reader_realtime(s->in->reader);
        uint32_t clock[2] = { (uint32_t)(now / 1000000000), (uint32_t)(now % 1000000000) };

        put(s, NULL, (struct blk_io_trace){ .action = BLK_TN_TIMESTAMP, .pdu_len = sizeof(clock) },
            clock);
}

/* blkparse knows threads by name; ours have numbers only. */
static void put_thread(struct stream *s, uint32_t tid)
{
        char name[16] = { 0 };

        snprintf(name, sizeof(name), "thread-%" PRIu32, tid);
        put(s, NULL,
            (struct blk_io_trace){ .pid = tid, .action = BLK_TN_PROCESS, .pdu_len = sizeof(name) },
            name);
}

static int by_number(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

static bool put_threads(struct stream *s)
{
        size_t nr = s->in->nr;
        uint32_t *tid = calloc(nr + 1, sizeof(*tid));

        if (!tid)
                return false;
        for (size_t i = 0; i < nr; i++)
                tid[i] = s->in->record[i].tid;
        qsort(tid, nr, sizeof(*tid), by_number);
        for (size_t i = 0; i < nr; i++)
                if (!i || tid[i] != tid[i - 1])
                        put_thread(s, tid[i]);
        free(tid);
        return true;
}

static bool write_blktrace(const struct export_input *in, FILE *out)
{
        struct stream s = { .in = in, .out = out, .opf = calloc(RECENT, sizeof(*s.opf)) };
        bool ok = s.opf;

        if (ok) {
                put_clock(&s);
                ok = put_threads(&s);
        }
        for (size_t i = 0; ok && i < in->nr && !ferror(out); i++)
                put_event(&s, &in->record[i]);
        free(s.opf);
        return ok && !ferror(out);
}

const struct export_format export_blktrace = { .name = "blktrace",
                                               .binary = true,
                                               .write = write_blktrace };
