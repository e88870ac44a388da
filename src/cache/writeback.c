/* SPDX-License-Identifier: Apache-2.0
 *
 * writeback.c - dirty pages on their way to the disk: msync, fsync, the flusher thread.
 *
 * One page's way (DESIGN fact 6): locked, DIRTY -> WRITEBACK, unlocked; then write-protected in
 * every mapping; only then its bytes are read, into staging memory. A store that comes meanwhile
 * is an event, and sets REDIRTY before it may proceed. When the write is done the page is CLEAN,
 * or DIRTY again if REDIRTY is set or the write failed: a failed write never loses a page.
 */
#include <errno.h>
#include <string.h>

#include "cache/filemap.h"
#include "util/perturb.h"

#define RUN_PAGES 256         /* 1 MiB a write */
#define CHUNK_PAGES 1024      /* L46: a file's turn */
#define PAUSE_NS 200000000ull /* L44: a dirtier pauses no longer than this */

static int64_t percent_of_limit(struct page_cache *c, unsigned percent)
{
        int64_t pages = atomic_load(&c->budget.limit) * percent / 100;

        return pages < 4 ? 4 : pages;
}

int64_t dirty_limit(struct page_cache *c)
{
        return percent_of_limit(c, c->policy->dirty_percent);
}

int64_t dirty_background(struct page_cache *c)
{
        int64_t limit = dirty_limit(c), bg = percent_of_limit(c, c->policy->background_percent);

        return bg >= limit ? limit / 2 : bg; /* L43 */
}

/* The page's write is over. True: it is dirty again. *drop counts those that are to go now. => page locked */
static bool end_page(struct address_space *m, struct page *p, int error, uint64_t *drop)
{
        struct page_cache *c = m->cache;
        bool dirty = page_end_writeback(c, p, error);

        if (m->swap_backed && !dirty && !page_test(p, PG_MAPPED))
                lru_cold(c, p, false); /* it was written to be evicted */
        if (dirty) /* stored to since it was asked to go, or the only copy there is */
                page_clear(p, PG_DROP);
        *drop += page_test(p, PG_DROP) != 0;
        return dirty;
}

/* Pages have become clean, if nothing failed: who waits for that? drop: those that are to go now. */
static void tell_of_clean(struct address_space *m, uint64_t index, uint64_t nr, uint64_t drop)
{
        struct page_cache *c = m->cache;

        if (drop)
                putpage_written(m, index, nr);
        if (atomic_load(&c->nr_dirty) + atomic_load(&c->nr_writeback) < dirty_limit(c))
                waitq_wake(&c->dirty_wq, NULL);
        if (m->swap_backed || budget_free(c) < atomic_load(&c->budget.low))
                reclaim_kick(c);
}

static void write_end_io(struct fs_run *fs)
{
        struct io_run *run = container_of(fs, struct io_run, fs);
        struct address_space *m = run->mapping;
        struct page_cache *c = run->cache;
        uint64_t index = fs->index, nr = fs->nr_pages, again = 0, drop = 0;

        if (fs->error && !m->swap_backed)
                note_write_error(m, fs->error, fs->index, fs->nr_pages);
        for (uint64_t i = 0; i < fs->nr_pages; i++) {
                struct page *p = find_page(m, fs->index + i);

                page_lock(c, p);
                again += end_page(m, p, fs->error, &drop);
                page_unlock(c, p);
                put_page(m, p);
        }
        trace_emit(c->trace, END_WRITEBACK, fs->fault, m->object, fs->index, fs->nr_pages,
                   (uint64_t)-fs->error, again);
        if (!fs->error) {
                if (m->swap_backed)
                        stat_add(&c->trace->stats, STAT_swap_outs, fs->nr_pages - again);
                else
                        stat_add(&c->trace->stats, STAT_writeback_pages, fs->nr_pages);
                atomic_fetch_add(&c->writeback_done, fs->nr_pages);
        }
        if (m->swap_backed)
                atomic_fetch_sub(&c->nr_swapping_out, fs->nr_pages);
        io_run_end(run, true);
        tell_of_clean(m, index, nr, drop);
        mapping_unuse(m);
}

