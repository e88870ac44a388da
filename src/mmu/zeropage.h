/* SPDX-License-Identifier: Apache-2.0
 *
 * zeropage.h - showing the kernel's page of zeros through a userfaultfd, write-protected.
 */
#ifndef FL_MMU_ZEROPAGE_H
#define FL_MMU_ZEROPAGE_H

#include "util/base.h"

/* As mmu_ops.zero. pagemap: /proc/self/pagemap, or -1; where it cannot tell, every page counts as one
 * of its own. */
int zeropage_show(int uffd, int pagemap, uint64_t addr, uint64_t nr, uint64_t *own);

#endif
