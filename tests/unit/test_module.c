/* SPDX-License-Identifier: Apache-2.0
 *
 * test_module.c - finding and loading a part of the program, and what is said when it is not there.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/module.h"

static char why[256];

static int load(const char *name, const void **type)
{
        *why = 0;
        return module_load(name, &fl_core_table, type, why, sizeof(why));
}

Test(module, calls_the_core_through_the_table)
{
        const void *type = NULL;

        if (!getenv("FAULTLINE_PROBE"))
                cr_skip("FAULTLINE_PROBE does not say where the probe was built");
        setenv("FAULTLINE_MODULES", getenv("FAULTLINE_PROBE"), 1);
        for (int again = 0; again < 2; again++) {
                cr_assert_eq(load("probe", &type), 0, "%s", why);
                cr_expect_eq((*(uint64_t(*const *)(void))type)(), 4096);
        }
}

Test(module, is_named_when_missing)
{
        char path[MODULE_PATH_MAX];
        const void *type;

        unsetenv("FAULTLINE_MODULES");
        cr_expect_eq(load("no-such", &type), -ENOPKG);
        cr_expect(strstr(why, "faultline-no-such.so"), "%s", why);
        cr_expect_eq(module_find("no-such", path), -ENOPKG);
        setenv("FAULTLINE_MODULES", "", 1);
        cr_expect_eq(module_find("probe", path), -ENOPKG, "%s", path);
}

Test(module, what_is_none_is_refused)
{
        char folder[] = "/tmp/fl-module-XXXXXX", path[64];
        const void *type;
        FILE *f;

        cr_assert_not_null(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/faultline-text.so", folder);
        f = fopen(path, "w");
        fputs("not a shared object\n", f);
        fclose(f);
        setenv("FAULTLINE_MODULES", folder, 1);
        cr_expect_eq(load("text", &type), -ELIBBAD);
        cr_expect(strstr(why, "faultline-text.so"), "%s", why);
        unlink(path);
        rmdir(folder);
}
