/* SPDX-License-Identifier: Apache-2.0
 *
 * test_frame_map.c - the frames as memory: what a reader finds who was held up on his way to them.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache/frame_map.h"

static struct frame_map map;
static int fd;
static uint64_t frames; /* the file's end, in pages */

static void end_at(uint64_t pages)
{
        char page[PAGE_SIZE];

        cr_assert_eq(frame_map_close(&map, pages << PAGE_SHIFT), 0);
        cr_assert_eq(ftruncate(fd, (off_t)(pages << PAGE_SHIFT)), 0);
        for (; frames < pages; frames++) {
                memset(page, (int)(frames + 1), sizeof(page));
                cr_assert_eq(pwrite(fd, page, PAGE_SIZE, (off_t)(frames << PAGE_SHIFT)), PAGE_SIZE);
        }
        frames = pages;
}

static void want(uint64_t lost)
{
        frame_map_want(&map, fd, frames << PAGE_SHIFT, frames << PAGE_SHIFT, lost, 10);
}

static void start(void)
{
        memset(&map, 0, sizeof(map));
        frames = 0;
        fd = memfd_create("frames", MFD_CLOEXEC);
        end_at(4);
}

static void stop(void)
{
        frame_map_destroy(&map);
        close(fd);
}

TestSuite(frame_map, .init = start, .fini = stop, .timeout = 30);

static const char *base(uint64_t *seq, uint64_t *pages)
{
        const char *at = frame_map_base(&map, seq, pages);

        *pages >>= PAGE_SHIFT;
        return at;
}

Test(frame_map, nothing_until_wanted)
{
        uint64_t seq, pages;

        cr_assert_null(base(&seq, &pages));
        want(0);
        cr_assert_not_null(base(&seq, &pages));
        cr_assert_eq(pages, 4);
        cr_assert_eq(base(&seq, &pages)[3 * PAGE_SIZE], 4);
        cr_assert(frame_map_held(&map, seq));
}

Test(frame_map, zeros_for_who_is_late)
{
        uint64_t seq, pages, later;
        const char *at;

        want(0);
        at = base(&seq, &pages);
        end_at(2);
        cr_assert_eq(at[3 * PAGE_SIZE], 0, "not SIGBUS");
        cr_assert(!frame_map_held(&map, seq));
        cr_assert_null(base(&later, &pages));
        want(0);
        cr_assert_not_null(base(&later, &pages));
        cr_assert_eq(pages, 2);
        cr_assert_eq(at[3 * PAGE_SIZE], 0, "nor now");
        cr_assert_eq(at[PAGE_SIZE], 2);
        cr_assert(!frame_map_held(&map, seq), "what has been read in between does not count");
}

Test(frame_map, a_longer_file_is_seen_as_far_as_it_goes)
{
        uint64_t seq, pages, now;
        const char *at;

        want(0);
        at = base(&seq, &pages);
        end_at(6);
        want(0);
        cr_assert_eq(base(&now, &pages), at);
        cr_assert_eq(pages, 6);
        cr_assert_eq(at[5 * PAGE_SIZE], 6);
        cr_assert(frame_map_held(&map, seq), "who reads the first pages goes on");
}

Test(frame_map, when_it_moves_the_old_place_is_zeros)
{
        uint64_t seq, pages, now;
        const char *at, *to;

        want(0);
        at = base(&seq, &pages);
        end_at(2048); /* longer than there are addresses for at first */
        want(0);
        to = base(&now, &pages);
        cr_assert_neq(to, at);
        cr_assert_eq(pages, 2048);
        cr_assert_eq(to[PAGE_SIZE], 2);
        cr_assert_eq(at[PAGE_SIZE], 0);
        cr_assert(!frame_map_held(&map, seq));
}

Test(frame_map, mapped_anew_when_the_tree_has_lost_many_leaves)
{
        uint64_t seq, pages;
        unsigned char in;
        const char *at;

        want(0);
        at = base(&seq, &pages);
        cr_assert_eq(at[0], 1);
        want(10);
        cr_assert_eq(atomic_load(&map.left), 0, "ten are kept");
        want(11);
        cr_assert_eq(atomic_load(&map.left), 11);
        cr_assert(frame_map_held(&map, seq), "readers see no difference");
        cr_assert_eq(at[0], 1);
        cr_assert_eq(mincore((void *)at, PAGE_SIZE, &in), 0);
}

/* Is the kernel's page table of it filled in? The kernel tells of no other way to see that from here. */
static bool is_present(const char *at)
{
        int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        uint64_t entry = 0;

        cr_assert_eq(pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)at / PAGE_SIZE * 8)),
                     sizeof(entry));
        close(pagemap);
        return entry >> 63;
}

/* Of the frames, as the kernel counts them. */
static unsigned mappings(void)
{
        FILE *f = fopen("/proc/self/maps", "re");
        unsigned n = 0;
        char line[512];

        cr_assert_not_null(f);
        while (fgets(line, sizeof(line), f))
                n += strstr(line, "/memfd:frames") != NULL;
        fclose(f);
        return n;
}

Test(frame_map, what_is_mapped_stays_so_when_the_file_becomes_longer)
{
        uint64_t seq, pages;
        const char *at;

        want(0);
        at = base(&seq, &pages);
        cr_assert_eq(at[PAGE_SIZE], 2);
        for (uint64_t end = 5; end <= 100; end++) {
                end_at(end);
                want(0);
                cr_assert_eq(base(&seq, &pages)[(end - 1) * PAGE_SIZE], (char)end);
                cr_assert(is_present(at + PAGE_SIZE), "gone at %llu pages",
                          (unsigned long long)end);
        }
        cr_assert_eq(mappings(), 1);
}

/* Two readers see at once that it is too short. */
Test(frame_map, grown_by_somebody_else_it_is_not_given_up)
{
        uint64_t seq, pages;

        want(0);
        frame_map_want(&map, fd, 5 << PAGE_SHIFT, 4 << PAGE_SHIFT, 0, 10);
        cr_assert_not_null(base(&seq, &pages));
        end_at(6);
        want(0);
        base(&seq, &pages);
        cr_assert_eq(pages, 6);
}

Test(frame_map, where_it_cannot_be_mapped_it_is_not)
{
        uint64_t seq, pages;

        frame_map_want(&map, -1, PAGE_SIZE, 1ull << 60, 0, 0);
        cr_assert_null(base(&seq, &pages));
        want(0);
        cr_assert_null(base(&seq, &pages), "it is not tried again");
}
