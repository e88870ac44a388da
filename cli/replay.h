/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.h - accesses through a cache that is only counted: no file, no memory, no I/O.
 *
 *   replay_input.c   the accesses: a list of page numbers, or a recorded trace
 *   replay_policy.c  a policy's table of functions on a made-up page cache
 *   replay_exact.c   lru and opt, which see every access and read nothing ahead
 *   replay.c         the command
 */
#ifndef FAULTLINE_CLI_REPLAY_H
#define FAULTLINE_CLI_REPLAY_H

#include "policy/policy.h"

struct replay_input {
        uint64_t *page; /* the accesses in order */
        uint32_t *id;   /* of each the page's number among the different ones */
        size_t nr;
        uint32_t distinct;   /* different pages */
        uint64_t file_pages; /* one more than the highest */
        uint64_t counted;    /* accesses of pages below this are counted, and their hits; 0: all */
};

/* What is replayed: how large the cache is, and what a policy is told. Pages. */
struct replay_setup {
        const struct vm_policy_ops *policy; /* NULL: exact */
        uint64_t cache;
        uint32_t ra_pages;
        enum vm_advice advice;
        uint32_t page_pages; /* that go together */
};

/* Pages; hits: of the counted accesses those whose page was in the cache. */
struct replay_result {
        uint64_t counted, hits;
        uint64_t faults; /* accesses of pages that were not mapped; exact: 0 */
        uint64_t read;   /* from the file */
        uint64_t wasted; /* of these, never touched before they went, or at the end */
        uint64_t evicted;
};

/* A trace is known by its first bytes. 0, or EXIT_FAILED having said why. */
int replay_read(struct replay_input *in, const char *path);
void replay_free(struct replay_input *in);

/* All return false when there is no memory for it. */
bool replay_policy(const struct replay_input *in, const struct replay_setup *setup,
                   struct replay_result *out);
bool replay_lru(const struct replay_input *in, uint64_t cache, struct replay_result *out);
bool replay_opt(const struct replay_input *in, uint64_t cache, struct replay_result *out);

static inline bool replay_counts(const struct replay_input *in, uint64_t page)
{
        return !in->counted || page < in->counted;
}

#endif
