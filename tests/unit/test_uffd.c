/* SPDX-License-Identifier: Apache-2.0
 *
 * test_uffd.c - what the calls of mmu/uffd.c leave in the kernel's page table, and what they return
 * for pages that are mapped already. /proc/self/pagemap shows it; nothing here faults.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mmu/mmu.h"

#define PAGES 8u
#define PRESENT (1ull << 63)
#define WP (1ull << 57)

static struct trace trace;
static struct loop *loop;
static struct mmu *mmu;
static uint64_t addr;
static int memfd;

static void no_faults(struct mmu_client *client, const struct mmu_fault *faults, unsigned nr)
{
        (void)client, (void)faults;
        cr_assert_eq(nr, 0, "a fault");
}

static struct mmu_client client = { .faults = no_faults };

static void map_at(int flags)
{
        char page[PAGE_SIZE];

        addr = 0;
        memfd = memfd_create("frames", MFD_CLOEXEC);
        for (unsigned i = 0; i < PAGES; i++) {
                memset(page, 'a' + (int)i, sizeof(page));
                cr_assert_eq(write(memfd, page, sizeof(page)), (ssize_t)sizeof(page));
        }
        cr_assert_eq(mmu->ops->reserve(mmu, &addr, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, flags,
                                       memfd, 0),
                     0);
}

static void start(void)
{
        struct mmu_config cfg = { .trace = &trace, .client = &client };

        trace_init(&trace);
        cr_assert_eq(loop_create(&loop, 1, "test"), 0);
        cfg.loop = loop;
        if (mmu_open("uffd", &cfg, &mmu))
                cr_skip_test("%s", cfg.why);
        map_at(MAP_SHARED);
}

static void stop(void)
{
        mmu->ops->release(mmu, addr, PAGES * PAGE_SIZE);
        mmu->ops->close(mmu);
        loop_destroy(loop);
        close(memfd);
}

TestSuite(uffd, .init = start, .fini = stop, .timeout = 20);

static uint64_t at(unsigned n)
{
        return addr + n * PAGE_SIZE;
}

/* p present, w present and write-protected, - not there */
static const char *shown(void)
{
        static char text[PAGES + 1];
        uint64_t entry[PAGES];
        int fd = open("/proc/self/pagemap", O_RDONLY);

        cr_assert_eq(pread(fd, entry, sizeof(entry), (off_t)(addr >> PAGE_SHIFT) * 8),
                     (ssize_t)sizeof(entry));
        close(fd);
        for (unsigned i = 0; i < PAGES; i++)
                text[i] = !(entry[i] & PRESENT) ? '-' : entry[i] & WP ? 'w' : 'p';
        return text;
}

static bool map(unsigned first, unsigned nr, bool wp)
{
        bool existed = false;

        cr_assert_eq(mmu->ops->map_run(mmu, at(first), nr, wp, &existed), 0);
        return existed;
}

Test(uffd, a_run_is_mapped_protected_or_not)
{
        cr_assert_not(map(1, 2, true));
        cr_assert_not(map(4, 3, false));
        cr_assert_str_eq(shown(), "-ww-ppp-");
        cr_assert_eq(*(char *)(uintptr_t)at(5), 'f');
}

Test(uffd, what_is_mapped_stays_and_the_rest_of_the_run_is_mapped)
{
        map(3, 1, true);
        map(5, 1, true);
        cr_assert(map(0, PAGES, false), "two existed");
        cr_assert_str_eq(shown(), "pppwpwpp");
}

Test(uffd, protection_of_a_run)
{
        map(0, PAGES, false);
        cr_assert_eq(mmu->ops->write_protect(mmu, at(2), 4), 0);
        cr_assert_str_eq(shown(), "ppwwwwpp");
        cr_assert_eq(mmu->ops->unprotect(mmu, at(3), 2), 0);
        cr_assert_str_eq(shown(), "ppwppwpp");
}

Test(uffd, scattered_runs_are_unmapped)
{
        struct iovec iov[] = { { (void *)(uintptr_t)at(1), PAGE_SIZE },
                               { (void *)(uintptr_t)at(4), 2 * PAGE_SIZE } };

        map(0, PAGES, false);
        cr_assert_eq(mmu->ops->unmap(mmu, iov, 2), 0);
        cr_assert_str_eq(shown(), "p-pp--pp");
        cr_assert_eq(mmu->ops->unmap(mmu, iov, 1), 0);
}

Test(uffd, poison_stays_off_what_is_mapped)
{
        map(0, 1, false);
        cr_assert_eq(mmu->ops->poison(mmu, at(0), 1), -EEXIST);
        cr_assert_eq(mmu->ops->poison(mmu, at(1), 1), 0);
        cr_assert_eq(shown()[0], 'p');
}

Test(uffd, a_copy_is_told_that_something_is_there)
{
        char page[PAGE_SIZE];

        mmu->ops->release(mmu, addr, PAGES * PAGE_SIZE);
        close(memfd);
        map_at(MAP_PRIVATE);
        memset(page, 'x', sizeof(page));
        cr_assert_eq(mmu->ops->copy(mmu, at(2), page, 1, false, NULL), 0);
        cr_assert_eq(*(char *)(uintptr_t)at(2), 'x');
        cr_assert_eq(mmu->ops->copy(mmu, at(2), page, 1, false, NULL), -EEXIST);
        map(3, 1, true);
        cr_assert_eq(mmu->ops->copy(mmu, at(3), page, 1, false, NULL), -EEXIST);
}
