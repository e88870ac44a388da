/* SPDX-License-Identifier: Apache-2.0
 *
 * truncate.c - a file becomes shorter or longer while it is mapped (L42).
 *
 * Shorter: what is to go is not written any more, and what is being written is waited for while the
 * size is what it was, so that all of it arrives; then the size, so that no fault that begins now goes
 * beyond it; then the file system's own truncation, which may fail: then all is as it was, and nothing
 * has been lost; then translations, private copies and frames behind the end go in one step under
 * mm->lock, and the pages after them; last, what is left of the last page is cleared. A private
 * copy of the last page stays as it is.
 * Longer: what lies behind the old end of the last page is cleared, and only then is there more.
 */
#include <errno.h>

#include "cache/filemap.h"
#include "util/perturb.h"

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
        /* The disk's page may change with it: that it is as it was would say nothing. */
        guess_forget(c, p);
        if (page_uptodate(p)) {
                page_change(c, p);
                error = m->frames->ops->copy_in(m->frames, edge, zeros, PAGE_SIZE - off);
        }
        page_unlock(c, p);
        put_page(m, p);
        return error;
}

/* => i_rwsem held for writing; i_size is the new end, m->cutting set. Behind it everything goes,
 * mapped or not. */
static int cut_pages(struct address_space *m, uint64_t size)
{
        int error = m->cache->m_ops->cut(m, size), r;

        perturb_gap();
        /* All reads that a fault may have begun are known now: those are waited for. */
        truncate_pages(m, pages_of(size));
        r = zero_behind(m, size);
        error = error ? error : r;
        r = m->frames->ops->resize(m->frames, size); /* they have filled frames behind the end */
        atomic_store(&m->overlong, r != 0);
        return error ? error : r;
}

/* Pages [first, end) are about to go: none is being written any more, until write_again(). Those that
 * are dirty stay so. => i_rwsem held for writing */
static void write_no_more(struct address_space *m, uint64_t first, uint64_t end)
{
        atomic_store(&m->hole_first, first);
        atomic_store(&m->hole_end, end);
        perturb_gap();
        writeback_wait(m, first, end);
        perturb_gap();
}

static void write_again(struct address_space *m)
{
        atomic_store(&m->hole_end, 0);
}

void end_cut(struct address_space *m)
{
        atomic_store(&m->cutting, false);
        waitq_wake(&m->cache->cut_wq, m);
}

int file_shrink(struct file *f, uint64_t size)
{
        struct address_space *m = f->mapping;
        struct inode *inode = f->inode;
        uint64_t old = atomic_load(&inode->i_size);
        int error;

        /* A write under way would make the file long again, or put back what is cut off of its
         * last page. */
        write_no_more(m, size >> PAGE_SHIFT, UINT64_MAX);
        atomic_store(&m->cutting, true);
        atomic_store(&inode->i_size, size);
        perturb_gap();
        error = inode->i_op->truncate(inode, size);
        if (!error) {
                error = cut_pages(m, size);
        } else {
                atomic_store(&inode->i_size, old);
                end_cut(m);
        }
        write_again(m);
        return error;
}

int file_grow(struct file *f, uint64_t size)
{
        struct address_space *m = f->mapping;
        struct inode *inode = f->inode;
        uint64_t old = atomic_load(&inode->i_size);
        int error = zero_behind(m, old);

        if (!error)
                error = m->frames->ops->resize(m->frames, size);
        if (error)
                return error;
        atomic_store(&m->overlong, false);
        perturb_gap();
        error = inode->i_op->truncate(inode, size);
        if (error) /* the frames must end where the file does, or a fault there never ends */
                m->frames->ops->resize(m->frames, old);
        return error;
}

void mapping_read_lock(struct address_space *m, struct blk_plug *plug)
{
        if (rwlock_read_trylock(&m->i_rwsem))
                return;
        blk_finish_plug(plug);
        rwlock_read_lock(&m->i_rwsem);
        blk_start_plug(plug);
}

void resize_begin(struct address_space *m)
{
        rwlock_assert_write_held(&m->i_rwsem);
        atomic_fetch_add(&m->resizes, 1);
}

void resize_end(struct address_space *m)
{
        rwlock_assert_write_held(&m->i_rwsem);
        atomic_fetch_add(&m->resizes, 1);
}

int mapping_refresh(struct address_space *m)
{
        struct inode *inode = m->host;
        uint64_t old, size;
        int error;

        if (!inode->i_op->refresh)
                return 0;
        rwlock_write_lock(&m->i_rwsem);
        resize_begin(m);
        old = atomic_load(&inode->i_size);
        error = inode->i_op->refresh(inode);
        size = atomic_load(&inode->i_size);
        if (!error && size > old) {
                error = m->frames->ops->resize(m->frames, size);
                if (error) /* the next who looks tries again */
                        atomic_store(&inode->i_size, old);
                else
                        atomic_store(&m->overlong, false);
                /* The last page was cached as far as the file went. */
                if (old & (PAGE_SIZE - 1))
                        invalidate_range(m, old >> PAGE_SHIFT, (old >> PAGE_SHIFT) + 1);
        } else if (!error && size < old) {
                atomic_store(&m->cutting, true);
                writeback_wait(m, pages_of(size), UINT64_MAX);
                error = cut_pages(m, size);
        }
        resize_end(m);
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
        resize_begin(m);
        error = size < atomic_load(&f->inode->i_size) ? file_shrink(f, size) : file_grow(f, size);
        resize_end(m);
        rwlock_write_unlock(&m->i_rwsem);
        return error;
}

/* Dirty pages are not written meanwhile, and dropped only when the file has its hole: should it not
 * get one, nothing is lost. A page that is read in between may be from before: it is dropped too. */
int file_punch_hole(struct file *f, uint64_t first, uint64_t end)
{
        struct address_space *m = f->mapping;
        int error;

        if (m->swap_backed)
                return shmem_punch(f, first, end);
        if (!f->inode->i_op->punch)
                return -EOPNOTSUPP;
        rwlock_write_lock(&m->i_rwsem);
        write_no_more(m, first, end);
        error = f->inode->i_op->punch(f->inode, first, end);
        perturb_gap();
        if (!error)
                drop_pages(m, first, end);
        write_again(m);
        rwlock_write_unlock(&m->i_rwsem);
        return error;
}
