/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c - mmap, munmap and mprotect on an mm: checks and errors in the kernel's order
 * (L37 to L40), then the kernel's own mapping and our VMA changed together.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "vm/fault.h"
#include "vm/map.h"

/* What MAP_SHARED_VALIDATE takes: these, and what has no effect on mappings of files. */
#define KNOWN_FLAGS                                                                                \
        (MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_NORESERVE | MAP_ANONYMOUS | MAP_LOCKED | \
         MAP_POPULATE | MAP_NONBLOCK | MAP_GROWSDOWN | MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE)

void detach(struct mm *mm, uint64_t start, uint64_t end, struct vma_list *gone)
{
        struct vma *v = find_vma(mm, start), *next;

        for (; v && v->vm_start < end; v = next) {
                next = vma_next(v);
                vma_unlink(mm, v);
                vma_remove_view_locked(v);
                TAILQ_INSERT_TAIL(gone, v, vm_list);
                if (v->vm_flags & VM_LOCKED)
                        budget_reconsider(mm->cache);
        }
}

void free_vma_list(struct vma_list *gone)
{
        struct vma *v;

        while ((v = TAILQ_FIRST(gone))) {
                TAILQ_REMOVE(gone, v, vm_list);
                vma_free(v);
        }
}

/* L38, L39: 0 and *maxprot, or -errno. */
static int check_access(struct file *f, int prot, int flags, int *maxprot)
{
        int mode = f ? f->oflags & O_ACCMODE : 0;

        *maxprot = PROT_READ | PROT_WRITE | PROT_EXEC;
        if (!f)
                return 0;
        if (mode == O_WRONLY)
                return -EACCES;
        if ((flags & MAP_SHARED) && mode == O_RDONLY) {
                if (prot & PROT_WRITE)
                        return -EACCES;
                *maxprot &= ~PROT_WRITE;
        }
        if ((flags & MAP_SHARED) && (prot & PROT_WRITE) && f->inode->append_only)
                return -EACCES;
        if (!f->inode->f_op || !f->inode->f_op->map)
                return -ENODEV;
        return f->inode->f_op->map(f->inode, prot, flags, maxprot);
}

/* L39: what the kernel looks at before it looks whether the place is free; *len is rounded up. */
static int check_span(uint64_t addr, uint64_t *len, int flags, const struct file *f,
                      uint64_t offset)
{
        uint64_t rounded = round_up_u64(*len, PAGE_SIZE);

        if (offset & ~PAGE_MASK)
                return -EINVAL;
        if (!f && !(flags & MAP_ANONYMOUS))
                return -EBADF;
        if (*len == 0)
                return -EINVAL;
        if (rounded < *len || rounded > 1ull << 47)
                return -ENOMEM;
        if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (addr & ~PAGE_MASK))
                return -EINVAL;
        *len = rounded;
        return 0;
}

/* And what after that. */
static int check_kind(uint64_t len, int flags, struct file *f, uint64_t offset)
{
        int type = flags & MAP_TYPE;

        if (f && (offset >> PAGE_SHIFT) + (len >> PAGE_SHIFT) >= 1ull << 51)
                return -EOVERFLOW;
        if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
                return -EINVAL;
        if (!f && type == MAP_SHARED_VALIDATE)
                return -EINVAL; /* there is no file that could say what it knows */
        if (type == MAP_SHARED_VALIDATE && (flags & ~KNOWN_FLAGS))
                return -EOPNOTSUPP;
        return 0;
}

int place(struct mm *mm, uint64_t *addr, uint64_t len, int prot, int flags, int fd, uint64_t offset)
{
        const struct mmu_ops *ops = mm->mmu->ops;
        uint64_t hint = *addr;

        if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
                return ops->reserve(mm->mmu, addr, len, prot, flags, fd, offset);
        for (int tries = 0; tries < 4; tries++) {
                uint64_t at = get_unmapped_area(mm, hint & PAGE_MASK, len);
                int r;

                if (!at)
                        break;
                r = ops->reserve(mm->mmu, &at, len, prot, flags | MAP_FIXED_NOREPLACE, fd, offset);
                if (r == 0)
                        *addr = at;
                if (r != -EEXIST)
                        return r;
                hint = at + len; /* somebody else's mapping is in our window */
        }
        *addr = 0;
        return ops->reserve(mm->mmu, addr, len, prot, flags, fd, offset);
}

