/* SPDX-License-Identifier: Apache-2.0
 *
 * power.h - `powercut=N` of --faults: a disk with a volatile write cache, and the moment at which
 * its power goes. Stands between faulty.c and the device that is wrapped.
 */
#ifndef FL_DRIVER_POWER_H
#define FL_DRIVER_POWER_H

#include "driver/faulty.h"

struct power;

/* `shown`: the device as file systems see it, with its meta_block. */
int power_create(struct power **out, struct driver_env *env, struct device *inner,
                 const struct device *shown, const struct fault_rules *rules);
/* p may be NULL. Nothing is under way; the cache has been flushed, or is lost. */
void power_destroy(struct power *p);

/* The moment at which an I/O was handed in: a flush covers the writes that were done before. */
uint64_t power_tick(struct power *p);
/* As device_submit(inner, io), but one I/O at a time: not again before io->done. */
void power_submit(struct power *p, struct driver_io *io, uint64_t tick);
/* The caller of this I/O, whose done() has been called, is told now. */
void power_told(struct power *p, const struct driver_io *io);
bool power_is_off(const struct power *p);

#endif
