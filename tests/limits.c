/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.c - the odd corners of a mapping, each of which once went wrong: memory that is locked, a file
 * that could not grow, one that could not be cut, files of limited size, a private copy that cannot be made again, the smallest
 * cache, a process with as many mappings as it may have.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (16ul << 20)
#define MANY 4096ul /* pages */

static void unmap(struct fl_engine *e, void *p, size_t len)
{
        expect(fl_munmap(e, p, len) == 0, "%s", fl_strerror());
}

static void expect_stamps(const char *p, uint64_t nr, const char *what)
{
        for (uint64_t i = 0; i < nr; i++)
                expect(!stamp_wrong(p + i * PAGE, i, 0), "%s: %s", what,
                       stamp_wrong(p + i * PAGE, i, 0));
}

/* A program that locks all its memory, that to come too: the kernel fills a new mapping at once.
 * It was ours to fill only a moment later, so every page of the file was shown as zeros. */
static void everything_locked(void)
{
        const char *path = test_stamped_file("mlockall", 64);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p, *q;

        test_at("everything locked");
        /* The calls themselves: under a sanitizer the functions do nothing. */
        if (syscall(SYS_mlockall, MCL_FUTURE)) {
                printf("mlockall: %s; left out\n", strerror(errno));
        } else {
                p = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
                expect_stamps(p, 64, "after mlockall");
                q = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
                expect_stamps(q, 64, "after mlockall, private");
                expect(fl_mmap(e, q, 64 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, f, 0) == q,
                       "MAP_FIXED: %s", fl_strerror());
                expect_stamps(q, 64, "after mlockall, MAP_FIXED");
                syscall(SYS_munlockall);
                check_engine(e);
                unmap(e, p, 64 * PAGE);
                unmap(e, q, 64 * PAGE);
        }
        close_file(f);
        close_engine(e);
}

/* Of the engine's files, as far as they are shown to the engine itself. */
static uint64_t frames_shown(void)
{
        FILE *f = fopen("/proc/self/smaps", "r");
        unsigned long long kib = 0, sum = 0;
        bool frames = false;
        char line[512];

        while (f && fgets(line, sizeof(line), f)) {
                if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
                        frames = strstr(line, "r--s") && strstr(line, "/memfd:faultline");
                if (frames && sscanf(line, "Rss: %llu", &kib) == 1)
                        sum += kib;
        }
        if (f)
                fclose(f);
        return sum << 10;
}

/* Who may lock little may map little from now on. */
static bool may_map(size_t bytes)
{
        void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return p != MAP_FAILED && munmap(p, bytes) == 0;
}

/* The same program reads: its frames are mapped for the engine, and the kernel would have made one for
 * each page of the file. */
static void locked_and_read(void)
{
        const char *path = test_stamped_file("mlockall_read", MANY);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char buf[PAGE];

        test_at("locked and read");
        if (syscall(SYS_mlockall, MCL_FUTURE)) {
                printf("mlockall: %s; left out\n", strerror(errno));
        } else {
                for (uint64_t i = 0; i < 8; i++) {
                        expect(fl_pread(f, buf, PAGE, (off_t)(i % 2 * PAGE)) == (ssize_t)PAGE,
                               "fl_pread: %s", fl_strerror());
                        expect(!stamp_wrong(buf, i % 2, 0), "%s", stamp_wrong(buf, i % 2, 0));
                }
                expect(frames_shown() <= MANY / 4 * PAGE, "%llu bytes of frames",
                       (unsigned long long)frames_shown());
                expect(frames_shown() > 0 || !may_map(MANY * PAGE), "no frames are mapped");
                syscall(SYS_munlockall);
        }
        close_file(f);
        close_engine(e);
}

/* MADV_DONTNEED on memory that is locked is refused, by the kernel: so the pages are still shown.
 * They were taken for unmapped, not write-protected again, and later stores not seen. */
