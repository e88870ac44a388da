/* SPDX-License-Identifier: Apache-2.0
 *
 * nbd.c - driver/nbd as a module.
 */
#include "driver/nbd/nbd.h"

#include "fs/module.h"

MODULE(nbd_type);
