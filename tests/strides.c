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
#include <stdatomic.h>
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

/* A stream's fourth page, which comes late, and twelve that lie farther on. */
#define STEP 32ul
#define READERS 12
#define READS 100
#define FIRST_READER (10 * STEP)
#define SLOW                                                                                       \
        "delay=100ms@393216+4096,delay=17ms@1310720+4096,delay=41ms@1441792+4096,"                 \
        "delay=31ms@1572864+4096,delay=23ms@1703936+4096,delay=37ms@1835008+4096,"                 \
        "delay=19ms@1966080+4096,delay=29ms@2097152+4096,delay=43ms@2228224+4096,"                 \
        "delay=13ms@2359296+4096,delay=47ms@2490368+4096,delay=26ms@2621440+4096,"                 \
        "delay=34ms@2752512+4096"

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

/* On a slow machine it takes longer than was asked for until a page has been come to that cannot be read. */
static bool going_on(void)
{
        return test_left() > 0 || get_stats(engine).io_errors == 0;
}

static void *walk(void *arg)
{
        static const int64_t steps[] = { 2, -2, 8, -31, 64, -64, 16, 3 };
        uint64_t seed = test.seed * WALKERS + (uintptr_t)arg;

        while (going_on()) {
                int64_t step = steps[random_below(&seed, sizeof(steps) / sizeof(*steps))];
                int64_t at = (int64_t)random_below(&seed, PAGES);

                for (unsigned i = 0; i < 200 && going_on(); i++, at += step) {
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
        while (going_on()) {
                uint64_t pages = CUT + random_below(&seed, PAGES - CUT);

                expect(fl_ftruncate(file, (off_t)(pages * PAGE)) == 0, "%s", fl_strerror());
                expect(fl_madvise(engine, memory, CUT * PAGE, MADV_DONTNEED) == 0, "%s",
                       fl_strerror());
                expect(fl_ftruncate(file, PAGES * PAGE) == 0, "%s", fl_strerror());
        }
        return NULL;
}

/* One of those who read the same page again and again: it is sent away, and takes its time to come. */
struct reader {
        struct scene *scene;
        uint64_t page;
};

struct scene {
        struct fl_engine *e;
        char *p;
        atomic_bool stop;
        atomic_uint tired; /* readers that have given up before anybody told them to stop */
};

static bool send_away(struct scene *s, uint64_t page)
{
        ssize_t bytes = fl_evict(s->e, s->p + page * PAGE, PAGE);

        expect(bytes >= 0, "%s", fl_strerror());
        return bytes > 0;
}

static void *read_on(void *arg)
{
        struct reader *r = arg;
        struct scene *s = r->scene;

        for (unsigned i = 0; i < READS && !atomic_load(&s->stop);) {
                i += send_away(s, r->page);
                expect_eq(try_load(s->p + r->page * PAGE, NULL).signo, 0, "a reader's load");
        }
        atomic_fetch_add(&s->tired, !atomic_load(&s->stop));
        return NULL;
}

/* Others read pages, for ever, that lie where a stream will come to. Who waits for a page of the stream goes
 * on when that is there, or soon after: he would never see all of them there at once. */
static void others_read_on(void)
{
        struct fl_engine_config cfg = { .cache = 64 << 20, .policy = "adaptive", .faults = SLOW };
        struct scene s = { .e = open_engine_with(cfg) };
        struct fl_file *f = open_file(s.e, test_stamped_file("others", PAGES), O_RDONLY);
        char *p = map_file(s.e, f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        struct reader readers[READERS];
        pthread_t thread[READERS];

        test_at("others_read_on");
        s.p = map_file(s.e, f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        expect(fl_madvise(s.e, s.p, PAGES * PAGE, MADV_WILLNEED) == 0, "%s", fl_strerror());
        expect(fl_madvise(s.e, s.p, PAGES * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        check_engine(s.e);
        for (unsigned i = 0; i < 4; i++)
                send_away(&s, i * STEP);
        for (unsigned i = 0; i < READERS; i++) {
                readers[i] = (struct reader){ &s, FIRST_READER + i * STEP };
                require(!pthread_create(&thread[i], NULL, read_on, &readers[i]), "thread");
        }
        for (unsigned i = 0; i < 4; i++)
                expect_eq(try_load(p + i * STEP * PAGE, NULL).signo, 0, "the stream's load");
        expect(!atomic_load(&s.tired), "the stream has waited for others until they gave up");
        atomic_store(&s.stop, true);
        for (unsigned i = 0; i < READERS; i++)
                pthread_join(thread[i], NULL);
        check_engine(s.e);
        expect(fl_munmap(s.e, p, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.e, s.p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(f);
        close_engine(s.e);
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
        others_read_on();
        return test_end();
}
