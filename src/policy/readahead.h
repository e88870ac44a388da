/* SPDX-License-Identifier: Apache-2.0
 *
 * readahead.h - the arithmetic of mm/readahead.c: window sizes, trimming, the end of the file.
 *
 * Private to src/policy/. The order in which a policy tries its rules is in the policy's own
 * file; what the kernels have in common is here. Rule numbers: policies L and S of the
 * specification, as in docs/coverage.md.
 */
#ifndef FL_POLICY_READAHEAD_H
#define FL_POLICY_READAHEAD_H

#include "policy/policy.h"

/* L22: the first window of a stream that asks for `req` pages. */
uint32_t ra_init_size(uint64_t req, uint32_t max);
/* L23: the window after one of `cur` pages. */
uint32_t ra_next_size(uint64_t cur, uint32_t max);
/* L24: the largest window for a request of `req` pages. */
uint32_t ra_max_pages(const struct file_ra_state *ra, uint64_t req);

/* L31 without look-ahead: [start, start+nr) clipped to the file, no marker. */
struct ra_window ra_plain_window(uint64_t start, uint64_t nr, uint64_t file_pages, enum ra_why why);
/* L31: the state's window clipped to the file, and then its marker laid on it: near the end of the
 * file it lies further forward for that, and nowhere if what is left is shorter than it is far. */
struct ra_window ra_marked_window(const struct ra_request *rq, enum ra_why why);
/* L25: as ra_plain_window, capped at the device's largest request or the window. */
struct ra_window ra_forced_window(const struct file_ra_state *ra, uint64_t start, uint64_t nr,
                                  uint64_t file_pages, enum ra_why why);

#endif
