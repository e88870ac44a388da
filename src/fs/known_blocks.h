/* SPDX-License-Identifier: Apache-2.0
 *
 * known_blocks.h - which pages of a file are known to have blocks on the disk. What is not known may
 * have some too: then it is asked for. A few ranges, the latest; neighbours become one.
 */
#ifndef FL_FS_KNOWN_BLOCKS_H
#define FL_FS_KNOWN_BLOCKS_H

#include "util/base.h"
#include "util/lock.h"

#define KNOWN_RANGES 32

struct known_blocks {
        struct mutex lock;
        struct {
                uint64_t first, end;
        } range[KNOWN_RANGES];  /* [known] first == end: none */
        unsigned next;          /* [known] the one to go when all are taken */
        _Atomic uint64_t epoch; /* counts known_forget() */
};

void known_init(struct known_blocks *k);
/* Pages from index on that are known, 0: not even that. */
uint64_t known_at(struct known_blocks *k, uint64_t index);
/* Pages before index that are known. */
uint64_t known_before(struct known_blocks *k, uint64_t index);
/* What was found out since epoch was read; nothing if known_forget() came in between. */
void known_add(struct known_blocks *k, uint64_t first, uint64_t end, uint64_t epoch);
/* Blocks may have been given back. */
void known_forget(struct known_blocks *k);

#endif
