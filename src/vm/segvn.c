/* SPDX-License-Identifier: Apache-2.0
 *
 * segvn.c - the vm_operations of file mappings, Solaris's way: segvn_ops.
 *
 * A segment is what one mmap made: here, the VMAs in a row that show one file in a row, for advice
 * and protection of a part cut a VMA in pieces where Solaris notes them page by page (S5). A fault
 * frees what lies behind it, asks the file system for its page and what that has at hand behind it
 * (VOP_GETPAGE: off, len, plsz, rw, seg), and maps all of the answer (S6 to S10). The numbers are the
 * policy's (struct segvn_policy).
 *
 * Where Solaris's page is larger than ours, all of ours in it are mapped, and made writable, together.
 */
#include <errno.h>

#include "vm/fault.h"

/* Pieces of a segment that are looked at to either side: a segment in more pieces ends there. */
#define MOST_PIECES 256

/* Its addresses, and the pages of the file behind them. */
struct segment {
        struct vm_fault *vmf;
        uint64_t start, end;
        uint64_t first, last; /* pages of the file; last is behind */
};

static const struct segvn_policy *policy_of(const struct vm_fault *vmf)
{
        return vmf->mm->cache->policy->segvn;
}

static uint64_t unit_of(const struct vm_fault *vmf)
{
        return vmf->mm->cache->page_pages;
}

/* Are they of one segment? b is behind a. */
static bool go_together(const struct vma *a, const struct vma *b)
{
        return a->vm_end == b->vm_start && a->vm_file == b->vm_file &&
               a->vm_shared == b->vm_shared && vma_index(a, a->vm_end) == b->vm_pgoff;
}

static struct segment segment_of(struct vm_fault *vmf)
{
        struct vma *first = vmf->vma, *last = vmf->vma, *v;

        rwlock_assert_held(&vmf->mm->lock);
        for (int i = 0; i < MOST_PIECES && (v = vma_prev(first)) && go_together(v, first); i++)
                first = v;
        for (int i = 0; i < MOST_PIECES && (v = vma_next(last)) && go_together(last, v); i++)
                last = v;
        return (struct segment){
                .vmf = vmf,
                .start = first->vm_start,
                .end = last->vm_end,
                .first = first->vm_pgoff,
                .last = vma_index(last, last->vm_end),
        };
}

/* The piece that shows that page of the file. => it is in the segment */
static struct vma *piece_at(const struct segment *seg, uint64_t page)
{
        struct vma *v = seg->vmf->vma;

        if (page >= v->vm_pgoff && page < vma_index(v, v->vm_end))
                return v;
        return find_vma(seg->vmf->mm, seg->start + ((page - seg->first) << PAGE_SHIFT));
}

/* --- S13 */

static enum pte_state shown_at(struct mm *mm, uint64_t addr)
{
        struct pte *pte = pte_get(mm, addr, false);
        enum pte_state s = PTE_NONE;

        if (pte) {
                s = pte_state(pte);
                pte_put(mm, pte);
        }
        return s;
}

/* Has the address a page of its own? */
static bool is_anon(const struct segment *seg, uint64_t page)
{
        struct pte *pte;
        bool yes;

        if (seg->vmf->vma->vm_shared)
                return false;
        pte = pte_get(seg->vmf->mm, seg->start + ((page - seg->first) << PAGE_SHIFT), false);
        yes = pte && value_is_private(pte_value(pte));
        if (pte)
                pte_put(seg->vmf->mm, pte);
        return yes;
}

static bool seg_kluster(void *arg, uint64_t page)
{
        const struct segment *seg = arg;
        uint64_t from = max_u64(round_down_u64(seg->vmf->index, unit_of(seg->vmf)), seg->first);
        bool inside = page >= seg->first && page < seg->last;
        struct segvn_kluster k = {
                .off = (from - seg->first) << PAGE_SHIFT,
                .size = seg->end - seg->start,
                .delta = (int64_t)(page - from) * (int64_t)PAGE_SIZE,
                .advice = seg->vmf->vma->vm_advice,
                .to_advice = inside ? piece_at(seg, page)->vm_advice : ADVICE_NORMAL,
                .private = !seg->vmf->vma->vm_shared,
                .anon = is_anon(seg, seg->vmf->index),
                .to_anon = inside && is_anon(seg, page),
        };

        return policy_of(seg->vmf)->kluster(&k);
}

