/* SPDX-License-Identifier: Apache-2.0
 *
 * swap.c - what the ways out and in have in common; see swap.h.
 */
#include "vm/swap.h"

#include <errno.h>
#include <stdlib.h>

#include "vm/fault.h"

#define COPY_WAIT_NS 10000000ull
#define COPY_WAITS 20

int swap_init(struct mm *mm, struct swap_area *area)
{
        struct mm_swap *s = &mm->swap;
        unsigned n = mm->cache->staging.pages;

        s->ios = calloc(n, sizeof(*s->ios));
        if (!s->ios)
                return -ENOMEM;
        waitq_init(&s->wq);
        mutex_init(&s->lock, LOCK_RUN);
        for (unsigned i = 0; i < n; i++) {
                s->ios[i].mm = mm;
                s->ios[i].t.area = area;
                s->ios[i].next_free = s->free_ios;
                s->free_ios = &s->ios[i];
        }
        s->area = area;
        cache_set_private(mm->cache, &swap_private_ops, mm);
        return 0;
}

void swap_destroy(struct mm *mm)
{
        free(mm->swap.ios);
}

struct swap_io *swap_io_get(struct mm *mm)
{
        struct mm_swap *s = &mm->swap;
        struct swap_io *io;

        mutex_lock(&s->lock);
        io = s->free_ios;
        s->free_ios = io->next_free;
        mutex_unlock(&s->lock);
        io->wanted = 0;
        io->write = false;
        io->all_stored = false;
        io->request = NULL;
        return io;
}

void swap_io_put(struct swap_io *io, bool write)
{
        struct mm_swap *s = &io->mm->swap;
        struct page_cache *c = io->mm->cache;
        char *buf = io->t.buf;
        uint32_t nr = io->t.nr;

        /* In this order there is always one for whoever got staging memory. */
        mutex_lock(&s->lock);
        io->next_free = s->free_ios;
        s->free_ios = io;
        mutex_unlock(&s->lock);
        staging_put(&c->staging, buf, nr, write);
}

/* => ptl */
static void cancel_one(struct mm *mm, struct pte *p)
{
        uint64_t old = pte_value(p);

        if (value_state(old) == PTE_SWAPPING) {
                pte_exchange(mm, p, PTE_COPY); /* still protected, which the next store finds out */
                swap_put(mm->swap.area, value_slot(old), 1);
        } else if (value_state(old) == PTE_SWAPIN) {
                pte_exchange(mm, p, make_value(PTE_SWAPPED, value_slot(old)));
        }
}

void swap_cancel(struct mm *mm, uint64_t addr, uint64_t len)
{
        uint64_t end = addr + len, stop;
        struct pte *p;

        rwlock_assert_write_held(&mm->lock);
        if (!mm->swap.area)
                return;
        while ((p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;

                pte_lock(mm, table);
                for (; addr < stop; addr += PAGE_SIZE, p++)
                        cancel_one(mm, p);
                pte_unlock(mm, table);
                pte_put(mm, table);
        }
        /* The reclaimer may be copying from here. That takes microseconds, unless the program has
         * taken the page away behind our back and the pagers are all waiting for mm->lock. */
        for (int i = 0; i < COPY_WAITS && atomic_load(&mm->swap.copying); i++)
                futex_wait(&mm->swap.copying, 1, COPY_WAIT_NS);
}
