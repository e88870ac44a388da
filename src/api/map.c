/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c - fl_mmap and the calls on mappings.
 */
#include <errno.h>
#include <stdarg.h>

#include "api/engine.h"
#include "util/mman.h"
#include "vm/memcntl.h"

/* For messages: the file that is mapped at or behind addr. */
static int map_result(struct fl_engine *e, int result, const void *addr, const char *tried)
{
        char name[sizeof(((struct inode *)NULL)->name)];

        if (result >= 0)
                return result;
        return fl_fail(-result, mm_name(e->mm, address_of(addr), name, sizeof(name)), tried, NULL);
}

void *fl_mmap(struct fl_engine *e, void *addr, size_t len, int prot, int flags,
              struct fl_file *file, off_t offset)
{
        uint64_t at = address_of(addr);
        bool anonymous = flags & MAP_ANONYMOUS;
        const char *name = anonymous ? "anonymous memory" : file ? file->file->inode->name : NULL;
        int error;

        begin_call();
        if (fl_refuse(e, "mapping"))
                return MAP_FAILED;
        if (!file && !anonymous) {
                /* The kernel looks at the offset before it looks for the file. */
                fl_fail((uint64_t)offset & ~PAGE_MASK ? EINVAL : EBADF, NULL, "mapping",
                        "no file given");
                return MAP_FAILED;
        }
        error = mm_map(e->mm, &at, len, prot, flags, file ? file->file : NULL, (uint64_t)offset);
        if (error) {
                fl_fail(-error, name, "mapping",
                        error == -ENOMEM ? "Cannot allocate memory; see faultline doctor" : NULL);
                return MAP_FAILED;
        }
        return (void *)(uintptr_t)at;
}

int fl_munmap(struct fl_engine *e, void *addr, size_t len)
{
        begin_call();
        if (fl_refuse(e, "unmapping"))
                return -1;
        return fl_result(mm_unmap(e->mm, address_of(addr), len), NULL, "unmapping");
}

void *fl_mremap(struct fl_engine *e, void *old, size_t old_len, size_t new_len, int flags, ...)
{
        uint64_t to = 0;
        va_list ap;

        begin_call();
        va_start(ap, flags);
        if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
                to = address_of(va_arg(ap, void *));
        va_end(ap);
        if (fl_refuse(e, "mremap"))
                return MAP_FAILED;
        if (map_result(e, mm_remap(e->mm, address_of(old), old_len, new_len, flags, &to), old,
                       "mremap"))
                return MAP_FAILED;
        return (void *)(uintptr_t)to;
}

int fl_mprotect(struct fl_engine *e, void *addr, size_t len, int prot)
{
        begin_call();
        if (fl_refuse(e, "changing a mapping's protection"))
                return -1;
        return map_result(e, mm_protect(e->mm, address_of(addr), len, prot), addr,
                          "changing a mapping's protection");
}

int fl_msync(struct fl_engine *e, void *addr, size_t len, int flags)
{
        begin_call();
        if (fl_refuse(e, "msync"))
                return -1;
        return map_result(e, mm_sync(e->mm, address_of(addr), len, flags), addr, "msync");
}

int fl_madvise(struct fl_engine *e, void *addr, size_t len, int advice)
{
        begin_call();
        if (fl_refuse(e, "madvise"))
                return -1;
        return map_result(e, mm_madvise(e->mm, address_of(addr), len, advice), addr, "madvise");
}

_Static_assert(FL_MC_SYNC == MEMCNTL_SYNC && FL_MC_LOCK == MEMCNTL_LOCK &&
                       FL_MC_UNLOCK == MEMCNTL_UNLOCK && FL_MC_ADVISE == MEMCNTL_ADVISE &&
                       FL_MC_LOCKAS == MEMCNTL_LOCKAS && FL_MC_UNLOCKAS == MEMCNTL_UNLOCKAS &&
                       FL_MADV_ACCESS_DEFAULT == MEMCNTL_ACCESS_DEFAULT &&
                       FL_MADV_ACCESS_LWP == MEMCNTL_ACCESS_LWP &&
                       FL_MADV_ACCESS_MANY == MEMCNTL_ACCESS_MANY,
               "the same numbers");