static void locked_and_not_needed(void)
{
        const char *path = test_stamped_file("mlock", 16);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), buf[PAGE];

        test_at("locked and not needed");
        stamp_write(p, 0, 1);
        if (syscall(SYS_mlock, p, 16 * PAGE)) {
                printf("mlock: %s; left out\n", strerror(errno));
        } else {
                expect(fl_madvise(e, p, 16 * PAGE, MADV_DONTNEED) == -1 && errno == EINVAL,
                       "MADV_DONTNEED on locked memory: %s", strerror(errno));
                for (uint64_t version = 2; version < 5; version++) {
                        stamp_write(p, 0, version);
                        expect(fl_msync(e, p, PAGE, MS_SYNC) == 0, "%s", fl_strerror());
                        if (file_read(path, buf, PAGE, 0))
                                expect(!stamp_wrong(buf, 0, version), "in the file: %s",
                                       stamp_wrong(buf, 0, version));
                }
                syscall(SYS_munlock, p, 16 * PAGE);
                expect(fl_madvise(e, p, 16 * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
                expect(!stamp_wrong(p, 0, 4), "%s", stamp_wrong(p, 0, 4));
        }
        check_engine(e);
        unmap(e, p, 16 * PAGE);
        close_file(f);
        close_engine(e);
}

/* A write far behind the end that the file system refuses. The frames had grown already and were
 * left so: a touch between the two ends was a fault that no page could ever answer, for ever. */
static void growth_that_fails(void)
{
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, "ram:4096", O_RDWR);
        char *p = map_file(e, f, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        struct stat st;

        test_at("growth that fails");
        expect(fl_pwrite(f, "x", 1, (off_t)1 << 41) == -1, "there is room for 2 TiB");
        expect(fl_fstat(f, &st) == 0 && st.st_size == (off_t)PAGE, "the size is %lld",
               (long long)st.st_size);
        for (uint64_t i = 0; i < 16; i++) {
                struct caught got = try_load(p + i * PAGE, NULL);

                expect(!strcmp(caught_name(got), i ? "SIGBUS/ADRERR" : "no signal"),
                       "load of page %llu: %s", (unsigned long long)i, caught_name(got));
                got = try_store(p + i * PAGE, 1);
                expect(!strcmp(caught_name(got), i ? "SIGBUS/ADRERR" : "no signal"),
                       "store to page %llu: %s", (unsigned long long)i, caught_name(got));
        }
        check_engine(e);
        unmap(e, p, 16 * PAGE);
        close_file(f);
        close_engine(e);
}

/* The thread that reads a page itself has its answer, good or bad, and asks the disk no second time. */
static void read_once(void)
{
        const char *path = test_stamped_file("once", 64);
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .readahead = PAGE, .flags = FL_ENGINE_QUIET });
        struct fl_file *f = open_file(e, path, O_RDONLY);
        uint64_t before = get_stats(e).requests;
        char buf[PAGE];

        test_at("read once");
        for (uint64_t i = 0; i < 32; i += 2)
                expect(fl_pread(f, buf, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE &&
                               !stamp_wrong(buf, i, 0),
                       "page %llu", (unsigned long long)i);
        expect_eq(get_stats(e).requests - before, 16, "requests for 16 pages");
        require(truncate(path, 0) == 0, "%s", strerror(errno));
        before = get_stats(e).requests;
        expect(fl_pread(f, buf, PAGE, 40 * PAGE) <= 0, "what the host's file has lost was read");
        expect_eq(get_stats(e).requests - before, 1, "requests for a page that is not there");
        check_engine(e);
        close_file(f);
        close_engine(e);
}

/* A private copy is dropped behind the engine's back, and its page cannot be read again: SIGBUS.
 * The engine took the copy to be there still, raised nothing, and the load faulted for ever. */
