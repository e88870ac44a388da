/* SPDX-License-Identifier: Apache-2.0
 *
 * listen.h - where an engine can be reached: its own socket in the user's folder, and the place that
 * was asked for with `metrics`.
 */
#ifndef FL_LIVE_LISTEN_H
#define FL_LIVE_LISTEN_H

#include <netinet/in.h>
#include <sys/stat.h>

#include "live/runtime.h"

/* What `metrics` says: FILE, unix:PATH, or HOST:PORT, of which HOST is an address, "localhost" or
 * nothing, which is 127.0.0.1. */
struct where {
        enum { WHERE_FILE, WHERE_UNIX, WHERE_TCP } kind;
        const char *path; /* of FILE and unix: */
        struct sockaddr_storage address;
        socklen_t address_size;
};
/* 0, or -EINVAL and why. The path is a part of `text`. */
int where_parse(const char *text, struct where *out, const char **why);

struct listener {
        int fd;      /* -1: there is none */
        bool local;  /* a socket of the host's: who connects can be asked who he is */
        bool all;    /* everything is told here, not only metrics */
        char *path;  /* to be removed; NULL: nothing */
        ino_t inode; /* if it is still this */
        dev_t device;
        int child_slot; /* of what a forked child closes (child.h) */
};

struct listener listener_none(void);
/* In the folder of the user's sockets, under a new name; those of engines that have gone are removed
 * from it. 0 or -errno. */
int listen_published(struct listener *l);
/* As the words say. A socket in the way on which nobody listens any more is replaced, by one of those who
 * want its place. 0 or -errno: -EADDRINUSE: taken. */
int listen_at(struct listener *l, const struct where *w);
/* The program may change its working directory. From malloc; NULL: no memory. */
char *absolute_path(const char *path);
/* No child of fork(3) holds it after this; nor does a file lie about. */
void listen_end(struct listener *l);

#endif
