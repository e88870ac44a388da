/* SPDX-License-Identifier: Apache-2.0
 *
 * solaris.c - what `--policy solaris` does with real faults: which pages are in memory after a touch, how
 * many are mapped by it, which are let go of. Worked out by hand from the rules (docs/policies.md); a
 * test has the number of its rule in its name.
 *
 * Pages are Solaris's here, 8 KiB, and so is UFS's block; a cluster is 128 KiB, 16 of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define UNIT 8192ul
#define UNITS 128u
#define CACHE (16ul << 20)

struct ground {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        const char *path;
};

static struct ground start_with(const char *policy, const char *name, int prot, int flags,
                                uint64_t page_size)
{
        struct ground g = { .path = test_stamped_file(name, UNITS * UNIT / TEST_PAGE) };
        struct fl_engine_config config = { .cache = CACHE, .readahead = 128 << 10 };

        test_at(name);
        config.policy = policy;
        config.page_size = page_size;
        g.e = open_engine_with(config);
        g.f = open_file(g.e, g.path, prot & PROT_WRITE ? O_RDWR : O_RDONLY);
        g.p = map_file(g.e, g.f, UNITS * UNIT, prot, flags, 0);
        return g;
}

static struct ground start(const char *name, int prot, int flags)
{
        return start_with("solaris", name, prot, flags, 0);
}

static void end(struct ground *g)
{
        check_engine(g->e);
        expect(fl_munmap(g->e, g->p, UNITS * UNIT) == 0, "%s", fl_strerror());
        close_file(g->f);
        close_engine(g->e);
}

/* A load from each half of it, the second first: one fault may do for both. */
static void touch(struct ground *g, unsigned unit)
{
        for (unsigned half = 2; half-- > 0;) {
                unsigned page = 2 * unit + half;
                const char *wrong = stamp_wrong(g->p + page * TEST_PAGE, page, 0);

                expect(!wrong, "page %u: %s", page, wrong);
        }
        check_engine(
                g->e); /* what has been asked for arrives, or nothing of it would be returned */
}

static void store(struct ground *g, unsigned unit)
{
        struct caught c = try_store(g->p + unit * UNIT + 100, 1);

        expect(!c.signo, "a store: %s", caught_name(c));
        check_engine(g->e);
}

static void advise(struct ground *g, unsigned unit, unsigned nr, int advice)
{
        expect(fl_madvise(g->e, g->p + unit * UNIT, nr * UNIT, advice) == 0, "%s", fl_strerror());
}

/* Units in memory, as runs: "0-2 7". Halves differ: "?". */
static const char *in_memory(struct ground *g, char *text, size_t size)
{
        unsigned char vec[2 * UNITS + 2];
        size_t n = 0;

        check_engine(g->e); /* what is being read arrives */
        expect(fl_mincore(g->e, g->p, UNITS * UNIT, vec) == 0, "%s", fl_strerror());
        vec[2 * UNITS] = vec[2 * UNITS + 1] = 0;
        text[0] = 0;
        for (unsigned i = 0, first; i < UNITS; i++) {
                if (vec[2 * i] != vec[2 * i + 1])
                        return "?";
                if (!vec[2 * i])
                        continue;
                for (first = i; vec[2 * i + 2] && vec[2 * i + 3];)
                        i++;
                n += (size_t)snprintf(text + n, size - n, first < i ? "%s%u-%u" : "%s%u",
                                      n ? " " : "", first, i);
        }
        return text;
}

#define expect_in_memory(g, expected, what)                                                        \
        do {                                                                                       \
                char text_[1024];                                                                  \
                const char *is_ = in_memory(g, text_, sizeof(text_));                              \
                                                                                                   \
                expect(!strcmp(is_, expected), "%s: in memory is %s, not %s", what, is_,           \
                       expected);                                                                  \
        } while (0)

static unsigned long faults(struct ground *g)
{
        struct fl_stats s;

        check_engine(g->e); /* a fault is counted after its thread has gone on */
        s = get_stats(g->e);
        return s.faults_major + s.faults_minor;
}

/* --- one page, and a stream */

static void S16_a_miss_reads_one_block(void)
{
        struct ground g = start("miss", PROT_READ, MAP_SHARED);

        touch(&g, 25);
        expect_in_memory(&g, "25", "one block");
        touch(&g, 80);
        touch(&g, 40);
        expect_in_memory(&g, "25 40 80", "three");
        end(&g);
}

