/* SPDX-License-Identifier: Apache-2.0
 *
 * mm.h - an address space: the VMAs, the page table, and the faults under way.
 *
 * task -> mm -> mmap, the list of VMAs sorted by address, and mm_rb, the red-black tree of the
 * same: the list for walks, the tree for find_vma. mm->pgd is the page table.
 *
 * An address has the number of its process in it (mmu.h, SPACE_SHIFT): the VMAs and the PTEs of forked
 * children that are served stand behind our own, in the same tree and the same table, so that a page
 * of a file has one list of who shows it, and one lock guards all of it.
 */
#ifndef FL_VM_MM_H
#define FL_VM_MM_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "cache/filemap.h"
#include "mmu/mmu.h"
#include "vm/pgtable.h"
#include "vm/swap.h"
#include "vm/vma_pool.h"

struct mm;
struct vma;
struct vm_fault;

struct vm_operations {
        /* The VMA has come to be (also by a split): takes its reference. NULL: nothing. */
        void (*open)(struct vma *);
        /* The VMA goes. No mm lock is held; may write back. */
        void (*close)(struct vma *);
        /* The page of vmf->index, up to date and locked in vmf->rq.page. Never blocks. */
        enum filemap_result (*fault)(struct vm_fault *);
        /* Map what is cached in [first, end); true if that includes vmf->index. NULL: none. */
        bool (*map_pages)(struct vm_fault *, uint64_t first, uint64_t end);
        /* What came with the page that `fault` found is mapped as well; the page itself is locked, and
         * mapped next. NULL: nothing came. */
        void (*map_more)(struct vm_fault *);
        /* A store to a shared page is coming. => locked. 0, -EAGAIN with vmf->rq.wait, -errno */
        int (*page_mkwrite)(struct vm_fault *, struct page *);
};

enum on_error { ON_ERROR_SIGBUS, ON_ERROR_ZERO, ON_ERROR_RETRY };

/* What fl_mapping_set() says of a mapping. VMAs that differ in it do not merge. */
struct vma_rules {
        uint32_t ra_pages; /* largest read-ahead window; 0: the file's */
        uint64_t share;    /* pages of the budget for its file */
        /* What is made of a page that cannot be had (failure.c). */
        enum on_error on_error, retry_then; /* retry_then: not RETRY */
        uint32_t retries;
        uint64_t retry_ns; /* after the first failure none begins later */
};

#define VM_LOCKED (1u << 0)      /* mlock */
#define VM_LOCKONFAULT (1u << 1) /* mlock2 with MLOCK_ONFAULT: with LOCKED */
#define VM_DONTCOPY (1u << 2)    /* MADV_DONTFORK */
#define VM_WIPEONFORK (1u << 3)
#define VM_NORESERVE (1u << 4) /* MAP_NORESERVE of what is private, where it matters (S4) */
#define VM_RESERVED (1u << 5)  /* swap has been promised for it (S4) */

/* A contiguous, page-aligned span of addresses: start < end, overlapping none. */
struct vma {
        /* One line of the processor's cache is all that find_vma() looks at: among thousands of
         * mappings most of what it costs is waiting for such lines. */
        RB_ENTRY(vma) vm_rb;         /* [mm] */
        uint64_t vm_start, vm_end;   /* [mm] + [i_mmap] */
        TAILQ_ENTRY(vma) vm_list;    /* [mm] */
        uint64_t vm_gap;             /* [mm] unmapped bytes before it */
        uint64_t vm_max_gap;         /* [mm] the largest gap at or below this node of the tree */
        struct mm *vm_mm;            /* (c) */
        uint64_t vm_pgoff;           /* [mm] + [i_mmap] first page of the file; of anonymous memory
                                      * its address in pages, so that neighbours can merge */
        int vm_prot, vm_maxprot;     /* [mm] PROT_ */
        _Atomic uint64_t vm_swap_ra; /* where pages came back last, and how many (swapin.c) */
        bool vm_shared;              /* (c) MAP_SHARED of a file opened for writing, or read-only */
        enum vm_advice vm_advice;    /* [mm] */
        struct vma_rules vm_rules;   /* [mm] */
        unsigned vm_flags;           /* [mm] VM_ */
        uint32_t vm_locking;         /* [mm] the calls that have LOCKED it, are not over, and may
                                      * undo it, a bit each; 0: it stays so (lock.c) */
        struct file *vm_file;        /* (c) NULL: private anonymous memory */
        struct mapping_view vm_view; /* [i_mmap] */
        const struct vm_operations *vm_ops; /* (c) NULL: private anonymous memory */
};
_Static_assert(offsetof(struct vma, vm_list) <= VMA_ALIGN, "in one line");
TAILQ_HEAD(vma_list, vma);
RB_HEAD(vma_tree, vma);

