/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_cgroup.c - a memory limit for the kernel's side, so that both sides have the same memory.
 *
 * Version 1 and version 2 of the interface; a group of our own below the one we are in, or, where
 * our own is not to be seen (another cgroup namespace), below the mount's root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "util/cgroup.h"

#define GROUPS_DEEP 8
#define MAKE_TRIES 10

static bool write_text(const char *folder, const char *file, const char *text)
{
        char path[4352];
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", folder, file);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = write(fd, text, strlen(text));
        close(fd);
        return n == (ssize_t)strlen(text);
}

/* The folder at path with the lock that says that its run goes on; -1: another has it, or errno. The
 * kernel drops the lock with the run's last process, whatever its name is, and wherever its number
 * means something. */
static int lock_group(const char *path)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
                close(fd);
                return -1;
        }
        return fd;
}

/* Groups of runs that were killed; nobody else would take them away. They may lie anywhere: where a
 * run makes its own depends on the group that it was started in. Locked they are somebody's. */
static void remove_stale(const char *parent, unsigned depth)
{
        DIR *folder = opendir(parent);
        struct dirent *entry;

        while (folder && (entry = readdir(folder))) {
                char path[4096], end;
                int owner, lock;

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "%.3000s/%.255s", parent, entry->d_name);
                if (sscanf(entry->d_name, "faultline-bench-%d%c", &owner, &end) != 1) {
                        if (depth)
                                remove_stale(path, depth - 1);
                } else if ((lock = lock_group(path)) >= 0) {
                        rmdir(path);
                        close(lock);
                }
        }
        if (folder)
                closedir(folder);
}

/* Made, and ours: between the two another run may take it for one that was left, and remove it. */
static bool make_locked(struct bench_cgroup *g)
{
        struct stat locked, named;

        for (int i = 0; i < MAKE_TRIES; i++, usleep(1000)) {
                if (mkdir(g->path, 0755) && errno != EEXIST)
                        return false;
                g->fd = lock_group(g->path);
                if (g->fd < 0)
                        continue;
                if (!fstat(g->fd, &locked) && !stat(g->path, &named) &&
                    locked.st_ino == named.st_ino && locked.st_dev == named.st_dev)
                        return true;
                close(g->fd);
                g->fd = -1;
        }
        errno = EBUSY;
        return false;
}

static bool try_create(struct bench_cgroup *g, int version, const char *parent, uint64_t limit)
{
        const char *file = cgroup_limit_file(version);
        char bytes[32];

        if (version == 2) /* refused where processes live in the parent; then the file is missing */
                write_text(parent, "cgroup.subtree_control", "+memory");
        snprintf(g->path, sizeof(g->path), "%.4000s/faultline-bench-%d", parent, (int)getpid());
        if (!make_locked(g)) {
                snprintf(g->problem, sizeof(g->problem), "%.120s: mkdir: %s", g->path,
                         strerror(errno));
                g->path[0] = '\0';
                return false;
        }
        snprintf(bytes, sizeof(bytes), "%" PRIu64, limit);
        if (write_text(g->path, file, bytes))
                return true;
        snprintf(g->problem, sizeof(g->problem), "%.120s/%s: %s", g->path, file, strerror(errno));
        bench_cgroup_remove(g);
        return false;
}

void bench_cgroup_create(struct bench_cgroup *g, uint64_t limit)
{
        char parent[CGROUP_PATH_MAX];
        struct cgroup own;

        cgroup_find(&own, "");
        *g = (struct bench_cgroup){ .version = own.version, .fd = -1 };
        if (!own.version) {
                snprintf(g->problem, sizeof(g->problem), "no memory cgroup is mounted");
                return;
        }
        remove_stale(own.mount, GROUPS_DEEP);
        snprintf(parent, sizeof(parent), "%s%s", own.mount, own.own);
        if (try_create(g, own.version, parent, limit) || !*own.own)
                return;
        try_create(g, own.version, own.mount, limit);
}

bool bench_cgroup_enter(const struct bench_cgroup *g)
{
        return write_text(g->path, "cgroup.procs", "0");
}

void bench_cgroup_remove(struct bench_cgroup *g)
{
        if (!*g->path)
                return;
        /* The last process may still be on its way out. */
        for (int i = 0; rmdir(g->path) && errno == EBUSY && i < 100; i++)
                usleep(10000);
        close(g->fd);
        g->fd = -1;
        g->path[0] = '\0';
}
