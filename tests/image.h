/* SPDX-License-Identifier: Apache-2.0
 *
 * image.h - ext4 images for tests: made by mke2fs(8), looked at by e2fsck(8) and debugfs(8).
 */
#ifndef FAULTLINE_TESTS_IMAGE_H
#define FAULTLINE_TESTS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

/* Ends the test with 77 where the tools or the module are missing. */
void image_need_tools(void);
/* A folder for the image's files; options are mke2fs's. */
struct image *image_make(const char *options, uint64_t bytes);
void image_add(struct image *image, const char *name, const void *bytes, size_t size);
/* The image itself, of what was added. */
void image_finish(struct image *image);
const char *image_path(const struct image *image);
/* Another image's name for the same files: what e2fsck and debugfs are to look at. */
void image_use(struct image *image, const char *path);
/* e2fsck -fn says nothing. */
bool image_is_clean(const struct image *image);
/* The exit status of e2fsck with these options; its words go to the image's log. */
int image_check(const struct image *image, const char *options);
/* What it said last, on one line; good until the next call. */
const char *image_log(struct image *image);
/* A file holds exactly these bytes. */
void image_expect(const struct image *image, const char *name, const void *bytes, size_t size);
/* The bytes of so many files, all by one debugfs; NULL of one that cannot be read. free() them. */
void image_read(const struct image *image, unsigned nr, const char *const names[], void *bytes[],
                size_t sizes[]);
/* A command of debugfs -w. */
void image_debugfs(const struct image *image, const char *command);
/* Removes everything. */
void image_free(struct image *image);

#endif