static void S14_S15_S16_S17_a_stream_from_the_start(void)
{
        struct ground g = start("stream", PROT_READ, MAP_SHARED);

        touch(&g, 0); /* the first block, and the second as read-ahead, both alone */
        expect_in_memory(&g, "0-1", "the first block");
        touch(&g, 1); /* 8 K + 128 K >= 16 K: the next cluster is due */
        expect_in_memory(&g, "0-17", "the second block");
        touch(&g, 2); /* 16 K + 128 K >= 144 K: the next */
        expect_in_memory(&g, "0-33", "the third block");
        touch(&g, 10); /* eight blocks came with the third; 80 K + 128 K < 272 K */
        expect_in_memory(&g, "0-33", "not due");
        touch(&g, 18);
        expect_in_memory(&g, "0-49", "due");
        end(&g);
}

static void S16_a_stream_in_the_middle(void)
{
        struct ground g = start("middle", PROT_READ, MAP_SHARED);

        touch(&g, 30);
        expect_in_memory(&g, "30", "no stream yet");
        touch(&g, 31); /* a cluster that is waited for, and the next */
        expect_in_memory(&g, "30-62", "a stream");
        touch(&g, 120);
        touch(&g, 121); /* to the end of the file */
        expect_in_memory(&g, "30-62 120-127", "the end of the file");
        end(&g);
}

static void S14_a_stream_is_broken_by_another_access(void)
{
        struct ground g = start("broken", PROT_READ, MAP_SHARED);

        touch(&g, 30);
        touch(&g, 90);
        touch(&g, 31);
        expect_in_memory(&g, "30-31 90", "no stream");
        end(&g);
}

static void S15_reads_make_streams_as_well(void)
{
        struct ground g = start("reads", PROT_READ, MAP_SHARED);
        char buf[UNIT];

        expect(fl_pread(g.f, buf, UNIT, 50 * UNIT) == (ssize_t)UNIT, "%s", fl_strerror());
        expect_in_memory(&g, "50", "no stream");
        expect(fl_pread(g.f, buf, UNIT, 51 * UNIT) == (ssize_t)UNIT, "%s", fl_strerror());
        expect_in_memory(&g, "50-82", "a stream");
        expect(fl_pread(g.f, buf, UNIT, 52 * UNIT) == (ssize_t)UNIT, "%s", fl_strerror());
        expect_in_memory(&g, "50-82", "not due"); /* 52 + 16 < 83 */
        for (unsigned i = 53; i < 68; i++)
                expect(fl_pread(g.f, buf, UNIT, (off_t)(i * UNIT)) == (ssize_t)UNIT, "%s",
                       fl_strerror());
        expect_in_memory(&g, "50-98", "due from 67 on");
        end(&g);
}

/* --- advice */

static void S13_S18_random_reads_one_page(void)
{
        struct ground g = start("random", PROT_READ, MAP_SHARED);

        advise(&g, 0, UNITS, MADV_RANDOM);
        for (unsigned i = 40; i < 44; i++)
                touch(&g, i);
        expect_in_memory(&g, "40-43", "a stream under RANDOM");
        end(&g);
}

static void S13_read_ahead_stops_at_a_page_advised_otherwise(void)
{
        struct ground g = start("part", PROT_READ, MAP_SHARED);

        advise(&g, 40, 8, MADV_RANDOM);
        touch(&g, 30);
        touch(&g, 31); /* the cluster ends before 40; the next may not begin there */
        expect_in_memory(&g, "30-39", "up to the page that is advised otherwise");
        end(&g);
}

static void S8_free_behind(void)
{
        struct ground g = start("behind", PROT_READ, MAP_SHARED);

        advise(&g, 0, UNITS, MADV_SEQUENTIAL);
        for (unsigned i = 0; i < 4; i++)
                touch(&g, i);
        /* The fault on 2 mapped eight pages: 3 made none. The segment's first page stays. */
        expect_in_memory(&g, "0 2-33", "behind the third");
        touch(&g, 10);
        expect_in_memory(&g, "0 10-33", "behind the eleventh");
        end(&g);
}

static void S8_free_behind_goes_back_to_the_first_page_not_in_memory(void)
{
        struct ground g = start("walk", PROT_READ, MAP_SHARED);

        for (unsigned i = 20; i < 24; i++)
                touch(&g, i);
        for (unsigned i = 60; i < 70; i += 3)
                touch(&g, i);
        advise(&g, 0, UNITS, MADV_SEQUENTIAL);
        expect_in_memory(&g, "20-52 60 63 66 69", "before");
        touch(&g, 64);
        expect_in_memory(&g, "20-52 60 64 66 69", "63 only");
        end(&g);
}

