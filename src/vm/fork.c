/* SPDX-License-Identifier: Apache-2.0
 *
 * fork.c - fork(2): what a child gets of our mappings, which is nothing, or what the kernel would give
 * it; Linux's dup_mmap.
 *
 * Before the fork, with mm->lock held, the VMAs are copied into the child's space, and those PTEs that
 * are a private page. Each page of its own that the child has is charged again at once: whoever of the
 * two stores to it first, the kernel copies it, and tells nobody. What shows a page of a file is not
 * copied: the child faults, and finds it in the cache. The lock is held across fork(2), so that what
 * the kernel copies is what has been copied here. Then the child, before fork(2) returns in it,
 * drops what its PTEs do not know of, and has its faults served (mmu/space.h).
 *
 * A child shares no lock and no thread with us: calls are refused in it. Its own children have none
 * of the mappings, nor has a child that was not made by fork(3), whose handlers these are.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/perturb.h"
#include "util/say.h"
#include "vm/fault.h"
#include "vm/map.h"

#define CHARGE_WAIT_NS 3000000000ull /* without getting any, while others get on */
#define CHARGE_TRIES 100             /* others make new pages all the time */
#define CHARGE_STEP 16

/* Every mm of the process: a fork concerns them all. */
static struct {
        struct mutex lock; /* [fork] */
        struct mm *first;  /* [fork] */
        sigset_t signals;  /* [fork] what the forking thread blocks itself */
} family;

/* --- the copy ----------------------------------------------------------------------------- */

static bool is_inherited(const struct vma *v)
{
        return !(v->vm_flags & VM_DONTCOPY);
}

/* VMAs of our own, in order. => mm->lock */
#define OWN_VMA_FOREACH(v, mm)                                                                     \
        for ((v) = TAILQ_FIRST(&(mm)->mmap); (v) && space_of((v)->vm_start) == 0; (v) = vma_next(v))

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

static void free_steps(struct mm_fork *f)
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

