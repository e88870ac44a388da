/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - the fault path, in the kernel's order and with the kernel's names:
 *
 *   do_page_fault -> find_vma -> access check -> handle_pte_fault
 *      anonymous memory:  do_anonymous_page
 *      pte none:  do_read_fault | do_cow_fault | do_shared_fault
 *      pte set:   do_wp_page, or nothing left to do
 *
 * Nothing here waits for I/O or holds a lock across it, allocates, or touches mapped memory.
 */
#include "vm/fault.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "util/perturb.h"

bool wants_notify(const struct vma *v, const struct page *p)
{
        if (!v->vm_shared)
                return true; /* the copy has to be charged before the kernel makes it */
        return (v->vm_maxprot & PROT_WRITE) && !page_may_write(p);
}

void release_page(struct vm_fault *vmf)
{
        struct page *p = vmf->rq.page;

        page_assert_locked(p);
        page_unlock(vmf->mm->cache, p);
        put_page(vmf->vma->vm_file->mapping, p);
        vmf->rq.page = NULL;
}

/* Where we show nothing. */
static int poison_empty(struct mmu *mmu, uint64_t addr)
{
        int error = mmu->ops->poison(mmu, addr, 1);

        if (error != -EEXIST)
                return error;
        /* Where a file is mapped the kernel remembers that the page was protected. */
        mmu->ops->unprotect(mmu, addr, 1);
        return mmu->ops->poison(mmu, addr, 1);
}

/* => page locked, if there is one, and ptl */
static void poison_locked(struct vm_fault *vmf, int error)
{
        struct mmu *mmu = vmf->mm->mmu;
        struct iovec iov = { (void *)(uintptr_t)vmf->address, PAGE_SIZE };
        enum pte_state s = pte_state(vmf->pte);
        bool shown = s == PTE_CACHE || s == PTE_ZERO;
        bool empty = shown || s == PTE_NONE || s == PTE_SWAPPED;

        /* What is shown, and is in the way of the poison, nobody can have stored to. */
        if (shown && mmu->ops->unmap(mmu, &iov, 1))
                empty = false;
        /* A private copy that is there stays; one that never came to be is poisoned too. */
        if ((empty ? poison_empty(mmu, vmf->address) : mmu->ops->poison(mmu, vmf->address, 1)) ==
            0) {
                uint64_t old = pte_value(vmf->pte);

                pte_exchange(vmf->mm, vmf->pte, failed_value(PTE_POISONED, error, old));
                if (s != PTE_SWAPPED && private_gone(vmf->mm, old))
                        uncharge_private(vmf->mm->cache, 1);
        } else {
                mmu->ops->wake(mmu, vmf->address, 1);
        }
}

/* Another thread has come first: under other rules, or with room for what is in swap. => ptl */
static bool overtaken(struct vm_fault *vmf)
{
        enum pte_state s = pte_state(vmf->pte);

        return s == PTE_BLANK || s == PTE_SWAPIN ||
               (vmf->swapped && (s == PTE_COPY || s == PTE_SWAPPING));
}

static enum vm_fault_result poison_page(struct vm_fault *vmf, int error)
{
        struct address_space *m = vmf->vma->vm_file ? vmf->vma->vm_file->mapping : NULL;
        struct page *p = m ? grab_page(m, vmf->index) : NULL;
        bool served;

        if (p)
                page_lock(vmf->mm->cache, p);
        pte_lock(vmf->mm, vmf->pte);
        served = overtaken(vmf);
        if (!served)
                poison_locked(vmf, error);
        pte_unlock(vmf->mm, vmf->pte);
        if (p) {
                page_unlock(vmf->mm->cache, p);
                put_page(m, p);
        }
        if (served) {
                vmf->mm->mmu->ops->wake(vmf->mm->mmu, vmf->address, 1);
                return VM_FAULT_DONE;
        }
        trace_fault(vmf, SIGNAL, SIGBUS, BUS_ADRERR, vmf->address, 0);
        return VM_FAULT_SIGBUS;
}

