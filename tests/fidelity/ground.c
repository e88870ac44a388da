/* SPDX-License-Identifier: Apache-2.0
 *
 * ground.c - where the kernel is asked: the current directory, or an ext4 of our own.
 *
 * The rules hold for Linux 6.16 and later on file systems with large folios: ext4 and xfs. A file
 * system in a file is mounted only as root; it is detached as soon as its root is open, and its file
 * removed, so that it is gone with the process, however that ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fidelity.h"

#define EXT4_MAGIC 0xef53
#define XFS_MAGIC 0x58465342
#define IMAGE_BYTES (192ul << 20)

static const uint64_t file_sizes[NR_FILES] = {
        MAX_PAGES * TEST_PAGE,
        6000 * TEST_PAGE - 1234,
        301 * TEST_PAGE - 4095,
};

static const char *sayf(const char *format, const char *what, const char *why)
{
        static char text[256];

        snprintf(text, sizeof(text), format, what, why);
        return text;
}

static const char *kernel_too_old(void)
{
        unsigned major = 0, minor = 0;
        struct utsname u;

        if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
                return "what kernel this is cannot be told";
        if (major > 6 || (major == 6 && minor >= 16))
                return NULL;
        return sayf("Linux %s: the rules are those of 6.16 and later%s", u.release, "");
}

static bool read_kb(const struct ground *g, const char *name, uint64_t *pages)
{
        char path[160];
        unsigned long long kb;
        FILE *f;
        bool ok;

        snprintf(path, sizeof(path), "%s/%s", g->queue, name);
        f = fopen(path, "re");
        if (!f)
                return false;
        ok = fscanf(f, "%llu", &kb) == 1;
        fclose(f);
        *pages = kb / 4;
        return ok;
}

uint64_t ground_readahead(const struct ground *g)
{
        uint64_t pages;

        return read_kb(g, "read_ahead_kb", &pages) ? pages : UINT64_MAX;
}

uint64_t ground_pages(const struct ground *g, unsigned file)
{
        return (g->size[file] + TEST_PAGE - 1) / TEST_PAGE;
}

/* Whatever is in it: blocks that are allocated and written. */
static bool fill_file(const char *path, uint64_t size)
{
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        static char block[1 << 20];
        bool ok = fd >= 0;

        memset(block, 'f', sizeof(block));
        for (uint64_t at = 0; ok && at < size; at += sizeof(block)) {
                size_t n = size - at < sizeof(block) ? size - at : sizeof(block);

                ok = pwrite(fd, block, n, (off_t)at) == (ssize_t)n;
        }
        ok = ok && fsync(fd) == 0;
        if (fd >= 0)
                close(fd);
        return ok;
}

/* The queue of the device below `path`: a disk's own, or that of the disk a partition lies on. */
static bool find_queue(struct ground *g, const char *path)
{
        static const char *const places[] = { "/sys/dev/block/%u:%u/queue",
                                              "/sys/dev/block/%u:%u/../queue" };
        struct stat st;

        if (stat(path, &st))
                return false;
        for (unsigned i = 0; i < 2; i++) {
                snprintf(g->queue, sizeof(g->queue), i ? places[1] : places[0], major(st.st_dev),
                         minor(st.st_dev));
                if (read_kb(g, "read_ahead_kb", &g->ra_pages))
                        return true;
        }
        return false;
}

static const char *examine(struct ground *g)
{
        struct statfs fs;

        if (statfs(g->path[0], &fs))
                return sayf("%s: %s", g->path[0], strerror(errno));
        if (fs.f_type != EXT4_MAGIC && fs.f_type != XFS_MAGIC)
                return "the file system is neither ext4 nor xfs";
        if (!find_queue(g, g->path[0]))
                return "the file system's device tells no read-ahead";
        if (g->ra_pages < 16)
                return "the device has next to no read-ahead";
        /* Windows are clamped to an eighth of it, staging memory is a thirty-second; all files fit. */
        g->cache = g->ra_pages * TEST_PAGE * 128;
        if (g->cache < 512ul << 20)
                g->cache = 512ul << 20;
        return NULL;
}