/* Calls fn for each PTE in v that is not NONE, while it returns 0. => mm->lock */
static int each_pte(struct mm *mm, const struct vma *v,
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

static bool is_charged(enum pte_state s)
{
        return s == PTE_COPY || s == PTE_BLANK;
}

struct pages {
        int64_t charged, exist;
};

static int count_pte(struct mm *mm, uint64_t addr, uint64_t value, void *arg)
{
        struct pages *n = arg;

        (void)mm, (void)addr;
        n->charged += is_charged(value_state(value)) || value_state(value) == PTE_SWAPPING;
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
        if (is_inherited(v) && !(v->vm_flags & VM_WIPEONFORK))
                each_pte(mm, v, count_pte, &n);
        return n;
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
        if (is_charged(s)) {
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
                error = each_pte(mm, v, copy_one, &c);
        if (!v->vm_shared)
                add_step(&mm->fork, c.done, end, FORK_DROP);
        add_step(&mm->fork, c.taken, end, serving_step(v));
        return error ? error : mm->fork.error;
}

static int copy_all(struct mm *mm)
{
        struct vma_list made = TAILQ_HEAD_INITIALIZER(made);
        struct rmap_guard guard;
        struct vma *v;
        int error = 0;

        guard_lock(&guard, mm, 0, SPACE_SIZE, NULL);
        OWN_VMA_FOREACH(v, mm)
        if (!error && is_inherited(v))
                error = copy_vma(mm, v, &made);
        guard_unlock(&guard);
        while ((v = TAILQ_FIRST(&made))) {
                TAILQ_REMOVE(&made, v, vm_list);
                vma_link(mm, v);
        }
        return error;
}

/* All of it is tried. 0, or the first -errno. */
static int let_inherit(struct mm *mm, bool yes)
{
        const struct space_ops *ops = mm->mmu->ops->spaces;
        int first = 0, error;
        struct vma *v;

        OWN_VMA_FOREACH(v, mm)
        {
                if (!is_inherited(v))
                        continue;
                error = ops->inherit(mm->mmu, v->vm_start, v->vm_end - v->vm_start, yes);
                first = first ? first : error;
        }
        return first;
}

/* --- before, in the parent ---------------------------------------------------------------- */

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

/* Until room for all that is here now has been charged; what has gone to swap by then needs
 * none. Nothing is held while it waits, and nothing on its way is called back. -ENOMEM: it would be of
 * no use, or has not been for long. */
static int wait_for_room(struct mm *mm)
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

/* => mm->lock held for writing. Nothing is on its way to or from swap then. 0: what has been charged has
 * become enough for the child's pages; -EAGAIN: it is not, since some have come back; -ENOMEM */
static int count_and_charge(struct mm *mm)
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

/* => mm->lock held for writing. What has been charged is what the child's pages need, or nothing. */
static void keep_charge(struct mm *mm)
{
        struct mm_fork *f = &mm->fork;
        int64_t keep = f->error ? 0 : f->wanted;

        if (f->have > keep)
                uncharge_private(mm->cache, f->have - keep);
        f->have = keep;
}

static int copied_pte(struct mm *mm, uint64_t addr, uint64_t value, void *arg)
{
        (void)mm, (void)addr;
        *(int64_t *)arg -= is_charged(value_state(value));
        return 0;
}

/* All that a child has, or would have had, is taken back. => mm->lock, write */
static void end_space(struct mm *mm, unsigned nr, struct vma_list *gone)
{
        /* Without memory for it the pages stay charged, and the number stays taken. */
        if (unmap_locked(mm, space_base(nr), space_base(nr + 1), gone) == 0)
                mm->mmu->ops->spaces->release(mm->mmu, nr);
}

/* It came to nothing: nothing is inherited. Of what has been charged, some has been used. */
static void undo(struct mm *mm)
{
        struct vma_list gone = TAILQ_HEAD_INITIALIZER(gone);
        unsigned nr = mm->fork.space;
        struct vma *v;

        for (v = find_vma(mm, space_base(nr)); v && v->vm_start < space_base(nr + 1);
             v = vma_next(v))
                each_pte(mm, v, copied_pte, &mm->fork.have);
        if (mm->fork.have)
                uncharge_private(mm->cache, mm->fork.have);
        end_space(mm, nr, &gone);
        mm->fork.space = 0;
        free_vma_list(&gone);
}

static void say_why(const struct mm *mm, int error)
{
        if (error == -ENOMEM)
                say("faultline: fork: no room in the cache for a copy of %lld private pages: the "
                    "child has no mappings",
                    (long long)mm->fork.wanted);
        else
                say("faultline: fork: the child has no mappings: %s", strerrordesc_np(-error));
}

/* => mm->lock held for writing; the child's pages are charged, or fork.error says why not */
static void prepare_mm(struct mm *mm)
{
        struct mm_fork *f = &mm->fork;
        int nr, error = f->error;

        f->nr_steps = 0;
        f->error = 0;
        f->space = 0;
        if (!error) {
                nr = mm->mmu->ops->spaces->make(mm->mmu);
                error = nr < 0 ? nr : 0;
                if (error && f->have)
                        uncharge_private(mm->cache, f->have);
        }
        if (!error) {
                f->space = (unsigned)nr;
                error = copy_all(mm);
                if (!error)
                        error = let_inherit(mm, true);
                if (error) {
                        let_inherit(mm, false);
                        undo(mm);
                }
        }
        if (error && !mm->quiet)
                say_why(mm, error);
}

/* Each mm that a child of this process inherits. => fork_lock */
static struct mm *next_inherited(struct mm *mm)
{
        while (mm && (!mm->fork.inherit || mm_is_foreign(mm)))
                mm = mm->fork.next;
        return mm;
}

#define INHERITED_FOREACH(mm)                                                                      \
        for (struct mm *mm = next_inherited(family.first); mm; mm = next_inherited(mm->fork.next))

/* Those that have no room wait for it, one after the other. => fork_lock, and nothing else */
static void wait_for_rooms(bool give_up)
{
        INHERITED_FOREACH(mm)
        if (mm->fork.error == -EAGAIN)
                mm->fork.error = give_up ? -ENOMEM : wait_for_room(mm);
}

/* False: some have no room yet. => fork_lock. All their locks are held for writing. */
static bool lock_and_charge_all(void)
{
        bool all = true;

        INHERITED_FOREACH(mm)
        {
                rwlock_write_lock(&mm->lock);
                if (!mm->fork.error)
                        mm->fork.error = count_and_charge(mm);
                all &= mm->fork.error != -EAGAIN;
        }
        return all;
}

/* => fork_lock. Returns with the lock of each mm held for writing, nothing on its way to or from swap, and
 * the child's pages charged, or fork.error saying why they are not. No lock is held while one waits for
 * room: what has to make it may need any of them. */
static void lock_family(void)
{
        INHERITED_FOREACH(mm)
        {
                mm->fork.have = 0;
                mm->fork.error = 0;
        }
        for (int tries = 1; !lock_and_charge_all(); tries++) {
                INHERITED_FOREACH(mm)
                rwlock_write_unlock(&mm->lock);
                wait_for_rooms(tries >= CHARGE_TRIES);
        }
        INHERITED_FOREACH(mm)
        keep_charge(mm);
}

static void before_fork(void)
{
        sigset_t all, old;

        /* A handler that touched mapped memory would wait for what we hold. */
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        mutex_lock(&family.lock);
        family.signals = old;
        lock_family();
        INHERITED_FOREACH(mm)
        prepare_mm(mm);
}

/* --- after -------------------------------------------------------------------------------- */

static void release_family(void)
{
        sigset_t old = family.signals;

        mutex_unlock(&family.lock);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void after_in_parent(void)
{
        INHERITED_FOREACH(mm)
        {
                if (mm->fork.space) {
                        let_inherit(mm, false);
                        mm->mmu->ops->spaces->forked(mm->mmu, mm->fork.space);
                }
                rwlock_write_unlock(&mm->lock);
        }
        release_family();
}

static int follow_step(struct mm *mm, const struct fork_step *step)
{
        const struct space_ops *ops = mm->mmu->ops->spaces;

        if (step->what == FORK_DROP)
                return ops->drop(mm->mmu, step->addr, step->len);
        return ops->take(mm->mmu, step->addr, step->len, step->what == FORK_TAKE_FILE);
}

/* What cannot be served must not be touched. */
static void forsake(struct mm *mm)
{
        struct vma *v;

        OWN_VMA_FOREACH(v, mm)
        if (is_inherited(v))
                munmap((void *)(uintptr_t)v->vm_start, v->vm_end - v->vm_start);
}

static void settle_child(struct mm *mm)
{
        const struct space_ops *ops = mm->mmu->ops->spaces;
        struct mm_fork *f = &mm->fork;
        int error = ops->enter(mm->mmu, f->space);

        if (!f->space)
                return;
        /* Its own children would get pages that nobody serves. */
        if (!error)
                error = let_inherit(mm, false);
        for (size_t i = 0; !error && i < f->nr_steps; i++)
                error = follow_step(mm, &f->steps[i]);
        error = ops->settle(mm->mmu, f->space, error);
        if (!error)
                return;
        forsake(mm);
        if (!mm->quiet)
                say("faultline: fork: the child has no mappings: %s", strerrordesc_np(-error));
}

/* What we hold was taken by the thread that is this process now. */
static void after_in_child(void)
{
        for (struct mm *mm = family.first; mm; mm = mm->fork.next) {
                if (mm_is_foreign(mm))
                        continue;
                if (mm->fork.inherit) {
                        settle_child(mm);
                        rwlock_write_unlock(&mm->lock);
                }
                atomic_store(&mm->fork.foreign, true);
        }
        release_family();
}

/* As early as can be: the handlers of the program, which may take locks of its own that a thread
 * holds while it touches mapped memory, then run before ours. */
__attribute__((constructor)) static void register_fork_handlers(void)
{
        mutex_init(&family.lock, LOCK_FORK);
        pthread_atfork(before_fork, after_in_parent, after_in_child);
}

/* --- beginning and end -------------------------------------------------------------------- */

void mm_child_ended(struct mmu_client *client, unsigned nr)
{
        struct vma_list gone = TAILQ_HEAD_INITIALIZER(gone);
        struct mm *mm = client->arg;

        lock_assert_none();
        perturb();
        rwlock_write_lock(&mm->lock);
        end_space(mm, nr, &gone);
        rwlock_write_unlock(&mm->lock);
        free_vma_list(&gone);
}

int mm_fork_start(struct mm *mm, bool inherit)
{
        const struct space_ops *ops = mm->mmu->ops->spaces;
        struct mm **p = &family.first;
        int error;

        if (inherit && !ops)
                return -ENOTSUP;
        error = inherit ? ops->start(mm->mmu) : 0;
        if (error)
                return error;
        mm->fork.inherit = inherit;
        mutex_lock(&family.lock);
        while (*p && *p < mm)
                p = &(*p)->fork.next;
        mm->fork.next = *p;
        *p = mm;
        mutex_unlock(&family.lock);
        return 0;
}

void mm_fork_stop(struct mm *mm)
{
        struct mm **p = &family.first;

        mutex_lock(&family.lock);
        while (*p && *p != mm)
                p = &(*p)->fork.next;
        if (*p)
                *p = mm->fork.next;
        mutex_unlock(&family.lock);
        if (mm->fork.inherit)
                mm->mmu->ops->spaces->stop(mm->mmu);
        mm->fork.inherit = false;
        free_steps(&mm->fork);
}
