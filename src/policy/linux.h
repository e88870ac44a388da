/* SPDX-License-Identifier: Apache-2.0
 *
 * linux.h - what the policies of Linux 6.18 (linux.c) and 5.13 (linux_5_13.c) have in common. Private to
 * src/policy/; rule numbers are those of docs/policies.md.
 */
#ifndef FL_POLICY_LINUX_H
#define FL_POLICY_LINUX_H

#include "policy/readahead.h"

static const struct ra_window linux_nothing = { .why = RA_NONE };

/* Nothing is read ahead: the fault reads its page by itself (L16). */
static inline struct ra_window linux_only_this_page(enum ra_why why)
{
        return (struct ra_window){ .why = why };
}

/* L17e: counts a miss; true: there have been so many that reading around is no use. */
bool linux_lots_of_misses(struct file_ra_state *ra);
/* L17g: the state's window becomes one around the page. */
void linux_around_window(const struct ra_request *rq);
/* L19. */
void linux_mapped_around(struct file_ra_state *ra, unsigned mapped);
/* L35. */
struct ra_window linux_willneed(const struct ra_request *rq, uint64_t start, uint64_t end);

#endif
