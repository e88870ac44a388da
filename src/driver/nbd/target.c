/* SPDX-License-Identifier: Apache-2.0
 *
 * target.c - what the URI of an export says.
 *
 * After the NBD project's own scheme for URIs; the query knows three words more, for which a program
 * that maps memory has no other place. Nothing of it is left to the library, so that what is wrong
 * is said in one phrase and nothing (TLS, local files) comes in unasked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "driver/nbd/nbd.h"
#include "util/quantity.h"

#define DEFAULT_PORT "10809"
#define DEFAULT_TIMEOUT (30ull * 1000000000)
#define DEFAULT_CONNECT (10ull * 1000000000)
#define DEFAULT_CONNECTIONS 4

static int hex(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX in [from, end) become bytes. False: too long, not hexadecimal, or a byte of zeros. */
static bool decode(char *out, size_t room, const char *from, const char *end)
{
        while (from < end) {
                char c = *from++;

                if (c == '%') {
                        if (end - from < 2 || hex(from[0]) < 0 || hex(from[1]) < 0)
                                return false;
                        c = (char)(hex(from[0]) << 4 | hex(from[1]));
                        from += 2;
                }
                if (!c || room < 2)
                        return false;
                *out++ = c;
                room--;
        }
        *out = 0;
        return true;
}

/* HOST, HOST:PORT, [V6], [V6]:PORT in [from, end). */
static bool parse_authority(struct nbd_target *t, const char *from, const char *end)
{
        const char *colon = memchr(from, ':', (size_t)(end - from)), *close;

        if (from < end && *from == '[') {
                close = memchr(from, ']', (size_t)(end - from));
                if (!close || !decode(t->host, sizeof t->host, from + 1, close))
                        return false;
                from = close + 1;
                if (from < end && *from != ':')
                        return false;
                colon = from < end ? from : NULL;
        } else if (!decode(t->host, sizeof t->host, from, colon ? colon : end)) {
                return false;
        }
        strcpy(t->port, DEFAULT_PORT);
        if (!t->host[0] || memchr(t->host, '@', strlen(t->host)))
                return false;
        return !colon || (colon + 1 < end && decode(t->port, sizeof t->port, colon + 1, end));
}

static bool parse_time(const char *text, uint64_t *ns)
{
        return take_time(&text, ns) && !*text && *ns;
}

/* One KEY=VALUE of the query. NULL, or what is wrong. */
static const char *parse_option(struct nbd_target *t, const char *key, const char *end)
{
        const char *equals = memchr(key, '=', (size_t)(end - key));
        size_t n = equals ? (size_t)(equals - key) : 0;
        char value[256];
        const char *s = value;
        uint64_t number;

        if (!equals || !decode(value, sizeof value, equals + 1, end))
                return "a part of the URI's query is not KEY=VALUE";
        if (n == 6 && !memcmp(key, "socket", n)) {
                if (!t->local)
                        return "socket= goes with nbd+unix: only";
                if (strlen(value) >= sizeof((struct sockaddr_un *)0)->sun_path || !value[0])
                        return "the socket's path is empty or longer than a socket's can be";
                strcpy(t->host, value);
                return NULL;
        }
        if (n == 7 && !memcmp(key, "timeout", n))
                return parse_time(value, &t->timeout_ns) ? NULL : "timeout= takes a time, as 30s";
        if (n == 7 && !memcmp(key, "connect", n))
                return parse_time(value, &t->connect_ns) ? NULL : "connect= takes a time, as 10s";
        if (n == 11 && !memcmp(key, "connections", n)) {
                if (!take_number(&s, &number) || *s || !number || number > NBD_MAX_CONNECTIONS)
                        return "connections= takes a number from 1 to 8";
                t->connections = (unsigned)number;
                return NULL;
        }
        return "the URI's query knows socket=, timeout=, connect= and connections=";
}

static const char *parse(struct nbd_target *t, const char *uri)
{
        const char *path, *query, *wrong;

        if (!strncmp(uri, "nbd+unix://", 11))
                t->local = true;
        else if (strncmp(uri, "nbd://", 6))
                return "not of the form nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH";
        uri += t->local ? 11 : 6;
        query = uri + strcspn(uri, "?");
        path = memchr(uri, '/', (size_t)(query - uri));
        if (!path)
                path = query;
        if (t->local && path != uri)
                return "nbd+unix: takes no host: nbd+unix:///EXPORT?socket=PATH";
        if (!t->local && !parse_authority(t, uri, path))
                return "no host, or a port that is none: nbd://HOST[:PORT]/EXPORT";
        if (path < query && !decode(t->export_name, sizeof t->export_name, path + 1, query))
                return "the export's name is too long, or has a % that no two digits follow";
        while (*query) {
                const char *end;

                query++;
                end = query + strcspn(query, "&");
                wrong = parse_option(t, query, end);
                if (wrong)
                        return wrong;
                query = end;
        }
        return t->host[0] ? NULL : "nbd+unix: needs ?socket=PATH";
}

int nbd_target_parse(struct nbd_target *t, const char *uri, const char **why)
{
        *t = (struct nbd_target){
                .timeout_ns = DEFAULT_TIMEOUT,
                .connect_ns = DEFAULT_CONNECT,
                .connections = DEFAULT_CONNECTIONS,
        };
        *why = parse(t, uri);
        return *why ? -EINVAL : 0;
}
