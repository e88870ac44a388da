/* SPDX-License-Identifier: Apache-2.0
 *
 * failures.c - a page that cannot be had: what a mapping's rules make of it, what fl_error tells, and
 * that fl_error_clear brings it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "mman.h"

#define PAGE TEST_PAGE
#define CACHE (1ul << 20)
#define PAGES 64ul
#define BAD 10ul /* the page that the device cannot read */

struct world {
        struct fl_engine *e;
        struct fl_file *f;
        const char *path;
        char *p;
};

/* spec: of --faults. Pages are read one by one, so that a rule strikes once a try. */
static struct world begin(const char *name, const char *spec, int flags)
{
        struct world w = {
                .e = open_engine_with((struct fl_engine_config){
                        .cache = CACHE,
                        .faults = spec,
                        .readahead = PAGE,
                        .flags = FL_ENGINE_QUIET,
                }),
                .path = test_stamped_file(name, PAGES),
        };

        w.f = open_file(w.e, w.path, O_RDWR);
        w.p = map_file(w.e, w.f, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, 0);
        return w;
}

static void unmap(struct world *w, char *p)
{
        expect(fl_munmap(w->e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
}

static void end(struct world *w)
{
        check_engine(w->e);
        unmap(w, w->p);
        close_file(w->f);
        close_engine(w->e);
}

static void set_rules(struct world *w, char *p, struct fl_mapping_config cfg)
{
        cfg.size = sizeof(cfg);
        require(fl_mapping_set(w->e, p, PAGES * PAGE, &cfg) == 0, "%s", fl_strerror());
}

/* The first error of a mapping of the whole file. */
static struct fl_error_info error_in(struct world *w, char *p)
{
        struct fl_error_info info = { .size = sizeof(info) };
        int r = fl_error(w->e, p, PAGES * PAGE, &info);

        expect(r >= 0, "%s", fl_strerror());
        if (r == 0)
                info.error = 0;
        return info;
}

static void expect_bad(struct world *w, char *p, int error, bool zeroed)
{
        struct fl_error_info info = error_in(w, p);

        expect(info.error == error, "the error is \"%s\"", strerror(info.error));
        expect(info.addr == p + BAD * PAGE && info.offset == (off_t)(BAD * PAGE),
               "it is of page %zd", ((char *)info.addr - p) / (ssize_t)PAGE);
        expect_eq(info.zeroed, zeroed, "zeros stand in for it");
        expect_eq(info.writing, 0, "a write-back");
        expect(strstr(w->path, info.file) || strstr(info.file, w->path), "of %s", info.file);
}

static void expect_clear(struct world *w, char *p)
{
        expect(fl_error_clear(w->e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_eq(error_in(w, p).error, 0, "an error after it was cleared");
}

static void expect_stamp(const char *p, uint64_t page, const char *when)
{
        const char *wrong = stamp_wrong(p + page * PAGE, page, 0);

        expect(!wrong, "%s: %s", when, wrong);
}

static bool is_zero(const char *page)
{
        static const char zeros[PAGE];

        return memcmp(page, zeros, PAGE) == 0;
}

static void expect_signal(struct caught c, int signo, const char *what)
{
        expect(c.signo == signo, "%s: %s", what, caught_name(c));
}

static void sigbus_stays(void)
{
        struct world w = begin("sigbus", "eio@40960+4096*1", MAP_SHARED);
        unsigned char byte;

        test_at("sigbus");
        expect_signal(try_load(w.p + BAD * PAGE, &byte), SIGBUS, "the first load");
        expect_signal(try_load(w.p + BAD * PAGE, &byte), SIGBUS,
                      "the next, of a disk that is well");
        expect_bad(&w, w.p, EIO, false);
        expect_bad(&w, w.p, EIO, false);
        expect(fl_madvise(w.e, w.p, PAGES * PAGE, MADV_POPULATE_READ) == -1 && errno == EHWPOISON,
               "populating what cannot be read: %s", strerror(errno));
        expect_clear(&w, w.p);
        expect_stamp(w.p, BAD, "cleared");
        end(&w);
}

/* What read-ahead could not read, the page that is wanted among others, is read once more alone,
 * as the kernel does; and not more often. */
static void read_ahead_that_fails(unsigned failures)
{
        char spec[64];
        struct fl_engine *e;
        struct world w = { .path = test_stamped_file("ahead", PAGES) };
        unsigned char byte;

        test_at("read-ahead that fails");
        snprintf(spec, sizeof(spec), "eio@40960+4096*%u", failures);
        e = w.e = open_engine_with((struct fl_engine_config){
                .cache = CACHE,
                .faults = spec,
                .policy = "linux", /* a window around the page */
                .readahead = 16 * PAGE,
                .flags = FL_ENGINE_QUIET,
        });
        w.f = open_file(e, w.path, O_RDWR);
        w.p = map_file(e, w.f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        expect_signal(try_load(w.p + BAD * PAGE, &byte), failures == 1 ? 0 : SIGBUS,
                      "a page that cannot be read along with others");
        if (failures == 1)
                expect_stamp(w.p, BAD, "read alone");
        expect_eq(get_stats(e).io_errors, failures, "reads that failed");
        end(&w);
}

static void zeros_of_its_own(int kind)
{
        struct world w = begin("zero", "eio@40960+4096*1", kind);
        char *other = map_file(w.e, w.f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        char *bad = w.p + BAD * PAGE, page[PAGE];

        test_at("zero");
        set_rules(&w, w.p, (struct fl_mapping_config){ .on_error = "zero" });
        expect(is_zero(bad), "not zeros");
        expect_bad(&w, w.p, EIO, true);
        expect_eq(error_in(&w, other).error, 0, "the other mapping's error");
        expect_stamp(w.p, BAD - 1, "beside it");
        expect_stamp(w.p, BAD + 1, "beside it");
        /* The disk is well again: others see the page, this one what stands in for it. */
        expect_stamp(other, BAD, "another mapping");
        expect(is_zero(bad), "not zeros any more");
        memset(bad, 'x', PAGE);
        expect(bad[PAGE - 1] == 'x', "a store is seen where it was made");
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect_stamp(other, BAD, "another mapping, after a store to the zeros");
        expect(file_read(w.path, page, PAGE, BAD * PAGE) && !stamp_wrong(page, BAD, 0),
               "the store went to the file");
        expect_bad(&w, w.p, EIO, true);
        check_engine(w.e);
        expect_clear(&w, w.p);
        expect_stamp(w.p, BAD, "cleared");
        unmap(&w, other);
        end(&w);
}

/* What else may happen to a mapping with such a page. */
static void zeros_among_calls(void)
{
        struct world w = begin("calls", "eio@40960+4096*40", MAP_SHARED);
        char *bad = w.p + BAD * PAGE, *q, page[PAGE];
        unsigned char byte, vec[PAGES];

        test_at("zeros among calls");
        set_rules(&w, w.p, (struct fl_mapping_config){ .on_error = "zero" });
        expect(is_zero(bad), "not zeros");
        expect(fl_mincore(w.e, w.p, PAGES * PAGE, vec) == 0 && vec[BAD] == 1, "mincore: %d",
               vec[BAD]);
        expect(fl_mprotect(w.e, bad - PAGE, 3 * PAGE, PROT_READ) == 0, "%s", fl_strerror());
        expect(is_zero(bad), "not zeros under PROT_READ");
        expect_signal(try_store(bad, 1), SIGSEGV, "a store under PROT_READ");
        expect(fl_mprotect(w.e, bad - PAGE, 3 * PAGE, PROT_READ | PROT_WRITE) == 0, "%s",
               fl_strerror());
        expect_signal(try_store(bad, 1), 0, "a store");
        /* Dropped, it is tried again, and fails again, three times more. */
        for (int i = 0; i < 3; i++) {
                expect(fl_madvise(w.e, w.p, PAGES * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
                expect_eq(error_in(&w, w.p).error, 0, "an error after MADV_DONTNEED");
                expect(is_zero(bad), "not zeros, dropped %d times", i + 1);
        }
        check_engine(w.e);
        /* The disk becomes well: how many reads that takes depends on how often a fault was woken. */
        for (int i = 0; i < 40 && fl_pread(w.f, page, PAGE, BAD * PAGE) != (ssize_t)PAGE; i++)
                ;
        /* Mapped over, and the other way. */
        q = fl_mmap(w.e, bad, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w.f, BAD * PAGE);
        expect(q == bad, "%s", fl_strerror());
        expect_stamp(w.p, BAD, "mapped over");
        /* The file cut behind it, and made longer again. */
        end(&w);

        w = begin("cut", "eio@40960+4096*1", MAP_SHARED);
        set_rules(&w, w.p, (struct fl_mapping_config){ .on_error = "zero" });
        bad = w.p + BAD * PAGE;
        expect_signal(try_store(bad, 1), 0, "a store");
        expect(fl_ftruncate(w.f, BAD * PAGE) == 0, "%s", fl_strerror());
        expect_signal(try_load(bad, &byte), SIGBUS, "a load behind the end");
        check_engine(w.e);
        expect(fl_ftruncate(w.f, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect_clear(&w, w.p);
        expect(is_zero(bad), "not zeros where the file has become longer");
        end(&w);
}

static void many_zeros(void)
{
        struct world w = begin("many", "eio@0+262144", MAP_SHARED);

        test_at("many zeros");
        set_rules(&w, w.p, (struct fl_mapping_config){ .on_error = "zero" });
        for (size_t i = 0; i < PAGES; i++) {
                size_t page = i * 37 % PAGES;

                expect(is_zero(w.p + page * PAGE), "page %zu", page);
                w.p[page * PAGE] = 1;
        }
        for (size_t i = 0; i < PAGES; i++) {
                struct fl_error_info info = { .size = sizeof(info) };

                expect(w.p[i * PAGE] == 1, "page %zu", i);
                expect(fl_error(w.e, w.p + i * PAGE, (PAGES - i) * PAGE, &info) == 1 &&
                               info.addr == w.p + i * PAGE,
                       "the error of page %zu", i);
        }
        check_engine(w.e);
        expect(fl_error_clear(w.e, w.p, PAGES / 2 * PAGE) == 0, "%s", fl_strerror());
        check_engine(w.e);
        end(&w);
}

static uint64_t io_errors(struct world *w)
{
        return get_stats(w->e).io_errors;
}

static void retries(void)
{
        struct world w = begin("retry", "eio@40960+4096*3", MAP_SHARED);
        unsigned char byte;

        test_at("retry");
        set_rules(&w, w.p, (struct fl_mapping_config){ .on_error = "retry" });
        expect_stamp(w.p, BAD, "the fourth time");
        expect_eq(io_errors(&w), 3, "errors");
        expect_eq(error_in(&w, w.p).error, 0, "an error of what went well");
        end(&w);

        /* So often, and not more often. */
        w = begin("often", "eio@40960+4096", MAP_SHARED);
        set_rules(&w, w.p,
                  (struct fl_mapping_config){ .on_error = "retry",
                                              .retries = 4,
                                              .retry_time = 3600000000000,
                                              .retry_then = "zero" });
        expect(is_zero(w.p + BAD * PAGE), "not zeros");
        /* The kernel may tell of one access twice: then both are tried, together or in turn. */
        expect(io_errors(&w) >= 5 && io_errors(&w) <= 10, "%llu errors",
               (unsigned long long)io_errors(&w));
        expect_bad(&w, w.p, EIO, true);
        /* For so long, and no longer; a private store, which has to read the page too. */
        expect_clear(&w, w.p);
        set_rules(&w, w.p,
                  (struct fl_mapping_config){
                          .on_error = "retry", .retries = 1000000000, .retry_time = 20000000 });
        expect_signal(try_store(w.p + BAD * PAGE, 1), SIGBUS, "a store");
        expect_signal(try_load(w.p + BAD * PAGE, &byte), SIGBUS, "a load");
        expect(io_errors(&w) > 6, "%llu errors", (unsigned long long)io_errors(&w));
        expect_bad(&w, w.p, EIO, false);
        end(&w);
}

struct toucher {
        pthread_t thread;
        char *at;
        struct caught caught;
};

static void *touch(void *arg)
{
        struct toucher *t = arg;
        unsigned char byte;

        t->caught = try_load(t->at, &byte);
        return NULL;
}

/* One page is tried again and again; all others are served meanwhile, by the one pager there is. */
static void others_go_on(void)
{
        struct world w = begin("others", "eio@40960+4096", MAP_SHARED);
        struct toucher t = { .at = w.p + BAD * PAGE };

        test_at("others go on");
        set_rules(&w, w.p,
                  (struct fl_mapping_config){ .on_error = "retry",
                                              .retries = 1000000000,
                                              .retry_time = 3600000000000 });
        require(pthread_create(&t.thread, NULL, touch, &t) == 0, "pthread_create");
        while (io_errors(&w) < 3)
                usleep(1000);
        for (size_t i = 0; i < PAGES; i++)
                if (i != BAD)
                        expect_stamp(w.p, i, "while another page is tried again");
        /* With other rules it is over. */
        set_rules(&w, w.p, (struct fl_mapping_config){ .on_error = "zero" });
        pthread_join(t.thread, NULL);
        expect_signal(t.caught, 0, "the thread that waited");
        expect_bad(&w, w.p, EIO, true);
        /* And without its mapping too. */
        expect_clear(&w, w.p);
        set_rules(&w, w.p,
                  (struct fl_mapping_config){ .on_error = "retry",
                                              .retries = 1000000000,
                                              .retry_time = 3600000000000 });
        require(pthread_create(&t.thread, NULL, touch, &t) == 0, "pthread_create");
        for (uint64_t n = io_errors(&w); io_errors(&w) < n + 2;)
                usleep(1000);
        unmap(&w, w.p);
        pthread_join(t.thread, NULL);
        expect_signal(t.caught, SIGSEGV, "the thread whose mapping has gone");
        close_file(w.f);
        close_engine(w.e);
}

/* Private copies that do not fit. */
static void copies_that_do_not_fit(void)
{
        struct world w = begin("copies", NULL, MAP_SHARED);
        const char *path = test_stamped_file("large", 512);
        struct fl_file *f = open_file(w.e, path, O_RDONLY);
        char *p = map_file(w.e, f, 512 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        struct fl_mapping_config cfg = {
                .size = sizeof(cfg), .on_error = "retry", .retries = 3, .retry_then = "zero"
        };
        struct fl_error_info info = { .size = sizeof(info) };
        struct caught c = { 0 };
        size_t n = 0;

        test_at("copies that do not fit");
        expect(fl_mapping_set(w.e, p, 512 * PAGE, &cfg) == 0, "%s", fl_strerror());
        for (; n < 512 && !c.signo; n++)
                c = try_store(p + n * PAGE, 1);
        expect_signal(c, SIGBUS, "a store beyond the budget: zeros do not fit either");
        expect(fl_error(w.e, p, 512 * PAGE, &info) == 1 && info.error == ENOMEM &&
                       info.addr == p + (n - 1) * PAGE && !info.zeroed,
               "after %zu stores: %s", n, strerror(info.error));
        /* With room again, and the error cleared, it is a page as others. */
        expect(fl_munmap(w.e, p, 32 * PAGE) == 0, "%s", fl_strerror());
        expect(fl_error_clear(w.e, p + (n - 1) * PAGE, PAGE) == 0, "%s", fl_strerror());
        expect_signal(try_store(p + (n - 1) * PAGE, 1), 0, "a store with room again");
        expect(fl_munmap(w.e, p, 512 * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        end(&w);
}

static void failed_write_back(void)
{
        struct world w = begin("write", "enospc@40960+4096", MAP_SHARED);
        struct fl_error_info info;

        test_at("a failed write-back");
        stamp_write(w.p + BAD * PAGE, BAD, 7);
        stamp_write(w.p, 0, 7);
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == -1 && errno == ENOSPC, "msync: %s",
               strerror(errno));
        for (int i = 0; i < 2; i++) { /* unlike msync's it stays */
                info = error_in(&w, w.p);
                expect(info.error == ENOSPC, "the error is \"%s\"", strerror(info.error));
                expect(info.offset == (off_t)(BAD * PAGE) && info.addr == w.p + BAD * PAGE,
                       "at %lld", (long long)info.offset);
                expect(info.writing && info.dirty && !info.zeroed, "writing %d dirty %d zeroed %d",
                       info.writing, info.dirty, info.zeroed);
        }
        expect(fl_error(w.e, w.p, BAD * PAGE, &info) == 0, "an error before the page");
        expect(!stamp_wrong(w.p + BAD * PAGE, BAD, 7), "the store is lost");
        expect_clear(&w, w.p);
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == -1, "msync, again");
        expect_eq(error_in(&w, w.p).error, ENOSPC, "the error after it failed again");
        unmap(&w, w.p);
        fl_file_close(w.f);
        expect(fl_engine_close(w.e) == -1 && errno == ENOSPC, "closing: %s", strerror(errno));
}

/* The device recovers: the page, still dirty, reaches it with the next msync. */
static void write_back_recovers(void)
{
        struct world w = begin("recovers", "eio@40960+4096*1", MAP_SHARED);
        struct fl_error_info info;
        char page[PAGE];

        test_at("a write-back that fails once");
        stamp_write(page, BAD, 7); /* a whole page is not read first: the write meets the error */
        expect(fl_pwrite(w.f, page, PAGE, BAD * PAGE) == (ssize_t)PAGE, "%s", fl_strerror());
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == -1 && errno == EIO, "msync: %s",
               strerror(errno));
        expect(file_read(w.path, page, PAGE, BAD * PAGE) && !stamp_wrong(page, BAD, 0),
               "it is in the file all the same");
        expect(!stamp_wrong(w.p + BAD * PAGE, BAD, 7), "the store is lost");
        info = error_in(&w, w.p);
        expect(info.error == EIO && info.writing && info.dirty, "error %d writing %d dirty %d",
               info.error, info.writing, info.dirty);
        expect(fl_msync(w.e, w.p, PAGES * PAGE, MS_SYNC) == 0, "told twice: %s", fl_strerror());
        expect(file_read(w.path, page, PAGE, BAD * PAGE) && !stamp_wrong(page, BAD, 7),
               "it is not in the file: %s", stamp_wrong(page, BAD, 7));
        for (int i = 0; i < 2; i++) { /* what has been is still told */
                info = error_in(&w, w.p);
                expect(info.error == EIO && info.writing && !info.dirty,
                       "error %d writing %d dirty %d", info.error, info.writing, info.dirty);
                expect(info.addr == w.p + BAD * PAGE, "at %p", info.addr);
        }
        expect_clear(&w, w.p);
        end(&w);
}

static void of_the_engine(void)
{
        struct fl_engine_config cfg = { .size = sizeof(cfg),
                                        .cache = CACHE,
                                        .faults = "eio@40960+4096",
                                        .readahead = PAGE,
                                        .on_error = "ignore" };
        const char *path = test_stamped_file("engine", PAGES);
        struct fl_mapping_config rules = { .size = sizeof(rules), .on_error = "never" };
        struct fl_mapping_info info = { .size = sizeof(info) };
        struct world w = { .path = path };

        test_at("of the engine");
        errno = 0;
        expect(!fl_engine_open(&cfg) && errno == EINVAL && strstr(fl_strerror(), "ignore"), "%s",
               fl_strerror());
        cfg.on_error = "zero";
        w.e = open_engine_with(cfg);
        w.f = open_file(w.e, path, O_RDWR);
        w.p = map_file(w.e, w.f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        expect(is_zero(w.p + BAD * PAGE), "not zeros");
        expect(fl_mapping_info(w.e, w.p, &info) == 0 && !strcmp(info.on_error, "zero") &&
                       !strcmp(info.retry_then, "sigbus") && info.retries == 5 &&
                       info.retry_time == 1000000000,
               "%s, %s after %u tries in %llu ns", info.on_error, info.retry_then, info.retries,
               (unsigned long long)info.retry_time);
        expect(fl_mapping_set(w.e, w.p, PAGE, &rules) == -1 && errno == EINVAL, "%s",
               strerror(errno));
        rules.on_error = NULL;
        rules.retry_then = "retry";
        expect(fl_mapping_set(w.e, w.p, PAGE, &rules) == -1 && errno == EINVAL, "%s",
               strerror(errno));
        end(&w);
}
int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 80);
        sigbus_stays();
        read_ahead_that_fails(1);
        read_ahead_that_fails(2);
        zeros_of_its_own(MAP_SHARED);
        zeros_of_its_own(MAP_PRIVATE);
        zeros_among_calls();
        many_zeros();
        retries();
        others_go_on();
        copies_that_do_not_fit();
        failed_write_back();
        write_back_recovers();
        of_the_engine();
        return test_end();
}
