/* SPDX-License-Identifier: Apache-2.0
 *
 * test_linux_policy.c - what else the linux policy says, and the arithmetic of windows.
 */
#include <criterion/criterion.h>

#include "policy/policy.h"
#include "policy/readahead.h"

Test(linux_policy, found_by_name_and_words_for_all)
{
        cr_assert_eq(policy_find(NULL), &adaptive_policy);
        cr_assert_eq(policy_find(""), &adaptive_policy);
        cr_assert_eq(policy_find("linux"), &linux_policy);
        cr_assert_eq(policy_find("linux-5.13"), &linux_5_13_policy);
        cr_assert_null(policy_find("lru"));
        cr_assert_str_eq(POLICY_NAMES, "adaptive, linux, linux-5.13, solaris, solaris-book");
        cr_assert_eq(linux_policy.reclaim, &linux_reclaim);
        cr_assert_eq(linux_policy.fault_around, 16);
        cr_assert_eq(linux_policy.background_percent, 10);
        cr_assert_eq(linux_policy.dirty_percent, 20);
        cr_assert_eq(linux_policy.writeback_ms, 5000);
        cr_assert_eq(linux_policy.expire_ms, 30000);
        for (unsigned i = 0; i < RA_NR_WHY; i++)
                cr_assert_not_null(ra_why_text((enum ra_why)i));
        cr_assert_str_eq(ra_why_text((enum ra_why)RA_NR_WHY), "unknown");
}

/* The next window of a stream: four times as large while it is small, then twice, then the most. */
Test(linux_policy, how_windows_grow)
{
        cr_assert_eq(ra_next_size(4, 128), 16);
        cr_assert_eq(ra_next_size(7, 128), 28);
        cr_assert_eq(ra_next_size(8, 128), 16);
        cr_assert_eq(ra_next_size(64, 128), 128);
        cr_assert_eq(ra_next_size(65, 128), 128);
}
