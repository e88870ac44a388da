/* SPDX-License-Identifier: Apache-2.0
 *
 * prefetch.c - fl_prefetch: thousands of ranges in few reads, each page once; its end told in three ways;
 * cancelled, also in the queue, beyond the budget, without room or tables, of a disk that fails, cut off
 * meanwhile; and calls that cannot be.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 2048ul
#define SECOND 1000000000ull
#define CUTS 20

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        int event;
};

static struct scene begin_with(struct fl_engine_config config)
{
        struct scene s = {
                .e = open_engine_with(config),
                .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        };

        s.f = open_file(s.e, test_stamped_file("prefetch", PAGES), O_RDWR);
        require(s.event >= 0, "%s", strerror(errno));
        return s;
}

static struct scene begin(uint64_t cache, const char *faults)
{
        return begin_with((struct fl_engine_config){
                .cache = cache, .faults = faults, .flags = FL_ENGINE_QUIET });
}

static void end(struct scene *s)
{
        check_engine(s->e);
        close(s->event);
        close_file(s->f);
        close_engine(s->e);
}

static struct fl_prefetch *ask(struct scene *s, const struct fl_range *ranges, size_t nr)
{
        struct fl_prefetch *p = fl_prefetch(s->f, ranges, nr, s->event);

        require(p, "%s", fl_strerror());
        return p;
}

/* Waits, by the descriptor; and the other ways must say the same. */
static struct fl_prefetch_result finish(struct scene *s, struct fl_prefetch *p)
{
        struct fl_prefetch_result r = { .size = sizeof(r) };
        struct pollfd fd = { .fd = s->event, .events = POLLIN };
        uint64_t count = 0;

        expect(poll(&fd, 1, 30000) == 1, "its end is not told");
        expect(read(s->event, &count, sizeof(count)) == sizeof(count), "%s", strerror(errno));
        expect_eq(count, 1, "it is told so often");
        expect(fl_prefetch_wait(p, 0, &r) == 0, "it is told, and not over: %s", fl_strerror());
        expect(fl_prefetch_wait(p, SECOND, NULL) == 0, "it is over for good: %s", fl_strerror());
        expect(fl_prefetch_end(p) == 0, "%s", fl_strerror());
        return r;
}

