/* SPDX-License-Identifier: Apache-2.0
 *
 * plug.c - requests that one thread holds back, so that what it submits next can join them.
 *
 * As in Linux 5.13: a bio is tried against all plugged requests of its queue, youngest first, then
 * against the queue, and only then becomes a request of its own. A plug is flushed before it
 * would hold more than BLK_MAX_REQUEST_COUNT requests (32, as in 6.18: in 5.13 it was 16), or once its
 * last one is large. With 32, pages of a stretch of 64 that come in any order become one request, since
 * the stretch never has more than about 16 gaps at once.
 */
#include <limits.h>

#include "block/request.h"

void blk_start_plug(struct blk_plug *plug)
{
        *plug = (struct blk_plug){ 0 };
}

/* Moves the plugged requests of one queue to it, and starts them. */
static void flush_to_queue(struct rq_list *l, struct request_queue *q, const struct blk_plug *doer)
{
        blk_queue_get(q, 1); /* the last bio may end while we are here */
        blk_queue_insert(q, l);
        blk_queue_run_for(q, doer);
        blk_queue_put(q, 1);
}

/* What the thread waits for, if it can be told. It is no use where other queues are still to get theirs. */
static struct request *awaited(const struct rq_list *l)
{
        struct request *found = NULL;

        for (struct request *rq = l->head; rq; rq = rq->next) {
                if (rq->q != l->head->q || !rq->q->dev->ops->perform)
                        return NULL;
                if (!found && opf_op(rq->opf) == IO_READ && opf_is_sync(rq->opf))
                        found = rq;
        }
        return found;
}

/* The requests are the thread's own from here on, if the device can. */
static void name_batch(struct blk_plug *plug, const struct rq_list *l)
{
        if (!plug->batch)
                plug->batch = device_batch_begin(l->head->q->dev);
        for (struct request *rq = l->head; rq; rq = rq->next)
                rq->batch = plug->batch;
}

void blk_finish_plug(struct blk_plug *plug)
{
        struct rq_list list = plug->list;
        struct request *first = list.head, *own;
        bool waits = plug->waits;

        plug->waits = false;
        if (!first)
                return;
        trace_emit(first->q->trace, PLUG, first->bio->bi_fault, first->q->object, plug->count,
                   plug->bios, 0, 0);
        plug->list = (struct rq_list){ 0 }; /* what bi_end_io does with it is another round */
        lock_held_back(-(int)plug->count);
        plug->count = plug->bios = 0;
        if (plug->own)
                name_batch(plug, &list);
        own = waits ? awaited(&list) : NULL;
        if (own)
                own->doer = plug;
        while (list.head)
                flush_to_queue(&list, list.head->q, own ? plug : NULL);
        if (plug->batch)
                device_batch_wait(plug->batch, UINT_MAX);
}

bool blk_plug_reap(struct blk_plug *plug)
{
        blk_finish_plug(plug);
        return plug->batch && device_batch_wait(plug->batch, device_batch_count(plug->batch) / 2);
}

void blk_end_plug(struct blk_plug *plug)
{
        blk_finish_plug(plug);
        if (plug->batch)
                device_batch_end(plug->batch);
        plug->batch = NULL;
}

/* What a thread sends itself is on its way early: the device is to work while the rest is prepared. */
static bool must_flush(const struct blk_plug *plug)
{
        return plug->count >= (plug->own ? BLK_OWN_REQUEST_COUNT : BLK_MAX_REQUEST_COUNT) ||
               (plug->list.tail && plug->list.tail->bytes >= BLK_PLUG_FLUSH_SIZE);
}

void blk_plug_bio(struct blk_plug *plug, struct bio *bio)
{
        struct request *rq, *gone;

        if (blk_merge_bio_list(&plug->list, bio, BLK_MAX_REQUEST_COUNT, &gone)) {
                plug->bios++;
                plug->count -= gone != NULL;
                lock_held_back(-(gone != NULL));
                return;
        }
        if (blk_queue_merge_bio(bio->bi_queue, bio))
                return;
        if (must_flush(plug))
                blk_finish_plug(plug);
        rq = request_alloc(bio->bi_queue, bio);
        rq->state = RQ_PLUGGED;
        if (!plug->list.head)
                trace_emit(rq->q->trace, PLUGGED, bio->bi_fault, rq->q->object, rq->sector,
                           rq->bytes, rq->opf, 0);
        rq_list_append(&plug->list, rq);
        plug->count++;
        plug->bios++;
        lock_held_back(1);
}
