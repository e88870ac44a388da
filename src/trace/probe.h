/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.h - a static probe (USDT) for each event, for bpftrace(8), perf(1) and systemtap.
 *
 * A probe of provider `faultline` has the event's name and six arguments: the fault's id, the object
 * (file or device), and the event's own four. It is one nop and a note in the ELF file; nobody has to
 * trace for it. What is passed must be at hand: it is worked out whether somebody looks or not.
 */
#ifndef FL_TRACE_PROBE_H
#define FL_TRACE_PROBE_H

#ifdef FL_PROBES
#include <sys/sdt.h>
#define TRACE_PROBE(ev, fault, object, a, b, c, d)                                                 \
        DTRACE_PROBE6(faultline, ev, fault, object, a, b, c, d)
#else
#define TRACE_PROBE(ev, fault, object, a, b, c, d) ((void)0)
#endif

#endif
