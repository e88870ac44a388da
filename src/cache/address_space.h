/* SPDX-License-Identifier: Apache-2.0
 *
 * address_space.h - a file's pages, the memfd that holds their frames, and who maps them.
 *
 * One per inode, whoever opens it. File offset = memfd offset. Frames are filled with pwrite and read
 * with pread on the memfd, so that there is no translation of ours to shoot down when a page goes; but
 * what fl_pread finds in memory it reads through a mapping of ours (frame_map.h).
 */
#ifndef FL_CACHE_ADDRESS_SPACE_H
#define FL_CACHE_ADDRESS_SPACE_H

#include <bsd/sys/queue.h>

#include "cache/page.h"
#include "cache/view.h"
#include "fs/fs.h"
#include "util/radix.h"

struct mapping_ops;
struct mmu;

/* Ranges to zap in one system call. Pages in it stay locked until zap_flush(). */
#define ZAP_BATCH 64
struct zap_batch {
        struct iovec iov[ZAP_BATCH];
        unsigned nr;
        struct mmu *mmu; /* vm's */
};

/* How the cache reaches mappings; filled in by vm. For zap_run and protect_run the pages of the range
 * are locked by the caller (or in WRITEBACK, so that no fault makes them writable unseen). */
struct mapping_ops {
        /* Remove what the view shows of [index, index+nr) of the cache's pages; private copies
         * stay. Added to the batch, done by zap_flush at the latest. */
        void (*zap_run)(struct page_cache *, struct mapping_view *, uint64_t index, uint64_t nr,
                        struct zap_batch *);
        void (*zap_flush)(struct page_cache *, struct zap_batch *);
        /* The next store to [index, index+nr) is to be an event again. 0 or -errno. */
        int (*protect_run)(struct page_cache *, struct mapping_view *, uint64_t index, uint64_t nr);
        /* The file ends at `size` from now on, as i_size says already: ends the frames there and
         * removes every translation behind, private copies too, with no fault under way; then the
         * file is not `cutting` any more. => i_rwsem held; takes mm->lock. 0 or -errno. */
        int (*cut)(struct address_space *, uint64_t size);
        /* Does the view show the page, as far as we know? => i_mmap_lock */
        bool (*shows)(struct mapping_view *, uint64_t index);
};

struct address_space {
        struct inode *host;       /* (c) */
        struct page_cache *cache; /* (c) */
        uint64_t number;          /* (c) of all files the cache has had; the list is in its order */
        uint64_t object;          /* (c) the host's i_object */
        bool swap_backed;         /* (c) of the file system's operations */
        struct radix i_pages;     /* struct page */
        struct frames *frames;    /* (c) */
        struct rwlock i_rwsem;    /* size: fl_pread, fl_pwrite in place share; growing and
                                       * truncating exclude. Held across I/O, never over a copy
                                       * from or to a program, never taken by a fault. */
        _Atomic bool cutting;     /* i_size has fallen, and the frames do not end there yet */
        _Atomic bool overlong;    /* they never will: the kernel has refused */
        _Atomic uint64_t hole_first, hole_end; /* pages about to go: not to be written */
        _Atomic uint32_t passed_by;            /* counts dirty pages that were not, therefore */
        _Atomic uint64_t drop_first, drop_end; /* [drop] to write; pages with PG_DROP lie between
                                                * them, drop_end 0: there are none */
        struct rwlock i_mmap_lock;
        struct view_tree i_mmap;          /* [i_mmap] */
        struct address_space *guard_next; /* vm's, [mm] to write: the next that it guards (map.h) */
        bool guarded;                     /* likewise: it is among them */
        _Atomic uint64_t changes;         /* page_change()'s calls */
        _Atomic uint64_t resizes;         /* [i_rwsem] to write; odd: the size is changing */
        _Atomic uint64_t nr_pages;        /* charged */
        _Atomic uint64_t share;           /* [cache] to write; so many of these reclaim leaves it */
        unsigned nr_taken;                /* [evict] of these, in the hands of reclaim */
        _Atomic uint32_t read_latency_ns; /* a read of one page, as measured; 0: not yet */
        _Atomic uint32_t read_page_ns;    /* and each page more */
        _Atomic uint64_t majors, minors, fault_ns; /* faults since it was opened; for people */
        _Atomic uint64_t nr_dirty;                 /* DIRTY */
        _Atomic uint64_t nr_writeback;
        _Atomic uint64_t dirtied_at; /* ns, when it last went from no dirty page to one; 0: none */
        _Atomic uint64_t failed_at;  /* ns, of the last failed write-back; 0: none */
        _Atomic int wb_error;        /* last failed write-back, -errno */
        _Atomic uint32_t wb_seq;     /* counts failures; a file remembers what it has reported */
        /* The first failed write-back since it was last cleared (error.c): `failure` says whether the
         * others may be read. nr 0: a flush, which is all pages. */
        _Atomic uint32_t failure;
        int failure_error;
        uint64_t failure_index, failure_nr;
        _Atomic uint32_t users; /* I/O in flight and walkers; futex word. MAPPING_ENDS: the last of
                                 * them wakes who waits for that */
        bool gone;              /* [cache] off the list */
        unsigned nr_files;      /* [open] open files; 0: kept for its dirty pages only */
        TAILQ_ENTRY(address_space) link; /* [open] + [cache] */
};

