/* SPDX-License-Identifier: Apache-2.0
 *
 * module.c - see module.h.
 */
#include "util/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the program or library that this code is in. */
static void own_folder(char *out, size_t size)
{
        Dl_info info;
        const char *slash;

        *out = 0;
        if (dladdr((const void *)module_find, &info) && info.dli_fname) {
                /* A program's is what it was called by, which need not be where it is. */
                bool path = strchr(info.dli_fname, '/') != NULL;
                char *real = realpath(path ? info.dli_fname : "/proc/self/exe", NULL);

                slash = real ? strrchr(real, '/') : NULL;
                if (slash)
                        snprintf(out, size, "%.*s", (int)(slash - real), real);
                free(real);
        }
}

static bool is_there(const char *folder, const char *below, const char *name, char *path)
{
        int n = snprintf(path, MODULE_PATH_MAX, "%s%s/faultline-%s.so", folder, below, name);

        return n < MODULE_PATH_MAX && !access(path, R_OK);
}

int module_find(const char *name, char path[MODULE_PATH_MAX])
{
        const char *told = secure_getenv("FAULTLINE_MODULES");
        char own[MODULE_PATH_MAX];

        if (told && *told && is_there(told, "", name, path))
                return 0;
        own_folder(own, sizeof(own));
        if (*own && is_there(own, "/modules", name, path))
                return 0;
        return is_there(FAULTLINE_MODULE_DIR, "", name, path) ? 0 : -ENOPKG;
}

int module_load(const char *name, const void *core, const void **type, char *why, size_t size)
{
        char path[MODULE_PATH_MAX];
        const struct fl_module *m;
        void *handle;

        if (module_find(name, path)) {
                snprintf(why, size, "the module for it is not installed: there is no %s", path);
                return -ENOPKG;
        }
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        m = handle ? dlsym(handle, "fl_module_v1") : NULL;
        if (!m) {
                snprintf(why, size, "%s", dlerror());
                return -ELIBBAD;
        }
        if (strcmp(m->abi, MODULE_ABI) != 0) {
                snprintf(why, size, "%s is of version %s, but this is %s", path, m->abi,
                         MODULE_ABI);
                return -ELIBBAD;
        }
        m->init(core);
        *type = m->type;
        return 0;
}
