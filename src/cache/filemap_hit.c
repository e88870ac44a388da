/* SPDX-License-Identifier: Apache-2.0
 *
 * filemap_hit.c - fl_pread of pages that are in memory and in use: no lock, no pin, no system call.
 *
 * It looks at the page, copies, and looks again. What makes the copy worthless meanwhile leaves a mark
 * before it begins: the page's changes (it is evicted, or fl_pwrite comes: page.h), the tree's shape (the
 * page's table goes), the frames' map (the file becomes shorter), resizes (its size has changed, and what
 * belongs behind its old or new end is not there yet). Stores to a mapping are not waited for by
 * read(2) either. Then, and for all that a reader has to tell others (the first use of a page, a marker,
 * a policy that wants to know of reads, a trace), filemap_read() does it in its own way.
 *
 * Nothing is held while the program's memory is touched, which may be a mapping of the same page.
 * Async-signal-safe, so that no signal need wait for it.
 */
#include <string.h>

#include "cache/filemap.h"
#include "util/perturb.h"

#define TABLES_SHARE 256 /* of the budget may be page tables of no use (frame_map.h), and a few */
#define TABLES_FEW 16
/* By so much less than a whole round the changes of all pages may go on while one is read. */
#define CHANGES_MOST (PG_CHANGES / PG_CHANGE / 2)

/* Up to date, nobody has it in hand, and that it is used is known. */
static bool simple(uint32_t word)
{
        const uint32_t look = PG_LOCKED | PG_MARKER | PG_READAHEAD | PG_REFERENCED;
        enum page_state s = page_state_of(word);

        return (word & look) == PG_REFERENCED &&
               (s == PAGE_CLEAN || s == PAGE_DIRTY || s == PAGE_WRITEBACK);
}

/* n bytes within one page, before the file's end as it was at `resizes`. False: what is in buf is worth
 * nothing. */
static bool copy_hit(struct address_space *m, char *buf, size_t n, uint64_t pos, uint64_t resizes)
{
        const struct frame_map *map = &m->frames->map;
        uint64_t seq, bytes, shape, changes;
        const char *base = frame_map_base(map, &seq, &bytes);
        const struct page *p;
        uint32_t word;

        if (!base || pos + n > bytes)
                return false;
        p = radix_peek(&m->i_pages, pos >> PAGE_SHIFT, &shape);
        if (!p)
                return false;
        changes = atomic_load_explicit(&m->changes, memory_order_acquire);
        word = page_word(p);
        if (!simple(word))
                return false;
        perturb_gap();
        memcpy(buf, base + pos, n);
        perturb_gap();
        memory_fence(memory_order_acquire);
        return ((page_word(p) ^ word) & PG_CHANGES) == 0 && radix_unchanged(&m->i_pages, shape) &&
               frame_map_held(map, seq) && atomic_load(&m->changes) - changes < CHANGES_MOST &&
               atomic_load(&m->resizes) == resizes;
}

/* Does anybody want to be told? */
static bool is_watched(const struct page_cache *c)
{
        return c->policy->read_hit || c->policy->read_behind || trace_wanted(c->trace, READ_ITER) ||
               trace_wanted(c->trace, FIND_GET_PAGE);
}

bool filemap_read_hits(struct file *f, char *buf, size_t count, uint64_t pos, size_t *done)
{
        struct address_space *m = f->mapping;
        uint64_t resizes = atomic_load(&m->resizes), size = atomic_load(&m->host->i_size);

        *done = 0;
        if (is_watched(m->cache) || (resizes & 1) || pos >= size)
                return false;
        count = min_u64(count, size - pos);
        while (*done < count) {
                uint64_t at = pos + *done;
                size_t n = min_u64(PAGE_SIZE - (at & (PAGE_SIZE - 1)), count - *done);

                if (!copy_hit(m, buf + *done, n, at, resizes))
                        break;
                *done += n;
        }
        if (*done)
                atomic_store_explicit(&f->ra.prev_pos, (int64_t)(pos + *done - 1),
                                      memory_order_relaxed);
        return *done == count;
}

void filemap_expect_hits(struct file *f, uint64_t end)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        uint64_t pages = (uint64_t)atomic_load(&c->budget.limit);

        rwlock_assert_held(&m->i_rwsem);
        if (!is_watched(c))
                frame_map_want(&m->frames->map, m->frames->ops->fd(m->frames), end,
                               atomic_load(&m->host->i_size), atomic_load(&m->i_pages.freed),
                               pages / TABLES_SHARE + TABLES_FEW);
}