static void S8_locked_pages_stay(void)
{
        struct ground g = start("locked", PROT_READ, MAP_SHARED);

        for (unsigned i = 20; i < 24; i++)
                touch(&g, i);
        expect(fl_mlock(g.e, g.p + 22 * UNIT, UNIT) == 0, "%s", fl_strerror());
        advise(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch(&g, 40);
        expect_in_memory(&g, "22 40-52", "what is locked stays, the walk goes on");
        expect(fl_munlock(g.e, g.p + 22 * UNIT, UNIT) == 0, "%s", fl_strerror());
        end(&g);
}

static void S8_dirty_pages_are_written_first(void)
{
        struct ground g = start("dirty", PROT_READ | PROT_WRITE, MAP_SHARED);
        char byte = 0;

        for (unsigned i = 50; i < 53; i++)
                store(&g, i);
        advise(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch(&g, 60); /* 52 mapped eight pages */
        expect(file_read(g.path, &byte, 1, 52 * UNIT + 100) && byte == 1, "not written: %d", byte);
        expect_in_memory(&g, "60-82", "and they are gone");
        end(&g);
}

/* --- what a fault maps */

static void S10_all_that_is_returned_is_mapped(void)
{
        struct ground g = start("extra", PROT_READ, MAP_SHARED);
        char buf[16 * UNIT];
        unsigned long before;

        expect(fl_pread(g.f, buf, sizeof(buf), 32 * UNIT) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        touch(&g, 32);
        before = faults(&g);
        for (unsigned i = 33; i < 40; i++)
                touch(&g, i);
        expect_eq(faults(&g), before, "eight pages are mapped");
        touch(&g, 40);
        expect_eq(faults(&g), before + 1, "not the ninth");
        touch(&g, 31);
        expect_eq(faults(&g), before + 2, "nor what lies before");
        end(&g);
}

static void S9_hat_probe_a_mapped_page_behind_it_keeps_a_fault_to_its_own(void)
{
        struct ground g = start("probe", PROT_READ | PROT_WRITE, MAP_PRIVATE);
        char buf[16 * UNIT];
        unsigned long before;

        expect(fl_pread(g.f, buf, sizeof(buf), 32 * UNIT) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        for (unsigned half = 0; half < 2; half++) { /* a private store maps its own page only */
                struct caught c = try_store(g.p + 37 * UNIT + half * TEST_PAGE, 0);

                expect(!c.signo, "a store: %s", caught_name(c));
        }
        touch(&g, 36); /* 37 is mapped */
        before = faults(&g);
        touch(&g, 38); /* so this is not: and with it eight are */
        expect_eq(faults(&g), before + 1, "38 was not mapped with 36");
        touch(&g, 45);
        expect_eq(faults(&g), before + 1, "45 with 38");
        end(&g);
}

static void S9_both_halves_of_a_page_go_together(void)
{
        struct ground g = start("halves", PROT_READ | PROT_WRITE, MAP_SHARED);
        unsigned long before;
        struct caught c;
        char byte = 0;

        store(&g, 70);
        before = faults(&g);
        for (unsigned half = 0; half < 2; half++) {
                c = try_store(g.p + 70 * UNIT + half * TEST_PAGE + 8, 1);
                expect(!c.signo, "a store: %s", caught_name(c));
        }
        expect_eq(faults(&g), before, "one fault made both halves writable");
        expect_in_memory(&g, "70", "both in memory");
        touch(&g,
              90); /* shown, and protected; then the first store is to the one, and then the other */
        store(&g, 90);
        before = faults(&g);
        c = try_store(g.p + 90 * UNIT + TEST_PAGE + 8, 1);
        expect(!c.signo, "a store: %s", caught_name(c));
        expect_eq(faults(&g), before, "again");
        expect(fl_msync(g.e, g.p, UNITS * UNIT, MS_SYNC) == 0, "%s", fl_strerror());
        expect(file_read(g.path, &byte, 1, 90 * UNIT + TEST_PAGE + 8) && byte == 1,
               "a store that nobody saw: %d", byte);
        end(&g);
}

/* --- memory that is advised: S29 */

static void S29_sequential_unloads_so_that_faults_recur(void)
{
        struct ground g = start("unload", PROT_READ, MAP_SHARED);
        unsigned long before;

        touch(&g, 20);
        before = faults(&g);
        touch(&g, 20);
        expect_eq(faults(&g), before, "it is mapped");
        advise(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch(&g, 20);
        expect_eq(faults(&g), before + 1, "and is not any more");
        end(&g);
}

static void S29_dontneed_writes_and_destroys(void)
{
        struct ground g = start("dontneed", PROT_READ | PROT_WRITE, MAP_SHARED);
        char byte = 0;

        store(&g, 20);
        touch(&g, 30);
        advise(&g, 20, 11, MADV_DONTNEED);
        expect_in_memory(&g, "", "the file's pages go");
        expect(file_read(g.path, &byte, 1, 20 * UNIT + 100) && byte == 1, "not written: %d", byte);
        end(&g);
}

static void S29_dontneed_loses_nothing_private(void)
{
        struct ground g = start("keeps", PROT_READ | PROT_WRITE, MAP_PRIVATE);

        store(&g, 20);
        advise(&g, 0, UNITS, MADV_DONTNEED);
        expect_eq(g.p[20 * UNIT + 100], 1, "a private store");
        end(&g);
}

static void S25_S29_errors_of_advice(void)
{
        struct ground g = start("advice", PROT_READ | PROT_WRITE, MAP_SHARED);

        store(&g, 20);
        advise(&g, 0, UNITS, MADV_FREE); /* not of a file: nothing */
        expect_in_memory(&g, "20", "FREE");
        expect(fl_madvise(g.e, g.p, 0, MADV_NORMAL) < 0 && errno == EINVAL, "no length");
        expect(fl_madvise(g.e, g.p + 1, UNIT, MADV_RANDOM) < 0 && errno == EINVAL, "inside a page");
        expect(fl_madvise(g.e, g.p, UNIT, 77) < 0 && errno == EINVAL, "unknown");
        expect(fl_munmap(g.e, g.p + 40 * UNIT, UNIT) == 0, "%s", fl_strerror());
        expect(fl_madvise(g.e, g.p, UNITS * UNIT, MADV_WILLNEED) < 0 && errno == ENOMEM, "a hole");
        expect(strstr(fl_strerror(), "madvise"), "what was tried: %s", fl_strerror());
        end(&g);
}

/* --- mmap */

static int map_error(struct ground *g, struct fl_file *f, size_t len, int prot, int flags, off_t at)
{
        void *p = fl_mmap(g->e, NULL, len, prot, flags, f, at);

        if (p == MAP_FAILED)
                return errno;
        fl_munmap(g->e, p, len);
        return 0;
}

static void S1_S2_S3_errors_of_mmap(void)
{
        struct ground g = start("errors", PROT_READ, MAP_SHARED);
        const int rw = PROT_READ | PROT_WRITE;

        expect_eq(map_error(&g, g.f, 0, PROT_READ, MAP_SHARED, 0), EINVAL, "S1: no length");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, 0, 0), EINVAL, "S1: no type");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED_VALIDATE, 0), EINVAL, "S1");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, 100), EINVAL, "S1: the offset");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 0), EINVAL,
                  "S1: MAP_ANON with a file");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, -8192), ENXIO, "S2: offset < 0");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, INT64_MAX - 4095), EOVERFLOW,
                  "S2: behind the largest offset");
        expect_eq(map_error(&g, g.f, UNIT, rw, MAP_SHARED, 0), EACCES, "S2: more than maxprot");
        expect_eq(map_error(&g, g.f, UNIT, rw, MAP_PRIVATE, 0), 0, "S2: private");
        expect(fl_mprotect(g.e, g.p, UNIT, rw) < 0 && errno == EACCES, "S5: beyond maxprot");
        end(&g);
}

