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
 * What cannot be read, or has no room, is POISONED or BLANK, and SWAPPED again when fl_error_clear says
 * so; the slot is its own meanwhile (failed_value()).
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

/* Somebody wants the private pages of a range to go, and waits: on his stack. */
struct swap_request {
        uint64_t at, end;         /* the reclaimer's: what is left to look at */
        _Atomic uint64_t gone;    /* pages that went */
        _Atomic uint32_t pending; /* rows being written, and 1 until all are; futex word */
        struct swap_request *next;
};

#define COLD_RANGES 16
struct cold_range {
        uint64_t at, end;
};

struct mm_swap {
        struct swap_area *area; /* (c) NULL: there is none */
        struct waitq wq;        /* for a page that is being read, by its address */
        struct mutex lock;
        struct swap_io *ios;                 /* (c) one for each page of staging memory */
        struct swap_io *free_ios;            /* [run] */
        struct swap_request *requests;       /* [run] the first that is not done with */
        struct cold_range cold[COLD_RANGES]; /* [run] what goes before all others, in this order */
        unsigned nr_cold;                    /* [run] */
        uint64_t hand;                       /* the reclaimer's: where it goes on */
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
        uint64_t wanted;              /* of a read: the address that a fault waits for; 0: none */
        bool write;                   /* of a read: by a store */
        bool all_stored;              /* of a read: every page of it is about to be stored to */
        struct address_space *file;   /* of a read, where pages are made by way of their file's */
        uint64_t file_index;          /* there, of the first page */
        struct swap_request *request; /* of a write: for whom; NULL: nobody */
        struct swap_io *next_free;
};

int swap_init(struct mm *mm, struct swap_area *area);
/* Nothing is in flight. */
void swap_destroy(struct mm *mm);
struct swap_io *swap_io_get(struct mm *mm);
/* Gives back its staging memory too. */
void swap_io_put(struct swap_io *io, bool write);

extern const struct private_ops swap_private_ops; /* swapout.c */

/* swapout.c: the range's private pages go, if there is anywhere to go; returns how many went, once they
 * have. => no lock held */
uint64_t swap_pageout(struct mm *mm, uint64_t addr, uint64_t end);
/* They are the next to go. */
void swap_cold(struct mm *mm, uint64_t addr, uint64_t end);
/* swapin.c: what of the range is in the swap area is read, as far as there is room. Waits for memory to
 * read with, not for the reads. => no lock held */
void swap_willneed(struct mm *mm, uint64_t addr, uint64_t end);

/* The range is about to be unmapped, moved or cut off: no I/O that is under way will change anything
 * in it any more. => mm->lock, write */
void swap_cancel(struct mm *mm, uint64_t addr, uint64_t len);

#endif