static const char *what_to_do(struct vm_fault *vmf, int error)
{
        bool swapped = value_slot(pte_value(vmf->pte));

        if (error == ENOMEM)
                return swapped ? ": SIGBUS raised; raise the cache, or unmap private pages, and "
                                 "fl_error_clear has it read again"
                               : ": SIGBUS raised; raise the cache, or unmap private pages";
        return swapped ? ": SIGBUS raised; it keeps its place in the swap area, and "
                         "fl_error_clear has it read again"
                       : ": SIGBUS raised; fl_error_clear or MADV_DONTNEED makes the page be "
                         "tried again";
}

enum vm_fault_result raise_sigbus(struct vm_fault *vmf, int error, const char *tried)
{
        vmf->error = -error;
        if (vmf->asked)
                return VM_FAULT_SIGBUS;
        if (pte_state(vmf->pte) != PTE_POISONED && !vmf->mm->quiet)
                say_failure(vmf, error, tried, what_to_do(vmf, error));
        return poison_page(vmf, error);
}

/* Being cut short, its frames are still there: the thread would come back until they have gone. And
 * perhaps they stay. */
static bool wait_for_cut(struct vm_fault *vmf)
{
        struct address_space *m = vmf->vma->vm_file->mapping;

        if (!atomic_load(&m->cutting))
                return false;
        vmf->rq.wait = (struct wait_on){ .kind = WAIT_CUT, .key = m, .mapping = m };
        return true;
}

/* What the cache said, when it was not "here is the page". */
enum vm_fault_result result_of(struct vm_fault *vmf, enum filemap_result r)
{
        switch (r) {
        case FILEMAP_RETRY:
                return VM_FAULT_RETRY;
        case FILEMAP_PAST_END:
                if (vmf->rq.error) /* the host's file has been cut short */
                        return raise_sigbus(vmf, ENXIO, "reading a page for a fault");
                /* A cut that failed gives the size back before it is over. */
                if (wait_for_cut(vmf) || vmf->index < mapping_pages(vmf->vma->vm_file->mapping))
                        return VM_FAULT_RETRY;
                if (atomic_load(&vmf->vma->vm_file->mapping->overlong))
                        return raise_sigbus(vmf, ENXIO, "looking for a page behind the end");
                vmf->error = -ENXIO;
                trace_fault(vmf, SIGNAL, SIGBUS, BUS_ADRERR, vmf->address, 0);
                return VM_FAULT_SIGBUS; /* the memfd ends here too: the kernel raises it */
        default:
                return page_failed(vmf, -vmf->rq.error, "reading a page for a fault");
        }
}

enum vm_fault_result mmu_result(struct vm_fault *vmf, int error, const char *tried)
{
        return error == -ENOMEM ? page_failed(vmf, ENOMEM, tried) : VM_FAULT_DONE;
}

static enum vm_fault_result call_fault(struct vm_fault *vmf)
{
        enum filemap_result r = vmf->vma->vm_ops->fault(vmf);

        return r == FILEMAP_PAGE ? VM_FAULT_DONE : result_of(vmf, r);
}

/* Show the locked page at the faulting address. */
static enum vm_fault_result show_page(struct vm_fault *vmf)
{
        struct mmu *mmu = vmf->mm->mmu;
        struct page *p = vmf->rq.page;
        bool wp = wants_notify(vmf->vma, p), existed;
        enum pte_state s = pte_state(vmf->pte);
        int error;

