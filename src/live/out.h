/* SPDX-License-Identifier: Apache-2.0
 *
 * out.h - text of unknown length, put together in a buffer of fixed size: JSON and OpenMetrics.
 *
 * Names are other people's: whatever bytes they hold, what comes out is valid UTF-8, quoted as the
 * format wants it. What does not fit is not written, and `full` says so.
 */
#ifndef FL_LIVE_OUT_H
#define FL_LIVE_OUT_H

#include <stdarg.h>

#include "util/base.h"

struct out {
        char *buf;
        size_t size, len;
        bool full;
        bool comma; /* the next member or element of JSON needs one */
};

void out_printf(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In quotes, as both formats have them; control characters are '?' in a label and \u00XX in JSON. */
void out_quoted(struct out *o, const char *text, bool json);

/* JSON, piece by piece; key NULL: an element of an array. open, close: "{" "[" and their ends. */
void json_open(struct out *o, const char *key, char bracket);
void json_close(struct out *o, char bracket);
void json_number(struct out *o, const char *key, uint64_t n);
void json_text(struct out *o, const char *key, const char *text);

#endif
