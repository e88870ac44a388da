/* SPDX-License-Identifier: Apache-2.0
 *
 * sigsegv.c - faults without userfaultfd: what is not mapped is PROT_NONE, what is clean is
 * read-only, and the thread that touches it serves its own fault in the SIGSEGV handler (trap.c).
 * For containers that forbid everything else. The slowest, and like sigbus it cannot serve the
 * kernel: a system call on a page that may not be accessed that way fails with EFAULT.
 *
 * The same frames are mapped as by the others: installing a translation is to lift the protection
 * of the page (shadow.c), once the frame is whole. A private page gets its bytes by way of
 * /proc/self/mem, which writes below any protection, so that no thread sees it half filled.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmu/blank.h"
#include "mmu/shadow.h"
#include "mmu/trap.h"
#include "util/lock.h"
#include "util/mman.h"

struct sigsegv {
        struct mmu mmu;
        struct trap trap;
        struct mmu_client *client;
        struct mutex lock;    /* held over mprotect(2) and the like, never over I/O */
        struct shadow shadow; /* [sigsegv] */
        int mem;              /* /proc/self/mem; -1: no private mappings */
        bool has_pkeys;       /* PROT_EXEC alone: instructions, but no loads */
};

static struct sigsegv *sigsegv_of(struct mmu *m)
{
        return container_of(m, struct sigsegv, mmu);
}

static void *pointer(uint64_t addr)
{
        return (void *)(uintptr_t)addr;
}

/* --- faults ------------------------------------------------------------------------------- */

static uint8_t want_revealed(uint8_t old, const struct range *r, void *arg)
{
        (void)r, (void)arg;
        return old & SHOWN ? (old & ~HIDDEN) | TOUCHED : old;
}

/* May it be accessed so, as far as we are concerned? Then it is hidden, or was installed for
 * another thread just now. */
static bool reveal(struct sigsegv *s, const struct mmu_fault *f, uint8_t byte,
                   const struct range *r, int *error)
{
        int prot = f->write ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;

        if (!(byte & (f->write ? WRITABLE : SHOWN)) || !(r->prot & prot))
                return false;
        *error = shadow_change(&s->shadow, f->address, f->address + PAGE_SIZE, false, want_revealed,
                               NULL);
        return true;
}

static enum mmu_verdict sigsegv_fault(struct trap *t, const struct mmu_fault *fault)
{
        struct sigsegv *s = container_of(t, struct sigsegv, trap);
        struct mmu_fault f = *fault;
        bool done = false, only_fetched = false;
        int error = 0;
        struct range *r;

        mutex_lock(&s->lock);
        r = range_find(&s->shadow.ranges, f.address);
        if (r && r->start > f.address)
                r = NULL;
        if (r && r->prot == PROT_EXEC && !f.exec && s->has_pkeys) {
                only_fetched = true;
        } else if (r) {
                uint8_t byte = shadow_byte(&s->shadow, f.address);

                done = reveal(s, &f, byte, r, &error);
                f.kind = byte & SHOWN ? MMU_FAULT_WP : MMU_FAULT_MINOR;
        }
        mutex_unlock(&s->lock);
        if (!r)
                return MMU_NOT_OURS;
        if (only_fetched)
                return MMU_SIGSEGV_KEY;
        if (done)
                return error == -ENOMEM ? MMU_SIGBUS : MMU_SERVED;
        return s->client->fault(s->client, &f);
}

/* --- opening ------------------------------------------------------------------------------ */

/* Does it write to what may not be accessed? Some kernels are told not to. */
static bool writes_below_protection(int fd)
{
        char *p = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bool yes;

        if (p == MAP_FAILED)
                return false;
        yes = pwrite(fd, "x", 1, (off_t)(uintptr_t)p) == 1;
        munmap(p, PAGE_SIZE);
        return yes;
}

static int open_mem(void)
{
        int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

        if (fd >= 0 && !writes_below_protection(fd)) {
                close(fd);
                fd = -1;
        }
        return fd;
}

/* The kernel makes memory that is only to be executed by a protection key, if there are any. */
static bool find_pkeys(void)
{
        int key = pkey_alloc(0, 0);

        return key >= 0 && !pkey_free(key);
}

