/* SPDX-License-Identifier: Apache-2.0
 *
 * shrink.h - what reclaim.c asks for, and shrink.c does. Private to the two.
 */
#ifndef FL_CACHE_SHRINK_H
#define FL_CACHE_SHRINK_H

#include "cache/filemap.h"

#define BATCH ZAP_BATCH

/* Until `want` pages have been evicted, or `bound` looked at. => evict_lock */
void shrink_lru(struct page_cache *c, struct lru *l, unsigned want, uint64_t bound,
                struct reclaim_result *r);
/* Pages of shmem that were evicted or are being written now. */
unsigned shrink_shmem(struct page_cache *c, unsigned want, struct reclaim_result *r);
/* As often as a page may have to be looked at. */
uint64_t whole_list(const struct lru *l);
/* Pages of shmem that can be evicted as they are. */
uint64_t clean_shmem(struct page_cache *c);

#endif
