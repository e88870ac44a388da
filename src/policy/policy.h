/* SPDX-License-Identifier: Apache-2.0
 *
 * policy.h - what decides: which pages to read ahead, how far to map around a fault, what to
 * reclaim, when to write back. Mechanism lives in cache and vm; no other layer knows a policy's
 * name. Nothing here does I/O, allocates, or knows a page: policies see numbers and answer with
 * numbers, so that they can be tested, and replayed, without an engine. Calls with one
 * file_ra_state are serialised by the caller (a short lock beside the state).
 *
 * Units: pages. "Memory" is the engine's budget.
 */
#ifndef FL_POLICY_POLICY_H
#define FL_POLICY_POLICY_H

#include "policy/reclaim.h"
#include "policy/streams.h"
#include "policy/tune.h"

enum vm_advice { ADVICE_NORMAL, ADVICE_RANDOM, ADVICE_SEQUENTIAL };

/* What an inode remembers of its stream; bytes (S14, S15). */
struct ufs_stream {
        uint64_t i_nextr;   /* the end of the pages returned last: an access here is sequential */
        uint64_t i_nextrio; /* where the next cluster begins */
};

/* Per open file (rule L20): shared by all of its mappings. */
struct file_ra_state {
        uint64_t start; /* the window */
        uint32_t size;
        uint32_t async_size; /* reading past start+size-async_size starts the next window */
        uint32_t ra_pages;   /* largest window; 0: no read-ahead */
        uint32_t io_pages;   /* largest request of the device */
        uint32_t mmap_miss;
        uint32_t order;           /* 6.18: folio order of the next window */
        _Atomic int64_t prev_pos; /* bytes; of the last read by fl_pread, -1: none */
        struct ufs_stream ufs;
        struct streams streams; /* adaptive */
};

/* Why a window is what it is: the reason goes into the trace and `explain`. */
enum ra_why {
        RA_NONE,
        RA_RANDOM_ADVICE,     /* L17b */
        RA_DISABLED,          /* L17c */
        RA_SEQUENTIAL_ADVICE, /* L17d */
        RA_MMAP_MISS,         /* L17e: too many misses, single page */
        RA_EXEC,              /* L17f */
        RA_AROUND,            /* L17g */
        RA_MARKER,            /* L18, L28: the marker page was touched */
        RA_INITIAL,           /* L27: start of file, large or sequential read */
        RA_CONTEXT,           /* L27: cached pages before it */
        RA_STANDALONE,        /* L27: exactly what was asked */
        RA_FORCED,            /* L25: WILLNEED */
        RA_SWAP,              /* neighbours in the swap area (L47) */
        RA_5_13_INITIAL,      /* L26a, d, e */
        RA_5_13_NEXT,         /* L26b: the stream goes on */
        RA_5_13_MARKER,       /* L26c: a marker the state does not know */
        RA_5_13_CONTEXT,      /* L26f */
        RA_5_13_STANDALONE,   /* L26g */
        RA_UFS_BLOCK,         /* S16: no stream, or the first block: a block of the file system */
        RA_UFS_CLUSTER,       /* S16: a stream: as far as the file is contiguous */
        RA_UFS_AHEAD,         /* S15, S17: the next cluster */
        RA_KLUSTER_REFUSED,   /* S13, S18: the segment lets only the page itself be read */
        RA_UFS_WILLNEED,      /* S29 */
        RA_BOOK_PAGE,         /* the book: a fault reads its page */
        RA_BOOK_EIGHT,        /* the book: at 64 KiB, the next eight pages */
        RA_BOOK_CLUSTER,      /* the book: or a cluster, of what is private and not RANDOM */
        RA_ALONE,             /* adaptive: no stream is known that comes here */
        RA_STREAM_FORWARD,    /* touches in a row, and what is to follow */
        RA_STREAM_BACKWARD,
        RA_STREAM_STRIDED, /* at equal distances */
        RA_NR_WHY
};
const char *ra_why_text(enum ra_why why);

/* What to read. nr 0: nothing. */
struct ra_window {
        uint64_t start;
        uint32_t nr;
        uint32_t async;   /* the marker goes on page start + nr - async; 0: no marker */
        uint32_t mark_nr; /* and on the pages after it, so many in all: a folio's; 0 is 1 */
        uint32_t step;    /* pages start, start + step, ..., nr of them; 0 is 1. async likewise */
        struct {          /* adaptive: the detector behind it (streams.h) */
                int64_t step;
                uint32_t windows, most;
        } stream;
        enum ra_why why;
        bool asked; /* not the policy's: a call has asked for it, which reclaim is told */
};

/* What is to be shown with a page that a load has found or waited for: those of `nr` pages at this distance,
 * and twice, and so on, that are cached, up to one that is not or that carries the mark. step 0: those
 * next to it on both sides, of the nr (a power of two) that it lies among. nr 0: none. */
