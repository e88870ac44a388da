/* SPDX-License-Identifier: Apache-2.0
 *
 * test_readahead.c - from a window to runs of reads, by a file system that only counts them.
 */
#include "cache/filemap.h"
#include "page_fixture.h"

static struct file f;
static unsigned runs, pages;

/* Each read fails at once, so that nothing of it stays. */
static void count_run(struct fs_run *run, struct blk_plug *plug)
{
        (void)plug;
        runs++;
        pages += run->nr_pages;
        run->error = -EIO;
        run->end_io(run);
}

static const struct address_space_operations counting = { .readahead = count_run };

static void begin(void)
{
        start();
        inode.a_ops = &counting;
        f = (struct file){ .mapping = m };
        mutex_init(&f.ra_lock, LOCK_RA);
        runs = pages = 0;
}

static void read_window(uint32_t nr)
{
        struct ra_window win = { .start = 8, .nr = nr };
        struct blk_plug plug;

        blk_start_plug(&plug);
        do_page_cache_ra(&f, &win, UINT64_MAX, 0, 0, &plug);
        blk_finish_plug(&plug);
        cr_assert_eq(atomic_load(&c->budget.charged), 0, "what failed is held");
}

TestSuite(readahead, .init = begin, .fini = stop, .timeout = 30);

Test(readahead, a_window_is_read_and_nothing_else)
{
        read_window(3);
        cr_assert_eq(pages, 3, "%u pages in %u runs", pages, runs);
}

/* Not all that follows. */
Test(readahead, a_window_of_no_pages_is_none)
{
        read_window(0);
        cr_assert_eq(runs, 0, "%u pages in %u runs", pages, runs);
}
