/* SPDX-License-Identifier: Apache-2.0
 *
 * sigsegv_range.c - mappings of the kernel's that show nothing yet, and what is known of each: made,
 * given back, moved, protected; and the one page that stands in for another.
 */
#include <errno.h>

#include "mmu/blank.h"
#include "mmu/pieces.h"
#include "mmu/sigsegv.h"
#include "util/mman.h"

static uint64_t count_ranges(struct shadow *s, uint64_t start, uint64_t end)
{
        uint64_t n = 0;

        for (struct range *r = range_find(&s->ranges, start); r && r->start < end;
             r = range_next(r))
                n++;
        return n;
}

/* Ranges begin and end at start and end. => s->lock held. 0 or -ENOMEM */
static int split(struct sigsegv *s, uint64_t start, uint64_t end)
{
        uint64_t from = start ? start - 1 : 0, before, after;
        int error;

        mutex_assert_held(&s->lock);
        before = count_ranges(&s->shadow, from, end + 1);
        error = range_split(&s->shadow.ranges, start, end);
        after = count_ranges(&s->shadow, from, end + 1);
        s->shadow.nr_ranges += after - before;
        return error;
}

/* What was in the range is gone. => s->lock held, split there */
static void forget(struct sigsegv *s, uint64_t start, uint64_t end)
{
        mutex_assert_held(&s->lock);
        shadow_forget(&s->shadow, start, end);
        s->shadow.nr_ranges -= count_ranges(&s->shadow, start, end);
        range_remove(&s->shadow.ranges, start, end);
}

/* A mapping without access, not inherited, not dumped. */
static int map_aside(uint64_t want, uint64_t len, int flags, int fd, uint64_t offset, void **out)
{
        int kind = ((flags & MAP_SHARED) ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
        void *p = mmap(pointer(want), len, PROT_NONE,
                       kind | MAP_NORESERVE | (flags & MAP_FIXED_NOREPLACE), fd, (off_t)offset);
        int error;

        if (p == MAP_FAILED)
                return -errno;
        *out = p;
        if (fd < 0) /* a part of a huge page that is given back is not given back */
                madvise(p, len, MADV_NOHUGEPAGE);
        if ((flags & MAP_FIXED_NOREPLACE) && p != pointer(want))
                errno = EEXIST; /* a kernel that ignores the flag */
        else if (!munlock(p, len) && !madvise(p, len, MADV_DONTFORK) &&
                 !madvise(p, len, MADV_DONTDUMP))
                return 0;
        error = -errno;
        munmap(p, len);
        return error;
}

static int place(struct sigsegv *s, uint64_t *addr, uint64_t len, int flags, int fd,
                 uint64_t offset)
{
        bool replace = flags & MAP_FIXED;
        void *p = NULL;
        int error = map_aside(replace ? 0 : *addr, len, flags, fd, offset, &p);

        mutex_assert_held(&s->lock);
        if (error || !p)
                return error;
        /* In one step: whoever touches it meanwhile finds the old or the new. */
        if (replace &&
            mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, pointer(*addr)) == MAP_FAILED) {
                error = -errno;
                munmap(p, len);
                return error;
        }
        if (!replace)
                *addr = (uint64_t)(uintptr_t)p;
        return 0;
}

static int reserve_locked(struct sigsegv *s, uint64_t *addr, uint64_t len, int prot, int flags,
                          int fd, uint64_t offset)
{
        struct range r = {
                .fd = fd, .offset = offset, .prot = prot, .private = !(flags & MAP_SHARED)
        };
        int error = flags & MAP_FIXED ? split(s, *addr, *addr + len) : 0;

        if (!error)
                error = place(s, addr, len, flags, fd, offset);
        if (error == -ENOMEM) {
                shadow_hide_cold(&s->shadow, true);
                error = place(s, addr, len, flags, fd, offset);
        }
        if (error)
                return error;
        forget(s, *addr, *addr + len);
        r.start = *addr;
        r.end = *addr + len;
        error = range_add(&s->shadow.ranges, &r);
        if (error)
                munmap(pointer(*addr), len);
        else
                s->shadow.nr_ranges++;
        return error;
}

