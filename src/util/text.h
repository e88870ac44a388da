/* SPDX-License-Identifier: Apache-2.0
 *
 * text.h - text for people that holds names which others have chosen.
 */
#ifndef FL_UTIL_TEXT_H
#define FL_UTIL_TEXT_H

/* Control characters become '?': a message is one line, and a file's name does not talk to the
 * terminal. Returns text. Async-signal-safe. */
static inline char *text_one_line(char *text)
{
        for (char *c = text; *c; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        *c = '?';
        return text;
}

#endif