/* --- S8. Pages are numbered from the segment's first, in Solaris's size. */

static uint64_t first_of(const struct segment *seg, uint64_t number)
{
        uint64_t unit = unit_of(seg->vmf);

        return max_u64((seg->first / unit + number) * unit, seg->first);
}

static bool probe_in_memory(void *arg, uint64_t number)
{
        const struct segment *seg = arg;
        struct address_space *m = seg->vmf->vma->vm_file->mapping;
        uint64_t at = first_of(seg, number), end = first_of(seg, number + 1);
        bool yes = false;

        for (; !yes && at < end; at++) {
                struct page *p = find_page(m, at);

                if (p) {
                        yes = page_uptodate(p);
                        put_page(m, p);
                }
        }
        return yes;
}

static enum vm_advice probe_advice(void *arg, uint64_t number)
{
        const struct segment *seg = arg;

        return piece_at(seg, first_of(seg, number))->vm_advice;
}

static void free_behind(struct segment *seg)
{
        struct vm_fault *vmf = seg->vmf;
        const struct segvn_probe probe = { probe_in_memory, probe_advice, seg,
                                           &vmf->mm->cache->tune };
        uint64_t unit = unit_of(vmf), page = vmf->index / unit - seg->first / unit, first;

        if (!policy_of(vmf)->free_behind(&probe, page, &first))
                return;
        first = first_of(seg, first);
        page = first_of(seg, page);
        trace_fault(vmf, FREE_BEHIND, first << PAGE_SHIFT, (page - first) << PAGE_SHIFT, 0, 0);
        /* VOP_PUTPAGE with B_FREE|B_DONTNEED|B_ASYNC: what is clean goes now, what is dirty when it has
         * been written, what is locked in memory does not. */
        evict_range(vmf->vma->vm_file->mapping, first, page, UINT32_MAX);
        putpage_range(vmf->vma->vm_file->mapping, first, page);
}

/* --- the fault */

/* hat_probe: is the page behind the faulting one mapped? */
static bool next_is_mapped(const struct segment *seg, uint64_t next)
{
        enum pte_state s;

        if (next >= seg->last)
                return false;
        s = shown_at(seg->vmf->mm, seg->start + ((next - seg->first) << PAGE_SHIFT));
        return s == PTE_CACHE || s == PTE_COPY || s == PTE_SWAPPING || s == PTE_BLANK;
}

/* S7, S9: what is asked for, in pages. */
static void ask(const struct segment *seg)
{
        struct vm_fault *vmf = seg->vmf;
        uint64_t unit = unit_of(vmf), off = round_down_u64(vmf->index, unit);
        struct segvn_ask a = {
                .len = unit << PAGE_SHIFT,
                .left = (seg->last - off) << PAGE_SHIFT,
                .page = (uint32_t)(unit << PAGE_SHIFT),
                .rw = vmf->write ? SEG_WRITE : SEG_READ,
                .private = !vmf->vma->vm_shared,
                .next_mapped = next_is_mapped(seg, off + unit),
        };
        uint64_t plsz = policy_of(vmf)->plsz(&a);

        trace_fault(vmf, HAT_PROBE, (off + unit) << PAGE_SHIFT, a.next_mapped, plsz, 0);
        vmf->vop = (struct vop_getpage){
                .off = off,
                .len = unit,
                .plsz = pages_of(plsz),
                .rw = policy_of(vmf)->getpage_rw(&a),
                .shared = vmf->vma->vm_shared,
                .end = vmf->index + 1,
        };
}

static enum filemap_result segvn_getpage(struct vm_fault *vmf, struct segment *seg)
{
        struct vop_getpage *vop = &vmf->vop;

        vop->kluster = seg_kluster;
        vop->arg = seg;
        trace_fault(vmf, VOP_GETPAGE, vop->off << PAGE_SHIFT, vop->len << PAGE_SHIFT,
                    vop->plsz << PAGE_SHIFT, vop->rw);
        return getpage(&vmf->rq, vop);
}

static enum filemap_result segvn_fault(struct vm_fault *vmf)
{
        struct segment seg = segment_of(vmf);

