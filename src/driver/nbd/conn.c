/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.c - a connection and the thread that serves it: connected, lost, and connected again.
 *
 *   take()   what has been submitted
 *   serve()  connected: send, sleep, receive
 *   lose()   the connection has broken, or is silent; or another has, and all are dropped
 *   mend()   not connected: wait until the old one is over (fence), connect, let I/Os expire
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/nbd/nbd.h"
#include "util/ready.h"

#define NS_PER_MS 1000000ull
#define FIRST_RETRY (10 * NS_PER_MS)
#define LAST_RETRY (1000 * NS_PER_MS)
/* No byte for so long, and the connection is given up; after nbd_timeout() in any case. */
#define SILENCE(d) ((d)->target.timeout_ns / 3)
#define STACK (256u << 10) /* completions run on it: file system and cache code */

void nbd_conn_kick(struct nbd_conn *c)
{
        uint64_t one = 1;

        /* EAGAIN: it has been kicked often enough. */
        if (write(c->wake, &one, sizeof one) < 0)
                return;
}

void nbd_conns_kick(struct nbd_device *d)
{
        for (unsigned i = 0; i < d->nr_conns; i++)
                nbd_conn_kick(d->conns[i]);
}

void nbd_conn_is_up(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;

        mutex_lock(&d->lock);
        if (c->epoch == d->epoch)
                d->up = true;
        for (unsigned i = 0; i < d->nr_conns; i++)
                d->conns[i]->refused = !d->conns[i]->running;
        mutex_unlock(&d->lock);
        nbd_conns_kick(d);
}

/* ---- waiting ---- */

/* Sleeps until kicked, until the descriptor (-1: none) has one of the events, or until then (0: for
 * ever). Not at all if something has been submitted meanwhile. What the descriptor has. */
static short wait_until(struct nbd_conn *c, int fd, short events, uint64_t then)
{
        struct pollfd p[2] = { { .fd = c->wake, .events = POLLIN },
                               { .fd = fd, .events = events } };
        uint64_t now = now_ns(), kicks;
        int ms = -1;

        if (then)
                ms = then > now ? (int)min_u64((then - now) / NS_PER_MS + 1, 1000000) : 0;
        mutex_lock(&c->d->lock);
        c->sleeping = !c->queue.head && !(c->given.head && c->free.head);
        if (!c->sleeping)
                ms = 0;
        mutex_unlock(&c->d->lock);
        if (poll_ready(p, 2, ms, 1) < 0)
                p[1].revents = 0;
        if (p[0].revents && read(c->wake, &kicks, sizeof kicks) < 0)
                kicks = 0;
        return p[1].revents;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
        return !a || (b && b < a) ? b : a;
}

/* ---- a connection is lost ---- */

/* Its end counts only when the server can do nothing more of what it was sent; then, or at once if
 * that does not matter, the others may connect again. */
static void is_over(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;

        if (c->sock >= 0)
                close(c->sock);
        c->sock = -1;
        mutex_lock(&d->lock);
        if (c->counted)
                d->connected--;
        c->counted = false;
        mutex_unlock(&d->lock);
        nbd_conn_kick(d->conns[0]);
}

static void lose(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        bool changes;

        nbd_reap(c);
        changes = nbd_take_back(c);
        nbd_close(c->h);
        c->h = NULL;
        c->ended = false;
        mutex_lock(&d->lock);
        if (c->epoch == d->epoch) {
                d->epoch++;
                d->up = false;
                d->last_error = 0;
        }
        mutex_unlock(&d->lock);
        shutdown(c->sock, changes ? SHUT_WR : SHUT_RDWR);
        if (!changes)
                is_over(c);
        nbd_conns_kick(d);
}

