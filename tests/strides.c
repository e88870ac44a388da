/* SPDX-License-Identifier: Apache-2.0
 *
 * strides.c - several threads go through one file in steps, forward and backward, while pages of it
 * cannot be read, its end goes and comes back, and the cache is too small: who has to wait for a page of a
 * strided window waits for all of them, whatever becomes of those. Nobody hangs, and every page has its
 * own bytes, is zero behind where the end has been, or is a SIGBUS.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 4096ul
#define CUT (PAGES / 2) /* in front of it the file stays as it is */
#define WALKERS 4
/* 16 pages there, one that fails three times only, and one behind the cut. */
#define FAULTS "delay=1ms,eio-read@4194304+65536,eio-read@819200+4096*3,eio-read@12582912+4096"
#define UNREADABLE 1024ul
#define NR_UNREADABLE 16ul
#define AT_TIMES 200ul
#define BEHIND 3072ul

static struct fl_engine *engine;
static struct fl_file *file;
static char *memory;

static bool may_fail(uint64_t index)
{
        return index >= CUT || (index >= UNREADABLE && index < UNREADABLE + NR_UNREADABLE) ||
               index == AT_TIMES;
}

static void look(uint64_t index)
{
        static const char zeros[PAGE];
        uint64_t page[PAGE / 8];
        const void *at = memory + index * PAGE;
        struct caught c = try_words(page, at, PAGE / 8);
        const char *wrong;

        if (c.signo) {
                expect(c.signo == SIGBUS && may_fail(index), "page %llu: %s",
                       (unsigned long long)index, caught_name(c));
                return;
        }
        expect(index < UNREADABLE || index >= UNREADABLE + NR_UNREADABLE, "page %llu was read",
               (unsigned long long)index);
        wrong = stamp_wrong(page, index, 0);
        expect(!wrong || (index >= CUT && !memcmp(page, zeros, PAGE)), "%s", wrong);
}

static void *walk(void *arg)
{
        static const int64_t steps[] = { 2, -2, 8, -31, 64, -64, 16, 3 };
        uint64_t seed = test.seed * WALKERS + (uintptr_t)arg;

        while (test_left() > 0) {
                int64_t step = steps[random_below(&seed, sizeof(steps) / sizeof(*steps))];
                int64_t at = (int64_t)random_below(&seed, PAGES);

                for (unsigned i = 0; i < 200 && test_left() > 0; i++, at += step) {
                        if (at < 0 || at >= (int64_t)PAGES)
                                break;
                        look((uint64_t)at);
                }
        }
        return NULL;
}

/* What could not be read is tried again, and what is cached goes. */
static void *cut_and_forget(void *arg)
{
        uint64_t seed = test.seed + 77;

        (void)arg;
        while (test_left() > 0) {
                uint64_t pages = CUT + random_below(&seed, PAGES - CUT);

                expect(fl_ftruncate(file, (off_t)(pages * PAGE)) == 0, "%s", fl_strerror());
                expect(fl_madvise(engine, memory, CUT * PAGE, MADV_DONTNEED) == 0, "%s",
                       fl_strerror());
                expect(fl_ftruncate(file, PAGES * PAGE) == 0, "%s", fl_strerror());
        }
        return NULL;
}

int main(int argc, char **argv)
{
        pthread_t walkers[WALKERS], cutter;
        uint64_t tables;
        struct fl_engine_config cfg = {
                .cache = 1 << 20, .policy = "adaptive", .faults = FAULTS, .flags = FL_ENGINE_QUIET
        };

        test_begin(argc, argv, 3, 60, 60);
        engine = open_engine_with(cfg);
        file = open_file(engine, test_stamped_file("strides", PAGES), O_RDWR);
        tables = get_stats(engine).meta_bytes;
        memory = map_file(engine, file, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        for (uintptr_t i = 0; i < WALKERS; i++)
                require(!pthread_create(&walkers[i], NULL, walk, (void *)i), "thread");
        require(!pthread_create(&cutter, NULL, cut_and_forget, NULL), "thread");
        for (unsigned i = 0; i < WALKERS; i++)
                pthread_join(walkers[i], NULL);
        pthread_join(cutter, NULL);
        check_engine(engine);
        expect(get_stats(engine).io_errors > 0, "nothing failed");
        expect(fl_munmap(engine, memory, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_ftruncate(file, 0) == 0, "%s", fl_strerror());
        check_engine(engine);
        expect_eq(get_stats(engine).meta_bytes, tables, "somebody holds on to a table");
        close_file(file);
        close_engine(engine);
        return test_end();
}
