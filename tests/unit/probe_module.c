/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_module.c - the smallest module: calls the core, and says what came back.
 */
#include "fs/module.h"

/* What test_module.c gets as the module's type. */
static uint64_t call_core(void)
{
        uint64_t size = 0;

        return parse_size("4K", &size) ? size : 0;
}

static uint64_t (*const probe)(void) = call_core;

MODULE(probe);
