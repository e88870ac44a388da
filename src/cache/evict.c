/* SPDX-License-Identifier: Apache-2.0
 *
 * evict.c - pages that go, or are to go first, because somebody asks: madvise, fl_evict, a file
 * that another program has changed. What reclaim takes by itself is in reclaim.c.
 *
 * A page that is dirty, or being read or written, is left alone.
 */
#include "cache/filemap.h"
#include "util/perturb.h"

#define RUN 64

/* Do more mappings than that show it? */
static bool shown_by_more(struct address_space *m, uint64_t index, unsigned most)
{
        struct mapping_view *v;
        unsigned n = 0;

        rwlock_read_lock(&m->i_mmap_lock);
        if (m->i_mmap.nr > most)
                VIEW_FOREACH (v, &m->i_mmap, index, index) {
                        n += m->cache->m_ops->shows(v, index);
                        if (n > most)
                                break;
                }
        rwlock_read_unlock(&m->i_mmap_lock);
        return n > most;
}

/* The first of a run is waited for: nothing is held then, and nobody would look at it a second time. Whoever
 * served a fault may still have the lock when the thread that was served asks for the page to go. */
static bool lock_in_run(struct page_cache *c, struct page *p, bool first)
{
        if (!first)
                return page_trylock(p);
        page_lock(c, p);
        return true;
}

/* The page locked, if it can go. */
static bool take(struct address_space *m, struct page *p, uint64_t index, unsigned most_shown,
                 bool first)
{
        if (page_state(p) != PAGE_CLEAN || !lock_in_run(m->cache, p, first))
                return false;
        if (page_state(p) == PAGE_CLEAN &&
            !(page_test(p, PG_MAPPED) && shown_by_more(m, index, most_shown)) &&
            !page_is_pinned(m->cache, p))
                return true;
        page_unlock(m->cache, p);
        return false;
}

/* The same of a page that is marked to go. */
static bool take_marked(struct address_space *m, struct page *p, bool first)
{
        struct page_cache *c = m->cache;
        enum page_state s;

        if (!page_test(p, PG_DROP) || page_state(p) != PAGE_CLEAN)
                return false;
        if (!lock_in_run(c, p, first))
                return false;
        s = page_state(p);
        if (s == PAGE_CLEAN && page_test(p, PG_DROP)) {
                if (!page_is_pinned(c, p))
                        return true;
                page_clear(p, PG_DROP);
        }
        page_unlock(c, p);
        return false;
}

/* Neighbours, locked and clean, whose leaf is pinned. How many have gone. */
static uint64_t evict_run(struct address_space *m, struct page *first, uint64_t index, unsigned nr)
{
        struct page_cache *c = m->cache;
        bool mapped = false, gone;

        for (unsigned i = 0; i < nr; i++) {
                page_start_evict(c, first + i);
                mapped |= page_test(first + i, PG_MAPPED);
        }
        if (mapped)
                mapping_zap(m, &(struct page_span){ index, nr }, 1);
        perturb_gap();
        gone = m->frames->ops->release(m->frames, index, nr) == 0;
        for (unsigned i = 0; i < nr; i++) {
                if (gone)
                        page_end_evict(c, first + i, false);
                else
                        page_cancel_evict(c, first + i);
                page_unlock(c, first + i);
        }
        trace_evicted(m, index, gone ? nr : 0, EVICT_ASKED);
        return gone ? nr : 0;
}

uint64_t evict_range(struct address_space *m, uint64_t first, uint64_t end, unsigned most_shown)
{
        uint64_t index = first, evicted = 0, stop;
        struct page *p;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                while (index < stop) {
                        unsigned nr = 0;

                        while (nr < RUN && index + nr < stop &&
                               take(m, p + nr, index + nr, most_shown, nr == 0))
                                nr++;
                        if (nr)
                                evicted += evict_run(m, p, index, nr);
                        p += nr ? nr : 1;
                        index += nr ? nr : 1;
                }
                put_page(m, leaf);
        }
        return evicted;
}

void evict_marked(struct address_space *m, uint64_t first, uint64_t end)
{
        uint64_t index = first, stop;
        struct page *p;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                while (index < stop) {
                        unsigned nr = 0;

                        while (nr < RUN && index + nr < stop && take_marked(m, p + nr, nr == 0))
                                nr++;
                        if (nr)
                                evict_run(m, p, index, nr);
                        p += nr ? nr : 1;
                        index += nr ? nr : 1;
                }
                put_page(m, leaf);
        }
}

bool range_is_pinned(struct address_space *m, uint64_t first, uint64_t end, uint64_t *index)
{
        uint64_t stop;
        bool pinned = false;
        struct page *p;

        *index = first;
        if (atomic_load(&m->i_mmap.nr_locked) == 0)
                return false;
        while (!pinned && (p = radix_next_part(&m->i_pages, index, end, &stop))) {
                struct page *leaf = p;

                for (; !pinned && *index < stop; ++*index, p++) {
                        if (!page_uptodate(p))
                                continue;
                        page_lock(m->cache, p);
                        pinned = page_uptodate(p) && page_is_pinned(m->cache, p);
                        page_unlock(m->cache, p);
                        if (pinned)
                                break;
                }
                put_page(m, leaf);
        }
        return pinned;
}

void cold_range(struct address_space *m, uint64_t first, uint64_t end, unsigned most_shown)
{
        uint64_t index = first, stop;
        struct page *p;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                for (; index < stop; index++, p++) {
                        if (!page_uptodate(p) || shown_by_more(m, index, most_shown))
                                continue;
                        page_clear(p, PG_REFERENCED);
                        lru_cold(m->cache, p, false);
                }
                put_page(m, leaf);
        }
}

void invalidate_range(struct address_space *m, uint64_t first, uint64_t end)
{
        uint64_t index = first, stop;
        struct page *p;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                for (; index < stop; index++, p++) {
                        if (!page_trylock(p))
                                continue;
                        if (page_state(p) == PAGE_CLEAN && !page_test(p, PG_MAPPED))
                                evict_run(m, p, index, 1);
                        else
                                page_unlock(m->cache, p);
                }
                put_page(m, leaf);
        }
}