static void copy_that_cannot_return(void)
{
        const char *path = test_stamped_file("gone", 64), *big = test_stamped_file("many", 400);
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = 64 * PAGE,
                                           .policy = "linux", /* a scan takes all */
                                           .flags = FL_ENGINE_QUIET });
        struct fl_file *f = open_file(e, path, O_RDWR), *g = open_file(e, big, O_RDONLY);
        char *p = map_file(e, f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        char *copy = p + 10 * PAGE, buf[PAGE];
        struct caught got;

        test_at("copy that cannot return");
        if (!strcmp(fl_engine_mmu(e), "sigsegv")) {
                fprintf(stderr,
                        "limits: with sigsegv nobody sees what madvise(2) does: left out\n");
                unmap(e, p, 64 * PAGE);
                close_file(f);
                close_file(g);
                close_engine(e);
                return;
        }
        *copy = 1;
        for (int i = 0; i < 400; i++) /* push the page it was made of out of the cache */
                expect(fl_pread(g, buf, PAGE, i * (off_t)PAGE) == (ssize_t)PAGE, "%s",
                       fl_strerror());
        require(truncate(path, 0) == 0 && madvise(copy, PAGE, MADV_DONTNEED) == 0, "%s",
                strerror(errno));
        got = try_load(copy, NULL);
        expect(!strcmp(caught_name(got), "SIGBUS/ADRERR"), "a copy that is gone: %s",
               caught_name(got));
        got = try_store(copy, 1);
        expect(!strcmp(caught_name(got), "SIGBUS/ADRERR"), "and again: %s", caught_name(got));
        check_engine(e); /* also that nothing is charged for it */
        unmap(e, p, 64 * PAGE);
        close_file(f);
        close_file(g);
        close_engine(e);
}

/* Reclaim frees what is missing. It freed in batches of 64, which in the smallest cache is all of
 * it: every few faults, nothing was left. */
static void small_cache_stays_full(void)
{
        const uint64_t pages = 512;
        const char *path = test_stamped_file("scan", pages);
        struct fl_engine *e = open_engine(64 * PAGE);
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, pages * PAGE, PROT_READ, MAP_SHARED, 0);
        uint64_t lowest = UINT64_MAX, most = 0;

        test_at("small cache stays full");
        expect(fl_madvise(e, p, pages * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < pages; i++) {
                uint64_t n = i * 3 % pages, held;

                expect(!stamp_wrong(p + n * PAGE, n, 0), "%s", stamp_wrong(p + n * PAGE, n, 0));
                usleep(500); /* the reclaim thread's turn */
                held = get_stats(e).cache_bytes / PAGE;
                most = held > most ? held : most;
                if (i >= 64)
                        lowest = held < lowest ? held : lowest;
        }
        expect(lowest >= most / 2, "of %llu pages, reclaim left %llu", (unsigned long long)most,
               (unsigned long long)lowest);
        check_engine(e);
        unmap(e, p, pages * PAGE);
        close_file(f);
        close_engine(e);
}

