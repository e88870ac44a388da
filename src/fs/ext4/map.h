/* SPDX-License-Identifier: Apache-2.0
 *
 * map.h - where a file's blocks are: our own look-up, so that a fault never enters libext2fs.
 *
 * extent = blocks in a row, in the file and on the device. There is none for a hole. Its kind:
 *
 *   MAPPED     the inode on the disk points to it, and it holds the file's bytes
 *   UNWRITTEN  the inode points to it and says that it holds nothing yet: reads as zeros
 *   FRESH      room found for a store; on the disk the file still has a hole (or an unwritten extent)
 *              there. A bit a block says whether the bytes are on the device; without, it reads as
 *              zeros. A commit makes MAPPED ones of those that are.
 *
 * Only the file system's worker changes what extents there are, with map->lock taken, so it may look
 * without; faults and completions take the lock, which is held for a few instructions, and change
 * bits only.
 */
#ifndef FL_FS_EXT4_MAP_H
#define FL_FS_EXT4_MAP_H

#include <bsd/sys/tree.h>

#include "util/base.h"
#include "util/lock.h"

#define FRESH_BLOCKS 256 /* of one extent, at most */

enum extent_kind { EXTENT_HOLE, EXTENT_MAPPED, EXTENT_UNWRITTEN, EXTENT_FRESH };

struct extent {
        RB_ENTRY(extent) link;
        uint64_t first; /* block of the file */
        uint64_t nr;    /* blocks */
        uint64_t start; /* block of the device */
        enum extent_kind kind;
        bool reserved;                       /* FRESH: on the disk it is an unwritten extent */
        unsigned bit;                        /* FRESH: of block `first` in written */
        uint64_t written[FRESH_BLOCKS / 64]; /* FRESH: [map] on the device */
        struct extent *next;                 /* on a list, out of the tree */
};

RB_HEAD(extent_tree, extent);

struct ext4_map {
        struct mutex lock;
        struct extent_tree tree; /* [map] + [worker] to write, either to read */
        uint64_t nr_extents;     /* [worker] */
        uint64_t nr_fresh;       /* [worker] extents of that kind */
        uint64_t fresh_blocks;   /* [worker] and their blocks */
};

/* Blocks in a row that are all alike. */
struct map_run {
        enum extent_kind kind;
        bool written;   /* its bytes can be read from the device */
        bool reserved;  /* as extent.reserved */
        uint64_t start; /* on the device; 0 for a hole */
        uint64_t nr;    /* blocks; of a hole, up to the next extent */
};

void map_init(struct ext4_map *m);
/* Nobody looks any more. */
void map_destroy(struct ext4_map *m);
/* What there is at `block`, and for how many blocks from there on. Takes map->lock; signal-safe. */
void map_find(struct ext4_map *m, uint64_t block, struct map_run *out);
/* The last extent that begins before `block`; *end: the block behind it, which may lie behind
 * `block`. false: none. => on the worker */
bool map_before(struct ext4_map *m, uint64_t block, uint64_t *end, struct map_run *out);
/* [first, first+nr) becomes this, whatever it was; EXTENT_HOLE: nothing. 0 or -ENOMEM, and then
 * nothing has changed. => on the worker; takes map->lock */
int map_set(struct ext4_map *m, uint64_t first, const struct map_run *what);
/* These blocks' bytes are on the device now. Signal-safe. */
void map_written(struct ext4_map *m, uint64_t first, uint64_t nr);
/* The first extent at or behind `block`, NULL: none. => on the worker, or map->lock */
struct extent *map_next(struct ext4_map *m, uint64_t block);

static inline bool extent_written(const struct extent *e, uint64_t block)
{
        uint64_t bit = e->bit + (block - e->first);

        return e->kind == EXTENT_MAPPED ||
               (e->kind == EXTENT_FRESH && (e->written[bit / 64] >> (bit % 64) & 1));
}

#endif
