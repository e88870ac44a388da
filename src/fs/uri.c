/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.c - see uri.h.
 */
#include "fs/uri.h"

#include <errno.h>
#include <string.h>

#include "util/quantity.h"

static bool is_letter(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* Length of the scheme that text begins with, 0 if it is a bare path. */
static size_t scheme_length(const char *text)
{
        size_t n = 0;

        if (!is_letter(*text))
                return 0;
        while (is_letter(text[n]) || is_digit(text[n]) || (text[n] && strchr("+.-", text[n])))
                n++;
        return text[n] == ':' ? n : 0;
}

int uri_parse(const char *text, struct uri *out, const char **why)
{
        size_t n = scheme_length(text);

        *out = (struct uri){ .scheme = URI_FILE, .path = text };
        if (!n)
                return 0;
        if (n == 4 && !memcmp(text, "file", 4)) {
                out->path = text + 5;
                return 0;
        }
        if (n == 3 && !memcmp(text, "ram", 3)) {
                out->scheme = URI_RAM;
                out->path = NULL;
                if (parse_size(text + 4, &out->size) && out->size <= INT64_MAX)
                        return 0;
                *why = "ram: takes a size in bytes, or with K, M or G";
                return -EINVAL;
        }
        *why = "unknown scheme; known are file: and ram: (a path with a colon needs ./ before it)";
        return -EINVAL;
}
