/* SPDX-License-Identifier: Apache-2.0
 *
 * stores.c - is any store lost? In rounds, so short that a store lost is not made good by the next:
 * each page is stored to once or twice while others sync, evict and look; then all of it is synced
 * and must be in the file, in both views, and in the private copies.
 *
 *   storers   each its share of the pages, in a random order, through one of two views; a part of
 *             them to a private mapping, which others read and store to at the same places
 *   syncer    fl_msync of everything, over and over
 *   scanner   reads another file, so that pages are evicted all the time
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 96ul
#define COPIES 16ul /* pages of the private mapping */
#define OTHER 256ul /* pages of the file that is scanned */
#define STORERS 3u
#define THREADS (STORERS + 2)

static struct {
        struct fl_engine *engine;
        struct fl_file *file, *other;
        char *view[2], *scan, *private;
        const char *path;
        uint64_t round;
        pthread_barrier_t barrier;
        _Atomic unsigned storing; /* storers that are not done with this round */
        bool stop;
} s;

/* A byte for each storer, so that all can store to one page at once. */
static volatile char *private_byte(uint64_t page, unsigned storer)
{
        return s.private + page * PAGE + 2000 + storer;
}

static void store_shared(unsigned number, uint64_t *seed)
{
        uint64_t share = PAGES / STORERS, start = random_below(seed, share);

        for (uint64_t i = 0; i < share; i++) {
                uint64_t page = (start + i * 7) % share * STORERS + number;
                char *p = s.view[random_below(seed, 2)] + page * PAGE;

                if (random_below(seed, 2)) /* clean and mapped, or absent */
                        (void)*(volatile char *)p;
                if (random_below(seed, 2))
                        stamp_write(p, page, s.round * 2);
                stamp_write(p, page, s.round * 2 + 1);
        }
}

static void store_private(unsigned number, uint64_t *seed)
{
        uint64_t start = random_below(seed, COPIES);
        char value = (char)(1 + s.round % 100);

        for (uint64_t i = 0; i < COPIES; i++) {
                uint64_t page = (start + i) % COPIES;
                volatile char *p = private_byte(page, number);

                if (random_below(seed, 2))
                        (void)*(volatile char *)(s.private + page * PAGE);
                *p = value;
                expect_eq(*p, value, "a private store, at once");
        }
}

static void *work(void *arg)
{
        unsigned number = (unsigned)(uintptr_t)arg;
        uint64_t seed = test.seed + number * 7919;

        test_at(number < STORERS ? "storing" : number == STORERS ? "syncing" : "scanning");
        for (;;) {
                pthread_barrier_wait(&s.barrier);
                if (s.stop)
                        return NULL;
                if (number < STORERS) {
                        store_shared(number, &seed);
                        store_private(number, &seed);
                        atomic_fetch_sub(&s.storing, 1);
                }
                for (uint64_t i = 0; number == STORERS && atomic_load(&s.storing); i++)
                        expect(fl_msync(s.engine, s.view[0], PAGES * PAGE, MS_SYNC) == 0, "%s",
                               fl_strerror());
                for (uint64_t i = seed; number > STORERS && atomic_load(&s.storing); i++)
                        (void)*(volatile char *)(s.scan + i % OTHER * PAGE);
                pthread_barrier_wait(&s.barrier);
        }
}

static void look_at(uint64_t page, const char *p, const char *where)
{
        const char *wrong = stamp_wrong(p, page, s.round * 2 + 1);

        expect(!wrong, "round %llu, %s: %s", (unsigned long long)s.round, where, wrong);
}

/* The syncer's last call may still be under way: a call of our own is to see to the rest. */
static void sync_and_look(void)
{
        char buf[PAGE];

        expect(fl_msync(s.engine, s.view[1], PAGES * PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < PAGES; i++)
                if (file_read(s.path, buf, PAGE, i * PAGE))
                        look_at(i, buf, "in the file");
}

static void look_at_memory(void)
{
        for (uint64_t i = 0; i < PAGES; i++) {
                look_at(i, s.view[0] + i * PAGE, "in the first view");
                look_at(i, s.view[1] + i * PAGE, "in the second view");
        }
        for (uint64_t i = 0; i < COPIES; i++)
                for (unsigned k = 0; k < STORERS; k++)
                        expect_eq(*private_byte(i, k), 1 + s.round % 100, "a private store");
}

static void play(void)
{
        s.private =
                map_file(s.engine, s.file, COPIES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        atomic_store(&s.storing, STORERS);
        pthread_barrier_wait(&s.barrier);
        while (atomic_load(&s.storing))
                usleep(100);
        test_at("looking");
        sync_and_look();
        pthread_barrier_wait(&s.barrier);
        look_at_memory();
        expect(fl_munmap(s.engine, s.private, COPIES * PAGE) == 0, "%s", fl_strerror());
}

int main(int argc, char **argv)
{
        pthread_t thread[THREADS];
        uint64_t rounds;

        test_begin(argc, argv, 4, 60, 60);
        s.path = test_stamped_file("stores", PAGES);
        s.engine = open_engine(test.cache ? test.cache : 96 * PAGE);
        s.file = open_file(s.engine, s.path, O_RDWR);
        s.other = open_file(s.engine, test_stamped_file("other", OTHER), O_RDONLY);
        for (unsigned i = 0; i < 2; i++)
                s.view[i] = map_file(s.engine, s.file, PAGES * PAGE, PROT_READ | PROT_WRITE,
                                     MAP_SHARED, 0);
        s.scan = map_file(s.engine, s.other, OTHER * PAGE, PROT_READ, MAP_SHARED, 0);
        pthread_barrier_init(&s.barrier, NULL, THREADS + 1);
        for (unsigned i = 0; i < THREADS; i++)
                require(!pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i),
                        "pthread_create");
        for (s.round = 1; test_left() > 0 && !test_failures(); s.round++)
                play();
        rounds = s.round - 1;
        s.stop = true;
        pthread_barrier_wait(&s.barrier);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(thread[i], NULL);
        printf("%llu rounds, %llu pages evicted\n", (unsigned long long)rounds,
               (unsigned long long)get_stats(s.engine).evicted_pages);
        expect(rounds > 0, "nothing was done");
        check_engine(s.engine);
        close_file(s.file);
        close_file(s.other);
        close_engine(s.engine);
        return test_end();
}
