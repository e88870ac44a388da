/* SPDX-License-Identifier: Apache-2.0
 *
 * powercut_ext4.c - files of ext4 images, and the power cut at every write, those of metadata too.
 *
 * After a workload of stores into blocks that are there, e2fsck -fn must find nothing; one that
 * allocates, lengthens and shortens must leave what e2fsck -p mends without a question. In either case
 * what was synced is there, whole, and nothing is there that was never written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "cuts.h"
#include "image.h"

#define PAGE TEST_PAGE
#define PAGES 12ul
#define ROOM 40ul
#define FILES 2
#define OPS 40
#define CUTS 1000 /* at least */

/* An image as it is before each cut, in a file, and the one that is cut, in memory. */
struct disk {
        struct image *image;
        const char *options;
        char master[256];
        char path[64];
        int fd;
        uint64_t bytes;
        /* What is found after a cut; taken by ext4_find(). */
        void *found[FILES];
        size_t found_size[FILES];
};

static void disk_init(struct disk *d, const char *options, uint64_t bytes)
{
        char buf[PAGES * PAGE], name[8];
        struct cut_row row = { .pages = PAGES };
        struct cuts c = { .row = &row };

        *d = (struct disk){ .image = image_make(options, bytes), .options = options };
        for (unsigned n = 0; n < FILES; n++) {
                snprintf(name, sizeof(name), "f%u", n);
                cuts_fill(&c, n, buf);
                image_add(d->image, name, buf, sizeof(buf));
        }
        image_finish(d->image);
        snprintf(d->master, sizeof(d->master), "%s", image_path(d->image));
        d->bytes = bytes;
        d->fd = memfd_create("image", MFD_CLOEXEC);
        require(d->fd >= 0, "%s", strerror(errno));
        snprintf(d->path, sizeof(d->path), "/proc/%d/fd/%d", (int)getpid(), d->fd);
        image_use(d->image, d->path);
}

static void disk_free(struct disk *d)
{
        close(d->fd);
        image_free(d->image);
}

static void ext4_make(struct cuts *c)
{
        struct disk *d = c->private;
        int from = open(d->master, O_RDONLY | O_CLOEXEC);
        off_t at = 0, data;

        require(from >= 0, "%s: %s", d->master, strerror(errno));
        require(ftruncate(d->fd, 0) == 0 && ftruncate(d->fd, (off_t)d->bytes) == 0, "%s",
                strerror(errno));
        while ((data = lseek(from, at, SEEK_DATA)) >= 0) {
                off_t end = lseek(from, data, SEEK_HOLE);

                lseek(d->fd, data, SEEK_SET);
                for (at = data; at < end;)
                        require(sendfile(d->fd, from, &at, (size_t)(end - at)) > 0, "%s",
                                strerror(errno));
        }
        close(from);
}

static void ext4_uri(const struct cuts *c, unsigned file, char *uri, size_t room)
{
        const struct disk *d = c->private;

        snprintf(uri, room, "ext4:%s#/f%u", d->path, file);
}

static void one_write(struct cuts *c, unsigned file)
{
        uint64_t sectors = cut_sectors(c, file), sector, nr;

        if (!sectors)
                return;
        sector = cuts_random(c, sectors);
        nr = 1 + cuts_random(c, cuts_random(c, 3) ? 3 : 30);
        nr = nr < sectors - sector ? nr : sectors - sector;
        if (cuts_random(c, 2))
                cut_store(c, file, sector, nr);
        else
                cut_pwrite(c, file, sector, nr);
}

static void one_sync(struct cuts *c, unsigned file)
{
        if (cuts_random(c, 2))
                cut_msync(c, file, cuts_random(c, PAGES), 1 + cuts_random(c, PAGES));
        else
                cut_fsync(c, file);
}

static void stores(struct cuts *c)
{
        for (unsigned i = 0; i < OPS && !c->off; i++) {
                unsigned file = (unsigned)cuts_random(c, FILES);

                if (cuts_random(c, 4))
                        one_write(c, file);
                else
                        one_sync(c, file);
        }
}

/* Sizes up and down, stores into what is new, and behind the end by fl_pwrite. */
static void changes(struct cuts *c)
{
        for (unsigned i = 0; i < OPS && !c->off; i++) {
                unsigned file = (unsigned)cuts_random(c, FILES);

                switch (cuts_random(c, 8)) {
                case 0:
                        cut_resize(c, file, cuts_random(c, ROOM * PAGE / CUT_SECTOR) * CUT_SECTOR);
                        break;
                case 1:
                case 2:
                        one_sync(c, file);
                        break;
                default:
                        one_write(c, file);
                }
        }
}

static void must_be_clean(struct cuts *c)
{
        static const char *const names[FILES] = { "f0", "f1" };
        struct disk *d = c->private;

        if (image_check(d->image, "-fn"))
                cut_fail(c, "e2fsck -fn: %s", image_log(d->image));
        image_read(d->image, FILES, names, d->found, d->found_size);
}

/* Mended without a question (status 1: mended; 0: nothing to do), and then clean. Not forced: that it has
 * to be looked at is for the image to say. */
static void must_mend(struct cuts *c)
{
        struct disk *d = c->private;

        if (image_check(d->image, "-p") > 1)
                cut_fail(c, "e2fsck -p: %s", image_log(d->image));
        must_be_clean(c);
}

static int64_t ext4_find(struct cuts *c, unsigned file, char *buf, size_t room)
{
        struct disk *d = c->private;
        size_t size = d->found_size[file];

        if (!d->found[file])
                return -1;
        memcpy(buf, d->found[file], size < room ? size : room);
        free(d->found[file]);
        d->found[file] = NULL;
        return (int64_t)size;
}

static const struct cut_row in_place = {
        .name = "ext4, blocks that are there",
        .files = FILES,
        .pages = PAGES,
        .cache = 1 << 20,
        .atom = CUT_SECTOR,
        .make = ext4_make,
        .uri = ext4_uri,
        .work = stores,
        .recover = must_be_clean,
        .find = ext4_find,
};

static const struct cut_row changing = {
        .name = "ext4, sizes and new blocks",
        .files = FILES,
        .pages = PAGES,
        .room = ROOM,
        .cache = 1 << 20,
        .atom = CUT_SECTOR,
        .make = ext4_make,
        .uri = ext4_uri,
        .work = changes,
        .recover = must_mend,
        .find = ext4_find,
};

int main(int argc, char **argv)
{
        static const char *const options[] = {
                "-t ext4 -b 1024",
                "-t ext4 -b 4096",
                "-t ext3 -b 1024 -O ^has_journal",
        };
        struct disk disks[3];
        uint64_t cuts = 0, seed;

        /* Three processes a cut: where the machine is busy they take long. */
        test_begin(argc, argv, 0, 120, 400);
        image_need_tools();
        for (unsigned i = 0; i < 3; i++)
                disk_init(&disks[i], options[i], 4u << 20);
        for (seed = test.seed; (cuts < CUTS || test_left() > 0) && !test_failures(); seed++) {
                struct cut_how how = {
                        .name = seed % 4 ? "shuffled" : "in issue order",
                        .seed = seed % 4 ? seed : 0,
                        .torn = seed % 2,
                };
                struct disk *d = &disks[seed % 3];

                test_at(d->options);
                cuts += cuts_run(seed % 5 ? &changing : &in_place, &how, d);
        }
        for (unsigned i = 0; i < 3; i++)
                disk_free(&disks[i]);
        printf("%llu cuts\n", (unsigned long long)cuts);
        return test_end();
}
