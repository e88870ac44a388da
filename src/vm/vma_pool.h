/* SPDX-License-Identifier: Apache-2.0
 *
 * vma_pool.h - memory for the VMAs of an mm. The first few come from malloc. Beyond that they come
 * from chunks that the kernel backs with a huge page where it has one: a search among thousands of
 * VMAs goes from one to the next, and would wait for a translation at nearly every step.
 */
#ifndef FL_VM_VMA_POOL_H
#define FL_VM_VMA_POOL_H

#include "util/lock.h"

#define VMA_ALIGN 64

struct vma;
struct vma_chunk;

struct vma_pool {
        struct mutex lock;
        unsigned from_malloc;     /* [pool] */
        struct vma_chunk *chunks; /* [pool] the first one is used up last */
        size_t used;              /* [pool] bytes of it */
        void *free;               /* [pool] list of VMAs that were in chunks */
};

void vma_pool_init(struct vma_pool *p);
/* No VMA is left. */
void vma_pool_destroy(struct vma_pool *p);
/* Not zeroed. *pooled has to be told when it is freed. NULL: no memory */
void *vma_pool_get(struct vma_pool *p, bool *pooled);
void vma_pool_put(struct vma_pool *p, void *vma, bool pooled);

#endif
