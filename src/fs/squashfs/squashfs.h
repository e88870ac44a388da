/* SPDX-License-Identifier: Apache-2.0
 *
 * squashfs.h - squashfs images, read-only, through libsquashfs; what the files of this folder share.
 *
 *   squashfs.c  the tables of operations: mounting, opening, reading runs
 *   tree.c      paths, symbolic links, directories, inodes; whoever uses it holds tree_lock
 *   block.c     blocks of data, decompressed once, by the workers
 *   image.c     bytes of the device
 *
 * The library reads the metadata, when a file is opened, and decompresses. It knows nothing of pages
 * and is handed no file's data to find: where each block of an open file lies is worked out, and
 * checked, at its open. So a fault needs of the library one call, do_block(), and that on a worker.
 *
 * Nothing in an image is trusted. An offset or a length that leads out of it is -EUCLEAN when it is
 * metadata, and -EIO when it is a block's; memory is never taken on an image's word alone.
 */
#ifndef FL_FS_SQUASHFS_SQUASHFS_H
#define FL_FS_SQUASHFS_SQUASHFS_H

#include <sqfs/block.h>
#include <sqfs/compressor.h>
#include <sqfs/dir.h>
#include <sqfs/error.h>
#include <sqfs/frag_table.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/meta_reader.h>
#include <sqfs/super.h>
#include <sys/stat.h>

#include "fs/module.h"
#include "fs/worker.h"

extern const struct file_system_type squashfs_type;

/* ---- image.c ---- */

#define WINDOWS 4 /* the tables that a look-up goes to and fro between are fewer */
#define WINDOW_BYTES 32768u

/* Some bytes of the image, as the library has asked for them. */
struct window {
        uint64_t at;
        uint32_t bytes; /* 0: none */
        char *buf;
};

struct image {
        sqfs_file_t file; /* what the library sees; first, since it is cast */
        struct request_queue *queue;
        uint64_t size; /* (c) bytes of the device */
        int error;     /* [tree] -errno of the last read that failed */
        unsigned next; /* [tree] window to be used over */
        struct window window[WINDOWS];
};

int image_init(struct image *image, struct request_queue *queue);
void image_destroy(struct image *image);
/* Where direct I/O may begin and end; a buffer for it is aligned to a page. */
#define IMAGE_ALIGN 4096u
/* at: a multiple of IMAGE_ALIGN; bytes: likewise, or to the end of the device. 0 or -errno. Blocks. */
int image_read(struct image *image, uint64_t at, char *buf, uint64_t bytes, uint32_t opf,
               uint64_t fault);

/* ---- block.c ---- */

#define STRETCH_BYTES (512u * 1024) /* of compressed blocks, read at once */

/* Where a block lies, and what is in it. */
struct place {
        uint64_t at;     /* in the image */
        uint32_t stored; /* bytes there; 0: a hole */
        uint32_t bytes;  /* in the file: of a block exactly, of a fragment block at least */
        bool packed;     /* compressed */
        bool fragment;   /* tails of several files */
};

/* One compressed stretch of the image, and one state of the decompressor. */
struct decoder {
        struct decoder *next_free; /* [blocks] */
        sqfs_compressor_t *packer;
        char *raw;
        uint64_t raw_at;
        uint64_t raw_bytes; /* valid in raw; 0: none */
};

enum slot_state { SLOT_EMPTY, SLOT_FILLING, SLOT_READY };

/* A decompressed block of which a run has had a part: the next run has the rest. */
struct slot {
        enum slot_state state; /* [blocks] */
        unsigned users;        /* [blocks] */
        uint64_t at;           /* [blocks] its key */
        uint64_t used;         /* [blocks] when it was last wanted */
        uint32_t bytes;        /* of data; while READY and used */
        char *data;
};

struct blocks {
        struct mutex lock;
        _Atomic uint32_t filled; /* futex word: bumped when a slot is not FILLING any more */
        struct slot *slot;
        unsigned nr_slots, nr_decoders;
        struct decoder *decoder, *free; /* [blocks] the list */
        uint64_t clock;                 /* [blocks] */
        uint64_t slot_bytes, raw_bytes; /* (c) of one slot, of one decoder */
        char *memory;                   /* all of both */
        struct image *image;
        struct trace *trace;
        uint32_t block_size;
};

struct blocks_config {
        struct image *image;
        struct trace *trace;
        const sqfs_compressor_config_t *packer;
        unsigned workers; /* that ask at the same time */
};

int blocks_init(struct blocks *b, const struct blocks_config *config);
void blocks_destroy(struct blocks *b);
/* A run's way through consecutive blocks. */
struct block_reader {
        struct blocks *blocks;
        struct decoder *decoder;
        uint64_t end; /* no block of the run is stored behind this */
        uint32_t opf;
        uint64_t fault;
};
void block_reader_begin(struct block_reader *r, struct blocks *b);
/* Bytes [from, from+bytes) of the block to `to`. 0 or -errno: -EIO also for a damaged block. */
int block_read(struct block_reader *r, const struct place *place, uint32_t from, uint32_t bytes,
               char *to);
void block_reader_end(struct block_reader *r);

/* ---- tree.c ---- */

/* The metadata, as the library reads it. */
struct tree {
        struct mutex lock;
        struct image *image;
        sqfs_super_t super;
        sqfs_compressor_t *packer;
        sqfs_meta_reader_t *inodes, *names;
        sqfs_id_table_t *ids;
        sqfs_frag_table_t *fragments;
};

/* What a path leads to. */
struct node {
        sqfs_inode_generic_t *inode; /* sqfs_free() it */
        uint64_t ref;                /* where it lies: its identity */
};

/* Reads super block and tables. 0 or -errno and *why. */
int tree_init(struct tree *t, struct image *image, sqfs_compressor_config_t *packer,
              const char **why);
void tree_destroy(struct tree *t);
/* => tree.lock held. Follows symbolic links, those in the last part too; the path is taken from the
 * root whether or not it begins with a slash. */
int tree_find_locked(struct tree *t, const char *path, struct node *out, const char **why);
/* => tree.lock held. What it is; of names, ids and times that an image may hold all are allowed. */
void tree_stat_locked(struct tree *t, const sqfs_inode_generic_t *inode, struct stat *st);
bool tree_is_directory(const sqfs_inode_generic_t *inode);
/* Where a symbolic link points to; NULL if it is none. */
const char *tree_link(const sqfs_inode_generic_t *inode);
/* => tree.lock held. Calls `each` for every entry; it ends when that returns other than 0. */
int tree_list_locked(struct tree *t, const sqfs_inode_generic_t *dir,
                     int (*each)(void *arg, const struct fs_entry *entry), void *arg,
                     const char **why);
/* => tree.lock held. What the library says, as an errno; *why is a phrase if there is a better one
 * than strerror's. */
int tree_error_locked(struct tree *t, int result, const char **why);

#endif
