/* SPDX-License-Identifier: Apache-2.0
 *
 * failure.c - a page that cannot be had: what the mapping's rules make of it, and what is known of
 * it afterwards (fl_error, fl_error_clear).
 *
 *   sigbus  the page is poisoned: touching it raises SIGBUS
 *   zero    a page of zeros of the mapping's own stands in for it; what the page holds, if that is
 *           known and only a store was refused. Stores to it go nowhere. Of memory without a file
 *           only a page that was lost; one that there is no room for cannot be had this way either
 *   retry   tried again after a pause, so often and so long, and then one of the others
 *
 * What went wrong is kept where it matters, in the PTE, and is therefore exact however many pages
 * are concerned, and needs no memory. It stays until fl_error_clear(), MADV_DONTNEED or munmap. A
 * private page that could not be read from the swap area, or for which there was no room in memory,
 * keeps its slot there as long, beside the errno, and fl_error_clear() has it read again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "util/perturb.h"
#include "util/say.h"
#include "util/text.h"
#include "vm/fault.h"

/* Each takes a mapping of the kernel's own, of which a process may have about 65,000. */
#define MAX_BLANK 8192
#define PAUSE_FIRST_NS 1000000ull
#define PAUSE_MOST_NS 100000000ull

/* ---- one line on stderr, in a signal handler if need be ---- */

void say_failure(struct vm_fault *vmf, int error, const char *tried, const char *then)
{
        const char *reason = strerrordesc_np(error); /* strerror() is not for a signal handler */
        char line[512];
        struct text t = text_begin(line, sizeof(line) - 1);

        text_add(&t, "faultline: ");
        text_add(&t, vma_name(vmf->vma));
        text_add(&t, ": ");
        text_add(&t, tried);
        text_add(&t, vmf->vma->vm_file ? " at offset " : " at address ");
        text_add_number(&t, vmf->index << PAGE_SHIFT);
        text_add(&t, ": ");
        text_add(&t, reason ? reason : "unknown error");
        text_add(&t, then);
        say_line(line);
}

/* ---- retry ---- */

bool wait_before_retry(struct vm_fault *vmf)
{
        if (!vmf->retries || now_ns() >= vmf->retry_at)
                return false;
        vmf->rq.wait.kind = WAIT_RETRY;
        vmf->rq.wait.until_ns = vmf->retry_at;
        return true;
}

/* True: the fault is to run again when rq.wait is over. */
static bool try_again(struct vm_fault *vmf)
{
        const struct vma_rules *rules = &vmf->vma->vm_rules;
        uint64_t now = now_ns(), pause;

        if (!vmf->retries)
                vmf->failed_at = now;
        if (vmf->retries >= rules->retries || now - vmf->failed_at >= rules->retry_ns)
                return false;
        pause = min_u64(PAUSE_FIRST_NS << min_u64(vmf->retries, 16), PAUSE_MOST_NS);
        vmf->retries++;
        vmf->retry_at = min_u64(now + pause, vmf->failed_at + rules->retry_ns);
        /* Nothing of this try holds for the next. */
        vmf->rq.tried = false;
        return wait_before_retry(vmf);
}

bool wait_to_try_again(struct vm_fault *vmf)
{
        return vmf->vma->vm_rules.on_error == ON_ERROR_RETRY && try_again(vmf);
}

/* ---- zeros in its place ---- */

/* What the page holds, if that is known. => page locked */
static bool known_bytes(struct vm_fault *vmf, struct page *p, char *buf)
{
        struct address_space *m = vmf->vma->vm_file->mapping;

        return p && page_uptodate(p) &&
               m->frames->ops->copy_out(m->frames, vmf->index << PAGE_SHIFT, buf, PAGE_SIZE) == 0;
}

/* A private page that cannot be read from its slot, which it keeps: another takes its place. => ptl */
static bool blank_private_locked(struct vm_fault *vmf, int error)
{
        struct mm *mm = vmf->mm;
        uint64_t old = pte_value(vmf->pte);

        pte_exchange(mm, vmf->pte, failed_value(PTE_BLANK, error, old));
        if (mm->mmu->ops->copy(mm->mmu, vmf->address, mm->zeros, 1, false, NULL)) {
                pte_exchange(mm, vmf->pte, old);
                return false;
        }
        trace_fault(vmf, SET_PTE, vmf->address, 1, UINT64_MAX, 1);
        return true;
}

/* One page is charged. True: it is shown, and keeps the charge. => page locked, if there is one;
 * ptl */
