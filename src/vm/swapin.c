/* SPDX-License-Identifier: Apache-2.0
 *
 * swapin.c - private pages back from the swap area: Linux's do_swap_page (L47 to L50).
 *
 * Pages around the one that is wanted come along, as the VMA's read-ahead says. They are mapped with
 * their bytes at once, so a hit leaves no fault to count: that the next fault comes right behind
 * the last window is what stands for it here.
 */
#include <errno.h>

#include "util/perturb.h"
#include "vm/fault.h"

#define MAX_WINDOW 32u
#define RA_WIN_BITS 8

/* --- read --------------------------------------------------------------------------------- */

/* => ptl. Pages placed, from addr on; *error: why not all. */
static uint64_t copy_in(struct mm *mm, uint64_t addr, const char *buf, uint64_t nr, bool wp,
                        int *result)
{
        uint64_t done = 0, n;
        int error = 0;

        while (done < nr && !error) {
                uint64_t at = addr + (done << PAGE_SHIFT);
                struct iovec iov = { (void *)(uintptr_t)at, PAGE_SIZE };

                error = mm->mmu->ops->copy(mm->mmu, at, buf + (done << PAGE_SHIFT), nr - done, wp,
                                           &n);
                done += n;
                iov.iov_base = (void *)(uintptr_t)(addr + (done << PAGE_SHIFT));
                /* What is not known of should not be there. */
                if (error == -EEXIST && mm->mmu->ops->unmap(mm->mmu, &iov, 1) == 0)
                        error = 0;
        }
        *result = error;
        return done;
}

/* Of a page that could not be had along with others nothing is said, since it is tried alone; of one
 * alone it is noted why, and the fault that waits for it follows its mapping's rules. */
static uint64_t note_error(const struct swap_io *io, int error)
{
        return io->t.nr == 1 && io->wanted ? (uint64_t)-error << PTE_ERROR_SHIFT : 0;
}

/* The bytes of pages [first, end) of the row into their places, protected or not. Those that could
 * not be placed (the mapping has changed, the kernel has no memory) wait in their slots as before.
 * How many were. => ptl */
static unsigned place_run(struct swap_io *io, struct pte *p, unsigned first, unsigned end,
                          bool keep)
{
        struct mm *mm = io->mm;
        uint64_t addr = io->address + ((uint64_t)first << PAGE_SHIFT);
        const char *buf = io->t.buf + ((size_t)first << PAGE_SHIFT);
        int error;
        uint64_t done = copy_in(mm, addr, buf, end - first, keep, &error);

        for (unsigned i = first; i < end; i++) {
                if (i - first >= done) {
                        uint64_t why = error == -ENOENT ? 0 : note_error(io, error);

                        pte_exchange(mm, p + i, make_value(PTE_SWAPPED, io->t.slot + i) | why);
                        continue;
                }
                pte_exchange(mm, p + i, make_value(PTE_COPY, keep ? io->t.slot + i : 0));
                if (!keep)
                        swap_put(io->t.area, io->t.slot + i, 1);
        }
        if (done)
                trace_emit(mm->trace, SET_PTE, io->t.fault, 0, addr, done, UINT64_MAX, !keep);
        return (unsigned)done;
}

static bool is_wanted(const struct swap_io *io, unsigned i)
{
        return io->wanted == io->address + ((uint64_t)i << PAGE_SHIFT);
}

static bool is_stored(const struct swap_io *io, unsigned i)
{
        return io->all_stored || (io->write && is_wanted(io, i));
}

static bool still_ours(const struct swap_io *io, const struct pte *p, unsigned i)
{
        return pte_value(p + i) == make_value(PTE_SWAPIN, io->t.slot + i);
}

/* The page of the file that is below page i, locked, and not being read or taken away: its frame stays as
 * it is. NULL: not now, or (*error) no memory for it. => ptl, so it waits for nobody */
static struct page *hold_file_page(struct swap_io *io, unsigned i, int *error)
{
        struct page *p = grab_page(io->file, io->file_index + i);

        *error = p ? 0 : -ENOMEM;
        if (p && page_trylock(p)) {
                if (!page_busy_reading(page_word(p) & ~PG_LOCKED))
                        return p;
                page_unlock(io->mm->cache, p);
        }
        if (p)
                put_page(io->file, p);
        return NULL;
}

