/* SPDX-License-Identifier: Apache-2.0
 *
 * test_uri.c - what a user may name, and what is refused with which words.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "fs/uri.h"

static void is_path(const char *text, const char *path)
{
        const char *why = NULL;
        struct uri u;

        cr_assert_eq(uri_parse(text, &u, &why), 0, "%s: %s", text, why);
        cr_assert_eq(u.scheme, URI_FILE);
        cr_assert_str_eq(u.path, path);
        cr_assert_null(why);
}

static void is_ram(const char *text, uint64_t size)
{
        const char *why = NULL;
        struct uri u;

        cr_assert_eq(uri_parse(text, &u, &why), 0, "%s: %s", text, why);
        cr_assert_eq(u.scheme, URI_RAM);
        cr_assert_eq(u.size, size, "%s: %lu", text, u.size);
}

static void is_refused(const char *text, const char *phrase)
{
        const char *why = NULL;
        struct uri u;

        cr_assert_eq(uri_parse(text, &u, &why), -EINVAL, "%s", text);
        cr_assert_not_null(why);
        cr_assert_not_null(strstr(why, phrase), "%s: %s", text, why);
}

Test(uri, bare_paths_are_literal)
{
        is_path("data.img", "data.img");
        is_path("/var/tmp/a b%20c#d?e", "/var/tmp/a b%20c#d?e");
        is_path("", "");
        is_path("dir/a:b", "dir/a:b"); /* a scheme has no slash */
        is_path("./a:b", "./a:b");
        is_path("/a:b", "/a:b");
        is_path("10:00.log", "10:00.log"); /* nor a digit first */
        is_path(":x", ":x");
        is_path("file", "file");
}

Test(uri, file_scheme)
{
        is_path("file:data.img", "data.img");
        is_path("file:/a:b", "/a:b");
        is_path("file:file:x", "file:x");
        is_path("file:", "");
}

Test(uri, ram_sizes)
{
        is_ram("ram:0", 0);
        is_ram("ram:4097", 4097);
        is_ram("ram:64K", 64 << 10);
        is_ram("ram:16M", 16 << 20);
        is_ram("ram:2g", UINT64_C(2) << 30);
        is_ram("ram:9223372036854775807", INT64_MAX);
}

Test(uri, bad_sizes_are_refused)
{
        is_refused("ram:", "size");
        is_refused("ram:x", "size");
        is_refused("ram:-1", "size");
        is_refused("ram:+1", "size");
        is_refused("ram: 1", "size");
        is_refused("ram:1KB", "size");
        is_refused("ram:1T", "size");
        is_refused("ram:K", "size");
        is_refused("ram:1.5M", "size");
        is_refused("ram:9223372036854775808", "size");
        is_refused("ram:18446744073709551616", "size");
        is_refused("ram:9007199254740992K", "size");
}

Test(uri, unknown_schemes_name_the_known)
{
        is_refused("a:b", "file:");
        is_refused("a:b", "ram:");
        is_refused("a:b", "./");
        is_refused("http://host/x", "unknown scheme");
        is_refused("FILE:x", "unknown scheme");
        is_refused("nbds://e", "unknown scheme");
}

static void is_image(const char *text, const char *type, const char *dev, const char *path,
                     bool norecovery)
{
        const char *why = NULL;
        struct uri u;

        cr_assert_eq(uri_parse(text, &u, &why), 0, "%s: %s", text, why);
        cr_assert_eq(u.scheme, URI_IMAGE);
        cr_expect_str_eq(u.type, type);
        cr_expect_str_eq(u.dev, dev);
        cr_expect_str_eq(u.path, path);
        cr_expect_eq(u.norecovery, norecovery);
}

Test(uri, files_in_images)
{
        is_image("ext4:disk.img#/etc/fstab", "ext4", "disk.img", "/etc/fstab", false);
        is_image("ext4:/dev/sda1#/", "ext4", "/dev/sda1", "/", false);
        is_image("ext4:d#/f?norecovery", "ext4", "d", "/f", true);
        is_image("squashfs:nbd+unix:///e?socket=/run/s#/a b/c:d", "squashfs",
                 "nbd+unix:///e?socket=/run/s", "/a b/c:d", false);
        is_image("ext4:ram:1M#/x", "ext4", "ram:1M", "/x", false);
        is_image("ext4:d#/%23%3F%3f%25", "ext4", "d", "/#??%", false);
}

Test(uri, bad_images_are_refused)
{
        is_refused("ext4:", "TYPE:DEV#/path");
        is_refused("ext4:disk.img", "TYPE:DEV#/path");
        is_refused("ext4:#/f", "TYPE:DEV#/path");
        is_refused("ext4:d#f", "TYPE:DEV#/path");
        is_refused("ext4:d#/a#b", "%23");
        is_refused("ext4:d#/a%", "%25");
        is_refused("ext4:d#/a%2", "%25");
        is_refused("ext4:d#/a%00", "%25");
        is_refused("ext4:d#/a?x", "norecovery");
        is_refused("ext4:d#/a?norecovery?", "norecovery");
        is_refused("squashfs:d#/a?norecovery", "norecovery");
}

Test(uri, too_long_is_refused)
{
        char text[2 * URI_PART_MAX + 64];
        const char *why = NULL;
        struct uri u;

        memset(text, 'a', sizeof(text));
        memcpy(text, "ext4:", 5);
        memcpy(text + 10, "#/", 2);
        text[10 + URI_PART_MAX] = 0;
        cr_expect_eq(uri_parse(text, &u, &why), 0, "%s", why);
        text[10 + URI_PART_MAX] = 'a';
        text[11 + URI_PART_MAX] = 0;
        cr_expect_eq(uri_parse(text, &u, &why), -ENAMETOOLONG);
        memset(text, 'a', sizeof(text));
        memcpy(text, "ext4:", 5);
        memcpy(text + 5 + URI_PART_MAX, "#/f", 4);
        cr_expect_eq(uri_parse(text, &u, &why), -ENAMETOOLONG);
}
