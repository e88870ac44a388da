/* SPDX-License-Identifier: Apache-2.0
 *
 * fs.h - what a file system is: super block, inode, and three tables of operations.
 *
 * The cache calls a file system through address_space_operations only, and only cache/read_pages
 * calls ->readahead. A file system maps byte ranges of an inode to sectors of a device and
 * submits bios; it never sees pages' states or mappings. Adding one: CONTRIBUTING.md; fs/memfs.c
 * is the worked example.
 */
#ifndef FL_FS_FS_H
#define FL_FS_FS_H

#include <sys/stat.h>

#include "block/block.h"
#include "fs/worker.h"
#include "util/base.h"
#include "util/lock.h"

struct inode;
struct address_space; /* cache/address_space.h; opaque here */
struct super_block;
struct fs_env;

/* A run of whole pages between a file and a buffer (the cache's staging memory). The cache fills
 * it in and owns it; the file system turns it into bios and calls end_io once, from any thread,
 * when all of them are done. */
struct fs_run {
        struct inode *inode;
        uint64_t index; /* first page */
        uint32_t nr_pages;
        uint32_t opf;   /* IO_READ or IO_WRITE, with REQ_ flags; passed on to the bios */
        char *buf;      /* nr_pages * PAGE_SIZE bytes, page aligned */
        uint64_t fault; /* for the trace */
        /* result: */
        int error;      /* 0, or the first -errno */
        uint64_t valid; /* reads: bytes from the run's start that the file has; what lies
                              * beyond, up to the end of the last page, has been zeroed */
        void (*end_io)(struct fs_run *);
        void *private; /* the cache's */
        /* The file system's, set after fs_run_begin(): the result is known, end_io comes next. It may
         * make an error of it. NULL: nothing. */
        void (*done)(struct fs_run *);
        /* The file system's, likewise: the device has all bytes of the file, so one that ends early is
         * an error. Else the file is taken to be shorter (a host file may be cut by others). */
        bool whole;
        /* the file system's, while it runs: */
        _Atomic uint32_t pending;
        _Atomic int first_error;
        _Atomic uint64_t first_missing; /* lowest byte offset in the run that was not there */
        struct fs_work work;
};

/* Members of Linux 5.13's table that have a meaning here. */
struct address_space_operations {
        /* Read the run. Must not block on a lock held across I/O. Errors through end_io. */
        void (*readahead)(struct fs_run *, struct blk_plug *);
        /* Write the run: exactly to i_size, never beyond, never growing the file (a host file
         * that has been cut short meanwhile stays short). Errors through end_io. */
        void (*writepages)(struct fs_run *, struct blk_plug *);
        /* About to dirty [pos, pos+len): allocate or refuse. 0 or -errno. NULL: always allowed.
         * Must not block on I/O unless `signal_safe` is false. */
        int (*write_begin)(struct inode *, uint64_t pos, uint64_t len);
        /* Room on the device for a store to the page, which is within the file. 0: there is; -errno
         * (ENOSPC, EDQUOT). May block, with no lock of a page held; unless `ask` is false: then
         * -EAGAIN, if it is not known without looking. NULL: write_begin does it all. */
        int (*allocate)(struct inode *, uint64_t index, bool ask);
        /* First sector of the page on the device, 0 for a hole, for `explain` and `stat`. */
        int64_t (*bmap)(struct inode *, uint64_t index);
        /* The same in bytes, where pages need not begin at sectors, or where one may lie at the device's
         * first: 1 and *at; 0: a hole. NULL: bmap says it. */
        int (*place)(struct inode *, uint64_t index, uint64_t *at);
        /* What the page held is thrown away, wherever it is; it is zeros from now on. => the page is
         * locked, and neither being read nor written. NULL: nothing is to be done. */
        void (*freepage)(struct inode *, uint64_t index);
        /* The pages are memory: they are written only when their room is wanted, not because they are
         * old, or by fsync or close; and write_begin is called for clean pages only. */
        bool swap_backed;
        bool signal_safe;
};

struct inode_operations {
        /* Set the size; i_size is updated by it. 0 or -errno. NULL: -EROFS. May block. No write-back
         * of pages that it cuts off may be in flight: their blocks may be given away. */
        int (*truncate)(struct inode *, uint64_t size);
        /* Whole pages [first, end) read as zeros from now on, and give their room back. No write-back
         * of them is in flight. The size stays. 0 or -errno. NULL: -EOPNOTSUPP. May block. */
        int (*punch)(struct inode *, uint64_t first, uint64_t end);
        /* Look at the size again (another program may have changed it); updates i_size. */
        int (*refresh)(struct inode *);
        /* Everything written so far becomes durable. 0 or -errno. Blocks. */
        int (*fsync)(struct inode *, bool datasync);
        void (*getattr)(struct inode *, struct stat *);
        /* Nobody has it open any more, and nothing is dirty: what is only in memory of it goes to the
         * disk. -errno: it could not, and the inode stays for the next try. NULL: nothing is. Blocks. */
        int (*release)(struct inode *);
};

