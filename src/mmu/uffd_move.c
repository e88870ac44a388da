/* SPDX-License-Identifier: Apache-2.0
 *
 * uffd_move.c - mremap(2) of ranges whose faults are events.
 *
 * The kernel holds mremap back until somebody has read its event. The pagers may be waiting for
 * a lock that the caller of mremap holds, so a thread that takes no lock of ours stands by. It
 * is there from the start: to make one takes memory from malloc, whose locks may be held by a
 * thread that waits for the same lock as the pagers.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "mmu/compat.h"
#include "mmu/pieces.h"
#include "mmu/uffd_ops.h"
#include "util/mman.h"

#define HELD_FAULTS 256u

enum { IDLE, MOVING, STOPPING }; /* mover.state */

static void hold_fault(struct mover *mv, uint64_t address)
{
        if (mv->nr < HELD_FAULTS)
                mv->held[mv->nr++] = address;
        else
                mv->u->mmu.ops->wake(&mv->u->mmu, address, 1);
}

/* Faults are delivered before the event. They are held, and told to fault again when all is
 * over: told at once they would be back before the event, again and again. */
static void read_remap_event(struct mover *mv)
{
        struct uffd *u = mv->u;

        while (!atomic_load(&mv->over)) {
                struct pollfd pfd = { .fd = u->fd, .events = POLLIN };
                struct uffd_msg msg;

                if (poll(&pfd, 1, 1) <= 0 || read(u->fd, &msg, sizeof(msg)) != sizeof(msg))
                        continue;
                if (msg.event == UFFD_EVENT_PAGEFAULT)
                        hold_fault(mv, msg.arg.pagefault.address & PAGE_MASK);
                else if (msg.event == UFFD_EVENT_REMAP)
                        break;
        }
}

static void set_state(struct mover *mv, uint32_t state)
{
        atomic_store(&mv->state, state);
        futex_wake(&mv->state, INT_MAX);
}

static void *stand_by(void *arg)
{
        struct mover *mv = arg;
        uint32_t state;

        prctl(PR_SET_NAME, "fl-mover");
        while ((state = atomic_load(&mv->state)) != STOPPING) {
                if (state == MOVING) {
                        read_remap_event(mv);
                        set_state(mv, IDLE);
                } else {
                        futex_wait(&mv->state, state, 0);
                }
        }
        return NULL;
}

int mover_start(struct mover *mv, struct uffd *u)
{
        sigset_t all, old;
        int error;

        mutex_init(&mv->lock, LOCK_MOVE);
        mv->u = u;
        mv->held = calloc(HELD_FAULTS, sizeof(*mv->held));
        if (!mv->held)
                return -ENOMEM;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        error = pthread_create(&mv->thread, NULL, stand_by, mv);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        mv->started = !error;
        return -error;
}

void mover_stop(struct mover *mv)
{
        if (mv->started) {
                set_state(mv, STOPPING);
                pthread_join(mv->thread, NULL);
        }
        mv->started = false;
        free(mv->held);
        mv->held = NULL;
}

static int move_piece_of(void *arg, uint64_t from, uint64_t to, uint64_t len, int flags)
{
        struct uffd *u = arg;
        struct mover *mv = &u->mover;
        int error = 0;

        mutex_lock(&mv->lock);
        mv->nr = 0;
        atomic_store(&mv->over, false);
        set_state(mv, MOVING);
        if (mremap((void *)(uintptr_t)from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
                   (void *)(uintptr_t)to) == MAP_FAILED)
                error = -errno;
        atomic_store(&mv->over, true);
        while (atomic_load(&mv->state) == MOVING)
                futex_wait(&mv->state, MOVING, 0);
        for (unsigned i = 0; i < mv->nr; i++)
                u->mmu.ops->wake(&u->mmu, mv->held[i], 1);
        mutex_unlock(&mv->lock);
        return error;
}

int uffd_move(struct mmu *m, uint64_t from, uint64_t to, uint64_t len, bool keep)
{
        return move_in_pieces(from, to, len, keep, move_piece_of, uffd_of(m));
}
