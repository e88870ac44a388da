/* SPDX-License-Identifier: Apache-2.0
 *
 * guess.c - see guess.h.
 */
#include "cache/guess.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "cache/cache.h"

static size_t bytes_of(uint64_t nr)
{
        return nr * sizeof(struct guess);
}

static bool fill_key(uint64_t *key, size_t bytes)
{
        for (size_t done = 0; done < bytes;) {
                /* No more than 256 bytes at once: then no signal cuts it short. */
                size_t want = bytes - done < 256 ? bytes - done : 256;
                ssize_t n = getrandom((char *)key + done, want, 0);

                if (n < 0 && errno != EINTR)
                        return false;
                done += n > 0 ? (size_t)n : 0;
        }
        return true;
}

int guesses_init(struct guesses *g, uint64_t nr)
{
        void *p;

        if (!fill_key(g->key, sizeof(g->key)))
                return 0; /* without a key nothing is guessed */
        p = mmap(NULL, bytes_of(nr), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
                return -ENOMEM;
        g->place = p;
        g->nr = nr;
        return 0;
}

void guesses_destroy(struct guesses *g)
{
        if (g->place)
                munmap(g->place, bytes_of(g->nr));
        g->place = NULL;
        g->nr = 0;
}

void guess_sum(const struct guesses *g, const void *page, struct guess_sum *out)
{
        const char *bytes = page;
        unsigned __int128 a = 0, b = 0;

        /* The second hash is the first under the key moved by two words. */
        for (unsigned i = 0; i < GUESS_WORDS; i += 2) {
                uint64_t w[2];

                memcpy(w, bytes + i * sizeof(uint64_t), sizeof(w));
                a += (unsigned __int128)(w[0] + g->key[i]) * (w[1] + g->key[i + 1]);
                b += (unsigned __int128)(w[0] + g->key[i + 2]) * (w[1] + g->key[i + 3]);
        }
        out->part[0] = a;
        out->part[1] = b;
}

/* Neighbours have neighbouring places; files begin at different ones. */
static struct guess *place_of(struct address_space *m, uint64_t index)
{
        struct guesses *g = &m->cache->guesses;

        return &g->place[(index + m->number * 0x9e3779b97f4a7c15ull) % g->nr];
}

/* Where a write or a flush has failed nobody knows what the disk has. */
static bool has_failed(struct address_space *m)
{
        return atomic_load(&m->wb_seq) != 0;
}

bool guess_allowed(struct address_space *m)
{
        const struct address_space_operations *a = m->host->a_ops;

        /* Only of a file system that says whether blocks are there. */
        return m->cache->guesses.nr && !m->swap_backed && a->allocate && !a->write_begin &&
               !has_failed(m);
}

uint64_t guess_room(struct page_cache *c)
{
        int64_t dirty = atomic_load(&c->nr_dirty) + atomic_load(&c->nr_writeback);
        int64_t room = (dirty_limit(c) - dirty) / 2;

        return room > 0 ? (uint64_t)room : 0;
}

bool guess_possible(struct address_space *m, const struct page *p, uint64_t index)
{
        return page_state(p) == PAGE_CLEAN && index < mapping_pages(m) &&
               m->host->a_ops->allocate(m->host, index, false) == 0;
}

bool guess_dirty(struct address_space *m, struct page *p, uint64_t index, const void *bytes)
{
        struct guess *g = place_of(m, index);
        struct page *nobody = NULL;

        page_assert_locked(p);
        if (!atomic_compare_exchange_strong(&g->page, &nobody, p))
                return false;
        guess_sum(&m->cache->guesses, bytes, &g->sum);
        page_make_dirty(m->cache, p);
        page_set(p, PG_GUESSED);
        return true;
}

void guess_forget(struct page_cache *c, struct page *p)
{
        struct guess *g;

        page_assert_locked(p);
        if (!page_clear(p, PG_GUESSED))
                return;
        g = place_of(page_mapping(c, p), page_index(c, p));
        assert(atomic_load(&g->page) == p);
        atomic_store(&g->page, NULL);
}

bool guess_was_wrong(struct address_space *m, struct page *p, const void *bytes)
{
        struct guess_sum now;
        bool same;

        page_assert_locked(p);
        if (!page_test(p, PG_GUESSED))
                return false;
        guess_sum(&m->cache->guesses, bytes, &now);
        same = !memcmp(&place_of(m, page_index(m->cache, p))->sum, &now, sizeof(now));
        guess_forget(m->cache, p);
        /* Looked at last: what another thread has learned of a failed flush by now counts. */
        return same && !has_failed(m);
}
