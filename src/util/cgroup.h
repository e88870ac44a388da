/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup.h - the memory cgroup of this process, of version 1 or 2: where it is, what room it leaves.
 */
#ifndef FL_UTIL_CGROUP_H
#define FL_UTIL_CGROUP_H

#include "util/base.h"

#define CGROUP_PATH_MAX 1024 /* of a group's folder */

struct cgroup {
        int version;                     /* 0: no memory controller is mounted */
        char mount[256];                 /* the folder of the topmost group that is to be seen */
        char own[CGROUP_PATH_MAX - 256]; /* ours below that: "/a/b"; "": the same, or not known */
};
/* root: what stands before /proc and before every mount point; "" but for tests. */
void cgroup_find(struct cgroup *g, const char *root);

/* From our own group up to the mount: the limit with the least room is the one that holds. */
struct cgroup_room {
        int version;                /* as above */
        uint64_t limit, room;       /* bytes; UINT64_MAX: there is no limit */
        char path[CGROUP_PATH_MAX]; /* of the group that has it; without one our own, or "" */
};
void cgroup_room(const struct cgroup *g, struct cgroup_room *out);

/* The file in a group's folder that holds its limit. */
const char *cgroup_limit_file(int version);

#endif
