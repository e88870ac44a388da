/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_uri.c - the parser of URIs: it refuses with a phrase, or all it has found is within bounds.
 */
#include <errno.h>

#include "driver/driver.h"
#include "fs/uri.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = fuzz_text(data, size);
        const char *why = NULL;
        static struct uri u;
        int err = uri_parse(text, &u, &why);

        if (err) {
                must((err == -EINVAL || err == -ENAMETOOLONG) && why && *why);
        } else if (u.scheme == URI_IMAGE) {
                must(u.path == u.inner && *u.inner == '/' && u.type);
                must(strlen(u.inner) < sizeof(u.inner) && strlen(u.dev) < sizeof(u.dev) && *u.dev);
                must(!strchr(u.dev, '#'));
                (void)device_module(u.dev);
        } else if (u.scheme == URI_FILE) {
                must(u.path >= text && u.path <= text + size);
        }
        free(text);
        return 0;
}
