/* SPDX-License-Identifier: Apache-2.0
 *
 * swapout.c - private pages to the swap area: a clock hand goes over the page table in the order of
 * its addresses, and takes rows, which are written to rows of slots.
 *
 * A row is write-protected first, and copied after, so that no store is missed; the copy is made
 * without a lock, since it may itself fault. What has been written is unmapped if it is still as it
 * was left. There are no accessed bits: a page that was stored to on its way out is spared when the
 * hand comes round the next time.
 */
#include <errno.h>
#include <string.h>

#include "util/perturb.h"
#include "vm/fault.h"

#define ROW_MAX 32u /* Linux's SWAP_CLUSTER_MAX */

/* --- written ------------------------------------------------------------------------------ */

/* Which of nr pages from addr on have been unmapped, bit by bit. What the program has locked in
 * memory by itself, or unmapped, the kernel refuses, and may have unmapped what is before it:
 * then each by itself. => ptl */
static uint32_t unmap_pages(struct mm *mm, uint64_t addr, uint32_t nr)
{
        struct iovec iov = { (void *)(uintptr_t)addr, (size_t)nr << PAGE_SHIFT };
        uint32_t gone = 0;

        if (mm->mmu->ops->unmap(mm->mmu, &iov, 1) == 0)
                return UINT32_MAX >> (ROW_MAX - nr);
        for (uint32_t i = 0; i < nr; i++) {
                iov = (struct iovec){ (void *)(uintptr_t)(addr + ((uint64_t)i << PAGE_SHIFT)),
                                      PAGE_SIZE };
                if (mm->mmu->ops->unmap(mm->mmu, &iov, 1) == 0)
                        gone |= 1u << i;
        }
        return gone;
}

/* Pages [first, end) of the row are still as they were left: they go. How many went. => ptl */
static unsigned unmap_row(struct swap_io *io, struct pte *p, unsigned first, unsigned end)
{
        struct mm *mm = io->mm;
        uint64_t addr = io->address + ((uint64_t)first << PAGE_SHIFT);
        uint32_t gone = unmap_pages(mm, addr, end - first);

        for (unsigned i = first; i < end; i++, addr += PAGE_SIZE) {
                if (gone >> (i - first) & 1) {
                        pte_exchange(mm, p + i, make_value(PTE_SWAPPED, io->t.slot + i));
                } else {
                        pte_exchange(mm, p + i, PTE_COPY);
                        swap_put(mm->swap.area, io->t.slot + i, 1);
                        mm->mmu->ops->unprotect(mm->mmu, addr, 1);
                }
        }
        return (unsigned)__builtin_popcount(gone);
}

/* Not written: pages from `first` on that are still as they were left stay. => ptl */
static void keep_row(struct swap_io *io, struct pte *p, unsigned first)
{
        struct mm *mm = io->mm;

        for (unsigned i = first; i < io->t.nr; i++) {
                if (pte_value(p + i) != make_value(PTE_SWAPPING, io->t.slot + i))
                        continue;
                pte_exchange(mm, p + i, PTE_COPY);
                swap_put(mm->swap.area, io->t.slot + i, 1);
                mm->mmu->ops->unprotect(mm->mmu, io->address + ((uint64_t)i << PAGE_SHIFT), 1);
        }
}

/* => ptl */
static unsigned end_row(struct swap_io *io, struct pte *p)
{
        unsigned gone = 0, i = 0, first;

        if (io->t.error) {
                keep_row(io, p, 0);
                return 0;
        }
        while (i < io->t.nr) {
                for (first = i; i < io->t.nr; i++)
                        if (pte_value(p + i) != make_value(PTE_SWAPPING, io->t.slot + i))
                                break;
                if (i > first)
                        gone += unmap_row(io, p, first, i);
                else
                        i++;
        }
        return gone;
}

/* One row of the request is done with, or the last look at its range. NULL is fine. */
static void end_request(struct swap_request *rq, unsigned gone)
{
        if (!rq)
                return;
        atomic_fetch_add(&rq->gone, gone);
        /* It may be gone as soon as the word is zero: futex_wake takes only its address. */
        if (atomic_fetch_sub(&rq->pending, 1) == 1)
                futex_wake(&rq->pending, 1);
}

