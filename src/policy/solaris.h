/* SPDX-License-Identifier: Apache-2.0
 *
 * solaris.h - what the policies of Solaris's source (solaris.c) and of the book about it (solaris_book.c)
 * have in common. Private to src/policy/.
 */
#ifndef FL_POLICY_SOLARIS_H
#define FL_POLICY_SOLARIS_H

#include "policy/policy.h"

static const struct ra_window solaris_nothing = { .why = RA_NONE };

static inline uint32_t solaris_page_pages(const struct ra_request *rq)
{
        return rq->page_pages ? rq->page_pages : 1;
}

/* UFS: S16, S15 and S17, S14. */
struct ra_window solaris_miss(const struct ra_request *rq);
struct ra_window solaris_hit(const struct ra_request *rq);
struct ra_window solaris_ahead(const struct ra_request *rq);
void solaris_returned(const struct ra_request *rq, uint64_t end);
/* S22. */
enum read_behind solaris_read_behind(const struct ra_request *rq);
/* There are no markers. */
struct ra_window solaris_read_marker(const struct ra_request *rq);
void solaris_mapped_around(struct file_ra_state *ra, unsigned mapped);
/* S33. */
uint64_t solaris_flush_scan(const struct policy_tune *tune, uint64_t memory);
/* S29. */
struct ra_window solaris_willneed(const struct ra_request *rq, uint64_t start, uint64_t end);

#endif