static unsigned resident(struct scene *s, uint64_t first, uint64_t nr)
{
        static unsigned char vec[PAGES];
        char *p = map_file(s->e, s->f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        unsigned n = 0;

        expect(fl_mincore(s->e, p + first * PAGE, nr * PAGE, vec) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < nr; i++)
                n += vec[i];
        expect(fl_munmap(s->e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
        return n;
}

/* All even pages, each twice, mixed; then all of the file in pieces that touch. */
static void many_ranges(void)
{
        struct scene s = begin(16u << 20, NULL);
        static struct fl_range ranges[PAGES];
        struct fl_prefetch_result r;
        struct fl_stats before, after;
        char page[PAGE];

        test_at("many ranges");
        for (uint64_t i = 0; i < PAGES; i++)
                ranges[i] = (struct fl_range){ (off_t)(i * 770 % PAGES * PAGE + 5), 100 };
        before = get_stats(s.e);
        r = finish(&s, ask(&s, ranges, PAGES));
        after = get_stats(s.e);
        expect_eq(r.wanted, PAGES / 2 * PAGE, "bytes, each page once");
        expect_eq(r.read, PAGES / 2 * PAGE, "bytes read");
        expect_eq(r.failed + r.left + (uint64_t)r.error, 0, "what else");
        expect_eq(after.read_bytes - before.read_bytes, PAGES / 2 * PAGE, "bytes of the disk");
        expect_eq(resident(&s, 0, PAGES), PAGES / 2, "pages in memory");
        expect(fl_pread(s.f, page, PAGE, 6 * PAGE) == (ssize_t)PAGE && !stamp_wrong(page, 6, 0),
               "page 6");
        /* 64 pages each: the odd ones are read, the others are there. */
        for (uint64_t i = 0; i < PAGES / 64; i++)
                ranges[i] = (struct fl_range){ (off_t)((PAGES - 64 - i * 64) * PAGE), 64 * PAGE };
        r = finish(&s, ask(&s, ranges, PAGES / 64));
        expect_eq(r.wanted, PAGES * PAGE, "all of it");
        expect_eq(r.read, PAGES / 2 * PAGE, "what was not there");
        expect_eq(r.left, 0, "left");
        for (uint64_t i = 0; i < PAGES; i++)
                expect(fl_pread(s.f, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE &&
                               !stamp_wrong(page, i, 0),
                       "page %lu", i);
        end(&s);
}

/* Pages that lie in a row are one request, however they were asked for. */
static void in_few_requests(void)
{
        struct scene s = begin(16u << 20, NULL);
        static struct fl_range ranges[256];
        struct fl_stats before = get_stats(s.e), after;
        struct fl_prefetch_result r;

        test_at("few requests");
        for (uint64_t i = 0; i < 256; i++)
                ranges[i] = (struct fl_range){ (off_t)((i * 77 % 256) * PAGE), PAGE };
        r = finish(&s, ask(&s, ranges, 256));
        after = get_stats(s.e);
        expect_eq(r.read, 256 * PAGE, "bytes read");
        expect(after.bios - before.bios <= 8, "%llu bios for a row of 256 pages",
               (unsigned long long)(after.bios - before.bios));
        end(&s);
}

/* While the disk takes its time: it is not over, and it is cancelled; what was begun comes. */
static void cancelled(void)
{
        struct scene s = begin(1u << 20, "delay=50ms");
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch_result r = { .size = sizeof(r) };
        struct fl_prefetch *p = ask(&s, &all, 1), *q;

        test_at("cancelled");
        expect(fl_prefetch_wait(p, 1000, &r) == -1 && errno == EAGAIN, "over already");
        expect(r.wanted == PAGES * PAGE && r.read < r.wanted, "%llu of %llu",
               (unsigned long long)r.read, (unsigned long long)r.wanted);
        expect(fl_prefetch_cancel(p) == 0, "%s", fl_strerror());
        r = finish(&s, p);
        expect(r.left > 0, "all was begun with");
        expect(r.read + r.left <= r.wanted && r.failed == 0, "%llu failed",
               (unsigned long long)r.failed);
        /* The next is not kept waiting for long; and ended at once, without a wait of its own. */
        p = ask(&s, &all, 1);
        q = ask(&s, &all, 1);
        expect(fl_prefetch_end(q) == 0 && fl_prefetch_end(p) == 0, "%s", fl_strerror());
        end(&s);
}

/* Behind one that takes its time: it is over at once, and nobody waits for what is in front of it. */
static void cancelled_in_the_queue(void)
{
        struct scene s = begin(1u << 20, "delay=200ms");
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch *p = fl_prefetch(s.f, &all, 1, -1), *q = ask(&s, &all, 1);
        struct fl_prefetch *last = fl_prefetch(s.f, &all, 1, -1);
        struct fl_prefetch_result r = { .size = sizeof(r) };

        test_at("cancelled in the queue");
        require(p && last, "%s", fl_strerror());
        expect(fl_prefetch_cancel(q) == 0 && fl_prefetch_cancel(q) == 0, "%s", fl_strerror());
        expect(fl_prefetch_wait(q, 0, &r) == 0, "it waits for the one in front");
        expect_eq(r.left, r.wanted, "all of it is left");
        finish(&s, q);
        expect(fl_prefetch_end(last) == 0, "%s", fl_strerror());
        expect(fl_prefetch_wait(p, 0, NULL) == -1 && errno == EAGAIN,
               "the end of the last waited for the first");
        expect(fl_prefetch_end(p) == 0, "%s", fl_strerror());
        end(&s);
}

static _Atomic unsigned ticks;

static void tick(int signo)
{
        (void)signo;
        atomic_fetch_add(&ticks, 1);
}

/* Who waits for reads that take long has his signals meanwhile, not one when all is over. */
static void signals_while_it_ends(void)
{
        struct sigaction act = { .sa_handler = tick, .sa_flags = SA_RESTART };
        struct itimerspec often = { { 0, 20000000 }, { 0, 20000000 } };
        struct sigevent to_me = { .sigev_signo = SIGALRM, .sigev_notify = SIGEV_THREAD_ID };
        struct scene s = begin(1u << 20, "delay=600ms");
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch_result r = { .size = sizeof(r) };
        struct fl_prefetch *p = ask(&s, &all, 1);
        timer_t timer;

        test_at("signals");
        to_me._sigev_un._tid = gettid(); /* others would take it */
        do                               /* until something is on its way */
                fl_prefetch_wait(p, SECOND / 1000, &r);
        while (r.left == r.wanted && test_left() > -20);
        require(sigaction(SIGALRM, &act, NULL) == 0, "%s", strerror(errno));
        require(timer_create(CLOCK_MONOTONIC, &to_me, &timer) == 0, "%s", strerror(errno));
        atomic_store(&ticks, 0);
        timer_settime(timer, 0, &often, NULL);
        expect(fl_prefetch_end(p) == 0, "%s", fl_strerror());
        timer_delete(timer);
        expect(atomic_load(&ticks) > 2, "%u signals", atomic_load(&ticks));
        signal(SIGALRM, SIG_DFL);
        end(&s);
}

struct cutter {
        struct fl_file *f;
        _Atomic bool stop;
};

static void *cut_and_grow(void *arg)
{
        struct cutter *c = arg;

        while (!atomic_load(&c->stop)) {
                expect(fl_ftruncate(c->f, 16 * PAGE) == 0, "%s", fl_strerror());
                expect(fl_ftruncate(c->f, PAGES * PAGE) == 0, "%s", fl_strerror());
        }
        return NULL;
}

/* Whoever cuts a file waits, holding its size, for the reads of what goes. They must not lie with one who
 * waits for the size. */
static void cut_again_and_again(void)
{
        /* Without the sleeps of perturb they hardly ever meet. */
        struct scene s = begin_with((struct fl_engine_config){
                .cache = 16u << 20, .perturb = test.seed | 1, .flags = FL_ENGINE_QUIET });
        struct cutter cutter = { .f = s.f };
        static struct fl_range ranges[PAGES / 2];
        char *p = map_file(s.e, s.f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        pthread_t thread;

        for (uint64_t i = 0; i < PAGES / 2; i++)
                ranges[i] = (struct fl_range){ (off_t)(2 * i * PAGE), PAGE };
        require(pthread_create(&thread, NULL, cut_and_grow, &cutter) == 0, "no thread");
        for (unsigned i = 0; i < CUTS; i++) {
                test_at("cut while it is prefetched");
                finish(&s, ask(&s, ranges, PAGES / 2));
                test_at("cut while memcntl reads it");
                expect(fl_memcntl(s.e, p, PAGES * PAGE, FL_MC_ADVISE,
                                  (void *)(uintptr_t)MADV_WILLNEED, 0, 0) == 0,
                       "%s", fl_strerror());
        }
        atomic_store(&cutter.stop, true);
        pthread_join(thread, NULL);
        expect(fl_munmap(s.e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
        end(&s);
}

/* No more than the cache holds; and what came first is not pushed out. */
static void beyond_the_budget(void)
{
        struct scene s = begin(2u << 20, NULL);
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch_result r = finish(&s, ask(&s, &all, 1));

        test_at("beyond the budget");
        expect(r.read > 0 && r.read < 2u << 20, "%llu bytes read", (unsigned long long)r.read);
        expect_eq(r.read + r.left, r.wanted, "the rest is left");
        expect(get_stats(s.e).cache_bytes_peak <= 2u << 20, "the budget");
        expect(resident(&s, 0, 64) >= 60, "%u of the first 64 pages are there",
               resident(&s, 0, 64));
        end(&s);
}

/* All room is taken by what cannot go: it ends, and says so. */
static void without_room(void)
{
        struct scene s = begin(1u << 20, NULL);
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch_result r;
        char *p = fl_mmap(s.e, NULL, 1u << 20, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);

        test_at("without room");
        require(p != MAP_FAILED, "%s", fl_strerror());
        for (size_t at = 0; at < 1u << 20; at += PAGE)
                if (try_store(p + at, 1).signo)
                        break;
        r = finish(&s, ask(&s, &all, 1));
        expect(r.left > 0, "all of it was begun with");
        expect_eq(r.failed, 0, "failed");
        expect(fl_munmap(s.e, p, 1u << 20) == 0, "%s", fl_strerror());
        end(&s);
}

/* Of the tables that the trees are made of, none is left. */
struct hoard {
        struct table_pool *pool;
        uint32_t units;
        void *first; /* each begins with the next */
};

static struct hoard take_all_tables(struct table_pool *pool)
{
        struct hoard h = { pool, pool->units, NULL };
        void *table;

        mutex_lock(&pool->lock);
        pool->units = pool->next;
        mutex_unlock(&pool->lock);
        while ((table = table_alloc(pool))) {
                memcpy(table, &h.first, sizeof(h.first));
                h.first = table;
        }
        return h;
}

static void give_tables_back(struct hoard *h)
{
        void *table;

        while ((table = h->first)) {
                memcpy(&h->first, table, sizeof(h->first));
                table_free(h->pool, table);
        }
        mutex_lock(&h->pool->lock);
        h->pool->units = h->units;
        mutex_unlock(&h->pool->lock);
}

/* What could not be begun is told as that, not as what was there already. */
static void without_tables(void)
{
        struct scene s = begin(16u << 20, NULL);
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch_result r;
        struct hoard hoard;
        char byte;
        unsigned here;

        test_at("without tables");
        expect(fl_pread(s.f, &byte, 1, 0) == 1, "%s", fl_strerror());
        check_engine(s.e);
        hoard = take_all_tables(&s.e->tables);
        r = finish(&s, ask(&s, &all, 1));
        give_tables_back(&hoard);
        here = resident(&s, 0, PAGES);
        expect(here < PAGES, "all pages are there");
        expect_eq(r.left, (PAGES - here) * PAGE, "bytes that are not there");
        expect_eq(r.failed, 0, "failed");
        r = finish(&s, ask(&s, &all, 1));
        expect_eq(r.read, (PAGES - here) * PAGE, "bytes, now that there are tables");
        end(&s);
}

static void of_a_disk_that_fails(void)
{
        struct scene s = begin(16u << 20, "eio@40960+4096*1000");
        struct fl_range ranges[] = { { 0, 8 * PAGE },
                                     { 10 * PAGE, PAGE },
                                     { 20 * PAGE, 4 * PAGE } };
        struct fl_prefetch_result r = finish(&s, ask(&s, ranges, 3));

        test_at("a disk that fails");
        expect_eq(r.failed, PAGE, "bytes that could not be read");
        expect_eq(r.error, EIO, "why");
        expect_eq(r.read, 12 * PAGE, "the rest");
        end(&s);
}

/* The file ends before a range does, or is cut while it is read; and it is closed meanwhile. */
static void behind_the_end(void)
{
        struct scene s = begin(16u << 20, "delay=20ms");
        struct fl_range ranges[] = { { (PAGES - 2) * PAGE, 100 * PAGE },
                                     { 2 * PAGES * PAGE, PAGE } };
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch_result r = finish(&s, ask(&s, ranges, 2));
        struct fl_prefetch *p;

        test_at("behind the end");
        expect_eq(r.wanted, 2 * PAGE, "what there is");
        expect_eq(r.read, 2 * PAGE, "what there is");
        p = ask(&s, &all, 1);
        expect(fl_ftruncate(s.f, 16 * PAGE) == 0, "%s", fl_strerror());
        r = finish(&s, p);
        expect(r.read + r.failed + r.left <= r.wanted, "of what was cut off");
        p = ask(&s, &all, 1);
        close_file(s.f);
        errno = 0;
        expect(fl_engine_close(s.e) == -1 && errno == EBUSY, "closed under it: %s",
               strerror(errno));
        finish(&s, p);
        s.f = open_file(s.e, test_stamped_file("prefetch", PAGES), O_RDWR);
        end(&s);
}

static void refuse(struct fl_file *f, const struct fl_range *ranges, size_t nr, int fd, int error)
{
        struct fl_prefetch *p = fl_prefetch(f, ranges, nr, fd);

        expect(!p && errno == error, "%s, expected %s", strerror(errno), strerror(error));
        if (p)
                fl_prefetch_end(p);
}

static void bad_input(void)
{
        struct scene s = begin(1u << 20, NULL);
        struct fl_file *w = open_file(s.e, test_file("writeonly", PAGE), O_WRONLY);
        struct fl_range good = { 0, PAGE }, negative = { -1, PAGE }, long_one = { PAGE, SIZE_MAX };
        struct fl_range none = { 5, 0 };
        struct fl_prefetch_result r = { .size = 3 };
        struct fl_prefetch *p;
        int fds[2];

        test_at("bad input");
        require(pipe(fds) == 0, "%s", strerror(errno));
        refuse(s.f, &negative, 1, -1, EINVAL);
        refuse(s.f, &long_one, 1, -1, EINVAL);
        refuse(s.f, NULL, 1, -1, EFAULT);
        refuse(s.f, &good, SIZE_MAX, -1, ENOMEM);
        refuse(w, &good, 1, -1, EBADF);
        refuse(s.f, &good, 1, 12345, EBADF);
        refuse(s.f, &good, 1, -7, EBADF);
        refuse(s.f, &good, 1, fds[1], EINVAL);
        r = finish(&s, ask(&s, &none, 1));
        expect_eq(r.wanted, 0, "of no length");
        r = finish(&s, ask(&s, NULL, 0));
        expect_eq(r.wanted, 0, "no range");
        p = fl_prefetch(s.f, &good, 1, -1);
        require(p, "%s", fl_strerror());
        r.size = 3;
        expect(fl_prefetch_wait(p, SECOND, &r) == -1 && errno == EINVAL, "a size of 3");
        expect(fl_prefetch_wait(p, UINT64_MAX, NULL) == 0, "%s", fl_strerror());
        expect(fl_prefetch_end(p) == 0 && fl_prefetch_end(NULL) == 0, "%s", fl_strerror());
        close(fds[0]);
        close(fds[1]);
        close_file(w);
        end(&s);
}

static void two_engines(void)
{
        struct scene a = begin(16u << 20, "delay=5ms"), b = begin(16u << 20, NULL);
        struct fl_range all = { 0, PAGES * PAGE };
        struct fl_prefetch *p = ask(&a, &all, 1), *q = ask(&b, &all, 1);

        test_at("two engines");
        expect_eq(finish(&b, q).read, PAGES * PAGE, "of the one");
        expect_eq(finish(&a, p).read, PAGES * PAGE, "of the other");
        end(&a);
        end(&b);
}

/* A child has no thread that would read, and no right to the parent's. */
static void in_a_child(void)
{
        struct scene s = begin(1u << 20, NULL);
        struct fl_range one = { 0, PAGE };
        struct fl_prefetch *p = ask(&s, &one, 1);
        int status;
        pid_t pid = fork();

        test_at("a child");
        if (pid == 0)
                _exit(fl_prefetch(s.f, &one, 1, -1) || errno != EPERM || fl_prefetch_end(p) == 0 ||
                      errno != EPERM || fl_prefetch_wait(p, 0, NULL) == 0 || errno != EPERM);
        require(waitpid(pid, &status, 0) == pid, "%s", strerror(errno));
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
        finish(&s, p);
        end(&s);
}

int main(int argc, char **argv)
{
        unsigned fds, threads;

        test_begin(argc, argv, 1, 1, 60);
        fds = count_fds();
        threads = count_threads();
        many_ranges();
        in_few_requests();
        cancelled();
        cancelled_in_the_queue();
        signals_while_it_ends();
        cut_again_and_again();
        beyond_the_budget();
        without_room();
        without_tables();
        of_a_disk_that_fails();
        behind_the_end();
        bad_input();
        two_engines();
        in_a_child();
        expect_eq(count_fds(), fds, "descriptors");
        expect_eq(count_threads(), threads, "threads");
        return test_end();
}
