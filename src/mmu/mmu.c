/* SPDX-License-Identifier: Apache-2.0
 *
 * mmu.c - choosing the MMU.
 */
#include "mmu/mmu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The first serves everything; the others are for those who name them. */
static const struct mmu_ops *const all[] = { &uffd_mmu_ops, &sigbus_mmu_ops, &sigsegv_mmu_ops };

int mmu_open(const char *name, struct mmu_config *cfg, struct mmu **out)
{
        bool any = !name || !*name || strcmp(name, "auto") == 0;

        snprintf(cfg->why, sizeof(cfg->why),
                 "no MMU of that name; there are: auto, uffd, sigbus, sigsegv");
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                if (!any && strcmp(name, all[i]->name) != 0)
                        continue;
                cfg->named = !any;
                return all[i]->open(cfg, out);
        }
        return -EINVAL;
}