static void book_protection_is_reduced(void)
{
        struct ground g = start_with("solaris-book", "reduced", PROT_READ, MAP_SHARED, 0);
        struct fl_mapping_info info = { .size = sizeof(info) };
        char *p = map_file(g.e, g.f, UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

        expect(fl_mapping_info(g.e, p, &info) == 0, "%s", fl_strerror());
        expect_eq(info.prot, PROT_READ, "what is left");
        expect(fl_munmap(g.e, p, UNIT) == 0, "%s", fl_strerror());
        end(&g);
}

/* `chmod g+s,g-x` of a file makes its record locks mandatory. */
static void S3_L38_mandatory_locks(void)
{
        static const struct {
                const char *policy;
                int shared, private;   /* while a lock is held */
                int shared_, private_; /* while none is */
        } rows[] = {
                { "linux", 0, 0, 0, 0 },
                { "linux-5.13", EAGAIN, 0, 0, 0 },
                { "solaris", EAGAIN, EAGAIN, 0, 0 },
                { "solaris-book", EAGAIN, EAGAIN, EAGAIN, EAGAIN },
        };

        for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                struct ground g = start_with(rows[i].policy, "mandatory", PROT_READ, MAP_SHARED, 0);
                struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
                int fd = open(g.path, O_RDWR);

                expect_eq(fcntl(fd, F_OFD_SETLK, &lock), 0, "a lock");
                expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, 0), 0, "not mandatory");
                expect(chmod(g.path, 02644) == 0, "chmod g+s,g-x");
                expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, 0), rows[i].shared,
                          rows[i].policy);
                expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_PRIVATE, 0), rows[i].private,
                          rows[i].policy);
                close(fd); /* and with it the lock */
                expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, 0), rows[i].shared_,
                          rows[i].policy);
                expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_PRIVATE, 0), rows[i].private_,
                          rows[i].policy);
                expect(chmod(g.path, 02654) == 0, "chmod g+s,g+x");
                expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, 0), 0,
                          "a group that runs it");
                end(&g);
        }
}

