/* SPDX-License-Identifier: Apache-2.0
 *
 * block.h - what a file system sees of the block layer: bios, plugs and the queue.
 *
 * bio     = one contiguous transfer between a buffer and sectors, as a file system wants it
 * request = what goes to the driver: one or more bios, contiguous on the device
 * plug    = requests held back by one thread so that they can merge
 *
 * Life of a request: NEW -> PLUGGED -> QUEUED -> DISPATCHED -> COMPLETE; merges happen in
 * PLUGGED and QUEUED. What waits there is ordered by the queue's elevator (elevator.h). A bio has the
 * priority that it asks for; else what somebody waits for (a READ without RAHEAD, a SYNC write, a
 * flush) is real-time, and read-ahead and write-back are best effort.
 */
#ifndef FL_BLOCK_BLOCK_H
#define FL_BLOCK_BLOCK_H

#include "driver/driver.h"
#include "trace/stats.h"

/* opf: operation (enum io_op) in the low 8 bits, flags above, in Linux's order. */
#define REQ_OP_MASK 0xffu
#define REQ_SYNC (1u << 11)
#define REQ_META (1u << 12)
#define REQ_PRIO (1u << 13)
#define REQ_NOMERGE (1u << 14)
#define REQ_IDLE (1u << 15)
#define REQ_FUA (1u << 17)
#define REQ_PREFLUSH (1u << 18)
#define REQ_RAHEAD (1u << 19)
#define REQ_BACKGROUND (1u << 20)
#define REQ_NOUNMAP (1u << 23)  /* IO_WRITE_ZEROES: what has room keeps it */
#define REQ_BUFFERED (1u << 30) /* ours: through the host's page cache, never around it */
#define REQ_NOMERGE_FLAGS (REQ_NOMERGE | REQ_PREFLUSH | REQ_FUA)

/* As Linux's ioprio: bi_ioprio is BLK_IOPRIO(class, level). Levels are kept, and order nothing. */
enum blk_prio_class { BLK_CLASS_NONE, BLK_CLASS_RT, BLK_CLASS_BE, BLK_CLASS_IDLE };
#define BLK_IOPRIO(class, level) ((uint16_t)((unsigned)(class) << 13 | (level)))

struct bio {
        uint32_t bi_opf;
        uint32_t bi_size;   /* bytes; need not be whole sectors at the end of a host file */
        uint64_t bi_sector; /* 512-byte units */
        void *bi_buf; /* bi_size bytes; NULL for an empty PREFLUSH, IO_DISCARD, IO_WRITE_ZEROES */
        uint16_t bi_ioprio; /* BLK_IOPRIO(); 0: by what it is */
        int bi_status;      /* 0 or -errno, at the end */
        uint32_t bi_done;   /* bytes moved; fewer than bi_size only beyond the device's end */
        void (*bi_end_io)(struct bio *); /* once, from any thread; then the bio is freed */
        void *bi_private;
        uint64_t bi_fault;         /* fault id for the trace */
        struct bio *bi_next;       /* the block layer's, as all that follows */
        uint64_t bi_queued;        /* when it was submitted */
        bool bi_is_part;           /* of a bio that was larger than the device takes, */
        _Atomic uint32_t bi_parts; /* which has so many that have not ended */
        struct request_queue *bi_queue;
};

struct rq_list {
        struct request *head, *tail;
};

/* On the stack of the thread that uses it. */
struct blk_plug {
        struct rq_list list;
        unsigned count, bios; /* requests held back, and the bios in them */
        /* The thread holds no lock and sleeps next, until what it has read is there: it may as well
         * do the reading itself. Set before blk_finish_plug(), which clears it. */
        bool waits;
        /* The thread waits, with no lock but those that may be held across I/O, for all that it writes, and
         * may as well send and end that itself: so it calls blk_plug_reap() wherever it would sleep, and
         * blk_end_plug() last. Set after blk_start_plug(). */
        bool own;
        struct driver_batch *batch; /* own: from the first requests on, if the device can */
};

struct queue_limits {
        uint32_t max_sectors;              /* of one request */
        uint32_t max_discard_sectors;      /* of one that discards; 0: the device does not */
        uint32_t max_write_zeroes_sectors; /* likewise */
        uint32_t max_segments;             /* buffers of one request */
        uint32_t max_segment_size;         /* bytes of a buffer; larger ones count as several */
        uint32_t chunk_sectors;            /* no request crosses a multiple of it; 0: any may */
        uint32_t block_size;               /* bytes: where a large bio is cut */
        uint32_t depth;                    /* requests at the driver */
        uint32_t
                bytes; /* that they move: with as many, no other that nobody waits for goes there */
};

struct request_queue;
struct block_pool;

