/* SPDX-License-Identifier: Apache-2.0
 *
 * lib.c - discarding and zeroing ranges of any length, for callers that wait.
 */
#include <errno.h>

#include "block/request.h"

#define STEP_SECTORS ((1u << 30) >> SECTOR_SHIFT) /* of one bio, which counts bytes in 32 bits */
#define ZEROS_SIZE (64u << 10)

/* Never written to. */
static char zeros[ZEROS_SIZE] __attribute__((aligned(PAGE_SIZE)));

static int each(struct request_queue *q, uint32_t opf, uint64_t sector, uint64_t sectors, void *buf,
                uint64_t step)
{
        int error = 0;

        while (sectors && !error) {
                uint64_t n = min_u64(sectors, step - sector % step);

                error = submit_bio_wait(q, opf, sector, buf, (uint32_t)(n << SECTOR_SHIFT), 0);
                sector += n;
                sectors -= n;
        }
        return error;
}

int blkdev_issue_discard(struct request_queue *q, uint64_t sector, uint64_t sectors)
{
        return each(q, IO_DISCARD | REQ_SYNC, sector, sectors, NULL, STEP_SECTORS);
}

int blkdev_issue_zeroout(struct request_queue *q, uint64_t sector, uint64_t sectors)
{
        int error = each(q, IO_WRITE_ZEROES | REQ_SYNC, sector, sectors, NULL, STEP_SECTORS);

        if (error != -EOPNOTSUPP)
                return error;
        return each(q, IO_WRITE | REQ_SYNC, sector, sectors, zeros, ZEROS_SIZE >> SECTOR_SHIFT);
}