struct parked;

/* Threads that take new pages in the order of their addresses; by their id (anon.c). Torn values do
 * no harm: they decide nothing but how many pages are taken at once. */
#define MM_STREAMS 64
struct anon_stream {
        _Atomic uint64_t next; /* address behind the last run */
        _Atomic uint32_t tid, run;
};

/* What the child has to do with a range before fork(2) returns in it. */
struct fork_step {
        uint64_t addr, len; /* in the child's space */
        enum { FORK_DROP, FORK_TAKE_FILE, FORK_TAKE_MEMORY } what;
};

/* Ranges whose errors have been cleared or whose private pages have gone, the latest, by mm->client.epoch
 * (failure.c). */
#define MM_CLEARED 64
struct mm_cleared {
        uint64_t addr, end;
};

struct mm_fork {
        bool inherit;         /* (c) children are served */
        struct mm *next;      /* [fork] all of the process, in the order of their addresses */
        _Atomic bool foreign; /* this is a copy, in a child: no call may be made on it */
        int64_t have;         /* [fork] pages charged for the child to come */
        int64_t wanted;       /* [fork] pages that it needs */
        /* From before fork(2) to after it: [mm] */
        unsigned space; /* the child's; 0: it inherits nothing */
        struct fork_step *steps;
        size_t nr_steps, room;
        int error; /* while room is looked for: [fork] */
};

struct mm {
        struct rwlock lock;
        struct vma_list mmap;  /* [mm] */
        struct vma_tree mm_rb; /* [mm] */
        unsigned map_count;    /* [mm] of our own process */
        bool lock_future;      /* [mm] MCL_FUTURE: what is mapped from now on is locked */
        uint32_t locking;      /* [mm] bits of vma.vm_locking that calls have taken */
        struct vma_pool vmas;
        struct radix pgd;              /* page table: index = address / page, entry = pte */
        uint64_t window_lo, window_hi; /* (c) where gaps are looked for */
        struct mmu *mmu;               /* (c) */
        struct mmu_client client;      /* (c) */
        struct loop *loop;             /* (c) */
        struct loop_idle idle;
        struct page_cache *cache; /* (c) */
        struct trace *trace;      /* (c) */
        struct vma_rules rules;   /* (c) of a new mapping */
        struct mutex park_lock;
        struct parked *parked;              /* (c) all of them, reserved memory */
        struct parked *free_parked;         /* [park] */
        struct parked *ready, **ready_tail; /* [park] */
        unsigned parked_made;               /* [park] */
        _Atomic unsigned nr_parked;
        _Atomic unsigned nr_blank;             /* pages in PTE_BLANK */
        struct mm_cleared cleared[MM_CLEARED]; /* [mm] */
        _Atomic uint64_t
                untold; /* the last page that failed and has no PTE to say so; 0: none has */
        struct anon_stream streams[MM_STREAMS];
        char *zeros; /* ANON_RUN_MAX pages of zeros to copy from, read-only */
        struct mm_swap swap;
        struct mm_fork fork;
        struct worker watchdog;
        uint64_t watchdog_ns;                     /* (c) 0: there is none */
        bool quiet;                               /* (c) */
        struct reader_slot readers[READER_SLOTS]; /* of the lock: each fault is one */
};