const char *ground_here(struct ground *g)
{
        const char *no = kernel_too_old();

        memset(g, 0, sizeof(*g));
        if (no)
                return no;
        for (unsigned i = 0; i < NR_FILES; i++) {
                char name[16];

                snprintf(name, sizeof(name), "here%u", i);
                g->size[i] = file_sizes[i];
                snprintf(g->path[i], sizeof(g->path[i]), "%s", test_file(name, 0));
                if (!fill_file(g->path[i], g->size[i]))
                        return sayf("%s: %s", g->path[i], strerror(errno));
        }
        no = examine(g);
        snprintf(g->name, sizeof(g->name), "this directory");
        return no;
}

static bool run_mkfs(const char *image)
{
        pid_t child = fork();
        int status = 1;

        if (child == 0) {
                execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", "-b", "4096", "-E",
                       "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image, (char *)NULL);
                _exit(127);
        }
        return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* A loop device of the image's, gone when nobody uses it: its number, or -1. */
static int attach(const char *image, int *device)
{
        int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number = -1;
        int file = open(image, O_RDWR | O_CLOEXEC);
        struct loop_config config = { .fd = (uint32_t)file, .block_size = 4096 };

        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        for (int tries = 0; control >= 0 && file >= 0 && tries < 20; tries++) {
                char path[32];
                int fd;

                number = ioctl(control, LOOP_CTL_GET_FREE);
                snprintf(path, sizeof(path), "/dev/loop%d", number);
                fd = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
                if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
                        *device = fd;
                        break;
                }
                if (fd >= 0)
                        close(fd);
                number = -1;
                usleep(10000);
        }
        if (control >= 0)
                close(control);
        if (file >= 0)
                close(file);
        return number;
}

/* The root folder of the file system on /dev/loop<number>, mounted nowhere; -1 and errno. */
static int mount_detached(int number)
{
        char device[32], folder[] = "/tmp/faultline-XXXXXX";
        int root = -1, error;

        snprintf(device, sizeof(device), "/dev/loop%d", number);
        if (!mkdtemp(folder))
                return -1;
        if (mount(device, folder, "ext4", 0, NULL) == 0) {
                root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                umount2(folder, MNT_DETACH);
        }
        error = errno;
        rmdir(folder);
        errno = error;
        return root;
}

static bool set_readahead(const struct ground *g, unsigned kb)
{
        char path[160];
        FILE *f;
        bool ok;

        snprintf(path, sizeof(path), "%s/read_ahead_kb", g->queue);
        f = fopen(path, "we");
        ok = f && fprintf(f, "%u\n", kb) > 0;
        return f && fclose(f) == 0 && ok;
}

const char *ground_loop(struct ground *g, unsigned ra_kb)
{
        const char *no = kernel_too_old(), *image;
        int number, device = -1, root;

        memset(g, 0, sizeof(*g));
        if (no)
                return no;
        if (geteuid())
                return "an ext4 in a file is mounted by root only";
        image = test_file("image", IMAGE_BYTES);
        if (!run_mkfs(image))
                return "mkfs.ext4 does not run here";
        number = attach(image, &device);
        if (number < 0)
                return "there is no loop device to be had";
        unlink(image);
        snprintf(g->queue, sizeof(g->queue), "/sys/block/loop%d/queue", number);
        /* A file system takes over at the mount what its device says. */
        if (ra_kb && !set_readahead(g, ra_kb)) {
                close(device);
                return "the loop device's read-ahead cannot be set";
        }
        root = mount_detached(number);
        close(device);
        if (root < 0)
                return sayf("mounting an ext4 in a file: %s%s", strerror(errno), "");
        for (unsigned i = 0; i < NR_FILES; i++) {
                g->size[i] = file_sizes[i];
                snprintf(g->path[i], sizeof(g->path[i]), "/proc/self/fd/%d/file%u", root, i);
                if (!fill_file(g->path[i], g->size[i]))
                        return sayf("%s: %s", g->path[i], strerror(errno));
        }
        no = examine(g);
        snprintf(g->name, sizeof(g->name), "an ext4 in a file");
        return no;
}
