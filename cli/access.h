/* SPDX-License-Identifier: Apache-2.0
 *
 * access.h - which pages `touch` touches, in which order, and what it stores in them.
 *
 * A plan names every access by (thread, number), so that a stream can be walked again, from any
 * thread and by any program: nothing is drawn from a shared state.
 */
#ifndef FAULTLINE_CLI_ACCESS_H
#define FAULTLINE_CLI_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options;

enum access_pattern { ACCESS_SEQ, ACCESS_BACK, ACCESS_RANDOM, ACCESS_STRIDE, ACCESS_LIST };

struct access_plan {
        enum access_pattern pattern;
        uint64_t stride;       /* bytes; ACCESS_STRIDE */
        const char *list_path; /* ACCESS_LIST */
        uint64_t *list;        /* page numbers */
        size_t list_length;
        uint64_t pages; /* pages 0 .. pages-1 may be touched */
        uint64_t count; /* accesses of all threads together; 0 until access_prepare() */
        uint64_t threads;
        uint64_t seed;
};

/* "seq", "stride=64K", "list=FILE"; 0, or EXIT_USAGE having said why. */
int access_parse(struct access_plan *plan, const struct options *o, const char *pattern);
/* Reads the list and fills in the default count. Needs `pages`. 0, or EXIT_FAILED. */
int access_prepare(struct access_plan *plan);
void access_free(struct access_plan *plan);
/* The pages of all of plan's accesses, each once, in order of address: how to look at them again
 * without paying for the order in which they were touched. To be freed. 0, or EXIT_FAILED. */
int access_in_order(const struct access_plan *plan, struct access_plan *sorted);

/* How many accesses thread t makes; the count is split evenly, the first take what is left over. */
uint64_t access_share(const struct access_plan *plan, uint64_t t);
/* The page of thread t's i-th access. */
uint64_t access_page(const struct access_plan *plan, uint64_t t, uint64_t i);

/* The first 16 bytes of a page written by `touch --write`, little endian. */
struct stamp {
        uint64_t page; /* its number */
        uint64_t mix;  /* of the number and the seed */
};
#define STAMP_SIZE sizeof(struct stamp)
struct stamp stamp_of(uint64_t page, uint64_t seed);

#endif