/* As place_run(), where the MMU makes pages by way of the file's. => ptl */
static unsigned place_run_in_file(struct swap_io *io, struct pte *p, unsigned first, unsigned end,
                                  bool keep)
{
        unsigned placed = 0;

        for (unsigned i = first; i < end; i++) {
                int error;
                struct page *below = hold_file_page(io, i, &error);

                if (!below) {
                        pte_exchange(io->mm, p + i,
                                     make_value(PTE_SWAPPED, io->t.slot + i) |
                                             note_error(io, error));
                        continue;
                }
                placed += place_run(io, p, i, i + 1, keep);
                page_unlock(io->mm->cache, below);
                put_page(io->file, below);
        }
        return placed;
}

/* => ptl */
static unsigned place_row(struct swap_io *io, struct pte *p)
{
        bool keep = !swap_is_full(io->t.area);
        unsigned placed = 0, i = 0, first;

        while (i < io->t.nr) {
                /* A store's page is to be stored to: no slot is kept for it. */
                bool store = is_stored(io, i);

                for (first = i; i < io->t.nr && still_ours(io, p, i); i++)
                        if (is_stored(io, i) != store)
                                break;
                if (i > first)
                        placed += (io->file ? place_run_in_file : place_run)(io, p, first, i,
                                                                             keep && !store);
                else
                        i++;
        }
        return placed;
}

/* It could not be read. => ptl */
static void fail_row(struct swap_io *io, struct pte *p)
{
        for (unsigned i = 0; i < io->t.nr; i++)
                if (still_ours(io, p, i))
                        pte_exchange(io->mm, p + i,
                                     make_value(PTE_SWAPPED, io->t.slot + i) |
                                             note_error(io, io->t.error));
}

static void in_end(struct swap_transfer *t)
{
        struct swap_io *io = container_of(t, struct swap_io, t);
        struct mm *mm = io->mm;
        struct page_cache *c = mm->cache;
        struct pte *p = pte_get(mm, io->address, false);
        uint64_t address = io->address;
        unsigned placed = 0;
        uint32_t nr = t->nr;

        perturb_gap();
        if (p) {
                pte_lock(mm, p);
                if (t->error)
                        fail_row(io, p);
                else
                        placed = place_row(io, p);
                pte_unlock(mm, p);
                pte_put(mm, p);
        }
        swap_put(t->area, t->slot, nr);
        stat_add(&mm->trace->stats, STAT_swap_ins, placed);
        if (placed < nr)
                uncharge_private(c, nr - placed);
        swap_io_put(io, false);
        for (uint32_t i = 0; i < nr && waitq_busy(&mm->swap.wq); i++)
                waitq_wake(&mm->swap.wq,
                           (void *)(uintptr_t)(address + ((uint64_t)i << PAGE_SHIFT)));
        if (waitq_busy(&c->budget.wq))
                reclaim_kick(c); /* these can go now, should somebody wait for room */
        atomic_fetch_sub(&c->nr_swapping_in, nr); /* the last: mm_drain() waits for it */
}

/* --- the window --------------------------------------------------------------------------- */

static uint64_t pow2_up(uint64_t n)
{
        uint64_t p = 1;

        while (p < n)
                p *= 2;
        return p;
}

/* L48: how many pages, *forward or backward of this one or around it. */
static uint64_t window_size(struct vm_fault *vmf, int *direction)
{
        uint64_t max = min_u64(vmf->mm->cache->policy->swap_window, MAX_WINDOW);
        uint64_t old = atomic_load(&vmf->vma->vm_swap_ra);
        uint64_t prev = old >> RA_WIN_BITS, prev_win = old & ((1 << RA_WIN_BITS) - 1);
        uint64_t page = vmf->address >> PAGE_SHIFT, win = 1;
        bool behind = old && page == prev + prev_win, before = old && page + prev_win == prev;

        *direction = behind ? 1 : before ? -1 : 0;
        if (behind || before)
                win = prev_win == 1 ? 2 : pow2_up(max_u64(4, prev_win + 2));
        win = min_u64(max_u64(win, prev_win / 2), max);
        return vmf->vma->vm_advice == ADVICE_RANDOM ? 1 : win;
}

