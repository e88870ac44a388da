/* SPDX-License-Identifier: Apache-2.0
 *
 * test_vma.c - VMAs of an mm without an MMU: split, merge, search, each case drawn.
 *
 * In a drawing a character is a page, a letter a VMA, named in the order of their addresses; '.'
 * is a hole. Unless a case says otherwise, page n of the drawing shows page 100 + n of the file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
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

static void count_open(struct vma *v)
{
        cr_assert_eq(v->vm_mm, &mm);
        open_vmas++;
}

static void count_close(struct vma *v)
{
        cr_assert_eq(v->vm_mm, &mm);
        open_vmas--;
}

static const struct vm_operations counted_ops = { .open = count_open, .close = count_close };
static const struct vm_operations other_ops = { .open = count_open, .close = count_close };

static uint64_t addr_of(unsigned page)
{
        return BASE + ((uint64_t)page << PAGE_SHIFT);
}

/* A VMA of pages [from, to), not in the mm yet. */
static struct vma *make(unsigned from, unsigned to)
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

static struct vma *add(struct vma *v)
{
        struct address_space *m = v->vm_file->mapping;

        v->vm_ops->open(v);
        rwlock_write_lock(&m->i_mmap_lock);
        view_update_locked(v);
        TAILQ_INSERT_TAIL(&m->i_mmap, &v->vm_view, link);
        m->i_mmap_count++;
        rwlock_write_unlock(&m->i_mmap_lock);
        vma_link(&mm, v);
        return v;
}

static void drop(struct vma *v)
{
        struct address_space *m = v->vm_file->mapping;

        vma_unlink(&mm, v);
        rwlock_write_lock(&m->i_mmap_lock);
        TAILQ_REMOVE(&m->i_mmap, &v->vm_view, link);
        m->i_mmap_count--;
        rwlock_write_unlock(&m->i_mmap_lock);
        vma_free(v);
}

static struct vma *at(unsigned page)
{
        struct vma *v = find_vma(&mm, addr_of(page));

        cr_assert(v && v->vm_start <= addr_of(page), "page %u is in no VMA", page);
        return v;
}

/* A VMA for each run of one letter. */
static void draw(const char *picture)
{
        for (unsigned from = 0, to; picture[from]; from = to) {
                for (to = from + 1; picture[to] == picture[from]; to++)
                        ;
                if (picture[from] != '.')
                        add(make(from, to));
        }
}

static void check_views(struct address_space *m, unsigned vmas)
{
        struct mapping_view *view;
        unsigned n = 0;

        TAILQ_FOREACH (view, &m->i_mmap, link) {
                struct vma *v = container_of(view, struct vma, vm_view);

                cr_assert_eq(v->vm_file->mapping, m);
                cr_assert_eq(view->first, v->vm_pgoff);
                cr_assert_eq(view->last - view->first + 1, (v->vm_end - v->vm_start) >> PAGE_SHIFT);
                n++;
        }
        cr_assert_eq(n, vmas);
        cr_assert_eq(m->i_mmap_count, vmas);
}

/* The mm is as drawn, and list, tree, views and counters agree. */
static void expect(const char *picture)
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
        cr_assert_eq(mm_check(&mm), 0);
}

static void start(void)
{
        memset(&mm, 0, sizeof mm);
        TAILQ_INIT(&mm.mmap);
        RB_INIT(&mm.mm_rb);
        cr_assert_eq(table_pool_init(&pool, 1024), 0);
        radix_init(&mm.pgd, &pool, 3);
        mm.window_lo = BASE;
        mm.window_hi = addr_of(PAGES);
        for (unsigned i = 0; i < 2; i++) {
                TAILQ_INIT(&space[i].i_mmap);
                file[i].mapping = &space[i];
        }
        open_vmas = 0;
}

