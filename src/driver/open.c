/* SPDX-License-Identifier: Apache-2.0
 *
 * open.c - from the name of a device to the device: PATH, file:PATH, ram:SIZE, and what modules
 * offer.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "driver/device.h"
#include "util/module.h"
#include "util/quantity.h"
#include "util/scheme.h"

/* Which module knows a scheme. */
static const struct {
        const char *scheme, *module;
} schemes[] = {
        { "nbd", "nbd" },
        { "nbd+unix", "nbd" },
};

const char *device_module(const char *uri)
{
        for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++)
                if (scheme_is(uri, schemes[i].scheme))
                        return schemes[i].module;
        return NULL;
}

const char *driver_why(struct driver_env *env, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(env->why, sizeof(env->why), format, args);
        va_end(args);
        return env->why;
}

static int open_by_module(struct driver_env *env, const char *module, const char *uri, int oflags,
                          struct device **out, const char **why)
{
        const struct driver_type *type;
        const void *found;
        int err = module_load(module, env->core, &found, env->why, sizeof(env->why));

        if (err) {
                *why = env->why;
                return err;
        }
        type = found;
        return type->open(env, uri, oflags, out, why);
}

static int open_ram(struct driver_env *env, const char *size_text, struct device **out,
                    const char **why)
{
        uint64_t size;

        if (parse_size(size_text, &size) && size <= INT64_MAX)
                return device_open_ram(env, size, out);
        *why = "ram: takes a size in bytes, or with K, M or G";
        return -EINVAL;
}

int device_open_uri(struct driver_env *env, const char *uri, int oflags, struct device **out,
                    const char **why)
{
        const char *module = device_module(uri);

        *why = NULL;
        if (module)
                return open_by_module(env, module, uri, oflags, out, why);
        if (scheme_is(uri, "ram"))
                return open_ram(env, uri + 4, out, why);
        if (scheme_is(uri, "file"))
                return device_open_file(env, uri + 5, oflags, out);
        if (!scheme_length(uri))
                return device_open_file(env, uri, oflags, out);
        *why = "unknown device; known are PATH, file:, ram:, nbd: and nbd+unix:";
        return -EINVAL;
}

void device_id(const struct device *dev, const char *uri, char *out, size_t size)
{
        int fd = device_fd(dev);
        struct stat st;

        if (fd < 0 || fstat(fd, &st))
                snprintf(out, size, "%s", uri);
        else if (S_ISBLK(st.st_mode))
                snprintf(out, size, "block %u:%u", major(st.st_rdev), minor(st.st_rdev));
        else
                snprintf(out, size, "file %ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
}