static void S4_S5_swap_is_reserved(void)
{
        struct ground g = start("reserve", PROT_READ, MAP_SHARED);
        const int rw = PROT_READ | PROT_WRITE, own = MAP_PRIVATE | MAP_ANONYMOUS;
        char *p, *q;

        p = fl_mmap(g.e, NULL, CACHE / 2, rw, own, NULL, 0);
        expect(p != MAP_FAILED, "%s", fl_strerror());
        expect_eq(map_error(&g, NULL, CACHE / 2, rw, own, 0), EAGAIN, "S4: half, and half again");
        expect_eq(map_error(&g, NULL, CACHE / 2, rw, own | MAP_NORESERVE, 0), 0, "S4: NORESERVE");
        q = fl_mmap(g.e, NULL, CACHE / 2, PROT_READ, MAP_PRIVATE, g.f, 0);
        expect(q != MAP_FAILED, "S4: not to be stored to: %s", fl_strerror());
        expect(fl_mprotect(g.e, q, CACHE / 2, rw) < 0 && errno == ENOMEM, "S5: to be stored to");
        expect(fl_munmap(g.e, p, CACHE / 2) == 0, "%s", fl_strerror());
        expect(fl_mprotect(g.e, q, CACHE / 2, rw) == 0, "S5: with room: %s", fl_strerror());
        expect(fl_munmap(g.e, q, CACHE / 2) == 0, "%s", fl_strerror());
        expect_eq(map_error(&g, NULL, CACHE / 2, rw, own, 0), 0, "S4: given back");
        end(&g);
}

/* What is mapped over gives back what it had been promised; what becomes longer is promised more. */
static void S4_replaced_and_grown(void)
{
        struct ground g = start("grown", PROT_READ, MAP_SHARED);
        const int rw = PROT_READ | PROT_WRITE, own = MAP_PRIVATE | MAP_ANONYMOUS;
        size_t part = CACHE / 8 * 5;
        char *p, *q;

        p = fl_mmap(g.e, NULL, part, rw, own, NULL, 0);
        expect(p != MAP_FAILED, "%s", fl_strerror());
        expect(fl_mmap(g.e, p, part, rw, own | MAP_FIXED, NULL, 0) == p, "in its own place: %s",
               fl_strerror());
        expect_eq(map_error(&g, NULL, part, rw, own, 0), EAGAIN, "and beside it");
        q = fl_mremap(g.e, p, part, 2 * part, MREMAP_MAYMOVE);
        expect(q == MAP_FAILED && errno == ENOMEM, "twice as long: %s", strerror(errno));
        q = fl_mremap(g.e, p, part, part + UNIT, MREMAP_MAYMOVE);
        expect(q != MAP_FAILED, "a little longer: %s", fl_strerror());
        expect(fl_munmap(g.e, q, part + UNIT) == 0, "%s", fl_strerror());
        end(&g);
}

/* --- the size of a page */

