/* SPDX-License-Identifier: Apache-2.0
 *
 * memcntl.c - Solaris's memcntl(2): S25 to S31, under every policy.
 *
 * A table says what each command does to a piece of a VMA. Pieces are taken in the order of their
 * addresses up to the first hole, as as_ctl() does; those that the attributes do not mean are passed
 * by. What does I/O has no lock but the file, one piece at a time.
 */
#include "vm/memcntl.h"

#include <errno.h>

struct piece {
        struct file *f; /* held; NULL: it has none, or is not meant */
        struct page_span pages;
        uint64_t start, end;
        bool shared, locked;
        bool meant; /* by the attributes */
};

struct command_ops {
        int cmd;
        bool everywhere; /* of the whole address space: addr and len are 0 */
        /* Is the argument one? NULL: it is not looked at. */
        bool (*check)(unsigned long arg);
        /* Do it to the range. => no lock held */
        int (*range)(struct mm *, uint64_t addr, uint64_t end, unsigned long arg, int attr);
        /* Or to a piece of it. => no lock held */
        int (*piece)(struct mm *, const struct piece *, unsigned long arg);
};

/* --- pieces --- */

/* The piece at addr; addr moves behind it. 0, or -ENOMEM: a hole. */
static int take_piece(struct mm *mm, uint64_t *addr, uint64_t end, int attr, struct piece *piece)
{
        uint64_t stop;
        struct vma *v;

        rwlock_read_lock(&mm->lock);
        v = vma_at(mm, *addr, end, &stop);
        if (v) {
                *piece = (struct piece){
                        .start = *addr,
                        .end = stop,
                        .shared = v->vm_shared,
                        .locked = v->vm_flags & VM_LOCKED,
                        .meant = attr_matches(v, attr),
                };
                if (piece->meant && v->vm_file) {
                        piece->f = v->vm_file;
                        piece->pages.index = vma_index(v, *addr);
                        piece->pages.nr = (stop - *addr) >> PAGE_SHIFT;
                        file_get(piece->f);
                }
                *addr = stop;
        }
        rwlock_read_unlock(&mm->lock);
        return v ? 0 : -ENOMEM;
}

static int each_piece(struct mm *mm, uint64_t addr, uint64_t end, unsigned long arg, int attr,
                      int (*fn)(struct mm *, const struct piece *, unsigned long))
{
        int error = 0;

        while (!error && addr < end) {
                struct piece piece;
                int r = 0;

                error = take_piece(mm, &addr, end, attr, &piece);
                if (error || !piece.meant)
                        continue;
                error = fn(mm, &piece, arg);
                if (piece.f)
                        r = file_put(piece.f);
                error = error ? error : r;
        }
        return error;
}

/* --- MC_SYNC: S28 --- */

static int sync_file(struct file *f, uint64_t first, uint64_t end, unsigned long flags)
{
        struct address_space *m = f->mapping;

        if (!(flags & MS_ASYNC)) {
                int error = fsync_range(f, first, end, true);

                if (!error && (flags & MS_INVALIDATE))
                        evict_range(m, first, end, UINT32_MAX);
                return error;
        }
        writeback_start(m, first, end, UINT64_MAX, 0, WB_ASKED, 0);
        if (flags & MS_INVALIDATE)
                putpage_range(m, first, end);
        return 0;
}

/* Invalidated it goes to its swap object, if there is one. Otherwise it is where it should be. */
static int sync_memory(struct mm *mm, const struct piece *p, unsigned long flags)
{
        if (!(flags & MS_INVALIDATE))
                return 0;
        if (p->locked)
                return -EBUSY;
        if (p->shared)
                shmem_pageout(p->f->mapping, p->pages.index, p->pages.index + p->pages.nr,
                              UINT32_MAX);
        else
                swap_pageout(mm, p->start, p->end);
        return 0;
}

