/* SPDX-License-Identifier: Apache-2.0
 *
 * test_nbd.c - the parts of the NBD driver that need no server: what a URI says, and the log of
 * writes that are not durable yet. The rest is tested against servers (tests/cli/remote_*.sh).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "driver/nbd/nbd.h"

#define SECOND UINT64_C(1000000000)

/* ---- URIs ---- */

static void is_target(const char *uri, bool local, const char *host, const char *port,
                      const char *export_name)
{
        struct nbd_target t;
        const char *why;

        cr_assert_eq(nbd_target_parse(&t, uri, &why), 0, "%s: %s", uri, why);
        cr_expect_eq(t.local, local, "%s", uri);
        cr_expect_str_eq(t.host, host, "%s", uri);
        cr_expect_str_eq(t.port, port, "%s", uri);
        cr_expect_str_eq(t.export_name, export_name, "%s", uri);
        cr_expect_eq(t.timeout_ns, 30 * SECOND);
        cr_expect_eq(t.connect_ns, 10 * SECOND);
        cr_expect_eq(t.connections, 4);
}

Test(nbd, says_where)
{
        is_target("nbd://host/disk", false, "host", "10809", "disk");
        is_target("nbd://host", false, "host", "10809", "");
        is_target("nbd://host:99/", false, "host", "99", "");
        is_target("nbd://[::1]/a/b", false, "::1", "10809", "a/b");
        is_target("nbd://[::1]:nbd/x%20y", false, "::1", "nbd", "x y");
        is_target("nbd+unix:///?socket=s", true, "s", "", "");
        is_target("nbd+unix://?socket=s", true, "s", "", "");
        is_target("nbd+unix:///disk?socket=/run/my%20s", true, "/run/my s", "", "disk");
        is_target("nbd+unix:////disk?socket=s", true, "s", "", "/disk");
}

Test(nbd, says_how_long)
{
        struct nbd_target t;
        const char *why;

        cr_assert_eq(nbd_target_parse(&t, "nbd://h/?timeout=2s&connect=300ms&connections=8", &why),
                     0);
        cr_expect_eq(t.timeout_ns, 2 * SECOND);
        cr_expect_eq(t.connect_ns, 300000000);
        cr_expect_eq(t.connections, 8);
}

Test(nbd, refuses_what_it_does_not_know)
{
        static const char *const wrong[] = {
                "nbd:",
                "nbd:host",
                "nbd:///disk",
                "nbd://:1/",
                "nbd://h:/",
                "nbd://[::1/",
                "nbd://[::1]x/",
                "nbd://u@h/",
                "nbd://h/%",
                "nbd://h/%4",
                "nbd://h/%4g",
                "nbd://h/%00",
                "nbd://h/?",
                "nbd://h/?x",
                "nbd://h/?x=y",
                "nbd://h/?socket=s",
                "nbd://h/?timeout=",
                "nbd://h/?timeout=5",
                "nbd://h/?timeout=0s",
                "nbd://h/?timeout=5s&",
                "nbd://h/?connections=0",
                "nbd://h/?connections=1x",
                "nbd+unix:///",
                "nbd+unix:///?socket=",
                "nbd+unix://h/?socket=s",
        };
        char uri[8192];
        struct nbd_target t;
        const char *why;

        for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
                why = NULL;
                cr_expect_eq(nbd_target_parse(&t, wrong[i], &why), -EINVAL, "%s", wrong[i]);
                cr_expect_not_null(why, "%s", wrong[i]);
        }
        memset(uri, 'a', sizeof uri);
        uri[sizeof uri - 1] = 0;
        memcpy(uri, "nbd://", 6);
        cr_expect_eq(nbd_target_parse(&t, uri, &why), -EINVAL);
        memcpy(uri, "nbd://h/", 8);
        cr_expect_eq(nbd_target_parse(&t, uri, &why), -EINVAL);
        memcpy(uri, "nbd+unix:///?socket=", 20);
        cr_expect_eq(nbd_target_parse(&t, uri, &why), -EINVAL);
        uri[20 + 107] = 0;
        cr_expect_eq(nbd_target_parse(&t, uri, &why), 0);
        uri[20 + 107] = 'a';
        uri[20 + 108] = 0;
        cr_expect_eq(nbd_target_parse(&t, uri, &why), -EINVAL);
}

/* ---- the log ---- */

static struct nbd_record *write_logged(struct nbd_log *log, uint64_t offset, uint32_t len)
{
        struct nbd_record *r = nbd_log_begin(log, IO_WRITE, offset, len);

        cr_assert_not_null(r);
        memset(r->data, (char)offset, len);
        nbd_log_replied(log, r);
        return r;
}

