/* SPDX-License-Identifier: Apache-2.0
 *
 * segvn.h - what Solaris's seg_vn decides about a fault: how much to ask the file system for, what to
 * free behind it, and which pages may be read together. Arithmetic only, no state; rule numbers are
 * those of docs/policies.md. Offsets and lengths are bytes unless said otherwise.
 */
#ifndef FL_POLICY_SEGVN_H
#define FL_POLICY_SEGVN_H

#include "policy/policy.h"

#define PVN_GETPAGE_NUM 8 /* pages of one VOP_GETPAGE, PVN_GETPAGE_SZ of them in bytes */

enum seg_rw { SEG_READ, SEG_WRITE, SEG_OTHER };

struct segvn_ask {
        uint64_t len;  /* of the fault */
        uint64_t left; /* from the faulting page to the segment's end */
        uint32_t page; /* bytes of a page */
        enum seg_rw rw;
        bool private;     /* MAP_PRIVATE */
        bool next_mapped; /* hat_probe() of the page after the fault */
};
/* S9: plsz, what GETPAGE may return pages for. */
uint64_t segvn_plsz(const struct segvn_ask *ask);
/* S9: what GETPAGE is told the access is: a private store only reads the file's page. */
enum seg_rw segvn_getpage_rw(const struct segvn_ask *ask);

/* What free-behind asks about the page of that number in the segment. */
struct segvn_probe {
        bool (*in_memory)(void *arg, uint64_t page);
        enum vm_advice (*advice)(void *arg, uint64_t page);
        void *arg;
};
/* S8: a fault on page number `page` of its segment. Pages [*first, page) are to be freed, but for
 * those that are locked; false: none. */
bool segvn_free_behind(const struct segvn_probe *probe, uint64_t page, bool fltadvice,
                       uint64_t *first);

/* S13: may the page `delta` bytes from the one at `off` in the segment be read with it? */
struct segvn_kluster {
        uint64_t off, size; /* in the segment; of the segment */
        int64_t delta;
        enum vm_advice advice;    /* the segment's */
        enum vm_advice to_advice; /* the other page's own; the segment's if it has none */
        bool private;
        bool anon, to_anon; /* has a page of its own already */
        bool adjacent;      /* both are: their slots in the swap area are neighbours */
};
bool segvn_kluster(const struct segvn_kluster *k);

#endif
