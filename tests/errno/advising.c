/* SPDX-License-Identifier: Apache-2.0
 *
 * advising.c - the cases of madvise (L35).
 */
#include "errno.h"

#include <errno.h>
#include <limits.h>

#include "../mman.h"

#define GIVE(name, page, nr, advice, want)                                                         \
        {                                                                                          \
                name, call_madvise, AT(page), (nr)*PAGE, advice, 0, 0, 0, want, 0                  \
        }
/* Of any advice that is not one of populating. */
#define ANY(advice)                                                                                \
        GIVE(#advice " of nothing", END, 0, advice, 0),                                            \
                GIVE(#advice " of what is not mapped", HOLE, 1, advice, ENOMEM),                   \
                { #advice " inside a page", call_madvise, 512, PAGE, advice, 0, 0, 0, EINVAL, 0 }, \
        {                                                                                          \
#advice " of a length that wraps", call_madvise, 0, -PAGE, advice, 0, 0, 0,        \
                        EINVAL, 0                                                                  \
        }
/* And may be given to any file's mapping. */
#define ANYWHERE(advice)                                                                           \
        ANY(advice), GIVE(#advice, RW, 4, advice, 0),                                              \
                GIVE(#advice " over holes", RW, 20, advice, ENOMEM),                               \
                GIVE(#advice " of a private mapping", PRIVATE, 2, advice, 0),                      \
                GIVE(#advice " past the end", PAST_END, 4, advice, 0),                             \
                GIVE(#advice " of what may not be touched", NONE, 1, advice, 0)

static const struct errno_case madvise_cases[] = {
        ANYWHERE(MADV_NORMAL),
        ANYWHERE(MADV_RANDOM),
        ANYWHERE(MADV_SEQUENTIAL),
        ANYWHERE(MADV_WILLNEED),
        ANYWHERE(MADV_DONTNEED),
        ANYWHERE(MADV_COLD),
        ANYWHERE(MADV_PAGEOUT),
        ANYWHERE(MADV_DONTFORK),
        ANYWHERE(MADV_DOFORK),
        ANY(MADV_REMOVE),
        ANY(MADV_FREE),
        ANY(MADV_WIPEONFORK),
        GIVE("an unknown advice", RW, 1, 1234, EINVAL),
        GIVE("an unknown advice of nothing", RW, 0, 1234, EINVAL),
        GIVE("MADV_REMOVE", RW, 2, MADV_REMOVE, 0),
        GIVE("MADV_REMOVE past the end", PAST_END, 4, MADV_REMOVE, 0),
        GIVE("MADV_REMOVE of what is open for reading", RO, 1, MADV_REMOVE, EACCES),
        GIVE("MADV_REMOVE of a private mapping", PRIVATE, 1, MADV_REMOVE, EACCES),
        GIVE("MADV_REMOVE of what may not be touched", NONE, 1, MADV_REMOVE, 0),
        GIVE("MADV_REMOVE over a hole", RW + 3, 2, MADV_REMOVE, ENOMEM),
        GIVE("MADV_FREE", ANON, 2, MADV_FREE, 0),
        GIVE("MADV_WIPEONFORK", ANON, 2, MADV_WIPEONFORK, 0),
        GIVE("MADV_WILLNEED of memory without a file", ANON, 2, MADV_WILLNEED, 0),
        GIVE("MADV_DONTNEED of memory without a file", ANON, 2, MADV_DONTNEED, 0),
        GIVE("MADV_COLD of memory without a file", ANON, 2, MADV_COLD, 0),
        GIVE("MADV_PAGEOUT of memory without a file", ANON, 2, MADV_PAGEOUT, 0),
        GIVE("MADV_REMOVE of memory without a file", ANON, 2, MADV_REMOVE, EINVAL),
        GIVE("MADV_POPULATE_READ of memory without a file", ANON, 2, MADV_POPULATE_READ, 0),
        GIVE("MADV_POPULATE_WRITE of memory without a file", ANON, 2, MADV_POPULATE_WRITE, 0),
        GIVE("MADV_FREE of shared memory", MEMORY, 2, MADV_FREE, EINVAL),
        GIVE("MADV_WIPEONFORK of shared memory", MEMORY, 2, MADV_WIPEONFORK, EINVAL),
        GIVE("MADV_WILLNEED of shared memory", MEMORY, 2, MADV_WILLNEED, 0),
        GIVE("MADV_DONTNEED of shared memory", MEMORY, 2, MADV_DONTNEED, 0),
        GIVE("MADV_COLD of shared memory", MEMORY, 2, MADV_COLD, 0),
        GIVE("MADV_PAGEOUT of shared memory", MEMORY, 2, MADV_PAGEOUT, 0),
        GIVE("MADV_REMOVE of shared memory", MEMORY, 2, MADV_REMOVE, 0),
        GIVE("MADV_POPULATE_WRITE of shared memory", MEMORY, 2, MADV_POPULATE_WRITE, 0),
        GIVE("MADV_FREE of a file", PRIVATE, 1, MADV_FREE, EINVAL),
        GIVE("MADV_FREE of a shared file", RW, 1, MADV_FREE, EINVAL),
        GIVE("MADV_WIPEONFORK of a file", PRIVATE, 1, MADV_WIPEONFORK, EINVAL),
        GIVE("MADV_WIPEONFORK of a shared file", RW, 1, MADV_WIPEONFORK, EINVAL),
        GIVE("MADV_POPULATE_READ", RW, 4, MADV_POPULATE_READ, 0),
        GIVE("MADV_POPULATE_READ of nothing", HOLE, 0, MADV_POPULATE_READ, 0),
        GIVE("MADV_POPULATE_READ of a hole", HOLE, 1, MADV_POPULATE_READ, ENOMEM),
        GIVE("MADV_POPULATE_READ over a hole", RW, 6, MADV_POPULATE_READ, ENOMEM),
        GIVE("MADV_POPULATE_READ past the end", PAST_END, 4, MADV_POPULATE_READ, EFAULT),
        GIVE("MADV_POPULATE_READ of what may not be touched", NONE, 1, MADV_POPULATE_READ, EINVAL),
        GIVE("MADV_POPULATE_READ of what may be written", WONLY, 1, MADV_POPULATE_READ, EINVAL),
        GIVE("MADV_POPULATE_READ of a private mapping", PRIVATE, 2, MADV_POPULATE_READ, 0),
        GIVE("MADV_POPULATE_WRITE", RW, 4, MADV_POPULATE_WRITE, 0),
        GIVE("MADV_POPULATE_WRITE over a hole", RW, 6, MADV_POPULATE_WRITE, ENOMEM),
        GIVE("MADV_POPULATE_WRITE past the end", PAST_END, 4, MADV_POPULATE_WRITE, EFAULT),
        GIVE("MADV_POPULATE_WRITE of what may be read", RO, 1, MADV_POPULATE_WRITE, EINVAL),
        GIVE("MADV_POPULATE_WRITE of what may be written", WONLY, 1, MADV_POPULATE_WRITE, 0),
        GIVE("MADV_POPULATE_WRITE of a private mapping", PRIVATE, 2, MADV_POPULATE_WRITE, 0),
        GIVE("MADV_DONTNEED of what is locked", LOCKED, 1, MADV_DONTNEED, EINVAL),
        GIVE("MADV_DONTNEED_LOCKED of what is locked", LOCKED, 1, MADV_DONTNEED_LOCKED, 0),
        GIVE("MADV_DONTNEED_LOCKED of what is not", RW, 1, MADV_DONTNEED_LOCKED, 0),
        GIVE("MADV_COLD of what is locked", LOCKED, 1, MADV_COLD, EINVAL),
        GIVE("MADV_PAGEOUT of what is locked", LOCKED, 1, MADV_PAGEOUT, EINVAL),
        GIVE("MADV_REMOVE of what is locked", LOCKED, 1, MADV_REMOVE, EINVAL),
        GIVE("MADV_FREE of what is locked", LOCKED_ANON, 1, MADV_FREE, EINVAL),
        GIVE("MADV_WILLNEED of what is locked", LOCKED, 2, MADV_WILLNEED, 0),
        GIVE("MADV_RANDOM of what is locked", LOCKED, 2, MADV_RANDOM, 0),
        GIVE("MADV_WIPEONFORK of what is locked", LOCKED_ANON, 1, MADV_WIPEONFORK, 0),
        GIVE("MADV_POPULATE_READ of what is locked", LOCKED, 2, MADV_POPULATE_READ, 0),
        GIVE("MADV_KEEPONFORK of a file", RW, 1, MADV_KEEPONFORK, 0),
        { "MADV_POPULATE_READ inside a page", call_madvise, 512, PAGE, MADV_POPULATE_READ, 0, 0, 0,
          EINVAL, 0 },
};

const struct case_list advising_cases[] = {
        { "madvise", madvise_cases, sizeof(madvise_cases) / sizeof(madvise_cases[0]) },
        { 0 },
};
