/* SPDX-License-Identifier: Apache-2.0
 *
 * segvn.c - Solaris's paths when something else happens meanwhile: a fault whose place is mapped over while
 * it waits, advice that joins mappings.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "mman.h"

#define PAGES 1024u
#define BYTES(pages) ((size_t)(pages)*TEST_PAGE)

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
        unsigned page;
        unsigned expected; /* the page of the file that is to be seen there */
        pthread_t thread;
};

static struct scene begin(const char *faults)
{
        struct scene s = {
                .e = open_engine_with((struct fl_engine_config){ .cache = 16u << 20,
                                                                 .policy = "solaris",
                                                                 .readahead = 128 << 10,
                                                                 .faults = faults }),
        };

        s.f = open_file(s.e, test_stamped_file("segvn", PAGES), O_RDONLY);
        s.p = map_file(s.e, s.f, BYTES(PAGES), PROT_READ, MAP_SHARED, 0);
        return s;
}

static void end(struct scene *s)
{
        check_engine(s->e);
        expect(fl_munmap(s->e, s->p, BYTES(PAGES)) == 0, "%s", fl_strerror());
        close_file(s->f);
        close_engine(s->e);
}

static void *load(void *arg)
{
        struct scene *s = arg;
        const char *wrong = stamp_wrong(s->p + BYTES(s->page), s->expected, 0);

        expect(!wrong, "page %u: %s", s->page, wrong);
        return NULL;
}

/* What the fault had asked for is another place of the file by then: it asks again, and maps what came of
 * that. */
static void mapped_over_while_it_waits(void)
{
        struct scene s = begin("delay=300ms@1228800+8192");
        static char junk[BYTES(180)];
        uint64_t before;

        test_at("mapped over");
        /* There is much to map between the old place and the new one. */
        expect(fl_pread(s.f, junk, sizeof(junk), (off_t)BYTES(310)) == (ssize_t)sizeof(junk), "%s",
               fl_strerror());
        check_engine(s.e);
        before = get_stats(s.e).bios;
        s.page = 300;
        s.expected = 500;
        require(pthread_create(&s.thread, NULL, load, &s) == 0, "a thread");
        for (int i = 0; i < 1000 && get_stats(s.e).bios == before; i++)
                usleep(100);
        require(fl_mmap(s.e, s.p, BYTES(PAGES - 200), PROT_READ, MAP_SHARED | MAP_FIXED, s.f,
                        (off_t)BYTES(200)) == s.p,
                "%s", fl_strerror());
        pthread_join(s.thread, NULL);
        for (unsigned i = 0; i < PAGES - 200; i++)
                expect(!stamp_wrong(s.p + BYTES(i), i + 200, 0), "page %u: %s", i,
                       stamp_wrong(s.p + BYTES(i), i + 200, 0));
        end(&s);
}

static uint64_t faults(struct scene *s)
{
        struct fl_stats st;

        check_engine(s->e);
        st = get_stats(s->e);
        return st.faults_major + st.faults_minor;
}

/* A piece between two that are sequential already: it becomes one with them, and its pages are shown no
 * more, so that faults recur. */
static void advice_that_joins(void)
{
        struct scene s = begin(NULL);
        uint64_t before;

        test_at("advice that joins");
        expect(fl_madvise(s.e, s.p, BYTES(100), MADV_SEQUENTIAL) == 0, "%s", fl_strerror());
        expect(fl_madvise(s.e, s.p + BYTES(200), BYTES(100), MADV_SEQUENTIAL) == 0, "%s",
               fl_strerror());
        for (unsigned i = 100; i < 200; i++)
                expect(!stamp_wrong(s.p + BYTES(i), i, 0), "page %u", i);
        before = faults(&s);
        expect(!stamp_wrong(s.p + BYTES(150), 150, 0), "page 150");
        expect_eq(faults(&s), before, "faults on what is shown");
        expect(fl_madvise(s.e, s.p + BYTES(100), BYTES(100), MADV_SEQUENTIAL) == 0, "%s",
               fl_strerror());
        expect(!stamp_wrong(s.p + BYTES(150), 150, 0), "page 150");
        expect(faults(&s) > before, "no fault on what was to be shown no more");
        end(&s);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 1, 1, 60);
        mapped_over_while_it_waits();
        advice_that_joins();
        return test_end();
}