/* Has the server closed the connection, or the network given it up? What it still sends is dropped. */
static bool fence(struct nbd_conn *c)
{
        char drop[4096];
        ssize_t n;

        do {
                n = recv(c->sock, drop, sizeof drop, MSG_DONTWAIT);
        } while (n > 0 || (n < 0 && errno == EINTR));
        return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* ---- connecting again ---- */

/* The first one connects when all that is lost is over and anybody has something to do; the others
 * when they have, and the log is written. */
static bool may_connect(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        unsigned load = 0;
        bool may;

        mutex_lock(&d->lock);
        for (unsigned i = 0; i < d->nr_conns; i++)
                load += d->conns[i]->load;
        may = !d->stop && (c->nr ? d->up && c->load : !d->connected && load);
        mutex_unlock(&d->lock);
        return may;
}

/* Has the first connection been answered since we are connected? Then it is one server. */
static int vouch(struct nbd_conn *c, uint64_t deadline)
{
        struct nbd_device *d = c->d;
        uint64_t question, now, kicks;
        bool yes = false, gone;

        mutex_lock(&d->lock);
        c->epoch = d->epoch;
        gone = !d->up || d->stop;
        question = ++d->asked;
        mutex_unlock(&d->lock);
        nbd_conn_kick(d->conns[0]);
        while (!yes && !gone && (now = now_ns()) < deadline) {
                struct pollfd p = { .fd = c->wake, .events = POLLIN };

                if (poll_ready(&p, 1, (int)min_u64((deadline - now) / NS_PER_MS + 1, 1000000), 1) >
                            0 &&
                    read(c->wake, &kicks, sizeof kicks) < 0)
                        kicks = 0;
                mutex_lock(&d->lock);
                yes = d->vouched >= question;
                gone = c->epoch != d->epoch || d->stop;
                mutex_unlock(&d->lock);
        }
        if (gone)
                return -ECANCELED;
        return yes ? 0 : -ETIMEDOUT;
}

/* The handle is new. False: it comes too late. */
static bool join_epoch(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        bool ok;

        mutex_lock(&d->lock);
        ok = !c->nr || (d->up && c->epoch == d->epoch);
        c->epoch = d->epoch;
        if (ok) {
                d->connected++;
                d->last_error = 0;
        }
        mutex_unlock(&d->lock);
        c->counted = ok;
        c->replaying = !c->nr;
        c->replay_at = 0;
        return ok;
}

static int connect_again(struct nbd_conn *c, uint64_t deadline)
{
        struct nbd_device *d = c->d;
        struct nbd_export export;
        const char *why;
        int err = nbd_connect(&d->target, deadline, d->stop_fd, &c->h, &c->sock, &why);

        if (err)
                return err;
        err = nbd_export_read(c->h, &export);
        if (!err && !nbd_export_same(&d->export, &export))
                err = -ESTALE;
        if (!err && c->nr)
                err = vouch(c, deadline);
        if (!err && !join_epoch(c))
                err = -ECANCELED;
        if (!err)
                return 0;
        nbd_close(c->h);
        close(c->sock);
        c->h = NULL;
        c->sock = -1;
        return err;
}

/* A connection that cannot be had, while the first one works: all that it was given goes there, I/Os
 * and those of their commands that were under way, so that an I/O is one thread's at any time. */
static void hand_over(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        struct nbd_conn *to = d->conns[0];
        struct nbd_command *cmd;
        struct driver_io *io;

        mutex_lock(&d->lock);
        if (d->up) {
                c->refused = true;
                while ((cmd = c->redo.head)) {
                        nbd_list_remove(&c->redo, cmd);
                        nbd_list_push(&to->given, cmd);
                }
                while ((io = io_list_pop(&c->waiting)) || (io = io_list_pop(&c->queue)))
                        io_list_push(&to->queue, io);
                to->load += c->load;
                c->load = 0;
        }
        mutex_unlock(&d->lock);
        nbd_conn_kick(to);
}

/* Commands that were given us become commands of ours. True if the others get theirs back. => d->lock */
static bool adopt(struct nbd_conn *c)
{
        struct nbd_command *cmd, *mine;
        bool any = false;

        mutex_assert_held(&c->d->lock);
        while ((cmd = c->given.head) && (mine = c->free.head)) {
                nbd_list_remove(&c->given, cmd);
                nbd_list_remove(&c->free, mine);
                *mine = *cmd;
                mine->conn = c;
                nbd_list_push(&c->redo, mine);
                cmd->bounce = NULL;
                nbd_list_push(&cmd->conn->returned, cmd);
                any = true;
        }
        while ((cmd = c->returned.head)) {
                nbd_list_remove(&c->returned, cmd);
                nbd_list_push(&c->free, cmd);
        }
        return any;
}

static void try_again(struct nbd_conn *c, uint64_t oldest)
{
        struct nbd_device *d = c->d;
        uint64_t now = now_ns(), deadline = now + d->target.connect_ns;
        int err;

        if (oldest)
                deadline = min_u64(deadline, oldest + nbd_timeout(d));
        err = connect_again(c, deadline);
        if (err != -ECANCELED)
                c->tries = err ? c->tries + 1 : 0;
        c->next_try = now_ns() + min_u64(FIRST_RETRY << min_u64(c->tries, 10), LAST_RETRY);
        if (!err || err == -ECANCELED)
                return;
        mutex_lock(&d->lock);
        d->last_error = err;
        mutex_unlock(&d->lock);
        if (c->nr)
                hand_over(c);
}

static void mend(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        uint64_t timeout = nbd_timeout(d), now = now_ns(), oldest, then = 0;
        int error;

        if (c->sock >= 0 && fence(c))
                is_over(c);
        mutex_lock(&d->lock);
        error = d->last_error ? d->last_error : -ETIMEDOUT;
        mutex_unlock(&d->lock);
        oldest = nbd_expire(c, now > timeout ? now - timeout : 0, error);
        if (c->sock < 0 && may_connect(c)) {
                if (now >= c->next_try) {
                        try_again(c, oldest);
                        return;
                }
                then = c->next_try;
        }
        wait_until(c, c->sock, POLLIN, earlier(then, oldest ? oldest + timeout : 0));
}

/* ---- connected ---- */

static bool is_usable(const struct nbd_conn *c)
{
        return !c->ended && !nbd_aio_is_dead(c->h) && !nbd_aio_is_closed(c->h);
}

static void receive_and_send(struct nbd_conn *c, short events)
{
        unsigned dir = nbd_aio_get_direction(c->h);

        /* Errors show in the handle's state. */
        if (events & (POLLIN | POLLHUP | POLLERR) && dir & LIBNBD_AIO_DIRECTION_READ)
                nbd_aio_notify_read(c->h);
        else if (events & (POLLOUT | POLLHUP | POLLERR) && dir & LIBNBD_AIO_DIRECTION_WRITE)
                nbd_aio_notify_write(c->h);
}

/* When the connection is to be given up, should nothing be heard until then; 0: never. A server that
 * says a byte now and then has the whole time for a command. */
static uint64_t patience(const struct nbd_conn *c)
{
        uint64_t oldest = nbd_oldest(c);

        if (!oldest)
                return 0;
        return min_u64(max_u64(oldest, c->heard_ns) + SILENCE(c->d), oldest + nbd_timeout(c->d));
}

static void serve(struct nbd_conn *c)
{
        unsigned dir;
        uint64_t then;
        short events;

        nbd_start(c);
        if (nbd_reap(c))
                return;
        then = patience(c);
        if (!is_usable(c) || (then && now_ns() > then)) {
                lose(c);
                return;
        }
        dir = nbd_aio_get_direction(c->h);
        events = (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                         (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
        events = wait_until(c, nbd_aio_get_fd(c->h), events, then);
        if (events & POLLIN)
                c->heard_ns = now_ns();
        if (events)
                receive_and_send(c, events);
        nbd_reap(c);
}

/* ---- the thread ---- */

/* What has been submitted. False: the end. */
static bool take(struct nbd_conn *c)
{
        struct nbd_device *d = c->d;
        struct driver_io *io;
        bool stop, stale, adopted;

        mutex_lock(&d->lock);
        c->sleeping = false;
        c->asked = d->asked;
        adopted = adopt(c);
        while ((io = io_list_pop(&c->queue)))
                io_list_push(&c->waiting, io);
        stop = d->stop;
        stale = c->h && c->epoch != d->epoch;
        mutex_unlock(&d->lock);
        if (adopted)
                nbd_conns_kick(d);
        if (stale && !stop)
                lose(c);
        return !stop;
}

static void *conn_main(void *arg)
{
        struct nbd_conn *c = arg;

        while (take(c)) {
                if (c->h)
                        serve(c);
                else
                        mend(c);
        }
        if (c->h) {
                nbd_aio_disconnect(c->h, 0);
                nbd_close(c->h);
        }
        /* A forked child may hold a copy; the server is to know that we have gone. */
        if (c->sock >= 0) {
                shutdown(c->sock, SHUT_RDWR);
                close(c->sock);
        }
        return NULL;
}

static int start_thread(struct nbd_conn *c)
{
        pthread_attr_t attr;
        sigset_t all, old;
        int err = pthread_attr_init(&attr);

        if (err)
                return -err;
        pthread_attr_setstacksize(&attr, STACK);
        /* The program's signal handlers must not run here. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        err = pthread_create(&c->thread, &attr, conn_main, c);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
        if (!err)
                pthread_setname_np(c->thread, "fl-nbd");
        c->running = !err;
        return -err;
}

static int add_conn(struct nbd_device *d)
{
        struct nbd_conn *c = calloc(1, sizeof *c);
        int err = 0;

        if (!c)
                return -ENOMEM;
        c->d = d;
        c->nr = d->nr_conns;
        c->sock = -1;
        for (unsigned i = 0; i < NBD_COMMANDS; i++)
                nbd_list_push(&c->free, &c->commands[i]);
        c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->wake < 0) {
                err = -errno;
                free(c);
                return err;
        }
        d->conns[d->nr_conns++] = c;
        return 0;
}

int nbd_conns_start(struct nbd_device *d, unsigned nr, struct nbd_handle *h, int sock)
{
        int err = add_conn(d);

        while (!err && d->nr_conns < nr && !add_conn(d))
                ; /* fewer will do */
        if (!err) {
                d->conns[0]->h = h;
                d->conns[0]->sock = sock;
                d->conns[0]->counted = true;
                d->connected = 1;
                err = start_thread(d->conns[0]);
        }
        if (err) {
                nbd_conns_stop(d);
                return err;
        }
        for (unsigned i = 1; i < d->nr_conns; i++)
                d->conns[i]->refused = start_thread(d->conns[i]) != 0;
        return 0;
}

void nbd_conns_stop(struct nbd_device *d)
{
        mutex_lock(&d->lock);
        d->stop = true;
        mutex_unlock(&d->lock);
        eventfd_write(d->stop_fd, 1);
        for (unsigned i = 0; i < d->nr_conns; i++) {
                nbd_conn_kick(d->conns[i]);
                if (d->conns[i]->running)
                        pthread_join(d->conns[i]->thread, NULL);
        }
        for (unsigned i = 0; i < d->nr_conns; i++) {
                close(d->conns[i]->wake);
                free(d->conns[i]);
        }
        d->nr_conns = 0;
}