int sigsegv_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                    uint64_t offset)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        if (!(flags & MAP_SHARED) && s->mem < 0)
                return -EOPNOTSUPP;
        if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
                trap_cover(&s->trap, *addr, len);
        mutex_lock(&s->lock);
        error = reserve_locked(s, addr, len, prot, flags, fd, offset);
        mutex_unlock(&s->lock);
        if (!error)
                trap_cover(&s->trap, *addr, len);
        return error;
}

int sigsegv_release(struct mmu *m, uint64_t addr, uint64_t len)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        mutex_lock(&s->lock);
        error = split(s, addr, addr + len);
        if (!error && munmap(pointer(addr), len)) {
                shadow_hide_cold(&s->shadow, true);
                error = munmap(pointer(addr), len) ? -errno : 0;
        }
        if (!error)
                forget(s, addr, addr + len);
        mutex_unlock(&s->lock);
        return error;
}

static int remap(void *arg, uint64_t from, uint64_t to, uint64_t len, int flags)
{
        (void)arg;
        return mremap(pointer(from), len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
                      pointer(to)) == MAP_FAILED
                       ? -errno
                       : 0;
}

/* => s->lock held. Both ranges are split off. */
static int move_locked(struct sigsegv *s, uint64_t from, uint64_t to, uint64_t len, bool keep)
{
        int error = shadow_copy(&s->shadow, from, to, len);

        mutex_assert_held(&s->lock);
        if (error)
                return error;
        /* Whoever touches either place waits for our lock, and finds it whole. */
        error = shadow_hide(&s->shadow, from, from + len);
        if (!error)
                error = move_in_pieces(from, to, len, keep, remap, NULL);
        if (error) {
                shadow_forget(&s->shadow, to, to + len);
                shadow_refresh(&s->shadow, from, from + len);
                return error;
        }
        if (keep)
                shadow_forget(&s->shadow, from, from + len);
        else
                forget(s, from, from + len);
        shadow_refresh(&s->shadow, to, to + len); /* what cannot be shown now is hidden */
        return 0;
}

int sigsegv_move(struct mmu *m, uint64_t from, uint64_t to, uint64_t len, bool keep)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        trap_cover(&s->trap, to, len);
        mutex_lock(&s->lock);
        error = split(s, from, from + len);
        if (!error)
                error = split(s, to, to + len);
        if (!error)
                error = move_locked(s, from, to, len, keep);
        mutex_unlock(&s->lock);
        return error;
}

int sigsegv_protect(struct mmu *m, uint64_t addr, uint64_t len, int prot)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        mutex_lock(&s->lock);
        error = split(s, addr, addr + len);
        if (!error) {
                for (struct range *r = range_find(&s->shadow.ranges, addr);
                     r && r->start < addr + len; r = range_next(r))
                        r->prot = prot;
                error = shadow_refresh(&s->shadow, addr, addr + len);
        }
        mutex_unlock(&s->lock);
        return error;
}

static uint8_t want_blank(uint8_t old, const struct range *r, void *arg)
{
        (void)old, (void)r, (void)arg;
        return SHOWN | WRITABLE | COPIED | TOUCHED;
}

/* It is one of the kernel's mappings by itself, and therefore a range. => s->lock held */
static int blank_locked(struct sigsegv *s, uint64_t addr, const void *bytes)
{
        struct range *r = range_find(&s->shadow.ranges, addr), was;
        int error = r && r->start <= addr ? split(s, addr, addr + PAGE_SIZE) : -ENOENT;

        mutex_assert_held(&s->lock);
        if (error)
                return error;
        was = *range_find(&s->shadow.ranges, addr);
        error = blank_page(addr, was.prot, bytes);
        if (error == -ENOMEM) {
                shadow_hide_cold(&s->shadow, true);
                error = blank_page(addr, was.prot, bytes);
        }
        if (error)
                return error;
        error = shadow_change(&s->shadow, addr, addr + PAGE_SIZE, true, want_blank, NULL);
        if (error) /* nothing is to be seen there that nobody knows of */
                reserve_locked(s, &addr, PAGE_SIZE, was.prot,
                               MAP_FIXED | (was.private ? MAP_PRIVATE : MAP_SHARED), was.fd,
                               was.offset);
        return error;
}

int sigsegv_blank(struct mmu *m, uint64_t addr, int prot, const void *bytes)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        (void)prot; /* that of its range */
        mutex_lock(&s->lock);
        error = blank_locked(s, addr, bytes);
        mutex_unlock(&s->lock);
        return error;
}
