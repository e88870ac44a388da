/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.h - who reads in which direction: tells streams from random accesses by the pages that were
 * missing.
 *
 * A stream is a row of touches at equal distances, its step: 1 forward, -1 backward, any other strided.
 * Several at once, from any number of threads, interleave in one file. Three touches in a row make one,
 * two if they are neighbours; of the latest sixteen misses, or, of neighbours, sixty-four. What no stream
 * expects and no three touches explain is random, and reads its page alone.
 *
 * A stream reads windows of touches to come. The first touch of a window's first page asks for the next
 * window, so that a whole one is always ahead, and is twice as large each time, up to what the device
 * needs to be kept busy: some times what it could transfer while it answers one read.
 * Where windows are for nothing (what was read is gone before it is touched), they become smaller.
 *
 * Most streams may be short: records of some pages, lists in an index, neighbours by chance. How many touches
 * those had that have ended is counted, and nothing is read behind where half of those that came as far as
 * this one had ended. Its last touch carries the mark then, so that what goes on is seen to. Where nearly
 * every miss has turned out to begin such a record, the first one reads it.
 *
 * Fixed memory, in the open file. Serialised by the caller, like all of struct file_ra_state. Pages.
 */
#ifndef FL_POLICY_STREAMS_H
#define FL_POLICY_STREAMS_H

#include "util/base.h"

#define STREAMS 64
#define STREAM_HISTORY 64
#define STREAM_LENGTHS 13

struct stream {
        int64_t step;  /* 0: there is none */
        int64_t first; /* the touch it began with */
        int64_t next; /* where the next window begins: the first touch that has not been asked for */
        int64_t reach;   /* a touch farther from `next` has nothing to do with it */
        int64_t marker;  /* the touch that asks for it; -1: none */
        uint32_t window; /* touches in the last */
        uint32_t before; /* and in the one before */
        uint32_t
                most; /* and in one at most, since what was larger was for nothing; 0: as it likes */
        uint32_t windows; /* so many yet */
        uint32_t good;    /* of them since `most` was last changed */
        uint32_t used;    /* when last: of streams.clock */
        uint32_t miss;    /* and of streams.misses */
        uint32_t seen;    /* touches that it is known to have made */
        bool told;        /* by advice: it ends where the file does */
};

struct streams {
        struct stream stream[STREAMS]; /* the first nr have been used */
        uint32_t nr;
        int64_t history[STREAM_HISTORY]; /* the last touches that no stream expected; + 1 */
        uint32_t newest, clock, misses;
        /* Of streams that have ended, of late, how many touches they had: 1, 2, 3, 4, to 8, to 16, ... */
        uint16_t ended[STREAM_LENGTHS];
        /* Misses, of late, that no stream explained; those of them behind which the neighbour was missed. */
        uint16_t lone, followed;
};

/* What the device can do; 0: not known yet. */
struct stream_pace {
        uint32_t latency_ns; /* of a read of one page */
        uint32_t page_ns;    /* and of each page more */
        uint32_t most;       /* largest window there may be */
        uint32_t all;        /* of all streams together; 0: as many as there are */
};

/* A window: touches at start, start + step, ... ; nr 0: this page alone. */
struct stream_window {
        int64_t start, step;
        uint32_t nr;
        uint32_t mark;    /* the touch of them that is to ask for the next; nr or more: none */
        uint32_t windows; /* of the stream, this one included */
        uint32_t most;    /* as it was worked out from the pace */
};

/* Nobody has the page: a touch of [index, index + nr). */
struct stream_window streams_miss(struct streams *s, const struct stream_pace *pace, uint64_t index,
                                  uint64_t nr);
/* The page that was to ask for the next window has been touched. */
struct stream_window streams_marker(struct streams *s, const struct stream_pace *pace,
                                    uint64_t index);
/* What was to be read of the window ends at touch `stop`, which is the first that is not. */
void streams_cut(struct streams *s, int64_t step, int64_t stop);
/* The step of the stream that has lately asked for the page; 0: there is none. */
int64_t streams_step(const struct streams *s, uint64_t index);
/* Somebody says that a stream begins here. */
struct stream_window streams_begin(struct streams *s, const struct stream_pace *pace,
                                   uint64_t index, uint64_t nr);
/* The largest window that is worth it. step: of the stream. */
uint32_t stream_most(const struct stream_pace *pace, int64_t step);

/* How many there are that read one window after the other. */
unsigned streams_active(const struct streams *s);

/* Those that have read ahead, in words, the latest first. */
void streams_describe(const struct streams *s, char *text, size_t size);

#endif