/* The offsets of what would be written again. */
static void expect_log(struct nbd_log *log, unsigned n, const uint64_t *offsets)
{
        struct nbd_record *r;
        uint64_t at = 0;

        for (unsigned i = 0; i < n; i++) {
                r = nbd_log_next(log, &at);
                cr_assert_not_null(r, "%u of %u", i, n);
                cr_expect_eq(r->offset, offsets[i]);
                cr_expect_eq(r->data[0], (char)offsets[i]);
                cr_expect_eq(r->data[r->len - 1], (char)offsets[i]);
        }
        cr_assert_null(nbd_log_next(log, &at));
}

Test(nbd, the_log_keeps_what_was_answered_until_a_flush)
{
        struct nbd_record *late, *failed;
        struct nbd_log log = { 0 };
        uint64_t mark;

        cr_assert_eq(nbd_log_init(&log, true), 0);
        cr_expect_not(nbd_log_dirty(&log));
        write_logged(&log, 1, 100);
        late = nbd_log_begin(&log, IO_WRITE, 2, 100);
        memset(late->data, 2, 100);
        failed = nbd_log_begin(&log, IO_WRITE, 3, 100);
        write_logged(&log, 4, 100);
        expect_log(&log, 2, (uint64_t[]){ 1, 4 });
        mark = nbd_log_mark(&log);
        nbd_log_replied(&log, late); /* after the flush was sent: not covered */
        nbd_log_drop(&log, failed);
        write_logged(&log, 5, 100);
        expect_log(&log, 4, (uint64_t[]){ 1, 2, 4, 5 });
        nbd_log_flushed(&log, mark);
        expect_log(&log, 2, (uint64_t[]){ 2, 5 });
        cr_expect(nbd_log_dirty(&log));
        nbd_log_flushed(&log, nbd_log_mark(&log));
        expect_log(&log, 0, NULL);
        cr_expect_not(nbd_log_dirty(&log));
        nbd_log_free(&log);
}

Test(nbd, without_a_flush_nothing_is_kept)
{
        struct nbd_log log = { 0 };

        cr_assert_eq(nbd_log_init(&log, false), 0);
        write_logged(&log, 1, 100);
        cr_expect_not(nbd_log_dirty(&log));
        expect_log(&log, 0, NULL);
        nbd_log_free(&log);
}

/* Both rings go round, and no record gets bytes of another that is needed. */
Test(nbd, the_log_goes_round)
{
        const uint32_t len = 3u << 20;
        uint64_t first = 1, next = 1, at;
        struct nbd_log log = { 0 };
        struct nbd_record *r;

        cr_assert_eq(nbd_log_init(&log, true), 0);
        for (unsigned round = 0; round < 40; round++) {
                while ((r = nbd_log_begin(&log, IO_WRITE, next, len))) {
                        memset(r->data, (char)next++, len);
                        nbd_log_replied(&log, r);
                }
                cr_assert_geq(next - first, 9);
                for (at = 0; (r = nbd_log_next(&log, &at)); first++) {
                        cr_assert_eq(r->offset, first);
                        cr_assert_eq(r->data[0], (char)first);
                        cr_assert_eq(r->data[len - 1], (char)first);
                }
                cr_assert_eq(first, next);
                cr_expect(nbd_log_flushed(&log, nbd_log_mark(&log)), "somebody waits for room");
        }
        for (unsigned i = 0; i < NBD_LOG_RECORDS; i++)
                cr_assert_not_null(nbd_log_begin(&log, IO_DISCARD, i, 1u << 31));
        cr_expect_null(nbd_log_begin(&log, IO_DISCARD, 0, 1));
        nbd_log_free(&log);
}

/*
 *  MiB 0     3     6                             30  32
 *      |  free     | eight that are kept         |   |     the next begins at 0: what it has no room
 *      `-- 1, 2 were flushed                     end       for at the end of the ring is lost to it
 */
Test(nbd, bytes_that_are_needed_are_not_the_next_ones)
{
        const uint32_t len = 3u << 20;
        struct nbd_log log = { 0 };
        struct nbd_record *r;
        uint64_t mark;

        cr_assert_eq(nbd_log_init(&log, true), 0);
        write_logged(&log, 1, len);
        write_logged(&log, 2, len);
        mark = nbd_log_mark(&log);
        for (uint64_t n = 3; n <= 10; n++)
                write_logged(&log, n, len);
        nbd_log_flushed(&log, mark);
        cr_expect_null(nbd_log_begin(&log, IO_WRITE, 11, 7u << 20));
        r = nbd_log_begin(&log, IO_WRITE, 11, 6u << 20);
        cr_assert_not_null(r);
        memset(r->data, 11, 6u << 20);
        nbd_log_replied(&log, r);
        expect_log(&log, 9, (uint64_t[]){ 3, 4, 5, 6, 7, 8, 9, 10, 11 });
        cr_expect_null(nbd_log_begin(&log, IO_WRITE, 12, 1));
        nbd_log_free(&log);
}