static void stop(void)
{
        struct vma *v;

        while ((v = TAILQ_FIRST(&mm.mmap)))
                drop(v);
        cr_assert_eq(open_vmas, 0);
        cr_assert_eq(space[0].i_mmap_count + space[1].i_mmap_count, 0);
        radix_destroy(&mm.pgd);
        cr_assert_eq(atomic_load(&pool.in_use), 0);
        table_pool_destroy(&pool);
}

TestSuite(vma, .init = start, .fini = stop, .timeout = 30);

/* ---- merge ---- */

Test(vma, equal_neighbours_merge)
{
        draw("AABB"); /* -> AAAA */
        cr_assert_eq(vma_merge(&mm, at(0)), at(3));
        expect("AAAA");
        cr_assert_eq(at(0)->vm_pgoff, FIRST_INDEX);
}

Test(vma, merge_from_the_upper_side)
{
        draw(".AABB");
        cr_assert_eq(vma_merge(&mm, at(3)), at(1), "the lower one takes it in");
        expect(".AAAA");
}

Test(vma, merge_with_both_sides)
{
        draw("AABCC"); /* B -> AAAAA */
        cr_assert_eq(vma_merge(&mm, at(2)), at(0));
        expect("AAAAA");
        cr_assert_eq(at(4)->vm_end, addr_of(5));
}

Test(vma, merge_takes_direct_neighbours_only)
{
        draw("ABCD");
        vma_merge(&mm, at(1));
        expect("AAAB");
}

Test(vma, a_hole_is_not_merged_over)
{
        draw("AA.BB");
        vma_merge(&mm, at(0));
        vma_merge(&mm, at(3));
        expect("AA.BB");
}

/* AA|BB, where B differs in one thing: no merge, from neither side. */
static void expect_apart(void)
{
        struct vma *a = at(0), *b = at(2);

        cr_assert_not(vma_can_merge(a, b));
        cr_assert_eq(vma_merge(&mm, a), a);
        cr_assert_eq(vma_merge(&mm, b), b);
        expect("AABB");
}

Test(vma, other_protection_does_not_merge)
{
        draw("AABB");
        at(2)->vm_prot = PROT_READ | PROT_WRITE;
        expect_apart();
        at(2)->vm_prot = PROT_READ;
        cr_assert(vma_can_merge(at(0), at(2)));
        cr_assert_not(vma_can_merge(at(2), at(0)), "the wrong way round");
}

Test(vma, other_maxprot_does_not_merge)
{
        draw("AABB");
        at(2)->vm_maxprot = PROT_READ;
        expect_apart();
}

Test(vma, shared_and_private_do_not_merge)
{
        draw("AABB");
        at(2)->vm_shared = false;
        expect_apart();
}

Test(vma, other_advice_does_not_merge)
{
        draw("AABB");
        at(2)->vm_advice = ADVICE_RANDOM;
        expect_apart();
}

Test(vma, other_operations_do_not_merge)
{
        draw("AABB");
        at(2)->vm_ops = &other_ops;
        expect_apart();
}

Test(vma, other_files_do_not_merge)
{
        struct vma *b = make(2, 4);

        draw("AA");
        b->vm_file = &file[1];
        add(b);
        expect_apart();
}

Test(vma, other_offsets_do_not_merge)
{
        for (int off = -2; off <= 2; off++) {
                struct vma *b = make(2, 4);

                if (off == 0) {
                        free(b);
                        continue;
                }
                draw("AA");
                b->vm_pgoff += (uint64_t)off; /* -2: the same pages twice */
                add(b);
                expect_apart();
                drop(at(0));
                drop(at(2));
        }
}

/* ---- split ---- */

