/* SPDX-License-Identifier: Apache-2.0
 *
 * trap_arch.h - what only the machine knows: was the access a store, and how to run on another
 * stack.
 */
#ifndef FL_MMU_TRAP_ARCH_H
#define FL_MMU_TRAP_ARCH_H

#include <ucontext.h>

#include "mmu/mmu.h"

/* Fills in write, exec and kind from the state in which the instruction was interrupted. */
static inline void trap_arch_access(const ucontext_t *uc, struct mmu_fault *f)
{
        uint64_t error = (uint64_t)uc->uc_mcontext.gregs[REG_ERR]; /* of the page fault */

        f->write = error & 2;
        f->exec = error & 16;
        /* Present, and yet not to be stored to: what has been write-protected. */
        f->kind = (error & 3) == 3 ? MMU_FAULT_WP : MMU_FAULT_MINOR;
}

/* fn(arg) on the stack that ends below top, which is a multiple of 16. */
void trap_call_on(void (*fn)(void *), void *arg, void *top) __attribute__((visibility("hidden")));

#endif
