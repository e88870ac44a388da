/* SPDX-License-Identifier: Apache-2.0
 *
 * fork.c - a child has none of the parent's mappings, and does the parent no harm; and the budget
 * holds as seen from outside: by the blocks of the memfds, sampled while everything runs.
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
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define PAGE TEST_PAGE
#define PAGES 4096ul
#define CACHE (2ul << 20)
#define WRITERS 2
#define READERS 4

struct shared {
        struct fl_engine *e;
        struct fl_file *f;
        char *view, *copies;
        _Atomic bool stop;
        _Atomic uint64_t samples, most;
        uint64_t version[PAGES]; /* each page by its writer only */
};

/* Exit status of the child: 0 if every touch was a SIGSEGV, MAPERR. */
static int child(const struct shared *s)
{
        char *const where[] = { s->view, s->view + 17 * PAGE, s->view + (PAGES - 1) * PAGE,
                                s->copies };
        int bad = 0;

        for (unsigned i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
                struct caught c = try_load(where[i], NULL);

                bad += c.signo != SIGSEGV || c.code != SEGV_MAPERR;
                c = try_store(where[i], 1);
                bad += c.signo != SIGSEGV || c.code != SEGV_MAPERR;
        }
        return bad;
}

static void fork_and_wait(const struct shared *s)
{
        int status = -1;
        pid_t pid = fork();

        require(pid >= 0, "fork: %s", strerror(errno));
        if (pid == 0)
                _exit(child(s));
        require(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
               "the child: status %#x: a touch did not end in SIGSEGV/MAPERR", (unsigned)status);
}

struct worker {
        pthread_t thread;
        struct shared *s;
        uint64_t seed;
        unsigned number;
};

/* Page n belongs to writer n % WRITERS. */
static void *write_pages(void *arg)
{
        struct worker *w = arg;
        struct shared *s = w->s;

        test_at("writing");
        while (!atomic_load(&s->stop)) {
                uint64_t page = random_below(&w->seed, PAGES / WRITERS) * WRITERS + w->number;
                char *p = s->view + page * PAGE;

                expect(!stamp_wrong(p, page, s->version[page]), "%s",
                       stamp_wrong(p, page, s->version[page]));
                stamp_write(p, page, ++s->version[page]);
                if (random_below(&w->seed, 200) == 0)
                        expect(fl_msync(s->e, p, PAGE, MS_SYNC) == 0, "%s", fl_strerror());
        }
        return NULL;
}

static void *read_pages(void *arg)
{
        struct worker *w = arg;
        struct shared *s = w->s;
        volatile const char *p = s->view;

        test_at("reading");
        while (!atomic_load(&s->stop)) {
                uint64_t page = random_below(&w->seed, PAGES);

                (void)p[page * PAGE + 1000];
                if (random_below(&w->seed, 64) == 0) { /* a copy, given back at once */
                        s->copies[w->number * PAGE] = 1;
                        expect(fl_madvise(s->e, s->copies + w->number * PAGE, PAGE,
                                          MADV_DONTNEED) == 0,
                               "%s", fl_strerror());
                }
        }
        return NULL;
}

/* Looks from outside, and nowhere into the engine. */
static void *sample(void *arg)
{
        struct shared *s = arg;

        test_at("sampling");
        while (!atomic_load(&s->stop)) {
                uint64_t bytes = memfd_bytes();

                if (bytes > s->most)
                        s->most = bytes;
                s->samples++;
        }
        return NULL;
}

int main(int argc, char **argv)
{
        static struct shared s;
        struct worker w[WRITERS + READERS];
        unsigned forks = 0;
        pthread_t sampler;
        const char *path;
        char buf[PAGE];

        test_begin(argc, argv, 4, 30, 60);
        path = test_stamped_file("file", PAGES);
        s.e = open_engine(CACHE);
        s.f = open_file(s.e, path, O_RDWR);
        s.view = map_file(s.e, s.f, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        s.copies = map_file(s.e, s.f, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        s.copies[0] = 1; /* something to inherit */
        fork_and_wait(&s);
        require(!pthread_create(&sampler, NULL, sample, &s), "pthread_create");
        for (unsigned i = 0; i < WRITERS + READERS; i++) {
                w[i] = (struct worker){ .s = &s, .seed = test.seed + i, .number = i };
                require(!pthread_create(&w[i].thread, NULL, i < WRITERS ? write_pages : read_pages,
                                        &w[i]),
                        "pthread_create");
        }
        for (; test_left() > 0 && !test_failures(); forks++) {
                test_at("forking");
                fork_and_wait(&s);
                usleep(50000);
        }
        atomic_store(&s.stop, true);
        for (unsigned i = 0; i < WRITERS + READERS; i++)
                pthread_join(w[i].thread, NULL);
        pthread_join(sampler, NULL);
        printf("%u children, %llu samples, %llu of %lu bytes in memfds at most\n", forks,
               (unsigned long long)s.samples, (unsigned long long)s.most, CACHE);
        expect(s.samples > 10 && s.most > CACHE / 2, "the sampler saw nothing");
        expect(s.most <= CACHE, "%llu bytes in the memfds, %lu allowed", (unsigned long long)s.most,
               CACHE);
        expect(get_stats(s.e).cache_bytes_peak <= CACHE, "the engine counted more than allowed");
        check_engine(s.e);
        expect(s.copies[0] == 1, "the parent's copy is gone");
        expect(fl_munmap(s.e, s.view, PAGES * PAGE) == 0, "%s", fl_strerror());
        expect(fl_munmap(s.e, s.copies, 64 * PAGE) == 0, "%s", fl_strerror());
        close_file(s.f);
        close_engine(s.e);
        for (uint64_t i = 0; i < PAGES && file_read(path, buf, PAGE, i * PAGE); i++)
                expect(!stamp_wrong(buf, i, s.version[i]), "in the file: %s",
                       stamp_wrong(buf, i, s.version[i]));
        return test_end();
}
