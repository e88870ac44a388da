/* SPDX-License-Identifier: Apache-2.0
 *
 * test_errors.c - what cannot be opened: errno for programs, one clear sentence for people, and
 * configs of programs built against another version of the library.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64];

static void start(void)
{
        strcpy(dir, "/tmp/faultline-errors-XXXXXX");
        cr_assert_not_null(mkdtemp(dir));
        cr_assert_eq(chdir(dir), 0);
}

static void stop(void)
{
        char command[128];

        snprintf(command, sizeof command, "rm -rf %s", dir);
        cr_assert_eq(chdir("/"), 0);
        cr_assert_eq(system(command), 0);
}

TestSuite(errors, .init = start, .fini = stop, .timeout = 30);

/* "[URI: ]what was tried: reason", in one line, with the words that help. */
static void check_sentence(const char *uri, const char *tried, const char *helps)
{
        const char *s = fl_strerror();
        char begin[256];

        snprintf(begin, sizeof begin, "%s%s%s: ", uri ? uri : "", uri ? ": " : "", tried);
        cr_assert_eq(strncmp(s, begin, strlen(begin)), 0, "\"%s\" does not begin with \"%s\"", s,
                     begin);
        cr_assert_not_null(strstr(s + strlen(begin), helps), "\"%s\" does not say \"%s\"", s,
                           helps);
        cr_assert_null(strchr(s, '\n'), "more than a line: \"%s\"", s);
        cr_assert_neq(s[strlen(s) - 1], '.', "\"%s\"", s);
        cr_assert_leq(strlen(s), 250);
        cr_assert_null(strstr(s, "Success"), "\"%s\"", s);
}

/* ---- engines ---- */

static struct fl_engine_config config(void)
{
        return (struct fl_engine_config){ .size = sizeof(struct fl_engine_config),
                                          .cache = 1 << 20 };
}

static void engine_fails(const struct fl_engine_config *cfg, int want, const char *uri,
                         const char *tried, const char *helps)
{
        struct fl_engine *e;

        errno = 0;
        e = fl_engine_open(cfg);
        cr_assert_null(e, "it opened");
        cr_assert_eq(errno, want, "%s: %s", strerror(errno), fl_strerror());
        check_sentence(uri, tried, helps);
}

/* Where the machine does not allow an engine at all there is nothing to be learned. */
static struct fl_engine *engine_opens(const struct fl_engine_config *cfg)
{
        struct fl_engine *e = fl_engine_open(cfg);

        if (!e && (errno == EPERM || errno == ENOSYS))
                cr_skip_test("%s", fl_strerror());
        cr_assert_not_null(e, "%s", fl_strerror());
        return e;
}

static uint64_t budget_of(struct fl_engine *e)
{
        struct fl_stats s = { .size = sizeof s };

        cr_assert_eq(fl_stats(e, &s), 0);
        return s.budget_bytes;
}

Test(errors, a_budget_under_64_pages)
{
        struct fl_engine_config cfg = config();
        struct fl_engine *e;

        for (cfg.cache = 1; cfg.cache < 64 * 4096; cfg.cache += 65535)
                engine_fails(&cfg, EINVAL, NULL, "opening an engine", "at least 64 pages");
        cfg.cache = 64 * 4096 - 1;
        engine_fails(&cfg, EINVAL, NULL, "opening an engine", "at least 64 pages");
        cfg.cache = 64 * 4096;
        e = engine_opens(&cfg);
        cr_assert_eq(fl_engine_set_cache(e, 64 * 4096 - 1), -1);
        cr_assert_eq(errno, EINVAL);
        check_sentence(NULL, "setting the cache's size", "at least 64 pages");
        cr_assert_eq(budget_of(e), 64 * 4096);
        cr_assert_eq(fl_engine_close(e), 0);
}

Test(errors, names_that_nothing_has)
{
        struct fl_engine_config cfg = config();

        cfg.policy = "clock";
        engine_fails(&cfg, EINVAL, "clock", "choosing a policy", "linux");
        cfg = config();
        cfg.driver = "nvme";
        engine_fails(&cfg, EINVAL, "nvme", "choosing a driver", "uring");
        cfg = config();
        cfg.mmu = "mips";
        engine_fails(&cfg, EINVAL, NULL, "opening an engine", "uffd");
        /* A name is the whole name. */
        cfg = config();
        cfg.policy = "linu";
        engine_fails(&cfg, EINVAL, "linu", "choosing a policy", "linux");
        cfg = config();
        cfg.driver = "posix ";
        engine_fails(&cfg, EINVAL, "posix ", "choosing a driver", "posix");
}

Test(errors, bad_faults)
{
        static const char *const bad[] = {
                "x",      "eio",          "eio@0",        "eio@0+0",      "eio@0+4K,",
                "eio@+1", "enospc",       "delay",        "delay=1",      "eio@0+4K*0",
                "seed=",  "eio@0+4Kdrop", "delay=1ms@0+", "eio@0+4K eio", ",",
        };
        struct fl_engine_config cfg = config();

        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                cfg.faults = bad[i];
                engine_fails(&cfg, EINVAL, bad[i], "reading the faults to inject", "eio@OFF+LEN");
        }
        cfg.faults = "eio@0+4K*2,enospc@1M+1M,delay=1ms,seed=3";
        fl_engine_close(engine_opens(&cfg));
        cfg.faults = "";
        fl_engine_close(engine_opens(&cfg));
}

