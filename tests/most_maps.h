/* SPDX-License-Identifier: Apache-2.0
 *
 * most_maps.h - how many mappings the kernel lets a process have.
 */
#ifndef FAULTLINE_TESTS_MOST_MAPS_H
#define FAULTLINE_TESTS_MOST_MAPS_H

#include <stdio.h>

/* 0: not known. */
static inline unsigned most_maps(void)
{
        FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
        unsigned n = 0;

        if (f && fscanf(f, "%u", &n) != 1)
                n = 0;
        if (f)
                fclose(f);
        return n;
}

#endif
