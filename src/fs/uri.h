/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.h - what the user may name.
 *
 *   PATH, file:PATH            a host file
 *   ram:SIZE                   memory, as a file
 *   nbd://..., nbd+unix://...  a whole device, as a file (driver/nbd/target.c knows the rest)
 *   ext4:DEV#/path[?norecovery], squashfs:DEV#/path
 *                              a file in an image on a device (driver/open.c knows what DEV may be)
 *
 * A bare PATH is taken literally. What looks like a scheme (util/scheme.h) is one: a path of that
 * form needs ./ before it. The first # ends DEV. Within the path %23, %3F and %25 are # ? and %,
 * and an option may follow a ?.
 */
#ifndef FL_FS_URI_H
#define FL_FS_URI_H

#include "util/base.h"

enum uri_scheme { URI_FILE, URI_RAM, URI_IMAGE, URI_DEVICE };

#define URI_PART_MAX 4096 /* PATH_MAX, the NUL included */

struct uri {
        enum uri_scheme scheme;
        const char *path;         /* URI_FILE: in the text that was parsed. URI_IMAGE: inner */
        uint64_t size;            /* URI_RAM, bytes */
        const char *type;         /* URI_IMAGE: "ext4" or "squashfs", which is static */
        bool norecovery;          /* URI_IMAGE */
        char dev[URI_PART_MAX];   /* URI_IMAGE: the device's name */
        char inner[URI_PART_MAX]; /* URI_IMAGE: the path, which begins with / */
};

/* 0, or -EINVAL or -ENAMETOOLONG, then *why is a static phrase for people. */
int uri_parse(const char *text, struct uri *out, const char **why);

#endif
