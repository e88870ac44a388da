/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - open files: how handles, mappings and the cached pages of an inode hold each other.
 *
 * The address_space holds the inode; a file (one open) holds the address_space; a VMA holds a
 * file. When the last file goes, dirty pages are written and all pages dropped. If that fails
 * the address_space stays, with its dirty pages, until the file is opened again or the engine
 * closes.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cache/filemap.h"

int file_open(struct page_cache *c, struct inode *inode, int oflags, uint32_t ra_pages,
              struct file **out)
{
        struct file *f = calloc(1, sizeof(*f));
        uint32_t most = (uint32_t)(atomic_load(&c->budget.limit) / 8);
        int error = 0;

        mutex_assert_held(&c->open_lock);
        if (inode->i_mapping)
                inode_put(inode); /* the address_space holds its own reference already */
        if (!f)
                return -ENOMEM;
        mutex_init(&f->ra_lock, LOCK_RA);
        error = inode->i_mapping ? mapping_refresh(inode->i_mapping) : mapping_create(c, inode);
        if (error) {
                free(f);
                return error;
        }
        f->inode = inode;
        f->mapping = inode->i_mapping;
        f->mapping->nr_files++;
        f->oflags = oflags;
        f->ra.ra_pages = ra_pages ? ra_pages : inode->ra_pages;
        if (f->ra.ra_pages > most)
                f->ra.ra_pages = most;
        f->ra.io_pages = inode->io_pages < most ? inode->io_pages : most;
        f->ra.prev_pos = -1;
        atomic_store(&f->refs, 1);
        atomic_store(&f->wb_seen, atomic_load(&f->mapping->wb_seq));
        *out = f;
        return 0;
}

uint64_t file_trace_name(const struct file *f)
{
        const char *name = f->inode->name, *slash;

        if (!trace_on(f->mapping->cache->trace))
                return 0;
        slash = strrchr(name, '/');
        return trace_name(slash ? slash + 1 : name);
}

void file_get(struct file *f)
{
        atomic_fetch_add(&f->refs, 1);
}

/* => open_lock held; no file of it is open. Writes, and drops it if nothing is dirty then. */
int mapping_release(struct address_space *m)
{
        struct inode *inode = m->host;

        mutex_assert_held(&m->cache->open_lock);
        for (int tries = 0; tries < 3 && atomic_load(&m->nr_dirty) + atomic_load(&m->nr_writeback);
             tries++) {
                writeback_start(m, 0, UINT64_MAX, UINT64_MAX, REQ_SYNC, WB_CLOSE, 0);
                writeback_wait(m, 0, UINT64_MAX);
        }
        if (atomic_load(&m->nr_dirty))
                return atomic_load(&m->wb_error) ? atomic_load(&m->wb_error) : -EIO;
        truncate_pages(m, 0);
        mapping_destroy(m);
        inode_put(inode);
        return 0;
}

int file_put(struct file *f)
{
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        uint32_t seq;
        int error = 0;

        if (atomic_fetch_sub(&f->refs, 1) > 1)
                return 0;
        mutex_lock(&c->open_lock);
        seq = atomic_load(&m->wb_seq);
        if (atomic_load(&f->wb_seen) != seq)
                error = atomic_load(&m->wb_error);
        if (--m->nr_files == 0) {
                int r = mapping_release(m);

                error = error ? error : r;
        }
        mutex_unlock(&c->open_lock);
        free(f);
        return error;
}

int zero_behind(struct address_space *m, uint64_t edge)
{
        static const char zeros[PAGE_SIZE];
        struct page_cache *c = m->cache;
        size_t off = edge & (PAGE_SIZE - 1);
        struct page *p = off ? find_page(m, edge >> PAGE_SHIFT) : NULL;
        int error = 0;

        rwlock_assert_write_held(&m->i_rwsem);
        if (!p)
                return 0;
        for (;;) {
                struct wait_on on;
                enum page_state s;

                page_lock(c, p);
                s = page_state(p);
                if (s != PAGE_READING && s != PAGE_WRITEBACK)
                        break;
                page_unlock(c, p);
                radix_pin(&m->i_pages, p);
                wait_on_page(&on, m, p, s == PAGE_WRITEBACK);
                wait_on(c, &on);
        }
        if (page_uptodate(p))
                error = m->frames->ops->copy_in(m->frames, edge, zeros, PAGE_SIZE - off);
        page_unlock(c, p);
        put_page(m, p);
        return error;
}

/* => i_rwsem held for writing, nothing maps the file or can */
static int truncate_locked(struct file *f, uint64_t size)
{
        struct address_space *m = f->mapping;
        struct inode *inode = f->inode;
        uint64_t old = atomic_load(&inode->i_size);
        int error = 0;

        rwlock_assert_write_held(&m->i_rwsem);
        /* From here on no write-back reaches behind the new end; one under way would make the
         * file long again, or put back what is cut off of its last page: it is waited for. */
        if (size < old) {
                atomic_store(&inode->i_size, size);
                writeback_wait(m, size >> PAGE_SHIFT, UINT64_MAX);
        } else {
                error = zero_behind(m, old);
                if (!error)
                        error = m->frames->ops->resize(m->frames, size);
        }
        if (!error)
                error = inode->i_op->truncate(inode, size);
        if (error) {
                atomic_store(&inode->i_size, old);
                m->frames->ops->resize(m->frames, old);
                return error;
        }
        truncate_pages(m, pages_of(size));
        if (size < old)
                error = zero_behind(m, size);
        return error ? error : m->frames->ops->resize(m->frames, size);
}

/* Behind the new end of a file that another program has cut short: the pages go, mapped or not. */
static int cut_pages(struct address_space *m, uint64_t size)
{
        int error;

        rwlock_assert_write_held(&m->i_rwsem);
        writeback_wait(m, pages_of(size), UINT64_MAX);
        truncate_pages(m, pages_of(size));
        error = zero_behind(m, size);
        return error ? error : m->frames->ops->resize(m->frames, size);
}

int mapping_refresh(struct address_space *m)
{
        struct inode *inode = m->host;
        uint64_t old;
        int error;

        if (!inode->i_op->refresh)
                return 0;
        rwlock_write_lock(&m->i_rwsem);
        old = atomic_load(&inode->i_size);
        error = inode->i_op->refresh(inode);
        if (!error) {
                uint64_t size = atomic_load(&inode->i_size);

                if (size > old)
                        error = m->frames->ops->resize(m->frames, size);
                else if (size < old)
                        error = cut_pages(m, size);
                /* The last page was cached as far as the file went. */
                if (size > old && (old & (PAGE_SIZE - 1)))
                        invalidate_range(m, old >> PAGE_SHIFT, (old >> PAGE_SHIFT) + 1);
        }
        rwlock_write_unlock(&m->i_rwsem);
        return error;
}

int file_truncate(struct file *f, uint64_t size)
{
        struct address_space *m = f->mapping;
        int error;

        if (!f->inode->i_op->truncate)
                return -EROFS;
        rwlock_write_lock(&m->i_rwsem);
        rwlock_write_lock(&m->i_mmap_lock);
        error = m->i_mmap.nr ? -EBUSY : 0;
        m->no_map = !error;
        rwlock_write_unlock(&m->i_mmap_lock);
        if (!error) {
                error = truncate_locked(f, size);
                rwlock_write_lock(&m->i_mmap_lock);
                m->no_map = false;
                rwlock_write_unlock(&m->i_mmap_lock);
        }
        rwlock_write_unlock(&m->i_rwsem);
        return error;
}
