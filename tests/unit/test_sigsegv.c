/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sigsegv.c - what the calls of mmu/sigsegv.c leave of the kernel's protection, what they
 * return, and how few VMAs they make do with. /proc/self/maps shows it; faults that get to the
 * client are counted and not served.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../most_maps.h"
#include "mmu/mmu.h"
#include "util/table_pool.h"

#define PAGES 4096u
#define LIMIT 200

static struct trace trace;
static struct table_pool tables;
static struct mmu *mmu;
static uint64_t addr;
static int memfd;
static unsigned faults;
static sigjmp_buf out;

static enum mmu_verdict count_fault(struct mmu_client *client, const struct mmu_fault *fault)
{
        (void)client, (void)fault;
        faults++;
        return MMU_SIGSEGV; /* to the handler below */
}

static struct mmu_client client = { .fault = count_fault };

static void jump_out(int signo)
{
        (void)signo;
        siglongjmp(out, 1);
}

static uint64_t at(unsigned n)
{
        return addr + (uint64_t)n * PAGE_SIZE;
}

/* Does the access reach the client? */
static bool asks(unsigned n, bool store)
{
        volatile char *p = (char *)(uintptr_t)at(n);
        unsigned before = faults;

        if (sigsetjmp(out, 1) == 0) {
                if (store)
                        *p = 'z';
                else
                        (void)*p;
        }
        return faults != before;
}

static void map_at(int flags)
{
        addr = 0;
        cr_assert_eq(mmu->ops->reserve(mmu, &addr, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, flags,
                                       memfd, 0),
                     0);
}

static void open_with(uint64_t max_vmas)
{
        struct mmu_config cfg = {
                .trace = &trace, .client = &client, .tables = &tables, .max_vmas = max_vmas
        };

        cr_assert_eq(mmu_open("sigsegv", &cfg, &mmu), 0, "%s", cfg.why);
}

static void start(void)
{
        struct sigaction sa = { .sa_handler = jump_out };

        trace_init(&trace);
        sigaction(SIGSEGV, &sa, NULL);
        cr_assert_eq(table_pool_init(&tables, 1024), 0);
        open_with(LIMIT);
        memfd = memfd_create("frames", MFD_CLOEXEC);
        cr_assert_eq(ftruncate(memfd, PAGES * PAGE_SIZE), 0);
        for (unsigned i = 0; i < PAGES; i++) {
                char c = (char)('a' + i % 20);

                cr_assert_eq(pwrite(memfd, &c, 1, (off_t)i * (off_t)PAGE_SIZE), 1);
        }
        map_at(MAP_SHARED);
}

static void stop(void)
{
        mmu->ops->release(mmu, addr, PAGES * PAGE_SIZE);
        mmu->ops->close(mmu);
        cr_assert_eq(atomic_load(&tables.in_use), 0, "tables are kept");
        table_pool_destroy(&tables);
        close(memfd);
}

TestSuite(sigsegv, .init = start, .fini = stop, .timeout = 50);

/* The protection of the first pages: w, r or -. */
static const char *shown(unsigned nr)
{
        static char text[64];
        FILE *f = fopen("/proc/self/maps", "r");
        char line[512], prot[8];
        unsigned long from, to;

        memset(text, '?', nr);
        text[nr] = 0;
        while (f && fgets(line, sizeof(line), f))
                for (unsigned i = 0; i < nr; i++)
                        if (sscanf(line, "%lx-%lx %7s", &from, &to, prot) == 3 && at(i) >= from &&
                            at(i) < to)
                                text[i] = prot[1] == 'w' ? 'w' : prot[0];
        if (f)
                fclose(f);
        return text;
}

static unsigned vmas(void)
{
        FILE *f = fopen("/proc/self/maps", "r");
        unsigned long from, to;
        char line[512];
        unsigned n = 0;

        while (f && fgets(line, sizeof(line), f))
                n += sscanf(line, "%lx-%lx", &from, &to) == 2 && to > addr && from < at(PAGES);
        if (f)
                fclose(f);
        return n;
}

