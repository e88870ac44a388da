/* SPDX-License-Identifier: Apache-2.0
 *
 * ready.h - poll(2), also where the program may open no more descriptors.
 */
#ifndef FL_UTIL_READY_H
#define FL_UTIL_READY_H

#include <poll.h>

/* As poll(2), which refuses to look at more descriptors than RLIMIT_NOFILE allows: a program may have set
 * that to 0 when it had all it needs. Then this naps for `nap_ms` at most and says that each has what it
 * is asked for: they must not block whoever then tries. */
int poll_ready(struct pollfd *p, unsigned n, int ms, int nap_ms);

#endif
