/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - random calls and accesses, the same on an engine and on the kernel: see twin.h.
 *
 * `twin 0 SEED` runs a sequence again. On a difference the sequence is cut down to the operations
 * that matter, which are printed. With --threads N, so many threads work at once, and
 * `twin --threads N 0 SEED` gives each the same operations again, at another pace.
 * FAULTLINE_TEST_OPS is the number of operations, instead of a time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "twin.h"

/* Where one table of pages ends and the next begins, half way through a region. */
char *over_seam(char *p)
{
        const size_t table = 512 * PAGE;

        return (char *)(((uintptr_t)p + table - 1) / table * table) + table - REGION / 2 * PAGE;
}

/* ThreadSanitizer leaves less than others do. */
char *find_place(void)
{
        for (size_t size = 1ull << 44; size >= 1ull << 32; size /= 2) {
                char *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                               -1, 0);

                if (p == MAP_FAILED)
                        continue;
                munmap(p, size);
                return over_seam(p + size / 8 * 5);
        }
        require(false, "4 GiB of addresses: %s", strerror(errno));
        return NULL;
}

int main(int argc, char **argv)
{
        const char *limit = getenv("FAULTLINE_TEST_OPS");
        uint64_t most = limit && *limit ? strtoull(limit, NULL, 0) : UINT64_MAX, done;

        test_begin(argc, argv, 4, 60, 60);
        if (test.threads) {
                threads_begin(test.threads);
                done = threads_run(most);
        } else {
                alone_begin();
                done = alone_run(most);
        }
        printf("%llu operations\n", (unsigned long long)done);
        return test_end();
}
