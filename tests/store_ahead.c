/* SPDX-License-Identifier: Apache-2.0
 *
 * store_ahead.c - stores in order: few events, every store on the disk after msync, and nothing put there
 * that nobody stored. What is on the disk is changed behind the engine's back to see what it writes.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 2048ul
#define CACHE (32ul << 20) /* all of it, and far from the dirty limit */

struct view {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        const char *path;
        int fd; /* another program's */
};

/* A file of a version of its own, on the disk and in no cache of ours. */
static struct view begin(const char *what)
{
        struct fl_engine_config cfg = { .cache = CACHE, .policy = "adaptive" };
        struct view v = { .e = open_engine_with(cfg) };

        test_at(what);
        v.path = test_stamped_file("store_ahead", PAGES);
        v.fd = open(v.path, O_RDWR | O_CLOEXEC);
        require(v.fd >= 0, "open %s", v.path);
        v.f = open_file(v.e, v.path, O_RDWR);
        v.p = map_file(v.e, v.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        return v;
}

static void end(struct view *v)
{
        check_engine(v->e);
        expect(fl_munmap(v->e, v->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(v->f);
        close_engine(v->e);
        if (v->fd >= 0)
                close(v->fd);
}

static char *page(const struct view *v, uint64_t n)
{
        return v->p + n * PAGE;
}

static void sync_all(const struct view *v)
{
        expect(fl_msync(v->e, v->p, PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
}

static uint64_t faults(const struct view *v)
{
        struct fl_stats s;

        usleep(5000); /* a pager counts after it has let the thread go on */
        s = get_stats(v->e);
        return s.faults_major + s.faults_minor;
}

static void expect_on_disk(const struct view *v, uint64_t n, uint64_t version, const char *what)
{
        char buf[PAGE];
        const char *wrong;

        if (!file_read(v->path, buf, PAGE, n * PAGE))
                return;
        wrong = stamp_wrong(buf, n, version);
        expect(!wrong, "%s, page %lu on the disk: %s", what, (unsigned long)n, wrong);
}

static void load_all(const struct view *v)
{
        for (uint64_t n = 0; n < PAGES; n++)
                expect(!stamp_wrong(page(v, n), n, 0), "page %lu", (unsigned long)n);
}

/* Absent pages, and then clean ones that are shown: a store to each in order takes few events, and each is
 * on the disk after msync, the second ones too. */
static void in_order(void)
{
        struct view v = begin("in_order");

        for (uint64_t version = 1; version <= 3; version++) {
                uint64_t before = faults(&v), took;

                for (uint64_t n = 0; n < PAGES; n++)
                        stamp_write(page(&v, n), n, version);
                took = faults(&v) - before;
                expect(took <= PAGES / 8, "%llu faults for %lu stores in order",
                       (unsigned long long)took, PAGES);
                sync_all(&v);
                for (uint64_t n = 0; n < PAGES; n++)
                        expect_on_disk(&v, n, version, "after msync");
        }
        end(&v);
}

/* One byte, anywhere in a page that was shown before anybody stored to it, is enough. */
static void one_byte_each(void)
{
        struct view v = begin("one_byte_each");
        char *copy = malloc(PAGES * PAGE), *disk = malloc(PAGE);

        require(copy && disk, "no memory");
        load_all(&v);
        memcpy(copy, v.p, PAGES * PAGE);
        for (uint64_t n = 0; n < PAGES; n++) {
                uint64_t at = n * PAGE + (n * 37 + (n % 3 ? 0 : PAGE - 1)) % PAGE;

                ((volatile char *)v.p)[at] ^= 1;
                copy[at] ^= 1;
        }
        sync_all(&v);
        for (uint64_t n = 0; n < PAGES; n++)
                if (file_read(v.path, disk, PAGE, n * PAGE))
                        expect(!memcmp(disk, copy + n * PAGE, PAGE), "page %lu", (unsigned long)n);
        free(copy);
        free(disk);
        end(&v);
}

/* What another program puts to pages that nobody here stores to stays, though they were dirty for us. */
static void nothing_of_nobody(void)
{
        struct view v = begin("nothing_of_nobody");
        struct fl_stats before, after;
        char theirs[PAGE];
        unsigned stored = 0;

        load_all(&v);
        before = get_stats(v.e);
        for (uint64_t n = 0; n < PAGES; n += 256) {
                /* The thread goes on for 40 pages, and what it is thought to do next it does not. */
                for (uint64_t i = n; i < n + 40; i++, stored++)
                        stamp_write(page(&v, i), i, 1);
                for (uint64_t i = n + 40; i < n + 256; i++) {
                        stamp_write(theirs, i, 7);
                        expect(pwrite(v.fd, theirs, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
                               "pwrite");
                }
        }
        sync_all(&v);
        after = get_stats(v.e);
        expect_eq(after.writeback_pages - before.writeback_pages, stored, "pages written");
        for (uint64_t n = 0; n < PAGES; n++)
                expect_on_disk(&v, n, n % 256 < 40 ? 1 : 7, "theirs and ours");
        /* They are clean now, and the next store is known of. */
        for (uint64_t n = 0; n < PAGES; n += 64)
                stamp_write(page(&v, n + 50), n + 50, 2);
        sync_all(&v);
        for (uint64_t n = 0; n < PAGES; n += 64)
                expect_on_disk(&v, n + 50, 2, "stored to later");
        end(&v);
}

/* Here and there: an event each. */
static void scattered(void)
{
        struct view v = begin("scattered");
        uint64_t before, took, stored = 0;

        load_all(&v);
        before = faults(&v);
        for (uint64_t n = 0; n < PAGES; n += 7, stored++)
                stamp_write(page(&v, n), n, 1);
        took = faults(&v) - before;
        expect(took >= stored, "%llu faults for %llu stores", (unsigned long long)took,
               (unsigned long long)stored);
        sync_all(&v);
        expect_eq(get_stats(v.e).writeback_pages, stored, "pages written");
        end(&v);
}

/* The file is cut in a page that was shown ahead, and grows again: what is stored there then is what was
 * there at first, and is not to be taken for "nothing stored". */
static void cut_and_stored_again(void)
{
        struct view v = begin("cut_and_stored_again");
        char was[PAGE], *p;
        uint64_t n;

        load_all(&v);
        for (n = 0; n < 40; n++)
                stamp_write(page(&v, n), n, 1);
        n = 50;
        p = page(&v, n);
        memcpy(was, p, PAGE);
        expect(fl_ftruncate(v.f, (off_t)(n * PAGE + 100)) == 0, "%s", fl_strerror());
        expect(fl_ftruncate(v.f, PAGES * PAGE) == 0, "%s", fl_strerror());
        memcpy(p, was, PAGE);
        sync_all(&v);
        expect_on_disk(&v, n, 0, "stored again");
        end(&v);
}

/* Once a write has failed nobody knows what the disk has: what is stored again is written again, also where it
 * makes the page what it was. */
static void after_a_failure(void)
{
        struct fl_engine_config cfg = { .cache = CACHE,
                                        .policy = "adaptive",
                                        .faults = "eio@4096000+4096*1" };
        struct view v = { .path = test_stamped_file("store_ahead", PAGES), .fd = -1 };
        struct fl_stats before, after;
        char bytes[PAGE];

        test_at("after_a_failure");
        v.e = open_engine_with(cfg);
        v.f = open_file(v.e, v.path, O_RDWR);
        v.p = map_file(v.e, v.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        stamp_write(bytes, 1000, 0);
        expect(fl_pwrite(v.f, bytes, PAGE, 1000 * PAGE) == (ssize_t)PAGE, "%s", fl_strerror());
        expect(fl_fsync(v.f) == -1, "a write that fails is told");
        sync_all(&v);
        for (unsigned pass = 0; pass < 2; pass++) {
                before = get_stats(v.e);
                for (uint64_t n = 0; n < 400; n++)
                        stamp_write(page(&v, n), n, 1);
                sync_all(&v);
                after = get_stats(v.e);
                expect_eq(after.writeback_pages - before.writeback_pages, 400, "pages written");
        }
        end(&v);
}

/* A file of holes, and two of them that the disk has no room for: each is asked about before anybody can store
 * to it, however many came in order before it, and who stores there hears that there is none. */
static void where_there_is_no_room(void)
{
        struct fl_engine_config cfg = { .cache = CACHE,
                                        .policy = "adaptive",
                                        .flags = FL_ENGINE_QUIET,
                                        .faults = "enospc@2867200+4096,enospc@6148096+4096" };
        struct view v = { .path = test_file("store_ahead_holes", PAGES * PAGE), .fd = -1 };
        uint64_t before, took;

        test_at("where_there_is_no_room");
        v.e = open_engine_with(cfg);
        v.f = open_file(v.e, v.path, O_RDWR);
        v.p = map_file(v.e, v.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        for (uint64_t n = 0; n < PAGES; n++)
                expect_eq(*(volatile char *)page(&v, n), 0, "a hole");
        before = faults(&v);
        for (uint64_t n = 0; n < PAGES; n++) {
                bool room = n != 700 && n != 1501;

                expect_eq(try_store(page(&v, n), 1).signo, room ? 0 : SIGBUS, "a store");
                if (room)
                        stamp_write(page(&v, n), n, 1);
        }
        took = faults(&v) - before;
        expect(took <= PAGES / 8, "%llu faults for %lu stores in order", (unsigned long long)took,
               PAGES);
        sync_all(&v);
        for (uint64_t n = 0; n < PAGES; n++)
                if (n != 700 && n != 1501)
                        expect_on_disk(&v, n, 1, "after msync");
        end(&v);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        in_order();
        one_byte_each();
        nothing_of_nobody();
        scattered();
        cut_and_stored_again();
        after_a_failure();
        where_there_is_no_room();
        return test_end();
}