/* => mm->lock write; the VMA is in nobody's sight yet */
static int map_locked(struct mm *mm, struct vma *v, uint64_t len, int prot, int flags,
                      uint64_t offset, uint64_t *addr, struct vma_list *gone)
{
        struct address_space *m = v->vm_file ? v->vm_file->mapping : NULL;
        int fd = m ? m->frames->ops->fd(m->frames) : -1;
        struct rmap_guard guard;
        uint64_t end;
        int error;

        rwlock_assert_write_held(&mm->lock);
        if (mm->map_count >= MAX_MAPS)
                return -ENOMEM;
        if (flags & MAP_FIXED) {
                end = *addr + len;
                error = split_at(mm, *addr, end);
                if (error)
                        return error;
                guard_lock(&guard, mm, *addr, end, m);
        } else {
                guard_lock(&guard, mm, 0, 0, m);
        }
        if (flags & MAP_FIXED)
                swap_cancel(mm, *addr, len);
        error = place(mm, addr, len, prot, flags, fd, offset);
        if (error) {
                guard_unlock(&guard);
                return error;
        }
        if (flags & MAP_FIXED) {
                detach(mm, *addr, *addr + len, gone);
                mm_clear_ptes(mm, *addr, len);
        }
        v->vm_start = *addr;
        v->vm_end = *addr + len;
        if (!v->vm_file)
                v->vm_pgoff = v->vm_start >> PAGE_SHIFT;
        vma_add_view_locked(v);
        guard_unlock(&guard);
        vma_link(mm, v);
        vma_merge(mm, v);
        return 0;
}

/* The kernel looks for what is in the way before it looks at the file. What is not ours is found
 * when it comes to mapping. */
static int check_place(struct mm *mm, uint64_t addr, uint64_t len, int flags)
{
        bool taken = false;
        struct vma *v;

        if (flags & MAP_FIXED_NOREPLACE) {
                rwlock_read_lock(&mm->lock);
                v = find_vma(mm, addr);
                taken = v && v->vm_start < addr + len;
                rwlock_read_unlock(&mm->lock);
        }
        return taken ? -EEXIST : 0;
}

/* The VMA, with its file, if it has one: shared memory gets a new one of its own, all of it, as the
 * kernel's. NULL: no memory. => no lock held */
static struct vma *new_vma(struct mm *mm, struct file *f, bool shared, uint64_t len,
                           uint64_t offset)
{
        struct vma *v = vma_alloc(mm);
        struct file *memory = NULL;

        if (!v)
                return NULL;
        if (!f && shared && shmem_file_setup(mm->cache, len, &memory)) {
                vma_free(v);
                return NULL;
        }
        v->vm_shared = shared;
        v->vm_rules = mm->rules;
        v->vm_file = f ? f : memory;
        if (f)
                v->vm_pgoff = offset >> PAGE_SHIFT;
        if (v->vm_file) {
                v->vm_ops = memory                     ? &shmem_vm_ops
                            : mm->cache->policy->segvn ? &segvn_ops
                                                       : &file_vm_ops;
                v->vm_ops->open(v);
        }
        if (memory)
                file_put(memory); /* the VMA has it now */
        return v;
}

/* The address space is locked, what it will have included: the new mapping is there, or is not. */
static int lock_new(struct mm *mm, uint64_t addr, uint64_t len)
{
        if (mm_populate(mm, addr, addr + len, POPULATE_NATURAL) != -ENOMEM)
                return 0; /* past the end of the file, say, or not to be touched */
        mm_unmap(mm, addr, len);
        return -EAGAIN;
}

/* What Linux refuses, in its order. *len is rounded up. 0 and *maxprot, or -errno. */
static int check_map(struct mm *mm, uint64_t addr, uint64_t *len, int prot, int flags,
                     struct file *f, uint64_t offset, int *maxprot)
{
        bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
        int error = check_span(addr, len, flags, f, offset);

