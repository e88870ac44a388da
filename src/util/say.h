/* SPDX-License-Identifier: Apache-2.0
 *
 * say.h - a line for people on stderr, from threads that others wait for.
 *
 * Not by stdio: a thread of the program may hold the stream's lock while it waits for a page (it prints
 * what is mapped), and whoever would serve that page must not wait for the stream. Nor does a pipe that
 * nobody reads stop anybody: then the line is lost.
 */
#ifndef FL_UTIL_SAY_H
#define FL_UTIL_SAY_H

#include <stdarg.h>
#include <stdio.h>

/* One line, without its end; control characters become '?'. Async-signal-safe; leaves errno alone. */
void say_line(char *line);

/* The same, put together first; cut off after 500 bytes. Not in a signal handler. */
static inline void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void say(const char *format, ...)
{
        char line[512];
        va_list args;

        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        say_line(line);
}

#endif
