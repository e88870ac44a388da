/* SPDX-License-Identifier: Apache-2.0
 *
 * quantity.h - sizes and times as people write them: 64M, 4K, 100us. One grammar for options,
 * URIs and fault specifications. Units of sizes are powers of 1024 in either case.
 */
#ifndef FL_UTIL_QUANTITY_H
#define FL_UTIL_QUANTITY_H

#include "util/base.h"

/* Each takes what it understands off the front of *s. False: it is not one, or does not fit into
 * 64 bits; *s and *out are then undefined. */
bool take_number(const char **s, uint64_t *out);
bool take_size(const char **s, uint64_t *out); /* bytes; K M G or nothing */
bool take_time(const char **s, uint64_t *out); /* nanoseconds; ns us ms s, one of them */

/* The whole text is one size. */
bool parse_size(const char *text, uint64_t *out);

#endif
