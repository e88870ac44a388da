/* SPDX-License-Identifier: Apache-2.0
 *
 * memfs.h - a file system on any device, made by hand: for tests, and to read.
 *
 * `ram:SIZE` uses it too, with a ram disk of its own for each open.
 */
#ifndef FL_FS_MEMFS_H
#define FL_FS_MEMFS_H

#include "fs/fs.h"

/* An empty file system on `dev`, which it owns from now on, also on error. It lives until
 * fs_env_destroy(), and its files with it. 0 or -errno. */
int memfs_create(struct fs_env *env, struct device *dev, struct super_block **out);
/* The file of that name, for reading and writing; made, all holes, if there is none (else `size`
 * is not looked at). Two opens share an inode. Drop it with inode_put(). 0 or -errno. */
int memfs_open(struct super_block *sb, const char *name, uint64_t size, struct inode **out);
/* Blocks that no file holds. */
uint64_t memfs_free_blocks(struct super_block *sb);

#endif