static void S9_pages_of_other_sizes(void)
{
        struct ground g = start_with("solaris", "small", PROT_READ, MAP_SHARED, 4096);
        unsigned long before;
        unsigned char vec[5];
        char buf[16 * UNIT];

        touch(&g, 30); /* the second half with what follows in a block's length, then the first */
        expect(fl_mincore(g.e, g.p + 59 * TEST_PAGE, 5 * TEST_PAGE, vec) == 0, "%s", fl_strerror());
        for (unsigned i = 0; i < 5; i++)
                expect(vec[i] == (i >= 1 && i <= 3), "page %u: %d", 59 + i, vec[i]);
        expect(fl_pread(g.f, buf, sizeof(buf), 64 * UNIT) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        touch(&g, 64);
        before = faults(&g);
        touch(&g, 67);
        expect_eq(faults(&g), before, "eight pages are 32 KiB");
        touch(&g, 70);
        expect_eq(faults(&g), before + 2, "each half by itself, the second first");
        end(&g);
        g = start_with("solaris", "large", PROT_READ, MAP_SHARED, 32768);
        touch(&g, 33);
        expect_in_memory(&g, "32-35", "a page of 32 KiB");
        end(&g);
}

static void page_sizes_that_are_none(void)
{
        static const struct {
                const char *policy;
                uint64_t size;
        } bad[] = { { "solaris", 6000 },    { "solaris", 12288 }, { "solaris", 2048 },
                    { "solaris", 1 << 17 }, { "linux", 8192 },    { NULL, 5000 } };

        for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                struct fl_engine_config c = { .size = sizeof(c), .cache = CACHE };

                c.policy = bad[i].policy;
                c.page_size = bad[i].size;
                expect(!fl_engine_open(&c) && errno == EINVAL &&
                               strstr(fl_strerror(), "choosing a page size"),
                       "%llu: %s", (unsigned long long)bad[i].size, fl_strerror());
        }
}

/* --- the book, part 4 */

static void book_a_page_at_the_fault_and_eight_at_each_64_KiB(void)
{
        struct ground g = start_with("solaris-book", "book", PROT_READ, MAP_SHARED, 0);

        touch(&g, 3);
        expect_in_memory(&g, "3", "one page");
        touch(&g, 8);
        expect_in_memory(&g, "3 8-16", "a boundary");
        touch(&g, 16);
        expect_in_memory(&g, "3 8-24", "the next, which was there");
        advise(&g, 0, UNITS, MADV_RANDOM);
        touch(&g, 80);
        expect_in_memory(&g, "3 8-24 80-88", "RANDOM only forbids the cluster");
        end(&g);
}

static void book_the_file_systems_cluster_unless_shared_or_random(void)
{
        struct ground g = start_with("solaris-book", "cluster", PROT_READ, MAP_PRIVATE, 0);

        touch(&g, 40);
        expect_in_memory(&g, "40-56", "a cluster");
        advise(&g, 0, UNITS, MADV_RANDOM);
        touch(&g, 80);
        expect_in_memory(&g, "40-56 80-88", "RANDOM");
        end(&g);
}

static void book_sequential_frees_all_up_to_the_fault(void)
{
        struct ground g = start_with("solaris-book", "upto", PROT_READ, MAP_SHARED, 0);

        touch(&g, 1);
        touch(&g, 3);
        touch(&g, 20);
        advise(&g, 0, UNITS, MADV_SEQUENTIAL);
        touch(&g, 61);
        expect_in_memory(&g, "61", "holes, and the first page, do not matter");
        end(&g);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        S16_a_miss_reads_one_block();
        S14_S15_S16_S17_a_stream_from_the_start();
        S16_a_stream_in_the_middle();
        S14_a_stream_is_broken_by_another_access();
        S15_reads_make_streams_as_well();
        S13_S18_random_reads_one_page();
        S13_read_ahead_stops_at_a_page_advised_otherwise();
        S8_free_behind();
        S8_free_behind_goes_back_to_the_first_page_not_in_memory();
        S8_locked_pages_stay();
        S8_dirty_pages_are_written_first();
        S10_all_that_is_returned_is_mapped();
        S9_hat_probe_a_mapped_page_behind_it_keeps_a_fault_to_its_own();
        S9_both_halves_of_a_page_go_together();
        S29_sequential_unloads_so_that_faults_recur();
        S29_dontneed_writes_and_destroys();
        S29_dontneed_loses_nothing_private();
        S25_S29_errors_of_advice();
        S1_S2_S3_errors_of_mmap();
        book_protection_is_reduced();
        S3_L38_mandatory_locks();
        S4_S5_swap_is_reserved();
        S4_replaced_and_grown();
        S9_pages_of_other_sizes();
        page_sizes_that_are_none();
        book_a_page_at_the_fault_and_eight_at_each_64_KiB();
        book_the_file_systems_cluster_unless_shared_or_random();
        book_sequential_frees_all_up_to_the_fault();
        return test_end();
}
