/* SPDX-License-Identifier: Apache-2.0
 *
 * server.c - one thread, two places to listen on, eight who are served at once.
 *
 * A connection: reading (until the request is whole) -> writing (the answer) -> lingering (until the
 * other end has closed, so that the answer is not lost with what it still sends). Each has a
 * deadline; an answer is put together at once, in memory of the connection's own, so that a reader who
 * does not read keeps nothing but that.
 */
#include "live/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live/listen.h"
#include "util/say.h"

#define CLIENTS 8
#define LISTENERS 2
#define ANSWER_MAX (1u << 20)
#define HEAD_MAX 512
#define SECOND 1000000000ull
#define READ_NS (2 * SECOND)
#define WRITE_NS (5 * SECOND)
#define LINGER_NS SECOND
#define FILE_NS SECOND        /* so often FILE is written */
#define REST_NS (SECOND / 10) /* without descriptors nobody is accepted, who stays ready */

struct client {
        int fd; /* -1: free */
        enum { READING, WRITING, LINGERING } state;
        bool all;
        uint64_t deadline;
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
        struct client clients[CLIENTS];
        uint64_t rest; /* ns; until then nobody is accepted */
        char *memory;  /* of all answers, and one more for the file */
        char *file, *file_new;
        bool file_failed; /* and it has been said */
};

#define MEMORY_EACH (HEAD_MAX + ANSWER_MAX)

/* ---- one connection ---- */

static void client_end(struct client *c)
{
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
        c->sent += n > 0 ? (size_t)n : 0;
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

static struct client *free_client(struct live_server *s)
{
        for (unsigned i = 0; i < CLIENTS; i++)
                if (s->clients[i].fd < 0)
                        return &s->clients[i];
        return NULL;
}

static void accept_client(struct live_server *s, struct listener *l)
{
        struct client *c = free_client(s);
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
        c->fd = fd;
        c->state = READING;
        c->all = l->all;
        c->got = 0;
        c->deadline = now_ns() + READ_NS;
}

static void write_file(struct live_server *s);

static int timeout_ms(struct live_server *s, uint64_t next_file)
{
        uint64_t now = now_ns(), first = s->file ? next_file : UINT64_MAX;

        for (unsigned i = 0; i < CLIENTS; i++)
                if (s->clients[i].fd >= 0)
                        first = min_u64(first, s->clients[i].deadline);
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
        bool room = free_client(s) != NULL && now_ns() >= s->rest;

        p[0] = (struct pollfd){ .fd = s->stop, .events = POLLIN };
        for (unsigned i = 0; i < LISTENERS; i++)
                p[1 + i] =
                        (struct pollfd){ .fd = room ? s->listeners[i].fd : -1, .events = POLLIN };
        for (unsigned i = 0; i < CLIENTS; i++)
                p[1 + LISTENERS + i] = (struct pollfd){
                        .fd = s->clients[i].fd,
                        .events = s->clients[i].state == WRITING ? POLLOUT : POLLIN,
                };
        if (poll(p, ARRAY_SIZE(p), timeout_ms(s, next_file)) < 0)
                for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
                        p[i].revents = 0;
        for (unsigned i = 0; i < CLIENTS; i++)
                serve_client(s, &s->clients[i], p[1 + LISTENERS + i].revents);
        for (unsigned i = 0; i < LISTENERS; i++)
                if (p[1 + i].revents & POLLIN)
                        accept_client(s, &s->listeners[i]);
}

static bool is_stopped(struct live_server *s)
{
        uint64_t n;

        return read(s->stop, &n, sizeof(n)) == sizeof(n);
}

static void *live_main(void *arg)
{
        struct live_server *s = arg;
        uint64_t next_file = 0;

        while (!is_stopped(s)) {
                if (s->file && now_ns() >= next_file) {
                        write_file(s);
                        next_file = now_ns() + FILE_NS;
                }
                serve_once(s, next_file);
        }
        return NULL;
}

/* ---- the file ---- */

#define NEW_MAX 64 /* behind FILE, of the name it has until it is whole */

static const char file_begin[] = "# TYPE faultline";

/* Not over something else that somebody has named by mistake. 0 or -errno. */
static int check_file(const char *path)
{
        char head[sizeof(file_begin) - 1];
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        ssize_t n;
        int error = 0;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st))
                error = -errno;
        else if (!S_ISREG(st.st_mode))
                error = -EINVAL;
        if (!error && (n = read(fd, head, sizeof(head))) != 0 &&
            (n != (ssize_t)sizeof(head) || memcmp(head, file_begin, sizeof(head)) != 0))
                error = n < 0 ? -errno : -EEXIST;
        close(fd);
        return error;
}

/* A file beside FILE that is ours alone; its name goes into file_new. The descriptor or -errno. */
static int make_new(struct live_server *s)
{
        uint64_t random;
        int fd;

        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
                random = now_ns();
        snprintf(s->file_new, strlen(s->file) + NEW_MAX, "%s.%d-%016" PRIx64 ".new", s->file,
                 (int)getpid(), random);
        fd = open(s->file_new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        return fd < 0 ? -errno : fd;
}

static int write_whole(int fd, const char *text, size_t len)
{
        int error = 0;

        while (len && !error) {
                ssize_t n = write(fd, text, len);

                if (n > 0) {
                        text += n;
                        len -= (size_t)n;
                } else if (n == 0 || errno != EINTR) {
                        error = n == 0 ? -ENOSPC : -errno;
                }
        }
        if (close(fd) && !error)
                error = -errno;
        return error;
}

/* Whole under another name, then put in its place: a reader sees the old figures or the new. */
static void write_file(struct live_server *s)
{
        struct http_request rq = { .path = "/metrics" };
        struct out body = { .buf = s->memory + (size_t)CLIENTS * MEMORY_EACH, .size = ANSWER_MAX };
        const char *type;
        int error, fd;

        if (s->ops.get(s->ops.arg, &rq, false, &body, &type) != 200 || body.full)
                return;
        fd = make_new(s);
        error = fd < 0 ? fd : write_whole(fd, body.buf, body.len);
        if (!error)
                error = check_file(s->file);
        if (!error && rename(s->file_new, s->file))
                error = -errno;
        if (error && fd >= 0)
                unlink(s->file_new);
        if (error && !s->file_failed)
                say("faultline: %s: writing metrics: %s; going on without", s->file,
                    strerror(-error));
        s->file_failed = error != 0;
}

static int use_file(struct live_server *s, const char *path)
{
        int error = check_file(path);

        if (error)
                return error;
        s->file = absolute_path(path);
        s->file_new = s->file ? malloc(strlen(s->file) + NEW_MAX) : NULL;
        if (s->file_new)
                return 0;
        free(s->file);
        s->file = NULL;
        return -ENOMEM;
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
        free(s->file);
        free(s->file_new);
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

static bool server_run(struct live_server *s)
{
        sigset_t all, old;
        int error;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        error = pthread_create(&s->thread, NULL, live_main, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (!error)
                pthread_setname_np(s->thread, "fl-live");
        return !error;
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
                error = where.kind == WHERE_FILE ? use_file(s, where.path)
                                                 : listen_at(&s->listeners[1], &where);
        if (wanted && !s)
                error = -ENOMEM;
        if (error)
                say("faultline: %s: telling metrics there: %s; going on without", metrics,
                    error == -EEXIST ? "there is something else in it" : strerror(-error));
        if (s && ((!publish && (error || !wanted)) || !server_run(s))) {
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
                        close(s->clients[i].fd);
        if (s->file)
                write_file(s);
        server_free(s);
}
