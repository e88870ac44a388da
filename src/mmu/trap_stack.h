/* SPDX-License-Identifier: Apache-2.0
 *
 * trap_stack.h - AddressSanitizer is told when a thread changes its stack. Without it, nothing.
 */
#ifndef FL_MMU_TRAP_STACK_H
#define FL_MMU_TRAP_STACK_H

#include <stddef.h>

/* The stack that a thread has left for a while. */
struct stack_left {
        void *fake;
        const void *bottom;
        size_t size;
};

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* What threads have left on stacks that they never came back to: those of the parent, in a child. */
static inline void stack_forget(const void *stacks, size_t size)
{
        __asan_unpoison_memory_region(stacks, size);
}

/* About to go to [bottom, bottom+size). */
static inline void stack_leave(struct stack_left *l, const void *bottom, size_t size)
{
        __sanitizer_start_switch_fiber(&l->fake, bottom, size);
}
/* There. */
static inline void stack_arrived(struct stack_left *l)
{
        __sanitizer_finish_switch_fiber(NULL, &l->bottom, &l->size);
}
/* About to go back; nothing is left on this one. */
static inline void stack_return(const struct stack_left *l)
{
        __sanitizer_start_switch_fiber(NULL, l->bottom, l->size);
}
static inline void stack_returned(const struct stack_left *l)
{
        __sanitizer_finish_switch_fiber(l->fake, NULL, NULL);
}
#else
static inline void stack_forget(const void *stacks, size_t size)
{
        (void)stacks, (void)size;
}
static inline void stack_leave(struct stack_left *l, const void *bottom, size_t size)
{
        (void)l, (void)bottom, (void)size;
}
static inline void stack_arrived(struct stack_left *l)
{
        (void)l;
}
static inline void stack_return(const struct stack_left *l)
{
        (void)l;
}
static inline void stack_returned(const struct stack_left *l)
{
        (void)l;
}
#endif

#endif
