/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.c - how large a cache to take when nobody says: the smaller of a quarter of the
 * memory that is available and half the room under the cgroup's limit.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/engine.h"

static bool read_number(const char *path, uint64_t *out)
{
        FILE *f = fopen(path, "re");
        unsigned long long n;
        bool ok;

        if (!f)
                return false;
        ok = fscanf(f, "%llu", &n) == 1;
        fclose(f);
        *out = n;
        return ok;
}

static uint64_t available(void)
{
        FILE *f = fopen("/proc/meminfo", "re");
        unsigned long long kib = 0;
        char line[128];

        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
                        break;
        if (f)
                fclose(f);
        return kib * 1024;
}

/* Room under one cgroup directory's limit; UINT64_MAX: no limit. */
static uint64_t room_in(const char *dir, const char *limit, const char *usage)
{
        char path[PATH_MAX + 64];
        uint64_t max, used;

        snprintf(path, sizeof(path), "%s/%s", dir, limit);
        if (!read_number(path, &max) || max >= 1ull << 60)
                return UINT64_MAX;
        snprintf(path, sizeof(path), "%s/%s", dir, usage);
        if (!read_number(path, &used))
                return UINT64_MAX;
        return max > used ? max - used : 0;
}

/* /proc/self/cgroup: "N:controllers:PATH", v2 is "0::PATH". */
static uint64_t cgroup_room(void)
{
        FILE *f = fopen("/proc/self/cgroup", "re");
        char line[PATH_MAX], dir[PATH_MAX + 64];
        uint64_t room = UINT64_MAX;

        while (f && fgets(line, sizeof(line), f)) {
                char *controllers = strchr(line, ':');
                char *path = controllers ? strchr(controllers + 1, ':') : NULL;
                bool v2;

                if (!path)
                        continue;
                *path++ = 0;
                path[strcspn(path, "\n")] = 0;
                v2 = controllers[1] == 0;
                if (!v2 && !strstr(controllers, "memory"))
                        continue;
                snprintf(dir, sizeof(dir), "/sys/fs/cgroup%s%s", v2 ? "" : "/memory", path);
                room = min_u64(room,
                               v2 ? room_in(dir, "memory.max", "memory.current")
                                  : room_in(dir, "memory.limit_in_bytes", "memory.usage_in_bytes"));
        }
        if (f)
                fclose(f);
        return room;
}

uint64_t default_cache_bytes(void)
{
        uint64_t memory = available() / 4, room = cgroup_room() / 2;
        uint64_t bytes = memory < room ? memory : room;

        bytes = round_down_u64(bytes, PAGE_SIZE);
        return max_u64(bytes, CACHE_MIN_PAGES * PAGE_SIZE);
}
