/* SPDX-License-Identifier: Apache-2.0
 *
 * live.h - the engines of this user that run, asked over their sockets (docs/live.md).
 *
 * Whoever answers is not trusted: an answer has two seconds and two MiB, must be JSON of the form we
 * know, and what is not there, or of another kind, reads as 0 or "".
 */
#ifndef FAULTLINE_LIVE_H
#define FAULTLINE_LIVE_H

#include <jansson.h>

#include "cli.h"

struct live_engine {
        char folder[256], name[256]; /* of its socket */
        int pid;                     /* as the kernel says, once it has answered */
};

struct live_engines {
        struct live_engine *item;
        size_t count;
};

/* All of them, in the order of their names; sockets that nobody listens on are removed. False: no
 * memory. */
bool live_find(struct live_engines *out);
void live_free(struct live_engines *engines);
/* The answer, the caller's; NULL: none, or none that can be used. `target`: path and query. */
json_t *live_ask(struct live_engine *engine, const char *target);

/* Of an object or NULL. */
uint64_t live_number(const json_t *object, const char *key);
const char *live_text(const json_t *object, const char *key);
/* %XX for what may not stand in a query; cut off where it does not fit. */
void live_escape(const char *text, char *out, size_t size);
/* For a terminal: no byte that could steer one. */
void live_printable(const char *text, char *out, size_t size);
/* The same for the terminal that there is, which may know no UTF-8; setlocale(3) has been called. */
const char *live_shown(const char *text, char *out, size_t size);
/* A string, whatever the bytes: one that is not UTF-8 is told in ASCII. NULL: no memory. */
json_t *live_json(const char *text);

#endif
