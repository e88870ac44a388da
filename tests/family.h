/* SPDX-License-Identifier: Apache-2.0
 *
 * family.h - what the tests of forked children share.
 */
#ifndef FAULTLINE_TESTS_FAMILY_H
#define FAULTLINE_TESTS_FAMILY_H

#include <stdlib.h>
#include <sys/types.h>

#include "harness.h"

/* gcc's AddressSanitizer does not hold its allocator's locks across fork(2): a child in which a thread
 * begins, as one that inherits does, may wait for one for ever. */
#ifdef __SANITIZE_ADDRESS__
#define CHILDREN_MAY_HANG true
#else
#define CHILDREN_MAY_HANG false
#endif

/* An engine whose children inherit; the test is skipped where the MMU cannot serve them. */
struct fl_engine *open_family(struct fl_engine_config config);

/* fork(): fn(arg) runs in the child, whose exit status is what it returns (0 to 100). A child that is
 * not done after two minutes is killed, which counts as failed. */
pid_t start_child(int (*fn)(void *), void *arg);
/* It has ended; its status is to be `status`. */
void expect_child(pid_t pid, int status, const char *what);
/* The one end of a pipe waits for the word of the other. */
void wait_for_word(const int *pipe);
void give_word(const int *pipe);
/* The number of a page whose stamp in p is not of this version, of pages [0, nr), counted from 1; or
 * 0. At most 100. */
int wrong_page(const char *p, uint64_t nr, uint64_t version);
/* No descriptor nor thread more than at the start of the process: waits for it, up to the end of the
 * test's time. */
void expect_nothing_left(unsigned fds, unsigned threads);

#endif
