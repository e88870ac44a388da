/* SPDX-License-Identifier: Apache-2.0
 *
 * fsflush.c - dirty pages are written when their turn comes, not when they are old or many: Solaris's
 * fsflush (S33).
 *
 * A hand goes over all of memory in autoup seconds, a share of it at each wake. Memory is the budget:
 * the pages of all files, in the order in which the files came and then by page, and after them what is
 * free, which takes its time too. So a page waits for its turn at most autoup seconds, and half of that
 * in the mean. What lies in a row within one share is one write.
 *
 * Left out: pages that are clean and unmapped need not be released, they can go at any time; and there
 * are no inodes here that would have to be synced (fs/ does that with the data).
 */
#include "cache/filemap.h"

/* The first file of a number not below, in use; NULL: none. */
static struct address_space *file_at(struct page_cache *c, uint64_t number)
{
        struct address_space *m;

        mutex_lock(&c->lock);
        TAILQ_FOREACH (m, &c->mappings, link)
                if (m->number >= number && !m->swap_backed)
                        break;
        if (m)
                mapping_use(m);
        mutex_unlock(&c->lock);
        return m;
}

/* Of one leaf of the tree: pages in memory, and what is dirty of them is being written. *left: how many
 * may still be looked at. Returns the page to go on with. */
static uint64_t scan_leaf(struct address_space *m, struct page *p, uint64_t index, uint64_t stop,
                          uint64_t *left)
{
        uint64_t dirty = index, nr = 0;

        for (; index < stop && *left; index++, p++) {
                *left -= page_uptodate(p);
                if (page_state(p) == PAGE_DIRTY) {
                        dirty = nr ? dirty : index;
                        nr++;
                        continue;
                }
                if (nr)
                        writeback_start(m, dirty, dirty + nr, UINT64_MAX, 0, WB_PERIODIC, 0);
                nr = 0;
        }
        if (nr)
                writeback_start(m, dirty, dirty + nr, UINT64_MAX, 0, WB_PERIODIC, 0);
        return index;
}

/* Pages of the file from *index on; false: there are no more. */
static bool scan_file(struct address_space *m, uint64_t *index, uint64_t *left)
{
        uint64_t stop;
        struct page *p;

        if (mapping_write_failed(m))
                return false; /* in the next lap again */
        while (*left) {
                p = radix_next_part(&m->i_pages, index, UINT64_MAX, &stop);
                if (!p)
                        return false;
                *index = scan_leaf(m, p, *index, stop, left);
                put_page(m, p);
        }
        return true;
}

/* The hand goes over what is free. True: the lap is over, and the next begins. */
static bool pass_free(struct flush_hand *h, uint64_t memory, uint64_t *left)
{
        uint64_t step = min_u64(*left, memory > h->lap ? memory - h->lap : 0);

        *left -= step;
        h->lap += step;
        if (h->lap < memory)
                return false;
        *h = (struct flush_hand){ 0 };
        return true;
}

void fsflush_wake(struct page_cache *c)
{
        struct flush_hand *h = &c->flush_hand;
        uint64_t memory = (uint64_t)atomic_load(&c->budget.limit);
        uint64_t left = c->policy->flush_scan(&c->tune, memory);
        unsigned laps = 0;

        while (left && laps < 2) {
                struct address_space *m = file_at(c, h->number);
                uint64_t before = left;

                if (!m) { /* behind the last file */
                        laps += pass_free(h, memory, &left);
                        continue;
                }
                if (m->number != h->number)
                        h->index = 0;
                h->number = m->number;
                if (!scan_file(m, &h->index, &left)) {
                        h->number++;
                        h->index = 0;
                }
                h->lap += before - left;
                mapping_unuse(m);
        }
}
