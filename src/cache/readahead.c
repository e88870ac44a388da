/* SPDX-License-Identifier: Apache-2.0
 *
 * readahead.c - from a window to runs of pages being read. What to read is the policy's; here it
 * is charged, made into runs, and handed to the file system by read_pages(), the one place where
 * the cache calls a file system to read.
 */
#include <assert.h>
#include <errno.h>

#include "cache/prefetch.h"
#include "util/perturb.h"

#define RUN_PAGES 512 /* 2 MiB: longer windows become several runs */
#define FEW_PAGES 2   /* a read of which tells how long the device takes to answer */
#define MANY_PAGES 32 /* and of which, how much it transfers */
#define RANGE_PAGES 64
#define RANGE_TRIES 3 /* then a page is passed by: it cannot be read, or there is no room */

struct io_run *io_run_get(struct page_cache *c)
{
        struct io_run *run;

        mutex_lock(&c->run_lock);
        run = c->free_runs;
        if (run)
                c->free_runs = run->next_free;
        mutex_unlock(&c->run_lock);
        return run;
}

void io_run_put(struct io_run *run)
{
        struct page_cache *c = run->cache;

        mutex_lock(&c->run_lock);
        run->next_free = c->free_runs;
        c->free_runs = run;
        mutex_unlock(&c->run_lock);
}

void io_run_end(struct io_run *run, bool write)
{
        struct page_cache *c = run->cache;
        unsigned nr = run->staging_pages;
        char *buf = run->fs.buf;

        io_run_put(run);
        staging_put(&c->staging, buf, nr, write);
}

/* Sinks fast and rises slowly: what a read takes when nothing is in its way. */
static void note_pace(_Atomic uint32_t *pace, uint64_t ns)
{
        uint32_t old = atomic_load_explicit(pace, memory_order_relaxed);
        uint32_t now = (uint32_t)min_u64(max_u64(ns, 1), 1u << 30);

        if (old)
                now = now < old ? old - (old - now) / 4 : old + (now - old) / 64;
        atomic_store_explicit(pace, now, memory_order_relaxed);
}

/* How long the device takes to answer, and for each page more. Nobody is harmed if two at once forget
 * one of them. */
static void measure(struct address_space *m, uint64_t ns, uint64_t nr)
{
        uint32_t latency = atomic_load_explicit(&m->read_latency_ns, memory_order_relaxed);

        if (nr <= FEW_PAGES)
                note_pace(&m->read_latency_ns, ns);
        else if (nr >= MANY_PAGES && latency)
                note_pace(&m->read_page_ns, (ns > latency ? ns - latency : ns) / nr);
}

/* Pages [at, stop) of the run, which lie in one leaf: the first `good` of the run have come. */
static void end_part(struct io_run *run, uint64_t at, uint64_t stop, uint64_t good, int error)
{
        struct address_space *m = run->mapping;
        struct page *p = find_page(m, run->fs.index + at);

        for (uint64_t n = 0; n < stop - at; n++) {
                uint64_t k = run->backward ? n : stop - at - 1 - n;

                page_lock(m->cache, p + k);
                if (at + k < good)
                        page_end_read(m->cache, p + k);
                else
                        page_fail_read(m->cache, p + k, error, run->demand);
                page_unlock(m->cache, p + k);
        }
        put_page(m, p);
}

/* The page that a reader comes to first is the last: who waits for it finds all of them there when he wakes,
 * and need not wait again for what comes a moment later. */
static void end_pages(struct io_run *run, uint64_t good, int error)
{
        struct radix *tree = &run->mapping->i_pages;
        uint64_t first = run->fs.index, nr = run->fs.nr_pages, at, stop;

        for (at = 0; run->backward && at < nr; at = stop) {
                stop = min_u64(radix_leaf_end(tree, first + at) - first, nr);
                end_part(run, at, stop, good, error);
        }
        for (stop = nr; !run->backward && stop; stop = at) {
                uint64_t leaf = radix_leaf_first(tree, first + stop - 1);

                at = leaf > first ? leaf - first : 0;
                end_part(run, at, stop, good, error);
        }
}

