/* SPDX-License-Identifier: Apache-2.0
 *
 * radix.c - see radix.h.
 */
#include "util/radix.h"

#include <string.h>

#include "util/perturb.h"

#define NODE_BITS 9
#define NODE_SLOTS (1u << NODE_BITS)
#define MAX_HEIGHT 7 /* 512 entries a leaf, 512 leaves a node: all of 64 bits */

void radix_init(struct radix *r, struct table_pool *pool, unsigned entry_shift)
{
        memset(r, 0, sizeof(*r));
        mutex_init(&r->lock, LOCK_RADIX);
        r->pool = pool;
        r->entry_shift = entry_shift;
}

static void free_level(struct radix *r, void *table, unsigned level)
{
        if (level > 0) {
                void **node = table;

                for (unsigned i = 0; i < NODE_SLOTS; i++)
                        if (node[i])
                                free_level(r, node[i], level - 1);
        }
        table_free(r->pool, table);
}

void radix_destroy(struct radix *r)
{
        if (r->root)
                free_level(r, r->root, r->height);
        r->root = NULL;
        r->height = 0;
}

static unsigned level_shift(const struct radix *r, unsigned level)
{
        return radix_leaf_bits(r) + (level - 1) * NODE_BITS;
}

static unsigned height_of(const struct radix *r)
{
        return atomic_load_explicit(&r->height, memory_order_relaxed);
}

static bool reaches(const struct radix *r, unsigned height, uint64_t index)
{
        unsigned bits = radix_leaf_bits(r) + height * NODE_BITS;

        return bits >= 64 || (index >> bits) == 0;
}

static bool covers(const struct radix *r, uint64_t index)
{
        return reaches(r, height_of(r), index);
}

static unsigned slot_at(const struct radix *r, uint64_t index, unsigned level)
{
        return (index >> level_shift(r, level)) & (NODE_SLOTS - 1);
}

/* Who peeks meanwhile, or has before, is told: no table is given away, and root and height do not change,
 * but between these two. => r->lock held */
static void shape_begin(struct radix *r)
{
        mutex_assert_held(&r->lock);
        atomic_fetch_add(&r->shape, 1);
        memory_fence(memory_order_release);
}

static void shape_end(struct radix *r)
{
        mutex_assert_held(&r->lock);
        atomic_fetch_add(&r->shape, 1);
}

/* Child pointers and the root are read without the lock too (radix_peek()). */
static void set_table(void **slot, void *table)
{
        __atomic_store_n(slot, table, __ATOMIC_RELEASE);
}

/* => r->lock held. Makes the tree high enough for index. */
static bool grow_locked(struct radix *r, uint64_t index)
{
        mutex_assert_held(&r->lock);
        if (!r->root) {
                /* An empty tree takes the height it needs at once. */
                r->height = 0;
                while (!covers(r, index))
                        r->height++;
                set_table(&r->root, table_alloc(r->pool));
                return r->root != NULL;
        }
        while (!covers(r, index)) {
                void **node = table_alloc(r->pool);

                if (!node)
                        return false;
                node[0] = r->root;
                atomic_store(&table_header_of(r->pool, node)->used, 1);
                shape_begin(r);
                set_table(&r->root, node);
                r->height++;
                shape_end(r);
        }
        return true;
}

/* => r->lock held. Frees the leaf at the end of the path, and nodes that empty with it. */
static void free_path(struct radix *r, void *leaf, void **path[MAX_HEIGHT + 1])
{
        table_free(r->pool, leaf);
        for (unsigned level = 1; level <= r->height; level++) {
                void *node = (void *)((uintptr_t)path[level] & PAGE_MASK);

                set_table(path[level], NULL);
                if (atomic_fetch_sub(&table_header_of(r->pool, node)->used, 1) > 1)
                        return;
                table_free(r->pool, node);
        }
        set_table(&r->root, NULL);
        r->height = 0;
}

/* => r->lock held. Frees the leaf of index if it is idle, and nodes that empty with it. */
static void prune_locked(struct radix *r, uint64_t index)
{
        void **path[MAX_HEIGHT + 1];
        void *table = r->root;
        struct table_header *h;

        mutex_assert_held(&r->lock);
        if (!table || !covers(r, index))
                return;
        for (unsigned level = r->height; level > 0; level--) {
                path[level] = &((void **)table)[slot_at(r, index, level)];
                table = *path[level];
                if (!table)
                        return;
        }
        h = table_header_of(r->pool, table);
        if (atomic_load(&h->pins) || atomic_load(&h->used))
                return;
        shape_begin(r);
        free_path(r, table, path);
        shape_end(r);
        atomic_fetch_add_explicit(&r->freed, 1, memory_order_relaxed);
}

