/* SPDX-License-Identifier: Apache-2.0
 *
 * mapping.c - the cases of mmap, munmap, mprotect, mincore, msync.
 */
#include "errno.h"

#include <errno.h>
#include <limits.h>
#include <sys/mman.h>

#define R PROT_READ
#define W PROT_WRITE
#define X PROT_EXEC
#define S MAP_SHARED
#define P MAP_PRIVATE
#define FIX MAP_FIXED
#define HUGE_LEN (LONG_MAX & ~(PAGE - 1))

/* name, call, at, len, prot, flags, offset, handle, errno */
static const struct errno_case mmap_cases[] = {
        { "anywhere", call_mmap, FAR(0), PAGE, R, S, 0, H_RW, 0, 0 },
        { "a length of zero", call_mmap, FAR(0), 0, R, S, 0, H_RW, EINVAL, 0 },
        { "longer than all addresses", call_mmap, FAR(0), HUGE_LEN, R, S, 0, H_RW, ENOMEM, 0 },
        { "a length that wraps", call_mmap, FAR(0), -1, R, S, 0, H_RW, ENOMEM, 0 },
        { "an offset inside a page", call_mmap, FAR(0), PAGE, R, S, 512, H_RW, EINVAL, 0 },
        { "an offset behind every file", call_mmap, FAR(0), PAGE, R, S, -PAGE, H_RW, EOVERFLOW, 0 },
        { "neither shared nor private", call_mmap, FAR(0), PAGE, R, 0, 0, H_RW, EINVAL, 0 },
        { "anonymous", call_mmap, FAR(0), PAGE, R, P | MAP_ANONYMOUS, 0, H_NONE, 0, 0 },
        { "anonymous, shared", call_mmap, FAR(0), PAGE, R, S | MAP_ANONYMOUS, 0, H_NONE, 0, 0 },
        { "anonymous, shared, at an offset", call_mmap, FAR(0), PAGE, R, S | MAP_ANONYMOUS, PAGE,
          H_RO, 0, 0 },
        { "anonymous, inside a page", call_mmap, FAR(0), PAGE, R, S | MAP_ANONYMOUS, 512, H_NONE,
          EINVAL, 0 },
        { "anonymous, validated", call_mmap, FAR(0), PAGE, R, MAP_SHARED_VALIDATE | MAP_ANONYMOUS,
          0, H_NONE, EINVAL, 0 },
        { "anonymous, shared, growing down", call_mmap, FAR(0), PAGE, R,
          S | MAP_ANONYMOUS | MAP_GROWSDOWN, 0, H_NONE, EINVAL, 0 },
        { "no file", call_mmap, FAR(0), PAGE, R, S, 0, H_NONE, EBADF, 0 },
        { "fixed, inside a page", call_mmap, 512, PAGE, R, S | FIX, 0, H_RW, EINVAL, 0 },
        { "fixed, on something", call_mmap, AT(RW), PAGE, R, S | FIX, 0, H_RW, 0, 0 },
        { "not replacing, on something", call_mmap, AT(RW), PAGE, R, S | MAP_FIXED_NOREPLACE, 0,
          H_RW, EEXIST, 0 },
        { "not replacing, in a hole", call_mmap, AT(HOLE), PAGE, R, S | MAP_FIXED_NOREPLACE, 0,
          H_RW, 0, 0 },
        { "not replacing, partly a hole", call_mmap, AT(HOLE), 2 * PAGE, R, S | MAP_FIXED_NOREPLACE,
          0, H_RW, EEXIST, 0 },
        { "to write what is open for reading", call_mmap, FAR(0), PAGE, R | W, S, 0, H_RO, EACCES,
          0 },
        { "private, to write what is open for reading", call_mmap, FAR(0), PAGE, R | W, P, 0, H_RO,
          0, 0 },
        { "to read what is open for writing", call_mmap, FAR(0), PAGE, R, S, 0, H_WO, EACCES, 0 },
        { "private, of what is open for writing", call_mmap, FAR(0), PAGE, R, P, 0, H_WO, EACCES,
          0 },
        { "validated, an unknown flag", call_mmap, FAR(0), PAGE, R, MAP_SHARED_VALIDATE | (1 << 22),
          0, H_RW, EOPNOTSUPP, 0 },
        { "not validated, an unknown flag", call_mmap, FAR(0), PAGE, R, S | (1 << 22), 0, H_RW, 0,
          0 },
        { "growing down", call_mmap, FAR(0), PAGE, R, S | MAP_GROWSDOWN, 0, H_RW, EINVAL, 0 },
        { "not reserved", call_mmap, FAR(0), PAGE, R | W, P | MAP_NORESERVE, 0, H_RW, 0, 0 },
        { "populated, past the end too", call_mmap, FAR(0), 16 * PAGE, R, S | MAP_POPULATE, 0, H_RW,
          0, 0 },
        { "populated, not waiting", call_mmap, FAR(0), 16 * PAGE, R,
          S | MAP_POPULATE | MAP_NONBLOCK, 0, H_RW, 0, 0 },
        { "populated, what may not be touched", call_mmap, FAR(0), 2 * PAGE, PROT_NONE,
          S | MAP_POPULATE, 0, H_RW, 0, 0 },
        { "locked", call_mmap, FAR(0), 4 * PAGE, R, S | MAP_LOCKED, 0, H_RW, 0, 0 },
        { "locked, past the end too", call_mmap, FAR(0), 16 * PAGE, R | W, P | MAP_LOCKED, 0, H_RW,
          0, 0 },
        { "locked, on what is locked", call_mmap, AT(LOCKED), 2 * PAGE, R, S | FIX | MAP_LOCKED, 0,
          H_RW, 0, 0 },
        { "more locked than may be", call_mmap, FAR(0), MOST_LOCKED *PAGE, R, S | MAP_LOCKED, 0,
          H_RW, EAGAIN, IF_LIMITED },
        { "to be executed, where nothing may be", call_mmap, FAR(0), PAGE, R | X, P, 0, H_NOEXEC,
          EPERM, 0 },
        { "to be executed, shared, where nothing may be", call_mmap, FAR(0), PAGE, R | X, S, 0,
          H_NOEXEC, EPERM, 0 },
        { "to write, of what may not be executed", call_mmap, FAR(0), PAGE, R | W, S, 0, H_NOEXEC,
          EACCES, 0 },
        { "to read, of what may not be executed", call_mmap, FAR(0), PAGE, R, P, 0, H_NOEXEC, 0,
          0 },
        { "an unknown type", call_mmap, FAR(0), PAGE, R, MAP_TYPE & ~3, 0, H_RW, EINVAL, 0 },
        { "an offset that wraps", call_mmap, FAR(0), 2 * PAGE, R, S, LONG_MAX & ~(PAGE - 1), H_RW,
          EOVERFLOW, 0 },
};

