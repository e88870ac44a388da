/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.c - what of a file is in memory, and where windows have left their marks: looked up in its tree
 * page by page, for whoever decides what to read. Hints: nothing is locked.
 */
#include "cache/read.h"

bool filemap_is_absent(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);
        bool absent = true;

        if (p) {
                absent = page_state(p) == PAGE_ABSENT;
                put_page(m, p);
        }
        return absent;
}

uint64_t filemap_absent_from(struct address_space *m, uint64_t index, uint64_t max)
{
        uint64_t n = 0;
        bool more = true;

        while (more && n < max) {
                uint64_t part = min_u64(max, radix_leaf_end(&m->i_pages, index + n) - index);
                struct page *leaf = find_page(m, index + n);

                if (!leaf) {
                        n = part;
                        continue;
                }
                for (struct page *p = leaf; more && n < part; p++) {
                        more = page_state(p) == PAGE_ABSENT;
                        n += more;
                }
                put_page(m, leaf);
        }
        return n;
}

static uint64_t probe_cached_before(void *arg, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && n < index && !filemap_is_absent(arg, index - 1 - n))
                n++;
        return n;
}

uint64_t filemap_first_missing(struct address_space *m, uint64_t index, uint64_t max)
{
        uint64_t n = 0;

        while (n < max && !filemap_is_absent(m, index + n))
                n++;
        return index + n;
}

static uint64_t probe_first_cached(void *arg, uint64_t index, uint64_t max)
{
        return index + filemap_absent_from(arg, index, max);
}

static uint64_t probe_first_missing(void *arg, uint64_t index, uint64_t max)
{
        return filemap_first_missing(arg, index, max);
}

struct ra_probe filemap_probe(struct address_space *m)
{
        return (struct ra_probe){
                .cached_before = probe_cached_before,
                .first_missing = probe_first_missing,
                .first_cached = probe_first_cached,
                .arg = m,
        };
}

static uint32_t marks_at(struct address_space *m, uint64_t index)
{
        struct page *p = find_page(m, index);
        uint32_t marks = 0;

        if (p) {
                marks = page_word(p) & PG_MARKS;
                put_page(m, p);
        }
        return marks;
}

struct marked filemap_marked(struct address_space *m, uint64_t index)
{
        struct marked marked = { index, 1 };
        uint32_t marks = marks_at(m, index);

        while (marks == PG_MARKER && marked.first &&
               (marks = marks_at(m, marked.first - 1)) & PG_MARKER)
                marked.first--;
        marked.nr = (uint32_t)(index - marked.first + 1);
        while (marks_at(m, marked.first + marked.nr) == PG_MARKER)
                marked.nr++;
        return marked;
}

void filemap_unmark(struct address_space *m, const struct marked *marked)
{
        for (uint32_t i = 0; i < marked->nr; i++) {
                struct page *p = find_page(m, marked->first + i);

                if (p) {
                        page_clear(p, PG_MARKS);
                        put_page(m, p);
                }
        }
}
