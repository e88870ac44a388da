/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.h - one fault on its way. A fault is a small struct and a restart code: a step that
 * would have to wait says what for (rq.wait) and returns VM_FAULT_RETRY; whoever runs the fault
 * waits or parks it, and starts again from find_vma, as the kernel does.
 */
#ifndef FL_VM_FAULT_H
#define FL_VM_FAULT_H

#include "vm/mm.h"

enum vm_fault_result {
        VM_FAULT_DONE,    /* mapped, or it was */
        VM_FAULT_RETRY,   /* wait for rq.wait, then again */
        VM_FAULT_SIGSEGV, /* the kernel will raise it when the thread tries again */
        VM_FAULT_SIGBUS,  /* poisoned, or past the end of the file */
        VM_FAULT_NOPAGE,  /* of a step: something else is shown, and there is nothing left to do */
};

struct vm_fault {
        struct mm *mm;
        uint64_t address;
        uint32_t kind, tid;
        bool write;
        /* where it stands; refilled by each try: */
        struct vma *vma;
        struct pte *pte;
        uint64_t found; /* the PTE's value when this try began */
        uint64_t index;
        /* kept over tries: */
        struct filemap_request rq; /* .fault is the fault's id */
        struct vop_getpage vop;    /* segvn.c's */
        uint64_t begin_ns;
        unsigned tries;
        bool throttled; /* has paused once for the dirty limit */
        bool swapped;   /* has seen its page in the swap area */
        bool sleeps;    /* the thread that runs it waits itself; else it is parked */
        bool asked;     /* no access: the caller is told of an error, and no signal is raised */
        uint64_t epoch; /* mm->client's, from before it was told of */
        int error;      /* -errno behind VM_FAULT_SIGBUS */
        /* of a page that could not be had, and is tried again: */
        uint32_t retries;
        uint64_t failed_at, retry_at; /* now_ns() of the first failure; before this not again */
};

/* A fault that waits, kept aside (park.c). */
struct parked {
        struct waiter waiter;
        struct vm_fault vmf;
        struct parked *next; /* [park] free or ready */
        bool waiting;        /* [park] vmf is whole, and waits for `why` */
        bool reported;       /* [park] the watchdog has spoken of it */
        int why;             /* [park] wait_on.kind */
};

/* An event of this fault, about its file. */
#define trace_fault(vmf, ev, a, b, c, d)                                                           \
        trace_emit((vmf)->mm->trace, ev, (vmf)->rq.fault, (vmf)->rq.object, a, b, c, d)

/* => on a loop thread, or any thread that may wait; with no lock held. Takes mm->lock for reading. */
enum vm_fault_result do_page_fault(struct vm_fault *vmf);
/* Parks vmf until rq.wait is over, or returns false: try again at once. => mm->lock held */
bool park_fault(struct vm_fault *vmf);
/* The same for the thread that faulted: it sleeps itself. => mm->lock held for reading; released */
void sleep_fault(struct vm_fault *vmf);
int park_init(struct mm *mm);
/* No parked fault runs any more. */
void park_stop(struct mm *mm);
void park_destroy(struct mm *mm);
/* mmu_client.faults */
void mm_faults(struct mmu_client *client, const struct mmu_fault *faults, unsigned nr);
/* mmu_client.fault (inline.c) */
enum mmu_verdict mm_fault_inline(struct mmu_client *client, const struct mmu_fault *fault);

/* Steps shared by fault.c, cow.c and filemap_ops.c. => page locked and pinned in rq.page */
void release_page(struct vm_fault *vmf);
/* Should a mapping of this page make the next store an event? */
bool wants_notify(const struct vma *v, const struct page *p);
/* failure.c: is it of a store to a private page that has been made and dropped since? The kernel may tell of
 * one store twice; a copy made for what it told the second would stay behind what the file is given later.
 * Then the thread is told to look again, if one does wait: what it does next is a new fault. */
bool store_is_over(struct vm_fault *vmf);
enum vm_fault_result do_cow_fault(struct vm_fault *vmf);
enum vm_fault_result do_private_wp(struct vm_fault *vmf);
enum vm_fault_result result_of(struct vm_fault *vmf, enum filemap_result r);
/* failure.c: the page cannot be had (error: positive errno). What the mapping's rules say:
 * NOPAGE, RETRY, or SIGBUS. => no page locked */
