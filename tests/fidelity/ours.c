/* SPDX-License-Identifier: Apache-2.0
 *
 * ours.c - the same steps through Faultline, with `--policy linux`.
 *
 * One engine serves all runs on one ground: the last close of a file drops its pages, so that each run
 * starts cold. Nothing is in flight when the cache holds as many bytes as there are resident pages
 * and private copies.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fidelity.h"

#define PATIENCE 20000u
#define LARGE_WINDOW 256

static struct fl_engine *engine;

struct our_run {
        const struct steps *s;
        struct outcome *out;
        struct fl_file *file;
        void *all;
        char *map;
        uint64_t size;
        unsigned char copied[MAX_PAGES]; /* has a private copy */
        uint64_t nr_copied;
        uint64_t settled; /* bytes in the cache when nothing was in flight */
};

void ours_start(const struct ground *g)
{
        engine =
                open_engine_with((struct fl_engine_config){ .cache = g->cache, .policy = "linux" });
}

void ours_stop(void)
{
        close_engine(engine);
        engine = NULL;
}

static void settle(struct our_run *r)
{
        struct outcome *out = r->out;
        uint64_t bytes = 0;

        for (unsigned i = 0; i < PATIENCE; i++) {
                require(fl_mincore(engine, r->all, r->size, out->resident) == 0, "%s",
                        fl_strerror());
                out->nr_resident = 0;
                for (uint64_t k = 0; k < out->pages; k++)
                        out->nr_resident += out->resident[k] & 1;
                bytes = get_stats(engine).cache_bytes;
                r->settled = bytes;
                if (bytes == (out->nr_resident + r->nr_copied) * TEST_PAGE)
                        return;
                usleep(500);
        }
        expect(0, "%s: %llu pages resident, %llu copied, %llu bytes in the cache", r->s->name,
               (unsigned long long)out->nr_resident, (unsigned long long)r->nr_copied,
               (unsigned long long)bytes);
}

static char *address(struct our_run *r, uint64_t page)
{
        return r->map + (page - r->s->first) * TEST_PAGE;
}

static void drop(struct our_run *r, const struct step *t)
{
        char *at = address(r, t->page);
        size_t len = t->nr * TEST_PAGE;

        settle(r);
        if (!r->s->private)
                expect(fl_msync(engine, at, len, MS_SYNC) == 0, "%s", fl_strerror());
        expect(fl_madvise(engine, at, len, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(fl_evict(engine, at, len) >= 0, "%s", fl_strerror());
        for (uint64_t i = t->page; i < t->page + t->nr; i++) {
                r->nr_copied -= r->copied[i];
                r->copied[i] = 0;
        }
}

static void take_step(struct our_run *r, const struct step *t)
{
        switch (t->kind) {
        case READ_PAGE:
                (void)*(volatile char *)address(r, t->page);
                break;
        case WRITE_PAGE:
                *(volatile char *)address(r, t->page) = 'w';
                if (r->s->private && !r->copied[t->page]) {
                        r->copied[t->page] = 1;
                        r->nr_copied++;
                }
                break;
        case ADVISE:
                expect(fl_madvise(engine, r->map, r->s->nr_pages * TEST_PAGE, t->advice) == 0, "%s",
                       fl_strerror());
                break;
        case WILLNEED:
                expect(fl_madvise(engine, address(r, t->page), t->nr * TEST_PAGE, MADV_WILLNEED) ==
                               0,
                       "%s", fl_strerror());
                break;
        case DROP:
                drop(r, t);
                break;
        }
}

static void our_run(const struct ground *g, const struct steps *s, struct outcome *out)
{
        struct fl_file_config config = { .size = sizeof(config) };
        int prot = PROT_READ | PROT_WRITE | (s->exec ? PROT_EXEC : 0);
        static struct our_run r;
        uint64_t bytes = get_stats(engine).read_bytes;

        memset(out, 0, sizeof(*out));
        memset(&r, 0, sizeof(r));
        r.s = s;
        r.out = out;
        r.size = g->size[s->file];
        out->pages = ground_pages(g, s->file);
        if (s->fd_advice == FD_SEQUENTIAL) /* what the kernel does of it (L21) */
                config.readahead = 2 * g->ra_pages * TEST_PAGE;
        r.file = fl_file_open(engine, g->path[s->file], O_RDWR, &config);
        require(r.file, "%s", fl_strerror());
        r.all = map_file(engine, r.file, r.size, PROT_READ, MAP_SHARED, 0);
        r.map = map_file(engine, r.file, s->nr_pages * TEST_PAGE, prot,
                         s->private ? MAP_PRIVATE : MAP_SHARED, (off_t)(s->first * TEST_PAGE));
        for (unsigned i = 0; i < s->nr; i++) {
                /* What is read at once has to fit into the staging memory, else windows are cut. */
                if (g->ra_pages > LARGE_WINDOW && get_stats(engine).cache_bytes != r.settled)
                        settle(&r);
                take_step(&r, &s->step[i]);
        }
        settle(&r);
        out->read_bytes = get_stats(engine).read_bytes - bytes;
        expect(fl_munmap(engine, r.map, s->nr_pages * TEST_PAGE) == 0 &&
                       fl_munmap(engine, r.all, r.size) == 0,
               "%s", fl_strerror());
        close_file(r.file);
}

const struct side_ops our_side = { .name = "Faultline", .run = our_run };