/* The first page from *index on that is dirty. A leaf is pinned once for all of its pages: of those with
 * dirty pages most are clean. */
static bool next_dirty_page(struct address_space *m, uint64_t *index, uint64_t end)
{
        struct page *leaf, *p;

        while (*index < end && (leaf = radix_next(&m->i_pages, index, end - 1, true))) {
                uint64_t stop = min_u64(radix_leaf_end(&m->i_pages, *index), end);

                for (p = leaf; *index < stop && page_state(p) != PAGE_DIRTY; p++)
                        ++*index;
                put_page(m, leaf);
                if (*index < stop)
                        return true;
        }
        return false;
}

/* How many pages from `index` on are dirty, at most nr. */
static unsigned dirty_row(struct address_space *m, uint64_t index, unsigned nr)
{
        unsigned n = 0, part;

        do {
                uint64_t left = radix_leaf_end(&m->i_pages, index + n) - (index + n);
                struct page *p = find_page(m, index + n);
                unsigned most = (unsigned)min_u64(nr - n, left);

                for (part = 0; p && part < most && page_state(p + part) == PAGE_DIRTY;)
                        part++;
                if (p)
                        put_page(m, p);
                n += part;
                if (part < most)
                        break;
        } while (n < nr);
        return n;
}

/* Is the page about to be punched out of the file, or cut off? */
static bool in_hole(struct address_space *m, uint64_t index)
{
        return index < atomic_load(&m->hole_end) && index >= atomic_load(&m->hole_first);
}

/* DIRTY -> WRITEBACK for up to nr pages from index, as far as they go without a gap. *guessed: some of
 * them are dirty by guess. */
static unsigned start_pages(struct address_space *m, uint64_t index, unsigned nr, bool *guessed)
{
        struct page_cache *c = m->cache;
        unsigned done = 0;

        while (done < nr) {
                struct page *p = find_page(m, index + done);
                bool started = false;

                if (!p)
                        break;
                page_lock(c, p);
                if (page_state(p) == PAGE_DIRTY) {
                        *guessed |= page_test(p, PG_GUESSED);
                        page_start_writeback(c, p);
                        /* Looked at only now: a truncation, or who makes a hole, says so and then
                         * waits for what is in WRITEBACK. What is to go stays dirty until then. */
                        started = index + done < mapping_pages(m) && !in_hole(m, index + done);
                        if (!started) {
                                page_end_writeback(c, p, -ENXIO);
                                atomic_fetch_add(&m->passed_by, 1);
                        }
                }
                page_unlock(c, p);
                put_page(m, p);
                if (!started)
                        break;
                done++;
        }
        return done;
}

/* The pages may still be stored to unseen: what is written now must not count as the last. */
static void keep_dirty(struct address_space *m, uint64_t index, unsigned nr)
{
        for (unsigned i = 0; i < nr; i++) {
                struct page *p = find_page(m, index + i);

                page_lock(m->cache, p);
                page_make_dirty(m->cache, p);
                page_unlock(m->cache, p);
                put_page(m, p);
        }
}

/* Staging memory for a run of *nr pages; *nr becomes for how many. */
static char *wait_for_staging(struct page_cache *c, unsigned *nr, struct blk_plug *plug)
{
        unsigned want = *nr;
        char *buf;

        while (!(buf = staging_get(&c->staging, nr, true))) {
                struct wait_on on = { .kind = WAIT_STAGING, .write = true };

                /* What we hold back must be on its way before we wait for it; and what only we can end, we
                 * do not wait for. */
                if (!blk_plug_reap(plug))
                        wait_on(c, &on);
                *nr = want;
        }
        return buf;
}