        vmf->rq.vma_first = seg.first; /* what may be read ahead goes as far as the segment */
        vmf->rq.vma_end = seg.last;
        if (!vmf->rq.tried) {
                trace_fault(vmf, AS_FAULT, vmf->address, seg.start, seg.end, 0);
                trace_fault(vmf, SEGVN_FAULT, vmf->address, vmf->write, vmf->vma->vm_advice,
                            vmf->vma->vm_shared);
                free_behind(&seg);
        }
        /* What was asked for may have been another place of the file: mapped over meanwhile. */
        if (!vmf->rq.tried || vmf->index < vmf->vop.off || vmf->index >= vmf->vop.end)
                ask(&seg);
        return segvn_getpage(vmf, &seg);
}

/* S10: all pages that were returned are mapped, as far as they lie in this piece. */
static void segvn_map_more(struct vm_fault *vmf)
{
        struct vma *v = vmf->vma;
        uint64_t least = vmf->index > MAX_AROUND ? vmf->index - MAX_AROUND : 0;
        uint64_t first = max_u64(max_u64(vmf->vop.off, v->vm_pgoff), least);
        uint64_t end = min_u64(vmf->vop.end, vma_index(v, v->vm_end));

        if (first < vmf->index)
                file_vma_map_pages(vmf, first, vmf->index);
        for (uint64_t i = vmf->index + 1; i < end; i += MAX_AROUND)
                file_vma_map_pages(vmf, i, min_u64(i + MAX_AROUND, end));
}

/* A store to one of the pages that are one of Solaris's is one to all of them. Those that somebody has
 * in hand, or that would have to wait, are left to their own store. => rq.page locked */
static void dirty_neighbour(struct vm_fault *vmf, uint64_t index)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        uint64_t addr = vma_address(vmf->vma, index);
        struct filemap_request rq = vmf->rq;
        struct page *p = find_page(m, index);
        struct mmu *mmu = vmf->mm->mmu;

        if (!p)
                return;
        rq.index = index;
        rq.room = NULL;
        if (page_uptodate(p) && page_trylock(p)) {
                if (page_uptodate(p) && index < mapping_pages(m) &&
                    !filemap_page_mkwrite(&rq, p, true) && shown_at(vmf->mm, addr) == PTE_CACHE)
                        mmu->ops->unprotect(mmu, addr, 1);
                page_unlock(vmf->mm->cache, p);
                room_put(vmf->mm->cache, rq.room);
        }
        put_page(m, p);
}

static int segvn_mkwrite(struct vm_fault *vmf, struct page *page)
{
        struct vma *v = vmf->vma;
        uint64_t unit = unit_of(vmf), off = round_down_u64(vmf->index, unit);
        uint64_t end = min_u64(off + unit, vma_index(v, v->vm_end));
        int error = filemap_page_mkwrite(&vmf->rq, page, vmf->throttled);

        for (uint64_t i = max_u64(off, v->vm_pgoff); !error && i < end; i++)
                if (i != vmf->index)
                        dirty_neighbour(vmf, i);
        return error;
}

/* --- S29 */

/* The translation goes before it is forgotten: write-back protects what it knows to be shown. */
static void unload_run(struct mm *mm, struct pte *p, uint64_t addr, uint64_t nr)
{
        struct iovec iov = { (void *)(uintptr_t)addr, nr << PAGE_SHIFT };

        if (nr == 0 || mm->mmu->ops->unmap(mm->mmu, &iov, 1))
                return; /* locked in memory, say: it is still shown */
        for (uint64_t i = 0; i < nr; i++)
                pte_clear_cache(mm, p + i);
}

void segvn_unload(struct mm *mm, uint64_t addr, uint64_t end)
{
        uint64_t stop;
        struct pte *p;

        rwlock_assert_write_held(&mm->lock);
        while ((p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;
                uint64_t nr = 0;

                for (; addr < stop; addr += PAGE_SIZE, p++) {
                        if (pte_state(p) == PTE_CACHE) {
                                nr++;
                                continue;
                        }
                        unload_run(mm, p - nr, addr - (nr << PAGE_SHIFT), nr);
                        nr = 0;
                }
                unload_run(mm, p - nr, addr - (nr << PAGE_SHIFT), nr);
                pte_put(mm, table);
        }
}

const struct vm_operations segvn_ops = {
        .open = file_vma_open,
        .close = file_vma_close,
        .fault = segvn_fault,
        .map_more = segvn_map_more,
        .page_mkwrite = segvn_mkwrite,
};
