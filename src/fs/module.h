/* SPDX-License-Identifier: Apache-2.0
 *
 * module.h - what a module and the core are to each other (util/module.h says what a module is).
 *
 * The core exports nothing but fl_*, so it hands a module its functions in a table. A module is
 * linked with fs/module_shim.c, which has functions of the same names that call through that
 * table: a module's sources read, and can be linked into a test, like those of the core.
 * MODULE() makes the symbol that the core looks for.
 */
#ifndef FL_FS_MODULE_H
#define FL_FS_MODULE_H

#include "fs/inode.h"
#include "fs/uri.h"
#include "util/module.h"
#include "util/quantity.h"
#include "util/say.h"

/* mutex_lock(m) and the like are macros of those with a place in debug builds; here are names. */
struct fl_core {
#define CORE(result, name, parameters, arguments) result(*name) parameters;
#include "fs/module_functions.h"
#undef CORE
};

/* The core's own table, for driver_env.core. */
extern const struct fl_core fl_core_table;
/* module_shim.c's: takes the table. */
void module_init(const void *core);

#define MODULE(which)                                                                              \
        __attribute__((visibility("default"))) extern const struct fl_module fl_module_v1;         \
        const struct fl_module fl_module_v1 = {                                                    \
                .abi = MODULE_ABI,                                                                 \
                .init = module_init,                                                               \
                .type = &(which),                                                                  \
        }

/* What lies in a directory. */
struct fs_entry {
        const char *name; /* any bytes but NUL and / */
        struct stat st;   /* mode, size, times, ino, nlink, uid, gid, blocks */
        const char *link; /* where a symbolic link points to, or NULL */
};

/* What a module that is a file system has to offer. */
struct file_system_type {
        const char *name;
        /* As fs_open(): the inode of u->path on the device u->dev; two opens of one file share it.
         * uri is the whole name, for the inode. Takes env->lock itself. */
        int (*open)(struct fs_env *env, const char *uri, const struct uri *u, int oflags,
                    struct inode **out, const char **why);
        /* As fs_list(). */
        int (*list)(struct fs_env *env, const struct uri *u,
                    int (*entry)(void *arg, const struct fs_entry *e), void *arg, const char **why);
};

#endif
