/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.h - what the plain test programs share.
 *
 *   test_begin()/test_end()  duration, seed and watchdog; what the process holds at the start
 *   expect()                 says file, line and values, and counts; the test goes on
 *   require()                the same, and the test ends at once
 *   test_file()              a file of stamped pages in the current directory, removed at exit
 *   stamp_*()                every page says whose it is, in which version, three times over
 *   try_load(), try_store()  touch memory and tell the signal that came of it
 *
 * Exit status: 0 passed, 1 failed, 77 skipped.
 */
#ifndef FAULTLINE_TESTS_HARNESS_H
#define FAULTLINE_TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <faultline/faultline.h>

#define TEST_PAGE 4096ul

struct test {
        double seconds; /* how long to go on */
        uint64_t seed;
        const char *faults; /* --faults SPEC */
        const char *uri;    /* --uri ram:SIZE; NULL: a file of its own */
        const char *driver; /* --driver NAME */
        const char *mmu;    /* --mmu NAME; else FAULTLINE_MMU */
        const char *policy; /* --policy NAME; NULL: the engine's own choice */
        unsigned threads;   /* --threads N; 0: the test's own number */
        unsigned pagers;    /* --pagers N */
        uint64_t cache;     /* --cache BYTES; 0: the test's own size */
        uint64_t perturb;   /* --perturb SEED; 0: off */
        uint64_t spin;      /* --spin NANOSECONDS; 0: off */
};
extern struct test test;

/* usage: NAME [SECONDS [SEED]] [--faults SPEC] [--uri URI] [--driver NAME] [--threads N]
 *        [--pagers N] [--cache BYTES] [--perturb SEED] [--mmu NAME] [--policy NAME]
 *        [--spin NANOSECONDS]
 * SECONDS: else FAULTLINE_TEST_SECONDS; else `longer` if FAULTLINE_TEST_LONG is set, or `shorter`.
 * A test that is not over `slack` seconds after that hangs: the watchdog says where and aborts. */
void test_begin(int argc, char **argv, double shorter, double longer, unsigned slack);
/* Prints the verdict; what main() returns. */
int test_end(void);
/* Where the calling thread is, for the watchdog. */
void test_at(const char *where);
/* Ends the process with 77. */
_Noreturn void test_skip(const char *why);
/* Seconds of test.seconds that are left. */
double test_left(void);

void test_fail(const char *file, int line, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* How many expectations have failed so far. */
unsigned test_failures(void);
#define expect(cond, ...) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, __VA_ARGS__))
#define require(cond, ...)                                                                         \
        do {                                                                                       \
                if (!(cond)) {                                                                     \
                        test_fail(__FILE__, __LINE__, __VA_ARGS__);                                \
                        test_exit();                                                               \
                }                                                                                  \
        } while (0)
/* The two numbers are equal. */
#define expect_eq(a, b, what)                                                                      \
        do {                                                                                       \
                long long a_ = (long long)(a), b_ = (long long)(b);                                \
                                                                                                   \
                expect(a_ == b_, "%s: %s is %lld, expected %lld", what, #a, a_, b_);               \
        } while (0)
_Noreturn void test_exit(void);

/* --- random numbers: a stream a thread */
uint64_t random_next(uint64_t *state);
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
        return random_next(state) % n;
}

/* --- files. Names are good until the process ends; the files are removed then. */
const char *test_file(const char *name, uint64_t size);
/* With the stamps of version 0 in every page. */
const char *test_stamped_file(const char *name, uint64_t pages);
/* Bytes of a file as another program sees them: by read(2). False and a failure if short. */
bool file_read(const char *path, void *buf, size_t len, uint64_t offset);
uint64_t file_size(const char *path);

/* --- stamps */
void stamp_write(void *page, uint64_t number, uint64_t version);
/* NULL if the page holds exactly this stamp; else what is wrong, in a buffer of the thread. */
const char *stamp_wrong(const void *page, uint64_t number, uint64_t version);
/* The version that a page holds; UINT64_MAX if it holds no whole stamp of this page. */
uint64_t stamp_version(const void *page, uint64_t number);

/* --- signals */
struct caught {
        int signo; /* 0: none */
        int code;
        void *addr;
};
/* What a one-byte load or store at p raised. */
struct caught try_load(const volatile void *p, unsigned char *value);
struct caught try_store(volatile void *p, unsigned char value);
/* The same for whole words of eight bytes, one after the other, either way. */
struct caught try_words(volatile uint64_t *to, const volatile uint64_t *from, unsigned nr);
const char *caught_name(struct caught c);

/* From now on engines publish themselves in a folder of the test's own, so that nobody else's engines
 * look whether they live: a visitor has a descriptor in the process for as long as he stays. */
void test_unvisited(void);

/* --- what the process holds */
unsigned count_fds(void);
unsigned count_threads(void); /* but the kernel's io_uring workers */
/* Bytes of memory behind the engine's memfds, as the kernel counts them. */
uint64_t memfd_bytes(void);

/* Is --policy one of Solaris's? Its madvise is not the kernel's (S29). */
bool test_solaris(void);
/* Pages that go together under --policy: two of Solaris's are one of 8 KiB. */
unsigned test_page_pages(void);

/* --- the engine: failures are told and end the test */
struct fl_engine *open_engine(uint64_t cache);
struct fl_engine *open_engine_with(struct fl_engine_config config);
struct fl_file *open_file(struct fl_engine *e, const char *uri, int flags);
void *map_file(struct fl_engine *e, struct fl_file *f, size_t len, int prot, int flags,
               off_t offset);
struct fl_stats get_stats(struct fl_engine *e);
/* Of so many pages from p on, which are mapped, those in memory. */
uint64_t resident_pages(struct fl_engine *e, void *p, uint64_t pages);
/* Waits until nothing moves, then the invariants must hold. */
void check_engine(struct fl_engine *e);
void close_file(struct fl_file *f);
void close_engine(struct fl_engine *e);

/* Runs a shell's command, put together first. Did it end with 0? */
bool test_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
