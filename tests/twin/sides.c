/* SPDX-License-Identifier: Apache-2.0
 *
 * sides.c - the files of either side, opened and closed, and engines of many kinds.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../family.h"
#include "twin.h"

/* One that works here; the machine's own more often than others. */
static const char *draw_mmu(uint64_t *s)
{
#ifndef __SANITIZE_THREAD__
        static const char *const names[] = { "uffd", "sigbus", "sigsegv" };
        static bool works[3], known;
        uint64_t n = random_below(s, 6);

        for (unsigned i = 0; !known && i < 3; i++) {
                struct fl_engine_config cfg = { .size = sizeof(cfg), .mmu = names[i] };
                struct fl_engine *e = fl_engine_open(&cfg);

                works[i] = e && fl_engine_close(e) == 0;
        }
        known = true;
        return n < 3 && works[n] ? names[n] : NULL;
#else
        (void)s;
        return NULL;
#endif
}

/* Not with every MMU do children inherit. */
static struct fl_engine *open_either(struct fl_engine_config cfg, bool *inherits)
{
        struct fl_engine_config with = cfg;
        struct fl_engine *e;

        with.size = sizeof(with);
        with.fork = "inherit";
        with.mmu = with.mmu ? with.mmu : test.mmu;
        e = *inherits ? fl_engine_open(&with) : NULL;
        *inherits = e;
        return e ? e : open_engine_with(cfg);
}

struct fl_engine *open_drawn_engine(uint64_t cache, uint64_t *s, bool *inherits)
{
        static const unsigned pagers[] = { 1, 1, 2, 4 };
        static const uint64_t windows[] = { 0, 0, PAGE, 8 * PAGE };
        static const char *const on_error[] = { NULL, "zero", "retry" };
        struct fl_engine_config cfg = { .cache =
                                                cache > SMALLEST * PAGE ? cache : SMALLEST * PAGE };
        uint64_t driver = random_below(s, 4), perturb = random_below(s, 4);
        uint64_t slow = random_below(s, 8), spin = random_below(s, 8);

        cfg.mmu = draw_mmu(s);
        cfg.on_error = on_error[random_below(s, 3)];
        if (random_below(s, 3) == 0) { /* and as little memory as can be */
                cfg.swap = "ram:1M";
                cfg.cache = cfg.cache > CACHE * PAGE ? cfg.cache - (CACHE - SMALLEST) * PAGE
                                                     : SMALLEST * PAGE;
        }
        cfg.flags = FL_ENGINE_QUIET;
        cfg.pagers = pagers[random_below(s, 4)];
        cfg.readahead = windows[random_below(s, 4)];
        cfg.spin = spin ? 0 : 20000;
        if (driver == 0)
                cfg.driver = "posix";
        if (perturb == 0)
                cfg.perturb = random_next(s) | 1;
        if (slow == 0)
                cfg.faults = "delay=200us";
        /* What the command line says goes before. */
        cfg.cache = test.cache ? test.cache : cfg.cache;
        cfg.mmu = test.mmu ? test.mmu : cfg.mmu;
        cfg.policy = test.policy;
        cfg.driver = test.driver ? test.driver : cfg.driver;
        cfg.pagers = test.pagers ? test.pagers : cfg.pagers;
        cfg.perturb = test.perturb ? test.perturb : cfg.perturb;
        cfg.faults = test.faults ? test.faults : cfg.faults;
        *inherits = random_below(s, 2) && !CHILDREN_MAY_HANG;
        return open_either(cfg, inherits);
}

void name_sides(struct side *ours, struct side *kernels)
{
        ours->name = "the engine";
        kernels->name = "the kernel";
        for (unsigned f = 0; f < FILES; f++) {
                ours->path[f] = test_file(f ? "ours-b" : "ours-a", 0);
                kernels->path[f] = test_file(f ? "twin-b" : "twin-a", 0);
        }
}

int handle_flags(unsigned handle)
{
        return !may_write(handle) ? O_RDONLY : !may_read(handle) ? O_WRONLY : O_RDWR;
}

void open_side(struct side *s)
{
        for (unsigned h = 0; h < HANDLES; h++) {
                const char *path = s->path[file_of(h)];

                if (s->engine) {
                        s->file[h] = open_file(s->engine, path, handle_flags(h));
                        continue;
                }
                s->fd[h] = open(path, handle_flags(h) | O_CLOEXEC);
                require(s->fd[h] >= 0, "%s: %s", path, strerror(errno));
        }
        for (unsigned f = 0; f < FILES; f++)
                s->direct[f] = open(s->path[f], O_RDONLY | O_DIRECT | O_CLOEXEC);
}

void close_side(struct side *s)
{
        for (unsigned h = 0; h < HANDLES; h++)
                if (s->engine)
                        close_file(s->file[h]);
                else
                        close(s->fd[h]);
        for (unsigned f = 0; f < FILES; f++)
                if (s->direct[f] >= 0)
                        close(s->direct[f]);
}