Test(vma, split_in_the_middle)
{
        struct vma *v, *upper;

        draw(".AAAAA");
        v = at(1);
        v->vm_prot = PROT_READ | PROT_WRITE;
        v->vm_advice = ADVICE_SEQUENTIAL;
        upper = split_vma(&mm, v, addr_of(3));
        expect(".AABBB");
        cr_assert_eq(v, at(1));
        cr_assert_eq(upper, at(3));
        cr_assert_eq(v->vm_view.first, FIRST_INDEX + 1);
        cr_assert_eq(v->vm_view.last, FIRST_INDEX + 2);
        cr_assert_eq(upper->vm_view.first, FIRST_INDEX + 3);
        cr_assert_eq(upper->vm_view.last, FIRST_INDEX + 5);
        cr_assert_eq(upper->vm_pgoff, FIRST_INDEX + 3);
        cr_assert_eq(upper->vm_prot, PROT_READ | PROT_WRITE);
        cr_assert_eq(upper->vm_maxprot, PROT_READ | PROT_WRITE);
        cr_assert_eq(upper->vm_advice, ADVICE_SEQUENTIAL);
        cr_assert(upper->vm_shared);
        cr_assert_eq(upper->vm_file, &file[0]);
        cr_assert_eq(upper->vm_ops, &counted_ops);
        cr_assert_eq(space[0].i_mmap_count, 2);
        cr_assert_eq(vma_next(v), upper);
        cr_assert_eq(vma_prev(upper), v);
        cr_assert_null(vma_next(upper));
        cr_assert_null(vma_prev(v));
}

Test(vma, a_split_heals)
{
        draw("AAAA");
        split_vma(&mm, at(0), addr_of(1));
        split_vma(&mm, at(1), addr_of(3));
        expect("ABBC");
        vma_merge(&mm, at(1));
        expect("AAAA");
        cr_assert_eq(at(0)->vm_view.last, FIRST_INDEX + 3);
}

Test(vma, split_at_the_edges_is_nothing)
{
        draw("AAAA");
        cr_assert_eq(split_at(&mm, addr_of(0), addr_of(4)), 0);
        expect("AAAA");
        cr_assert_eq(split_at(&mm, addr_of(4), addr_of(6)), 0);
        expect("AAAA");
}

Test(vma, split_at_cuts_where_it_crosses)
{
        draw("AAAA"); /* [1, 3) */
        cr_assert_eq(split_at(&mm, addr_of(1), addr_of(3)), 0);
        expect("ABBC");
        cr_assert_eq(split_at(&mm, addr_of(1), addr_of(3)), 0);
        expect("ABBC");
}

Test(vma, split_at_one_edge_only)
{
        draw("AAAA");
        cr_assert_eq(split_at(&mm, addr_of(0), addr_of(3)), 0);
        expect("AAAB");
        cr_assert_eq(split_at(&mm, addr_of(1), addr_of(4)), 0);
        expect("ABBC");
}

Test(vma, split_at_over_several)
{
        draw("AABBCC"); /* [1, 5): B stays whole */
        cr_assert_eq(split_at(&mm, addr_of(1), addr_of(5)), 0);
        expect("ABCCDE");
}

Test(vma, split_at_in_holes)
{
        draw("AA..BB");
        cr_assert_eq(split_at(&mm, addr_of(2), addr_of(4)), 0);
        expect("AA..BB");
        cr_assert_eq(split_at(&mm, addr_of(3), addr_of(5)), 0);
        expect("AA..BC");
        cr_assert_eq(split_at(&mm, addr_of(1), addr_of(3)), 0);
        expect("AB..CD");
        cr_assert_eq(split_at(&mm, addr_of(20), addr_of(30)), 0);
        expect("AB..CD");
}

/* ---- search ---- */

Test(vma, linked_in_any_order_the_list_is_sorted)
{
        static const unsigned order[] = { 5, 1, 7, 3, 9 };

        for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
                add(make(order[i], order[i] + 1));
        expect(".A.B.C.D.E");
}

