/* SPDX-License-Identifier: Apache-2.0
 *
 * swapping.c - see swapping.h.
 */
#include "swapping.h"

#include <unistd.h>

struct fl_engine *open_with_swap(uint64_t pages, const char *swap, const char *faults)
{
        return open_engine_with((struct fl_engine_config){ .cache = pages * TEST_PAGE,
                                                           .swap = swap,
                                                           .faults = faults,
                                                           .flags = FL_ENGINE_QUIET });
}

void unmap(struct fl_engine *e, void *p, uint64_t pages)
{
        expect(fl_munmap(e, p, pages * TEST_PAGE) == 0, "%s", fl_strerror());
}

unsigned resident(struct fl_engine *e, char *p, uint64_t pages)
{
        unsigned char vec[1024];
        unsigned n = 0;

        expect(fl_mincore(e, p, pages * TEST_PAGE, vec) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < pages; i++)
                n += vec[i] & 1;
        return n;
}

uint64_t evict_all(struct fl_engine *e, char *p, uint64_t pages, uint64_t nr)
{
        uint64_t gone = 0;

        for (int i = 0; gone < nr && i < 100; i++) {
                ssize_t bytes = fl_evict(e, p, pages * TEST_PAGE);

                expect(bytes >= 0, "%s", fl_strerror());
                gone += (uint64_t)bytes / TEST_PAGE;
                if (gone < nr)
                        usleep(1000);
        }
        return gone;
}
