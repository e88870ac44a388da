/* SPDX-License-Identifier: Apache-2.0
 *
 * shadow.h - what an mmu without a page table of its own shows of each page, a byte a page, and
 * the kernel's protection made to agree with it.
 *
 * Neighbours that differ are a kernel VMA each, of which a process may have vm.max_map_count.
 * Therefore the borders are counted, and before there are too many a clock goes round: what has
 * not been touched since it last came by is hidden, that is protected without being forgotten.
 * The next touch of a hidden page reveals it, without a word to the layers above.
 */
#ifndef FL_MMU_SHADOW_H
#define FL_MMU_SHADOW_H

#include "mmu/range.h"
#include "util/radix.h"

enum {
        SHOWN = 1,    /* may be read */
        WRITABLE = 2, /* and stored to; only with SHOWN */
        COPIED = 4,   /* a private copy is there */
        HIDDEN = 8,   /* all the same inaccessible at the moment; only with SHOWN */
        TOUCHED = 16, /* since the clock last came by */
};

struct shadow {
        struct range_tree ranges;
        struct radix bytes;
        uint64_t nr_ranges;
        int64_t borders; /* between neighbours that are shown differently */
        uint64_t limit;  /* of ranges and borders, before the clock moves */
        uint64_t hand;   /* page */
};

/* limit 0: from vm.max_map_count. */
void shadow_init(struct shadow *s, struct table_pool *tables, uint64_t limit);
void shadow_destroy(struct shadow *s);

/* What of the range is wanted: the new byte of a page. */
typedef uint8_t shadow_want(uint8_t old, const struct range *r, void *arg);
/* Give the pages of [addr, end) new bytes, and the protection that belongs to them. `fresh`: also
 * pages that have none yet (or else want() leaves 0 as it is). -ENOENT: some of it is no range, or
 * the kernel has nothing mapped there; -ENOMEM: too many VMAs, though the clock has gone round. */
int shadow_change(struct shadow *s, uint64_t addr, uint64_t end, bool fresh, shadow_want *want,
                  void *arg);
/* The same for what takes away; cannot fail for want of VMAs, as everything else is hidden then. */
int shadow_restrict(struct shadow *s, uint64_t addr, uint64_t end, shadow_want *want);
/* Bytes of what has been unmapped, or replaced. */
void shadow_forget(struct shadow *s, uint64_t addr, uint64_t end);
/* What is moved: the pages of [from, from+len) are shown as they are at `to` too, where none is. The
 * kernel is not told. 0, or -ENOMEM and nothing is changed. */
int shadow_copy(struct shadow *s, uint64_t from, uint64_t to, uint64_t len);
/* No access for now, whatever is shown: until shadow_refresh(). 0 or -errno */
int shadow_hide(struct shadow *s, uint64_t addr, uint64_t end);
/* The protection of shown pages again, after that of their range has changed. */
int shadow_refresh(struct shadow *s, uint64_t addr, uint64_t end);
uint8_t shadow_byte(struct shadow *s, uint64_t addr);
/* Fewer VMAs, if there are many. `at_once`: in any case, as many fewer as can be. */
void shadow_hide_cold(struct shadow *s, bool at_once);

#endif
