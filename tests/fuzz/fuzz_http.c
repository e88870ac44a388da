/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_http.c - requests to an engine's sockets, any bytes; and names in what is answered.
 */
#include <errno.h>

#include "fuzz.h"
#include "live/http.h"
#include "live/out.h"

/* What was understood is within bounds and holds nothing that would end a line. */
static void plain(const char *text, size_t size)
{
        must(strnlen(text, size) < size);
        for (; *text; text++)
                must((unsigned char)*text > ' ' && (unsigned char)*text < 0x7f);
}

/* Printable, and every quote or backslash in it has one before it. */
static void quoted(const char *text, bool json)
{
        char buf[256];
        struct out o = { .buf = buf, .size = sizeof(buf) };

        out_quoted(&o, text, json);
        must(o.full || (o.len >= 2 && buf[0] == '"' && buf[o.len - 1] == '"'));
        for (size_t i = 1; !o.full && i + 1 < o.len; i++) {
                must((unsigned char)buf[i] >= ' ' && buf[i] != '"');
                i += buf[i] == '\\';
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct http_request rq;
        char value[64];
        char *text = fuzz_text(data, size);
        int status = http_parse((const char *)data,
                                size < HTTP_REQUEST_MAX ? size : HTTP_REQUEST_MAX, &rq);

        must(status == 0 || status == -EAGAIN || (status >= 400 && status <= 505));
        must(size < HTTP_REQUEST_MAX || status != -EAGAIN);
        if (!status) {
                plain(rq.path, sizeof(rq.path));
                plain(rq.query, sizeof(rq.query));
                must(rq.path[0] == '/');
                if (http_param(rq.query, "id", value, sizeof(value)))
                        must(strnlen(value, sizeof(value)) < sizeof(value));
        }
        quoted(text, true);
        quoted(text, false);
        free(text);
        return 0;
}
