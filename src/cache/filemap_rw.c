/* SPDX-License-Identifier: Apache-2.0
 *
 * filemap_rw.c - fl_pread and fl_pwrite, on the same pages as the mappings.
 *
 * The caller's buffer may itself be a mapping of the same file, even of the same page: touching
 * it may fault, and that fault may need the page, budget, staging. So nothing is held while the
 * buffer is touched: bytes pass through a small buffer of our own, which no fault depends on.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cache/filemap.h"
#include "util/perturb.h"
#include "util/signals.h"

#define BOUNCE_PAGES 4
#define LET_IN (1ul << 20) /* so often a long call lets signals in */

static struct ra_request read_request(struct file *f, const struct ra_probe *probe, uint64_t index,
                                      uint64_t req, uint32_t folio)
{
        struct ra_request q = filemap_ra_request(f, probe, index);

        q.req = req;
        q.folio = folio;
        return q;
}

/* folio: pages that carried the marker that `index` is the first of; 0: the page is missing. */
static void start_read(struct file *f, uint64_t index, uint64_t req, uint32_t folio, uint64_t fault)
{
        const struct vm_policy_ops *policy = f->mapping->cache->policy;
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request q = read_request(f, &probe, index, req, folio);
        struct ra_window win, next = { .nr = 0 };
        struct blk_plug plug;

        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, 0);
        win = folio ? policy->read_marker(&q) : policy->read_miss(&q);
        if (!folio && policy->ahead)
                next = policy->ahead(&q);
        if (!folio && policy->returned)
                policy->returned(&q, index + 1);
        mutex_unlock(&f->ra_lock);
        if (win.nr == 0 && next.nr == 0)
                return;
        blk_start_plug(&plug);
        if (win.nr)
                do_page_cache_ra(f, &win, folio ? UINT64_MAX : index, 0, fault, &plug);
        if (next.nr)
                do_page_cache_ra(f, &next, UINT64_MAX, 0, fault, &plug);
        plug.waits = !folio;
        blk_finish_plug(&plug);
}

/* The page is there. A policy without markers may want to know (S15). */
static void found_page(struct file *f, uint64_t index, uint64_t fault)
{
        const struct vm_policy_ops *policy = f->mapping->cache->policy;
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request q = read_request(f, &probe, index, 1, 0);
        struct ra_window next;
        struct blk_plug plug;

        if (!policy->read_hit)
                return;
        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, 0);
        next = policy->read_hit(&q);
        policy->returned(&q, index + 1);
        mutex_unlock(&f->ra_lock);
        if (next.nr == 0)
                return;
        blk_start_plug(&plug);
        do_page_cache_ra(f, &next, UINT64_MAX, 0, fault, &plug);
        blk_finish_plug(&plug);
}

/* The page may carry a marker. The next window is asked for from the first page that shares it. */
static void start_next(struct file *f, struct page *p, uint64_t index, uint64_t req, uint64_t fault)
{
        struct marked marked;

        if (page_state(p) == PAGE_WRITEBACK || !page_test(p, PG_MARKER)) /* L29 */
                return;
        marked = filemap_marked(f->mapping, index);
        if (!page_clear(p, PG_MARKER)) /* somebody else has it */
                return;
        filemap_unmark(f->mapping, &marked);
        start_read(f, marked.first, index - marked.first + req, marked.nr, fault);
}

/* Start reading the page alone, or find out what to wait for. */
static int read_single(struct address_space *m, uint64_t index, uint64_t fault, struct wait_on *on)
{
        struct blk_plug plug;
        struct page *p;
        int r;

        blk_start_plug(&plug);
        r = read_one_page(m, index, false, fault, &plug, on);
        plug.waits = true;
        blk_finish_plug(&plug);
        if (r == -EAGAIN)
                return on->kind == WAIT_BUDGET && budget_stuck(m->cache) ? -ENOMEM : -EAGAIN;
        p = grab_page(m, index);
        if (!p)
                return -ENOMEM;
        wait_on_page(on, m, p, false);
        return -EAGAIN;
}

static void mark_used(struct page_cache *c, struct page *p)
{
        if (page_clear(p, PG_READAHEAD))
                stat_add(&c->trace->stats, STAT_readahead_hits, 1);
        else
                page_set(p, PG_REFERENCED);
}

