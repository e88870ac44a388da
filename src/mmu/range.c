/* SPDX-License-Identifier: Apache-2.0
 *
 * range.c - see range.h.
 */
#include "mmu/range.h"

#include <errno.h>
#include <stdlib.h>

static int compare(const struct range *a, const struct range *b)
{
        return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE_INTERNAL(range_tree, range, node, compare, __attribute__((unused)) static)

struct range *range_find(struct range_tree *t, uint64_t addr)
{
        struct range *r = RB_ROOT(t), *found = NULL;

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
        return RB_NEXT(range_tree, NULL, r);
}

int range_add(struct range_tree *t, const struct range *r)
{
        struct range *copy = malloc(sizeof(*copy));

        if (!copy)
                return -ENOMEM;
        *copy = *r;
        RB_INSERT(range_tree, t, copy);
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
                RB_REMOVE(range_tree, t, r);
                free(r);
        }
}