static bool blank_locked(struct vm_fault *vmf, struct page *p, int error)
{
        struct mmu *mmu = vmf->mm->mmu;
        enum pte_state s = pte_state(vmf->pte);
        char buf[PAGE_SIZE];
        uint64_t old;
        bool known;

        if (value_read_error(pte_value(vmf->pte)))
                return blank_private_locked(vmf, error);
        if (s != PTE_NONE && s != PTE_CACHE) {
                mmu->ops->wake(mmu, vmf->address, 1); /* another thread's fault came first */
                return false;
        }
        known = known_bytes(vmf, p, buf);
        perturb_gap();
        /* Said before it is shown: whoever has seen it may ask. */
        old = pte_exchange(vmf->mm, vmf->pte, failed_value(PTE_BLANK, error, 0));
        if (mmu->ops->blank(mmu, vmf->address, vmf->vma->vm_prot, known ? buf : NULL)) {
                pte_exchange(vmf->mm, vmf->pte, old);
                return false;
        }
        trace_fault(vmf, SET_PTE, vmf->address, 1, UINT64_MAX, 1);
        return true;
}

/* Something that may be accessed has come to be since the try began: the thread is to look again. What was
 * there then, and could not be shown, it would find again and again. => ptl */
static bool has_come(struct vm_fault *vmf)
{
        uint64_t now = pte_value(vmf->pte);
        enum pte_state s = value_state(now);

        return now != vmf->found && s != PTE_NONE && s != PTE_CACHE && s != PTE_POISONED &&
               s != PTE_SWAPPED;
}

enum blanked {
        BLANK_SHOWN,
        BLANK_NEEDLESS,  /* the thread is to look again */
        BLANK_IMPOSSIBLE /* it gets its signal */
};

static enum blanked put_blank(struct vm_fault *vmf, int error)
{
        struct mm *mm = vmf->mm;
        struct address_space *m = vmf->vma->vm_file ? vmf->vma->vm_file->mapping : NULL;
        bool shown, come;
        struct page *p;

        /* Of memory without a file only what was lost; a page that it was to get needs room. */
        if (!m && !value_read_error(pte_value(vmf->pte)))
                return BLANK_IMPOSSIBLE;
        if (atomic_fetch_add(&mm->nr_blank, 1) >= MAX_BLANK || charge_known(mm)) {
                atomic_fetch_sub(&mm->nr_blank, 1);
                return BLANK_IMPOSSIBLE;
        }
        p = m ? grab_page(m, vmf->index) : NULL;
        if (p)
                page_lock(mm->cache, p);
        pte_lock(mm, vmf->pte);
        shown = blank_locked(vmf, p, error);
        come = has_come(vmf);
        pte_unlock(mm, vmf->pte);
        if (p) {
                page_unlock(mm->cache, p);
                put_page(m, p);
        }
        if (shown)
                return BLANK_SHOWN;
        atomic_fetch_sub(&mm->nr_blank, 1);
        uncharge_private(mm->cache, 1);
        return come ? BLANK_NEEDLESS : BLANK_IMPOSSIBLE;
}

/* ---- no memory to remember it by ---- */

void mm_note_untold(struct mm *mm, uint64_t addr)
{
        atomic_store(&mm->untold, addr);
}

static int forgive_untold(struct mm *mm, uint64_t addr, uint64_t end)
{
        struct iovec iov = { (void *)(uintptr_t)addr, end - addr };

        return addr < end ? mm->mmu->ops->unmap(mm->mmu, &iov, 1) : 0;
}

/* The kernel has poisoned pages of which there is no PTE: where nothing is known to be shown, nothing is
 * to be there. => mm->lock, write; [addr, end) is mapped */
