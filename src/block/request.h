/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - inside the block layer: requests, the queue, and what its files offer each other.
 *
 *   bio.c       the pool of bios and requests; submit_bio
 *   split.c     bios that are larger than the device takes
 *   lib.c       discarding and zeroing whole ranges
 *   plug.c      requests a thread holds back
 *   merge.c     which bios and requests may become one
 *   elevator.c  the table of elevators, and the hash in which back merges are found
 *   deadline.c  an elevator: sorted, with deadlines and priorities
 *   none.c      an elevator: first in, first out
 *   queue.c     the way through the queue: insertion, dispatch, and its life
 *   flush.c     PREFLUSH and FUA: requests in steps, and flushes that serve several
 *   request.c   a request at the driver: buffers, results, retries, completion
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

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "block/block.h"
#include "block/elevator.h"
#include "util/lock.h"

#define BLK_MAX_SEGMENTS 128
#define BLK_DEF_MAX_SECTORS 2560         /* 1280 KiB */
#define BLK_MAX_REQUEST_COUNT 32         /* of a plug, before it is flushed */
#define BLK_OWN_REQUEST_COUNT 4          /* of one whose thread sends them itself */
#define BLK_PLUG_FLUSH_SIZE (128u << 10) /* bytes of its last request, likewise */
#define BLK_PARTS 64                     /* parts of bios at once, over all queues of a pool */
#define BLK_MERGE_SEARCH 8               /* requests of a list looked at for a merge */
#define BLK_FLUSH_PATIENCE 5000000000u   /* ns that a flush waits for data steps under way */

enum rq_state { RQ_NEW, RQ_PLUGGED, RQ_QUEUED, RQ_DISPATCHED, RQ_COMPLETE };

/* Served in this order. */
enum rq_prio { PRIO_RT, PRIO_BE, PRIO_IDLE, RQ_PRIOS };
_Static_assert(RQ_PRIOS == ARRAY_SIZE(((struct blk_queue_state *)0)->queued), "told to people");

/* What a request still has to do, lowest bit first. */
#define STEP_PREFLUSH (1u << 0)
#define STEP_DATA (1u << 1)
#define STEP_POSTFLUSH (1u << 2)

/* Its time stamps, by the letters of blktrace(8). */
enum rq_time { TIME_Q, TIME_G, TIME_M, TIME_I, TIME_D, TIME_C, RQ_TIMES };

/* Its fields are those of whoever has it: the plug's thread, the queue ([queue]) while QUEUED, one
 * thread at a time from DISPATCHED on. */
struct request {
        struct request *next, *prev; /* [queue], or the plug's thread: in an rq_list */
        struct request_queue *q;
        enum rq_state state;
        uint32_t opf;    /* the first bio's, and SYNC, META, PRIO of any of them */
        uint16_t ioprio; /* of all its bios */
        enum rq_prio prio;
        uint64_t sector; /* of the first bio */
        uint64_t bytes;
        unsigned nr_bios, nr_segments;
        struct bio *bio, *biotail; /* in the order of their sectors */
        bool nomerge;              /* a limit has been met */
        /* The plug of the thread that waits for it: it does the I/O itself if it is the one that takes
         * the request out of the queue. Of others it says nothing, not even that it exists. */
        const struct blk_plug *doer;
        struct driver_batch *batch; /* driver_io.batch */
        /* now_ns() of: Q, its oldest bio submitted; G, made; M, the last merge; I, queued; D, first
         * dispatched; C, complete. 0: has not been. */
        uint64_t time[RQ_TIMES];
        /* The elevator's, while QUEUED: */
        RB_ENTRY(request) sorted;
        LIST_ENTRY(request) hashed;
        bool in_hash;
        uint64_t serial, deadline;
        /* Since the first dispatch: */
        bool started;
        bool single;        /* one bio at a time, since all at once failed */
        unsigned steps;     /* STEP_ left */
        bool sequence;      /* more than one step, or one that is a flush: flush.c's */
        struct bio *cur;    /* the first bio that is not done */
        uint32_t cur_done;  /* bytes of it that are */
        unsigned span;      /* bios that the I/O at the driver covers */
        uint32_t at_driver; /* bytes of it that count for q->bytes */
        struct driver_io io;
        struct iovec iov[BLK_MAX_SEGMENTS];
};

