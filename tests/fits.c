/* SPDX-License-Identifier: Apache-2.0
 *
 * fits.c - nine tenths of the budget fit into it: once they have been touched, they are mapped, and
 * touching them again is no fault. What reclaim keeps free for the next fault must not be so much
 * that what is in use goes round and round.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define CACHE (16ul << 20)
#define FILE_PAGES (CACHE / TEST_PAGE)
#define SET_PAGES (CACHE / TEST_PAGE * 9 / 10)

static uint64_t faults(struct fl_engine *e)
{
        struct fl_stats s = get_stats(e);

        return s.faults_major + s.faults_minor;
}

int main(int argc, char **argv)
{
        struct fl_engine *e;
        struct fl_file *f;
        uint64_t before = 0;
        const char *p;

        test_begin(argc, argv, 5, 5, 60);
        e = open_engine(CACHE);
        f = open_file(e, test_stamped_file("set", FILE_PAGES), O_RDONLY);
        p = map_file(e, f, FILE_PAGES * TEST_PAGE, PROT_READ, MAP_SHARED, 0);
        require(fl_madvise(e, (void *)p, FILE_PAGES * TEST_PAGE, MADV_RANDOM) == 0, "%s",
                fl_strerror());
        for (unsigned pass = 0; pass < 2; pass++) {
                /* A fault is counted just after its thread has been let go. */
                while (pass && faults(e) < SET_PAGES && test_left() > 0)
                        usleep(1000);
                before = faults(e);
                for (uint64_t n = 0; n < SET_PAGES; n++) {
                        const char *wrong = stamp_wrong(p + n * TEST_PAGE, n, 0);

                        expect(!wrong, "%s", wrong);
                }
        }
        expect_eq(get_stats(e).evicted_pages, 0, "pages evicted though all fit");
        expect_eq(faults(e) - before, 0, "faults on pages that are there");
        expect(fl_munmap(e, (void *)p, FILE_PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
        check_engine(e);
        close_file(f);
        close_engine(e);
        return test_end();
}
