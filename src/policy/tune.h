/* SPDX-License-Identifier: Apache-2.0
 *
 * tune.h - the parameters of Solaris's kernel that an engine may have otherwise, each by its name in
 * /etc/system: "autoup=10,lotsfree=2M". What is not given follows from the memory, or from what is.
 *
 * A number of pages is one of the policy's, or a size with K, M or G. Rule numbers are those of
 * docs/policies.md.
 */
#ifndef FL_POLICY_TUNE_H
#define FL_POLICY_TUNE_H

#include "util/base.h"

/* X(name, unit, least, most) */
#define TUNE_PARAMETERS(X)                                                                         \
        X(autoup, SECONDS, 1, 86400)          /* S33: a dirty page is written in this time */      \
        X(tune_t_fsflushr, SECONDS, 1, 86400) /* S33: between two wakes of fsflush */              \
        X(dopageflush, SWITCH, 0, 1)          /* S33: 0: it writes no pages */                     \
        X(lotsfree, PAGES, 1, TUNE_MOST)      /* S34: below, the scanner runs */                   \
        X(desfree, PAGES, 1, TUNE_MOST)                                                            \
        X(minfree, PAGES, 1, TUNE_MOST)                                                            \
        X(throttlefree, PAGES, 1, TUNE_MOST) /* S34: below, it does not wait for its turn */       \
        X(slowscan, PAGES, 1, TUNE_MOST)     /* S35: a second */                                   \
        X(fastscan, PAGES, 1, TUNE_MOST)                                                           \
        X(handspreadpages, PAGES, 1, TUNE_MOST)                                                    \
        X(maxpgio, NUMBER, 1, 1000000) /* S35: pages written in a second */                        \
        X(min_percent_cpu, NUMBER, 1, 100)                                                         \
        X(max_percent_cpu, NUMBER, 1, 100)                                                         \
        X(fltadvice, SWITCH, 0, 1)  /* S8: 0: faults free nothing behind them */                   \
        X(freebehind, SWITCH, 0, 1) /* S22: 0: nor do reads */                                     \
        X(cache_read_ahead, SWITCH, 0,                                                             \
          1) /* S22: 1: they leave it the last to go of what they free */
#define TUNE_MOST (UINT64_C(1) << 40)

enum tune_parameter {
#define X(name, unit, least, most) TUNE_##name,
        TUNE_PARAMETERS(X)
#undef X
                TUNE_NR
};

struct policy_tune {
        uint64_t value[TUNE_NR]; /* of those that were given */
        uint32_t given;          /* a bit each */
};

/* t may be NULL: nothing is given. */
static inline uint64_t tune_or(const struct policy_tune *t, enum tune_parameter p, uint64_t other)
{
        return t && t->given & 1u << p ? t->value[p] : other;
}

/* The values of an engine of that much memory, in pages of so many bytes: all of them. */
struct policy_tune tune_complete(const struct policy_tune *t, uint64_t memory, uint32_t page);
/* Reads what is given. 0, or -EINVAL and the sentence why, with the name in it. NULL or "": nothing is
 * given. */
int tune_parse(const char *text, uint64_t memory, uint32_t page, struct policy_tune *out, char *why,
               size_t size);
/* As text that tune_parse() reads; like snprintf. */
int tune_text(const struct policy_tune *t, char *buf, size_t size);

#endif