/* As many mappings as the process may have. Where they are; NULL: it may have very many. */
static char *fill_the_map(size_t *len)
{
        char *p, *q;

        *len = 400000 * PAGE;
        p = mmap(NULL, *len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        require(p != MAP_FAILED, "%s", strerror(errno));
        for (q = p; q < p + *len; q += 2 * PAGE)
                if (mprotect(q, PAGE, PROT_READ))
                        break;
        for (int i = 0; i < 4; i++) /* the last few, in what lies behind */
                mmap(p + *len - (size_t)(2 * i + 1) * PAGE, PAGE, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (q < p + *len)
                return p;
        munmap(p, *len);
        return NULL;
}

/* The kernel has no mapping to spare for what is left of one that is cut in two, and refuses. The
 * engine had forgotten the part all the same: what was there was nobody's, and a touch of what was
 * not there a fault without end. */
static void unmapping_that_fails(void)
{
        struct fl_engine *e = open_engine(CACHE);
        char *p = fl_mmap(e, NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          NULL, 0);
        unsigned char vec[16];
        size_t len;
        char *full;
        int r, error;

        test_at("unmapping that fails");
        require(p != MAP_FAILED, "%s", fl_strerror());
        for (uint64_t i = 0; i < 8; i++)
                stamp_write(p + i * PAGE, i, 1);
        full = fill_the_map(&len);
        if (full) {
                r = fl_munmap(e, p + 7 * PAGE, 2 * PAGE);
                error = errno;
                munmap(full, len);
                expect(r == -1 && error == ENOMEM, "munmap without a mapping to spare: %s",
                       r ? strerror(error) : "done");
                expect(fl_mincore(e, p, 16 * PAGE, vec) == 0, "%s", fl_strerror());
                stamp_write(p + 8 * PAGE, 8, 1);
                for (uint64_t i = 0; i < 9; i++)
                        expect(!stamp_wrong(p + i * PAGE, i, 1), "page %llu: %s",
                               (unsigned long long)i, stamp_wrong(p + i * PAGE, i, 1));
                check_engine(e);
                unmap(e, p + 7 * PAGE, 2 * PAGE);
        } else {
                printf("the kernel allows very many mappings: that part is left out\n");
        }
        unmap(e, p, 16 * PAGE);
        check_engine(e);
        close_engine(e);
}

#define LIMITED 200ul /* pages that a file may have, in the middle of what is read at once */

/* From now on, or as it was. */
static void limit_files(bool on)
{
        static struct rlimit old;
        struct rlimit now;

        if (on) {
                require(!getrlimit(RLIMIT_FSIZE, &old), "%s", strerror(errno));
                now = old;
                now.rlim_cur = LIMITED * PAGE;
                require(!setrlimit(RLIMIT_FSIZE, &now), "%s", strerror(errno));
        } else {
                require(!setrlimit(RLIMIT_FSIZE, &old), "%s", strerror(errno));
        }
}

/* The kernel refuses to fill some of the frames of a read, with a signal that ends the program; and those that it had filled belonged to no page:
 * beside the budget, and for as long as the file was open. */
static void frames_that_cannot_be_filled(void)
{
        const char *path = test_stamped_file("unfilled", 1024);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *p = map_file(e, f, 1024 * PAGE, PROT_READ, MAP_SHARED, 0), buf[PAGE];

        test_at("frames that cannot be filled");
        limit_files(true);
        expect(fl_pread(f, buf, PAGE, 900 * PAGE) == -1 && errno == EFBIG, "%s", strerror(errno));
        fl_madvise(e, p, 1024 * PAGE, MADV_WILLNEED);
        check_engine(e);
        limit_files(false);
        expect(memfd_bytes() <= get_stats(e).cache_bytes, "%llu bytes of frames, %llu of pages",
               (unsigned long long)memfd_bytes(), (unsigned long long)get_stats(e).cache_bytes);
        expect(!stamp_wrong(p + LIMITED * PAGE, LIMITED, 0), "%s",
               stamp_wrong(p + LIMITED * PAGE, LIMITED, 0));
        unmap(e, p, 1024 * PAGE);
        close_file(f);
        close_engine(e);
}

/* A file that is longer than files may become in this process, and becomes shorter. The frames did not, for
 * the limit's sake, and a touch between the two ends was a fault for ever. */
static void cut_beyond_the_limit(void)
{
        const char *path = test_stamped_file("cut", 1024);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f = open_file(e, path, O_RDWR);
        char *p = map_file(e, f, 1024 * PAGE, PROT_READ, MAP_SHARED, 0);
        struct caught got;
        struct stat st;

        test_at("cut beyond the limit");
        limit_files(true);
        expect(fl_ftruncate(f, 800 * PAGE) == 0, "%s", fl_strerror());
        got = try_load(p + 900 * PAGE, NULL);
        expect(!strcmp(caught_name(got), "SIGBUS/ADRERR"), "%s", caught_name(got));
        require(truncate(path, 600 * PAGE) == 0, "%s", strerror(errno));
        expect(fl_fstat(f, &st) == 0 && st.st_size == (off_t)(600 * PAGE), "%s", fl_strerror());
        got = try_load(p + 700 * PAGE, NULL);
        expect(!strcmp(caught_name(got), "SIGBUS/ADRERR"), "%s", caught_name(got));
        limit_files(false);
        check_engine(e);
        unmap(e, p, 1024 * PAGE);
        close_file(f);
        close_engine(e);
}

/* Another program makes a file longer than files may become in this one. That is told, and when the limit is
 * gone the file is as long as it is. It was taken to be so long at once, with frames for less, and what
 * lay behind them was a SIGBUS for ever. */
static void growth_beyond_the_limit(void)
{
        const char *path = test_stamped_file("grown", 1024);
        struct fl_engine *e = open_engine(CACHE);
        struct fl_file *f;
        struct stat st;
        char *p;

        test_at("growth beyond the limit");
        require(truncate(path, 64 * PAGE) == 0, "%s", strerror(errno));
        f = open_file(e, path, O_RDONLY);
        p = map_file(e, f, 1024 * PAGE, PROT_READ, MAP_SHARED, 0);
        require(truncate(path, 1024 * PAGE) == 0, "%s", strerror(errno));
        limit_files(true);
        expect(fl_fstat(f, &st) == -1 && errno == EFBIG, "%s", strerror(errno));
        limit_files(false);
        expect(fl_fstat(f, &st) == 0 && st.st_size == (off_t)(1024 * PAGE), "%s", fl_strerror());
        for (uint64_t i = 100; i < 1024; i += 100) {
                struct caught got = try_load(p + i * PAGE, NULL);

                expect(!got.signo, "page %llu: %s", (unsigned long long)i, caught_name(got));
        }
        check_engine(e);
        unmap(e, p, 1024 * PAGE);
        close_file(f);
        close_engine(e);
}

#define SEALED 64

static struct {
        struct fl_file *file;
        _Atomic bool stop;
        unsigned long tries;
} cutter;

static void *cut_in_vain(void *arg)
{
        test_at("cutting in vain");
        while (!atomic_load(&cutter.stop)) {
                expect(fl_ftruncate(cutter.file, 0) == -1 && errno == EPERM, "it can be cut: %s",
                       strerror(errno));
                cutter.tries++;
        }
        return arg;
}

/* One round: all pages are stored, synced, and then in the file. */
static void store_and_sync(struct fl_file *f, int fd, char value)
{
        for (off_t i = 0; i < SEALED; i++)
                expect(fl_pwrite(f, &value, 1, i * (off_t)PAGE) == 1, "%s", fl_strerror());
        expect(fl_fsync(f) == 0, "%s", fl_strerror());
        for (off_t i = 0; i < SEALED; i++) {
                char got = 0;

                expect(pread(fd, &got, 1, i * (off_t)PAGE) == 1 && got == value,
                       "page %lld has %d on the disk after fsync, not %d", (long long)i, got,
                       value);
        }
}

/* A file that does not let itself be cut, while it is written, synced and looked at. What was being
 * written when the size had fallen was taken to be behind the end, and counted as written. fsync left
 * out what was about to be cut. A load behind the end that never came to be was a SIGBUS from then on. */
static void truncation_that_fails(void)
{
        int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        struct fl_engine *e =
                open_engine_with((struct fl_engine_config){ .cache = CACHE, .perturb = 1 });
        char path[64], *p;
        pthread_t thread;
        struct fl_file *f;

        test_at("truncation that fails");
        require(fd >= 0 && ftruncate(fd, SEALED * PAGE) == 0 &&
                        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0,
                "%s", strerror(errno));
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        f = cutter.file = open_file(e, path, O_RDWR);
        p = map_file(e, f, SEALED * PAGE, PROT_READ, MAP_SHARED, 0);
        require(!pthread_create(&thread, NULL, cut_in_vain, NULL), "pthread_create");
        for (int round = 1; round <= 30 && !test_failures(); round++) {
                store_and_sync(f, fd, (char)round);
                expect(fl_evict(e, p, SEALED * PAGE) >= 0, "%s", fl_strerror());
                for (uint64_t i = 0; i < SEALED; i++) {
                        unsigned char got = 0;
                        struct caught c = try_load(p + i * PAGE, &got);

                        expect(!c.signo && got == round, "page %llu: %s, %u", (unsigned long long)i,
                               caught_name(c), got);
                }
        }
        atomic_store(&cutter.stop, true);
        pthread_join(thread, NULL);
        expect(cutter.tries > 10, "only %lu tries to cut it", cutter.tries);
        check_engine(e);
        unmap(e, p, SEALED * PAGE);
        close_file(f);
        close_engine(e);
        close(fd);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        everything_locked();
        locked_and_read();
        locked_and_not_needed();
        growth_that_fails();
        read_once();
        copy_that_cannot_return();
        small_cache_stays_full();
        unmapping_that_fails();
        frames_that_cannot_be_filled();
        cut_beyond_the_limit();
        growth_beyond_the_limit();
        truncation_that_fails();
        return test_end();
}
