/* SPDX-License-Identifier: Apache-2.0
 *
 * park.c - faults that wait: kept aside so that the pager can go on with others, and run again
 * on a loop thread when what they wait for has happened.
 *
 * The faulting thread itself sleeps in the kernel all the while. Parking places come from memory
 * reserved at the start, one for each thread that can be in a fault; should they ever run out,
 * the thread is told to fault again, which costs a turn and loses nothing.
 *
 * With an MMU whose faults are served by the faulting thread itself (inline.c) it is that thread
 * that waits, in sleep_fault().
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "util/perturb.h"
#include "vm/fault.h"

#define MAX_PARKED 16384
#define SLEEP_NS 100000000ull /* at most, of who waits for something that others may take first */

static void parked_wake(struct waiter *w)
{
        struct parked *p = container_of(w, struct parked, waiter);
        struct mm *mm = p->vmf.mm;

        trace_fault(&p->vmf, RESUME, p->why, p->vmf.index, 0, 0);
        mutex_lock(&mm->park_lock);
        p->waiting = false;
        p->next = NULL;
        *mm->ready_tail = p;
        mm->ready_tail = &p->next;
        mutex_unlock(&mm->park_lock);
        loop_kick(mm->loop);
}

static struct parked *place_get(struct mm *mm)
{
        struct parked *p;

        mutex_lock(&mm->park_lock);
        p = mm->free_parked;
        if (p)
                mm->free_parked = p->next;
        else if (mm->parked_made < MAX_PARKED)
                p = &mm->parked[mm->parked_made++];
        mutex_unlock(&mm->park_lock);
        return p;
}

static void place_put(struct mm *mm, struct parked *p)
{
        mutex_lock(&mm->park_lock);
        p->waiting = false;
        p->next = mm->free_parked;
        mm->free_parked = p;
        mutex_unlock(&mm->park_lock);
}

/* From here on the watchdog may look at it. */
static void show_waiting(struct mm *mm, struct parked *p, int why)
{
        mutex_lock(&mm->park_lock);
        p->why = why;
        p->reported = false;
        p->waiting = true;
        mutex_unlock(&mm->park_lock);
}

bool park_fault(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        struct wait_on on = vmf->rq.wait;
        struct parked *p;

        rwlock_assert_held(&mm->lock);
        lock_assert_below(LOCK_EVICT); /* mm->lock and nothing else */
        p = place_get(mm);
        vmf->rq.wait.kind = WAIT_NONE;
        if (!p) {
                if (on.kind == WAIT_PAGE)
                        put_page(on.mapping, on.page);
                room_put(mm->cache, vmf->rq.room);
                mm->mmu->ops->wake(mm->mmu, vmf->address, 1);
                return true;
        }
        memset(&p->waiter, 0, sizeof(p->waiter));
        p->waiter.wake = parked_wake;
        p->vmf = *vmf;
        show_waiting(mm, p, on.kind);
        atomic_fetch_add(&mm->nr_parked, 1);
        perturb_gap();
        if (wait_on_add(mm->cache, &on, &p->waiter)) {
                perturb_gap();
                return true; /* may be running again already: p is not ours any more */
        }
        atomic_fetch_sub(&mm->nr_parked, 1);
        place_put(mm, p);
        return false;
}

void sleep_fault(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        struct wait_on on = vmf->rq.wait;
        bool timed = on.kind != WAIT_PAGE, queued;
        struct parked *p = place_get(mm); /* for the watchdog; without one it does not see us */
        struct waiter w;

        vmf->rq.wait.kind = WAIT_NONE;
        if (p) {
                p->vmf = *vmf;
                show_waiting(mm, p, on.kind);
        }
        waiter_init_sync(&w);
        atomic_fetch_add(&mm->nr_parked, 1);
        perturb_gap();
        queued = wait_on_add(mm->cache, &on, &w);
        rwlock_read_unlock(&mm->lock);
        vmf->rq.plug->waits = true;
        /* What we wait for may be in our own plug. */
        blk_finish_plug(vmf->rq.plug);
        if (queued)
                waiter_sleep(&w, timed ? SLEEP_NS : 0);
        trace_fault(vmf, RESUME, on.kind, vmf->index, 0, 0);
        blk_start_plug(vmf->rq.plug);
        if (p)
                place_put(mm, p);
        atomic_fetch_sub(&mm->nr_parked, 1);
}

/* loop_idle: runs the faults that have become ready. */
static bool run_ready(struct loop_idle *idle)
{
        struct mm *mm = idle->arg;
        struct parked *p, *next;
        struct blk_plug plug;

        mutex_lock(&mm->park_lock);
        p = mm->ready;
        mm->ready = NULL;
        mm->ready_tail = &mm->ready;
        mutex_unlock(&mm->park_lock);
        if (!p)
                return false;
        blk_start_plug(&plug);
        for (; p; p = next) {
                struct vm_fault vmf = p->vmf;

                next = p->next;
                place_put(mm, p);
                atomic_fetch_sub(&mm->nr_parked, 1);
                vmf.rq.plug = &plug;
                do_page_fault(&vmf);
        }
        blk_finish_plug(&plug);
        return true;
}

/* The end of a batch. One fault that has to wait, and nothing else that does: the pager reads for it
 * itself, while another one waits for events. Else it would tell the kernel what to read, sleep, be
 * woken, and ask what it was woken for. */
static void finish_batch(struct mm *mm, struct blk_plug *plug, unsigned nr)
{
        bool reads = nr == 1 && plug->count == 1 && atomic_load(&mm->nr_parked) == 1 &&
                     loop_leave(mm->loop);

        plug->waits = reads;
        blk_finish_plug(plug);
        if (reads)
                loop_return(mm->loop);
}

void mm_faults(struct mmu_client *client, const struct mmu_fault *faults, unsigned nr)
{
        struct mm *mm = client->arg;
        struct blk_plug plug;

        /* One plug for the batch: its reads go to the device together. */
        blk_start_plug(&plug);
        for (unsigned i = 0; i < nr; i++) {
                struct vm_fault vmf = {
                        .mm = mm,
                        .address = faults[i].address,
                        .write = faults[i].write,
                        .kind = faults[i].kind,
                        .tid = faults[i].tid,
                        .epoch = faults[i].epoch,
                        .begin_ns = now_ns(),
                        .rq = { .fault = trace_new_fault(mm->trace), .plug = &plug },
                };

                do_page_fault(&vmf);
        }
        finish_batch(mm, &plug, nr);
}

int park_init(struct mm *mm)
{
        size_t bytes = MAX_PARKED * sizeof(struct parked);
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return -ENOMEM;
        mm->parked = p;
        mm->ready_tail = &mm->ready;
        mm->idle = (struct loop_idle){ .run = run_ready, .arg = mm };
        loop_add_idle(mm->loop, &mm->idle);
        return 0;
}

void park_stop(struct mm *mm)
{
        if (mm->parked)
                loop_remove_idle(mm->loop, &mm->idle);
}

void park_destroy(struct mm *mm)
{
        if (mm->parked)
                munmap(mm->parked, MAX_PARKED * sizeof(struct parked));
}
