/* SPDX-License-Identifier: Apache-2.0
 *
 * http.c - requests: one line that counts, headers that do not, an empty line. Whatever else may come
 * from whoever has connected is answered with a status, and kept within bounds.
 */
#include "live/http.h"

#include <errno.h>
#include <string.h>

/* Behind the empty line that ends the headers, or NULL. */
static const char *end_of_headers(const char *buf, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                if (buf[i] != '\n')
                        continue;
                if (i + 1 < len && buf[i + 1] == '\n')
                        return buf + i + 2;
                if (i + 2 < len && buf[i + 1] == '\r' && buf[i + 2] == '\n')
                        return buf + i + 3;
        }
        return NULL;
}

/* Copies up to a stop character; false: does not fit, or holds what no target may hold. */
static bool take(const char **at, const char *end, const char *stops, char *out, size_t size)
{
        size_t n = 0;

        for (; *at < end && !strchr(stops, **at); (*at)++) {
                if ((unsigned char)**at <= ' ' || (unsigned char)**at >= 0x7f || n + 1 >= size)
                        return false;
                out[n++] = **at;
        }
        out[n] = '\0';
        return true;
}

int http_parse(const char *buf, size_t len, struct http_request *out)
{
        const char *line_end = memchr(buf, '\n', len), *at = buf;
        char method[16], version[16];

        *out = (struct http_request){ .head = false };
        if (memchr(buf, '\0', len))
                return 400;
        if (!line_end || !end_of_headers(buf, len))
                return len < HTTP_REQUEST_MAX ? -EAGAIN : 414;
        if (line_end > buf && line_end[-1] == '\r')
                line_end--;
        if (!take(&at, line_end, " ", method, sizeof(method)) || at == line_end)
                return 400;
        at++;
        if (at == line_end || *at != '/')
                return 400;
        if (!take(&at, line_end, " ?", out->path, sizeof(out->path)))
                return 414;
        if (at < line_end && *at == '?') {
                at++;
                if (!take(&at, line_end, " ", out->query, sizeof(out->query)))
                        return 414;
        }
        if (at == line_end)
                return 400;
        at++;
        if (!take(&at, line_end, "", version, sizeof(version)))
                return 400;
        if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
                return strncmp(version, "HTTP/", 5) == 0 ? 505 : 400;
        out->head = strcmp(method, "HEAD") == 0;
        return out->head || strcmp(method, "GET") == 0 ? 0 : 405;
}

static int hex(char c)
{
        const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

        return at ? (int)(at - digits) : -1;
}

static bool decode(const char *at, size_t len, char *out, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < len; i++) {
                char c = at[i] == '+' ? ' ' : at[i];

                if (c == '%') {
                        int high = i + 2 < len ? hex(at[i + 1]) : -1;
                        int low = i + 2 < len ? hex(at[i + 2]) : -1;

                        if (high < 0 || low < 0 || !(high | low))
                                return false;
                        c = (char)(high << 4 | low);
                        i += 2;
                }
                if (n + 1 >= size)
                        return false;
                out[n++] = c;
        }
        out[n] = '\0';
        return true;
}

bool http_param(const char *query, const char *name, char *out, size_t size)
{
        size_t name_len = strlen(name);

        while (*query) {
                size_t len = strcspn(query, "&");

                if (len > name_len && query[name_len] == '=' && memcmp(query, name, name_len) == 0)
                        return decode(query + name_len + 1, len - name_len - 1, out, size);
                query += len + (query[len] == '&');
        }
        return false;
}

const char *http_phrase(int status)
{
        switch (status) {
        case 200:
                return "OK";
        case 400:
                return "Bad Request";
        case 404:
                return "Not Found";
        case 405:
                return "Method Not Allowed";
        case 408:
                return "Request Timeout";
        case 414:
                return "URI Too Long";
        case 505:
                return "HTTP Version Not Supported";
        default:
                return "Internal Server Error";
        }
}