/* What a write is for. */
struct write_order {
        uint32_t opf;
        enum writeback_why why;
        uint64_t fault;
        struct blk_plug *plug;
};

/* The pages' bytes are in buf, or could not be had (error). */
static void send_run(struct address_space *m, uint64_t index, char *buf, unsigned nr, int error,
                     const struct write_order *order)
{
        struct page_cache *c = m->cache;
        struct io_run *run = io_run_get(c);

        mapping_use(m);
        if (m->swap_backed)
                atomic_fetch_add(&c->nr_swapping_out, nr);
        run->mapping = m;
        run->staging_pages = nr;
        run->fs = (struct fs_run){
                .inode = m->host,
                .index = index,
                .nr_pages = nr,
                .opf = IO_WRITE | order->opf,
                .buf = buf,
                .fault = order->fault,
                .end_io = write_end_io,
        };
        trace_emit(c->trace, WRITEBACK, order->fault, m->object, index, nr, order->why, 0);
        run->fs.error = error;
        if (error)
                write_end_io(&run->fs);
        else
                m->host->a_ops->writepages(&run->fs, order->plug);
}

/* Was the page dirty by guess, and nobody stored to it? Then it is clean, without being written. */
static bool end_wrong_guess(struct address_space *m, uint64_t index, const char *bytes)
{
        struct page_cache *c = m->cache;
        struct page *p = find_page(m, index);
        uint64_t drop = 0;
        bool wrong = false;

        if (page_test(p, PG_GUESSED)) {
                page_lock(c, p);
                wrong = guess_was_wrong(m, p, bytes);
                if (wrong)
                        end_page(m, p, 0, &drop);
                else if (page_clear(p, PG_READAHEAD)) /* what was read ahead has been used */
                        stat_add(&c->trace->stats, STAT_readahead_hits, 1);
                page_unlock(c, p);
        }
        put_page(m, p);
        if (wrong) {
                atomic_fetch_add(&c->writeback_done, 1);
                tell_of_clean(m, index, 1, drop);
        }
        return wrong;
}

/* Those of the pages that are to be written, in runs; the staging memory of the others goes back. */
static void send_stored(struct address_space *m, uint64_t index, char *buf, unsigned nr,
                        const struct write_order *order)
{
        unsigned run = 0;

        for (unsigned i = 0; i <= nr; i++) {
                char *bytes = buf + ((size_t)i << PAGE_SHIFT);
                bool wrong = i < nr && end_wrong_guess(m, index + i, bytes);

                if (run && (wrong || i == nr)) {
                        send_run(m, index + i - run, bytes - ((size_t)run << PAGE_SHIFT), run, 0,
                                 order);
                        run = 0;
                } else if (!wrong) {
                        run++;
                }
                if (wrong)
                        staging_put(&m->cache->staging, bytes, 1, true);
        }
}

/* Write one run from index on, by way of buf, for `got` pages; how many pages it took, 0 if none was
 * dirty any more. */
static unsigned write_run(struct address_space *m, uint64_t index, char *buf, unsigned got,
                          const struct write_order *order)
{
        struct page_cache *c = m->cache;
        bool guessed = false;
        unsigned done = start_pages(m, index, got, &guessed);
        int error;

        if (done < got)
                staging_put(&c->staging, buf + ((size_t)done << PAGE_SHIFT), got - done, true);
        if (done == 0)
                return 0;
        perturb_gap();
        if (mapping_protect(m, index, done))
                keep_dirty(m, index, done);
        perturb_gap();
        error = m->frames->ops->copy_out(m->frames, index << PAGE_SHIFT, buf,
                                         (size_t)done << PAGE_SHIFT);
        perturb_gap();
        if (error || !guessed)
                send_run(m, index, buf, done, error, order);
        else
                send_stored(m, index, buf, done, order);
        return done;
}

