/* SPDX-License-Identifier: Apache-2.0
 *
 * child.h - descriptors that a forked child closes at once.
 *
 * A child has the parent's sockets and nobody who would answer on them: while it had them open, a port
 * would stay taken, a dead engine would look alive, and who is connected would never hear of its end.
 */
#ifndef FL_LIVE_CHILD_H
#define FL_LIVE_CHILD_H

#define CHILD_NO_SLOT (-1)

/* From now on children close this socket. A slot, or -errno: -ENFILE: there are too many. */
int child_closes(int fd);
/* No longer: said before the descriptor is closed. CHILD_NO_SLOT: nothing. */
void child_slot_free(int slot);

#endif
