/* SPDX-License-Identifier: Apache-2.0
 *
 * advice.c - madvise: L35. A table says what each piece of advice does to a piece of a VMA. Holes
 * are skipped, the rest is done, ENOMEM comes at the end; but an error ends it at once.
 *
 * What changes VMAs or translations has mm->lock for writing all the way. What does I/O has no lock
 * but the file, one VMA at a time: what is mapped may change meanwhile, as it may in the kernel.
 */
#include <errno.h>

#include "util/mman.h"
#include "vm/mm.h"

struct advice_ops {
        int advice;
        /* May it be given here? 0 or -errno. => mm->lock held. NULL: always. */
        int (*check)(const struct vma *);
        /* Either: do it to the piece. => mm->lock held for writing. */
        int (*change)(struct mm *, struct vma *, uint64_t start, uint64_t end);
        /* Or: to these pages of the file. => no lock held, the file is. */
        int (*io)(struct file *, uint64_t first, uint64_t end);
        /* And to the private pages there. => no lock held. NULL: nothing. */
        void (*memory)(struct mm *, uint64_t addr, uint64_t end);
        /* Or: to the range, holes and all. => no lock held. */
        int (*whole)(struct mm *, uint64_t addr, uint64_t end);
};

/* --- what changes VMAs --- */

static int set_advice(struct mm *mm, struct vma *v, uint64_t start, uint64_t end,
                      enum vm_advice advice)
{
        if (v->vm_advice == advice)
                return 0;
        if (split_at(mm, start, end))
                return -EAGAIN;
        v = find_vma(mm, start);
        v->vm_advice = advice;
        vma_merge(mm, v);
        return 0;
}

static int advise_normal(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        return set_advice(mm, v, start, end, ADVICE_NORMAL);
}

static int advise_random(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        return set_advice(mm, v, start, end, ADVICE_RANDOM);
}

static int advise_sequential(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        /* What is locked in memory is so because it is shown. */
        bool unload = v->vm_ops == &segvn_ops && !(v->vm_flags & VM_LOCKED);
        int error = set_advice(mm, v, start, end, ADVICE_SEQUENTIAL); /* v may be gone: merged */

        if (!error && unload)
                segvn_unload(mm, start, end);
        return error;
}

static int set_flags(struct mm *mm, struct vma *v, uint64_t start, uint64_t end, unsigned flags)
{
        if (v->vm_flags == flags)
                return 0;
        if (split_at(mm, start, end))
                return -EAGAIN;
        v = find_vma(mm, start);
        v->vm_flags = flags;
        vma_merge(mm, v);
        return 0;
}

static int advise_dontfork(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        return set_flags(mm, v, start, end, v->vm_flags | VM_DONTCOPY);
}

static int advise_dofork(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        return set_flags(mm, v, start, end, v->vm_flags & ~VM_DONTCOPY);
}

static int advise_wipeonfork(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        return set_flags(mm, v, start, end, v->vm_flags | VM_WIPEONFORK);
}

static int advise_keeponfork(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        return set_flags(mm, v, start, end, v->vm_flags & ~VM_WIPEONFORK);
}

/* --- what takes translations away --- */

static int check_unlocked(const struct vma *v)
{
        return v->vm_flags & VM_LOCKED ? -EINVAL : 0;
}

static int check_private_memory(const struct vma *v)
{
        return v->vm_file || v->vm_shared ? -EINVAL : 0;
}

static int check_free(const struct vma *v)
{
        return check_unlocked(v) ? -EINVAL : check_private_memory(v);
}

/* Translations go, private copies with them; the file's pages in the cache stay. FREE does it too:
 * what may be taken any time is taken now. */
static int dontneed(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
        struct iovec iov = { (void *)(uintptr_t)start, end - start };
        int error;

        swap_cancel(mm, start, end - start);
        error = mm_unblank(mm, v, start, end);
        if (!error)
                error = mm->mmu->ops->unmap(mm->mmu, &iov, 1);
        if (error) /* locked in memory, say: it is still shown, and must be known to be */
                return error;
        mm_clear_ptes(mm, start, end - start);
        return 0;
}

/* --- what does I/O on the file --- */

static int willneed(struct file *f, uint64_t first, uint64_t end)
{
        filemap_willneed(f, first, end);
        return 0;
}

static int cold(struct file *f, uint64_t first, uint64_t end)
{
        cold_range(f->mapping, first, end, 1);
        return 0;
}

static int pageout(struct file *f, uint64_t first, uint64_t end)
{
        if (f->mapping->swap_backed) {
                shmem_pageout(f->mapping, first, end, 1);
                return 0;
        }
        evict_range(f->mapping, first, end, 1);
        writeback_start(f->mapping, first, end, UINT64_MAX, 0, WB_RECLAIM, 0);
        return 0;
}

static void memory_pageout(struct mm *mm, uint64_t addr, uint64_t end)
{
        swap_pageout(mm, addr, end);
}

static int check_remove(const struct vma *v)
{
        if ((v->vm_flags & VM_LOCKED) || !v->vm_file)
                return -EINVAL;
        return v->vm_shared && (v->vm_maxprot & PROT_WRITE) ? 0 : -EACCES;
}

/* --- what faults --- */

static int populate_read(struct mm *mm, uint64_t addr, uint64_t end)
{
        return mm_populate(mm, addr, end, POPULATE_READ);
}

static int populate_write(struct mm *mm, uint64_t addr, uint64_t end)
{
        return mm_populate(mm, addr, end, POPULATE_WRITE);
}