Test(errors, a_trace_that_cannot_be_made)
{
        struct fl_engine_config cfg = config();

        cfg.trace = "no/such/place";
        engine_fails(&cfg, ENOENT, "no/such/place", "creating the trace", "No such file");
        cfg.trace = dir;
        engine_fails(&cfg, EISDIR, dir, "creating the trace", "directory");
}

Test(errors, an_engine_with_open_files_is_not_closed)
{
        struct fl_engine_config cfg = config();
        struct fl_engine *e = engine_opens(&cfg);
        struct fl_file *f = fl_file_open(e, "ram:64K", O_RDWR, NULL);

        cr_assert_not_null(f, "%s", fl_strerror());
        cr_assert_eq(fl_engine_close(e), -1);
        cr_assert_eq(errno, EBUSY);
        check_sentence(NULL, "closing an engine", "still open");
        cr_assert_eq(fl_file_close(f), 0);
        cr_assert_eq(fl_engine_close(e), 0);
        cr_assert_eq(fl_engine_close(NULL), 0);
}

/* ---- configs of other versions ---- */

struct newer_engine_config {
        struct fl_engine_config now;
        uint64_t later[4];
};

Test(errors, a_newer_config_that_asks_for_something_new)
{
        struct newer_engine_config cfg = { .now = config() };

        cfg.now.size = sizeof cfg;
        for (unsigned i = 0; i < 4; i++) {
                memset(cfg.later, 0, sizeof cfg.later);
                cfg.later[i] = UINT64_C(1) << 56; /* its last byte */
                engine_fails(&cfg.now, E2BIG, NULL, "opening an engine", "does not know");
        }
}

Test(errors, a_newer_config_that_asks_for_nothing_new)
{
        struct newer_engine_config cfg = { .now = config() };
        struct fl_engine *e;

        cfg.now.size = sizeof cfg;
        e = engine_opens(&cfg.now);
        cr_assert_eq(budget_of(e), 1 << 20);
        cr_assert_eq(fl_engine_close(e), 0);
}

Test(errors, an_older_config)
{
        struct fl_engine_config cfg = config();
        struct fl_engine *e;

        /* What lies behind its end is not ours to read. */
        cfg.policy = "clock";
        cfg.driver = "nvme";
        cfg.size = offsetof(struct fl_engine_config, policy);
        e = engine_opens(&cfg);
        cr_assert_eq(budget_of(e), 1 << 20);
        cr_assert_eq(fl_engine_close(e), 0);
        cfg.size = sizeof cfg.size;
        e = engine_opens(&cfg);
        cr_assert_geq(budget_of(e), 64 * 4096, "the default");
        cr_assert_eq(fl_engine_close(e), 0);
}

Test(errors, a_config_without_a_size)
{
        struct fl_engine_config cfg = config();

        for (cfg.size = 0; cfg.size < sizeof cfg.size; cfg.size++)
                engine_fails(&cfg, EINVAL, NULL, "opening an engine", "size");
}

Test(errors, no_config_is_the_default)
{
        struct fl_engine *e = engine_opens(NULL);

        cr_assert_geq(budget_of(e), 64 * 4096);
        cr_assert_eq(fl_engine_close(e), 0);
}

/* ---- files ---- */

static struct fl_engine *e_files;

static void start_engine(void)
{
        struct fl_engine_config cfg = config();

        start();
        e_files = engine_opens(&cfg);
}

static void stop_engine(void)
{
        cr_assert_eq(fl_engine_close(e_files), 0, "%s", fl_strerror());
        stop();
}

TestSuite(file_errors, .init = start_engine, .fini = stop_engine, .timeout = 30);

static void file_fails(const char *uri, int flags, int want, const char *helps)
{
        struct fl_file *f;

        errno = 0;
        f = fl_file_open(e_files, uri, flags, NULL);
        cr_assert_null(f, "%s opened", uri);
        cr_assert_eq(errno, want, "%s: %s", strerror(errno), fl_strerror());
        check_sentence(uri, "opening", helps);
}

static void make_file(const char *path, mode_t mode)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);

        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, "bytes", 5), 5);
        close(fd);
}

Test(file_errors, missing)
{
        file_fails("nothing", O_RDONLY, ENOENT, "No such file");
        file_fails("file:nothing", O_RDONLY, ENOENT, "No such file");
        file_fails("no/such/place", O_RDWR | O_CREAT, ENOENT, "No such file");
        file_fails("", O_RDONLY, ENOENT, "No such file");
        make_file("file", 0644);
        file_fails("file/below", O_RDONLY, ENOTDIR, "Not a directory");
        file_fails("file", O_RDWR | O_CREAT | O_EXCL, EEXIST, "exists");
        cr_assert_eq(symlink("loop", "loop"), 0);
        file_fails("loop", O_RDONLY, ELOOP, "symbolic links");
}

