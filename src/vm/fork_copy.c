/* SPDX-License-Identifier: Apache-2.0
 *
 * fork_copy.c - what a forked child gets: the VMAs, in its space, the PTEs of private pages, and the steps by
 * which it comes to see just that; and taking it all back. See fork.c.
 */
#include <errno.h>
#include <sys/mman.h>

#include "vm/fault.h"
#include "vm/fork.h"
#include "vm/map.h"

/* Not by malloc: a thread that holds its locks may wait for the lock that we hold. */
static bool more_steps(struct mm_fork *f)
{
        size_t room = f->room ? 2 * f->room : PAGE_SIZE / sizeof(*f->steps);
        void *p = f->room ? mremap(f->steps, f->room * sizeof(*f->steps), room * sizeof(*f->steps),
                                   MREMAP_MAYMOVE)
                          : mmap(NULL, room * sizeof(*f->steps), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                return false;
        f->steps = p;
        f->room = room;
        return true;
}

void fork_free_steps(struct mm_fork *f)
{
        if (f->room)
                munmap(f->steps, f->room * sizeof(*f->steps));
        f->steps = NULL;
        f->room = 0;
}

static void add_step(struct mm_fork *f, uint64_t addr, uint64_t end, int what)
{
        if (addr >= end)
                return;
        if (f->nr_steps < f->room || more_steps(f))
                f->steps[f->nr_steps++] = (struct fork_step){ addr, end - addr, what };
        else
                f->error = -ENOMEM;
}

int fork_each_pte(struct mm *mm, const struct vma *v,
                  int (*fn)(struct mm *, uint64_t addr, uint64_t value, void *), void *arg)
{
        uint64_t addr = v->vm_start, stop;
        struct pte *p;
        int error = 0;

        while (!error && (p = pte_next_table(mm, &addr, v->vm_end, &stop))) {
                struct pte *table = p;

                for (; !error && addr < stop; addr += PAGE_SIZE, p++)
                        if (pte_state(p) != PTE_NONE)
                                error = fn(mm, addr, pte_value(p), arg);
                pte_put(mm, table);
        }
        return error;
}

struct copying {
        struct vma *v;
        uint64_t done;  /* up to here the steps of v's copy are made */
        uint64_t taken; /* up to here its faults are served */
};

/* The child's PTE. Without a slot for a page that is in memory: its store must be no event. What could
 * not be read from its slot, the child tries for itself. */
static int copy_pte(struct mm *mm, uint64_t addr, uint64_t value)
{
        uint64_t to = addr | space_base(mm->fork.space);
        struct pte *p = pte_get(mm, to, true);

        if (!p)
                return -ENOMEM;
        if (value_state(value) == PTE_COPY)
                value = PTE_COPY;
        else if (value_state(value) == PTE_BLANK)
                value = failed_value(PTE_BLANK, value_error(value), 0);
        else if (value_slot(value))
                value = untried_value(value);
        if (value_slot(value) && !swap_share(mm->swap.area, value_slot(value))) {
                pte_put(mm, p);
                return -ENOSPC;
        }
        if (value_state(value) == PTE_BLANK)
                atomic_fetch_add(&mm->nr_blank, 1);
        pte_lock(mm, p);
        pte_exchange(mm, p, value);
        pte_unlock(mm, p);
        pte_put(mm, p);
        return 0;
}

static int serving_step(const struct vma *v)
{
        return v->vm_file ? FORK_TAKE_FILE : FORK_TAKE_MEMORY;
}

/* What the kernel shows the child at addr stays, what it shows before is dropped. */
static int copy_one(struct mm *mm, uint64_t addr, uint64_t value, void *arg)
{
        uint64_t base = space_base(mm->fork.space), at = addr | base;
        enum pte_state s = value_state(value);
        struct copying *c = arg;

        if (!value_is_private(value) && s != PTE_BLANK && s != PTE_POISONED)
                return 0;
        if (fork_is_charged(s)) {
                if (!c->v->vm_shared)
                        add_step(&mm->fork, c->done, at, FORK_DROP);
                c->done = at + PAGE_SIZE;
        }
        if (s == PTE_BLANK) { /* not the file's: nothing there is ever to be served */
                add_step(&mm->fork, c->taken, at, serving_step(c->v));
                c->taken = at + PAGE_SIZE;
        }
        return copy_pte(mm, addr, value);
}

/* => guard held. The copy is on `made`. */
static int copy_vma(struct mm *mm, struct vma *v, struct vma_list *made)
{
        uint64_t base = space_base(mm->fork.space), end = v->vm_end | base;
        struct copying c = { .v = v, .done = v->vm_start | base, .taken = v->vm_start | base };
        struct vma *twin = vma_dup(v);
        int error = 0;

        if (!twin)
                return -ENOMEM;
        twin->vm_start = v->vm_start | base;
        twin->vm_end = end;
        twin->vm_pgoff = v->vm_file ? v->vm_pgoff : twin->vm_start >> PAGE_SHIFT;
        twin->vm_flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
        twin->vm_locking = 0;
        if (twin->vm_ops && twin->vm_ops->open)
                twin->vm_ops->open(twin);
        vma_add_view_locked(twin);
        TAILQ_INSERT_TAIL(made, twin, vm_list);
        if (!(v->vm_flags & VM_WIPEONFORK))
                error = fork_each_pte(mm, v, copy_one, &c);
        if (!v->vm_shared)
                add_step(&mm->fork, c.done, end, FORK_DROP);
        add_step(&mm->fork, c.taken, end, serving_step(v));
        return error ? error : mm->fork.error;
}

int fork_copy(struct mm *mm)
{
        struct vma_list made = TAILQ_HEAD_INITIALIZER(made);
        struct rmap_guard guard;
        struct vma *v;
        int error = 0;

        guard_lock(&guard, mm, 0, SPACE_SIZE, NULL);
        OWN_VMA_FOREACH(v, mm)
        if (!error && fork_inherits(v))
                error = copy_vma(mm, v, &made);
        guard_unlock(&guard);
        while ((v = TAILQ_FIRST(&made))) {
                TAILQ_REMOVE(&made, v, vm_list);
                vma_link(mm, v);
        }
        return error;
}

static int copied_pte(struct mm *mm, uint64_t addr, uint64_t value, void *arg)
{
        (void)mm, (void)addr;
        *(int64_t *)arg -= fork_is_charged(value_state(value));
        return 0;
}

void fork_end_space(struct mm *mm, unsigned nr, struct vma_list *gone)
{
        /* Without memory for it the pages stay charged, and the number stays taken. */
        if (unmap_locked(mm, space_base(nr), space_base(nr + 1), gone) == 0)
                mm->mmu->ops->spaces->release(mm->mmu, nr);
}

/* Of what has been charged, some has been used. */
void fork_undo(struct mm *mm)
{
        struct vma_list gone = TAILQ_HEAD_INITIALIZER(gone);
        unsigned nr = mm->fork.space;
        struct vma *v;

        for (v = find_vma(mm, space_base(nr)); v && v->vm_start < space_base(nr + 1);
             v = vma_next(v))
                fork_each_pte(mm, v, copied_pte, &mm->fork.have);
        if (mm->fork.have)
                uncharge_private(mm->cache, mm->fork.have);
        fork_end_space(mm, nr, &gone);
        mm->fork.space = 0;
        free_vma_list(&gone);
}
