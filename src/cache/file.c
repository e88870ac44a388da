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

/* Where nobody has said how far to read ahead, a policy may know better than the kernel; where the
 * device's read-ahead is off, it stays so. */
static uint32_t default_window(struct page_cache *c, const struct inode *inode)
{
        uint32_t pages = c->policy->window_pages, fits;

        if (!pages || !inode->ra_pages || !inode->i_sb || inode->i_sb->env->readahead)
                return inode->ra_pages;
        fits = (uint32_t)max_u64((uint64_t)atomic_load(&c->budget.limit) / 16, 4);
        return pages < fits ? pages : fits;
}

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
        f->ra_pages = ra_pages ? ra_pages : default_window(c, inode);
        if (f->ra_pages > most)
                f->ra_pages = most;
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
        int error;

        mutex_assert_held(&m->cache->open_lock);
        for (int tries = 0; !m->swap_backed && tries < 3 &&
                            atomic_load(&m->nr_dirty) + atomic_load(&m->nr_writeback);
             tries++) {
                writeback_start(m, 0, UINT64_MAX, UINT64_MAX, REQ_SYNC, WB_CLOSE, 0);
                writeback_wait(m, 0, UINT64_MAX);
        }
        if (!m->swap_backed && atomic_load(&m->nr_dirty))
                return atomic_load(&m->wb_error) ? atomic_load(&m->wb_error) : -EIO;
        error = inode->i_op->release ? inode->i_op->release(inode) : 0;
        if (error)
                return error;
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
