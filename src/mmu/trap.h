/* SPDX-License-Identifier: Apache-2.0
 *
 * trap.h - page faults as signals: SIGBUS and SIGSEGV, caught for every engine of the process.
 *
 * What a signal does is the process's, not an engine's: this is the one thing here that all
 * engines share. The handler runs in the thread that faulted, asks each engine's trap whether the
 * address is its own, and passes on what is nobody's, or what is an error after all, to the
 * handler that the program had installed, or to the default action.
 *
 * The handler keeps a signal frame and a few hundred bytes on the thread's stack (its alternate
 * one, if it has any); the fault path runs on a stack of ours. All signals but those that an
 * instruction raises are blocked meanwhile, and the thread cannot be cancelled.
 */
#ifndef FL_MMU_TRAP_H
#define FL_MMU_TRAP_H

#include "mmu/mmu.h"

struct trap {
        int signo; /* SIGBUS or SIGSEGV */
        /* In the handler, in the thread that faulted; may sleep. */
        enum mmu_verdict (*fault)(struct trap *, const struct mmu_fault *);
        _Atomic uint64_t low, high; /* addresses outside are surely not its own */
        unsigned slot;
};

/* From here on faults come to it. 0, -ENOSPC (too many engines) or another -errno. Says so on
 * stderr when the calling thread blocks the signal, since the kernel kills a thread that does. */
int trap_add(struct trap *t);
/* Waits until no thread is in t->fault. The last one gives the signal back to the program, unless
 * the program has installed a handler of its own since. */
void trap_remove(struct trap *t);
/* Faults in [addr, addr+len) may be ours. */
void trap_cover(struct trap *t, uint64_t addr, uint64_t len);

#endif