/* Has anybody begun to read the page, which was in state s? */
static bool has_begun(struct address_space *m, uint64_t index, enum page_state s)
{
        struct page *p = find_page(m, index);
        enum page_state now = p ? page_state(p) : PAGE_ABSENT;

        if (p)
                put_page(m, p);
        return now != PAGE_ABSENT && now != s;
}

/* The page up to date, locked and pinned in *out: reads it if need be, and waits. req 0: and nothing
 * else, whatever the policy says to reads. 0 or -errno. */
static int get_page_for_read(struct file *f, uint64_t index, uint64_t req, uint64_t fault,
                             struct page **out)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        bool tried = false;

        for (;;) {
                struct wait_on on = { .kind = WAIT_NONE };
                struct page *p = find_page(m, index);
                enum page_state s = p ? page_state(p) : PAGE_ABSENT;
                bool hit = s != PAGE_ABSENT && s != PAGE_ERROR;
                int r;

                if (!tried)
                        trace_emit(c->trace, FIND_GET_PAGE, fault, m->object, index, hit, s,
                                   p && page_test(p, PG_MARKER));
                if (hit) {
                        if (req)
                                start_next(f, p, index, req, fault);
                        if (req && !tried)
                                found_page(f, index, fault);
                        if (s != PAGE_READING) {
                                page_lock(c, p);
                                if (page_uptodate(p)) {
                                        mark_used(c, p);
                                        *out = p;
                                        return 0;
                                }
                                page_unlock(c, p);
                        }
                        wait_on_page(&on, m, p, false);
                        tried = true;
                        wait_on(c, &on);
                        continue;
                }
                if (s == PAGE_ERROR && tried) {
                        r = p->error;
                        put_page(m, p);
                        return r;
                }
                if (p)
                        put_page(m, p);
                if (!tried) {
                        tried = true;
                        if (req)
                                start_read(f, index, req, 0, fault);
                        /* Being read, or read by this very thread, well or not. */
                        if (req && has_begun(m, index, s))
                                continue;
                }
                r = read_single(m, index, fault, &on);
                if (r != -EAGAIN)
                        return r;
                wait_on(c, &on);
        }
}

/* What the policy lets go of behind a read (S22): decided for pages that go together, when the first of
 * them is read. */
struct behind {
        uint64_t unit; /* the pages' number; UINT64_MAX: none yet */
        enum read_behind how;
};

static void decide_behind(struct file *f, uint64_t index, uint64_t fault, struct behind *b)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        uint64_t unit = index / c->page_pages;
        struct ra_probe probe;
        struct ra_request q;

        if (!c->policy->read_behind || m->swap_backed || b->unit == unit)
                return;
        probe = filemap_probe(m);
        q = read_request(f, &probe, index, 1, 0);
        b->unit = unit;
        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, 0);
        b->how = c->policy->read_behind(&q);
        mutex_unlock(&f->ra_lock);
        if (b->how != READ_KEEPS)
                trace_emit(c->trace, READ_BEHIND, fault, m->object,
                           unit * c->page_pages << PAGE_SHIFT,
                           (uint64_t)c->page_pages << PAGE_SHIFT, 0, 0);
}

/* B_FREE|B_ASYNC: a dirty page is written, and then it goes. What is locked in memory stays as it is.
 * => page locked */
static void let_go(struct address_space *m, struct page *p, enum read_behind how)
{
        struct page_cache *c = m->cache;
        uint64_t index = page_index(c, p);

        if (how == READ_KEEPS || page_is_pinned(c, p))
                return;
        page_clear(p, PG_REFERENCED);
        if (page_state(p) == PAGE_DIRTY)
                putpage_range(m, index, index + 1);
        else
                lru_cold(c, p, how == READ_FREES_FIRST);
}

/* Copy up to BOUNCE_PAGES of cached pages from `pos` into bounce. Bytes, 0 at the end, -errno. */
static ssize_t read_some(struct file *f, char *bounce, size_t want, uint64_t pos, uint64_t fault,
                         struct behind *behind)
{
        struct address_space *m = f->mapping;
        uint64_t size = atomic_load(&m->host->i_size);
        size_t done = 0;

