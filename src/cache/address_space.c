/* SPDX-License-Identifier: Apache-2.0
 *
 * address_space.c - see address_space.h.
 */
#include "cache/address_space.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/cache.h"

#define PAGE_ENTRY_SHIFT 4
#define DROP_RUN 64 /* pages locked at once */
#define FOLIO_CACHE (128ull << 20)
_Static_assert(sizeof(struct page) == 1 << PAGE_ENTRY_SHIFT, "a leaf holds 256 pages");

/* Folios are of use to windows that are as large, which are those of a large cache, and they are a
 * question of permission. */
static int create_frames(struct address_space *m)
{
        uint64_t size = atomic_load(&m->host->i_size);

        if (!m->swap_backed && pages_of(size) >= folio_frames.folio &&
            m->cache->budget_bytes >= FOLIO_CACHE && folio_frames.create(&m->frames, size) == 0)
                return 0;
        return memfd_frames.create(&m->frames, size);
}

int mapping_create(struct page_cache *c, struct inode *inode)
{
        struct address_space *m = calloc(1, sizeof(*m));
        int error;

        mutex_assert_held(&c->open_lock);
        if (!m)
                return -ENOMEM;
        m->host = inode;
        m->object = inode->i_object;
        m->cache = c;
        m->swap_backed = inode->a_ops->swap_backed;
        radix_init(&m->i_pages, c->tables, PAGE_ENTRY_SHIFT);
        rwlock_init(&m->i_rwsem, LOCK_I_RWSEM);
        rwlock_init(&m->i_mmap_lock, LOCK_I_MMAP);
        error = create_frames(m);
        if (error) {
                free(m);
                return error;
        }
        inode->i_mapping = m;
        mutex_lock(&c->lock);
        m->number = ++c->nr_numbers;
        TAILQ_INSERT_TAIL(&c->mappings, m, link);
        mutex_unlock(&c->lock);
        return 0;
}

void mapping_destroy(struct address_space *m)
{
        struct page_cache *c = m->cache;
        uint32_t users;

        mutex_assert_held(&c->open_lock);
        lock_assert_may_sleep();
        assert(m->i_mmap.nr == 0);
        mutex_lock(&c->lock);
        TAILQ_REMOVE(&c->mappings, m, link);
        assert(atomic_load(&m->share) == 0);
        m->gone = true;
        mutex_unlock(&c->lock);
        users = atomic_fetch_or(&m->users, MAPPING_ENDS) | MAPPING_ENDS;
        for (; users != MAPPING_ENDS; users = atomic_load(&m->users))
                futex_wait(&m->users, users, 0);
        radix_destroy(&m->i_pages);
        m->frames->ops->destroy(m->frames);
        m->host->i_mapping = NULL;
        free(m);
}

struct address_space *page_mapping(struct page_cache *c, const struct page *p)
{
        return container_of(table_header_of(c->tables, p)->owner, struct address_space, i_pages);
}

uint64_t page_index(struct page_cache *c, const struct page *p)
{
        return radix_index(&page_mapping(c, p)->i_pages, p);
}

void mapping_zap(struct address_space *m, const struct page_span *spans, unsigned nr_spans)
{
        struct zap_batch batch = { .nr = 0 };
        struct mapping_view *v;

        for (unsigned i = 0; i < nr_spans; i++)
                lock_assert_held_of(LOCK_PAGE, spans[i].nr);
        rwlock_read_lock(&m->i_mmap_lock);
        for (unsigned i = 0; i < nr_spans; i++) {
                uint64_t end = spans[i].index + spans[i].nr - 1;

                VIEW_FOREACH (v, &m->i_mmap, spans[i].index, end) {
                        uint64_t first = max_u64(v->first, spans[i].index);
                        uint64_t last = min_u64(v->last, end);

                        m->cache->m_ops->zap_run(m->cache, v, first, last - first + 1, &batch);
                }
        }
        /* The addresses in the batch are good only while no mapping can go. */
        m->cache->m_ops->zap_flush(m->cache, &batch);
        rwlock_read_unlock(&m->i_mmap_lock);
}

void mapping_unuse(struct address_space *m)
{
        /* The word may be gone as soon as nobody is left: futex_wake takes only its address. */
        if (atomic_fetch_sub(&m->users, 1) == (MAPPING_ENDS | 1))
                futex_wake(&m->users, 1);
}

int mapping_protect(struct address_space *m, uint64_t index, uint64_t nr)
{
        struct mapping_view *v;
        int error = 0, r;

        lock_assert_below(LOCK_PAGE); /* many pages, each in WRITEBACK: none is locked */
        rwlock_read_lock(&m->i_mmap_lock);
        VIEW_FOREACH (v, &m->i_mmap, index, index + nr - 1) {
                uint64_t first = max_u64(v->first, index);
                uint64_t last = min_u64(v->last, index + nr - 1);

                r = m->cache->m_ops->protect_run(m->cache, v, first, last - first + 1);
                error = error ? error : r;
        }
        rwlock_read_unlock(&m->i_mmap_lock);
        return error;
}

static void wait_state(struct address_space *m, struct page *p, bool (*busy)(uint32_t))
{
        struct waiter w;

        waiter_init_sync(&w);
        if (page_wait_add(m->cache, p, &w, busy))
                waiter_sleep(&w, 0);
}