static int sync_piece(struct mm *mm, const struct piece *p, unsigned long flags)
{
        uint64_t first = p->pages.index, end = first + p->pages.nr, stop;
        bool pinned = false;
        int error;

        if (!p->f || p->f->mapping->swap_backed)
                return sync_memory(mm, p, flags);
        if ((flags & MS_INVALIDATE) && range_is_pinned(p->f->mapping, first, end, &stop)) {
                pinned = true; /* up to it all has been done */
                end = stop;
        }
        error = sync_file(p->f, first, end, flags);
        if (!error && pinned)
                return -EBUSY;
        return error || p->shared ? error : sync_memory(mm, p, flags);
}

static bool check_sync(unsigned long flags)
{
        return !(flags & ~(unsigned long)(MS_SYNC | MS_ASYNC | MS_INVALIDATE)) &&
               (flags & (MS_SYNC | MS_ASYNC)) != (MS_SYNC | MS_ASYNC);
}

/* --- MC_ADVISE: S29 --- */

static int willneed(struct mm *mm, const struct piece *p, unsigned long advice)
{
        uint64_t first = p->pages.index, end = first + p->pages.nr;

        (void)advice;
        if (p->f && p->f->mapping->swap_backed)
                shmem_willneed(p->f, first, end);
        else if (p->f)
                filemap_read_range(p->f, first, end); /* S12 */
        if (!p->shared)
                swap_willneed(mm, p->start, p->end);
        return 0;
}

/* Unlike madvise(2) of Linux it loses nothing, and the file's pages go. */
static int dontneed(struct mm *mm, const struct piece *p, unsigned long advice)
{
        (void)advice;
        return sync_piece(mm, p, MS_ASYNC | MS_INVALIDATE);
}

/* Of memory without a file only, and not of what is locked. What is shared is left as it is. */
static int free_memory(struct mm *mm, const struct piece *p, unsigned long advice)
{
        (void)advice;
        return p->f || p->locked ? 0 : mm_advise(mm, p->start, p->end - p->start, MADV_FREE);
}

static int set_advice(struct mm *mm, const struct piece *p, unsigned long advice)
{
        return mm_advise(mm, p->start, p->end - p->start, (int)advice);
}

/* Whose processors will access it: there is one memory only. */
static int nothing(struct mm *mm, const struct piece *p, unsigned long advice)
{
        (void)mm, (void)p, (void)advice;
        return 0;
}

static const struct {
        unsigned long advice;
        int (*piece)(struct mm *, const struct piece *, unsigned long advice);
} advices[] = {
        { MADV_NORMAL, set_advice },         { MADV_RANDOM, set_advice },
        { MADV_SEQUENTIAL, set_advice },     { MADV_WILLNEED, willneed },
        { MADV_DONTNEED, dontneed },         { MADV_FREE, free_memory },
        { MEMCNTL_ACCESS_DEFAULT, nothing }, { MEMCNTL_ACCESS_LWP, nothing },
        { MEMCNTL_ACCESS_MANY, nothing },
};

static bool check_advice(unsigned long advice)
{
        for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
                if (advices[i].advice == advice)
                        return true;
        return false;
}

static int advise_piece(struct mm *mm, const struct piece *p, unsigned long advice)
{
        for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
                if (advices[i].advice == advice)
                        return advices[i].piece(mm, p, advice);
        return -EINVAL;
}

int mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice)
{
        if (mm->cache->policy->segvn && check_advice((unsigned long)advice))
                return mm_memcntl(mm, addr, len, MEMCNTL_ADVISE, (unsigned long)advice, 0);
        return mm_advise(mm, addr, len, advice);
}

/* --- MC_LOCK and its like: S30 --- */

static int lock_range(struct mm *mm, uint64_t addr, uint64_t end, unsigned long arg, int attr)
{
        (void)arg;
        return lock_matching(mm, addr, end, attr);
}

static int unlock_range(struct mm *mm, uint64_t addr, uint64_t end, unsigned long arg, int attr)
{
        (void)arg;
        return unlock_matching(mm, addr, end, attr);
}

