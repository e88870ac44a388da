/* SPDX-License-Identifier: Apache-2.0
 *
 * scheme.c - see scheme.h.
 */
#include "util/scheme.h"

#include <string.h>

static bool is_letter(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

size_t scheme_length(const char *text)
{
        size_t n = 0;

        if (!is_letter(*text))
                return 0;
        while (is_letter(text[n]) || is_digit(text[n]) || (text[n] && strchr("+.-", text[n])))
                n++;
        return text[n] == ':' ? n : 0;
}

bool scheme_is(const char *text, const char *scheme)
{
        size_t n = scheme_length(text);

        return n && strlen(scheme) == n && !memcmp(text, scheme, n);
}