static int clear_untold(struct mm *mm, uint64_t addr, uint64_t end)
{
        uint64_t empty = addr, stop;
        struct pte *p;
        int error = 0;

        while (!error && (p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;

                for (; !error && addr < stop; addr += PAGE_SIZE, p++) {
                        if (pte_state(p) == PTE_NONE)
                                continue;
                        error = forgive_untold(mm, empty, addr);
                        empty = addr + PAGE_SIZE;
                }
                pte_put(mm, table);
        }
        return error ? error : forgive_untold(mm, empty, end);
}

/* ---- the choice ---- */

/* Of mm->untold: it has been cleared, but others may be left. */
#define TOLD 1

static bool is_untold(struct mm *mm, uint64_t addr, uint64_t end)
{
        uint64_t at = atomic_load(&mm->untold);

        return at >= addr && at < end;
}

void mm_note_cleared(struct mm *mm, uint64_t addr, uint64_t end)
{
        uint64_t epoch = atomic_load(&mm->client.epoch);

        rwlock_assert_write_held(&mm->lock);
        mm->cleared[epoch % MM_CLEARED] = (struct mm_cleared){ addr, end };
        atomic_store(&mm->client.epoch, epoch + 1);
        if (is_untold(mm, addr, end))
                atomic_store(&mm->untold, TOLD);
}

/* Has its address been cleared since it was told of? `unknown`: what to say if that was too long ago. */
static bool was_cleared(const struct vm_fault *vmf, bool unknown)
{
        struct mm *mm = vmf->mm;
        uint64_t now = atomic_load(&mm->client.epoch), at = vmf->epoch;

        rwlock_assert_held(&mm->lock);
        if (vmf->asked)
                return false;
        if (now - at > MM_CLEARED)
                return unknown;
        for (; at != now; at++) {
                const struct mm_cleared *c = &mm->cleared[at % MM_CLEARED];

                if (vmf->address >= c->addr && vmf->address < c->end)
                        return true;
        }
        return false;
}

/* The kernel may tell of one access twice, and of what is told the second the access may be over by now
 * and its error cleared: then nobody has asked for the page since, and nothing is to be made of it. If
 * somebody does wait, he is told to look again, and comes back as a new fault. */
static bool is_of_the_past(struct vm_fault *vmf)
{
        if (!was_cleared(vmf, false))
                return false;
        vmf->mm->mmu->ops->wake(vmf->mm->mmu, vmf->address, 1);
        return true;
}

bool store_is_over(struct vm_fault *vmf)
{
        if (!was_cleared(vmf, true))
                return false;
        vmf->mm->mmu->ops->wake(vmf->mm->mmu, vmf->address, 1);
        return true;
}

enum vm_fault_result page_failed(struct vm_fault *vmf, int error, const char *tried)
{
        const struct vma_rules *rules = &vmf->vma->vm_rules;
        enum on_error then = rules->on_error;

        if (is_of_the_past(vmf))
                return VM_FAULT_NOPAGE;
        if (wait_to_try_again(vmf))
                return VM_FAULT_RETRY;
        if (then == ON_ERROR_RETRY)
                then = rules->retry_then;
        if (then == ON_ERROR_ZERO) {
                enum blanked blanked = put_blank(vmf, error);

                if (blanked == BLANK_SHOWN)
                        say_failure(vmf, error, tried,
                                    ": zeros stand in for it until fl_error_clear, and stores "
                                    "there go nowhere");
                if (blanked != BLANK_IMPOSSIBLE)
                        return VM_FAULT_NOPAGE;
        }
        return raise_sigbus(vmf, error, tried);
}

/* ---- what is known of it afterwards ---- */

/* The page at addr is the file's again, or nothing. */
static int map_again(struct mm *mm, struct vma *v, uint64_t addr)
{
        struct frames *f = v->vm_file ? v->vm_file->mapping->frames : NULL;
        int flags = MAP_FIXED | (v->vm_shared ? MAP_SHARED : MAP_PRIVATE);
        struct iovec iov = { (void *)(uintptr_t)addr, PAGE_SIZE };

        return f ? mm->mmu->ops->reserve(mm->mmu, &addr, PAGE_SIZE, v->vm_prot, flags,
                                         f->ops->fd(f), vma_index(v, addr) << PAGE_SHIFT)
                 : mm->mmu->ops->unmap(mm->mmu, &iov, 1);
}

/* => mm->lock held for writing */
static int unblank(struct mm *mm, struct vma *v, uint64_t addr, struct pte *pte)
{
        int error = map_again(mm, v, addr);

        if (error)
                return error;
        pte_lock(mm, pte);
        pte_exchange(mm, pte, untried_value(pte_value(pte)));
        pte_unlock(mm, pte);
        atomic_fetch_sub(&mm->nr_blank, 1);
        uncharge_private(mm->cache, 1);
        return 0;
}

static int unpoison(struct mm *mm, uint64_t addr, struct pte *pte)
{
        struct iovec iov = { (void *)(uintptr_t)addr, PAGE_SIZE };
        int error = mm->mmu->ops->unmap(mm->mmu, &iov, 1);

        if (error)
                return error;
        pte_lock(mm, pte);
        pte_exchange(mm, pte, untried_value(pte_value(pte)));
        pte_unlock(mm, pte);
        return 0;
}

/* Calls fn for each page of [addr, end) that failed, while it returns 0. */
static int each_failed(struct mm *mm, struct vma *v, uint64_t addr, uint64_t end,
                       int (*fn)(struct mm *, struct vma *, uint64_t addr, struct pte *, void *),
                       void *arg)
{
        uint64_t stop;
        struct pte *p;
        int r = 0;

        while (!r && (p = pte_next_table(mm, &addr, end, &stop))) {
                struct pte *table = p;

                for (; !r && addr < stop; addr += PAGE_SIZE, p++)
                        if (pte_error(p))
                                r = fn(mm, v, addr, p, arg);
                pte_put(mm, table);
        }
        return r;
}

static int unblank_one(struct mm *mm, struct vma *v, uint64_t addr, struct pte *pte, void *arg)
{
        int *first = arg, error = pte_state(pte) == PTE_BLANK ? unblank(mm, v, addr, pte) : 0;

        *first = *first ? *first : error;
        return 0;
}

int mm_unblank(struct mm *mm, struct vma *v, uint64_t addr, uint64_t end)
{
        int error = 0;

        rwlock_assert_write_held(&mm->lock);
        if (!atomic_load(&mm->nr_blank))
                return 0;
        mm_note_cleared(mm, addr, end);
        each_failed(mm, v, addr, end, unblank_one, &error);
        return error;
}

static int clear_one(struct mm *mm, struct vma *v, uint64_t addr, struct pte *pte, void *arg)
{
        (void)arg;
        if (v->vm_file)
                forget_read_error(v->vm_file->mapping, vma_index(v, addr));
        return pte_state(pte) == PTE_BLANK ? unblank(mm, v, addr, pte) : unpoison(mm, addr, pte);
}

static int clear_locked(struct mm *mm, uint64_t addr, uint64_t end)
{
        while (addr < end) {
                uint64_t stop;
                struct vma *v = vma_at(mm, addr, end, &stop);
                int error;

                if (!v)
                        return -ENOMEM;
                error = each_failed(mm, v, addr, stop, clear_one, NULL);
                if (!error && atomic_load(&mm->untold))
                        error = clear_untold(mm, addr, stop);
                if (error)
                        return error;
                if (v->vm_file)
                        forget_write_error(v->vm_file->mapping, vma_index(v, addr),
                                           vma_index(v, stop));
                addr = stop;
        }
        return 0;
}

int mm_error_clear(struct mm *mm, uint64_t addr, uint64_t len)
{
        uint64_t end;
        int error = span_end(addr, len, &end);

        if (error)
                return error;
        rwlock_write_lock(&mm->lock);
        mm_note_cleared(mm, addr, end);
        error = clear_locked(mm, addr, end);
        rwlock_write_unlock(&mm->lock);
        return error;
}

static int report_one(struct mm *mm, struct vma *v, uint64_t addr, struct pte *pte, void *arg)
{
        struct failure *f = arg;

        (void)mm, (void)v;
        f->addr = addr;
        f->error = pte_error(pte);
        f->zeroed = pte_state(pte) == PTE_BLANK;
        f->writing = f->dirty = false;
        return 1;
}

/* The first in [addr, end), all of it in v. => mm->lock */
static bool find_failure(struct mm *mm, struct vma *v, uint64_t addr, uint64_t end,
                         struct failure *f)
{
        uint64_t first = vma_index(v, addr), index;
        bool found = each_failed(mm, v, addr, end, report_one, f) > 0, dirty;
        int error = v->vm_file ? find_write_error(v->vm_file->mapping, first, vma_index(v, end),
                                                  &index, &dirty)
                               : 0;

        if (error && (!found || vma_address(v, index) < f->addr)) {
                *f = (struct failure){ .addr = vma_address(v, index),
                                       .error = error,
                                       .writing = true,
                                       .dirty = dirty };
                found = true;
        }
        if (!found && is_untold(mm, addr, end)) {
                *f = (struct failure){ .addr = atomic_load(&mm->untold), .error = ENOMEM };
                found = true;
        }
        if (found) {
                f->offset = vma_index(v, f->addr) << PAGE_SHIFT;
                snprintf(f->name, sizeof(f->name), "%s", vma_name(v));
        }
        return found;
}

int mm_error(struct mm *mm, uint64_t addr, uint64_t len, struct failure *f)
{
        uint64_t end;
        int r = span_end(addr, len, &end);

        if (r)
                return r;
        /* Alone: a fault that has just shown its page is to have said so too. */
        rwlock_write_lock(&mm->lock);
        while (!r && addr < end) {
                uint64_t stop = end;
                struct vma *v = vma_at(mm, addr, end, &stop);

                r = v ? find_failure(mm, v, addr, stop, f) : -ENOMEM;
                addr = stop;
        }
        rwlock_write_unlock(&mm->lock);
        return r;
}
