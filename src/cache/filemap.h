/* SPDX-License-Identifier: Apache-2.0
 *
 * filemap.h - a file's pages as faults and reads see them, and an open file.
 */
#ifndef FL_CACHE_FILEMAP_H
#define FL_CACHE_FILEMAP_H

#include <sys/types.h>

#include "cache/cache.h"

/* An open file: what fl_file_open returns and what a VMA holds on to. */
struct file {
        struct inode *inode;           /* (c) */
        struct address_space *mapping; /* (c) */
        struct file_ra_state ra;       /* [ra] but io_pages, which is (c), and prev_pos */
        struct mutex ra_lock;
        uint32_t ra_pages;        /* (c) largest window of this open */
        int oflags;               /* (c) */
        _Atomic unsigned refs;    /* the handle and each VMA */
        _Atomic uint32_t wb_seen; /* mapping->wb_seq already reported here */
};

/* One fault's question to the cache. */
struct filemap_request {
        struct file *file;
        uint64_t index;
        uint64_t vma_first, vma_end; /* file pages the VMA covers */
        enum vm_advice advice;
        uint32_t ra_pages; /* largest window; 0: the file's */
        bool write, exec;
        bool tried;             /* has waited once: read this page only */
        uint8_t others;         /* pages besides its own that it has waited for */
        bool asked;             /* populate: no touch, a call that wants the page to be there */
        uint64_t fault, object; /* for the trace; object: the file's, 0: none */
        struct blk_plug *plug;
        struct room_request *room; /* asked for, kept over tries; whoever ends the fault puts it */
        /* answers: */
        bool major;
        int error;           /* -errno of FILEMAP_ERROR; -ENXIO with FILEMAP_PAST_END: the host's
                              * file is shorter than we know */
        struct page *page;   /* FILEMAP_PAGE: up to date, locked, pinned */
        struct wait_on wait; /* FILEMAP_RETRY */
};
enum filemap_result { FILEMAP_PAGE, FILEMAP_RETRY, FILEMAP_PAST_END, FILEMAP_ERROR };

/* Pages of the budget that are free. */
static inline uint64_t filemap_freemem(struct page_cache *c)
{
        int64_t pages = budget_free(c);

        return pages > 0 ? (uint64_t)pages : 0;
}

/* What a policy is told of every access to the page; the caller adds what is its own. */
static inline struct ra_request filemap_ra_request(struct file *f, const struct ra_probe *probe,
                                                   uint64_t index)
{
        struct address_space *m = f->mapping;

        return (struct ra_request){
                .ra = &f->ra,
                .probe = probe,
                .index = index,
                .req = 1,
                .file_pages = mapping_pages(m),
                .vma_end = mapping_pages(m),
                .page_pages = m->cache->page_pages,
                .freemem = filemap_freemem(m->cache),
                .memory = (uint64_t)atomic_load(&m->cache->budget.limit),
                .processors = m->cache->processors,
                .tune = &m->cache->tune,
                .latency_ns = atomic_load(&m->read_latency_ns),
                .page_ns = atomic_load(&m->read_page_ns),
        };
}
/* The same for a fault. */
struct ra_request filemap_fault_request(const struct filemap_request *rq,
                                        const struct ra_probe *probe);

/* The largest window of the decision that comes next; 0: the file's. => ra_lock */
static inline void ra_limit_locked(struct file *f, uint32_t pages)
{
        mutex_assert_held(&f->ra_lock);
        f->ra.ra_pages = pages ? pages : f->ra_pages;
}

/* What the policy, which has an opinion, wants to be shown with the page. */
struct ra_map filemap_map_ahead(struct filemap_request *rq);

/* Linux's filemap_fault: L14 to L18. Never blocks. */
enum filemap_result filemap_fault(struct filemap_request *rq);
/* Steps of it, also for getpage.c. Wait for the page, which is pinned; lock it if it is up to date;
 * it is not there, or could not be read: read it alone and wait (L15, L16). */
enum filemap_result filemap_retry_on(struct filemap_request *rq, struct page *p);
enum filemap_result filemap_lock_page(struct filemap_request *rq, struct page *p);
enum filemap_result filemap_read_alone(struct filemap_request *rq);

/* getpage.c: Solaris's VOP_GETPAGE, S14 to S19: the page of rq->index as from filemap_fault(), and with
 * it what the file system has at hand. Pages of the file. */
struct vop_getpage {
        uint64_t off, len; /* asked for; rq->index is among them */
        uint64_t plsz;     /* from off on, so many may be returned */
        enum seg_rw rw;
        bool shared;
        bool (*kluster)(void *arg, uint64_t page); /* ra_request's */
        void *arg;
        uint64_t
                end; /* answer, kept over tries: [off, end) have been returned, if nobody takes them */
};
enum filemap_result getpage(struct filemap_request *rq, struct vop_getpage *vop);

