/* SPDX-License-Identifier: Apache-2.0
 *
 * protocol.c - the rules by which pages, translations and events go together, one by one, told
 * from outside by the number of faults and by what memory shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define PAGES 256u

struct view {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        const char *path;
};

static struct view view_open(const char *faults, int prot, int flags, uint64_t cache)
{
        struct fl_engine_config config = {
                .size = sizeof(config),
                .cache = cache,
                .faults = faults,
                .policy = "linux", /* its windows are counted below */
                .readahead = 128 << 10,
        };
        struct view v;

        v.path = test_stamped_file("protocol", PAGES);
        v.e = open_engine_with(config);
        v.f = open_file(v.e, v.path, O_RDWR);
        v.p = map_file(v.e, v.f, PAGES * TEST_PAGE, prot, flags, 0);
        expect(fl_madvise(v.e, v.p, PAGES * TEST_PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        return v;
}

static void view_close(struct view *v)
{
        expect(fl_munmap(v->e, v->p, PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
        check_engine(v->e);
        close_file(v->f);
        close_engine(v->e);
}

/* A pager counts a fault after it has let the thread go on: give it the time. */
static struct fl_stats settled(struct view *v)
{
        usleep(5000);
        return get_stats(v->e);
}

static uint64_t faults(struct view *v)
{
        struct fl_stats s = settled(v);

        return s.faults_major + s.faults_minor;
}

static char *page(struct view *v, unsigned n)
{
        return v->p + n * TEST_PAGE;
}

static unsigned char load(struct view *v, unsigned n)
{
        return *(volatile unsigned char *)page(v, n);
}

static void store(struct view *v, unsigned n)
{
        *(volatile char *)(page(v, n) + 100) = 1;
}

/* Counts the faults that `what` takes. */
#define FAULTS_OF(v, what)                                                                         \
        ({                                                                                         \
                uint64_t before_ = faults(v);                                                      \
                what;                                                                              \
                faults(v) - before_;                                                               \
        })

/* A signal, the kernel's own ones too, may make a thread that waits fault once more: so one event a
 * page is told over many pages, with room for one or two more. */
#define MANY 16u
#define expect_one_each(n, what)                                                                   \
        do {                                                                                       \
                unsigned long long n_ = (n);                                                       \
                                                                                                   \
                expect(n_ >= MANY && n_ <= MANY + 2, "%s: %llu faults for %u pages", what, n_,     \
                       MANY);                                                                      \
        } while (0)

/* A store to a page that is nowhere is one event, not a read and then a write-protect fault; a
 * page that is dirty is shown writable also to a load. */
static void one_event_a_store(void)
{
        struct view v = view_open(NULL, PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);

        test_at("one_event_a_store");
        expect_one_each(FAULTS_OF(&v, for (unsigned n = 0; n < MANY; n++) store(&v, n * 4)),
                        "stores to absent pages");
        expect_eq(FAULTS_OF(&v, for (unsigned n = 0; n < MANY; n++) store(&v, n * 4)), 0,
                  "what is mapped");
        expect_one_each(FAULTS_OF(&v, for (unsigned n = 0; n < MANY; n++) load(&v, 100 + n * 4)),
                        "loads of absent pages");
        expect_one_each(FAULTS_OF(&v, for (unsigned n = 0; n < MANY; n++) store(&v, 100 + n * 4)),
                        "first stores to clean pages");
        expect_eq(FAULTS_OF(&v, for (unsigned n = 0; n < MANY; n++) store(&v, 100 + n * 4)), 0,
                  "second stores");
        /* unmapped and still dirty: the load shows it writable */
        expect(fl_madvise(v.e, page(&v, 100), TEST_PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        load(&v, 100);
        expect_eq(FAULTS_OF(&v, store(&v, 100)), 0, "a store to a dirty page that was loaded");
        expect(settled(&v).faults_major <= 2 * MANY + 4, "more reads than pages");
        view_close(&v);
}

/* After write-back the next store is an event again, and exactly one. */
static void store_after_writeback(void)
{
        struct view v = view_open(NULL, PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);

        test_at("store_after_writeback");
        for (unsigned round = 0; round < 3; round++) {
                uint64_t written = settled(&v).writeback_pages;

                for (unsigned n = 16; n < 48; n++)
                        store(&v, n);
                expect(fl_msync(v.e, v.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
                expect_eq(settled(&v).writeback_pages - written, 32, "pages written");
                expect_one_each(
                        FAULTS_OF(&v, for (unsigned n = 16; n < 16 + MANY; n++) store(&v, n)),
                        "stores after write-back");
                for (unsigned n = 16; n < 48; n++)
                        store(&v, n);
                expect_eq(FAULTS_OF(&v, for (unsigned n = 16; n < 48; n++) store(&v, n)), 0,
                          "stores after that");
                expect(fl_msync(v.e, v.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        }
        view_close(&v);
}

/* msync returns when the writes are over, not when they have begun. The flush is not delayed. */
static void msync_waits(void)
{
        struct view v =
                view_open("delay=50ms@0+1048576", PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);

        test_at("msync_waits");
        store(&v, 16);
        expect(fl_msync(v.e, v.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        expect_eq(get_stats(v.e).writeback_pages, 1, "pages written");
        view_close(&v);
}

/* What is stored while a page is being written is written again by the msync that follows. */
static void *sync_all(void *arg)
{
        struct view *v = arg;

        expect(fl_msync(v->e, v->p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        return NULL;
}

static void msync_writes_again(void)
{
        struct view v =
                view_open("delay=100ms@0+1048576", PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);
        char buf[TEST_PAGE];
        pthread_t thread;

        test_at("msync_writes_again");
        stamp_write(page(&v, 16), 16, 1);
        pthread_create(&thread, NULL, sync_all, &v);
        usleep(30000);
        stamp_write(page(&v, 16), 16, 2);
        sync_all(&v);
        if (file_read(v.path, buf, TEST_PAGE, 16 * TEST_PAGE))
                expect(!stamp_wrong(buf, 16, 2), "in the file: %s", stamp_wrong(buf, 16, 2));
        pthread_join(thread, NULL);
        view_close(&v);
}

/* A dirty page that a second mapping shows, because a page beside it was touched, is protected there
 * too when it is written. */
static void a_second_view_is_protected(void)
{
        struct view v = view_open(NULL, PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);
        char *p = map_file(v.e, v.f, PAGES * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        char buf[TEST_PAGE];

        test_at("a_second_view_is_protected");
        stamp_write(page(&v, 16), 16, 1);
        stamp_write(page(&v, 17), 17, 1);
        (void)*(volatile char *)(p + 17 * TEST_PAGE); /* and 16, around it */
        for (uint64_t version = 2; version < 4; version++) {
                expect(fl_msync(v.e, v.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
                stamp_write(p + 16 * TEST_PAGE, 16, version);
        }
        expect(fl_msync(v.e, v.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        if (file_read(v.path, buf, TEST_PAGE, 16 * TEST_PAGE))
                expect(!stamp_wrong(buf, 16, 3), "in the file: %s", stamp_wrong(buf, 16, 3));
        expect(fl_munmap(v.e, p, PAGES * TEST_PAGE) == 0, "%s", fl_strerror());
        view_close(&v);
}

/* At the dirty limit, a fifth of the cache, a store waits until something has been written. */
static void stores_are_throttled(void)
{
        struct view v =
                view_open("delay=100ms@0+1048576", PROT_READ | PROT_WRITE, MAP_SHARED, 2 << 20);
        struct timespec begin, end;

        test_at("stores_are_throttled");
        expect(fl_madvise(v.e, v.p, PAGES * TEST_PAGE, MADV_NORMAL) == 0, "%s", fl_strerror());
        for (unsigned n = 0; n < PAGES; n++)
                load(&v, n);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (unsigned n = 0; n < PAGES; n++)
                store(&v, n);
        clock_gettime(CLOCK_MONOTONIC, &end);
        expect((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >= 40,
               "256 stores to a cache of 512 pages did not wait");
        expect(fl_msync(v.e, v.p, PAGES * TEST_PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        view_close(&v);
}

/* The marker is a quarter of the window before its end: touching it reads the next one, touching
 * the page before it does not. */
static void marker_starts_the_next_window(void)
{
        struct view v = view_open(NULL, PROT_READ, MAP_SHARED, 4 << 20);

        test_at("marker_starts_the_next_window");
        expect(fl_madvise(v.e, v.p, PAGES * TEST_PAGE, MADV_NORMAL) == 0, "%s", fl_strerror());
        load(&v, 64);
        expect_eq(settled(&v).readahead_pages, 31, "32 pages around page 64, less itself");
        load(&v, 71);
        expect_eq(settled(&v).readahead_pages, 31, "page 71 is no marker");
        load(&v, 72);
        expect(settled(&v).readahead_pages > 31, "page 72 is the marker");
        view_close(&v);
}

/* What is stored behind the end of the file never becomes part of it. */
static void nothing_behind_the_end(void)
{
        struct fl_engine *e = open_engine(4 << 20);
        struct fl_file *f = open_file(e, test_file("short", 100), O_RDWR);
        char *p = map_file(e, f, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), byte = 1;

        test_at("nothing_behind_the_end");
        p[200] = 7;
        expect(fl_pwrite(f, "x", 1, 2 * TEST_PAGE) == 1, "%s", fl_strerror());
        expect(fl_pread(f, &byte, 1, 200) == 1 && byte == 0, "%d is at 200", byte);
        expect(fl_munmap(e, p, TEST_PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* What MADV_DONTNEED unmaps comes back by a minor fault, from the cache. */
static void unmapped_is_minor(void)
{
        struct view v = view_open(NULL, PROT_READ, MAP_SHARED, 4 << 20);
        struct fl_stats before, after;

        test_at("unmapped_is_minor");
        for (unsigned n = 0; n < 32; n++)
                load(&v, n);
        before = settled(&v);
        expect(fl_madvise(v.e, v.p, PAGES * TEST_PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        load(&v, 0);
        load(&v, 16);
        after = settled(&v);
        expect_eq(after.faults_major - before.faults_major, 0, "reads of cached pages");
        expect_eq(after.faults_minor - before.faults_minor, 2, "one a window of 16 pages");
        expect_eq(after.read_bytes - before.read_bytes, 0, "bytes read");
        view_close(&v);
}

/* Many threads on one absent page: one read, all go on. */
static pthread_barrier_t gate;

static void *touch_page(void *arg)
{
        struct view *v = arg;

        for (unsigned n = 0; n < 64; n++) {
                pthread_barrier_wait(&gate);
                expect(!stamp_wrong(page(v, n * 2), n * 2, 0), "page %u is wrong", n * 2);
        }
        return NULL;
}

static void all_on_one_page(void)
{
        struct view v = view_open("delay=2ms", PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);
        pthread_t thread[8];

        test_at("all_on_one_page");
        pthread_barrier_init(&gate, NULL, 8);
        for (unsigned i = 0; i < 8; i++)
                pthread_create(&thread[i], NULL, touch_page, &v);
        for (unsigned i = 0; i < 8; i++)
                pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&gate);
        expect_eq(settled(&v).read_bytes, 64 * TEST_PAGE, "each page read once");
        view_close(&v);
}

/* The mapping goes while its page is being read: the thread gets the kernel's SIGSEGV, it does
 * not wait for ever. */
static void *unmap_soon(void *arg)
{
        struct view *v = arg;

        usleep(20000);
        expect(fl_munmap(v->e, page(v, 128), 128 * TEST_PAGE) == 0, "%s", fl_strerror());
        return NULL;
}

static void unmapped_while_reading(void)
{
        struct view v = view_open("delay=100ms", PROT_READ, MAP_SHARED, 4 << 20);
        struct caught c;
        pthread_t thread;
        unsigned char value;

        test_at("unmapped_while_reading");
        pthread_create(&thread, NULL, unmap_soon, &v);
        c = try_load(page(&v, 200), &value);
        pthread_join(thread, NULL);
        expect(c.signo == SIGSEGV && c.code == SEGV_MAPERR, "got %s", caught_name(c));
        view_close(&v);
}

/* The protection goes while the page is being read for a store. */
static void *protect_soon(void *arg)
{
        struct view *v = arg;

        usleep(20000);
        expect(fl_mprotect(v->e, page(v, 200), TEST_PAGE, PROT_READ) == 0, "%s", fl_strerror());
        return NULL;
}

static void protected_while_reading(void)
{
        struct view v = view_open("delay=100ms", PROT_READ | PROT_WRITE, MAP_SHARED, 4 << 20);
        struct caught c;
        pthread_t thread;

        test_at("protected_while_reading");
        pthread_create(&thread, NULL, protect_soon, &v);
        c = try_store(page(&v, 200), 1);
        pthread_join(thread, NULL);
        expect(c.signo == SIGSEGV && c.code == SEGV_ACCERR, "got %s", caught_name(c));
        expect(!stamp_wrong(page(&v, 200), 200, 0), "the page has changed");
        view_close(&v);
}

/* A private store: one event on an absent page, one on a mapped one, a copy each; and the copies
 * outlive the cache's page, which reclaim takes. */
static void private_copies(void)
{
        struct view v = view_open(NULL, PROT_READ | PROT_WRITE, MAP_PRIVATE, 64 * TEST_PAGE);
        struct fl_stats s;

        test_at("private_copies");
        expect_one_each(
                FAULTS_OF(&v, for (unsigned n = 0; n < MANY; n++) stamp_write(page(&v, n), n, 9)),
                "private stores to absent pages");
        for (unsigned n = MANY; n < 2 * MANY; n++)
                load(&v, n);
        expect_one_each(FAULTS_OF(&v, for (unsigned n = MANY; n < 2 * MANY; n++)
                                              stamp_write(page(&v, n), n, 9)),
                        "private stores to mapped pages");
        s = settled(&v);
        expect_eq(s.cow_copies, 2 * MANY, "copies");
        expect_eq(s.writeback_pages, 0, "pages written");
        for (unsigned n = 2 * MANY; n < PAGES; n++)
                expect(!stamp_wrong(page(&v, n), n, 0), "page %u", n);
        s = settled(&v);
        expect(s.evicted_pages > 0, "nothing was evicted");
        expect_eq(FAULTS_OF(&v, load(&v, 1); load(&v, 2)), 0, "the copies are mapped");
        expect(!stamp_wrong(page(&v, 1), 1, 9) && !stamp_wrong(page(&v, 2), 2, 9),
               "a copy is lost");
        /* MADV_DONTNEED gives them up: the file's bytes show again */
        expect(fl_madvise(v.e, v.p, 4 * TEST_PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(!stamp_wrong(page(&v, 1), 1, 0) && !stamp_wrong(page(&v, 2), 2, 0),
               "not the file's");
        view_close(&v);
}

/* A mapping costs addresses, not memory: 64 GiB private and writable, of a sparse file. */
static void a_large_private_mapping(void)
{
        const char *path = test_file("sparse", 0);
        uint64_t size = 64ull << 30;
        struct fl_engine *e;
        struct fl_file *f;
        char *p;

        test_at("a_large_private_mapping");
        if (truncate(path, (off_t)size))
                return; /* this host file system has no such files */
        e = open_engine(4 << 20);
        f = open_file(e, path, O_RDWR);
        p = map_file(e, f, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        expect(p[size - 1] == 0 && p[size / 2] == 0, "a hole reads as zeros");
        p[size - 1] = 1;
        expect(get_stats(e).meta_bytes < 256 << 10, "%llu bytes of metadata for three pages",
               (unsigned long long)get_stats(e).meta_bytes);
        expect(fl_munmap(e, p, size) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(e);
}

/* A poisoned page stays so, whatever is mapped around it, until MADV_DONTNEED. */
static void poison(void)
{
        struct view v = view_open("eio@163840+4096*1", PROT_READ, MAP_SHARED, 4 << 20);
        struct caught c;
        unsigned char value;

        test_at("poison");
        c = try_load(page(&v, 40), &value);
        expect(c.signo == SIGBUS && c.addr == page(&v, 40), "got %s", caught_name(c));
        /* others read it now, by fl_pread: the frame is there, the poison stays */
        expect(fl_pread(v.f, &value, 1, 40 * TEST_PAGE) == 1, "%s", fl_strerror());
        for (unsigned n = 32; n < 48; n++)
                expect(n == 40 || !try_load(page(&v, n), &value).signo, "page %u", n);
        c = try_load(page(&v, 40), &value);
        expect(c.signo == SIGBUS, "the poison has gone: %s", caught_name(c));
        expect(fl_madvise(v.e, page(&v, 40), TEST_PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
        expect(!stamp_wrong(page(&v, 40), 40, 0), "page 40 after MADV_DONTNEED");
        view_close(&v);
}

/* MAP_FIXED over a live mapping is one step: nobody who touches it meets a hole, a zero page or
 * an address that is not served. */
static _Atomic bool stop;

static void *keep_reading(void *arg)
{
        struct view *v = arg;
        uint64_t state = (uint64_t)(uintptr_t)&state ^ test.seed;

        while (!stop) {
                unsigned n = (unsigned)random_below(&state, PAGES);

                expect(!stamp_wrong(page(v, n), n, 0), "page %u", n);
        }
        return NULL;
}

static void replaced_in_one_step(void)
{
        struct view v = view_open(NULL, PROT_READ, MAP_SHARED, 64 * TEST_PAGE);
        uint64_t state = test.seed;
        pthread_t thread[4];

        test_at("replaced_in_one_step");
        for (unsigned i = 0; i < 4; i++)
                pthread_create(&thread[i], NULL, keep_reading, &v);
        for (unsigned i = 0; i < 300 && !test_failures(); i++) {
                unsigned first = (unsigned)random_below(&state, PAGES);
                unsigned nr = 1 + (unsigned)random_below(&state, PAGES - first);
                void *p = fl_mmap(v.e, page(&v, first), nr * TEST_PAGE, PROT_READ,
                                  MAP_FIXED | (i % 2 ? MAP_SHARED : MAP_PRIVATE), v.f,
                                  (off_t)(first * TEST_PAGE));

                expect(p == page(&v, first), "%s", fl_strerror());
        }
        stop = true;
        for (unsigned i = 0; i < 4; i++)
                pthread_join(thread[i], NULL);
        view_close(&v);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 3, 3, 40);
        one_event_a_store();
        store_after_writeback();
        msync_waits();
        msync_writes_again();
        a_second_view_is_protected();
        stores_are_throttled();
        marker_starts_the_next_window();
        nothing_behind_the_end();
        unmapped_is_minor();
        all_on_one_page();
        unmapped_while_reading();
        protected_while_reading();
        private_copies();
        a_large_private_mapping();
        poison();
        replaced_in_one_step();
        return test_end();
}
