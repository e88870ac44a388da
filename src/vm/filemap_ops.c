/* SPDX-License-Identifier: Apache-2.0
 *
 * filemap_ops.c - the vm_operations of file mappings, Linux's way: file_vm_ops.
 */
#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "util/perturb.h"
#include "vm/fault.h"

void file_vma_open(struct vma *v)
{
        file_get(v->vm_file);
}

void file_vma_close(struct vma *v)
{
        if (v->vm_rules.share)
                share_update(v->vm_file->mapping);
        file_put(v->vm_file);
}

enum filemap_result file_vma_fault(struct vm_fault *vmf)
{
        return filemap_fault(&vmf->rq);
}

static int file_vma_mkwrite(struct vm_fault *vmf, struct page *page)
{
        return filemap_page_mkwrite(&vmf->rq, page, vmf->throttled);
}

/* Locked pages, contiguous, to be mapped alike. */
struct map_run {
        struct page *page[MAX_AROUND];
        struct pte *pte[MAX_AROUND];
        uint64_t first;
        unsigned nr;
        bool wp;
        bool ours; /* the faulting page has been mapped */
};

/* Map the run, and let go of its pages. Pages mapped. */
static unsigned map_run_flush(struct vm_fault *vmf, struct map_run *run)
{
        struct mm *mm = vmf->mm;
        struct address_space *m = vmf->vma->vm_file->mapping;
        uint64_t addr = vma_address(vmf->vma, run->first);
        unsigned nr = run->nr;
        bool existed = false;
        int error;

        if (nr == 0)
                return 0;
        for (unsigned i = 0; i < nr; i++) {
                page_assert_locked(run->page[i]);
                page_set(run->page[i], PG_MAPPED);
        }
        perturb_gap();
        error = mm->mmu->ops->map_run(mm->mmu, addr, nr, run->wp, &existed);
        perturb_gap();
        for (unsigned i = 0; i < nr; i++) {
                if (!error)
                        pte_set(mm, run->pte[i], PTE_CACHE);
                page_unlock(mm->cache, run->page[i]);
                put_page(m, run->page[i]);
                pte_put(mm, run->pte[i]);
        }
        run->nr = 0;
        if (error)
                return 0;
        if (vmf->index >= run->first && vmf->index < run->first + nr) {
                run->ours = true;
                if (existed) /* then the ioctl may not have woken it */
                        mm->mmu->ops->wake(mm->mmu, vmf->address, 1);
        }
        trace_emit(mm->trace, SET_PTE, vmf->rq.fault, vmf->rq.object, addr, nr,
                   run->first << PAGE_SHIFT, !run->wp && (vmf->vma->vm_prot & PROT_WRITE));
        return nr;
}

static void count_use(struct page_cache *c, struct page *p)
{
        if (page_clear(p, PG_READAHEAD))
                stat_add(&c->trace->stats, STAT_readahead_hits, 1);
}

/* Is the page one that fault-around may map (L8)? Then it is locked and pinned once more. */
static bool map_candidate(struct vm_fault *vmf, uint64_t index, struct page *p)
{
        struct address_space *m = vmf->vma->vm_file->mapping;

        if (index >= mapping_pages(m) || page_test(p, PG_MARKER) || !page_trylock(p))
                return false;
        if (!page_uptodate(p)) {
                page_unlock(vmf->mm->cache, p);
                return false;
        }
        radix_pin(&m->i_pages, p);
        return true;
}

static bool takes_miss_back(struct vm_fault *vmf, const struct page *p)
{
        return !(vmf->mm->cache->policy->refaults_stay_missed && page_test(p, PG_WORKINGSET));
}

/* L19 counts pages that could be mapped, also those that are already. */
static bool counts_as_mapped(struct vm_fault *vmf, const struct page *p)
{
        return page_uptodate(p) && !page_test(p, PG_MARKER | PG_LOCKED) && takes_miss_back(vmf, p);
}

/* Add one page, which is pinned, to the run, or leave it. Counts in *seen what L19 counts. */
static unsigned map_one(struct vm_fault *vmf, struct map_run *run, uint64_t index, struct page *p,
                        unsigned *seen)
{
        struct mm *mm = vmf->mm;
        struct pte *pte = pte_get(mm, vma_address(vmf->vma, index), true);
        bool ours = index == vmf->index;
        unsigned flushed = 0;
        enum pte_state s;
        bool wp;

        if (!pte)
                return map_run_flush(vmf, run);
        s = pte_state(pte);
        perturb();
        if ((s != PTE_NONE && !(ours && s == PTE_CACHE)) || !map_candidate(vmf, index, p)) {
                *seen += s == PTE_CACHE && counts_as_mapped(vmf, p);
                pte_put(mm, pte);
                return map_run_flush(vmf, run);
        }
        *seen += takes_miss_back(vmf, p);
        if (pte_state(pte) != s) { /* changed before the page was locked */
                page_unlock(mm->cache, p);
                put_page(vmf->vma->vm_file->mapping, p);
                pte_put(mm, pte);
                return map_run_flush(vmf, run);
        }
        if (ours) {
                trace_emit(mm->trace, FIND_GET_PAGE, vmf->rq.fault, vmf->rq.object, index, 1,
                           page_state(p), 0);
                if (!page_test(p, PG_READAHEAD)) /* else it is its first use */
                        page_set(p, PG_REFERENCED);
        }
        count_use(mm->cache, p);
        wp = wants_notify(vmf->vma, p);
        if (run->nr && wp != run->wp)
                flushed = map_run_flush(vmf, run);
        if (run->nr == 0)
                run->first = index;
        run->wp = wp;
        run->page[run->nr] = p;
        run->pte[run->nr++] = pte;
        return flushed;
}

/* filemap_map_pages: L7, L8, L19. */
bool file_vma_map_pages(struct vm_fault *vmf, uint64_t first, uint64_t end)
{
        struct page_cache *c = vmf->mm->cache;
        struct file *f = vmf->vma->vm_file;
        struct map_run run = { .nr = 0 };
        unsigned mapped = 0, seen = 0;
        uint64_t begin = first, stop;
        struct page *p;

        assert(end - first <= MAX_AROUND);
        while ((p = radix_next_part(&f->mapping->i_pages, &first, end, &stop))) {
                struct page *leaf = p;

                /* Where accesses are scattered most are not cached, and those are not even looked for
                 * in the page table. */
                for (; first < stop; first++, p++) {
                        if (!page_uptodate(p))
                                mapped += map_run_flush(vmf, &run);
                        else
                                mapped += map_one(vmf, &run, first, p, &seen);
                }
                put_page(f->mapping, leaf);
        }
        mapped += map_run_flush(vmf, &run);
        if (seen) {
                mutex_lock(&f->ra_lock);
                c->policy->mapped_around(&f->ra, seen);
                mutex_unlock(&f->ra_lock);
        }
        if (mapped)
                trace_emit(vmf->mm->trace, MAP_PAGES, vmf->rq.fault, vmf->rq.object, begin, end,
                           mapped, 0);
        return run.ours;
}

const struct vm_operations file_vm_ops = {
        .open = file_vma_open,
        .close = file_vma_close,
        .fault = file_vma_fault,
        .map_pages = file_vma_map_pages,
        .map_more = file_vma_map_ahead,
        .page_mkwrite = file_vma_mkwrite,
};