static void out_end(struct swap_transfer *t)
{
        struct swap_io *io = container_of(t, struct swap_io, t);
        struct mm *mm = io->mm;
        struct page_cache *c = mm->cache;
        struct pte *p = pte_get(mm, io->address, false);
        uint32_t nr = t->nr;
        unsigned gone = 0;
        bool kick;

        if (p) {
                pte_lock(mm, p);
                gone = end_row(io, p);
                pte_unlock(mm, p);
                pte_put(mm, p);
        }
        swap_put(t->area, t->slot, nr);
        if (gone) {
                stat_add(&mm->trace->stats, STAT_swap_outs, gone);
                uncharge_private(c, gone);
        }
        kick = io->request || budget_free(c) < atomic_load(&c->budget.high) ||
               atomic_load(&t->area->broken);
        end_request(io->request, gone);
        swap_io_put(io, true);
        if (kick)
                reclaim_kick(c);
        if (t->area->broken)
                waitq_wake(&c->budget.wq, NULL);
        atomic_fetch_sub(&c->nr_swapping_out, nr); /* the last: mm_drain() waits for it */
}

/* --- the copy ----------------------------------------------------------------------------- */

/* The addresses cannot become somebody else's while `copying` is set. Pages copied. */
static uint32_t copy_row(struct swap_io *io)
{
        struct mm *mm = io->mm;
        struct mm_swap *s = &mm->swap;
        uint32_t got = (uint32_t)mm->mmu->ops->read(mm->mmu, io->address, io->t.nr, io->t.buf);

        perturb_gap();
        atomic_store(&s->copying, 0);
        futex_wake(&s->copying, 1);
        return got;
}

/* A page was not there: the fault that we took for it has been answered with poison, so that we did
 * not wait for ourselves. It is not there now either. */
static void forget_faulted(struct mm *mm)
{
        uint64_t addr = atomic_exchange(&mm->swap.faulted, 0);
        struct iovec iov = { (void *)(uintptr_t)addr, PAGE_SIZE };
        int64_t charged = 0;
        struct pte *p;

        if (!addr)
                return;
        rwlock_read_lock(&mm->lock);
        p = pte_get(mm, addr, false);
        if (p) {
                pte_lock(mm, p);
                mm->mmu->ops->unmap(mm->mmu, &iov, 1);
                if (pte_state(p) == PTE_SWAPPING || pte_state(p) == PTE_COPY)
                        charged = private_gone(mm, pte_exchange(mm, p, PTE_NONE));
                mm->mmu->ops->wake(mm->mmu, addr, 1);
                pte_unlock(mm, p);
                pte_put(mm, p);
        }
        rwlock_read_unlock(&mm->lock);
        if (charged)
                uncharge_private(mm->cache, charged);
}

enum vm_fault_result swap_fault_of_copier(struct vm_fault *vmf)
{
        struct mmu *mmu = vmf->mm->mmu;

        if (mmu->ops->poison(mmu, vmf->address, 1) == 0)
                atomic_store(&vmf->mm->swap.faulted, vmf->address);
        mmu->ops->wake(mmu, vmf->address, 1);
        return VM_FAULT_SIGBUS;
}

/* What could be copied is written; the rest stays. */
static void write_row(struct swap_io *io, struct blk_plug *plug)
{
        struct mm *mm = io->mm;
        struct page_cache *c = mm->cache;
        uint32_t got = copy_row(io), nr = io->t.nr;

        forget_faulted(mm);
        if (got < nr) {
                struct pte *p = pte_get(mm, io->address, false);

                if (p) {
                        pte_lock(mm, p);
                        keep_row(io, p, got);
                        pte_unlock(mm, p);
                        pte_put(mm, p);
                }
                swap_put(mm->swap.area, io->t.slot + got, nr - got);
                if (got == 0) {
                        end_request(io->request, 0);
                        swap_io_put(io, true);
                        atomic_fetch_sub(&c->nr_swapping_out, nr);
                        return;
                }
                staging_put(&c->staging, io->t.buf + ((size_t)got << PAGE_SHIFT), nr - got, true);
                atomic_fetch_sub(&c->nr_swapping_out, nr - got);
                io->t.nr = got;
        }
        io->t.end = out_end;
        swap_submit(&io->t, IO_WRITE | (waitq_busy(&c->budget.wq) ? REQ_SYNC : 0), plug);
}

