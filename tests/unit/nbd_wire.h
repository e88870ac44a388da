/* SPDX-License-Identifier: Apache-2.0
 *
 * nbd_wire.h - an NBD server in the test's own process, which dies, hangs and comes back when told.
 *
 * One thread serves all clients. A life of the server has a disk of its own, which begins as what the
 * lives before have flushed (`durable`); what a life was told and not to flush goes with it. The
 * command-line server of tests/cli is for whole programs; this one is for what happens between two
 * steps.
 */
#ifndef TEST_NBD_WIRE_H
#define TEST_NBD_WIRE_H

#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/base.h"

#define WIRE_SIZE (1u << 20)
#define WIRE_CLIENTS 16

struct wire_request {
        uint32_t magic;
        uint16_t flags, type;
        uint64_t handle, offset;
        uint32_t len;
} __attribute__((packed));

struct wire_client {
        int fd;
        unsigned life;
        struct wire_request held[64]; /* came while it was mute */
        unsigned nr_held;
};

struct wire {
        char folder[64], socket[96], uri[192];
        pthread_t thread;
        pthread_mutex_t lock; /* the test's and the thread's */
        int listener;
        struct wire_client client[WIRE_CLIENTS];
        unsigned nr;
        unsigned life;      /* the one that takes clients now */
        bool mute[8];       /* by life: it answers nothing */
        unsigned most;      /* clients of a life */
        unsigned answer_ms; /* so long an answer takes */
        unsigned slow_ms;   /* so long it thinks about a new client */
        char durable[WIRE_SIZE];
        char *disk[8];                            /* by life */
        unsigned reads, writes, flushes, clients; /* that have come */
        _Atomic bool stop;
};

static inline bool wire_get(int fd, void *buf, size_t n)
{
        return !n || recv(fd, buf, n, MSG_WAITALL) == (ssize_t)n;
}

static inline bool wire_put(int fd, const void *buf, size_t n)
{
        for (const char *p = buf; n;) {
                ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

                if (done <= 0)
                        return false;
                p += done;
                n -= (size_t)done;
        }
        return true;
}

static inline bool wire_option(int fd, uint32_t option, uint32_t type, const void *data,
                               uint32_t len)
{
        struct {
                uint64_t magic;
                uint32_t option, type, len;
        } __attribute__((packed))
        r = { htobe64(0x3e889045565a9ull), htobe32(option), htobe32(type), htobe32(len) };

        return wire_put(fd, &r, sizeof r) && wire_put(fd, data, len);
}

/* Has flush, FUA and several connections; no structured replies. */
static inline bool wire_negotiate(int fd)
{
        struct {
                uint64_t magic;
                uint32_t option, len;
        } __attribute__((packed)) o;
        struct {
                uint16_t type;
                uint64_t size;
                uint16_t flags;
        } __attribute__((packed)) info = { 0, htobe64(WIRE_SIZE), htobe16(1 | 4 | 8 | 256) };
        char data[8192];

        if (!wire_put(fd, "NBDMAGICIHAVEOPT\0\3", 18) || !wire_get(fd, data, 4))
                return false;
        while (wire_get(fd, &o, sizeof o) && be32toh(o.len) < sizeof data &&
               wire_get(fd, data, be32toh(o.len))) {
                if (be32toh(o.option) == 7)
                        return wire_option(fd, 7, 3, &info, sizeof info) &&
                               wire_option(fd, 7, 1, NULL, 0);
                if (!wire_option(fd, be32toh(o.option), 1u << 31 | 1, NULL, 0))
                        return false;
        }
        return false;
}

static inline bool wire_answer(struct wire *w, struct wire_client *c, const struct wire_request *r)
{
        struct {
                uint32_t magic, error;
                uint64_t handle;
        } __attribute__((packed)) a = { htobe32(0x67446698u), 0, r->handle };

        usleep(w->answer_ms * 1000);
        if (r->type == 3)
                memcpy(w->durable, w->disk[c->life], WIRE_SIZE);
        return wire_put(c->fd, &a, sizeof a) &&
               (r->type != 0 || wire_put(c->fd, w->disk[c->life] + r->offset, r->len));
}

/* False: the client has gone. */
static inline bool wire_serve(struct wire *w, struct wire_client *c)
{
        struct wire_request r;

        if (!wire_get(c->fd, &r, sizeof r) || be32toh(r.magic) != 0x25609513u)
                return false;
        r.type = be16toh(r.type);
        r.offset = be64toh(r.offset);
        r.len = be32toh(r.len);
        if (r.type == 2 || r.offset + r.len > WIRE_SIZE)
                return false;
        w->reads += r.type == 0;
        w->writes += r.type == 1;
        w->flushes += r.type == 3;
        if (r.type == 1 && !wire_get(c->fd, w->disk[c->life] + r.offset, r.len))
                return false;
        if (w->mute[c->life]) {
                c->held[c->nr_held++ % ARRAY_SIZE(c->held)] = r;
                return true;
        }
        return wire_answer(w, c, &r);
}

