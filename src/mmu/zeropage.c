/* SPDX-License-Identifier: Apache-2.0
 *
 * zeropage.c - see zeropage.h.
 *
 * UFFDIO_ZEROPAGE knows no write-protection, so it is put on after. Whoever waits is not woken in
 * between, but any other thread may store to the page then: the kernel gives it a page of its own
 * and no event. Once protected, a page is what it is: PAGEMAP_SCAN (Linux 6.7) says which.
 */
#include "mmu/zeropage.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "mmu/compat.h"
#include "util/perturb.h"

#define MAX_PAGES 64

/* What of [addr, addr+nr) is not the page of zeros. 0 or -errno. */
static int scan(int pagemap, uint64_t addr, uint64_t nr, uint64_t *own)
{
        struct page_region region[MAX_PAGES];
        struct pm_scan_arg arg = {
                .size = sizeof(arg),
                .start = addr,
                .end = addr + (nr << PAGE_SHIFT),
                .vec = (uint64_t)(uintptr_t)region,
                .vec_len = MAX_PAGES,
                .category_inverted = PAGE_IS_PFNZERO,
                .category_mask = PAGE_IS_PFNZERO,
                .return_mask = PAGE_IS_PFNZERO,
        };
        int n = ioctl(pagemap, PAGEMAP_SCAN, &arg);

        if (n < 0)
                return -errno;
        *own = 0;
        for (int i = 0; i < n; i++)
                for (uint64_t at = region[i].start; at < region[i].end; at += PAGE_SIZE)
                        *own |= 1ull << ((at - addr) >> PAGE_SHIFT);
        return 0;
}

/* Pages shown, at least one, or -errno. */
static int show(int uffd, uint64_t addr, uint64_t nr)
{
        struct uffdio_zeropage arg = {
                .range = { addr, nr << PAGE_SHIFT },
                .mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
        };

        while (ioctl(uffd, UFFDIO_ZEROPAGE, &arg)) {
                if (arg.zeropage > 0)
                        return (int)(arg.zeropage >> PAGE_SHIFT);
                if (errno == ENOENT && nr > 1) /* more than one of the kernel's mappings */
                        arg.range.len = (nr = (nr + 1) / 2) << PAGE_SHIFT;
                else if (errno != EAGAIN)
                        return -errno;
                arg.zeropage = 0;
        }
        return (int)nr;
}

int zeropage_show(int uffd, int pagemap, uint64_t addr, uint64_t nr, uint64_t *own)
{
        int shown = show(uffd, addr, nr < MAX_PAGES ? nr : MAX_PAGES);
        struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };

        if (shown < 0)
                return shown;
        perturb_gap();
        wp.range = (struct uffdio_range){ addr, (uint64_t)shown << PAGE_SHIFT };
        while (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
                if (errno != EAGAIN)
                        return -errno;
        perturb_gap();
        if (pagemap < 0 || scan(pagemap, addr, (uint64_t)shown, own))
                *own = ~0ull;
        return shown;
}