_Static_assert(FL_INCORE_INCORE == INCORE_INCORE && FL_INCORE_LOCKED == INCORE_LOCKED &&
                       FL_INCORE_HASCOW == INCORE_HASCOW && FL_INCORE_ANON == INCORE_ANON &&
                       FL_INCORE_VNODE == INCORE_VNODE,
               "the same bits");

/* S31. Of a stack and of what brk(2) gives an engine has none, so there is nothing to do. */
static int hat_advise(struct fl_engine *e, void *addr, size_t len, const struct fl_memcntl_mha *mha,
                      int attr)
{
        if (attr || mha->mha_flags)
                return -EINVAL;
        switch (mha->mha_cmd) {
        case FL_MHA_MAPSIZE_VA:
                return mm_advise_page_size(e->mm, address_of(addr), len, mha->mha_pagesize);
        case FL_MHA_MAPSIZE_STACK:
        case FL_MHA_MAPSIZE_BSSBRK:
                return addr || len || !mm_has_page_size(e->mm, mha->mha_pagesize) ? -EINVAL : 0;
        default:
                return -EINVAL;
        }
}

int fl_memcntl(struct fl_engine *e, void *addr, size_t len, int cmd, void *arg, int attr, int mask)
{
        int error;

        begin_call();
        if (fl_refuse(e, "memcntl"))
                return -1;
        if (mask)
                error = -EINVAL; /* S25 */
        else if (cmd == FL_MC_HAT_ADVISE)
                error = arg ? hat_advise(e, addr, len, arg, attr) : -EFAULT;
        else
                error = mm_memcntl(e->mm, address_of(addr), len, cmd, (unsigned long)(uintptr_t)arg,
                                   attr);
        return map_result(e, error, addr, "memcntl");
}

int fl_incore(struct fl_engine *e, void *addr, size_t len, unsigned char *vec)
{
        begin_call();
        if (fl_refuse(e, "incore"))
                return -1;
        return map_result(e, mm_incore(e->mm, address_of(addr), len, vec), addr, "incore");
}

int fl_mlock(struct fl_engine *e, const void *addr, size_t len)
{
        begin_call();
        if (fl_refuse(e, "mlock"))
                return -1;
        return map_result(e, mm_lock(e->mm, address_of(addr), len, false), addr, "mlock");
}

int fl_mlock2(struct fl_engine *e, const void *addr, size_t len, unsigned flags)
{
        begin_call();
        if (fl_refuse(e, "mlock2"))
                return -1;
        if (flags & ~(unsigned)MLOCK_ONFAULT)
                return fl_fail(EINVAL, NULL, "mlock2", NULL);
        return map_result(e, mm_lock(e->mm, address_of(addr), len, flags), addr, "mlock2");
}

int fl_munlock(struct fl_engine *e, const void *addr, size_t len)
{
        begin_call();
        if (fl_refuse(e, "munlock"))
                return -1;
        return map_result(e, mm_unlock(e->mm, address_of(addr), len), addr, "munlock");
}

ssize_t fl_evict(struct fl_engine *e, void *addr, size_t len)
{
        int64_t bytes;

        begin_call();
        if (fl_refuse(e, "evicting"))
                return -1;
        bytes = mm_evict(e->mm, address_of(addr), len);
        return bytes < 0 ? map_result(e, (int)bytes, addr, "evicting") : (ssize_t)bytes;
}

int fl_touch_range(struct fl_engine *e, void *addr, size_t len, int write)
{
        begin_call();
        if (fl_refuse(e, "touching"))
                return -1;
        return map_result(e, mm_touch(e->mm, address_of(addr), len, write), addr, "touching");
}

int fl_mincore(struct fl_engine *e, void *addr, size_t len, unsigned char *vec)
{
        begin_call();
        if (fl_refuse(e, "mincore"))
                return -1;
        return map_result(e, mm_mincore(e->mm, address_of(addr), len, vec), addr, "mincore");
}
