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

/* ---- private pages in a swap area that cannot be read, for a while ---- */

#define LOSABLE 320ul

struct swapped {
        struct fl_engine *e;
        struct fl_file *f;
        char *p, *area, *kept; /* kept: what the area holds */
        uint64_t area_size;
        bool zeros, of_file;
        bool bad[LOSABLE]; /* could not be had */
};

/* Some pages are in the area, the rest in memory, with room for all. */
static struct swapped swap_out(const char *on_error, bool of_file)
{
        struct swapped s = { .area = (char *)test_file("area", 0),
                             .zeros = !strcmp(on_error, "zero"),
                             .of_file = of_file };
        struct fl_mapping_config rules = { .size = sizeof(rules), .on_error = on_error };
        char spec[512];

        snprintf(spec, sizeof(spec), "%s:4M", s.area);
        s.e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .swap = spec, .flags = FL_ENGINE_QUIET });
        s.f = open_file(s.e, test_stamped_file("losable", LOSABLE), O_RDONLY);
        s.p = fl_mmap(s.e, NULL, LOSABLE * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | (of_file ? 0 : MAP_ANONYMOUS), s.f, 0);
        require(s.p != MAP_FAILED && fl_mapping_set(s.e, s.p, LOSABLE * PAGE, &rules) == 0, "%s",
                fl_strerror());
        for (uint64_t i = 0; i < LOSABLE; i++)
                stamp_write(s.p + i * PAGE, i, 1);
        while (get_stats(s.e).swap_outs == 0)
                usleep(1000);
        check_engine(s.e); /* nothing is on its way */
        /* With room for all, so that nothing is written to the area any more: it would be longer. */
        expect(fl_engine_set_cache(s.e, 4 * CACHE) == 0, "%s", fl_strerror());
        return s;
}

/* The area cannot be read behind its header; and again as before. */
static void spoil(struct swapped *s)
{
        s->area_size = file_size(s->area);
        s->kept = malloc(s->area_size);
        require(s->kept && file_read(s->area, s->kept, s->area_size, 0), "%s", strerror(errno));
        require(truncate(s->area, PAGE) == 0, "%s", strerror(errno));
}

static void mend(struct swapped *s)
{
        int fd = open(s->area, O_WRONLY | O_CLOEXEC);

        require(fd >= 0 && pwrite(fd, s->kept, s->area_size, 0) == (ssize_t)s->area_size, "%s",
                strerror(errno));
        close(fd);
        free(s->kept);
}

/* What is in memory is as it was; of the rest the rules say what is shown. How many those are. */
static unsigned touch_all(struct swapped *s)
{
        struct fl_error_info info = { .size = sizeof(info) };
        unsigned char byte, vec;
        unsigned nr = 0;

        for (uint64_t i = 0; i < LOSABLE; i++) {
                char *at = s->p + i * PAGE;
                struct caught c = try_load(at, &byte);

                s->bad[i] = c.signo || stamp_wrong(at, i, 1);
                if (!s->bad[i])
                        continue;
                nr++;
                expect_signal(c, s->zeros ? 0 : SIGBUS, "a page that cannot be read");
                expect(!s->zeros || is_zero(at), "page %llu: not zeros", (unsigned long long)i);
                expect_signal(try_store(at + 1, 5), s->zeros ? 0 : SIGBUS, "a store");
                expect(fl_error(s->e, at, PAGE, &info) == 1 && info.error == EIO &&
                               info.zeroed == s->zeros && info.addr == at,
                       "page %llu: %s", (unsigned long long)i, strerror(info.error));
                expect(fl_mincore(s->e, at, PAGE, &vec) == 0 && vec == s->zeros, "mincore: %d",
                       vec);
        }
        return nr;
}