static const struct advice_ops advices[] = {
        { MADV_NORMAL, .change = advise_normal },
        { MADV_RANDOM, .change = advise_random },
        { MADV_SEQUENTIAL, .change = advise_sequential },
        { MADV_WILLNEED, .io = willneed, .memory = swap_willneed },
        { MADV_DONTNEED, .check = check_unlocked, .change = dontneed },
        { MADV_DONTNEED_LOCKED, .change = dontneed },
        { MADV_FREE, .check = check_free, .change = dontneed },
        { MADV_REMOVE, .check = check_remove, .io = file_punch_hole },
        { MADV_COLD, .check = check_unlocked, .io = cold, .memory = swap_cold },
        { MADV_PAGEOUT, .check = check_unlocked, .io = pageout, .memory = memory_pageout },
        { MADV_POPULATE_READ, .whole = populate_read },
        { MADV_POPULATE_WRITE, .whole = populate_write },
        { MADV_DONTFORK, .change = advise_dontfork },
        { MADV_DOFORK, .change = advise_dofork },
        { MADV_WIPEONFORK, .check = check_private_memory, .change = advise_wipeonfork },
        { MADV_KEEPONFORK, .change = advise_keeponfork },
};

static const struct advice_ops *find_ops(int advice)
{
        for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
                if (advices[i].advice == advice)
                        return &advices[i];
        return NULL;
}

/* The piece of [*addr, end) at or behind *addr, which becomes its start; NULL: none. *hole is set if
 * something before it is not mapped. => mm->lock */
static struct vma *next_piece(struct mm *mm, uint64_t *addr, uint64_t end, bool *hole)
{
        struct vma *v = find_vma(mm, *addr);

        *hole |= !v || v->vm_start > *addr;
        if (!v || v->vm_start >= min_u64(end, SPACE_SIZE))
                return NULL;
        *addr = max_u64(*addr, v->vm_start);
        return v;
}

static int change_all(struct mm *mm, uint64_t addr, uint64_t end, const struct advice_ops *ops)
{
        bool hole = false;
        int error = 0;
        struct vma *v;

        rwlock_write_lock(&mm->lock);
        while (!error && addr < end && (v = next_piece(mm, &addr, end, &hole))) {
                uint64_t stop = min_u64(end, v->vm_end);

                error = ops->check ? ops->check(v) : 0;
                if (!error)
                        error = ops->change(mm, v, addr, stop);
                addr = stop;
        }
        rwlock_write_unlock(&mm->lock);
        return error || !hole ? error : -ENOMEM;
}

struct piece {
        struct file *f; /* held; NULL: it has none */
        struct page_span pages;
        uint64_t start, end;
        bool shared; /* it has no private pages */
};

/* What is mapped from *addr on; *addr moves behind it. 1: there is something, 0: nothing, or -errno. */
static int take_piece(struct mm *mm, uint64_t *addr, uint64_t end, int (*check)(const struct vma *),
                      bool *hole, struct piece *piece)
{
        struct vma *v;
        int r = 0;

        rwlock_read_lock(&mm->lock);
        v = next_piece(mm, addr, end, hole);
        if (v) {
                uint64_t start = *addr;

                r = check ? check(v) : 0;
                r = r ? r : 1;
                *addr = min_u64(end, v->vm_end);
                *piece = (struct piece){
                        .f = r > 0 ? v->vm_file : NULL,
                        .pages = { vma_index(v, start), (*addr - start) >> PAGE_SHIFT },
                        .start = start,
                        .end = *addr,
                        .shared = v->vm_shared,
                };
                if (piece->f)
                        file_get(piece->f);
        }
        rwlock_read_unlock(&mm->lock);
        return r;
}

static int io_all(struct mm *mm, uint64_t addr, uint64_t end, const struct advice_ops *ops)
{
        struct piece piece;
        bool hole = false;
        int r;

        while (addr < end && (r = take_piece(mm, &addr, end, ops->check, &hole, &piece))) {
                uint64_t first = piece.pages.index;

                if (r < 0)
                        return r;
                r = 0;
                if (piece.f) {
                        r = ops->io(piece.f, first, first + piece.pages.nr);
                        file_put(piece.f);
                }
                if (r)
                        return r;
                if (ops->memory && !piece.shared)
                        ops->memory(mm, piece.start, piece.end);
        }
        return hole ? -ENOMEM : 0;
}

int mm_advise(struct mm *mm, uint64_t addr, uint64_t len, int advice)
{
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE);
        const struct advice_ops *ops = find_ops(advice);

        if (!ops || (addr & ~PAGE_MASK) || end < addr || (len && end == addr))
                return -EINVAL;
        if (len == 0)
                return 0;
        if (ops->whole)
                return ops->whole(mm, addr, end);
        return ops->io ? io_all(mm, addr, end, ops) : change_all(mm, addr, end, ops);
}

int64_t mm_evict(struct mm *mm, uint64_t addr, uint64_t len)
{
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE), evicted = 0;
        struct piece piece;
        bool hole = false;

        if ((addr & ~PAGE_MASK) || end < addr || (len && end == addr))
                return -EINVAL;
        while (addr < end && take_piece(mm, &addr, end, NULL, &hole, &piece)) {
                if (!piece.shared)
                        evicted += swap_pageout(mm, piece.start, piece.end);
                if (piece.f) {
                        struct address_space *m = piece.f->mapping;

                        evicted += (m->swap_backed ? shmem_pageout : evict_range)(
                                m, piece.pages.index, piece.pages.index + piece.pages.nr,
                                UINT32_MAX);
                        file_put(piece.f);
                }
        }
        return (int64_t)(evicted << PAGE_SHIFT);
}
