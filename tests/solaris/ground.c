/* SPDX-License-Identifier: Apache-2.0
 *
 * ground.c - see ground.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "ground.h"

static struct ground start(struct fl_engine_config config, const char *name, int prot, int flags)
{
        struct ground g = { .path = test_stamped_file(name, UNITS * UNIT / TEST_PAGE) };

        test_at(name);
        config.readahead = 128 << 10;
        config.cache = config.cache ? config.cache : CACHE;
        g.e = open_engine_with(config);
        g.f = open_file(g.e, g.path, prot & PROT_WRITE ? O_RDWR : O_RDONLY);
        g.p = map_file(g.e, g.f, UNITS * UNIT, prot, flags, 0);
        return g;
}

struct ground start_ground_with(const char *policy, const char *name, int prot, int flags,
                                uint64_t page_size)
{
        struct fl_engine_config config = { .policy = policy, .page_size = page_size };

        return start(config, name, prot, flags);
}

struct ground start_ground_tuned(const char *name, int prot, uint64_t cache, const char *tune)
{
        struct fl_engine_config config = { .policy = "solaris", .cache = cache, .tune = tune };

        return start(config, name, prot, MAP_SHARED);
}

struct ground start_ground(const char *name, int prot, int flags)
{
        return start_ground_with("solaris", name, prot, flags, 0);
}

void end_ground(struct ground *g)
{
        check_engine(g->e);
        expect(fl_munmap(g->e, g->p, UNITS * UNIT) == 0, "%s", fl_strerror());
        close_file(g->f);
        close_engine(g->e);
}

void touch_unit(struct ground *g, unsigned unit)
{
        for (unsigned half = 2; half-- > 0;) {
                unsigned page = 2 * unit + half;
                const char *wrong = stamp_wrong(g->p + page * TEST_PAGE, page, 0);

                expect(!wrong, "page %u: %s", page, wrong);
        }
        check_engine(g->e); /* what was asked for arrives, or nothing of it would be returned */
}

void store_unit(struct ground *g, unsigned unit)
{
        struct caught c = try_store(g->p + unit * UNIT + 100, 1);

        expect(!c.signo, "a store: %s", caught_name(c));
        check_engine(g->e);
}

void advise_units(struct ground *g, unsigned unit, unsigned nr, int advice)
{
        expect(fl_madvise(g->e, g->p + unit * UNIT, nr * UNIT, advice) == 0, "%s", fl_strerror());
}

const char *in_memory(struct ground *g, char *text, size_t size)
{
        unsigned char vec[2 * UNITS + 2];
        size_t n = 0;

        check_engine(g->e); /* what is being read arrives */
        expect(fl_mincore(g->e, g->p, UNITS * UNIT, vec) == 0, "%s", fl_strerror());
        vec[2 * UNITS] = vec[2 * UNITS + 1] = 0;
        text[0] = 0;
        for (unsigned i = 0, first; i < UNITS; i++) {
                if (vec[2 * i] != vec[2 * i + 1])
                        return "?";
                if (!vec[2 * i])
                        continue;
                for (first = i; vec[2 * i + 2] && vec[2 * i + 3];)
                        i++;
                n += (size_t)snprintf(text + n, size - n, first < i ? "%s%u-%u" : "%s%u",
                                      n ? " " : "", first, i);
        }
        return text;
}

unsigned long count_faults(struct ground *g)
{
        struct fl_stats s;

        check_engine(g->e); /* a fault is counted after its thread has gone on */
        s = get_stats(g->e);
        return s.faults_major + s.faults_minor;
}
