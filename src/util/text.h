/* SPDX-License-Identifier: Apache-2.0
 *
 * text.h - text for people that holds names which others have chosen.
 */
#ifndef FL_UTIL_TEXT_H
#define FL_UTIL_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Control characters become '?': a message is one line, and a file's name does not talk to the
 * terminal. Returns text. Async-signal-safe. */
static inline char *text_one_line(char *text)
{
        for (char *c = text; *c; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        *c = '?';
        return text;
}

/* Text put together piece by piece, cut off where the buffer ends. Async-signal-safe. */
struct text {
        char *at, *end; /* at: the NUL */
};

static inline struct text text_begin(char *buf, size_t size)
{
        *buf = 0;
        return (struct text){ buf, buf + size - 1 };
}

static inline void text_add(struct text *t, const char *more)
{
        while (*more && t->at < t->end)
                *t->at++ = *more++;
        *t->at = 0;
}

static inline void text_add_number(struct text *t, uint64_t n)
{
        char digits[24];
        unsigned i = sizeof(digits) - 1;

        digits[i] = 0;
        do
                digits[--i] = (char)('0' + n % 10);
        while (n /= 10);
        text_add(t, digits + i);
}

#endif
