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
 * drops what its PTEs do not know of, and has its faults served (mmu/space.h). Here are the handlers of
 * fork(3); fork_room.c finds room for the child's pages, fork_copy.c makes the copy.
 *
 * A child shares no lock and no thread with us: calls are refused in it. Its own children have none
 * of the mappings, nor has a child that was not made by fork(3).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "util/perturb.h"
#include "util/say.h"
#include "vm/fault.h"
#include "vm/fork.h"
#include "vm/map.h"

#define CHARGE_TRIES 100 /* others make new pages all the time */

/* Every mm of the process: a fork concerns them all. */
static struct {
        struct mutex lock; /* [fork] */
        struct mm *first;  /* [fork] */
        sigset_t signals;  /* [fork] what the forking thread blocks itself */
} family;

/* --- before, in the parent ---------------------------------------------------------------- */

/* All of it is tried. 0, or the first -errno. */
static int let_inherit(struct mm *mm, bool yes)
{
        const struct space_ops *ops = mm->mmu->ops->spaces;
        int first = 0, error;
        struct vma *v;

        OWN_VMA_FOREACH(v, mm)
        {
                if (!fork_inherits(v))
                        continue;
                error = ops->inherit(mm->mmu, v->vm_start, v->vm_end - v->vm_start, yes);
                first = first ? first : error;
        }
        return first;
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
                error = fork_copy(mm);
                if (!error)
                        error = let_inherit(mm, true);
                if (error) {
                        let_inherit(mm, false);
                        fork_undo(mm);
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
                mm->fork.error = give_up ? -ENOMEM : fork_wait_for_room(mm);
}

/* False: some have no room yet. => fork_lock. All their locks are held for writing. */
static bool lock_and_charge_all(void)
{
        bool all = true;

        INHERITED_FOREACH(mm)
        {
                rwlock_write_lock(&mm->lock);
                if (!mm->fork.error)
                        mm->fork.error = fork_charge(mm);
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
        fork_keep_charge(mm);
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
        if (fork_inherits(v))
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
        fork_end_space(mm, nr, &gone);
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
        fork_free_steps(&mm->fork);
}
