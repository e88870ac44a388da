/* SPDX-License-Identifier: Apache-2.0
 *
 * mappings.c - what belongs to a mapping: fl_mapping_set and fl_mapping_info.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (4ul << 20)
#define FILE_PAGES 256ul

static struct fl_mapping_config config(void)
{
        return (struct fl_mapping_config){ .size = sizeof(struct fl_mapping_config) };
}

static struct fl_mapping_info info_at(struct fl_engine *e, const void *p)
{
        struct fl_mapping_info info = { .size = sizeof(info) };

        require(fl_mapping_info(e, p, &info) == 0, "%s", fl_strerror());
        return info;
}

/* The span that begins at page `from` ends before page `to`, with this window. */
static void expect_span(struct fl_engine *e, char *p, size_t from, size_t to, uint64_t readahead)
{
        struct fl_mapping_info info = info_at(e, p + from * PAGE);

        expect(info.addr == p + from * PAGE && info.len == (to - from) * PAGE,
               "pages %zu to %zu: the span begins at page %zd and has %zu pages", from, to,
               ((char *)info.addr - p) / (ssize_t)PAGE, info.len / PAGE);
        expect_eq(info.readahead, readahead, "the window");
        expect_eq(info.offset, from * PAGE, "the offset");
}

static struct fl_file *open_with(struct fl_engine *e, const char *path, int flags, uint64_t ra)
{
        struct fl_file_config cfg = { .size = sizeof(cfg), .readahead = ra };
        struct fl_file *f = fl_file_open(e, path, flags, &cfg);

        require(f, "%s", fl_strerror());
        return f;
}

