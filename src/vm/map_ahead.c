/* SPDX-License-Identifier: Apache-2.0
 *
 * map_ahead.c - what is shown together with the page of a load: pages of the file that are cached and that
 * the policy expects the thread to touch next. A fault costs as much as showing thirty pages in one call.
 *
 * The page that carries the read-ahead mark is left out, so that the policy sees the stream come to it;
 * and so is, but for the nearest, what reclaim has unmapped to see whether it is touched (PG_PROBED).
 * Nobody has touched what is shown here: it stays PG_READAHEAD, until the thread is seen behind it.
 */
#include <sys/mman.h>

#include "util/perturb.h"
#include "vm/fault.h"

#define RUN 64 /* pages locked at once */

/* Shows the nr pages from p on, locked, and lets go of them. */
static void show_run(struct vm_fault *vmf, struct page *p, struct pte *pte, uint64_t index,
                     unsigned nr, bool wp)
{
        struct mm *mm = vmf->mm;
        uint64_t addr = vma_address(vmf->vma, index);
        bool existed;
        int error;

        for (unsigned i = 0; i < nr; i++) {
                page_assert_locked(p + i);
                page_set(p + i, PG_MAPPED);
                page_clear(p + i, PG_PROBED);
        }
        perturb_gap();
        error = mm->mmu->ops->map_run(mm->mmu, addr, nr, wp, &existed);
        perturb_gap();
        /* Also after an error: some of them may be shown, and who protects them goes by this. */
        for (unsigned i = 0; i < nr; i++) {
                pte_set(mm, pte + i, PTE_CACHE);
                page_unlock(mm->cache, p + i);
        }
        if (!error)
                trace_emit(mm->trace, SET_PTE, vmf->rq.fault, vmf->rq.object, addr, nr,
                           index << PAGE_SHIFT, !wp && (vmf->vma->vm_prot & PROT_WRITE));
}

/* Could the page be shown? It ends what lies in a row. */
static bool is_there(const struct page *p)
{
        return page_uptodate(p) && !page_test(p, PG_MARKER);
}

/* Did reclaim unmap it to see whether it is touched? A fault answers for its nearest neighbours too: one
 * for each page costs more than it is worth to know. */
static bool is_asked_for(const struct vm_fault *vmf, const struct page *p, uint64_t index)
{
        uint64_t around = vmf->mm->cache->policy->fault_around;

        return page_test(p, PG_PROBED) && index / around != vmf->index / around;
}

/* Is it to be shown? Then it is locked. */
static bool take(struct vm_fault *vmf, struct page *p, const struct pte *pte, uint64_t index)
{
        if (is_asked_for(vmf, p, index) || !is_there(p) || pte_state(pte) != PTE_NONE ||
            !page_trylock(p))
                return false;
        if (is_there(p) && pte_state(pte) == PTE_NONE)
                return true;
        page_unlock(vmf->mm->cache, p);
        return false;
}

/* The same of nr pages whose leaf is pinned, as is the table of their PTEs. How many. */
static unsigned show_part(struct vm_fault *vmf, struct page *p, struct pte *pte, uint64_t index,
                          unsigned nr)
{
        unsigned run = 0, shown = 0;
        bool wp = false;

        for (unsigned i = 0; i <= nr; i++) {
                bool more = i < nr && take(vmf, p + i, pte + i, index + i);
                bool its = more && wants_notify(vmf->vma, p + i);

                if (run && (!more || its != wp || run == RUN)) {
                        show_run(vmf, p + i - run, pte + i - run, index + i - run, run, wp);
                        shown += run;
                        run = 0;
                }
                wp = its;
                run += more;
        }
        return shown;
}

/* Pages [index, end) of the file, as far as they are there, within the VMA. */
static unsigned show_range(struct vm_fault *vmf, uint64_t index, uint64_t end)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        struct mm *mm = vmf->mm;
        unsigned shown = 0;

        while (index < end) {
                struct page *p = find_page(m, index);
                struct pte *pte = p ? pte_get(mm, vma_address(vmf->vma, index), true) : NULL;
                uint64_t stop = min_u64(end, radix_leaf_end(&m->i_pages, index));

                if (pte) {
                        stop = min_u64(stop, index + pte_left(pte));
                        shown += show_part(vmf, p, pte, index, (unsigned)(stop - index));
                        pte_put(mm, pte);
                }
                if (p)
                        put_page(m, p);
                index = stop;
        }
        return shown;
}

