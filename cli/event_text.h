/* SPDX-License-Identifier: Apache-2.0
 *
 * event_text.h - the arguments of trace events, in words: prot as rw-, flags by name, whys.
 */
#ifndef FAULTLINE_CLI_EVENT_TEXT_H
#define FAULTLINE_CLI_EVENT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define EVENT_TEXT_MAX 96

/* event and argument by their names in the trace, such as "FIND_VMA" and "prot". Writes at most
 * EVENT_TEXT_MAX bytes into buf and returns it. */
const char *event_text(char *buf, const char *event, const char *argument, uint64_t value);
/* The same with the argument's name before it ("index 5"), where that says more ("miss"). */
const char *event_argument(char *buf, const char *event, const char *argument, uint64_t value);
/* How far the line of an event of this layer is indented: 0 for mmu to 5 for driver. */
unsigned event_depth(const char *layer);

#endif
