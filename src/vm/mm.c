/* SPDX-License-Identifier: Apache-2.0
 *
 * mm.c - making and unmaking an address space.
 */
#include "vm/mm.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm/fault.h"

#define PTE_ENTRY_SHIFT 3
#define WINDOW (1ull << 44) /* 16 TiB of addresses to look for gaps in */
_Static_assert(sizeof(struct pte) == 1 << PTE_ENTRY_SHIFT, "512 entries a table");

/* A stretch of addresses where nothing is mapped now. It is not kept reserved, so that a hole
 * in it behaves as a hole (SEGV_MAPERR); what others map there is found out when it is met. */
static void find_window(struct mm *mm)
{
        void *p = mmap(NULL, WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return; /* limited address space: the kernel chooses every time */
        munmap(p, WINDOW);
        mm->window_lo = (uint64_t)(uintptr_t)p;
        /* The kernel itself hands out addresses from the top down: leave it the upper half. */
        mm->window_hi = mm->window_lo + WINDOW / 2;
}

int mm_create(struct mm **out, const struct mm_config *cfg)
{
        struct mm *mm = aligned_alloc(_Alignof(struct mm), sizeof(*mm));
        struct mmu_config mmu_cfg = { .loop = cfg->loop,
                                      .trace = cfg->trace,
                                      .tables = cfg->tables };
        int error;

        if (!mm)
                return -ENOMEM;
        memset(mm, 0, sizeof(*mm));
        mm->loop = cfg->loop;
        mm->trace = cfg->trace;
        mm->quiet = cfg->quiet;
        rwlock_init(&mm->lock, LOCK_MM);
        rwlock_spread(&mm->lock, mm->readers);
        mutex_init(&mm->park_lock, LOCK_PARK);
        vma_pool_init(&mm->vmas);
        TAILQ_INIT(&mm->mmap);
        RB_INIT(&mm->mm_rb);
        radix_init(&mm->pgd, cfg->tables, PTE_ENTRY_SHIFT);
        find_window(mm);
        error = anon_init(mm);
        if (!error)
                error = park_init(mm);
        if (!error) {
                mm->client = (struct mmu_client){ .faults = mm_faults,
                                                  .fault = mm_fault_inline,
                                                  .ended = mm_child_ended,
                                                  .arg = mm };
                mmu_cfg.client = &mm->client;
                error = mmu_open(cfg->mmu, &mmu_cfg, &mm->mmu);
                snprintf(cfg->why, 256, "%s", error ? mmu_cfg.why : "");
        }
        if (error) {
                mm_destroy(mm);
                return error;
        }
        *out = mm;
        return 0;
}

int mm_set_cache(struct mm *mm, struct page_cache *c, struct swap_area *area)
{
        mm->cache = c;
        return area ? swap_init(mm, area) : 0;
}

const char *mm_name(struct mm *mm, uint64_t addr, char *buf, size_t size)
{
        struct vma *v;

        rwlock_read_lock(&mm->lock);
        v = find_vma(mm, addr);
        if (v)
                snprintf(buf, size, "%s", vma_name(v));
        rwlock_read_unlock(&mm->lock);
        return v ? buf : NULL;
}

void mm_drain(struct mm *mm)
{
        /* A fault that waits for a page ends with its I/O; the others are sent on their way: run
         * again, they find that their VMA has gone. */
        lock_assert_none();
        while (atomic_load(&mm->nr_parked) ||
               (mm->cache && (atomic_load(&mm->cache->nr_swapping_out) ||
                              atomic_load(&mm->cache->nr_swapping_in)))) {
                waitq_wake(&mm->cache->budget.wq, NULL);
                waitq_wake(&mm->cache->staging.wq, NULL);
                waitq_wake(&mm->cache->dirty_wq, NULL);
                waitq_wake(&mm->cache->retry_wq, NULL);
                waitq_wake(&mm->cache->room_wq, NULL);
                waitq_wake(&mm->cache->cut_wq, NULL);
                usleep(1000);
        }
}

void mm_destroy(struct mm *mm)
{
        assert(TAILQ_EMPTY(&mm->mmap));
        park_stop(mm); /* it runs faults, which use the mmu */
        if (mm->mmu)
                mm->mmu->ops->close(mm->mmu);
        park_destroy(mm); /* and the mmu's faults may park */
        anon_destroy(mm);
        swap_destroy(mm);
        radix_destroy(&mm->pgd);
        vma_pool_destroy(&mm->vmas);
        free(mm);
}