        page_assert_locked(p);
        if (s != PTE_NONE && s != PTE_CACHE) {
                /* Another thread's fault came first; the look at the pte was not locked. */
                mmu->ops->wake(mmu, vmf->address, 1);
                release_page(vmf);
                return VM_FAULT_DONE;
        }
        page_set(p, PG_MAPPED);
        page_clear(p, PG_PROBED);
        perturb_gap();
        error = mmu->ops->map_run(mmu, vmf->address, 1, wp, &existed);
        perturb_gap();
        if (error == 0 && existed) {
                if (vmf->write && !wp)
                        error = mmu->ops->unprotect(mmu, vmf->address, 1);
                else
                        mmu->ops->wake(mmu, vmf->address, 1);
        }
        if (error == 0) {
                pte_set(vmf->mm, vmf->pte, PTE_CACHE);
                trace_fault(vmf, SET_PTE, vmf->address, 1, vmf->index << PAGE_SHIFT,
                            !wp && (vmf->vma->vm_prot & PROT_WRITE));
        } else {
                /* The frame or the mapping has gone meanwhile: the thread faults again. */
                mmu->ops->wake(mmu, vmf->address, 1);
        }
        release_page(vmf);
        return mmu_result(vmf, error, "mapping a page");
}

/* The same, and before it what came with it: then the thread goes on, and is not to meet that. */
static enum vm_fault_result finish_fault(struct vm_fault *vmf)
{
        if (vmf->vma->vm_ops->map_more)
                vmf->vma->vm_ops->map_more(vmf);
        return show_page(vmf);
}

/* Then the policy says what is shown with the page, and not a rule. */
static bool maps_ahead(const struct vm_fault *vmf)
{
        return vmf->mm->cache->policy->map_ahead && vmf->vma->vm_ops->map_more;
}

static enum vm_fault_result do_read_fault(struct vm_fault *vmf)
{
        struct vma *v = vmf->vma;
        uint64_t around = vmf->mm->cache->policy->fault_around;
        enum vm_fault_result r;

        trace_fault(vmf, DO_FAULT, 0, vmf->index, 0, 0);
        if (v->vm_ops->map_pages && around > 1 && !maps_ahead(vmf)) { /* L6, L7 */
                uint64_t low = round_down_u64(vmf->address, around << PAGE_SHIFT);
                uint64_t start = max_u64(low, v->vm_start);
                uint64_t table = (start | ((1ull << 21) - 1)) + 1;
                uint64_t end = min_u64(start + (around << PAGE_SHIFT), min_u64(table, v->vm_end));

                if (v->vm_ops->map_pages(vmf, vma_index(v, start), vma_index(v, end)))
                        return VM_FAULT_DONE;
        }
        r = call_fault(vmf);
        return r == VM_FAULT_DONE ? finish_fault(vmf) : r;
}

/* The page is locked: make it dirty, or find that the store has to wait or cannot be. */
static enum vm_fault_result make_writable(struct vm_fault *vmf)
{
        int error = vmf->vma->vm_ops->page_mkwrite(vmf, vmf->rq.page);

        if (error == 0)
                return VM_FAULT_DONE;
        release_page(vmf);
        if (error == -EAGAIN) {
                vmf->throttled = true;
                return VM_FAULT_RETRY;
        }
        return page_failed(vmf, -error, "making a page writable");
}

static enum vm_fault_result do_shared_fault(struct vm_fault *vmf)
{
        enum vm_fault_result r;

        trace_fault(vmf, DO_FAULT, 2, vmf->index, 0, 0);
        r = call_fault(vmf);
        if (r == VM_FAULT_DONE)
                r = make_writable(vmf);
        return r == VM_FAULT_DONE ? finish_fault(vmf) : r;
}

/* A store to a shared page that is shown write-protected. */
static enum vm_fault_result do_wp_page_shared(struct vm_fault *vmf)
{
        struct address_space *m = vmf->vma->vm_file->mapping;
        struct mmu *mmu = vmf->mm->mmu;
        struct page *p = find_page(m, vmf->index);
        enum vm_fault_result r;
        int error;