#define MAPPING_ENDS (1u << 31)
/* 0 or -errno. => open_lock held, and the inode has none yet */
int mapping_create(struct page_cache *c, struct inode *inode);
/* Nothing maps it and nothing is dirty that should be kept. Waits for users to leave.
 * => open_lock held */
void mapping_destroy(struct address_space *m);
static inline void mapping_use(struct address_space *m)
{
        atomic_fetch_add(&m->users, 1);
}
/* The last thing a user does with the mapping. */
void mapping_unuse(struct address_space *m);
/* The next of the cache's files in the order of their numbers, in use; m, which is in use no more after
 * that, or NULL: the first. NULL: there are no more. */
struct address_space *mapping_next(struct page_cache *c, struct address_space *m);
/* How many pages of [index, index + nr) are in memory; counted into parts[] of `each` pages, unless it
 * is NULL. */
uint64_t mapping_resident(struct address_space *m, uint64_t index, uint64_t nr, uint64_t each,
                          uint64_t *parts);

static inline struct page *find_page(struct address_space *m, uint64_t index)
{
        return radix_get(&m->i_pages, index, false);
}
/* NULL: no memory for the tree. */
static inline struct page *grab_page(struct address_space *m, uint64_t index)
{
        return radix_get(&m->i_pages, index, true);
}
static inline void put_page(struct address_space *m, struct page *p)
{
        radix_put(&m->i_pages, p);
}
struct address_space *page_mapping(struct page_cache *c, const struct page *p);
uint64_t page_index(struct page_cache *c, const struct page *p);
static inline uint64_t mapping_pages(const struct address_space *m)
{
        return pages_of(atomic_load(&m->host->i_size));
}

struct page_span {
        uint64_t index, nr;
};
/* Zap the spans in every mapping of the file. => pages locked. */
void mapping_zap(struct address_space *m, const struct page_span *spans, unsigned nr_spans);
/* Write-protect [index, index+nr) everywhere. => pages in WRITEBACK. 0, or the first -errno: then
 * some mapping may still be stored to unseen. */
int mapping_protect(struct address_space *m, uint64_t index, uint64_t nr);

/* Throw away the pages [index, end), dirty or not, waiting for I/O in flight. */
void drop_pages(struct address_space *m, uint64_t index, uint64_t end);
/* The same of one page. 0, or -ENOMEM. */
int drop_index(struct address_space *m, uint64_t index);
/* The same up to the last. */
static inline void truncate_pages(struct address_space *m, uint64_t index)
{
        drop_pages(m, index, UINT64_MAX);
}

/* Did a write-back fail a moment ago? Then the flusher leaves the file alone for a while. */
bool mapping_write_failed(struct address_space *m);

#ifndef NDEBUG
/* => nothing in flight */
int mapping_check(struct address_space *m);
#endif

#endif
