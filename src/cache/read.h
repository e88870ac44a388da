/* SPDX-License-Identifier: Apache-2.0
 *
 * read.h - what read.c and probe.c have for readahead.c.
 */
#ifndef FL_CACHE_READ_H
#define FL_CACHE_READ_H

#include "cache/filemap.h"

/* --- read.c: first prepare, then pages, then launch --- */

/* A run with staging memory and charge for up to *nr pages; *nr becomes what was got. NULL: there is
 * neither. */
struct io_run *read_prepare(struct address_space *m, uint64_t index, unsigned *nr);
/* Lock, check, READING. False: somebody was here first. => pinned, and one charge of the run its own */
bool read_start_page(struct page_cache *c, struct page *p, uint32_t flags, bool demand);
/* Send off a prepared run of which the first `nr` pages are READING; gives back the rest. */
void read_launch(struct io_run *run, unsigned nr, uint32_t opf, uint64_t fault,
                 struct blk_plug *plug);

/* --- probe.c --- */

bool filemap_is_absent(struct address_space *m, uint64_t index);
/* So many pages from `index` on are absent, `max` at the most. */
uint64_t filemap_absent_from(struct address_space *m, uint64_t index, uint64_t max);
/* The first page from `index` on that is; index + max if there is none before. */
uint64_t filemap_first_missing(struct address_space *m, uint64_t index, uint64_t max);

#endif