/* Requests whose next step is a flush wait here. While the device flushes for one list (running), the
 * other takes those that come (pending), and one more flush will serve all of them. */
struct blk_flush {
        struct request *rq; /* (c) the flush itself: has no bios */
        struct rq_list waiting[2];
        unsigned pending;        /* index of the list that takes new ones */
        bool running;            /* rq is QUEUED or DISPATCHED, for the other list */
        unsigned data_in_flight; /* DATA steps of sequences, from QUEUED to their end */
        uint64_t pending_since;
};

struct request_queue {
        struct device *dev;             /* (c) */
        struct block_pool *pool;        /* (c) */
        struct trace *trace;            /* (c) */
        uint64_t object;                /* (c) the device's */
        const struct elevator_ops *elv; /* (c) */
        void *elv_data;                 /* [queue] its state */
        uint64_t (*now)(void);          /* (c) now_ns, or a test's clock */
        struct queue_limits limits;     /* (c) while anything is in flight */
        struct mutex lock;
        struct rq_list at_head;       /* [queue] QUEUED, and before all that the elevator has */
        _Atomic unsigned nr_queued;   /* [queue] to write: requests that the elevator has */
        _Atomic unsigned in_flight;   /* [queue] to write: requests at the driver */
        uint64_t bytes;               /* [queue] that these move */
        struct blk_queue_stats stats; /* [queue] */
        struct blk_latency latency[BLK_STATS];
        LIST_ENTRY(request_queue) of_pool; /* [bios] */
        struct blk_flush flush;            /* [queue] */
        /* Bios not yet ended and calls not yet returned; QUEUE_DYING once somebody waits. */
        _Atomic uint32_t refs;
};

/* It is at the driver no more. => q->lock held */
static inline void rq_back(struct request_queue *q, struct request *rq)
{
        q->in_flight--;
        q->bytes -= rq->at_driver;
        rq->at_driver = 0;
}

/* bio.c */
/* The request that goes with the bio's memory: never fails. */
struct request *request_alloc(struct request_queue *q, struct bio *bio);
/* `n` of those that are kept for parts of bios, linked by bi_next; NULL: there are not so many. */
struct bio *bio_alloc_parts(struct block_pool *p, unsigned n);
/* Ends the bio and frees it, and the memory of its request. */
void bio_end(struct bio *bio);
const struct elevator_ops *block_pool_elevator(const struct block_pool *p);
void block_pool_add(struct block_pool *p, struct request_queue *q);
void block_pool_remove(struct block_pool *p, struct request_queue *q);

/* Position and priority */
static inline uint64_t bio_offset(const struct bio *bio)
{
        return bio->bi_sector << SECTOR_SHIFT;
}
static inline uint64_t bio_end_offset(const struct bio *bio)
{
        return bio_offset(bio) + bio->bi_size;
}
static inline uint64_t rq_offset(const struct request *rq)
{
        return rq->sector << SECTOR_SHIFT;
}
static inline uint64_t rq_end_offset(const struct request *rq)
{
        return rq_offset(rq) + rq->bytes;
}
static inline enum io_op opf_op(uint32_t opf)
{
        return (enum io_op)(opf & REQ_OP_MASK);
}
static inline bool op_has_data(enum io_op op)
{
        return op == IO_READ || op == IO_WRITE;
}
static inline bool opf_is_write(uint32_t opf)
{
        return opf & 1;
}
/* Does somebody wait for it? */
static inline bool opf_is_sync(uint32_t opf)
{
        if (opf_op(opf) == IO_READ)
                return !(opf & REQ_RAHEAD);
        return opf_op(opf) == IO_FLUSH || opf & (REQ_SYNC | REQ_PREFLUSH | REQ_FUA);
}
enum rq_prio blk_prio(uint32_t opf, uint16_t ioprio);

/* queue.c: lists */
void rq_list_append(struct rq_list *l, struct request *rq);
void rq_list_prepend(struct rq_list *l, struct request *rq);
void rq_list_remove(struct rq_list *l, struct request *rq);
unsigned rq_list_count(const struct rq_list *l);

/* split.c */
/* The largest I/O of the kind that may begin there, in bytes; 0: the device has no such operation. */
uint64_t blk_max_bytes(const struct request_queue *q, enum io_op op, uint64_t offset);
/* Of a run of `bytes` that begins there as much as one I/O takes, so that what follows is aligned. */
uint64_t blk_piece_bytes(const struct request_queue *q, enum io_op op, uint64_t offset,
                         uint64_t bytes);
