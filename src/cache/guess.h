/* SPDX-License-Identifier: Apache-2.0
 *
 * guess.h - pages that are made dirty before anybody stores to them, so that the stores of a thread that
 * goes on in order are no events (vm/store_ahead.c).
 *
 * Such a page is DIRTY and PG_GUESSED: mappings show it writable, and whether it was stored to is not
 * known. What it held is remembered as a sum. Write-back protects it and copies it out as any other,
 * and then compares: a page that holds what it held was not stored to, and becomes CLEAN without being
 * written, so that nothing is put over what the disk has. Every doubt is for "stored to": an event,
 * fl_pwrite, or a failure of any write or flush of the file makes the guess a certainty.
 *
 * That asks nothing of the kernel or the MMU. A store that changes nothing is not seen.
 */
#ifndef FL_CACHE_GUESS_H
#define FL_CACHE_GUESS_H

#include "cache/page.h"

/* Two universal hashes (NH) under a key of the engine's own: two different pages have the same sum
 * with a probability of 2^-128, whatever is in them. */
struct guess_sum {
        unsigned __int128 part[2];
};
#define GUESSES_MAX 65536u
#define GUESS_WORDS (PAGE_SIZE / sizeof(uint64_t))

/* Where a page's sum is kept: a place of its own, or none if another page has it. */
struct guess {
        struct page *_Atomic page;
        struct guess_sum sum; /* of the page's, who holds its LOCK */
};

struct guesses {
        struct guess *place;           /* (c) */
        uint64_t nr;                   /* (c) */
        uint64_t key[GUESS_WORDS + 2]; /* (c) */
};

/* 0 or -ENOMEM; for so many pages at once at the most. */
int guesses_init(struct guesses *g, uint64_t nr);
void guesses_destroy(struct guesses *g);
void guess_sum(const struct guesses *g, const void *page, struct guess_sum *out);

/* May pages of the file be guessed at all? */
bool guess_allowed(struct address_space *m);
/* How many pages more may become dirty so. */
uint64_t guess_room(struct page_cache *c);
/* May this one? Its blocks are there, so that nothing has to be asked for and nothing can be refused.
 * => page locked */
bool guess_possible(struct address_space *m, const struct page *p, uint64_t index);
/* CLEAN -> DIRTY, guessed. `bytes`: what it holds. False: there is no place for its sum, and it stays as
 * it is. => page locked, guess_possible() */
bool guess_dirty(struct address_space *m, struct page *p, uint64_t index, const void *bytes);
/* The page is in WRITEBACK, protected, and held `bytes` after that. True: it was not stored to. A guess it
 * is no more. => page locked */
bool guess_was_wrong(struct address_space *m, struct page *p, const void *bytes);
/* It has been stored to, or is to be taken for it, or nobody cares any more. => page locked */
void guess_forget(struct page_cache *c, struct page *p);

#endif
