/* SPDX-License-Identifier: Apache-2.0
 *
 * scheme.h - what a name that people give begins with.
 */
#ifndef FL_UTIL_SCHEME_H
#define FL_UTIL_SCHEME_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the scheme: a letter, then letters, digits, + . -, and then a colon, which does not
 * count. 0: the text is a bare path. */
size_t scheme_length(const char *text);
/* Is it this one? */
bool scheme_is(const char *text, const char *scheme);

#endif
