/* SPDX-License-Identifier: Apache-2.0
 *
 * range.c - see range.h.
 */
#include "mmu/range.h"

#include <errno.h>
#include <sys/mman.h>

#define CHUNK (64 * PAGE_SIZE)

static int compare(const struct range *a, const struct range *b)
{
        return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE_INTERNAL(range_rb, range, node, compare, __attribute__((unused)) static)

struct range_chunk {
        struct range_chunk *next;
        struct range range[(CHUNK - sizeof(void *)) / sizeof(struct range)];
};
_Static_assert(sizeof(struct range_chunk) <= CHUNK, "all of a chunk");

void range_tree_init(struct range_tree *t)
{
        RB_INIT(&t->rb);
        t->free = NULL;
        t->chunks = NULL;
}

void range_tree_destroy(struct range_tree *t)
{
        struct range_chunk *c, *next;

        for (c = t->chunks; c; c = next) {
                next = c->next;
                munmap(c, CHUNK);
        }
        range_tree_init(t);
}

static void put(struct range_tree *t, struct range *r)
{
        RB_RIGHT(r, node) = t->free;
        t->free = r;
}

static struct range *get(struct range_tree *t)
{
        struct range_chunk *c;
        struct range *r;

        if (!t->free) {
                c = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (c == MAP_FAILED)
                        return NULL;
                c->next = t->chunks;
                t->chunks = c;
                for (size_t i = 0; i < ARRAY_SIZE(c->range); i++)
                        put(t, &c->range[i]);
        }
        r = t->free;
        t->free = RB_RIGHT(r, node);
        return r;
}

struct range *range_find(struct range_tree *t, uint64_t addr)
{
        struct range *r = RB_ROOT(&t->rb), *found = NULL;

        while (r) {
                if (r->end > addr) {
                        found = r;
                        r = RB_LEFT(r, node);
                } else {
                        r = RB_RIGHT(r, node);
                }
        }
        return found;
}

struct range *range_next(struct range *r)
{
        return RB_NEXT(range_rb, NULL, r);
}

int range_add(struct range_tree *t, const struct range *r)
{
        struct range *copy = get(t);

        if (!copy)
                return -ENOMEM;
        *copy = *r;
        RB_INSERT(range_rb, &t->rb, copy);
        return 0;
}

static int split_one(struct range_tree *t, uint64_t at)
{
        struct range *r = range_find(t, at), upper;
        int error;

        if (!r || r->start >= at)
                return 0;
        upper = *r;
        upper.start = at;
        upper.offset += at - r->start;
        error = range_add(t, &upper);
        if (!error)
                r->end = at;
        return error;
}

int range_split(struct range_tree *t, uint64_t start, uint64_t end)
{
        int error = split_one(t, start);

        return error ? error : split_one(t, end);
}

void range_remove(struct range_tree *t, uint64_t start, uint64_t end)
{
        struct range *r;

        while ((r = range_find(t, start)) && r->start < end) {
                RB_REMOVE(range_rb, &t->rb, r);
                put(t, r);
        }
}