/* They move, and one of them is thrown away: as an untouched page it begins anew. */
static void move_and_drop(struct swapped *s)
{
        char *to = fl_mmap(s->e, NULL, LOSABLE * PAGE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);
        uint64_t i = 0;

        require(to != MAP_FAILED, "%s", fl_strerror());
        to = fl_mremap(s->e, s->p, LOSABLE * PAGE, LOSABLE * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                       to);
        require(to != MAP_FAILED, "%s", fl_strerror());
        s->p = to;
        while (i < LOSABLE && !s->bad[i])
                i++;
        require(i < LOSABLE, "no page that cannot be read");
        expect(fl_madvise(s->e, to + i * PAGE, PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(s->of_file ? !stamp_wrong(to + i * PAGE, i, 0) : is_zero(to + i * PAGE),
               "page %llu, thrown away", (unsigned long long)i);
        stamp_write(to + i * PAGE, i, 1);
}

/* The last one that cannot be read goes with its mapping, and its slot too. */
static uint64_t unmap_one(struct swapped *s)
{
        uint64_t i = LOSABLE - 1;

        while (i && !s->bad[i])
                i--;
        expect(fl_munmap(s->e, s->p + i * PAGE, PAGE) == 0, "%s", fl_strerror());
        return i;
}

/* Each page in its slot is kept there as long as the area cannot be read, and comes back. */
static void unreadable_for_a_while(const char *on_error, bool of_file)
{
        struct swapped s = swap_out(on_error, of_file);
        struct fl_error_info info = { .size = sizeof(info) };
        uint64_t gone;
        char *p;

        test_at(of_file ? "copies that cannot be read back" : "memory that cannot be read back");
        spoil(&s);
        expect(touch_all(&s) > 1, "nothing was in the area");
        check_engine(s.e);
        move_and_drop(&s);
        check_engine(s.e);
        expect(fl_error_clear(s.e, s.p, LOSABLE * PAGE) == 0, "%s", fl_strerror());
        expect_eq(fl_error(s.e, s.p, LOSABLE * PAGE, &info), 0, "errors after they were cleared");
        expect(touch_all(&s) > 0, "what still cannot be read");
        gone = unmap_one(&s);
        check_engine(s.e);
        mend(&s);
        for (uint64_t i = 0; i < LOSABLE; i++) {
                p = s.p + i * PAGE;
                if (i == gone)
                        continue;
                expect(fl_error_clear(s.e, p, PAGE) == 0, "%s", fl_strerror());
                expect(!stamp_wrong(p, i, 1), "page %llu, back again: %s", (unsigned long long)i,
                       stamp_wrong(p, i, 1));
        }
        check_engine(s.e);
        expect(fl_munmap(s.e, s.p, LOSABLE * PAGE) == 0, "%s", fl_strerror());
        check_engine(s.e);
        close_file(s.f);
        close_engine(s.e);
}

/* There is no room to read a page back, since no other can be written to the area any more: it waits in
 * its slot until there is. */
static void no_room_to_come_back(void)
{
        enum { PAGES_MADE = 1000, SPARE = 96 };
        static bool bad[PAGES_MADE];
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE,
                .swap = "ram:16M",
                .faults = "eio@256K+16M",
                .flags = FL_ENGINE_QUIET,
        });
        struct fl_error_info info = { .size = sizeof(info) };
        uint64_t made = 0, nr = 0;
        unsigned char byte;
        char *spare, *p;

        test_at("no room to come back");
        spare = fl_mmap(e, NULL, SPARE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        NULL, 0);
        p = fl_mmap(e, NULL, PAGES_MADE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                    NULL, 0);
        require(spare != MAP_FAILED && p != MAP_FAILED, "%s", fl_strerror());
        for (; made < PAGES_MADE && !try_store(p + made * PAGE, 1).signo; made++)
                stamp_write(p + made * PAGE, made, 1);
        require(made < PAGES_MADE, "all of it fits");
        for (uint64_t i = 0; i < SPARE; i++)
                try_store(spare + i * PAGE, 1);
        for (uint64_t i = 0; i < made; i++) {
                bad[i] = try_load(p + i * PAGE, &byte).signo == SIGBUS;
                nr += bad[i];
                expect(bad[i] || !stamp_wrong(p + i * PAGE, i, 1), "page %llu",
                       (unsigned long long)i);
                expect(!bad[i] || (fl_error(e, p + i * PAGE, PAGE, &info) == 1 &&
                                   info.error == ENOMEM && !info.zeroed),
                       "page %llu: %s", (unsigned long long)i, strerror(info.error));
        }
        expect(nr > 0, "every page has come back");
        check_engine(e);
        for (uint64_t i = 0; i < made; i++) /* room for as many */
                if (!bad[i] && nr > 0) {
                        nr--;
                        expect(fl_madvise(e, p + i * PAGE, PAGE, MADV_DONTNEED) == 0, "%s",
                               fl_strerror());
                }
        expect(fl_error_clear(e, p, made * PAGE) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < made; i++)
                expect(!bad[i] || (!try_load(p + i * PAGE, &byte).signo &&
                                   !stamp_wrong(p + i * PAGE, i, 1)),
                       "page %llu is lost", (unsigned long long)i);
        check_engine(e);
        expect(fl_munmap(e, p, PAGES_MADE * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(e, spare, SPARE * PAGE) == 0, "%s", fl_strerror());
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 80);
        sigbus_stays();
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
        for (int of_file = 0; of_file < 2; of_file++) {
                unreadable_for_a_while("sigbus", of_file);
                unreadable_for_a_while("zero", of_file);
        }
        no_room_to_come_back();
        return test_end();
}
