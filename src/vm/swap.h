/* SPDX-License-Identifier: Apache-2.0
 *
 * swap.h - private pages that go to the swap area and come back.
 *
 *            take out: protect, copy, write             written
 *   COPY -----------------------------> SWAPPING ---------------> SWAPPED
 *    ^ ^  a store, an error, unmapping      |                       |  a fault
 *    | '------------------------------------'                       v
 *    '----------------------------------------------------------- SWAPIN
 *                               read
 *
 * COPY with a slot is write-protected, and the slot holds the same bytes: it goes without I/O.
 * All of it under ptl, and none of it across I/O. Whoever ends an I/O compares the PTE with what he
 * left there: the slot in it is his as long as his I/O counts on it, so an equal value means that
 * nothing has happened meanwhile.
 *
 * Charged to the budget are COPY and SWAPPING; and each page that is being read, by its I/O.
 */
#ifndef FL_VM_SWAP_H
#define FL_VM_SWAP_H

#include "block/swapfile.h"
#include "cache/cache.h"

struct mm;
struct vm_fault;
struct swap_io;

struct mm_swap {
        struct swap_area *area; /* (c) NULL: there is none */
        struct waitq wq;        /* for a page that is being read, by its address */
        struct mutex lock;
        struct swap_io *ios;      /* (c) one for each page of staging memory */
        struct swap_io *free_ios; /* [run] */
        uint64_t hand;            /* the reclaimer's: where it goes on */
        /* While the reclaimer copies pages out it holds nothing, and the addresses must not become
         * somebody else's: 1, a futex word. */
        _Atomic uint32_t copying;
        _Atomic uint32_t copier;  /* its thread */
        _Atomic uint64_t faulted; /* the address of a fault that it took while copying; 0: none */
        _Atomic int64_t exist;    /* private pages, in memory or not */
};

/* One row of pages and slots on its way. */
struct swap_io {
        struct swap_transfer t;
        struct mm *mm;
        uint64_t address;
        uint64_t wanted; /* of a read: the address that a fault waits for; 0: none */
        bool write;      /* of a read: by a store */
        bool all_stored; /* of a read: every page of it is about to be stored to */
        struct swap_io *next_free;
};

int swap_init(struct mm *mm, struct swap_area *area);
/* Nothing is in flight. */
void swap_destroy(struct mm *mm);
struct swap_io *swap_io_get(struct mm *mm);
/* Gives back its staging memory too. */
void swap_io_put(struct swap_io *io, bool write);

extern const struct private_ops swap_private_ops; /* swapout.c */

/* The range is about to be unmapped, moved or cut off: no I/O that is under way will change anything
 * in it any more. => mm->lock, write */
void swap_cancel(struct mm *mm, uint64_t addr, uint64_t len);

#endif
