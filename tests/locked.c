/* SPDX-License-Identifier: Apache-2.0
 *
 * locked.c - what is locked stays: under pressure, shown by two mappings, asked for by fl_evict; and
 * goes again when it is unlocked or unmapped. The limit leaves room for others.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "mman.h"

#define PAGES 512u
#define LOCKED 48u
#define CACHE (128 * TEST_PAGE)
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)

static struct fl_engine *engine;
static struct fl_file *file;

static unsigned resident(char *p, unsigned nr)
{
        return (unsigned)resident_pages(engine, p, nr);
}

/* Everything behind the locked pages, twice: far more than the cache holds. */
static void press(char *p)
{
        for (unsigned round = 0; round < 2; round++)
                for (unsigned i = LOCKED; i < PAGES; i++) {
                        const char *wrong = stamp_wrong(p + BYTES(i), i, 0);

                        expect(!wrong, "page %u: %s", i, wrong);
                }
}

static void stays(char *p)
{
        char *q = map_file(engine, file, BYTES(LOCKED), PROT_READ, MAP_SHARED, 0);

        expect(fl_mlock(engine, p + 7, BYTES(LOCKED) - 7) == 0, "%s", fl_strerror());
        expect_eq(resident(p, LOCKED), LOCKED, "locked, and there");
        press(p);
        expect_eq(resident(p, LOCKED), LOCKED, "locked, under pressure");
        expect_eq(fl_evict(engine, q, BYTES(LOCKED)), 0, "evicted of what another has locked");
        expect(fl_madvise(engine, p, BYTES(LOCKED), MADV_DONTNEED) == -1 && errno == EINVAL,
               "DONTNEED of what is locked: %s", strerror(errno));
        expect(fl_msync(engine, p, BYTES(LOCKED), MS_SYNC | MS_INVALIDATE) == -1 && errno == EBUSY,
               "MS_INVALIDATE of what is locked: %s", strerror(errno));
        expect(fl_munlock(engine, p, BYTES(LOCKED / 2)) == 0, "%s", fl_strerror());
        press(p);
        expect(resident(p, LOCKED / 2) < LOCKED / 2, "unlocked, and all there");
        expect_eq(resident(p + BYTES(LOCKED / 2), LOCKED / 2), LOCKED / 2, "still locked");
        expect(fl_munmap(engine, p + BYTES(LOCKED / 2), BYTES(LOCKED / 2)) == 0, "%s",
               fl_strerror());
        press(p);
        expect(resident(q + BYTES(LOCKED / 2), LOCKED / 2) < LOCKED / 2, "unmapped, and all there");
        expect(fl_munmap(engine, q, BYTES(LOCKED)) == 0, "%s", fl_strerror());
}

static void limits(char *p)
{
        char *q;

        expect(fl_mlock(engine, p, BYTES(PAGES)) == -1 && errno == ENOMEM, "more than there is: %s",
               strerror(errno));
        q = fl_mmap(engine, NULL, BYTES(PAGES), PROT_READ, MAP_SHARED | MAP_LOCKED, file, 0);
        expect(q == MAP_FAILED && errno == EAGAIN, "MAP_LOCKED of more than there is: %s",
               strerror(errno));
        q = map_file(engine, file, BYTES(16), PROT_READ, MAP_SHARED | MAP_LOCKED, 0);
        expect_eq(resident(q, 16), 16, "MAP_LOCKED");
        expect(fl_munmap(engine, q, BYTES(16)) == 0, "%s", fl_strerror());
        q = map_file(engine, file, BYTES(16), PROT_READ, MAP_SHARED | MAP_POPULATE, BYTES(100));
        expect_eq(resident(q, 16), 16, "MAP_POPULATE");
        expect(fl_munmap(engine, q, BYTES(16)) == 0, "%s", fl_strerror());
}

/* Only what has been touched. */
static void on_fault(char *p)
{
        fl_evict(engine, p, BYTES(PAGES));
        expect(fl_madvise(engine, p, BYTES(PAGES), MADV_RANDOM) == 0, "%s", fl_strerror());
        expect(fl_mlock2(engine, p, BYTES(LOCKED), MLOCK_ONFAULT) == 0, "%s", fl_strerror());
        expect_eq(resident(p, LOCKED), 0, "there before it is touched");
        expect(!stamp_wrong(p + BYTES(3), 3, 0), "page 3");
        press(p);
        expect_eq(resident(p + BYTES(3), 1), 1, "locked when touched");
        expect(fl_mlock2(engine, p, TEST_PAGE, 2) == -1 && errno == EINVAL, "an unknown flag: %s",
               strerror(errno));
        expect(fl_munlock(engine, p, BYTES(LOCKED)) == 0, "%s", fl_strerror());
}

