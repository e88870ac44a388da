/* SPDX-License-Identifier: Apache-2.0
 *
 * pieces.h - a range is moved by mremap(2), which moves one mapping of the kernel's at a time:
 * one of ours may be several of the kernel's, since it does not join private ones that have
 * copies, each its own.
 */
#ifndef FL_MMU_PIECES_H
#define FL_MMU_PIECES_H

#include "util/base.h"

/* Moves what is one mapping of the kernel's; flags: MREMAP_DONTUNMAP or 0. 0, -EFAULT: it is not
 * one; or -errno. */
typedef int move_piece(void *arg, uint64_t from, uint64_t to, uint64_t len, int flags);
/* Moves a range, whole or, if that is not one mapping, in pieces. Of these each leaves an empty
 * mapping behind until all have gone, so that after an error the pages are where they were
 * before, and nobody else has come into their place; at `to` something is mapped in any case. 0
 * or -errno */
int move_in_pieces(uint64_t from, uint64_t to, uint64_t len, bool keep, move_piece *move,
                   void *arg);

#endif