static const struct errno_case munmap_cases[] = {
        { "some of it", call_munmap, AT(RW + 1), 2 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "what is not mapped", call_munmap, AT(END), PAGE, 0, 0, 0, 0, 0, 0 },
        { "mapped or not", call_munmap, AT(RW), 20 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "inside a page", call_munmap, 512, PAGE, 0, 0, 0, 0, EINVAL, 0 },
        { "a length of zero", call_munmap, AT(RW), 0, 0, 0, 0, 0, EINVAL, 0 },
        { "a length that wraps", call_munmap, AT(RW), -PAGE, 0, 0, 0, 0, EINVAL, 0 },
        { "some bytes are a page", call_munmap, AT(RW), 1, 0, 0, 0, 0, 0, 0 },
        { "what is locked", call_munmap, AT(LOCKED), PAGE, 0, 0, 0, 0, 0, 0 },
};

static const struct errno_case mprotect_cases[] = {
        { "less", call_mprotect, AT(RW), 2 * PAGE, R, 0, 0, 0, 0, 0 },
        { "nothing", call_mprotect, AT(RW), 2 * PAGE, PROT_NONE, 0, 0, 0, 0, 0 },
        { "inside a page", call_mprotect, 512, PAGE, R, 0, 0, 0, EINVAL, 0 },
        { "an unknown protection", call_mprotect, AT(RW), PAGE, 1 << 20, 0, 0, 0, EINVAL, 0 },
        { "a length of zero", call_mprotect, AT(END), 0, R, 0, 0, 0, 0, 0 },
        { "a length that wraps", call_mprotect, AT(RW), -PAGE, R, 0, 0, 0, ENOMEM, 0 },
        { "what is not mapped", call_mprotect, AT(HOLE), PAGE, R, 0, 0, 0, ENOMEM, 0 },
        { "up to a hole", call_mprotect, AT(RW), 5 * PAGE, R, 0, 0, 0, ENOMEM, 0 },
        { "to write what is open for reading", call_mprotect, AT(RO), PAGE, R | W, 0, 0, 0, EACCES,
          0 },
        { "private, to write what is open for reading", call_mprotect, AT(PRIVATE), PAGE, R | W | X,
          0, 0, 0, 0, 0 },
        { "growing up and down", call_mprotect, AT(RW), PAGE, R | PROT_GROWSUP | PROT_GROWSDOWN, 0,
          0, 0, EINVAL, 0 },
        { "what is locked", call_mprotect, AT(LOCKED), PAGE, R, 0, 0, 0, 0, 0 },
        { "to execute, where nothing may be", call_mprotect, AT(NOEXEC), PAGE, R | X, 0, 0,
          H_NOEXEC, EACCES, 0 },
        { "growing down what does not", call_mprotect, AT(RW), PAGE, R | PROT_GROWSDOWN, 0, 0, 0,
          EINVAL, 0 },
};