/* Bios and requests are taken from a pool sized at the start, never from malloc. */
int block_pool_create(struct block_pool **out, unsigned bios);
void block_pool_destroy(struct block_pool *p);
/* The elevator of queues created from now on: "deadline" (NULL too), "none". -EINVAL: no such. */
int block_pool_set_elevator(struct block_pool *p, const char *name);
/* Is there one of that name? 0 or -EINVAL. */
int elevator_check(const char *name);
#define BLK_ELEVATORS "deadline, none" /* for messages */

/* The queue of one device, which it owns from now on. */
int blk_queue_create(struct request_queue **out, struct device *dev, struct block_pool *pool,
                     struct trace *trace);
/* Waits for what is in flight, then closes the device. Not from bi_end_io. */
void blk_queue_destroy(struct request_queue *q);
struct device *blk_queue_device(struct request_queue *q);
/* May be changed while nothing is in flight. */
struct queue_limits *blk_queue_limits(struct request_queue *q);

/* Never fails for want of memory as long as no more than `bios` are in flight; then NULL. */
struct bio *bio_alloc(struct request_queue *q, uint32_t opf, uint64_t sector, void *buf,
                      uint32_t bytes);
/* Hands the bio over; bi_end_io may be called before this returns. plug may be NULL: then it goes
 * to the queue at once. An empty write with REQ_PREFLUSH is a flush: everything written before
 * is durable when it ends. What is larger than one request may be goes in several. An operation that the
 * device has not: -EOPNOTSUPP. May be called from bi_end_io. */
void submit_bio(struct bio *bio, struct blk_plug *plug);
/* Both wait, for a range of any length, whole sectors: 0 or -errno. As IO_DISCARD, -EOPNOTSUPP if the
 * device cannot. As IO_WRITE_ZEROES; where the device cannot, zeros are written. Not on a loop thread. */
int blkdev_issue_discard(struct request_queue *q, uint64_t sector, uint64_t sectors);
int blkdev_issue_zeroout(struct request_queue *q, uint64_t sector, uint64_t sectors);
/* submit_bio and wait; 0 or -errno, -EIO if the device ends before `bytes`. Waits for a free bio
 * too. Not on a loop thread. */
int submit_bio_wait(struct request_queue *q, uint32_t opf, uint64_t sector, void *buf,
                    uint32_t bytes, uint64_t fault);

void blk_start_plug(struct blk_plug *plug);
/* What is held back is on its way; the plug is as it was at its start. */
void blk_finish_plug(struct blk_plug *plug);
/* Ends what is over of the thread's own writes, and waits for half of them. False: there are none. */
bool blk_plug_reap(struct blk_plug *plug);
/* The last of a plug, of whatever kind: the same for all of them. */
void blk_end_plug(struct blk_plug *plug);

/* What a queue has done since it was made. */
enum blk_stat { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES, BLK_STATS };
struct blk_op_stats {
        uint64_t requests, bios; /* complete; what is more in bios was merged */
        uint64_t bytes;          /* moved */
        uint64_t queue_ns;       /* in sum, from its first bio to the driver */
        uint64_t device_ns;      /* from there to its end; further pieces and tries included */
};
struct blk_queue_stats {
        struct blk_op_stats op[BLK_STATS];
};
void blk_queue_stats(struct request_queue *q, struct blk_queue_stats *stats);
/* How long requests took, each by itself: from the first bio to the end (what btt calls Q2C), and from the
 * driver to the end (D2C). The sums are those of above. */
struct blk_latency {
        struct histogram q2c, d2c;
};
/* Calls `tell` for each operation of the index-th queue of a pool, numbered as in block_pool_stats(). False:
 * there are not so many. */
bool block_pool_latencies(struct block_pool *p, unsigned index,
                          void (*tell)(void *arg, const char *device, enum blk_stat op,
                                       struct blk_latency *latency),
                          void *arg);
/* Requests at the drivers of all queues of the pool. */
unsigned block_pool_in_flight(struct block_pool *p);

/* What a queue holds at this moment, for people. */
struct blk_queue_state {
        unsigned queued[3]; /* waiting: real-time, best effort, idle */
        unsigned in_flight; /* at the driver */
};
struct blk_queue_state blk_queue_state(struct request_queue *q);

/* Both of the index-th queue of a pool, in no order, and its device's name. False: there are not so
 * many. */
bool block_pool_stats(struct block_pool *p, unsigned index, char name[64],
                      struct blk_queue_stats *stats, struct blk_queue_state *state);

#ifndef NDEBUG
void blk_queue_check(struct request_queue *q);
#else
static inline void blk_queue_check(struct request_queue *q)
{
        (void)q;
}
#endif

#endif