/* Store coming: dirty limits, the file system's leave. 0, -EAGAIN with rq->wait, or -errno. */
int filemap_page_mkwrite(struct filemap_request *rq, struct page *page, bool throttled);

/* filemap_hit.c: as much of it as is in memory and in use, without a lock; *done bytes. True: that is all,
 * to the file's end; else filemap_read() is to go on. */
bool filemap_read_hits(struct file *f, char *buf, size_t count, uint64_t pos, size_t *done);
/* Bytes up to `end` were read, and will be again. => i_rwsem held */
void filemap_expect_hits(struct file *f, uint64_t end);

ssize_t filemap_read(struct file *f, char *buf, size_t count, uint64_t pos, uint64_t fault);
ssize_t filemap_write(struct file *f, const char *buf, size_t count, uint64_t pos, uint64_t fault);

/* readahead.c. All start reads and return; pages end up READING. */
void do_page_cache_ra(struct file *f, const struct ra_window *win, uint64_t wanted, uint32_t opf,
                      uint64_t fault, struct blk_plug *plug);
/* Start reading one page. 0: READING now (or was there); -EAGAIN with *on; -ENOMEM: no table. */
int read_one_page(struct address_space *m, uint64_t index, bool asked, uint64_t fault,
                  struct blk_plug *plug, struct wait_on *on);
struct ra_probe filemap_probe(struct address_space *m);
/* The pages that carry the same marker as a page that has one: those of a folio, were there any. */
struct marked {
        uint64_t first;
        uint32_t nr;
};
struct marked filemap_marked(struct address_space *m, uint64_t index);
void filemap_unmark(struct address_space *m, const struct marked *marked);
void filemap_willneed(struct file *f, uint64_t first, uint64_t end);
/* All of the range, whatever the policy thinks of it: without a limit but the budget, in which the last
 * that comes may push out the first. Waits for memory to read with, not for the reads. */
void filemap_read_range(struct file *f, uint64_t first, uint64_t end);

/* reserve.c: room on the disk for rq's page. 0, -EAGAIN with rq->wait, -errno (ENOSPC). Any lock of a
 * page may be held. */
int reserve_room(struct filemap_request *rq);

/* error.c. A write of pages [index, index+nr) failed; nr 0: the flush behind all of them. Any thread. */
void note_write_error(struct address_space *m, int error, uint64_t index, uint64_t nr);
/* The first failed write-back since it was last forgotten, if it concerns [first, end): its errno,
 * the first page of it there, and whether data of it are still in the cache only. 0: none. */
int find_write_error(struct address_space *m, uint64_t first, uint64_t end, uint64_t *index,
                     bool *dirty);
void forget_write_error(struct address_space *m, uint64_t first, uint64_t end);
/* A page that could not be read is to be read again by who needs it. */
void forget_read_error(struct address_space *m, uint64_t index);

/* writeback.c. Ranges are pages, end excluded. */
enum writeback_why {
        WB_SYNC,
        WB_BACKGROUND,
        WB_PERIODIC,
        WB_RECLAIM,
        WB_CLOSE,
        WB_ASKED, /* asynchronously: msync or memcntl with MS_ASYNC */
        WB_DROP   /* to be dropped (putpage.c) */
};
/* Start writing dirty pages of the range, at most max; returns how many. opf: REQ_ flags. */
uint64_t writeback_start(struct address_space *m, uint64_t first, uint64_t end, uint64_t max,
                         uint32_t opf, enum writeback_why why, uint64_t fault);
/* The same for pages that lie in a row, without waiting for memory to do it with. */
unsigned writeback_row(struct address_space *m, uint64_t index, unsigned nr, struct blk_plug *plug);
void writeback_wait(struct address_space *m, uint64_t first, uint64_t end);
/* Linux's vfs_fsync_range: write, wait, flush the device. 0 or -errno, once per failure. */
int fsync_range(struct file *f, uint64_t first, uint64_t end, bool datasync);

/* evict.c. Ranges are pages, end excluded. most_shown: what more mappings than this show is left
 * alone. */
/* Drop clean, unmapped pages of the range. */
void invalidate_range(struct address_space *m, uint64_t first, uint64_t end);
/* Drop clean pages, mapped or not; how many. */
uint64_t evict_range(struct address_space *m, uint64_t first, uint64_t end, unsigned most_shown);
/* Drop those that are marked PG_DROP and clean. The mark of those that must stay goes. */
void evict_marked(struct address_space *m, uint64_t first, uint64_t end);
/* Does somebody keep a page of the range locked in memory that is there? *index: the first. */
bool range_is_pinned(struct address_space *m, uint64_t first, uint64_t end, uint64_t *index);
/* Reclaim looks at these first. */
void cold_range(struct address_space *m, uint64_t first, uint64_t end, unsigned most_shown);