/* --- the hand ----------------------------------------------------------------------------- */

/* A row that may go, from p on. */
struct row {
        struct pte *p;
        uint64_t address;
        uint32_t nr;
        bool clean; /* all have slots with the same bytes */
};

static bool is_clean(uint64_t value)
{
        return value_slot(value) != 0;
}

/* Entries from p on, at most max, that are in memory and alike. => ptl */
static uint32_t row_length(const struct pte *p, uint32_t max, bool clean)
{
        uint32_t n = 0;

        for (; n < max; n++) {
                uint64_t v = pte_value(p + n);

                if (value_state(v) != PTE_COPY || is_clean(v) != clean || (v & PTE_REF))
                        break;
        }
        return n;
}

/* They have their slots, and cannot have been stored to: they go at once. => ptl, mm->lock */
static uint32_t drop_row(struct mm *mm, const struct row *r)
{
        uint32_t gone = unmap_pages(mm, r->address, r->nr);

        for (uint32_t i = 0; i < r->nr; i++)
                if (gone >> i & 1)
                        pte_exchange(mm, r->p + i,
                                     make_value(PTE_SWAPPED, value_slot(pte_value(r->p + i))));
        return (uint32_t)__builtin_popcount(gone);
}

/* Protect the row, and make it the I/O's, which counts on the slots from now on as its pages do. False:
 * it could not be; the slots are counted on once, as before. => ptl, mm->lock */
static bool begin_row(struct swap_io *io, const struct row *r)
{
        struct mm *mm = io->mm;

        io->address = r->address;
        io->t.fault = 0;
        swap_get(mm->swap.area, io->t.slot, io->t.nr);
        for (uint32_t i = 0; i < io->t.nr; i++)
                pte_exchange(mm, r->p + i, make_value(PTE_SWAPPING, io->t.slot + i));
        perturb_gap();
        if (mm->mmu->ops->write_protect(mm->mmu, io->address, io->t.nr) == 0)
                return true;
        keep_row(io, r->p, 0);
        return false;
}

/* Staging memory and slots for the row; *nr becomes for how many. NULL: there are none now. */
static struct swap_io *prepare_row(struct mm *mm, uint32_t *nr)
{
        struct page_cache *c = mm->cache;
        unsigned pages = *nr;
        char *buf = staging_get(&c->staging, &pages, true);
        struct swap_io *io;
        uint32_t slot;

        if (!buf)
                return NULL;
        *nr = pages;
        slot = swap_alloc(mm->swap.area, nr);
        if (*nr < pages)
                staging_put(&c->staging, buf + ((size_t)*nr << PAGE_SHIFT), pages - *nr, true);
        if (!slot)
                return NULL;
        io = swap_io_get(mm);
        io->t.slot = slot;
        io->t.nr = *nr;
        io->t.buf = buf;
        return io;
}

/* Entries of the row that can go as they are: where a copy is only promised, and not made yet by the
 * store that is to come, the cache's page may be shown, or nothing. This has to be known before the
 * row is protected: a protected nothing looks like a page. => ptl */
static uint32_t own_length(struct mm *mm, const struct row *r, uint32_t max)
{
        uint32_t n = row_length(r->p, max, false);

        return n && mm->mmu->ops->own ? (uint32_t)mm->mmu->ops->own(mm->mmu, r->address, n) : n;
}

/* => mm->lock held for reading, which is released. Pages that are on their way now. */
static uint32_t send_row(struct mm *mm, struct row *r, struct swap_request *rq,
                         struct blk_plug *plug)
{
        struct page_cache *c = mm->cache;
        struct swap_io *io = prepare_row(mm, &r->nr);
        uint32_t had = io ? io->t.nr : 0;
        bool begun = false;

        if (io) {
                pte_lock(mm, r->p);
                r->nr = own_length(mm, r, had);
                if (r->nr) {
                        io->t.nr = r->nr;
                        begun = begin_row(io, r);
                }
                pte_unlock(mm, r->p);
                if (io->t.nr < had) {
                        swap_put(mm->swap.area, io->t.slot + io->t.nr, had - io->t.nr);
                        staging_put(&c->staging, io->t.buf + ((size_t)io->t.nr << PAGE_SHIFT),
                                    had - io->t.nr, true);
                }
        }
        if (!begun) {
                if (io) {
                        swap_put(mm->swap.area, io->t.slot, io->t.nr);
                        swap_io_put(io, true);
                }
                rwlock_read_unlock(&mm->lock);
                return 0;
        }
        io->request = rq;
        if (rq)
                atomic_fetch_add(&rq->pending, 1);
        atomic_fetch_add(&c->nr_swapping_out, io->t.nr);
        atomic_store(&mm->swap.copier, thread_id());
        atomic_store(&mm->swap.copying, 1);
        rwlock_read_unlock(&mm->lock);
        write_row(io, plug);
        return r->nr;
}

