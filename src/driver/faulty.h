/* SPDX-License-Identifier: Apache-2.0
 *
 * faulty.h - the rules of a --faults SPEC, as faulty.c and faults.c share them.
 *
 *   eio@OFF+LEN[*COUNT]   reads and writes that touch the bytes fail with EIO, the first COUNT
 *   eio-read@OFF+LEN[*COUNT]  only reads
 *   enospc@OFF+LEN        writes that touch them fail with ENOSPC
 *   delay=TIME[@OFF+LEN]  what touches them completes TIME later; no range: every I/O, flushes too
 *   short@OFF+LEN[*COUNT] reads and writes that touch them move fewer bytes than asked for, but at
 *                         least a sector
 *   powercut=N            the power goes in the middle of the Nth write to any of the engine's devices
 *                         (N from 1): that I/O and all that come after it fail with EIO. What a flush
 *                         that had completed covered is on disk, and so is what was written with FUA.
 *                         Of the rest, without a seed: all writes before the Nth. With one: as it
 *                         draws, some, in any order
 *   torn                  a write that no flush covered may reach the disk in part. Without a seed: the
 *                         Nth up to some sector of it. With one: any, in sectors or in blocks of 4 KiB.
 *                         Metadata in blocks of the file system
 *   seed=N                for rules that draw numbers; 0, the default, is none
 */
#ifndef FL_DRIVER_FAULTY_H
#define FL_DRIVER_FAULTY_H

#include "driver/device.h"

#define MAX_FAULT_RULES 32

enum fault_kind { FAULT_EIO, FAULT_EIO_READ, FAULT_ENOSPC, FAULT_DELAY, FAULT_SHORT };

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
        uint64_t powercut; /* 0: the power stays */
        bool torn;
        _Atomic uint64_t drawn; /* numbers for `short` */
};

/* 0, or -EINVAL. */
int faults_parse(struct fault_rules *rules, const char *spec);
/* The error this I/O is to fail with, 0 for none; uses up one of a rule's COUNT. */
int faults_error(struct fault_rules *rules, const struct driver_io *io);
/* Is there to be no room for these bytes? Uses nothing up. */
bool faults_no_room(const struct fault_rules *rules, const struct driver_io *io);
/* How many bytes it is to move, if fewer than it asks for; else its length. */
uint64_t faults_short(struct fault_rules *rules, const struct driver_io *io);
/* By how many nanoseconds its completion is to be delayed. */
uint64_t faults_delay(const struct fault_rules *rules, const struct driver_io *io);

#endif
