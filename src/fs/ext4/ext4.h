/* SPDX-License-Identifier: Apache-2.0
 *
 * ext4.h - ext2, ext3 and ext4 images: what the files of this folder share.
 *
 *   module.c  what the core sees: opening by name, listing
 *   super.c   an image: mounting, the valid flag, unmounting
 *   name.c    a path within it
 *   inode.c   a file: opening, sizes, times, fsync
 *   data.c    reading and writing pages, and room for stores
 *   map.c     where the blocks of a file are
 *   load.c    that, read from the inode
 *   tree.c, blockmap.c  that, written to new blocks
 *   commit.c  the order in which all of it reaches the disk
 *   alloc.c   which blocks are free
 *   zones.c   which are neither free nor a file's
 *   io.c      libext2fs's reads and writes as bios
 *
 * libext2fs knows no threads, allocates and locks. It is called on the file system's worker only,
 * one thread (fs/worker.h), which is all the locking it needs: "[worker]" on a field says that
 * only this thread touches it. A fault on blocks that exist looks into map.c and submits bios.
 *
 * Nothing of the disk's metadata that matters is ever changed in place but one thing, the inode,
 * which is one block, and so is there whole or not at all:
 *
 *   data of new blocks, new extent blocks, bitmaps (set)  |  the inode  |  bitmaps (cleared)
 *                                                       flush         flush
 *
 * Until the inode is there nothing refers to what is new; once it is, nothing refers to what was
 * freed. So after a power cut a block may be marked that nobody has, which e2fsck -p mends, and
 * never the reverse.
 */
#ifndef FL_FS_EXT4_EXT4_H
#define FL_FS_EXT4_EXT4_H

#include <ext2fs/ext2fs.h>

#include "fs/ext4/map.h"
#include "fs/module.h"

#define NO_BLOCK UINT64_MAX

struct ext4_io;
struct ext4_inode;

/* Blocks of the device in a row. */
struct block_run {
        uint64_t start, nr;
};

struct block_list {
        struct block_run *run;
        size_t nr, room;
};

/* An image that is mounted, in one engine. */
struct ext4 {
        struct super_block sb;
        struct request_queue *queue; /* (c) */
        struct fs_worker *worker;    /* (c) */
        uint32_t block_size;         /* (c) bytes */
        unsigned block_shift;        /* (c) */
        uint64_t nr_blocks;          /* (c) */
        char read_only[256];         /* (c) why it is not written to; "": it may be */
        bool locked;                 /* [env] against other engines and programs, for writing */
        unsigned nr_inodes;          /* [env] open */
        _Atomic bool marked;         /* the valid flag is off on the disk */
        bool unreplayed;             /* (c) its journal holds what is not in the image */
        struct block_list zones;     /* (c) the blocks that no file can have, sorted */
        bool failed;               /* [worker] metadata may not be as they should: e2fsck's turn */
        ext2_filsys fs;            /* [worker] */
        struct ext4_io *io;        /* [worker] */
        uint8_t **bitmaps;         /* [worker] one a group, NULL: not read yet; 1 = taken */
        bool *dirty_groups;        /* [worker] one a group */
        struct ext4_inode *inodes; /* [worker] those that may have to be committed */
};

/* A block of an extent tree with extents in it, or of a block map with pointers to the file's. */
struct leaf {
        uint64_t first; /* block of the file: its first extent's, or its first pointer's */
        uint64_t block; /* of the device */
        bool dirty;     /* not as on the disk */
};

/* The blocks that an inode's extents lie in, other than the inode. */
struct ext4_tree {
        struct leaf *leaves; /* by `first`; none: all is in the inode */
        size_t nr_leaves, room;
        struct block_list index; /* blocks above the leaves */
};

