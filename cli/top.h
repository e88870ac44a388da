/* SPDX-License-Identifier: Apache-2.0
 *
 * top.h - what `faultline top` shows, whether on a screen or as lines.
 *
 *   top_sample.c asks the engines, and remembers what they said the time before;
 *   top_lines.c makes lines of it; top_screen.c shows those on a terminal; top.c is the command.
 */
#ifndef FAULTLINE_TOP_H
#define FAULTLINE_TOP_H

#include "live.h"

#define TOP_WIDTH 512 /* no line is longer, its NUL included */

enum top_order { TOP_BY_FAULTS, TOP_BY_LATENCY, TOP_BY_CACHE, TOP_ORDERS };

/* One engine: what it says, and said before (NULL: it is new). Rates are since then, or since it was
 * opened. */
struct top_engine {
        struct live_engine at;
        json_t *now, *before;
        double seconds;
        uint64_t p50, p99; /* of faults since then, ns */
};

struct top {
        struct top_engine *engine;
        size_t count;
        unsigned silent; /* that are there and did not answer */
        enum top_order order;
        uint64_t every;                 /* ns */
        const struct string_list *only; /* processes; empty: all */
};

struct top_line {
        enum { TOP_PLAIN, TOP_TITLE, TOP_HEADER } kind;
        char text[TOP_WIDTH];
};
struct top_lines {
        struct top_line *line;
        size_t count, room;
};

/* ---- top_sample.c ---- */
/* Asks everybody. False: no memory. */
bool top_sample(struct top *t);
void top_free(struct top *t);
/* How much a counter of now["stats"] has grown, a second. */
double top_rate(const struct top_engine *e, const char *key);
/* The quantile of what a histogram has gained; 0: nothing. */
uint64_t top_quantile(const json_t *now, const json_t *before, unsigned permille);

/* ---- top_lines.c ---- */
/* Up to `rows` lines; 0: as many as there are. False: no memory. */
bool top_lines(const struct top *t, size_t rows, struct top_lines *out);

/* ---- top_screen.c ---- */
/* Until a key ends it, or after `times` frames, if that is not 0. An exit status. */
int top_screen(struct top *t, uint64_t times);
extern const bool top_has_screen;

#endif