static void read_end_io(struct fs_run *fs)
{
        struct io_run *run = container_of(fs, struct io_run, fs);
        struct address_space *m = run->mapping;
        struct page_cache *c = run->cache;
        struct prefetch *asked = run->prefetch;
        uint64_t nr = fs->nr_pages;
        uint64_t good = fs->error ? 0 : min_u64(pages_of(fs->valid), fs->nr_pages);
        int error = fs->error;

        if (good == fs->nr_pages)
                measure(m, now_ns() - run->started_ns, fs->nr_pages);
        if (good) {
                int fill = m->frames->ops->fill(m->frames, fs->index, fs->buf, good);

                if (fill) {
                        error = fill;
                        good = 0;
                }
        }
        perturb_gap();
        trace_emit(c->trace, PAGE_UPTODATE, fs->fault, m->object, fs->index, good, (uint64_t)-error,
                   0);
        end_pages(run, good, error ? error : -ENXIO);
        io_run_end(run, false);
        /* These can be evicted now, should somebody wait for room. */
        if (waitq_busy(&c->budget.wq))
                reclaim_kick(c);
        mapping_unuse(m);
        if (asked)
                prefetch_ended(asked, (uint32_t)good, (uint32_t)(nr - good), error);
}

static void read_pages(struct io_run *run, struct blk_plug *plug)
{
        struct fs_run *fs = &run->fs;

        trace_emit(run->cache->trace, READ_PAGES, fs->fault, run->mapping->object, fs->index,
                   fs->nr_pages, 0, 0);
        fs->inode->a_ops->readahead(fs, plug);
}

static bool is_absent(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);
        bool absent = true;

        if (p) {
                absent = page_state(p) == PAGE_ABSENT;
                put_page(m, p);
        }
        return absent;
}

/* So many pages from `index` on are absent, `max` at the most. */
static uint64_t absent_from(struct address_space *m, uint64_t index, uint64_t max)
{
        uint64_t n = 0;
        bool more = true;

        while (more && n < max) {
                uint64_t part = min_u64(max, radix_leaf_end(&m->i_pages, index + n) - index);
                struct page *leaf = find_page(m, index + n);

                if (!leaf) {
                        n = part;
                        continue;
                }
                for (struct page *p = leaf; more && n < part; p++) {
                        more = page_state(p) == PAGE_ABSENT;
                        n += more;
                }
                put_page(m, leaf);
        }
        return n;
}

/* Lock, check, READING. False: somebody was here first. => pinned */
static bool start_page(struct page_cache *c, struct page *p, uint32_t flags, bool demand)
{
        bool started = false;

        perturb();
        /* Read-ahead passes by what somebody has in hand. A page that is wanted is waited for (an
         * ioctl at most): whoever asked takes a state that has not changed for the result. */
        if (demand)
                page_lock(c, p);
        if (demand || page_trylock(p)) {
                enum page_state s = page_state(p);

                if (s == PAGE_ABSENT || (s == PAGE_ERROR && demand)) {
                        page_start_read(c, p);
                        page_set(p, flags);
                        started = true;
                }
                page_unlock(c, p);
        }
        return started;
}

/* A run with staging memory and charge for up to *nr pages; *nr becomes what was got. */
static struct io_run *prepare(struct address_space *m, uint64_t index, unsigned *nr)
{
        struct page_cache *c = m->cache;
        struct io_run *run;
        char *buf = staging_get(&c->staging, nr, false);

        if (!buf)
                return NULL;
        if (!budget_charge(c, *nr)) {
                int64_t left = budget_free(c);
                unsigned less = left > 0 ? (unsigned)left / 2 : 0;

                if (less == 0 || less >= *nr || !budget_try_charge(c, less)) {
                        staging_put(&c->staging, buf, *nr, false);
                        return NULL;
                }
                staging_put(&c->staging, buf + ((size_t)less << PAGE_SHIFT), *nr - less, false);
                *nr = less;
        }
        perturb_gap();
        run = io_run_get(c);
        assert(run); /* there is one for every page of staging */
        run->mapping = m;
        run->fs.inode = m->host;
        run->fs.index = index;
        run->fs.buf = buf;
        run->fs.end_io = read_end_io;
        run->fs.error = 0;
        run->prefetch = NULL;
        run->backward = false;
        run->staging_pages = *nr;
        mapping_use(m);
        return run;
}

/* Send off a prepared run of which the first `nr` pages are READING; gives back the rest. */
static void launch(struct io_run *run, unsigned nr, uint32_t opf, uint64_t fault,
                   struct blk_plug *plug)
{
        struct page_cache *c = run->cache;
        unsigned spare = run->staging_pages - nr;

