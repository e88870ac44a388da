/* SPDX-License-Identifier: Apache-2.0
 *
 * listen.c - sockets to listen on: made, published under a name that nobody else has, removed.
 *
 * A published socket is bound under a name with a dot in front and gets its own by rename(2) when
 * somebody listens: so a name without a dot that refuses connections is that of an engine that has
 * gone, and whoever meets it removes it.
 *
 * A forked child has the descriptors, and nobody there who would answer; while it had them open, a port
 * would stay taken and a dead engine would look alive. So a child closes them at once.
 */
#include "live/listen.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 16
#define HALF_MADE_S 60 /* a name with a dot that is older belongs to nobody */

/* ---- what a forked child closes ---- */

#define CHILD_SLOTS 1024
#define NO_SLOT CHILD_SLOTS

/* fork(2) copies the table of descriptors before the memory, so a number may have become another file's:
 * the inode says whether it is still ours. 0 in `used`: free. */
static struct {
        _Atomic uint32_t used;
        _Atomic int fd;
        _Atomic uint64_t inode;
} child_closes[CHILD_SLOTS];
static pthread_once_t at_fork = PTHREAD_ONCE_INIT;

static void close_in_child(void)
{
        struct stat st;

        for (unsigned i = 0; i < CHILD_SLOTS; i++) {
                int fd = atomic_load(&child_closes[i].fd) - 1;

                if (fd >= 0 && !fstat(fd, &st) && S_ISSOCK(st.st_mode) &&
                    st.st_ino == atomic_load(&child_closes[i].inode))
                        close(fd);
        }
}

static void watch_forks(void)
{
        pthread_atfork(NULL, NULL, close_in_child);
}

static int child_slot_get(int fd)
{
        struct stat st;

        pthread_once(&at_fork, watch_forks);
        if (fstat(fd, &st))
                return -errno;
        for (unsigned i = 0; i < CHILD_SLOTS; i++) {
                uint32_t unused = 0;

                if (!atomic_compare_exchange_strong(&child_closes[i].used, &unused, 1))
                        continue;
                atomic_store(&child_closes[i].inode, st.st_ino);
                atomic_store(&child_closes[i].fd, fd + 1);
                return (int)i;
        }
        return -ENFILE;
}

static void child_slot_put(unsigned i)
{
        atomic_store(&child_closes[i].fd, 0);
        atomic_store(&child_closes[i].used, 0);
}

/* ---- where ---- */

static bool is_port(const char *text, unsigned *port)
{
        const char *first = text;

        for (*port = 0; isdigit((unsigned char)*text); text++)
                *port = (unsigned)min_u64(*port * 10 + (unsigned)(*text - '0'), 65536);
        return text > first && !*text;
}

static int parse_host(const char *host, size_t len, unsigned port, struct where *out)
{
        struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;
        char text[64];

        if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
                host++;
                len -= 2;
        }
        if (len >= sizeof(text))
                return -EINVAL;
        memcpy(text, host, len);
        text[len] = '\0';
        if (!*text || strcmp(text, "localhost") == 0)
                memcpy(text, "127.0.0.1", sizeof("127.0.0.1"));
        if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons((uint16_t)port);
                out->address_size = sizeof(*v4);
        } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
                v6->sin6_family = AF_INET6;
                v6->sin6_port = htons((uint16_t)port);
                out->address_size = sizeof(*v6);
        } else {
                return -EINVAL;
        }
        return 0;
}

int where_parse(const char *text, struct where *out, const char **why)
{
        const char *colon = strrchr(text, ':');
        unsigned port = 0;

        *out = (struct where){ .kind = WHERE_FILE, .path = text };
        if (strncmp(text, "unix:", 5) == 0) {
                out->kind = WHERE_UNIX;
                out->path = text + 5;
                *why = "unix: takes a path of at most 107 bytes";
                return *out->path && strlen(out->path) < sizeof(((struct sockaddr_un *)0)->sun_path)
                               ? 0
                               : -EINVAL;
        }
        if (!is_port(colon ? colon + 1 : text, &port) || (colon && strchr(text, '/'))) {
                *why = "no file has an empty name";
                return *text ? 0 : -EINVAL;
        }
        out->kind = WHERE_TCP;
        *why = "a port is a number from 1 to 65535";
        if (port < 1 || port > 65535)
                return -EINVAL;
        *why = "before the port stands an address in numbers, localhost, or nothing; of a file's "
               "name with a colon say ./NAME";
        return parse_host(text, colon ? (size_t)(colon - text) : 0, port, out);
}

/* ---- listening ---- */

struct listener listener_none(void)
{
        return (struct listener){ .fd = -1, .child_slot = NO_SLOT };
}

static void close_socket(struct listener *l)
{
        if (l->child_slot != NO_SLOT)
                child_slot_put(l->child_slot);
        l->child_slot = NO_SLOT;
        if (l->fd >= 0)
                close(l->fd);
        l->fd = -1;
}

