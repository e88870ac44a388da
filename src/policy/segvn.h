/* SPDX-License-Identifier: Apache-2.0
 *
 * segvn.h - what Solaris's seg_vn decides about a fault: how much to ask the file system for, what to
 * free behind it, and which pages may be read together. Arithmetic only, no state; rule numbers are
 * those of docs/policies.md. What is asked is in policy.h. Offsets and lengths are bytes unless said
 * otherwise.
 */
#ifndef FL_POLICY_SEGVN_H
#define FL_POLICY_SEGVN_H

#include "policy/policy.h"

#define PVN_GETPAGE_NUM 8 /* pages of one VOP_GETPAGE, PVN_GETPAGE_SZ of them in bytes */

/* S9: plsz, what GETPAGE may return pages for. */
uint64_t segvn_plsz(const struct segvn_ask *ask);
/* S9: what GETPAGE is told the access is: a private store only reads the file's page. */
enum seg_rw segvn_getpage_rw(const struct segvn_ask *ask);

/* S8: a fault on page number `page` of its segment. Pages [*first, page) are to be freed, but for
 * those that are locked; false: none. */
bool segvn_free_behind(const struct segvn_probe *probe, uint64_t page, bool fltadvice,
                       uint64_t *first);

/* S13. */
bool segvn_kluster(const struct segvn_kluster *k);

#endif
