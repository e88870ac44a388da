/* SPDX-License-Identifier: Apache-2.0
 *
 * sync_run.h - runs of pages read and written as the cache does it, but waited for.
 */
#ifndef TEST_SYNC_RUN_H
#define TEST_SYNC_RUN_H

#include <criterion/criterion.h>

#include "block/block.h"
#include "fs/fs.h"
#include "util/wait.h"

struct sync_run {
        struct fs_run run;
        struct waiter waiter;
};

static inline void sync_run_end_io(struct fs_run *run)
{
        struct sync_run *s = container_of(run, struct sync_run, run);

        s->waiter.wake(&s->waiter);
}

/* opf: IO_READ or IO_WRITE, and flags. What the run has become. */
static inline struct fs_run sync_run(struct inode *inode, uint32_t opf, uint64_t index, uint32_t n,
                                     char *buf)
{
        struct sync_run s = { .run = {
                                      .inode = inode,
                                      .index = index,
                                      .nr_pages = n,
                                      .opf = opf,
                                      .buf = buf,
                                      .end_io = sync_run_end_io,
                              } };
        struct blk_plug plug;

        waiter_init_sync(&s.waiter);
        blk_start_plug(&plug);
        if ((opf & REQ_OP_MASK) == IO_READ)
                inode->a_ops->readahead(&s.run, &plug);
        else
                inode->a_ops->writepages(&s.run, &plug);
        blk_finish_plug(&plug);
        cr_assert_eq(waiter_sleep(&s.waiter, UINT64_C(10000000000)), 0, "no end_io");
        return s.run;
}

#endif