static int sigsegv_open(struct mmu_config *cfg, struct mmu **out)
{
        struct sigsegv *s = calloc(1, sizeof(*s));
        int error;

        if (!s)
                return -ENOMEM;
        s->mmu.ops = &sigsegv_mmu_ops;
        s->client = cfg->client;
        mutex_init(&s->lock, LOCK_SIGSEGV);
        shadow_init(&s->shadow, cfg->tables, cfg->max_vmas);
        s->mem = open_mem();
        s->has_pkeys = find_pkeys();
        s->trap.signo = SIGSEGV;
        s->trap.fault = sigsegv_fault;
        error = trap_add(&s->trap);
        if (error) {
                snprintf(cfg->why, sizeof(cfg->why), "the handler for SIGSEGV cannot be installed");
                if (s->mem >= 0)
                        close(s->mem);
                shadow_destroy(&s->shadow);
                free(s);
                return error;
        }
        *out = &s->mmu;
        return 0;
}

static void sigsegv_close(struct mmu *m)
{
        struct sigsegv *s = sigsegv_of(m);

        trap_remove(&s->trap);
        if (s->mem >= 0)
                close(s->mem);
        shadow_destroy(&s->shadow);
        free(s);
}

/* --- ranges ------------------------------------------------------------------------------- */

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

static int sigsegv_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
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

static int sigsegv_release(struct mmu *m, uint64_t addr, uint64_t len)
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

/* In the kernel, which moves one mapping of its own at a time: what is private, and alike, it has
 * joined in most cases. */
static int remap(uint64_t from, uint64_t to, uint64_t len, int flags)
{
        uint64_t half = round_up_u64(len / 2, PAGE_SIZE);
        int error;

        if (mremap(pointer(from), len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags, pointer(to)) !=
            MAP_FAILED)
                return 0;
        if (errno != EFAULT || half == len)
                return -errno;
        error = remap(from, to, half, flags);
        if (error)
                return error;
        error = remap(from + half, to + half, len - half, flags);
        if (error) /* back, so that nothing has happened */
                remap(to, from, half, MREMAP_DONTUNMAP);
        return error;
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
                error = remap(from, to, len, keep ? MREMAP_DONTUNMAP : 0);
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

static int sigsegv_move(struct mmu *m, uint64_t from, uint64_t to, uint64_t len, bool keep)
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

static int sigsegv_protect(struct mmu *m, uint64_t addr, uint64_t len, int prot)
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

/* --- translations ------------------------------------------------------------------------- */

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
static uint64_t sigsegv_read(struct mmu *m, uint64_t addr, uint64_t nr, char *buf)
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

static int sigsegv_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed)
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

static int sigsegv_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp,
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
static int sigsegv_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own)
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

static int sigsegv_write_protect(struct mmu *m, uint64_t addr, uint64_t nr)
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

static int sigsegv_unprotect(struct mmu *m, uint64_t addr, uint64_t nr)
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

static int sigsegv_unmap(struct mmu *m, const struct iovec *runs, unsigned nr)
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
static int sigsegv_poison(struct mmu *m, uint64_t addr, uint64_t nr)
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

static int sigsegv_blank(struct mmu *m, uint64_t addr, int prot, const void *bytes)
{
        struct sigsegv *s = sigsegv_of(m);
        int error;

        (void)prot; /* that of its range */
        mutex_lock(&s->lock);
        error = blank_locked(s, addr, bytes);
        mutex_unlock(&s->lock);
        return error;
}

/* Nobody sleeps in the kernel. */
static int sigsegv_wake(struct mmu *m, uint64_t addr, uint64_t nr)
{
        (void)m, (void)addr, (void)nr;
        return 0;
}

const struct mmu_ops sigsegv_mmu_ops = {
        .name = "sigsegv",
        .open = sigsegv_open,
        .close = sigsegv_close,
        .reserve = sigsegv_reserve,
        .release = sigsegv_release,
        .move = sigsegv_move,
        .protect = sigsegv_protect,
        .map_run = sigsegv_map_run,
        .copy = sigsegv_copy,
        .zero = sigsegv_zero,
        .read = sigsegv_read,
        .write_protect = sigsegv_write_protect,
        .unprotect = sigsegv_unprotect,
        .unmap = sigsegv_unmap,
        .poison = sigsegv_poison,
        .blank = sigsegv_blank,
        .wake = sigsegv_wake,
};