        if (!p)
                return do_shared_fault(vmf); /* evicted since */
        page_lock(vmf->mm->cache, p);
        if (!page_uptodate(p)) {
                page_unlock(vmf->mm->cache, p);
                put_page(m, p);
                return do_shared_fault(vmf);
        }
        trace_fault(vmf, COW, vmf->address, 0, 0, 0);
        vmf->rq.page = p;
        r = make_writable(vmf);
        if (r != VM_FAULT_DONE)
                return r;
        /* Unmapped behind our back, or while we waited for the page; in a child that is only a word
         * of the PTE's, and the page is shown all the same. Map it anew. */
        if (vmf->kind != MMU_FAULT_WP || pte_state(vmf->pte) != PTE_CACHE)
                return show_page(vmf);
        page_set(p, PG_REFERENCED);
        if (vmf->vma->vm_ops->map_more)
                vmf->vma->vm_ops->map_more(vmf);
        perturb_gap();
        error = mmu->ops->unprotect(mmu, vmf->address, 1);
        trace_fault(vmf, SET_PTE, vmf->address, 1, vmf->index << PAGE_SHIFT, 1);
        release_page(vmf);
        return mmu_result(vmf, error, "making a page writable");
}

/* A fault on a private copy of a file's page that is here, or was. */
static enum vm_fault_result do_private_copy(struct vm_fault *vmf)
{
        struct mmu *mmu = vmf->mm->mmu;
        int error = 0;
        uint64_t v;

        pte_lock(vmf->mm, vmf->pte);
        v = pte_value(vmf->pte);
        if (value_state(v) == PTE_COPY && vmf->kind != MMU_FAULT_WP && !vmf->swapped &&
            !vmf->asked) {
                pte_unlock(vmf->mm, vmf->pte);
                return do_cow_fault(vmf); /* the copy has gone, or never came */
        }
        if ((value_state(v) == PTE_COPY || value_state(v) == PTE_SWAPPING) && vmf->write)
                error = private_make_writable(vmf);
        else
                mmu->ops->wake(mmu, vmf->address, 1);
        pte_unlock(vmf->mm, vmf->pte);
        return mmu_result(vmf, error, "showing a private page");
}

static enum vm_fault_result handle_pte_fault(struct vm_fault *vmf)
{
        struct mmu *mmu = vmf->mm->mmu;
        enum pte_state s;

        vmf->found = pte_value(vmf->pte);
        s = value_state(vmf->found);
        trace_fault(vmf, PTE, s, vmf->index, 0, 0);
        if (s != PTE_POISONED && s != PTE_BLANK && vma_is_anonymous(vmf->vma))
                return do_anonymous_page(vmf);
        switch (s) {
        case PTE_POISONED:
                /* Mostly the thread came before the poison and will meet it now. If not, the
                 * marker has been taken behind our back: the thread would fault for ever. */
                mmu->ops->poison(mmu, vmf->address, 1);
                mmu->ops->wake(mmu, vmf->address, 1);
                vmf->error = -pte_error(vmf->pte);
                return VM_FAULT_SIGBUS;
        case PTE_BLANK: /* the thread came before the page did */
                mmu->ops->wake(mmu, vmf->address, 1);
                return VM_FAULT_DONE;
        case PTE_COPY:
        case PTE_SWAPPING:
                return do_private_copy(vmf);
        case PTE_SWAPPED:
        case PTE_SWAPIN:
                return do_swap_page(vmf);
        case PTE_CACHE:
                if (vmf->write)
                        return vmf->vma->vm_shared  ? do_wp_page_shared(vmf)
                               : store_is_over(vmf) ? VM_FAULT_NOPAGE
                                                    : do_private_wp(vmf);
                if (vmf->tries > 1) { /* another thread's fault has mapped it */
                        mmu->ops->wake(mmu, vmf->address, 1);
                        return VM_FAULT_DONE;
                }
                return do_read_fault(vmf);
        default:
                if (!vmf->write)
                        return do_read_fault(vmf);
                return vmf->vma->vm_shared  ? do_shared_fault(vmf)
                       : store_is_over(vmf) ? VM_FAULT_NOPAGE
                                            : do_cow_fault(vmf);
        }
}