static uint64_t copies(void)
{
        return get_stats(engine).cow_copies;
}

/* What comes to a locked mapping is there at once: private pages that may be stored to as copies. */
static void gains(void)
{
        uint64_t before = copies();
        char *q = map_file(engine, file, BYTES(4), PROT_READ, MAP_PRIVATE | MAP_LOCKED, 0);

        expect_eq(copies() - before, 0, "copies of what may be read");
        expect(fl_mprotect(engine, q, BYTES(4), PROT_READ | PROT_WRITE) == 0, "%s", fl_strerror());
        expect_eq(copies() - before, 4, "copies of what may be written");
        q = fl_mremap(engine, q, BYTES(4), BYTES(7), MREMAP_MAYMOVE);
        require(q != MAP_FAILED, "%s", fl_strerror());
        expect_eq(copies() - before, 7, "copies after it has grown");
        expect(fl_munmap(engine, q + BYTES(4), BYTES(3)) == 0, "%s", fl_strerror());
        /* Not so when they are locked as they are touched. */
        before = copies();
        expect(fl_mprotect(engine, q, BYTES(4), PROT_READ) == 0, "%s", fl_strerror());
        expect(fl_madvise(engine, q, BYTES(4), MADV_DONTNEED_LOCKED) == 0, "%s", fl_strerror());
        expect(fl_mlock2(engine, q, BYTES(4), MLOCK_ONFAULT) == 0, "%s", fl_strerror());
        expect(fl_mprotect(engine, q, BYTES(4), PROT_READ | PROT_WRITE) == 0, "%s", fl_strerror());
        expect_eq(copies() - before, 0, "copies of what is locked when it is touched");
        expect(fl_munmap(engine, q, BYTES(4)) == 0, "%s", fl_strerror());
}

/* All that may be private is locked, and a store does not fit: it never will, as things are. Unlocked, the
 * next one fits, whatever was said of the one before. */
static void room_again(void)
{
        struct fl_mapping_config share = { .size = sizeof(share), .share = BYTES(40) };
        struct fl_engine *e = open_engine_with((struct fl_engine_config){
                .cache = CACHE, .swap = "ram:4M", .flags = FL_ENGINE_QUIET });
        struct fl_file *f = open_file(e, test_stamped_file("share", PAGES), O_RDONLY);
        char *p = map_file(e, f, BYTES(PAGES), PROT_READ, MAP_SHARED, 0), *a, *b;
        unsigned nr = CACHE / TEST_PAGE;

        test_at("room again");
        require(fl_mapping_set(e, p, BYTES(PAGES), &share) == 0, "%s", fl_strerror());
        a = map_file(e, NULL, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        b = map_file(e, NULL, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
        while (nr && fl_mlock(e, a, BYTES(nr)) && errno == ENOMEM)
                nr--;
        for (unsigned i = 0; i < 20; i++) {
                struct caught c = try_store(b + BYTES(2 * i), 1);

                expect(c.signo == SIGBUS, "a store beyond what may be private: %s", caught_name(c));
                expect(fl_munlock(e, a, BYTES(nr)) == 0, "%s", fl_strerror());
                c = try_store(b + BYTES(2 * i + 1), 1);
                expect(c.signo == 0, "unlocked, there is room: %s", caught_name(c));
                expect(fl_madvise(e, b, BYTES(PAGES), MADV_DONTNEED) == 0, "%s", fl_strerror());
                expect(fl_mlock(e, a, BYTES(nr)) == -1 && errno == EAGAIN, "all of it fits: %s",
                       strerror(errno));
        }
        check_engine(e);
        expect(fl_munmap(e, a, BYTES(PAGES)) == 0 && fl_munmap(e, b, BYTES(PAGES)) == 0, "%s",
               fl_strerror());
        expect(fl_munmap(e, p, BYTES(PAGES)) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        char *p;

        test_begin(argc, argv, 1, 1, 60);
        engine = open_engine_with((struct fl_engine_config){ .cache = CACHE });
        file = open_file(engine, test_stamped_file("locked", PAGES), O_RDWR);
        p = map_file(engine, file, BYTES(PAGES), PROT_READ, MAP_SHARED, 0);
        test_at("staying");
        stays(p);
        p = fl_mmap(engine, p, BYTES(PAGES), PROT_READ, MAP_SHARED | MAP_FIXED, file, 0);
        test_at("limits");
        limits(p);
        test_at("on fault");
        on_fault(p);
        test_at("what is gained");
        gains();
        check_engine(engine);
        close_file(file);
        close_engine(engine);
        room_again();
        return test_end();
}
