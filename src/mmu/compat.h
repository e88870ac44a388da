/* SPDX-License-Identifier: Apache-2.0
 *
 * compat.h - what newer kernels' headers say and Debian 12's do not (userfaultfd, pagemap), and what an
 * engine needs of it. The doctor reads it too.
 */
#ifndef FL_MMU_COMPAT_H
#define FL_MMU_COMPAT_H

#include <linux/fs.h>
#include <linux/userfaultfd.h>

#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif
#ifndef UFFDIO_POISON
struct uffdio_poison {
        struct uffdio_range range;
        __u64 mode;
        __s64 updated;
};
#define _UFFDIO_POISON 0x08
#define UFFDIO_POISON _IOWR(UFFDIO, _UFFDIO_POISON, struct uffdio_poison)
#endif

#ifndef PAGEMAP_SCAN
#define PAGE_IS_PFNZERO (1 << 5)
struct page_region {
        __u64 start;
        __u64 end;
        __u64 categories;
};
struct pm_scan_arg {
        __u64 size;
        __u64 flags;
        __u64 start;
        __u64 end;
        __u64 walk_end;
        __u64 vec;
        __u64 vec_len;
        __u64 max_pages;
        __u64 category_inverted;
        __u64 category_mask;
        __u64 category_anyof_mask;
        __u64 return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

/* X(name): the features without which there is no engine. */
#define UFFD_NEEDED(X)                                                                             \
        X(PAGEFAULT_FLAG_WP)                                                                       \
        X(EVENT_REMAP)                                                                             \
        X(THREAD_ID)                                                                               \
        X(MINOR_SHMEM)                                                                             \
        X(WP_HUGETLBFS_SHMEM)                                                                      \
        X(POISON)

#endif