uint64_t pages_in_a_row(struct address_space *m, uint64_t index, bool before, uint64_t most,
                        bool (*such)(const struct page *))
{
        uint64_t n = 0;

        most = before ? min_u64(most, index) : most;
        while (n < most) {
                uint64_t at = before ? index - 1 - n : index + 1 + n;
                struct page *leaf = find_page(m, at), *p = leaf;
                uint64_t end = radix_leaf_end(&m->i_pages, at);
                uint64_t left =
                        before ? at + 1 - (end - (1ull << radix_leaf_bits(&m->i_pages))) : end - at;
                bool more = p;

                for (; more && left && n < most; left--, p += before ? -1 : 1) {
                        more = such(p);
                        n += more;
                }
                if (leaf)
                        put_page(m, leaf);
                if (!more)
                        break;
        }
        return n;
}

/* What was shown ahead, and the thread has come past: it was of use. */
static bool was_passed(struct vm_fault *vmf, uint64_t index)
{
        struct page *p = find_page(vmf->vma->vm_file->mapping, index);
        bool yes = p && page_test(p, PG_MAPPED) && page_clear(p, PG_READAHEAD);

        if (p)
                put_page(vmf->vma->vm_file->mapping, p);
        return yes;
}

static uint64_t distance(const struct ra_map *map)
{
        return max_u64((uint64_t)(map->step < 0 ? -map->step : map->step), 1);
}

static void note_passed(struct vm_fault *vmf, const struct ra_map *map)
{
        uint64_t size = distance(map), n = 0;
        uint64_t last = mapping_pages(vmf->vma->vm_file->mapping), most = map->nr;

        if (map->step > 0)
                most = min_u64(most, vmf->index / size);
        else
                most = last > vmf->index ? min_u64(most, (last - 1 - vmf->index) / size) : 0;
        while (n < most && was_passed(vmf, map->step > 0 ? vmf->index - (n + 1) * size
                                                         : vmf->index + (n + 1) * size))
                n++;
        if (n)
                stat_add(&vmf->mm->trace->stats, STAT_readahead_hits, n);
}

/* Pages of a VMA that lie on one side of the fault's. */
static uint64_t left_of(const struct vm_fault *vmf, bool before)
{
        struct vma *v = vmf->vma;
        uint64_t end = min_u64(vma_index(v, v->vm_end), mapping_pages(v->vm_file->mapping));

        if (before)
                return vmf->index - v->vm_pgoff;
        return end > vmf->index ? end - 1 - vmf->index : 0;
}

/* Every step-th page, each by itself. */
static unsigned show_strided(struct vm_fault *vmf, const struct ra_map *map)
{
        uint64_t size = distance(map);
        uint64_t most = min_u64(map->nr, left_of(vmf, map->step < 0) / size);
        unsigned shown = 0;

        for (uint64_t n = 1; n <= most; n++) {
                uint64_t at = map->step < 0 ? vmf->index - n * size : vmf->index + n * size;
                struct page *p = find_page(vmf->vma->vm_file->mapping, at);
                bool there = p && is_there(p);

                if (p)
                        put_page(vmf->vma->vm_file->mapping, p);
                if (!there)
                        break;
                shown += show_range(vmf, at, at + 1);
        }
        return shown;
}

void file_vma_map_ahead(struct vm_fault *vmf)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        uint64_t first = vmf->index, end = vmf->index + 1;
        struct ra_map map;
        unsigned shown;

        if (!vmf->mm->cache->policy->map_ahead)
                return;
        if (vmf->write) {
                file_vma_store_ahead(vmf);
                return;
        }
        map = filemap_map_ahead(&vmf->rq);
        if (!map.nr)
                return;
        if (map.step)
                note_passed(vmf, &map);
        if (map.step < -1 || map.step > 1) {
                shown = show_strided(vmf, &map);
        } else {
                /* Without a direction: of the run of map.nr pages that it lies in. */
                uint64_t at = vmf->address >> PAGE_SHIFT & (map.nr - 1);
                uint64_t before = map.step ? map.nr : at,
                         behind = map.step ? map.nr : map.nr - 1 - at;

                if (map.step <= 0)
                        first -= pages_in_a_row(m, vmf->index, true,
                                                min_u64(before, left_of(vmf, true)), is_there);
                if (map.step >= 0)
                        end += pages_in_a_row(m, vmf->index, false,
                                              min_u64(behind, left_of(vmf, false)), is_there);
                shown = show_range(vmf, first, vmf->index) + show_range(vmf, vmf->index + 1, end);
        }
        if (shown)
                trace_emit(vmf->mm->trace, MAP_PAGES, vmf->rq.fault, vmf->rq.object, first, end,
                           shown, 0);
}
