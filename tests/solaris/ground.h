/* SPDX-License-Identifier: Apache-2.0
 *
 * ground.h - a file, an engine under one of Solaris's policies, and a mapping of the file.
 *
 * Pages are Solaris's here, 8 KiB, and so is UFS's block; a cluster is 128 KiB, 16 of them.
 */
#ifndef TESTS_SOLARIS_GROUND_H
#define TESTS_SOLARIS_GROUND_H

#include <string.h>

#include "harness.h"

#define UNIT 8192ul
#define UNITS 128u
#define CACHE (16ul << 20)

struct ground {
        struct fl_engine *e;
        struct fl_file *f;
        char *p; /* all of the file */
        const char *path;
};

/* page_size: 0: the policy's */
struct ground start_ground_with(const char *policy, const char *name, int prot, int flags,
                                uint64_t page_size);
struct ground start_ground(const char *name, int prot, int flags);
/* With parameters (0, NULL: the default). */
struct ground start_ground_tuned(const char *name, int prot, uint64_t cache, const char *tune);
void end_ground(struct ground *g);

/* A load from each half of it, the second first: one fault may do for both. */
void touch_unit(struct ground *g, unsigned unit);
void store_unit(struct ground *g, unsigned unit);
void advise_units(struct ground *g, unsigned unit, unsigned nr, int advice);
unsigned long count_faults(struct ground *g);

/* Units in memory, as runs: "0-2 7". Halves differ: "?". */
const char *in_memory(struct ground *g, char *text, size_t size);
#define expect_in_memory(g, expected, what)                                                        \
        do {                                                                                       \
                char text_[1024];                                                                  \
                const char *is_ = in_memory(g, text_, sizeof(text_));                              \
                                                                                                   \
                expect(!strcmp(is_, expected), "%s: in memory is %s, not %s", what, is_,           \
                       expected);                                                                  \
        } while (0)

/* The tests of each file. */
void test_getpage(void);
void test_reads(void);
void test_segvn(void);
void test_mapping(void);
void test_book(void);

#endif
