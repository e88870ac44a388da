/* SPDX-License-Identifier: Apache-2.0
 *
 * cache.h - one engine's page cache: the budget, the reclaim list, the threads.
 *
 * Who is who: page.c moves one page between states; address_space.c holds a file's pages;
 * filemap.c serves faults and fl_pread/fl_pwrite from them; readahead.c reads; writeback.c
 * writes; reclaim.c and shrink.c evict; budget.c counts. Decisions come from policy/.
 */
#ifndef FL_CACHE_CACHE_H
#define FL_CACHE_CACHE_H

#include <pthread.h>

#include "cache/address_space.h"
#include "cache/frame.h"
#include "cache/guess.h"
#include "policy/policy.h"

#define PAGE_WAITQS 256
#define CACHE_MIN_PAGES 64

/* Pages that may be held. Charged: a frame, a read in flight, a private copy. */
struct budget {
        _Atomic int64_t charged; /* all of it */
        /* Of these only swap can take: private pages, and those of shmem that are dirty or being
         * written. */
        _Atomic int64_t private_pages;
        _Atomic int64_t shm_dirty; /* of those: shmem's */
        _Atomic int64_t limit;     /* the budget less the staging pool */
        _Atomic int64_t shares;    /* [cache] to write; the files' shares together */
        _Atomic int64_t low, high; /* free pages: reclaim starts below low, stops at high */
        _Atomic int64_t
                scan_below; /* and with fewer than that the scanner runs; 0: there is none */
        _Atomic int64_t peak;
        /* How often something has been given back, from 1 on; and at which of these reclaim found that
         * there is nothing to free and nothing on its way: stuck as long as they are equal. */
        _Atomic uint64_t freed, stuck_at;
        _Atomic uint64_t private_freed,
                private_stuck_at; /* of private pages: none can go to swap */
        struct waitq wq;          /* those who wait for a page */
};

struct lru {
        struct mutex lock;
        struct reclaim pages; /* [lru] the policy's lists; but pages.nr, which anybody may read */
        size_t ghost_bytes;   /* (c) */
};

/* A thread of the cache's that sleeps until kicked or until its period is over. */
struct worker {
        pthread_t thread;       /* (c) */
        bool running;           /* who starts and stops it only */
        _Atomic uint32_t kicks; /* futex word */
        _Atomic uint32_t sleeping;
        _Atomic bool stop;
};

/* Where fsflush goes on: pages of memory looked at in this lap, free ones included, and the file's
 * number and page where the next are. */
struct flush_hand {
        uint64_t lap, number, index;
};

struct io_run;

/* How reclaim reaches private pages; filled in by vm. */
struct private_ops {
        /* Send about `want` private pages to the swap area: those that are there already go at once,
         * others when they are written. How many went or are on their way; 0: none can. Called by
         * the reclaimer, which holds nothing. */
        unsigned (*shrink)(void *arg, unsigned want);
        /* Send those away that somebody has asked to go, as far as that goes without waiting. True:
         * there are more. Called by the reclaimer, likewise, whenever it has been kicked. */
        bool (*serve)(void *arg);
};

/* A store that waits for room on the disk (reserve.c). */
#define ROOM_REQUESTS 32
struct room_request {
        struct address_space *m; /* [room] */
        uint64_t index;          /* [room] */
        int state;               /* [room] */
        unsigned users;          /* [room] faults that wait for it, or are to see the answer */
        int error;               /* [room] the answer */
};

struct page_cache {
        struct table_pool *tables;          /* (c) */
        struct trace *trace;                /* (c) */
        const struct vm_policy_ops *policy; /* (c) */
        uint32_t page_pages;     /* (c) pages that go together; the policy's or the user's */
        struct policy_tune tune; /* (c) what was given of its parameters */
        unsigned processors;     /* (c) of the machine */
        const struct mapping_ops *m_ops; /* (c) */
        struct super_block *shmem;       /* (c) NULL: none */
        const struct private_ops *_Atomic p_ops;
        void *p_arg; /* (c) of p_ops; set before it */
        struct budget budget;
        struct staging staging;
        struct guesses guesses;
        struct lru lru;     /* pages of files */
        struct lru shm_lru; /* pages of shmem */
        struct waitq page_wq[PAGE_WAITQS];
        struct waitq dirty_wq; /* dirtiers that were told to pause */
        struct waitq room_wq;  /* those who wait for room on a disk */
        struct mutex room_lock;
        struct room_request room[ROOM_REQUESTS];
        struct waitq retry_wq; /* faults that failed and are to be tried again */
        struct waitq cut_wq;   /* faults behind the end of a file that is being cut, by the file */
        _Atomic int64_t nr_dirty, nr_writeback, nr_reading;
        _Atomic int64_t nr_swapping_out; /* private pages on their way, and shmem's */
        _Atomic int64_t nr_swapping_in;  /* private pages */
        _Atomic uint32_t hold_epoch;
        _Atomic int64_t holding[2]; /* who is between hold_begin() and hold_end(), by epoch */
        struct worker reclaimer, flusher, roomer;
        struct worker prefetcher; /* running: [open] since the first was asked for */
        struct mutex prefetch_lock;
        struct prefetch *prefetches;     /* [prefetch] that nobody has begun with */
        struct flush_hand flush_hand;    /* the flusher's */
        _Atomic uint32_t reclaim_wants;  /* pages that reclaim asks the flusher to clean */
        _Atomic uint64_t writeback_done; /* pages cleaned so far, to see progress */
        struct mutex lock;
        TAILQ_HEAD(, address_space) mappings; /* [open] + [cache] */
        uint64_t nr_numbers;                  /* [cache] files so far */
        struct mutex run_lock;
        struct io_run *runs;      /* (c) all of them */
        struct io_run *free_runs; /* [run] */
        struct mutex drop_lock;   /* which pages of files are asked to go (putpage.c) */
        _Atomic bool drops;       /* there are such */
        struct mutex evict_lock;  /* one eviction pass at a time */
        struct mutex open_lock;   /* opening and last closing of files; held across I/O, never
                                  * taken by a fault */
        _Atomic uint64_t budget_bytes;
};

