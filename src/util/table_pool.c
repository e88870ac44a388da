/* SPDX-License-Identifier: Apache-2.0
 *
 * table_pool.c - see table_pool.h.
 */
#include "util/table_pool.h"
#include "util/mman.h"

#include <errno.h>
#include <string.h>

#define FEW_TABLES 512   /* that are spare in any case */
#define GIVE_BACK_MOST 3 /* by whoever frees one: in use and spare change by one each */
#define READY_MOST 64    /* tables that are asked for at once */

/* Without access until it is unlocked: in a program that has called mlockall(MCL_FUTURE) the kernel would fill
 * all of it, gigabytes. */
static void *reserve(size_t bytes)
{
        void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        munlock(p, bytes);
        madvise(p, bytes, MADV_DONTDUMP);
        madvise(p, bytes, MADV_NOHUGEPAGE);
        if (mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0)
                return p;
        munmap(p, bytes);
        return NULL;
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

/* A pool that grows gets its memory a stretch at a time: a fault of the kernel's for each table would
 * cost more than the table. Never more than an eighth of what is in use. => p->lock held. Units to ask
 * for, from `unit` on; 0: it has been. */
static uint32_t plan_ready(struct table_pool *p, uint32_t unit)
{
        uint32_t nr = unit / 8 < READY_MOST ? unit / 8 : READY_MOST;

        mutex_assert_held(&p->lock);
        if (unit < p->ready || nr < 2 || nr > p->units - unit)
                return 0;
        p->ready = unit + nr;
        return nr;
}

/* => p->lock held. Unit + 1; 0: the list is empty. */
static uint32_t pop(struct table_pool *p, uint32_t *head)
{
        uint32_t first = *head;

        mutex_assert_held(&p->lock);
        if (first)
                *head = p->headers[first - 1].next_free;
        return first;
}

/* => p->lock held. */
static void push(struct table_pool *p, uint32_t *head, uint32_t unit)
{
        mutex_assert_held(&p->lock);
        p->headers[unit].next_free = *head;
        *head = unit + 1;
}

void *table_alloc(struct table_pool *p)
{
        uint32_t unit, fresh = 0, found;

        mutex_lock(&p->lock);
        if ((found = pop(p, &p->spare))) {
                unit = found - 1;
                p->nr_spare--;
        } else if ((found = pop(p, &p->empty))) {
                unit = found - 1;
        } else if (p->next < p->units) {
                unit = p->next++;
                fresh = plan_ready(p, unit);
        } else {
                mutex_unlock(&p->lock);
                return NULL;
        }
        mutex_unlock(&p->lock);
        if (fresh) /* where it cannot be (before Linux 5.14), it comes when it is touched */
                madvise(p->base + ((size_t)unit << PAGE_SHIFT), (size_t)fresh << PAGE_SHIFT,
                        MADV_POPULATE_WRITE);
        atomic_fetch_add_explicit(&p->in_use, 1, memory_order_relaxed);
        memset(&p->headers[unit], 0, sizeof(p->headers[unit]));
        return memset(p->base + ((size_t)unit << PAGE_SHIFT), 0, PAGE_SIZE);
}

/* => p->lock held. Takes a few off the spare ones, if there are too many. */
static unsigned take_excess(struct table_pool *p, uint32_t unit[GIVE_BACK_MOST])
{
        uint32_t most = atomic_load_explicit(&p->in_use, memory_order_relaxed);
        unsigned n = 0;

        mutex_assert_held(&p->lock);
        most = most > FEW_TABLES ? most : FEW_TABLES;
        for (; n < GIVE_BACK_MOST && p->nr_spare > most; n++, p->nr_spare--)
                unit[n] = pop(p, &p->spare) - 1;
        return n;
}

void table_free(struct table_pool *p, void *table)
{
        uint32_t unit = (uint32_t)(((char *)table - p->base) >> PAGE_SHIFT);
        uint32_t excess[GIVE_BACK_MOST];
        unsigned n;

        atomic_fetch_sub_explicit(&p->in_use, 1, memory_order_relaxed);
        mutex_lock(&p->lock);
        p->headers[unit].owner = NULL;
        push(p, &p->spare, unit);
        p->nr_spare++;
        n = take_excess(p, excess);
        mutex_unlock(&p->lock);
        if (!n)
                return;
        for (unsigned i = 0; i < n; i++)
                madvise(p->base + ((size_t)excess[i] << PAGE_SHIFT), PAGE_SIZE, MADV_DONTNEED);
        mutex_lock(&p->lock);
        for (unsigned i = 0; i < n; i++)
                push(p, &p->empty, excess[i]);
        mutex_unlock(&p->lock);
}
