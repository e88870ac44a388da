/* SPDX-License-Identifier: Apache-2.0
 *
 * connect.c - a handle that is connected and negotiated, or an errno within a time.
 *
 * The socket is our own: so a try to connect ends at its deadline, a network that has gone is noticed
 * (TCP_USER_TIMEOUT), and a descriptor of it outlives the handle, which is how conn.c learns that the
 * server has done with a connection. Only the resolver takes as long as resolv.conf(5) lets it.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "driver/nbd/nbd.h"

#define FULL_BACKLOG_MS 20

/* One try to connect, on its way. */
struct attempt {
        const struct nbd_target *target;
        uint64_t deadline;
        int cancel;
        const char *why;
};

/* Milliseconds that are left, at least 1; 0: none. */
static int time_left(const struct attempt *a)
{
        uint64_t now = now_ns();

        return now < a->deadline ? (int)min_u64((a->deadline - now) / 1000000 + 1, 1000000) : 0;
}

/* Until the descriptor has one of the events (-1: just the time). 0, -ETIMEDOUT or -ECANCELED. */
static int wait_for(struct attempt *a, int fd, short events, int at_most_ms)
{
        struct pollfd p[2] = { { .fd = a->cancel, .events = POLLIN },
                               { .fd = fd, .events = events } };
        int ms = time_left(a);

        if (!ms)
                return -ETIMEDOUT;
        if (at_most_ms && at_most_ms < ms)
                ms = at_most_ms;
        if (poll(p, 2, ms) < 0)
                return errno == EINTR ? 0 : -errno;
        return p[0].revents ? -ECANCELED : 0;
}

/* ---- the socket ---- */

static int finish_connect(struct attempt *a, int fd)
{
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        socklen_t len = sizeof(int);
        int err = 0;

        while (!err && !poll(&p, 1, 0))
                err = wait_for(a, fd, POLLOUT, 0);
        if (err)
                return err;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
                return -errno;
        return -err;
}

static int connect_to(struct attempt *a, const struct sockaddr *addr, socklen_t len, int *out)
{
        int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int err;

        if (fd < 0)
                return -errno;
        do {
                err = connect(fd, addr, len) ? -errno : 0;
                if (err == -EINPROGRESS)
                        err = finish_connect(a, fd);
                else if (err == -EAGAIN) /* a Unix socket with many waiting before us */
                        err = wait_for(a, -1, 0, FULL_BACKLOG_MS) ?: -EINTR;
        } while (err == -EINTR);
        if (!err)
                *out = fd;
        else
                close(fd);
        return err;
}

static int connect_local(struct attempt *a, int *fd)
{
        struct sockaddr_un addr = { .sun_family = AF_UNIX };

        /* target.c has looked at its length. */
        memcpy(addr.sun_path, a->target->host, strnlen(a->target->host, sizeof addr.sun_path - 1));
        return connect_to(a, (struct sockaddr *)&addr, sizeof addr, fd);
}

static void tune(const struct nbd_target *t, int fd)
{
        unsigned ms = (unsigned)min_u64(t->timeout_ns / 1000000 + 1, UINT32_MAX);
        int on = 1;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

/* Each address in turn, for half of the time that is left, since one that does not answer is not to keep
 * the others from being tried; the last one's error. */
static int connect_remote(struct attempt *a, int *fd)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
        struct addrinfo *found, *at;
        uint64_t end = a->deadline;
        int err = -EHOSTUNREACH;

        if (getaddrinfo(a->target->host, a->target->port, &hints, &found)) {
                a->why = "no such host, or no such port";
                return err;
        }
        for (at = found; at && err && err != -ECANCELED; at = at->ai_next) {
                uint64_t now = now_ns();

                a->deadline = at->ai_next && now < end ? now + (end - now) / 2 : end;
                err = connect_to(a, at->ai_addr, at->ai_addrlen, fd);
        }
        a->deadline = end;
        freeaddrinfo(found);
        if (!err)
                tune(a->target, *fd);
        return err;
}

/* ---- the handshake ---- */

/* Why libnbd gave up. It knows no errno for what a server says out of turn. */
static int handshake_error(struct attempt *a)
{
        int err = nbd_get_errno();

        if (err == ENOENT) {
                a->why = "the server has no such export";
                return -ENOENT;
        }
        if (err == ENOMEM || err == ECONNRESET || err == EPERM || err == EACCES)
                return -err;
        a->why = "what answers there does not speak NBD as this needs it";
        return -EPROTO;
}