struct cache_config {
        uint64_t bytes; /* the whole budget */
        struct table_pool *tables;
        struct trace *trace;
        const struct vm_policy_ops *policy;
        uint32_t page_pages; /* that go together; 0: the policy's */
        struct policy_tune tune;
        const struct mapping_ops *m_ops;
        struct super_block *shmem; /* for memory that is shared; NULL: there is none to be had */
};

int cache_create(struct page_cache **out, const struct cache_config *cfg);
/* Where all I/O of the cache goes to and comes from; as long as the cache. */
void cache_staging(struct page_cache *c, void **base, size_t *bytes);
/* Ends its threads: nothing is reclaimed or written any more of its own accord. */
void cache_stop(struct page_cache *c);
/* All mappings are destroyed. */
void cache_destroy(struct page_cache *c);
/* Once, before there is a private page. Without, private pages stay in memory. */
void cache_set_private(struct page_cache *c, const struct private_ops *ops, void *arg);
int cache_resize(struct page_cache *c, uint64_t bytes);

/* Why pages have gone, for the trace. */
enum evict_why {
        EVICT_RECLAIM, /* room was wanted */
        EVICT_ASKED,   /* advice, fl_evict, a file that has changed */
        EVICT_PRIVATE, /* its place is a private copy's now */
        EVICT_DROPPED  /* closed, cut off, punched out */
};
#define trace_evicted(m, start, pages, why)                                                        \
        do {                                                                                       \
                uint64_t evicted_pages = (pages);                                                  \
                                                                                                   \
                if (evicted_pages)                                                                 \
                        trace_emit((m)->cache->trace, EVICT, 0, (m)->object, start, evicted_pages, \
                                   why, 0);                                                        \
        } while (0)

/* What a step found it has to wait for. Filled in by the step that returned "retry". */
struct wait_on {
        enum {
                WAIT_NONE,
                WAIT_PAGE,
                WAIT_BUDGET,
                WAIT_STAGING,
                WAIT_DIRTY,
                WAIT_PRIVATE, /* for room among the private pages */
                WAIT_SWAP,    /* for a page that is coming in: q, key, blocked */
                WAIT_RETRY,   /* for a time: until_ns */
                WAIT_ROOM,    /* on the disk: room */
                WAIT_CUT      /* for a file to be cut, or not: mapping */
        } kind;
        struct waitq *q;
        const void *key;                         /* NULL but for WAIT_SWAP, WAIT_CUT */
        bool (*blocked)(const struct wait_on *); /* still? */
        void *arg;
        struct address_space *mapping;
        struct page *page;         /* WAIT_PAGE: pinned; wait_on_add() or wait_on_done() unpins */
        bool write;                /* WAIT_PAGE: for write-back to end; else for a read */
        struct room_request *room; /* WAIT_ROOM: NULL: for a place to ask from */
        uint64_t until_ns;         /* WAIT_RETRY: at this time of now_ns() */
};
void wait_on_page(struct wait_on *on, struct address_space *m, struct page *p, bool writeback);
/* Queue the waiter; false: no need to wait, and not queued. Ends *on. */
bool wait_on_add(struct page_cache *c, struct wait_on *on, struct waiter *w);
/* Sleep until it is worth trying again. Ends *on. Not on a loop thread. */
void wait_on(struct page_cache *c, struct wait_on *on);

/* budget.c */
/* How many private pages may be in memory: a few are left to the files, or else nothing of any
 * could be read any more. */
int64_t budget_private_most(struct page_cache *c);
bool budget_try_charge(struct page_cache *c, int64_t pages);
void budget_uncharge(struct page_cache *c, int64_t pages);
/* Around everything that takes a charge or staging memory and hands it over to a page or an I/O: until
 * it has, nobody can see that there is something on its way. Not around a wait. */
