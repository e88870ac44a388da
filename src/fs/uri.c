/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.c - see uri.h.
 */
#include "fs/uri.h"

#include <errno.h>
#include <string.h>

#include "util/quantity.h"
#include "util/scheme.h"

static const char *const image_types[] = { "ext4", "squashfs" };
static const char *const device_schemes[] = { "nbd", "nbd+unix" };

static int refuse(int error, const char **why, const char *phrase)
{
        *why = phrase;
        return error;
}

/* The character that %XX stands for, 0 if it is none of those that may be written so. */
static char escaped(const char *text)
{
        static const struct {
                char code[3], meant;
        } escapes[] = { { "23", '#' }, { "3F", '?' }, { "3f", '?' }, { "25", '%' } };

        for (unsigned i = 0; i < ARRAY_SIZE(escapes); i++)
                if (!strncmp(text + 1, escapes[i].code, 2))
                        return escapes[i].meant;
        return 0;
}

/* The path within the image, up to a ? or the end. *end: there. */
static int parse_inner(const char *text, struct uri *out, const char **end, const char **why)
{
        size_t n = 0;

        while (*text && *text != '?') {
                char c = *text == '%' ? escaped(text) : *text;

                if (*text == '#' || !c)
                        return refuse(-EINVAL, why,
                                      "in the path # ? and % are written %23, %3F and %25");
                if (n == sizeof(out->inner) - 1)
                        return refuse(-ENAMETOOLONG, why, "the path is too long");
                out->inner[n++] = c;
                text += *text == '%' ? 3 : 1;
        }
        out->inner[n] = 0;
        *end = text;
        return 0;
}

static int parse_image(const char *rest, struct uri *out, const char **why)
{
        const char *hash = strchr(rest, '#');
        int err;

        out->scheme = URI_IMAGE;
        out->path = out->inner;
        if (!hash || hash == rest || hash[1] != '/')
                return refuse(-EINVAL, why,
                              "a file in an image is named TYPE:DEV#/path, as in "
                              "ext4:disk.img#/etc/fstab");
        if ((size_t)(hash - rest) >= sizeof(out->dev))
                return refuse(-ENAMETOOLONG, why, "the device's name is too long");
        memcpy(out->dev, rest, (size_t)(hash - rest));
        out->dev[hash - rest] = 0;
        err = parse_inner(hash + 1, out, &rest, why);
        if (err || !*rest)
                return err;
        out->norecovery = !strcmp(rest, "?norecovery") && !strcmp(out->type, "ext4");
        return out->norecovery ? 0 : refuse(-EINVAL, why, "the one option is ?norecovery, of ext4");
}

int uri_parse(const char *text, struct uri *out, const char **why)
{
        size_t n = scheme_length(text);

        out->scheme = URI_FILE;
        out->path = text;
        out->size = 0;
        out->type = NULL;
        out->norecovery = false;
        *out->dev = *out->inner = 0;
        if (!n)
                return 0;
        if (scheme_is(text, "file")) {
                out->path = text + n + 1;
                return 0;
        }
        if (scheme_is(text, "ram")) {
                out->scheme = URI_RAM;
                out->path = NULL;
                if (parse_size(text + n + 1, &out->size) && out->size <= INT64_MAX)
                        return 0;
                return refuse(-EINVAL, why, "ram: takes a size in bytes, or with K, M or G");
        }
        for (unsigned i = 0; i < ARRAY_SIZE(image_types); i++)
                if (scheme_is(text, image_types[i])) {
                        out->type = image_types[i];
                        return parse_image(text + n + 1, out, why);
                }
        for (unsigned i = 0; i < ARRAY_SIZE(device_schemes); i++)
                if (scheme_is(text, device_schemes[i])) {
                        out->scheme = URI_DEVICE;
                        return 0;
                }
        return refuse(-EINVAL, why,
                      "unknown scheme; known are file:, ram:, nbd:, nbd+unix:, ext4: and squashfs: "
                      "(a path with a colon needs ./ before it)");
}
