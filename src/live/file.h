/* SPDX-License-Identifier: Apache-2.0
 *
 * file.h - a file that holds the figures as they are now.
 */
#ifndef FL_LIVE_FILE_H
#define FL_LIVE_FILE_H

#include "util/base.h"

struct metrics_file {
        char *path;     /* NULL: there is none */
        char *path_new; /* with room for the name it has until it is whole */
        bool said;      /* that it could not be written */
};

/* 0 or -errno: -EEXIST: there is something else in it. */
int metrics_file_use(struct metrics_file *f, const char *path);
/* Puts the text in its place. What goes wrong is one line on stderr, the first time. Called by a thread
 * that has all signals blocked: what is longer than RLIMIT_FSIZE comes with SIGXFSZ. */
void metrics_file_write(struct metrics_file *f, const char *text, size_t len);
void metrics_file_end(struct metrics_file *f);

#endif
