/* SPDX-License-Identifier: Apache-2.0
 *
 * http.h - as much of HTTP/1 as a request for a page of figures needs.
 */
#ifndef FL_LIVE_HTTP_H
#define FL_LIVE_HTTP_H

#include "util/base.h"

#define HTTP_REQUEST_MAX 4096

struct http_request {
        bool head;       /* HEAD: the answer without its body */
        char path[64];   /* from its '/' on, as it was written */
        char query[768]; /* behind the '?'; "" without */
};

/* Reads a request of `len` bytes, any bytes. 0: there it is; -EAGAIN: its end has not come yet; else
 * the status to answer with: 400, 405, 414, 505. */
int http_parse(const char *buf, size_t len, struct http_request *out);
/* The value behind `name` in a query, %XX and '+' decoded. False: not there, or not so. */
bool http_param(const char *query, const char *name, char *out, size_t size);
/* The phrase of a status. */
const char *http_phrase(int status);

#endif