/* L2. That it may is no news: FIND_VMA has told what is allowed. */
static bool access_ok(struct vm_fault *vmf)
{
        int prot = vmf->vma->vm_prot;
        bool ok = vmf->write ? prot & PROT_WRITE : prot & (PROT_READ | PROT_WRITE | PROT_EXEC);

        if (!ok)
                trace_fault(vmf, ACCESS, ok, vmf->write, (uint64_t)prot, 0);
        return ok;
}

/* There is no memory for a page table, and so no place to say what became of the page: nothing but a
 * signal can be had, or another try. Where a fault is an event the kernel has to be told, and it is
 * remembered that it was (failure.c). */
static enum vm_fault_result no_table(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;

        if (wait_before_retry(vmf) || wait_to_try_again(vmf))
                return VM_FAULT_RETRY;
        vmf->error = -ENOMEM;
        if (vmf->asked)
                return VM_FAULT_SIGBUS;
        if (!mm->quiet)
                say_failure(vmf, ENOMEM, "making a page table", ": SIGBUS raised");
        if (!vmf->sleeps) {
                mm_note_untold(mm, vmf->address);
                mm->mmu->ops->poison(mm->mmu, vmf->address, 1);
        }
        trace_fault(vmf, SIGNAL, SIGBUS, BUS_ADRERR, vmf->address, 0);
        return VM_FAULT_SIGBUS;
}

/* => mm->lock held for reading */
static enum vm_fault_result handle_mm_fault(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        struct vma *v = find_vma(mm, vmf->address);
        enum vm_fault_result r;

        rwlock_assert_held(&mm->lock);
        vmf->vma = NULL;
        if (!v || v->vm_start > vmf->address) {
                trace_fault(vmf, FIND_VMA, 0, 0, 0, 0);
                return VM_FAULT_SIGSEGV; /* L1 */
        }
        vmf->rq.object = v->vm_file ? v->vm_file->mapping->object : 0;
        trace_fault(vmf, FIND_VMA, v->vm_start, v->vm_end, (uint64_t)v->vm_prot, v->vm_shared);
        vmf->vma = v;
        if (!access_ok(vmf))
                return VM_FAULT_SIGSEGV;
        vmf->index = vma_index(v, vmf->address);
        vmf->pte = pte_get(mm, vmf->address, true);
        if (!vmf->pte)
                return no_table(vmf);
        vmf->rq.file = v->vm_file;
        vmf->rq.index = vmf->index;
        vmf->rq.vma_first = v->vm_pgoff;
        vmf->rq.vma_end = vma_index(v, v->vm_end);
        vmf->rq.advice = v->vm_advice;
        vmf->rq.ra_pages = v->vm_rules.ra_pages;
        vmf->rq.write = vmf->write;
        vmf->rq.exec = v->vm_prot & PROT_EXEC;
        r = wait_before_retry(vmf) ? VM_FAULT_RETRY : handle_pte_fault(vmf);
        pte_put(mm, vmf->pte);
        return r == VM_FAULT_NOPAGE ? VM_FAULT_DONE : r;
}

/* What the file's readers and its slowest faults are told of it. => mm->lock, which keeps the file */
static void account_file(struct vm_fault *vmf, uint64_t ns)
{
        struct address_space *m = vmf->vma && vmf->vma->vm_file ? vmf->vma->vm_file->mapping : NULL;
        struct worst *w = &vmf->mm->trace->stats.worst;

        if (m) {
                atomic_fetch_add_explicit(vmf->rq.major ? &m->majors : &m->minors, 1,
                                          memory_order_relaxed);
                atomic_fetch_add_explicit(&m->fault_ns, ns, memory_order_relaxed);
        }
        if (worst_wants(w, ns))
                worst_put(w, &(struct worst_fault){
                                     .ns = ns,
                                     .ended_ns = vmf->begin_ns + ns,
                                     .file = m ? m->number : 0,
                                     .index = m ? vmf->index : vmf->address >> PAGE_SHIFT,
                                     .tid = vmf->tid,
                                     .write = vmf->write,
                                     .major = vmf->rq.major,
                             });
}

