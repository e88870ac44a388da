/* SPDX-License-Identifier: Apache-2.0
 *
 * folio.h - what large folios do to windows on Linux 6.18: where they end, where their marker lies and
 * how far it reaches, where the next one starts.
 *
 * Private to src/policy/. Frames are single pages here and no folio exists; but the windows of a stream
 * drift onto natural boundaries because of them, and the first touch of any page of a marked folio
 * starts the next window. Both can be seen with mincore(2), which tests/fidelity/ does.
 */
#ifndef FL_POLICY_FOLIO_H
#define FL_POLICY_FOLIO_H

#include "policy/readahead.h"

/* L26c: the marker was hit, but it is not the one the state knows. Sets start and size to the
 * next window behind the cached pages that follow; false: nothing to read. */
bool folio_after_cached(const struct ra_request *rq, uint64_t req, uint32_t max);

/* L28: grow the folio order and trim the window so that it ends aligned to it. */
void folio_trim(struct file_ra_state *ra, uint32_t max);

/* L32: the state's window as it is read: clipped to the file, its marker on the folio where the
 * unclipped window has it, none if that lies past the end. From the first folio on that a cached
 * page stands in the way of, what is left is read by L31, in single pages. */
struct ra_window folio_window(const struct ra_request *rq, enum ra_why why);

#endif
