/* SPDX-License-Identifier: Apache-2.0
 *
 * table_pool.h - 4 KiB tables from one reserved region, for the trees of cache and vm.
 *
 * The fault path adds leaves to trees and must not call malloc. All tables of an engine come
 * from one address range reserved at the start (it costs nothing until touched). A table freed is
 * spare, with its memory: where pages lie far apart tables come and go with every fault, and to give
 * memory back and get it again costs more than the fault. When there are more spare ones than tables
 * in use (or than a few), the memory of some goes back to the kernel.
 * Each table has a header elsewhere, so that its 4 KiB are all entries.
 */
#ifndef FL_UTIL_TABLE_POOL_H
#define FL_UTIL_TABLE_POOL_H

#include "util/lock.h"

struct radix;

struct table_header {
        struct radix *owner;     /* [radix] tree the leaf belongs to */
        uint64_t base;           /* [radix] first index of a leaf */
        _Atomic uint32_t used;   /* entries in use; child tables of an inner node */
        _Atomic uint32_t tagged; /* entries tagged (dirty pages) */
        _Atomic uint32_t pins;   /* holders of pointers into the table */
        uint32_t next_free;      /* [tables] unit + 1; 0: the last */
        struct mutex lock;       /* ptl: of the leaf's entries, if it is a page table's */
};

struct table_pool {
        struct mutex lock;
        char *base;                   /* (c) */
        struct table_header *headers; /* (c) */
        uint32_t units;               /* (c) */
        uint32_t next;                /* [tables] units behind it are new */
        uint32_t spare, nr_spare;     /* [tables] list of free ones with their memory */
        uint32_t empty;               /* [tables] and without */
        uint32_t ready;               /* [tables] units the kernel has been asked for */
        _Atomic uint32_t in_use;
};

int table_pool_init(struct table_pool *p, uint32_t units);
void table_pool_destroy(struct table_pool *p);
/* A zeroed table, or NULL when the region is full or the kernel has no memory. */
void *table_alloc(struct table_pool *p);
void table_free(struct table_pool *p, void *table);

static inline struct table_header *table_header_of(struct table_pool *p, const void *entry)
{
        return &p->headers[((const char *)entry - p->base) >> PAGE_SHIFT];
}

#endif
