/* SPDX-License-Identifier: Apache-2.0
 *
 * filemap.c - a fault's way through the page cache: Linux's filemap_fault. Reads and writes are
 * in filemap_rw.c. What is read ahead is decided by the policy.
 */
#include <assert.h>
#include <errno.h>

#include "cache/filemap.h"
#include "util/perturb.h"

#define MOST_OTHERS 8 /* pages that a fault waits for besides its own */

void wait_on_page(struct wait_on *on, struct address_space *m, struct page *p, bool writeback)
{
        on->kind = WAIT_PAGE;
        on->mapping = m;
        on->page = p;
        on->write = writeback;
}

struct ra_request filemap_fault_request(const struct filemap_request *rq,
                                        const struct ra_probe *probe)
{
        struct ra_request q = filemap_ra_request(rq->file, probe, rq->index);

        q.vma_start = rq->vma_first;
        q.vma_end = rq->vma_end;
        q.advice = rq->advice;
        q.exec = rq->exec;
        q.write = rq->write;
        q.fault = true;
        return q;
}

struct ra_map filemap_map_ahead(struct filemap_request *rq)
{
        struct file *f = rq->file;
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request q = filemap_fault_request(rq, &probe);
        struct ra_map map;

        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, rq->ra_pages);
        map = f->mapping->cache->policy->map_ahead(&q);
        mutex_unlock(&f->ra_lock);
        return map;
}

static void do_async_mmap_readahead(struct filemap_request *rq, struct page *page)
{
        struct file *f = rq->file;
        struct page_cache *c = f->mapping->cache;
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request q = filemap_fault_request(rq, &probe);
        bool marker = page_test(page, PG_MARKER);
        struct marked marked = { rq->index, 1 };
        struct ra_window win;
        uint32_t miss;

        q.locked = page_state(page) == PAGE_READING;
        if (marker && page_state(page) == PAGE_WRITEBACK)
                marker = false; /* L29 */
        if (marker)
                marked = filemap_marked(f->mapping, rq->index);
        q.folio = marked.nr;
        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, rq->ra_pages);
        win = c->policy->mmap_hit(&q, marker);
        miss = f->ra.mmap_miss;
        mutex_unlock(&f->ra_lock);
        trace_emit(c->trace, ASYNC_RA, rq->fault, f->mapping->object, rq->index, marker, miss, 0);
        /* L29: cleared whatever came of it, or else every fault here asks again. */
        if (marker && (rq->ra_pages || f->ra_pages) && rq->advice != ADVICE_RANDOM)
                filemap_unmark(f->mapping, &marked);
        win.asked = rq->asked;
        if (win.nr)
                do_page_cache_ra(f, &win, UINT64_MAX, 0, rq->fault, rq->plug);
}

static void do_sync_mmap_readahead(struct filemap_request *rq)
{
        struct file *f = rq->file;
        struct page_cache *c = f->mapping->cache;
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request q = filemap_fault_request(rq, &probe);
        struct ra_window win = { .nr = 0 };
        uint32_t miss = 0;

        if (!f->mapping->swap_backed) {
                mutex_lock(&f->ra_lock);
                ra_limit_locked(f, rq->ra_pages);
                win = c->policy->mmap_miss(&q);
                miss = f->ra.mmap_miss;
                mutex_unlock(&f->ra_lock);
        } else if (rq->advice != ADVICE_RANDOM && page_is_swapped(f->mapping, rq->index)) {
                win = shmem_window(f->mapping, rq->index);
        }
        trace_emit(c->trace, SYNC_RA, rq->fault, f->mapping->object, rq->index, miss, 0, 0);
        win.asked = rq->asked;
        if (win.nr)
                do_page_cache_ra(f, &win, rq->index, 0, rq->fault, rq->plug);
}

enum filemap_result filemap_retry_on(struct filemap_request *rq, struct page *p)
{
        wait_on_page(&rq->wait, rq->file->mapping, p, false);
        return FILEMAP_RETRY;
}

enum filemap_result filemap_lock_page(struct filemap_request *rq, struct page *p)
{
        struct address_space *m = rq->file->mapping;
        struct page_cache *c = m->cache;

        if (page_state(p) == PAGE_READING)
                return filemap_retry_on(rq, p);
        page_lock(c, p);
        if (page_uptodate(p)) {
                if (page_clear(p, PG_READAHEAD))
                        stat_add(&c->trace->stats, STAT_readahead_hits, 1);
                else
                        page_set(p, PG_REFERENCED);
                rq->page = p;
                return FILEMAP_PAGE;
        }
        page_unlock(c, p);
        return filemap_retry_on(rq, p);
}

/* The pages of a strided window come one by one. Who has to wait for one waits for all of them, since he
 * would have to for each. The last that is not there yet, pinned; NULL: none, or they are not strided.
 * But not for ever: others may read pages that lie there again and again. */
static struct page *still_coming(struct filemap_request *rq)
{
        struct address_space *m = rq->file->mapping;
        struct page *last = NULL;
        struct ra_map map;

