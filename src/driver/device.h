/* SPDX-License-Identifier: Apache-2.0
 *
 * device.h - what the drivers share among themselves.
 */
#ifndef FL_DRIVER_DEVICE_H
#define FL_DRIVER_DEVICE_H

#include "driver/driver.h"

#define DEFAULT_DEPTH 64
#define MAX_SEGMENTS 1024 /* iovecs of one system call: UIO_MAXIOV */

/* The result is known: hand the I/O back. It may be gone when this returns. */
static inline void driver_io_done(struct driver_io *io, int64_t result)
{
        io->result = result;
        io->done(io);
}

/* A list of I/Os, first in first out, linked by io->next. */
struct io_list {
        struct driver_io *head, *tail;
};

static inline void io_list_push(struct io_list *l, struct driver_io *io)
{
        io->next = NULL;
        if (l->tail)
                l->tail->next = io;
        else
                l->head = io;
        l->tail = io;
}

static inline struct driver_io *io_list_pop(struct io_list *l)
{
        struct driver_io *io = l->head;

        if (!io)
                return NULL;
        l->head = io->next;
        if (!l->head)
                l->tail = NULL;
        io->next = NULL;
        return io;
}

#endif