        rwlock_assert_held(&m->i_rwsem);
        if (pos >= size)
                return 0;
        want = min_u64(want, size - pos);
        while (done < want && done < BOUNCE_PAGES * PAGE_SIZE) {
                uint64_t index = (pos + done) >> PAGE_SHIFT;
                size_t in_page = PAGE_SIZE - ((pos + done) & (PAGE_SIZE - 1));
                size_t n = min_u64(in_page, want - done);
                struct page *p;
                int error;

                if (n > BOUNCE_PAGES * PAGE_SIZE - done)
                        break;
                decide_behind(f, index, fault, behind);
                error = get_page_for_read(f, index, pages_of(want - done), fault, &p);
                if (error)
                        return done ? (ssize_t)done : error == -ENXIO ? 0 : error;
                error = m->frames->ops->copy_out(m->frames, pos + done, bounce + done, n);
                let_go(m, p, behind->how);
                page_unlock(m->cache, p);
                put_page(m, p);
                if (error)
                        return done ? (ssize_t)done : error;
                done += n;
        }
        return (ssize_t)done;
}

ssize_t filemap_read(struct file *f, char *buf, size_t count, uint64_t pos, uint64_t fault)
{
        char bounce[BOUNCE_PAGES * PAGE_SIZE];
        struct behind behind = { UINT64_MAX, READ_KEEPS };
        size_t done = 0;

        trace_emit(f->mapping->cache->trace, READ_ITER, fault, f->mapping->object,
                   pos >> PAGE_SHIFT, count, 0, 0);
        while (done < count) {
                ssize_t n;

                rwlock_read_lock(&f->mapping->i_rwsem);
                n = read_some(f, bounce, count - done, pos + done, fault, &behind);
                if (n > 0)
                        filemap_expect_hits(f, pos + done + (uint64_t)n);
                rwlock_read_unlock(&f->mapping->i_rwsem);
                if (n < 0)
                        return done ? (ssize_t)done : n;
                if (n == 0)
                        break;
                lock_assert_none();
                memcpy(buf + done, bounce, (size_t)n); /* may fault: nothing is held */
                done += (size_t)n;
                if (done / LET_IN != (done - (size_t)n) / LET_IN)
                        signals_let_in();
        }
        if (done)
                atomic_store_explicit(&f->ra.prev_pos, (int64_t)(pos + done - 1),
                                      memory_order_relaxed);
        return (ssize_t)done;
}

/* A page that will be overwritten whole, or lies beyond the old end: no read needed. 0 with the
 * page locked and DIRTY, 1: it must be read (or is there), -EAGAIN, -errno. */
static int create_page(struct address_space *m, uint64_t index, struct wait_on *on,
                       struct page **out)
{
        static const char zeros[PAGE_SIZE];
        struct page_cache *c = m->cache;
        struct page *p;
        int error;

        if (!budget_charge(c, 1)) {
                on->kind = WAIT_BUDGET;
                return budget_stuck(c) ? -ENOMEM : -EAGAIN;
        }
        p = grab_page(m, index);
        if (!p) {
                budget_uncharge(c, 1);
                return -ENOMEM;
        }
        page_lock(c, p);
        if (page_state(p) != PAGE_ABSENT && page_state(p) != PAGE_ERROR) {
                page_unlock(c, p);
                put_page(m, p);
                budget_uncharge(c, 1);
                return 1;
        }
        error = m->frames->ops->fill(m->frames, index, zeros, 1);
        if (error) {
                page_unlock(c, p);
                put_page(m, p);
                budget_uncharge(c, 1);
                return error;
        }
        page_create_dirty(c, p);
        *out = p;
        return 0;
}

/* The page locked, pinned, up to date and DIRTY in *out. */
static int get_page_for_write(struct file *f, uint64_t index, bool whole, uint64_t fault,
                              struct page **out)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;

        for (;;) {
                struct wait_on on = { .kind = WAIT_NONE };
                struct page *p = find_page(m, index);
                enum page_state s = p ? page_state(p) : PAGE_ABSENT;
                int r;

                if (p)
                        put_page(m, p);
                if (whole && (s == PAGE_ABSENT || s == PAGE_ERROR)) {
                        unsigned held = hold_begin(c);

                        r = create_page(m, index, &on, out);
                        hold_end(c, held);
                        if (r == -EAGAIN)
                                wait_on(c, &on);
                        else if (r <= 0)
                                return r;
                        continue;
                }
                r = get_page_for_read(f, index, !c->policy->writes_read_alone, fault, out);
                if (r)
                        return r;
                page_make_dirty(c, *out);
                return 0;
        }
}