static bool map(unsigned first, unsigned nr, bool wp)
{
        bool existed = false;

        cr_assert_eq(mmu->ops->map_run(mmu, at(first), nr, wp, &existed), 0);
        return existed;
}

Test(sigsegv, a_run_is_mapped_protected_or_not)
{
        cr_assert_not(map(1, 2, true));
        cr_assert_not(map(4, 3, false));
        cr_assert_str_eq(shown(8), "-rr-www-");
        cr_assert_eq(*(char *)(uintptr_t)at(5), 'f');
        cr_assert(map(0, 6, false), "some existed");
        cr_assert_str_eq(shown(8), "wrrwwww-");
        cr_assert_eq(vmas(), 4);
}

Test(sigsegv, protection_of_a_run)
{
        map(0, 8, false);
        cr_assert_eq(mmu->ops->write_protect(mmu, at(2), 4), 0);
        cr_assert_str_eq(shown(9), "wwrrrrww-");
        cr_assert(asks(2, true));
        cr_assert_not(asks(2, false));
        cr_assert_eq(mmu->ops->unprotect(mmu, at(3), 2), 0);
        cr_assert_str_eq(shown(9), "wwrwwrww-");
        cr_assert_not(asks(3, true));
        /* What is not shown does not come to be by that. */
        cr_assert_eq(mmu->ops->unprotect(mmu, at(8), 1), 0);
        cr_assert_eq(mmu->ops->write_protect(mmu, at(8), 1), 0);
        cr_assert_str_eq(shown(9), "wwrwwrww-");
}

Test(sigsegv, neighbours_are_one_vma_again)
{
        for (unsigned i = 0; i < 64; i++)
                map(63 - i, 1, false);
        cr_assert_eq(vmas(), 2);
        for (unsigned i = 0; i < 64; i += 2)
                cr_assert_eq(mmu->ops->write_protect(mmu, at(i), 1), 0);
        cr_assert_eq(vmas(), 65);
        for (unsigned i = 1; i < 64; i += 2)
                cr_assert_eq(mmu->ops->write_protect(mmu, at(i), 1), 0);
        cr_assert_eq(vmas(), 2);
}

Test(sigsegv, scattered_runs_are_unmapped)
{
        struct iovec iov[] = { { (void *)(uintptr_t)at(1), PAGE_SIZE },
                               { (void *)(uintptr_t)at(4), 2 * PAGE_SIZE } };

        map(0, 8, false);
        cr_assert_eq(mmu->ops->unmap(mmu, iov, 2), 0);
        cr_assert_str_eq(shown(8), "w-ww--ww");
        cr_assert(asks(1, false));
}