unsigned writeback_row(struct address_space *m, uint64_t index, unsigned nr, struct blk_plug *plug)
{
        const struct write_order order = { .why = WB_RECLAIM, .plug = plug };
        char *buf = staging_get(&m->cache->staging, &nr, true);

        return buf ? write_run(m, index, buf, nr, &order) : 0;
}

uint64_t writeback_start(struct address_space *m, uint64_t first, uint64_t end, uint64_t max,
                         uint32_t opf, enum writeback_why why, uint64_t fault)
{
        uint64_t index = first, started = 0;
        struct blk_plug plug;
        const struct write_order order = { opf, why, fault, &plug };

        blk_start_plug(&plug);
        plug.own = opf & REQ_SYNC;
        while (started < max && next_dirty_page(m, &index, end)) {
                uint64_t most = min_u64(min_u64(end - index, max - started), RUN_PAGES);
                unsigned nr = dirty_row(m, index, (unsigned)most), done = 0;

                if (nr) {
                        char *buf = wait_for_staging(m->cache, &nr, &plug);

                        done = write_run(m, index, buf, nr, &order);
                }
                started += done;
                index += done ? done : 1;
        }
        blk_end_plug(&plug);
        return started;
}

void writeback_wait(struct address_space *m, uint64_t first, uint64_t end)
{
        uint64_t index = first, stop;
        struct page *p;

        /* Mostly nothing is, or it is all over before every page has been looked at. */
        while (atomic_load(&m->nr_writeback) &&
               (p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                for (; index < stop; index++, p++) {
                        /* Whoever unlocks the page wakes us: look again. */
                        while (page_state(p) == PAGE_WRITEBACK) {
                                struct wait_on on;

                                radix_pin(&m->i_pages, p);
                                wait_on_page(&on, m, p, true);
                                wait_on(m->cache, &on);
                        }
                }
                put_page(m, leaf);
        }
}

/* All of the range that is dirty now is written. */
static void write_and_wait(struct address_space *m, uint64_t first, uint64_t end)
{
        uint32_t passed_by = atomic_load(&m->passed_by);

        /* What is being written now may have been stored to since: wait, then write again. */
        writeback_wait(m, first, end);
        writeback_start(m, first, end, UINT64_MAX, REQ_SYNC, WB_SYNC, 0);
        writeback_wait(m, first, end);
        if (passed_by == atomic_load(&m->passed_by))
                return;
        /* What was about to go may have stayed. While we have the lock nothing is. */
        rwlock_read_lock(&m->i_rwsem);
        writeback_start(m, first, end, UINT64_MAX, REQ_SYNC, WB_SYNC, 0);
        rwlock_read_unlock(&m->i_rwsem);
        writeback_wait(m, first, end);
}

int fsync_range(struct file *f, uint64_t first, uint64_t end, bool datasync)
{
        struct address_space *m = f->mapping;
        uint32_t seq;
        int error;

        if (m->swap_backed)
                return 0;
        write_and_wait(m, first, end);
        error = m->host->i_op->fsync(m->host, datasync);
        if (error) /* the pages are clean already: everybody who has the file open must hear it */
                note_write_error(m, error, 0, 0);
        seq = atomic_load(&m->wb_seq);
        if (atomic_exchange(&f->wb_seen, seq) != seq)
                return atomic_load(&m->wb_error);
        return error;
}

/* The next file after `prev` that has dirty pages, in use; NULL at the end of the list. */
static struct address_space *next_dirty(struct page_cache *c, struct address_space *prev)
{
        struct address_space *m;

        mutex_lock(&c->lock);
        if (prev && prev->gone)
                m = NULL; /* its link is stale: the next pass starts from the front */
        else
                m = prev ? TAILQ_NEXT(prev, link) : TAILQ_FIRST(&c->mappings);
        while (m && (m->swap_backed || atomic_load(&m->nr_dirty) == 0))
                m = TAILQ_NEXT(m, link);
        if (m)
                mapping_use(m);
        mutex_unlock(&c->lock);
        return m;
}

static bool over_background(struct page_cache *c)
{
        return !c->policy->flush_scan && atomic_load(&c->nr_dirty) > dirty_background(c);
}

/* How many pages of the file are due, and why. */
static uint64_t pages_due(struct address_space *m, uint64_t wanted, enum writeback_why *why)
{
        struct page_cache *c = m->cache;
        uint64_t since = atomic_load(&m->dirtied_at), now = now_ns();

        if (mapping_write_failed(m))
                return 0; /* in a moment again */
        *why = WB_RECLAIM;
        if (c->policy->flush_scan)
                return wanted;
        if (!since) /* two threads counted at once: it is dirty all the same */
                atomic_store(&m->dirtied_at, now);
        else if (now - since > (uint64_t)c->policy->expire_ms * 1000000ull) {
                *why = WB_PERIODIC;
                return UINT64_MAX;
        }
        *why = over_background(c) ? WB_BACKGROUND : WB_RECLAIM;
        return *why == WB_BACKGROUND ? CHUNK_PAGES : wanted;
}

/* One pass over the files. Returns pages started. */
static uint64_t flush_pass(struct page_cache *c, uint64_t wanted)
{
        struct address_space *m = NULL, *next;
        uint64_t started = 0;

        while ((next = next_dirty(c, m))) {
                enum writeback_why why = WB_RECLAIM;
                uint64_t due = pages_due(next, wanted > started ? wanted - started : 0, &why);

                if (m)
                        mapping_unuse(m);
                m = next;
                if (due)
                        started += writeback_start(m, 0, UINT64_MAX, due, 0, why, 0);
        }
        if (m)
                mapping_unuse(m);
        return started;
}

static uint64_t flush_period(struct page_cache *c)
{
        uint64_t ms = tune_or(&c->tune, TUNE_tune_t_fsflushr, 0) * 1000;

        return (ms ? ms : c->policy->writeback_ms) * 1000000ull;
}

void flusher_kick(struct page_cache *c)
{
        worker_kick(&c->flusher);
}

/* The flusher's turn comes after so long; 1: it is overdue. */
static uint64_t until_scan(struct page_cache *c, uint64_t last)
{
        uint64_t period = flush_period(c), past = now_ns() - last;

        return !c->policy->flush_scan ? period : past < period ? period - past : 1;
}

/* Pages that somebody waits for to be written, whoever's turn it is: reclaim, or who may not make more
 * pages dirty. */
static uint64_t wanted_now(struct page_cache *c, bool throttled)
{
        uint64_t wants = atomic_exchange(&c->reclaim_wants, 0);

        return throttled && c->policy->flush_scan ? max_u64(wants, CHUNK_PAGES) : wants;
}

void *flusher_thread(void *arg)
{
        struct page_cache *c = arg;
        struct worker *w = &c->flusher;
        uint64_t woken_at = 0, scanned_at = now_ns(), started = 0;
        uint32_t seen = 0;

        while (!atomic_load(&w->stop)) {
                bool throttled = waitq_busy(&c->dirty_wq);
                bool soon = throttled || over_background(c);

                if (started == 0 || !over_background(c))
                        worker_sleep(w, &seen, soon ? PAUSE_NS : until_scan(c, scanned_at));
                putpage_serve(c);
                if (c->policy->flush_scan && until_scan(c, scanned_at) == 1) {
                        scanned_at = now_ns();
                        fsflush_wake(c);
                }
                /* Who came meanwhile is waited for as well: it was they who ended the sleep. */
                throttled |= waitq_busy(&c->dirty_wq);
                started = flush_pass(c, wanted_now(c, throttled));
                /* Nobody pauses for longer than this, whatever became of the writes. */
                if (now_ns() - woken_at >= PAUSE_NS) {
                        woken_at = now_ns();
                        waitq_wake(&c->dirty_wq, NULL);
                }
        }
        return NULL;
}