/* One per engine: the engine's view of a process, and of those of its children that it serves. */
struct task {
        struct mm *mm;
        int pid;
};

int task_create(struct task **out, struct mm *mm);
void task_destroy(struct task *t);

struct mm_config {
        const char *mmu;
        struct loop *loop;
        struct table_pool *tables;
        struct trace *trace;
        char *why;  /* 256 bytes */
        bool quiet; /* no line on stderr when a SIGBUS is raised */
};
int mm_create(struct mm **out, const struct mm_config *cfg);
/* The cache is made after the mm (it needs mapping_ops), and given to it before the first map, and
 * with it the swap area, which may be NULL. 0 or -ENOMEM. */
int mm_set_cache(struct mm *mm, struct page_cache *c, struct swap_area *area);
/* No VMA is left: sees off the faults that still wait for something of the cache's. */
void mm_drain(struct mm *mm);
/* No VMA is left, and nothing waits. */
void mm_destroy(struct mm *mm);
extern const struct mapping_ops vm_mapping_ops;
extern const struct vm_operations file_vm_ops, segvn_ops, shmem_vm_ops;

/* First VMA that ends behind addr; it may start behind addr too. => mm->lock */
struct vma *find_vma(struct mm *mm, uint64_t addr);
/* The VMA that addr lies in, which is its part of [addr, end) up to *stop; NULL: a hole. => mm->lock */
struct vma *vma_at(struct mm *mm, uint64_t addr, uint64_t end, uint64_t *stop);
struct vma *vma_next(struct vma *v);
struct vma *vma_prev(struct vma *v);
/* Lowest gap of len at or above hint within the window; 0: none. => mm->lock */
uint64_t get_unmapped_area(struct mm *mm, uint64_t hint, uint64_t len);

/* Report, once each, the faults that have waited for longer than ns (watchdog.c). */
int watchdog_start(struct mm *mm, uint64_t ns);
void watchdog_stop(struct mm *mm);

/* The name of what is mapped at addr or next behind it, in buf; NULL: nothing is. */
const char *mm_name(struct mm *mm, uint64_t addr, char *buf, size_t size);

/* vma.c. => mm->lock held for writing. vm_start and vm_end of a linked VMA change only together with
 * vma_resized(). */
struct vma *vma_alloc(struct mm *mm);
/* A VMA like v in all but its span, not opened yet; NULL: no memory. */
struct vma *vma_dup(const struct vma *v);
void vma_link(struct mm *mm, struct vma *v);
void vma_unlink(struct mm *mm, struct vma *v);
/* v begins or ends elsewhere than before, still between its neighbours. */
void vma_resized(struct vma *v);
/* Cut v at addr; v keeps the lower part. The upper part, or NULL (no memory). */
struct vma *split_vma(struct mm *mm, struct vma *v, uint64_t addr);
/* Join v with equal neighbours; returns the VMA that now covers v's start. */
struct vma *vma_merge(struct mm *mm, struct vma *v);
/* Make VMAs begin and end at start and end, where they cross. 0 or -ENOMEM. */
int split_at(struct mm *mm, uint64_t start, uint64_t end);
bool vma_can_merge(const struct vma *a, const struct vma *b);
/* Free a VMA that has been unlinked, after mm->lock was released. */
void vma_free(struct vma *v);
static inline bool rules_equal(const struct vma_rules *a, const struct vma_rules *b)
{
        return a->ra_pages == b->ra_pages && a->share == b->share && a->on_error == b->on_error &&
               a->retry_then == b->retry_then && a->retries == b->retries &&
               a->retry_ns == b->retry_ns;
}
static inline uint64_t vma_index(const struct vma *v, uint64_t addr)
{
        return v->vm_pgoff + ((addr - v->vm_start) >> PAGE_SHIFT);
}
static inline uint64_t vma_address(const struct vma *v, uint64_t index)
{
        return v->vm_start + ((index - v->vm_pgoff) << PAGE_SHIFT);
}
static inline bool vma_is_anonymous(const struct vma *v)
{
        return !v->vm_ops;
}
/* For people: the file's name, or what it is if it has none. */
const char *vma_name(const struct vma *v);
/* => the file's i_mmap_lock held for writing, if there is a file */
void view_update_locked(struct vma *v);
void vma_add_view_locked(struct vma *v);
void vma_remove_view_locked(struct vma *v);

