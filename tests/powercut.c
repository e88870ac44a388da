/* SPDX-License-Identifier: Apache-2.0
 *
 * powercut.c - host files, and the power cut at every write: what was synced before is there, whole,
 * and nothing is there that was never written.
 *
 * Sizes are the host's: they are left out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cuts.h"

#define PAGE TEST_PAGE
#define PAGES 24ul
#define FILES 2
#define OPS 60
#define CUTS 1000 /* at least */

struct host {
        int fd[FILES]; /* in memory: nobody has to wait for a disk, nor to tidy up */
};

static void host_make(struct cuts *c)
{
        struct host *h = c->private;
        char buf[PAGES * PAGE];

        for (unsigned n = 0; n < FILES; n++) {
                cuts_fill(c, n, buf);
                require(pwrite(h->fd[n], buf, sizeof(buf), 0) == (ssize_t)sizeof(buf), "%s",
                        strerror(errno));
        }
}

static void host_uri(const struct cuts *c, unsigned file, char *uri, size_t room)
{
        const struct host *h = c->private;

        snprintf(uri, room, "/proc/%d/fd/%d", (int)getpid(), h->fd[file]);
}

static int64_t host_find(struct cuts *c, unsigned file, char *buf, size_t room)
{
        const struct host *h = c->private;
        off_t size = lseek(h->fd[file], 0, SEEK_END);

        return pread(h->fd[file], buf, room, 0) < 0 ? -1 : (int64_t)size;
}

/* Stores and writes of a sector to some pages, to either file; now and then one of them is synced. */
static void host_work(struct cuts *c)
{
        for (unsigned i = 0; i < OPS && !c->off; i++) {
                unsigned file = (unsigned)cuts_random(c, FILES);
                uint64_t sector = cuts_random(c, cut_sectors(c, file));
                uint64_t nr = 1 + cuts_random(c, cuts_random(c, 3) ? 3 : 40);
                uint64_t what = cuts_random(c, 10);

                if (nr > cut_sectors(c, file) - sector)
                        nr = cut_sectors(c, file) - sector;
                if (what < 4)
                        cut_store(c, file, sector, nr);
                else if (what < 7)
                        cut_pwrite(c, file, sector, nr);
                else if (what < 9)
                        cut_msync(c, file, sector * CUT_SECTOR / PAGE, 1 + nr * CUT_SECTOR / PAGE);
                else
                        cut_fsync(c, file);
        }
}

/* So large a budget that nothing is written before it is asked for: by then each store is whole. */
static const struct cut_row hostfs = {
        .name = "hostfs",
        .files = FILES,
        .pages = PAGES,
        .cache = 4 << 20,
        .atom = PAGE,
        .make = host_make,
        .uri = host_uri,
        .find = host_find,
        .work = host_work,
};

/* So small a budget that pages are written back and evicted all the time. */
static const struct cut_row squeezed = {
        .name = "hostfs, with a small cache",
        .files = FILES,
        .pages = PAGES,
        .cache = 64 * PAGE,
        .atom = 8,
        .make = host_make,
        .uri = host_uri,
        .find = host_find,
        .work = host_work,
};

/* Shuffled by the seed; every other time torn, and two of four times told late. */
static uint64_t shuffled(const struct cut_row *row, uint64_t seed, struct host *h)
{
        struct cut_how how = {
                .name = "shuffled",
                .seed = seed,
                .torn = seed % 2,
                .faults = seed / 2 % 2 ? "delay=100us" : NULL,
        };

        return cuts_run(row, &how, h);
}

int main(int argc, char **argv)
{
        static const struct cut_how in_order = { .name = "in issue order" };
        static const struct cut_how torn = { .name = "in issue order, torn", .torn = true };
        struct host h;
        uint64_t cuts = 0;

        test_begin(argc, argv, 0, 60, 150);
        for (unsigned n = 0; n < FILES; n++)
                require((h.fd[n] = memfd_create("powercut", MFD_CLOEXEC)) >= 0, "%s",
                        strerror(errno));
        cuts += cuts_run(&hostfs, &in_order, &h);
        cuts += cuts_run(&hostfs, &torn, &h);
        cuts += cuts_run(&squeezed, &torn, &h);
        for (uint64_t seed = 1; (cuts < CUTS || test_left() > 0) && !test_failures(); seed++)
                cuts += shuffled(seed % 4 ? &hostfs : &squeezed, seed, &h);
        printf("%llu cuts\n", (unsigned long long)cuts);
        return test_end();
}
