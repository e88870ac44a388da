/* SPDX-License-Identifier: Apache-2.0
 *
 * grounds.c - the rows: what a file may lie on, how one is made there, and how it is served.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conformance.h"

static bool there_is(const char *tool)
{
        return test_run("command -v %s >/dev/null 2>&1", tool);
}

bool is_hole(uint64_t page)
{
        return page >= HOLE_FIRST && page < HOLE_END;
}

/* The file's own bytes in a host file. */
static void write_content(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        static char page[PAGE];

        require(fd >= 0 && ftruncate(fd, SIZE) == 0, "%s: %s", path, strerror(errno));
        for (uint64_t i = 0; i <= PAGES; i++) {
                if (is_hole(i))
                        continue;
                stamp_write(page, i, 0);
                require(pwrite(fd, page, i < PAGES ? PAGE : REST, (off_t)(i * PAGE)) > 0, "%s: %s",
                        path, strerror(errno));
        }
        close(fd);
}

static const char *make_host(struct row *r)
{
        r->device = test_file("host", 0);
        write_content(r->device);
        snprintf(r->uri, sizeof(r->uri), "%s", r->device);
        return NULL;
}

/* Where direct I/O is not to be had. */
static const char *make_shm(struct row *r)
{
        static char path[64];

        if (access("/dev/shm", W_OK))
                return "there is no /dev/shm to write to";
        snprintf(path, sizeof(path), "/dev/shm/fltest-conformance-%d", getpid());
        write_content(path);
        r->device = path;
        snprintf(r->uri, sizeof(r->uri), "file:%s", path);
        return NULL;
}

static void unmake_device(struct row *r)
{
        unlink(r->device);
}

static const char *make_ram(struct row *r)
{
        snprintf(r->uri, sizeof(r->uri), "ram:%lu", SIZE);
        return NULL;
}

static const char *make_squashfs(struct row *r)
{
        const char *source = test_file("source", 0);

        if (!there_is("mksquashfs"))
                return "mksquashfs is not installed";
        write_content(source);
        r->device = test_file("squashfs", 0);
        /* Large enough that no page of its data shares one of the device with its tables. */
        require(test_run("mksquashfs '%s' '%s' -noappend -quiet -no-progress -noD -no-fragments -b "
                         "16K "
                         ">/dev/null 2>&1",
                         source, r->device),
                "mksquashfs failed");
        snprintf(r->uri, sizeof(r->uri), "squashfs:%s#/%s", r->device, source);
        return NULL;
}

static const char *make_ext4(struct row *r)
{
        const char *folder = test_file("folder", 0);
        char path[300];

        if (!there_is("mke2fs"))
                return "mke2fs is not installed";
        unlink(folder);
        require(mkdir(folder, 0755) == 0, "%s: %s", folder, strerror(errno));
        snprintf(path, sizeof(path), "%s/file", folder);
        write_content(path);
        r->device = test_file("ext4", 0);
        require(test_run("mke2fs -q -F -t ext4 -b 4096 -d '%s' '%s' 16M >/dev/null 2>&1", folder,
                         r->device),
                "mke2fs failed");
        require(test_run("rm -rf '%s'", folder), "%s", folder);
        snprintf(r->uri, sizeof(r->uri), "ext4:%s#/file", r->device);
        return NULL;
}

/* A server's socket; a socket's path is short, so not where the test runs. Its number is in .pid. */
static const char *socket_path(void)
{
        static char path[64];

        snprintf(path, sizeof(path), "/tmp/fltest-nbd-%d", getpid());
        return path;
}

/* The number that nbdkit has written, which may be a moment after it has gone to the background. */
static int server_pid(void)
{
        char path[80];
        int pid = 0;

        snprintf(path, sizeof(path), "%s.pid", socket_path());
        for (unsigned i = 0; i < 1000 && !pid; i++) {
                FILE *f = fopen(path, "r");

                if (f && fscanf(f, "%d", &pid) != 1)
                        pid = 0;
                if (f)
                        fclose(f);
                if (!pid)
                        usleep(10000);
        }
        return pid;
}

/* A server of what the row lies on: TYPE:PATH#... becomes TYPE:nbd+unix:...#... */
static const char *serve(struct row *r, bool read_only)
{
        char rest[300] = "", type[40] = "";
        const char *hash = strchr(r->uri, '#'), *colon = strchr(r->uri, ':');

        if (!there_is("nbdkit"))
                return "nbdkit is not installed";
        require(test_run("nbdkit -U '%s' -P '%s.pid' %s file '%s'", socket_path(), socket_path(),
                         read_only ? "-r" : "", r->device),
                "nbdkit failed");
        r->pid = server_pid();
        require(r->pid, "nbdkit does not say its number");
        if (hash) {
                snprintf(rest, sizeof(rest), "%.299s", hash);
                snprintf(type, sizeof(type), "%.*s", (int)(colon + 1 - r->uri), r->uri);
        }
        snprintf(r->uri, sizeof(r->uri), "%snbd+unix:///?socket=%s%s", type, socket_path(), rest);
        return NULL;
}

static void unserve(struct row *r)
{
        if (!r->pid)
                return;
        kill(r->pid, SIGTERM);
        for (unsigned i = 0; i < 1000 && !kill(r->pid, 0); i++)
                usleep(10000);
        r->pid = 0;
        test_run("rm -f '%s' '%s.pid'", socket_path(), socket_path());
}

static const char *make_squashfs_nbd(struct row *r)
{
        const char *why = make_squashfs(r);

        return why ? why : serve(r, true);
}

static const char *make_ext4_nbd(struct row *r)
{
        const char *why = make_ext4(r);

        return why ? why : serve(r, false);
}

/* An export is as long as it is: whole sectors here. */
static const char *make_device_nbd(struct row *r)
{
        make_host(r);
        return serve(r, false);
}

static const char *make_device_nbd_ro(struct row *r)
{
        make_host(r);
        return serve(r, true);
}

struct row rows[] = {
        { .name = "hostfs", .make = make_host },
        { .name = "hostfs, posix", .make = make_host, .driver = "posix" },
        { .name = "hostfs, buffered", .make = make_shm, .unmake = unmake_device },
        { .name = "memfs", .make = make_ram, .transient = true },
        { .name = "squashfs",
          .module = "squashfs",
          .make = make_squashfs,
          .read_only = true,
          .packed = true },
        { .name = "ext4", .module = "ext4", .make = make_ext4 },
        { .name = "nbd",
          .module = "nbd",
          .make = make_device_nbd,
          .unmake = unserve,
          .fixed = true },
        { .name = "nbd, read-only",
          .module = "nbd",
          .make = make_device_nbd_ro,
          .unmake = unserve,
          .read_only = true,
          .fixed = true },
        { .name = "squashfs on nbd",
          .module = "squashfs",
          .module2 = "nbd",
          .make = make_squashfs_nbd,
          .unmake = unserve,
          .read_only = true,
          .packed = true },
        { .name = "ext4 on nbd",
          .module = "ext4",
          .module2 = "nbd",
          .make = make_ext4_nbd,
          .unmake = unserve },
};
const unsigned nr_rows = sizeof(rows) / sizeof(*rows);

void end_servers(void)
{
        for (unsigned i = 0; i < nr_rows; i++)
                if (rows[i].unmake == unserve)
                        unserve(&rows[i]);
}