/* L49: [*first, *end), within the VMA and the page table. Returns the direction. */
static int window_place(struct vm_fault *vmf, uint64_t *first, uint64_t *end)
{
        uint64_t page = vmf->address >> PAGE_SHIFT, back, low, high;
        int direction;
        uint64_t win = vmf->rq.tried ? 1 : window_size(vmf, &direction);

        if (vmf->rq.tried)
                direction = 0; /* it alone: it may be the one that cannot be read */
        back = direction > 0 ? 0 : direction < 0 ? win - 1 : (win - 1) / 2;
        low = max_u64(vmf->vma->vm_start >> PAGE_SHIFT, round_down_u64(page, 512));
        high = min_u64(vmf->vma->vm_end >> PAGE_SHIFT, round_down_u64(page, 512) + 512);
        *first = page - low < back ? low : page - back;
        *end = min_u64(*first + win, high);
        return direction;
}

/* --- the fault ---------------------------------------------------------------------------- */

struct swapin {
        struct vm_fault *vmf;
        uint64_t first, end; /* the window, pages */
        bool all_stored;     /* stores come in order: those pages will be next */
        char *buf;           /* staging memory and charge for `left` pages */
        uint64_t left;
        struct swap_io *ios[MAX_WINDOW];
        unsigned nr_ios;
};

static struct pte *pte_at(const struct swapin *in, uint64_t page)
{
        return in->vmf->pte + ((int64_t)page - (int64_t)(in->vmf->address >> PAGE_SHIFT));
}

/* The row of pages and slots that begins with `page`; *nr pages of it, at most. => ptl */
static void begin_row(struct swapin *in, uint64_t page, uint64_t nr, bool wanted)
{
        struct vm_fault *vmf = in->vmf;
        struct mm *mm = vmf->mm;
        struct swap_io *io = swap_io_get(mm);

        io->address = page << PAGE_SHIFT;
        io->t.slot = value_slot(pte_value(pte_at(in, page)));
        io->t.nr = (uint32_t)nr;
        io->t.buf = in->buf;
        io->t.fault = vmf->rq.fault;
        io->t.end = in_end;
        io->wanted = wanted ? vmf->address : 0;
        io->write = wanted && vmf->write;
        io->all_stored = in->all_stored;
        io->file = NULL;
        if (vmf->vma->vm_file && mm->mmu->ops->copies_by_file) {
                io->file = vmf->vma->vm_file->mapping;
                io->file_index = vma_index(vmf->vma, io->address);
        }
        swap_get(mm->swap.area, io->t.slot, io->t.nr);
        for (uint64_t i = 0; i < nr; i++)
                pte_exchange(mm, pte_at(in, page + i),
                             make_value(PTE_SWAPIN, io->t.slot + (uint32_t)i));
        in->buf += nr << PAGE_SHIFT;
        in->left -= nr;
        in->ios[in->nr_ios++] = io;
}

/* Pages from `page` on that are in slots in a row. => ptl */
static uint64_t row_length(const struct swapin *in, uint64_t page, uint64_t max)
{
        uint64_t n = 0, v = pte_value(pte_at(in, page));

        while (n < max && page + n < in->end &&
               pte_value(pte_at(in, page + n)) ==
                       make_value(PTE_SWAPPED, value_slot(v) + (uint32_t)n))
                n++;
        return n;
}

/* The wanted page first, with those that lie behind it; then the others, as far as charge and memory
 * go. => ptl; the wanted page is SWAPPED */
static void begin_window(struct swapin *in)
{
        uint64_t page = in->vmf->address >> PAGE_SHIFT;

        begin_row(in, page, row_length(in, page, in->left), true);
        for (uint64_t at = in->first; at < in->end && in->left;) {
                uint64_t n = 0;

                if (pte_state(pte_at(in, at)) == PTE_SWAPPED)
                        n = row_length(in, at, in->left);
                if (n)
                        begin_row(in, at, n, false);
                at += n ? n : 1;
        }
}

