/* SPDX-License-Identifier: Apache-2.0
 *
 * vma_pool.c - see vma_pool.h. What was taken from the kernel is given back with the mm.
 */
#include "vm/vma_pool.h"

#include <sys/mman.h>

#include "vm/mm.h"

#define FIRST_CHUNK (128ul << 10)
#define CHUNK (2ul << 20) /* a huge page */
#define ROOM round_up_u64(sizeof(struct vma), VMA_ALIGN)

struct vma_chunk {
        struct vma_chunk *next;
        size_t size;
};
_Static_assert(sizeof(struct vma_chunk) <= VMA_ALIGN, "at the head of a chunk");

void vma_pool_init(struct vma_pool *p)
{
        mutex_init(&p->lock, LOCK_VMAS);
}

void vma_pool_destroy(struct vma_pool *p)
{
        struct vma_chunk *c, *next;

        for (c = p->chunks; c; c = next) {
                next = c->next;
                munmap(c, c->size);
        }
}

static struct vma_chunk *map_chunk(size_t size)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return p == MAP_FAILED ? NULL : p;
}

/* Aligned to its size. */
static struct vma_chunk *map_huge_chunk(void)
{
        char *p = (char *)map_chunk(2 * CHUNK);
        size_t before;

        if (!p)
                return NULL;
        before = -(uintptr_t)p % CHUNK;
        if (before)
                munmap(p, before);
        munmap(p + before + CHUNK, CHUNK - before);
        madvise(p + before, CHUNK, MADV_HUGEPAGE);
        return (struct vma_chunk *)(p + before);
}

static bool has_room(const struct vma_pool *p)
{
        return p->free || (p->chunks && p->used + ROOM <= p->chunks->size);
}

/* => p->lock held, which is let go of meanwhile. False: no memory */
static bool make_room(struct vma_pool *p)
{
        bool first = !p->chunks;
        struct vma_chunk *c;

        mutex_assert_held(&p->lock);
        if (has_room(p))
                return true;
        mutex_unlock(&p->lock);
        c = first ? map_chunk(FIRST_CHUNK) : map_huge_chunk();
        mutex_lock(&p->lock);
        if (c) {
                c->size = first ? FIRST_CHUNK : CHUNK;
                c->next = p->chunks;
                p->chunks = c;
                p->used = VMA_ALIGN;
        }
        return has_room(p);
}

/* => p->lock held, and there is room */
static void *take(struct vma_pool *p)
{
        void *vma = p->free;

        mutex_assert_held(&p->lock);
        if (vma) {
                p->free = *(void **)vma;
        } else {
                vma = (char *)p->chunks + p->used;
                p->used += ROOM;
        }
        return vma;
}

void *vma_pool_get(struct vma_pool *p)
{
        void *vma = NULL;

        mutex_lock(&p->lock);
        if (make_room(p))
                vma = take(p);
        mutex_unlock(&p->lock);
        return vma;
}

void vma_pool_put(struct vma_pool *p, void *vma)
{
        mutex_lock(&p->lock);
        *(void **)vma = p->free;
        p->free = vma;
        mutex_unlock(&p->lock);
}
