/* SPDX-License-Identifier: Apache-2.0
 *
 * shmem.c - what the cache does otherwise for files that are memory (fs/shmem.h).
 *
 * Their pages are on a list of their own, and their dirty ones count among the private pages: neither
 * can be evicted, only swapped out, and the same limits keep both from taking all of the budget. The
 * reclaimer alone sends them away, and nothing else writes them: no flusher, msync or close, and no
 * dirty limit holds those who store to them.
 */
#include "fs/shmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cache/filemap.h"

#define WILLNEED_ROW 32 /* pages asked for at once */

int shmem_file_setup(struct page_cache *c, uint64_t bytes, struct file **out)
{
        struct inode *inode;
        int error;

        if (!c->shmem)
                return -ENODEV;
        mutex_lock(&c->open_lock);
        error = shmem_new_inode(c->shmem, bytes, &inode);
        if (!error) {
                error = file_open(c, inode, O_RDWR, 0, out);
                if (error)
                        inode_put(inode);
        }
        mutex_unlock(&c->open_lock);
        return error;
}

int64_t shmem_exist(struct page_cache *c)
{
        return c->shmem ? shmem_pages(c->shmem) : 0;
}

int64_t shmem_swapped(struct page_cache *c)
{
        return c->shmem ? shmem_slots(c->shmem) : 0;
}

uint32_t shmem_can_write(struct page_cache *c)
{
        return c->shmem ? shmem_room(c->shmem) : 0;
}

bool page_holds_memory(struct address_space *m, uint64_t index)
{
        return shmem_holds(m->host, index);
}

bool page_is_swapped(struct address_space *m, uint64_t index)
{
        return m->host->a_ops->bmap(m->host, index) != 0;
}

/* Neighbours, in the file and in their slots, that lie in one window with the page. */
struct ra_window shmem_window(struct address_space *m, uint64_t index)
{
        uint64_t max = m->cache->policy->swap_window;
        uint64_t low = index - index % max, end = min_u64(low + max, mapping_pages(m));

        /* The row that the page is in begins at or behind the window's start. */
        while (low < index && low + shmem_row(m->host, low, end) <= index)
                low++;
        return (struct ra_window){ .start = low,
                                   .nr = shmem_row(m->host, low, end),
                                   .why = RA_SWAP };
}

static bool is_absent(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);
        bool absent = !p || page_state(p) == PAGE_ABSENT;

        if (p)
                put_page(m, p);
        return absent;
}

/* Reads the row that begins with page `first`, as far as there is memory to read with. The page behind
 * what is being read now, or was here. */
static uint64_t read_row(struct file *f, uint64_t first, uint64_t end, struct blk_plug *plug)
{
        struct address_space *m = f->mapping;
        struct ra_window win = { .start = first, .why = RA_FORCED };
        uint64_t stop;

        win.nr = shmem_row(m->host, first, min_u64(first + WILLNEED_ROW, end));
        if (win.nr == 0) /* it is in memory only */
                return first + 1;
        do_page_cache_ra(f, &win, UINT64_MAX, 0, 0, plug);
        for (stop = first + win.nr; first < stop && !is_absent(m, first);)
                first++;
        return first;
}

void shmem_willneed(struct file *f, uint64_t first, uint64_t end)
{
        struct page_cache *c = f->mapping->cache;
        struct blk_plug plug;

        end = min_u64(end, mapping_pages(f->mapping));
        blk_start_plug(&plug);
        while ((first = shmem_next(f->mapping->host, first, end)) < end) {
                uint64_t next;

                if (budget_free(c) <= atomic_load(&c->budget.low))
                        break; /* it would take the place of what is in use */
                next = read_row(f, first, end, &plug);
                if (next == first) {
                        struct wait_on on = { .kind = WAIT_STAGING };

                        if (staging_available(&c->staging, false))
                                break; /* it is not that */
                        blk_finish_plug(&plug);
                        wait_on(c, &on);
                        blk_start_plug(&plug);
                }
                first = next;
        }
        blk_finish_plug(&plug);
}

uint64_t shmem_pageout(struct address_space *m, uint64_t first, uint64_t end, unsigned most_shown)
{
        uint32_t room = shmem_can_write(m->cache);

        if (room) {
                writeback_start(m, first, end, room, REQ_SYNC, WB_RECLAIM, 0);
                writeback_wait(m, first, end);
        }
        return evict_range(m, first, end, most_shown);
}

int shmem_punch(struct file *f, uint64_t first, uint64_t end)
{
        struct address_space *m = f->mapping;
        int error = 0;

        end = min_u64(end, mapping_pages(m));
        rwlock_write_lock(&m->i_rwsem);
        drop_pages(m, first, end);
        /* What is in the swap area only. */
        for (uint64_t i = first; !error && (i = shmem_next(m->host, i, end)) < end; i++)
                error = drop_index(m, i);
        rwlock_write_unlock(&m->i_rwsem);
        return error;
}

#ifndef NDEBUG
/* Each page that holds something holds it somewhere. */
static int check_file(struct address_space *m, int64_t *pages, int64_t *slots)
{
        uint64_t end = mapping_pages(m);

        shmem_count(m->host, pages, slots);
        for (uint64_t i = 0; (i = shmem_next(m->host, i, end)) < end; i++) {
                struct page *p = find_page(m, i);
                bool dirty = p && page_state(p) == PAGE_DIRTY;

                if (p)
                        put_page(m, p);
                if (dirty || page_is_swapped(m, i))
                        continue;
                fprintf(stderr, "faultline: shmem: page %llu is lost\n", (unsigned long long)i);
                return -EINVAL;
        }
        return 0;
}

int shmem_check(struct page_cache *c)
{
        int64_t pages = 0, slots = 0;
        struct address_space *m;
        int error = 0;

        mutex_assert_held(&c->lock);
        TAILQ_FOREACH (m, &c->mappings, link)
                if (m->swap_backed && check_file(m, &pages, &slots))
                        error = -EINVAL;
        if (pages != shmem_exist(c) || slots != shmem_swapped(c)) {
                fprintf(stderr,
                        "faultline: shmem: %lld pages and %lld slots counted, %lld and %lld "
                        "kept\n",
                        (long long)pages, (long long)slots, (long long)shmem_exist(c),
                        (long long)shmem_swapped(c));
                error = -EINVAL;
        }
        return error;
}
#endif
