/* SPDX-License-Identifier: Apache-2.0
 *
 * swapfile.h - a swap area: a file or device, cut into slots of one page each.
 *
 * Slot 0 is the header, so 0 also means "none". A slot is in use as long as somebody counts on it:
 * whoever holds the only copy of a page there, and each I/O to or from it; so that it is not given
 * to somebody else while one of them may still look. What is in an area is of no use once the
 * engine is closed.
 */
#ifndef FL_BLOCK_SWAPFILE_H
#define FL_BLOCK_SWAPFILE_H

#include "block/block.h"
#include "util/lock.h"

struct swap_area {
        struct request_queue *q; /* (c) */
        struct trace *trace;     /* (c) */
        int fd;                  /* (c) holds the lock against other engines; -1: in memory */
        char name[256];          /* (c) */
        uint32_t slots;          /* (c) the header included */
        struct mutex lock;
        uint8_t *users;          /* [swap] how many count on each slot */
        uint32_t next;           /* [swap] where to look first */
        _Atomic uint32_t in_use; /* slots; written with the lock held */
        _Atomic uint32_t errors; /* writes that failed since the last that did not */
        _Atomic bool broken;     /* nothing is written to it any more */
};

/* One transfer between slots that are neighbours and memory; the caller's while it runs. */
struct swap_transfer {
        struct swap_area *area;
        uint32_t slot, nr;
        char *buf; /* page aligned */
        uint64_t fault;
        int error;                           /* 0 or -errno, at the end */
        void (*end)(struct swap_transfer *); /* once, from any thread */
};

/* Opens the area of a SPEC: PATH[:SIZE] or ram:SIZE. A file that is missing is made (0600), with a
 * SIZE; one that is there must be empty or have been a swap area before, and is made SIZE long if
 * that is given. A block device must have been one, or begin with a page of zeros; SIZE is then
 * how much of it is used. 0, or -errno and *why, which may be NULL: -EBUSY (another engine has it),
 * -EINVAL (the SPEC, a missing size), -EEXIST (it holds something else), ... */
int swap_area_open(struct swap_area **out, struct driver_env *drivers, struct block_pool *pool,
                   struct trace *trace, const char *spec, const char **why);
/* Nothing is in flight. */
void swap_area_close(struct swap_area *a);

/* The first of up to *nr slots in a row, each counted on once; *nr becomes how many. 0: none. */
uint32_t swap_alloc(struct swap_area *a, uint32_t *nr);
/* One more counts on them; one less does. */
void swap_get(struct swap_area *a, uint32_t slot, uint32_t nr);
/* The same for one slot on behalf of a child; false: too many do. */
bool swap_share(struct swap_area *a, uint32_t slot);
void swap_put(struct swap_area *a, uint32_t slot, uint32_t nr);
/* Slots that can be had. */
static inline uint32_t swap_free(struct swap_area *a)
{
        return a->slots - 1 - atomic_load(&a->in_use);
}
/* L49: more than half in use: no slot is kept for a page that is in memory again. */
static inline bool swap_is_full(struct swap_area *a)
{
        return atomic_load(&a->in_use) > a->slots / 2;
}

/* A write that did not go through swap_submit() has ended so: 0 or -errno. */
void swap_count_write(struct swap_area *a, int error);
/* opf: IO_READ or IO_WRITE with REQ_ flags. */
void swap_submit(struct swap_transfer *t, uint32_t opf, struct blk_plug *plug);

#endif
