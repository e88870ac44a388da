/* SPDX-License-Identifier: Apache-2.0
 *
 * lru.c - the lists that reclaim takes pages from: one set of them for the pages of files, one for
 * shmem's. The algorithm is the policy's (policy/reclaim.h), to which a page is its number in the pool of
 * tables; here is what keeps list and page together.
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/cache.h"

#define KEEP_MAX 256 /* pages passed over in one go, with lru.lock held */

static struct page *page_at(const struct lru *l, uint32_t number)
{
        return container_of(reclaim_node(&l->pages, number), struct page, lru);
}

static uint32_t number_of(const struct lru *l, const struct page *p)
{
        return reclaim_number(&l->pages, &p->lru);
}

static struct lru *lru_of(struct page_cache *c, const struct page *p)
{
        return page_mapping(c, p)->swap_backed ? &c->shm_lru : &c->lru;
}

/* Ghosts are touched by and by, as pages go: memory of the kernel's that costs nothing before. */
int lru_init(struct page_cache *c, struct lru *l, uint64_t memory)
{
        size_t bytes = reclaim_ghost_bytes(c->policy->reclaim, memory);
        void *ghosts = NULL;

        mutex_init(&l->lock, LOCK_LRU);
        if (bytes) {
                ghosts = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
                if (ghosts == MAP_FAILED)
                        return -ENOMEM;
                madvise(ghosts, bytes, MADV_DONTDUMP);
        }
        l->ghost_bytes = bytes;
        reclaim_init(&l->pages, c->policy->reclaim,
                     (char *)c->tables->base + offsetof(struct page, lru), sizeof(struct page),
                     memory, ghosts);
        if (c->policy->scan)
                l->pages.own[0] = c->policy->scan->levels(&c->tune, memory, c->page_pages).spread;
        return 0;
}

void lru_destroy(struct lru *l)
{
        if (l->pages.ghosts.entry)
                munmap(l->pages.ghosts.entry, l->ghost_bytes);
}

static struct reclaim_page seen_of(uint32_t word)
{
        return (struct reclaim_page){
                .referenced = word & PG_REFERENCED,
                .mapped = word & PG_MAPPED,
                .readahead = word & PG_READAHEAD,
                .asked = word & PG_ASKED,
        };
}

static uint64_t key_of(struct page_cache *c, const struct page *p)
{
        return reclaim_key((uintptr_t)page_mapping(c, p), page_index(c, p));
}

void lru_add(struct page_cache *c, struct page *p)
{
        struct lru *l = lru_of(c, p);
        struct reclaim_page seen = seen_of(page_word(p));
        uint64_t key = key_of(c, p);
        bool workingset = false;

        mutex_lock(&l->lock);
        if (page_uptodate(p) && !page_set(p, PG_LRU))
                workingset = l->pages.ops->added(&l->pages, number_of(l, p), &seen, key);
        mutex_unlock(&l->lock);
        if (workingset)
                page_set(p, PG_WORKINGSET);
}

void lru_put_back(struct page_cache *c, struct page *p, bool looked)
{
        struct lru *l = lru_of(c, p);

        mutex_lock(&l->lock);
        /* A page on its way out is not put back by somebody who only looked at it. */
        if (page_uptodate(p) && !page_set(p, PG_LRU))
                (looked ? reclaim_put_back : reclaim_pass)(&l->pages, number_of(l, p));
        mutex_unlock(&l->lock);
}

void lru_remove(struct page_cache *c, struct page *p)
{
        struct lru *l = lru_of(c, p);

        mutex_lock(&l->lock);
        if (page_clear(p, PG_LRU))
                reclaim_unlink(&l->pages, number_of(l, p));
        mutex_unlock(&l->lock);
}

void lru_cold(struct page_cache *c, struct page *p, bool first)
{
        struct lru *l = lru_of(c, p);

        mutex_lock(&l->lock);
        if (page_test(p, PG_LRU))
                reclaim_cold(&l->pages, number_of(l, p), first);
        mutex_unlock(&l->lock);
}

bool lru_look(struct page_cache *c, struct page *p, uint32_t word, unsigned shared,
              enum reclaim_choice *choice)
{
        struct lru *l = lru_of(c, p);
        struct reclaim_page seen = seen_of(word);
        bool ours;

        page_assert_locked(p);
        seen.shared = shared;
        mutex_lock(&l->lock);
        ours = !page_test(p, PG_LRU);
        if (ours)
                *choice = l->pages.ops->look(&l->pages, number_of(l, p), &seen);
        mutex_unlock(&l->lock);
        return ours;
}

void lru_evicted(struct page_cache *c, struct page *p)
{
        struct lru *l = lru_of(c, p);
        struct reclaim_page seen = seen_of(page_word(p));
        uint64_t key = key_of(c, p);

        page_assert_locked(p);
        if (!l->pages.ops->evicted)
                return;
        mutex_lock(&l->lock);
        l->pages.ops->evicted(&l->pages, number_of(l, p), &seen, key);
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
        uint32_t number;

        mutex_assert_held(&c->evict_lock);
        *kept = 0;
        mutex_lock(&l->lock);
        while (n < max && *kept < KEEP_MAX && (number = reclaim_next(&l->pages))) {
                struct page *p = page_at(l, number);
                struct address_space *m = page_mapping(c, p);

                if (within_share(m)) {
                        reclaim_pass(&l->pages, number);
                        ++*kept;
                        continue;
                }
                page_clear(p, PG_LRU);
                mapping_use(m);
                radix_pin(&m->i_pages, p);
                m->nr_taken++;
                out[n++] = p;
        }
        mutex_unlock(&l->lock);
        return n;
}
