/* SPDX-License-Identifier: Apache-2.0
 *
 * swapping.h - what the tests of memory that swaps share.
 */
#ifndef FAULTLINE_TESTS_SWAPPING_H
#define FAULTLINE_TESTS_SWAPPING_H

#include "harness.h"
#include "mman.h"

/* An engine with so many pages of memory, and a swap area; NULL: none. */
struct fl_engine *open_with_swap(uint64_t pages, const char *swap, const char *faults);
void unmap(struct fl_engine *e, void *p, uint64_t pages);
/* Pages of these, 1,024 at most, that are in memory. */
unsigned resident(struct fl_engine *e, char *p, uint64_t pages);
/* Pages that went, of which there are nr. One that somebody has in hand at the moment stays: the thread
 * that served the last fault may not be done with it. */
uint64_t evict_all(struct fl_engine *e, char *p, uint64_t pages, uint64_t nr);

#endif
