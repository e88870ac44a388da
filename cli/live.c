/* SPDX-License-Identifier: Apache-2.0
 *
 * live.c - finding engines that run, and asking them.
 */
#include "live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "live/runtime.h"

#define ANSWER_MAX (2u << 20)
#define ANSWER_NS 2000000000ull
#define ENGINES_MAX 1000

/* ---- finding ---- */

static bool add(struct live_engines *out, const char *folder, const char *name)
{
        struct live_engine *grown = realloc(out->item, (out->count + 1) * sizeof(*grown)), *engine;

        if (!grown)
                return false;
        out->item = grown;
        engine = &grown[out->count++];
        *engine = (struct live_engine){ .pid = 0 };
        snprintf(engine->folder, sizeof(engine->folder), "%s", folder);
        snprintf(engine->name, sizeof(engine->name), "%s", name);
        return true;
}

static bool find_in(struct live_engines *out, const char *folder)
{
        DIR *d = opendir(folder);
        struct dirent *entry;
        bool ok = true;

        while (d && ok && out->count < ENGINES_MAX && (entry = readdir(d))) {
                const char *name = entry->d_name;

                if (*name == '.' || entry->d_type != DT_SOCK)
                        continue;
                if (runtime_is_dead(folder, name))
                        unlinkat(dirfd(d), name, 0);
                else
                        ok = add(out, folder, name);
        }
        if (d)
                closedir(d);
        return ok;
}

static int by_name(const void *a, const void *b)
{
        const struct live_engine *x = a, *y = b;
        int order = strverscmp(x->name, y->name);

        return order ? order : strcmp(x->folder, y->folder);
}

bool live_find(struct live_engines *out)
{
        char folder[RUNTIME_PATH];
        bool ok = true;

        *out = (struct live_engines){ .count = 0 };
        for (unsigned i = 0; i < RUNTIME_PLACES && ok; i++)
                if (runtime_folder(i, false, folder, sizeof(folder)))
                        ok = find_in(out, folder);
        if (out->count)
                qsort(out->item, out->count, sizeof(*out->item), by_name);
        return ok;
}

void live_free(struct live_engines *engines)
{
        free(engines->item);
        *engines = (struct live_engines){ .count = 0 };
}

/* ---- asking ---- */

static bool wait_for(int fd, short events, uint64_t deadline)
{
        for (;;) {
                struct pollfd p = { .fd = fd, .events = events };
                uint64_t now = now_ns();

                if (now >= deadline)
                        return false;
                if (poll(&p, 1, (int)((deadline - now) / 1000000 + 1)) > 0)
                        return true;
        }
}

static int connect_to(struct live_engine *engine)
{
        struct sockaddr_un address;
        int dir, fd;

        if (runtime_address(engine->folder, engine->name, &address, &dir))
                return -1;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
                        (engine->pid = runtime_peer(fd)) < 0)) {
                close(fd);
                fd = -1;
        }
        if (dir >= 0)
                close(dir);
        return fd;
}

static bool send_all(int fd, const char *text, uint64_t deadline)
{
        size_t left = strlen(text);

        while (left) {
                ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

                if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLOUT, deadline)))
                        return false;
                text += n > 0 ? n : 0;
                left -= n > 0 ? (size_t)n : 0;
        }
        return true;
}

/* All that comes, up to `size`, with a NUL behind. -1: not to its end. */
static ssize_t receive_all(int fd, char *buf, size_t size, uint64_t deadline)
{
        size_t got = 0;

        for (;;) {
                ssize_t n = recv(fd, buf + got, size - 1 - got, 0);

                if (n == 0)
                        break;
                if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLIN, deadline)))
                        return -1;
                got += n > 0 ? (size_t)n : 0;
                if (got + 1 == size)
                        return -1;
        }
        buf[got] = '\0';
        return (ssize_t)got;
}

static json_t *body_of(const char *answer, size_t size)
{
        static const char ok[] = "HTTP/1.1 200 ";
        const char *body = memmem(answer, size, "\r\n\r\n", 4);
        json_t *object;

        if (!body || strncmp(answer, ok, sizeof(ok) - 1) != 0)
                return NULL;
        body += 4;
        object = json_loadb(body, size - (size_t)(body - answer), JSON_REJECT_DUPLICATES, NULL);
        if (json_is_object(object) && live_number(object, "faultline") == 1)
                return object;
        json_decref(object);
        return NULL;
}

json_t *live_ask(struct live_engine *engine, const char *target)
{
        uint64_t deadline = now_ns() + ANSWER_NS;
        int fd = connect_to(engine);
        json_t *object = NULL;
        char request[2048], *answer = malloc(ANSWER_MAX);
        ssize_t got;

        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
        if (fd >= 0 && answer && send_all(fd, request, deadline) &&
            (got = receive_all(fd, answer, ANSWER_MAX, deadline)) > 0)
                object = body_of(answer, (size_t)got);
        if (fd >= 0)
                close(fd);
        free(answer);
        return object;
}

/* ---- what came ---- */

uint64_t live_number(const json_t *object, const char *key)
{
        json_int_t n = json_integer_value(json_object_get(object, key));

        return n > 0 ? (uint64_t)n : 0;
}

const char *live_text(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

void live_escape(const char *text, char *out, size_t size)
{
        static const char hex[] = "0123456789ABCDEF";
        size_t n = 0;

        for (; *text && n + 4 <= size; text++) {
                unsigned char c = (unsigned char)*text;

                if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                    strchr("-._~/:", c)) {
                        out[n++] = (char)c;
                        continue;
                }
                out[n++] = '%';
                out[n++] = hex[c >> 4];
                out[n++] = hex[c & 15];
        }
        out[n] = '\0';
}

void live_printable(const char *text, char *out, size_t size)
{
        size_t n = 0;

        for (; *text && n + 2 < size; text++) {
                const unsigned char *c = (const unsigned char *)text;

                if (*c < ' ' || *c == 0x7f) {
                        out[n++] = '?';
                } else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) { /* more controls */
                        out[n++] = '?';
                        text++;
                } else {
                        out[n++] = *text;
                }
        }
        out[n] = '\0';
}

const char *live_shown(const char *text, char *out, size_t size)
{
        live_printable(text, out, size);
        if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
                for (char *c = out; *c; c++)
                        if ((unsigned char)*c >= 0x80)
                                *c = '?';
        return out;
}

json_t *live_json(const char *text)
{
        json_t *string = json_string(text);
        char *copy;

        if (string || !(copy = strdup(text)))
                return string;
        for (char *c = copy; *c; c++) /* not UTF-8 */
                if (*c < ' ' || *c > '~')
                        *c = '?';
        string = json_string(copy);
        free(copy);
        return string;
}