Test(vma, index_and_address_are_inverse)
{
        struct vma *v = add(make(3, 8));

        cr_assert_eq(vma_index(v, addr_of(3)), FIRST_INDEX + 3);
        cr_assert_eq(vma_index(v, addr_of(7) + 4095), FIRST_INDEX + 7);
        for (unsigned page = 3; page < 8; page++)
                cr_assert_eq(vma_address(v, vma_index(v, addr_of(page))), addr_of(page));
}

Test(vma, find_vma_in_gaps)
{
        cr_assert_null(find_vma(&mm, BASE));
        draw("..AA..BB");
        cr_assert_eq(find_vma(&mm, 0), at(2));
        cr_assert_eq(find_vma(&mm, addr_of(2) - 1), at(2));
        cr_assert_eq(find_vma(&mm, addr_of(2)), at(2));
        cr_assert_eq(find_vma(&mm, addr_of(4) - 1), at(2));
        cr_assert_eq(find_vma(&mm, addr_of(4)), at(6), "an end is not within");
        cr_assert_eq(find_vma(&mm, addr_of(6) - 1), at(6));
        cr_assert_eq(find_vma(&mm, addr_of(8) - 1), at(6));
        cr_assert_null(find_vma(&mm, addr_of(8)));
        cr_assert_null(find_vma(&mm, UINT64_MAX));
}

Test(vma, unmapped_area_is_the_lowest_gap_that_fits)
{
        cr_assert_eq(get_unmapped_area(&mm, 0, PAGE_SIZE), BASE);
        cr_assert_eq(get_unmapped_area(&mm, 0, PAGES * PAGE_SIZE), BASE);
        cr_assert_eq(get_unmapped_area(&mm, 0, (PAGES + 1) * PAGE_SIZE), 0);
        draw("A.BB..CCC...D");
        cr_assert_eq(get_unmapped_area(&mm, 0, 1 * PAGE_SIZE), addr_of(1));
        cr_assert_eq(get_unmapped_area(&mm, 0, 2 * PAGE_SIZE), addr_of(4));
        cr_assert_eq(get_unmapped_area(&mm, 0, 3 * PAGE_SIZE), addr_of(9));
        cr_assert_eq(get_unmapped_area(&mm, 0, 4 * PAGE_SIZE), addr_of(13));
        cr_assert_eq(get_unmapped_area(&mm, 0, (PAGES - 13) * PAGE_SIZE), addr_of(13));
        cr_assert_eq(get_unmapped_area(&mm, 0, (PAGES - 12) * PAGE_SIZE), 0, "exhausted");
}

Test(vma, unmapped_area_heeds_the_hint)
{
        draw("A.BB..CCC...D");
        cr_assert_eq(get_unmapped_area(&mm, addr_of(4), PAGE_SIZE), addr_of(4));
        cr_assert_eq(get_unmapped_area(&mm, addr_of(5), PAGE_SIZE), addr_of(5), "within a gap");
        cr_assert_eq(get_unmapped_area(&mm, addr_of(5), 2 * PAGE_SIZE), addr_of(9),
                     "what is left of the gap is too small");
        cr_assert_eq(get_unmapped_area(&mm, addr_of(2), PAGE_SIZE), addr_of(4), "taken");
        cr_assert_eq(get_unmapped_area(&mm, addr_of(40), PAGE_SIZE), addr_of(40));
        cr_assert_eq(get_unmapped_area(&mm, addr_of(PAGES - 1), PAGE_SIZE), addr_of(PAGES - 1));
        cr_assert_eq(get_unmapped_area(&mm, addr_of(PAGES - 1), 2 * PAGE_SIZE), 0);
        cr_assert_eq(get_unmapped_area(&mm, addr_of(PAGES), PAGE_SIZE), 0, "behind the window");
        cr_assert_eq(get_unmapped_area(&mm, addr_of(PAGES + 5), PAGE_SIZE), 0);
        cr_assert_eq(get_unmapped_area(&mm, UINT64_MAX & PAGE_MASK, PAGE_SIZE), 0);
}

