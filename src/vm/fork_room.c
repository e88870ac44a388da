/* SPDX-License-Identifier: Apache-2.0
 *
 * fork_room.c - room in the cache for the private pages of a child that is about to be forked: looked for
 * with nothing held, and counted again when the mm is locked. See fork.c.
 */
#include <errno.h>

#include "vm/fault.h"
#include "vm/fork.h"

#define CHARGE_WAIT_NS 3000000000ull /* without getting any, while others get on */
#define CHARGE_STEP 16

struct pages {
        int64_t charged, exist;
};

static int count_pte(struct mm *mm, uint64_t addr, uint64_t value, void *arg)
{
        struct pages *n = arg;

        (void)mm, (void)addr;
        n->charged += fork_is_charged(value_state(value)) || value_state(value) == PTE_SWAPPING;
        n->exist += value_is_private(value);
        return 0;
}

/* Private pages that a child would have; what is on its way to swap is still here. => mm->lock, and for it
 * to stay so: write, and nothing on its way to or from swap */
static struct pages count_pages(struct mm *mm)
{
        struct pages n = { 0, 0 };
        struct vma *v;

        OWN_VMA_FOREACH(v, mm)
        if (fork_inherits(v) && !(v->vm_flags & VM_WIPEONFORK))
                fork_each_pte(mm, v, count_pte, &n);
        return n;
}

/* Up to `want` pages for the child to come. Whoever waits for others to go to swap gets them a few at a
 * time, since no more are kept free. */
static int64_t charge_ahead(struct mm *mm, int64_t want)
{
        int64_t got = 0, step = CHARGE_STEP;

        while (got < want && step) {
                step = step < want - got ? step : want - got;
                if (charge_for_child(mm, step))
                        got += step;
                else
                        step /= 2;
        }
        return got;
}

/* Is waiting of use? Private pages can make room only if they can go to swap. */
static bool may_fit(struct mm *mm, int64_t more)
{
        struct page_cache *c = mm->cache;

        return mm->swap.area ||
               atomic_load(&c->budget.private_pages) + more <= budget_private_most(c);
}

static int64_t guess_charge(struct mm *mm)
{
        struct pages n;

        rwlock_read_lock(&mm->lock);
        n = count_pages(mm);
        rwlock_read_unlock(&mm->lock);
        return n.charged;
}

/* Nothing is held while it waits, and nothing on its way is called back. */
int fork_wait_for_room(struct mm *mm)
{
        uint64_t since = now_ns();
        int64_t *have = &mm->fork.have, lack, got;

        while ((lack = guess_charge(mm) - *have) > 0) {
                struct wait_on on = { .kind = WAIT_NONE };

                if (!may_fit(mm, lack))
                        return -ENOMEM;
                got = charge_ahead(mm, lack);
                *have += got;
                if (got) {
                        since = now_ns();
                        continue;
                }
                on.kind = what_private_wait_for(mm->cache);
                if (on.kind == WAIT_NONE || now_ns() - since > CHARGE_WAIT_NS)
                        return -ENOMEM;
                reclaim_kick(mm->cache);
                wait_on(mm->cache, &on);
        }
        return 0;
}

int fork_charge(struct mm *mm)
{
        struct mm_fork *f = &mm->fork;
        struct pages n;

        swap_cancel(mm, 0, SPACE_SIZE);
        n = count_pages(mm);
        f->wanted = n.charged;
        if (!may_exist(mm, n.exist))
                return -ENOMEM;
        if (f->have >= n.charged)
                return 0;
        if (!charge_for_child(mm, n.charged - f->have))
                return -EAGAIN;
        f->have = n.charged;
        return 0;
}

void fork_keep_charge(struct mm *mm)
{
        struct mm_fork *f = &mm->fork;
        int64_t keep = f->error ? 0 : f->wanted;

        if (f->have > keep)
                uncharge_private(mm->cache, f->have - keep);
        f->have = keep;
}
