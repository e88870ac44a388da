/* SPDX-License-Identifier: Apache-2.0
 *
 * readahead.c - from a window to runs of pages being read. What to read is the policy's; here it is made
 * into runs (read.h), in which direction and as far as there is memory for.
 */
#include "cache/prefetch.h"
#include "cache/read.h"

#define RUN_PAGES 512 /* 2 MiB: longer windows become several runs */
#define RANGE_PAGES 64
#define RANGE_TRIES 3 /* then a page is passed by: it cannot be read, or there is no room */

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

                        more = read_start_page(m->cache, p,
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
        struct io_run *run = read_prepare(m, first, nr);
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
        read_launch(run, done, IO_READ | (wants ? REQ_SYNC : REQ_RAHEAD) | w->opf, w->fault,
                    w->plug);
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

/* Pages of a run that begins there, of `left`. Where frames come in folios, runs begin and end with those
 * that are read as a whole. */
static uint64_t run_pages(const struct address_space *m, uint64_t index, uint64_t left)
{
        uint64_t folio = m->frames->ops->folio,
                 front = folio ? round_up_u64(index, folio) - index : 0;

        if (front && front + folio <= left)
                return min_u64(RUN_PAGES, front);
        return min_u64(RUN_PAGES, left);
}

/* page_cache_ra_unbounded: reads what of [index, end) is absent. Where it stopped. */
static uint64_t read_forward(const struct ra_walk *w, uint64_t index, uint64_t end)
{
        struct address_space *m = w->f->mapping;
        uint64_t skipped = 0;
        bool more = true;

        while (more && index < end) {
                unsigned nr =
                        (unsigned)filemap_absent_from(m, index, run_pages(m, index, end - index));

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
                if (index < pages && filemap_is_absent(m, index))
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

                while (nr < RUN_PAGES && end - nr > start && filemap_is_absent(m, end - nr - 1))
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
                reached = filemap_first_missing(m, first, win.nr);
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
