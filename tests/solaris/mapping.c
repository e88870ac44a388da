/* SPDX-License-Identifier: Apache-2.0
 *
 * mapping.c - mmap's errors (S1 to S3), swap that is promised (S4, S5), the size of a page.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ground.h"

static int map_error(struct ground *g, struct fl_file *f, size_t len, int prot, int flags, off_t at)
{
        void *p = fl_mmap(g->e, NULL, len, prot, flags, f, at);

        if (p == MAP_FAILED)
                return errno;
        fl_munmap(g->e, p, len);
        return 0;
}

/* All of them, and their order: tests/unit/test_smmap.c. */
static void S1_errors_of_arguments(void)
{
        struct ground g = start_ground("arguments", PROT_READ, MAP_SHARED);

        expect_eq(map_error(&g, g.f, 0, PROT_READ, MAP_SHARED, 0), EINVAL, "no length");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, 0, 0), EINVAL, "no type");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED_VALIDATE, 0), EINVAL, "both");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, 100), EINVAL, "the offset");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 0), EINVAL,
                  "MAP_ANON with a file");
        expect(strstr(fl_strerror(), "mapping"), "what was tried: %s", fl_strerror());
        end_ground(&g);
}

static void S2_errors_of_offsets_and_protection(void)
{
        struct ground g = start_ground("offsets", PROT_READ, MAP_SHARED);
        const int rw = PROT_READ | PROT_WRITE;

        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, -8192), ENXIO, "below zero");
        expect_eq(map_error(&g, g.f, UNIT, PROT_READ, MAP_SHARED, INT64_MAX - 4095), EOVERFLOW,
                  "behind the largest offset");
        expect_eq(map_error(&g, g.f, UNIT, rw, MAP_SHARED, 0), EACCES, "more than maxprot");
        expect_eq(map_error(&g, g.f, UNIT, rw, MAP_PRIVATE, 0), 0, "private");
        end_ground(&g);
}

static void S5_protection_beyond_maxprot(void)
{
        struct ground g = start_ground("maxprot", PROT_READ, MAP_SHARED);

        expect(fl_mprotect(g.e, g.p, UNIT, PROT_READ | PROT_WRITE) < 0 && errno == EACCES,
               "a shared mapping of what is open for reading");
        expect(fl_mprotect(g.e, g.p, UNIT, PROT_NONE) == 0, "%s", fl_strerror());
        end_ground(&g);
}

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
                struct ground g =
                        start_ground_with(rows[i].policy, "mandatory", PROT_READ, MAP_SHARED, 0);
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
                end_ground(&g);
        }
}

static void S4_S5_swap_is_reserved(void)
{
        struct ground g = start_ground("reserve", PROT_READ, MAP_SHARED);
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
        end_ground(&g);
}

/* What is mapped over gives back what it had been promised; what becomes longer is promised more. */
static void S4_replaced_and_grown(void)
{
        struct ground g = start_ground("grown", PROT_READ, MAP_SHARED);
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
        end_ground(&g);
}

static void S9_pages_of_other_sizes(void)
{
        struct ground g = start_ground_with("solaris", "small", PROT_READ, MAP_SHARED, 4096);
        unsigned long before;
        unsigned char vec[5];
        char buf[16 * UNIT];

        touch_unit(&g,
                   30); /* the second half with what follows in a block's length, then the first */
        expect(fl_mincore(g.e, g.p + 59 * TEST_PAGE, 5 * TEST_PAGE, vec) == 0, "%s", fl_strerror());
        for (unsigned i = 0; i < 5; i++)
                expect(vec[i] == (i >= 1 && i <= 3), "page %u: %d", 59 + i, vec[i]);
        expect(fl_pread(g.f, buf, sizeof(buf), 64 * UNIT) == (ssize_t)sizeof(buf), "%s",
               fl_strerror());
        touch_unit(&g, 64);
        before = count_faults(&g);
        touch_unit(&g, 67);
        expect_eq(count_faults(&g), before, "eight pages are 32 KiB");
        touch_unit(&g, 70);
        expect_eq(count_faults(&g), before + 2, "each half by itself, the second first");
        end_ground(&g);
        g = start_ground_with("solaris", "large", PROT_READ, MAP_SHARED, 32768);
        touch_unit(&g, 33);
        expect_in_memory(&g, "32-35", "a page of 32 KiB");
        end_ground(&g);
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

void test_mapping(void)
{
        S1_errors_of_arguments();
        S2_errors_of_offsets_and_protection();
        S5_protection_beyond_maxprot();
        S3_L38_mandatory_locks();
        S4_S5_swap_is_reserved();
        S4_replaced_and_grown();
        S9_pages_of_other_sizes();
        page_sizes_that_are_none();
}
