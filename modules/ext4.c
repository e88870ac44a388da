/* SPDX-License-Identifier: Apache-2.0
 *
 * ext4.c - fs/ext4 as a module.
 */
#include "fs/ext4/ext4.h"

MODULE(ext4_type);
