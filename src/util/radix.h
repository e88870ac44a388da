/* SPDX-License-Identifier: Apache-2.0
 *
 * radix.h - a sparse array of small entries: the page table of an mm, the pages of a file.
 *
 * Inner nodes have 512 children, leaves hold 4 KiB of entries (512 of 8 bytes, 256 of 16). The
 * tree is as high as its largest index needs. Nothing is proportional to the range it covers.
 *
 * A pointer to an entry stays good while the entry's leaf is pinned: radix_get() pins,
 * radix_put() unpins and frees the leaf if nothing in it is in use. What "in use" means is the
 * caller's: it says so with radix_use() and radix_unuse(), once per entry.
 * A tag is a second count, so that a walk can skip leaves without tagged entries.
 */
#ifndef FL_UTIL_RADIX_H
#define FL_UTIL_RADIX_H

#include "util/table_pool.h"

struct radix {
        struct mutex lock;       /* the shape of the tree; pins are taken under it */
        struct table_pool *pool; /* (c) */
        void *root;              /* [radix] */
        _Atomic unsigned height; /* [radix] inner levels above the leaf */
        unsigned entry_shift;    /* (c) */
        _Atomic uint64_t
                shape; /* [radix] to write; odd: the tree is losing tables, or grows higher */
        _Atomic uint64_t freed; /* [radix] to write; leaves it has lost so far */
};

void radix_init(struct radix *r, struct table_pool *pool, unsigned entry_shift);
/* Frees every table, in use or not. */
void radix_destroy(struct radix *r);

/* The entry, its leaf pinned; NULL if there is no leaf (create: if no memory). */
void *radix_get(struct radix *r, uint64_t index, bool create);
void radix_put(struct radix *r, void *entry);
/* One more pin of a leaf that is in use or pinned already. */
void radix_pin(struct radix *r, void *entry);

/* A look without lock or pin: the entry, which may be anything as soon as the tree has changed; what has
 * been read of it, by atomic loads, counts only if radix_unchanged() says so afterwards. NULL: there is
 * no leaf, or the tree is changing just now. Async-signal-safe. */
const void *radix_peek(const struct radix *r, uint64_t index, uint64_t *shape);
/* No table has gone, and the tree is as high, since the look that gave `shape`. */
static inline bool radix_unchanged(const struct radix *r, uint64_t shape)
{
        memory_fence(memory_order_acquire);
        return atomic_load_explicit(&r->shape, memory_order_relaxed) == shape;
}

/* The first entry >= index in a leaf that is in use (tagged: has tags), its leaf pinned; sets
 * *index to it. NULL: none up to `last`. Advance with radix_leaf_end(). */
void *radix_next(struct radix *r, uint64_t *index, uint64_t last, bool tagged);
/* The same of [*index, end), which may be empty; its part of that ends at *stop. */
void *radix_next_part(struct radix *r, uint64_t *index, uint64_t end, uint64_t *stop);

static inline unsigned radix_leaf_bits(const struct radix *r)
{
        return PAGE_SHIFT - r->entry_shift;
}
/* First index behind the leaf of `index`. */
static inline uint64_t radix_leaf_end(const struct radix *r, uint64_t index)
{
        return ((index >> radix_leaf_bits(r)) + 1) << radix_leaf_bits(r);
}
static inline uint64_t radix_leaf_first(const struct radix *r, uint64_t index)
{
        return index >> radix_leaf_bits(r) << radix_leaf_bits(r);
}
static inline uint64_t radix_index(const struct radix *r, const void *entry)
{
        return table_header_of(r->pool, entry)->base +
               (((uintptr_t)entry & (PAGE_SIZE - 1)) >> r->entry_shift);
}
/* The lock of a page table's leaf (vm/pgtable.h). => the leaf is pinned */
static inline struct mutex *radix_leaf_lock(const struct radix *r, const void *entry)
{
        return &table_header_of(r->pool, entry)->lock;
}
static inline void radix_use(struct radix *r, void *entry)
{
        atomic_fetch_add(&table_header_of(r->pool, entry)->used, 1);
}
static inline void radix_unuse(struct radix *r, void *entry)
{
        atomic_fetch_sub(&table_header_of(r->pool, entry)->used, 1);
}
static inline void radix_tag(struct radix *r, void *entry)
{
        atomic_fetch_add(&table_header_of(r->pool, entry)->tagged, 1);
}
static inline void radix_untag(struct radix *r, void *entry)
{
        atomic_fetch_sub(&table_header_of(r->pool, entry)->tagged, 1);
}

#endif
