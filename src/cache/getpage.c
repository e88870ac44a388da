/* SPDX-License-Identifier: Apache-2.0
 *
 * getpage.c - VOP_GETPAGE as Solaris's segments call it, on the same pages as filemap.c: what UFS does
 * with a request, in its order (ufs_getpage, S14 to S19). What is read is the policy's decision;
 * do_page_cache_ra() is the way to the file system's read.
 *
 * All is decided when the request comes first. When it is repeated, because its pages had to be read,
 * it only waits for the rest of the answer: in Solaris one request reads all of it.
 */
#include <errno.h>

#include "cache/filemap.h"

static struct ra_request request_of(const struct filemap_request *rq, const struct vop_getpage *vop,
                                    const struct ra_probe *probe)
{
        struct ra_request q = filemap_fault_request(rq, probe);

        q.shared = vop->shared;
        q.kluster = vop->kluster;
        q.kluster_arg = vop->arg;
        return q;
}

static enum page_state state_of(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);
        enum page_state s = PAGE_ABSENT;

        if (p) {
                s = page_state(p);
                put_page(m, p);
        }
        return s;
}

static bool is_uptodate(struct address_space *m, uint64_t index)
{
        enum page_state s = state_of(m, index);

        return s == PAGE_CLEAN || s == PAGE_DIRTY || s == PAGE_WRITEBACK;
}

/* S19: where the answer ends: behind what is read for it, and what is there already behind that. */
static uint64_t answer_end(const struct filemap_request *rq, const struct vop_getpage *vop,
                           const struct ra_window *read)
{
        struct address_space *m = rq->file->mapping;
        uint64_t most = min_u64(vop->off + max_u64(vop->plsz, vop->len), mapping_pages(m));
        uint64_t end = rq->index + 1;

        while (end < most &&
               ((end >= read->start && end < read->start + read->nr) || is_uptodate(m, end)))
                end++;
        return end;
}

/* Decides, and starts what is to be read. */
static void look_up(struct filemap_request *rq, struct vop_getpage *vop, bool hit)
{
        struct file *f = rq->file;
        struct page_cache *c = f->mapping->cache;
        struct ra_probe probe = filemap_probe(f->mapping);
        struct ra_request q = request_of(rq, vop, &probe);
        struct ra_window read = { .nr = 0 }, next = { .nr = 0 };
        struct ufs_stream stream;

        mutex_lock(&f->ra_lock);
        ra_limit_locked(f, rq->ra_pages);
        stream = f->ra.ufs;
        if (hit) {
                next = c->policy->mmap_hit(&q, false);
        } else {
                read = c->policy->mmap_miss(&q);
                next = c->policy->ahead(&q);
        }
        vop->end = answer_end(rq, vop, &read);
        c->policy->returned(&q, vop->end);
        mutex_unlock(&f->ra_lock);
        trace_emit(c->trace, GETAPAGE, rq->fault, f->mapping->object, rq->index << PAGE_SHIFT, hit,
                   stream.i_nextr, stream.i_nextrio);
        if (read.nr) {
                trace_emit(c->trace, PVN_READ_KLUSTER, rq->fault, f->mapping->object,
                           read.start << PAGE_SHIFT, (uint64_t)read.nr << PAGE_SHIFT, read.why, 0);
                do_page_cache_ra(f, &read, rq->index, 0, rq->fault, rq->plug);
        }
        if (next.nr) {
                trace_emit(c->trace, GETPAGE_RA, rq->fault, f->mapping->object,
                           next.start << PAGE_SHIFT, (uint64_t)next.nr << PAGE_SHIFT, next.why, 0);
                do_page_cache_ra(f, &next, UINT64_MAX, 0, rq->fault, rq->plug);
        }
}

/* A page of the answer that is still being read, pinned; NULL: none. */
static struct page *still_reading(struct address_space *m, const struct vop_getpage *vop)
{
        for (uint64_t i = vop->off; i < vop->end; i++) {
                struct page *p = find_page(m, i);

                if (p && page_state(p) == PAGE_READING)
                        return p;
                if (p)
                        put_page(m, p);
        }
        return NULL;
}

enum filemap_result getpage(struct filemap_request *rq, struct vop_getpage *vop)
{
        struct address_space *m = rq->file->mapping;
        struct page *p, *other;
        enum page_state s;

        rq->wait.kind = WAIT_NONE;
        rq->error = 0;
        if (rq->index >= mapping_pages(m))
                return FILEMAP_PAST_END; /* S14 */
        s = state_of(m, rq->index);
        if (!rq->tried && s != PAGE_ERROR) {
                if (s == PAGE_ABSENT && !rq->major) {
                        rq->major = true;
                        trace_emit(m->cache->trace, MAJOR, rq->fault, m->object, rq->index, 0, 0,
                                   0);
                }
                look_up(rq, vop, s != PAGE_ABSENT);
        } else if ((other = still_reading(m, vop))) {
                return filemap_retry_on(rq, other);
        }
        p = find_page(m, rq->index);
        s = p ? page_state(p) : PAGE_ABSENT;
        if (s != PAGE_ABSENT && s != PAGE_ERROR)
                return filemap_lock_page(rq, p);
        if (s == PAGE_ERROR && rq->tried)
                rq->error = p->error;
        if (p)
                put_page(m, p);
        if (rq->error)
                return rq->error == -ENXIO ? FILEMAP_PAST_END : FILEMAP_ERROR;
        return filemap_read_alone(rq);
}
