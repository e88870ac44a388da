/* SPDX-License-Identifier: Apache-2.0
 *
 * out.c - text in a buffer of fixed size; JSON's commas and quotes.
 */
#include "live/out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void out_printf(struct out *o, const char *format, ...)
{
        va_list args;
        int n;

        if (o->full)
                return;
        va_start(args, format);
        n = vsnprintf(o->buf + o->len, o->size - o->len, format, args);
        va_end(args);
        if (n < 0 || (size_t)n >= o->size - o->len)
                o->full = true;
        else
                o->len += (size_t)n;
}

static void out_bytes(struct out *o, const void *bytes, size_t n)
{
        if (o->full || n >= o->size - o->len) {
                o->full = true;
                return;
        }
        memcpy(o->buf + o->len, bytes, n);
        o->len += n;
        o->buf[o->len] = '\0';
}

/* The length of the character of UTF-8 at p; 0: there is none. Not too long, no surrogate, none
 * beyond the last. */
static unsigned utf8_length(const unsigned char *p)
{
        unsigned n = p[0] < 0x80             ? 1
                     : (p[0] & 0xe0) == 0xc0 ? 2
                     : (p[0] & 0xf0) == 0xe0 ? 3
                     : (p[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        uint32_t c = n < 2 ? p[0] : p[0] & (0x7fu >> n);

        for (unsigned i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0; /* the NUL, too */
                c = c << 6 | (p[i] & 0x3f);
        }
        if (n > 1 && (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)))
                return 0;
        return n;
}

void out_quoted(struct out *o, const char *text, bool json)
{
        const unsigned char *p = (const unsigned char *)text;

        out_bytes(o, "\"", 1);
        while (*p) {
                unsigned n = utf8_length(p);

                if (!n)
                        out_bytes(o, "\xef\xbf\xbd", 3); /* the character for what is none */
                else if (*p == '"' || *p == '\\')
                        out_printf(o, "\\%c", *p);
                else if (*p < ' ' || *p == 0x7f)
                        json ? out_printf(o, "\\u%04x", *p) : out_bytes(o, "?", 1);
                else
                        out_bytes(o, p, n);
                p += n ? n : 1;
        }
        out_bytes(o, "\"", 1);
}

static void json_key(struct out *o, const char *key)
{
        if (o->comma)
                out_bytes(o, ",", 1);
        if (key)
                out_printf(o, "\"%s\":", key);
        o->comma = true;
}

void json_open(struct out *o, const char *key, char bracket)
{
        json_key(o, key);
        out_bytes(o, &bracket, 1);
        o->comma = false;
}

void json_close(struct out *o, char bracket)
{
        out_bytes(o, &bracket, 1);
        o->comma = true;
}

void json_number(struct out *o, const char *key, uint64_t n)
{
        json_key(o, key);
        /* What readers keep in a signed word. */
        out_printf(o, "%" PRIu64, min_u64(n, INT64_MAX));
}

void json_text(struct out *o, const char *key, const char *text)
{
        json_key(o, key);
        out_quoted(o, text, true);
}