/* => r->lock held. */
static void *leaf_locked(struct radix *r, uint64_t index, bool create)
{
        struct table_header *h;
        unsigned height;
        void *table;

        mutex_assert_held(&r->lock);
        if (create && (!r->root || !covers(r, index)) && !grow_locked(r, index))
                return NULL;
        height = height_of(r);
        if (!r->root || !reaches(r, height, index))
                return NULL;
        table = r->root;
        for (unsigned level = height; level > 0; level--) {
                void **slot = &((void **)table)[slot_at(r, index, level)];

                if (!*slot) {
                        void *fresh = create ? table_alloc(r->pool) : NULL;

                        if (!fresh)
                                return NULL;
                        set_table(slot, fresh);
                        atomic_fetch_add(&table_header_of(r->pool, table)->used, 1);
                }
                table = *slot;
        }
        h = table_header_of(r->pool, table);
        /* Only when it is new: whoever has it pinned reads these without the lock. */
        if (h->owner != r) {
                mutex_init(&h->lock, LOCK_PTL); /* only a page table's leaves use it */
                h->owner = r;
                h->base = index >> radix_leaf_bits(r) << radix_leaf_bits(r);
        }
        return table;
}

static void *entry_in(const struct radix *r, void *leaf, uint64_t index)
{
        uint64_t slot = index & ((1u << radix_leaf_bits(r)) - 1);

        return (char *)leaf + (slot << r->entry_shift);
}

void *radix_get(struct radix *r, uint64_t index, bool create)
{
        void *leaf;

        mutex_lock(&r->lock);
        leaf = leaf_locked(r, index, create);
        if (leaf)
                atomic_fetch_add(&table_header_of(r->pool, leaf)->pins, 1);
        mutex_unlock(&r->lock);
        return leaf ? entry_in(r, leaf, index) : NULL;
}

/* Is it a table at all? What a table has become that went may hold anything. */
static bool is_table(const struct table_pool *p, const void *table)
{
        uintptr_t off = (uintptr_t)table - (uintptr_t)p->base;

        return off < (uintptr_t)p->units << PAGE_SHIFT && (off & (PAGE_SIZE - 1)) == 0;
}

/* Tables are zeroed without atomics when they are given out again; to see that is what `shape` is for. */
__attribute__((no_sanitize("thread"))) const void *radix_peek(const struct radix *r, uint64_t index,
                                                              uint64_t *shape)
{
        uint64_t seen = atomic_load_explicit(&r->shape, memory_order_acquire);
        const void *table = __atomic_load_n(&r->root, __ATOMIC_ACQUIRE);
        unsigned height = height_of(r);

        *shape = seen;
        if ((seen & 1) || height > MAX_HEIGHT || !reaches(r, height, index))
                return NULL;
        for (unsigned level = height; level > 0; level--) {
                if (!is_table(r->pool, table))
                        return NULL;
                table = __atomic_load_n((void *const *)table + slot_at(r, index, level),
                                        __ATOMIC_ACQUIRE);
        }
        return is_table(r->pool, table) ? entry_in(r, (void *)table, index) : NULL;
}

void radix_pin(struct radix *r, void *entry)
{
        /* Under the lock, so that the look in prune_locked() at pins and use is of one moment. */
        mutex_lock(&r->lock);
        atomic_fetch_add(&table_header_of(r->pool, entry)->pins, 1);
        mutex_unlock(&r->lock);
}

void radix_put(struct radix *r, void *entry)
{
        struct table_header *h = table_header_of(r->pool, entry);
        uint64_t base = h->base;

        /* Once the pin is gone the leaf may be freed and reused by anybody: look it up again
         * by index instead of looking at it. */
        if (atomic_fetch_sub(&h->pins, 1) == 1 && atomic_load(&h->used) == 0) {
                perturb_gap();
                mutex_lock(&r->lock);
                prune_locked(r, base);
                mutex_unlock(&r->lock);
        }
}

/* => r->lock held. First leaf at or behind *index below `table`, or NULL. */
static void *next_leaf(struct radix *r, void *table, unsigned level, uint64_t *index, bool tagged)
{
        mutex_assert_held(&r->lock);
        if (level == 0) {
                struct table_header *h = table_header_of(r->pool, table);

                return atomic_load(tagged ? &h->tagged : &h->used) ? table : NULL;
        }
        for (unsigned i = slot_at(r, *index, level); i < NODE_SLOTS; i++) {
                unsigned shift = level_shift(r, level);
                void *child = ((void **)table)[i];
                uint64_t start = (*index >> shift >> NODE_BITS << NODE_BITS | i) << shift;

                if (start > *index)
                        *index = start;
                if (child && (child = next_leaf(r, child, level - 1, index, tagged)))
                        return child;
        }
        return NULL;
}

void *radix_next(struct radix *r, uint64_t *index, uint64_t last, bool tagged)
{
        void *leaf = NULL;

        mutex_lock(&r->lock);
        if (r->root && covers(r, *index)) {
                leaf = next_leaf(r, r->root, r->height, index, tagged);
                if (leaf && *index > last)
                        leaf = NULL;
                if (leaf)
                        atomic_fetch_add(&table_header_of(r->pool, leaf)->pins, 1);
        }
        mutex_unlock(&r->lock);
        return leaf ? entry_in(r, leaf, *index) : NULL;
}

void *radix_next_part(struct radix *r, uint64_t *index, uint64_t end, uint64_t *stop)
{
        void *entry = *index < end ? radix_next(r, index, end - 1, false) : NULL;

        uint64_t leaf_end = radix_leaf_end(r, *index); /* 0 behind the very last */

        *stop = leaf_end ? min_u64(leaf_end, end) : end;
        return entry;
}