        if (!error)
                error = check_place(mm, addr, *len, flags);
        if (!error)
                error = check_kind(*len, flags, f, offset);
        flags = (flags & ~MAP_TYPE) | (shared ? MAP_SHARED : MAP_PRIVATE);
        if (!error)
                error = check_access(f, prot, flags, maxprot);
        if (!error && f)
                error = check_mandatory(mm, f, flags);
        if (!error && (flags & MAP_GROWSDOWN))
                error = -EINVAL; /* not of a file; and nothing here grows down */
        /* Of memory that is shared the kernel asks whatever may be done to it now. */
        if (!error && !f && ((prot & PROT_WRITE) || shared) && !(flags & MAP_NORESERVE) &&
            !private_can_fit(mm, *len >> PAGE_SHIFT))
                error = -ENOMEM;
        return error;
}

int mm_map(struct mm *mm, uint64_t *addr, uint64_t len, int prot, int flags, struct file *f,
           uint64_t offset)
{
        struct vma_list gone = TAILQ_HEAD_INITIALIZER(gone);
        bool shared = (flags & MAP_TYPE) != MAP_PRIVATE, future;
        int error, maxprot;
        struct vma *v;

        prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
        if (mm->cache->policy->segvn) {
                error = smmap_check(mm, *addr, &len, &prot, flags, f, offset, &maxprot);
                if (!error)
                        error = check_place(mm, *addr, len, flags);
        } else {
                if (flags & MAP_ANONYMOUS)
                        f = NULL; /* as the kernel: the descriptor is ignored */
                error = check_map(mm, *addr, &len, prot, flags, f, offset, &maxprot);
        }
        if (error)
                return error;
        flags = (flags & ~MAP_TYPE) | (shared ? MAP_SHARED : MAP_PRIVATE);
        if (!f)
                offset = 0; /* ignored as well: shared memory begins with its first page */
        v = new_vma(mm, f, shared, len, offset);
        if (!v)
                return -ENOMEM;
        v->vm_prot = prot;
        v->vm_maxprot = maxprot;
        v->vm_flags =
                (flags & MAP_LOCKED ? VM_LOCKED : 0) |
                (mm->cache->policy->segvn && !shared && (flags & MAP_NORESERVE) ? VM_NORESERVE : 0);
        rwlock_write_lock(&mm->lock);
        future = mm->lock_future;
        if (future)
                v->vm_flags |= VM_LOCKED;
        if ((v->vm_flags & VM_LOCKED) && !mm_may_lock(mm, (int64_t)(len >> PAGE_SHIFT)))
                error = -EAGAIN;
        if (!error)
                error = swap_reserve(mm, v, len >> PAGE_SHIFT, prot, *addr,
                                     flags & MAP_FIXED ? *addr + len : *addr);
        if (!error)
                error = map_locked(mm, v, len, prot, flags, offset, addr, &gone);
        rwlock_write_unlock(&mm->lock);
        if (error)
                vma_free(v);
        free_vma_list(&gone);
        /* L40: what cannot be had now raises its signal when it is touched. */
        if (!error &&
            ((flags & MAP_LOCKED) || (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE))
                mm_populate(mm, *addr, *addr + len, POPULATE_NATURAL);
        if (!error && future) /* S5 */
                error = lock_new(mm, *addr, len);
        return error;
}

int unmap_locked(struct mm *mm, uint64_t start, uint64_t end, struct vma_list *gone)
{
        struct rmap_guard guard;
        int error = split_at(mm, start, end);

        rwlock_assert_write_held(&mm->lock);
        if (error)
                return error;
        guard_lock(&guard, mm, start, end, NULL);
        swap_cancel(mm, start, end - start);
        /* Ours only: what else lies in the range is not the engine's to unmap. What the kernel does
         * not let go of (it may want a mapping more for what is left) is mapped, and stays ours. */
        for (struct vma *v = find_vma(mm, start); v && v->vm_start < end; v = vma_next(v)) {
                error = mm->mmu->ops->release(mm->mmu, v->vm_start, v->vm_end - v->vm_start);
                if (error)
                        end = v->vm_start;
        }
        detach(mm, start, end, gone);
        mm_clear_ptes(mm, start, end - start);
        guard_unlock(&guard);
        if (error)
                vma_merge(mm, find_vma(mm, end));
        return error;
}

int mm_unmap(struct mm *mm, uint64_t addr, uint64_t len)
{
        struct vma_list gone = TAILQ_HEAD_INITIALIZER(gone);
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE);
        int error;

        if ((addr & ~PAGE_MASK) || len == 0 || end <= addr || end > SPACE_SIZE)
                return -EINVAL;
        rwlock_write_lock(&mm->lock);
        error = unmap_locked(mm, addr, end, &gone);
        rwlock_write_unlock(&mm->lock);
        free_vma_list(&gone);
        return error;
}

