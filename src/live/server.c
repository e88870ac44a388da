/* SPDX-License-Identifier: Apache-2.0
 *
 * server.c - one thread, two places to listen on, eight at each who are served at once.
 *
 * A connection: reading (until the request is whole) -> writing (the answer) -> lingering (until the
 * other end has closed, so that the answer is not lost with what it still sends). Each has a
 * deadline; an answer is put together at once, in memory of the connection's own, so that a reader who
 * does not read keeps nothing but that.
 */
#include "live/server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live/child.h"
#include "live/file.h"
#include "live/listen.h"
#include "util/ready.h"
#include "util/say.h"

#define LISTENERS 2
#define CLIENTS_EACH 8 /* of a listener: scrapers take no place from who looks at the engine */
#define CLIENTS (LISTENERS * CLIENTS_EACH)
#define ANSWER_MAX (6u << 20) /* 4.3 MiB are told of 64 devices that have the longest names */
#define HEAD_MAX 512
#define SECOND 1000000000ull
#define READ_NS (2 * SECOND)
#define WRITE_NS (5 * SECOND)
#define LINGER_NS SECOND
#define PATIENCE_NS (SECOND / 4) /* who moves nothing for longer makes room when others wait */
#define FILE_NS SECOND           /* so often FILE is written */
#define REST_NS (SECOND / 10)    /* without descriptors nobody is accepted, who stays ready */
#define NAP_MS 20                /* where it cannot be said who is ready */

struct client {
        int fd; /* -1: free */
        enum { READING, WRITING, LINGERING } state;
        bool all;
        uint64_t deadline;
        uint64_t moved; /* ns; when the last byte came or went */
        int child_slot;
        char *answer; /* HEAD_MAX + ANSWER_MAX bytes */
        size_t sent, end;
        size_t got;
        char request[HTTP_REQUEST_MAX];
};

struct live_server {
        struct live_ops ops;
        pthread_t thread;
        int stop; /* an eventfd */
        struct listener listeners[LISTENERS];
        struct client clients[CLIENTS]; /* those of the first listener, then those of the next */
        uint64_t rest;                  /* ns; until then nobody is accepted */
        char *memory;                   /* of all answers, and one more for the file */
        struct metrics_file file;
};

#define MEMORY_EACH (HEAD_MAX + ANSWER_MAX)

/* ---- one connection ---- */

/* Over for the other end too, whoever else still has the descriptor: a child forked just now. */
static void client_end(struct client *c)
{
        child_slot_free(c->child_slot);
        shutdown(c->fd, SHUT_RDWR);
        close(c->fd);
        c->fd = -1;
        madvise(c->answer, MEMORY_EACH, MADV_DONTNEED);
}

/* The head goes right before the body, which is in its place already. */
static void client_answer(struct client *c, int status, const char *type, size_t body, bool head)
{
        char text[HEAD_MAX];
        int n = snprintf(text, sizeof(text),
                         "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                         "%sCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                         "Connection: close\r\n\r\n",
                         status, http_phrase(status), type, body,
                         status == 405 ? "Allow: GET, HEAD\r\n" : "");

        memcpy(c->answer + HEAD_MAX - n, text, (size_t)n);
        c->sent = (size_t)(HEAD_MAX - n);
        c->end = HEAD_MAX + (head ? 0 : body);
        c->state = WRITING;
        c->deadline = now_ns() + WRITE_NS;
}

static void client_serve(struct live_server *s, struct client *c, int status,
                         const struct http_request *rq)
{
        struct out body = { .buf = c->answer + HEAD_MAX, .size = ANSWER_MAX };
        const char *type = "text/plain; charset=utf-8";

        if (!status)
                status = s->ops.get(s->ops.arg, rq, c->all, &body, &type);
        if (body.full)
                status = 500;
        if (status != 200) {
                body = (struct out){ .buf = body.buf, .size = body.size };
                type = "text/plain; charset=utf-8";
                out_printf(&body, "%d %s\n", status, http_phrase(status));
        }
        client_answer(c, status, type, body.len, rq->head);
}

static void client_write(struct client *c)
{
        ssize_t n = send(c->fd, c->answer + c->sent, c->end - c->sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
                client_end(c);
                return;
        }
        if (n > 0) {
                c->sent += (size_t)n;
                c->moved = now_ns();
        }
        if (c->sent < c->end)
                return;
        shutdown(c->fd, SHUT_WR);
        c->state = LINGERING;
        c->deadline = now_ns() + LINGER_NS;
}

