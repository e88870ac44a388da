/* SPDX-License-Identifier: Apache-2.0
 *
 * policy.c - the list of policies by name, and the words for what they decide.
 */
#include "policy/policy.h"

#include <string.h>

static const struct vm_policy_ops *const policies[] = {
        &adaptive_policy, /* the default */
        &linux_policy,    &linux_5_13_policy, &solaris_policy, &solaris_book_policy,
};

static const char *const why_texts[RA_NR_WHY] = {
        [RA_NONE] = "none",
        [RA_RANDOM_ADVICE] = "MADV_RANDOM: this page only (L17b)",
        [RA_DISABLED] = "read-ahead is off: this page only (L17c)",
        [RA_SEQUENTIAL_ADVICE] = "MADV_SEQUENTIAL (L17d)",
        [RA_MMAP_MISS] = "over 100 misses: this page only (L17e)",
        [RA_EXEC] = "executable mapping: forward only (L17f)",
        [RA_AROUND] = "read-around (L17g)",
        [RA_MARKER] = "the marker page was touched: next window (L28)",
        [RA_INITIAL] = "first window of a stream (L27)",
        [RA_CONTEXT] = "cached pages lie before it: a stream (L27)",
        [RA_STANDALONE] = "no stream: what was asked (L27)",
        [RA_FORCED] = "asked for by advice (L25)",
        [RA_SWAP] = "neighbours in the swap area (L47)",
        [RA_5_13_INITIAL] = "first window of a stream (L26a, d, e)",
        [RA_5_13_NEXT] = "where the window was to be followed: next window (L26b)",
        [RA_5_13_MARKER] = "the marker of another window: behind what is cached (L26c)",
        [RA_5_13_CONTEXT] = "cached pages lie before it: a stream (L26f)",
        [RA_5_13_STANDALONE] = "no stream: what was asked (L26g)",
        [RA_UFS_BLOCK] = "no stream, or its first block: one block (S16)",
        [RA_UFS_CLUSTER] = "a stream: as far as the file is contiguous (S16)",
        [RA_UFS_AHEAD] = "the next cluster of a stream (S15, S17)",
        [RA_KLUSTER_REFUSED] = "MADV_RANDOM: this page only (S13, S18)",
        [RA_UFS_WILLNEED] = "asked for by advice, page by page (S29)",
        [RA_BOOK_PAGE] = "the page of the fault (the book, 14.7)",
        [RA_BOOK_EIGHT] = "a boundary of 64 KiB: the next eight pages (the book, 14.7)",
        [RA_BOOK_CLUSTER] = "a boundary of 64 KiB: a cluster of the file system (the book, 14.7)",
        [RA_ALONE] = "no stream comes here: this page only",
        [RA_STREAM_FORWARD] = "a stream, forward: next window",
        [RA_STREAM_BACKWARD] = "a stream, backward: next window",
        [RA_STREAM_STRIDED] = "a stream of equal distances: next window",
};

const char *ra_why_text(enum ra_why why)
{
        if ((unsigned)why >= RA_NR_WHY)
                return "unknown";
        return why_texts[why];
}

const struct vm_policy_ops *policy_find(const char *name)
{
        if (!name || !*name)
                return policies[0];
        for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
                if (!strcmp(policies[i]->name, name))
                        return policies[i];
        return NULL;
}
