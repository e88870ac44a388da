/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.c - see uri.h.
 */
#include "fs/uri.h"

#include <errno.h>
#include <string.h>

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

static unsigned unit_shift(char c)
{
        switch (c) {
        case 'k':
        case 'K':
                return 10;
        case 'm':
        case 'M':
                return 20;
        case 'g':
        case 'G':
                return 30;
        default:
                return 0;
        }
}

/* Digits, and at most one of K, M, G (powers of 1024). */
static bool parse_size(const char *text, uint64_t *out)
{
        uint64_t n = 0;
        unsigned shift;

        if (!is_digit(*text))
                return false;
        for (; is_digit(*text); text++)
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
                        return false;
        shift = unit_shift(*text);
        if (shift)
                text++;
        if (*text || n > (uint64_t)INT64_MAX >> shift)
                return false;
        *out = n << shift;
        return true;
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
                if (parse_size(text + 4, &out->size))
                        return 0;
                *why = "ram: takes a size in bytes, or with K, M or G";
                return -EINVAL;
        }
        *why = "unknown scheme; known are file: and ram: (a path with a colon needs ./ before it)";
        return -EINVAL;
}
