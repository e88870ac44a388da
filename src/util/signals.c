/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.c - see signals.h.
 */
#include "util/signals.h"

#include <pthread.h>
#include <stddef.h>

#include "util/base.h"
#include "util/lock.h"

static _Thread_local struct signals_held *innermost;

void signals_asynchronous(sigset_t *set)
{
        static const int of_instructions[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };

        sigfillset(set);
        for (size_t i = 0; i < ARRAY_SIZE(of_instructions); i++)
                sigdelset(set, of_instructions[i]);
}

void signals_hold(struct signals_held *h)
{
        sigset_t set;

        signals_asynchronous(&set);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &h->cancel);
        pthread_sigmask(SIG_BLOCK, &set, &h->mask);
        h->outer = innermost;
        innermost = h;
}

void signals_release(struct signals_held *h)
{
        lock_assert_none();
        innermost = h->outer;
        pthread_sigmask(SIG_SETMASK, &h->mask, NULL);
        pthread_setcancelstate(h->cancel, NULL);
}

void signals_let_in(void)
{
        struct signals_held *h = innermost;
        sigset_t set;

        lock_assert_none();
        if (!h)
                return;
        signals_asynchronous(&set);
        pthread_sigmask(SIG_SETMASK, &h->mask, NULL);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
}
