/* SPDX-License-Identifier: Apache-2.0
 *
 * test_cgroup.c - the memory cgroup, found in made-up /proc and /sys trees.
 */
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cgroup.h"

#define NONE UINT64_MAX
#define V1 "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\n"
#define V2 "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"

static char root[] = "/tmp/test_cgroup.XXXXXX";

/* put(PATH, TEXT): a file below the root, and the folders on its way. */
static void put(const char *path, const char *text)
{
        char full[512];
        FILE *f;

        snprintf(full, sizeof(full), "%s/%s", root, path);
        for (char *slash = strchr(full + sizeof(root), '/'); slash;
             slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                mkdir(full, 0755);
                *slash = '/';
        }
        f = fopen(full, "w");
        cr_assert(f, "%s", full);
        fputs(text, f);
        fclose(f);
}

static void put_v1(const char *group, const char *limit, const char *used)
{
        char path[256];

        snprintf(path, sizeof(path), "sys/fs/cgroup/memory%s/memory.limit_in_bytes", group);
        put(path, limit);
        snprintf(path, sizeof(path), "sys/fs/cgroup/memory%s/memory.usage_in_bytes", group);
        put(path, used);
}

static void put_v2(const char *group, const char *limit, const char *used)
{
        char path[256];

        snprintf(path, sizeof(path), "sys/fs/cgroup%s/memory.max", group);
        put(path, limit);
        snprintf(path, sizeof(path), "sys/fs/cgroup%s/memory.current", group);
        put(path, used);
}

static void expect(int version, const char *mount, const char *own, uint64_t limit, uint64_t room,
                   const char *path)
{
        char full[CGROUP_PATH_MAX];
        struct cgroup_room r;
        struct cgroup g;

        cgroup_find(&g, root);
        cgroup_room(&g, &r);
        cr_expect_eq(g.version, version, "version %d", g.version);
        snprintf(full, sizeof(full), "%s%s", *mount ? root : "", mount);
        cr_expect_str_eq(g.mount, full);
        cr_expect_str_eq(g.own, own);
        cr_expect_eq(r.limit, limit, "limit %llu", (unsigned long long)r.limit);
        cr_expect_eq(r.room, room, "room %llu", (unsigned long long)r.room);
        snprintf(full, sizeof(full), "%s%s", *path ? root : "", path);
        cr_expect_str_eq(r.path, full);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        (void)st;
        (void)kind;
        (void)at;
        return remove(path);
}

static void setup(void)
{
        cr_assert(mkdtemp(root));
}

static void teardown(void)
{
        nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(cgroup, .init = setup, .fini = teardown);

Test(cgroup, no_proc_at_all)
{
        expect(0, "", "", NONE, NONE, "");
}

Test(cgroup, no_memory_controller)
{
        put("proc/self/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
                                "tmpfs /sys/fs/memory tmpfs rw,memory 0 0\n");
        put("proc/self/cgroup", "3:cpu:/a\n");
        expect(0, "", "", NONE, NONE, "");
}

Test(cgroup, version_2)
{
        put("proc/self/mounts", "proc /proc proc rw 0 0\n" V2);
        put("proc/self/cgroup", "0::/a/b\n");
        put_v2("/a/b", "1000000\n", "400000\n");
        expect(2, "/sys/fs/cgroup", "/a/b", 1000000, 600000, "/sys/fs/cgroup/a/b");
}

Test(cgroup, version_1)
{
        put("proc/self/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n" V1);
        put("proc/self/cgroup", "4:cpu:/c\n3:hugetlb,memory:/a\n0::/u\n");
        put_v1("/a", "1000000\n", "400000\n");
        expect(1, "/sys/fs/cgroup/memory", "/a", 1000000, 600000, "/sys/fs/cgroup/memory/a");
}

/* systemd mounts version 2 as well, without controllers. */
Test(cgroup, both_versions)
{
        put("proc/self/mounts", "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n" V1);
        put("proc/self/cgroup", "0::/u\n3:memory:/a\n");
        put_v1("/a", "1000000\n", "400000\n");
        expect(1, "/sys/fs/cgroup/memory", "/a", 1000000, 600000, "/sys/fs/cgroup/memory/a");
}

Test(cgroup, a_word_that_only_begins_like_memory)
{
        put("proc/self/mounts", "cgroup /x cgroup rw,memory_recursiveprot 0 0\n" V1);
        put("proc/self/cgroup", "4:memoryless,nomemory:/wrong\n3:memory:/a\n");
        put_v1("/a", "1000000\n", "400000\n");
        expect(1, "/sys/fs/cgroup/memory", "/a", 1000000, 600000, "/sys/fs/cgroup/memory/a");
}

Test(cgroup, least_room_is_in_the_parent)
{
        put("proc/self/mounts", V2);
        put("proc/self/cgroup", "0::/a/b\n");
        put_v2("/a/b", "1000000\n", "400000\n");
        put_v2("/a", "2000000\n", "1900000\n");
        put_v2("", "9000000\n", "1900000\n");
        expect(2, "/sys/fs/cgroup", "/a/b", 2000000, 100000, "/sys/fs/cgroup/a");
}

Test(cgroup, no_limit)
{
        put("proc/self/mounts", V2);
        put("proc/self/cgroup", "0::/a\n");
        put_v2("/a", "max\n", "400000\n");
        expect(2, "/sys/fs/cgroup", "/a", NONE, NONE, "/sys/fs/cgroup/a");
}

Test(cgroup, version_1_no_limit)
{
        put("proc/self/mounts", V1);
        put("proc/self/cgroup", "3:memory:/\n");
        put_v1("", "9223372036854771712\n", "400000\n");
        expect(1, "/sys/fs/cgroup/memory", "", NONE, NONE, "/sys/fs/cgroup/memory");
}

Test(cgroup, more_used_than_allowed)
{
        put("proc/self/mounts", V2);
        put("proc/self/cgroup", "0::/a\n");
        put_v2("/a", "1000\n", "4000\n");
        expect(2, "/sys/fs/cgroup", "/a", 1000, 0, "/sys/fs/cgroup/a");
}

/* A container that sees its own group as the mount, and its name as the host sees it. */
Test(cgroup, own_group_is_not_to_be_seen)
{
        put("proc/self/mounts", V1);
        put("proc/self/cgroup", "3:memory:/docker/0123\n");
        put_v1("", "1000000\n", "400000\n");
        expect(1, "/sys/fs/cgroup/memory", "/docker/0123", 1000000, 600000,
               "/sys/fs/cgroup/memory");
}

Test(cgroup, mount_point_with_a_space)
{
        put("proc/self/mounts", "cgroup2 /sys/my\\040groups cgroup2 rw 0 0\n");
        put("proc/self/cgroup", "0::/\n");
        put("sys/my groups/memory.max", "1000000\n");
        put("sys/my groups/memory.current", "400000\n");
        expect(2, "/sys/my groups", "", 1000000, 600000, "/sys/my groups");
}

Test(cgroup, path_that_is_too_long)
{
        char line[2048] = "0::/", a[] = "aaaaaaaaa/";

        while (strlen(line) < 1200)
                strcat(line, a);
        put("proc/self/mounts", V2);
        put("proc/self/cgroup", line);
        put_v2("", "1000000\n", "400000\n");
        expect(2, "/sys/fs/cgroup", "", 1000000, 600000, "/sys/fs/cgroup");
}
