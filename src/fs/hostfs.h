/* SPDX-License-Identifier: Apache-2.0
 *
 * hostfs.h - what hostfs.c (an open host file) and hostfs_open.c (opening one) share.
 */
#ifndef FL_FS_HOSTFS_H
#define FL_FS_HOSTFS_H

#include "fs/inode.h"
#include "fs/known_blocks.h"

struct hostfs_inode {
        struct inode inode;
        /* The queue in use. A file first opened for reading gets another, writable one when
         * somebody opens it for writing; what is in flight on the first ends there. */
        _Atomic(struct request_queue *) queue;
        struct request_queue *read_only; /* [env] the first, then; else NULL */
        bool block;                      /* a block device */
        struct known_blocks known;
};

static inline struct hostfs_inode *to_hostfs(struct inode *inode)
{
        return container_of(inode, struct hostfs_inode, inode);
}

static inline struct request_queue *hostfs_queue(struct inode *inode)
{
        return atomic_load_explicit(&to_hostfs(inode)->queue, memory_order_acquire);
}

uint64_t hostfs_device_size(struct device *dev);

extern const struct super_operations hostfs_super_ops;
extern const struct inode_operations hostfs_inode_ops;
extern const struct address_space_operations hostfs_aops;
extern const struct file_operations hostfs_file_ops;

#endif
