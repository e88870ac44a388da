/* SPDX-License-Identifier: Apache-2.0
 *
 * uffd_ops.c - ranges and translations by the ioctls of a userfaultfd, whoever takes the faults;
 * see uffd_ops.h. Return codes as observed on Linux 6.18:
 *   CONTINUE  EEXIST mapped already; EAGAIN with mapped > 0: go on behind; EFAULT no frame;
 *             ENOENT the range crosses the end of a mapping, or is not mapped; EINVAL past the
 *             file's end; ESRCH the process is going.
 *   COPY, POISON  the same; WRITEPROTECT  ENOENT, EAGAIN.
 */
#include "mmu/uffd_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mmu/blank.h"
#include "mmu/compat.h"
#include "mmu/space.h"
#include "mmu/zeropage.h"
#include "util/perturb.h"

/* --- opening ------------------------------------------------------------------------------ */

#define X(name) | UFFD_FEATURE_##name
static const uint64_t wanted_features = 0 UFFD_NEEDED(X);
#undef X

/* The first that is wanted and not among `features`. */
static const char *missing_feature(uint64_t features)
{
#define X(name)                                                                                    \
        if (!(features & UFFD_FEATURE_##name))                                                     \
                return #name;
        UFFD_NEEDED(X)
#undef X
        return "UFFD_API";
}

/* A descriptor that serves kernel-mode faults too, by either way, or -errno. */
static int open_full(void)
{
        int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
        int fd;

        if (dev >= 0) {
                fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
                close(dev);
                if (fd >= 0)
                        return fd;
        }
        fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

static int open_user(void)
{
        int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

        return fd < 0 ? -errno : fd;
}

static int open_descriptor(struct uffd *u, struct mmu_config *cfg, enum uffd_faults which)
{
        int fd = which == UFFD_USER_FAULTS ? open_user() : open_full();

        u->kernel_faults = which != UFFD_USER_FAULTS && fd >= 0;
        if (fd < 0 && which == UFFD_ALL_OR_USER && fd != -ENOSYS)
                fd = open_user();
        u->fd = fd;
        if (fd >= 0)
                return 0;
        if (fd == -ENOSYS || which == UFFD_USER_FAULTS)
                snprintf(cfg->why, sizeof(cfg->why),
                         "this kernel has no userfaultfd (CONFIG_USERFAULTFD), or a seccomp "
                         "filter forbids it; see faultline doctor");
        else
                snprintf(cfg->why, sizeof(cfg->why),
                         "userfaultfd is not permitted: give access to /dev/userfaultfd, or "
                         "CAP_SYS_PTRACE, or set sysctl vm.unprivileged_userfaultfd=1; the MMU "
                         "named \"uffd\" does without, for faults of user mode only; see faultline "
                         "doctor");
        return fd;
}

static int negotiate(struct uffd *u, struct mmu_config *cfg, uint64_t features)
{
        struct uffdio_api api = { .api = UFFD_API, .features = wanted_features | features };
        struct uffdio_api probe = { .api = UFFD_API };
        int fd;

        if (ioctl(u->fd, UFFDIO_API, &api) == 0)
                return 0;
        /* A refused descriptor cannot be asked again: a second one says what there is. */
        fd = u->kernel_faults ? open_full() : open_user();
        if (fd >= 0) {
                ioctl(fd, UFFDIO_API, &probe);
                close(fd);
        }
        snprintf(cfg->why, sizeof(cfg->why),
                 "this kernel's userfaultfd lacks a feature (%s); Linux 6.6 or newer has it; "
                 "see faultline doctor",
                 missing_feature(probe.features));
        return -ENOSYS;
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static void probe_madvise_self(struct uffd *u)
{
        void *p = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct iovec iov = { p, PAGE_SIZE };

        u->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
        if (u->pidfd >= 0 && p != MAP_FAILED)
                u->madvise_self = syscall(SYS_process_madvise, u->pidfd, &iov, 1UL, MADV_DONTNEED,
                                          0U) == (long)PAGE_SIZE;
        if (p != MAP_FAILED)
                munmap(p, PAGE_SIZE);
}

int uffd_init(struct uffd *u, struct mmu_config *cfg, enum uffd_faults which, uint64_t features)
{
        int error;

        u->loop = cfg->loop;
        u->client = cfg->client;
        u->fd = u->pidfd = u->pagemap = u->mem = -1;
        error = open_descriptor(u, cfg, which);
        if (!error)
                error = negotiate(u, cfg, features);
        if (!error)
                error = mover_start(&u->mover, u);
        if (error) {
                uffd_exit(u);
                return error;
        }
        probe_madvise_self(u);
        u->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        u->mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        return 0;
}

void uffd_exit(struct uffd *u)
{
        mover_stop(&u->mover);
        spaces_free(u);
        if (u->fd >= 0)
                close(u->fd);
        if (u->pidfd >= 0)
                close(u->pidfd);
        if (u->pagemap >= 0)
                close(u->pagemap);
        if (u->mem >= 0)
                close(u->mem);
        u->fd = u->pidfd = u->pagemap = u->mem = -1;
}

int uffd_another(const struct uffd *u)
{
        struct uffdio_api api = { .api = UFFD_API, .features = wanted_features };
        int fd = u->kernel_faults ? open_full() : -EPERM, error;

        if (fd < 0) /* or what was permitted is not any more */
                fd = open_user();
        if (fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0)
                return fd;
        error = -errno;
        close(fd);
        return error;
}

/* --- faults as events --------------------------------------------------------------------- */

#define EVENT_BATCH 32

/* What is left makes it ready again, after the completions have had their turn. */
bool uffd_deliver(struct uffd *u, int fd, unsigned space)
{
        /* Before, not after: an event that is read now may be of an access that is over. */
        uint64_t epoch = atomic_load(&u->client->epoch);
        struct mmu_fault faults[EVENT_BATCH];
        struct uffd_msg msg[EVENT_BATCH];
        ssize_t got = read(fd, msg, sizeof(msg));
        unsigned n = 0;

        perturb_gap();
        for (size_t i = 0; got > 0 && i < (size_t)got / sizeof(msg[0]); i++) {
                uint64_t flags = msg[i].arg.pagefault.flags;

                if (msg[i].event != UFFD_EVENT_PAGEFAULT)
                        continue; /* a remap: reading it was all it wanted */
                faults[n++] = (struct mmu_fault){
                        .address = space_base(space) | (msg[i].arg.pagefault.address & PAGE_MASK),
                        .write = flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP),
                        .kind = flags & UFFD_PAGEFAULT_FLAG_WP      ? MMU_FAULT_WP
                                : flags & UFFD_PAGEFAULT_FLAG_MINOR ? MMU_FAULT_MINOR
                                                                    : MMU_FAULT_MISSING,
                        .tid = msg[i].arg.pagefault.feat.ptid,
                        .epoch = epoch,
                };
        }
        if (n)
                u->client->faults(u->client, faults, n);
        return got == sizeof(msg);
}

/* The descriptor that serves *addr, which becomes an address of its space. -1: there is none, or not
 * any more. */
static int serving(struct uffd *u, uint64_t *addr)
{
        unsigned nr = space_of(*addr);

        *addr &= SPACE_SIZE - 1;
        return nr ? spaces_fd(u->spaces, nr) : u->fd;
}

/* Of a child that has gone: as for what is not mapped any more. */
static int failed(void)
{
        return errno == ESRCH || errno == EBADF ? -ENOENT : -errno;
}

/* --- ranges ------------------------------------------------------------------------------- */

int uffd_register(int fd, uint64_t addr, uint64_t len, bool file)
{
        struct uffdio_register reg = {
                .range = { addr, len },
                .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP |
                        (file ? UFFDIO_REGISTER_MODE_MINOR : 0),
        };

        return ioctl(fd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static int prepare_range(struct uffd *u, void *p, uint64_t len, bool file)
{
        /* A part of a huge page that is given back is not given back: the budget would not hold.
         * (A kernel without huge pages does not know the advice.) */
        if (!file)
                madvise(p, len, MADV_NOHUGEPAGE);

        /* A child that touched an unserved page would put zeros into the parent's file. */
        if (munlock(p, len) || madvise(p, len, MADV_DONTFORK) || madvise(p, len, MADV_DONTDUMP))
                return -errno;
        return uffd_register(u->fd, (uint64_t)(uintptr_t)p, len, file);
}

int uffd_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                 uint64_t offset)
{
        struct uffd *u = uffd_of(m);
        int kind = ((flags & MAP_SHARED) ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
        bool replace = flags & MAP_FIXED;
        void *want = replace ? NULL : (void *)(uintptr_t)*addr, *p;
        int error;

        if (space_of(*addr))
                return -EOPNOTSUPP;
        /* Without access until it is registered: mlockall(MCL_FUTURE) would fill it with zeros. */
        p = mmap(want, len, PROT_NONE, kind | MAP_NORESERVE | (flags & MAP_FIXED_NOREPLACE), fd,
                 (off_t)offset);
        if (p == MAP_FAILED)
                return -errno;
        if ((flags & MAP_FIXED_NOREPLACE) && p != want) { /* a kernel that ignores the flag */
                munmap(p, len);
                return -EEXIST;
        }
        error = prepare_range(u, p, len, fd >= 0);
        if (!error && prot != PROT_NONE && mprotect(p, len, prot))
                error = -errno;
        if (!error && replace)
                /* In one step: no thread that touches it ever sees an unserved page. */
                error = uffd_move(m, (uint64_t)(uintptr_t)p, *addr, len, false);
        if (error) {
                munmap(p, len);
                return error;
        }
        if (!replace)
                *addr = (uint64_t)(uintptr_t)p;
        return 0;
}

int uffd_release(struct mmu *m, uint64_t addr, uint64_t len)
{
        (void)m;
        if (space_of(addr)) /* it has gone with its process */
                return 0;
        return munmap((void *)(uintptr_t)addr, len) ? -errno : 0;
}

int uffd_protect(struct mmu *m, uint64_t addr, uint64_t len, int prot)
{
        (void)m;
        return mprotect((void *)(uintptr_t)addr, len, prot) ? -errno : 0;
}

/* --- translations ------------------------------------------------------------------------- */

/* The kernel fills within one mapping of its own at a time (ENOENT), and one of ours may be several
 * of the kernel's: see uffd_move(). In smaller steps, then, down to a page. */
static bool smaller_step(uint64_t *step)
{
        if (errno != ENOENT || *step <= PAGE_SIZE)
                return false;
        *step = round_up_u64(*step / 2, PAGE_SIZE);
        return true;
}

int uffd_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed)
{
        int fd = serving(uffd_of(m), &addr);
        uint64_t end = addr + (nr << PAGE_SHIFT), step = end - addr;

        *existed = false;
        while (addr < end) {
                struct uffdio_continue arg = {
                        .range = { addr, min_u64(step, end - addr) },
                        .mode = wp ? UFFDIO_CONTINUE_MODE_WP : 0,
                };

                if (ioctl(fd, UFFDIO_CONTINUE, &arg) == 0)
                        addr += arg.range.len;
                else if (arg.mapped > 0)
                        addr += (uint64_t)arg.mapped; /* as far as it came */
                else if (errno == EEXIST) {
                        *existed = true;
                        addr += PAGE_SIZE;
                } else if (errno != EAGAIN && !smaller_step(&step))
                        return failed();
        }
        return 0;
}

int uffd_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp, uint64_t *done)
{
        uint64_t at = 0, len = nr << PAGE_SHIFT, step = len;
        int fd = serving(uffd_of(m), &addr), error = 0;

        while (at < len && !error) {
                struct uffdio_copy arg = {
                        .dst = addr + at,
                        .src = (uint64_t)(uintptr_t)pages + at,
                        .len = min_u64(step, len - at),
                        .mode = wp ? UFFDIO_COPY_MODE_WP : 0,
                };

                if (ioctl(fd, UFFDIO_COPY, &arg) == 0)
                        at += arg.len;
                else if (arg.copy > 0)
                        at += (uint64_t)arg.copy; /* as far as it came */
                else if (errno != EAGAIN && !smaller_step(&step))
                        error = failed();
        }
        if (done)
                *done = at >> PAGE_SHIFT;
        return error;
}

int uffd_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own)
{
        struct uffd *u = uffd_of(m);
        int pagemap = space_of(addr) ? spaces_pagemap(u->spaces, space_of(addr)) : u->pagemap;
        int fd = serving(u, &addr);

        return zeropage_show(fd, pagemap, addr, nr, own);
}

#define PAGEMAP_WP (1ull << 57)   /* write-protected by a userfaultfd */
#define PAGEMAP_FILE (1ull << 61) /* a file's, or shared */
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_PRESENT (1ull << 63)
#define READ_MAX 64

/* Pages from addr on that are there as pages of their own. What the kernel has swapped has the same
 * bits as the mark that protecting leaves where no page is: only without protection it is certain. */
static uint64_t own_pages(struct uffd *u, uint64_t addr, uint64_t nr, bool certain)
{
        uint64_t entry[READ_MAX], n = 0, not = PAGEMAP_FILE | (certain ? PAGEMAP_WP : 0);
        ssize_t got;

        if (u->pagemap < 0)
                return nr;
        got = pread(u->pagemap, entry, nr * sizeof(*entry),
                    (off_t)((addr >> PAGE_SHIFT) * sizeof(*entry)));
        while (n < nr && (n + 1) * sizeof(*entry) <= (size_t)(got < 0 ? 0 : got) &&
               ((entry[n] & (PAGEMAP_PRESENT | PAGEMAP_FILE)) == PAGEMAP_PRESENT ||
                ((entry[n] & PAGEMAP_SWAPPED) && !(entry[n] & not ))))
                n++;
        return n;
}

uint64_t uffd_own(struct mmu *m, uint64_t addr, uint64_t nr)
{
        return space_of(addr) ? 0
                              : own_pages(uffd_of(m), addr, nr < READ_MAX ? nr : READ_MAX, true);
}

uint64_t uffd_read(struct mmu *m, uint64_t addr, uint64_t nr, char *buf)
{
        struct uffd *u = uffd_of(m);
        uint64_t n = space_of(addr) ? 0 : own_pages(u, addr, nr < READ_MAX ? nr : READ_MAX, false);
        struct iovec to = { buf, n << PAGE_SHIFT };
        struct iovec from = { (void *)(uintptr_t)addr, n << PAGE_SHIFT };
        ssize_t got = n ? process_vm_readv(getpid(), &to, 1, &from, 1, 0) : 0;

        /* What the program itself must not read now (PROT_NONE) can still be read this way. */
        if (n && got <= 0 && u->mem >= 0)
                got = pread(u->mem, buf, n << PAGE_SHIFT, (off_t)addr);
        return got > 0 ? (uint64_t)got >> PAGE_SHIFT : 0;
}

/* What is not ours in the middle of it ends it for the kernel, which does not say where. It is left out, and
 * told of: what lies behind it could be stored to, and nobody would know. */
static int set_protection(struct uffd *u, uint64_t addr, uint64_t nr, uint64_t mode)
{
        int fd = serving(u, &addr), error = 0;
        uint64_t end = addr + (nr << PAGE_SHIFT), step = end - addr;

        while (addr < end) {
                struct uffdio_writeprotect arg = {
                        .range = { addr, min_u64(step, end - addr) },
                        .mode = mode,
                };

                if (ioctl(fd, UFFDIO_WRITEPROTECT, &arg) == 0) {
                        addr += arg.range.len;
                } else if (errno != EAGAIN && !smaller_step(&step)) {
                        error = failed();
                        if (errno != ENOENT)
                                return error;
                        addr += PAGE_SIZE;
                        step = end - addr;
                }
        }
        return error;
}

int uffd_write_protect(struct mmu *m, uint64_t addr, uint64_t nr)
{
        return set_protection(uffd_of(m), addr, nr, UFFDIO_WRITEPROTECT_MODE_WP);
}

int uffd_unprotect(struct mmu *m, uint64_t addr, uint64_t nr)
{
        return set_protection(uffd_of(m), addr, nr, 0);
}

int uffd_unmap(struct mmu *m, const struct iovec *runs, unsigned nr)
{
        struct uffd *u = uffd_of(m);
        int error = 0;
        unsigned i = 0;

        if (nr == 1 && space_of((uint64_t)(uintptr_t)runs[0].iov_base))
                return -EOPNOTSUPP;
        if (nr > 1 && u->madvise_self) {
                size_t total = 0;
                long done;

                for (unsigned k = 0; k < nr; k++)
                        total += runs[k].iov_len;
                done = syscall(SYS_process_madvise, u->pidfd, runs, (unsigned long)nr,
                               MADV_DONTNEED, 0U);
                if (done == (long)total)
                        return 0;
                /* Stopped early: find where, and do the rest one by one. */
                for (; done > 0 && i < nr && done >= (long)runs[i].iov_len; i++)
                        done -= (long)runs[i].iov_len;
        }
        for (; i < nr; i++)
                if (madvise(runs[i].iov_base, runs[i].iov_len, MADV_DONTNEED) && !error)
                        error = -errno;
        return error;
}

int uffd_poison(struct mmu *m, uint64_t addr, uint64_t nr)
{
        struct uffd *u = uffd_of(m);
        unsigned space = space_of(addr);
        int fd = serving(u, &addr);
        struct uffdio_poison arg = { .range = { addr, nr << PAGE_SHIFT } };

        while (ioctl(fd, UFFDIO_POISON, &arg)) {
                if (errno == EEXIST && space) /* only the child itself can take it away */
                        return spaces_poison(u->spaces, space, addr, nr);
                if (errno != EAGAIN)
                        return failed();
                arg.updated = 0;
        }
        return 0;
}

int uffd_blank(struct mmu *m, uint64_t addr, int prot, const void *bytes)
{
        int error = space_of(addr) ? -EOPNOTSUPP : blank_page(addr, prot, bytes);

        if (!error)
                m->ops->wake(m, addr, 1);
        return error;
}

int uffd_wake(struct mmu *m, uint64_t addr, uint64_t nr)
{
        int fd = serving(uffd_of(m), &addr);
        struct uffdio_range arg = { addr, nr << PAGE_SHIFT };

        return ioctl(fd, UFFDIO_WAKE, &arg) ? failed() : 0;
}
