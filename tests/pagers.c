/* SPDX-License-Identifier: Apache-2.0
 *
 * pagers.c - faults as events: who serves them, and that none is left where many come at once.
 *
 *   alone     one thread's faults: the pager reads for them itself, another one standing in
 *   crowd     more threads fault at once than are fetched in one go, and then none does
 *   mixed     threads fault at any time, at pagers that leave, come back and share the ring
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 4096ul
#define CROWD 200u /* threads */

static const char *path;

struct crowd {
        pthread_barrier_t begin;
        char *base;
        unsigned round;
};

struct one {
        struct crowd *crowd;
        unsigned nr;
        uint64_t random;
};

static void check(const char *base, uint64_t i)
{
        const char *wrong = stamp_wrong(base + i * PAGE, i, 0);

        expect(!wrong, "page %lu: %s", (unsigned long)i, wrong);
}

/* Bytes that threads named fl-pager have read by system calls of their own. False: nobody counts. */
static bool read_by_pagers(uint64_t *bytes)
{
        char command[128], line[64];
        FILE *f;

        snprintf(command, sizeof(command),
                 "for t in /proc/%d/task/*; do grep -q fl-pager $t/comm && cat $t/io; done",
                 getpid());
        f = popen(command, "r");
        *bytes = 0;
        while (f && fgets(line, sizeof(line), f)) {
                unsigned long long n;

                if (sscanf(line, "rchar: %llu", &n) == 1)
                        *bytes += n;
        }
        if (f)
                pclose(f);
        return *bytes > 0;
}

static void alone(void)
{
        struct fl_engine *e =
                open_engine_with((struct fl_engine_config){ .cache = 256 * PAGE, .pagers = 2 });
        struct fl_file *f = open_file(e, path, O_RDONLY);
        char *base = map_file(e, f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0);
        uint64_t random = test.seed, bytes, reads;

        test_at("alone");
        fl_madvise(e, base, PAGES * PAGE, MADV_RANDOM);
        for (unsigned i = 0; i < 1000; i++)
                check(base, random_below(&random, PAGES));
        reads = get_stats(e).faults_major;
        /* Not all, on a busy machine few: the one that stands in may not be asleep yet, reclaim may have
         * something written. Without any there are the events alone, 32 bytes each. */
        if (read_by_pagers(&bytes) && (!test.mmu || !strcmp(test.mmu, "uffd")) && !test.driver &&
            !test.perturb)
                expect(bytes >= reads * PAGE / 32, "of %lu pages the pagers read %lu bytes",
                       (unsigned long)reads, (unsigned long)bytes);
        check_engine(e);
        close_file(f);
        close_engine(e);
}

static void *touch_own(void *arg)
{
        struct one *o = arg;
        uint64_t page = (o->nr * 17 + o->crowd->round * 5) % PAGES;

        pthread_barrier_wait(&o->crowd->begin);
        check(o->crowd->base, page);
        return NULL;
}

static void *touch_any(void *arg)
{
        struct one *o = arg;

        for (unsigned i = 0; i < 60; i++) {
                check(o->crowd->base, random_below(&o->random, PAGES));
                if (i % 16 == o->nr % 16)
                        usleep(1000 * (o->nr % 3));
        }
        return NULL;
}

static void run_crowd(struct crowd *c, unsigned nr, void *(*touch)(void *))
{
        static struct one one[CROWD];
        static pthread_t thread[CROWD];

        pthread_barrier_init(&c->begin, NULL, nr);
        for (unsigned i = 0; i < nr; i++) {
                one[i] = (struct one){ c, i, test.seed + i };
                require(!pthread_create(&thread[i], NULL, touch, &one[i]), "no thread");
        }
        for (unsigned i = 0; i < nr; i++)
                pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&c->begin);
}

static void together(unsigned pagers)
{
        struct fl_engine *e = open_engine_with(
                (struct fl_engine_config){ .cache = 1024 * PAGE, .pagers = pagers });
        struct fl_file *f = open_file(e, path, O_RDONLY);
        struct crowd c = { .base = map_file(e, f, PAGES * PAGE, PROT_READ, MAP_SHARED, 0) };

        fl_madvise(e, c.base, PAGES * PAGE, MADV_RANDOM);
        test_at("crowd");
        for (c.round = 0; c.round < 6; c.round++)
                run_crowd(&c, CROWD, touch_own);
        test_at("mixed");
        run_crowd(&c, 3, touch_any);
        run_crowd(&c, 16, touch_any);
        check_engine(e);
        close_file(f);
        close_engine(e);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 4, 40, 40);
        path = test_stamped_file("pagers", PAGES);
        do {
                alone();
                for (unsigned n = 1; n <= 3; n++)
                        together(n);
        } while (test_left() > 0);
        return test_end();
}
