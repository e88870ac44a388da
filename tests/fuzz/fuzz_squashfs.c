/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_squashfs.c - squashfs images that lie. The module's files are linked in, so that they are
 * covered; libsquashfs is Debian's.
 */
#include "fs/squashfs/squashfs.h"
#include "image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct image_fuzz f;

        if (!f.type)
                image_fuzz_start(&f, &squashfs_type);
        image_fuzz_one(&f, data, size);
        return 0;
}
