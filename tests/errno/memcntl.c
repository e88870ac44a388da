/* SPDX-License-Identifier: Apache-2.0
 *
 * memcntl.c - the cases of Solaris's memcntl (S25 to S31) and incore, worked out by hand: there is no
 * such call here to be asked.
 */
#include "errno.h"

#include <errno.h>
#include <limits.h>

#include "../mman.h"

#define DO(name, page, nr, cmd, arg, attr, want)                                                   \
        {                                                                                          \
                name, call_memcntl, AT(page), (nr)*PAGE, cmd, arg, attr, 0, want, ONLY_US          \
        }
#define ALL(name, at, len, cmd, arg, want)                                                         \
        {                                                                                          \
                name, call_memcntl_all, at, len, cmd, arg, 0, 0, want, ONLY_US                     \
        }
#define MASK(n) ((long)(n) << 8)
/* Of any command on a range, with an argument that it takes. */
#define ANY(cmd, arg) ANY_BUSY(cmd, arg, 0, ENOMEM)
/* Some of the file is locked by another mapping. */
#define ANY_BUSY(cmd, arg, busy, busy_or_hole)                                                     \
        DO(#cmd, RW, 4, cmd, arg, 0, busy), DO(#cmd " of nothing", RW, 0, cmd, arg, 0, EINVAL),    \
                DO(#cmd " of what is not mapped", HOLE, 1, cmd, arg, 0, ENOMEM),                   \
                DO(#cmd " over a hole", RW, 6, cmd, arg, 0, busy_or_hole),                         \
                DO(#cmd " with a mask", RW, 1, cmd, arg, MASK(1), EINVAL),                         \
                DO(#cmd " with an attribute that there is not", RW, 1, cmd, arg, 0x40, EINVAL),    \
                DO(#cmd " of what is shared and private", RW, 1, cmd, arg, FL_SHARED | FL_PRIVATE, \
                   EINVAL),                                                                        \
                DO(#cmd " of others", RW, 4, cmd, arg, FL_SHARED | PROT_EXEC, 0),                  \
                DO(#cmd " over a hole, of others", RW, 6, cmd, arg, FL_PRIVATE, ENOMEM),           \
                DO(#cmd " of a private mapping", PRIVATE, 2, cmd, arg, 0, busy),                   \
                DO(#cmd " of what is open for reading", RO, 2, cmd, arg, 0, busy),                 \
                DO(#cmd " of what may not be touched", NONE, 1, cmd, arg, 0, busy),                \
                DO(#cmd " past the end", PAST_END, 4, cmd, arg, 0, 0),                             \
                DO(#cmd " of memory", ANON, 2, cmd, arg, 0, 0),                                    \
                DO(#cmd " of shared memory", MEMORY, 2, cmd, arg, 0, 0), { #cmd " inside a page",  \
                                                                           call_memcntl,           \
                                                                           512,                    \
                                                                           PAGE,                   \
                                                                           cmd,                    \
                                                                           arg,                    \
                                                                           0,                      \
                                                                           0,                      \
                                                                           EINVAL,                 \
                                                                           ONLY_US },              \
        {                                                                                          \
#cmd " of a length that wraps", call_memcntl, 0, -PAGE, cmd, arg, 0, 0, ENOMEM,    \
                        ONLY_US                                                                    \
        }

static const struct errno_case cases[] = {
        ANY(FL_MC_SYNC, 0),
        ANY(FL_MC_SYNC, MS_SYNC),
        ANY(FL_MC_SYNC, MS_ASYNC),
        ANY_BUSY(FL_MC_SYNC, MS_INVALIDATE, EBUSY, EBUSY),
        ANY(FL_MC_LOCK, 0),
        ANY(FL_MC_UNLOCK, 0),
        ANY(FL_MC_ADVISE, MADV_NORMAL),
        ANY(FL_MC_ADVISE, MADV_RANDOM),
        ANY(FL_MC_ADVISE, MADV_SEQUENTIAL),
        ANY(FL_MC_ADVISE, MADV_WILLNEED),
        ANY_BUSY(FL_MC_ADVISE, MADV_DONTNEED, EBUSY, EBUSY),
        ANY(FL_MC_ADVISE, MADV_FREE),
        ANY(FL_MC_ADVISE, FL_MADV_ACCESS_LWP),
        DO("an unknown command", RW, 1, 77, 0, 0, EINVAL),
        DO("an unknown command of nothing", RW, 0, 0, 0, 0, EINVAL),
        DO("S27: both", RW, 1, FL_MC_SYNC, MS_SYNC | MS_ASYNC, 0, EINVAL),
        DO("S27: MS_INVALCURPROC", RW, 1, FL_MC_SYNC, MS_ASYNC | 8, 0, EINVAL),
        DO("S28: invalidated, but locked", LOCKED, 1, FL_MC_SYNC, MS_INVALIDATE, 0, EBUSY),
        DO("S28: memory, invalidated, but locked", LOCKED_ANON, 1, FL_MC_SYNC, MS_INVALIDATE, 0,
           EBUSY),
        DO("S29: not needed, but locked", LOCKED, 1, FL_MC_ADVISE, MADV_DONTNEED, 0, EBUSY),
        DO("S29: unknown advice", RW, 1, FL_MC_ADVISE, 1234, 0, EINVAL),
        DO("S29: advice of Linux's", RW, 1, FL_MC_ADVISE, MADV_COLD, 0, EINVAL),
        DO("S29: half a page is freed", ANON, 0, FL_MC_ADVISE, MADV_FREE, 0, EINVAL),
        DO("S29: freed, but locked", LOCKED_ANON, 1, FL_MC_ADVISE, MADV_FREE, 0, 0),
        DO("S30: again", LOCKED, 2, FL_MC_LOCK, 0, 0, 0),
        ALL("S25: everything at an address", PAGE, 0, FL_MC_LOCKAS, MCL_CURRENT, EINVAL),
        ALL("S25: everything, of a length", 0, PAGE, FL_MC_UNLOCKAS, 0, EINVAL),
        ALL("S25: neither now nor later", 0, 0, FL_MC_LOCKAS, 0, EINVAL),
        ALL("S25: in some other way", 0, 0, FL_MC_LOCKAS, MCL_CURRENT | 4, EINVAL),
        ALL("S30: later, unlocked", 0, 0, FL_MC_UNLOCKAS, 0, 0),
        ALL("S31: no argument", 0, PAGE, FL_MC_HAT_ADVISE, 0, EFAULT),
        { "S31", call_hat_advise, AT(RW), 4 * PAGE, 1, FL_MHA_MAPSIZE_VA, 0, 0, 0, ONLY_US },
        { "S31: any size", call_hat_advise, AT(RW), PAGE, 0, FL_MHA_MAPSIZE_VA, 0, 0, 0, ONLY_US },
        { "S31: unaligned", call_hat_advise, 512, PAGE, 1, FL_MHA_MAPSIZE_VA, 0, 0, EINVAL,
          ONLY_US },
        { "S31: a page and a half", call_hat_advise, AT(RW), PAGE + 512, 1, FL_MHA_MAPSIZE_VA, 0, 0,
          EINVAL, ONLY_US },
        { "S31: a size that there is not", call_hat_advise, AT(RW), 3 * PAGE, 3, FL_MHA_MAPSIZE_VA,
          0, 0, EINVAL, ONLY_US },
        { "S31: a flag", call_hat_advise, AT(RW), PAGE, 1, FL_MHA_MAPSIZE_VA | 1 << 8, 0, 0, EINVAL,
          ONLY_US },
        { "S31: two at once", call_hat_advise, 0, 0, 1,
          FL_MHA_MAPSIZE_STACK | FL_MHA_MAPSIZE_BSSBRK, 0, 0, EINVAL, ONLY_US },
        { "S31: an attribute", call_hat_advise, AT(RW), PAGE, 1, FL_MHA_MAPSIZE_VA, PROT_READ, 0,
          EINVAL, ONLY_US },
        { "S31: a hole", call_hat_advise, AT(RW), 6 * PAGE, 1, FL_MHA_MAPSIZE_VA, 0, 0, ENOMEM,
          ONLY_US },
        { "S31: the stack", call_hat_advise, 0, 0, 1, FL_MHA_MAPSIZE_STACK, 0, 0, 0, ONLY_US },
        { "S31: the stack at an address", call_hat_advise, PAGE, 0, 1, FL_MHA_MAPSIZE_STACK, 0, 0,
          EINVAL, ONLY_US },
};

static const struct errno_case incore_cases[] = {
        { "shared", call_incore, AT(RW), 4 * PAGE, 0, 0, 0, 0, 0, ONLY_US },
        { "inside a page", call_incore, 512, PAGE, 0, 0, 0, 0, EINVAL, ONLY_US },
        { "over a hole", call_incore, AT(RW), 6 * PAGE, 0, 0, 0, 0, ENOMEM, ONLY_US },
};

const struct case_list memcntl_cases[] = {
        { "memcntl", cases, sizeof(cases) / sizeof(cases[0]) },
        { "incore", incore_cases, sizeof(incore_cases) / sizeof(incore_cases[0]) },
        { 0 },
};
