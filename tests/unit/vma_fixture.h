/* SPDX-License-Identifier: Apache-2.0
 *
 * vma_fixture.h - VMAs of an mm without an MMU, drawn.
 *
 * In a drawing a character is a page, a letter a VMA, named in the order of their addresses; '.'
 * is a hole. Unless a case says otherwise, page n of the drawing shows page 100 + n of the file.
 */
#ifndef TEST_VMA_FIXTURE_H
#define TEST_VMA_FIXTURE_H

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "vm/mm.h"

#define BASE UINT64_C(0x100000000000)
#define PAGES 64
#define FIRST_INDEX 100

static struct table_pool pool;
static struct mm mm;
static struct address_space space[2];
static struct file file[2];
static int open_vmas; /* by the calls of ->open and ->close */

static inline void count_open(struct vma *v)
{
        cr_assert_eq(v->vm_mm, &mm);
        open_vmas++;
}

static inline void count_close(struct vma *v)
{
        cr_assert_eq(v->vm_mm, &mm);
        open_vmas--;
}

static const struct vm_operations counted_ops = { .open = count_open, .close = count_close };
static const struct vm_operations other_ops = { .open = count_open, .close = count_close };

static inline uint64_t addr_of(unsigned page)
{
        return BASE + ((uint64_t)page << PAGE_SHIFT);
}

/* A VMA of pages [from, to), not in the mm yet. */
static inline struct vma *make(unsigned from, unsigned to)
{
        struct vma *v = vma_alloc(&mm);

        cr_assert_not_null(v);
        v->vm_start = addr_of(from);
        v->vm_end = addr_of(to);
        v->vm_pgoff = FIRST_INDEX + from;
        v->vm_prot = PROT_READ;
        v->vm_maxprot = PROT_READ | PROT_WRITE;
        v->vm_shared = true;
        v->vm_file = &file[0];
        v->vm_ops = &counted_ops;
        return v;
}

/* mm.lock is held for writing by every test, as by those who change VMAs; mm_check() takes it. */
static inline int check_mm(void)
{
        int error;

        rwlock_write_unlock(&mm.lock);
        error = mm_check(&mm);
        rwlock_write_lock(&mm.lock);
        return error;
}

static inline struct vma *add(struct vma *v)
{
        struct address_space *m = v->vm_file->mapping;

        v->vm_ops->open(v);
        rwlock_write_lock(&m->i_mmap_lock);
        view_update_locked(v);
        view_insert(&m->i_mmap, &v->vm_view);
        rwlock_write_unlock(&m->i_mmap_lock);
        vma_link(&mm, v);
        return v;
}

static inline void drop(struct vma *v)
{
        struct address_space *m = v->vm_file->mapping;

        vma_unlink(&mm, v);
        rwlock_write_lock(&m->i_mmap_lock);
        view_remove(&m->i_mmap, &v->vm_view);
        rwlock_write_unlock(&m->i_mmap_lock);
        vma_free(v);
}

static inline struct vma *at(unsigned page)
{
        struct vma *v = find_vma(&mm, addr_of(page));

        cr_assert(v && v->vm_start <= addr_of(page), "page %u is in no VMA", page);
        return v;
}

/* A VMA for each run of one letter. */
static inline void draw(const char *picture)
{
        for (unsigned from = 0, to; picture[from]; from = to) {
                for (to = from + 1; picture[to] == picture[from]; to++)
                        ;
                if (picture[from] != '.')
                        add(make(from, to));
        }
}

static inline void check_views(struct address_space *m, unsigned vmas)
{
        struct mapping_view *view;
        unsigned n = 0;

        VIEW_FOREACH (view, &m->i_mmap, 0, UINT64_MAX) {
                struct vma *v = container_of(view, struct vma, vm_view);

                cr_assert_eq(v->vm_file->mapping, m);
                cr_assert_eq(view->first, v->vm_pgoff);
                cr_assert_eq(view->last - view->first + 1, (v->vm_end - v->vm_start) >> PAGE_SHIFT);
                n++;
        }
        cr_assert_eq(n, vmas);
        cr_assert_eq(m->i_mmap.nr, vmas);
        cr_assert_eq(view_check(&m->i_mmap), 0);
}

/* The mm is as drawn, and list, tree, views and counters agree. */
static inline void expect(const char *picture)
{
        char got[PAGES + 1] = "";
        unsigned pages = (unsigned)strlen(picture), vmas = 0, of_file[2] = { 0, 0 };
        struct vma *v;

        memset(got, '.', pages);
        TAILQ_FOREACH (v, &mm.mmap, vm_list) {
                cr_assert_geq(v->vm_start, BASE);
                cr_assert_leq(v->vm_end, addr_of(pages), "a VMA behind the picture");
                for (uint64_t a = v->vm_start; a < v->vm_end; a += PAGE_SIZE) {
                        got[(a - BASE) >> PAGE_SHIFT] = (char)('A' + vmas % 26);
                        cr_assert_eq(find_vma(&mm, a), v, "list and tree differ");
                }
                of_file[v->vm_file == &file[1]]++;
                vmas++;
        }
        cr_assert_str_eq(got, picture);
        cr_assert_eq(mm.map_count, vmas);
        cr_assert_eq(open_vmas, (int)vmas, "->open and ->close: %d, VMAs: %u", open_vmas, vmas);
        check_views(&space[0], of_file[0]);
        check_views(&space[1], of_file[1]);
        cr_assert_eq(check_mm(), 0);
}

static inline void start(void)
{
        memset(&mm, 0, sizeof mm);
        TAILQ_INIT(&mm.mmap);
        RB_INIT(&mm.mm_rb);
        cr_assert_eq(table_pool_init(&pool, 1024), 0);
        radix_init(&mm.pgd, &pool, 3);
        mm.window_lo = BASE;
        mm.window_hi = addr_of(PAGES);
        for (unsigned i = 0; i < 2; i++)
                file[i].mapping = &space[i];
        open_vmas = 0;
        rwlock_write_lock(&mm.lock);
}

static inline void stop(void)
{
        struct vma *v;

        while ((v = TAILQ_FIRST(&mm.mmap)))
                drop(v);
        rwlock_write_unlock(&mm.lock);
        cr_assert_eq(open_vmas, 0);
        cr_assert_eq(space[0].i_mmap.nr + space[1].i_mmap.nr, 0);
        radix_destroy(&mm.pgd);
        cr_assert_eq(atomic_load(&pool.in_use), 0);
        table_pool_destroy(&pool);
}

#endif
