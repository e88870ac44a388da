/* SPDX-License-Identifier: Apache-2.0
 *
 * store_ahead.c - what may be stored to together with the page of a store: where stores come in order, an
 * event for each first one costs many times what the store does.
 *
 * The pages behind it are made dirty before anybody stores to them, and shown so. Whether somebody did is
 * found out when they are written back (cache/guess.h). As many are taken as there are dirty pages in a
 * row before the fault, so that stores here and there stay events, each of its own.
 *
 * Left out is what a store would have to ask something for (room on the disk, its place below the dirty
 * limit), and the page with the read-ahead mark, so that the policy sees the stream come to it.
 */
#include "util/perturb.h"
#include "vm/fault.h"

#define RUN 64          /* pages locked at once */
#define MOST 512        /* of one event */
#define WORTH_A_LOOK 1u /* dirty pages before the fault */

/* Has it been stored to, as far as we know? */
static bool is_stored(const struct page *p)
{
        return page_may_write(p) || page_state(p) == PAGE_WRITEBACK;
}

/* Of the pages from p on, those that are shown as the first is, or not shown as the first is not, and can be
 * guessed. How many; they are locked. */
static unsigned take_run(struct vm_fault *vmf, struct page *p, const struct pte *pte,
                         uint64_t index, unsigned nr, enum pte_state *shown)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        unsigned n = 0;

        *shown = pte_state(pte);
        if (*shown != PTE_NONE && *shown != PTE_CACHE)
                return 0;
        while (n < nr && !page_test(p + n, PG_MARKER) && page_state(p + n) == PAGE_CLEAN &&
               page_trylock(p + n)) {
                if (guess_possible(m, p + n, index + n) && pte_state(pte + n) == *shown) {
                        n++;
                        continue;
                }
                page_unlock(m->cache, p + n);
                break;
        }
        return n;
}

static void let_go(struct page_cache *c, struct page *p, unsigned first, unsigned end)
{
        for (unsigned i = first; i < end; i++)
                page_unlock(c, p + i);
}

/* Makes the locked pages dirty, by guess. How many; the others are let go. */
static unsigned guess_run(struct address_space *m, struct page *p, uint64_t index, unsigned nr)
{
        struct page_cache *c = m->cache;
        unsigned room = nr, done = 0, held = hold_begin(c);
        char *buf = staging_get(&c->staging, &room, false);

        if (buf && !m->frames->ops->copy_out(m->frames, index << PAGE_SHIFT, buf,
                                             (size_t)room << PAGE_SHIFT))
                while (done < room &&
                       guess_dirty(m, p + done, index + done, buf + ((size_t)done << PAGE_SHIFT)))
                        done++;
        if (buf)
                staging_put(&c->staging, buf, room, false);
        hold_end(c, held);
        let_go(c, p, done, nr);
        return done;
}

/* Whatever becomes of it: a page that is dirty and not shown, or not so, is met by the store itself. */
static void show_run(struct vm_fault *vmf, struct page *p, struct pte *pte, uint64_t index,
                     unsigned nr, enum pte_state shown)
{
        struct mm *mm = vmf->mm;
        struct mmu *mmu = mm->mmu;
        uint64_t addr = vma_address(vmf->vma, index);
        bool existed = true;
        int error = 0;

        perturb_gap();
        for (unsigned i = 0; i < nr; i++) {
                page_set(p + i, PG_MAPPED);
                page_clear(p + i, PG_PROBED);
        }
        if (shown == PTE_NONE)
                error = mmu->ops->map_run(mmu, addr, nr, false, &existed);
        if (!error && existed)
                error = mmu->ops->unprotect(mmu, addr, nr);
        perturb_gap();
        /* Also after an error: some of them may be shown, and who protects them goes by this. */
        for (unsigned i = 0; i < nr; i++)
                pte_set(mm, pte + i, PTE_CACHE);
        let_go(mm->cache, p, 0, nr);
        if (!error)
                trace_emit(mm->trace, SET_PTE, vmf->rq.fault, vmf->rq.object, addr, nr,
                           index << PAGE_SHIFT, 1);
}

/* Pages from `index` on whose leaf is pinned, as is the table of their PTEs. How many of them. */
static unsigned store_part(struct vm_fault *vmf, struct page *p, struct pte *pte, uint64_t index,
                           unsigned nr)
{
        unsigned done = 0;

        while (done < nr) {
                enum pte_state shown;
                unsigned want = (unsigned)min_u64(nr - done, RUN);
                unsigned got = take_run(vmf, p + done, pte + done, index + done, want, &shown);
                unsigned made =
                        got ? guess_run(vmf->vma->vm_file->mapping, p + done, index + done, got)
                            : 0;

                if (made)
                        show_run(vmf, p + done, pte + done, index + done, made, shown);
                done += made;
                if (made == 0 || made < got)
                        break;
        }
        return done;
}

static uint64_t store_range(struct vm_fault *vmf, uint64_t index, uint64_t end)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        uint64_t first = index;
        bool more = true;

        while (more && index < end) {
                struct page *p = find_page(m, index);
                struct pte *pte = p ? pte_get(vmf->mm, vma_address(vmf->vma, index), true) : NULL;
                uint64_t stop = min_u64(end, radix_leaf_end(&m->i_pages, index));
                unsigned done = 0;

                if (pte) {
                        stop = min_u64(stop, index + pte_left(pte));
                        done = store_part(vmf, p, pte, index, (unsigned)(stop - index));
                        pte_put(vmf->mm, pte);
                }
                if (p)
                        put_page(m, p);
                index += done;
                more = index == stop;
        }
        return index - first;
}

void file_vma_store_ahead(struct vm_fault *vmf)
{
        struct vma *v = vmf->vma;
        struct address_space *m = v->vm_file->mapping;
        uint64_t nr, end = vma_index(v, v->vm_end), done;

        if (!v->vm_shared || !guess_allowed(m))
                return;
        nr = pages_in_a_row(m, vmf->index, true, MOST, is_stored);
        if (nr < WORTH_A_LOOK)
                return;
        nr = min_u64(nr, filemap_map_ahead(&vmf->rq).nr);
        nr = min_u64(nr, min_u64(guess_room(m->cache), end - vmf->index - 1));
        done = store_range(vmf, vmf->index + 1, vmf->index + 1 + nr);
        if (done)
                trace_emit(vmf->mm->trace, MAP_PAGES, vmf->rq.fault, vmf->rq.object, vmf->index + 1,
                           vmf->index + 1 + done, done, 0);
}
