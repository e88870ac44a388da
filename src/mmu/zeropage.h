/* SPDX-License-Identifier: Apache-2.0
 *
 * zeropage.h - showing the kernel's page of zeros through a userfaultfd, write-protected.
 */
#ifndef FL_MMU_ZEROPAGE_H
#define FL_MMU_ZEROPAGE_H

#include "util/base.h"

/* A descriptor that zeropage_show() can ask which pages are zeros; -1: this kernel cannot tell. */
int zeropage_open(void);
/* As mmu_ops.zero. pagemap: of zeropage_open(); with -1 every page counts as one of its own. */
int zeropage_show(int uffd, int pagemap, uint64_t addr, uint64_t nr, uint64_t *own);

#endif
