/* SPDX-License-Identifier: Apache-2.0
 *
 * listen.c - sockets to listen on: made, published under a name that nobody else has, removed.
 *
 * A socket is bound under a name with a dot in front and gets its own by link(2) when somebody listens:
 * so a name without a dot that refuses connections is that of an engine that has gone, and whoever meets
 * it removes it. link(2) replaces nothing: of two who want one name one gets it.
 */
#include "live/listen.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "live/child.h"

#define BACKLOG 16
#define HIDDEN_MAX 40
#define LOCK_TRIES 100 /* of a hundredth of a second */
#define HALF_MADE_S 60 /* a name with a dot that is older belongs to nobody */

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
        return (struct listener){ .fd = -1, .child_slot = CHILD_NO_SLOT };
}

/* Nobody listens any more, whoever else still has the descriptor: a child that was made without fork(3). */
static void close_socket(struct listener *l)
{
        child_slot_free(l->child_slot);
        l->child_slot = CHILD_NO_SLOT;
        if (l->fd >= 0) {
                shutdown(l->fd, SHUT_RDWR);
                close(l->fd);
        }
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
        *l = (struct listener){ .child_slot = CHILD_NO_SLOT, .local = family == AF_UNIX };
        l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (l->fd < 0)
                return -errno;
        l->child_slot = child_closes(l->fd);
        return l->child_slot < 0 ? l->child_slot : 0;
}

/* ---- names of sockets ---- */

static char *in_folder(const char *folder, const char *name)
{
        char *path = NULL;

        return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* Bound to a name that nobody looks for, and listening. The name gets the mode of the socket's inode, so
 * nobody but its owner may connect from the first moment on. */
static int bind_hidden(struct listener *l, const char *folder, char hidden[HIDDEN_MAX])
{
        struct sockaddr_un address;
        uint32_t number;
        int dir, error;

        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                number = (uint32_t)now_ns();
        snprintf(hidden, HIDDEN_MAX, ".%d-%08x.sock", (int)getpid(), number);
        error = runtime_address(folder, hidden, &address, &dir);
        if (error)
                return error;
        if (fchmod(l->fd, 0600) || bind(l->fd, (struct sockaddr *)&address, sizeof(address))) {
                error = -errno;
        } else if (listen(l->fd, BACKLOG)) {
                error = -errno;
                unlink(address.sun_path);
        }
        if (dir >= 0)
                close(dir);
        return error;
}

/* Held for some system calls only; who holds it longer is none of ours, and is not waited for. */
static int lock_folder(const char *folder)
{
        const struct timespec nap = { .tv_nsec = 10000000 };
        int dir = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (unsigned i = 0; dir >= 0 && i < LOCK_TRIES; i++) {
                if (!flock(dir, LOCK_EX | LOCK_NB))
                        return dir;
                nanosleep(&nap, NULL);
        }
        if (dir >= 0)
                close(dir);
        return -EADDRINUSE;
}

/* A child forked meanwhile has the lock, too, but not any more when this end has given it up. */
static void unlock_folder(int dir)
{
        flock(dir, LOCK_UN);
        close(dir);
}

/* A socket on which nobody listens any more gives up its name. It is looked at and removed under a lock:
 * who did that without might remove the socket of another who has just done the same. */
static int remove_left_over(const char *folder, const char *name, const char *path)
{
        int dir = lock_folder(folder), error = 0;
        struct stat st;

        if (dir < 0)
                return dir;
        if (lstat(path, &st)) /* somebody has been here before: see who gets it */
                error = errno == ENOENT ? 0 : -errno;
        else if (!S_ISSOCK(st.st_mode) || !runtime_is_dead(folder, name))
                error = -EADDRINUSE;
        else if (unlink(path))
                error = -errno;
        unlock_folder(dir);
        return error;
}

/* The name is there from when somebody listens, and only if nobody else has it. */
static int take_name(const char *from, const char *folder, const char *name, const char *path)
{
        int error;

        if (!link(from, path))
                return 0;
        if (errno != EEXIST)
                return -errno;
        error = remove_left_over(folder, name, path);
        if (!error && link(from, path))
                error = errno == EEXIST ? -EADDRINUSE : -errno;
        return error;
}

/* Listens under a name in a folder; NULL: one that nobody has. */
static int listen_as(struct listener *l, const char *folder, const char *name)
{
        char hidden[HIDDEN_MAX], *from, *path;
        int error = bind_hidden(l, folder, hidden);
        struct stat st;

        if (error)
                return error;
        if (!name)
                name = hidden + 1;
        from = in_folder(folder, hidden);
        path = in_folder(folder, name);
        if (!from || !path)
                error = -ENOMEM;
        else if (lstat(from, &st))
                error = -errno;
        if (!error)
                error = take_name(from, folder, name, path);
        if (!error) {
                l->inode = st.st_ino;
                l->device = st.st_dev;
                l->path = path;
                path = NULL;
        }
        if (from)
                unlink(from);
        free(from);
        free(path);
        return error;
}

/* ---- the engine's own ---- */

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
                        error = listen_as(l, folder, NULL);
                if (error)
                        close_socket(l);
        }
        if (error)
                *l = listener_none();
        l->all = true;
        return error;
}

/* ---- where figures are wanted ---- */

static int listen_unix(struct listener *l, const char *path)
{
        char *whole = absolute_path(path), *name = whole ? strrchr(whole, '/') : NULL;
        int error = whole ? -EINVAL : -ENOMEM;

        if (name) {
                *name = '\0';
                error = listen_as(l, whole, name + 1);
        }
        free(whole);
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
