/* SPDX-License-Identifier: Apache-2.0
 *
 * memcntl.c - Solaris's memcntl and incore, one function a rule, its number first in the name. Errors
 * are in tests/errno. Two scenes look into the engine: one has a page's lock for a moment, one asks for a
 * page to go as fsflush does.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"

#define PAGES 256u
#define CACHE (1024 * TEST_PAGE)
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)
#define ARG(n) ((void *)(uintptr_t)(n))

static struct fl_engine *engine;
static struct fl_file *file;
static const char *path;
static char *p; /* all of the file, shared */

static unsigned resident(char *at, unsigned nr)
{
        return (unsigned)resident_pages(engine, at, nr);
}

static unsigned incore(char *at)
{
        unsigned char flags = 0xff;

        expect(fl_incore(engine, at, 1, &flags) == 0, "%s", fl_strerror());
        return flags;
}

static int memcntl(char *at, unsigned nr, int cmd, unsigned long arg, int attr)
{
        return fl_memcntl(engine, at, BYTES(nr), cmd, ARG(arg), attr, 0);
}

#define done(...) expect(memcntl(__VA_ARGS__) == 0, "%s", fl_strerror())

/* Begins with nothing in the cache and nothing dirty. */
static void fresh(void)
{
        fl_munmap(engine, p, BYTES(PAGES));
        p = map_file(engine, file, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        /* What is being read, or goes for what was asked before, is let alone by the first. */
        for (unsigned i = 0; i < 500 && (!i || resident(p, PAGES)); i++) {
                if (i)
                        usleep(2000);
                done(p, PAGES, FL_MC_SYNC, MS_INVALIDATE, 0);
        }
        expect_eq(resident(p, PAGES), 0, "in the cache at the start");
        expect(fl_madvise(engine, p, BYTES(PAGES), MADV_RANDOM) == 0, "%s", fl_strerror());
}

static void store(char *at, unsigned number, uint64_t version)
{
        stamp_write(at + BYTES(number), number, version);
}

/* What another program reads. */
static uint64_t on_disk(unsigned number)
{
        char page[TEST_PAGE];

        file_read(path, page, sizeof(page), BYTES(number));
        return stamp_version(page, number);
}

static void wait_until_gone(char *at, unsigned nr)
{
        while (resident(at, nr) && test_left() > -20)
                usleep(2000);
        expect_eq(resident(at, nr), 0, "still in the cache");
}

/* Who asks for it may find it dirty: stored to since it was on its way, or nobody had begun to write it. */
static void s20_what_is_dirty_is_written_first(void)
{
        fresh();
        for (uint64_t version = 1; version <= 20; version++) {
                store(p, 5, version);
                putpage_range(file->file->mapping, 5, 6);
                wait_until_gone(p + BYTES(5), 1);
                expect_eq(on_disk(5), version, "written before it went");
        }
}

static void s26_attributes_pass_by(void)
{
        char *q;

        fresh();
        store(p, 3, 1);
        done(p, PAGES, FL_MC_SYNC, 0, FL_PRIVATE | PROT_READ | PROT_WRITE);
        expect_eq(on_disk(3), 0, "written, but private is not shared");
        done(p, PAGES, FL_MC_SYNC, 0, FL_SHARED | PROT_READ);
        expect_eq(on_disk(3), 0, "written, but the protection is another");
        done(p, PAGES, FL_MC_SYNC, 0, FL_PROC_DATA);
        expect_eq(on_disk(3), 0, "written, but data is private");
        done(p, PAGES, FL_MC_SYNC, 0, FL_SHARED | PROT_READ | PROT_WRITE);
        expect_eq(on_disk(3), 1, "version written");
        /* Page by page: a part has another protection. */
        expect(fl_mprotect(engine, p + BYTES(8), BYTES(8), PROT_READ) == 0, "%s", fl_strerror());
        store(p, 4, 2);
        done(p, 16, FL_MC_LOCK, 0, FL_SHARED | PROT_READ);
        expect_eq(incore(p + BYTES(4)) & FL_INCORE_LOCKED, 0, "locked, but may be written");
        expect_eq(incore(p + BYTES(8)), FL_INCORE_INCORE | FL_INCORE_LOCKED | FL_INCORE_VNODE,
                  "locked, as it may be read only");
        done(p, 16, FL_MC_UNLOCK, 0, 0);
        q = map_file(engine, file, BYTES(4), PROT_READ | PROT_EXEC, MAP_PRIVATE, 0);
        done(q, 4, FL_MC_LOCK, 0, FL_PROC_TEXT);
        expect(incore(q) & FL_INCORE_LOCKED, "text is what is private, read and executed");
        expect(fl_munmap(engine, q, BYTES(4)) == 0, "%s", fl_strerror());
}

static void s28_sync_writes(void)
{
        fresh();
        store(p, 1, 5);
        store(p, 200, 5);
        done(p, 100, FL_MC_SYNC, MS_SYNC, 0);
        expect_eq(on_disk(1), 5, "in the range");
        expect_eq(on_disk(200), 0, "behind the range");
        done(p, PAGES, FL_MC_SYNC, 0, 0);
        expect_eq(on_disk(200), 5, "without a flag it is MS_SYNC");
        expect(resident(p, PAGES) >= 2, "nothing was to go");
}

static void s28_async_starts_writing(void)
{
        fresh();
        store(p, 7, 6);
        done(p, PAGES, FL_MC_SYNC, MS_ASYNC, 0);
        while (on_disk(7) != 6 && test_left() > -20)
                usleep(2000);
        expect_eq(on_disk(7), 6, "version written");
        expect_eq(resident(p + BYTES(7), 1), 1, "it stays");
}

static void s28_invalidate_destroys(void)
{
        char *q;

        fresh();
        q = map_file(engine, file, BYTES(PAGES), PROT_READ, MAP_SHARED, 0);
        /* What is being read would stay. */
        expect(fl_madvise(engine, q, BYTES(PAGES), MADV_RANDOM) == 0, "%s", fl_strerror());
        store(p, 9, 7);
        expect(!stamp_wrong(q + BYTES(20), 20, 0), "page 20");
        done(p, PAGES, FL_MC_SYNC, MS_SYNC | MS_INVALIDATE, 0);
        expect_eq(on_disk(9), 7, "written first");
        expect_eq(resident(p, PAGES), 0, "in the cache, also what another maps");
        expect(!stamp_wrong(q + BYTES(9), 9, 7), "it is read again");
        expect(fl_munmap(engine, q, BYTES(PAGES)) == 0, "%s", fl_strerror());
}

static void *have_for_a_moment(void *started)
{
        struct address_space *m = file->file->mapping;
        struct page *page = find_page(m, 20);

        require(page, "page 20 is not there");
        page_lock(m->cache, page);
        atomic_store((_Atomic bool *)started, true);
        usleep(20000);
        page_unlock(m->cache, page);
        put_page(m, page);
        return NULL;
}

/* As the pager has that has just served its fault. */
static void s28_invalidate_waits_for_who_has_a_page(void)
{
        _Atomic bool started = false;
        pthread_t thread;

        fresh();
        expect(!stamp_wrong(p + BYTES(20), 20, 0), "page 20");
        require(!pthread_create(&thread, NULL, have_for_a_moment, &started), "pthread_create");
        while (!atomic_load(&started))
                usleep(100);
        done(p, PAGES, FL_MC_SYNC, MS_SYNC | MS_INVALIDATE, 0);
        expect_eq(resident(p, PAGES), 0, "in the cache");
        pthread_join(thread, NULL);
}

/* Locked by this mapping or by another, up to it all is done. */
static void s28_invalidate_stops_at_what_is_locked(void)
{
        char *q;

        fresh();
        q = map_file(engine, file, BYTES(PAGES), PROT_READ, MAP_SHARED, 0);
        store(p, 2, 8);
        store(p, 30, 8);
        done(q + BYTES(10), 1, FL_MC_LOCK, 0, 0);
        expect(memcntl(p, PAGES, FL_MC_SYNC, MS_INVALIDATE, 0) == -1 && errno == EBUSY,
               "invalidated though locked: %s", strerror(errno));
        expect_eq(on_disk(2), 8, "before it");
        expect_eq(on_disk(30), 0, "behind it");
        expect_eq(resident(p + BYTES(2), 1), 0, "in the cache before it");
        expect_eq(resident(p + BYTES(10), 1), 1, "locked");
        expect(fl_munmap(engine, q, BYTES(PAGES)) == 0, "%s", fl_strerror());
}

static void s29_dontneed_writes_and_destroys(void)
{
        fresh();
        for (unsigned i = 0; i < 40; i++)
                store(p, i, 9);
        for (unsigned i = 40; i < 80; i++)
                expect(!stamp_wrong(p + BYTES(i), i, i == 200 ? 5 : 0), "page %u", i);
        done(p, PAGES, FL_MC_ADVISE, MADV_DONTNEED, 0);
        wait_until_gone(p, PAGES);
        for (unsigned i = 0; i < 40; i++)
                expect_eq(on_disk(i), 9, "written before it went");
}

/* A page that is stored to while it is on its way stays, and what was stored last counts. */
static void s29_dontneed_loses_no_store(void)
{
        fresh();
        for (uint64_t version = 10; version < 60; version++) {
                for (unsigned i = 0; i < 32; i++)
                        store(p, i, version);
                done(p, 32, FL_MC_ADVISE, MADV_DONTNEED, 0);
                for (unsigned i = 0; i < 32; i++)
                        expect(!stamp_wrong(p + BYTES(i), i, version), "page %u, version %u", i,
                               (unsigned)version);
                store(p, 5, version + 100);
                expect(!stamp_wrong(p + BYTES(5), 5, version + 100), "page 5");
                store(p, 5, version);
        }
        done(p, 32, FL_MC_SYNC, 0, 0);
        for (unsigned i = 0; i < 32; i++)
                expect_eq(on_disk(i), 59, "the last version");
}

static void s29_dontneed_keeps_private_copies(void)
{
        char *q;

        fresh();
        q = map_file(engine, file, BYTES(8), PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        store(q, 3, 77);
        done(q, 8, FL_MC_ADVISE, MADV_DONTNEED, 0);
        expect(!stamp_wrong(q + BYTES(3), 3, 77), "the private copy");
        expect(fl_munmap(engine, q, BYTES(8)) == 0, "%s", fl_strerror());
}

static void s29_willneed_has_no_cap(void)
{
        struct fl_file_config small = { .size = sizeof(small), .readahead = 8 * TEST_PAGE };
        struct fl_file *f;
        char *q;

        fresh();
        f = fl_file_open(engine, path, O_RDONLY, &small);
        require(f, "%s", fl_strerror());
        q = map_file(engine, f, BYTES(PAGES), PROT_READ, MAP_SHARED, 0);
        /* A page that was still on its way out is not read by the first; a cap would leave far more. */
        for (unsigned calls = 0; calls < 3 && resident(q, PAGES) < PAGES; calls++) {
                done(q, PAGES, FL_MC_ADVISE, MADV_WILLNEED, 0);
                for (unsigned i = 0; i < 1000 && resident(q, PAGES) < PAGES; i++)
                        usleep(2000);
        }
        expect_eq(resident(q, PAGES), PAGES, "pages read");
        expect(fl_munmap(engine, q, BYTES(PAGES)) == 0, "%s", fl_strerror());
        close_file(f);
}

static void s29_free_of_memory_only(void)
{
        char *m = fl_mmap(engine, NULL, BYTES(4), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

        fresh();
        require(m != MAP_FAILED, "%s", fl_strerror());
        memset(m, 1, BYTES(4));
        expect(fl_memcntl(engine, m, BYTES(2) + 5, FL_MC_ADVISE, ARG(MADV_FREE), 0, 0) == 0, "%s",
               fl_strerror());
        expect_eq(m[0] + m[BYTES(1)], 0, "freed");
        expect_eq(m[BYTES(2)], 1, "the length is rounded down");
        store(p, 6, 9);
        done(p, 8, FL_MC_ADVISE, MADV_FREE, 0);
        expect(!stamp_wrong(p + BYTES(6), 6, 9), "a file's page stays as it is");
        done(p, 8, FL_MC_ADVISE, FL_MADV_ACCESS_MANY, 0);
        expect(fl_munmap(engine, m, BYTES(4)) == 0, "%s", fl_strerror());
}

static void s30_lock_is_undone_when_it_fails(void)
{
        fresh();
        done(p, 4, FL_MC_LOCK, 0, 0);
        expect(fl_munmap(engine, p + BYTES(40), BYTES(1)) == 0, "%s", fl_strerror());
        expect(memcntl(p, 60, FL_MC_LOCK, 0, 0) == -1 && errno == ENOMEM, "over a hole: %s",
               strerror(errno));
        store(p, 30, 1);
        expect(incore(p + BYTES(3)) & FL_INCORE_LOCKED, "what was locked before stays so");
        expect_eq(incore(p + BYTES(30)) & FL_INCORE_LOCKED, 0, "what this call has locked");
        /* And does not add up. */
        done(p, 4, FL_MC_LOCK, 0, 0);
        done(p, 4, FL_MC_UNLOCK, 0, 0);
        expect_eq(incore(p + BYTES(3)) & FL_INCORE_LOCKED, 0, "locked twice, unlocked once");
}

static void s30_lock_ends_quietly_past_the_end(void)
{
        char *q;

        fresh();
        q = map_file(engine, file, BYTES(8), PROT_READ, MAP_SHARED, BYTES(PAGES - 2));
        done(q, 8, FL_MC_LOCK, 0, 0);
        expect(incore(q + BYTES(1)) & FL_INCORE_LOCKED, "the last page is locked");
        expect_eq(incore(q + BYTES(2)), 0, "behind it there is none");
        expect(fl_munmap(engine, q, BYTES(8)) == 0, "%s", fl_strerror());
}

static void s30_lockas(void)
{
        char *q;

        fresh();
        expect(fl_memcntl(engine, NULL, 0, FL_MC_LOCKAS, ARG(MCL_CURRENT | MCL_FUTURE), 0, 0) == 0,
               "%s", fl_strerror());
        expect_eq(resident(p, PAGES), PAGES, "all there");
        expect(incore(p + BYTES(PAGES - 1)) & FL_INCORE_LOCKED, "and locked");
        q = map_file(engine, file, BYTES(4), PROT_READ, MAP_SHARED, 0);
        expect(incore(q) & FL_INCORE_LOCKED, "what has come since");
        q = fl_mmap(engine, NULL, BYTES(2000), PROT_READ, MAP_SHARED, file, 0);
        expect(q == MAP_FAILED && errno == EAGAIN, "S5: more than can be locked: %s",
               strerror(errno));
        expect(fl_memcntl(engine, NULL, 0, FL_MC_UNLOCKAS, NULL, 0, 0) == 0, "%s", fl_strerror());
        expect_eq(incore(p) & FL_INCORE_LOCKED, 0, "unlocked");
        q = map_file(engine, file, BYTES(4), PROT_READ, MAP_SHARED, BYTES(8));
        expect_eq(incore(q) & FL_INCORE_LOCKED, 0, "what comes from now on");
}

static void s31_hat_advise(void)
{
        struct fl_memcntl_mha any = { .mha_cmd = FL_MHA_MAPSIZE_VA };
        struct fl_memcntl_mha heap = { FL_MHA_MAPSIZE_BSSBRK, 0, TEST_PAGE };

        fresh();
        expect(fl_memcntl(engine, p, BYTES(8), FL_MC_HAT_ADVISE, &any, 0, 0) == 0, "%s",
               fl_strerror());
        expect(fl_memcntl(engine, NULL, 0, FL_MC_HAT_ADVISE, &heap, 0, 0) == 0, "%s",
               fl_strerror());
        any.mha_pagesize = 3 * TEST_PAGE;
        expect(fl_memcntl(engine, p, BYTES(9), FL_MC_HAT_ADVISE, &any, 0, 0) == -1 &&
                       errno == EINVAL,
               "an unsupported size: %s", strerror(errno));
}

/* A page of Solaris's is two of ours. */
static void s31_hat_advise_of_8k(void)
{
        struct fl_memcntl_mha two = { FL_MHA_MAPSIZE_VA, 0, 2 * TEST_PAGE };
        struct fl_engine *e =
                open_engine_with((struct fl_engine_config){ .cache = CACHE, .policy = "solaris" });
        char *m = fl_mmap(e, NULL, BYTES(8), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

        require(m != MAP_FAILED, "%s", fl_strerror());
        m += (uintptr_t)m % (2 * TEST_PAGE);
        expect(fl_memcntl(e, m, BYTES(4), FL_MC_HAT_ADVISE, &two, 0, 0) == 0, "%s", fl_strerror());
        expect(fl_memcntl(e, m, BYTES(3), FL_MC_HAT_ADVISE, &two, 0, 0) == -1 && errno == EINVAL,
               "no multiple of it: %s", strerror(errno));
        expect(fl_memcntl(engine, p, BYTES(4), FL_MC_HAT_ADVISE, &two, 0, 0) == -1 &&
                       errno == EINVAL,
               "not of linux: %s", strerror(errno));
        close_engine(e);
}

static void s32_incore_flags(void)
{
        char *q, *m;

        fresh();
        q = map_file(engine, file, BYTES(8), PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        m = fl_mmap(engine, NULL, BYTES(1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                    NULL, 0);
        require(m != MAP_FAILED, "%s", fl_strerror());
        expect_eq(incore(q), 0, "nobody has touched it");
        expect_eq(incore(m), 0, "likewise");
        expect(!stamp_wrong(p + BYTES(1), 1, stamp_version(p + BYTES(1), 1)), "page 1");
        expect_eq(incore(q + BYTES(1)), FL_INCORE_INCORE | FL_INCORE_VNODE,
                  "it needs no mapping, and no touch of this one");
        store(q, 2, 3);
        expect_eq(incore(q + BYTES(2)), FL_INCORE_INCORE | FL_INCORE_HASCOW | FL_INCORE_ANON,
                  "a private copy");
        *m = 1;
        expect_eq(incore(m), FL_INCORE_INCORE | FL_INCORE_ANON, "memory");
        done(m, 1, FL_MC_LOCK, 0, 0);
        expect_eq(incore(m), FL_INCORE_INCORE | FL_INCORE_ANON | FL_INCORE_LOCKED, "and locked");
        expect(fl_munmap(engine, q, BYTES(8)) == 0, "%s", fl_strerror());
        expect(fl_munmap(engine, m, BYTES(1)) == 0, "%s", fl_strerror());
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } rules[] = {
#define RULE(f) { #f, f }
                RULE(s20_what_is_dirty_is_written_first),
                RULE(s28_sync_writes),
                RULE(s26_attributes_pass_by),
                RULE(s28_async_starts_writing),
                RULE(s28_invalidate_destroys),
                RULE(s28_invalidate_waits_for_who_has_a_page),
                RULE(s28_invalidate_stops_at_what_is_locked),
                RULE(s29_dontneed_writes_and_destroys),
                RULE(s29_dontneed_loses_no_store),
                RULE(s29_dontneed_keeps_private_copies),
                RULE(s29_willneed_has_no_cap),
                RULE(s29_free_of_memory_only),
                RULE(s30_lock_is_undone_when_it_fails),
                RULE(s30_lock_ends_quietly_past_the_end),
                RULE(s30_lockas),
                RULE(s31_hat_advise),
                RULE(s31_hat_advise_of_8k),
                RULE(s32_incore_flags),
        };

        test_begin(argc, argv, 5, 5, 60);
        path = test_stamped_file("controlled", PAGES);
        engine = open_engine_with((struct fl_engine_config){ .cache = CACHE });
        file = open_file(engine, path, O_RDWR);
        p = map_file(engine, file, BYTES(PAGES), PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                test_at(rules[i].name);
                rules[i].run();
        }
        fl_munmap(engine, p, BYTES(PAGES));
        check_engine(engine);
        close_file(file);
        close_engine(engine);
        return test_end();
}