static void balance_dirty_pages(struct page_cache *c)
{
        int64_t dirty = atomic_load(&c->nr_dirty) + atomic_load(&c->nr_writeback);

        if (dirty >= dirty_background(c))
                flusher_kick(c);
        if (dirty >= dirty_limit(c)) {
                struct wait_on on = { .kind = WAIT_DIRTY };

                wait_on(c, &on);
        }
}

/* => i_rwsem held for writing */
static int grow(struct file *f, uint64_t size)
{
        if (size <= atomic_load(&f->inode->i_size))
                return 0;
        return f->inode->i_op->truncate ? file_grow(f, size) : -EFBIG;
}

/* => i_rwsem held; for writing if the write ends behind the end of the file, which is there by now */
static ssize_t write_in_page(struct file *f, const char *bounce, size_t n, uint64_t pos,
                             uint64_t fault)
{
        struct address_space *m = f->mapping;
        uint64_t index = pos >> PAGE_SHIFT;
        struct page *p;
        int error = 0;

        rwlock_assert_held(&m->i_rwsem);
        if (m->host->a_ops->allocate)
                error = m->host->a_ops->allocate(m->host, index, true);
        if (!error && m->host->a_ops->write_begin)
                error = m->host->a_ops->write_begin(m->host, pos, n);
        if (!error)
                error = get_page_for_write(f, index, n == PAGE_SIZE, fault, &p);
        if (error)
                return error;
        page_change(m->cache, p);
        error = m->frames->ops->copy_in(m->frames, pos, bounce, n);
        mark_used(m->cache, p);
        page_unlock(m->cache, p);
        put_page(m, p);
        return error ? error : (ssize_t)n;
}

/* What makes the file longer, or leaves it as it was. */
static ssize_t write_behind(struct file *f, const char *bounce, size_t n, uint64_t pos,
                            uint64_t fault)
{
        struct address_space *m = f->mapping;
        uint64_t old;
        ssize_t r;

        rwlock_write_lock(&m->i_rwsem);
        resize_begin(m); /* until what is written is there too */
        old = atomic_load(&f->inode->i_size);
        r = grow(f, pos + n);
        if (r == 0) {
                perturb_gap();
                r = write_in_page(f, bounce, n, pos, fault);
                if (r < 0 && old < atomic_load(&f->inode->i_size))
                        file_shrink(f, old);
        }
        resize_end(m);
        rwlock_write_unlock(&m->i_rwsem);
        return r;
}

static ssize_t write_some(struct file *f, const char *bounce, size_t n, uint64_t pos,
                          uint64_t fault)
{
        struct address_space *m = f->mapping;
        bool in_place;
        ssize_t r;

        rwlock_read_lock(&m->i_rwsem);
        in_place = pos + n <= atomic_load(&f->inode->i_size);
        r = in_place ? write_in_page(f, bounce, n, pos, fault) : 0;
        rwlock_read_unlock(&m->i_rwsem);
        if (!in_place)
                r = write_behind(f, bounce, n, pos, fault);
        balance_dirty_pages(m->cache);
        return r;
}

ssize_t filemap_write(struct file *f, const char *buf, size_t count, uint64_t pos, uint64_t fault)
{
        char bounce[PAGE_SIZE];
        size_t done = 0;
        int error = mapping_refresh(f->mapping); /* it may have been cut short */

        if (error)
                return error;
        trace_emit(f->mapping->cache->trace, WRITE_ITER, fault, f->mapping->object,
                   pos >> PAGE_SHIFT, count, 0, 0);
        while (done < count) {
                size_t in_page = PAGE_SIZE - ((pos + done) & (PAGE_SIZE - 1));
                size_t n = min_u64(in_page, count - done);
                ssize_t r;

                lock_assert_none();
                memcpy(bounce, buf + done, n); /* may fault: nothing is held */
                r = write_some(f, bounce, n, pos + done, fault);
                if (r < 0)
                        return done ? (ssize_t)done : r;
                done += n;
                if (done / LET_IN != (done - n) / LET_IN)
                        signals_let_in();
        }
        return (ssize_t)done;
}
