/* SPDX-License-Identifier: Apache-2.0
 *
 * ext4_trust.c - what an ext4 image claims is not believed, and what becomes of it under our hands is
 * told: extents that lie in the file system's own blocks, bitmaps that call those free, inodes that are
 * nobody's, an image that is cut while it is open, locks, a full disk, a disk that fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "image.h"

#define PAGE TEST_PAGE
#define PAGES 16ul
#define SIZE (PAGES * PAGE)
/* Blocks of a page, and no checksum that a lie would spoil. */
#define PLAIN "-t ext4 -b 4096 -O ^metadata_csum,^uninit_bg,^resize_inode"

/* An image with the stamped files a and b. */
static struct image *make(const char *options, uint64_t bytes)
{
        struct image *image = image_make(options, bytes);
        char *buf = calloc(1, SIZE);

        for (uint64_t i = 0; i < PAGES; i++)
                stamp_write(buf + i * PAGE, i, 0);
        image_add(image, "a", buf, SIZE);
        image_add(image, "b", buf, SIZE);
        free(buf);
        image_finish(image);
        return image;
}

static const char *uri_of(const struct image *image, const char *name)
{
        static char uri[512];

        snprintf(uri, sizeof(uri), "ext4:%s#/%s", image_path(image), name);
        return uri;
}

static struct fl_engine *engine(const char *faults)
{
        return open_engine_with((struct fl_engine_config){
                .cache = 1 << 20, .faults = faults, .flags = FL_ENGINE_QUIET });
}

/* Opening it is this error, and soon. */
static void refused(struct fl_engine *e, const char *uri, int flags, int error, const char *what)
{
        struct fl_file *f = fl_file_open(e, uri, flags, NULL);

        expect(!f, "%s: it was opened", what);
        expect(f || errno == error, "%s: %s", what, fl_strerror());
        if (f)
                close_file(f);
}

/* --- where the metadata are --- */

enum table { BLOCK_BITMAP, INODE_BITMAP, INODE_TABLE };

/* Of the first group, as its descriptor says, behind the super block. */
static uint32_t where(const struct image *image, enum table table)
{
        uint32_t descriptor[3];

        require(file_read(image_path(image), descriptor, sizeof(descriptor), PAGE), "descriptor");
        return descriptor[table];
}

/* The first block of the journal. */
static uint32_t journal(struct image *image)
{
        const char *line;

        image_debugfs(image, "blocks <8>");
        line = strchr(image_log(image), ';');
        return line ? (uint32_t)strtoul(line + 1, NULL, 10) : 0;
}

static void lie(struct image *image, const char *what, uint64_t block)
{
        struct fl_engine *e = engine(NULL);
        char command[100];

        test_at(what);
        snprintf(command, sizeof(command), "set_inode_field a block[5] %llu",
                 (unsigned long long)block);
        image_debugfs(image, command);
        refused(e, uri_of(image, "a"), O_RDWR, EUCLEAN, what);
        refused(e, uri_of(image, "a"), O_RDONLY, EUCLEAN, what);
        close_engine(e);
}

static void extents_in_metadata(void)
{
        struct image *image = make(PLAIN, 16u << 20);

        lie(image, "a file in its file system's descriptors", 1);
        lie(image, "a file in a bitmap", where(image, BLOCK_BITMAP));
        lie(image, "a file that ends in a bitmap", where(image, INODE_BITMAP) - PAGES + 1);
        lie(image, "a file in the table of inodes", where(image, INODE_TABLE) + 3);
        lie(image, "a file in the journal", journal(image));
        lie(image, "a file behind the end", (16u << 20) / PAGE - 1);
        image_free(image);
}

/* The leaf of a tree of extents, which has more entries than the inode itself holds. */
static uint64_t make_leaf(struct image *image)
{
        const char *at;

        for (unsigned n = 1; n < PAGES; n += 2) {
                char command[40];

                snprintf(command, sizeof(command), "punch a %u %u", n, n);
                image_debugfs(image, command);
        }
        image_debugfs(image, "ex a");
        at = strstr(image_log(image), "0/ 1"); /* 1/ 1  0 - 15  BLOCK  16 */
        at = at ? strstr(at, " - ") : NULL;
        require(at && strtoul(at + 3, (char **)&at, 10), "no leaf: %s", image_log(image));
        return strtoull(at, NULL, 10);
}