struct file_operations {
        /* ->mmap, vop_map: may this file be mapped so? May reduce *maxprot. 0, -ENODEV, -EACCES,
         * -EPERM */
        int (*map)(struct inode *, int prot, int flags, int *maxprot);
        /* Does somebody hold a record lock of it, fcntl(2)? NULL: nobody can. May block. */
        bool (*locked)(struct inode *);
};

struct inode {
        const struct inode_operations *i_op;
        const struct address_space_operations *a_ops;
        const struct file_operations *f_op;
        struct super_block *i_sb;
        struct request_queue *i_queue; /* [env] to write; an earlier one stays as long as this */
        uint64_t i_object;             /* (c) its number in the trace */
        uint64_t i_dev, i_ino;         /* (c) identity: two opens of one file share the inode */
        _Atomic uint64_t i_size;       /* [rwsem] to write; bytes */
        uint32_t ra_pages;             /* the device's read-ahead, in pages */
        uint32_t io_pages;             /* the device's largest request, in pages */
        bool writable; /* [env] to write, and only to true; some open asked for it */
        bool append_only;
        bool noexec;                     /* (c) nothing there is to be executed */
        unsigned refs;                   /* [env] opens and mappings */
        struct inode *next;              /* [env] hash chain of fs_env */
        struct address_space *i_mapping; /* [open] the cache's */
        void *i_private;                 /* the file system's */
        char name[256];                  /* the URI, for messages */
};

struct super_operations {
        void (*evict_inode)(struct inode *); /* the last reference went; frees the inode */
        void (*put_super)(struct super_block *);
};

struct super_block {
        const struct super_operations *s_op;
        const char *type; /* "hostfs", "memfs" */
        struct fs_env *env;
        void *s_private;
        char s_id[320]; /* [env] device_id() of what it lies on; "": no device of its own */
        struct super_block *next; /* [env] */
};

/* What one engine's file systems share. */
struct fs_env {
        struct driver_env *drivers;
        struct block_pool *pool;
        struct trace *trace;
        uint64_t readahead;         /* bytes; 0: ask the device (read_ahead_kb) */
        struct mutex lock;          /* held over open */
        struct inode *hash[64];     /* [env] */
        struct super_block *supers; /* [env] */
};

void fs_env_init(struct fs_env *env, struct driver_env *drivers, struct block_pool *pool,
                 struct trace *trace);
/* All inodes are gone. Puts the super blocks. */
void fs_env_destroy(struct fs_env *env);

/* Open the file a URI names. oflags: O_RDONLY, O_WRONLY, O_RDWR, with O_CREAT|O_TRUNC|O_EXCL for
 * host files, and mode. `ram:SIZE` is a memfs file of SIZE bytes on a ram disk. *why, on error,
 * points to a static phrase for people, or NULL (then strerror says it).
 * Errors: ENOENT, EISDIR, EACCES, ENODEV (FIFO, socket, tty), EINVAL (URI), EBUSY (O_TRUNC of a
 * file that the engine has open and that is not empty), ... */
int fs_open(struct fs_env *env, const char *uri, int oflags, int mode, struct inode **out,
            const char **why);
/* Calls entry() for each name in the directory of an image that uri names, in the image's order,
 * `.` and `..` left out; of a file once, for itself. It stops early when entry() returns other
 * than 0, with that. Errors as fs_open(), and -EOPNOTSUPP for what is no image. Blocks. */
struct fs_entry;
int fs_list(struct fs_env *env, const char *uri, int (*entry)(void *arg, const struct fs_entry *e),
            void *arg, const char **why);
void inode_get(struct inode *inode);
/* Drops a reference. The last one evicts the inode, which waits for its I/O and closes the
 * device: its cache must be empty by then. Not from end_io, nor on a loop thread. */
void inode_put(struct inode *inode);
/* True if this is the only reference (the caller's); call with nobody else opening. */
bool inode_is_last(struct inode *inode);

/* Helpers for file systems. One bio's share of a run: counts up `pending` and, when the last
 * is done, sets error and valid and calls end_io. fs_run_begin takes the first count, so that
 * end_io cannot come before fs_run_end. */
void fs_run_begin(struct fs_run *run);
int fs_run_bio(struct fs_run *run, struct request_queue *q, uint64_t sector, uint32_t offset,
               uint32_t bytes, struct blk_plug *plug);
void fs_run_error(struct fs_run *run, int error);
void fs_run_end(struct fs_run *run);

#endif
