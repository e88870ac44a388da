/* SPDX-License-Identifier: Apache-2.0
 *
 * error.c - what went wrong with a file and has not been forgotten: the last failed write-back, which
 * msync, fsync and close report once to each open file, and the first since fl_error_clear, which
 * fl_error tells as often as it is asked.
 */
#include "cache/filemap.h"

/* Of address_space.failure: nobody's, being filled in, to be read. */
enum { FAILURE_NONE, FAILURE_COMING, FAILURE_THERE };

void note_write_error(struct address_space *m, int error, uint64_t index, uint64_t nr)
{
        uint32_t none = FAILURE_NONE;

        if (atomic_compare_exchange_strong(&m->failure, &none, FAILURE_COMING)) {
                m->failure_error = -error;
                m->failure_index = index;
                m->failure_nr = nr;
                atomic_store(&m->failure, FAILURE_THERE);
        }
        atomic_store(&m->wb_error, error);
        atomic_fetch_add(&m->wb_seq, 1);
        atomic_store(&m->failed_at, now_ns());
}

static bool still_dirty(struct address_space *m)
{
        uint64_t end = m->failure_index + m->failure_nr;

        if (!m->failure_nr)
                return atomic_load(&m->nr_dirty);
        for (uint64_t i = m->failure_index; i < end; i++) {
                struct page *p = find_page(m, i);
                enum page_state s = p ? page_state(p) : PAGE_ABSENT;

                if (p)
                        put_page(m, p);
                if (s == PAGE_DIRTY || s == PAGE_WRITEBACK)
                        return true;
        }
        return false;
}

/* Does it concern pages of [first, end)? A failed flush concerns all of them. */
static bool concerns(const struct address_space *m, uint64_t first, uint64_t end)
{
        return !m->failure_nr ||
               (m->failure_index < end && first < m->failure_index + m->failure_nr);
}

int find_write_error(struct address_space *m, uint64_t first, uint64_t end, uint64_t *index,
                     bool *dirty)
{
        if (atomic_load(&m->failure) != FAILURE_THERE || !concerns(m, first, end))
                return 0;
        *index = m->failure_nr ? max_u64(first, m->failure_index) : first;
        *dirty = still_dirty(m);
        return m->failure_error;
}

void forget_write_error(struct address_space *m, uint64_t first, uint64_t end)
{
        if (atomic_load(&m->failure) != FAILURE_THERE || !concerns(m, first, end))
                return;
        atomic_store(&m->failed_at, 0); /* to be tried again at once */
        atomic_store(&m->failure, FAILURE_NONE);
        flusher_kick(m->cache);
}

void forget_read_error(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);

        if (!p)
                return;
        page_lock(m->cache, p);
        if (page_state(p) == PAGE_ERROR)
                page_forget_error(m->cache, p);
        page_unlock(m->cache, p);
        put_page(m, p);
}