/* Staging memory and charge for the window, or at least for the page. 0 or -errno */
static int prepare(struct swapin *in)
{
        struct page_cache *c = in->vmf->mm->cache;
        unsigned nr = (unsigned)(in->end - in->first);
        int error = charge_known(in->vmf->mm);
        uint64_t more;

        if (error)
                return error;
        in->buf = staging_get(&c->staging, &nr, false);
        if (!in->buf) {
                uncharge_private(c, 1);
                return -EBUSY;
        }
        more = nr > 1 && budget_free(c) > atomic_load(&c->budget.low) / 2 + nr &&
                               budget_try_charge(c, nr - 1)
                       ? nr - 1
                       : 0;
        atomic_fetch_add(&c->budget.private_pages, (int64_t)more);
        in->left = 1 + more;
        if (in->left < nr)
                staging_put(&c->staging, in->buf + (in->left << PAGE_SHIFT),
                            nr - (unsigned)in->left, false);
        return 0;
}

/* What is on its way now: a fault that had to wait for it has not moved on. Where the window became
 * shorter, the next fault comes that much earlier. */
static void note_window(struct swapin *in, int direction)
{
        uint64_t page = in->vmf->address >> PAGE_SHIFT, nr = in->end - in->first;

        if (direction > 0)
                nr = min_u64(nr, in->left);
        atomic_store(&in->vmf->vma->vm_swap_ra,
                     (direction < 0 ? in->first : page) << RA_WIN_BITS | nr);
}

static void give_back(struct swapin *in)
{
        struct page_cache *c = in->vmf->mm->cache;

        if (!in->left)
                return;
        staging_put(&c->staging, in->buf, (unsigned)in->left, false);
        uncharge_private(c, (int64_t)in->left);
}

static bool still_coming(const struct wait_on *on)
{
        struct mm *mm = on->arg;
        struct pte *p = pte_get(mm, (uint64_t)(uintptr_t)on->key, false);
        bool yes = p && pte_state(p) == PTE_SWAPIN;

        if (p)
                pte_put(mm, p);
        return yes;
}

static enum vm_fault_result wait_for_page(struct vm_fault *vmf)
{
        vmf->rq.wait = (struct wait_on){
                .kind = WAIT_SWAP,
                .q = &vmf->mm->swap.wq,
                .key = (void *)(uintptr_t)vmf->address,
                .blocked = still_coming,
                .arg = vmf->mm,
        };
        return VM_FAULT_RETRY;
}

/* One row of what is in slots from *addr on, up to n pages of it. *addr goes behind it. 1: go on, 0: there
 * is no room, -EBUSY: no memory to read with now. => mm->lock; p is the entry of *addr */
static int read_row(struct mm *mm, struct pte *p, uint64_t *addr, uint64_t n, struct blk_plug *plug)
{
        struct vma *v = find_vma(mm, *addr); /* it has a page in a slot, so there is one */
        struct vm_fault vmf = {
                .mm = mm, .vma = v, .address = *addr, .pte = p, .rq = { .plug = plug }
        };
        struct swapin in = { .vmf = &vmf, .first = *addr >> PAGE_SHIFT };
        int error;

        n = min_u64(n, (v->vm_end - *addr) >> PAGE_SHIFT);
        in.end = in.first + n;
        in.end = in.first + row_length(&in, in.first, n);
        if (in.end == in.first) { /* it could not be read: whoever touches it tries again */
                *addr += PAGE_SIZE;
                return 1;
        }
        if (budget_free(mm->cache) <= atomic_load(&mm->cache->budget.low))
                return 0; /* it would take the place of what is in use */
        error = prepare(&in);
        if (error)
                return error == -EBUSY ? -EBUSY : 0;
        perturb_gap();
        pte_lock(mm, p);
        n = pte_state(p) == PTE_SWAPPED ? row_length(&in, in.first, in.left) : 0;
        if (n)
                begin_row(&in, in.first, n, false);
        pte_unlock(mm, p);
        give_back(&in);
        if (n) {
                atomic_fetch_add(&mm->cache->nr_swapping_in, in.ios[0]->t.nr);
                swap_submit(&in.ios[0]->t, IO_READ | REQ_RAHEAD, plug);
        }
        *addr += (n ? n : 1) << PAGE_SHIFT;
        return 1;
}