static void client_read(struct live_server *s, struct client *c)
{
        struct http_request rq;
        int status;
        ssize_t n = recv(c->fd, c->request + c->got, sizeof(c->request) - c->got, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                client_end(c);
                return;
        }
        c->got += (size_t)n;
        c->moved = now_ns();
        status = http_parse(c->request, c->got, &rq);
        if (status == -EAGAIN)
                return;
        client_serve(s, c, status, &rq);
        client_write(c);
}

static void client_linger(struct client *c)
{
        ssize_t n = recv(c->fd, c->request, sizeof(c->request), 0);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                client_end(c);
}

static void client_late(struct live_server *s, struct client *c)
{
        struct http_request none = { .head = false };

        if (c->state == READING && c->got) {
                client_serve(s, c, 408, &none);
                client_write(c);
        } else {
                client_end(c);
        }
}

/* ---- all of them ---- */

/* The place for somebody new at the i-th listener: a free one, or that of the slowest, when nothing has
 * come from him or gone to him for a while. NULL: there will be one at *when. */
static struct client *place_for(struct live_server *s, unsigned i, uint64_t *when)
{
        struct client *first = &s->clients[i * CLIENTS_EACH], *slowest = first;

        for (struct client *c = first; c < first + CLIENTS_EACH; c++) {
                if (c->fd < 0)
                        return c;
                if (c->moved < slowest->moved)
                        slowest = c;
        }
        *when = slowest->moved + PATIENCE_NS;
        return now_ns() >= *when ? slowest : NULL;
}