/* putpage.c: these pages are to go as soon as they can, dirty ones after they have been written. Never
 * waits; the flusher does it. */
void putpage_range(struct address_space *m, uint64_t first, uint64_t end);
/* Pages that are marked have been written. From a completion. */
void putpage_written(struct address_space *m, uint64_t index, uint64_t nr);
/* Does what has been asked for. Only the flusher. */
void putpage_serve(struct page_cache *c);

/* shmem.c: files that are memory; m->swap_backed of all of them. */
/* A new one, open, of zeros; nothing else keeps it. 0 or -errno */
int shmem_file_setup(struct page_cache *c, uint64_t bytes, struct file **out);
/* Pages of all of them that have been stored to, wherever they are; those that have a slot. */
int64_t shmem_exist(struct page_cache *c);
int64_t shmem_swapped(struct page_cache *c);
/* Pages that could be written now. */
uint32_t shmem_can_write(struct page_cache *c);
/* Has the page been stored to? Are its bytes in the swap area, should they not be in memory? */
bool page_holds_memory(struct address_space *m, uint64_t index);
bool page_is_swapped(struct address_space *m, uint64_t index);
/* What is to be read together with a page that is swapped. */
struct ra_window shmem_window(struct address_space *m, uint64_t index);
/* Reads what is swapped of the range, as far as there is room. */
void shmem_willneed(struct file *f, uint64_t first, uint64_t end);
/* Writes and drops; how many have gone. Waits. */
uint64_t shmem_pageout(struct address_space *m, uint64_t first, uint64_t end, unsigned most_shown);
#ifndef NDEBUG
/* => page_cache.lock, nothing in flight */
int shmem_check(struct page_cache *c);
#endif
/* Zeros from now on, wherever the pages are. 0 or -errno */
int shmem_punch(struct file *f, uint64_t first, uint64_t end);

int file_open(struct page_cache *c, struct inode *inode, int oflags, uint32_t ra_pages,
              struct file **out);
void file_get(struct file *f);
/* The last reference writes back, drops the pages and puts the inode; 0 or -errno. */
int file_put(struct file *f);
/* => open_lock held and no file of it open: write what is dirty and let go of the pages and the
 * inode. -errno if something could not be written: then it stays as it is. */
int mapping_release(struct address_space *m);
/* Look at the file's size again: another program may have made it longer or shorter. What is
 * cached behind a new end goes. 0 or -errno. */
int mapping_refresh(struct address_space *m);
/* The size is about to change, and what is read at the file's end with it; both have. Who reads without
 * i_rwsem (filemap_hit.c) sees neither in between. => i_rwsem held for writing */
void resize_begin(struct address_space *m);
void resize_end(struct address_space *m);
/* truncate.c: ftruncate, under whatever maps the file. */
int file_truncate(struct file *f, uint64_t size);
/* i_rwsem for reading, by one who may hold back reads: its holder may be waiting for a page that they
 * bring, so before a wait they are on their way. => no page locked */
void mapping_read_lock(struct address_space *m, struct blk_plug *plug);
/* mapping_ops.cut: the frames end where the file does. Whoever waited for that (WAIT_CUT) goes on. */
void end_cut(struct address_space *m);
/* => i_rwsem held for writing; size >= i_size, or not more */
int file_grow(struct file *f, uint64_t size);
int file_shrink(struct file *f, uint64_t size);
/* The pages [first, end) become a hole, in the file and in every shared mapping. 0 or -errno. */
int file_punch_hole(struct file *f, uint64_t first, uint64_t end);
/* Behind `edge` its page is to read as zeros from now on: a file grows from there, or was cut there.
 * Stores through a mapping may have left anything behind the end. A write of the page under way
 * may hold that too, and goes as far as the file does when it gets there: it is waited for, so this
 * comes before the file is longer. => i_rwsem held for writing */
int zero_behind(struct address_space *m, uint64_t edge);

/* The internal run between staging memory and a file; a pool of them, one per staging page. */
struct io_run {
        struct fs_run fs;
        struct address_space *mapping;
        struct page_cache *cache;
        struct io_run *next_free; /* [run]; the rest is its user's */
        unsigned staging_pages;
        uint64_t started_ns;
        bool demand;               /* single page somebody waits for: its failure is an ERROR */
        bool backward;             /* read for who comes from behind */
        struct prefetch *prefetch; /* that it is a part of; NULL: none */
};
struct io_run *io_run_get(struct page_cache *c);
void io_run_put(struct io_run *run);
/* Gives back the run and then its staging memory: in this order there is always a run for whoever
 * got staging. */
void io_run_end(struct io_run *run, bool write);

#endif
