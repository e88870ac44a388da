/* SPDX-License-Identifier: Apache-2.0
 *
 * semaphores.c - of each probe the counter of those that are attached to it (probe.h).
 *
 * Part of the core, and once more of every module. Tools look for them in the file's data: they must
 * be there, not among what begins as zeros, and be writable for good.
 */
#include "trace/probe.h"

#ifdef FL_PROBES
#define X(ev, layer, text, a, b, c, d)                                                             \
        __attribute__((section(".probes"))) volatile unsigned short faultline_##ev##_semaphore;
TRACE_EVENTS(X)
#undef X
#endif
