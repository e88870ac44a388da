/* SPDX-License-Identifier: Apache-2.0
 *
 * test_http.c - requests to an engine's sockets, where `metrics` may point, and names in the answers.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/http.h"
#include "live/listen.h"
#include "live/out.h"

static struct http_request rq;

static int parse(const char *text)
{
        return http_parse(text, strlen(text), &rq);
}

Test(http, a_request_is_its_first_line_and_an_empty_one)
{
        cr_expect_eq(parse("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
        cr_expect_str_eq(rq.path, "/a");
        cr_expect_str_eq(rq.query, "");
        cr_expect_not(rq.head);
        cr_expect_eq(parse("HEAD /b?c=d&e=f HTTP/1.0\n\n"), 0);
        cr_expect_str_eq(rq.path, "/b");
        cr_expect_str_eq(rq.query, "c=d&e=f");
        cr_expect(rq.head);
}

Test(http, what_is_not_whole_may_become_so)
{
        const char *whole = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

        for (size_t len = 0; len < strlen(whole); len++)
                cr_expect_eq(http_parse(whole, len, &rq), -EAGAIN, "%zu bytes", len);
        cr_expect_eq(http_parse(whole, strlen(whole), &rq), 0);
}

Test(http, what_can_be_none_is_told_so)
{
        static char longest[HTTP_REQUEST_MAX + 1];

        cr_expect_eq(http_parse("\0\0\n\n", 4, &rq), 400);
        cr_expect_eq(parse("\n\n"), 400);
        cr_expect_eq(parse("GET\n\n"), 400);
        cr_expect_eq(parse("GET /\n\n"), 400);
        cr_expect_eq(parse("GET / FTP/1.0\n\n"), 400);
        cr_expect_eq(parse("GET / HTTP/3\n\n"), 505);
        cr_expect_eq(parse("PUT / HTTP/1.1\n\n"), 405);
        memset(longest, 'a', HTTP_REQUEST_MAX);
        cr_expect_eq(http_parse(longest, HTTP_REQUEST_MAX, &rq), 414);
        memcpy(longest, "GET /", 5);
        memcpy(longest + 100, " HTTP/1.1\n\n", 11);
        cr_expect_eq(http_parse(longest, HTTP_REQUEST_MAX, &rq), 414, "a path that does not fit");
}

Test(http, parameters_are_decoded_within_bounds)
{
        char out[8];

        cr_expect(http_param("a=1&id=x%20y+z&b", "id", out, sizeof(out)));
        cr_expect_str_eq(out, "x y z");
        cr_expect_not(http_param("idx=1&xid=2", "id", out, sizeof(out)));
        cr_expect_not(http_param("id=12345678", "id", out, sizeof(out)), "eight and an end");
        cr_expect_not(http_param("id=%4", "id", out, sizeof(out)));
        cr_expect_not(http_param("id=%4&b=1", "id", out, sizeof(out)), "into the next");
        cr_expect_not(http_param("id=%00", "id", out, sizeof(out)));
}

/* What `metrics` may say. */
static void expect_tcp(const char *text, const char *address, unsigned port)
{
        const char *why = NULL;
        char shown[INET6_ADDRSTRLEN] = "";
        struct sockaddr_in *v4;
        struct sockaddr_in6 *v6;
        struct where w;

        cr_assert_eq(where_parse(text, &w, &why), 0, "%s: %s", text, why);
        cr_assert_eq(w.kind, WHERE_TCP, "%s", text);
        v4 = (struct sockaddr_in *)&w.address;
        v6 = (struct sockaddr_in6 *)&w.address;
        if (w.address.ss_family == AF_INET) {
                inet_ntop(AF_INET, &v4->sin_addr, shown, sizeof(shown));
                cr_expect_eq(ntohs(v4->sin_port), port, "%s", text);
        } else {
                inet_ntop(AF_INET6, &v6->sin6_addr, shown, sizeof(shown));
                cr_expect_eq(ntohs(v6->sin6_port), port, "%s", text);
        }
        cr_expect_str_eq(shown, address, "%s: %s", text, shown);
}

Test(where, only_an_address_leaves_this_machine)
{
        expect_tcp("9100", "127.0.0.1", 9100);
        expect_tcp(":9100", "127.0.0.1", 9100);
        expect_tcp("localhost:1", "127.0.0.1", 1);
        expect_tcp("0.0.0.0:65535", "0.0.0.0", 65535);
        expect_tcp("[::1]:80", "::1", 80);
        expect_tcp("[::]:80", "::", 80);
}

Test(where, a_file_is_what_is_nothing_else)
{
        static const char *const files[] = {
                "m.prom", "./9100", "./a:9100", "/a/b:80", "a:b", "80a"
        };
        const char *why = NULL;
        struct where w;

        for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
                cr_expect_eq(where_parse(files[i], &w, &why), 0, "%s", files[i]);
                cr_expect_eq(w.kind, WHERE_FILE, "%s", files[i]);
                cr_expect_str_eq(w.path, files[i]);
        }
        cr_expect_eq(where_parse("unix:/a:80", &w, &why), 0);
        cr_expect_eq(w.kind, WHERE_UNIX);
        cr_expect_str_eq(w.path, "/a:80");
}