static inline unsigned blk_max_segments(const struct request_queue *q)
{
        return (unsigned)min_u64(q->limits.max_segments, BLK_MAX_SEGMENTS);
}
/* How many of the device's buffers it takes. */
unsigned bio_segments(const struct bio *bio);
/* It is too large for one request: parts of it are submitted, and end it. False: it is not, or has to go
 * as it is. => a reference to the queue for the bio is held */
bool blk_split_bio(struct request_queue *q, struct bio *bio, struct blk_plug *plug);

/* merge.c: with the lock of whatever the requests are in held, or by the plug's thread. */
/* The bio becomes part of the request, behind or in front of it. False: it does not fit. */
bool blk_merge_bio(struct request *rq, struct bio *bio);
/* gone's bios become keep's; gone is left without any, and is to be taken out of wherever it is. False:
 * they do not fit. */
bool blk_merge_requests(struct request *keep, struct request *gone);
/* The youngest `search` requests of a list that the bio can join; those of other queues are passed by.
 * NULL: it fits none. *gone: what became one with it, taken off the list; or NULL. */
struct request *blk_merge_bio_list(struct rq_list *l, struct bio *bio, unsigned search,
                                   struct request **gone);
/* rq, which is in the list, and a neighbour on the device become one: the older of the two lives
 * on. Returns the other, taken off the list and without bios, or NULL. */
struct request *blk_merge_list(struct rq_list *l, struct request *rq, unsigned search);

/* plug.c */
void blk_plug_bio(struct blk_plug *plug, struct bio *bio);

/* queue.c */
void blk_queue_get(struct request_queue *q, unsigned n);
void blk_queue_put(struct request_queue *q, unsigned n);
/* Merge into a QUEUED request. False: it fits none. */
bool blk_queue_merge_bio(struct request_queue *q, struct bio *bio);
/* NEW or PLUGGED -> QUEUED, those of the list that are the queue's; some may vanish in a merge. They
 * are taken off the list. */
void blk_queue_insert(struct request_queue *q, struct rq_list *l);
/* -> QUEUED, before all that the elevator has. => q->lock held */
void blk_queue_insert_at_head(struct request_queue *q, struct request *rq);
/* DISPATCHED -> QUEUED, at the head: it has another I/O to do. */
void blk_queue_requeue(struct request_queue *q, struct request *rq);
/* The request is COMPLETE, which frees a place at the driver; `bytes` have been moved. True if somebody
 * waits for the place. */
bool blk_queue_leave(struct request_queue *q, struct request *rq, uint64_t bytes);
/* Counts a request that has ended at the driver. => q->lock held */
void blk_account(struct request_queue *q, const struct request *rq, uint64_t bytes);
/* Dispatch what fits. The caller holds a reference. */
void blk_queue_run(struct request_queue *q);
/* The same for a thread with a plug, which does itself what is its own; everything else starts before. */
void blk_queue_run_for(struct request_queue *q, const struct blk_plug *plug);

/* request.c: the request is DISPATCHED and the caller's; it may be gone on return. */
void request_start(struct request *rq);
/* The same, and the I/O is over when it returns. => no lock held but what may be held across I/O */
void request_perform(struct request *rq);
/* No step is left, and it is in no list: COMPLETE, and its bios end. It is gone on return. */
void request_complete(struct request *rq);

/* flush.c */
int blk_flush_create(struct request_queue *q);
void blk_flush_destroy(struct request_queue *q);
/* The steps a bio takes. 0: nothing to do. */
unsigned blk_flush_steps(const struct request_queue *q, const struct bio *bio);
/* NEW -> QUEUED, for a request that is a sequence; then the queue is to be run. */
void blk_flush_insert(struct request_queue *q, struct request *rq);
/* DISPATCHED -> QUEUED for its next step, or COMPLETE: the DATA step of a sequence is over. */
void blk_flush_data_done(struct request *rq);
/* The flush itself is over. */
void blk_flush_done(struct request *rq, int error);
void blk_flush_check(const struct request_queue *q);

/* check.c: of a request that is QUEUED. */
void blk_request_check(const struct request *rq);

#endif
