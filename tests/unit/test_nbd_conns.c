/* SPDX-License-Identifier: Apache-2.0
 *
 * test_nbd_conns.c - several connections to a server that dies, hangs, or takes fewer clients when it
 * comes back: nothing old is read, nothing is lost, and nobody waits for a connection that there is not.
 */
#include <netdb.h>
#include <netinet/in.h>

#include "driver/nbd/nbd.h"
#include "nbd_wire.h"

#define BLOCK 4096u

struct fixture {
        struct wire *w;
        struct trace trace;
        struct driver_env env;
        struct device *dev;
};

struct wait_io {
        struct driver_io io;
        _Atomic uint32_t done;
        struct iovec iov[NBD_COMMANDS];
        char *buf;
};

static void begin(struct fixture *f, const char *options)
{
        const char *why = NULL;
        int err;

        memset(f, 0, sizeof *f);
        f->w = wire_open(options);
        trace_init(&f->trace);
        f->env.trace = &f->trace;
        err = nbd_type.open(&f->env, f->w->uri, O_RDWR, &f->dev, &why);
        cr_assert_eq(err, 0, "%s: %s", strerror(-err), why);
}

static void end(struct fixture *f)
{
        device_close(f->dev);
        wire_close(f->w);
}

static void io_done(struct driver_io *io)
{
        struct wait_io *s = container_of(io, struct wait_io, io);

        cr_assert_eq(atomic_exchange(&s->done, 1), 0, "it has ended twice");
        futex_wake(&s->done, 1);
}

/* In `pieces` buffers, which do not lie together. */
static struct wait_io *start(struct fixture *f, enum io_op op, uint64_t block, unsigned pieces,
                             char fill)
{
        struct wait_io *s = calloc(1, sizeof *s);

        s->buf = malloc(pieces * 2 * BLOCK);
        memset(s->buf, fill, pieces * 2 * BLOCK);
        for (unsigned i = 0; i < pieces; i++)
                s->iov[i] = (struct iovec){ s->buf + i * 2 * BLOCK, BLOCK };
        s->io = (struct driver_io){
                .op = op,
                .offset = block * BLOCK,
                .len = pieces * BLOCK,
                .iov = s->iov,
                .iovcnt = pieces,
                .done = io_done,
        };
        device_submit(f->dev, &s->io);
        device_commit(f->dev);
        return s;
}

/* -errno; or 0, and *first is the first byte. */
static int finish(struct wait_io *s, char *first)
{
        int64_t result;

        while (!atomic_load(&s->done))
                cr_assert_eq(futex_wait(&s->done, 0, 20000000000ull), 0, "an I/O was lost");
        result = s->io.result;
        if (result > 0)
                cr_expect_eq((uint64_t)result, s->io.len);
        if (first)
                *first = s->buf[0];
        free(s->buf);
        free(s);
        return result < 0 ? (int)result : 0;
}

static int put(struct fixture *f, uint64_t block, char byte)
{
        return finish(start(f, IO_WRITE, block, 1, byte), NULL);
}

/* After a timeout an I/O has an eighth of it only, which a busy machine may use up. */
static int until_it_works(struct fixture *f, enum io_op op, uint64_t block, char *first)
{
        unsigned pieces = op == IO_READ;
        int err = -1;

        for (unsigned tries = 0; err && tries < 20; tries++)
                err = finish(start(f, op, block, pieces, '?'), first);
        return err;
}

/* The server has died and come back, and the first connection does not know it yet; another one reaches
 * the new server, which has forgotten a write. Nobody is to see that. */
Test(nbd_conns, a_new_connection_to_another_server, .timeout = 40)
{
        struct wait_io *held, *read;
        struct fixture f;
        char byte;

        begin(&f, "timeout=20s&connections=2");
        cr_assert_eq(put(&f, 1, 'n'), 0);
        wire_mute(f.w, 0, true);
        held = start(&f, IO_READ, 9, 1, '?'); /* keeps the first connection busy */
        wire_wait(f.w, &f.w->reads, 1);
        wire_next_life(f.w);
        read = start(&f, IO_READ, 1, 1, '?'); /* so this is the second one's */
        wire_wait(f.w, &f.w->clients, 2);
        usleep(100000);
        wire_bury(f.w, 1);
        cr_expect_eq(finish(read, &byte), 0);
        cr_expect_eq(byte, 'n', "what the server had answered is as if it had not been: %c", byte);
        cr_expect_eq(finish(held, NULL), 0);
        end(&f);
}