static void splits_and_joins(void)
{
        const char *path = test_stamped_file("spans", FILE_PAGES);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_with(e, path, O_RDONLY, 16 * PAGE);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ, MAP_SHARED, 0);
        struct fl_mapping_config cfg = config();
        struct fl_mapping_info info;

        test_at("splits and joins");
        expect_span(e, p, 0, 64, 16 * PAGE);
        info = info_at(e, p + 5 * PAGE + 7);
        expect(info.addr == p, "asked for in the middle of it");
        expect_eq(info.prot, PROT_READ, "protection");
        expect_eq(info.max_prot, PROT_READ | PROT_EXEC, "what it may become");
        expect_eq(info.flags, MAP_SHARED, "flags");
        expect(strcmp(info.policy, "adaptive") == 0, "the policy is %s", info.policy);

        cfg.readahead = 4 * PAGE;
        expect(fl_mapping_set(e, p + 8 * PAGE, 8 * PAGE, &cfg) == 0, "%s", fl_strerror());
        expect_span(e, p, 0, 8, 16 * PAGE);
        expect_span(e, p + 0, 8, 16, 4 * PAGE);
        expect_span(e, p + 0, 16, 64, 16 * PAGE);
        /* Beside it, with the same: one mapping again. */
        expect(fl_mapping_set(e, p + 16 * PAGE, 8 * PAGE, &cfg) == 0, "%s", fl_strerror());
        expect_span(e, p, 8, 24, 4 * PAGE);
        /* Over all of it, and then the default again. */
        expect(fl_mapping_set(e, p, 64 * PAGE, &cfg) == 0, "%s", fl_strerror());
        expect_span(e, p, 0, 64, 4 * PAGE);
        /* Cut for another reason, all parts have what was set. */
        expect(fl_mprotect(e, p + 32 * PAGE, 8 * PAGE, PROT_NONE) == 0, "%s", fl_strerror());
        expect_span(e, p, 0, 32, 4 * PAGE);
        expect_span(e, p, 32, 40, 4 * PAGE);
        expect_span(e, p, 40, 64, 4 * PAGE);
        expect(fl_mprotect(e, p + 32 * PAGE, 8 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect_span(e, p, 0, 64, 4 * PAGE);
        expect(fl_mapping_set(e, p, 64 * PAGE, NULL) == 0, "%s", fl_strerror());
        expect_span(e, p, 0, 64, 16 * PAGE);
        check_engine(e);
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

static void expect_refused(struct fl_engine *e, void *addr, size_t len,
                           const struct fl_mapping_config *cfg, int error, const char *what)
{
        errno = 0;
        expect(fl_mapping_set(e, addr, len, cfg) == -1 && errno == error, "%s: %s (%s)", what,
               strerror(errno), fl_strerror());
}

static void refuses(void)
{
        const char *path = test_stamped_file("refused", FILE_PAGES);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_with(e, path, O_RDONLY, 16 * PAGE);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ, MAP_SHARED, 0);
        struct fl_mapping_config cfg = config();
        struct {
                struct fl_mapping_config cfg;
                uint64_t newer;
        } grown = { .cfg = config() };
        struct fl_mapping_info info = { .size = 4 };

        test_at("refuses");
        expect_refused(e, p + 1, PAGE, &cfg, EINVAL, "not at a page's start");
        expect_refused(e, p, 0 - PAGE, &cfg, ENOMEM, "a range that wraps");
        cfg.policy = "clock";
        expect_refused(e, p, PAGE, &cfg, EINVAL, "a policy that there is not");
        expect(strstr(fl_strerror(), "clock"), "%s", fl_strerror());
        cfg.policy = "linux-5.13";
        expect_refused(e, p, PAGE, &cfg, EINVAL, "a policy that is not the engine's");
        cfg = config();
        cfg.readahead = PAGE - 1;
        expect_refused(e, p, PAGE, &cfg, EINVAL, "a window of no page");
        expect(!fl_file_open(e, path, O_RDONLY,
                             &(struct fl_file_config){ .size = sizeof(struct fl_file_config),
                                                       .readahead = PAGE - 1 }) &&
                       errno == EINVAL && strstr(fl_strerror(), "4096"),
               "a file's: %s", fl_strerror());
        close_file(open_with(e, path, O_RDONLY, UINT64_MAX)); /* behind every file */
        cfg = config();
        cfg.size = 4;
        expect_refused(e, p, PAGE, &cfg, EINVAL, "no size");
        grown.cfg.size = sizeof(grown);
        expect(fl_mapping_set(e, p, PAGE, &grown.cfg) == 0, "a newer program's: %s", fl_strerror());
        grown.newer = 1;
        expect_refused(e, p, PAGE, &grown.cfg, E2BIG, "a newer program's, with what is not known");
        /* What lies before the hole is set. */
        cfg = config();
        cfg.readahead = 2 * PAGE;
        expect(fl_munmap(e, p + 32 * PAGE, 8 * PAGE) == 0, "%s", fl_strerror());
        expect_refused(e, p + 24 * PAGE, 16 * PAGE, &cfg, ENOMEM, "a hole");
        expect_span(e, p, 24, 32, 2 * PAGE);
        expect_span(e, p, 40, 64, 16 * PAGE);
        expect(fl_mapping_set(e, p, 0, &cfg) == 0, "no length: %s", fl_strerror());

        expect(fl_mapping_info(e, p, &info) == -1 && errno == EINVAL, "info without a size");
        info.size = sizeof(info);
        expect(fl_mapping_info(e, p + 33 * PAGE, &info) == -1 && errno == ENOMEM,
               "info of a hole: %s", strerror(errno));
        /* An older program's struct is filled as far as it goes. */
        memset(&info, 0x55, sizeof(info));
        info.size = offsetof(struct fl_mapping_info, offset);
        expect(fl_mapping_info(e, p, &info) == 0, "%s", fl_strerror());
        expect(info.addr == p && info.offset == 0x5555555555555555, "a short struct");
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* A miss reads around itself no more than the mapping's window; another mapping of the same file,
 * opened once, reads what the file's says. */
static void window_of_a_mapping(void)
{
        const char *path = test_stamped_file("window", FILE_PAGES);
        struct fl_engine *e =
                open_engine_with((struct fl_engine_config){ .cache = CACHE, .policy = "linux" });
        struct fl_file *f = open_with(e, path, O_RDONLY, 32 * PAGE);
        char *p = map_file(e, f, FILE_PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        struct fl_mapping_config cfg = config();

        test_at("a mapping's window");
        cfg.readahead = 4 * PAGE;
        expect(fl_mapping_set(e, p, 128 * PAGE, &cfg) == 0, "%s", fl_strerror());
        expect(!stamp_wrong(p + 64 * PAGE, 64, 0), "page 64");
        check_engine(e);
        expect_eq(resident_pages(e, p, 128), 4, "pages read with a window of 4");
        expect(!stamp_wrong(p + 192 * PAGE, 192, 0), "page 192");
        check_engine(e);
        expect_eq(resident_pages(e, p + 128 * PAGE, 128), 32, "pages read with a window of 32");
        for (size_t i = 0; i < FILE_PAGES; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 0), "page %zu", i);
        expect(fl_munmap(e, p, FILE_PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* An engine has one policy: a mapping has that, named or not, and no other, the default included. */
static void another_policy(void)
{
        const char *path = test_stamped_file("policy", FILE_PAGES);
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = CACHE, .policy = "linux-5.13" });
        struct fl_file *f = open_with(e, path, O_RDONLY, 16 * PAGE);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ, MAP_SHARED, 0);
        struct fl_mapping_config cfg = config();
        struct fl_mapping_info info = info_at(e, p);

        test_at("another policy");
        expect(strcmp(info.policy, "linux-5.13") == 0, "the policy is %s", info.policy);
        expect(fl_mapping_set(e, p, PAGE, &cfg) == 0, "%s", fl_strerror());
        cfg.policy = "linux-5.13";
        expect(fl_mapping_set(e, p, PAGE, &cfg) == 0, "%s", fl_strerror());
        cfg.policy = "adaptive";
        expect_refused(e, p, PAGE, &cfg, EINVAL, "the default, which is not the engine's");
        expect(!stamp_wrong(p + 9 * PAGE, 9, 0), "page 9");
        expect(fl_munmap(e, p, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        splits_and_joins();
        refuses();
        window_of_a_mapping();
        another_policy();
        return test_end();
}
