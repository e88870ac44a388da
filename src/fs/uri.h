/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.h - what the user may name: PATH, file:PATH, ram:SIZE.
 *
 * A bare PATH is taken literally. What looks like a scheme (a letter, then letters, digits, + . -,
 * then a colon) is one: a path of that form needs ./ before it.
 */
#ifndef FL_FS_URI_H
#define FL_FS_URI_H

#include "util/base.h"

enum uri_scheme { URI_FILE, URI_RAM };

struct uri {
        enum uri_scheme scheme;
        const char *path; /* URI_FILE; points into the text that was parsed */
        uint64_t size;    /* URI_RAM, bytes */
};

/* 0 or -EINVAL, then *why is a static phrase for people. */
int uri_parse(const char *text, struct uri *out, const char **why);

#endif
