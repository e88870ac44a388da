/* SPDX-License-Identifier: Apache-2.0
 *
 * module.c - the core's functions, as a table for modules.
 */
#include "fs/module.h"

#include "fs/worker.h"

const struct fl_core fl_core_table = {
#define CORE(result, name, parameters, arguments) .name = name,
#include "fs/module_functions.h"
#undef CORE
};
