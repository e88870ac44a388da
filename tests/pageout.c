/* SPDX-License-Identifier: Apache-2.0
 *
 * pageout.c - the kernel unmaps pages behind the engine's back: MADV_PAGEOUT on a file mapped once,
 * from a thread of its own, while others read, store and sync. /proc/self/pagemap proves that pages
 * went. No store may be lost, and no old page shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "churn.h"

#define PAGE TEST_PAGE
#define PAGES 2048ul
#define CACHE (PAGES * PAGE / 8)
#define CHUNK 64ul

static int pagemap = -1;
static _Atomic uint64_t went, calls;

#define MAPPED(entry) ((entry) >> 63 & 1)

static bool read_pagemap(const char *p, uint64_t *entries, uint64_t nr)
{
        return pread(pagemap, entries, nr * 8, (off_t)((uintptr_t)p / PAGE * 8)) ==
               (ssize_t)(nr * 8);
}

/* One chunk, counting what the kernel's page table shows before and after. */
static void pageout_chunk(char *p)
{
        uint64_t before[CHUNK], after[CHUNK];

        if (!read_pagemap(p, before, CHUNK))
                return;
        expect(madvise(p, CHUNK * PAGE, MADV_PAGEOUT) == 0 || errno == EAGAIN || errno == ENOMEM,
               "MADV_PAGEOUT: %s", strerror(errno));
        if (!read_pagemap(p, after, CHUNK))
                return;
        for (unsigned i = 0; i < CHUNK; i++)
                went += MAPPED(before[i]) && !MAPPED(after[i]);
        calls++;
}

static void pageout_some(struct churn *c, uint64_t *seed)
{
        pageout_chunk(c->view + random_below(seed, PAGES / CHUNK) * CHUNK * PAGE);
}

/* When nothing else runs it can only be the kernel: proof that it unmaps what we mapped. */
static void prove(struct churn *c)
{
        uint64_t was = went;

        for (uint64_t i = 0; i < CHUNK; i++) /* at least these are mapped, clean or dirty */
                churn_look(c, i, c->view + i * PAGE, "before MADV_PAGEOUT");
        churn_store_at(c, 3, c->view + 3 * PAGE);
        for (uint64_t i = 0; i < PAGES; i += CHUNK)
                pageout_chunk(c->view + i * PAGE);
        expect(went > was, "MADV_PAGEOUT unmapped nothing");
        for (uint64_t i = 0; i < CHUNK; i++) { /* met by a load, or by a store */
                if (i % 2)
                        churn_store_at(c, i, c->view + i * PAGE);
                churn_look(c, i, c->view + i * PAGE, "after MADV_PAGEOUT");
        }
}

static const struct churn_op ops[] = {
        CHURN_MOSTLY,
        { "fl_pread", 10, churn_pread },
        { "fl_pwrite", 10, churn_pwrite },
        { "DONTNEED", 3, churn_dontneed },
        { "PAGEOUT", 60, pageout_some },
        { NULL, 0, NULL },
};

int main(int argc, char **argv)
{
        struct churn_config cfg = {
                .pages = PAGES,
                .cache = CACHE,
                .ops = ops,
                .quiet = 0.7,
                .at_quiet = prove,
        };

        test_begin(argc, argv, 5, 60, 60);
        cfg.threads = test.threads ? test.threads : 16;
        pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        if (pagemap < 0)
                test_skip("/proc/self/pagemap cannot be read");
        churn_run(&cfg);
        printf("%llu calls of MADV_PAGEOUT, %llu pages went\n", (unsigned long long)calls,
               (unsigned long long)went);
        expect(went > 0, "MADV_PAGEOUT unmapped nothing");
        close(pagemap);
        return test_end();
}
