/* SPDX-License-Identifier: Apache-2.0
 *
 * module.h - parts of Faultline that are loaded when first used.
 *
 * What needs a large library is a shared object of its own, faultline-NAME.so, so that a program
 * that never names such a thing never loads that library. It exports one symbol, `fl_module_v1`,
 * and calls the core through the table that it is handed (fs/module.h).
 *
 * Looked for in $FAULTLINE_MODULES (not by a program with more rights than its user), then in
 * modules/ beside the file this code was loaded from, then in LIBDIR/faultline.
 */
#ifndef FL_UTIL_MODULE_H
#define FL_UTIL_MODULE_H

#include "util/base.h"

struct fl_module {
        const char *abi;                /* MODULE_ABI of the core it was built with */
        void (*init)(const void *core); /* called at each load, with the same table every time */
        const void *type;               /* a struct driver_type or file_system_type, by its name */
};

/* A module is built together with the core, and serves no other: what passes between them are
 * whole structures. */
#ifdef NDEBUG
#define MODULE_ABI FAULTLINE_VERSION " release"
#else
#define MODULE_ABI FAULTLINE_VERSION " debug"
#endif

#define MODULE_PATH_MAX 512

/* Loads it, if it is not there yet, for the life of the process. 0; -ENOPKG: there is none (why
 * names the place last looked at); -ELIBBAD: it is there and does not load, or is of another
 * version. May allocate; not signal-safe. */
int module_load(const char *name, const void *core, const void **type, char *why, size_t size);
/* Where it would be loaded from, without loading it: 0, or -ENOPKG. */
int module_find(const char *name, char path[MODULE_PATH_MAX]);

#endif
