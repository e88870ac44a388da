/* SPDX-License-Identifier: Apache-2.0
 *
 * blank.h - the part of mmu_ops.blank that is the same whoever takes the faults.
 */
#ifndef FL_MMU_BLANK_H
#define FL_MMU_BLANK_H

#include "util/base.h"

/* One page of its own memory at addr, over what is mapped there: zeros, or `bytes`. 0 or -errno.
 * Async-signal-safe. */
int blank_page(uint64_t addr, int prot, const void *bytes);

#endif
