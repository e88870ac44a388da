/* SPDX-License-Identifier: Apache-2.0
 *
 * sigsegv_page.c - translations: pages shown, protected, and taken away, by way of shadow.c; and private
 * ones filled and read by way of /proc/self/mem.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "mmu/sigsegv.h"
#include "util/mman.h"

struct map_run {
        bool wp, existed;
};

static uint8_t want_mapped(uint8_t old, const struct range *r, void *arg)
{
        struct map_run *run = arg;

        (void)r;
        if (old & SHOWN) {
                run->existed = true;
                return (old & ~HIDDEN) | TOUCHED;
        }
        return old | SHOWN | TOUCHED | (run->wp ? 0 : WRITABLE);
}

/* By way of /proc/self/mem, which reads below any protection. A page of a file's private mapping that
 * the kernel may not have copied yet is left alone. */
uint64_t sigsegv_read(struct mmu *m, uint64_t addr, uint64_t nr, char *buf)
{
        struct sigsegv *s = sigsegv_of(m);
        struct range *r;
        uint64_t n = 0;
        ssize_t got;

        mutex_lock(&s->lock);
        r = range_find(&s->shadow.ranges, addr);
        if (r && r->start <= addr) {
                uint8_t need = r->fd < 0 ? SHOWN : SHOWN | COPIED;

                nr = min_u64(nr, (r->end - addr) >> PAGE_SHIFT);
                while (n < nr && (shadow_byte(&s->shadow, addr + (n << PAGE_SHIFT)) & need) == need)
                        n++;
        }
        mutex_unlock(&s->lock);
        got = n ? pread(s->mem, buf, n << PAGE_SHIFT, (off_t)addr) : 0;
        return got > 0 ? (uint64_t)got >> PAGE_SHIFT : 0;
}

int sigsegv_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed)
{
        struct sigsegv *s = sigsegv_of(m);
        struct map_run run = { .wp = wp };
        int error;

        mutex_lock(&s->lock);
        error = shadow_change(&s->shadow, addr, addr + (nr << PAGE_SHIFT), true, want_mapped, &run);
        mutex_unlock(&s->lock);
        *existed = run.existed;
        return error;
}

static uint8_t want_nothing(uint8_t old, const struct range *r, void *arg)
{
        (void)old, (void)r, (void)arg;
        return 0;
}

static uint8_t want_copied(uint8_t old, const struct range *r, void *wp)
{
        (void)r;
        return (old & ~HIDDEN) | SHOWN | COPIED | TOUCHED | (*(bool *)wp ? 0 : WRITABLE);
}

/* Pages of a private mapping are made while nobody can access them. To write there the kernel
 * copies the file's page first, and makes one of zeros if there is none: that one is given back.
 * => s->lock held; nothing is shown there */
static int fill(struct sigsegv *s, const struct range *r, uint64_t addr, const void *pages,
                uint64_t nr)
{
        off_t at = (off_t)(r->offset + (addr - r->start));
        size_t len = nr << PAGE_SHIFT;
        bool hole = r->fd >= 0 && lseek(r->fd, at, SEEK_DATA) != at;
        ssize_t n = pwrite(s->mem, pages, len, (off_t)addr);

        mutex_assert_held(&s->lock);
        if (hole)
                fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)len);
        if (n == (ssize_t)len)
                return 0;
        madvise(pointer(addr), len, MADV_DONTNEED);
        return n < 0 && errno == ENOMEM ? -ENOMEM : -ENOENT;
}

/* How many pages from addr on, at most nr, lie in r and show nothing. */
static uint64_t room_at(struct sigsegv *s, const struct range *r, uint64_t addr, uint64_t nr)
{
        uint64_t n = 0;

        nr = min_u64(nr, (r->end - addr) >> PAGE_SHIFT);
        while (n < nr && !(shadow_byte(&s->shadow, addr + (n << PAGE_SHIFT)) & (SHOWN | COPIED)))
                n++;
        return n;
}

/* One page of a file at a time, since each may have a frame or none. Pages made, or -errno. */
static int64_t copy_locked(struct sigsegv *s, uint64_t addr, const void *pages, uint64_t nr,
                           bool wp)
{
        struct range *r = range_find(&s->shadow.ranges, addr);
        uint64_t end;
        int error;

        if (!r || r->start > addr)
                return -ENOENT;
        nr = room_at(s, r, addr, r->fd < 0 ? nr : 1);
        if (!nr)
                return -EEXIST;
        end = addr + (nr << PAGE_SHIFT);
        error = fill(s, r, addr, pages, nr);
        if (error)
                return error;
        error = shadow_change(&s->shadow, addr, end, true, want_copied, &wp);
        if (!error)
                return (int64_t)nr;
        shadow_restrict(&s->shadow, addr, end, want_nothing);
        madvise(pointer(addr), end - addr, MADV_DONTNEED);
        return error;
}