static void accept_client(struct live_server *s, unsigned i)
{
        struct listener *l = &s->listeners[i];
        uint64_t when;
        struct client *c = place_for(s, i, &when);
        int fd = c ? accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;

        if (fd < 0) {
                if (c && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                        s->rest = now_ns() + REST_NS;
                return;
        }
        if (l->local && runtime_peer(fd) < 0) {
                close(fd);
                return;
        }
        if (c->fd >= 0)
                client_end(c);
        c->fd = fd;
        c->child_slot = child_closes(fd); /* without one a child keeps it; it ends by shutdown(2) */
        c->state = READING;
        c->all = l->all;
        c->got = 0;
        c->moved = now_ns();
        c->deadline = c->moved + READ_NS;
}

static int timeout_ms(struct live_server *s, uint64_t next_file)
{
        uint64_t now = now_ns(), first = s->file.path ? next_file : UINT64_MAX, when;

        for (unsigned i = 0; i < CLIENTS; i++)
                if (s->clients[i].fd >= 0)
                        first = min_u64(first, s->clients[i].deadline);
        for (unsigned i = 0; i < LISTENERS; i++)
                if (s->listeners[i].fd >= 0 && !place_for(s, i, &when))
                        first = min_u64(first, when);
        if (s->rest > now)
                first = min_u64(first, s->rest);
        if (first == UINT64_MAX)
                return -1;
        return first <= now ? 0 : (int)((first - now) / 1000000 + 1);
}

static void serve_client(struct live_server *s, struct client *c, short events)
{
        if (c->fd < 0)
                return;
        if (events && c->state == READING)
                client_read(s, c);
        else if (events && c->state == WRITING)
                client_write(c);
        else if (events)
                client_linger(c);
        if (c->fd >= 0 && now_ns() >= c->deadline)
                client_late(s, c);
}

/* Nobody new while there is no place, or has been no descriptor: they wait in the kernel, and some
 * deadline is near. */
static void serve_once(struct live_server *s, uint64_t next_file)
{
        struct pollfd p[1 + LISTENERS + CLIENTS];
        bool rested = now_ns() >= s->rest;
        uint64_t when;

        p[0] = (struct pollfd){ .fd = s->stop, .events = POLLIN };
        for (unsigned i = 0; i < LISTENERS; i++)
                p[1 + i] = (struct pollfd){
                        .fd = rested && place_for(s, i, &when) ? s->listeners[i].fd : -1,
                        .events = POLLIN,
                };
        for (unsigned i = 0; i < CLIENTS; i++)
                p[1 + LISTENERS + i] = (struct pollfd){
                        .fd = s->clients[i].fd,
                        .events = s->clients[i].state == WRITING ? POLLOUT : POLLIN,
                };
        if (poll_ready(p, ARRAY_SIZE(p), timeout_ms(s, next_file), NAP_MS) < 0)
                for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
                        p[i].revents = 0;
        for (unsigned i = 0; i < CLIENTS; i++)
                serve_client(s, &s->clients[i], p[1 + LISTENERS + i].revents);
        for (unsigned i = 0; i < LISTENERS; i++)
                if (p[1 + i].revents & POLLIN)
                        accept_client(s, i);
}

static bool is_stopped(struct live_server *s)
{
        uint64_t n;

        return read(s->stop, &n, sizeof(n)) == sizeof(n);
}

static void write_file(struct live_server *s)
{
        struct http_request rq = { .path = "/metrics" };
        struct out body = { .buf = s->memory + (size_t)CLIENTS * MEMORY_EACH, .size = ANSWER_MAX };
        const char *type;

        if (s->ops.get(s->ops.arg, &rq, false, &body, &type) == 200 && !body.full)
                metrics_file_write(&s->file, body.buf, body.len);
}

/* The last figures are written here too, where signals are blocked: not in the thread that closes. */
static void *live_main(void *arg)
{
        struct live_server *s = arg;
        uint64_t next_file = 0;

        while (!is_stopped(s)) {
                if (s->file.path && now_ns() >= next_file) {
                        write_file(s);
                        next_file = now_ns() + FILE_NS;
                }
                serve_once(s, next_file);
        }
        if (s->file.path)
                write_file(s);
        return NULL;
}

/* ---- all of it ---- */

static void server_free(struct live_server *s)
{
        for (unsigned i = 0; i < LISTENERS; i++)
                listen_end(&s->listeners[i]);
        if (s->stop >= 0)
                close(s->stop);
        if (s->memory != MAP_FAILED)
                munmap(s->memory, (size_t)(CLIENTS + 1) * MEMORY_EACH);
        metrics_file_end(&s->file);
        free(s);
}

static struct live_server *server_make(const struct live_ops *ops)
{
        struct live_server *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        s->ops = *ops;
        for (unsigned i = 0; i < LISTENERS; i++)
                s->listeners[i] = listener_none();
        s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        s->memory = mmap(NULL, (size_t)(CLIENTS + 1) * MEMORY_EACH, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s->stop < 0 || s->memory == MAP_FAILED) {
                server_free(s);
                return NULL;
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
                s->clients[i].fd = -1;
                s->clients[i].answer = s->memory + (size_t)i * MEMORY_EACH;
        }
        return s;
}

/* 0 or -errno. */
static int server_run(struct live_server *s)
{
        sigset_t all, old;
        int error;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        error = pthread_create(&s->thread, NULL, live_main, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (!error)
                pthread_setname_np(s->thread, "fl-live");
        return -error;
}

int live_start(struct live_server **out, bool publish, const char *metrics,
               const struct live_ops *ops, const char **why)
{
        bool wanted = metrics && *metrics;
        struct live_server *s;
        struct where where;
        int error = 0;

        *out = NULL;
        if (wanted && where_parse(metrics, &where, why))
                return -EINVAL;
        s = publish || wanted ? server_make(ops) : NULL;
        if (s && publish && listen_published(&s->listeners[0]))
                publish = false;
        if (s && wanted)
                error = where.kind == WHERE_FILE ? metrics_file_use(&s->file, where.path)
                                                 : listen_at(&s->listeners[1], &where);
        if (wanted && !s)
                error = -ENOMEM;
        if (error)
                say("faultline: %s: telling metrics there: %s; going on without", metrics,
                    error == -EEXIST ? "there is something else in it" : strerror(-error));
        if (s && !publish && (error || !wanted)) {
                server_free(s);
                s = NULL;
        } else if (s && (error = server_run(s))) {
                say("faultline: telling metrics, or who asks how the engine does: %s; going on "
                    "without",
                    strerror(-error));
                server_free(s);
                s = NULL;
        }
        *out = s;
        return 0;
}

void live_stop(struct live_server *s)
{
        uint64_t one = 1;

        if (!s)
                return;
        while (write(s->stop, &one, sizeof(one)) < 0 && errno == EINTR)
                ;
        pthread_join(s->thread, NULL);
        for (unsigned i = 0; i < CLIENTS; i++)
                if (s->clients[i].fd >= 0)
                        client_end(&s->clients[i]);
        server_free(s);
}
