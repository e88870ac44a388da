/* SPDX-License-Identifier: Apache-2.0
 *
 * request.c - a request at the driver: its buffers, what came back, retries, completion.
 *
 * A request may need several I/Os, one after the other: pieces of what is larger than the device
 * takes, and, when an I/O of several bios fails, one I/O a bio, so that only the bio with the bad
 * sector gets the error. Between two the request is queued again, which keeps the stack flat when the
 * driver completes at once. Flushes around the data are flush.c's.
 */
#include <assert.h>
#include <errno.h>

#include "block/request.h"

/* ---- to the driver ---- */

/* One more buffer of the I/O; neighbours in memory share an iovec. */
static void add_buffer(struct driver_io *io, char *buf, uint64_t bytes, uint64_t most)
{
        struct iovec *next = &io->iov[io->iovcnt];

        if (io->iovcnt && (char *)next[-1].iov_base + next[-1].iov_len == buf) {
                uint64_t n = min_u64(bytes, most - next[-1].iov_len);

                next[-1].iov_len += n;
                buf += n;
                bytes -= n;
        }
        for (; bytes; io->iovcnt++) {
                uint64_t n = min_u64(bytes, most);

                *next++ = (struct iovec){ .iov_base = buf, .iov_len = n };
                buf += n;
                bytes -= n;
        }
}

/* From the first bio that is not done, as far as one I/O goes. */
static void fill_data(struct request *rq)
{
        const struct request_queue *q = rq->q;
        struct driver_io *io = &rq->io;
        uint64_t offset = bio_offset(rq->cur) + rq->cur_done;
        uint64_t room = blk_piece_bytes(q, opf_op(rq->opf), offset, rq_end_offset(rq) - offset);
        uint32_t skip = rq->cur_done;

        io->op = opf_op(rq->opf);
        io->fault = rq->cur->bi_fault;
        io->offset = offset;
        for (struct bio *bio = rq->cur; bio && room; bio = bio->bi_next, skip = 0) {
                uint64_t n = min_u64(bio->bi_size - skip, room);

                io->len += n;
                if (op_has_data(io->op))
                        add_buffer(io, (char *)bio->bi_buf + skip, n, q->limits.max_segment_size);
                room -= n;
                rq->span++;
                if (rq->single)
                        break;
        }
}

static uint32_t driver_flags(const struct request *rq)
{
        uint32_t flags = 0;

        if (opf_is_sync(rq->opf))
                flags |= DRIVER_SYNC;
        if (rq->opf & REQ_BUFFERED)
                flags |= DRIVER_BUFFERED;
        if (rq->opf & REQ_META)
                flags |= DRIVER_META;
        if (rq->opf & REQ_NOUNMAP)
                flags |= DRIVER_NOUNMAP;
        if (rq->opf & REQ_FUA && rq->q->dev->fua && opf_op(rq->opf) == IO_WRITE)
                flags |= DRIVER_FUA;
        return flags;
}

static void count_dispatch(struct request *rq)
{
        struct trace *t = rq->q->trace;

        if (rq->started)
                return;
        rq->started = true;
        stat_add(&t->stats, rq->bio ? STAT_requests : STAT_flushes, 1);
        trace_emit(t, REQUEST, rq->io.fault, rq->q->object, rq->sector, rq->bytes, rq->opf,
                   rq->nr_bios);
}

static void io_done(struct driver_io *io);

static void fill_io(struct request *rq)
{
        assert(rq->state == RQ_DISPATCHED);
        rq->io = (struct driver_io){
                .op = IO_FLUSH,
                .flags = driver_flags(rq),
                .iov = rq->iov,
                .fault = rq->bio ? rq->bio->bi_fault : 0,
                .object = rq->q->object,
                .batch = rq->batch,
                .done = io_done,
        };
        rq->span = 0;
        if (rq->bio)
                fill_data(rq);
        count_dispatch(rq);
}

void request_start(struct request *rq)
{
        fill_io(rq);
        device_submit(rq->q->dev, &rq->io);
}

void request_perform(struct request *rq)
{
        fill_io(rq);
        device_perform(rq->q->dev, &rq->io);
}

/* ---- back from the driver ---- */

/* `bytes` more are done: hand them to the bios in their order. */
static void distribute(struct request *rq, uint64_t bytes)
{
        while (rq->cur) {
                uint32_t n = (uint32_t)min_u64(bytes, rq->cur->bi_size - rq->cur_done);

                rq->cur_done += n;
                rq->cur->bi_done = rq->cur_done;
                bytes -= n;
                if (rq->cur_done < rq->cur->bi_size)
                        return;
                rq->cur = rq->cur->bi_next;
                rq->cur_done = 0;
        }
}