int sigsegv_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp,
                 uint64_t *done)
{
        struct sigsegv *s = sigsegv_of(m);
        const char *from = pages;
        int64_t made = 0;
        uint64_t all = 0;

        mutex_lock(&s->lock);
        for (; all < nr && made >= 0; all += made > 0 ? (uint64_t)made : 0)
                made = copy_locked(s, addr + (all << PAGE_SHIFT), from + (all << PAGE_SHIFT),
                                   nr - all, wp);
        mutex_unlock(&s->lock);
        if (done)
                *done = all;
        return made < 0 ? (int)made : 0;
}

/* Read-only, memory without a file is the kernel's page of zeros, and no store can get in. */
int sigsegv_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own)
{
        struct sigsegv *s = sigsegv_of(m);
        struct map_run run = { .wp = true };
        struct range *r;
        int error = -ENOENT;

        *own = 0;
        mutex_lock(&s->lock);
        r = range_find(&s->shadow.ranges, addr);
        if (r && r->start <= addr) {
                nr = room_at(s, r, addr, nr);
                error = nr ? shadow_change(&s->shadow, addr, addr + (nr << PAGE_SHIFT), true,
                                           want_mapped, &run)
                           : -EEXIST;
        }
        mutex_unlock(&s->lock);
        return error ? error : (int)nr;
}

static uint8_t want_protected(uint8_t old, const struct range *r, void *arg)
{
        (void)r, (void)arg;
        return old & ~WRITABLE;
}

int sigsegv_write_protect(struct mmu *m, uint64_t addr, uint64_t nr)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        mutex_lock(&s->lock);
        error = shadow_restrict(&s->shadow, addr, addr + (nr << PAGE_SHIFT), want_protected);
        mutex_unlock(&s->lock);
        return error;
}

static uint8_t want_writable(uint8_t old, const struct range *r, void *arg)
{
        (void)arg;
        if (!(old & SHOWN))
                return old;
        return (old & ~HIDDEN) | WRITABLE | TOUCHED | (r->private ? COPIED : 0);
}

/* The kernel is to copy a private page now, while the caller holds the file's page and its frame
 * is there: at the next store it may have gone, and nobody would be told. Where no store is allowed
 * none has faulted: it is a page of its own, that comes back from its way to swap.
 * => s->lock held */
static void copy_now(struct sigsegv *s, uint64_t addr)
{
        struct range *r = range_find(&s->shadow.ranges, addr);

        mutex_assert_held(&s->lock);
        if (!r || r->start > addr || !(r->prot & PROT_WRITE))
                return;
        if (madvise(pointer(addr), PAGE_SIZE, MADV_POPULATE_WRITE) && errno == EINVAL)
                __atomic_fetch_or((char *)pointer(addr), 0, __ATOMIC_SEQ_CST); /* before 5.14 */
}

int sigsegv_unprotect(struct mmu *m, uint64_t addr, uint64_t nr)
{
        struct sigsegv *s = sigsegv_of(m);
        uint64_t end = addr + (nr << PAGE_SHIFT);
        int error;

        mutex_lock(&s->lock);
        error = shadow_change(&s->shadow, addr, end, false, want_writable, NULL);
        for (; !error && addr < end; addr += PAGE_SIZE)
                if (shadow_byte(&s->shadow, addr) & COPIED)
                        copy_now(s, addr);
        mutex_unlock(&s->lock);
        return error;
}

/* => s->lock held */
static int unmap_locked(struct sigsegv *s, uint64_t addr, uint64_t end)
{
        int error = shadow_restrict(&s->shadow, addr, end, want_nothing);

        mutex_assert_held(&s->lock);
        for (struct range *r = range_find(&s->shadow.ranges, addr); r && r->start < end;
             r = range_next(r)) {
                uint64_t from = max_u64(addr, r->start);

                /* Of the file's pages it takes nothing that is shown elsewhere. */
                if (r->private && !error &&
                    madvise(pointer(from), min_u64(end, r->end) - from, MADV_DONTNEED))
                        error = -errno;
        }
        return error;
}

int sigsegv_unmap(struct mmu *m, const struct iovec *runs, unsigned nr)
{
        struct sigsegv *s = sigsegv_of(m);
        int error = 0;

        mutex_lock(&s->lock);
        for (unsigned i = 0; i < nr; i++) {
                uint64_t addr = (uint64_t)(uintptr_t)runs[i].iov_base;
                int r = unmap_locked(s, addr, addr + runs[i].iov_len);

                error = error ? error : r;
        }
        mutex_unlock(&s->lock);
        return error;
}

/* A page that is not shown stays so, and the client says SIGBUS at each fault. */
int sigsegv_poison(struct mmu *m, uint64_t addr, uint64_t nr)
{
        struct sigsegv *s = sigsegv_of(m);
        int error = 0;

        mutex_lock(&s->lock);
        for (uint64_t i = 0; i < nr && !error; i++)
                if (shadow_byte(&s->shadow, addr + (i << PAGE_SHIFT)))
                        error = -EEXIST;
        mutex_unlock(&s->lock);
        return error;
}
