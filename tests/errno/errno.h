/* SPDX-License-Identifier: Apache-2.0
 *
 * errno.h - every errno of the mapping calls, by name: the same call on an engine's mappings and on
 * the kernel's own of a twin file.
 *
 *   main.c      lays out the two sides anew for each case, makes the calls and compares
 *   mapping.c   the cases of mmap, munmap, mprotect, mincore, msync
 *   advising.c  of madvise
 *   moving.c    of mremap, mlock
 *   memcntl.c   of memcntl and incore, which the kernel here has not
 *
 * To add a case: a row. What a call does is in main.c.
 *
 * What the manual pages list under ERRORS, and where it is:
 *
 *   mmap      EACCES EAGAIN EBADF EEXIST EINVAL ENOMEM EOPNOTSUPP EOVERFLOW EPERM (noexec)  here
 *             ENODEV   a file without pages is refused by fl_file_open (tests/descriptors.c)
 *             ENOMEM   too many mappings: tests/maps.c, tests/unit/test_sigsegv.c
 *             ENFILE, ETXTBSY (a file in use as swap), EPERM (MAP_HUGETLB, seals, MAP_LOCKED where
 *                      nothing may be locked): there is no such thing here
 *   munmap    EINVAL                                                                        here
 *             ENOMEM   too many mappings, as above
 *   mprotect  EACCES EINVAL ENOMEM                                                          here
 *   mremap    EAGAIN EFAULT EINVAL ENOMEM                                                   here
 *   msync     EBUSY EINVAL ENOMEM                                                           here
 *             EIO, ENOSPC  an earlier write-back: tests/failures.c, tests/writeback.c
 *   madvise   EACCES EFAULT EINVAL ENOMEM                                                   here
 *             EHWPOISON  tests/failures.c
 *             EIO, EBADF (WILLNEED), EBUSY, EPERM  are of advice that is not taken
 *             EAGAIN   no memory for a split: not tested
 *   mincore   EINVAL ENOMEM                                                                 here
 *             EFAULT   vec is the program's memory: a signal, as in any function of a library
 *             EAGAIN   cannot be
 *   mlock     EINVAL ENOMEM                                                                 here
 *             EAGAIN   no room for the pages: tests/locked.c
 *             EPERM    the limit is the budget's, and never none
 *   memcntl   EAGAIN EBUSY EFAULT EINVAL ENOMEM                                             here
 *             EIO      as msync and mlock
 *             EPERM    as mlock
 */
#ifndef FAULTLINE_TESTS_ERRNO_H
#define FAULTLINE_TESTS_ERRNO_H

#include <sys/types.h>

#include "../harness.h"

#define PAGE ((long)TEST_PAGE)

/* What is mapped before each call, at these pages. The file has FILE_PAGES pages. */
enum {
        FILE_PAGES = 8,
        RW = 0,           /* 4 pages, shared, of the file's first */
        HOLE = 4,         /* 1 page */
        RO = 5,           /* 2 pages, shared, of a file open for reading, PROT_READ */
        PRIVATE = 7,      /* 2 pages, private, PROT_READ | PROT_WRITE */
        PAST_END = 9,     /* 4 pages, shared; the file ends after two of them */
        NONE = 13,        /* 1 page, shared, PROT_NONE */
        WONLY = 14,       /* 1 page, shared, PROT_WRITE */
        ANON = 15,        /* 2 pages without a file, private, PROT_READ | PROT_WRITE */
        END = 17,         /* from here on: nothing, up to */
        MEMORY = 29,      /* 2 pages without a file, shared, PROT_READ | PROT_WRITE */
        LOCKED = 32,      /* 2 pages, shared, locked */
        LOCKED_ANON = 36, /* 1 page without a file, locked */
        NOEXEC = 38,      /* 1 page, private, PROT_READ, of a file that may not be executed */
        REGION = 40
};
#define AT(page) ((page)*PAGE)
/* An address that is none of the region's. */
#define FAR(address) ((address) | LONG_MIN)

/* H_NOEXEC: on a file system that is mounted so; there may be none. */
enum handle { H_RW, H_RO, H_WO, H_NOEXEC, H_NONE, NR_HANDLES };

/* How many pages may be locked, of either side. */
#define MOST_LOCKED 96
enum asked { BOTH, ONLY_US, IF_LIMITED /* the kernel only if its limit could be made the same */ };

struct side;

struct errno_case {
        const char *name;
        long (*call)(struct side *, const struct errno_case *);
        long at, len; /* bytes; at: from the region's begin */
        int arg;      /* prot, advice, flags */
        int flags;
        long offset;
        enum handle handle;
        int want; /* errno, 0: none */
        enum asked asked;
};

struct case_list {
        const char *name; /* of the call */
        const struct errno_case *cases;
        unsigned nr;
};
extern const struct case_list mapping_cases[], advising_cases[], moving_cases[], memcntl_cases[];

/* main.c */
long call_mmap(struct side *s, const struct errno_case *c);
long call_munmap(struct side *s, const struct errno_case *c);
long call_mprotect(struct side *s, const struct errno_case *c);
long call_mincore(struct side *s, const struct errno_case *c);
long call_msync(struct side *s, const struct errno_case *c);
long call_madvise(struct side *s, const struct errno_case *c);
/* flags: the new length; offset: the new address, from the region's begin */
long call_mremap(struct side *s, const struct errno_case *c);
long call_mlock(struct side *s, const struct errno_case *c);
long call_munlock(struct side *s, const struct errno_case *c);
/* arg: the command; flags: its argument; offset: attributes, and mask << 8. Of ours only. */
long call_memcntl(struct side *s, const struct errno_case *c);
/* at: the address itself */
long call_memcntl_all(struct side *s, const struct errno_case *c);
/* flags: mha_cmd, and mha_flags << 8; arg: pages of mha_pagesize; offset: attributes; */
long call_hat_advise(struct side *s, const struct errno_case *c);
long call_incore(struct side *s, const struct errno_case *c);

#endif
