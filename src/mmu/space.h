/* SPDX-License-Identifier: Apache-2.0
 *
 * space.h - forked children that inherit mappings: each has an address space of its own, with a
 * userfaultfd of its own, whose events come to the parent's loop, and on which the parent's ioctls act.
 *
 *        the parent                                    the child
 *
 *   space_ops.make       a number, a socket pair
 *   space_ops.inherit    MADV_DOFORK
 *   fork(2) ------------------------------------------> space_ops.enter    opens a userfaultfd
 *   space_ops.forked                                    space_ops.take     registers what it has
 *        |                                              space_ops.settle   starts its keeper, and
 *   looker-after: adopts the descriptor  <------------------ sends the descriptor
 *        |  its events are faults of space N                 |  the keeper waits
 *        |                                                   |
 *   looker-after: the socket has ended   <------------------ exit, or exec
 *   client->ended, space_ops.release
 *
 * The keeper is a thread of the child's, with descriptors of its own and no others: whatever the
 * program closes, it holds the userfaultfd open, without which the mappings would silently show
 * zeros. It poisons pages that the parent asks for, since only the child itself can take away what it
 * has mapped. When the parent has ended it takes the events itself, and answers each with poison.
 */
#ifndef FL_MMU_SPACE_H
#define FL_MMU_SPACE_H

#include "mmu/uffd_ops.h"

struct space {
        struct spaces *all;        /* (c) */
        unsigned nr;               /* (c) */
        _Atomic bool used;         /* [fork] */
        _Atomic int fd;            /* -1: the child has not come yet. [fork] to close */
        _Atomic int pagemap;       /* of the child; -1 as above. [fork] to close */
        _Atomic int sock;          /* to its keeper. [fork] to make and to close */
        int theirs;                /* [fork] the other end, until it has forked */
        struct loop_source source; /* of the looker-after */
        bool adopted;              /* the source is on the loop */
};

/* [fork]: the lock that the client holds across fork(2), mmu.h. */
struct spaces {
        struct uffd *u; /* (c) */
        int poll, kick; /* (c) what the looker-after waits on; it is told to stop */
        pthread_t looker;
        _Atomic bool stop;
        struct space space[SPACES_MAX]; /* by number; 0 is nobody's */
};

extern const struct space_ops uffd_space_ops;

/* The descriptors of a child; -1: it is not here, or has gone. s: NULL: there are none. */
int spaces_fd(struct spaces *s, unsigned nr);
int spaces_pagemap(struct spaces *s, unsigned nr);
/* The keeper is to poison pages, whatever is mapped there. 0, or -errno: not now. */
int spaces_poison(struct spaces *s, unsigned nr, uint64_t addr, uint64_t pages);
/* => no child is left */
void spaces_free(struct uffd *u);

/* What goes over the socket. The child says hello once, with its userfaultfd and its pagemap. */
struct space_hello {
        uint32_t nr;
};
struct space_order { /* to the keeper: poison these */
        uint64_t addr, len;
};

/* keeper.c: the child's part of space_ops. */
int space_enter(struct mmu *m, unsigned nr);
int space_take(struct mmu *m, uint64_t addr, uint64_t len, bool file);
int space_drop(struct mmu *m, uint64_t addr, uint64_t len);
int space_settle(struct mmu *m, unsigned nr, int error);

#endif