Test(where, nonsense_is_refused_with_a_reason)
{
        static const char *const bad[] = {
                "", "0", ":0", "65536", ":4294967377", "unix:", "example.org:80", "1.2.3:80", "*:80"
        };
        struct where w;

        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
                const char *why = NULL;

                cr_expect_eq(where_parse(bad[i], &w, &why), -EINVAL, "%s", bad[i]);
                cr_expect(why && *why, "%s", bad[i]);
        }
}

Test(out, names_are_quoted_whatever_they_hold)
{
        static const struct {
                const char *name, *json, *label;
        } t[] = {
                { "a b", "\"a b\"", "\"a b\"" },
                { "a\"b\\c", "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\"" },
                { "a\nb\033[m", "\"a\\u000ab\\u001b[m\"", "\"a?b?[m\"" },
                { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                  "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                  "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"" },
                { "\xff", "\"\xef\xbf\xbd\"", "\"\xef\xbf\xbd\"" },
                { "\xc3", "\"\xef\xbf\xbd\"", "\"\xef\xbf\xbd\"" },
                { "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
        };

        for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
                char buf[64];
                struct out o = { .buf = buf, .size = sizeof(buf) };

                out_quoted(&o, t[i].name, true);
                cr_expect_str_eq(buf, t[i].json, "%s", buf);
                o.len = 0;
                out_quoted(&o, t[i].name, false);
                cr_expect_str_eq(buf, t[i].label, "%s", buf);
        }
}

Test(out, what_does_not_fit_is_told)
{
        char buf[8];
        struct out o = { .buf = buf, .size = sizeof(buf) };

        json_open(&o, NULL, '{');
        json_text(&o, "a", "b");
        cr_expect(o.full);
        cr_expect_lt(o.len, sizeof(buf));
}

/* ---- one name, and many who want it ---- */

#define RIVALS 4
#define ROUNDS 300

static struct {
        struct where where;
        pthread_barrier_t all;
        struct listener listener[RIVALS];
        int error[RIVALS];
} rivals;

static void *rival(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        for (unsigned round = 0; round < ROUNDS; round++) {
                pthread_barrier_wait(&rivals.all);
                rivals.error[i] = listen_at(&rivals.listener[i], &rivals.where);
                pthread_barrier_wait(&rivals.all);
        }
        return NULL;
}

/* What a process that was killed leaves behind. */
static void leave_socket(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
}

static int connects(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int error;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        error = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
        close(fd);
        return error;
}

Test(where, a_socket_left_behind_is_taken_over_by_one)
{
        char folder[] = "/var/tmp/fltest-http-XXXXXX", text[64];
        pthread_t thread[RIVALS];
        const char *why;

        cr_assert(mkdtemp(folder));
        snprintf(text, sizeof(text), "unix:%s/m", folder);
        cr_assert_eq(where_parse(text, &rivals.where, &why), 0);
        pthread_barrier_init(&rivals.all, NULL, RIVALS + 1);
        for (uintptr_t i = 0; i < RIVALS; i++)
                cr_assert_eq(pthread_create(&thread[i], NULL, rival, (void *)i), 0);
        for (unsigned round = 0; round < ROUNDS; round++) {
                unsigned have_it = 0;

                leave_socket(rivals.where.path);
                pthread_barrier_wait(&rivals.all);
                pthread_barrier_wait(&rivals.all);
                for (unsigned i = 0; i < RIVALS; i++) {
                        have_it += !rivals.error[i];
                        cr_expect(!rivals.error[i] || rivals.error[i] == -EADDRINUSE, "error %d",
                                  rivals.error[i]);
                }
                cr_expect_eq(have_it, 1, "%u have the name, round %u", have_it, round);
                cr_expect_eq(connects(rivals.where.path), 0, "nobody is there, round %u", round);
                for (unsigned i = 0; i < RIVALS; i++)
                        if (!rivals.error[i])
                                listen_end(&rivals.listener[i]);
                unlink(rivals.where.path);
        }
        for (unsigned i = 0; i < RIVALS; i++)
                pthread_join(thread[i], NULL);
        cr_expect_eq(rmdir(folder), 0, "something is left behind: %s", strerror(errno));
}

/* At the root of all folders as anywhere else. */
Test(where, a_socket_left_behind_at_the_root)
{
        char folder[] = "/var/tmp/fltest-http-XXXXXX", path[64];
        struct listener l = listener_none();
        const char *why;
        int status = -1;
        pid_t child;

        cr_assert(mkdtemp(folder));
        child = fork();
        if (!child) {
                if (chroot(folder) || chdir("/"))
                        _exit(77);
                leave_socket("/m");
                _exit(where_parse("unix:/m", &rivals.where, &why) || listen_at(&l, &rivals.where) ||
                      connects("/m"));
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        snprintf(path, sizeof(path), "%s/m", folder);
        unlink(path);
        rmdir(folder);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                cr_skip_test("not root");
        cr_expect_eq(status, 0);
}