static bool check_lockas(unsigned long flags)
{
        return flags && !(flags & ~(unsigned long)(MCL_CURRENT | MCL_FUTURE));
}

static void lock_future(struct mm *mm, bool yes)
{
        rwlock_write_lock(&mm->lock);
        mm->lock_future = yes;
        rwlock_write_unlock(&mm->lock);
}

static int lock_all(struct mm *mm, uint64_t addr, uint64_t end, unsigned long flags, int attr)
{
        if (flags & MCL_FUTURE)
                lock_future(mm, true);
        return flags & MCL_CURRENT ? lock_matching(mm, addr, end, attr) : 0;
}

static int unlock_all(struct mm *mm, uint64_t addr, uint64_t end, unsigned long flags, int attr)
{
        (void)flags;
        lock_future(mm, false);
        return unlock_matching(mm, addr, end, attr);
}

/* --- MC_HAT_ADVISE: S31 --- */

bool mm_has_page_size(struct mm *mm, uint64_t size)
{
        return size == 0 || size == PAGE_SIZE || size == mm->cache->page_pages * PAGE_SIZE;
}

int mm_advise_page_size(struct mm *mm, uint64_t addr, uint64_t len, uint64_t size)
{
        uint64_t end = addr + len, unit = size ? size : PAGE_SIZE;
        int error = 0;

        if (!mm_has_page_size(mm, size) || addr % unit || len % unit || len == 0)
                return -EINVAL;
        if (end < addr || end > SPACE_SIZE)
                return -ENOMEM;
        rwlock_read_lock(&mm->lock);
        while (!error && addr < end)
                if (!vma_at(mm, addr, end, &addr))
                        error = -ENOMEM;
        rwlock_read_unlock(&mm->lock);
        return error;
}

/* --- the call --- */

static const struct command_ops commands[] = {
        { MEMCNTL_SYNC, .check = check_sync, .piece = sync_piece },
        { MEMCNTL_LOCK, .range = lock_range },
        { MEMCNTL_UNLOCK, .range = unlock_range },
        { MEMCNTL_ADVISE, .check = check_advice, .piece = advise_piece },
        { MEMCNTL_LOCKAS, .everywhere = true, .check = check_lockas, .range = lock_all },
        { MEMCNTL_UNLOCKAS, .everywhere = true, .range = unlock_all },
};

static const struct command_ops *find_command(int cmd)
{
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (commands[i].cmd == cmd)
                        return &commands[i];
        return NULL;
}

/* S25: EINVAL of the range before ENOMEM, and that before what is wrong with the rest. */
static int check_call(const struct command_ops *ops, uint64_t addr, uint64_t len, unsigned long arg,
                      int attr)
{
        if (!ops)
                return -EINVAL;
        if (ops->everywhere ? addr || len : (addr & ~PAGE_MASK) || len == 0)
                return -EINVAL;
        if (addr + len < addr || addr + len > SPACE_SIZE)
                return -ENOMEM;
        if ((attr & ~(ATTR_PROT | ATTR_SHARED | ATTR_PRIVATE)) ||
            (attr & (ATTR_SHARED | ATTR_PRIVATE)) == (ATTR_SHARED | ATTR_PRIVATE))
                return -EINVAL;
        return ops->check && !ops->check(arg) ? -EINVAL : 0;
}

int mm_memcntl(struct mm *mm, uint64_t addr, uint64_t len, int cmd, unsigned long arg, int attr)
{
        const struct command_ops *ops = find_command(cmd);
        int error = check_call(ops, addr, len, arg, attr);
        uint64_t end;

        if (error)
                return error;
        if (ops->everywhere)
                end = SPACE_SIZE;
        else if (cmd == MEMCNTL_ADVISE && arg == MADV_FREE)
                end = addr + (len & PAGE_MASK); /* S29 */
        else
                end = addr + round_up_u64(len, PAGE_SIZE);
        if (ops->range)
                return ops->range(mm, addr, end, arg, attr);
        return each_piece(mm, addr, end, arg, attr, ops->piece);
}
