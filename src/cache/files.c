/* SPDX-License-Identifier: Apache-2.0
 *
 * files.c - the cache's files one by one, and what is in memory of each: for those who look, who may
 * take their time and hold nobody up.
 */
#include "cache/cache.h"

/* => c->lock */
static struct address_space *behind(struct page_cache *c, const struct address_space *m)
{
        struct address_space *next = TAILQ_FIRST(&c->mappings);

        mutex_assert_held(&c->lock);
        if (m && !m->gone)
                return TAILQ_NEXT(m, link);
        while (next && m && next->number <= m->number)
                next = TAILQ_NEXT(next, link);
        return next;
}

struct address_space *mapping_next(struct page_cache *c, struct address_space *m)
{
        struct address_space *next;

        mutex_lock(&c->lock);
        next = behind(c, m);
        if (next)
                mapping_use(next);
        mutex_unlock(&c->lock);
        if (m)
                mapping_unuse(m);
        return next;
}

uint64_t mapping_resident(struct address_space *m, uint64_t index, uint64_t nr, uint64_t each,
                          uint64_t *parts)
{
        uint64_t at = index, end = index + nr, stop, found = 0;
        struct page *first;

        while ((first = radix_next_part(&m->i_pages, &at, end, &stop))) {
                struct page *p = first;

                for (; at < stop; at++, p++) {
                        if (!page_uptodate(p))
                                continue;
                        found++;
                        if (parts)
                                parts[(at - index) / each]++;
                }
                put_page(m, first);
        }
        return found;
}