/* map.c: mmap, munmap, mprotect. 0 or -errno. f: NULL with MAP_ANONYMOUS. */
int mm_map(struct mm *mm, uint64_t *addr, uint64_t len, int prot, int flags, struct file *f,
           uint64_t offset);
/* Where the whole pages of [addr, addr+len) end. 0; -EINVAL: addr is inside a page; -ENOMEM: it wraps */
int span_end(uint64_t addr, uint64_t len, uint64_t *end);
int mm_unmap(struct mm *mm, uint64_t addr, uint64_t len);
int mm_protect(struct mm *mm, uint64_t addr, uint64_t len, int prot);
/* mincore.c */
int mm_mincore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec);
/* What `look` says of each page goes into vec; => mm->lock held while it looks. 0 or -errno */
int mm_look(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec,
            unsigned char (*look)(struct mm *, struct vma *, uint64_t addr));
/* sync.c: msync */
int mm_sync(struct mm *mm, uint64_t addr, uint64_t len, int flags);
/* inline.c: fault [addr, addr+len) in, as if every page of it were read or stored to. -EFAULT: it
 * is not mapped so; or why a page could not be had. Nothing keeps the pages from going again. */
int mm_touch(struct mm *mm, uint64_t addr, uint64_t len, bool write);
/* rules.c: the mappings of [addr, addr+len) follow these rules from now on. -EINVAL; -ENOMEM: a
 * hole, no memory for a split, or no such share to be had. What lies before has been done. */
int mm_set_rules(struct mm *mm, uint64_t addr, uint64_t len, const struct vma_rules *rules);
/* The mapping at addr; its file is held. False: none. */
struct mapping_report {
        uint64_t start, end, offset;
        int prot, maxprot;
        bool shared;
        struct file *file;
        struct vma_rules rules;
};
bool mm_report(struct mm *mm, uint64_t addr, struct mapping_report *out);
/* The same in the kernel's terms: -ENOMEM: a hole, or no memory; -EINVAL: no right to it; -EHWPOISON:
 * it could not be read before; -EFAULT: not now, or past the end of the file. NATURAL: as the program
 * would touch it, which is a store where that makes a private page; -EFAULT: no right to it. */
enum populate { POPULATE_READ, POPULATE_WRITE, POPULATE_NATURAL };
int mm_populate(struct mm *mm, uint64_t addr, uint64_t end, enum populate how);
/* lock.c: mlock, munlock. */
int mm_lock(struct mm *mm, uint64_t addr, uint64_t len, bool onfault);
int mm_unlock(struct mm *mm, uint64_t addr, uint64_t len);
/* May that many pages more be locked? => mm->lock */
bool mm_may_lock(struct mm *mm, int64_t pages);
/* => mm->lock held for writing */
void vma_set_flags(struct vma *v, unsigned flags);
/* Not locked any more, by nobody. => mm->lock held for writing */
void vma_unlock(struct vma *v);
/* remap.c: mremap; *to is the new address, or where it has to be. */
int mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, int flags,
             uint64_t *to);
/* failure.c: the first page of [addr, addr+len) that could not be had, or whose write-back failed.
 * 1: *f; 0: there is none; -EINVAL, -ENOMEM: a hole before any. */
struct failure {
        uint64_t addr, offset;
        int error;    /* errno */
        bool writing; /* a write-back failed */
        bool dirty;   /* and what was stored is still in the cache only */
        bool zeroed;  /* zeros stand in for the page */
        char name[256];
};
int mm_error(struct mm *mm, uint64_t addr, uint64_t len, struct failure *f);
/* All such pages of the range are to be tried again. 0 or -errno; -ENOMEM: a hole, behind what has
 * been done. */
