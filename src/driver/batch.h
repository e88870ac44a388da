/* SPDX-License-Identifier: Apache-2.0
 *
 * batch.h - writes of a thread that waits for all of them, sent and ended by that thread: a small io_uring
 * of its own for as long as it takes (driver.h: device_batch_begin).
 *
 * By the ring of all each batch would wake a thread of the loop, on another core, which sends it; that
 * thread wakes again for the ends, and then wakes us. Here one thread enters the kernel with so many
 * writes, and sleeps there until they are over. While no other core runs a thread of the program, taking
 * away write access interrupts none.
 *
 * A ring is one thread's from begin to end, with nothing in it before and after. There are half as many
 * rings as processors, at least 2 and 8 at most; who finds none free goes by the ring of all, and so do
 * those whom the kernel refuses theirs, if only in the middle.
 */
#ifndef FL_DRIVER_BATCH_H
#define FL_DRIVER_BATCH_H

#include "driver/file.h"

struct batches;

/* NULL: no memory. */
struct batches *batches_create(void);
/* NULL is allowed. No batch is anybody's. */
void batches_destroy(struct batches *b);
/* NULL: none is free, none can be had, or the thread has one already. */
struct driver_batch *batch_begin(struct batches *b);
/* The calling thread's, of these; NULL: it has none. */
struct driver_batch *batch_mine(const struct batches *b);
/* The I/O, which has begun, is the batch's from here on. False: it has no room. => the thread's own */
bool batch_add(struct driver_batch *b, struct driver_io *io);
/* Starts what has been added. => the thread's own */
void batch_send(struct driver_batch *b);
/* I/Os and system calls of all of them so far, added to what is there. */
void batches_count(struct batches *b, uint64_t *ios, uint64_t *calls);

/* uring.c: the I/O, which has begun, goes by the ring of all. */
void uring_hand_over(struct driver_io *io);

#endif