/* It says how long it is, and where its checksum is to be looked for. */
static void leaf_without_end(void)
{
        struct image *image = make("-t ext4 -b 4096 -O metadata_csum,^resize_inode", 16u << 20);
        uint64_t leaf = make_leaf(image);
        int fd = open(image_path(image), O_RDWR | O_CLOEXEC);
        struct fl_engine *e = engine(NULL);
        uint16_t magic, max = 0xffff;

        close_file(open_file(e, uri_of(image, "a"), O_RDONLY));
        require(fd >= 0 && pread(fd, &magic, 2, (off_t)(leaf * PAGE)) == 2 && magic == 0xf30a,
                "block %llu is no leaf", (unsigned long long)leaf);
        require(pwrite(fd, &max, 2, (off_t)(leaf * PAGE + 4)) == 2, "%s", strerror(errno));
        close(fd);
        refused(e, uri_of(image, "a"), O_RDONLY, EUCLEAN, "a leaf without an end");
        close_engine(e);
        image_free(image);
}

/* A block map of the old kind: what lies behind the end would be lost, or given out twice. */
static void pointers_behind_the_end(void)
{
        struct image *image = make("-t ext2 -b 4096 -O ^resize_inode", 16u << 20);
        struct fl_engine *e = engine(NULL);

        close_file(open_file(e, uri_of(image, "a"), O_RDWR));
        image_debugfs(image, "set_inode_field a block[DIND] 2000");
        refused(e, uri_of(image, "a"), O_RDWR, EUCLEAN, "a pointer behind the end");
        close_engine(e);
        image_free(image);
}

/* Two extents of one file, and one block. */
static void blocks_twice(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        struct fl_engine *e = engine(NULL);

        image_debugfs(image, "set_inode_field a block[0] 0x2f30a");
        image_debugfs(image, "set_inode_field a block[4] 2");
        image_debugfs(image, "set_inode_field a block[6] 8");
        image_debugfs(image, "set_inode_field a block[7] 2");
        image_debugfs(image, "set_inode_field a block[8] 2001");
        image_debugfs(image, "set_inode_field a block[5] 2000");
        refused(e, uri_of(image, "a"), O_RDWR, EUCLEAN, "a block twice in a file");
        close_engine(e);
        image_free(image);
}

/* All that it says is that everything is free. */
static void bitmap_of_zeros(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        static char zeros[PAGE], before[8 * PAGE], after[8 * PAGE], b[SIZE];
        uint32_t table = where(image, INODE_TABLE);
        int fd = open(image_path(image), O_RDWR | O_CLOEXEC);
        struct fl_engine *e = engine(NULL);
        struct fl_file *f;

        require(fd >= 0 && pwrite(fd, zeros, PAGE, (off_t)(where(image, BLOCK_BITMAP) * PAGE)) ==
                                   (ssize_t)PAGE,
                "%s", strerror(errno));
        require(table > 8 && pread(fd, before, sizeof(before), PAGE) == sizeof(before), "%u",
                table);
        f = open_file(e, uri_of(image, "a"), O_RDWR);
        errno = 0;
        expect(fl_pwrite(f, before, 8 * PAGE, SIZE) < 0 && errno == EUCLEAN,
               "blocks were given out by a bitmap that cannot be: %s", strerror(errno));
        fl_file_close(f);
        fl_engine_close(e);
        require(pread(fd, after, sizeof(after), PAGE) == sizeof(after), "%s", strerror(errno));
        expect(!memcmp(before, after, sizeof(after)), "metadata were written over");
        close(fd);
        for (uint64_t i = 0; i < PAGES; i++)
                stamp_write(b + i * PAGE, i, 0);
        image_expect(image, "b", b, SIZE);
        image_free(image);
}

static void nobodys_inodes(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        struct fl_engine *e = engine(NULL);

        image_debugfs(image, "link <8> j");
        refused(e, uri_of(image, "j"), O_RDWR, EUCLEAN, "the journal by a name");
        image_debugfs(image, "set_inode_field b links_count 0");
        refused(e, uri_of(image, "b"), O_RDWR, EUCLEAN, "a file that was deleted");
        close_engine(e);
        image_free(image);
}

/* --- while it is open --- */