/* The same with a flush, which would say of that write that it is durable. */
Test(nbd_conns, a_flush_to_another_server, .timeout = 40)
{
        struct wait_io *held, *flush;
        struct fixture f;

        begin(&f, "timeout=20s&connections=2");
        cr_assert_eq(put(&f, 1, 'n'), 0);
        wire_mute(f.w, 0, true);
        held = start(&f, IO_READ, 9, 1, '?');
        wire_wait(f.w, &f.w->reads, 1);
        wire_next_life(f.w);
        flush = start(&f, IO_FLUSH, 0, 0, 0);
        wire_wait(f.w, &f.w->clients, 2);
        usleep(100000);
        wire_bury(f.w, 1);
        cr_expect_eq(finish(flush, NULL), 0);
        cr_expect_eq(finish(held, NULL), 0);
        cr_expect_eq(f.w->durable[BLOCK], 'n');
        end(&f);
}

/* A server that comes back takes one client only: what was under way on the others, wholly or in part,
 * is done by the first. */
Test(nbd_conns, what_others_had_under_way, .timeout = 40)
{
        enum { READS = 12 };
        struct wait_io *read[READS], *write;
        struct fixture f;
        char byte;

        begin(&f, "timeout=15s&connections=3");
        for (unsigned i = 0; i < 3; i++)
                read[i] = start(&f, IO_READ, 0, 1, '?');
        for (unsigned i = 0; i < 3; i++)
                cr_assert_eq(finish(read[i], NULL), 0);
        wire_mute(f.w, 0, true);
        for (unsigned i = 0; i < READS; i++) /* 40 commands each, of 64 that a connection has */
                read[i] = start(&f, IO_READ, i, 40, '?');
        write = start(&f, IO_WRITE, 200, 3, 'w');
        wire_wait(f.w, &f.w->clients, 3);
        wire_wait(f.w, &f.w->reads, 3 * NBD_COMMANDS);
        wire_next_life(f.w);
        f.w->most = 1;
        wire_bury(f.w, 1);
        for (unsigned i = 0; i < READS; i++) {
                cr_expect_eq(finish(read[i], &byte), 0, "read %u", i);
                cr_expect_eq(byte, 0);
        }
        cr_expect_eq(finish(write, NULL), 0);
        cr_expect_eq(finish(start(&f, IO_FLUSH, 0, 0, 0), NULL), 0);
        cr_expect_eq(f.w->durable[200 * BLOCK], 'w');
        end(&f);
}

static void *kicks(void *arg)
{
        struct nbd_device *d = to_nbd(((struct fixture *)arg)->dev);

        while (!atomic_load(&((struct fixture *)arg)->w->stop)) {
                nbd_conns_kick(d);
                usleep(2000);
        }
        return NULL;
}

/* A try to connect is not given up because something else happens, as when a full log gets room. */
Test(nbd_conns, kicks_do_not_keep_it_from_connecting, .timeout = 40)
{
        struct wait_io *held, *read;
        struct fixture f;
        pthread_t kicker;

        begin(&f, "timeout=10s&connections=2");
        f.w->slow_ms = 20;
        wire_mute(f.w, 0, true);
        held = start(&f, IO_READ, 9, 1, '?');
        wire_wait(f.w, &f.w->reads, 1);
        cr_assert_eq(pthread_create(&kicker, NULL, kicks, &f), 0);
        read = start(&f, IO_READ, 1, 1, '?');
        wire_wait(f.w, &f.w->clients, 2);
        usleep(300000);
        cr_expect_eq(f.w->clients, 2, "it has connected %u times", f.w->clients - 1);
        wire_bury(f.w, 1);
        wire_mute(f.w, 0, false);
        cr_expect_eq(finish(read, NULL), 0);
        cr_expect_eq(finish(held, NULL), 0);
        atomic_store(&f.w->stop, true);
        pthread_join(kicker, NULL);
        device_close(f.dev);
        wire_close(f.w);
}