        if (m->swap_backed || rq->advice == ADVICE_RANDOM || !m->cache->policy->map_ahead ||
            rq->others == MOST_OTHERS)
                return NULL;
        map = filemap_map_ahead(rq);
        if (map.step >= -1 && map.step <= 1)
                return NULL;
        for (uint32_t n = 1; n < map.nr; n++) {
                int64_t at = (int64_t)rq->index + n * map.step;
                struct page *p = at >= 0 ? find_page(m, (uint64_t)at) : NULL;
                bool reading = p && page_state(p) == PAGE_READING;
                bool its = p && (reading || page_uptodate(p)) && !page_test(p, PG_MARKER);

                if (its && reading) {
                        if (last)
                                put_page(m, last);
                        last = p;
                        continue;
                }
                if (p)
                        put_page(m, p);
                if (!its)
                        break;
        }
        return last;
}

enum filemap_result filemap_read_alone(struct filemap_request *rq)
{
        struct address_space *m = rq->file->mapping;
        struct page_cache *c = m->cache;
        struct page *p;
        int r = read_one_page(m, rq->index, rq->asked, rq->fault, rq->plug, &rq->wait);

        if (r == -EAGAIN) {
                if (rq->wait.kind == WAIT_BUDGET && budget_stuck(c)) {
                        rq->error = -ENOMEM;
                        return FILEMAP_ERROR;
                }
                trace_emit(c->trace, BUDGET_WAIT, rq->fault, m->object, 1,
                           (uint64_t)atomic_load(&c->budget.charged),
                           (uint64_t)atomic_load(&c->budget.limit), 0);
                return FILEMAP_RETRY;
        }
        p = grab_page(m, rq->index);
        if (!p) {
                rq->error = -ENOMEM;
                return FILEMAP_ERROR;
        }
        return filemap_retry_on(rq, p);
}

enum filemap_result filemap_fault(struct filemap_request *rq)
{
        struct address_space *m = rq->file->mapping;
        struct page_cache *c = m->cache;
        struct page *p;
        enum page_state s;

        trace_emit(c->trace, FILEMAP_FAULT, rq->fault, m->object, rq->index, 0, 0, 0);
        rq->wait.kind = WAIT_NONE;
        rq->error = 0;
        if (rq->index >= mapping_pages(m))
                return FILEMAP_PAST_END;
        p = find_page(m, rq->index);
        s = p ? page_state(p) : PAGE_ABSENT;
        trace_emit(c->trace, FIND_GET_PAGE, rq->fault, m->object, rq->index,
                   s != PAGE_ABSENT && s != PAGE_ERROR, s, p && page_test(p, PG_MARKER));
        if (s != PAGE_ABSENT && s != PAGE_ERROR) {
                struct page *last;

                if (!rq->tried && !m->swap_backed)
                        do_async_mmap_readahead(rq, p);
                last = rq->tried || s == PAGE_READING ? still_coming(rq) : NULL;
                if (last) {
                        rq->others++;
                        put_page(m, p);
                        return filemap_retry_on(rq, last);
                }
                return filemap_lock_page(rq, p);
        }
        if (s == PAGE_ERROR && rq->tried) {
                rq->error = p->error;
                put_page(m, p);
                return rq->error == -ENXIO ? FILEMAP_PAST_END : FILEMAP_ERROR;
        }
        if (p)
                put_page(m, p);
        if (!rq->major && (!m->swap_backed || page_is_swapped(m, rq->index))) {
                rq->major = true;
                trace_emit(c->trace, MAJOR, rq->fault, m->object, rq->index, 0, 0, 0);
        }
        if (!rq->tried && s == PAGE_ABSENT) {
                do_sync_mmap_readahead(rq);
                p = find_page(m, rq->index);
                s = p ? page_state(p) : PAGE_ABSENT;
                if (s != PAGE_ABSENT && s != PAGE_ERROR)
                        return filemap_lock_page(rq, p);
                if (p)
                        put_page(m, p);
        }
        return filemap_read_alone(rq);
}

int filemap_page_mkwrite(struct filemap_request *rq, struct page *page, bool throttled)
{
        struct address_space *m = rq->file->mapping;
        struct page_cache *c = m->cache;
        int64_t dirty = atomic_load(&c->nr_dirty) + atomic_load(&c->nr_writeback);
        uint64_t pos = rq->index << PAGE_SHIFT;
        int error = 0;

        page_assert_locked(page);
        if (page_may_write(page)) {
                page_make_dirty(c, page); /* a guess no more */
                return 0;
        }
        trace_emit(c->trace, PAGE_MKWRITE, rq->fault, m->object, rq->index, 0, 0, 0);
        if (m->swap_backed && page_state(page) == PAGE_WRITEBACK) {
                page_make_dirty(c, page);
                return 0;
        }
        if (dirty >= dirty_limit(c) && !throttled) {
                trace_emit(c->trace, DIRTY_THROTTLE, rq->fault, m->object, (uint64_t)dirty,
                           (uint64_t)dirty_limit(c), 0, 0);
                rq->wait.kind = WAIT_DIRTY;
                flusher_kick(c);
                return -EAGAIN;
        }
        if (m->host->a_ops->allocate && m->host->a_ops->allocate(m->host, rq->index, false))
                error = reserve_room(rq);
        if (!error && m->host->a_ops->write_begin)
                error = m->host->a_ops->write_begin(
                        m->host, pos, min_u64(PAGE_SIZE, atomic_load(&m->host->i_size) - pos));
        if (error)
                return error;
        perturb_gap();
        page_make_dirty(c, page);
        if (dirty >= dirty_background(c))
                flusher_kick(c);
        return 0;
}
