/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.c - how large a cache to take when nobody says: the smaller of a quarter of the
 * memory that is available and half the room under the cgroup's limit.
 */
#include <stdio.h>

#include "api/engine.h"
#include "util/cgroup.h"

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

uint64_t default_cache_bytes(void)
{
        struct cgroup_room group;
        struct cgroup own;
        uint64_t bytes;

        cgroup_find(&own, "");
        cgroup_room(&own, &group);
        bytes = round_down_u64(min_u64(available() / 4, group.room / 2), PAGE_SIZE);
        return max_u64(bytes, CACHE_MIN_PAGES * PAGE_SIZE);
}