/* => mm->lock held */
static void account(struct vm_fault *vmf, enum vm_fault_result r)
{
        struct stats *s = &vmf->mm->trace->stats;
        uint64_t ns = now_ns() - vmf->begin_ns;

        stat_add(s, vmf->rq.major ? STAT_faults_major : STAT_faults_minor, 1);
        if (vmf->write)
                stat_add(s, STAT_faults_write, 1);
        histogram_add(&s->fault_ns, ns);
        if (vmf->rq.major)
                histogram_add(&s->major_ns, ns);
        account_file(vmf, ns);
        trace_fault(vmf, WAKE, vmf->address, vmf->tid, 0, 0);
        trace_fault(vmf, FAULT_END, r, vmf->rq.major, ns, vmf->tries);
}

/* => mm->lock */
static void end_in_signal(struct vm_fault *vmf, enum vm_fault_result r)
{
        struct mmu *mmu = vmf->mm->mmu;

        /* Where the kernel lets pass what may not be, a mapping has been changed without us, or
         * is just being changed by us. The thread would fault for ever. A child's is the child's
         * alone. */
        if (r == VM_FAULT_SIGSEGV && space_of(vmf->address))
                mmu->ops->poison(mmu, vmf->address, 1);
        else if (r == VM_FAULT_SIGSEGV && vmf->vma && !vmf->asked && mmu->ops->faults_pass)
                mmu->ops->protect(mmu, vmf->vma->vm_start, vmf->vma->vm_end - vmf->vma->vm_start,
                                  vmf->vma->vm_prot);
        mmu->ops->wake(mmu, vmf->address, 1);
}

enum vm_fault_result do_page_fault(struct vm_fault *vmf)
{
        struct mm *mm = vmf->mm;
        enum vm_fault_result r;

        lock_assert_none();
        if (unlikely(atomic_load(&mm->swap.copying)) && space_of(vmf->address) == 0 &&
            vmf->tid == atomic_load(&mm->swap.copier))
                return swap_fault_of_copier(vmf);
        if (vmf->tries++ == 0)
                trace_fault(vmf, FAULT_BEGIN, vmf->address, vmf->write, vmf->tid, vmf->kind);
        for (;;) {
                unsigned held;

                rwlock_read_lock(&mm->lock);
                held = hold_begin(mm->cache);
                r = handle_mm_fault(vmf);
                hold_end(mm->cache, held);
                if (r != VM_FAULT_RETRY)
                        break;
                trace_fault(vmf, RETRY, vmf->rq.wait.kind, vmf->index, 0, 0);
                /* Only a wait for the page itself means that it has been read for us. */
                vmf->rq.tried |= vmf->rq.wait.kind == WAIT_PAGE || vmf->rq.wait.kind == WAIT_SWAP;
                if (vmf->sleeps) {
                        sleep_fault(vmf);
                        vmf->tries++;
                        continue;
                }
                if (park_fault(vmf)) {
                        rwlock_read_unlock(&mm->lock);
                        lock_assert_none();
                        return r; /* vmf lives on in its parking place */
                }
                rwlock_read_unlock(&mm->lock);
                vmf->tries++;
        }
        /* While the lock is held: a child that ends takes its descriptor along, and the number may be
         * another's then. */
        if (r == VM_FAULT_SIGSEGV || r == VM_FAULT_SIGBUS)
                end_in_signal(vmf, r);
        account(vmf, r);
        rwlock_read_unlock(&mm->lock);
        room_put(mm->cache, vmf->rq.room);
        vmf->rq.room = NULL;
        lock_assert_none();
        return r;
}
