/* SPDX-License-Identifier: Apache-2.0
 *
 * prefetch.h - many ranges of a file brought in at once, by a thread of the cache's: in the order of the
 * device, as many at a time as keep it busy.
 *
 *   prefetch_start -> queued -> begun, range after range -> all reads over: DONE -> GONE -> prefetch_end
 *
 * Nobody's touch waits for it, and it takes no more than a part of the memory to read with, nor more of
 * the budget than would fit: what it has brought in it does not push out itself.
 */
#ifndef FL_CACHE_PREFETCH_H
#define FL_CACHE_PREFETCH_H

#include "cache/filemap.h"

struct prefetch_span {
        uint64_t first, end; /* pages of the file */
        uint64_t place;      /* where the first is on the device, bytes; holes come first */
};

enum prefetch_state { PREFETCH_UNDER_WAY, PREFETCH_DONE, PREFETCH_GONE };

struct prefetch {
        struct file *file; /* (c) whoever made it holds it */
        struct prefetch_span
                *spans;          /* (c) in the order in which they are read; they overlap none */
        size_t nr;               /* (c) */
        uint64_t wanted;         /* (c) pages of all of them */
        int eventfd;             /* (c) -1: nobody is told */
        struct prefetch *next;   /* [prefetch] */
        _Atomic uint64_t passed; /* pages that the thread has come past */
        uint64_t begun;          /* pages, the thread's */
        _Atomic uint64_t read, failed;
        _Atomic int error;       /* the first -errno of those that failed; 0: none has */
        _Atomic uint32_t flying; /* pages being read; futex word of the thread */
        _Atomic uint32_t users;  /* the queue or the thread, and each read under way */
        _Atomic uint32_t state;  /* enum prefetch_state; futex word */
        _Atomic bool sleeping, cancelled;
};

/* Takes the spans over, which are malloc's and end within the file; puts them in order, those that touch
 * or overlap as one. *out is to be ended. 0, -ENOMEM or -EAGAIN; the spans are freed in any case. May
 * block. => no lock held */
int prefetch_start(struct file *f, struct prefetch_span *spans, size_t nr, int eventfd,
                   struct prefetch **out);
/* Is it over? Waits so many ns for that, 0: it does not. */
bool prefetch_wait(struct prefetch *p, uint64_t ns);
/* Nothing more is begun; it is over when what is being read has been: at once, if that is nothing. Does
 * not wait for those in front of it. => no lock held */
void prefetch_cancel(struct prefetch *p);
/* Frees one that is over, or waits until it is; not the file. */
void prefetch_end(struct prefetch *p);

/* readahead.c: starts reading what of [first, end) is absent, for p. Where it stopped for want of memory;
 * *begun: pages. => i_rwsem */
uint64_t prefetch_read(struct prefetch *p, uint64_t first, uint64_t end, uint64_t *begun,
                       struct blk_plug *plug);
/* A read for p has begun; is over, with so many pages that came and that did not. Any thread. */
void prefetch_begun(struct prefetch *p, uint32_t nr);
void prefetch_ended(struct prefetch *p, uint32_t good, uint32_t bad, int error);
void *prefetch_thread(void *arg);

#endif