Test(vma, no_unmapped_area_in_a_full_window)
{
        add(make(0, PAGES));
        cr_assert_eq(get_unmapped_area(&mm, 0, PAGE_SIZE), 0);
        cr_assert_eq(get_unmapped_area(&mm, addr_of(3), PAGE_SIZE), 0);
        /* A VMA that sticks out, as one at an address of the caller's choice may. */
        drop(at(0));
        add(make(PAGES - 2, PAGES + 4));
        cr_assert_eq(get_unmapped_area(&mm, addr_of(PAGES - 2), PAGE_SIZE), 0);
        cr_assert_eq(get_unmapped_area(&mm, 0, (PAGES - 2) * PAGE_SIZE), BASE);
}

/* ---- the checker ---- */

Test(vma, mm_check_sees_a_wrong_count)
{
        draw("AABB");
        mm.map_count++;
        cr_assert_neq(mm_check(&mm), 0);
        mm.map_count--;
        cr_assert_eq(mm_check(&mm), 0);
}

Test(vma, mm_check_sees_an_overlap)
{
        struct vma *a;

        draw("AABB");
        a = at(0);
        a->vm_end += PAGE_SIZE;
        view_update_locked(a);
        cr_assert_neq(mm_check(&mm), 0);
        a->vm_end -= PAGE_SIZE;
        view_update_locked(a);
        cr_assert_eq(mm_check(&mm), 0);
}

Test(vma, mm_check_sees_list_and_tree_differ)
{
        struct vma *b;

        draw("ABC");
        b = at(1);
        TAILQ_REMOVE(&mm.mmap, b, vm_list);
        TAILQ_INSERT_TAIL(&mm.mmap, b, vm_list);
        cr_assert_neq(mm_check(&mm), 0);
        TAILQ_REMOVE(&mm.mmap, b, vm_list);
        mm.map_count--;
        cr_assert_neq(mm_check(&mm), 0, "it is still in the tree");
        mm.map_count++;
        TAILQ_INSERT_AFTER(&mm.mmap, at(0), b, vm_list);
        cr_assert_eq(mm_check(&mm), 0);
}

Test(vma, mm_check_counts_private_copies)
{
        static struct page_cache cache;
        struct pte *pte;

        draw("AABB");
        mm.cache = &cache;
        cr_assert_eq(mm_check(&mm), 0);
        pte = pte_get(&mm, addr_of(3), true);
        pte_set(&mm, pte, PTE_COPY);
        cr_assert_neq(mm_check(&mm), 0, "a copy that is not charged");
        atomic_store(&cache.budget.private_pages, 1);
        cr_assert_eq(mm_check(&mm), 0);
        pte_set(&mm, pte, PTE_NONE);
        pte_put(&mm, pte);
        cr_assert_neq(mm_check(&mm), 0, "a charge without a copy");
}

/* ---- at random, against an array of pages ---- */

static struct {
        bool mapped, begins; /* begins: a VMA starts here */
        unsigned file, prot;
        uint64_t index;
} model[PAGES + 1];

static bool model_joins(unsigned page)
{
        return page > 0 && page < PAGES && model[page - 1].mapped && model[page].mapped &&
               model[page - 1].file == model[page].file &&
               model[page - 1].prot == model[page].prot &&
               model[page - 1].index + 1 == model[page].index;
}

static void model_merge(unsigned from, unsigned to)
{
        if (model_joins(from))
                model[from].begins = false;
        if (model_joins(to))
                model[to].begins = false;
}

static void model_split(unsigned page)
{
        if (page < PAGES && model[page].mapped)
                model[page].begins = true;
}

