/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime.h - the folder in which the engines of a user have their sockets.
 *
 * $XDG_RUNTIME_DIR/faultline if that variable names a folder of the user's own; else
 * /run/faultline-UID, or where that cannot be made, /tmp/faultline-UID. It must be a folder, no link,
 * the user's, and closed to everybody else; another is passed over, whoever has put it there.
 */
#ifndef FL_LIVE_RUNTIME_H
#define FL_LIVE_RUNTIME_H

#include <limits.h>

#include "util/base.h"

#define RUNTIME_PLACES 3
#define RUNTIME_PATH 200 /* longer than a socket's address: runtime_address() */

/* The index-th place where it may be; create: make it. False: not there, or not to be trusted. */
bool runtime_folder(unsigned index, bool create, char *out, size_t size);

struct sockaddr_un;
/* A socket's address in such a folder, however long the folder's name is: then by a descriptor of it,
 * *dir, which the caller closes; -1: none was needed. 0 or -errno. */
int runtime_address(const char *folder, const char *name, struct sockaddr_un *out, int *dir);
/* Is the other end of this connection the same user, or root? Its process, or -EPERM. */
int runtime_peer(int fd);
/* Does nobody listen on that socket any more? */
bool runtime_is_dead(const char *folder, const char *name);

#endif
