/* SPDX-License-Identifier: Apache-2.0
 *
 * expiry.c - dirty pages below every limit are written when they are old enough, and not before.
 * The policy's 30 seconds are made short, by a policy that differs in nothing else.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"

#define PAGES 64u

int main(int argc, char **argv)
{
        struct vm_policy_ops quick = linux_policy;
        struct fl_engine *e;
        struct fl_file *f;
        uint64_t stored, written;
        char *p;

        test_begin(argc, argv, 5, 5, 40);
        quick.expire_ms = 1500;
        quick.writeback_ms = 100;
        e = open_engine(4 << 20);
        f = open_file(e, test_stamped_file("aged", PAGES), O_RDWR);
        p = map_file(e, f, PAGES * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        __atomic_store_n(&e->cache->policy, &quick, __ATOMIC_SEQ_CST);
        flusher_kick(e->cache); /* it sleeps by the old period */

        stored = now_ns();
        for (unsigned n = 0; n < 3; n++)
                stamp_write(p + n * TEST_PAGE, n, 1);
        usleep(400000);
        written = get_stats(e).writeback_pages;
        if (now_ns() - stored < 1200000000ull) /* else the machine stood still: no verdict */
                expect_eq(written, 0, "pages written before their time");
        while (get_stats(e).writeback_pages < 3 && test_left() > 0)
                usleep(50000);
        expect_eq(get_stats(e).writeback_pages, 3, "pages written in their time");

        expect(fl_munmap(e, p, PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
        check_engine(e);
        close_file(f);
        close_engine(e);
        return test_end();
}