char *absolute_path(const char *path)
{
        char folder[PATH_MAX], *whole = NULL;

        if (*path == '/' || !getcwd(folder, sizeof(folder)))
                return strdup(path);
        return asprintf(&whole, "%s/%s", folder, path) < 0 ? NULL : whole;
}

static int make_socket(struct listener *l, int family)
{
        int slot;

        *l = (struct listener){ .child_slot = NO_SLOT, .local = family == AF_UNIX };
        l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (l->fd < 0)
                return -errno;
        slot = child_slot_get(l->fd);
        if (slot < 0) {
                close_socket(l);
                return slot;
        }
        l->child_slot = (unsigned)slot;
        return 0;
}

/* Bound and listening. The name gets the mode of the socket's inode, so nobody but its owner may
 * connect from the first moment on. */
static int bind_local(struct listener *l, const struct sockaddr_un *address, const char *path)
{
        struct stat st;

        if (fchmod(l->fd, 0600) || bind(l->fd, (const struct sockaddr *)address, sizeof(*address)))
                return -errno;
        if (listen(l->fd, BACKLOG) || lstat(address->sun_path, &st)) {
                int error = -errno;

                unlink(address->sun_path);
                return error;
        }
        l->inode = st.st_ino;
        l->device = st.st_dev;
        l->path = absolute_path(path);
        if (l->path)
                return 0;
        unlink(address->sun_path);
        return -ENOMEM;
}

static bool is_old(int dir, const char *name)
{
        struct stat st;

        return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) &&
               st.st_mtime + HALF_MADE_S < time(NULL);
}

/* Those on which nobody listens any more. */
static void sweep(const char *folder)
{
        DIR *d = opendir(folder);
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                const char *name = entry->d_name;

                if (entry->d_type != DT_SOCK || (*name == '.' && !is_old(dirfd(d), name)))
                        continue;
                if (runtime_is_dead(folder, name))
                        unlinkat(dirfd(d), name, 0);
        }
        if (d)
                closedir(d);
}

static int publish_in(struct listener *l, const char *folder)
{
        char hidden[40], path[RUNTIME_PATH + 48], from[RUNTIME_PATH + 48];
        struct sockaddr_un address;
        uint32_t number;
        int dir, error;

        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                number = (uint32_t)now_ns();
        snprintf(hidden, sizeof(hidden), ".%d-%08x.sock", (int)getpid(), number);
        snprintf(from, sizeof(from), "%s/%s", folder, hidden);
        snprintf(path, sizeof(path), "%s/%s", folder, hidden + 1);
        error = runtime_address(folder, hidden, &address, &dir);
        if (error)
                return error;
        error = bind_local(l, &address, path);
        if (dir >= 0)
                close(dir);
        if (!error && rename(from, path)) {
                error = -errno;
                unlink(from);
        }
        return error;
}

int listen_published(struct listener *l)
{
        char folder[RUNTIME_PATH];
        int error = -ENOENT;

        for (unsigned i = 0; i < RUNTIME_PLACES && error; i++) {
                if (!runtime_folder(i, true, folder, sizeof(folder)))
                        continue;
                sweep(folder);
                error = make_socket(l, AF_UNIX);
                if (!error)
                        error = publish_in(l, folder);
                if (error)
                        close_socket(l);
        }
        if (error)
                *l = listener_none();
        l->all = true;
        return error;
}

/* A socket, and nobody listens on it. */
static bool is_left_over(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct stat st;
        int fd, error;

        if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
                return false;
        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        error = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
        if (fd >= 0)
                close(fd);
        return error == ECONNREFUSED;
}

static int listen_unix(struct listener *l, const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int error;

        memcpy(address.sun_path, path, strlen(path) + 1);
        error = bind_local(l, &address, path);
        if (error == -EADDRINUSE && is_left_over(path) && !unlink(path))
                error = bind_local(l, &address, path);
        return error;
}

static int listen_tcp(struct listener *l, const struct where *w)
{
        int on = 1;

        /* Connections of an earlier run that are still being closed do not keep the port. */
        (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (w->address.ss_family == AF_INET6)
                (void)setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        if (bind(l->fd, (const struct sockaddr *)&w->address, w->address_size) ||
            listen(l->fd, BACKLOG))
                return -errno;
        return 0;
}

int listen_at(struct listener *l, const struct where *w)
{
        int error = make_socket(l, w->kind == WHERE_UNIX ? AF_UNIX : w->address.ss_family);

        if (!error)
                error = w->kind == WHERE_UNIX ? listen_unix(l, w->path) : listen_tcp(l, w);
        if (error) {
                close_socket(l);
                free(l->path);
                *l = listener_none();
        }
        return error;
}

void listen_end(struct listener *l)
{
        struct stat st;

        if (l->path && !lstat(l->path, &st) && S_ISSOCK(st.st_mode) && st.st_ino == l->inode &&
            st.st_dev == l->device)
                unlink(l->path);
        close_socket(l);
        free(l->path);
        l->path = NULL;
}
