/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.h - a static probe (USDT) for each event, for bpftrace(8), perf(1) and systemtap.
 *
 * A probe of provider `faultline` has the event's name and six arguments: the fault's id, the object
 * (file or device), and the event's own four. It is a nop and a note in the ELF file; nobody has to
 * trace for it. The note names a counter, which the kernel raises while somebody is attached to the
 * probe: as long as it is zero the arguments are not worked out, and the nop is not come by.
 */
#ifndef FL_TRACE_PROBE_H
#define FL_TRACE_PROBE_H

#ifdef FL_PROBES
#include "trace/events.h"

/* semaphores.c: in the command, in the library and in each module its own, since a note can name
 * nothing in another file. Written to by the kernel alone. The names are those that sys/sdt.h wants. */
#define X(ev, layer, text, a, b, c, d)                                                             \
        __attribute__((                                                                            \
                visibility("hidden"))) extern volatile unsigned short faultline_##ev##_semaphore;
TRACE_EVENTS(X)
#undef X

#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#define TRACE_PROBED(ev) faultline_##ev##_semaphore
#define TRACE_PROBE(ev, fault, object, a, b, c, d)                                                 \
        DTRACE_PROBE6(faultline, ev, fault, object, a, b, c, d)
#else
#define TRACE_PROBED(ev) 0u
#define TRACE_PROBE(ev, fault, object, a, b, c, d) ((void)0)
#endif

#endif
