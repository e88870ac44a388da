/* SPDX-License-Identifier: Apache-2.0
 *
 * test_tune.c - the parameters of Solaris's kernel: what is read, what is refused, and what follows from
 * what is given.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "policy/pageout.h"

#define MEMORY 4096 /* pages of 8 KiB: 32 MiB */
#define PAGE 8192u

static struct policy_tune t;
static char why[128];

static int parse(const char *text)
{
        *why = '\0';
        return tune_parse(text, MEMORY, PAGE, &t, why, sizeof(why));
}

static uint64_t value(enum tune_parameter p)
{
        return tune_complete(&t, MEMORY, PAGE).value[p];
}

Test(tune, nothing_given)
{
        cr_assert_eq(parse(NULL), 0);
        cr_assert_eq(parse(""), 0);
        cr_assert_eq(t.given, 0);
        cr_assert_eq(value(TUNE_autoup), 30);
        cr_assert_eq(value(TUNE_tune_t_fsflushr), 1);
        cr_assert_eq(value(TUNE_dopageflush), 1);
        cr_assert_eq(value(TUNE_lotsfree), 64); /* a 64th, and 512K */
        cr_assert_eq(value(TUNE_desfree), 32);
        cr_assert_eq(value(TUNE_minfree), 16);
        cr_assert_eq(value(TUNE_throttlefree), 16);
        cr_assert_eq(value(TUNE_fastscan), 2048);
        cr_assert_eq(value(TUNE_slowscan), 100);
        cr_assert_eq(value(TUNE_handspreadpages), 2048);
        cr_assert_eq(value(TUNE_maxpgio), 40);
        cr_assert_eq(value(TUNE_min_percent_cpu), 4);
        cr_assert_eq(value(TUNE_max_percent_cpu), 80);
        cr_assert_eq(value(TUNE_fltadvice), 1);
        cr_assert_eq(value(TUNE_freebehind), 1);
        cr_assert_eq(value(TUNE_cache_read_ahead), 0);
}

Test(tune, what_is_given_counts_and_the_rest_follows)
{
        cr_assert_eq(parse("lotsfree=200,autoup=10,fastscan=500"), 0, "%s", why);
        cr_assert_eq(value(TUNE_lotsfree), 200);
        cr_assert_eq(value(TUNE_desfree), 100);
        cr_assert_eq(value(TUNE_minfree), 50);
        cr_assert_eq(value(TUNE_autoup), 10);
        cr_assert_eq(value(TUNE_slowscan), 50);
        cr_assert_eq(value(TUNE_handspreadpages), 500);
        cr_assert_eq(parse("lotsfree=2M,minfree=16K"), 0, "%s", why);
        cr_assert_eq(value(TUNE_lotsfree), 256);
        cr_assert_eq(value(TUNE_minfree), 2);
        cr_assert_eq(parse("tune_t_fsflushr=60"), 0, "autoup is no less: %s", why);
        cr_assert_eq(value(TUNE_autoup), 60);
        cr_assert_eq(parse("dopageflush=0"), 0, "%s", why);
        cr_assert_eq(value(TUNE_dopageflush), 0);
}

Test(tune, refused_by_name)
{
        static const char *const wrong[][2] = {
                { "nosuch=1", "nosuch" },
                { "autoup", "autoup" },
                { "autoup=", "autoup" },
                { "autoup=x", "autoup" },
                { "autoup=5x", "autoup" },
                { "autoup=10K", "autoup" },
                { "autoup=0", "autoup" },
                { "autoup=-1", "autoup" },
                { "autoup=99999999999999999999", "autoup" },
                { "autoup=1,autoup=1", "twice" },
                { "autoup=5,", "no parameter" },
                { ",", "no parameter" },
                { "=5", "no parameter" },
                { "autoup=5,tune_t_fsflushr=6", "tune_t_fsflushr" },
                { "dopageflush=2", "dopageflush" },
                { "lotsfree=0", "lotsfree" },
                { "lotsfree=4K", "lotsfree" }, /* less than a page */
                { "lotsfree=2049", "lotsfree" },
                { "lotsfree=17M", "lotsfree" },
                { "desfree=65", "desfree" },
                { "minfree=33", "minfree" },
                { "throttlefree=65", "throttlefree" },
                { "slowscan=11,fastscan=10", "slowscan" },
                { "handspreadpages=4096", "handspreadpages" },
                { "maxpgio=0", "maxpgio" },
                { "min_percent_cpu=0", "min_percent_cpu" },
                { "min_percent_cpu=50,max_percent_cpu=40", "min_percent_cpu" },
                { "max_percent_cpu=101", "max_percent_cpu" },
                { "fltadvice=2", "fltadvice" },
                { "freebehind=2", "freebehind" },
                { "cache_read_ahead=yes", "cache_read_ahead" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                cr_assert_eq(parse(wrong[i][0]), -EINVAL, "%s", wrong[i][0]);
                cr_assert(strstr(why, wrong[i][1]), "%s: %s", wrong[i][0], why);
        }
}

/* A cache that shrinks under what was given: nothing that cannot be. */
Test(tune, cut_to_fit)
{
        struct pageout_limits l;

        cr_assert_eq(parse("lotsfree=1000,desfree=900,minfree=800,handspreadpages=4000"), 0, "%s",
                     why);
        l = pageout_limits_tuned(&t, 64, PAGE);
        cr_assert_eq(l.lotsfree, 32);
        cr_assert_leq(l.desfree, l.lotsfree);
        cr_assert_leq(l.minfree, l.desfree);
        cr_assert_eq(l.handspread, 63);
}

Test(tune, text_is_read_again)
{
        struct policy_tune all, again;
        char text[512], small[16];
        int n;

        cr_assert_eq(parse("lotsfree=200,maxpgio=100"), 0);
        all = tune_complete(&t, MEMORY, PAGE);
        n = tune_text(&all, text, sizeof(text));
        cr_assert_eq((size_t)n, strlen(text));
        cr_assert_eq(tune_parse(text, MEMORY, PAGE, &again, why, sizeof(why)), 0, "%s", why);
        cr_assert_eq(memcmp(all.value, again.value, sizeof(all.value)), 0, "%s", text);
        cr_assert_eq(all.given, again.given);
        cr_assert_eq(tune_text(&all, small, sizeof(small)), n);
        cr_assert_eq(strlen(small), sizeof(small) - 1);
        cr_assert_eq(tune_text(&all, NULL, 0), n);
}