struct ra_map {
        int64_t step;
        uint32_t nr;
};

/* What the policy may ask about the file's cached pages, bounded by the window sizes. */
struct ra_probe {
        /* Length of the run of cached pages that ends at index-1; looks at no more than max. */
        uint64_t (*cached_before)(void *arg, uint64_t index, uint64_t max);
        /* First page >= index that is not cached; looks at no more than max; index+max: none. */
        uint64_t (*first_missing)(void *arg, uint64_t index, uint64_t max);
        /* First page >= index that is cached; likewise. */
        uint64_t (*first_cached)(void *arg, uint64_t index, uint64_t max);
        void *arg;
};

struct ra_request {
        struct file_ra_state *ra;
        const struct ra_probe *probe;
        uint64_t index;              /* page that is missing, or that carries the marker */
        uint64_t req;                /* pages asked for (fl_pread) */
        uint32_t folio;              /* pages that carry the mark that was hit; 0 is 1 */
        uint64_t file_pages;         /* ceil(i_size / page) */
        uint64_t vma_start, vma_end; /* file pages the mapping covers; for faults */
        enum vm_advice advice;
        bool exec, write;
        bool fault;               /* else fl_pread; set where a policy without markers is asked */
        bool locked;              /* the page is still being read: mmap_miss stays as it is (L18) */
        bool shared;              /* MAP_SHARED; not of a read */
        uint32_t page_pages;      /* that go together; 0 is 1 */
        uint64_t freemem, memory; /* pages of the budget: free, and all */
        unsigned processors;      /* 0: one */
        const struct policy_tune *tune; /* the policy's parameters; NULL: none is given */
        uint32_t latency_ns; /* of the device, as measured: a read of one page; 0: not yet */
        uint32_t page_ns;    /* and of each page more */
        /* S13: may that page of the file be read together with `index`? NULL: as vma_start, vma_end
         * and advice say. */
        bool (*kluster)(void *arg, uint64_t page);
        void *kluster_arg;
};

/* --- what Solaris's segment driver for files, seg_vn, decides. Offsets and lengths are bytes. */

enum seg_rw { SEG_READ, SEG_WRITE, SEG_OTHER };

struct segvn_ask {
        uint64_t len;  /* of the fault */
        uint64_t left; /* from the faulting page to the segment's end */
        uint32_t page; /* bytes of a page */
        enum seg_rw rw;
        bool private;     /* MAP_PRIVATE */
        bool next_mapped; /* hat_probe() of the page after the fault */
};
/* What free-behind asks about the page of that number in the segment. */
struct segvn_probe {
        bool (*in_memory)(void *arg, uint64_t page);
        enum vm_advice (*advice)(void *arg, uint64_t page);
        void *arg;
        const struct policy_tune *tune; /* NULL: nothing is given */
};
/* S13: may the page `delta` bytes from the one at `off` in the segment be read with it? */
struct segvn_kluster {
        uint64_t off, size; /* in the segment; of the segment */
        int64_t delta;
        enum vm_advice advice;    /* the segment's */
        enum vm_advice to_advice; /* the other page's own; the segment's if it has none */
        bool private;
        bool anon, to_anon; /* has a page of its own already */
        bool adjacent;      /* both are: their slots in the swap area are neighbours */
};

struct segvn_policy {
        /* S9: what VOP_GETPAGE may return pages for, and what it is told the access is. */
        uint64_t (*plsz)(const struct segvn_ask *);
        enum seg_rw (*getpage_rw)(const struct segvn_ask *);
        /* S8: pages [*first, page) of the segment are to be freed; false: none. */
        bool (*free_behind)(const struct segvn_probe *, uint64_t page, uint64_t *first);
        bool (*kluster)(const struct segvn_kluster *);
        bool reduces_prot; /* mmap leaves out what the file's permissions forbid; else EACCES (S2) */
};

/* What becomes of an mmap of a file whose record locks are mandatory: S_ISGID without S_IXGRP. */
enum mandatory_locks {
        MANDATORY_IGNORED,
        MANDATORY_SHARED, /* EAGAIN if it is MAP_SHARED and a lock is held (L38) */
        MANDATORY_HELD,   /* EAGAIN while one is held (S3) */
        MANDATORY_ALWAYS, /* EAGAIN */
};

