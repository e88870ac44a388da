/* SPDX-License-Identifier: Apache-2.0
 *
 * writeback.c - dirty pages on their way to the disk: what msync writes and what it does not, what
 * the flusher does by itself, stores during a write, and writes that fail: they lose nothing, are
 * told once, and are tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (8ul << 20)
#define BAD 10 /* the page at 40K, where the faults are */

struct setup {
        const char *path;
        struct fl_engine *e;
        struct fl_file *f;
        uint64_t pages;
        char *p;
};

static struct setup begin(const char *name, uint64_t pages, uint64_t cache, const char *faults)
{
        struct setup s = { .path = test_stamped_file(name, pages), .pages = pages };

        test_at(name);
        s.e = open_engine_with((struct fl_engine_config){ .cache = cache, .faults = faults });
        s.f = open_file(s.e, s.path, O_RDWR);
        s.p = map_file(s.e, s.f, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        /* One page a read, so that only what is touched meets a fault. */
        expect(fl_madvise(s.e, s.p, pages * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        return s;
}

static void end(struct setup *s)
{
        check_engine(s->e);
        expect(fl_munmap(s->e, s->p, s->pages * PAGE) == 0, "%s", fl_strerror());
        close_file(s->f);
        close_engine(s->e);
}

static void store(struct setup *s, uint64_t page, uint64_t version)
{
        stamp_write(s->p + page * PAGE, page, version);
}

/* A whole page, without reading it first: a fault on reads and writes is met by the write. */
static void write_whole(struct setup *s, uint64_t page, uint64_t version)
{
        char buf[PAGE];

        stamp_write(buf, page, version);
        expect(fl_pwrite(s->f, buf, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE, "%s",
               fl_strerror());
}

static void expect_shown(struct setup *s, uint64_t page, uint64_t version, const char *when)
{
        struct caught c = try_load(s->p + page * PAGE, NULL);
        const char *wrong;

        expect(c.signo == 0, "%s: page %llu: %s", when, (unsigned long long)page, caught_name(c));
        if (!c.signo && (wrong = stamp_wrong(s->p + page * PAGE, page, version)))
                expect(false, "%s: %s", when, wrong);
}

static void expect_in_file(struct setup *s, uint64_t page, uint64_t version, const char *when)
{
        char buf[PAGE];
        const char *wrong;

        if (file_read(s->path, buf, PAGE, page * PAGE) && (wrong = stamp_wrong(buf, page, version)))
                expect(false, "%s: in the file: %s", when, wrong);
}

static uint64_t written(struct setup *s)
{
        return get_stats(s->e).writeback_pages;
}

static int sync_pages(struct setup *s, uint64_t first, uint64_t nr)
{
        return fl_msync(s->e, s->p + first * PAGE, nr * PAGE, MS_SYNC) ? errno : 0;
}

/* --- what is written, and when --- */

static void exactly_the_range(void)
{
        struct setup s = begin("range", 100, CACHE, NULL);

        for (uint64_t i = 0; i < 100; i++)
                store(&s, i, 1);
        expect(fl_msync(s.e, s.p, 100 * PAGE, MS_ASYNC) == 0, "%s", fl_strerror());
        expect(fl_msync(s.e, s.p, 100 * PAGE, MS_INVALIDATE) == 0, "%s", fl_strerror());
        usleep(200000);
        expect_eq(written(&s), 0, "MS_ASYNC starts no I/O");
        expect_eq(get_stats(s.e).write_bytes, 0, "MS_ASYNC starts no I/O");
        expect_eq(sync_pages(&s, 20, 10), 0, "msync");
        expect_eq(written(&s), 10, "msync of ten pages");
        expect_eq(get_stats(s.e).write_bytes, 10 * PAGE, "msync of ten pages");
        expect_in_file(&s, 19, 0, "before the range");
        for (uint64_t i = 20; i < 30; i++)
                expect_in_file(&s, i, 1, "in the range");
        expect_in_file(&s, 30, 0, "behind the range");
        expect_eq(sync_pages(&s, 20, 10), 0, "msync");
        expect_eq(written(&s), 10, "nothing was dirty");
        store(&s, 25, 2);
        store(&s, 27, 2);
        expect_eq(sync_pages(&s, 15, 13), 0, "msync");
        expect_eq(written(&s), 17, "five before, and two of the ten");
        expect_in_file(&s, 25, 2, "stored again");
        end(&s);
        for (uint64_t i = 0; i < 100; i++)
                expect_in_file(&s, i, i == 25 || i == 27 ? 2 : 1, "after close");
}

static struct fl_io_stats write_requests(struct setup *s)
{
        struct fl_device_stats d = { .size = sizeof(d) };
        struct fl_io_stats sum = { 0 };

        for (unsigned i = 0; fl_device_stats(s->e, i, &d) == 0; i++) {
                sum.requests += d.write.requests;
                sum.bytes += d.write.bytes;
        }
        return sum;
}

/* In whatever order pages were stored to, neighbours go to the disk in one request. */
static void neighbours_in_one_request(void)
{
        const uint64_t pages = 100, clean = 57;
        struct setup s = begin("neighbours", pages, 64ul << 20, NULL);

        for (uint64_t i = 0, page; i < pages; i++)
                if ((page = i * 149 % pages) != clean)
                        store(&s, page, 1);
        expect_eq(sync_pages(&s, 0, pages), 0, "msync");
        expect_eq(write_requests(&s).bytes, (pages - 1) * PAGE, "all that was dirty, once");
        expect_eq(write_requests(&s).requests, 2, "before the page that was not, and behind it");
        end(&s);
}

static void by_itself(void)
{
        const uint64_t many = 700;
        struct setup s = begin("flusher", 1000, CACHE, NULL);
        const uint64_t few = 50, background = CACHE / PAGE / 10;

        for (uint64_t i = 0; i < few; i++)
                store(&s, i, 1);
        usleep(500000);
        expect_eq(written(&s), 0, "below the background limit");
        for (uint64_t i = few; i < many; i++)
                store(&s, i, 1);
        /* What stays dirty is no more than the limit, which is a tenth of the budget. */
        for (int i = 0; i < 100 && written(&s) + background < many; i++)
                usleep(50000);
        expect(written(&s) + background >= many, "the flusher wrote only %llu of %llu pages",
               (unsigned long long)written(&s), (unsigned long long)many);
        end(&s);
        for (uint64_t i = 0; i < many; i++)
                expect_in_file(&s, i, 1, "after close");
}

/* --- stores during a write --- */

struct storer {
        pthread_t thread;
        struct setup *s;
        uint64_t version;
        _Atomic uint64_t stored; /* stores that are over */
        _Atomic bool stop;
};

static void *keep_storing(void *arg)
{
        struct storer *w = arg;

        test_at("storing during write-back");
        while (!atomic_load(&w->stop)) {
                store(w->s, 5, ++w->version);
                atomic_fetch_add(&w->stored, 1);
                usleep(1000);
        }
        return NULL;
}

/* The storer may be kept from its processor for longer than a write takes: until one more of its stores has
 * begun and ended. */
static void wait_for_a_store(struct storer *w)
{
        uint64_t before = atomic_load(&w->stored);

        while (atomic_load(&w->stored) < before + 2)
                usleep(1000);
}

static void during_a_write(void)
{
        struct setup s = begin("redirty", 16, CACHE, "delay=60ms");
        struct storer w = { .s = &s, .version = 1 };
        uint64_t before;

        for (uint64_t i = 0; i < 16; i++)
                store(&s, i, 1);
        require(!pthread_create(&w.thread, NULL, keep_storing, &w), "pthread_create");
        before = written(&s);
        for (int i = 0; i < 5; i++) {
                expect_eq(sync_pages(&s, 0, 16), 0, "msync");
                wait_for_a_store(&w);
        }
        expect(written(&s) - before >= 16 + 4, "the page that is stored to was written %llu times",
               (unsigned long long)(written(&s) - before - 15));
        atomic_store(&w.stop, true);
        pthread_join(w.thread, NULL);
        expect_shown(&s, 5, w.version, "after the last store");
        expect_eq(sync_pages(&s, 5, 1), 0, "msync");
        expect_in_file(&s, 5, w.version, "the last store");
        end(&s);
}

static void *sync_one(void *arg)
{
        test_at("msync of one page");
        expect_eq(sync_pages(arg, 5, 1), 0, "msync");
        return NULL;
}

/* A page is stored to while it is written: the next msync writes it once more. */
static void msync_during_a_write(void)
{
        struct setup s = begin("twice", 16, CACHE, "delay=60ms");
        pthread_t other;

        for (uint64_t version = 1; version < 9; version += 2) {
                uint64_t requests;

                store(&s, 5, version);
                requests = get_stats(s.e).requests;
                require(!pthread_create(&other, NULL, sync_one, &s), "pthread_create");
                while (get_stats(s.e).requests == requests)
                        usleep(1000);
                store(&s, 5, version + 1);
                expect_eq(sync_pages(&s, 5, 1), 0, "msync");
                expect_in_file(&s, 5, version + 1, "stored while it was written");
                pthread_join(other, NULL);
        }
        end(&s);
}

/* --- two at the same page --- */

static void *keep_syncing(void *arg)
{
        struct storer *w = arg;

        test_at("msync of all, again and again");
        while (!atomic_load(&w->stop))
                expect_eq(sync_pages(w->s, 0, w->s->pages), 0, "msync of all");
        return NULL;
}

/* What another thread has begun to write is on the disk, too, when msync returns. */
static void another_writes_it(void)
{
        struct setup s = begin("two at the same page", 8, CACHE, NULL);
        struct storer w = { .s = &s };

        require(!pthread_create(&w.thread, NULL, keep_syncing, &w), "pthread_create");
        for (uint64_t version = 1; version <= 300; version++) {
                uint64_t page = version % s.pages;

                store(&s, page, version);
                expect_eq(sync_pages(&s, page, 1), 0, "msync");
                expect_in_file(&s, page, version, "after msync");
        }
        atomic_store(&w.stop, true);
        pthread_join(w.thread, NULL);
        end(&s);
}

/* --- writes that fail --- */

static void failed_once(void)
{
        struct setup s = begin("eio", 32, CACHE, "eio@40K+4K*1");
        struct fl_file *g = open_file(s.e, s.path, O_RDWR), *later;

        write_whole(&s, BAD, 1);
        store(&s, BAD + 1, 1);
        expect_eq(sync_pages(&s, 0, 32), EIO, "the write fails");
        expect_shown(&s, BAD, 1, "after the failure");
        expect_shown(&s, BAD + 1, 1, "after the failure");
        expect_in_file(&s, BAD, 0, "it did not get there");
        later = open_file(s.e, s.path, O_RDWR);
        store(&s, BAD + 2, 1);
        expect_eq(sync_pages(&s, 0, 32), 0, "tried again, told once");
        for (uint64_t i = BAD; i < BAD + 3; i++)
                expect_in_file(&s, i, 1, "tried again");
        expect_eq(sync_pages(&s, 0, 32), 0, "msync");
        /* Every open that was there hears of it, once. */
        errno = 0;
        expect(fl_fsync(g) == -1 && errno == EIO, "the other open: %s", strerror(errno));
        expect(fl_fsync(g) == 0, "the other open, again: %s", fl_strerror());
        expect(fl_fsync(later) == 0, "an open after it: %s", fl_strerror());
        expect(get_stats(s.e).io_errors > 0, "io_errors is 0");
        close_file(g);
        close_file(later);
        end(&s);
}

static void no_space(void)
{
        struct setup s = begin("enospc", 32, CACHE, "enospc@40K+4K");

        for (uint64_t i = 0; i < 32; i++)
                store(&s, i, 1);
        expect_eq(sync_pages(&s, BAD, 1), ENOSPC, "msync");
        expect_eq(sync_pages(&s, BAD, 1), ENOSPC, "tried again, failed again");
        expect_eq(sync_pages(&s, 0, BAD), 0, "the pages before it");
        for (uint64_t i = 0; i < 32; i++)
                expect_shown(&s, i, 1, "after ENOSPC");
        check_engine(s.e);
        expect(fl_munmap(s.e, s.p, 32 * PAGE) == 0, "%s", fl_strerror());
        errno = 0;
        expect(fl_file_close(s.f) == -1 && errno == ENOSPC, "close: %s", strerror(errno));
        errno = 0;
        expect(fl_engine_close(s.e) == -1 && errno == ENOSPC, "fl_engine_close: %s",
               strerror(errno));
        for (uint64_t i = 0; i < BAD; i++)
                expect_in_file(&s, i, 1, "what could be written");
        expect_in_file(&s, BAD, 0, "what could not");
}

/* A file closed with pages that could not be written keeps them for the next open. */
static void kept_after_close(void)
{
        struct setup s = begin("kept", 32, CACHE, "eio@40K+4K*4");
        char buf[PAGE];
        int tries;

        write_whole(&s, BAD, 1);
        expect(fl_munmap(s.e, s.p, 32 * PAGE) == 0, "%s", fl_strerror());
        errno = 0;
        expect(fl_file_close(s.f) == -1 && errno == EIO, "close: %s", strerror(errno));
        s.f = open_file(s.e, s.path, O_RDWR);
        expect(fl_pread(s.f, buf, PAGE, BAD * PAGE) == (ssize_t)PAGE, "%s", fl_strerror());
        expect(!stamp_wrong(buf, BAD, 1), "after close and open: %s", stamp_wrong(buf, BAD, 1));
        for (tries = 0; tries < 10 && fl_fsync(s.f); tries++)
                expect_eq(errno, EIO, "fl_fsync");
        expect(tries < 5, "fl_fsync fails for ever");
        expect_in_file(&s, BAD, 1, "written at last");
        s.p = map_file(s.e, s.f, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        end(&s);
}

/* The flusher meets the errors, and gets there in the end without being asked. */
static void flusher_tries_again(void)
{
        struct setup s = begin("again", 1000, CACHE, "eio@40K+4K*2");

        for (uint64_t i = 0; i < 600; i++)
                write_whole(&s, i, 1);
        for (int i = 0; i < 200; i++) {
                char buf[PAGE];

                if (!file_read(s.path, buf, PAGE, BAD * PAGE) || !stamp_wrong(buf, BAD, 1))
                        break;
                store(&s, 300 + i % 300, 1); /* keeps it over the background limit */
                for (uint64_t k = 0; k < 300; k++)
                        store(&s, 650 + k, 1);
                usleep(50000);
        }
        expect_in_file(&s, BAD, 1, "the flusher, after two failures");
        expect_eq(sync_pages(&s, 0, 1), EIO, "msync tells what the flusher met");
        expect_eq(sync_pages(&s, 0, 1), 0, "once");
        end(&s);
}

/* A budget full of pages that cannot be written: an error in the end, never a hang. */
#define STORERS 8

struct filler {
        pthread_t thread;
        struct setup *s;
        unsigned number, stored;
        bool refused;
};

static void *fill(void *arg)
{
        struct filler *w = arg;

        test_at("filling the budget with pages that cannot be written");
        for (uint64_t i = w->number; i < w->s->pages && !w->refused; i += STORERS) {
                struct caught c = try_store(w->s->p + i * PAGE + 3000, 7);

                w->refused = c.signo == SIGBUS;
                w->stored += c.signo == 0;
        }
        return NULL;
}

static void full_of_unwritable(void)
{
        struct setup s = begin("stuck", 512, 64 * PAGE, "enospc@0+1G");
        struct filler w[STORERS];
        unsigned stored = 0, refused = 0;
        int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO); /* a line a signal */
        for (unsigned i = 0; i < STORERS; i++) {
                w[i] = (struct filler){ .s = &s, .number = i };
                require(!pthread_create(&w[i].thread, NULL, fill, &w[i]), "pthread_create");
        }
        for (unsigned i = 0; i < STORERS; i++) {
                pthread_join(w[i].thread, NULL);
                stored += w[i].stored;
                refused += w[i].refused;
        }
        dup2(saved, STDERR_FILENO);
        close(saved);
        close(null);
        expect_eq(refused, STORERS, "threads that got a SIGBUS");
        expect(stored >= 32 && stored <= 64, "%u pages stored to", stored);
        for (unsigned n = 0; n < STORERS; n++)
                for (uint64_t i = n, k = 0; k < w[n].stored; i += STORERS, k++)
                        expect(s.p[i * PAGE + 3000] == 7, "page %llu: a store is lost",
                               (unsigned long long)i);
        expect_eq(sync_pages(&s, 0, 512), ENOSPC, "msync");
        expect(fl_munmap(s.e, s.p, 512 * PAGE) == 0, "%s", fl_strerror());
        errno = 0;
        expect(fl_file_close(s.f) == -1 && errno == ENOSPC, "close: %s", strerror(errno));
        errno = 0;
        expect(fl_engine_close(s.e) == -1 && errno == ENOSPC, "fl_engine_close: %s",
               strerror(errno));
}

/* --- two engines --- */

static void two_engines(void)
{
        struct setup a = begin("one", 600, 1 << 20, NULL), b = begin("two", 600, 2 << 20, NULL);

        for (uint64_t i = 0; i < 600; i++) {
                store(&a, i, 1);
                store(&b, i, 2);
        }
        expect_eq(get_stats(a.e).budget_bytes, 1 << 20, "the first");
        expect_eq(get_stats(b.e).budget_bytes, 2 << 20, "the second");
        expect(fl_munmap(a.e, b.p, PAGE) == 0, "munmap of what is another engine's");
        expect_shown(&b, 0, 2, "which stays");
        end(&a);
        for (uint64_t i = 0; i < 600; i++)
                expect_in_file(&a, i, 1, "the first is closed");
        for (uint64_t i = 0; i < 600; i++)
                expect_shown(&b, i, 2, "the second lives on");
        expect_eq(sync_pages(&b, 0, 600), 0, "msync");
        for (uint64_t i = 0; i < 600; i++)
                expect_in_file(&b, i, 2, "the second");
        end(&b);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 90);
        exactly_the_range();
        neighbours_in_one_request();
        by_itself();
        during_a_write();
        msync_during_a_write();
        another_writes_it();
        failed_once();
        no_space();
        kept_after_close();
        flusher_tries_again();
        full_of_unwritable();
        two_engines();
        return test_end();
}