static inline unsigned hold_begin(struct page_cache *c)
{
        unsigned epoch = atomic_load(&c->hold_epoch) & 1;

        atomic_fetch_add(&c->holding[epoch], 1);
        return epoch;
}
static inline void hold_end(struct page_cache *c, unsigned epoch)
{
        atomic_fetch_sub(&c->holding[epoch], 1);
}
static inline int64_t budget_free(struct page_cache *c)
{
        return atomic_load(&c->budget.limit) - atomic_load(&c->budget.charged);
}
/* Charge, evicting clean pages on the spot if need be. False: wait for the budget. */
bool budget_charge(struct page_cache *c, int64_t pages);
/* True when waiting cannot help: nothing to reclaim, nothing in flight. */
bool budget_stuck(struct page_cache *c);
/* The same of private pages, which may be as many as may be while there is room for others. */
bool budget_private_stuck(struct page_cache *c);
/* Pages may go that could not before, or more of them be private: that nothing will ever be freed was said
 * of how it was then. */
void budget_reconsider(struct page_cache *c);
void budget_set_limit(struct page_cache *c, uint64_t bytes);

/* share.c: may files be promised so much of `limit` pages? => c->lock */
bool shares_fit(struct page_cache *c, int64_t shares, int64_t limit);
/* The shares that the views of a file ask for have changed. -ENOMEM: there is not so much to give,
 * and the file keeps what it had. */
int share_update(struct address_space *m);

/* lru.c: on the lists of its kind */
/* 0 or -ENOMEM */
int lru_init(struct page_cache *c, struct lru *l, uint64_t memory);
void lru_destroy(struct lru *l);
/* A page that has come in. => page locked */
void lru_add(struct page_cache *c, struct page *p);
/* One that was taken, and stays. looked: as the policy wants it; else it could not be asked, or not be
 * obeyed. */
void lru_put_back(struct page_cache *c, struct page *p, bool looked);
void lru_remove(struct page_cache *c, struct page *p);
/* The next to go. */
void lru_cold(struct page_cache *c, struct page *p, bool first);
/* Takes up to `max` pages that the policy wants to look at, their files in use and their leaves pinned (a
 * page on a list is in use, so its leaf and its file are there). Those of files that keep to their share
 * are put back instead, *kept of them. => evict_lock */
unsigned lru_take(struct page_cache *c, struct lru *l, struct page **out, unsigned max,
                  unsigned *kept);
/* What the policy makes of a page that was taken. False: it has come back meanwhile, and is not ours any
 * more. => page locked */
bool lru_look(struct page_cache *c, struct page *p, uint32_t word, unsigned shared,
              enum reclaim_choice *choice);
/* The policy gave it up, and it is about to go. => page locked */
void lru_evicted(struct page_cache *c, struct page *p);
/* reclaim.c, shrink.c */
/* Is it shown by a mapping that is locked in memory? => page locked */
bool page_is_pinned(struct page_cache *c, struct page *p);
/* Try to free `want` pages; returns how many were freed or made closer to free. */
struct reclaim_result {
        unsigned scanned, zapped, evicted, rotated, dirty, busy;
        uint64_t pushes; /* dirty pages of files that may be sent away, so many still */
};
struct reclaim_result shrink_list(struct page_cache *c, unsigned want);
/* Evict one locked CLEAN page; its charge passes to the caller. => locked; stays locked */
int evict_for_private(struct page_cache *c, struct address_space *m, struct page *p);
/* Looks at so many pages of files, and sends so many private pages away. => no lock held */
void scan_files(struct page_cache *c, uint64_t pages, struct reclaim_result *r);
void scan_memory(struct page_cache *c, unsigned want);
void reclaim_kick(struct page_cache *c);
/* pageout.c, of a policy with a scanner: one wake of it. The reclaimer, or a test that owns the clock. */
void pageout_wake(struct page_cache *c);
/* In so many ns it is the scanner's turn, which was last at `last`; 1: now; 0: it has nothing to do. */
uint64_t pageout_due(struct page_cache *c, uint64_t last);
void *reclaim_thread(void *arg);

/* reserve.c. Has it been answered? NULL: is there a place for another? */
bool room_answered(struct page_cache *c, struct room_request *r);
/* A fault's interest in it ends; NULL is fine. */
void room_put(struct page_cache *c, struct room_request *r);
void *room_thread(void *arg);

/* writeback.c */
void *flusher_thread(void *arg);
void flusher_kick(struct page_cache *c);
/* fsflush.c: one wake of it. The flusher, or a test that owns the clock. */
void fsflush_wake(struct page_cache *c);
int64_t dirty_limit(struct page_cache *c);
int64_t dirty_background(struct page_cache *c);

void worker_start(struct worker *w, const char *name, void *(*fn)(void *), void *arg);
void worker_kick(struct worker *w);
/* Sleep until kicked since *seen, or ns passed. Updates *seen. */
void worker_sleep(struct worker *w, uint32_t *seen, uint64_t ns);
void worker_stop(struct worker *w);

uint64_t cache_meta_bytes(struct page_cache *c);
#ifndef NDEBUG
int cache_check(struct page_cache *c);
#endif

#endif
