/* SPDX-License-Identifier: Apache-2.0
 *
 * faulty.h - the rules of a --faults SPEC, as faulty.c and faults.c share them.
 *
 *   eio@OFF+LEN[*COUNT]   reads and writes that touch the bytes fail with EIO, the first COUNT
 *   eio-read@OFF+LEN[*COUNT]  only reads
 *   enospc@OFF+LEN        writes that touch them fail with ENOSPC
 *   delay=TIME[@OFF+LEN]  what touches them completes TIME later; no range: every I/O, flushes too
 *   seed=N                for rules that draw numbers
 */
#ifndef FL_DRIVER_FAULTY_H
#define FL_DRIVER_FAULTY_H

#include "driver/device.h"

#define MAX_FAULT_RULES 32

enum fault_kind { FAULT_EIO, FAULT_EIO_READ, FAULT_ENOSPC, FAULT_DELAY };

struct fault_rule {
        enum fault_kind kind;
        bool everywhere; /* no range was given */
        uint64_t offset, len;
        bool counted;
        _Atomic int64_t left; /* if counted: how many times still */
        uint64_t delay_ns;
};

struct fault_rules {
        struct fault_rule rule[MAX_FAULT_RULES];
        unsigned count;
        uint64_t seed;
};

/* 0, or -EINVAL. */
int faults_parse(struct fault_rules *rules, const char *spec);
/* The error this I/O is to fail with, 0 for none; uses up one of a rule's COUNT. */
int faults_error(struct fault_rules *rules, const struct driver_io *io);
/* By how many nanoseconds its completion is to be delayed. */
uint64_t faults_delay(const struct fault_rules *rules, const struct driver_io *io);

#endif
