/* SPDX-License-Identifier: Apache-2.0
 *
 * mman.h - <sys/mman.h>, and what it does not say where it is older than the kernel.
 */
#ifndef FL_UTIL_MMAN_H
#define FL_UTIL_MMAN_H

#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#endif