/* A flush that nobody has answered has made nothing durable: what it was to cover is kept, and done again
 * by the server that comes back. */
Test(nbd_conns, a_flush_without_an_answer, .timeout = 40)
{
        struct fixture f;
        char byte;

        begin(&f, "timeout=1s&connections=1");
        cr_assert_eq(put(&f, 1, 'n'), 0);
        wire_mute(f.w, 0, true);
        cr_expect_lt(finish(start(&f, IO_FLUSH, 0, 0, 0), NULL), 0);
        wire_next_life(f.w);
        wire_bury(f.w, 1);
        cr_expect_eq(until_it_works(&f, IO_READ, 1, &byte), 0);
        cr_expect_eq(byte, 'n');
        cr_expect_eq(until_it_works(&f, IO_FLUSH, 0, NULL), 0);
        cr_expect_eq(f.w->durable[BLOCK], 'n');
        end(&f);
}

/* Who has waited in vain for long waits less for the next, but not so little that a slow server that is
 * back is never heard. */
Test(nbd_conns, a_slow_server_is_back, .timeout = 40)
{
        struct fixture f;
        int err;

        begin(&f, "timeout=4s&connections=1");
        wire_mute(f.w, 0, true);
        cr_expect_lt(finish(start(&f, IO_READ, 1, 1, '?'), NULL), 0);
        f.w->answer_ms = 300;
        wire_next_life(f.w);
        wire_bury(f.w, 1);
        err = until_it_works(&f, IO_READ, 1, NULL);
        cr_expect_eq(err, 0, "%s", strerror(-err));
        end(&f);
}

/* ---- a host with two addresses ---- */

static struct sockaddr_in addresses[2];
static struct addrinfo found[2];

/* In place of the resolver. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
        (void)host, (void)service, (void)hints;
        for (unsigned i = 0; i < 2; i++)
                found[i] = (struct addrinfo){
                        .ai_family = AF_INET,
                        .ai_socktype = SOCK_STREAM,
                        .ai_addrlen = sizeof addresses[i],
                        .ai_addr = (struct sockaddr *)&addresses[i],
                        .ai_next = i ? NULL : &found[1],
                };
        *out = found;
        return 0;
}

void freeaddrinfo(struct addrinfo *ai)
{
        (void)ai;
}

static int tcp_listener(struct sockaddr_in *addr, int backlog)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t len = sizeof *addr;

        *addr = (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        cr_assert_eq(bind(fd, (struct sockaddr *)addr, len), 0);
        cr_assert_eq(listen(fd, backlog), 0);
        cr_assert_eq(getsockname(fd, (struct sockaddr *)addr, &len), 0);
        return fd;
}

/* The first address does not answer, as behind a firewall that drops: nobody takes from its queue, which
 * is full. The second one does. */
Test(nbd_conns, one_address_does_not_answer, .timeout = 40)
{
        int deaf = tcp_listener(&addresses[0], 0), full[8], err;
        struct wire *w = wire_open("");
        struct driver_env env = { 0 };
        const char *why = NULL;
        struct trace trace;
        struct device *dev;

        for (unsigned i = 0; i < ARRAY_SIZE(full); i++) {
                full[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                connect(full[i], (struct sockaddr *)&addresses[0], sizeof addresses[0]);
        }
        pthread_mutex_lock(&w->lock);
        close(w->listener);
        w->listener = tcp_listener(&addresses[1], 8);
        pthread_mutex_unlock(&w->lock);
        trace_init(&trace);
        env.trace = &trace;
        err = nbd_type.open(&env, "nbd://two.addresses/?connect=3s", O_RDONLY, &dev, &why);
        cr_expect_eq(err, 0, "%s: %s", strerror(-err), why);
        if (!err)
                device_close(dev);
        for (unsigned i = 0; i < ARRAY_SIZE(full); i++)
                close(full[i]);
        close(deaf);
        wire_close(w);
}
