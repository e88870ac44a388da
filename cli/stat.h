/* SPDX-License-Identifier: Apache-2.0
 *
 * stat.h - what the host knows of a file: its pages in the page cache, and where it lies.
 */
#ifndef FAULTLINE_STAT_H
#define FAULTLINE_STAT_H

#include "cli.h"

#define STAT_PARTS 60 /* as wide as the bar */

/* What somebody has in memory of a file. */
struct residency {
        bool known;
        const char *why_not;       /* of what is not known */
        uint64_t pages;            /* in memory */
        uint64_t each;             /* pages that one part of the bar stands for */
        uint64_t part[STAT_PARTS]; /* in memory of each */
};

struct extent {
        uint64_t offset, at, bytes;
        bool somewhere; /* it has a place that can be told: `at` */
};
struct extents {
        struct extent *item;
        size_t count;
        const char *why_not; /* they are not known; NULL: they are */
        bool more;           /* these are only the first */
};
#define EXTENTS_MAX 65536

/* How many pages each part of the bar stands for. */
static inline uint64_t pages_per_part(uint64_t pages)
{
        return max_u64((pages + STAT_PARTS - 1) / STAT_PARTS, 1);
}

/* By mincore(2). */
void host_residency(int fd, uint64_t size, struct residency *out);
/* By FIEMAP. */
void host_extents(int fd, struct extents *out);
/* Joins it to the one before where they meet. False: no memory, or there are too many. */
bool extents_add(struct extents *e, const struct extent *more);

#endif
