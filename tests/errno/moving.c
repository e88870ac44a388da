/* SPDX-License-Identifier: Apache-2.0
 *
 * moving.c - the cases of mremap, mlock, mlock2, munlock.
 */
#include "errno.h"

#include <errno.h>
#include <limits.h>

#include "../mman.h"

#define MOVE MREMAP_MAYMOVE
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)
#define EMPTY (MREMAP_MAYMOVE | MREMAP_DONTUNMAP)
#define FREE AT(END + 4)

/* name, call, at, old length, flags, new length, new address, -, errno */
static const struct errno_case mremap_cases[] = {
        { "as long as it is", call_mremap, AT(RW), 4 * PAGE, 0, 4 * PAGE, 0, 0, 0, 0 },
        { "shorter", call_mremap, AT(RW), 4 * PAGE, 0, PAGE, 0, 0, 0, 0 },
        { "longer in place", call_mremap, AT(RW), 4 * PAGE, 0, 5 * PAGE, 0, 0, 0, 0 },
        { "longer, where something is", call_mremap, AT(RW), 4 * PAGE, 0, 6 * PAGE, 0, 0, ENOMEM,
          0 },
        { "longer, its middle", call_mremap, AT(RW), 2 * PAGE, 0, 3 * PAGE, 0, 0, ENOMEM, 0 },
        { "longer elsewhere", call_mremap, AT(RW), 4 * PAGE, MOVE, 6 * PAGE, 0, 0, 0, 0 },
        { "shorter, from more than there are addresses", call_mremap, AT(RW), 1L << 50, 0, PAGE, 0,
          0, EINVAL, 0 },
        { "shorter, from a length that wraps", call_mremap, AT(RW), -PAGE, 0, PAGE, 0, 0, EINVAL,
          0 },
        { "shorter, but what was longer is not mapped", call_mremap, AT(HOLE), 1L << 50, 0, PAGE, 0,
          0, EFAULT, 0 },
        { "fixed, from more than there are addresses", call_mremap, AT(RW), 1L << 50, FIXED, PAGE,
          FREE, 0, EINVAL, 0 },
        { "some bytes are a page", call_mremap, AT(RW), 1, 0, 1, 0, 0, 0, 0 },
        { "an unknown flag", call_mremap, AT(RW), PAGE, 64, PAGE, 0, 0, EINVAL, 0 },
        { "inside a page", call_mremap, 512, PAGE, 0, PAGE, 0, 0, EINVAL, 0 },
        { "to nothing", call_mremap, AT(RW), PAGE, 0, 0, 0, 0, EINVAL, 0 },
        { "what is not mapped", call_mremap, AT(HOLE), PAGE, MOVE, 2 * PAGE, 0, 0, EFAULT, 0 },
        { "more than is mapped", call_mremap, AT(RW), 5 * PAGE, MOVE, 6 * PAGE, 0, 0, EFAULT, 0 },
        { "fixed", call_mremap, AT(RW), PAGE, FIXED, PAGE, FREE, 0, 0, 0 },
        { "fixed, shorter", call_mremap, AT(RW), 4 * PAGE, FIXED, PAGE, FREE, 0, 0, 0 },
        { "fixed, longer", call_mremap, AT(RW), 4 * PAGE, FIXED, 6 * PAGE, FREE, 0, 0, 0 },
        { "fixed, on something", call_mremap, AT(RW), 2 * PAGE, FIXED, 2 * PAGE, AT(PRIVATE), 0, 0,
          0 },
        { "fixed, private", call_mremap, AT(PRIVATE), 2 * PAGE, FIXED, 2 * PAGE, FREE, 0, 0, 0 },
        { "fixed, without a file", call_mremap, AT(ANON), 2 * PAGE, FIXED, 4 * PAGE, FREE, 0, 0,
          0 },
        { "fixed, but must not move", call_mremap, AT(RW), PAGE, MREMAP_FIXED, PAGE, FREE, 0,
          EINVAL, 0 },
        { "fixed, inside a page", call_mremap, AT(RW), PAGE, FIXED, PAGE, FREE + 512, 0, EINVAL,
          0 },
        { "fixed, onto itself", call_mremap, AT(RW), 2 * PAGE, FIXED, 2 * PAGE, AT(RW + 1), 0,
          EINVAL, 0 },
        { "fixed, what is not mapped", call_mremap, AT(HOLE), PAGE, FIXED, PAGE, FREE, 0, EFAULT,
          0 },
        { "kept", call_mremap, AT(RW), 2 * PAGE, EMPTY, 2 * PAGE, FREE, 0, 0, 0 },
        { "kept, private", call_mremap, AT(PRIVATE), 2 * PAGE, EMPTY | MREMAP_FIXED, 2 * PAGE, FREE,
          0, 0, 0 },
        { "kept, and longer", call_mremap, AT(RW), PAGE, EMPTY, 2 * PAGE, FREE, 0, EINVAL, 0 },
        { "kept, but must not move", call_mremap, AT(RW), PAGE, MREMAP_DONTUNMAP, PAGE, FREE, 0,
          EINVAL, 0 },
        { "a second view", call_mremap, AT(RW), 0, MOVE, 2 * PAGE, 0, 0, 0, 0 },
        { "a second view, at a place", call_mremap, AT(RW), 0, FIXED, 2 * PAGE, FREE, 0, 0, 0 },
        { "a second view, in its own place", call_mremap, AT(RW), 0, FIXED, PAGE, AT(RW), 0, EFAULT,
          0 },
        { "a second view, that must not move", call_mremap, AT(RW), 0, 0, 2 * PAGE, 0, 0, ENOMEM,
          0 },
        { "a second view of what is private", call_mremap, AT(PRIVATE), 0, MOVE, PAGE, 0, 0, EINVAL,
          0 },
        { "locked, elsewhere", call_mremap, AT(LOCKED), 2 * PAGE, FIXED, 2 * PAGE, FREE, 0, 0, 0 },
        { "locked, longer in place", call_mremap, AT(LOCKED), 2 * PAGE, 0, 4 * PAGE, 0, 0, 0, 0 },
        { "locked, shorter", call_mremap, AT(LOCKED), 2 * PAGE, 0, PAGE, 0, 0, 0, 0 },
        { "locked, kept", call_mremap, AT(LOCKED), 2 * PAGE, EMPTY, 2 * PAGE, FREE, 0, 0, 0 },
        { "longer than may be locked", call_mremap, AT(LOCKED), 2 * PAGE, MOVE, MOST_LOCKED *PAGE,
          0, 0, EAGAIN, IF_LIMITED },
        { "a second view of memory", call_mremap, AT(MEMORY), 0, MOVE, 2 * PAGE, 0, 0, 0, 0 },
        { "memory, longer", call_mremap, AT(MEMORY), 2 * PAGE, FIXED, 4 * PAGE, FREE, 0, 0, 0 },
        { "a second view of a file open for reading", call_mremap, AT(RO), 0, MOVE, PAGE, 0, 0, 0,
          0 },
};