static int handshake(struct attempt *a, struct nbd_handle *h)
{
        while (nbd_aio_is_connecting(h)) {
                unsigned dir = nbd_aio_get_direction(h);
                int fd = nbd_aio_get_fd(h), err;
                struct pollfd p = { .fd = fd };

                if (dir & LIBNBD_AIO_DIRECTION_READ)
                        p.events |= POLLIN;
                if (dir & LIBNBD_AIO_DIRECTION_WRITE)
                        p.events |= POLLOUT;
                err = wait_for(a, fd, p.events, 0);
                if (err == -ETIMEDOUT)
                        a->why = "the server does not answer the handshake";
                if (err)
                        return err;
                if (poll(&p, 1, 0) <= 0)
                        continue;
                if ((p.revents & (POLLIN | POLLHUP | POLLERR)) && dir & LIBNBD_AIO_DIRECTION_READ)
                        err = nbd_aio_notify_read(h);
                else
                        err = nbd_aio_notify_write(h);
                if (err)
                        return handshake_error(a);
        }
        if (nbd_aio_is_ready(h))
                return 0;
        a->why = "the server ended the handshake";
        return -ECONNRESET;
}

static int negotiate(struct attempt *a, int fd, struct nbd_handle **out)
{
        struct nbd_handle *h = nbd_create();
        int mine = h ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1, err = h ? -errno : -ENOMEM;

        if (mine < 0) {
                nbd_close(h);
                return err;
        }
        /* Whether all of a read has come is looked at command by command. */
        nbd_set_pread_initialize(h, false);
        /* An unaligned I/O is aligned by us; the end of an odd export is the server's matter. */
        nbd_set_strict_mode(h, nbd_get_strict_mode(h) & ~LIBNBD_STRICT_ALIGN);
        if (nbd_set_export_name(h, a->target->export_name) || nbd_aio_connect_socket(h, mine))
                err = handshake_error(a);
        else
                err = handshake(a, h);
        if (err)
                nbd_close(h);
        else
                *out = h;
        return err;
}

int nbd_connect(const struct nbd_target *t, uint64_t deadline, int cancel, struct nbd_handle **h,
                int *sock, const char **why)
{
        struct attempt a = { .target = t, .deadline = deadline, .cancel = cancel };
        int fd, err = t->local ? connect_local(&a, &fd) : connect_remote(&a, &fd);

        if (!err) {
                err = negotiate(&a, fd, h);
                if (err)
                        close(fd);
                else
                        *sock = fd;
        }
        *why = a.why;
        return err;
}

/* ---- the export ---- */

int nbd_export_read(struct nbd_handle *h, struct nbd_export *e)
{
        int64_t size = nbd_get_size(h);
        int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
        int64_t max = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);

        if (size < 0)
                return nbd_get_errno() == EOVERFLOW ? -EFBIG : -EPROTO;
        /* A power of two up to 64 KiB, says the protocol. None given: whatever we send. */
        if (min < 0 || min > 65536 || (min & (min - 1)) || max < 0 ||
            (max && (max < min || max < (int64_t)SECTOR_SIZE)))
                return -EPROTO;
        *e = (struct nbd_export){
                .size = (uint64_t)size,
                .block_min = min ? (uint32_t)min : 1,
                .block_max = max ? (uint32_t)min_u64((uint64_t)max, NBD_MAX_BYTES) : NBD_MAX_BYTES,
                .read_only = nbd_is_read_only(h) != 0,
                .flush = nbd_can_flush(h) > 0,
                .fua = nbd_can_fua(h) > 0,
                .trim = nbd_can_trim(h) > 0,
                .zero = nbd_can_zero(h) > 0,
                .multi_conn = nbd_can_multi_conn(h) > 0,
        };
        e->block_max -= e->block_max % e->block_min;
        return 0;
}

bool nbd_export_same(const struct nbd_export *a, const struct nbd_export *b)
{
        return a->size == b->size && a->block_min >= b->block_min && a->block_max <= b->block_max &&
               a->read_only == b->read_only && a->flush == b->flush && a->fua <= b->fua &&
               a->trim <= b->trim && a->zero <= b->zero;
}
