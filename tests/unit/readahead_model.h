/* SPDX-License-Identifier: Apache-2.0
 *
 * readahead_model.h - what cache and vm do with a policy's answers, on a made-up page cache.
 *
 * Four bits a page: fault-around, the look-up again after a miss, the marker.
 */
#ifndef TEST_READAHEAD_MODEL_H
#define TEST_READAHEAD_MODEL_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "policy/readahead.h"

#define CACHED 1
#define MARK 2
#define MAPPED 4
#define HEAD 8 /* the first of those that share a mark */

struct model {
        const struct vm_policy_ops *policy;
        struct file_ra_state ra;
        struct ra_probe probe;
        uint64_t pages;              /* the file's */
        uint64_t vma_start, vma_end; /* file pages */
        enum vm_advice advice;
        bool exec;
        unsigned char *page;
        struct ra_window last;
};

static inline uint64_t cached_before(void *arg, uint64_t index, uint64_t max)
{
        struct model *m = arg;
        uint64_t n = 0;

        while (n < max && n < index && (m->page[index - 1 - n] & CACHED))
                n++;
        return n;
}

static inline uint64_t first_missing(void *arg, uint64_t index, uint64_t max)
{
        struct model *m = arg;
        uint64_t n = 0;

        while (n < max && index + n < m->pages && (m->page[index + n] & CACHED))
                n++;
        return index + n;
}

static inline uint64_t first_cached(void *arg, uint64_t index, uint64_t max)
{
        struct model *m = arg;
        uint64_t n = 0;

        while (n < max && index + n < m->pages && !(m->page[index + n] & CACHED))
                n++;
        return index + n < m->pages ? index + n : index + max;
}

static inline void model_start_with(struct model *m, const char *policy, uint32_t ra_pages,
                                    uint64_t pages)
{
        *m = (struct model){
                .policy = policy_find(policy),
                .ra = { .ra_pages = ra_pages, .io_pages = 1024, .prev_pos = -1 },
                .pages = pages,
                .vma_end = pages,
                .page = calloc(pages, 1),
        };
        cr_assert_not_null(m->policy);
        cr_assert_not_null(m->page);
}

static inline void model_start(struct model *m, uint32_t ra_pages, uint64_t pages)
{
        model_start_with(m, "linux", ra_pages, pages);
}

static inline void model_end(struct model *m)
{
        free(m->page);
}

/* page_cache_ra_unbounded: the marker goes only on pages that the call itself put in. */
static inline void apply(struct model *m, struct ra_window w)
{
        m->last = w;
        cr_assert(!w.nr || w.start + w.nr <= m->pages, "window past the end of the file");
        cr_assert_leq(w.async, w.nr);
        for (uint64_t i = w.start; i < w.start + w.nr; i++) {
                if (m->page[i] & CACHED)
                        continue;
                m->page[i] |= CACHED;
                if (w.async && i >= w.start + w.nr - w.async &&
                    i - (w.start + w.nr - w.async) < max_u64(w.mark_nr, 1))
                        m->page[i] |= i == w.start + w.nr - w.async ? MARK | HEAD : MARK;
        }
}

static inline struct ra_request request(struct model *m, uint64_t index, bool write)
{
        m->probe = (struct ra_probe){ cached_before, first_missing, first_cached, m };
        return (struct ra_request){
                .ra = &m->ra,
                .probe = &m->probe,
                .index = index,
                .req = 1,
                .file_pages = m->pages,
                .vma_start = m->vma_start,
                .vma_end = m->vma_end,
                .advice = m->advice,
                .exec = m->exec,
                .write = write,
        };
}

static inline void map_around(struct model *m, uint64_t index)
{
        uint64_t n = m->policy->fault_around;
        uint64_t start = max_u64(round_down_u64(index, n), m->vma_start);
        uint64_t end = min_u64(min_u64(round_down_u64(index, n) + n, m->vma_end), m->pages);
        unsigned mapped = 0;

        for (uint64_t i = start; i < end; i++) {
                if ((m->page[i] & (CACHED | MARK)) != CACHED)
                        continue;
                m->page[i] |= MAPPED;
                mapped++;
        }
        m->policy->mapped_around(&m->ra, mapped);
}

/* Takes the mark from all that share it with page `index`; how many. */
static inline uint32_t unmark(struct model *m, uint64_t index)
{
        uint64_t first = index, end;

        while (first && !(m->page[first] & HEAD) && (m->page[first - 1] & MARK))
                first--;
        for (end = first + 1; end < m->pages && (m->page[end] & (MARK | HEAD)) == MARK; end++)
                ;
        for (uint64_t i = first; i < end; i++)
                m->page[i] &= (unsigned char)~(MARK | HEAD);
        return (uint32_t)(end - first);
}

/* One load or store, from trap to PTE. */
static inline void touch(struct model *m, uint64_t index, bool write)
{
        struct ra_request rq = request(m, index, write);
        unsigned char *page = &m->page[index];

        if (*page & MAPPED)
                return;
        if (!write)
                map_around(m, index);
        if (*page & MAPPED)
                return;
        if (*page & CACHED) {
                bool mark = *page & MARK;

                if (mark)
                        rq.folio = unmark(m, index);
                apply(m, m->policy->mmap_hit(&rq, mark));
        } else {
                apply(m, m->policy->mmap_miss(&rq));
                *page |= CACHED; /* filemap_fault reads it alone when read-ahead did not */
                if (!write)
                        map_around(m, index);
        }
        *page |= MAPPED;
}

/* fl_pread of `n` pages at `at`, as filemap_read asks: what is missing, or the marker. */
static inline void pread_pages(struct model *m, uint64_t at, uint64_t n)
{
        for (uint64_t i = at; i < at + n; i++) {
                struct ra_request rq = request(m, i, false);

                rq.req = at + n - i;
                if (!(m->page[i] & CACHED))
                        apply(m, m->policy->read_miss(&rq));
                cr_assert(m->page[i] & CACHED);
                if (m->page[i] & MARK) {
                        rq.folio = unmark(m, i);
                        apply(m, m->policy->read_marker(&rq));
                }
        }
        m->ra.prev_pos = (int64_t)((at + n) * PAGE_SIZE - 1);
}

static inline void drop_all(struct model *m)
{
        memset(m->page, 0, m->pages);
}

/* What is resident, as "a-b c-d", half open. */
static inline const char *resident(struct model *m)
{
        static char text[1 << 16];
        size_t len = 0;

        text[0] = 0;
        for (uint64_t i = 0; i < m->pages; i++) {
                uint64_t start = i;

                while (i < m->pages && (m->page[i] & CACHED))
                        i++;
                if (i > start)
                        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%lu-%lu",
                                                len ? " " : "", start, i);
        }
        return text;
}

static inline uint64_t count(struct model *m)
{
        uint64_t n = 0;

        for (uint64_t i = 0; i < m->pages; i++)
                n += m->page[i] & CACHED;
        return n;
}

static inline uint64_t marker(struct model *m)
{
        for (uint64_t i = 0; i < m->pages; i++)
                if (m->page[i] & MARK)
                        return i;
        return UINT64_MAX;
}

#define expect(m, text) cr_assert_str_eq(resident(m), text)

#endif