Test(sigsegv, the_programs_protection_and_ours)
{
        map(0, 4, true);
        map(4, 4, false);
        cr_assert_eq(mmu->ops->protect(mmu, at(2), 4 * PAGE_SIZE, PROT_NONE), 0);
        cr_assert_str_eq(shown(9), "rr----ww-");
        cr_assert(asks(4, false));
        map(8, 1, false);
        cr_assert_eq(mmu->ops->protect(mmu, at(0), 9 * PAGE_SIZE, PROT_READ), 0);
        cr_assert_str_eq(shown(9), "rrrrrrrrr");
        cr_assert_eq(mmu->ops->protect(mmu, at(0), 9 * PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
        cr_assert_str_eq(shown(9), "rrrrwwwww");
}

Test(sigsegv, a_copy_is_whole_and_its_frame_is_not_kept)
{
        char page[PAGE_SIZE];
        off_t hole = 7 * (off_t)PAGE_SIZE;

        mmu->ops->release(mmu, addr, PAGES * PAGE_SIZE);
        map_at(MAP_PRIVATE);
        memset(page, 'x', sizeof(page));
        fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole, PAGE_SIZE);
        cr_assert_eq(mmu->ops->copy(mmu, at(2), page, 1, false, NULL), 0);
        cr_assert_eq(mmu->ops->copy(mmu, at(7), page, 1, false, NULL), 0);
        cr_assert_eq(lseek(memfd, hole, SEEK_DATA), hole + (off_t)PAGE_SIZE, "a frame was left");
        cr_assert_eq(*(char *)(uintptr_t)(at(2) + 4095), 'x');
        cr_assert_eq(*(char *)(uintptr_t)at(7), 'x');
        cr_assert_eq(mmu->ops->copy(mmu, at(2), page, 1, false, NULL), -EEXIST);
        map(3, 1, true);
        cr_assert_eq(mmu->ops->copy(mmu, at(3), page, 1, false, NULL), -EEXIST);
        /* The kernel copies at once: the frame may go right after. */
        cr_assert_eq(mmu->ops->unprotect(mmu, at(3), 1), 0);
        fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * (off_t)PAGE_SIZE,
                  PAGE_SIZE);
        cr_assert_eq(*(char *)(uintptr_t)at(3), 'd');
        cr_assert_eq(pread(memfd, page, 1, 2 * (off_t)PAGE_SIZE), 1);
        cr_assert_eq(page[0], 'c', "the file's page is another");
        cr_assert_eq(mmu->ops->poison(mmu, at(2), 1), -EEXIST);
        cr_assert_eq(mmu->ops->poison(mmu, at(4), 1), 0);
}

Test(sigsegv, the_clock_hides_what_is_cold_and_a_touch_reveals_it)
{
        unsigned most = 0;

        for (unsigned i = 0; i < PAGES; i += 2) {
                map(i, 1, i % 4 == 0);
                if (i % 100 == 0)
                        most = vmas() > most ? vmas() : most;
        }
        cr_assert_leq(most, LIMIT + 4, "%u VMAs", most);
        for (unsigned i = 0; i < PAGES; i += 2) {
                cr_assert_not(asks(i, false), "page %u was forgotten", i);
                cr_assert_eq(*(char *)(uintptr_t)at(i), (char)('a' + i % 20));
                cr_assert_eq(asks(i, true), i % 4 == 0, "page %u", i);
                cr_assert(asks(i + 1, false));
        }
        cr_assert_leq(vmas(), LIMIT + 4);
        /* Hidden or not, unmapped is unmapped. */
        cr_assert_eq(mmu->ops->unmap(
                             mmu, &(struct iovec){ (void *)(uintptr_t)addr, PAGES * PAGE_SIZE }, 1),
                     0);
        cr_assert_eq(vmas(), 1);
        for (unsigned i = 0; i < PAGES; i += 2)
                cr_assert(asks(i, false));
}

/* A second range like the first, to move to. */
static uint64_t another(int flags)
{
        uint64_t to = 0;

        cr_assert_eq(mmu->ops->reserve(mmu, &to, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, flags,
                                       memfd, 0),
                     0);
        return to;
}

Test(sigsegv, what_moves_is_shown_as_it_was)
{
        uint64_t from = addr, to = another(MAP_SHARED);

        map(1, 2, true);
        map(4, 3, false);
        cr_assert_eq(mmu->ops->move(mmu, from, to, PAGES * PAGE_SIZE, true), 0);
        cr_assert_str_eq(shown(8), "--------", "something is left behind");
        cr_assert(asks(1, false));
        map(1, 1, true); /* what stays can be used */
        cr_assert_str_eq(shown(3), "-r-");
        mmu->ops->release(mmu, from, PAGES * PAGE_SIZE);
        addr = to;
        cr_assert_str_eq(shown(8), "-rr-www-");
        cr_assert_eq(*(char *)(uintptr_t)at(5), 'f');
        cr_assert_not(asks(4, true));
        cr_assert(asks(1, true));
        cr_assert(asks(3, false));
}