/* name, call, at, length, -, flags, -, -, errno */
static const struct errno_case mlock_cases[] = {
        { "shared", call_mlock, AT(RW), 4 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "private", call_mlock, AT(PRIVATE), 2 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "without a file", call_mlock, AT(ANON), 2 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "inside a page", call_mlock, 512, PAGE, 0, 0, 0, 0, 0, 0 },
        { "nothing", call_mlock, AT(HOLE), 0, 0, 0, 0, 0, 0, 0 },
        { "what is not mapped", call_mlock, AT(HOLE), PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "over a hole", call_mlock, AT(RW), 6 * PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "past the file's end", call_mlock, AT(PAST_END), 4 * PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "what may not be touched", call_mlock, AT(NONE), PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "on fault, past the file's end", call_mlock, AT(PAST_END), 4 * PAGE, 0, MLOCK_ONFAULT, 0,
          0, 0, 0 },
        { "on fault", call_mlock, AT(RW), 4 * PAGE, 0, MLOCK_ONFAULT, 0, 0, 0, 0 },
        { "on fault, what may not be touched", call_mlock, AT(NONE), PAGE, 0, MLOCK_ONFAULT, 0, 0,
          0, 0 },
        { "on fault, over a hole", call_mlock, AT(RW), 6 * PAGE, 0, MLOCK_ONFAULT, 0, 0, ENOMEM,
          0 },
        { "again", call_mlock, AT(LOCKED), 2 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "more than may be", call_mlock, AT(RW), (MOST_LOCKED + 1) * PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        /* The kernel too, of one who may lock all that he likes. */
        { "a length that wraps", call_mlock, AT(RW), -PAGE, 0, 0, 0, 0, EINVAL, ONLY_US },
        { "what may only be written", call_mlock, AT(WONLY), PAGE, 0, 0, 0, 0, 0, 0 },
        { "unlocked, a length that wraps", call_munlock, AT(RW), -PAGE, 0, 0, 0, 0, EINVAL, 0 },
        { "unlocked, what was", call_munlock, AT(LOCKED), 2 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "unlocked, nothing", call_munlock, AT(HOLE), 0, 0, 0, 0, 0, 0, 0 },
        { "an unknown flag", call_mlock, AT(RW), PAGE, 0, 2, 0, 0, EINVAL, 0 },
        { "unlocked", call_munlock, AT(RW), 4 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "unlocked, over a hole", call_munlock, AT(RW), 6 * PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "unlocked, what is not mapped", call_munlock, AT(HOLE), PAGE, 0, 0, 0, 0, ENOMEM, 0 },
};

const struct case_list moving_cases[] = {
        { "mlock", mlock_cases, sizeof(mlock_cases) / sizeof(mlock_cases[0]) },
        { "mremap", mremap_cases, sizeof(mremap_cases) / sizeof(mremap_cases[0]) },
        { 0 },
};