/* What is not there any more is an error, and not zeros. */
static void cut_while_open(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        struct fl_engine *e = engine(NULL);
        struct fl_file *f = open_file(e, uri_of(image, "b"), O_RDWR);
        char *p = map_file(e, f, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), buf[PAGE];
        unsigned char byte;
        struct caught c;
        off_t at = 0;

        expect(fl_madvise(e, p, SIZE, MADV_RANDOM) == 0, "%s", fl_strerror());
        expect(fl_bmap(f, 9 * PAGE, &at) == 1, "%s", fl_strerror());
        require(truncate(image_path(image), at) == 0, "%s", strerror(errno));
        c = try_load(p + 8 * PAGE, &byte);
        expect(!c.signo, "the page before: %s", caught_name(c));
        c = try_load(p + 9 * PAGE, &byte);
        expect(c.signo == SIGBUS, "a page that is not there: %s", caught_name(c));
        errno = 0;
        expect(fl_pread(f, buf, PAGE, 10 * PAGE) == -1 && errno == EIO, "fl_pread: %s",
               strerror(errno));
        expect(fl_munmap(e, p, SIZE) == 0, "%s", fl_strerror());
        fl_file_close(f);
        fl_engine_close(e);
        image_free(image);
}

/* Who may not write keeps what keeps others from writing. */
static void lock_is_kept(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        struct fl_engine *a = engine(NULL), *b = engine(NULL), *c = engine(NULL);
        struct fl_file *fa = open_file(a, uri_of(image, "a"), O_RDONLY);
        struct fl_file *fb = open_file(b, uri_of(image, "a"), O_RDONLY);

        refused(b, uri_of(image, "b"), O_RDWR, EBUSY, "two have it");
        close_file(fa);
        refused(c, uri_of(image, "a"), O_RDWR, EBUSY, "one has it still");
        close_file(fb);
        fb = open_file(c, uri_of(image, "a"), O_RDWR);
        refused(a, uri_of(image, "a"), O_RDONLY, EBUSY, "one writes");
        close_file(fb);
        close_engine(a);
        close_engine(b);
        close_engine(c);
        image_free(image);
}

/* A child has the parent's descriptors, but not the image. */
static void child_has_no_lock(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        struct fl_engine *e = engine(NULL);
        struct fl_file *f = open_file(e, uri_of(image, "a"), O_RDWR);
        int ends[2];
        pid_t child;

        require(pipe(ends) == 0, "%s", strerror(errno));
        child = fork();
        require(child >= 0, "%s", strerror(errno));
        if (!child) {
                char byte;

                close(ends[1]);
                _exit(read(ends[0], &byte, 1) != 0);
        }
        close(ends[0]);
        close_file(f);
        close_engine(e);
        e = engine(NULL);
        f = fl_file_open(e, uri_of(image, "a"), O_RDWR, NULL);
        expect(f, "%s", fl_strerror());
        if (f)
                close_file(f);
        close_engine(e);
        close(ends[1]);
        waitpid(child, NULL, 0);
        image_free(image);
}

/* --- a full disk --- */

