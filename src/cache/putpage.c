/* SPDX-License-Identifier: Apache-2.0
 *
 * putpage.c - pages of files that are asked to go, by whoever cannot or will not wait: Solaris's
 * VOP_PUTPAGE with B_ASYNC and B_INVAL or B_FREE (S20).
 *
 * A clean page goes at once; a dirty one is written first, and goes when that is done: never a byte is
 * lost. Each carries PG_DROP until then, and its file remembers between which pages there are such
 * marks. The flusher goes there when it is kicked, and once more when a write has ended; so a fault may
 * ask too, which only sets the marks. What is locked in memory, or stored to again meanwhile, stays,
 * and its mark goes.
 */
#include "cache/filemap.h"
#include "util/perturb.h"

/* There may be marks between these pages. */
static void note(struct address_space *m, uint64_t first, uint64_t end)
{
        struct page_cache *c = m->cache;
        uint64_t old_end;

        mutex_lock(&c->drop_lock);
        old_end = atomic_load(&m->drop_end);
        if (old_end == 0 || first < atomic_load(&m->drop_first))
                atomic_store(&m->drop_first, first);
        atomic_store(&m->drop_end, max_u64(end, old_end));
        mutex_unlock(&c->drop_lock);
        atomic_store(&c->drops, true);
        flusher_kick(c);
}

static bool take_note(struct address_space *m, uint64_t *first, uint64_t *end)
{
        mutex_lock(&m->cache->drop_lock);
        *first = atomic_load(&m->drop_first);
        *end = atomic_exchange(&m->drop_end, 0);
        mutex_unlock(&m->cache->drop_lock);
        return *end;
}

void putpage_range(struct address_space *m, uint64_t first, uint64_t end)
{
        uint64_t index = first, stop;
        struct page *p;
        bool any = false;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                for (; index < stop; index++, p++)
                        if (page_uptodate(p)) {
                                page_set(p, PG_DROP);
                                any = true;
                        }
                put_page(m, leaf);
        }
        perturb_gap();
        if (any)
                note(m, first, end);
}

void putpage_written(struct address_space *m, uint64_t index, uint64_t nr)
{
        note(m, index, index + nr);
}

static bool is_marked_dirty(const struct page *p)
{
        uint32_t w = page_word(p);

        return page_state_of(w) == PAGE_DIRTY && (w & PG_DROP);
}

/* What of it is dirty is on its way to the disk, neighbours in one run. */
static void write_marked(struct address_space *m, uint64_t first, uint64_t end)
{
        uint64_t index = first, stop;
        struct page *p;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *leaf = p;

                while (index < stop) {
                        uint64_t nr = 0;

                        while (index + nr < stop && is_marked_dirty(p + nr))
                                nr++;
                        if (nr)
                                writeback_start(m, index, index + nr, UINT64_MAX, 0, WB_DROP, 0);
                        p += nr ? nr : 1;
                        index += nr ? nr : 1;
                }
                put_page(m, leaf);
        }
}

/* The next file after `prev` with marks, in use; NULL: none. */
static struct address_space *next_noted(struct page_cache *c, struct address_space *prev)
{
        struct address_space *m;

        mutex_lock(&c->lock);
        /* If the link of prev is stale: from the front, where none has marks any more. */
        m = prev && !prev->gone ? TAILQ_NEXT(prev, link) : TAILQ_FIRST(&c->mappings);
        while (m && atomic_load(&m->drop_end) == 0)
                m = TAILQ_NEXT(m, link);
        if (m)
                mapping_use(m);
        mutex_unlock(&c->lock);
        return m;
}

void putpage_serve(struct page_cache *c)
{
        struct address_space *m = NULL, *next;
        uint64_t first, end;

        if (!atomic_exchange(&c->drops, false))
                return;
        while ((next = next_noted(c, m))) {
                if (m)
                        mapping_unuse(m);
                m = next;
                if (!take_note(m, &first, &end))
                        continue;
                evict_marked(m, first, end);
                write_marked(m, first, end);
        }
        if (m)
                mapping_unuse(m);
}