        if (spare)
                budget_uncharge(c, spare);
        if (nr == 0) {
                struct address_space *m = run->mapping;

                io_run_end(run, false);
                mapping_unuse(m);
                return;
        }
        if (spare) {
                staging_put(&c->staging, run->fs.buf + ((size_t)nr << PAGE_SHIFT), spare, false);
                run->staging_pages = nr;
        }
        run->fs.nr_pages = nr;
        run->fs.opf = opf;
        run->fs.fault = fault;
        run->started_ns = now_ns();
        read_pages(run, plug);
}

/* What of a marker goes on the page. */
static uint32_t mark_of(const struct ra_window *win, uint64_t index)
{
        uint64_t touch = (index - win->start) / max_u64(win->step, 1), mark = win->nr - win->async;

        if (!win->async || touch < mark || touch - mark >= max_u64(win->mark_nr, 1))
                return 0;
        return touch == mark ? PG_MARKS : PG_MARKER;
}

/* A window on its way to becoming runs. */
struct ra_walk {
        struct file *f;
        const struct ra_window *win;
        uint64_t wanted, fault;
        uint32_t opf;
        struct blk_plug *plug;
        struct prefetch *prefetch; /* for which it is; NULL: none */
        uint64_t *begun;           /* pages, of that */
};

/* Up to nr pages from `first` on become READING. How many: it ends at the first that somebody else has, or,
 * *full, where there is no memory for the tree. */
static unsigned start_pages(const struct ra_walk *w, uint64_t first, unsigned nr, bool *full)
{
        struct address_space *m = w->f->mapping;
        uint32_t flags = w->win->asked ? PG_ASKED : 0;
        unsigned done = 0;
        bool more = true;

        while (more && done < nr) {
                struct page *leaf = grab_page(m, first + done);
                uint64_t end = min_u64(first + nr, radix_leaf_end(&m->i_pages, first + done));

                if ((*full = !leaf))
                        break;
                for (struct page *p = leaf; more && first + done < end; p++) {
                        uint64_t at = first + done;

                        more = start_page(m->cache, p,
                                          mark_of(w->win, at) | flags |
                                                  (at != w->wanted ? PG_READAHEAD : 0),
                                          false);
                        done += more;
                }
                put_page(m, leaf);
        }
        return done;
}

/* Reads [first, first + nr), which was absent a moment ago, or as much as there is memory for: of its
 * beginning, or, from_end, of its end. *nr: how far that is. False: there is no memory for more, or, of a
 * stream, not in one piece: its reader would wait for each of them. */
static bool read_run(const struct ra_walk *w, uint64_t first, unsigned *nr, bool from_end)
{
        struct address_space *m = w->f->mapping;
        struct trace *trace = m->cache->trace;
        uint64_t end = first + *nr;
        unsigned all = *nr, done;
        struct io_run *run = prepare(m, first, nr);
        bool wants, cut, full = false;

        if (!run) {
                *nr = 0;
                return false;
        }
        cut = *nr < all && w->win->stream.step;
        run->backward = from_end;
        if (from_end)
                run->fs.index = first = end - *nr;
        done = start_pages(w, first, *nr, &full);
        wants = w->wanted >= first && w->wanted < first + done;
        run->demand = wants && done == 1;
        if (w->prefetch && done) {
                run->prefetch = w->prefetch;
                prefetch_begun(w->prefetch, done);
                *w->begun += done;
        }
        trace_emit(trace, RA_UNBOUNDED, w->fault, m->object, first, done, 0, 0);
        launch(run, done, IO_READ | (wants ? REQ_SYNC : REQ_RAHEAD) | w->opf, w->fault, w->plug);
        stat_add(&trace->stats, STAT_readahead_pages, done - (wants ? 1 : 0));
        if (!from_end)
                *nr = done || full ? done : 1;
        return !cut && (done || !full);
}

static void note_skipped(const struct ra_walk *w, uint64_t index, uint64_t skipped)
{
        const struct address_space *m = w->f->mapping;

        if (skipped)
                trace_emit(m->cache->trace, RA_UNBOUNDED, w->fault, m->object, index, 0, skipped,
                           0);
}

