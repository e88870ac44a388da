/* SPDX-License-Identifier: Apache-2.0
 *
 * test_vma.c - VMAs: split, merge, search, each case drawn (vma_fixture.h).
 */
#include <stdlib.h>

#include "vma_fixture.h"

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

Test(vma, other_rules_do_not_merge)
{
        draw("AABB");
        at(2)->vm_rules.ra_pages = 8;
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
                struct vma *b;

                if (off == 0)
                        continue;
                b = make(2, 4);
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
        cr_assert_eq(space[0].i_mmap.nr, 2);
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
        cr_assert_neq(check_mm(), 0);
        mm.map_count--;
        cr_assert_eq(check_mm(), 0);
}

static void move_end(struct vma *v, uint64_t end)
{
        struct address_space *m = v->vm_file->mapping;

        rwlock_write_lock(&m->i_mmap_lock);
        v->vm_end = end;
        view_update_locked(v);
        rwlock_write_unlock(&m->i_mmap_lock);
}

Test(vma, mm_check_sees_an_overlap)
{
        struct vma *a;

        draw("AABB");
        a = at(0);
        move_end(a, a->vm_end + PAGE_SIZE);
        cr_assert_neq(check_mm(), 0);
        move_end(a, a->vm_end - PAGE_SIZE);
        cr_assert_eq(check_mm(), 0);
}

Test(vma, mm_check_sees_list_and_tree_differ)
{
        struct vma *b;

        draw("ABC");
        b = at(1);
        TAILQ_REMOVE(&mm.mmap, b, vm_list);
        TAILQ_INSERT_TAIL(&mm.mmap, b, vm_list);
        cr_assert_neq(check_mm(), 0);
        TAILQ_REMOVE(&mm.mmap, b, vm_list);
        mm.map_count--;
        cr_assert_neq(check_mm(), 0, "it is still in the tree");
        mm.map_count++;
        TAILQ_INSERT_AFTER(&mm.mmap, at(0), b, vm_list);
        cr_assert_eq(check_mm(), 0);
}

Test(vma, mm_check_counts_private_copies)
{
        static struct page_cache cache;
        struct pte *pte;

        draw("AABB");
        mm.cache = &cache;
        cr_assert_eq(check_mm(), 0);
        pte = pte_get(&mm, addr_of(3), true);
        pte_set(&mm, pte, PTE_COPY);
        cr_assert_neq(check_mm(), 0, "a copy that is not charged");
        atomic_store(&cache.budget.private_pages, 1);
        cr_assert_eq(check_mm(), 0);
        pte_set(&mm, pte, PTE_NONE);
        pte_put(&mm, pte);
        cr_assert_neq(check_mm(), 0, "a charge without a copy");
}
