/* SPDX-License-Identifier: Apache-2.0
 *
 * squashfs.c - the module for files in squashfs images.
 */
#include "fs/squashfs/squashfs.h"

MODULE(squashfs_type);
