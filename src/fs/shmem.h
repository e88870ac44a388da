/* SPDX-License-Identifier: Apache-2.0
 *
 * shmem.h - files that are memory: what MAP_SHARED|MAP_ANONYMOUS maps. One a mapping, without a name
 * and without a disk; pages that the cache has no room for go to slots of the swap area.
 *
 * For each page that holds anything there is an entry, four bytes: HOLDS, and a slot or 0. Whose
 * turn it is to change an entry the state of its page says, so entries have no lock:
 *
 *   page        entry                                       who changes it
 *   never stored to     0: it reads as zeros, without I/O           the first store
 *   DIRTY               HOLDS; a slot in it is worth nothing        write-back, when it begins
 *   WRITEBACK           HOLDS, slot                                 nobody: no slot goes under its I/O
 *   CLEAN, ABSENT       HOLDS, slot: the same bytes are there       a store, which frees the slot
 *   READING             HOLDS, slot                                 nobody
 *   thrown away         0                                           drop_page(), the page locked
 *
 * So HOLDS without a slot is a page whose only bytes are in memory: should it ever be read, that is
 * an error, and never zeros.
 */
#ifndef FL_FS_SHMEM_H
#define FL_FS_SHMEM_H

#include "fs/fs.h"

struct swap_area;
struct table_pool;

/* Once an engine; it goes with env. area: NULL, there is none. 0 or -errno */
int shmem_mount(struct fs_env *env, struct swap_area *area, struct table_pool *tables,
                struct super_block **out);
/* A file of `size` bytes, all zeros. 0 or -errno */
int shmem_new_inode(struct super_block *sb, uint64_t size, struct inode **out);

/* Pages that hold something, of all files, in memory or in a slot; and how many have a slot. */
int64_t shmem_pages(struct super_block *sb);
int64_t shmem_slots(struct super_block *sb);
/* How many pages could be written now. */
uint32_t shmem_room(struct super_block *sb);
/* Has the page been stored to? */
bool shmem_holds(struct inode *inode, uint64_t index);
/* The first page of [index, end) that has been stored to; end: none. */
uint64_t shmem_next(struct inode *inode, uint64_t index, uint64_t end);
/* Pages of [index, end) from index on whose slots are neighbours; 0: it has none. */
uint32_t shmem_row(struct inode *inode, uint64_t index, uint64_t end);

#ifndef NDEBUG
/* Adds what the entries of the file say to *pages and *slots. => nothing in flight */
void shmem_count(struct inode *inode, int64_t *pages, int64_t *slots);
#endif

#endif
