/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - fl_file_open, fl_pread and the other calls on files.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/engine.h"

#define KNOWN_FLAGS (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | O_LARGEFILE)
#define MAX_IO 0x7ffff000u /* as read(2): at most this much a call */

static const char *name_of(const struct fl_file *f)
{
        return f->file->inode->name;
}

static int open_locked(struct fl_engine *e, const char *uri, int flags,
                       const struct fl_file_config *cfg, struct fl_file *f)
{
        const char *why = NULL;
        mode_t mode = cfg->mode ? cfg->mode : 0666;
        struct inode *inode;
        int error = fs_open(&e->fs, uri, flags, (int)mode, &inode, &why);

        if (error)
                return fl_fail(-error, uri, "opening", why);
        error = file_open(e->cache, inode, flags,
                          (uint32_t)min_u64(cfg->readahead >> PAGE_SHIFT, UINT32_MAX), &f->file);
        if (error) {
                if (!inode->i_mapping)
                        inode_put(inode);
                return fl_fail(-error, uri, "opening", NULL);
        }
        return 0;
}

struct fl_file *fl_file_open(struct fl_engine *e, const char *uri, int flags,
                             const struct fl_file_config *config)
{
        struct fl_file_config cfg;
        struct fl_file *f;
        int error;

        begin_call();
        error = copy_config(&cfg, sizeof(cfg), config);
        if (fl_refuse(e, "opening"))
                return NULL;
        if (error) {
                fl_fail(-error, uri, "opening",
                        "the config has a wrong size, or options this library does not know");
                return NULL;
        }
        if (cfg.readahead && cfg.readahead < PAGE_SIZE) {
                fl_fail(EINVAL, uri, "opening", FL_SMALL_WINDOW);
                return NULL;
        }
        f = calloc(1, sizeof(*f));
        if (!f || !uri) {
                free(f);
                fl_fail(uri ? ENOMEM : EFAULT, uri, "opening", NULL);
                return NULL;
        }
        if ((flags & ~KNOWN_FLAGS) || (flags & O_ACCMODE) == O_ACCMODE) {
                free(f);
                fl_fail(EINVAL, uri, "opening", "flags other than O_CREAT, O_EXCL, O_TRUNC");
                return NULL;
        }
        mutex_lock(&e->cache->open_lock);
        error = open_locked(e, uri, flags, &cfg, f);
        mutex_unlock(&e->cache->open_lock);
        if (error) {
                free(f);
                return NULL;
        }
        f->engine = e;
        f->oflags = flags;
        atomic_fetch_add(&e->nr_files, 1);
        return f;
}

int fl_file_close(struct fl_file *f)
{
        char name[sizeof(f->file->inode->name)];
        int error;

        begin_call();
        if (fl_refuse(f->engine, "closing"))
                return -1;
        memcpy(name, name_of(f), sizeof(name));
        error = file_put(f->file);
        atomic_fetch_sub(&f->engine->nr_files, 1);
        free(f);
        return fl_result(error, name, "closing");
}

/* In the kernel's order. The count is that of the call, before it is cut to MAX_IO. */
static int check_io(const struct fl_file *f, int denied, off_t offset, size_t count,
                    const char *tried)
{
        if (fl_refuse(f->engine, tried))
                return -1;
        if (offset < 0)
                return fl_fail(EINVAL, name_of(f), tried, "the offset is negative");
        if ((f->oflags & O_ACCMODE) == denied)
                return fl_fail(EBADF, name_of(f), tried, "the file is not open for that");
        if (count > (uint64_t)INT64_MAX - (uint64_t)offset)
                return fl_fail(EINVAL, name_of(f), tried, "no file can be that long");
        return 0;
}

/* From `done` bytes on. */
static ssize_t read_rest(struct fl_file *f, char *buf, size_t count, uint64_t pos, size_t done)
{
        ssize_t n;

        begin_call();
        if (fl_refuse(f->engine, "reading")) /* a handler may have forked since fl_pread asked */
                return -1;
        n = filemap_read(f->file, buf + done, count - done, pos + done,
                         trace_new_fault(&f->engine->trace));
        if (n < 0)
                return done ? (ssize_t)done : fl_result((int)n, name_of(f), "reading");
        return (ssize_t)done + n;
}

ssize_t fl_pread(struct fl_file *f, void *buf, size_t count, off_t offset)
{
        size_t done;

        if (check_io(f, O_WRONLY, offset, count, "reading"))
                return -1;
        count = count < MAX_IO ? count : MAX_IO;
        /* In a child, if a handler has forked meanwhile, nobody marks what goes. */
        if (filemap_read_hits(f->file, buf, count, (uint64_t)offset, &done) &&
            !mm_is_foreign(f->engine->mm))
                return (ssize_t)done;
        return read_rest(f, buf, count, (uint64_t)offset, done);
}

ssize_t fl_pwrite(struct fl_file *f, const void *buf, size_t count, off_t offset)
{
        ssize_t n;

        begin_call();
        if (check_io(f, O_RDONLY, offset, count, "writing"))
                return -1;
        count = count < MAX_IO ? count : MAX_IO;
        n = filemap_write(f->file, buf, count, (uint64_t)offset,
                          trace_new_fault(&f->engine->trace));
        return n < 0 ? fl_result((int)n, name_of(f), "writing") : n;
}

int fl_ftruncate(struct fl_file *f, off_t length)
{
        begin_call();
        if (check_io(f, O_RDONLY, length, 0, "truncating")) {
                if (errno == EBADF)
                        errno = EINVAL; /* ftruncate(2) */
                return -1;
        }
        return fl_result(file_truncate(f->file, (uint64_t)length), name_of(f), "truncating");
}

int fl_fsync(struct fl_file *f)
{
        begin_call();
        if (fl_refuse(f->engine, "fsync"))
                return -1;
        return fl_result(fsync_range(f->file, 0, UINT64_MAX, false), name_of(f), "fsync");
}

int fl_fstat(struct fl_file *f, struct stat *st)
{
        struct inode *inode = f->file->inode;
        int error;

        begin_call();
        if (fl_refuse(f->engine, "looking at the size"))
                return -1;
        error = mapping_refresh(f->file->mapping);
        if (error)
                return fl_result(error, name_of(f), "looking at the size");
        memset(st, 0, sizeof(*st));
        if (inode->i_op->getattr)
                inode->i_op->getattr(inode, st);
        st->st_size = (off_t)atomic_load(&inode->i_size);
        return 0;
}

/* 1 and *at, 0: a hole, or -errno. */
static int place_of(struct inode *inode, uint64_t index, uint64_t *at)
{
        const struct address_space_operations *ops = inode->a_ops;
        int64_t sector;

        if (ops->place)
                return ops->place(inode, index, at);
        if (!ops->bmap)
                return -EOPNOTSUPP;
        sector = ops->bmap(inode, index);
        *at = (uint64_t)sector << SECTOR_SHIFT;
        return sector < 0 ? (int)sector : sector > 0;
}

int fl_bmap(struct fl_file *f, off_t offset, off_t *where)
{
        struct inode *inode = f->file->inode;
        uint64_t at = 0;
        int result;

        begin_call();
        if (fl_refuse(f->engine, "bmap"))
                return -1;
        if (offset < 0 || (uint64_t)offset >= atomic_load(&inode->i_size))
                return fl_fail(EINVAL, name_of(f), "bmap", "there is no such page");
        result = place_of(inode, (uint64_t)offset >> PAGE_SHIFT, &at);
        if (result < 0)
                return fl_result(result, name_of(f), "bmap");
        *where = (off_t)at;
        return result;
}