int mm_error_clear(struct mm *mm, uint64_t addr, uint64_t len);
/* What could not be had in [addr, end), or was private there, is of the past. => mm->lock, write */
void mm_note_cleared(struct mm *mm, uint64_t addr, uint64_t end);
/* The page there cannot be had, and there is no memory for a PTE to say so. */
void mm_note_untold(struct mm *mm, uint64_t addr);
/* Where zeros stand in [addr, end) of v, the file is mapped again; what cannot be stays as it
 * is. => mm->lock, write. 0, or the first -errno */
int mm_unblank(struct mm *mm, struct vma *v, uint64_t addr, uint64_t end);
/* fork.c. Children of fork(2) inherit mappings, if `inherit`, or none of them. 0, or -ENOTSUP: the MMU
 * cannot serve a child; or -errno. */
int mm_fork_start(struct mm *mm, bool inherit);
/* No child is served any more. */
void mm_fork_stop(struct mm *mm);
/* mmu_client.ended */
void mm_child_ended(struct mmu_client *client, unsigned nr);
/* Is this process a child of the one that made it? */
static inline bool mm_is_foreign(const struct mm *mm)
{
        return atomic_load_explicit(&mm->fork.foreign, memory_order_relaxed);
}
/* memcntl.c: Solaris's memcntl. Commands, attributes and flags have its numbers. Advice
 * of who accesses is none of Linux's numbers. 0 or -errno. */
enum memcntl_command {
        MEMCNTL_SYNC = 1,
        MEMCNTL_LOCK,
        MEMCNTL_UNLOCK,
        MEMCNTL_ADVISE,
        MEMCNTL_LOCKAS,
        MEMCNTL_UNLOCKAS
};
#define MEMCNTL_ACCESS_DEFAULT 0x506
#define MEMCNTL_ACCESS_LWP 0x507
#define MEMCNTL_ACCESS_MANY 0x508
int mm_memcntl(struct mm *mm, uint64_t addr, uint64_t len, int cmd, unsigned long arg, int attr);
/* MC_HAT_ADVISE for a range: pages of that size, 0: of any. */
int mm_advise_page_size(struct mm *mm, uint64_t addr, uint64_t len, uint64_t size);
/* mincore.c: Solaris's incore */
#define INCORE_INCORE 0x01
#define INCORE_LOCKED 0x02
#define INCORE_HASCOW 0x04
#define INCORE_ANON 0x20
#define INCORE_VNODE 0x40
int mm_incore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec);
/* memcntl.c: madvise as the policy's kernel has it: Solaris's is memcntl(MC_ADVISE). Its advice is
 * Linux's under every policy where Solaris has none of that number. */
int mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice);
/* advice.c: Linux's. */
int mm_advise(struct mm *mm, uint64_t addr, uint64_t len, int advice);
/* segvn.c: the file's pages are not shown in [addr, end) any more, so that faults recur (S29).
 * => mm->lock held for writing */
void segvn_unload(struct mm *mm, uint64_t addr, uint64_t end);
/* Drop the clean pages of files that are mapped there; bytes, or -EINVAL. */
int64_t mm_evict(struct mm *mm, uint64_t addr, uint64_t len);
/* Private copies in [addr, addr+len) are gone, nothing is mapped there. => mm->lock, write */
void mm_clear_ptes(struct mm *mm, uint64_t addr, uint64_t len);
/* The same, but for zeros that stand in for pages, and could not be taken away (mm_unblank). */
void mm_clear_ptes_but_blank(struct mm *mm, uint64_t addr, uint64_t len);

#ifndef NDEBUG
void vma_check(const struct vma *v);
#else
static inline void vma_check(const struct vma *v)
{
        (void)v;
}
#endif
/* List, tree and gaps agree: 0 or -EINVAL. => mm->lock */
int vma_tree_check(struct mm *mm);
/* => mm->lock not held, nothing in flight. 0 if every invariant holds. */
int mm_check(struct mm *mm);

#endif
