/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - inside the block layer: requests, the queue, and what its files offer each other.
 *
 *   bio.c      the pool of bios and requests; submit_bio
 *   plug.c     requests a thread holds back
 *   merge.c    which bios and requests may become one
 *   queue.c    the three lists, dispatch, and the queue's life
 *   request.c  a request at the driver: buffers, results, retries, completion
 *   flush.c    PREFLUSH and FUA as a sequence of steps
 *
 *        bio_alloc            plug.c               queue.c                 queue.c
 *   NEW ----------> PLUGGED ----------> QUEUED ----------------> DISPATCHED ---------> COMPLETE
 *    |                 ^ merges           ^ merges                   |     request.c
 *    '-----no plug-----------------------'^--next step, piece, retry-'
 *
 * Locks: q->lock is never held over a call of the driver or of bi_end_io; the pool's lock may be
 * taken under it. A plug belongs to one thread and has none.
 */
#ifndef FL_BLOCK_REQUEST_H
#define FL_BLOCK_REQUEST_H

#include "block/block.h"
#include "util/lock.h"

#define BLK_MAX_SEGMENTS 128
#define BLK_DEF_MAX_SECTORS 2560         /* 1280 KiB */
#define BLK_MAX_REQUEST_COUNT 16         /* of a plug, before it is flushed */
#define BLK_PLUG_FLUSH_SIZE (128u << 10) /* bytes of its last request, likewise */
#define BLK_MERGE_SEARCH 8               /* requests of a list looked at for a merge */
#define BLK_STARVED 16                   /* times a waiting list may be passed over */

enum rq_state { RQ_NEW, RQ_PLUGGED, RQ_QUEUED, RQ_DISPATCHED, RQ_COMPLETE };

/* The lists of a queue, first served first. */
enum rq_class { RQ_FAULT, RQ_READAHEAD, RQ_WRITEBACK, RQ_CLASSES };

/* What a request still has to do, lowest bit first. */
#define STEP_PREFLUSH (1u << 0)
#define STEP_DATA (1u << 1)
#define STEP_POSTFLUSH (1u << 2)

/* Its fields are those of whoever has it: the plug's thread, the queue ([queue]) while QUEUED, one
 * thread at a time from DISPATCHED on. */
struct request {
        struct request *next, *prev; /* [queue], or the plug's thread */
        struct request_queue *q;
        enum rq_state state;
        uint32_t opf;    /* the first bio's, and SYNC, META, PRIO of any of them */
        uint64_t sector; /* of the first bio */
        uint64_t bytes;
        unsigned nr_bios;
        struct bio *bio, *biotail; /* in the order of their sectors */
        bool nomerge;              /* a limit has been met */
        uint64_t start_ns;         /* of its oldest bio */
        /* Since the first dispatch: */
        bool started;
        bool single;       /* one bio at a time, since all at once failed */
        unsigned steps;    /* STEP_ left */
        struct bio *cur;   /* the first bio that is not done */
        uint32_t cur_done; /* bytes of it that are */
        unsigned span;     /* bios that the I/O at the driver covers */
        struct driver_io io;
        struct iovec iov[BLK_MAX_SEGMENTS];
};

struct request_queue {
        struct device *dev;         /* (c) */
        struct block_pool *pool;    /* (c) */
        struct trace *trace;        /* (c) */
        struct queue_limits limits; /* (c) while anything is in flight */
        struct mutex lock;
        struct rq_list list[RQ_CLASSES];  /* [queue] QUEUED requests */
        unsigned passed_over[RQ_CLASSES]; /* [queue] dispatches of others while it waited */
        unsigned in_flight;               /* [queue] requests at the driver */
        /* Bios not yet ended and calls not yet returned; QUEUE_DYING once somebody waits. */
        _Atomic uint32_t refs;
};

/* bio.c */
struct request *request_alloc(struct request_queue *q, struct bio *bio);
void request_free(struct request *rq);
/* Ends the bio and frees it. */
void bio_end(struct bio *bio);

/* Position and class */
static inline uint64_t bio_offset(const struct bio *bio)
{
        return bio->bi_sector << SECTOR_SHIFT;
}
static inline uint64_t rq_offset(const struct request *rq)
{
        return rq->sector << SECTOR_SHIFT;
}
static inline enum io_op opf_op(uint32_t opf)
{
        return (enum io_op)(opf & REQ_OP_MASK);
}
enum rq_class opf_class(uint32_t opf);

/* Lists */
void rq_list_append(struct rq_list *l, struct request *rq);
void rq_list_prepend(struct rq_list *l, struct request *rq);
void rq_list_remove(struct rq_list *l, struct request *rq);

/* merge.c: each is called with the list's lock held, or by the plug's thread. */
/* The bio becomes part of one of the youngest `search` requests of the list; those of other
 * queues are passed by. False: it fits none. */
bool blk_merge_bio(struct rq_list *l, struct bio *bio, unsigned search);
/* rq, which is in the list, and a neighbour on the device become one: the older of the two lives
 * on. Returns the other, taken off the list and without bios, or NULL. */
struct request *blk_merge_requests(struct rq_list *l, struct request *rq, unsigned search);

/* plug.c */
void blk_plug_bio(struct blk_plug *plug, struct bio *bio);

/* queue.c */
void blk_queue_get(struct request_queue *q, unsigned n);
void blk_queue_put(struct request_queue *q, unsigned n);
/* Merge into a QUEUED request. False: it fits none. */
bool blk_queue_merge_bio(struct request_queue *q, struct bio *bio);
/* NEW or PLUGGED -> QUEUED; may vanish in a merge. */
void blk_queue_insert(struct request_queue *q, struct request *rq);
/* DISPATCHED -> QUEUED, ahead of all others of its class: it has another I/O to do. */
void blk_queue_requeue(struct request_queue *q, struct request *rq);
/* One place at the driver is free. True if somebody waits for it. */
bool blk_queue_leave(struct request_queue *q);
/* Dispatch what fits. The caller holds a reference. */
void blk_queue_run(struct request_queue *q);

/* request.c: the request is DISPATCHED and the caller's; it may be gone on return. */
void request_start(struct request *rq);

/* flush.c */
/* The steps a bio takes. 0: nothing to do. */
unsigned blk_flush_steps(const struct request_queue *q, const struct bio *bio);
unsigned blk_flush_step(const struct request *rq);
void blk_flush_step_done(struct request *rq, int error);

#endif
