/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime.c - the folder of the sockets, and who may be at their other end.
 */
#include "live/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Of the user's own, and nobody else may change what is in it (write) or look into it (all). */
static bool is_own_folder(const char *path, mode_t others)
{
        struct stat st;

        return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
               !(st.st_mode & others);
}

static bool place(unsigned index, char *out, size_t size)
{
        const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
        int n = -1;

        if (index == 0 && runtime && *runtime == '/' && is_own_folder(runtime, 022))
                n = snprintf(out, size, "%s/faultline", runtime);
        else if (index == 1)
                n = snprintf(out, size, "/run/faultline-%u", (unsigned)geteuid());
        else if (index == 2)
                n = snprintf(out, size, "/tmp/faultline-%u", (unsigned)geteuid());
        return n > 0 && (size_t)n < size;
}

bool runtime_folder(unsigned index, bool create, char *out, size_t size)
{
        if (!place(index, out, size))
                return false;
        if (create && mkdir(out, 0700) && errno != EEXIST)
                return false;
        return is_own_folder(out, 077);
}

int runtime_address(const char *folder, const char *name, struct sockaddr_un *out, int *dir)
{
        int n;

        *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
        *dir = -1;
        n = snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", folder, name);
        if (n > 0 && (size_t)n < sizeof(out->sun_path))
                return 0;
        *dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*dir < 0)
                return -errno;
        n = snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", *dir, name);
        if (n > 0 && (size_t)n < sizeof(out->sun_path))
                return 0;
        close(*dir);
        *dir = -1;
        return -ENAMETOOLONG;
}

int runtime_peer(int fd)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
                return -EPERM;
        return peer.uid == geteuid() || peer.uid == 0 ? peer.pid : -EPERM;
}

bool runtime_is_dead(const char *folder, const char *name)
{
        struct sockaddr_un address;
        int dir, fd, error;

        if (runtime_address(folder, name, &address, &dir))
                return false;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        error = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
        if (fd >= 0)
                close(fd);
        if (dir >= 0)
                close(dir);
        return error == ECONNREFUSED;
}