Test(file_errors, no_pages_in_it)
{
        struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "socket" };
        int s = socket(AF_UNIX, SOCK_STREAM, 0);

        cr_assert_eq(bind(s, (struct sockaddr *)&addr, sizeof addr), 0);
        cr_assert_eq(mkdir("directory", 0755), 0);
        cr_assert_eq(mkfifo("fifo", 0644), 0);
        file_fails("directory", O_RDONLY, EISDIR, "directory");
        file_fails("directory", O_RDWR, EISDIR, "directory");
        file_fails("/", O_RDONLY, EISDIR, "directory");
        file_fails("fifo", O_RDONLY, ENODEV, "neither a file nor a block device");
        file_fails("fifo", O_RDWR, ENODEV, "neither a file nor a block device");
        file_fails("socket", O_RDONLY, ENODEV, "neither a file nor a block device");
        file_fails("/dev/null", O_RDWR, ENODEV, "neither a file nor a block device");
        close(s);
}

Test(file_errors, uris_that_nobody_knows)
{
        file_fails("nfs:host/path", O_RDONLY, EINVAL, "unknown scheme");
        file_fails("a:b", O_RDONLY, EINVAL, "./"); /* what to write instead */
        file_fails("ram:", O_RDWR, EINVAL, "size");
        file_fails("ram:1X", O_RDWR, EINVAL, "size");
        file_fails("ram:-1", O_RDWR, EINVAL, "size");
        file_fails("ram:99999999999999999999", O_RDWR, EINVAL, "size");
        file_fails("ram:8388607T", O_RDWR, EINVAL, "size");
        file_fails("ram:2048G", O_RDWR, EFBIG, "too large");
}

Test(file_errors, no_uri_at_all)
{
        cr_assert_null(fl_file_open(e_files, NULL, O_RDONLY, NULL));
        cr_assert_eq(errno, EFAULT);
}

Test(file_errors, a_uri_too_long_for_the_sentence)
{
        char *uri = malloc(8192);

        memset(uri, 'a', 8191);
        uri[8191] = 0;
        cr_assert_null(fl_file_open(e_files, uri, O_RDONLY, NULL));
        cr_assert_eq(errno, ENAMETOOLONG);
        cr_assert_lt(strlen(fl_strerror()), 1000);
        cr_assert_not_null(strstr(fl_strerror(), ": opening: File name too long"),
                           "cut where it matters: ...%s",
                           fl_strerror() + strlen(fl_strerror()) - 40);
        free(uri);
}

Test(file_errors, calls_that_a_file_was_not_opened_for)
{
        struct fl_file *f;
        char byte = 0;

        make_file("file", 0644);
        f = fl_file_open(e_files, "file", O_RDONLY, NULL);
        cr_assert_not_null(f, "%s", fl_strerror());
        cr_assert_eq(fl_pwrite(f, &byte, 1, 0), -1);
        cr_assert_eq(errno, EBADF);
        check_sentence("file", "writing", "not open for that");
        cr_assert_eq(fl_ftruncate(f, 0), -1);
        cr_assert_eq(errno, EINVAL);
        check_sentence("file", "truncating", "not open for that");
        cr_assert_eq(fl_pread(f, &byte, 1, -1), -1);
        cr_assert_eq(errno, EINVAL);
        check_sentence("file", "reading", "negative");
        cr_assert_eq(fl_pread(f, &byte, 1, 0), 1);
        cr_assert_eq(byte, 'b');
        cr_assert_eq(fl_file_close(f), 0);
}

struct newer_file_config {
        struct fl_file_config now;
        uint64_t later;
};

Test(file_errors, file_configs_of_other_versions)
{
        struct newer_file_config cfg = { .now = { .size = sizeof cfg, .mode = 0600 } };
        struct fl_file *f = fl_file_open(e_files, "new", O_RDWR | O_CREAT, &cfg.now);
        struct stat st;

        cr_assert_not_null(f, "%s", fl_strerror());
        cr_assert_eq(fl_file_close(f), 0);
        cr_assert_eq(stat("new", &st), 0);
        cr_assert_eq(st.st_mode & 0777, 0600);

        cfg.later = 1;
        cr_assert_null(fl_file_open(e_files, "newer", O_RDWR | O_CREAT, &cfg.now));
        cr_assert_eq(errno, E2BIG);
        check_sentence("newer", "opening", "does not know");
        cr_assert_neq(access("newer", F_OK), 0, "it was made all the same");

        cfg.now.size = 0;
        cr_assert_null(fl_file_open(e_files, "older", O_RDWR | O_CREAT, &cfg.now));
        cr_assert_eq(errno, EINVAL);

        cfg.now.size = sizeof cfg.now.size; /* an older one, without a mode */
        cfg.now.mode = 01;
        f = fl_file_open(e_files, "older", O_RDWR | O_CREAT, &cfg.now);
        cr_assert_not_null(f, "%s", fl_strerror());
        cr_assert_eq(fl_file_close(f), 0);
        cr_assert_eq(stat("older", &st), 0);
        cr_assert_eq(st.st_mode & 0600, 0600, "what lies behind its end was read");
}