/* A page scanner with a rate (S34, S35). Pages are the cache's, unit of them one of the policy's. */
struct scan_levels {
        uint64_t below;   /* with fewer pages free it runs */
        uint64_t at_once; /* with fewer, reclaim does not wait for its turn */
        uint64_t spread;  /* between its hands */
};
struct scan_turn {
        uint64_t pages;       /* to look at; 0: enough are free */
        uint64_t pushes;      /* to have written, at most */
        unsigned cpu_percent; /* of a processor, at most */
};
struct scan_policy {
        unsigned period_ms;
        struct scan_levels (*levels)(const struct policy_tune *, uint64_t memory, uint32_t unit);
        struct scan_turn (*turn)(const struct policy_tune *, uint64_t memory, uint64_t freemem,
                                 uint32_t unit);
};
extern const struct scan_policy solaris_scan;

/* What becomes of pages that fl_pread has answered with (S22). */
enum read_behind {
        READ_KEEPS,
        READ_FREES,      /* they go before what is in use */
        READ_FREES_FIRST /* and before those */
};

struct vm_policy_ops {
        const char *name;
        uint32_t page_pages;   /* that go together: 2 of 4 KiB are one of 8 KiB */
        uint32_t fault_around; /* pages, power of two; 1: none (L7) */
        uint32_t window_pages; /* largest window where nobody has said one; 0: the device's */
        unsigned background_percent, dirty_percent; /* of the budget (L43) */
        unsigned writeback_ms, expire_ms;           /* L43 */
        unsigned swappiness;                        /* of 200: private pages' weight (L51) */
        uint32_t swap_window;                       /* pages read back at once, at most (L47) */
        enum mandatory_locks mandatory;
        bool tunable;         /* it has the parameters of tune.h */
        bool async_starts_io; /* msync with MS_ASYNC (S28); else it starts nothing (L41) */
        /* How many pages of memory the flusher looks at when it wakes, every writeback_ms or what tune
         * says: those of them that are dirty it writes, others not, unless somebody asks (S33). NULL:
         * by age and amount (L43, L46). */
        uint64_t (*flush_scan)(const struct policy_tune *, uint64_t memory);
        bool writes_read_alone; /* fl_pwrite reads what it does not overwrite, and nothing ahead */
        bool refaults_stay_missed; /* a page that went too early takes no miss back (L19) */
        /* A read fault or store found no page. Counts mmap_miss. */
        struct ra_window (*mmap_miss)(const struct ra_request *);
        /* A fault found the page; marker says whether it carries the read-ahead mark. */
        struct ra_window (*mmap_hit)(const struct ra_request *, bool marker);
        /* Fault-around mapped `mapped` pages that were cached (L19). */
        void (*mapped_around)(struct file_ra_state *, unsigned mapped);
        /* A load is about to be shown its page. NULL: what fault_around says, and L19 counts. */
        struct ra_map (*map_ahead)(const struct ra_request *);
        /* fl_pread found no page; or the page with the mark. */
        struct ra_window (*read_miss)(const struct ra_request *);
        struct ra_window (*read_marker)(const struct ra_request *);
        /* After mmap_miss or read_miss: what is read besides, with nobody waiting for it (S16). NULL:
         * nothing. */
        struct ra_window (*ahead)(const struct ra_request *);
        /* fl_pread comes to the page; asked once for pages that go together, before anything else is.
         * NULL: they stay. */
        enum read_behind (*read_behind)(const struct ra_request *);
        /* fl_pread found the page (S15). NULL: nothing. */
        struct ra_window (*read_hit)(const struct ra_request *);
        /* The access has been answered with the file's pages from `index` to `end` (S14). NULL:
         * nothing. */
        void (*returned)(const struct ra_request *, uint64_t end);
        /* There was no memory for all of the window: what lies from `stop` on has not been asked for, or,
         * of a stream that goes backward, what lies before; of one that is strided, that touch and what it
         * would have come to after it. NULL: nobody cares. */
        void (*cut)(struct file_ra_state *, const struct ra_window *, uint64_t stop);
        /* What it makes of the accesses, in words: size bytes at most, with the zero. NULL: nothing. It gets a
         * copy of what it is about: readers set other members of the state without a lock. */
        void (*describe)(const struct streams *, char *text, size_t size);
        /* madvise(WILLNEED) over [start, end): how much of it one call reads. */
        struct ra_window (*willneed)(const struct ra_request *, uint64_t start, uint64_t end);
        const struct reclaim_ops *reclaim;
        /* NULL: reclaim keeps a few pages free, as fast as it can. */
        const struct scan_policy *scan;
        /* Mappings of files are Solaris's segments, and this decides about them. NULL: Linux's. */
        const struct segvn_policy *segvn;
};

extern const struct vm_policy_ops linux_policy, linux_5_13_policy, solaris_policy,
        solaris_book_policy, adaptive_policy;
/* NULL if there is none of that name. "" or NULL: the default. */
const struct vm_policy_ops *policy_find(const char *name);
/* All of them, for people. */
#define POLICY_NAMES "adaptive, linux, linux-5.13, solaris, solaris-book"

#endif
