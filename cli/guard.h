/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.h - touching mapped memory that may fail.
 *
 * A page that cannot be read raises SIGBUS in the thread that touches it. Between guard_enter()
 * and guard_leave() a SIGBUS on the guarded range of the same thread jumps back to where the
 * thread called sigsetjmp(guard.env, 0); any other SIGBUS ends the process as it would without us.
 *
 *         guard_enter(&g, mapping, length);
 *         if (sigsetjmp(g.env, 0)) -> failed at g.address; the guard is still on
 *         ... touch ...
 *         guard_leave();
 */
#ifndef FAULTLINE_CLI_GUARD_H
#define FAULTLINE_CLI_GUARD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

struct guard {
        sigjmp_buf env;
        const char *start;
        size_t length;
        const char *volatile address; /* of the touch that failed */
};

/* Once per process, before the engine is opened, which may put its own on top. 0 or -errno. */
int guard_install(void);
void guard_enter(struct guard *g, const void *start, size_t length);
void guard_leave(void);

/* memcpy() of n bytes, one side of which, `mapped`, is a mapping. Returns the bytes copied: n, or
 * fewer, up to the first page that could not be touched. */
size_t guard_copy(void *to, const void *from, size_t n, const void *mapped);

#endif