Test(sigsegv, private_pages_move_in_as_many_pieces_as_it_takes)
{
        char page[PAGE_SIZE];
        uint64_t from, to;
        unsigned char vec;

        mmu->ops->release(mmu, addr, PAGES * PAGE_SIZE);
        map_at(MAP_PRIVATE);
        from = addr;
        to = another(MAP_PRIVATE);
        for (unsigned i = 0; i < 64; i += 3) {
                memset(page, (int)('A' + i % 20), sizeof(page));
                cr_assert_eq(mmu->ops->copy(mmu, at(i), page, 1, i % 2, NULL), 0);
                map(i + 1, 1, true);
        }
        cr_assert_eq(mmu->ops->move(mmu, from, to, PAGES * PAGE_SIZE, false), 0);
        cr_assert(mincore((void *)(uintptr_t)from, PAGE_SIZE, &vec) && errno == ENOMEM);
        addr = to;
        cr_assert_str_eq(shown(9), "wr-rr-wr-");
        for (unsigned i = 0; i < 64; i += 3) {
                cr_assert_eq(*(char *)(uintptr_t)at(i), (char)('A' + i % 20), "page %u", i);
                cr_assert_eq(asks(i, true), i % 2, "page %u", i);
                cr_assert_eq(*(char *)(uintptr_t)at(i + 1), (char)('a' + (i + 1) % 20));
        }
}

Test(sigsegv, a_page_of_its_own_in_the_place_of_another)
{
        uint64_t there = at(2);

        map(0, 4, true);
        cr_assert_eq(mmu->ops->blank(mmu, at(2), PROT_READ | PROT_WRITE, NULL), 0);
        cr_assert_str_eq(shown(5), "rrwr-");
        *(char *)(uintptr_t)at(2) = 'z';
        cr_assert_eq(*(char *)(uintptr_t)at(2), 'z');
        cr_assert_eq(mmu->ops->protect(mmu, at(1), 2 * PAGE_SIZE, PROT_READ), 0);
        cr_assert(asks(2, true));
        cr_assert_eq(mmu->ops->protect(mmu, at(1), 2 * PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
        cr_assert_not(asks(2, true));
        cr_assert_eq(mmu->ops->reserve(mmu, &there, PAGE_SIZE, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_FIXED, memfd, 2 * PAGE_SIZE),
                     0);
        cr_assert(asks(2, false));
        map(2, 1, true);
        cr_assert_eq(*(char *)(uintptr_t)at(2), 'c', "the file's page is another");
}

/* The clock does not move of itself: it is the kernel that says it is too much. */
Test(sigsegv, at_the_kernels_limit_what_is_cold_is_hidden)
{
        unsigned most = most_maps(), pages = most + most / 4;
        uint64_t small = addr;

        if (most < 1000 || most > 200000)
                cr_skip_test("vm.max_map_count is %u", most);
        mmu->ops->release(mmu, small, PAGES * PAGE_SIZE);
        mmu->ops->close(mmu);
        open_with(UINT64_MAX / 2);
        cr_assert_eq(ftruncate(memfd, (off_t)pages * (off_t)PAGE_SIZE), 0);
        addr = 0;
        cr_assert_eq(mmu->ops->reserve(mmu, &addr, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
                                       MAP_SHARED, memfd, 0),
                     0);
        for (unsigned i = 0; i < pages; i += 2)
                map(i, 1, true);
        for (unsigned i = 0; i < pages; i += 998) {
                cr_assert_not(asks(i, false), "page %u was forgotten", i);
                cr_assert(asks(i, true), "page %u", i);
                cr_assert(asks(i + 1, false), "page %u", i + 1);
        }
        mmu->ops->release(mmu, addr, pages * PAGE_SIZE);
        map_at(MAP_SHARED);
}