/* May another place of the device, or less of it, have fared better? Not where the device itself is out
 * of reach: whoever waited for that until a deadline would wait so long again for each bio. */
static bool is_of_the_place(int error)
{
        switch (error) {
        case -EIO:
        case -ENOSPC:
        case -EDQUOT:
        case -EILSEQ:
        case -ENODATA:
        case -EREMOTEIO:
        case -EINVAL:
        case -EFBIG:
        case -ENOMEM:
        case -EPROTO: /* a server's answer to this one was none */
                return true;
        default:
                return false;
        }
}

/* The I/O failed. The bio gets the error if it was alone; else each is tried by itself, where that can
 * help. */
static void data_failed(struct request *rq, int error)
{
        if (rq->span > 1 && is_of_the_place(error)) {
                rq->single = true;
                return;
        }
        for (; rq->span; rq->span--) {
                rq->cur->bi_status = error;
                rq->cur = rq->cur->bi_next;
        }
        rq->cur_done = 0;
}

/* Nothing more comes of a read that has met the device's end. */
static bool is_at_end(const struct request *rq, uint64_t moved)
{
        const struct driver_io *io = &rq->io;
        uint64_t size = __atomic_load_n(&rq->q->dev->size, __ATOMIC_RELAXED);

        return moved < io->len && io->op == IO_READ && (!moved || io->offset + moved >= size);
}

/* Takes the result of an I/O. True if no bio is left. After a short transfer what is left of the
 * request is another I/O. */
static bool data_done(struct request *rq)
{
        int64_t result = rq->io.result;

        if (result == 0 && rq->io.op != IO_READ)
                result = -EIO;
        if (result < 0)
                data_failed(rq, (int)result);
        else
                distribute(rq, (uint64_t)result);
        if (result >= 0 && is_at_end(rq, (uint64_t)result))
                rq->cur = NULL;
        return !rq->cur;
}

/* Bytes moved; *error is the first one. */
static uint64_t request_result(const struct request *rq, int *error)
{
        struct trace *t = rq->q->trace;
        uint64_t moved = 0;

        *error = 0;
        for (const struct bio *bio = rq->bio; bio; bio = bio->bi_next) {
                moved += bio->bi_done;
                if (!bio->bi_status)
                        continue;
                trace_emit(t, ERROR, bio->bi_fault, rq->q->object, (uint64_t)-bio->bi_status,
                           bio_offset(bio), bio->bi_size, 0);
                if (!*error)
                        *error = bio->bi_status;
        }
        if (op_has_data(opf_op(rq->opf)))
                stat_add(&t->stats, opf_op(rq->opf) == IO_READ ? STAT_read_bytes : STAT_write_bytes,
                         moved);
        return moved;
}

/* The memory of the request goes with a bio's: nothing of it is used once the first has ended. */
void request_complete(struct request *rq)
{
        struct request_queue *q = rq->q;
        struct bio *bio = rq->bio, *next;
        unsigned bios = rq->nr_bios;
        uint64_t moved;
        int error;

        rq->time[TIME_C] = q->now();
        moved = request_result(rq, &error);
        if (!rq->started) /* a flush was all of it */
                stat_add(&q->trace->stats, STAT_requests, 1);
        trace_emit(q->trace, COMPLETE, bio->bi_fault, q->object, rq->sector, rq->bytes,
                   error ? (uint64_t)error : moved, rq->time[TIME_C] - rq->time[TIME_Q]);
        /* First the device has something to do again. */
        if (blk_queue_leave(q, rq, moved))
                blk_queue_run(q);
        for (; bio; bio = next) {
                next = bio->bi_next;
                bio_end(bio);
        }
        blk_queue_put(q, bios);
}

/* Whatever follows, somebody else may end the queue meanwhile, but for our reference. */
static void io_done(struct driver_io *io)
{
        struct request *rq = container_of(io, struct request, io);
        struct request_queue *q = rq->q;
        bool over = rq->bio && data_done(rq);

        if (over && !rq->sequence) {
                request_complete(rq);
                return;
        }
        blk_queue_get(q, 1);
        if (!rq->bio)
                blk_flush_done(rq, io->result < 0 ? (int)io->result : 0);
        else if (over)
                blk_flush_data_done(rq);
        else
                blk_queue_requeue(q, rq);
        blk_queue_run(q);
        blk_queue_put(q, 1);
}