int span_end(uint64_t addr, uint64_t len, uint64_t *end)
{
        *end = addr + round_up_u64(len, PAGE_SIZE);
        if (addr & ~PAGE_MASK)
                return -EINVAL;
        return *end < addr || (len && *end == addr) ? -ENOMEM : 0;
}

/* Locked private memory that may be stored to from now on: its copies are to be there, too. */
static bool wants_copies(const struct vma *v, int prot)
{
        return (v->vm_flags & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED && !v->vm_shared &&
               !(v->vm_prot & PROT_WRITE) && (prot & PROT_WRITE);
}

/* => write lock. Up to the first hole, or VMA that may not have prot, as the kernel does. *addr goes
 * on; 1: it stopped behind a piece, from *piece on, which is to be populated before the next. */
static int protect_locked(struct mm *mm, uint64_t *addr, uint64_t end, int prot, uint64_t *piece)
{
        rwlock_assert_write_held(&mm->lock);
        while (*addr < end) {
                uint64_t stop;
                struct vma *v = vma_at(mm, *addr, end, &stop);
                bool populate;
                int error;

                if (!v)
                        return -ENOMEM;
                if (prot & ~v->vm_maxprot)
                        return -EACCES;
                populate = wants_copies(v, prot);
                if (v->vm_prot != prot) {
                        error = split_at(mm, *addr, stop);
                        if (error)
                                return error;
                        v = find_vma(mm, *addr);
                        if (swap_reserve(mm, v, (stop - *addr) >> PAGE_SHIFT, prot, 0, 0)) {
                                vma_merge(mm, v);
                                return -ENOMEM; /* S5 */
                        }
                        error = mm->mmu->ops->protect(mm->mmu, *addr, stop - *addr, prot);
                        if (error) { /* what it has done of it is undone */
                                mm->mmu->ops->protect(mm->mmu, *addr, stop - *addr, v->vm_prot);
                                vma_merge(mm, v);
                                return error;
                        }
                        v->vm_prot = prot;
                        vma_merge(mm, v);
                }
                *piece = *addr;
                *addr = stop;
                if (populate)
                        return 1;
        }
        return 0;
}

/* PROT_GROWSDOWN and PROT_GROWSUP want a stack, and ours are none. => mm->lock */
static int refuse_growing(struct mm *mm, uint64_t addr, uint64_t end, bool down)
{
        struct vma *v = find_vma(mm, addr);

        return v && (down ? v->vm_start < end : v->vm_start <= addr) ? -EINVAL : -ENOMEM;
}

int mm_protect(struct mm *mm, uint64_t addr, uint64_t len, int prot)
{
        const int grows = PROT_GROWSDOWN | PROT_GROWSUP;
        uint64_t end = addr + round_up_u64(len, PAGE_SIZE), piece = addr;
        int error;

        if ((addr & ~PAGE_MASK) || (prot & grows) == grows)
                return -EINVAL;
        if (len == 0)
                return 0;
        if (end <= addr)
                return -ENOMEM;
        if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | grows))
                return -EINVAL;
        do {
                rwlock_write_lock(&mm->lock);
                if (prot & grows)
                        error = refuse_growing(mm, addr, end, prot & PROT_GROWSDOWN);
                else
                        error = protect_locked(mm, &addr, end, prot, &piece);
                rwlock_write_unlock(&mm->lock);
                if (error > 0)
                        mm_populate(mm, piece, addr, POPULATE_NATURAL);
        } while (error > 0);
        return error;
}
