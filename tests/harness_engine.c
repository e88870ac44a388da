/* SPDX-License-Identifier: Apache-2.0
 *
 * harness_engine.c - see harness.h: an engine as the command line of a test wants it, and what tests ask it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

bool test_solaris(void)
{
        return test.policy && !strncmp(test.policy, "solaris", 7);
}

unsigned test_page_pages(void)
{
        return test_solaris() ? 2 : 1;
}

struct fl_engine *open_engine_with(struct fl_engine_config config)
{
        struct fl_engine *e;

        config.size = sizeof(config);
        if (!config.driver)
                config.driver = test.driver;
        if (!config.faults)
                config.faults = test.faults;
        if (!config.mmu)
                config.mmu = test.mmu;
        if (!config.policy)
                config.policy = test.policy;
        if (!config.pagers)
                config.pagers = test.pagers;
        if (!config.perturb)
                config.perturb = test.perturb;
        if (!config.spin)
                config.spin = test.spin;
        e = fl_engine_open(&config);
        if (!e && (errno == EPERM || errno == ENOSYS || (errno == ENOTSUP && config.fork)))
                test_skip(fl_strerror());
        require(e, "%s", fl_strerror());
        return e;
}

struct fl_engine *open_engine(uint64_t cache)
{
        return open_engine_with((struct fl_engine_config){ .cache = cache });
}

struct fl_file *open_file(struct fl_engine *e, const char *uri, int flags)
{
        struct fl_file *f = fl_file_open(e, uri, flags, NULL);

        require(f, "%s", fl_strerror());
        return f;
}

void *map_file(struct fl_engine *e, struct fl_file *f, size_t len, int prot, int flags,
               off_t offset)
{
        void *p = fl_mmap(e, NULL, len, prot, flags, f, offset);

        require(p != MAP_FAILED, "%s", fl_strerror());
        return p;
}

struct fl_stats get_stats(struct fl_engine *e)
{
        struct fl_stats s = { .size = sizeof(s) };

        require(fl_stats(e, &s) == 0, "%s", fl_strerror());
        return s;
}

uint64_t resident_pages(struct fl_engine *e, void *p, uint64_t pages)
{
        unsigned char vec[1024];
        uint64_t n = 0;

        for (uint64_t done = 0, nr; done < pages; done += nr) {
                nr = pages - done < sizeof(vec) ? pages - done : sizeof(vec);
                require(fl_mincore(e, (char *)p + done * TEST_PAGE, nr * TEST_PAGE, vec) == 0, "%s",
                        fl_strerror());
                for (uint64_t i = 0; i < nr; i++)
                        n += vec[i] & 1;
        }
        return n;
}

static bool same_work(const struct fl_stats *a, const struct fl_stats *b)
{
        return a->requests == b->requests && a->bios == b->bios &&
               a->readahead_pages == b->readahead_pages && a->evicted_pages == b->evicted_pages &&
               a->writeback_pages == b->writeback_pages && a->cache_bytes == b->cache_bytes;
}

void check_engine(struct fl_engine *e)
{
        struct fl_stats was = get_stats(e), now;
        int r = -1;

        /* A write may take its time on a busy disk: ten seconds and more, if need be. */
        for (int tries = 0; tries < 250 && r; tries++) {
                for (int same = 0; same < 4;) {
                        usleep(10000);
                        now = get_stats(e);
                        same = same_work(&was, &now) ? same + 1 : 0;
                        was = now;
                }
                r = fl_engine_check(e);
        }
        expect(r == 0, "%s", fl_strerror());
}

void close_file(struct fl_file *f)
{
        expect(fl_file_close(f) == 0, "%s", fl_strerror());
}

void close_engine(struct fl_engine *e)
{
        expect(fl_engine_close(e) == 0, "%s", fl_strerror());
}