struct ext4_inode {
        struct inode inode;
        struct ext4_map map;
        _Atomic uint64_t
                changed;        /* CLOCK_REALTIME ns, of the last store that no inode tells of; 0 */
        _Atomic uint32_t reads; /* under way; what they look for may not be another's meanwhile */
        struct fs_run *last_run;   /* [map] the write under way that covers the file's last page */
        struct fs_run *held_run;   /* [map] one that has to wait while `tail_busy` */
        bool tail_busy;            /* [map] the last block is being cleared behind the end */
        _Atomic uint32_t tail_seq; /* futex: bumped when last_run has ended */
        uint64_t limit;            /* (c) bytes that such a file can have at most */
        ext2_ino_t ino;            /* (c) */
        struct ext2_inode_large *raw; /* [worker] as on the disk, but for what is below */
        uint64_t size;                /* [rwsem] bytes, as the disk is to have it */
        bool extents;                 /* (c) not an old block map */
        bool map_dirty;               /* [worker] the disk's map is not as ours, FRESH aside */
        bool inode_dirty;             /* [worker] the disk's inode is not as `raw` */
        bool tail_unknown;     /* [worker] bytes behind the end of the last block may be no zeros */
        struct ext4_tree tree; /* [worker] as on the disk */
        struct block_list
                freed; /* [worker] off the map, and not free: the disk's inode still refers to
                                  * them, or a read may */
        struct ext4_inode *next, **link; /* [worker] of ext4.inodes */
};

static inline struct ext4 *to_ext4(struct super_block *sb)
{
        return container_of(sb, struct ext4, sb);
}

static inline struct ext4 *ext4_of(struct inode *inode)
{
        return to_ext4(inode->i_sb);
}

static inline struct ext4_inode *to_ext4_inode(struct inode *inode)
{
        return container_of(inode, struct ext4_inode, inode);
}

static inline uint64_t blocks_of(const struct ext4 *e, uint64_t bytes)
{
        return (bytes >> e->block_shift) + ((bytes & (e->block_size - 1)) != 0);
}

static inline struct ext2_inode *raw_inode(struct ext4_inode *i)
{
        return EXT2_INODE(i->raw);
}

extern const struct file_system_type ext4_type;

/* What the library says, as -errno. */
int ext4_error(errcode_t err);

/* ---- io.c ---- */

int ext4_io_create(struct ext4_io **out, struct request_queue *q);
void ext4_io_destroy(struct ext4_io *io);
io_manager ext4_io_manager(struct ext4_io *io);
/* The name to open it by. */
const char *ext4_io_name(struct ext4_io *io);
/* From now on so many bytes may be read, then it is -EUCLEAN: whatever an image says, an operation
 * ends. */
void ext4_io_allow(struct ext4_io *io, uint64_t bytes);
/* One block of metadata. 0 or -errno. */
int ext4_read_block(struct ext4 *e, uint64_t block, void *buf);
int ext4_write_block(struct ext4 *e, uint64_t block, const void *buf);
int ext4_flush(struct ext4 *e);

/* ---- super.c ---- */

/* => env->lock held. The file system on the device of that name, mounted if it is not yet. One more
 * of nr_inodes until ext4_put(). */
int ext4_get_locked(struct fs_env *env, const struct uri *u, bool write, struct ext4 **out,
                    const char **why);
/* => env->lock held. The last one unmounts it. */
void ext4_put_locked(struct ext4 *e);
/* Runs call(arg) on the worker, with bounded reading. */
int ext4_call(struct ext4 *e, int (*call)(void *), void *arg);
/* => on the worker. Before anything is written: the valid flag goes. 0 or -errno. */
int ext4_mark(struct ext4 *e);
extern const struct super_operations ext4_super_ops;

/* ---- name.c; => on the worker ---- */

int ext4_lookup(struct ext4 *e, const char *path, ext2_ino_t *out, const char **why);
/* Where a symbolic link points to: `room` bytes with the NUL. */
int ext4_read_link(struct ext4 *e, ext2_ino_t ino, struct ext2_inode *raw, char *to, size_t room);
void ext4_stat(struct ext4 *e, ext2_ino_t ino, struct ext2_inode_large *raw, struct stat *st);
int ext4_list(struct ext4 *e, const char *path, int (*entry)(void *, const struct fs_entry *),
              void *arg, const char **why);
/* The inode, whole, malloc()ed. */
int ext4_read_inode(struct ext4 *e, ext2_ino_t ino, struct ext2_inode_large **out);

/* ---- load.c; => on the worker ---- */

/* Fills in map and tree. */
int ext4_load_map(struct ext4 *e, struct ext4_inode *i);

