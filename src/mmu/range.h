/* SPDX-License-Identifier: Apache-2.0
 *
 * range.h - the address ranges of an mmu that has to know them itself: where, of which file, and
 * what the program may do there. They overlap none. Under the lock of whoever has them.
 */
#ifndef FL_MMU_RANGE_H
#define FL_MMU_RANGE_H

#include <bsd/sys/tree.h>

#include "util/base.h"

struct range {
        RB_ENTRY(range) node;
        uint64_t start, end;
        uint64_t offset; /* of start, in the file */
        int fd;
        int prot; /* PROT_ */
        bool private;
};
RB_HEAD(range_rb, range);

/* Ranges come and go while a lock is held that faults take: not from malloc, whose own locks may
 * be held by a thread that has such a fault. */
struct range_chunk;
struct range_tree {
        struct range_rb rb;
        struct range *free; /* by node's right */
        struct range_chunk *chunks;
};

void range_tree_init(struct range_tree *t);
void range_tree_destroy(struct range_tree *t);
/* The first that ends behind addr; it may start behind addr too. */
struct range *range_find(struct range_tree *t, uint64_t addr);
struct range *range_next(struct range *r);
/* 0 or -ENOMEM. Nothing is there. */
int range_add(struct range_tree *t, const struct range *r);
/* Make ranges begin and end at start and end, where they cross. 0 or -ENOMEM. */
int range_split(struct range_tree *t, uint64_t start, uint64_t end);
/* => split there */
void range_remove(struct range_tree *t, uint64_t start, uint64_t end);

#endif