/* Takes one page out of the cache whatever it holds; true: there was something. => pinned */
static bool drop_page(struct address_space *m, struct page *p, uint64_t index)
{
        struct page_cache *c = m->cache;
        bool held = false;

        for (;;) {
                page_lock(c, p);
                switch (page_state(p)) {
                case PAGE_READING:
                case PAGE_WRITEBACK:
                case PAGE_EVICTING: {
                        bool reading = page_state(p) != PAGE_WRITEBACK;

                        page_unlock(c, p);
                        wait_state(m, p, reading ? page_busy_reading : page_busy_writeback);
                        continue;
                }
                case PAGE_DIRTY:
                        page_cancel_dirty(c, p);
                        __attribute__((fallthrough));
                case PAGE_CLEAN:
                        page_start_evict(c, p);
                        if (page_test(p, PG_MAPPED))
                                mapping_zap(m, &(struct page_span){ index, 1 }, 1);
                        m->frames->ops->release(m->frames, index, 1);
                        page_end_evict(c, p, false);
                        held = true;
                        break;
                case PAGE_ERROR:
                        page_forget_error(c, p);
                        break;
                case PAGE_ABSENT:
                        break;
                }
                if (m->host->a_ops->freepage)
                        m->host->a_ops->freepage(m->host, index);
                page_unlock(c, p);
                return held;
        }
}

/* The same of those pages from p on that can go at once, `most` at the most: one call takes what is shown
 * of them, one gives their frames back. How many. */
static unsigned drop_run(struct address_space *m, struct page *p, uint64_t index, uint64_t most)
{
        struct page_cache *c = m->cache;
        bool mapped = false;
        unsigned nr = 0;

        for (; nr < most && nr < DROP_RUN && page_trylock(p + nr); nr++) {
                enum page_state s = page_state(p + nr);

                if (s != PAGE_CLEAN && s != PAGE_DIRTY) {
                        page_unlock(c, p + nr);
                        break;
                }
                if (s == PAGE_DIRTY)
                        page_cancel_dirty(c, p + nr);
                page_start_evict(c, p + nr);
                mapped |= page_test(p + nr, PG_MAPPED);
        }
        if (mapped)
                mapping_zap(m, &(struct page_span){ index, nr }, 1);
        if (nr)
                m->frames->ops->release(m->frames, index, nr);
        for (unsigned i = 0; i < nr; i++) {
                page_end_evict(c, p + i, false);
                if (m->host->a_ops->freepage)
                        m->host->a_ops->freepage(m->host, index + i);
                page_unlock(c, p + i);
        }
        return nr;
}

void drop_pages(struct address_space *m, uint64_t index, uint64_t end)
{
        struct page *p;
        uint64_t stop;

        while ((p = radix_next_part(&m->i_pages, &index, end, &stop))) {
                struct page *first = p;

                while (index < stop) {
                        unsigned nr = drop_run(m, p, index, stop - index);

                        trace_evicted(m, index, nr, EVICT_DROPPED);
                        if (nr == 0) {
                                trace_evicted(m, index, drop_page(m, p, index), EVICT_DROPPED);
                                nr = 1;
                        }
                        index += nr;
                        p += nr;
                }
                put_page(m, first);
        }
}

int drop_index(struct address_space *m, uint64_t index)
{
        struct page *p = grab_page(m, index);

        if (!p)
                return -ENOMEM;
        if (drop_page(m, p, index))
                trace_evicted(m, index, 1, EVICT_DROPPED);
        put_page(m, p);
        return 0;
}

bool mapping_write_failed(struct address_space *m)
{
        uint64_t at = atomic_load(&m->failed_at);

        return at && now_ns() - at < 1000000000ull;
}

#ifndef NDEBUG
int mapping_check(struct address_space *m)
{
        uint64_t index = 0, pages = 0, dirty = 0, writeback = 0;
        struct page *p;

        while ((p = radix_next(&m->i_pages, &index, UINT64_MAX, false))) {
                uint64_t end = radix_leaf_end(&m->i_pages, index);
                struct page *first = p;

                for (; index < end; index++, p++) {
                        enum page_state s = page_state(p);

                        page_check(m->cache, p);
                        pages += s != PAGE_ABSENT && s != PAGE_ERROR;
                        dirty += s == PAGE_DIRTY;
                        writeback += s == PAGE_WRITEBACK;
                }
                put_page(m, first);
        }
        if (pages == atomic_load(&m->nr_pages) && dirty == atomic_load(&m->nr_dirty) &&
            writeback == atomic_load(&m->nr_writeback))
                return 0;
        fprintf(stderr,
                "faultline: %s: counted %llu pages, %llu dirty, %llu in write-back; "
                "kept %llu, %llu, %llu\n",
                m->host->name, (unsigned long long)pages, (unsigned long long)dirty,
                (unsigned long long)writeback, (unsigned long long)atomic_load(&m->nr_pages),
                (unsigned long long)atomic_load(&m->nr_dirty),
                (unsigned long long)atomic_load(&m->nr_writeback));
        return -EINVAL;
}
#endif