static const struct errno_case mincore_cases[] = {
        { "locked", call_mincore, AT(LOCKED), 2 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "mapped", call_mincore, AT(RW), 4 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "past the file's end", call_mincore, AT(PAST_END), 4 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "inside a page", call_mincore, 512, PAGE, 0, 0, 0, 0, EINVAL, 0 },
        { "what is not mapped", call_mincore, AT(HOLE), PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "over a hole", call_mincore, AT(RW), 6 * PAGE, 0, 0, 0, 0, ENOMEM, 0 },
        { "a length of zero", call_mincore, AT(RW), 0, 0, 0, 0, 0, 0, 0 },
        { "a length that wraps", call_mincore, AT(RW), -PAGE, 0, 0, 0, 0, ENOMEM, 0 },
};

static const struct errno_case msync_cases[] = {
        { "synchronously", call_msync, AT(RW), 4 * PAGE, MS_SYNC, 0, 0, 0, 0, 0 },
        { "asynchronously", call_msync, AT(RW), 4 * PAGE, MS_ASYNC, 0, 0, 0, 0, 0 },
        { "no flag", call_msync, AT(RW), 4 * PAGE, 0, 0, 0, 0, 0, 0 },
        { "both", call_msync, AT(RW), PAGE, MS_SYNC | MS_ASYNC, 0, 0, 0, EINVAL, 0 },
        { "an unknown flag", call_msync, AT(RW), PAGE, 64, 0, 0, 0, EINVAL, 0 },
        { "inside a page", call_msync, 512, PAGE, MS_SYNC, 0, 0, 0, EINVAL, 0 },
        { "what is not mapped", call_msync, AT(HOLE), PAGE, MS_SYNC, 0, 0, 0, ENOMEM, 0 },
        { "over a hole", call_msync, AT(RW), 6 * PAGE, MS_SYNC, 0, 0, 0, ENOMEM, 0 },
        { "over a hole, asynchronously", call_msync, AT(RW), 6 * PAGE, MS_ASYNC, 0, 0, 0, ENOMEM,
          0 },
        { "a length of zero", call_msync, AT(HOLE), 0, MS_SYNC, 0, 0, 0, 0, 0 },
        { "a length that wraps", call_msync, AT(RW), -PAGE, MS_SYNC, 0, 0, 0, ENOMEM, 0 },
        { "invalidating what is not locked", call_msync, AT(RW), PAGE, MS_SYNC | MS_INVALIDATE, 0,
          0, 0, 0, 0 },
        { "invalidating what is locked", call_msync, AT(LOCKED), PAGE, MS_SYNC | MS_INVALIDATE, 0,
          0, 0, EBUSY, 0 },
        { "invalidating what is locked, asynchronously", call_msync, AT(LOCKED), PAGE,
          MS_ASYNC | MS_INVALIDATE, 0, 0, 0, EBUSY, 0 },
        { "what is locked", call_msync, AT(LOCKED), 2 * PAGE, MS_SYNC, 0, 0, 0, 0, 0 },
        { "private", call_msync, AT(PRIVATE), 2 * PAGE, MS_SYNC, 0, 0, 0, 0, 0 },
};

#define LIST(name, cases)                                                                          \
        {                                                                                          \
                name, cases, sizeof(cases) / sizeof(cases[0])                                      \
        }
const struct case_list mapping_cases[] = {
        LIST("mmap", mmap_cases),         LIST("munmap", munmap_cases),
        LIST("mprotect", mprotect_cases), LIST("mincore", mincore_cases),
        LIST("msync", msync_cases),       { 0 },
};