/* A stretch of addresses that rows are taken from. */
struct sweep {
        uint64_t at, end;
        bool all;                /* spare none */
        struct swap_request *rq; /* for whom; NULL: whoever needs memory */
};

/* It has been stored to on its way out. True: spared this time. */
static bool spare(struct mm *mm, struct pte *p, uint64_t v, const struct sweep *w)
{
        if (!(v & PTE_REF))
                return false;
        pte_lock(mm, p);
        if (pte_value(p) == v)
                pte_exchange(mm, p, v & ~(uint64_t)PTE_REF);
        pte_unlock(mm, p);
        return !w->all;
}

/* => mm->lock; p is the entry of w->at. The first row from there on up to `end`, in p's table; false: none.
 * w->at goes behind it. */
static bool find_row(struct mm *mm, struct pte *p, struct sweep *w, uint64_t end, uint32_t max,
                     struct row *r)
{
        for (; w->at < end; w->at += PAGE_SIZE, p++) {
                uint64_t v = pte_value(p);
                struct vma *vma;

                if (value_state(v) != PTE_COPY || spare(mm, p, v, w))
                        continue;
                vma = find_vma(mm, w->at);
                if (!vma || vma->vm_start > w->at || (vma->vm_flags & VM_LOCKED))
                        continue;
                r->p = p;
                r->address = w->at;
                r->clean = is_clean(v);
                r->nr = row_length(
                        p,
                        (uint32_t)min_u64(max, (min_u64(end, vma->vm_end) - w->at) >> PAGE_SHIFT),
                        r->clean);
                w->at += (uint64_t)r->nr << PAGE_SHIFT;
                if (r->nr)
                        return true;
        }
        return false;
}

/* Rows that have their slots. => mm->lock */
static uint32_t drop_clean(struct mm *mm, struct row *r, struct swap_request *rq)
{
        uint32_t gone;

        pte_lock(mm, r->p);
        r->nr = row_length(r->p, r->nr, true);
        gone = r->nr ? drop_row(mm, r) : 0;
        pte_unlock(mm, r->p);
        if (gone)
                uncharge_private(mm->cache, gone);
        if (rq)
                atomic_fetch_add(&rq->gone, gone);
        return gone;
}

/* On to the next row, and that row goes. Pages that went or are on their way. At its end the sweep is
 * there. */
static uint32_t step(struct mm *mm, struct sweep *w, uint32_t max, struct blk_plug *plug)
{
        struct pte *p;
        struct row r;
        uint32_t gone = 0;
        uint64_t stop;

        rwlock_read_lock(&mm->lock);
        p = pte_next_table(mm, &w->at, w->end, &stop);
        if (!p) {
                w->at = w->end;
        } else if (find_row(mm, p, w, stop, max, &r)) {
                if (!r.clean) {
                        gone = send_row(mm, &r, w->rq, plug);
                        w->at = r.address + ((uint64_t)(gone ? gone : 1) << PAGE_SHIFT);
                        pte_put(mm, p);
                        return gone;
                }
                gone = drop_clean(mm, &r, w->rq);
        }
        if (p)
                pte_put(mm, p);
        rwlock_read_unlock(&mm->lock);
        return gone;
}

/* --- what somebody has asked for ------------------------------------------------------------ */

/* The first cold range, as it is now; false: there is none. */
static bool first_cold(struct mm_swap *s, struct sweep *w)
{
        bool yes;

        mutex_lock(&s->lock);
        yes = s->nr_cold;
        *w = (struct sweep){ .at = s->cold[0].at, .end = s->cold[0].end, .all = true };
        mutex_unlock(&s->lock);
        return yes;
}

