/* SPDX-License-Identifier: Apache-2.0
 *
 * ready.c - see ready.h.
 */
#include "util/ready.h"

#include <errno.h>
#include <time.h>

int poll_ready(struct pollfd *p, unsigned n, int ms, int nap_ms)
{
        int ready = poll(p, n, ms);
        struct timespec nap;

        if (ready >= 0 || errno != EINVAL)
                return ready;
        if (ms < 0 || ms > nap_ms)
                ms = nap_ms;
        nap = (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
        nanosleep(&nap, NULL);
        for (unsigned i = 0; i < n; i++)
                p[i].revents = p[i].fd >= 0 ? p[i].events : 0;
        return (int)n;
}