static void compare(void)
{
        unsigned vmas = 0, of_file[2] = { 0, 0 };

        for (unsigned page = 0; page < PAGES; page++) {
                struct vma *v = find_vma(&mm, addr_of(page));

                if (!model[page].mapped) {
                        cr_assert(!v || v->vm_start > addr_of(page), "page %u is mapped", page);
                        continue;
                }
                v = at(page);
                cr_assert_eq(v->vm_file, &file[model[page].file]);
                cr_assert_eq(v->vm_prot, (int)model[page].prot);
                cr_assert_eq(vma_index(v, addr_of(page)), model[page].index);
                cr_assert_eq(v->vm_start == addr_of(page), model[page].begins, "page %u", page);
                vmas += model[page].begins;
                of_file[model[page].file] += model[page].begins;
        }
        cr_assert_eq(mm.map_count, vmas);
        cr_assert_eq(open_vmas, (int)vmas);
        check_views(&space[0], of_file[0]);
        check_views(&space[1], of_file[1]);
        cr_assert_eq(mm_check(&mm), 0);
}

/* Maps what is free from `from` on, at most up to `to`. shift: how far out of step. */
static void map_free(unsigned from, unsigned to, unsigned which, unsigned shift)
{
        struct vma *v;
        unsigned end;

        for (end = from; end < to && !model[end].mapped; end++) {
                model[end].mapped = true;
                model[end].begins = end == from;
                model[end].file = which;
                model[end].prot = PROT_READ;
                model[end].index = FIRST_INDEX + end + shift;
        }
        if (end == from)
                return;
        v = make(from, end);
        v->vm_pgoff += shift;
        v->vm_file = &file[which];
        add(v);
        vma_merge(&mm, v);
        model_merge(from, end);
}

static void unmap(unsigned from, unsigned to)
{
        struct vma *v, *next;

        cr_assert_eq(split_at(&mm, addr_of(from), addr_of(to)), 0);
        for (v = find_vma(&mm, addr_of(from)); v && v->vm_start < addr_of(to); v = next) {
                next = vma_next(v);
                cr_assert_leq(v->vm_end, addr_of(to));
                drop(v);
        }
        model_split(to);
        for (unsigned page = from; page < to; page++)
                model[page].mapped = false;
}

static void protect(unsigned from, unsigned to, unsigned prot)
{
        struct vma *v;
        unsigned end;

        cr_assert_eq(split_at(&mm, addr_of(from), addr_of(to)), 0);
        model_split(from);
        model_split(to);
        for (unsigned page = from; page < to; page = end) {
                end = page + 1;
                /* Not the start of a VMA: the one before has just been joined with it. */
                if (!model[page].mapped || !model[page].begins)
                        continue;
                while (end < to && model[end].mapped && !model[end].begins)
                        end++;
                for (unsigned i = page; i < end; i++)
                        model[i].prot = prot;
                v = at(page);
                cr_assert_eq(v->vm_start, addr_of(page));
                cr_assert_eq(v->vm_end, addr_of(end));
                v->vm_prot = (int)prot;
                vma_merge(&mm, v);
                model_merge(page, end);
        }
}

Test(vma, random_operations_against_pages)
{
        unsigned seed = 1;

        for (unsigned i = 0; i < 20000; i++) {
                unsigned from = (unsigned)rand_r(&seed) % PAGES;
                unsigned to = from + 1 + (unsigned)rand_r(&seed) % 16;
                unsigned what = (unsigned)rand_r(&seed);

                to = to > PAGES ? PAGES : to;
                switch (what % 8) {
                case 0:
                case 1:
                case 2:
                        /* One in eight is of the other file, one in eight out of step. */
                        map_free(from, to, what / 8 % 8 == 0, what / 64 % 8 == 0);
                        break;
                case 3:
                case 4:
                        unmap(from, to);
                        break;
                case 5:
                        protect(from, to, PROT_READ);
                        break;
                case 6:
                        protect(from, to, PROT_READ | PROT_WRITE);
                        break;
                default:
                        cr_assert_eq(split_at(&mm, addr_of(from), addr_of(to)), 0);
                        model_split(from);
                        model_split(to);
                }
                compare();
        }
}
