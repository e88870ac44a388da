/* SPDX-License-Identifier: Apache-2.0
 *
 * share.c - a file's share of the budget: so many of its pages stay, whatever else is read.
 *
 * A mapping asks for a share; a file has the largest that any of its mappings asks for, and loses it
 * with the last of them. Reclaim passes over the pages of a file that has no more than its share
 * (reclaim.c). What a file does not use of its share others may have until it does.
 *
 * All shares together leave room for the rest of the world: more than the watermarks of reclaim, so
 * that there is always a page that it may take. Private copies stay out of what is promised.
 */
#include <errno.h>

#include "cache/cache.h"

#define REST_MIN 16 /* pages */

static int64_t rest_of(int64_t limit)
{
        return limit / 8 > REST_MIN ? limit / 8 : REST_MIN;
}

bool shares_fit(struct page_cache *c, int64_t shares, int64_t limit)
{
        int64_t copies = atomic_load(&c->budget.private_pages);

        return shares == 0 || shares + copies <= limit - rest_of(limit);
}

/* The largest that a mapping asks for. => i_mmap_lock */
static uint64_t wanted(struct address_space *m)
{
        struct mapping_view *v;
        uint64_t most = 0;

        rwlock_assert_held(&m->i_mmap_lock);
        VIEW_FOREACH (v, &m->i_mmap, 0, UINT64_MAX)
                most = max_u64(most, v->share);
        return most;
}

int share_update(struct address_space *m)
{
        struct page_cache *c = m->cache;
        struct budget *b = &c->budget;
        uint64_t share, old;
        int64_t sum;
        int error = 0;

        rwlock_read_lock(&m->i_mmap_lock);
        share = wanted(m);
        mutex_lock(&c->lock);
        old = atomic_load(&m->share);
        sum = atomic_load(&b->shares) - (int64_t)old + (int64_t)share;
        if (share > old && !shares_fit(c, sum, atomic_load(&b->limit))) {
                error = -ENOMEM;
        } else {
                atomic_store(&m->share, share);
                atomic_store(&b->shares, sum);
        }
        mutex_unlock(&c->lock);
        rwlock_read_unlock(&m->i_mmap_lock);
        if (share < old)
                budget_reconsider(c);
        return error;
}