/* ---- alloc.c; => on the worker ---- */

int ext4_groups_init(struct ext4 *e);
void ext4_groups_free(struct ext4 *e);
/* Up to `want` blocks in a row, near `goal`; at least `keep` others stay free. -ENOSPC */
int ext4_alloc(struct ext4 *e, uint64_t goal, uint64_t want, uint64_t keep, struct block_run *out);
/* They are free from now on; on the disk too, after the next ext4_write_groups(). */
int ext4_free(struct ext4 *e, uint64_t start, uint64_t nr);
/* Bitmaps and descriptors that have changed. Not flushed. */
int ext4_write_groups(struct ext4 *e);
int block_list_add(struct block_list *l, uint64_t start, uint64_t nr);
void block_list_free(struct block_list *l);
/* Frees what is on the list, and the list. */
int ext4_free_list(struct ext4 *e, struct block_list *l);

/* ---- zones.c ---- */

/* => on the worker, at the mount. -EUCLEAN if what the image says of them cannot be. */
int ext4_zones_init(struct ext4 *e);
bool ext4_in_zones(const struct ext4 *e, uint64_t start, uint64_t nr);
/* What of them lies in [start, end). */
void ext4_each_zone(const struct ext4 *e, uint64_t start, uint64_t end,
                    void (*each)(void *arg, uint64_t start, uint64_t nr), void *arg);
/* By their starts. -EUCLEAN: two of them have a block in common. */
int block_list_sort(struct block_list *l);
/* => on the worker. -EUCLEAN: the inode has a block twice. */
int ext4_check_blocks(const struct ext4_inode *i);

/* ---- tree.c; => on the worker ---- */

/* The map has changed there. */
void ext4_tree_touch(struct ext4_inode *i, uint64_t first, uint64_t nr);
/* The map as a tree: leaves that have not changed stay, the others and all above are written to
 * new blocks. root: the inode's i_block. `taken` are the blocks that are new. Nothing of `i` changes.
 */
int ext4_tree_write(struct ext4 *e, struct ext4_inode *i, struct ext4_tree *out,
                    struct block_list *taken, void *root);
/* The same of an old block map. */
int ext4_block_map_write(struct ext4 *e, struct ext4_inode *i, struct ext4_tree *out,
                         struct block_list *taken, uint32_t *root);
void ext4_tree_free(struct ext4_tree *t);
/* One leaf more, behind the others. */
int ext4_tree_add(struct ext4_tree *t, const struct leaf *leaf);
/* Blocks that writing it may take, once `more` blocks of the file have been given room. */
uint64_t ext4_tree_room(struct ext4 *e, const struct ext4_inode *i, uint64_t more);

/* ---- commit.c; => on the worker ---- */

/* What was written so far is durable, and the inode says so. `all`: times too, if nothing else. */
int ext4_commit(struct ext4 *e, struct ext4_inode *i, bool all);
/* Blocks [first, end) are no longer the file's. */
int ext4_unmap(struct ext4 *e, struct ext4_inode *i, uint64_t first, uint64_t end);
/* Gives back room that was never written to. */
int ext4_drop_fresh(struct ext4 *e, struct ext4_inode *i);

/* ---- inode.c ---- */

/* => env->lock held. With *out NULL on error the caller has e still, else *out in its place, which he
 * puts without the lock. */
int ext4_open_locked(struct ext4 *e, const char *uri, const char *path, int oflags,
                     struct inode **out, const char **why);
/* Its memory, and no more than that. */
void ext4_inode_free(struct ext4_inode *i);
/* Stored to at this moment. Signal-safe. */
void ext4_touch_times(struct ext4_inode *i);
extern const struct inode_operations ext4_inode_ops;
extern const struct file_operations ext4_file_ops;
void ext4_evict_inode(struct inode *inode);

/* ---- data.c ---- */

/* => on the worker, the image is marked. Room for blocks [first, end) that have none, and perhaps for
 * some that follow. */
int ext4_allocate_blocks(struct ext4 *e, struct ext4_inode *i, uint64_t first, uint64_t end);
/* Hands the run to the device. */
void ext4_write_run(struct fs_run *run, struct blk_plug *plug);
extern const struct address_space_operations ext4_aops;

#endif