/* So far it has been looked at; it may have been pushed out meanwhile. */
static void advance_cold(struct mm_swap *s, uint64_t was, const struct sweep *w)
{
        mutex_lock(&s->lock);
        if (s->nr_cold && s->cold[0].at == was && s->cold[0].end == w->end) {
                s->cold[0].at = w->at;
                if (w->at >= w->end)
                        memmove(s->cold, s->cold + 1, --s->nr_cold * sizeof(s->cold[0]));
        }
        mutex_unlock(&s->lock);
}

void swap_cold(struct mm *mm, uint64_t addr, uint64_t end)
{
        struct mm_swap *s = &mm->swap;

        if (!s->area)
                return;
        mutex_lock(&s->lock);
        if (s->nr_cold == COLD_RANGES) /* the oldest takes its chances */
                memmove(s->cold, s->cold + 1, --s->nr_cold * sizeof(s->cold[0]));
        s->cold[s->nr_cold++] = (struct cold_range){ addr, end };
        mutex_unlock(&s->lock);
}

static struct swap_request *first_request(struct mm_swap *s)
{
        struct swap_request *rq;

        mutex_lock(&s->lock);
        rq = s->requests;
        mutex_unlock(&s->lock);
        return rq;
}

/* False: it has to wait for memory to be written with. */
static bool serve_request(struct mm *mm, struct swap_request *rq)
{
        struct sweep w = { .at = rq->at, .end = rq->end, .all = true, .rq = rq };
        struct staging *staging = &mm->cache->staging;
        struct blk_plug plug;
        bool can = true;

        blk_start_plug(&plug);
        while (w.at < w.end && (can = staging_available(staging, true)))
                step(mm, &w, ROW_MAX, &plug);
        blk_finish_plug(&plug);
        rq->at = w.at;
        return can;
}

static bool swap_serve(void *arg)
{
        struct mm *mm = arg;
        struct mm_swap *s = &mm->swap;
        struct swap_request *rq;

        while ((rq = first_request(s))) {
                if (!serve_request(mm, rq))
                        return true;
                mutex_lock(&s->lock);
                s->requests = rq->next;
                mutex_unlock(&s->lock);
                end_request(rq, 0);
        }
        return false;
}

uint64_t swap_pageout(struct mm *mm, uint64_t addr, uint64_t end)
{
        struct swap_request rq = { .at = addr, .end = end, .pending = 1 }, **last;
        struct mm_swap *s = &mm->swap;

        lock_assert_none();
        if (!s->area || addr >= end)
                return 0;
        mutex_lock(&s->lock);
        for (last = &s->requests; *last; last = &(*last)->next)
                ;
        *last = &rq;
        mutex_unlock(&s->lock);
        reclaim_kick(mm->cache);
        for (uint32_t n; (n = atomic_load(&rq.pending)) != 0;)
                futex_wait(&rq.pending, n, 0);
        return atomic_load(&rq.gone);
}

/* --- for want of memory -------------------------------------------------------------------- */

/* What is cold goes first; then the hand goes on. *laps: how often it has come round. */
static uint32_t next_row(struct mm *mm, uint32_t max, struct blk_plug *plug, unsigned *laps)
{
        struct mm_swap *s = &mm->swap;
        struct sweep w;
        uint32_t gone;

        if (first_cold(s, &w)) {
                uint64_t was = w.at;

                gone = step(mm, &w, max, plug);
                advance_cold(s, was, &w);
                return gone;
        }
        /* Our own: what a child has mapped only the child itself could take away. */
        w = (struct sweep){ .at = s->hand, .end = SPACE_SIZE };
        gone = step(mm, &w, max, plug);
        s->hand = w.at;
        if (w.at >= w.end) {
                s->hand = 0;
                ++*laps;
        }
        return gone;
}

static unsigned swap_shrink(void *arg, unsigned want)
{
        struct mm *mm = arg;
        unsigned gone = 0, laps = 0;
        struct blk_plug plug;

        blk_start_plug(&plug);
        /* The second time round those that were spared can go. */
        while (gone < want && laps < 3 && staging_available(&mm->cache->staging, true)) {
                uint32_t max = want - gone < ROW_MAX ? want - gone : ROW_MAX;

                gone += next_row(mm, max, &plug, &laps);
        }
        blk_finish_plug(&plug);
        return gone;
}

const struct private_ops swap_private_ops = {
        .shrink = swap_shrink,
        .serve = swap_serve,
};
