/* SPDX-License-Identifier: Apache-2.0
 *
 * table_pool.c - see table_pool.h.
 */
#include "util/table_pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define SPARE_TABLES 512 /* freed tables that keep their memory */

static void *reserve(size_t bytes)
{
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        madvise(p, bytes, MADV_DONTDUMP);
        madvise(p, bytes, MADV_NOHUGEPAGE);
        return p;
}

int table_pool_init(struct table_pool *p, uint32_t units)
{
        memset(p, 0, sizeof(*p));
        mutex_init(&p->lock, LOCK_TABLES);
        p->base = reserve((size_t)units << PAGE_SHIFT);
        p->headers = reserve((size_t)units * sizeof(*p->headers));
        p->units = units;
        if (p->base && p->headers)
                return 0;
        table_pool_destroy(p);
        return -ENOMEM;
}

void table_pool_destroy(struct table_pool *p)
{
        if (p->base)
                munmap(p->base, (size_t)p->units << PAGE_SHIFT);
        if (p->headers)
                munmap(p->headers, (size_t)p->units * sizeof(*p->headers));
        p->base = NULL;
        p->headers = NULL;
}

void *table_alloc(struct table_pool *p)
{
        uint32_t unit;

        mutex_lock(&p->lock);
        if (p->free_head) {
                unit = p->free_head - 1;
                p->free_head = p->headers[unit].next_free;
                p->free_count--;
        } else if (p->next < p->units) {
                unit = p->next++;
        } else {
                mutex_unlock(&p->lock);
                return NULL;
        }
        mutex_unlock(&p->lock);
        atomic_fetch_add_explicit(&p->in_use, 1, memory_order_relaxed);
        memset(&p->headers[unit], 0, sizeof(p->headers[unit]));
        return memset(p->base + ((size_t)unit << PAGE_SHIFT), 0, PAGE_SIZE);
}

void table_free(struct table_pool *p, void *table)
{
        uint32_t unit = (uint32_t)(((char *)table - p->base) >> PAGE_SHIFT);
        bool give_back;

        atomic_fetch_sub_explicit(&p->in_use, 1, memory_order_relaxed);
        mutex_lock(&p->lock);
        give_back = p->free_count >= SPARE_TABLES;
        mutex_unlock(&p->lock);
        if (give_back)
                madvise(table, PAGE_SIZE, MADV_DONTNEED);
        mutex_lock(&p->lock);
        p->headers[unit].owner = NULL;
        p->headers[unit].next_free = p->free_head;
        p->free_head = unit + 1;
        p->free_count++;
        mutex_unlock(&p->lock);
}
