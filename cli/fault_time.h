/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_time.h - where the time of one fault went: each layer's share of it.
 *
 * What an event's layer does lasts until the next event of the fault. From a RETRY until it goes on nobody
 * does anything for it but the device, while that has a request of its own; the rest it waits for what
 * others do. The shares add up to the fault's time.
 */
#ifndef FAULTLINE_CLI_FAULT_TIME_H
#define FAULTLINE_CLI_FAULT_TIME_H

#include <jansson.h>
#include <stdio.h>

#include "trace/reader.h"

/* The layers by event_depth(); the driver's is the device's, too. */
enum { FAULT_PART_WAIT = 6, FAULT_PARTS };

struct fault_time {
        uint64_t ns[FAULT_PARTS];
        /* of the event before: */
        uint64_t at;
        unsigned part;
        unsigned at_driver; /* requests of its own */
        bool waits;         /* since a RETRY */
        bool any, over;
};

/* The fault's events one after the other, in order of time; what follows FAULT_END is not its time. */
void fault_time_add(struct fault_time *t, const struct trace_reader *r,
                    const struct trace_record *record);
/* A line a layer that took any, with a bar. */
void fault_time_print(FILE *out, const struct fault_time *t);
/* Nanoseconds by layer; NULL: no memory. */
json_t *fault_time_json(const struct fault_time *t);

#endif
