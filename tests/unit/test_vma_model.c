/* SPDX-License-Identifier: Apache-2.0
 *
 * test_vma_model.c - random operations on the VMAs of an mm and on an array of pages.
 */
#include <stdlib.h>

#include "vma_fixture.h"

TestSuite(vma_model, .init = start, .fini = stop, .timeout = 30);

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
        cr_assert_eq(check_mm(), 0);
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

Test(vma_model, random_operations_against_pages)
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
