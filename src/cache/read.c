/* SPDX-License-Identifier: Apache-2.0
 *
 * read.c - a run of pages being read: charged, with staging memory, handed to the file system by
 * read_pages(), the one place where the cache calls a file system to read, and ended.
 */
#include "cache/read.h"

#include <assert.h>
#include <errno.h>

#include "cache/prefetch.h"
#include "util/perturb.h"

#define FEW_PAGES 2   /* a read of which tells how long the device takes to answer */
#define MANY_PAGES 32 /* and of which, how much it transfers */

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
        bool made = false; /* frames that no page will have */

        if (good == fs->nr_pages)
                measure(m, now_ns() - run->started_ns, fs->nr_pages);
        if (good) {
                int fill = m->frames->ops->fill(m->frames, fs->index, fs->buf, good);

                if (fill) {
                        error = fill;
                        good = 0;
                        made = true;
                }
        }
        /* So has a reader that noticed too late that its page had gone, of zeros (frame_map.h). */
        if (good < nr && (made || atomic_load(&m->frames->map.base)))
                m->frames->ops->release(m->frames, fs->index + good, nr - good);
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

bool read_start_page(struct page_cache *c, struct page *p, uint32_t flags, bool demand)
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

struct io_run *read_prepare(struct address_space *m, uint64_t index, unsigned *nr)
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

void read_launch(struct io_run *run, unsigned nr, uint32_t opf, uint64_t fault,
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

int read_one_page(struct address_space *m, uint64_t index, bool asked, uint64_t fault,
                  struct blk_plug *plug, struct wait_on *on)
{
        struct page_cache *c = m->cache;
        unsigned nr = 1, held = hold_begin(c);
        struct io_run *run = read_prepare(m, index, &nr);
        struct page *p;

        if (!run) {
                hold_end(c, held);
                on->kind = staging_available(&c->staging, false) ? WAIT_BUDGET : WAIT_STAGING;
                return -EAGAIN;
        }
        run->demand = true;
        p = grab_page(m, index);
        nr = p && read_start_page(c, p, asked ? PG_ASKED : 0, true);
        if (p)
                put_page(m, p);
        read_launch(run, nr, IO_READ | REQ_SYNC, fault, plug);
        hold_end(c, held);
        return 0;
}