enum vm_fault_result page_failed(struct vm_fault *vmf, int error, const char *tried);
/* What the MMU said, and the thread has been woken: at its end (-ENOMEM) it would say so again and again,
 * and the page cannot be had; whatever else stood in the way has changed. => no page locked, no ptl */
enum vm_fault_result mmu_result(struct vm_fault *vmf, int error, const char *tried);
/* Do the rules want it to be tried again? RETRY, with rq.wait. */
bool wait_to_try_again(struct vm_fault *vmf);
/* It has failed before and it is too early to try again: RETRY, with rq.wait. */
bool wait_before_retry(struct vm_fault *vmf);
/* One line on stderr: what was tried, why it failed, what then. */
void say_failure(struct vm_fault *vmf, int error, const char *tried, const char *then);
enum vm_fault_result raise_sigbus(struct vm_fault *vmf, int error, const char *tried);

/* private.c: what private pages, copies and anonymous ones, may take of the budget. 0, -EAGAIN: wait
 * (wait_for_private), -ENOMEM: there will never be room. */
/* May there be one more? */
int may_be_new(struct mm *mm);
/* Counts one more in memory, which is not charged yet. */
int count_private(struct mm *mm);
void uncount_private(struct page_cache *c, int64_t nr);
/* All of it: for a new page, and for one that exists. */
int charge_private(struct mm *mm);
int charge_known(struct mm *mm);
/* For a child: may there be so many more, here or there; and so many more here, at least one. */
bool may_exist(struct mm *mm, int64_t more);
bool charge_for_child(struct mm *mm, int64_t here);
/* For a new page, and up to nr - 1 more of what is free beyond the watermarks. */
int charge_private_run(struct mm *mm, uint64_t nr, uint64_t *charged);
void uncharge_private(struct page_cache *c, int64_t nr);
/* Up to nr pages, of which most are given back in a moment by keep_as_private(). 0: none. */
uint64_t charge_for_now(struct page_cache *c, uint64_t nr);
void keep_as_private(struct page_cache *c, uint64_t charged, uint64_t kept);
/* Could nr private pages be there at once? */
bool private_can_fit(struct mm *mm, uint64_t nr);
/* What a private page that does not fit has to wait for; WAIT_NONE: it would be of no use. */
int what_private_wait_for(struct page_cache *c);
/* There is no charge to be had: wait, or raise SIGBUS if that is of no use. */
enum vm_fault_result wait_for_private(struct vm_fault *vmf, int error, const char *tried);
/* A PTE had this value, and is something else now: its slot is let go. Pages to uncharge. */
int64_t private_gone(struct mm *mm, uint64_t old);
/* A store to a private page that is here, whatever protects it. 0 or -errno. => ptl */
int private_make_writable(struct vm_fault *vmf);

/* filemap_ops.c, also for shmem_ops.c and segvn.c. No more than MAX_AROUND pages at once. */
#define MAX_AROUND 64u
void file_vma_open(struct vma *v);
void file_vma_close(struct vma *v);
enum filemap_result file_vma_fault(struct vm_fault *vmf);
bool file_vma_map_pages(struct vm_fault *vmf, uint64_t first, uint64_t end);
/* map_ahead.c: before the page of a load is shown, what the policy wants to be shown with it. => the page
 * is locked */
void file_vma_map_ahead(struct vm_fault *vmf);
/* Such pages next to `index`, before it or behind it, without a gap: how many, `most` at the most. */
uint64_t pages_in_a_row(struct address_space *m, uint64_t index, bool before, uint64_t most,
                        bool (*such)(const struct page *));
/* store_ahead.c: before a page can be stored to, those behind it, where stores come in order. => the page
 * is locked */
void file_vma_store_ahead(struct vm_fault *vmf);

/* swapin.c, swapout.c */
enum vm_fault_result do_swap_page(struct vm_fault *vmf);
/* A fault that the reclaimer takes while it copies a page out. Holds nothing. */
enum vm_fault_result swap_fault_of_copier(struct vm_fault *vmf);

/* anon.c */
#define ANON_RUN_MAX 256u
int anon_init(struct mm *mm);
void anon_destroy(struct mm *mm);
enum vm_fault_result do_anonymous_page(struct vm_fault *vmf);

#endif