/* page_cache_ra_unbounded: reads what of [index, end) is absent. Where it stopped. */
static uint64_t read_forward(const struct ra_walk *w, uint64_t index, uint64_t end)
{
        struct address_space *m = w->f->mapping;
        uint64_t skipped = 0;
        bool more = true;

        while (more && index < end) {
                unsigned nr = (unsigned)absent_from(m, index, min_u64(RUN_PAGES, end - index));

                if (nr == 0) {
                        index++;
                        skipped++;
                        continue;
                }
                more = read_run(w, index, &nr, false);
                index += nr;
                skipped = 0;
        }
        note_skipped(w, index, skipped);
        return index;
}

/* The same of single pages, in the order in which the stream will come to them. False: *stop is the first
 * that has not been asked for. */
static bool read_strided(const struct ra_walk *w, uint64_t *stop)
{
        struct address_space *m = w->f->mapping;
        uint64_t nr = w->win->nr, pages = mapping_pages(m);
        bool back = w->win->stream.step < 0, more = true;

        for (uint64_t n = 0; more && n < nr; n++) {
                uint64_t index = w->win->start + (back ? nr - 1 - n : n) * w->win->step;
                unsigned one = 1;

                *stop = index;
                if (index < pages && is_absent(m, index))
                        more = read_run(w, index, &one, false);
        }
        return more;
}

/* The same for a stream that comes from behind, whose next pages are the last. */
static uint64_t read_backward(const struct ra_walk *w, uint64_t start, uint64_t end)
{
        struct address_space *m = w->f->mapping;
        bool more = true;

        while (more && end > start) {
                unsigned nr = 0;

                while (nr < RUN_PAGES && end - nr > start && is_absent(m, end - nr - 1))
                        nr++;
                if (nr)
                        more = read_run(w, end - nr, &nr, true);
                end -= nr || !more ? nr : 1;
        }
        return end;
}

void do_page_cache_ra(struct file *f, const struct ra_window *win, uint64_t wanted, uint32_t opf,
                      uint64_t fault, struct blk_plug *plug)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        const struct ra_walk w = { f, win, wanted, fault, opf, plug, NULL, NULL };
        uint64_t end = min_u64(win->start + win->nr, mapping_pages(m)), stop;
        unsigned held;
        bool cut;

        if (!win->nr)
                return; /* else it would be all that follows */
        held = hold_begin(c);
        trace_emit(c->trace, PAGE_CACHE_RA, fault, m->object, win->start, win->nr, win->async,
                   win->why);
        if (win->stream.step)
                trace_emit(c->trace, STREAM, fault, m->object, (uint64_t)win->stream.step,
                           win->stream.windows, win->stream.most, 0);
        if (win->step > 1) {
                cut = !read_strided(&w, &stop);
        } else if (win->stream.step < 0) {
                stop = read_backward(&w, win->start, end);
                cut = stop > win->start;
        } else {
                stop = read_forward(&w, win->start, end);
                cut = stop < end;
        }
        hold_end(c, held);
        if (cut && c->policy->cut) {
                mutex_lock(&f->ra_lock);
                c->policy->cut(&f->ra, win, stop);
                mutex_unlock(&f->ra_lock);
        }
}

uint64_t prefetch_read(struct prefetch *p, uint64_t first, uint64_t end, uint64_t *begun,
                       struct blk_plug *plug)
{
        const struct ra_window win = {
                .start = first, .nr = (uint32_t)(end - first), .why = RA_FORCED, .asked = true
        };
        const struct ra_walk w = { .f = p->file,
                                   .win = &win,
                                   .wanted = UINT64_MAX,
                                   .plug = plug,
                                   .prefetch = p,
                                   .begun = begun };
        struct address_space *m = p->file->mapping;
        struct page_cache *c = m->cache;
        unsigned held = hold_begin(c);
        uint64_t stop;

        rwlock_assert_held(&m->i_rwsem);
        *begun = 0;
        trace_emit(c->trace, PAGE_CACHE_RA, 0, m->object, first, end - first, 0, RA_FORCED);
        stop = read_forward(&w, first, min_u64(end, mapping_pages(m)));
        hold_end(c, held);
        return stop;
}

int read_one_page(struct address_space *m, uint64_t index, bool asked, uint64_t fault,
                  struct blk_plug *plug, struct wait_on *on)
{
        struct page_cache *c = m->cache;
        unsigned nr = 1, held = hold_begin(c);
        struct io_run *run = prepare(m, index, &nr);
        struct page *p;