/* Stores that were taken can be told of on the disk, also where it takes more blocks to do that. */
static void no_room_for_extents(void)
{
        struct image *image = make("-t ext4 -b 1024", 24u << 20);
        struct fl_engine *e = engine(NULL);
        uint64_t pages = (8u << 20) / PAGE, stored = 0;
        static char buf[64 * 1024];
        struct fl_file *f;
        char *p;

        image_debugfs(image, "fallocate b 64 8191");
        for (unsigned more = 1; more;) {
                struct stat st;

                f = open_file(e, uri_of(image, "a"), O_RDWR);
                for (more = 0; !fl_fstat(f, &st); more++)
                        if (fl_pwrite(f, buf, sizeof(buf), st.st_size) != sizeof(buf))
                                break;
                close_file(f);
        }
        f = open_file(e, uri_of(image, "b"), O_RDWR);
        expect(fl_ftruncate(f, (off_t)(pages * PAGE)) == 0, "%s", fl_strerror());
        p = map_file(e, f, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        for (uint64_t i = PAGES + 1; i < pages; i += 2) {
                if (try_store(p + i * PAGE, 'x').signo)
                        break;
                stored++;
        }
        expect(fl_error_clear(e, p, pages * PAGE) == 0, "%s", fl_strerror());
        expect(fl_error_clear(e, p, pages * PAGE) == 0, "%s", fl_strerror());
        expect(fl_msync(e, p, pages * PAGE, MS_SYNC) == 0, "%llu pages were stored to: %s",
               (unsigned long long)stored, fl_strerror());
        expect(fl_munmap(e, p, pages * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        expect(image_is_clean(image), "e2fsck -fn");
        image_free(image);
}

/* --- a disk that fails --- */

static off_t place_of(const struct image *image, const char *name, uint64_t page)
{
        struct fl_engine *e = engine(NULL);
        struct fl_file *f = open_file(e, uri_of(image, name), O_RDONLY);
        off_t at = 0;

        expect(fl_bmap(f, (off_t)(page * PAGE), &at) == 1, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        return at;
}

/* The page stays dirty, it is told once, and the bytes get there when the disk has recovered. */
static void write_fails(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        struct fl_error_info info = { .size = sizeof(info) };
        char faults[64], want[PAGE], got[PAGE];
        off_t at = place_of(image, "a", 5);
        struct fl_engine *e;
        struct fl_file *f;
        char *p;

        snprintf(faults, sizeof(faults), "eio@%lld+4K*1", (long long)at);
        e = engine(faults);
        f = open_file(e, uri_of(image, "a"), O_RDWR);
        p = map_file(e, f, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        stamp_write(want, 5, 7);
        expect(fl_pwrite(f, want, PAGE, 5 * PAGE) == (ssize_t)PAGE, "%s", fl_strerror());
        errno = 0;
        expect(fl_msync(e, p, SIZE, MS_SYNC) == -1 && errno == EIO, "msync: %s", strerror(errno));
        expect(!stamp_wrong(p + 5 * PAGE, 5, 7), "the page, after the failure");
        expect(fl_error(e, p, SIZE, &info) == 1 && info.error == EIO && info.writing && info.dirty,
               "fl_error: %d", info.error);
        expect(file_read(image_path(image), got, PAGE, (uint64_t)at) && !stamp_wrong(got, 5, 0),
               "it got there all the same");
        expect(fl_msync(e, p, SIZE, MS_SYNC) == 0, "msync, again: %s", fl_strerror());
        expect(file_read(image_path(image), got, PAGE, (uint64_t)at) && !stamp_wrong(got, 5, 7),
               "it did not get there when the disk had recovered");
        expect(fl_error(e, p, SIZE, &info) == 1 && info.error == EIO && !info.dirty,
               "fl_error, when it was written: %d", info.error);
        expect(fl_msync(e, p, SIZE, MS_SYNC) == 0, "told twice: %s", fl_strerror());
        expect(fl_munmap(e, p, SIZE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
        expect(image_is_clean(image), "e2fsck -fn");
        image_free(image);
}

/* The inode's block fails, twice, when the file is closed: what was written is not forgotten. */
static void close_fails(void)
{
        struct image *image = make(PLAIN, 16u << 20);
        uint32_t table = where(image, INODE_TABLE);
        char faults[64], want[PAGE];
        struct fl_engine *e;
        struct fl_file *f;
        struct stat st;

        /* Reads of it are not counted: they come first, and from elsewhere. */
        snprintf(faults, sizeof(faults), "enospc@%u+4K", table * 4096u);
        e = engine(faults);
        f = open_file(e, uri_of(image, "a"), O_RDWR);
        stamp_write(want, PAGES, 3);
        expect(fl_pwrite(f, want, PAGE, SIZE) == (ssize_t)PAGE, "%s", fl_strerror());
        errno = 0;
        expect(fl_file_close(f) == -1 && errno == ENOSPC, "close: %s", strerror(errno));
        f = open_file(e, uri_of(image, "a"), O_RDWR);
        expect(fl_fstat(f, &st) == 0 && st.st_size == (off_t)(SIZE + PAGE), "%jd bytes",
               (intmax_t)st.st_size);
        expect(fl_pread(f, want, PAGE, SIZE) == (ssize_t)PAGE && !stamp_wrong(want, PAGES, 3),
               "what was written is gone");
        fl_file_close(f);
        fl_engine_close(e);
        image_free(image);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } tests[] = {
                { "extents in metadata", extents_in_metadata },
                { "a leaf without an end", leaf_without_end },
                { "pointers behind the end", pointers_behind_the_end },
                { "blocks twice", blocks_twice },
                { "a bitmap of zeros", bitmap_of_zeros },
                { "nobody's inodes", nobodys_inodes },
                { "cut while open", cut_while_open },
                { "the lock is kept", lock_is_kept },
                { "a child has no lock", child_has_no_lock },
                { "no room for extents", no_room_for_extents },
                { "a write fails", write_fails },
                { "a close fails", close_fails },
        };
        const char *only = getenv("ONLY");

        test_begin(argc, argv, 0, 0, 120);
        image_need_tools();
        for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
                if (only && !strstr(tests[i].name, only))
                        continue;
                test_at(tests[i].name);
                printf("%s\n", tests[i].name);
                fflush(stdout);
                tests[i].run();
        }
        return test_end();
}
