/* SPDX-License-Identifier: Apache-2.0
 *
 * lru.c - the lists that reclaim takes pages from, oldest first: one of the pages of files, one of
 * shmem's. A page knows its neighbours by their numbers in the pool of tables.
 */
#include <assert.h>

#include "cache/cache.h"

#define KEEP_MAX 256 /* pages passed over in one go, with lru.lock held */

static struct page *page_at(struct page_cache *c, uint32_t number)
{
        return (struct page *)c->tables->base + (number - 1);
}

static uint32_t number_of(struct page_cache *c, const struct page *p)
{
        return (uint32_t)(p - (struct page *)c->tables->base) + 1;
}

static struct lru *lru_of(struct page_cache *c, const struct page *p)
{
        return page_mapping(c, p)->swap_backed ? &c->shm_lru : &c->lru;
}

static void link_locked(struct page_cache *c, struct lru *l, struct page *p)
{
        uint32_t n = number_of(c, p);

        mutex_assert_held(&l->lock);
        p->lru_prev = l->tail;
        p->lru_next = 0;
        if (l->tail)
                page_at(c, l->tail)->lru_next = n;
        else
                l->head = n;
        l->tail = n;
        atomic_fetch_add(&l->nr, 1);
}

void lru_add(struct page_cache *c, struct page *p)
{
        struct lru *l = lru_of(c, p);

        mutex_lock(&l->lock);
        /* A page on its way out is not put back by somebody who only looked at it. */
        if (page_uptodate(p) && !page_set(p, PG_LRU))
                link_locked(c, l, p);
        mutex_unlock(&l->lock);
}

static void unlink_locked(struct page_cache *c, struct lru *l, struct page *p)
{
        mutex_assert_held(&l->lock);
        if (p->lru_prev)
                page_at(c, p->lru_prev)->lru_next = p->lru_next;
        else
                l->head = p->lru_next;
        if (p->lru_next)
                page_at(c, p->lru_next)->lru_prev = p->lru_prev;
        else
                l->tail = p->lru_prev;
        page_clear(p, PG_LRU);
        atomic_fetch_sub(&l->nr, 1);
}

void lru_remove(struct page_cache *c, struct page *p)
{
        struct lru *l = lru_of(c, p);

        mutex_lock(&l->lock);
        if (page_test(p, PG_LRU))
                unlink_locked(c, l, p);
        mutex_unlock(&l->lock);
}

void lru_cold(struct page_cache *c, struct page *p)
{
        struct lru *l = lru_of(c, p);
        uint32_t n = number_of(c, p);

        mutex_lock(&l->lock);
        if (page_test(p, PG_LRU) && l->head != n) {
                unlink_locked(c, l, p);
                page_set(p, PG_LRU);
                p->lru_prev = 0;
                p->lru_next = l->head;
                if (l->head)
                        page_at(c, l->head)->lru_prev = n;
                else
                        l->tail = n;
                l->head = n;
                atomic_fetch_add(&l->nr, 1);
        }
        mutex_unlock(&l->lock);
}

/* Has the file no more pages left than are its own? => evict_lock */
static bool within_share(struct address_space *m)
{
        uint64_t share = atomic_load(&m->share);

        return share && atomic_load(&m->nr_pages) <= share + m->nr_taken;
}

unsigned lru_take(struct page_cache *c, struct lru *l, struct page **out, unsigned max,
                  unsigned *kept)
{
        unsigned n = 0;

        mutex_assert_held(&c->evict_lock);
        *kept = 0;
        mutex_lock(&l->lock);
        while (n < max && l->head && *kept < KEEP_MAX) {
                struct page *p = page_at(c, l->head);
                struct address_space *m = page_mapping(c, p);

                unlink_locked(c, l, p);
                if (within_share(m)) {
                        page_set(p, PG_LRU);
                        link_locked(c, l, p);
                        ++*kept;
                        continue;
                }
                mapping_use(m);
                radix_pin(&m->i_pages, p);
                m->nr_taken++;
                out[n++] = p;
        }
        mutex_unlock(&l->lock);
        return n;
}
