/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.c - the SIGBUS handler behind guard.h.
 */
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "cli.h"

static _Thread_local struct guard *current;

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
        struct guard *g = current;
        const char *address = info->si_addr;

        (void)context;
        if (g && (uintptr_t)address - (uintptr_t)g->start < g->length) {
                g->address = address;
                siglongjmp(g->env, 1);
        }
        /* Not ours: the access runs again and ends the process. */
        signal(signo, SIG_DFL);
}

int guard_install(void)
{
        /* SA_NODEFER: leaving by siglongjmp() must not leave the signal blocked. */
        struct sigaction action = { .sa_sigaction = on_sigbus,
                                    .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };

        sigemptyset(&action.sa_mask);
        return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

void guard_enter(struct guard *g, const void *start, size_t length)
{
        g->start = start;
        g->length = length;
        g->address = NULL;
        current = g;
}

void guard_leave(void)
{
        current = NULL;
}

static bool copy_guarded(void *to, const void *from, size_t n, const void *mapped)
{
        struct guard g;

        guard_enter(&g, mapped, n);
        if (sigsetjmp(g.env, 0)) {
                guard_leave();
                return false;
        }
        memcpy(to, from, n);
        guard_leave();
        return true;
}

size_t guard_copy(void *to, const void *from, size_t n, const void *mapped)
{
        size_t done = 0;

        if (copy_guarded(to, from, n, mapped))
                return n;
        /* memcpy() goes in an order of its own: find the first bad page in ours. */
        while (done < n) {
                const char *at = (const char *)mapped + done;
                size_t part = PAGE_SIZE - (uintptr_t)at % PAGE_SIZE;

                if (part > n - done)
                        part = n - done;
                if (!copy_guarded((char *)to + done, (const char *)from + done, part, at))
                        break;
                done += part;
        }
        return done;
}
