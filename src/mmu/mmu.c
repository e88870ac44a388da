/* SPDX-License-Identifier: Apache-2.0
 *
 * mmu.c - choosing the MMU.
 */
#include "mmu/mmu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* In the order in which "auto" tries them: what serves all faults, what is fast, what is possible. */
static const struct mmu_ops *const all[] = { &uffd_mmu_ops, &sigbus_mmu_ops, &sigsegv_mmu_ops };

int mmu_open(const char *name, struct mmu_config *cfg, struct mmu **out)
{
        bool any = !name || !*name || strcmp(name, "auto") == 0;
        int error = -EINVAL;

        snprintf(cfg->why, sizeof(cfg->why),
                 "no MMU of that name; there are: auto, uffd, sigbus, sigsegv");
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                if (!any && strcmp(name, all[i]->name) != 0)
                        continue;
                cfg->named = !any;
                error = all[i]->open(cfg, out);
                if (error == 0 || !any)
                        return error;
        }
        return error;
}
