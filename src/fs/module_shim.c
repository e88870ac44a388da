/* SPDX-License-Identifier: Apache-2.0
 *
 * module_shim.c - in a module: the core's functions under their own names.
 */
#include "fs/module.h"

#include "fs/worker.h"

/* One core for the whole process: it writes the same table at each load. */
static const struct fl_core *core_table;

void module_init(const void *core)
{
        __atomic_store_n(&core_table, core, __ATOMIC_RELEASE);
}

#define CORE(result, name, parameters, arguments)                                                  \
        result name parameters                                                                     \
        {                                                                                          \
                return core_table->name arguments;                                                 \
        }
#include "fs/module_functions.h"
#undef CORE