        if (!run) {
                hold_end(c, held);
                on->kind = staging_available(&c->staging, false) ? WAIT_BUDGET : WAIT_STAGING;
                return -EAGAIN;
        }
        run->demand = true;
        p = grab_page(m, index);
        nr = p && start_page(c, p, asked ? PG_ASKED : 0, true);
        if (p)
                put_page(m, p);
        launch(run, nr, IO_READ | REQ_SYNC, fault, plug);
        hold_end(c, held);
        return 0;
}

static uint64_t probe_cached_before(void *arg, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && n < index && !is_absent(arg, index - 1 - n))
                n++;
        return n;
}

static uint64_t probe_first_missing(void *arg, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && !is_absent(arg, index + n))
                n++;
        return index + n;
}

static uint64_t probe_first_cached(void *arg, uint64_t index, uint64_t max)
{
        return index + absent_from(arg, index, max);
}

struct ra_probe filemap_probe(struct address_space *m)
{
        return (struct ra_probe){
                .cached_before = probe_cached_before,
                .first_missing = probe_first_missing,
                .first_cached = probe_first_cached,
                .arg = m,
        };
}

static uint32_t marks_at(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);
        uint32_t marks = 0;

        if (p) {
                marks = page_word(p) & PG_MARKS;
                put_page(m, p);
        }
        return marks;
}

struct marked filemap_marked(struct address_space *m, uint64_t index)
{
        struct marked marked = { index, 1 };
        uint32_t marks = marks_at(m, index);

        while (marks == PG_MARKER && marked.first &&
               (marks = marks_at(m, marked.first - 1)) & PG_MARKER)
                marked.first--;
        marked.nr = (uint32_t)(index - marked.first + 1);
        while (marks_at(m, marked.first + marked.nr) == PG_MARKER)
                marked.nr++;
        return marked;
}

void filemap_unmark(struct address_space *m, const struct marked *marked)
{
        for (uint32_t i = 0; i < marked->nr; i++) {
                struct page *p = find_page(m, marked->first + i);

                if (p) {
                        page_clear(p, PG_MARKS);
                        put_page(m, p);
                }
        }
}

void filemap_willneed(struct file *f, uint64_t first, uint64_t end)
{
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request rq = {
                .ra = &f->ra,
                .probe = &probe,
                .index = first,
                .req = end - first,
                .file_pages = mapping_pages(f->mapping),
                .page_pages = f->mapping->cache->page_pages,
        };
        struct ra_window win;
        struct blk_plug plug;

        if (f->mapping->swap_backed) {
                shmem_willneed(f, first, end);
                return;
        }
        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, 0);
        win = f->mapping->cache->policy->willneed(&rq, first, end);
        mutex_unlock(&f->ra_lock);
        if (win.nr == 0)
                return;
        win.asked = true;
        blk_start_plug(&plug);
        rwlock_read_lock(&f->mapping->i_rwsem);
        do_page_cache_ra(f, &win, UINT64_MAX, 0, 0, &plug);
        rwlock_read_unlock(&f->mapping->i_rwsem);
        blk_finish_plug(&plug);
}

void filemap_read_range(struct file *f, uint64_t first, uint64_t end)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        struct blk_plug plug;
        unsigned tries = 0;

        end = min_u64(end, mapping_pages(m));
        blk_start_plug(&plug);
        while (first < end && !budget_stuck(c)) {
                struct ra_window win = { .start = first, .why = RA_FORCED, .asked = true };
                uint64_t reached;

                win.nr = (uint32_t)min_u64(end - first, RANGE_PAGES);
                mapping_read_lock(m, &plug); /* no longer nor shorter meanwhile */
                do_page_cache_ra(f, &win, UINT64_MAX, 0, 0, &plug);
                rwlock_read_unlock(&m->i_rwsem);
                reached = probe_first_missing(m, first, win.nr);
                if (reached == first && tries++ < RANGE_TRIES) {
                        struct wait_on on = { .kind = WAIT_STAGING };

                        if (staging_available(&c->staging, false))
                                on.kind = WAIT_BUDGET;
                        blk_finish_plug(&plug);
                        wait_on(c, &on);
                        blk_start_plug(&plug);
                        continue;
                }
                first = max_u64(reached, first + 1);
                tries = 0;
        }
        blk_finish_plug(&plug);
}
