/* SPDX-License-Identifier: Apache-2.0
 *
 * smmap.c - Solaris's mmap: what it refuses, in its order and with its errors (smmap_common and ufs_map,
 * S1 to S3), and swap that is reserved when something is mapped (S4, S5). What has no error of its own
 * there is as in map.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/mman.h"
#include "vm/fault.h"
#include "vm/map.h"

#define KNOWN_FLAGS                                                                                \
        (MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_NORESERVE | MAP_ANONYMOUS | MAP_LOCKED | \
         MAP_POPULATE | MAP_NONBLOCK | MAP_STACK)

/* S1. */
static int check_arguments(uint64_t addr, uint64_t len, int flags, const struct file *f,
                           uint64_t offset)
{
        int type = flags & MAP_TYPE;

        if ((flags & ~KNOWN_FLAGS) || (type != MAP_SHARED && type != MAP_PRIVATE) || len == 0 ||
            (offset & ~PAGE_MASK) || ((flags & MAP_ANONYMOUS) && f))
                return -EINVAL;
        if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (addr & ~PAGE_MASK))
                return -EINVAL;
        return !f && !(flags & MAP_ANONYMOUS) ? -EBADF : 0;
}

/* S2, S3. */
static int check_file(struct mm *mm, const struct file *f, uint64_t len, int *prot, int flags,
                      uint64_t offset, int *maxprot)
{
        const struct file_operations *ops = f->inode->f_op;
        int mode = f->oflags & O_ACCMODE, error;

        if (f->inode->noexec)
                *maxprot &= ~PROT_EXEC;
        if ((flags & MAP_TYPE) == MAP_SHARED && mode == O_RDONLY)
                *maxprot &= ~PROT_WRITE;
        if ((int64_t)offset < 0)
                return -ENXIO;
        if (len > (uint64_t)INT64_MAX - offset)
                return -EOVERFLOW;
        if (mm->cache->policy->segvn->reduces_prot)
                *prot &= *maxprot;
        if ((*prot & ~*maxprot) || mode == O_WRONLY)
                return -EACCES;
        if (!ops || !ops->map)
                return -ENOSYS; /* VNOMAP */
        error = ops->map(f->inode, *prot, flags, maxprot);
        return error ? error : check_mandatory(mm, f, flags);
}

int smmap_check(struct mm *mm, uint64_t addr, uint64_t *len, int *prot, int flags,
                const struct file *f, uint64_t offset, int *maxprot)
{
        uint64_t rounded = round_up_u64(*len, PAGE_SIZE);
        int error = check_arguments(addr, *len, flags, f, offset);

        *maxprot = PROT_READ | PROT_WRITE | PROT_EXEC;
        if (!error && f)
                error = check_file(mm, f, *len, prot, flags, offset, maxprot);
        if (!error && (rounded < *len || rounded > 1ull << 47))
                error = -ENOMEM;
        *len = rounded;
        return error;
}

int check_mandatory(struct mm *mm, const struct file *f, int flags)
{
        enum mandatory_locks rule = mm->cache->policy->mandatory;
        const struct inode *inode = f->inode;
        struct stat st;

        if (rule == MANDATORY_IGNORED || !inode->f_op->locked)
                return 0;
        if (rule == MANDATORY_SHARED && (flags & MAP_TYPE) == MAP_PRIVATE)
                return 0;
        inode->i_op->getattr(f->inode, &st);
        if (!S_ISREG(st.st_mode) || (st.st_mode & (S_ISGID | S_IXGRP)) != S_ISGID)
                return 0;
        return rule == MANDATORY_ALWAYS || inode->f_op->locked(f->inode) ? -EAGAIN : 0;
}

/* Pages of [start, end) that swap has been promised for. The mappings of children are not asked for. */
static uint64_t reserved(struct mm *mm, uint64_t start, uint64_t end)
{
        uint64_t pages = 0;

        end = min_u64(end, SPACE_SIZE);
        for (struct vma *v = find_vma(mm, start); v && v->vm_start < end; v = vma_next(v))
                if (v->vm_flags & VM_RESERVED)
                        pages += (min_u64(end, v->vm_end) - max_u64(start, v->vm_start)) >>
                                 PAGE_SHIFT;
        return pages;
}

bool swap_can_promise(struct mm *mm, uint64_t pages, uint64_t start, uint64_t end)
{
        return private_can_fit(mm, reserved(mm, 0, SPACE_SIZE) - reserved(mm, start, end) + pages);
}

int swap_reserve(struct mm *mm, struct vma *v, uint64_t pages, int prot, uint64_t start,
                 uint64_t end)
{
        bool anonymous = !v->vm_file || v->vm_file->mapping->swap_backed;

        rwlock_assert_write_held(&mm->lock);
        if (!mm->cache->policy->segvn || (v->vm_flags & (VM_RESERVED | VM_NORESERVE)))
                return 0;
        if (!anonymous && (v->vm_shared || !(prot & PROT_WRITE)))
                return 0;
        if (!swap_can_promise(mm, pages, start, end))
                return -EAGAIN;
        v->vm_flags |= VM_RESERVED;
        return 0;
}