/* The next row at or behind *addr, likewise; 0: there is none either. */
static int read_next(struct mm *mm, uint64_t *addr, uint64_t end, struct blk_plug *plug)
{
        uint64_t stop;
        struct pte *p = pte_next_table(mm, addr, end, &stop), *table = p;
        int r = 1;

        if (!p)
                return 0;
        for (; *addr < stop && pte_state(p) != PTE_SWAPPED; p++)
                *addr += PAGE_SIZE;
        if (*addr < stop)
                r = read_row(mm, p, addr, min_u64((stop - *addr) >> PAGE_SHIFT, MAX_WINDOW), plug);
        pte_put(mm, table);
        return r;
}

void swap_willneed(struct mm *mm, uint64_t addr, uint64_t end)
{
        struct blk_plug plug;
        int r = 1;

        if (!mm->swap.area)
                return;
        blk_start_plug(&plug);
        while (r && addr < end) {
                struct wait_on on = { .kind = WAIT_STAGING };
                unsigned held = hold_begin(mm->cache);

                rwlock_read_lock(&mm->lock);
                r = read_next(mm, &addr, end, &plug);
                rwlock_read_unlock(&mm->lock);
                hold_end(mm->cache, held);
                if (r != -EBUSY)
                        continue;
                blk_finish_plug(&plug);
                wait_on(mm->cache, &on);
                blk_start_plug(&plug);
        }
        blk_finish_plug(&plug);
}

/* Where the MMU makes the page by way of its file's, and that is being read, it cannot be placed before
 * (hold_file_page): True: rq.wait. */
static bool wait_for_file_page(struct vm_fault *vmf)
{
        struct file *f = vmf->vma->vm_file;
        struct page *p;

        if (!f || !vmf->mm->mmu->ops->copies_by_file)
                return false;
        p = find_page(f->mapping, vmf->index);
        if (!p)
                return false;
        if (!page_busy_reading(page_word(p))) {
                put_page(f->mapping, p);
                return false;
        }
        wait_on_page(&vmf->rq.wait, f->mapping, p, false);
        return true;
}

/* The page is in the swap area, or on its way from there. */
enum vm_fault_result do_swap_page(struct vm_fault *vmf)
{
        struct swapin in = { .vmf = vmf };
        struct mm *mm = vmf->mm;
        enum pte_state s;
        uint64_t v;
        int error, direction;

        trace_fault(vmf, DO_FAULT, 4, vmf->index, 0, 0);
        vmf->swapped = true;
        if (!vmf->rq.major) {
                vmf->rq.major = true;
                trace_fault(vmf, MAJOR, vmf->index, 0, 0, 0);
        }
        v = pte_value(vmf->pte);
        if (value_state(v) == PTE_SWAPIN)
                return wait_for_page(vmf);
        if (value_read_error(v) && vmf->rq.tried)
                return page_failed(vmf, value_read_error(v), "reading a private page back");
        if (wait_for_file_page(vmf))
                return VM_FAULT_RETRY;
        direction = window_place(vmf, &in.first, &in.end);
        in.all_stored = direction && vmf->write;
        error = prepare(&in);
        if (error == -EBUSY) {
                vmf->rq.wait.kind = WAIT_STAGING;
                vmf->rq.wait.write = false;
                return VM_FAULT_RETRY;
        }
        if (error)
                return wait_for_private(vmf, error, "reading a private page back");
        if (!vmf->rq.tried)
                note_window(&in, direction);
        perturb_gap();
        pte_lock(mm, vmf->pte);
        v = pte_value(vmf->pte);
        s = value_state(v);
        if (s == PTE_SWAPPED) {
                if (value_read_error(v)) /* once more */
                        pte_exchange(mm, vmf->pte, make_value(s, value_slot(v)));
                begin_window(&in);
        }
        pte_unlock(mm, vmf->pte);
        give_back(&in);
        for (unsigned i = 0; i < in.nr_ios; i++) {
                atomic_fetch_add(&mm->cache->nr_swapping_in, in.ios[i]->t.nr);
                swap_submit(&in.ios[i]->t, IO_READ | (i ? REQ_RAHEAD : REQ_SYNC), vmf->rq.plug);
        }
        if (in.nr_ios || s == PTE_SWAPIN)
                return wait_for_page(vmf);
        mm->mmu->ops->wake(mm->mmu, vmf->address, 1); /* somebody else has brought it */
        return VM_FAULT_DONE;
}
