/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive.c - the policy that goes by what it sees, in an engine: how often a stream has to wait, and how
 * much is read, for each pattern without a word of advice. Bytes are compared; nothing is timed.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define CACHE (8ul << 20)
#define PAGES 16384ul /* eight caches */

static const char *name;

struct reader {
        struct fl_engine *e;
        struct fl_file *f;
        const char *p;
};

static struct reader begin(const char *what)
{
        struct fl_engine_config cfg = { .cache = CACHE, .policy = "adaptive" };
        struct reader r = { .e = open_engine_with(cfg) };

        test_at(what);
        r.f = open_file(r.e, name, O_RDONLY);
        r.p = map_file(r.e, r.f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        return r;
}

static struct fl_stats end(struct reader *r)
{
        struct fl_stats s;

        check_engine(r->e);
        s = get_stats(r->e);
        expect(fl_munmap(r->e, (void *)r->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(r->f);
        close_engine(r->e);
        return s;
}

static void touch(const struct reader *r, uint64_t page)
{
        const char *wrong = stamp_wrong(r->p + page * PAGE, page, 0);

        expect(!wrong, "%s", wrong);
}

/* Each page is read once, or nearly, and a stream waits for a small part of its windows only: where
 * there was no memory for one. */
static void expect_stream(const char *what, const struct fl_stats *s, uint64_t pages, unsigned most)
{
        uint64_t read = s->read_bytes / PAGE;

        expect(read >= pages && read <= pages + pages / 8, "%s: %llu pages read for %llu", what,
               (unsigned long long)read, (unsigned long long)pages);
        expect(s->faults_major <= most, "%s: %llu major faults", what,
               (unsigned long long)s->faults_major);
}

/* What a stream is about to touch is shown to it, so that it takes a fault for each window, waiting or
 * not, and no more; and what it has come past was of use. */
static void expect_shown_ahead(const char *what, const struct fl_stats *s, unsigned most)
{
        uint64_t faults = s->faults_major + s->faults_minor;

        expect(faults <= most, "%s: %llu faults", what, (unsigned long long)faults);
        expect(s->readahead_hits >= s->readahead_pages / 8 * 7, "%s: %llu of %llu were of use",
               what, (unsigned long long)s->readahead_hits, (unsigned long long)s->readahead_pages);
}

static void forward_and_backward(void)
{
        struct reader r = begin("forward");
        struct fl_stats s;

        for (uint64_t i = 0; i < PAGES; i++)
                touch(&r, i);
        s = end(&r);
        expect_stream("forward", &s, PAGES, PAGES / 128);
        expect_shown_ahead("forward", &s, PAGES / 32);
        r = begin("backward");
        for (uint64_t i = PAGES; i-- > 0;)
                touch(&r, i);
        s = end(&r);
        expect_stream("backward", &s, PAGES, PAGES / 128);
        expect_shown_ahead("backward", &s, PAGES / 32);
}

/* What lies between is not read. */
static void strided(void)
{
        struct reader r = begin("strided");
        struct fl_stats s;

        for (uint64_t i = 0; i < PAGES; i += 64)
                touch(&r, i);
        s = end(&r);
        expect_stream("strided", &s, PAGES / 64, PAGES / 64 / 4);
        expect_shown_ahead("strided", &s, PAGES / 64 / 4);
        r = begin("strided, backward");
        for (uint64_t i = 0; i < PAGES; i += 31)
                touch(&r, PAGES - 1 - i);
        s = end(&r);
        expect_stream("strided, backward", &s, PAGES / 31 + 1, PAGES / 31 / 4);
        expect_shown_ahead("strided, backward", &s, PAGES / 31 / 4);
}

#define CACHED 1024ul /* half the cache */
#define TABLE 512     /* pages of a page table of the processor's */

/* The last one may be counted after its thread has gone on. */
static uint64_t all_faults(const struct reader *r)
{
        struct fl_stats s = get_stats(r->e);

        return s.faults_major + s.faults_minor;
}

/* What is cached and mapped by nobody comes back a table of the processor's at a time, in whatever order. */
static void shown_again(void)
{
        struct reader r = begin("shown again");
        uint64_t state = test.seed, before;

        for (int pass = 0; pass < 3; pass++) {
                before = all_faults(&r);
                for (uint64_t i = 0; i < CACHED; i++)
                        touch(&r, pass < 2 ? i : random_below(&state, CACHED));
                expect(pass == 0 || all_faults(&r) - before <= CACHED / TABLE + 2,
                       "pass %d: %llu faults", pass, (unsigned long long)(all_faults(&r) - before));
                expect(fl_madvise(r.e, (void *)r.p, CACHED * PAGE, MADV_DONTNEED) == 0, "%s",
                       fl_strerror());
        }
        before = all_faults(&r);
        expect(fl_madvise(r.e, (void *)r.p, CACHED * PAGE, MADV_RANDOM) == 0, "%s", fl_strerror());
        for (uint64_t i = 0; i < 64; i++)
                touch(&r, i);
        expect(all_faults(&r) - before > 60, "MADV_RANDOM: %llu faults for 64 pages",
               (unsigned long long)(all_faults(&r) - before));
        end(&r);
}

struct quarter {
        pthread_t thread;
        const struct reader *r;
        uint64_t first;
};

static void *read_quarter(void *arg)
{
        const struct quarter *q = arg;

        for (uint64_t i = 0; i < PAGES / 4; i++)
                touch(q->r, q->first + i);
        return NULL;
}

/* One mapping, a thread each. */
static void four_threads(void)
{
        struct reader r = begin("four threads");
        struct quarter q[4];
        struct fl_stats s;

        for (unsigned i = 0; i < 4; i++) {
                q[i] = (struct quarter){ .r = &r, .first = i * PAGES / 4 };
                require(pthread_create(&q[i].thread, NULL, read_quarter, &q[i]) == 0, "thread");
        }
        for (unsigned i = 0; i < 4; i++)
                pthread_join(q[i].thread, NULL);
        s = end(&r);
        expect_stream("four threads", &s, PAGES, PAGES / 8);
}

/* No page is read that nobody asked for, but for those that chance puts in a row. */
static void at_random(void)
{
        struct reader r = begin("at random");
        uint64_t state = test.seed;
        struct fl_stats s;

        for (unsigned i = 0; i < 20000; i++)
                touch(&r, random_below(&state, PAGES));
        s = end(&r);
        expect(s.read_bytes / PAGE * 10 <= s.faults_major * 13, "%llu pages read, %llu needed",
               (unsigned long long)(s.read_bytes / PAGE), (unsigned long long)s.faults_major);
}

#define SET (CACHE / PAGE * 9 / 10)
#define SET_ROUNDS 60

static void touch_set(const struct reader *r, uint64_t *state)
{
        for (uint64_t i = 0; i < 4 * SET; i++)
                touch(r, random_below(state, SET));
}

/* A set that just fits, read in order and then used at random: what was read beyond its end goes, not the
 * set to its last page, and in the end there is not one fault more. */
static void set_that_fits(void)
{
        struct reader r = begin("a set that fits");
        uint64_t state = test.seed, before = 0, more = 1;
        struct fl_stats filled, s;

        for (uint64_t i = 0; i < SET; i++)
                touch(&r, i);
        filled = get_stats(r.e);
        for (unsigned round = 0; round < SET_ROUNDS && more; round++) {
                touch_set(&r, &state);
                /* A round is over sooner than reclaim has a turn: now it has. */
                usleep(20000);
                before = all_faults(&r);
                touch_set(&r, &state);
                more = all_faults(&r) - before;
        }
        s = end(&r);
        expect(s.evicted_pages - filled.evicted_pages <= SET / 2, "%llu of %lu pages evicted",
               (unsigned long long)(s.evicted_pages - filled.evicted_pages), SET);
        expect_eq(more, 0, "faults in the last round");
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        name = test_stamped_file("patterns", PAGES);
        forward_and_backward();
        strided();
        shown_again();
        set_that_fits();
        four_threads();
        at_random();
        return test_end();
}
