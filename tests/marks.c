/* SPDX-License-Identifier: Apache-2.0
 *
 * marks.c - L29: a page that carries the mark of the next window asks for nothing while it is being
 * written, by a fault or by fl_pread; the mark stays, and asks when the write is over.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/engine.h"
#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 1024ul
#define WINDOW 32ul                    /* pages: 128 KiB */
#define MARK 24ul                      /* L17g: what is left behind the mark is a quarter */
#define DELAY "delay=300ms@98304+4096" /* of the marked page */
#define TRIES 5

static const char *name;

struct scene {
        struct fl_engine *e;
        struct fl_file *f;
        char *p;
};

static struct scene begin(void)
{
        struct scene s = { .e = open_engine_with(
                                   (struct fl_engine_config){ .cache = 8 << 20,
                                                              .policy = "linux",
                                                              .readahead = WINDOW * PAGE,
                                                              .faults = DELAY }) };

        s.f = open_file(s.e, name, O_RDWR);
        s.p = map_file(s.e, s.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        return s;
}

static void end(struct scene *s)
{
        check_engine(s->e);
        expect(fl_munmap(s->e, s->p, PAGES * PAGE) == 0, "%s", fl_strerror());
        close_file(s->f);
        close_engine(s->e);
}

static uint64_t resident(struct scene *s)
{
        return resident_pages(s->e, s->p, PAGES);
}

static void *sync_all(void *arg)
{
        struct scene *s = arg;

        expect(fl_fsync(s->f) == 0, "%s", fl_strerror());
        return NULL;
}

static bool is_written(struct scene *s)
{
        return atomic_load(&s->e->cache->nr_writeback) > 0;
}

static void comes_to_mark(struct scene *s, bool by_fault)
{
        char byte;

        if (by_fault)
                expect_eq(try_load(s->p + MARK * PAGE, NULL).signo, 0, "load");
        else
                expect_eq(fl_pread(s->f, &byte, 1, MARK * PAGE), 1, "fl_pread");
}

/* Everything that was begun has ended. */
static uint64_t settled(struct scene *s)
{
        uint64_t before, now = resident(s);

        do {
                before = now;
                usleep(20000);
                now = resident(s);
        } while (now != before);
        return now;
}

/* False: the write was over before the page was looked at, which says nothing. */
static bool while_written(bool by_fault)
{
        struct scene s = begin();
        char buf[PAGE];
        pthread_t thread;
        bool judged;

        expect_eq(try_load(s.p, NULL).signo, 0, "load");
        expect_eq(settled(&s), WINDOW, "the first window");
        stamp_write(buf, MARK, 1);
        expect_eq(fl_pwrite(s.f, buf, PAGE, MARK * PAGE), (ssize_t)PAGE, "fl_pwrite");
        expect_eq(settled(&s), WINDOW, "a store asks for nothing");
        require(pthread_create(&thread, NULL, sync_all, &s) == 0, "thread");
        while (!is_written(&s) && test_left() > -60)
                usleep(1000);
        comes_to_mark(&s, by_fault);
        judged = is_written(&s);
        pthread_join(thread, NULL);
        if (judged) {
                expect_eq(settled(&s), WINDOW, "under write-back");
                expect(fl_madvise(s.e, s.p, PAGES * PAGE, MADV_DONTNEED) == 0, "%s", fl_strerror());
                comes_to_mark(&s, by_fault);
                expect(settled(&s) > WINDOW, "the mark is gone: %llu pages",
                       (unsigned long long)resident(&s));
        }
        end(&s);
        return judged;
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        name = test_stamped_file("marks", PAGES);
        for (unsigned by_fault = 0; by_fault < 2; by_fault++) {
                unsigned tries = 0;

                test_at(by_fault ? "a fault" : "fl_pread");
                while (!while_written(by_fault) && ++tries < TRIES)
                        ;
                if (tries == TRIES)
                        test_skip("the write was over each time before the page was looked at");
        }
        return test_end();
}
