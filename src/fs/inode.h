/* SPDX-License-Identifier: Apache-2.0
 *
 * inode.h - what the file systems share among themselves: the inode table, the opening of each
 * type, and the parts of fs_run that carry flags.
 */
#ifndef FL_FS_INODE_H
#define FL_FS_INODE_H

#include "fs/fs.h"

/* ---- the table of inodes, by (i_dev, i_ino) ---- */

/* i_dev of what has no st_dev of its own; the host's numbers stay below. */
#define I_DEV_BLOCK (UINT64_C(1) << 62) /* | st_rdev: two nodes of one disk are one inode */
#define I_DEV_MEMFS (UINT64_C(1) << 63) /* | the super block */
#define I_DEV_DEVFS (UINT64_C(3) << 62) /* likewise */

/* => env->lock held. The inode, with a reference more, or NULL. */
struct inode *inode_find_locked(struct fs_env *env, uint64_t dev, uint64_t ino);
/* => env->lock held. The inode, zeroed at the start, is complete but for name and refs (1). */
void inode_insert_locked(struct fs_env *env, struct inode *inode, const char *uri);
/* => env->lock held. */
void super_insert_locked(struct fs_env *env, struct super_block *sb);
void super_remove_locked(struct fs_env *env, struct super_block *sb);
/* => env->lock held. The one of these operations on the device of that id, or NULL. */
struct super_block *super_find_locked(struct fs_env *env, const struct super_operations *s_op,
                                      const char *id);
/* The same by the device's name, if that is its id; so it need not be opened, which a server that takes
 * one client may not allow while the first has it. */
struct super_block *super_find_name_locked(struct fs_env *env, const struct super_operations *s_op,
                                           const char *uri);

/* ---- opening; each takes env->lock itself ---- */

int hostfs_open(struct fs_env *env, const char *uri, const char *path, int oflags, int mode,
                struct inode **out, const char **why);
int memfs_open_ram(struct fs_env *env, const char *uri, uint64_t size, int oflags,
                   struct inode **out);

/* A device that the host has no file for. */
int devfs_open(struct fs_env *env, const char *uri, int oflags, struct inode **out,
               const char **why);

/* ---- what most file systems have in common ---- */

/* Shared and writable only if the inode is: -EACCES, or *maxprot reduced. */
int generic_file_map(struct inode *inode, int prot, int flags, int *maxprot);
/* An empty PREFLUSH on the queue, waited for. */
int generic_fsync(struct inode *inode, struct request_queue *q);

/* fs_run_bio with flags more than the run's. */
int fs_run_bio_flags(struct fs_run *run, struct request_queue *q, uint64_t sector, uint32_t offset,
                     uint32_t bytes, uint32_t flags, struct blk_plug *plug);
/* The file has only so many bytes of the run: the rest reads as zeros and is not `valid`. */
void fs_run_clip(struct fs_run *run, uint64_t bytes);
static inline uint64_t fs_run_start(const struct fs_run *run)
{
        return run->index << PAGE_SHIFT;
}
static inline uint64_t fs_run_bytes(const struct fs_run *run)
{
        return (uint64_t)run->nr_pages << PAGE_SHIFT;
}

#endif
