/* SPDX-License-Identifier: Apache-2.0
 *
 * vma_pool.h - memory for the VMAs of an mm, in chunks from the kernel. Not from malloc: mm->lock is
 * held where VMAs are made and freed, and a thread that has malloc locked may wait for a fault, in a
 * handler that touches mapped memory, and the fault for mm->lock.
 *
 * The first chunk is for a few hundred. The others are backed with a huge page each where there are
 * any: a search among thousands of VMAs goes from one to the next, and would wait for a translation at
 * nearly every step.
 */
#ifndef FL_VM_VMA_POOL_H
#define FL_VM_VMA_POOL_H

#include "util/lock.h"

#define VMA_ALIGN 64

struct vma_chunk;

struct vma_pool {
        struct mutex lock;
        struct vma_chunk *chunks; /* [pool] the first one is used up last */
        size_t used;              /* [pool] bytes of it */
        void *free;               /* [pool] list of VMAs that are not in use */
};

void vma_pool_init(struct vma_pool *p);
/* No VMA is left. */
void vma_pool_destroy(struct vma_pool *p);
/* Not zeroed. NULL: no memory */
void *vma_pool_get(struct vma_pool *p);
void vma_pool_put(struct vma_pool *p, void *vma);

#endif
