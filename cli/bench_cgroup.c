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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

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

/* A word of a comma separated list? */
static bool has_word(const char *list, const char *word)
{
        size_t length = strlen(word);

        for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
                if ((at == list || at[-1] == ',') && (!at[length] || at[length] == ','))
                        return true;
        return false;
}

/* Where the memory controller is mounted: 1 or 2 for its version, 0 if it is not. */
static int find_mount(char *mount, size_t room)
{
        FILE *mounts = fopen("/proc/self/mounts", "re");
        char line[4096];
        int version = 0;

        while (mounts && version != 1 && fgets(line, sizeof(line), mounts)) {
                char where[2048], type[64], options[1024];

                if (sscanf(line, "%*s %2047s %63s %1023s", where, type, options) != 3)
                        continue;
                if (!strcmp(type, "cgroup") && has_word(options, "memory"))
                        version = 1;
                else if (!strcmp(type, "cgroup2") && !version)
                        version = 2;
                else
                        continue;
                snprintf(mount, room, "%s", where);
        }
        if (mounts)
                fclose(mounts);
        return version;
}

/* Our own group's path in the hierarchy, "/" if it cannot be told. */
static void find_own(int version, char *own, size_t room)
{
        FILE *groups = fopen("/proc/self/cgroup", "re");
        char line[4096];

        snprintf(own, room, "/");
        while (groups && fgets(line, sizeof(line), groups)) {
                char *controllers = strchr(line, ':');
                char *path = controllers ? strchr(++controllers, ':') : NULL;

                if (!path)
                        continue;
                *path++ = '\0';
                path[strcspn(path, "\n")] = '\0';
                if (version == 1 ? has_word(controllers, "memory") : !*controllers)
                        snprintf(own, room, "%s", path);
        }
        if (groups)
                fclose(groups);
}

/* Groups of runs that were killed; nobody else would take them away. */
static void remove_stale(const char *parent)
{
        DIR *folder = opendir(parent);
        struct dirent *entry;

        while (folder && (entry = readdir(folder))) {
                int owner;
                char path[4096], end;

                if (sscanf(entry->d_name, "faultline-bench-%d%c", &owner, &end) != 1 ||
                    owner <= 0 || !kill(owner, 0) || errno != ESRCH)
                        continue;
                snprintf(path, sizeof(path), "%.3000s/%.255s", parent, entry->d_name);
                rmdir(path);
        }
        if (folder)
                closedir(folder);
}

static bool try_create(struct bench_cgroup *g, int version, const char *parent, uint64_t limit)
{
        const char *file = version == 1 ? "memory.limit_in_bytes" : "memory.max";
        char bytes[32];

        remove_stale(parent);
        if (version == 2) /* refused where processes live in the parent; then the file is missing */
                write_text(parent, "cgroup.subtree_control", "+memory");
        snprintf(g->path, sizeof(g->path), "%.4000s/faultline-bench-%d", parent, (int)getpid());
        if (mkdir(g->path, 0755)) {
                snprintf(g->problem, sizeof(g->problem), "%.120s: mkdir: %s", g->path,
                         strerror(errno));
                g->path[0] = '\0';
                return false;
        }
        snprintf(bytes, sizeof(bytes), "%" PRIu64, limit);
        if (write_text(g->path, file, bytes))
                return true;
        snprintf(g->problem, sizeof(g->problem), "%.120s/%s: %s", g->path, file, strerror(errno));
        rmdir(g->path);
        g->path[0] = '\0';
        return false;
}

void bench_cgroup_create(struct bench_cgroup *g, uint64_t limit)
{
        char mount[2048], own[1024], parent[3100];
        int version = find_mount(mount, sizeof(mount));

        *g = (struct bench_cgroup){ .version = version };
        if (!version) {
                snprintf(g->problem, sizeof(g->problem), "no memory cgroup is mounted");
                return;
        }
        find_own(version, own, sizeof(own));
        snprintf(parent, sizeof(parent), "%s%s", mount, strcmp(own, "/") ? own : "");
        if (try_create(g, version, parent, limit) || !strcmp(own, "/"))
                return;
        try_create(g, version, mount, limit);
}

bool bench_cgroup_enter(const struct bench_cgroup *g)
{
        return write_text(g->path, "cgroup.procs", "0");
}

void bench_cgroup_remove(struct bench_cgroup *g)
{
        /* The last process may still be on its way out. */
        for (int i = 0; *g->path && rmdir(g->path) && errno == EBUSY && i < 100; i++)
                usleep(10000);
        g->path[0] = '\0';
}