static inline void wire_drop(struct wire *w, unsigned i)
{
        close(w->client[i].fd);
        w->client[i] = w->client[--w->nr];
}

static inline void wire_accept(struct wire *w)
{
        int fd = accept(w->listener, NULL, NULL);
        unsigned of_life = 0;

        if (fd < 0)
                return;
        w->clients++;
        for (unsigned i = 0; i < w->nr; i++)
                of_life += w->client[i].life == w->life;
        usleep(w->slow_ms * 1000);
        if (of_life >= w->most || !wire_negotiate(fd))
                close(fd);
        else
                w->client[w->nr++] = (struct wire_client){ .fd = fd, .life = w->life };
}

static inline void *wire_main(void *arg)
{
        struct wire *w = arg;

        while (!atomic_load(&w->stop)) {
                struct pollfd p[1 + WIRE_CLIENTS];
                unsigned nr;

                pthread_mutex_lock(&w->lock);
                nr = w->nr;
                p[0] = (struct pollfd){ .fd = w->listener, .events = POLLIN };
                for (unsigned i = 0; i < nr; i++)
                        p[1 + i] = (struct pollfd){ .fd = w->client[i].fd, .events = POLLIN };
                if (poll(p, 1 + nr, 0) > 0) {
                        for (unsigned i = nr; i-- > 0;)
                                if (p[1 + i].revents && !wire_serve(w, &w->client[i]))
                                        wire_drop(w, i);
                        if (p[0].revents)
                                wire_accept(w);
                }
                pthread_mutex_unlock(&w->lock);
                usleep(200);
        }
        return NULL;
}

static inline void wire_listen(struct wire *w)
{
        struct sockaddr_un addr = { .sun_family = AF_UNIX };

        strcpy(addr.sun_path, w->socket);
        w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(bind(w->listener, (struct sockaddr *)&addr, sizeof addr), 0);
        cr_assert_eq(listen(w->listener, 16), 0);
}

/* options: of the URI, "timeout=..." */
static inline struct wire *wire_open(const char *options)
{
        struct wire *w = calloc(1, sizeof *w);

        strcpy(w->folder, "/var/tmp/fl-wire-XXXXXX");
        cr_assert_not_null(mkdtemp(w->folder));
        snprintf(w->socket, sizeof w->socket, "%s/socket", w->folder);
        snprintf(w->uri, sizeof w->uri, "nbd+unix:///?socket=%s&%s", w->socket, options);
        pthread_mutex_init(&w->lock, NULL);
        w->most = WIRE_CLIENTS;
        w->disk[0] = calloc(1, WIRE_SIZE);
        wire_listen(w);
        cr_assert_eq(pthread_create(&w->thread, NULL, wire_main, w), 0);
        return w;
}

static inline void wire_close(struct wire *w)
{
        atomic_store(&w->stop, true);
        pthread_join(w->thread, NULL);
        while (w->nr)
                wire_drop(w, 0);
        close(w->listener);
        unlink(w->socket);
        rmdir(w->folder);
        for (unsigned i = 0; i < ARRAY_SIZE(w->disk); i++)
                free(w->disk[i]);
        free(w);
}

/* From now on clients come to another life. Those of the one before still think that they have one. */
static inline void wire_next_life(struct wire *w)
{
        pthread_mutex_lock(&w->lock);
        w->disk[++w->life] = malloc(WIRE_SIZE);
        memcpy(w->disk[w->life], w->durable, WIRE_SIZE);
        pthread_mutex_unlock(&w->lock);
}

/* The clients of lives before this one learn that it is over. */
static inline void wire_bury(struct wire *w, unsigned before)
{
        pthread_mutex_lock(&w->lock);
        for (unsigned i = w->nr; i-- > 0;)
                if (w->client[i].life < before)
                        wire_drop(w, i);
        pthread_mutex_unlock(&w->lock);
}

static inline void wire_mute(struct wire *w, unsigned life, bool mute)
{
        pthread_mutex_lock(&w->lock);
        w->mute[life] = mute;
        pthread_mutex_unlock(&w->lock);
}

/* Waits until the counter has reached so many. */
static inline void wire_wait(struct wire *w, const unsigned *counter, unsigned at_least)
{
        for (unsigned i = 0; i < 20000; i++) {
                bool there;

                pthread_mutex_lock(&w->lock);
                there = *counter >= at_least;
                pthread_mutex_unlock(&w->lock);
                if (there)
                        return;
                usleep(1000);
        }
        cr_assert_fail("the driver does not do it");
}

#endif
