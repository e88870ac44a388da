/* SPDX-License-Identifier: Apache-2.0
 *
 * poll.h - reads of host files for a thread that waits for them anyway: it looks for the end itself for
 * a while, before it sleeps (--spin).
 *
 * A thread that sleeps for a read has to be woken, and the core it slept on with it, which costs as much
 * as a fifth of a fast disk's read. It takes a small io_uring for itself, submits the one read, and looks
 * at the ring; when the time is up, it sleeps in the kernel until the read is over, as it would have in
 * preadv2(2). So no other thread has to do with it, and nothing is left in a ring that is given back.
 *
 * There are half as many rings as processors, 8 at most. While more threads than that wait for reads, those
 * that come sleep at once: there is other work to be done than to look at a ring.
 */
#ifndef FL_DRIVER_POLL_H
#define FL_DRIVER_POLL_H

#include "driver/file.h"
#include "util/spin.h"

struct pollers;

/* NULL: no ring can be had. `spin` stays until they are destroyed. */
struct pollers *pollers_create(struct spin *spin);
/* NULL is allowed. Nobody reads. */
void pollers_destroy(struct pollers *p);
/* Like preadv2(2): bytes, or -errno. Sleeps. Async-signal-safe. */
int64_t poll_read(struct pollers *p, const struct file_part *part);

#endif
