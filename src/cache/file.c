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

#include "cache/filemap.h"

int file_open(struct page_cache *c, struct inode *inode, int oflags, uint32_t ra_pages,
              struct file **out)
{
        struct file *f = calloc(1, sizeof(*f));
        uint32_t most = (uint32_t)(atomic_load(&c->budget.limit) / 8);
        int error = 0;

        mutex_assert_held(&c->open_lock);
        if (!f)
                return -ENOMEM;
        if (inode->i_mapping)
                inode_put(inode); /* the address_space holds its own reference already */
        else
                error = mapping_create(c, inode);
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

void file_get(struct file *f)
{
        atomic_fetch_add(&f->refs, 1);
}

/* => open_lock held; no file of it is open. Writes, and drops it if nothing is dirty then. */
int mapping_release(struct address_space *m)
{
        struct inode *inode = m->host;

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

int file_truncate(struct file *f, uint64_t size)
{
        static const char zeros[PAGE_SIZE];
        struct address_space *m = f->mapping;
        struct page_cache *c = m->cache;
        uint64_t old = atomic_load(&f->inode->i_size);
        uint64_t edge = size < old ? size : old;
        size_t off = edge & (PAGE_SIZE - 1);
        struct page *p;
        int error = 0;

        if (!f->inode->i_op->truncate)
                return -EROFS;
        rwlock_read_lock(&m->i_mmap_lock);
        if (m->i_mmap_count)
                error = -EBUSY;
        rwlock_read_unlock(&m->i_mmap_lock);
        if (error)
                return error;
        if (size < old)
                truncate_pages(m, pages_of(size));
        /* Behind the smaller of the two ends the last page is to read as zeros from now on. */
        if (off && (p = find_page(m, edge >> PAGE_SHIFT))) {
                for (;;) {
                        struct wait_on on;

                        page_lock(c, p);
                        if (page_state(p) != PAGE_READING && page_state(p) != PAGE_WRITEBACK)
                                break;
                        page_unlock(c, p);
                        radix_pin(&m->i_pages, p);
                        wait_on_page(&on, m, p, page_state(p) == PAGE_WRITEBACK);
                        wait_on(c, &on);
                }
                if (page_uptodate(p))
                        error = m->frames->ops->copy_in(m->frames, edge, zeros, PAGE_SIZE - off);
                page_unlock(c, p);
                put_page(m, p);
        }
        if (!error)
                error = f->inode->i_op->truncate(f->inode, size);
        return error ? error : m->frames->ops->resize(m->frames, size);
}
